"""Atomic groups of a Pyramid app, in the two ways that there are, through the whole middleware."""

import http.client
import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import zope.sqlalchemy
from sqlalchemy import event, insert, select, text
from sqlalchemy.exc import DBAPIError, IntegrityError, InvalidRequestError
from sqlalchemy.orm import Session
from sqlalchemy.pool import QueuePool

from tests.gateway import Item, environ_of, send
from tests.gateway import post as call
from tests.integrations.pyramid_site import WAYS, Base, Person, Site, add, commit, outside, shared, site, sqlite, swallow, tm_session
from tests.servers.postgres import Server
from tests.servers.run import gunicorn
from tests.servers.wire import post
from wsgibatch import BatchMiddleware, ConfigError
from wsgibatch.integrations.pyramid import atomic
from wsgibatch.protocols import Atomic


@pytest.fixture(scope="module")
def postgres_url(postgres: Server) -> str:
    return postgres.database().url


@pytest.fixture
def on_postgres(postgres_url: str) -> Iterator[str]:
    engine = outside(postgres_url)
    Base.metadata.create_all(engine)
    yield postgres_url
    Base.metadata.drop_all(engine)


@pytest.fixture
def on_sqlite(tmp_path: Path) -> str:
    Base.metadata.create_all(outside(sqlite(tmp_path)))
    return sqlite(tmp_path)


@pytest.fixture(params=["on_sqlite", "on_postgres"])
def url(request: pytest.FixtureRequest) -> str:
    """Of a database with nobody in it."""
    found: str = request.getfixturevalue(request.param)
    return found


@pytest.fixture
def people(url: str) -> Iterator[Site]:
    made = site(url)
    yield made
    made.engine.dispose()


@pytest.fixture(params=WAYS)
def way(request: pytest.FixtureRequest, people: Site) -> Atomic:
    return WAYS[request.param](people)


def batch_of(*paths: str, group: str | None = "g") -> dict[str, list[Item]]:
    members = [{"id": str(index), "method": "post", "url": path} for index, path in enumerate(paths)]
    return {"requests": [member | ({"atomicityGroup": group} if group else {}) for member in members]}


def answers(people: Site, way: Atomic | None, *paths: str, group: str | None = "g") -> list[Item]:
    """What the items of a batch were answered, each a POST to one of *paths*."""
    answer = call(BatchMiddleware(people.app, dialect="odata", atomic=way), batch_of(*paths, group=group))
    assert answer.status == 200, answer
    return list(answer.json()["responses"])


def statuses(items: list[Item]) -> list[int]:
    return [item["status"] for item in items]


def code(item: Item) -> str:
    """Of an answer that is not the app's."""
    found: str = item["body"]["error"]["innererror"]["code"]
    return found


def rows(url: str) -> list[str]:
    """The names that a connection of its own finds, committed."""
    with outside(url).connect() as connection:
        return list(connection.scalars(select(Person.name).order_by(Person.name)))


def checked_out(people: Site) -> int:
    assert isinstance(people.engine.pool, QueuePool)
    return people.engine.pool.checkedout()


def test_a_group_that_succeeds_leaves_all_its_rows(people: Site, url: str, way: Atomic) -> None:
    assert statuses(answers(people, way, "/add/a", "/add/b", "/add/c")) == [201, 201, 201]

    assert rows(url) == ["a", "b", "c"]


@pytest.mark.parametrize(("failing", "status"), [("/refuse/c", 422), ("/crash/c", 500), ("/rude/c", 409), ("/conflict/c", 409)])
def test_a_group_leaves_no_row_when_a_member_fails(people: Site, url: str, way: Atomic, failing: str, status: int) -> None:
    answered = answers(people, way, "/add/a", "/add/b", failing, "/add/d")

    assert statuses(answered) == [424, 424, status, 424]
    assert rows(url) == []


def test_a_group_leaves_no_row_when_its_commit_fails(people: Site, url: str, way: Atomic) -> None:
    answered = answers(people, way, "/add/a", "/orphan/b", "/add/c")

    assert [code(item) for item in answered] == ["group-commit-failed"] * 3
    assert rows(url) == []


