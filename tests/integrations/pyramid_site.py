"""A small site as Pyramid's cookiecutter makes them: pyramid_tm, an explicit manager, and a session that takes part in its transactions."""

import os
import signal
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import zope.sqlalchemy
from pyramid.config import Configurator
from pyramid.httpexceptions import HTTPConflict, HTTPFound
from sqlalchemy import Engine, ForeignKey, NullPool, create_engine, event, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column, sessionmaker

from wsgibatch import BatchMiddleware
from wsgibatch.integrations.pyramid import atomic
from wsgibatch.integrations.sqlalchemy import join_groups
from wsgibatch.protocols import Atomic

View = Callable[[Any, str], Any]
"""From a request, and what stands behind the view's name in the path, to what JSON can say."""


class Base(DeclarativeBase):
    pass


class Person(Base):
    __tablename__ = "people"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(unique=True)
    boss: Mapped[int | None] = mapped_column(ForeignKey("people.id", deferrable=True, initially="DEFERRED"))


class Site(NamedTuple):
    app: Callable[..., Iterable[bytes]]
    engine: Engine
    factory: sessionmaker[Session]
    views: dict[str, View]
    """By the first name of a path; a test may add to them."""


class Rude(Exception):
    """Has an exception view."""


def add(request: Any, name: str) -> str:
    request.dbsession.add(Person(name=name))
    request.response.status = 201
    return name


def refuse(request: Any, name: str) -> str:
    add(request, name)
    request.response.status = 422
    return name


def crash(request: Any, name: str) -> str:
    add(request, name)
    raise RuntimeError(name)


def rude(request: Any, name: str) -> str:
    add(request, name)
    raise Rude(name)


def conflict(request: Any, name: str) -> str:
    add(request, name)
    raise HTTPConflict(name)


def move(request: Any, name: str) -> str:
    add(request, name)
    raise HTTPFound("/names/")


def orphan(request: Any, name: str) -> str:
    """Adds a row that the database accepts until its transaction is committed."""
    request.dbsession.add(Person(name=name, boss=999))
    request.response.status = 201
    return name


def keep(request: Any, name: str) -> str:
    """Adds a row unless it is there, and knows how to go on."""
    try:
        with request.dbsession.begin_nested():
            add(request, name)
    except IntegrityError:
        request.response.status = 200
    return name


def rename(request: Any, name: str) -> str:
    """Renames everybody, past the objects that the session holds."""
    request.dbsession.connection().execute(Person.__table__.update().values(name=name))  # type: ignore[attr-defined]
    zope.sqlalchemy.mark_changed(request.dbsession, request.tm)
    return name


def doom(request: Any, name: str) -> str:
    request.tm.doom()
    return add(request, name)


def commit(request: Any, name: str) -> str:
    """Commits, past the session and pyramid_tm, what the session has written."""
    add(request, name)
    request.dbsession.flush()
    request.dbsession.connection().commit()
    return name


def swallow(request: Any, name: str) -> str:
    """Adds a row unless it is there, and goes on without having rolled anything back."""
    with suppress(IntegrityError):
        add(request, name)
        request.dbsession.flush()
    request.response.status = 200
    return name


def names(request: Any, name: str) -> list[str]:
    return list(request.dbsession.scalars(select(Person.name).order_by(Person.name)))


def die(request: Any, name: str) -> str:
    """Ends the process as nothing else does, where the row called for is there."""
    if name in names(request, ""):
        os.kill(os.getpid(), signal.SIGKILL)
    raise HTTPConflict(name)


VIEWS: dict[str, View] = {
    "add": add,
    "refuse": refuse,
    "crash": crash,
    "rude": rude,
    "conflict": conflict,
    "move": move,
    "orphan": orphan,
    "keep": keep,
    "rename": rename,
    "doom": doom,
    "commit": commit,
    "swallow": swallow,
    "names": names,
    "die": die,
}


def tm_session(factory: sessionmaker[Session], manager: Any) -> Session:
    """A session that is committed and closed with the transactions of *manager*."""
    session = factory()
    zope.sqlalchemy.register(session, transaction_manager=manager)
    return session


def site(url: str) -> Site:
    engine = create_engine(url)
    if engine.dialect.name == "sqlite":
        # Without it foreign keys mean nothing there.
        event.listen(engine, "connect", lambda connection, record: connection.execute("PRAGMA foreign_keys = ON"))
    factory, views = sessionmaker(engine), VIEWS.copy()

    def dbsession(request: Any) -> Session:
        given: Session | None = request.environ.get("app.dbsession")
        return tm_session(factory, request.tm) if given is None else given

    def view(request: Any) -> Any:
        return views[request.matchdict["view"]](request, request.matchdict["name"])

    def apology(error: Rude, request: Any) -> str:
        request.response.status = 409
        return "sorry"

    with Configurator(settings={"tm.manager_hook": "pyramid_tm.explicit_manager"}) as config:
        config.include("pyramid_tm")
        config.add_request_method(dbsession, reify=True)
        config.add_route("view", "/{view}/{name:.*}")
        config.add_view(view, route_name="view", renderer="json")
        config.add_exception_view(apology, context=Rude, renderer="json")
        return Site(config.make_wsgi_app(), engine, factory, views)


def shared(site: Site) -> Atomic:
    """The items of a group share a transaction and a session."""
    return atomic(lambda manager: tm_session(site.factory, manager))


def joined(site: Site) -> Atomic:
    """Each item has a transaction and a session of its own, which joins the group."""
    return join_groups(site.factory)


WAYS = {"shared": shared, "joined": joined}


def outside(url: str) -> Engine:
    """An engine of which no site knows; its connections are not kept."""
    return create_engine(url, poolclass=NullPool)


def sqlite(directory: Path) -> str:
    """The url of a database in a file."""
    return f"sqlite:///{directory}/people.db"


def served() -> BatchMiddleware:
    """For a server."""
    made = site(os.environ["DATABASE_URL"])
    return BatchMiddleware(made.app, dialect="odata", atomic=WAYS[os.environ["WAY"]](made))
