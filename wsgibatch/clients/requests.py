"""A session of requests whose calls travel together.

::

    with Batching("https://shop.example/batch") as session:
        alice = session.patch("/people/alice/", json={"age": 42})
        bob = session.get("/people/bob/")
    alice.status_code, bob.json()

It takes the place of the client of Flask-Batch, and speaks to its server.
"""

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from datetime import timedelta
from time import perf_counter, sleep
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import urljoin
from warnings import warn

from ..errors import BatchFailed, ClientError, ConfigError
from ..model import SubResponse
from ..protocols import Dialect
from ._batch import Sender, dialect_of
from ._calls import Alone, Broken, Call, Flow, More, Pause, Post, Settled, call_of
from ._deferred import Deferred, fail, fill, interrupted
from ._url import origin, path

try:
    import requests
    from requests.cookies import extract_cookies_to_jar
    from requests.hooks import dispatch_hook
    from requests.structures import CaseInsensitiveDict
except ImportError as error:
    raise ImportError(f"wsgibatch.clients.requests needs requests ({error}): pip install 'wsgibatch[requests]'") from error

from ._asking import Asked, How, Route, signs, summed, unsigned
from ._messages import body_of, made, text_of

_PIECE = 64 << 10
"""Bytes at a time of an answer that does not come in chunks; of one that does, a chunk."""

OnResult = Callable[[requests.Response], object]


class DeferredResponse(Deferred, requests.Response):
    """What a call gives before its batch is answered. Whoever looks at it too early gets a :exc:`ValueError`."""


class RefusedBatch(BatchFailed, requests.HTTPError):
    """A :exc:`~wsgibatch.BatchFailed` that is also what ``raise_for_status()`` of the answer would raise."""


