"""Atomic groups in databases, for each way of having sessions, through the whole middleware."""

import http.client
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from contextvars import copy_context
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy import Connection, Engine, String, create_engine, event, insert, select, text
from sqlalchemy.exc import DBAPIError, InvalidRequestError
from sqlalchemy.orm import Session, mapped_column, scoped_session, sessionmaker
from sqlalchemy.pool import QueuePool

from tests import gateway
from tests.gateway import Item, environ_of, problem, send
from tests.integrations.sqlalchemy_sites import SITES, Base, Row, Site, add, core, members, names, outside, per_request, per_thread, sqlite
from tests.prepared import request as item
from tests.prepared import run
from tests.servers.postgres import Server
from tests.servers.run import gunicorn
from tests.servers.wire import post
from wsgibatch import BatchMiddleware, ConfigError, Group, SubRequest
from wsgibatch.integrations.sqlalchemy import current_connection, join_groups
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
    """Of a database with no rows."""
    found: str = request.getfixturevalue(request.param)
    return found


@pytest.fixture(params=SITES)
def site(request: pytest.FixtureRequest, url: str) -> Iterator[Site]:
    made = SITES[request.param](url)
    yield made
    made.engine.dispose()


@pytest.fixture
def atomic(site: Site) -> Atomic:
    return join_groups(site.factory)


def rows(url: str) -> str:
    """The names that a connection of its own finds, committed."""
    with outside(url).connect() as connection:
        return " ".join(connection.scalars(select(Row.name).order_by(Row.name)))


def answers(site: Site, items: list[SubRequest], atomic: Atomic, **settings: Any) -> list[Item]:
    return run(site.app, items, atomic=atomic, **settings)


def statuses(items: list[Item]) -> list[int]:
    return [answer["status_code"] for answer in items]


def codes(items: list[Item]) -> list[str]:
    return [problem(answer).get("code", "ran") for answer in items]


def checked_out(site: Site) -> int:
    assert isinstance(site.engine.pool, QueuePool)
    return site.engine.pool.checkedout()


def test_a_group_that_succeeds_leaves_all_its_rows(site: Site, url: str, atomic: Atomic) -> None:
    assert statuses(answers(site, members("/add/a", "/add/b", "/add/c"), atomic)) == [201, 201, 201]

    assert rows(url) == "a b c"


@pytest.mark.parametrize(("last", "found", "left"), [("add/c", [201, 201, 201], "a b c"), ("refuse/c", [424, 424, 422], "")])
def test_an_atomicity_group_of_odata_is_all_or_nothing(site: Site, url: str, atomic: Atomic, last: str, found: list[int], left: str) -> None:
    requests = [
        {"id": str(number), "atomicityGroup": "g", "method": "post", "url": target, "headers": {"content-type": "application/json"}, "body": {}}
        for number, target in enumerate(["add/a", "/add/b", last])
    ]
    answer = gateway.post(BatchMiddleware(site.app, dialect="odata", path="/$batch", atomic=atomic), {"requests": requests}, path="/$batch")

    assert [response["status"] for response in answer.json()["responses"]] == found
    assert rows(url) == left


@pytest.mark.parametrize(("failing", "status"), [("/refuse/c", 422), ("/crash/c", 500)])
def test_a_group_leaves_no_row_when_a_member_fails_after_its_commit(site: Site, url: str, atomic: Atomic, failing: str, status: int) -> None:
    answered = answers(site, members("/add/a", "/add/b", failing, "/add/d"), atomic)

    assert statuses(answered) == [424, 424, status, 424]
    assert rows(url) == ""


def test_a_group_leaves_no_row_when_its_commit_fails(site: Site, url: str, atomic: Atomic) -> None:
    answered = answers(site, members("/add/a", "/orphan/b", "/add/c"), atomic)

    assert codes(answered) == ["group-commit-failed"] * 3
    assert rows(url) == ""


