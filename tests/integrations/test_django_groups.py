"""Atomic groups in Django: through the whole middleware, on real databases, and the runner by itself."""

import logging
import os
import signal
import socket
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from types import ModuleType
from typing import Any

import psycopg
import pytest
import requests

from tests.gateway import Answer, environ_of, post, send
from tests.servers.run import gunicorn
from wsgibatch import BatchMiddleware, ConfigError, Group

ROOT = Path(__file__).parents[2]
PROJECT = "tests.integrations.django_project"
ALIASES = {"default": "NOTES_DATABASE", "other": "NOTES_OTHER_DATABASE"}
READING = ("texts", "streamed")
"""Views that only read."""

Response = dict[str, Any]


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, environment: dict[str, str]) -> Iterator[dict[str, str]]:
    """Two databases of a kind with the tables of the project, put in the place of its own, and the environment variables that name them."""
    if request.param == "sqlite":
        places = {variable: str(tmp_path_factory.mktemp("groups") / "notes.sqlite3") for variable in ALIASES.values()}
    else:
        server = request.getfixturevalue("postgres")
        places = {variable: server.database().url for variable in ALIASES.values()}
    variables = {**environment, **places}
    with pytest.MonkeyPatch.context() as patch:
        for name, value in variables.items():
            patch.setenv(name, value)
        from django.db import connections

        from .django_project import models, settings

        made = {alias: settings.database(variable) for alias, variable in ALIASES.items()}
        for alias, its in connections.configure_settings(made).items():
            patch.setitem(connections.settings, alias, its)
        _forget_connections()
        for alias in ALIASES:
            with connections[alias].schema_editor() as editor:
                editor.create_model(models.Note)
                editor.create_model(models.Label)
        connections.close_all()
        yield variables
        _forget_connections()


def _forget_connections() -> None:
    """Those of this thread; others have ended with their threads."""
    from django.db import connections

    for connection in connections.all(initialized_only=True):
        connection.close()
        del connections[connection.alias]


@pytest.fixture
def groups(database: dict[str, str]) -> Iterator[ModuleType]:
    """The module of the views. There are no notes, and in the end no connection of this thread is any different from what it was."""
    from django.db import connections

    from .django_project import groups, models

    for alias in ALIASES:
        models.Label.objects.using(alias).all().delete()
        models.Note.objects.using(alias).all().delete()
    groups.told.clear()
    connections.close_all()
    yield groups
    for connection in connections.all(initialized_only=True):
        assert not connection.in_atomic_block
        assert "close_if_unusable_or_obsolete" not in vars(connection)
    connections.close_all()


@pytest.fixture
def opened(groups: ModuleType) -> Iterator[list[Any]]:
    """All of Django's connections that are opened in the test, by any thread."""
    from django.db.backends.signals import connection_created

    found: list[Any] = []

    def remember(connection: Any, **kwargs: object) -> None:
        found.append(connection)

    connection_created.connect(remember)
    yield found
    connection_created.disconnect(remember)


def _open(connections: list[Any]) -> int:
    return sum(connection.connection is not None for connection in connections)


