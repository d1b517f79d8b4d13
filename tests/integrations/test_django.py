"""Batches in front of a real Django project: in this process, and under gunicorn."""

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest
import requests
from webtest import TestApp

import wsgibatch
from tests.servers.run import free_port, gunicorn, running

ROOT = Path(__file__).parents[2]
PROJECT = "tests.integrations.django_project"

Configured = Callable[..., wsgibatch.Settings]
Served = Callable[..., AbstractContextManager[str]]


@pytest.fixture
def project(environment: dict[str, str]) -> Iterator[None]:
    """Django is ready, and there are no notes."""
    from django.db import connections

    from .django_project.models import Note

    Note.objects.all().delete()
    connections.close_all()
    yield
    connections.close_all()


@pytest.fixture(params=["sequential", "threads"])
def executor(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def app(project: None, executor: str) -> Iterator[TestApp]:
    """The project with batches in front of it, and a browser's cookies."""
    from django.core.wsgi import get_wsgi_application

    from wsgibatch.integrations.django import batch

    application = batch(get_wsgi_application(), executor=executor)
    yield TestApp(application)
    application.close()


@pytest.fixture
def configured(project: None) -> Iterator[Configured]:
    """Gives the settings that ``batch()`` makes of the dicts of a project, where None stands for no such dict."""
    from django.test import override_settings

    from wsgibatch.integrations.django import batch

    with override_settings():
        from django.conf import settings

        def configured(new: object = None, old: object = None, **overrides: Any) -> wsgibatch.Settings:
            for name, value in (("WSGIBATCH", new), ("BATCH_REQUESTS", old)):
                if value is not None:
                    setattr(settings, name, value)
                elif hasattr(settings, name):
                    delattr(settings, name)
            return batch(_nothing, **overrides).settings

        yield configured


def _nothing(environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
    raise AssertionError("nobody calls this app")


def _post(app: TestApp, *items: dict[str, Any], headers: dict[str, str] | None = None, **environ: str) -> list[dict[str, Any]]:
    """The answers to a batch of *items*, which are GETs unless they say otherwise."""
    batch = [{"method": "GET", **item} for item in items]
    answers: list[dict[str, Any]] = app.post_json("/batch", batch, headers=headers, extra_environ=environ).json
    assert len(answers) == len(items)
    return answers


def _log_in(app: TestApp, name: str) -> None:
    from django.contrib.auth.models import User
    from django.test import Client

    client = Client()
    client.force_login(User.objects.get(username=name))
    app.set_cookie("sessionid", client.cookies["sessionid"].value)


# Items are requests like any other.


@pytest.mark.parametrize("size", [10, 3 << 20], ids=["small", "larger than Django holds in memory"])
def test_a_photo_inside_a_batch_arrives_in_request_files_byte_for_byte(project: None, executor: str, size: int) -> None:
    from django.core.wsgi import get_wsgi_application

    from wsgibatch.integrations.django import batch

    photo, other = os.urandom(size), bytes(range(256))
    items = [
        {"method": "POST", "url": "/photos", "body": {"title": "Zoë & Bob"}, "attached_files": {"photo": "first"}},
        {"method": "GET", "url": "/whoami"},
        {"method": "POST", "url": "/photos", "attached_files": "first, second"},
    ]
    files = [("batch", "", json.dumps(items).encode(), "application/json")]
    files += [("first", "zoë.png", photo, "image/png"), ("second", "b.bin", other, "application/octet-stream")]
    application = batch(get_wsgi_application(), executor=executor, dialect="django")
    app = TestApp(application)
    # Its cookie has the batch come from a page of this origin, and its items need the token.
    headers = {"X-CSRFToken": app.get("/token").text, "Sec-Fetch-Site": "same-origin"}

    one, whoami, both = app.post("/batch", headers=headers, upload_files=files).json

    application.close()
    told = ["zoë.png", "image/png", size, hashlib.sha256(photo).hexdigest()]
    assert (one["status_code"], whoami["body"]) == (201, "")
    assert json.loads(one["body"]) == {"fields": {"title": "Zoë & Bob"}, "files": {"photo": [told]}}
    second = ["b.bin", "application/octet-stream", 256, hashlib.sha256(other).hexdigest()]
    assert json.loads(both["body"]) == {"fields": {}, "files": {"first": [told], "second": [second]}}


def test_an_item_passes_the_whole_middleware_stack(app: TestApp) -> None:
    alone = app.get("/whoami")
    (item,) = _post(app, {"url": "/whoami"})
    del item["headers"]["batch_requests.duration"]
    assert item["headers"] == dict(alone.headers)
    assert item["headers"]["X-Stamp"] == "GET /whoami"
    assert item["headers"]["X-Frame-Options"] == "DENY"


def test_items_have_the_session_of_the_batch(app: TestApp) -> None:
    _log_in(app, "alice")
    (item,) = _post(app, {"url": "/whoami"})
    assert item["body"] == "alice"


def test_what_an_item_puts_in_the_session_stays_there(app: TestApp) -> None:
    _log_in(app, "alice")
    _post(app, {"url": "/visits"})
    (item,) = _post(app, {"url": "/visits"})
    assert (item["body"], app.get("/visits").json) == ("2", 3)


def test_reads_see_the_writes_before_them_and_not_those_behind(app: TestApp) -> None:
    csrf = {"X-CSRFToken": app.get("/token").text}
    read, write = {"url": "/notes"}, {"url": "/notes", "method": "POST"}
    answers = _post(app, read, write | {"body": "one"}, read, read, write | {"body": "two"}, read, headers=csrf)
    assert [answer["status_code"] for answer in answers] == [200, 201, 200, 200, 201, 200]
    assert [json.loads(answers[place]["body"]) for place in (0, 2, 3, 5)] == [[], ["one"], ["one"], ["one", "two"]]


def test_an_error_in_a_view_is_the_500_of_its_item_and_says_nothing(app: TestApp) -> None:
    before, failed, after = _post(app, {"url": "/notes"}, {"url": "/raise"}, {"url": "/notes"})
    assert (before["status_code"], after["status_code"]) == (200, 200)
    assert (failed["status_code"], failed["reason_phrase"]) == (500, "Internal Server Error")
    assert "Server Error (500)" in failed["body"]
    assert "secret" not in failed["body"]


def test_an_error_in_the_middle_of_a_body_is_the_500_of_its_item(app: TestApp) -> None:
    torn, after = _post(app, {"url": "/torn"}, {"url": "/notes"})
    assert (torn["status_code"], after["status_code"]) == (500, 200)
    assert json.loads(torn["body"])["code"] == "app-failed"


def test_an_item_without_a_view_gets_djangos_own_404(app: TestApp) -> None:
    alone = app.get("/nowhere", status=404)
    (item,) = _post(app, {"url": "/nowhere"})
    assert (item["status_code"], item["body"]) == (404, alone.text)


# CSRF holds for every item.


def test_an_item_without_a_csrf_token_is_forbidden_and_the_batch_needs_none(app: TestApp) -> None:
    app.get("/token")
    read, write = _post(app, {"url": "/notes"}, {"url": "/notes", "method": "POST", "body": "x"})
    assert (read["status_code"], write["status_code"]) == (200, 403)
    assert "CSRF verification failed" in write["body"]
    assert app.get("/notes").json == []


def test_the_csrf_token_of_the_batch_passes_its_items(app: TestApp) -> None:
    csrf = {"X-CSRFToken": app.get("/token").text}
    (item,) = _post(app, {"url": "/notes", "method": "POST", "body": "x"}, headers=csrf)
    assert item["status_code"] == 201


def test_the_csrf_token_of_an_item_passes_that_item_only(app: TestApp) -> None:
    csrf = {"X-CSRFToken": app.get("/token").text}
    write = {"url": "/notes", "method": "POST", "body": "x"}
    passed, refused = _post(app, write | {"headers": csrf}, write)
    assert (passed["status_code"], refused["status_code"]) == (201, 403)


def test_a_wrong_csrf_token_of_an_item_stands_before_the_right_one_of_the_batch(app: TestApp) -> None:
    csrf = {"X-CSRFToken": app.get("/token").text}
    (item,) = _post(app, {"url": "/notes", "method": "POST", "headers": {"X-CSRFToken": "0" * 64}}, headers=csrf)
    assert item["status_code"] == 403


def test_under_https_the_origin_of_an_item_is_that_of_the_batch(app: TestApp) -> None:
    csrf = {"X-CSRFToken": app.get("/token").text}
    https = {"wsgi.url_scheme": "https", "HTTP_HOST": "localhost"}
    write = {"url": "/notes", "method": "POST", "headers": {"Origin": "https://localhost"}}
    (ours,) = _post(app, write, headers=csrf | {"Origin": "https://localhost"}, **https)
    (theirs,) = _post(app, write, headers=csrf | {"Origin": "https://elsewhere.example"}, **https)
    (nobodys,) = _post(app, write, headers=csrf, **https)
    assert [answer["status_code"] for answer in (ours, theirs, nobodys)] == [201, 403, 403]


# Django REST Framework authenticates items as it does any request.


def test_rest_framework_refuses_an_item_that_authenticates_in_no_way(app: TestApp) -> None:
    (item,) = _post(app, {"url": "/api/notes"})
    assert item["status_code"] == app.get("/api/notes", status="*").status_code == 403


def test_rest_framework_takes_the_session_of_the_batch(app: TestApp) -> None:
    _log_in(app, "alice")
    (item,) = _post(app, {"url": "/api/notes"})
    assert (item["status_code"], item["headers"]["X-User"]) == (200, "alice")


def test_rest_framework_wants_a_csrf_token_of_an_item_with_a_session(app: TestApp) -> None:
    _log_in(app, "alice")
    csrf = {"X-CSRFToken": app.get("/token").text}
    write = {"url": "/api/notes", "method": "POST", "body": {"text": "x"}}
    refused, passed = _post(app, write, write | {"headers": csrf})
    assert (refused["status_code"], passed["status_code"]) == (403, 201)


def test_rest_framework_takes_the_token_in_the_authorization_of_the_batch(app: TestApp) -> None:
    write = {"url": "/api/notes", "method": "POST", "body": {"text": "x"}}
    (item,) = _post(app, write, headers={"Authorization": "Token token-of-alice"})
    assert (item["status_code"], item["headers"]["X-User"]) == (201, "alice")


def test_rest_framework_takes_the_token_of_an_item_for_that_item_only(app: TestApp) -> None:
    own, none = _post(app, {"url": "/api/notes", "headers": {"Authorization": "Token token-of-bob"}}, {"url": "/api/notes"})
    assert (own["status_code"], own["headers"]["X-User"], none["status_code"]) == (200, "bob", 403)


def test_the_token_of_an_item_stands_before_that_of_the_batch(app: TestApp) -> None:
    items: list[dict[str, Any]] = [{"url": "/api/notes"}, {"url": "/api/notes", "headers": {"Authorization": "Token token-of-bob"}}] * 4
    answers = _post(app, *items, headers={"Authorization": "Token token-of-alice"})
    assert [answer["headers"]["X-User"] for answer in answers] == ["alice", "bob"] * 4


def test_an_item_cannot_say_that_it_is_another_user(project: None) -> None:
    from django.conf import settings
    from django.core.wsgi import get_wsgi_application
    from django.test import override_settings

    from wsgibatch.integrations.django import batch

    remote = "django.contrib.auth.middleware.RemoteUserMiddleware"
    backend = "django.contrib.auth.backends.RemoteUserBackend"
    with override_settings(MIDDLEWARE=[*settings.MIDDLEWARE, remote], AUTHENTICATION_BACKENDS=[backend]):
        trusting = TestApp(batch(get_wsgi_application()))
    claims = {"REMOTE_USER": "bob", "remote_user": "bob", "Remote-User": "bob"}
    claimed = [{"url": "/whoami", "headers": {name: value}} for name, value in claims.items()]
    with override_settings(AUTHENTICATION_BACKENDS=[backend]):
        nobody = _post(trusting, *claimed)
        alice = _post(trusting, *claimed, REMOTE_USER="alice")
    assert [answer["body"] for answer in (*nobody, *alice)] == [""] * 3 + ["alice"] * 3


# Settings.


@pytest.mark.parametrize("name", ["max_requests", "MAX_REQUESTS"])
def test_a_setting_is_named_in_lower_or_in_upper_case(configured: Configured, name: str) -> None:
    assert configured({name: 7}).max_requests == 7


def test_a_project_without_settings_has_the_usual_ones(configured: Configured) -> None:
    assert configured() == wsgibatch.Settings()


def test_what_batch_is_given_stands_before_the_settings(configured: Configured) -> None:
    made = configured({"max_requests": 7, "workers": 3}, {"MAX_LIMIT": 9}, max_requests=8)
    assert (made.max_requests, made.workers) == (8, 3)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ({}, {"dialect": "django", "executor": "sequential", "max_requests": 20, "durations": True, "duration_header": "batch_requests.duration"}),
        ({"MAX_LIMIT": 50}, {"max_requests": 50}),
        ({"EXECUTE_PARALLEL": True}, {"executor": "threads", "order": "barrier", "workers": wsgibatch.Settings().workers}),
        ({"EXECUTE_PARALLEL": False}, {"executor": "sequential"}),
        ({"NUM_WORKERS": 6}, {"workers": 6}),
        (
            {"EXECUTE_PARALLEL": True, "CONCURRENT_EXECUTOR": "batch_requests.concurrent.executor.ThreadBasedExecutor"},
            {"executor": "threads"},
        ),
        (
            {"EXECUTE_PARALLEL": True, "CONCURRENT_EXECUTOR": "batch_requests.concurrent.executor.ProcessBasedExecutor", "NUM_WORKERS": 3},
            {"executor": "processes", "order": "barrier", "workers": 3, "worker_app": "wsgibatch.integrations.django:worker"},
        ),
        ({"CONCURRENT_EXECUTOR": "batch_requests.concurrent.executor.ProcessBasedExecutor"}, {"executor": "sequential", "worker_app": None}),
        ({"ADD_DURATION_HEADER": False}, {"durations": False, "duration_header": None}),
        ({"ADD_DURATION_HEADER": False, "DURATION_HEADER_NAME": "took"}, {"durations": False, "duration_header": None}),
        ({"DURATION_HEADER_NAME": "took"}, {"durations": True, "duration_header": "took"}),
        ({"HEADERS_TO_INCLUDE": ["HTTP_USER_AGENT", "HTTP_COOKIE", "HTTP_AUTHORIZATION", "REMOTE_ADDR"]}, {}),
        ({"DEFAULT_CONTENT_TYPE": "application/json"}, {}),
        ({"USE_HTTPS": False}, {}),
    ],
    ids=str,
)
def test_the_dict_of_django_batch_requests_is_understood(configured: Configured, old: dict[str, Any], new: dict[str, Any]) -> None:
    made = configured(old=old)
    assert {name: getattr(made, name) for name in new} == new
    assert made.dialect == "django"