@pytest.mark.parametrize("last", ["/add/c", "/refuse/c"])
def test_a_view_that_commits_the_connection_of_its_group_fails_with_it(people: Site, url: str, way: Atomic, last: str) -> None:
    answered = answers(people, way, "/add/a", "/commit/b", last)

    assert [code(item) for item in answered] == ["group-rolled-back", "app-failed", "group-rolled-back"]
    assert rows(url) == []
    assert checked_out(people) == 0
    # Nothing of the group is left in a connection that is used again.
    assert statuses(answers(people, way, "/add/a", "/add/b", "/add/c")) == [201, 201, 201]
    assert rows(url) == ["a", "b", "c"]


def test_a_view_that_hides_that_its_commit_was_refused_breaks_its_group(people: Site, url: str) -> None:
    def hide(request: Any, name: str) -> str:
        with pytest.raises(InvalidRequestError, match="cannot be committed before the group ends"):
            commit(request, name)
        return name

    people.views["hide"] = hide
    answered = answers(people, shared(people), "/add/a", "/hide/b", "/add/c")

    assert [code(item) for item in answered] == ["group-rolled-back", "transaction-broken", "group-rolled-back"]
    assert rows(url) == []
    assert statuses(answers(people, shared(people), "/add/a", "/add/b")) == [201, 201]
    assert rows(url) == ["a", "b"]


@pytest.mark.parametrize("behind", [[], ["/add/b"], ["/names/"]])
def test_a_view_that_swallows_a_failed_flush_breaks_its_group(people: Site, url: str, behind: list[str]) -> None:
    answered = answers(people, shared(people), "/add/a", "/swallow/a", *behind)

    assert [code(item) for item in answered] == ["group-rolled-back", "transaction-broken", *["group-rolled-back" for _ in behind]]
    assert rows(url) == []


def test_a_view_that_swallows_a_failed_flush_in_a_savepoint_that_it_leaves_open_breaks_its_group(people: Site, url: str) -> None:
    def half(request: Any, name: str) -> str:
        request.dbsession.begin_nested()
        return swallow(request, name)

    people.views["half"] = half
    answered = answers(people, shared(people), "/add/a", "/half/a", "/add/b")

    assert [code(item) for item in answered] == ["group-rolled-back", "transaction-broken", "group-rolled-back"]
    assert rows(url) == []


@pytest.mark.parametrize("last", ["/add/c", "/names/"])
def test_a_group_whose_transaction_a_view_has_ended_in_the_database_fails(people: Site, way: Atomic, last: str) -> None:
    def end(request: Any, name: str) -> str:
        request.dbsession.execute(text("COMMIT"))
        return name

    people.views["end"] = end
    answered = answers(people, way, "/names/", "/end/", last)

    assert answered[1]["status"] == 500
    assert [code(answered[0]), code(answered[2])] == ["group-rolled-back"] * 2
    assert checked_out(people) == 0


@pytest.mark.parametrize("behind", [[], ["/add/b"]])
def test_postgresql_cannot_seem_to_commit_after_an_error_that_a_view_has_hidden(on_postgres: str, behind: list[str]) -> None:
    people = site(on_postgres)

    def hide(request: Any, name: str) -> str:
        with pytest.raises(DBAPIError):
            request.dbsession.execute(text("SELECT no_such_column"))
        return name

    people.views["hide"] = hide
    answered = answers(people, shared(people), "/add/a", "/hide/", *behind)

    assert [code(item) for item in answered] == ["group-rolled-back", "group-failed", *["group-rolled-back" for _ in behind]]
    assert rows(on_postgres) == []
    people.engine.dispose()


def test_a_savepoint_that_a_view_leaves_open_is_kept_as_it_is_without_a_group(people: Site, url: str, way: Atomic) -> None:
    def half(request: Any, name: str) -> str:
        request.dbsession.begin_nested()
        return add(request, name)

    people.views["half"] = half
    assert statuses(answers(people, way, "/add/a", "/half/b", "/keep/a", "/add/c")) == [201, 201, 200, 201]
    assert statuses(answers(people, way, "/half/d", group=None)) == [201]
    assert rows(url) == ["a", "b", "c", "d"]


def test_what_the_database_does_not_accept_fails_with_the_member_that_wrote_it(people: Site, url: str, way: Atomic) -> None:
    # No view asks for the rows to be written at once.
    answered = answers(people, way, "/add/a", "/add/a", "/add/b")

    assert statuses(answered) == [424, 500, 424]
    assert rows(url) == []