@pytest.fixture(params=[False, True], ids=["plain", "atomic_requests"])
def atomic_requests(request: pytest.FixtureRequest, database: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> bool:
    from django.db import connections

    for alias in ALIASES:
        monkeypatch.setitem(connections.settings[alias], "ATOMIC_REQUESTS", request.param)
    return bool(request.param)


@pytest.fixture(params=["sequential", "threads"])
def executor(request: pytest.FixtureRequest) -> str:
    return str(request.param)


Site = Callable[..., BatchMiddleware]


@pytest.fixture
def site(groups: ModuleType) -> Iterator[Site]:
    """Makes the project with batches in front of it."""
    from django.core.wsgi import get_wsgi_application

    from wsgibatch.integrations.django import batch

    made: list[BatchMiddleware] = []

    def make(**overrides: Any) -> BatchMiddleware:
        made.append(batch(get_wsgi_application(), dialect="odata", **overrides))
        return made[-1]

    yield make
    for application in made:
        application.close()


@pytest.fixture
def app(site: Site, atomic_requests: bool, executor: str) -> BatchMiddleware:
    """The project as its settings have it, which name the runner, in each way to run it."""
    return site(executor=executor)


def _batch(*paths: str, group: str = "g") -> list[dict[str, Any]]:
    """A group of POSTs to the views at *paths*, each with a note of its own, and of GETs where a view only reads."""
    return [
        {"id": f"{group}{place}", "atomicityGroup": group, "url": f"/groups/{path}"}
        | ({"method": "get"} if path in READING else {"method": "post", "body": {"text": str(place)}})
        for place, path in enumerate(paths, 1)
    ]


def _run(app: BatchMiddleware, *paths: str) -> list[Response]:
    """The answers to a group."""
    return _answers(post(app, {"requests": _batch(*paths)}, HTTP_HOST="localhost"))


def _answers(answer: Answer) -> list[Response]:
    assert answer.status == 200, answer
    return list(answer.json()["responses"])


def _statuses(answers: list[Response]) -> list[int]:
    return [answer["status"] for answer in answers]


def _codes(answers: list[Response]) -> list[str]:
    return [answer["body"]["error"]["innererror"]["code"] for answer in answers]


def _errors(caplog: pytest.LogCaptureFixture) -> list[str]:
    """The exceptions that were logged for batches."""
    records = [record for record in caplog.records if record.name == "wsgibatch" and record.levelno == logging.ERROR]
    return [str(record.exc_info[1]) for record in records if record.exc_info]


# All or nothing.


def test_a_group_that_succeeds_leaves_all_its_rows(app: BatchMiddleware, groups: ModuleType) -> None:
    assert _statuses(_run(app, "well", "well", "well")) == [201, 201, 201]
    assert groups.committed() == 3


@pytest.mark.parametrize(("way", "status"), [("refused", 422), ("raises", 500)])
def test_a_group_with_a_member_that_fails_leaves_no_row(app: BatchMiddleware, groups: ModuleType, way: str, status: int) -> None:
    answers = _run(app, "well", "well", way, "well")
    assert _statuses(answers) == [424, 424, status, 424]
    assert groups.committed() == 0


def test_a_group_whose_commit_fails_leaves_no_row(app: BatchMiddleware, groups: ModuleType) -> None:
    answers = _run(app, "well", "dangling", "well")
    assert _statuses(answers) == [500, 500, 500]
    assert _codes(answers) == ["group-commit-failed"] * 3
    assert groups.committed() == 0


def test_after_a_group_that_was_rolled_back_the_next_one_succeeds(app: BatchMiddleware, groups: ModuleType) -> None:
    for way in ("refused", "raises", "dangling", "closes"):
        _run(app, "well", way)
    assert _statuses(_run(app, "well", "well")) == [201, 201]
    assert groups.committed() == 2


def test_a_group_is_undone_alone(app: BatchMiddleware, groups: ModuleType) -> None:
    batch = [*_batch("well", "well", group="a"), *_batch("well", "refused", group="b"), *_batch("well", group="c")]
    answers = _answers(post(app, {"requests": batch}, HTTP_HOST="localhost"))
    assert _statuses(answers) == [201, 201, 424, 422, 201]
    assert groups.committed() == 3


@pytest.mark.parametrize("database", ["postgresql"], indirect=True)
def test_groups_of_one_batch_may_run_side_by_side(site: Site, groups: ModuleType, atomic_requests: bool) -> None:
    """Each waits for the other in the middle, which on SQLite no two writers can."""
    app = site(executor="threads", order="free")
    batch = [*_batch("well", "meets", group="a"), *_batch("well", "meets", "refused", group="b")]
    answers = _answers(post(app, {"requests": batch}, HTTP_HOST="localhost"))
    assert {answer["id"]: answer["status"] for answer in answers} == {"a1": 201, "a2": 201, "b1": 424, "b2": 424, "b3": 422}
    assert groups.committed() == 2


def test_members_see_what_was_written_before_them(app: BatchMiddleware) -> None:
    _, _, texts, streamed = _run(app, "well", "well", "texts", "streamed")
    assert texts["body"] == ["1", "2"]
    assert streamed["body"] == "1\n2\n"


def test_others_see_nothing_of_a_group_before_its_commit(site: Site, groups: ModuleType, atomic_requests: bool, executor: str) -> None:
    seen: list[int] = []
    app = site(executor=executor, after_item=lambda item, answer: seen.append(groups.committed()))
    assert _statuses(_run(app, "well", "well", "well")) == [201, 201, 201]
    assert seen == [0, 0, 0]


def test_callbacks_are_called_once_and_after_the_commit(app: BatchMiddleware, groups: ModuleType) -> None:
    assert _statuses(_run(app, "tells", "well", "tells")) == [201, 201, 201]
    assert groups.told == ["1 of 3", "3 of 3"]


@pytest.mark.parametrize("way", ["refused", "raises", "dangling"])
def test_callbacks_of_a_group_that_is_rolled_back_are_not_called(app: BatchMiddleware, groups: ModuleType, way: str) -> None:
    _run(app, "tells", way)
    assert _statuses(_run(app, "well")) == [201]
    assert groups.told == []


def test_a_view_that_swallows_an_error_of_the_database_undoes_its_group(site: Site, groups: ModuleType, executor: str) -> None:
    answers = _run(site(executor=executor), "well", "swallows", "well")
    assert _statuses(answers) == [424, 500, 424]
    assert _codes(answers)[1] == "transaction-broken"
    assert groups.committed() == 0


@pytest.mark.parametrize("atomic_requests", [True], indirect=True)
def test_under_atomic_requests_the_error_is_that_of_the_block_around_the_view(app: BatchMiddleware, groups: ModuleType) -> None:
    """As it is without a group: the view succeeds, and nothing that it wrote is left."""
    assert _statuses(_run(app, "well", "swallows", "texts")) == [201, 201, 200]
    assert groups.committed() == 1


@pytest.mark.parametrize("way", ["well", "refused", "raises", "dangling", "swallows", "closes"])
def test_no_connection_is_left_open(app: BatchMiddleware, opened: list[Any], way: str) -> None:
    _run(app, "well", way)
    assert opened
    assert _open(opened) == 0


# What else a view may do.


def test_an_atomic_block_in_a_view_is_a_savepoint(app: BatchMiddleware, groups: ModuleType) -> None:
    assert _statuses(_run(app, "careful", "well")) == [201, 201]
    assert groups.committed() == 2


def test_a_statement_that_fails_unnoticed_undoes_the_group_where_it_ends_the_transaction(site: Site, groups: ModuleType) -> None:
    from django.db import connection

    answers = _run(site(), "well", "misspelt")
    expected = {"postgresql": ([424, 500], 0), "sqlite": ([201, 201], 2)}
    assert (_statuses(answers), groups.committed()) == expected[connection.vendor]


@pytest.mark.parametrize("way", ["durable", "by_hand", "commits"])
def test_a_view_that_wants_the_transaction_for_itself_fails_with_its_group(app: BatchMiddleware, groups: ModuleType, way: str) -> None:
    assert _statuses(_run(app, "well", way, "well")) == [424, 500, 424]
    assert groups.committed() == 0


def test_a_view_that_closes_the_connection_undoes_its_group(app: BatchMiddleware, groups: ModuleType) -> None:
    assert _statuses(_run(app, "well", "closes", "well")) == [424, 500, 424]
    assert groups.committed() == 0


def test_an_asynchronous_view_takes_part(site: Site, groups: ModuleType, executor: str) -> None:
    app = site(executor=executor)
    _, second = _run(app, "well", "asynchronous")
    assert second["body"] == {"count": 2}
    assert _statuses(_run(app, "asynchronous", "refused")) == [424, 422]
    assert groups.committed() == 2


def test_a_callback_that_raises_does_not_make_the_group_seem_undone(
    app: BatchMiddleware, groups: ModuleType, caplog: pytest.LogCaptureFixture
) -> None:
    assert _statuses(_run(app, "tells", "tells_badly", "tells")) == [201, 201, 201]
    assert groups.committed() == 3
    assert groups.told == ["1 of 3"]
    assert _errors(caplog) == ["nobody to tell of 2"]


def test_hooks_of_the_group_are_called_and_leave_no_connection_open(app: BatchMiddleware, groups: ModuleType, opened: list[Any]) -> None:
    _run(app, "well", "hooks")
    _run(app, "hooks", "refused")
    assert groups.told == ["2 of 2", "1 not, of 2"]
    assert _open(opened) == 0


def test_a_hook_that_a_hook_gives_is_called_and_leaves_no_connection_open(app: BatchMiddleware, groups: ModuleType, opened: list[Any]) -> None:
    _run(app, "well", "hooks_of_hooks")
    _run(app, "hooks_of_hooks", "refused")
    assert groups.told == ["2 of 2", "1 not, of 2"]
    assert _open(opened) == 0


@pytest.mark.parametrize(("last", "outcome", "left"), [("well", [201, 201, 201], 3), ("refused", [424, 424, 422], 0)])
def test_a_group_that_a_view_of_a_group_begins_is_refused_and_the_outer_one_goes_on(
    site: Site,
    groups: ModuleType,
    atomic_requests: bool,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    last: str,
    outcome: list[int],
    left: int,
) -> None:
    app, inner = site(executor="sequential"), []
    # In process, and without the mark that an item of a batch has.
    monkeypatch.setitem(groups.WAYS, "nests", lambda request, text: inner.extend(_run(app, "well", "well")))
    answers = _run(app, "well", "nests", last)
    assert _codes(inner) == ["group-failed"] * 2
    assert _errors(caplog) == ["a view of a group on 'default' has begun another group in the same thread"]
    assert _statuses(answers) == outcome
    assert groups.committed() == left


def test_a_view_of_a_group_may_begin_one_on_another_database(
    site: Site, groups: ModuleType, atomic_requests: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    from wsgibatch.integrations.django import atomic

    app, other, inner = site(), site(atomic=atomic(using="other")), []
    monkeypatch.setitem(groups.WAYS, "nests", lambda request, text: inner.extend(_run(other, "well?on=other", "well?on=other")))
    assert _statuses(_run(app, "well", "nests", "refused")) == [424, 424, 422]
    assert _statuses(inner) == [201, 201]
    assert (groups.committed(), groups.committed("other")) == (0, 2)


def test_a_connection_that_a_callback_opens_is_not_left_open(app: BatchMiddleware, groups: ModuleType, opened: list[Any]) -> None:
    _run(app, "well", "tells_other")
    assert groups.committed("other") == 1
    assert {connection.alias for connection in opened} == {"default", "other"}
    assert _open(opened) == 0


# Without the runner's care.


@contextmanager
def _naive() -> Iterator[Group]:
    from django.db import transaction

    with transaction.atomic():
        yield Group()


def test_a_mere_atomic_block_is_torn_by_the_first_request_in_it(site: Site, groups: ModuleType, executor: str) -> None:
    """So this is what the tests above would find if connections were not kept open."""
    answers = _run(site(executor=executor, atomic=_naive), "well", "well", "well")
    assert _statuses(answers) == [500, 424, 424]
    assert groups.committed() == 0


# Several databases.


def test_a_group_that_succeeds_leaves_its_rows_in_each_database(site: Site, groups: ModuleType, atomic_requests: bool, executor: str) -> None:
    from wsgibatch.integrations.django import atomic

    app = site(executor=executor, atomic=atomic(using=("default", "other")))
    assert _statuses(_run(app, "well", "well?on=other", "well")) == [201, 201, 201]
    assert (groups.committed(), groups.committed("other")) == (2, 1)


@pytest.mark.parametrize("way", ["refused", "raises", "dangling", "swallows"])
def test_a_group_that_fails_leaves_no_row_in_any_database(site: Site, groups: ModuleType, executor: str, way: str, opened: list[Any]) -> None:
    from wsgibatch.integrations.django import atomic

    app = site(executor=executor, atomic=atomic(using=("default", "other")))
    assert min(_statuses(_run(app, "well", "well?on=other", way))) > 400
    assert (groups.committed(), groups.committed("other")) == (0, 0)
    assert _open(opened) == 0


def test_what_was_committed_before_another_database_failed_stays(site: Site, groups: ModuleType) -> None:
    from wsgibatch.integrations.django import atomic

    answers = _run(site(atomic=atomic(using=("other", "default"))), "well?on=other", "dangling")
    assert _codes(answers) == ["group-commit-failed"] * 2
    assert (groups.committed(), groups.committed("other")) == (0, 1)


def test_a_callback_that_raises_in_one_database_does_not_undo_another(site: Site, groups: ModuleType) -> None:
    from wsgibatch.integrations.django import atomic

    app = site(atomic=atomic(using=("other", "default")))
    assert _statuses(_run(app, "well", "tells_badly?on=other")) == [201, 201]
    assert (groups.committed(), groups.committed("other")) == (1, 1)


def test_a_database_that_is_not_named_takes_no_part(site: Site, groups: ModuleType) -> None:
    assert _statuses(_run(site(), "well", "well?on=other", "refused")) == [424, 424, 422]
    assert (groups.committed(), groups.committed("other")) == (0, 1)


def test_a_callback_that_raises_is_told_when_another_database_fails_then(site: Site, groups: ModuleType, caplog: pytest.LogCaptureFixture) -> None:
    from wsgibatch.integrations.django import atomic

    app = site(atomic=atomic(using=("other", "default")))
    assert _statuses(_run(app, "tells_badly?on=other", "dangling")) == [500, 500]
    assert "nobody to tell of 1" in _errors(caplog)


# Ways to configure it.


def test_the_setting_of_the_project_may_be_a_runner(site: Site, groups: ModuleType) -> None:
    from django.test import override_settings

    from wsgibatch.integrations.django import atomic

    with override_settings(WSGIBATCH={"ATOMIC": atomic()}):
        app = site()
    assert _statuses(_run(app, "well", "refused")) == [424, 422]
    assert groups.committed() == 0


def test_aliases_that_the_project_does_not_have_are_refused(site: Site) -> None:
    from wsgibatch.integrations.django import atomic

    with pytest.raises(ConfigError, match=r"atomic: there is no database 'othr' \(did you mean 'other'\?\)"):
        site(atomic=atomic(using=("default", "othr")))


def test_the_checks_tell_of_an_alias_that_the_project_does_not_have(groups: ModuleType) -> None:
    from django.core import checks
    from django.test import override_settings

    from wsgibatch.integrations.django import atomic

    with override_settings(WSGIBATCH={"atomic": atomic(using="third")}):
        found = {message.id: message.msg for message in checks.run_checks()}
    assert found["wsgibatch.E001"].startswith("atomic: there is no database 'third'")


def test_a_group_needs_a_database(groups: ModuleType) -> None:
    from wsgibatch.integrations.django import atomic

    with pytest.raises(ConfigError, match="at least one database"):
        atomic(using=())


# The runner by itself.


def _send(path: str) -> Answer:
    """The answer of the project, to one request."""
    from django.core.wsgi import get_wsgi_application

    method = "GET" if path in READING else "POST"
    answer = send(get_wsgi_application(), environ_of(b'{"text": "x"}', f"/groups/{path}", REQUEST_METHOD=method, HTTP_HOST="localhost"))
    assert answer.status in (200, 201)
    return answer


@pytest.fixture(params=["default", "both"])
def runner(request: pytest.FixtureRequest, groups: ModuleType) -> Any:
    from wsgibatch.integrations.django import atomic

    return atomic() if request.param == "default" else atomic(using=["default", "other", "default"])


def test_one_runner_serves_groups_side_by_side(groups: ModuleType, runner: Any) -> None:
    from django.db import connections

    def group(last: str) -> None:
        with suppress(ZeroDivisionError), runner() as entered:
            with entered.item():
                # On SQLite there is one writer at a time, so both write after they have met.
                groups.meeting.wait()
            with entered.item():
                _send("well")
            if last == "failing":
                raise ZeroDivisionError
        assert all(connection.connection is None for connection in connections.all(initialized_only=True))

    with ThreadPoolExecutor(2) as threads:
        list(threads.map(group, ["failing", "succeeding"]))
    assert groups.committed() == 1


def test_a_request_of_another_thread_is_cleaned_up_after_as_ever(groups: ModuleType, runner: Any, opened: list[Any]) -> None:
    with runner() as group:
        with group.item():
            _send("well")
        before = len(opened)
        with ThreadPoolExecutor(1) as other:
            assert other.submit(_send, "texts").result().json() == []
        assert len(opened) == before + 1
        assert _open(opened[before:]) == 0
        assert _open(opened) == before


def test_a_persistent_connection_outlives_the_group(groups: ModuleType, runner: Any, monkeypatch: pytest.MonkeyPatch, opened: list[Any]) -> None:
    from django.db import connections

    for alias in ALIASES:
        monkeypatch.setitem(connections.settings[alias], "CONN_MAX_AGE", 600)
    for _ in range(2):
        with runner() as group, group.item():
            _send("well")
    assert len(opened) == _open(opened) == len({connection.alias for connection in opened})


def test_a_persistent_connection_that_is_too_old_is_not_used(groups: ModuleType, monkeypatch: pytest.MonkeyPatch, opened: list[Any]) -> None:
    from django.db import connection, connections

    from wsgibatch.integrations.django import atomic

    monkeypatch.setitem(connections.settings["default"], "CONN_MAX_AGE", 600)
    _send("texts")
    connection.close_at = time.monotonic()
    old = connection.connection
    with atomic() as group, group.item():
        _send("well")
    assert old is not None
    assert connection.connection is not old
    assert len(opened) == 2


@pytest.mark.parametrize("database", ["postgresql"], indirect=True)
def test_a_connection_that_the_server_has_ended_is_not_used(
    groups: ModuleType, database: dict[str, str], monkeypatch: pytest.MonkeyPatch, opened: list[Any]
) -> None:
    from django.db import connection, connections

    monkeypatch.setitem(connections.settings["default"], "CONN_MAX_AGE", 600)
    monkeypatch.setitem(connections.settings["default"], "CONN_HEALTH_CHECKS", True)
    from wsgibatch.integrations.django import atomic

    _send("texts")
    with psycopg.connect(_conninfo(database), autocommit=True) as admin:
        admin.execute("SELECT pg_terminate_backend(%s, 10000)", [connection.connection.info.backend_pid])
    with atomic() as group, group.item():
        _send("well")
    assert len(opened) == 2


def test_a_transaction_around_the_group_has_the_last_word(groups: ModuleType, runner: Any) -> None:
    """As a ``TestCase`` has one around each test."""
    from django.db import connection, transaction

    from .django_project.models import Note

    with transaction.atomic():
        with runner() as group, group.item():
            _send("well")
        with suppress(ZeroDivisionError), runner() as group, group.item():
            _send("well")
            raise ZeroDivisionError
        assert connection.connection is not None
        assert Note.objects.count() == 1
        transaction.set_rollback(True)
    assert groups.committed() == 0


def test_a_test_case_sees_the_callbacks_of_the_views_only(groups: ModuleType) -> None:
    from django.db import transaction
    from django.test import TestCase

    from wsgibatch.integrations.django import atomic

    with transaction.atomic():
        with TestCase.captureOnCommitCallbacks() as callbacks, atomic() as group, group.item():
            _send("tells")
        assert len(callbacks) == 1
        transaction.set_rollback(True)


def test_a_group_whose_connection_was_closed_is_not_told_as_committed(groups: ModuleType) -> None:
    from django.db import connection
    from django.db.transaction import TransactionManagementError

    from wsgibatch.integrations.django import atomic

    def left_normally() -> None:
        with atomic() as group, group.item():
            _send("well")
            connection.close()

    with pytest.raises(TransactionManagementError, match="'default' ended before its time"):
        left_normally()
    assert groups.committed() == 0


def test_a_group_is_refused_where_django_does_not_commit(groups: ModuleType, monkeypatch: pytest.MonkeyPatch, opened: list[Any]) -> None:
    from django.db import connections
    from django.db.transaction import TransactionManagementError

    from wsgibatch.integrations.django import atomic

    monkeypatch.setitem(connections.settings["default"], "AUTOCOMMIT", False)
    with pytest.raises(TransactionManagementError, match="AUTOCOMMIT"):
        atomic().__enter__()
    assert len(opened) == 1
    assert _open(opened) == 0


def test_a_database_that_cannot_be_reached_leaves_the_others_as_they_were(
    groups: ModuleType, monkeypatch: pytest.MonkeyPatch, opened: list[Any]
) -> None:
    from django.db import OperationalError, connections

    from wsgibatch.integrations.django import atomic

    monkeypatch.setitem(connections.settings["default"], "NAME", "/nowhere/at/all")
    with pytest.raises(OperationalError):
        atomic(using=("default", "other")).__enter__()
    assert [connection.alias for connection in opened] == ["other"]
    assert _open(opened) == 0


# Under a real server.


Served = Callable[..., AbstractContextManager[str]]


@pytest.fixture
def served(groups: ModuleType, database: dict[str, str], executor: str, tmp_path: Path) -> Served:
    """Starts the project under gunicorn with two workers."""

    def start(**variables: str) -> AbstractContextManager[str]:
        arguments = ("--worker-class", "gthread", "--workers", "2", "--threads", "4", "--pid", str(tmp_path / "pid"))
        env = {**database, "NOTES_EXECUTOR": executor, **variables}
        return gunicorn(*arguments, f"{PROJECT}.wsgi", cwd=ROOT, env=env)

    return start


def _conninfo(database: dict[str, str]) -> str:
    return database["NOTES_DATABASE"].replace("postgresql+psycopg:", "postgresql:")


def _sessions(database: dict[str, str], master: int) -> int:
    """How many connections to the first database there are: as the server counts them, or as descriptors that the workers of a gunicorn have open."""
    place = database["NOTES_DATABASE"]
    if place.startswith("postgresql"):
        with psycopg.connect(_conninfo(database)) as admin:
            counted = admin.execute("SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()")
            [number] = counted.fetchone() or [0]
            return int(number)
    workers = Path(f"/proc/{master}/task/{master}/children").read_text().split()
    assert workers
    descriptors = [descriptor for worker in workers for descriptor in Path(f"/proc/{worker}/fd").iterdir()]
    return sum(os.path.realpath(descriptor).startswith(place) for descriptor in descriptors)


def _settled(database: dict[str, str], master: int) -> int:
    """The same, once the server has noticed which clients have left, for which it has ten seconds."""
    until = time.monotonic() + 10
    while (number := _sessions(database, master)) and time.monotonic() < until:
        time.sleep(0.02)
    return number


def _sent(base: str, *paths: str) -> list[int]:
    """The statuses of a group."""
    answer = requests.post(f"{base}/batch", json={"requests": _batch(*paths)}, headers={"OData-Version": "4.01"}, timeout=60)
    return _statuses(answer.json()["responses"])


def _everything(base: str) -> list[list[int]]:
    """Groups that end in each way, side by side; the database decides in which order."""
    with ThreadPoolExecutor(4) as clients:
        return list(clients.map(lambda way: _sent(base, "well", way), ["well", "refused", "dangling", "raises"] * 3))


@pytest.mark.parametrize("setting", ["no", "yes"])
def test_groups_side_by_side_end_as_they_should_and_leave_no_connection(
    served: Served, groups: ModuleType, database: dict[str, str], setting: str, tmp_path: Path
) -> None:
    with served(NOTES_ATOMIC_REQUESTS=setting) as base:
        assert _everything(base) == [[201, 201], [424, 422], [500, 500], [424, 500]] * 3
        assert groups.committed() == 6
        assert _settled(database, int((tmp_path / "pid").read_text())) == 0


def test_persistent_connections_would_be_counted(served: Served, database: dict[str, str], tmp_path: Path) -> None:
    with served(NOTES_CONN_MAX_AGE="600") as base:
        _everything(base)
        assert _sessions(database, int((tmp_path / "pid").read_text())) > 0


def test_a_process_that_is_killed_in_the_middle_of_a_group_leaves_no_row(
    served: Served, groups: ModuleType, database: dict[str, str], tmp_path: Path
) -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as meeting,
        served(NOTES_PORT=str(meeting.getsockname()[1])) as base,
        ThreadPoolExecutor(1) as client,
    ):
        meeting.settimeout(30)
        sent = client.submit(_sent, base, "well", "well", "stays", "well")
        with meeting.accept()[0] as view, view.makefile() as lines:
            os.kill(int(lines.readline()), signal.SIGKILL)
            with pytest.raises(requests.ConnectionError):
                sent.result()
        assert _settled(database, int((tmp_path / "pid").read_text())) == 0
        assert groups.committed() == 0
        assert _sent(base, "well", "well") == [201, 201]
        assert groups.committed() == 2