@pytest.mark.parametrize(
    ("old", "sentence"),
    [
        ({"MAX_LIMITS": 5}, r"BATCH_REQUESTS: there is no setting 'MAX_LIMITS' \(did you mean 'MAX_LIMIT'\?\)"),
        ({"max_limit": 5}, "there is no setting 'max_limit'"),
        ({"MAX_LIMIT": 0}, "max_requests: Expected `int` >= 1"),
        ({"MAX_LIMIT": "5"}, "BATCH_REQUESTS: Expected `int`, got `str` - at `\\$.MAX_LIMIT`"),
        ([], "BATCH_REQUESTS: Expected `object`, got `array`"),
        ({"CONCURRENT_EXECUTOR": "my.Executor"}, "CONCURRENT_EXECUTOR: items are run by .* not by 'my.Executor'"),
        ({"HEADERS_TO_INCLUDE": ["HTTP_COOKIE", "HTTP_ACCEPT_ENCODING"]}, "HEADERS_TO_INCLUDE: items do not take over 'HTTP_ACCEPT_ENCODING'"),
        ({"HEADERS_TO_INCLUDE": ["CONTENT_TYPE"]}, "HEADERS_TO_INCLUDE: items do not take over 'CONTENT_TYPE'"),
        ({"DEFAULT_CONTENT_TYPE": "text/plain"}, "DEFAULT_CONTENT_TYPE: a body without Content-Type is application/json"),
        ({"USE_HTTPS": True}, "USE_HTTPS: .* set SECURE_PROXY_SSL_HEADER"),
    ],
    ids=str,
)
def test_what_cannot_be_kept_of_django_batch_requests_is_refused(configured: Configured, old: Any, sentence: str) -> None:
    with pytest.raises(wsgibatch.ConfigError, match=sentence):
        configured(old=old)


