"""Django, with the middleware of a new project that needs no database."""

import time

import django
from django.conf import settings
from django.core.handlers.wsgi import WSGIHandler
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.urls import path
from django.views.decorators.csrf import csrf_exempt

from . import TEXT, WAIT

label = "Django"


@csrf_exempt
def item(request: HttpRequest, number: int) -> JsonResponse:
    return JsonResponse({"number": number})


def text(request: HttpRequest, number: int) -> HttpResponse:
    return HttpResponse(TEXT, content_type="text/plain")


def waits(request: HttpRequest, number: int) -> JsonResponse:
    time.sleep(WAIT)
    return JsonResponse({"number": number})


urlpatterns = [path("items/<int:number>", item), path("texts/<int:number>", text), path("waits/<int:number>", waits)]

settings.configure(
    ALLOWED_HOSTS=["shop.example"],
    ROOT_URLCONF=__name__,
    SECRET_KEY="measured, not served",
    MIDDLEWARE=[
        "django.middleware.security.SecurityMiddleware",
        "django.middleware.common.CommonMiddleware",
        "django.middleware.csrf.CsrfViewMiddleware",
        "django.middleware.clickjacking.XFrameOptionsMiddleware",
    ],
)
django.setup(set_prefix=False)
app = WSGIHandler()