@pytest.mark.parametrize("last", ["/add/c", "/refuse/c", "/crash/c", "/orphan/c"])
def test_a_group_gives_its_connection_back_as_it_was(site: Site, url: str, atomic: Atomic, last: str) -> None:
    answers(site, members("/add/a", "/add/b", last), atomic)

    assert checked_out(site) == 0
    with site.engine.connect() as connection:
        connection.execute(insert(Row).values(name="z"))
    assert "z" not in rows(url)


def test_a_member_sees_what_those_before_it_committed(site: Site, atomic: Atomic) -> None:
    answered = answers(site, members("/add/a", "/add/b", "/names"), atomic)

    assert answered[2]["body"] == "a b"


def test_what_stands_behind_a_group_sees_what_became_of_it(site: Site, atomic: Atomic) -> None:
    batch = [*members("/add/a", "/add/b"), item(2, "/names"), item(3, "/add/c", group="h"), item(4, "/refuse/d", group="h"), item(5, "/names")]

    answered = answers(site, batch, atomic)

    assert [answered[2]["body"], answered[5]["body"]] == ["a b", "a b"]


@pytest.mark.parametrize("executor", ["sequential", "threads"])
def test_groups_of_one_batch_are_independent(site: Site, url: str, atomic: Atomic, executor: str) -> None:
    batch = [item(index, path, group=path[-1], method="POST") for index, path in enumerate(["/add/a", "/refuse/b", "/add/c"])]

    assert statuses(answers(site, batch, atomic, executor=executor)) == [201, 422, 201]
    assert rows(url) == "a c"


def test_a_view_that_catches_an_error_and_rolls_back_undoes_its_own_only(site: Site, url: str, atomic: Atomic) -> None:
    assert statuses(answers(site, members("/add/a", "/keep/a", "/add/b"), atomic)) == [201, 200, 201]

    assert rows(url) == "a b"


def test_a_view_may_use_savepoints_of_its_own(site: Site, url: str, atomic: Atomic) -> None:
    def twice(session: Session, name: str, environ: dict[str, Any]) -> tuple[int, str]:
        session.add(Row(name=name))
        with session.begin_nested() as savepoint:
            session.add(Row(name=f"{name}2"))
            session.flush()
            savepoint.rollback()
        session.commit()
        return 201, "added"

    site.views["twice"] = twice
    answers(site, members("/twice/a", "/twice/b"), atomic)

    assert rows(url) == "a b"


def test_what_a_view_does_not_commit_is_not_there_for_the_next_member(site: Site, url: str, atomic: Atomic) -> None:
    held = []

    def leave(session: Session, name: str, environ: dict[str, Any]) -> tuple[int, str]:
        # A session that is not closed, whatever the site does with its own.
        session = site.factory.session_factory() if isinstance(site.factory, scoped_session) else site.factory()
        held.append(session)
        session.add(Row(name=name))
        session.flush()
        return 200, "left"

    site.views["leave"] = leave
    answered = answers(site, members("/leave/a", "/names", "/add/b"), atomic)

    assert statuses(answered) == [200, 200, 201]
    assert answered[1]["body"] == ""
    assert rows(url) == "b"
    assert checked_out(site) == 0
    assert not held[0].in_transaction()


def test_a_session_may_be_used_while_another_is(site: Site, url: str, atomic: Atomic) -> None:
    def audited(session: Session, name: str, environ: dict[str, Any]) -> tuple[int, str]:
        session.add(Row(name=name))
        session.flush()
        with site.factory.session_factory() if isinstance(site.factory, scoped_session) else site.factory() as other:
            add(other, f"{name}2", environ)
        session.commit()
        return 201, "added"

    site.views["audited"] = audited
    assert statuses(answers(site, members("/audited/a", "/audited/b"), atomic)) == [201, 201]
    assert rows(url) == "a a2 b b2"


