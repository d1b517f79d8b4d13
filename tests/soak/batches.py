"""Random batches, each item with a token of its own, and whatever may be said of a batch as a whole."""

import itertools
from random import Random
from typing import Any, NamedTuple

from tests.gateway import environ_of
from tests.soak import faulty
from tests.soak.endpoints import Endpoint
from tests.soak.linked import PREFERENCES, STOPPING, decide, refer, tie
from wsgibatch import SubRequest, _lookup, dialects
from wsgibatch.model import SAFE
from wsgibatch.protocols import Dialect

DIALECTS: dict[str, Dialect] = {word: _lookup.member(dialects, word)() for word in _lookup.members(dialects) if word != "auto"}
_WORDS = [*DIALECTS, *("odata",) * 2]
"""As often as each is drawn: more can be said in one of them than in others."""
_MOST = 20
"""Items of a batch: what every dialect takes."""
# What only reads is run again where its worker dies, and then kills another one, which takes long to be replaced.
_METHODS = ("GET", "GET", "POST", "PUT", "DELETE"), ("GET", *("POST", "PUT", "DELETE") * 3)
"""Of items, and of those that kill their worker."""
_KEYED = 0.03
"""How many items have keys where nobody heeds them."""
_KEYED_BATCHES, _LINKED, _STOPPING = 0.2, 0.4, 0.4
"""How many batches have a key; and of those in a dialect that can say it, how many hang together, and say what becomes of them behind a failure."""


class Drawn(NamedTuple):
    """A batch, as its client knows it."""

    dialect: Dialect
    requests: list[SubRequest]
    headers: list[tuple[str, str]]
    body: bytes
    path: str = "/batch"
    stops: bool = False
    """Is nothing behind a failure run, or answered?"""
    key: str = ""
    """Its Idempotency-Key, from which those of its items that have none are made; empty where it has none."""

    def keys_of(self, request: SubRequest) -> set[str | None]:
        """What the key of *request* may be by the time that it runs: not all dialects say what it is called."""
        own = next((value for name, value in request.headers if name == "Idempotency-Key"), None)
        if own is not None or not self.key or request.method in SAFE:
            return {own}
        # One that has no name goes by its place, and in some dialects that is counted from 1.
        return {f"{self.key}/{name}" for name in (request.id, request.index, request.index + 1)}

    def environ(self, endpoint: Endpoint, lines: bool) -> dict[str, Any]:
        """As a server makes it; *lines*: how the client wants its answer."""
        more = {"HTTP_" + name.upper().replace("-", "_"): value for name, value in self.headers if name != "Content-Type"}
        if lines:
            more["HTTP_ACCEPT"] = "application/x-ndjson"
        if endpoint.keyed:
            more["HTTP_AUTHORIZATION"] = "Bearer anna"
        return environ_of(self.body, self.path, CONTENT_TYPE=dict(self.headers)["Content-Type"], **more)


class Drawer:
    """Draws the batches of one client, *number*."""

    def __init__(self, number: int, chance: Random) -> None:
        self._number, self._chance = number, chance
        self._tokens = itertools.count()

    def draw(self, endpoint: Endpoint) -> Drawn:
        """A batch for *endpoint*."""
        chance = self._chance
        # Where groups can be had a batch of Kinto is one as a whole.
        word = chance.choice([word for word in _WORDS if word != "kinto" or endpoint.atomic is None])
        requests = [self._item(endpoint, index, word == "aggregator") for index in range(chance.randint(1, _MOST))]
        said: list[tuple[str, str]] = []
        instead: dict[bytes, bytes] = {}
        if word in ("graph", "odata", "multipart") and chance.random() < _LINKED:
            tie(chance, requests, edges=word != "multipart", groups=word != "graph")
            instead = refer(chance, requests) if word == "odata" else {}
        # In multipart, OData 4 stops unless it is told not to.
        four = word == "multipart" and chance.random() < _STOPPING
        if four:
            said.append(("OData-Version", "4.0"))
        if (word == "odata" or four) and chance.random() < _STOPPING:
            said.append(("Prefer", chance.choice(PREFERENCES)))
        key = f"b{self._number}-{next(self._tokens)}" if chance.random() < _KEYED_BATCHES else ""
        if key:
            said.append(("Idempotency-Key", f'"{key}"'))
        drawn = _written(word, requests, said, key)
        if word == "odata" and not endpoint.limited:
            # What is late may still be running, and then nobody can say that it has failed.
            instead |= decide(chance, requests)
        for plain, reference in instead.items():
            drawn = drawn._replace(body=drawn.body.replace(plain, reference))
        preferred = dict(said).get("Prefer")
        return drawn._replace(path="/$batch" if four else drawn.path, stops=four if preferred is None else preferred in STOPPING)

    def draw_ordinary(self) -> Drawn:
        """One with which nothing can go wrong by itself."""
        requests = [SubRequest(index, "GET", f"/ok/{self._token()}", [("X-Client", str(self._number))]) for index in range(_MOST)]
        return _written("django", requests, [], "")

    def _token(self) -> str:
        return f"t{self._number}x{next(self._tokens)}z"

    def _item(self, endpoint: Endpoint, index: int, plain: bool) -> SubRequest:
        chance = self._chance
        token = self._token()
        kind = chance.choice(endpoint.kinds) if chance.random() < endpoint.rate else chance.choice(("ok", "ok", "ok", "ok", "missing", "large"))
        if plain and kind == "die":
            kind = "ok"
        target = f"/{kind}/{token}"
        if kind == "raise":
            target += f"/{chance.choice(faulty.WHERE)}/{chance.choice(list(faulty.ERRORS))}"
        if plain:
            return SubRequest(index, "GET", target, [], id=token)
        keyed = chance.random() < (endpoint.keyed or _KEYED)
        method = "POST" if keyed else chance.choice(_METHODS[kind == "die"])
        headers, body = [("X-Client", str(self._number))], b""
        if method in ("POST", "PUT"):
            headers.append(("Content-Type", "application/json"))
            body = b'{"of": "%s"}' % token.encode()
        if keyed:
            headers.append(("Idempotency-Key", f'"{token}"'))
        return SubRequest(index, method, target, headers, body, token)


def _written(word: str, requests: list[SubRequest], said: list[tuple[str, str]], key: str) -> Drawn:
    dialect = DIALECTS[word]
    try:
        headers, body = dialect.write(requests)
    except ValueError:
        for request in requests:
            request.id = None
        headers, body = dialect.write(requests)
    return Drawn(dialect, requests, [*headers, *said], body, key=key)