def test_wsgibatch_wins_over_the_dict_of_django_batch_requests(configured: Configured) -> None:
    made = configured({"MAX_REQUESTS": 7, "dialect": "auto"}, {"MAX_LIMIT": 9, "NUM_WORKERS": 3})
    assert (made.max_requests, made.dialect, made.workers) == (7, "auto", 3)


def test_processes_may_be_told_to_run_another_app_than_the_project(configured: Configured) -> None:
    old = {"EXECUTE_PARALLEL": True, "CONCURRENT_EXECUTOR": "batch_requests.concurrent.executor.ProcessBasedExecutor"}
    assert configured({"worker_app": "shop.wsgi:inner"}, old).worker_app == "shop.wsgi:inner"
    assert configured({"executor": "threads"}, old).worker_app is None


def test_durations_switched_off_in_wsgibatch_do_not_clash_with_the_old_name(configured: Configured) -> None:
    assert configured({"durations": False}, {}).duration_header is None


def test_a_setting_given_in_both_cases_is_refused(configured: Configured) -> None:
    with pytest.raises(wsgibatch.ConfigError, match="given twice"):
        configured({"workers": 1, "WORKERS": 2})


def test_the_old_dict_names_the_durations_of_the_items_and_of_the_batch(configured: Configured) -> None:
    from django.core.wsgi import get_wsgi_application

    application = wsgibatch.BatchMiddleware(get_wsgi_application(), configured(old={}))
    # WebTest's lint does not know that a header name may hold a dot (RFC 9110, section 5.6.2).
    answer = TestApp(application, lint=False).post_json("/batch", [{"url": "/notes", "method": "get"}])
    assert float(answer.headers["batch_requests.duration"]) >= answer.json[0]["headers"]["batch_requests.duration"] > 0