@pytest.mark.filterwarnings("ignore:nested transaction already deassociated")
def test_sessions_that_take_turns_in_one_item_fail(url: str) -> None:
    site = per_request(url)

    def turns(session: Session, name: str, environ: dict[str, Any]) -> tuple[int, str]:
        with site.factory() as other:
            for turn in (session, other):
                turn.add(Row(name=f"{name}{turn is other}"))
                turn.flush()
            session.commit()
            other.commit()
        return 201, "added"

    site.views["turns"] = turns
    assert statuses(answers(site, members("/add/a", "/turns/b"), join_groups(site.factory))) == [424, 500]
    assert rows(url) == ""
    assert checked_out(site) == 0
    site.engine.dispose()


def test_hooks_of_a_commit_run_once_when_others_can_see_the_rows(site: Site, url: str, atomic: Atomic) -> None:
    seen: list[str] = []

    def hook(session: Session, name: str, environ: dict[str, Any]) -> tuple[int, str]:
        group = environ["wsgibatch.group"]
        group.on_commit(lambda: seen.append(f"commit: {rows(url)}"))
        group.on_rollback(lambda: seen.append("rollback"))
        return add(session, name, environ)

    site.views["hook"] = hook
    answers(site, members("/hook/a", "/add/b"), atomic)

    assert seen == ["commit: a b"]


@pytest.mark.parametrize("last", ["/refuse/c", "/orphan/c"])
def test_hooks_of_a_rollback_run_when_nothing_is_left(site: Site, url: str, atomic: Atomic, last: str) -> None:
    seen: list[str] = []

    def hook(session: Session, name: str, environ: dict[str, Any]) -> tuple[int, str]:
        group = environ["wsgibatch.group"]
        group.on_commit(lambda: seen.append("commit"))
        group.on_rollback(lambda: seen.append(f"rollback: {rows(url)}"))
        return add(session, name, environ)

    site.views["hook"] = hook
    answers(site, members("/hook/a", last), atomic)

    assert seen == ["rollback: "]


def test_a_request_in_another_thread_sees_committed_rows_only(site: Site, atomic: Atomic) -> None:
    def ask(session: Session, name: str, environ: dict[str, Any]) -> tuple[int, str]:
        with ThreadPoolExecutor(1) as other:
            answer = other.submit(send, site.app, environ_of(path="/names")).result()
        return answer.status, f"here: {names(session, '', environ)[1]}, there: {answer.body.decode()}"

    site.views["ask"] = ask
    send(site.app, environ_of(path="/add/a"))
    answered = answers(site, members("/add/b", "/ask", "/add/c"), atomic)

    assert answered[1]["body"] == "here: a b, there: a"


def test_a_request_in_another_thread_commits_by_itself(on_postgres: str) -> None:
    site = per_thread(on_postgres)

    def other(session: Session, name: str, environ: dict[str, Any]) -> tuple[int, str]:
        with ThreadPoolExecutor(1) as thread:
            thread.submit(send, site.app, environ_of(path=f"/add/{name}")).result()
        return 422, "no"

    site.views["other"] = other
    answers(site, members("/add/a", "/other/b"), join_groups(site.factory))
    site.engine.dispose()

    assert rows(on_postgres) == "b"


def test_groups_in_several_threads_keep_apart(on_postgres: str) -> None:
    site = per_thread(on_postgres)
    atomic = join_groups(site.factory)
    together = threading.Barrier(2, timeout=10)

    def meet(session: Session, name: str, environ: dict[str, Any]) -> tuple[int, str]:
        together.wait()
        return names(session, name, environ)

    site.views["meet"] = meet
    batches = [members("/add/a", "/meet", "/add/b"), members("/add/c", "/meet", "/refuse/d")]
    with ThreadPoolExecutor(2) as threads:
        first, second = threads.map(lambda batch: answers(site, batch, atomic), batches)
    site.engine.dispose()

    assert (first[1]["body"], statuses(second)) == ("a", [424, 424, 422])
    assert rows(on_postgres) == "a b"


