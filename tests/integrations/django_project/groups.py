"""Views for atomic groups: each adds a note, and then goes on in its own way."""

import json
import os
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress

from django.db import DatabaseError, IntegrityError, connection, connections, transaction
from django.http import HttpRequest, HttpResponse, JsonResponse, StreamingHttpResponse
from django.views.decorators.csrf import csrf_exempt

from .models import Label, Note

told: list[str] = []
"""What callbacks were told."""
meeting = threading.Barrier(2, timeout=20)

Way = Callable[[HttpRequest, str], HttpResponse | None]


@csrf_exempt
def add(request: HttpRequest, way: str) -> HttpResponse:
    """Adds the note in the JSON body, to the database ``?on=``."""
    text = json.loads(request.body)["text"]
    Note.objects.using(request.GET.get("on")).create(text=text)
    return WAYS[way](request, text) or JsonResponse({"text": text}, status=201)


def texts(request: HttpRequest) -> HttpResponse:
    """The texts of all notes."""
    return JsonResponse([note.text for note in Note.objects.order_by("pk")], safe=False)


def streamed(request: HttpRequest) -> HttpResponse:
    """The same, read from the database while it is sent, a few rows at a time."""

    def lines() -> Iterator[str]:
        for note in Note.objects.order_by("pk").iterator(chunk_size=1):
            yield f"{note.text}\n"

    return StreamingHttpResponse(lines(), content_type="text/plain")


@csrf_exempt
async def asynchronous(request: HttpRequest) -> HttpResponse:
    """Adds a note, and answers with how many there are."""
    await Note.objects.acreate(text=json.loads(request.body)["text"])
    return JsonResponse({"count": await Note.objects.acount()})


def _well(request: HttpRequest, text: str) -> None:
    """Succeeds."""


def _refused(request: HttpRequest, text: str) -> HttpResponse:
    return HttpResponse(status=422)


def _raises(request: HttpRequest, text: str) -> None:
    raise RuntimeError(text)


def _dangling(request: HttpRequest, text: str) -> None:
    # Foreign keys are looked at when the transaction is committed.
    Label.objects.create(name=text, note_id=0)


def _swallows(request: HttpRequest, text: str) -> None:
    Label.objects.create(name="taken")
    with suppress(IntegrityError):
        Label.objects.create(name="taken")


def _careful(request: HttpRequest, text: str) -> None:
    Label.objects.create(name="taken")
    with suppress(IntegrityError), transaction.atomic():
        Label.objects.create(name="taken")


def _misspelt(request: HttpRequest, text: str) -> None:
    with suppress(DatabaseError), connection.cursor() as cursor:
        cursor.execute("SELECT nothing FROM nowhere")


def _durable(request: HttpRequest, text: str) -> None:
    with transaction.atomic(durable=True):
        raise AssertionError("a durable block cannot be begun")


def _by_hand(request: HttpRequest, text: str) -> None:
    transaction.set_autocommit(False)


def _commits(request: HttpRequest, text: str) -> None:
    transaction.commit()


def _closes(request: HttpRequest, text: str) -> None:
    connection.close()


def _tells(request: HttpRequest, text: str) -> None:
    # From another thread, which sees what is committed only.
    transaction.on_commit(lambda: told.append(f"{text} of {committed()}"))


def _tells_badly(request: HttpRequest, text: str) -> None:
    def call() -> None:
        raise RuntimeError(f"nobody to tell of {text}")

    transaction.on_commit(call, using=request.GET.get("on"))


def _tells_other(request: HttpRequest, text: str) -> None:
    transaction.on_commit(lambda: Note.objects.using("other").create(text=text))


def _hooks(request: HttpRequest, text: str) -> None:
    group = request.environ["wsgibatch.group"]
    group.on_commit(lambda: told.append(f"{text} of {Note.objects.count()}"))
    group.on_rollback(lambda: told.append(f"{text} not, of {Note.objects.count()}"))


def _hooks_of_hooks(request: HttpRequest, text: str) -> None:
    group = request.environ["wsgibatch.group"]
    group.on_commit(lambda: group.on_commit(lambda: told.append(f"{text} of {Note.objects.count()}")))
    group.on_rollback(lambda: group.on_rollback(lambda: told.append(f"{text} not, of {Note.objects.count()}")))


def _meets(request: HttpRequest, text: str) -> None:
    meeting.wait()


def _stays(request: HttpRequest, text: str) -> None:
    with socket.create_connection(("127.0.0.1", int(os.environ["NOTES_PORT"])), timeout=20) as other:
        other.sendall(f"{os.getpid()}\n".encode())
        # Until the other end hangs up.
        other.recv(1)


WAYS: dict[str, Way] = {
    way.__name__.strip("_"): way
    for way in (_well, _refused, _raises, _dangling, _swallows, _careful, _misspelt, _durable, _by_hand, _commits, _closes)
    + (_tells, _tells_badly, _tells_other, _hooks, _hooks_of_hooks, _meets, _stays)
}


def committed(alias: str = "default") -> int:
    """How many notes there are, as a connection of its own sees it."""
    counted: list[int] = []

    def count() -> None:
        try:
            counted.append(Note.objects.using(alias).count())
        finally:
            connections[alias].close()

    thread = threading.Thread(target=count)
    thread.start()
    thread.join()
    [number] = counted
    return number