# System checks.


def _checked() -> list[tuple[str, str]]:
    from django.core import checks

    return [(message.id, message.msg) for message in checks.run_checks() if str(message.id).startswith("wsgibatch.")]


def test_the_checks_find_nothing_in_a_project_that_is_right(configured: Configured) -> None:
    configured({"path": "/batch"})
    assert _checked() == []


@pytest.mark.parametrize(
    ("new", "sentence"),
    [
        ({"max_request": 5}, "there is no setting 'max_request' (did you mean 'max_requests'?)"),
        ({"max_requests": 0}, "max_requests: Expected `int` >= 1"),
        ({"executor": "thread"}, "'thread' is none of the executors (did you mean 'threads'?)"),
        ("/batch", "WSGIBATCH: Expected `object`, got `str`"),
    ],
    ids=str,
)
def test_the_checks_tell_of_settings_that_cannot_work(project: None, new: Any, sentence: str) -> None:
    from django.test import override_settings

    with override_settings(WSGIBATCH=new):
        assert _checked() == [("wsgibatch.E001", sentence)]


def test_the_checks_tell_of_an_old_setting_that_cannot_be_kept(project: None) -> None:
    from django.test import override_settings

    with override_settings(BATCH_REQUESTS={"USE_HTTPS": True}):
        ((number, sentence),) = _checked()
    assert number == "wsgibatch.E001"
    assert sentence.startswith("USE_HTTPS: ")