def test_requests_outside_of_groups_commit_as_ever(site: Site, url: str, atomic: Atomic) -> None:
    batch = [item(0, "/add/a", method="POST"), item(1, "/refuse/b", method="POST"), *(item(2 + n, "/refuse/c", group="g") for n in range(2))]

    assert statuses(answers(site, batch, atomic)) == [201, 422, 422, 424]
    send(site.app, environ_of(path="/add/d"))
    assert rows(url) == "a b d"


def test_a_session_that_is_kept_does_not_remember_what_was_rolled_back(on_sqlite: str) -> None:
    engine = create_engine(on_sqlite)
    factory = sessionmaker(engine, expire_on_commit=False)
    atomic = join_groups(factory)
    with factory() as kept:
        with suppress(KeyError), atomic() as group, group.item():
            kept.add(Row(id=7, name="a"))
            kept.commit()
            raise KeyError
        assert kept.get(Row, 7) is None
    engine.dispose()


@pytest.mark.parametrize("name", SITES)
@pytest.mark.parametrize("database", ["on_sqlite", "on_postgres"])
def test_a_process_that_is_killed_in_a_group_leaves_no_row(request: pytest.FixtureRequest, database: str, name: str) -> None:
    url = request.getfixturevalue(database)
    with gunicorn("tests.integrations.sqlalchemy_sites:mortal()", env={"SITE": name, "DATABASE_URL": url}) as base:
        with pytest.raises((http.client.RemoteDisconnected, ConnectionResetError)):
            post(base, b"[]")
        assert rows(url) == ""
        # Nor does it leave a lock.
        with outside(url).begin() as connection:
            connection.execute(insert(Row).values(name="a"))
    assert rows(url) == "a"


def test_a_group_is_refused_while_the_session_of_its_thread_is_in_use(on_sqlite: str) -> None:
    site = per_thread(on_sqlite)
    assert isinstance(site.factory, scoped_session)
    atomic = join_groups(site.factory)
    names(site.factory(), "", {})

    assert codes(answers(site, members("/add/a", "/add/b"), atomic)) == ["group-failed"] * 2
    site.factory.remove()
    assert statuses(answers(site, members("/add/a", "/add/b"), atomic)) == [201, 201]
    site.engine.dispose()


def test_a_group_is_refused_while_the_session_of_its_thread_is_older_than_the_joining(on_sqlite: str) -> None:
    site = per_thread(on_sqlite)
    assert isinstance(site.factory, scoped_session)
    site.factory()
    atomic = join_groups(site.factory)

    assert codes(answers(site, members("/add/a"), atomic)) == ["group-failed"]
    site.factory.remove()
    assert statuses(answers(site, members("/add/a"), atomic)) == [201]
    site.engine.dispose()


def test_a_flask_app_may_be_asked_within_a_context(on_sqlite: str) -> None:
    app = Flask(__name__)
    app.config["SQLALCHEMY_DATABASE_URI"] = on_sqlite
    db = SQLAlchemy(app)
    atomic = join_groups(db.session)
    with app.app_context():
        names(db.session(), "", {})
        with pytest.raises(InvalidRequestError, match="still in use"), atomic():
            pass
        db.session.remove()
        with atomic() as group, group.item():
            add(db.session(), "a", {})
        db.engine.dispose()

    assert rows(on_sqlite) == "a"