@pytest.mark.parametrize("last", ["/add/c", "/refuse/c", "/crash/c", "/orphan/c", "/add/a"])
def test_a_group_gives_its_connection_back(people: Site, url: str, way: Atomic, last: str) -> None:
    answers(people, way, "/add/a", "/add/b", last)

    assert checked_out(people) == 0
    # Nor is there a lock.
    with outside(url).begin() as connection:
        connection.execute(insert(Person).values(name="z"))


def test_a_later_member_sees_the_rows_of_earlier_ones(people: Site, way: Atomic) -> None:
    assert answers(people, way, "/add/a", "/add/b", "/names/")[-1]["body"] == ["a", "b"]


def test_a_later_member_sees_what_has_changed_below_an_object_that_somebody_holds(people: Site, way: Atomic) -> None:
    held: list[Person] = []

    def hold(request: Any, name: str) -> str:
        person = request.dbsession.scalars(select(Person)).one()
        held.append(person)
        return str(person.name)

    people.views["hold"] = hold

    assert [item["body"] for item in answers(people, way, "/add/a", "/hold/", "/rename/b", "/hold/")] == ["a", "a", "b", "b"]


def test_another_connection_sees_the_rows_only_when_the_group_has_ended(people: Site, url: str, way: Atomic) -> None:
    people.views["look"] = lambda request, name: rows(url)

    assert [item["body"] for item in answers(people, way, "/add/a", "/look/", "/add/b", "/look/")] == ["a", [], "b", []]
    assert rows(url) == ["a", "b"]


@pytest.mark.parametrize(("last", "told"), [("/add/b", [["a", "b"]]), ("/refuse/b", []), ("/orphan/b", [])])
def test_on_commit_is_called_once_and_after_the_commit(people: Site, url: str, way: Atomic, last: str, told: list[list[str]]) -> None:
    seen: list[list[str]] = []

    def hooked(request: Any, name: str) -> str:
        request.environ["wsgibatch.group"].on_commit(lambda: seen.append(rows(url)))
        return add(request, name)

    people.views["hooked"] = hooked
    answers(people, way, "/hooked/a", last)

    assert seen == told


@pytest.mark.parametrize(("last", "told"), [("/add/b", []), ("/refuse/b", [[]]), ("/orphan/b", [[]])])
def test_on_rollback_is_called_once_and_after_the_rollback(people: Site, url: str, way: Atomic, last: str, told: list[list[str]]) -> None:
    seen: list[list[str]] = []

    def hooked(request: Any, name: str) -> str:
        request.environ["wsgibatch.group"].on_rollback(lambda: seen.append(rows(url)))
        return add(request, name)

    people.views["hooked"] = hooked
    answers(people, way, "/hooked/a", last)

    assert seen == told


def test_requests_outside_of_groups_are_committed_or_aborted_by_the_tween(people: Site, url: str, way: Atomic) -> None:
    answered = answers(people, way, "/add/a", "/crash/b", "/doom/c", "/rude/d", "/add/e", group=None)

    assert statuses(answered) == [201, 500, 201, 409, 201]
    assert rows(url) == ["a", "e"]


def test_a_request_by_itself_is_committed_by_the_tween_before_and_after_a_group(people: Site, url: str, way: Atomic) -> None:
    app = BatchMiddleware(people.app, dialect="odata", atomic=way)

    for name in "ac":
        assert send(app, environ_of(path=f"/add/{name}")).status == 201
        assert name in rows(url)
        call(app, batch_of("/add/b", "/refuse/d"))
    assert rows(url) == ["a", "c"]


def test_a_batch_may_hold_several_groups(people: Site, url: str, way: Atomic) -> None:
    first, second = (batch_of("/add/a", last, group=last)["requests"] for last in ("/refuse/b", "/add/c"))
    alone = batch_of("/add/d", group=None)["requests"]
    requests = [request | {"id": str(index)} for index, request in enumerate([*first, *alone, *second])]

    answer = call(BatchMiddleware(people.app, dialect="odata", atomic=way), {"requests": requests})

    assert statuses(answer.json()["responses"]) == [424, 422, 201, 201, 201]
    assert rows(url) == ["a", "c", "d"]


def test_a_savepoint_that_a_view_rolls_back_undoes_nothing_else(people: Site, url: str, way: Atomic) -> None:
    assert statuses(answers(people, way, "/add/a", "/keep/a", "/keep/b")) == [201, 200, 201]

    assert rows(url) == ["a", "b"]