def test_the_checks_tell_of_a_view_that_a_batch_path_hides(project: None) -> None:
    from django.test import override_settings

    with override_settings(WSGIBATCH={"path": ["/batch", "/notes"]}):
        assert _checked() == [("wsgibatch.W001", "A POST to /notes is a batch and never reaches the view notes.")]


def test_manage_py_check_passes(environment: dict[str, str]) -> None:
    command = [sys.executable, "-W", "error", "-m", "django", "check", "--fail-level", "WARNING"]
    ended = subprocess.run(command, cwd=ROOT, env={**os.environ, **environment}, capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "System check identified no issues (0 silenced).\n", "")


def test_importing_the_integration_loads_neither_settings_nor_models() -> None:
    lines = [
        "from wsgibatch.integrations.django import BatchConfig, batch",
        "from django.apps import apps",
        "from django.conf import settings",
        "assert not settings.configured and not apps.apps_ready and not apps.all_models",
    ]
    subprocess.run([sys.executable, "-c", "\n".join(lines)], check=True)


# In processes.


def test_items_that_run_in_processes_pass_the_whole_project(project: None) -> None:
    from django.core.wsgi import get_wsgi_application

    from wsgibatch.integrations.django import batch

    # The project has a way to make groups atomic, which processes have not.
    application = batch(get_wsgi_application(), executor="processes", workers=2, atomic=None)
    alice = TestApp(application)
    _log_in(alice, "alice")
    note = {"url": "/api/notes", "method": "POST", "body": {"text": "x"}, "headers": {"Authorization": "Token token-of-bob"}}
    answers = _post(TestApp(application), {"url": "/notes"}, note, {"url": "/notes"}, {"url": "/raise"}, {"url": "/notes", "method": "POST"})
    (session,) = _post(alice, {"url": "/whoami"})
    application.close()

    assert [answer["status_code"] for answer in answers] == [200, 201, 200, 500, 403]
    assert [answers[place]["body"] for place in (0, 2)] == ["[]", '["x"]']
    assert answers[1]["headers"]["X-User"] == "bob"
    assert (session["body"], session["headers"]["X-Stamp"]) == ("alice", "GET /whoami")


