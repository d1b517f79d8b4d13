"""Every call of a store, for what has to hold for each of them."""

from collections.abc import Callable

from tests.stores.test_contract import LONG, REQUEST
from wsgibatch.protocols import Store

CALLS: dict[str, Callable[[Store], object]] = {
    "begin": lambda store: store.begin("new", REQUEST, LONG, LONG, "execute"),
    "renew": lambda store: store.renew("key", "owner", LONG),
    "keep": lambda store: store.finish("key", "owner", b"value", LONG),
    "release": lambda store: store.finish("key", "owner", None, LONG),
    "forget": lambda store: store.forget("key", b"value"),
    "touch": lambda store: store.touch(["User:1"], "ada", LONG),
    "peek": lambda store: store.peek("key"),
    "seen": lambda store: store.seen(["User:1"]),
}