def test_a_savepoint_that_comes_before_all_else_is_undone_with_the_group(people: Site, url: str, way: Atomic) -> None:
    assert statuses(answers(people, way, "/keep/a", "/refuse/b")) == [424, 422]

    assert rows(url) == []


@pytest.mark.parametrize("name", WAYS)
@pytest.mark.parametrize("database", ["on_sqlite", "on_postgres"])
def test_a_process_that_is_killed_in_a_group_leaves_no_row(request: pytest.FixtureRequest, database: str, name: str) -> None:
    url = request.getfixturevalue(database)
    with gunicorn("tests.integrations.pyramid_site:served()", env={"WAY": name, "DATABASE_URL": url}) as base:
        with pytest.raises((http.client.RemoteDisconnected, ConnectionResetError)):
            post(base, json.dumps(batch_of("/add/a", "/die/a", "/add/b")).encode())
        assert rows(url) == []
        # Nor does it leave a lock.
        with outside(url).begin() as connection:
            connection.execute(insert(Person).values(name="z"))


# One transaction and one session for all


def test_members_share_one_transaction_and_one_session(people: Site) -> None:
    seen: set[tuple[int, int, int]] = set()

    def look(request: Any, name: str) -> str:
        seen.add((id(request.tm), id(request.tm.get()), id(request.dbsession)))
        return name

    people.views["look"] = look

    assert statuses(answers(people, shared(people), "/look/", "/look/", "/look/")) == [200, 200, 200]
    assert len(seen) == 1


def test_a_group_whose_transaction_is_doomed_is_undone(people: Site, url: str) -> None:
    answered = answers(people, shared(people), "/add/a", "/doom/b", "/add/c")

    assert statuses(answered) == [424, 500, 424]
    assert code(answered[1]) == "transaction-broken"
    assert rows(url) == []


def test_an_item_whose_own_transaction_is_doomed_undoes_its_own_work_where_it_joins_a_group(people: Site, url: str) -> None:
    assert statuses(answers(people, WAYS["joined"](people), "/add/a", "/doom/b", "/add/c")) == [201, 201, 201]

    assert rows(url) == ["a", "c"]


def test_a_group_whose_transaction_a_view_has_aborted_is_undone(people: Site, url: str) -> None:
    def abort(request: Any, name: str) -> str:
        request.tm.abort()
        return name

    people.views["abort"] = abort
    answered = answers(people, shared(people), "/add/a", "/abort/", "/add/c")

    assert code(answered[1]) == "transaction-broken"
    assert rows(url) == []


def test_a_view_that_begins_another_transaction_breaks_its_group(people: Site, url: str) -> None:
    def begin(request: Any, name: str) -> str:
        request.tm.abort()
        request.tm.begin()
        return add(request, name)

    people.views["begin"] = begin
    answered = answers(people, shared(people), "/add/a", "/begin/b", "/add/c")

    assert code(answered[1]) == "transaction-broken"
    assert rows(url) == []


def test_a_view_cannot_commit_the_transaction_of_its_group(people: Site, url: str) -> None:
    def commit(request: Any, name: str) -> str:
        add(request, name)
        request.tm.commit()
        return name

    people.views["commit"] = commit

    assert statuses(answers(people, shared(people), "/add/a", "/commit/b", "/add/c")) == [424, 500, 424]
    assert rows(url) == []


def test_a_view_that_hides_a_failure_of_the_transaction_breaks_its_group(on_sqlite: str) -> None:
    people = site(on_sqlite)

    def hide(request: Any, name: str) -> str:
        # zope.sqlalchemy offers no savepoints in SQLite, and a savepoint that fails fails the transaction.
        with pytest.raises(TypeError, match="Savepoints unsupported"):
            request.tm.savepoint()
        return name

    people.views["hide"] = hide
    answered = answers(people, shared(people), "/add/a", "/hide/", "/add/c")

    assert code(answered[1]) == "transaction-broken"
    assert rows(on_sqlite) == []
    people.engine.dispose()