def test_a_group_takes_part_in_all_databases_of_a_site(on_sqlite: str, postgres: Server, tmp_path: Path) -> None:
    app = Flask(__name__)
    app.config["SQLALCHEMY_DATABASE_URI"] = on_sqlite
    app.config["SQLALCHEMY_BINDS"] = {"far": postgres.database().url}
    db = SQLAlchemy(app)

    class Far(db.Model):  # type: ignore[name-defined]
        __bind_key__ = "far"
        name = mapped_column(String, primary_key=True)

    @app.post("/both/<name>/<int:status>")
    def both(name: str, status: int) -> tuple[str, int]:
        db.session.add_all([Row(name=name), Far(name=name)])
        db.session.commit()
        return "", status

    @app.get("/names")
    def all_names() -> list[str]:
        return [*db.session.scalars(select(Row.name).order_by(Row.name)), *db.session.scalars(select(Far.name).order_by(Far.name))]

    with app.app_context():
        db.create_all()
    atomic = join_groups(db.session)
    run(app, members("/both/a/201", "/both/b/422"), atomic=atomic)
    assert send(app, environ_of(path="/names", REQUEST_METHOD="GET")).json() == []
    run(app, members("/both/a/201", "/both/b/201"), atomic=atomic)
    assert send(app, environ_of(path="/names", REQUEST_METHOD="GET")).json() == ["a", "b", "a", "b"]
    with app.app_context():
        for engine in db.engines.values():
            engine.dispose()


def test_statements_past_the_session_take_part_by_the_current_connection(site: Site, url: str, atomic: Atomic) -> None:
    def core(session: Session, name: str, environ: dict[str, Any]) -> tuple[int, str]:
        connection = current_connection(site.engine)
        assert connection is not None
        connection.execute(insert(Row).values(name=name))
        return 201, "added"

    site.views["core"] = core
    answers(site, members("/core/a", "/add/b", "/refuse/c"), atomic)
    assert rows(url) == ""
    answers(site, members("/core/a", "/add/b"), atomic)
    assert rows(url) == "a b"


def test_there_is_no_current_connection_outside_of_groups(on_sqlite: str) -> None:
    engine = create_engine(on_sqlite)
    with join_groups(sessionmaker(engine))():
        assert current_connection(engine) is not None
    assert current_connection(engine) is None
    engine.dispose()


def test_a_copy_of_the_context_that_outlives_the_group_has_no_part_in_it(on_sqlite: str) -> None:
    site = per_request(on_sqlite)
    with join_groups(site.factory)() as group, group.item():
        add(site.factory(), "a", {})
        context = copy_context()
    with site.factory() as session:
        context.run(add, session, "b", {})
    site.engine.dispose()

    assert rows(on_sqlite) == "a b"


def test_execution_options_of_a_member_end_with_it(site: Site, atomic: Atomic) -> None:
    found = []

    def tenant(session: Session, name: str, environ: dict[str, Any]) -> tuple[int, str]:
        session.connection(execution_options={"schema_translate_map": {None: name}})
        return 200, "set"

    def options(session: Session, name: str, environ: dict[str, Any]) -> tuple[int, str]:
        found.append(session.connection().get_execution_options().get("schema_translate_map"))
        return names(session, name, environ)

    site.views.update(tenant=tenant, options=options)
    assert statuses(answers(site, members("/tenant/nowhere", "/options"), atomic)) == [200, 200]
    assert found == [None]


@pytest.mark.parametrize("last", ["/add/c", "/refuse/c"])
@pytest.mark.parametrize("view", ["commit", "core"])
def test_a_view_that_commits_the_connection_of_its_group_fails_with_it(site: Site, url: str, atomic: Atomic, view: str, last: str) -> None:
    answered = answers(site, members("/add/a", f"/{view}/b", last), atomic)

    assert statuses(answered) == [424, 500, 424]
    assert rows(url) == ""
    assert checked_out(site) == 0
    # It is refused in groups only, and nothing of the group is left in a connection that is used again.
    assert statuses(answers(site, [item(0, f"/{view}/b", method="POST")], atomic)) == [201]
    assert rows(url) == "b"