class Batching(requests.Session):
    """A session that keeps its calls, and sends them as one POST when it is left, flushed, or full.

    A call gives a :class:`requests.Response` at once, whose content is there once its batch has been answered. A block that is left with an exception
    sends nothing. What a call brings besides its request (``auth``, ``cookies``, ``hooks``, ``timeout``, ``verify``) means what it always does; but
    redirects are not followed, and what the dialect cannot say is sent by itself, in its turn.

    Each call takes two more arguments: ``batch=False`` sends it at once and by itself; ``depends_on=`` names the response, or the responses, of
    earlier calls without whose success it is answered with 424.

    :param batch_url: the endpoint, an absolute url. Calls have to go to the same scheme, host and port; a relative url does.
    :param dialect: what the endpoint speaks: a name, ``package.module:name``, or an object.
    :param max_items: calls that make the batch full; left out, as many as the server takes, which is learnt from its 413.
    :param retries: how often calls that are answered with 429 or 503 are sent again, after the pause that Retry-After asks for.
    :param on_result: called with each response as soon as it is there; in a JSON dialect before the others are, if the server is ``wsgibatch``.
    :raises ConfigError: for what cannot work.
    :raises ValueError: for a url that is not absolute.
    """

    if TYPE_CHECKING:
        # The library's types know its own arguments only.
        get: Callable[..., requests.Response]
        options: Callable[..., requests.Response]
        head: Callable[..., requests.Response]
        post: Callable[..., requests.Response]
        put: Callable[..., requests.Response]
        patch: Callable[..., requests.Response]
        delete: Callable[..., requests.Response]

    def __init__(
        self,
        batch_url: str,
        dialect: str | Dialect = "multipart",
        *,
        max_items: int | None = None,
        retries: int = 0,
        on_result: OnResult | None = None,
    ) -> None:
        super().__init__()
        if not (on_result is None or callable(on_result)):
            raise ConfigError(f"on_result: something that can be called is wanted, not {on_result!r}")
        origin(batch_url)
        # As the library spells it, so that it can be compared: a host may have letters of any language.
        self._batch_url = requests.Request("POST", batch_url).prepare().url or batch_url
        self._origin = origin(self._batch_url)
        self._sender = Sender(dialect_of(dialect), max_items, retries)
        self._on_result = on_result
        self._pending: dict[Call, Asked] = {}
        self._lock = threading.Lock()
        self._how = How()
        self.batch_request: requests.PreparedRequest | None = None
        """The last batch, which :meth:`before_request` may still change."""
        self.batch_response: requests.Response | None = None
        """What was answered to it."""

    def before_request(self) -> None:
        """Called before each batch is sent."""

    def after_response(self) -> None:
        """Called when a batch is answered, before its answer is read."""

    def request(self, method: str, url: Any, *args: Any, batch: bool = True, depends_on: Any = (), **kwargs: Any) -> requests.Response:
        """As :meth:`requests.Session.request`, later.

        :raises requests.exceptions.InvalidURL: (also a ValueError) for a url of another host.
        :raises ValueError: when *depends_on* holds something else than earlier responses of this session.
        """
        after = [depends_on] if isinstance(depends_on, requests.Response) else list(depends_on)
        if after and not batch:
            raise ValueError("depends_on: what is not sent in a batch cannot wait for what is")
        with self._calling(batch, [self._call_behind(response) for response in after], kwargs.get("auth")):
            return super().request(method, urljoin(urljoin(self._batch_url, "/"), text_of(url)), *args, **kwargs)

    def send(self, request: requests.PreparedRequest, **kwargs: Any) -> requests.Response:
        if not self._how.batch:
            return super().send(request, **kwargs)
        for name in ("verify", "cert", "proxies"):
            kwargs.setdefault(name, getattr(self, name))
        url = request.url or ""
        if origin(url) != self._origin:
            raise requests.exceptions.InvalidURL(f"{url} is not of the host of {self._batch_url}: send it with batch=False", request=request)
        route = Route(
            kwargs["verify"],
            kwargs["cert"],
            tuple(sorted(kwargs["proxies"].items())),
            kwargs.get("timeout"),
            self._auth_of(request),
        )
        headers = [(text_of(name), text_of(value)) for name, value in request.headers.items()]
        call = call_of(request.method or "GET", request.path_url, headers, body_of(request), route, self._how.after)
        call.repeats = signs(self._how.auth or self.auth)
        call.alone = call.alone or path(url) == path(self._batch_url)
        asked = Asked(request, kwargs, DeferredResponse())
        vars(asked.response).update(_call=call, _sender=self._sender)
        with self._lock:
            self._pending[call] = asked
            full = self._sender.most is not None and len(self._pending) >= self._sender.most
        if full:
            self.flush()
        return asked.response

    def flush(self) -> None:
        """Send what has been called so far. Afterwards every response is there, or says why it is not.

        :raises BatchFailed: when a batch was answered with a failure (also a :exc:`requests.HTTPError`). What had not been sent by then never is.
        :raises MissingResponse: when the answer lacks one to a call. All other responses are there.
        :raises requests.RequestException: when a batch could not be sent, or its answer not be received.
        """
        pending = self._taken()
        try:
            first = self._drive(self._sender.send(list(pending)), pending)
        except BatchFailed as error:
            refused = RefusedBatch(str(error), error.status, error.document, error.headers, error.may_have_run)
            refused.request, refused.response = self.batch_request, self.batch_response
            _fail_all(pending, refused)
            raise refused from None
        except BaseException as error:
            _fail_all(pending, error if isinstance(error, Exception) else interrupted(error))
            raise
        if first is not None:
            raise first

    finalize = flush

    def close(self) -> None:
        if self._pending:
            warn(f"{len(self._pending)} calls were never sent: leave the block, or flush, before the session is closed", ResourceWarning, 2)
            self._forget("This call was never sent, since the session was closed.")
        super().close()

    def __del__(self) -> None:
        # There is none where making it has failed.
        if pending := vars(self).get("_pending"):
            warn(f"{len(pending)} calls were never sent: leave the block, or flush, before the session is dropped", ResourceWarning, 2, self)

    def __exit__(self, kind: object, *rest: object) -> None:
        try:
            if kind is None:
                self.flush()
            else:
                self._forget("This call was never sent, since the block was left with an exception.")
        finally:
            self.close()

    def _forget(self, why: str) -> None:
        _fail_all(self._taken(), ValueError(why))

    def _taken(self) -> dict[Call, Asked]:
        """What has been called so far, and is nobody else's to send."""
        with self._lock:
            pending, self._pending = self._pending, {}
        return pending

    def _call_behind(self, response: object) -> Call:
        call = vars(response).get("_call") if isinstance(response, DeferredResponse) else None
        if not isinstance(call, Call) or vars(response)["_sender"] is not self._sender:
            raise ValueError("depends_on: responses to earlier calls of this session are wanted")
        return call

    def _auth_of(self, request: requests.PreparedRequest) -> Literal["session", "call", "none"]:
        if self._how.auth is None and signs(self.auth):
            return "session"
        return "call" if "Authorization" in request.headers or self._how.auth is None else "none"

    @contextmanager
    def _calling(self, batch: bool, after: Sequence[Call] = (), auth: Any = None) -> Iterator[None]:
        """What is sent meanwhile, be it by the library, is sent this way."""
        how = self._how
        before = how.batch, how.after, how.auth
        how.batch, how.after, how.auth = batch, after, auth
        try:
            yield
        finally:
            how.batch, how.after, how.auth = before

    def _drive(self, flow: Flow, pending: dict[Call, Asked]) -> Exception | None:
        """Do what *flow* asks for.

        :return: the first thing that has gone wrong with a single call.
        """
        told: Any = None
        first: Exception | None = None
        alone: dict[Call, requests.Response] = {}
        posted = 0.0
        with ExitStack() as answer:
            while True:
                try:
                    effect = flow.send(told)
                except StopIteration:
                    return first
                told = None
                if isinstance(effect, Post):
                    answer.close()
                    posted = perf_counter()
                    response = answer.enter_context(closing(self._post(effect)))
                    chunks = (chunk for chunk in response.iter_content(_PIECE) if chunk)
                    told = response.status_code, list(response.headers.items())
                elif isinstance(effect, More):
                    try:
                        told = next(chunks, b"")
                    except requests.RequestException as error:
                        told = Broken(error)
                elif isinstance(effect, Alone):
                    asked = pending[effect.call]
                    with self._calling(False):
                        alone[effect.call] = super().send(asked.request, **asked.kwargs)
                    told = SubResponse(alone[effect.call].status_code, "", list(alone[effect.call].headers.items()), b"")
                elif isinstance(effect, Pause):
                    sleep(effect.seconds)
                elif isinstance(effect, Settled):
                    try:
                        self._settle(pending[effect.call], effect.answer, alone.get(effect.call), perf_counter() - posted)
                    except Exception as error:
                        # A hook that raises, say. The others are to have their answers all the same.
                        fail(pending[effect.call].response, error)
                        first = first or error

    def _post(self, effect: Post) -> requests.Response:
        route = effect.route
        assert isinstance(route, Route)  # noqa: S101 - for the type checker
        # What the session would add, and not all of the calls have, is none of the batch's.
        headers: CaseInsensitiveDict[Any] = CaseInsensitiveDict(dict.fromkeys(self.headers))
        headers.update(effect.headers)
        own = route.auth == "none" or (route.auth == "call" and "Authorization" in headers)
        request = requests.Request("POST", self._batch_url, headers=headers, data=effect.body, auth=unsigned if own else None)
        self.batch_request = prepared = self.prepare_request(request)
        if "Cookie" not in headers:
            prepared.headers.pop("Cookie", None)
        # Hooks of the session are for the responses to calls; those that its auth needs stay.
        prepared.hooks["response"] = [hook for hook in prepared.hooks["response"] if hook not in self.hooks["response"]]
        self.before_request()
        with self._calling(False):
            self.batch_response = response = super().send(
                prepared,
                stream=True,
                allow_redirects=False,
                verify=route.verify,
                cert=route.cert,
                proxies=dict(route.proxies),
                timeout=summed(route.timeout, effect.count),
            )
        if not response.ok:
            # Kept for whoever catches the error.
            response.content  # noqa: B018 - it is a property that reads
        self.after_response()
        # Another thread may have sent a batch by now, and its answer is not this one's.
        return response

    def _settle(self, asked: Asked, answer: SubResponse | ClientError, alone: requests.Response | None, waited: float) -> None:
        if isinstance(answer, ClientError):
            raise answer
        response = alone
        if response is None:
            response = made(asked.request, answer, self.get_adapter(asked.request.url or ""))
            response.elapsed = timedelta(seconds=answer.duration or waited)
            # As the library does it: a hook may send the request once more, and hands these on to an adapter.
            handed = {name: value for name, value in asked.kwargs.items() if name != "allow_redirects"}
            response = dispatch_hook("response", asked.request.hooks, response, **handed)
            if not handed.get("stream"):
                response.content  # noqa: B018 - it is a property that reads
            extract_cookies_to_jar(self.cookies, asked.request, response.raw)
        fill(asked.response, response)
        if self._on_result is not None:
            self._on_result(asked.response)


def _fail_all(pending: dict[Call, Asked], error: Exception) -> None:
    for asked in pending.values():
        fail(asked.response, error)
