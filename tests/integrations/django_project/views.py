"""Views that read and write, know their user, fail, and wait for one another."""

import threading
from collections.abc import Callable, Iterator
from hashlib import sha256

from django.http import HttpRequest, HttpResponse, JsonResponse, StreamingHttpResponse
from django.middleware.csrf import get_token
from rest_framework import generics, serializers

from .models import Note

_meeting = threading.Barrier(4, timeout=20)


def stamp(get_response: Callable[[HttpRequest], HttpResponse]) -> Callable[[HttpRequest], HttpResponse]:
    """A middleware that leaves a mark on every answer."""

    def middleware(request: HttpRequest) -> HttpResponse:
        response = get_response(request)
        response["X-Stamp"] = f"{request.method} {request.get_full_path()}"
        return response

    return middleware


def notes(request: HttpRequest) -> HttpResponse:
    """All notes; a POST adds its body as one."""
    if request.method == "POST":
        note = Note.objects.create(text=request.body.decode())
        return JsonResponse({"id": note.pk}, status=201)
    return JsonResponse([note.text for note in Note.objects.order_by("pk")], safe=False)


class NoteSerializer(serializers.ModelSerializer[Note]):
    """A note in JSON."""

    class Meta:
        model = Note
        fields = ("id", "text")


class APINotes(generics.ListCreateAPIView[Note]):
    """Notes for users only."""

    queryset = Note.objects.order_by("pk")
    serializer_class = NoteSerializer

    def finalize_response(self, request: HttpRequest, response: HttpResponse, *args: object, **kwargs: object) -> HttpResponse:
        response["X-User"] = request.user.get_username()
        return super().finalize_response(request, response, *args, **kwargs)


def photos(request: HttpRequest) -> HttpResponse:
    """The fields and the files of a form."""
    files = {
        name: [(file.name, file.content_type, file.size, sha256(file.read()).hexdigest()) for file in files] for name, files in request.FILES.lists()
    }
    return JsonResponse({"fields": request.POST.dict(), "files": files}, status=201)


def token(request: HttpRequest) -> HttpResponse:
    """The CSRF token, and the cookie that goes with it."""
    return HttpResponse(get_token(request), content_type="text/plain")


def visits(request: HttpRequest) -> HttpResponse:
    """How often this session has been here."""
    request.session["visits"] = request.session.get("visits", 0) + 1
    return JsonResponse(request.session["visits"], safe=False)


def whoami(request: HttpRequest) -> HttpResponse:
    """The name of the user."""
    return HttpResponse(request.user.get_username(), content_type="text/plain")


def raise_after_a_query(request: HttpRequest) -> HttpResponse:
    """Fails while its connection to the database is open."""
    raise RuntimeError(f"a secret that must not get out of {Note.objects.count()} notes")


def torn(request: HttpRequest) -> HttpResponse:
    """Fails in the middle of its body, likewise."""

    def lines() -> Iterator[str]:
        yield f"{Note.objects.count()}\n"
        raise RuntimeError("a secret that must not get out")

    return StreamingHttpResponse(lines(), content_type="text/plain")


def meet(request: HttpRequest) -> HttpResponse:
    """Answers once four requests are here, each with a connection open."""
    count = Note.objects.count()
    _meeting.wait()
    return JsonResponse(count, safe=False)