def test_a_view_that_hides_that_its_commit_was_refused_breaks_its_group(site: Site, url: str, atomic: Atomic) -> None:
    def hide(session: Session, name: str, environ: dict[str, Any]) -> tuple[int, str]:
        with pytest.raises(InvalidRequestError, match="cannot be committed before the group ends"):
            core(session, name, environ)
        return 201, "added"

    site.views["hide"] = hide
    assert codes(answers(site, members("/add/a", "/hide/b", "/add/c"), atomic)) == ["group-rolled-back", "transaction-broken", "group-rolled-back"]
    assert rows(url) == ""
    assert checked_out(site) == 0
    assert statuses(answers(site, members("/add/a", "/add/b"), atomic)) == [201, 201]
    assert rows(url) == "a b"


def test_a_group_whose_transaction_a_view_has_ended_fails(site: Site, url: str, atomic: Atomic) -> None:
    def end(session: Session, name: str, environ: dict[str, Any]) -> tuple[int, str]:
        connection = current_connection(site.engine)
        assert connection is not None
        connection.execute(text("ROLLBACK"))
        return 200, "ended"

    site.views["end"] = end
    assert codes(answers(site, members("/add/a", "/end"), atomic)) == ["group-rolled-back", "group-failed"]
    assert rows(url) == ""
    assert checked_out(site) == 0


@pytest.mark.filterwarnings("ignore:nested transaction already deassociated")
def test_a_group_with_a_savepoint_that_is_left_open_fails(site: Site, url: str, atomic: Atomic) -> None:
    def half(session: Session, name: str, environ: dict[str, Any]) -> tuple[int, str]:
        connection = current_connection(site.engine)
        assert connection is not None
        connection.begin_nested()
        connection.execute(insert(Row).values(name=name))
        return 200, "half"

    site.views["half"] = half
    assert codes(answers(site, members("/add/a", "/half/b"), atomic)) == ["group-rolled-back", "group-failed"]
    assert rows(url) == ""


def test_postgresql_cannot_seem_to_commit_after_an_error_that_a_view_has_hidden(on_postgres: str) -> None:
    site = per_request(on_postgres)

    def hide(session: Session, name: str, environ: dict[str, Any]) -> tuple[int, str]:
        connection = current_connection(site.engine)
        assert connection is not None
        with pytest.raises(DBAPIError):
            connection.execute(text("SELECT no_such_column"))
        return 200, "all is well"

    site.views["hide"] = hide
    assert codes(answers(site, members("/add/a", "/hide"), join_groups(site.factory))) == ["group-rolled-back", "group-failed"]
    assert rows(on_postgres) == ""
    site.engine.dispose()


def test_a_group_whose_connection_is_lost_fails(on_postgres: str) -> None:
    site = per_request(on_postgres)

    def lose(session: Session, name: str, environ: dict[str, Any]) -> tuple[int, str]:
        number = session.scalar(text("SELECT pg_backend_pid()"))
        with outside(on_postgres).connect() as connection:
            connection.execute(text("SELECT pg_terminate_backend(:number, 10000)"), {"number": number})
        with pytest.raises(DBAPIError):
            session.scalar(text("SELECT 1"))
        session.rollback()
        return 200, "all is well"

    site.views["lose"] = lose
    assert codes(answers(site, members("/add/a", "/lose"), join_groups(site.factory))) == ["group-rolled-back", "transaction-broken"]
    assert rows(on_postgres) == ""
    assert checked_out(site) == 0
    assert statuses(answers(site, members("/add/a", "/add/b"), join_groups(site.factory))) == [201, 201]
    site.engine.dispose()


def test_sqlite_by_itself_would_keep_what_a_savepoint_held(on_sqlite: str) -> None:
    engine = create_engine(on_sqlite)
    with engine.connect() as connection, connection.begin() as transaction:
        with connection.begin_nested():
            connection.execute(insert(Row).values(name="a"))
        transaction.rollback()
    engine.dispose()

    assert rows(on_sqlite) == "a"


