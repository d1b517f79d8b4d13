"""What sessions commit is known to whoever keeps replies, and nothing else is."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy import Column, ForeignKey, Table, create_engine, delete, event, insert, select, text, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column, relationship, scoped_session, sessionmaker

from tests.gateway import environ_of, send
from tests.prepared import Prepared
from tests.prepared import request as item
from tests.test_idempotency import Clock
from tests.test_tags import is_replay
from wsgibatch import BatchMiddleware, ConfigError, tags
from wsgibatch.idempotency import Dimensions, IdempotencyMiddleware, Policy
from wsgibatch.integrations.sqlalchemy import join_groups, track
from wsgibatch.stores.memory import MemoryStore


class Base(DeclarativeBase):
    pass


owners = Table(
    "owners", Base.metadata, Column("user", ForeignKey("users.id"), primary_key=True), Column("house", ForeignKey("houses.id"), primary_key=True)
)


class User(Base):
    __tablename__ = "users"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str | None] = mapped_column(unique=True)
    kind: Mapped[str] = mapped_column()
    houses: Mapped[list["House"]] = relationship(secondary=owners)
    __mapper_args__ = {"polymorphic_on": "kind", "polymorphic_identity": "user"}  # noqa: RUF012 - as SQLAlchemy has it


class Admin(User):
    __tablename__ = "admins"

    id: Mapped[int] = mapped_column(ForeignKey("users.id"), primary_key=True)
    level: Mapped[int] = mapped_column(default=1)
    __mapper_args__ = {"polymorphic_identity": "admin"}  # noqa: RUF012 - as above


class Seat(Base):
    __tablename__ = "seats"

    row: Mapped[int] = mapped_column(primary_key=True)
    letter: Mapped[str] = mapped_column(primary_key=True)
    taken: Mapped[bool] = mapped_column(default=False)


class House(Base):
    __tablename__ = "houses"

    id: Mapped[int] = mapped_column(primary_key=True)


Do = Callable[[Session], object]


class Told(MemoryStore):
    """A store that remembers in the clear what is touched."""

    def __init__(self, clock: Clock) -> None:
        super().__init__(clock=clock)
        self.names: set[str] = set()


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> Iterator[Told]:
    """What is known to be changed, in the only store there is."""
    store = Told(Clock())
    monkeypatch.setattr(tags, "_signers", type(tags._signers)())
    monkeypatch.setattr(tags, "_used", [])
    sign = tags.Signer.sign

    def noted(self: tags.Signer, names: Iterable[str], owner: str = "") -> Any:
        names = list(names)
        store.names.update(names)
        return sign(self, names, owner)

    monkeypatch.setattr(tags.Signer, "sign", noted)
    tags.use(store)
    yield store
    assert tags.current.get() is None


@pytest.fixture(params=["sessionmaker", "scoped_session"])
def factory(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Any]:
    engine = create_engine(f"sqlite:///{tmp_path}/rows.db")

    @event.listens_for(engine, "connect")
    def connected(connection: Any, record: object) -> None:
        # As SQLAlchemy's page on SQLite has it, for savepoints that are some.
        connection.isolation_level = None

    @event.listens_for(engine, "begin")
    def begun(connection: Any) -> None:
        connection.exec_driver_sql("BEGIN")

    Base.metadata.create_all(engine)
    made: Any = sessionmaker(engine)
    with made() as session:
        session.add_all([User(id=1, name="ada"), User(id=2, name="bob"), Seat(row=4, letter="B"), House(id=1), Admin(id=3, name="cyd")])
        session.commit()
    factory = scoped_session(made) if request.param == "scoped_session" else made
    track(factory)
    yield factory
    engine.dispose()


def add(name: str) -> Do:
    return lambda session: session.add(User(name=name))


def rename(key: int, name: str) -> Do:
    return lambda session: setattr(session.get(User, key), "name", name)


def nested(*steps: Do, fails: bool = False) -> Do:
    """In a savepoint, which is rolled back or released."""

    def do(session: Session) -> None:
        with suppress(ZeroDivisionError), session.begin_nested():
            for step in steps:
                step(session)
            session.flush()
            if fails:
                raise ZeroDivisionError

    return do


def fail_to_add(session: Session) -> None:
    with suppress(IntegrityError), session.begin_nested():
        session.add(User(name="cyd"))
        session.flush()


def move(session: Session) -> None:
    session.get_one(Seat, (4, "B")).letter = "C"


def same(session: Session) -> None:
    session.get_one(User, 1).name = "ada"


def buy(session: Session) -> None:
    user = session.get_one(User, 1)
    user.houses.append(session.get_one(House, 1))


def leave(session: Session) -> None:
    user = session.get_one(User, 1)
    user.houses.remove(session.get_one(House, 1))


def remove(session: Session) -> None:
    session.delete(session.get_one(User, 2))


def open_savepoint(session: Session) -> None:
    """Left open, as it is by who commits inside."""
    session.begin_nested()
    rename(2, "rob")(session)


def twice(session: Session) -> None:
    rename(1, "eve")(session)
    session.commit()
    rename(2, "rob")(session)


def rolled_back_first(session: Session) -> None:
    rename(1, "eve")(session)
    session.flush()
    session.rollback()
    rename(2, "rob")(session)


def many(session: Session) -> None:
    session.execute(insert(House), [{"id": 7}, {"id": 8}])


@pytest.mark.parametrize(
    ("steps", "expected"),
    [
        ([add("eve")], {"User:4"}),
        ([rename(1, "eve")], {"User:1"}),
        ([remove], {"User:2"}),
        ([lambda session: session.add(Seat(row=5, letter="A"))], {"Seat:5,A"}),
        ([move], {"Seat:4,B", "Seat:4,C"}),
        ([lambda session: session.add(Admin(name="eve"))], {"User:4"}),
        ([lambda session: setattr(session.get(Admin, 3), "level", 2)], {"User:3"}),
        ([buy], {"User:1", "House:1"}),
        ([same], set()),
        ([lambda session: session.get(User, 1)], set()),
        ([lambda session: session.execute(select(User)).all()], set()),
        ([lambda session: session.execute(update(User).values(name=None))], {"User:*"}),
        ([lambda session: session.execute(delete(Seat))], {"Seat:*"}),
        ([lambda session: session.query(Seat).delete()], {"Seat:*"}),
        ([lambda session: session.execute(update(Admin).values(level=5))], {"User:*"}),
        ([many], {"House:*"}),
        ([rename(1, "eve"), nested(rename(2, "rob"))], {"User:1", "User:2"}),
        ([rename(1, "eve"), nested(rename(2, "rob"), fails=True)], {"User:1"}),
        ([nested(rename(2, "rob"), fails=True), rename(1, "eve")], {"User:1"}),
        ([nested(rename(1, "eve"), nested(rename(2, "rob"), fails=True))], {"User:1"}),
        ([nested(rename(1, "eve"), nested(rename(2, "rob")), fails=True), rename(3, "eve")], {"User:3"}),
        ([nested(nested(rename(1, "eve")), nested(rename(2, "rob")))], {"User:1", "User:2"}),
        ([rename(1, "eve"), fail_to_add, rename(2, "rob")], {"User:1", "User:2"}),
        ([rename(1, "eve"), open_savepoint], {"User:1", "User:2"}),
        ([twice], {"User:1", "User:2"}),
        ([rolled_back_first], {"User:2"}),
    ],
)
def test_what_is_committed_is_known_and_nothing_else(factory: Any, told: Told, steps: list[Do], expected: set[str]) -> None:
    session = factory()
    for step in steps:
        step(session)
    session.commit()
    session.close()

    assert told.names == expected


@pytest.mark.parametrize(
    ("step", "expected"),
    [
        (leave, {"User:1", "House:1"}),
        (lambda session: session.delete(session.get(User, 1)), {"User:1", "House:1"}),
        (lambda session: setattr(session.get(User, 1), "houses", [House(id=9)]), {"User:1", "House:1", "House:9"}),
        (rename(1, "eve"), {"User:1"}),
    ],
)
def test_of_what_a_table_between_two_has_tied_both_ends_are_known(factory: Any, told: Told, step: Do, expected: set[str]) -> None:
    session = factory()
    buy(session)
    session.commit()
    told.names.clear()
    step(session)
    session.commit()
    session.close()

    assert told.names == expected


@pytest.mark.parametrize("end", [Session.rollback, Session.close, lambda session: None])
def test_what_is_never_committed_is_never_known(factory: Any, told: Told, end: Do) -> None:
    session = factory()
    rename(1, "eve")(session)
    nested(rename(2, "rob"))(session)
    session.flush()
    assert told.names == set()
    end(session)
    session.close()

    # The session is as good as new.
    rename(3, "eve")(session)
    session.commit()
    assert told.names == {"User:3"}
    session.close()


def test_a_commit_that_fails_changes_nothing(factory: Any, told: Told) -> None:
    session = factory()
    session.add(User(name="ada"))
    with pytest.raises(IntegrityError):
        session.commit()
    session.close()

    assert told.names == set()


def test_tracking_twice_is_as_once(factory: Any, told: Told, monkeypatch: pytest.MonkeyPatch) -> None:
    track(factory, factory)
    found: list[Any] = []
    monkeypatch.setattr(tags, "changed", found.append)

    with factory() as session:
        rename(1, "eve")(session)
        session.commit()

    assert found == [{"User:1"}]


def test_other_factories_are_left_alone(factory: Any, told: Told) -> None:
    other = sessionmaker(factory().get_bind())
    with other() as session:
        rename(1, "eve")(session)
        session.commit()
    factory().close()

    assert told.names == set()


@pytest.mark.parametrize("arguments", [(), (5,), (Session,)])
def test_what_makes_no_sessions_cannot_be_tracked(arguments: Any) -> None:
    with pytest.raises(ConfigError, match="a sessionmaker"):
        track(*arguments)


@pytest.mark.parametrize("order", ["track first", "join first"])
@pytest.mark.parametrize("failing", [False, True])
@pytest.mark.parametrize("guarded", [False, True])
def test_in_a_group_it_is_known_once_that_is_committed(tmp_path: Path, told: Told, order: str, failing: bool, guarded: bool) -> None:
    engine = create_engine(f"sqlite:///{tmp_path}/group.db")
    Base.metadata.create_all(engine)
    factory = sessionmaker(engine)
    if order == "track first":
        track(factory)
    atomic = join_groups(factory)
    if order == "join first":
        track(factory)
    during: list[set[str]] = []

    def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
        with factory() as session:
            session.add(User(name=environ["PATH_INFO"]))
            session.commit()
        during.append(set(told.names))
        start_response("422 No" if failing and environ["PATH_INFO"] == "/b" else "201 Created", [])
        return []

    inner = IdempotencyMiddleware(app, told) if guarded else app
    batch = BatchMiddleware(
        inner, dialect=Prepared([item(number, f"/{name}", group="g", method="POST") for number, name in enumerate("ab")]), atomic=atomic
    )
    send(batch, environ_of(b"[]"))
    engine.dispose()

    assert during == [set(), set()]
    assert told.names == (set() if failing else {"User:1", "User:2"})


def test_a_flask_app_with_its_own_sqlalchemy_forgets_what_has_changed(tmp_path: Path) -> None:
    app = Flask(__name__)
    app.config["SQLALCHEMY_DATABASE_URI"] = f"sqlite:///{tmp_path}/flask.db"
    db = SQLAlchemy(app)

    class Note(db.Model):  # type: ignore[name-defined]  # made by the extension
        id = db.Column(db.Integer, primary_key=True)
        text = db.Column(db.String)

    @app.get("/notes/<int:number>")
    def note(number: int) -> str:
        tags.reads(f"Note:{number}")
        found: str = db.session.get_one(Note, number).text
        return found

    @app.put("/notes/<int:number>")
    def put(number: int) -> str:
        db.session.merge(Note(id=number, text="new"))
        db.session.commit()
        return "put"

    with app.app_context():
        db.create_all()
        db.session.add_all([Note(id=1, text="old"), Note(id=2, text="old")])
        db.session.commit()
        track(db.session)
    clock = Clock()
    policy = Policy(derive=Dimensions(principal=False), ttl=600)
    guarded = IdempotencyMiddleware(app.wsgi_app, MemoryStore(clock=clock), [("GET", ".*", policy)])

    def ask(method: str, number: int) -> tuple[bytes, bool]:
        clock.now += 1
        answer = send(guarded, environ_of(b"", f"/notes/{number}", REQUEST_METHOD=method))
        return answer.body, is_replay(answer)

    assert [ask("GET", number) for number in (1, 2, 1)] == [(b"old", False), (b"old", False), (b"old", True)]
    ask("PUT", 1)
    assert [ask("GET", number) for number in (1, 2, 1)] == [(b"new", False), (b"old", True), (b"new", True)]
    with app.app_context():
        db.session.execute(text("SELECT 1"))
        db.session.execute(update(Note).values(text="all"))
        db.session.commit()
        clock.now += 1
        for engine in db.engines.values():
            engine.dispose()
    assert [ask("GET", number) for number in (1, 2)] == [(b"all", False), (b"all", False)]
    with app.app_context():
        for engine in db.engines.values():
            engine.dispose()