# Under real servers.


@pytest.fixture
def served(project: None, environment: dict[str, str], tmp_path: Path) -> Served:
    """Starts the project under gunicorn with two workers, whose items run in threads."""

    def start(**variables: str) -> AbstractContextManager[str]:
        arguments = ("--worker-class", "gthread", "--workers", "2", "--threads", "4", "--pid", str(tmp_path / "pid"))
        env = {**environment, "NOTES_EXECUTOR": "threads", **variables}
        return gunicorn(*arguments, f"{PROJECT}.wsgi", cwd=ROOT, env=env)

    return start


@pytest.fixture
def open_connections(environment: dict[str, str], tmp_path: Path) -> Callable[[], int]:
    """Counts the descriptors of the database, its journal among them, that the workers of the gunicorn have open."""

    def count() -> int:
        master = int((tmp_path / "pid").read_text())
        workers = [process for process in Path("/proc").glob("[0-9]*") if _parent_of(process) == master]
        assert workers
        files = [_target_of(descriptor) for worker in workers for descriptor in (worker / "fd").iterdir()]
        return sum(file.startswith(environment["NOTES_DATABASE"]) for file in files)

    return count


def _parent_of(process: Path) -> int | None:
    try:
        return int((process / "stat").read_text().rpartition(")")[2].split()[1])
    except OSError:
        # It has ended meanwhile.
        return None


def _target_of(descriptor: Path) -> str:
    try:
        return str(descriptor.readlink())
    except OSError:
        # It was closed meanwhile.
        return ""


def _statuses(base: str, path: str) -> list[int]:
    """The statuses of a batch of twenty requests for *path*."""
    answer = requests.post(f"{base}/batch", json=[{"url": path, "method": "GET"}] * 20, timeout=60)
    return [item["status_code"] for item in answer.json()]


@pytest.mark.parametrize(("path", "status"), [("/meet", 200), ("/notes", 200), ("/raise", 500), ("/torn", 500), ("/nowhere", 404)])
def test_threaded_batches_leave_no_connection_open(served: Served, open_connections: Callable[[], int], path: str, status: int) -> None:
    with served() as base:
        assert _statuses(base, "/meet") == [200] * 20
        assert _statuses(base, path) == [status] * 20
        assert open_connections() == 0


def test_batches_side_by_side_leave_no_connection_open(served: Served, open_connections: Callable[[], int]) -> None:
    paths = ["/notes", "/raise", "/torn"] * 4
    with served() as base, ThreadPoolExecutor(len(paths)) as clients:
        answered = list(clients.map(lambda path: _statuses(base, path), paths))
        assert answered == [[200] * 20, [500] * 20, [500] * 20] * 4
        assert open_connections() == 0


def test_persistent_connections_are_one_for_each_thread(served: Served, open_connections: Callable[[], int]) -> None:
    """Which also shows that the count above would tell of connections that are left open."""
    with served(NOTES_CONN_MAX_AGE="600") as base:
        assert _statuses(base, "/meet") == [200] * 20
        assert open_connections() == 4


def test_runserver_serves_batches(project: None, environment: dict[str, str]) -> None:
    port = free_port()
    command = [sys.executable, "-m", "django", "runserver", "--noreload", f"127.0.0.1:{port}"]
    with running(command, port, ROOT, environment) as base:
        assert _statuses(base, "/notes") == [200] * 20
