"""What tests have done in the environments of the benchmark's peers, where there is no pytest."""

import socket
import threading
from contextlib import closing
from importlib import import_module
from typing import Any

from benchmarks import work
from benchmarks.answers import Figure, exact
from benchmarks.apart import judged, prepared
from benchmarks.posting import check
from benchmarks.questions import p15
from benchmarks.wire import Connection


def answered(contestant: str, app: str, kind: str) -> Figure:
    """Two requests are answered by *contestant* as they should be."""
    _, once = prepared(import_module(f"benchmarks.contestants.{contestant}"), app, getattr(work, kind)(2))
    once()
    return exact(2)


def failing() -> Figure:
    raise RuntimeError("ours does not work")


def answering_wrongly() -> Figure:
    with judged():
        check("200 OK", [], b'[{"status_code": 500, "reason_phrase": "", "headers": {}, "body": ""}]', work.gets(1), [b"{}"])
    return exact(1)


def hanging() -> Figure:
    threading.Event().wait()
    return exact(1)


def calling_their_own_server() -> Figure:
    """The connections on which the route of FastAPI sends the requests of three batches."""
    # It is in their environment only.
    uvicorn: Any = import_module("uvicorn")

    from benchmarks.contestants import fastapi_loopback

    callers: list[Any] = []

    async def watched(scope: Any, receive: Any, send: Any) -> None:
        if scope.get("path", "").startswith("/items/"):
            callers.append(scope["client"])
        await fastapi_loopback.app(scope, receive, send)

    with socket.create_server(("127.0.0.1", 0)) as listening:
        server = uvicorn.Server(uvicorn.Config(watched, log_level="warning"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        with closing(Connection(f"http://127.0.0.1:{listening.getsockname()[1]}")) as connection:
            for _ in range(3):
                connection.post(work.gets(100))
        server.should_exit = True
        thread.join()
    return exact(len(set(callers)))


def side_by_side(count: int) -> Figure:
    """The threads on which django-batch-requests has *count* requests answered that wait, where its settings ask for threads."""
    _, once = prepared(import_module("benchmarks.contestants.django_batch_requests"), "django", work.listed(count, "/waits"), **p15.ABREAST)
    once()
    return exact(sum(thread.name.startswith("ThreadPoolExecutor") for thread in threading.enumerate()))
