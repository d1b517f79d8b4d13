"""SQLAlchemy: atomic groups in one database transaction, and tags of what is committed. For ``sessionmaker``, ``scoped_session`` and
Flask-SQLAlchemy's ``db.session``::

    Session = sessionmaker(engine)
    app = BatchMiddleware(app, atomic=join_groups(Session))

Views stay as they are. While a group runs, the sessions of these factories use the group's connection, one for each engine, and what a view commits
or rolls back is a savepoint on it; when the group ends, the connection commits, or rolls everything back. Before that a view that commits the
connection itself, not a session, fails and its group with it. Requests that belong to no group, and other threads, notice nothing, unless a view has
these run in a copy of its context.

What a view writes past these sessions, with ``engine.begin()`` or a session from elsewhere, it writes past the group: there
``current_connection(engine)`` takes part, where it is not None. The session event ``after_commit`` comes with every savepoint; what has to wait for
the group, a mail say, is given to ``environ["wsgibatch.group"].on_commit``. Savepoints end in the order of a stack, so two sessions that take turns
within one item fail. Several databases are committed one after another, not in two phases: where one fails, those before it stay committed. In SQLite
a group is the only writer from its first query on.

With ``track(Session)`` what the sessions commit is known to whoever keeps replies (:mod:`wsgibatch.tags`): a row that was added, changed or deleted
as ``User:7``, by the name of its class (in a hierarchy, that of its base) and its primary key, of several columns ``Seat:4,B``; of a many-to-many
relationship that has changed the rows at both ends; what an ORM-enabled ``insert()``, ``update()`` or ``delete()`` does as ``User:*``. What was
rolled back is not, even with a savepoint. Statements on tables, the methods ``bulk_...`` and ``ON DELETE CASCADE`` go past the ORM: there a view says
``tags.touch("User:7")`` itself.
"""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from contextvars import ContextVar
from functools import partial
from typing import Any
from weakref import WeakKeyDictionary, WeakSet

from sqlalchemy import Connection, Engine, NestedTransaction, Result, event, inspect
from sqlalchemy.exc import InvalidRequestError
from sqlalchemy.orm import Mapper, ORMExecuteState, Session, SessionTransaction, scoped_session, sessionmaker
from sqlalchemy.pool import Pool

from .. import tags
from ..errors import ConfigError
from ..model import Group
from ..protocols import Atomic

__all__ = ("current_connection", "join_groups", "track")

_tracked: WeakSet[sessionmaker[Any]] = WeakSet()
_GROUP: ContextVar["_Group | None"] = ContextVar("wsgibatch.group", default=None)


def join_groups(*factories: sessionmaker[Any] | scoped_session[Any]) -> Atomic:
    """Have the sessions of *factories* join atomic groups; gives what the setting ``atomic`` takes.

    It is called once, at start: sessions that were made before do not join. A group is refused in a thread whose scoped session is still in a
    transaction, as it is when requests end without ``remove()``.

    :raises ConfigError: for what is neither a ``sessionmaker`` nor a ``scoped_session`` of one, and for nothing at all.
    """
    if not factories:
        raise ConfigError("join_groups: a sessionmaker or a scoped_session is wanted")
    for factory in factories:
        maker = _maker("join_groups", factory)
        if not issubclass(maker.class_, _Joining):
            maker.class_ = type(maker.class_.__name__, (_Joining, maker.class_), {})
        # It holds for sessions that are bound to a connection. In other modes a view would roll back, or commit, more than its own.
        maker.configure(join_transaction_mode="create_savepoint")
    scopes = [factory for factory in factories if isinstance(factory, scoped_session)]

    @contextmanager
    def atomic() -> Iterator[Group]:
        for scope in scopes:
            _check_idle(scope)
        with ExitStack() as transactions:
            group = _Group(transactions)
            token = _GROUP.set(group)
            try:
                # What hooks do around an item belongs to the group as well.
                with group.item():
                    yield group
            finally:
                group.ended = True
                _GROUP.reset(token)

    return atomic


