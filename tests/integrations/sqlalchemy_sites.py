"""One small site in the three ways of having sessions: one for each request, one for each thread, Flask-SQLAlchemy's."""

import os
import signal
import sqlite3
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NamedTuple

from flask import Flask, request
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy import Engine, ForeignKey, NullPool, create_engine, event, insert, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column, scoped_session, sessionmaker
from werkzeug.wsgi import ClosingIterator

from tests.prepared import Prepared
from tests.prepared import request as item
from wsgibatch import BatchMiddleware, SubRequest
from wsgibatch.integrations.sqlalchemy import join_groups

View = Callable[[Session, str, dict[str, Any]], tuple[int, str]]
"""From a session, what stands behind the view's name in the path, and the environ, to a status and a text."""
App = Callable[..., Iterable[bytes]]


class Base(DeclarativeBase):
    pass


class Row(Base):
    __tablename__ = "rows"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(unique=True)
    parent: Mapped[int | None] = mapped_column(ForeignKey("rows.id", deferrable=True, initially="DEFERRED"))


class Site(NamedTuple):
    app: App
    engine: Engine
    factory: sessionmaker[Any] | scoped_session[Any]
    views: dict[str, View]
    """By the first name of a path; a test may add to them."""


def add(session: Session, name: str, environ: dict[str, Any]) -> tuple[int, str]:
    session.add(Row(name=name))
    session.commit()
    return 201, "added"


def refuse(session: Session, name: str, environ: dict[str, Any]) -> tuple[int, str]:
    add(session, name, environ)
    return 422, "no"


def crash(session: Session, name: str, environ: dict[str, Any]) -> tuple[int, str]:
    add(session, name, environ)
    raise RuntimeError(name)


def orphan(session: Session, name: str, environ: dict[str, Any]) -> tuple[int, str]:
    """Adds a row that the database accepts until its transaction is committed."""
    session.add(Row(name=name, parent=999))
    session.commit()
    return 201, "added"


def keep(session: Session, name: str, environ: dict[str, Any]) -> tuple[int, str]:
    """Adds a row unless it is there, and knows how to go on."""
    try:
        return add(session, name, environ)
    except IntegrityError:
        session.rollback()
        return 200, "kept"


def commit(session: Session, name: str, environ: dict[str, Any]) -> tuple[int, str]:
    """Commits, past the session, what the session has written."""
    session.add(Row(name=name))
    session.flush()
    session.connection().commit()
    return 201, "added"


def core(session: Session, name: str, environ: dict[str, Any]) -> tuple[int, str]:
    """Uses the session for its connection only."""
    connection = session.connection()
    connection.execute(insert(Row).values(name=name))
    connection.commit()
    return 201, "added"


def names(session: Session, name: str, environ: dict[str, Any]) -> tuple[int, str]:
    return 200, " ".join(session.scalars(select(Row.name).order_by(Row.name)))


def die(session: Session, name: str, environ: dict[str, Any]) -> tuple[int, str]:
    """Ends the process as nothing else does, where the rows called for are there."""
    if names(session, "", environ)[1] == name:
        os.kill(os.getpid(), signal.SIGKILL)
    return 409, "alive"


VIEWS: dict[str, View] = {
    "add": add,
    "refuse": refuse,
    "crash": crash,
    "orphan": orphan,
    "keep": keep,
    "commit": commit,
    "core": core,
    "names": names,
    "die": die,
}


def outside(url: str) -> Engine:
    """An engine of which no site knows; its connections are not kept."""
    return create_engine(url, poolclass=NullPool)


def per_request(url: str) -> Site:
    engine = strict(create_engine(url))
    factory, views = sessionmaker(engine), VIEWS.copy()

    def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        view, name = views_of(views, environ)
        with factory() as session:
            status, text = view(session, name, environ)
        start_response(f"{status} Whatever", [("Content-Type", "text/plain")])
        return [text.encode()]

    return Site(app, engine, factory, views)


def per_thread(url: str) -> Site:
    engine = strict(create_engine(url))
    factory, views = scoped_session(sessionmaker(engine)), VIEWS.copy()

    def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        view, name = views_of(views, environ)
        try:
            status, text = view(factory(), name, environ)
        except Exception:
            factory.remove()
            raise
        start_response(f"{status} Whatever", [("Content-Type", "text/plain")])
        return ClosingIterator([text.encode()], factory.remove)

    return Site(app, engine, factory, views)


def flask(url: str) -> Site:
    app = Flask(__name__)
    app.config["SQLALCHEMY_DATABASE_URI"] = url
    db = SQLAlchemy(app)
    views = VIEWS.copy()

    @app.route("/<path:path>", methods=["GET", "POST"])
    def answer(path: str) -> tuple[str, int]:
        view, name = views_of(views, request.environ)
        status, text = view(db.session(), name, request.environ)
        return text, status

    with app.app_context():
        return Site(app, strict(db.engine), db.session, views)


SITES = {"per_request": per_request, "per_thread": per_thread, "flask": flask}


def views_of(views: dict[str, View], environ: dict[str, Any]) -> tuple[View, str]:
    view, _, name = environ["PATH_INFO"][1:].partition("/")
    return views[view], name


def strict(engine: Engine) -> Engine:
    """*engine*, with foreign keys that mean something in SQLite too."""

    def connected(connection: Any, record: object) -> None:
        if isinstance(connection, sqlite3.Connection):
            connection.execute("PRAGMA foreign_keys = ON")

    event.listen(engine, "connect", connected)
    return engine


def members(*paths: str, group: str = "g") -> list[SubRequest]:
    """The items of a batch that is one group."""
    return [item(index, path, group=group, method="POST") for index, path in enumerate(paths)]


def mortal() -> BatchMiddleware:
    """For a server: a batch to it adds a row, and ends its process in the middle of the group."""
    site = SITES[os.environ["SITE"]](os.environ["DATABASE_URL"])
    return BatchMiddleware(site.app, dialect=Prepared(members("/add/a", "/die/a", "/add/b")), atomic=join_groups(site.factory))


def sqlite(directory: Path) -> str:
    """The url of a database in a file."""
    return f"sqlite:///{directory}/rows.db"