def test_an_app_that_begins_transactions_of_sqlite_by_itself_may_go_on_doing_so(on_sqlite: str) -> None:
    site = per_request(on_sqlite)

    def connected(connection: Any, record: object) -> None:
        connection.isolation_level = None

    def begin(connection: Connection) -> None:
        connection.exec_driver_sql("BEGIN")

    event.listen(site.engine, "connect", connected)
    event.listen(site.engine, "begin", begin)
    atomic = join_groups(site.factory)
    answers(site, members("/add/a", "/refuse/b"), atomic)
    assert rows(on_sqlite) == ""
    answers(site, members("/add/a", "/add/b"), atomic)
    assert rows(on_sqlite) == "a b"
    site.engine.dispose()


def test_a_session_that_is_bound_to_a_connection_keeps_it(on_sqlite: str) -> None:
    engine = create_engine(on_sqlite)
    factory = sessionmaker(engine)
    with join_groups(factory)(), engine.connect() as connection, factory(bind=connection) as session:
        assert session.connection() is connection
    engine.dispose()


def test_sessions_that_would_join_transactions_otherwise_join_groups_all_the_same(on_sqlite: str) -> None:
    engine = create_engine(on_sqlite)
    factory = sessionmaker(engine, join_transaction_mode="control_fully")
    with join_groups(factory)() as group:
        for name in ("a", "b"):
            with group.item(), factory() as session:
                add(session, name, {})
                session.add(Row(name=name))
                session.rollback()
    engine.dispose()

    assert rows(on_sqlite) == "a b"


def test_joining_twice_changes_nothing() -> None:
    factory = sessionmaker()
    join_groups(factory)
    joined = factory.class_
    join_groups(scoped_session(factory), factory)

    assert factory.class_ is joined


def test_a_session_class_of_the_app_stays_what_it_is() -> None:
    class Mine(Session):
        def get_bind(self, *arguments: Any, **options: Any) -> Engine | Connection:
            return mine

    mine = create_engine("sqlite://")
    factory = sessionmaker(class_=Mine)
    join_groups(factory)

    assert isinstance(factory(), Mine)
    assert factory().get_bind() is mine


def make_session() -> Session:
    return Session()


@pytest.mark.parametrize("factories", [(), (Session,), (make_session,), (scoped_session(make_session),)])  # type: ignore[arg-type]
def test_what_makes_no_sessions_that_can_join_is_refused_at_start(factories: tuple[Any, ...]) -> None:
    with pytest.raises(ConfigError, match="sessionmaker"):
        join_groups(*factories)


def test_a_group_is_a_group(on_sqlite: str) -> None:
    with join_groups(sessionmaker())() as group:
        assert isinstance(group, Group)
        assert not group.broken()


@pytest.mark.parametrize(("last", "left"), [("/add/d", "a b c d"), ("/refuse/d", "")])
def test_engines_that_differ_in_their_execution_options_share_the_transaction_and_keep_their_options(url: str, last: str, left: str) -> None:
    engine = create_engine(url)
    tenants = {"tenant": engine.execution_options(schema_translate_map={"nowhere": None}), "add": engine, "refuse": engine}
    factory = sessionmaker()
    found: list[tuple[int, Any]] = []

    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        _, view, name = environ["PATH_INFO"].split("/")
        with factory(bind=tenants[view]) as session:
            told = session.connection().get_execution_options().get("schema_translate_map")
            found.append((len(session.scalars(select(Row.name)).all()), told))
            session.add(Row(name=name))
            session.commit()
        start_response("422 No" if view == "refuse" else "201 Created", [("Content-Type", "text/plain")])
        return [b"x"]

    answered = run(app, members("/tenant/a", "/add/b", "/tenant/c", last), atomic=join_groups(factory))

    assert statuses(answered) == ([201] * 4 if left else [424, 424, 424, 422])
    assert found == [(0, {"nowhere": None}), (1, None), (2, {"nowhere": None}), (3, None)]
    assert rows(url) == left
    engine.dispose()