def track(*factories: sessionmaker[Any] | scoped_session[Any]) -> None:
    """Have what the sessions of *factories* commit touched, as :func:`wsgibatch.tags.touch` does. It is called once, at start; twice is as once.

    In a request it is known when the request has ended, in an atomic group when that is committed, and elsewhere at once.

    :raises ConfigError: for what is neither a ``sessionmaker`` nor a ``scoped_session`` of one, and for nothing at all.
    """
    if not factories:
        raise ConfigError("track: a sessionmaker or a scoped_session is wanted")
    for maker in [_maker("track", factory) for factory in factories]:
        if maker not in _tracked:
            # SQLAlchemy knows targets of events by their address only, so whether it has one already is not asked there.
            _tracked.add(maker)
            event.listen(maker, "after_flush", _collect_rows)
            event.listen(maker, "do_orm_execute", _collect_statement)
            event.listen(maker, "after_commit", _pass_on)


def _maker(caller: str, factory: Any) -> sessionmaker[Any]:
    maker = factory.session_factory if isinstance(factory, scoped_session) else factory
    if not isinstance(maker, sessionmaker):
        raise ConfigError(f"{caller}: a sessionmaker, or a scoped_session of one, is wanted, not {factory!r}")
    return maker


def current_connection(engine: Engine) -> Connection | None:
    """The connection of the running group to *engine*, to execute statements on and neither to commit nor to close; None outside of groups."""
    group = _running()
    return None if group is None else group.connection(engine)


class _Joining(Session):
    """What the session class of a factory becomes."""

    def get_bind(self, *arguments: Any, **options: Any) -> Engine | Connection:
        bind = super().get_bind(*arguments, **options)
        group = _running()
        return bind if group is None or isinstance(bind, Connection) else group.join(self, bind)


class _Group(Group):
    """Opens a connection when it is first asked for.

    Around what an item does on a connection stands a savepoint. Its release fails where the transaction has ended before its time (a COMMIT that a
    view executes, a deadlock in MySQL, ON CONFLICT ROLLBACK in SQLite), and where PostgreSQL, after an error, would answer COMMIT by rolling back.
    Without it such a group might seem to succeed.
    """

    def __init__(self, transactions: ExitStack) -> None:
        super().__init__()
        self.ended = False
        self._transactions = transactions
        # Engines that differ in their execution options only, as those of tenants do, have one pool.
        self._connections: dict[Pool, Connection] = {}
        self._options: dict[Connection, Mapping[str, Any]] = {}
        self._savepoints: dict[Connection, NestedTransaction] = {}
        self._sessions: dict[Session, None] = {}

    def connection(self, engine: Engine) -> Connection:
        connection = self._connections.get(engine.pool)
        options = engine.get_execution_options()
        if connection is None:
            connection = self._connections[engine.pool] = self._transactions.enter_context(_transaction(engine))
        elif self._options[connection] != options:
            _set_options(connection, options)
        self._options[connection] = options
        if connection not in self._savepoints:
            self._savepoints[connection] = connection.begin_nested()
        return connection

    def join(self, session: Session, engine: Engine) -> Connection:
        self._sessions[session] = None
        return self.connection(engine)

    @contextmanager
    def item(self) -> Iterator[None]:
        try:
            yield
        finally:
            # What they have not committed by now they never would, and what they remember of the database may yet be rolled back.
            for session in reversed(self._sessions):
                session.close()
            self._sessions.clear()
        for connection, savepoint in self._savepoints.items():
            if connection.get_nested_transaction() is not savepoint:
                raise InvalidRequestError("a savepoint was left open on the connection of the group, or one too many was ended")
            savepoint.commit()
            self._options[connection] = connection.engine.get_execution_options()
            _set_options(connection, self._options[connection])
        self._savepoints.clear()

    def broken(self) -> bool:
        return any(connection.invalidated or not connection.in_transaction() for connection in self._connections.values())


def _running() -> _Group | None:
    group = _GROUP.get()
    # A thread that a view has started in a copy of its context may outlive the group.
    return None if group is None or group.ended else group


def _check_idle(scope: scoped_session[Any]) -> None:
    """
    See to it that no session which this thread has already stays outside of its group.

    :raises InvalidRequestError: when one would.
    """
    session = None
    # Scope functions that know requests only, as Flask-SQLAlchemy's, raise outside of them; then there is no session either.
    with suppress(LookupError, RuntimeError):
        session = scope() if scope.registry.has() else None
    if session is not None and (session.in_transaction() or not isinstance(session, _Joining)):
        raise InvalidRequestError("a scoped session is still in use, or older than join_groups(): remove() it at the end of each request")


