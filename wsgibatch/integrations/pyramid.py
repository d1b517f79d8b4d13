"""Pyramid: atomic groups in one transaction of pyramid_tm, for apps that have ``request.dbsession`` as Pyramid's cookiecutter makes it::

    app = config.make_wsgi_app()
    factory = app.registry["dbsession_factory"]
    app = BatchMiddleware(app, atomic=atomic(lambda tm: get_tm_session(factory, tm)))

Views stay as they are. The items of a group share one transaction, which is their ``request.tm``, and one session, which they find as
``environ["app.dbsession"]``, where the cookiecutter looks for one. An item that uses a session of its own in this transaction breaks the group.
Mails and whatever else waits for the transaction wait for the whole group. Requests that belong to no group notice nothing.

pyramid_tm's tween steps aside for the items of a group, so a status from 400 on is a failure and nothing else is: neither ``tm.commit_veto`` nor
an exception that an exception view answers with a success. What dooms, aborts or rolls back the transaction fails as well, and so does a
failed flush that a view hides; ``tm.commit()``, and to commit the connection of the session, is refused.
Nothing is tried again, and pyramid_retry must not do so, since what the first attempt wrote is still there: where an app raises errors that are
retryable, its ``retry.activate_hook`` gives 1 for ``"wsgibatch.group" in request.environ``. Within a group SQLite is locked for other writers
from the first query on.

Other apps, with several databases, say, or a session of their own making, use :func:`wsgibatch.integrations.sqlalchemy.join_groups` alone:
pyramid_tm then works as ever, and what it commits for each item is a savepoint. Mails are sent with their item there, and an item that succeeds
although its transaction is doomed or vetoed undoes its own work only.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from sqlalchemy import Connection, NestedTransaction, event
from sqlalchemy.exc import InvalidRequestError
from sqlalchemy.orm import Session, SessionTransaction
from transaction import TransactionManager
from transaction.interfaces import NoTransaction

from ..errors import ConfigError
from ..model import Group
from ..protocols import Atomic

__all__ = ("atomic",)


def atomic(make_session: Callable[[Any], Session]) -> Atomic:
    """What the setting ``atomic`` takes.

    :param make_session: makes a session that takes part in the transactions of the manager that it is given, for each group. Without one every
        item would have its own, and with it a database transaction of its own.
    :raises ConfigError: when it cannot be called.
    """
    if not callable(make_session):
        raise ConfigError(f"atomic: a callable that makes a session for a transaction manager is wanted, not {make_session!r}")

    @contextmanager
    def run() -> Iterator[Group]:
        manager = _Manager(explicit=True)
        transaction = manager.begin()
        with ExitStack() as stack:
            try:
                group = _Group(manager, stack.enter_context(make_session(manager)))
                yield group
                group.ending = True
                transaction.commit()
            except BaseException:
                transaction.abort()
                raise

    return run


class _Manager(TransactionManager):  # type: ignore[misc]
    """What ``request.tm`` is."""

    def commit(self) -> None:
        raise RuntimeError("the transaction of an atomic group cannot be committed before the group ends")


class _Group(Group):
    """The transaction that the manager has now is the one that ends with the group.

    Around what an item does on a connection stands a savepoint. Its release fails where the transaction of the database has ended before its time,
    by a COMMIT that a view executes, and where PostgreSQL, after an error that a view has hidden, would answer COMMIT by rolling back.
    """

    def __init__(self, manager: _Manager, session: Session) -> None:
        super().__init__()
        self.environ = {"tm.active": True, "tm.manager": manager, "app.dbsession": session}
        self.ending = False
        self._manager, self._session = manager, session
        self._transaction = manager.get()
        self._sound = self._transaction.status
        self._savepoints: dict[Connection, NestedTransaction] = {}
        event.listen(session, "after_begin", self._begin)

    @contextmanager
    def item(self) -> Iterator[None]:
        for connection in self._savepoints:
            self._savepoints[connection] = connection.begin_nested()
        yield
        # It would commit by itself, and knows nothing of what is not committed. The transaction has no other way of telling what takes part.
        if any(getattr(member, "session", self._session) is not self._session for member in self._transaction._resources):  # noqa: SLF001
            raise RuntimeError("an item of the group has made a session of its own, where it should have taken environ['app.dbsession']")
        # What the database does not accept fails here, with the item that wrote it; and the next item knows no more than a session of its own would.
        self._session.flush()
        # What a view has left open, the commit of its request would have closed.
        while nested := self._session.get_nested_transaction():
            nested.commit()
        for connection, savepoint in self._savepoints.items():
            if connection.get_nested_transaction() is not savepoint:
                raise InvalidRequestError("a savepoint was left open on the connection of the group, or one too many was ended")
            savepoint.commit()
        self._session.expire_all()

    def broken(self) -> bool:
        try:
            current = self._manager.get()
        except NoTransaction:
            return True
        if current is not self._transaction or current.status != self._sound or not self._session.is_active:
            return True
        return not all(connection.in_transaction() for connection in self._savepoints)

    def _begin(self, session: Session, transaction: SessionTransaction, connection: Connection) -> None:
        if transaction.nested:
            return
        event.listen(connection, "commit", self._refuse)
        if connection.dialect.name == "sqlite":
            # The module sqlite3 begins a transaction before the first write only, if no event handler of the app does it earlier. A savepoint that
            # comes before it is no part of it, and its release commits. A lock that is taken later, when others have written, would fail without
            # waiting.
            if not _raw(connection).in_transaction:
                connection.exec_driver_sql("BEGIN IMMEDIATE")
            event.listen(connection, "commit", _commit)
        self._savepoints[connection] = connection.begin_nested()

    def _refuse(self, connection: Connection) -> None:
        if not self.ending:
            # A transaction whose commit has failed is over for SQLAlchemy, which would give the connection back to its pool as it is.
            _raw(connection).rollback()
            raise InvalidRequestError("the connection of an atomic group cannot be committed before the group ends")


def _commit(connection: Connection) -> None:
    """A COMMIT that SQLite refuses leaves the transaction open, and a session that is closed then gives its connection back with it."""
    try:
        _raw(connection).commit()
    except BaseException:
        _raw(connection).rollback()
        raise


def _raw(connection: Connection) -> Any:
    return connection.connection.dbapi_connection