def test_a_group_in_which_a_view_rolls_the_session_back_leaves_no_row(people: Site, url: str) -> None:
    def hide(request: Any, name: str) -> str:
        add(request, name)
        with pytest.raises(IntegrityError):
            request.dbsession.flush()
        request.dbsession.rollback()
        return add(request, "another")

    people.views["hide"] = hide

    answered = answers(people, shared(people), "/add/a", "/hide/a", "/add/c")

    assert [code(item) for item in answered] == ["group-rolled-back", "transaction-broken", "group-rolled-back"]
    assert rows(url) == []


def test_an_item_with_a_session_of_its_own_breaks_its_group(people: Site, url: str, caplog: pytest.LogCaptureFixture) -> None:
    def own(request: Any, name: str) -> str:
        session = tm_session(people.factory, request.tm)
        session.add(Person(name=name))
        return name

    people.views["own"] = own
    with caplog.at_level(logging.ERROR, "wsgibatch"):
        answered = answers(people, shared(people), "/add/a", "/own/b", "/add/c")

    assert code(answered[1]) == "group-failed"
    assert rows(url) == []
    assert checked_out(people) == 0
    [record] = caplog.records
    assert "environ['app.dbsession']" in str(record.exc_info)


@pytest.mark.parametrize(("last", "told"), [("/add/b", [(True, ["a", "b"])]), ("/refuse/b", []), ("/orphan/b", [(False, [])])])
def test_what_waits_for_the_transaction_waits_for_the_group(people: Site, url: str, last: str, told: list[tuple[bool, list[str]]]) -> None:
    seen: list[tuple[bool, list[str]]] = []

    def mail(request: Any, name: str) -> str:
        request.tm.get().addAfterCommitHook(lambda committed: seen.append((committed, rows(url))))
        return add(request, name)

    people.views["mail"] = mail
    answers(people, shared(people), "/mail/a", last)

    assert seen == told


@pytest.mark.parametrize(("last", "told"), [("/add/b", []), ("/refuse/b", [[]]), ("/doom/b", [[]])])
def test_whatever_takes_part_in_the_transaction_is_aborted_with_the_group(people: Site, url: str, last: str, told: list[list[str]]) -> None:
    seen: list[list[str]] = []

    def waiting(request: Any, name: str) -> str:
        request.tm.get().addAfterAbortHook(lambda: seen.append(rows(url)))
        return add(request, name)

    people.views["waiting"] = waiting
    answers(people, shared(people), "/waiting/a", last)

    assert seen == told


def test_an_exception_that_becomes_no_error_is_no_failure(people: Site, url: str) -> None:
    assert statuses(answers(people, shared(people), "/add/a", "/move/b")) == [201, 302]

    assert rows(url) == ["a", "b"]


def test_a_group_may_be_of_readers_only(people: Site) -> None:
    assert [item["body"] for item in answers(people, shared(people), "/names/", "/names/")] == [[], []]
    assert checked_out(people) == 0


def test_a_session_that_outlives_its_transactions_is_closed_with_its_group(people: Site) -> None:
    made: list[Session] = []

    def kept(manager: object) -> Session:
        made.append(people.factory())
        zope.sqlalchemy.register(made[0], transaction_manager=manager, keep_session=True)
        return made[0]

    assert statuses(answers(people, atomic(kept), "/names/", "/names/")) == [200, 200]
    assert checked_out(people) == 0


def test_a_group_whose_session_cannot_be_made_is_not_run(people: Site, url: str) -> None:
    def fail(manager: object) -> Session:
        raise ConnectionError("no session today")

    answered = answers(people, atomic(fail), "/add/a", "/add/b")

    assert [code(item) for item in answered] == ["group-failed"] * 2
    assert rows(url) == []


def test_an_app_that_begins_transactions_in_sqlite_itself_is_left_to_it(on_sqlite: str) -> None:
    people = site(on_sqlite)
    begun: list[str] = []

    def begin(connection: Any) -> None:
        begun.append("BEGIN")
        connection.exec_driver_sql("BEGIN")

    event.listen(people.engine, "begin", begin)

    assert statuses(answers(people, shared(people), "/keep/a", "/add/b")) == [201, 201]
    assert begun == ["BEGIN"]
    assert rows(on_sqlite) == ["a", "b"]
    people.engine.dispose()


@pytest.mark.parametrize("wrong", [None, "wsgibatch.integrations.pyramid:atomic"])
def test_what_makes_no_session_is_refused(wrong: Any) -> None:
    with pytest.raises(ConfigError, match="a callable that makes a session"):
        atomic(wrong)