@contextmanager
def _transaction(engine: Engine) -> Iterator[Connection]:
    """A connection in a transaction, which is committed if the block is left normally, and otherwise rolled back."""
    ending: list[bool] = []

    def refuse(connection: Connection) -> None:
        if not ending:
            # A transaction whose commit has failed is over for SQLAlchemy, which would give the connection back to its pool as it is.
            connection.connection.rollback()
            raise InvalidRequestError("the connection of an atomic group cannot be committed before the group ends")

    with engine.connect() as connection, connection.begin():
        event.listen(connection, "commit", refuse)
        # The module sqlite3 begins a transaction before the first write only, if no event handler of the app does it earlier. A savepoint outside of
        # one commits when it is released. A transaction that begins by reading could not wait for the lock once it writes.
        if engine.dialect.name == "sqlite" and not _in_transaction(connection):
            connection.exec_driver_sql("BEGIN IMMEDIATE")
        yield connection
        ending.append(True)


def _in_transaction(connection: Connection) -> bool:
    """As the module ``sqlite3`` sees it."""
    driver: Any = connection.connection.driver_connection
    return bool(driver.in_transaction)


def _set_options(connection: Connection, options: Mapping[str, Any]) -> None:
    """Give *connection* these execution options, such as the schemas of a tenant, in the place of those that it was given meanwhile."""
    former = connection.get_execution_options()
    changed = {name: options.get(name) for name in {**former, **options} if former.get(name) is not options.get(name)}
    if changed:
        connection.execution_options(**changed)


_PENDING = "wsgibatch.tags"
"""Where a session has the tags of what its transactions have changed, each with its own: one that is rolled back is never heard of again."""


def _pending(session: Session) -> set[str]:
    """The tags of the innermost transaction: a savepoint, where there is one."""
    transaction = session.get_nested_transaction() or session.get_transaction()
    found: set[str] = session.info.setdefault(_PENDING, WeakKeyDictionary()).setdefault(transaction, set())
    return found


def _collect_rows(session: Session, flush_context: object) -> None:
    # New rows have their keys by now, and nothing is expired yet.
    changed = [row for row in session.dirty if session.is_modified(row)]
    found = {tag for rows in (session.new, changed, session.deleted) for row in rows for tag in (*_names(row), *_others(row))}
    if found:
        _pending(session).update(found)


def _names(row: object) -> Iterator[str]:
    state = inspect(row)
    mapper: Mapper[Any] = state.mapper
    # A row whose key is changed is two, of which the first one is no more.
    keys = {tuple(mapper.primary_key_from_instance(row)), *([state.identity] if state.identity else [])}
    for key in keys:
        yield f"{_class(mapper)}:{','.join(map(str, key))}"


def _others(row: object) -> Iterator[str]:
    """The rows that a table between two has tied to this one or parted from it: a change of both, of which the session knows one end."""
    state = inspect(row)
    for relation in state.mapper.relationships:
        if relation.secondary is not None and not relation.viewonly:
            history = state.attrs[relation.key].history
            parted = (*history.deleted, *history.unchanged) if state.session and row in state.session.deleted else history.deleted
            for other in (*history.added, *parted):
                if other is not None:
                    yield from _names(other)


def _class(mapper: Mapper[Any]) -> str:
    return mapper.base_mapper.class_.__name__


def _collect_statement(state: ORMExecuteState) -> Result[Any] | None:
    if state.bind_mapper is None or not (state.is_insert or state.is_update or state.is_delete):
        return None
    result = state.invoke_statement()
    # Before it is executed there may be no transaction.
    _pending(state.session).add(f"{_class(state.bind_mapper)}:*")
    return result


def _pass_on(session: Session) -> None:
    """A savepoint, or the whole transaction, is committed."""
    pending = session.info.get(_PENDING)
    if not pending:
        return
    nested = session.get_nested_transaction()
    found = pending.pop(nested or session.get_transaction(), None)
    if nested is not None:
        if found:
            pending.setdefault(_outer(nested), set()).update(found)
        return
    pending.clear()
    if found:
        _touch(found)


def _outer(nested: SessionTransaction) -> SessionTransaction | None:
    """What a savepoint becomes part of: the next one around it, or the whole."""
    outer = nested.parent
    while outer is not None and outer.parent is not None and not outer.nested:
        outer = outer.parent
    return outer


def _touch(found: Iterable[str]) -> None:
    group = _running()
    if tags.current.get() is None and group is not None:
        # Nothing is committed before the group is.
        group.on_commit(partial(tags.changed, found))
    else:
        tags.changed(found)
