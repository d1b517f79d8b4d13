"""django-batch-requests with all that it asks for, which is Python 2: ``python2.7 FILE COUNT``.

Once it stands ready it writes a line, and then, for each line that it reads, the seconds of one batch of COUNT requests. This file imports nothing of
ours, and is Python 2 as well as 3.
"""

import json
import sys
from io import BytesIO
from time import clock  # type: ignore[attr-defined] # it left Python in 3.8

import django
from django.conf import settings
from django.conf.urls import url
from django.core.handlers.wsgi import WSGIHandler
from django.http import JsonResponse

REQUESTS = 1000
"""That a round has, at least."""

WRONG = 65
"""The status of a process whose answers are wrong."""


def item(request, number):  # type: (object, str) -> JsonResponse
    return JsonResponse({"number": int(number)})


def main(count):  # type: (int) -> None
    from batch_requests.views import handle_batch_requests

    urlpatterns.append(url("^batch$", handle_batch_requests))
    app = WSGIHandler()
    body = json.dumps([{"method": "GET", "url": "/items/%d" % number} for number in range(count)]).encode()
    vet(posted(app, body), count)
    times = max(1, REQUESTS // count)
    say("ready")
    while sys.stdin.readline():
        started = clock()
        for _ in range(times):
            answered = posted(app, body)
        seconds = (clock() - started) / times
        vet(answered, count)
        say(str(seconds))


def vet(answered, count):  # type: (bytes, int) -> None
    answers = json.loads(answered.decode())
    if [(answer["status_code"], json.loads(answer["body"])["number"]) for answer in answers] != [(200, number) for number in range(count)]:
        sys.stderr.write("a request was answered with %r\n" % answers[0])
        sys.exit(WRONG)


def posted(app, body):  # type: (WSGIHandler, bytes) -> bytes
    environ = {
        "REQUEST_METHOD": "POST",
        "SCRIPT_NAME": "",
        "PATH_INFO": "/batch",
        "QUERY_STRING": "",
        "SERVER_NAME": "127.0.0.1",
        "SERVER_PORT": "8000",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "REMOTE_ADDR": "127.0.0.1",
        "HTTP_HOST": "shop.example:8000",
        "CONTENT_TYPE": "application/json",
        "CONTENT_LENGTH": str(len(body)),
        "wsgi.url_scheme": "http",
        "wsgi.errors": sys.stderr,
        "wsgi.input": BytesIO(body),
    }
    answer = app(environ, lambda status, headers, exc_info=None: None)
    content = b"".join(answer)
    answer.close()
    return content


def say(line):  # type: (str) -> None
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


settings.configure(
    ALLOWED_HOSTS=["shop.example"],
    ROOT_URLCONF=__name__,
    SECRET_KEY="measured, not served",
    BATCH_REQUESTS={"MAX_LIMIT": 10000},
    MIDDLEWARE_CLASSES=[
        "django.middleware.security.SecurityMiddleware",
        "django.middleware.common.CommonMiddleware",
        "django.middleware.csrf.CsrfViewMiddleware",
        "django.middleware.clickjacking.XFrameOptionsMiddleware",
    ],
)
django.setup()
urlpatterns = [url("^items/(?P<number>[0-9]+)$", item)]

if __name__ == "__main__":
    main(int(sys.argv[1]))
