"""What requests change, and what becomes of replies that go by it."""

import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from typing import Any
from wsgiref.util import FileWrapper
from wsgiref.validate import validator

import pytest

from tests.gateway import Answer, environ_of, send
from tests.prepared import Prepared
from tests.prepared import request as item
from tests.test_idempotency import Clock, Watched, code
from wsgibatch import BatchMiddleware, ConfigError, Group, StoreError, tags
from wsgibatch.idempotency import Dimensions, IdempotencyMiddleware, Policy
from wsgibatch.model import Claimed

View = Callable[[dict[str, Any]], object]
READ = Policy(derive=Dimensions(), ttl=600)
"""Of GET: what has been answered is answered again, until something else is changed."""


class Site:
    """Answers with how often it has run; what else it does stands in ``views``, by path."""

    def __init__(self, **views: View) -> None:
        self.views = {f"/{name}": view for name, view in views.items()}
        self.runs: list[str] = []
        self.headers: list[tuple[str, str]] = []
        self.status = "200 OK"

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        self.runs.append(environ["PATH_INFO"])
        view = self.views.get(environ["PATH_INFO"])
        if view is not None:
            view(environ)
        start_response(self.status, [("Content-Type", "text/plain"), *self.headers])
        return [b"run %d" % len(self.runs)]


class Failing(Watched):
    """A store whose tags fail."""

    def touch(self, *arguments: Any) -> Any:
        self._fail("touch")
        return super().touch(*arguments)

    def seen(self, names: Any) -> Any:
        self._fail("seen")
        return super().seen(names)

    def forget(self, *arguments: Any) -> bool:
        self._fail("forget")
        return super().forget(*arguments)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def store(clock: Clock) -> Failing:
    return Failing(clock)


@pytest.fixture(autouse=True)
def nothing_known(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Middlewares of other tests may still be about."""
    monkeypatch.setattr(tags, "_signers", type(tags._signers)())
    monkeypatch.setattr(tags, "_used", [])
    yield
    assert tags.current.get() is None


def guarded(app: Any, store: Any, policy: Any = READ, methods: Iterable[str] = ("GET", "PUT")) -> Any:
    return validator(IdempotencyMiddleware(validator(app), store, [(methods, ".*", policy), (("POST", "PATCH"), ".*", Policy(expose_stale=True))]))


def ask(app: Any, path: str, method: str = "GET", clock: Clock | None = None, who: str = "anna", **changes: Any) -> Answer:
    """One request, a second after the last one."""
    if clock is not None:
        clock.now += 1
    return send(app, environ_of(b"", path, REQUEST_METHOD=method, HTTP_AUTHORIZATION=who, **changes))


def touches(*names: str) -> View:
    return lambda environ: environ["wsgibatch.touch"](*names)


def goes_by(*names: str) -> View:
    return lambda environ: environ["wsgibatch.reads"](*names)


def is_replay(answer: Answer) -> bool:
    return answer.header("Idempotent-Replayed") == "true"


def executed_again(site: Site, store: Any, clock: Clock, between: str, first: str = "/first", method: str = "GET") -> bool:
    """Is *first* executed a second time after *between* was?"""
    app = guarded(site, store)
    ask(app, first, method, clock)
    assert is_replay(ask(app, first, method, clock))
    ask(app, between, "DELETE", clock)
    return not is_replay(ask(app, first, method, clock))


# What goes by what


@pytest.mark.parametrize(
    ("looked_at", "changed", "again"),
    [
        ("User:1", "User:1", True),
        ("User:1", "User:2", False),
        ("User:1", "User:*", True),
        ("User:*", "User:1", True),
        ("User:*", "User:*", True),
        ("User:*", "Order:1", False),
        ("User:1", "Order:*", False),
        ("weather", "weather", True),
        ("weather", "User:*", False),
        ("User:1:2", "User:1", False),
        ("User:1:2", "User:*", True),
        ("User:ü\ud800", "User:ü\ud800", True),
    ],
)
@pytest.mark.parametrize("how", [goes_by, touches])
def test_a_reply_ends_with_what_it_goes_by(store: Failing, clock: Clock, how: Callable[..., View], looked_at: str, changed: str, again: bool) -> None:
    site = Site(first=how(looked_at), change=touches(changed))

    assert executed_again(site, store, clock, "/change") is again


def test_what_a_request_has_changed_itself_does_not_end_its_reply(store: Failing, clock: Clock) -> None:
    app = guarded(Site(put=touches("User:1", "User:*")), store)
    ask(app, "/put", "PUT", clock)

    assert is_replay(ask(app, "/put", "PUT", clock))


def test_what_is_executed_again_is_kept_again(store: Failing, clock: Clock) -> None:
    site = Site(first=goes_by("User:1"), change=touches("User:1"))
    app = guarded(site, store)
    for path, method in (("/first", "GET"), ("/change", "DELETE"), ("/first", "GET")):
        ask(app, path, method, clock)

    assert is_replay(ask(app, "/first", clock=clock))
    assert site.runs == ["/first", "/change", "/first"]


def test_a_signature_that_is_gone_is_a_change(store: Failing, clock: Clock) -> None:
    app = guarded(Site(put=touches("User:1")), store)
    ask(app, "/put", "PUT", clock)
    store._tags.clear()

    assert not is_replay(ask(app, "/put", "PUT", clock))
    assert is_replay(ask(app, "/put", "PUT", clock))


def test_what_nobody_has_signed_cannot_change_and_be_forgotten(store: Failing, clock: Clock) -> None:
    site = Site(first=goes_by("User:1"), change=touches("User:1"))
    app = guarded(site, store, Policy(derive=Dimensions(), ttl=3 * 86400))
    other = guarded(site, store)
    ask(app, "/first", clock=clock)
    ask(other, "/change", "DELETE", clock)
    clock.now += 2 * 86400

    assert not is_replay(ask(app, "/first", clock=clock))


def test_a_signature_lasts_as_long_as_a_reply(store: Failing, clock: Clock) -> None:
    app = guarded(Site(first=touches("User:1")), store, Policy(derive=Dimensions(), ttl=9 * 86400))
    ask(app, "/first", clock=clock)
    clock.now += 8 * 86400

    assert is_replay(ask(app, "/first", clock=clock))


def test_replies_of_one_class_may_be_kept_side_by_side(store: Failing, clock: Clock) -> None:
    app = guarded(Site(one=goes_by("User:1"), two=goes_by("User:2")), store)
    for path in ("/one", "/two"):
        ask(app, path, clock=clock)

    assert [is_replay(ask(app, path, clock=clock)) for path in ("/one", "/two")] == [True, True]


def test_no_name_of_a_tag_can_be_read_in_the_store(store: Failing, clock: Clock) -> None:
    ask(guarded(Site(put=touches("Session:secret")), store), "/put", "PUT", clock)

    assert store._tags
    assert not any("secret" in name or "Session" in name for name in store._tags)
    assert not any(b"secret" in record.value for record in store._finished.values())


@pytest.mark.parametrize("tag", [1, None, b"User:1"])
def test_a_tag_is_text(store: Failing, tag: Any) -> None:
    with pytest.raises(TypeError, match="a tag is text"):
        ask(IdempotencyMiddleware(Site(put=touches(tag)), store), "/put", "PUT")


# Policies


def test_a_key_of_the_client_is_never_executed_again(store: Failing, clock: Clock) -> None:
    site = Site(pay=touches("Account:1"), change=touches("Account:1"))
    app = guarded(site, store)
    ask(app, "/pay", "POST", clock, HTTP_IDEMPOTENCY_KEY="k")
    fresh = ask(app, "/pay", "POST", clock, HTTP_IDEMPOTENCY_KEY="k")
    ask(app, "/change", "DELETE", clock)

    stale = ask(app, "/pay", "POST", clock, HTTP_IDEMPOTENCY_KEY="k")

    assert (is_replay(fresh), fresh.header("Idempotent-Stale")) == (True, None)
    assert (is_replay(stale), stale.header("Idempotent-Stale"), stale.body) == (True, "true", fresh.body)
    assert site.runs == ["/pay", "/change"]


def test_it_is_told_only_where_that_is_wanted(store: Failing, clock: Clock) -> None:
    app = IdempotencyMiddleware(Site(pay=touches("Account:1"), change=touches("Account:1")), store)
    ask(app, "/pay", "POST", clock, HTTP_IDEMPOTENCY_KEY="k")
    ask(app, "/change", "DELETE", clock)

    answer = ask(app, "/pay", "POST", clock, HTTP_IDEMPOTENCY_KEY="k")

    assert (is_replay(answer), answer.header("Idempotent-Stale")) == (True, None)


@pytest.mark.parametrize("told", [True, False])
def test_a_derived_key_may_be_answered_as_before_all_the_same(store: Failing, clock: Clock, told: bool) -> None:
    policy = Policy(derive=Dimensions(), ttl=600, on_change="replay", expose_stale=told)
    app = guarded(Site(first=goes_by("User:1"), change=touches("User:1")), store, policy)
    ask(app, "/first", clock=clock)
    ask(app, "/change", "DELETE", clock)

    answer = ask(app, "/first", clock=clock)

    assert (is_replay(answer), answer.header("Idempotent-Stale")) == (True, "true" if told else None)


# Ways to say it


def header(name: str) -> Callable[[Site], View]:
    def make(site: Site) -> View:
        return lambda environ: site.headers.append((name, " User:1 ,, User:2"))

    return make


WAYS: dict[str, Callable[[Site], View]] = {
    "environ": lambda site: touches("User:1"),
    "function": lambda site: lambda environ: tags.touch("User:1"),
    "header": header("Wsgibatch-Touch"),
    "header in capitals": header("WSGIBATCH-TOUCH"),
    "another thread": lambda site: lambda environ: in_a_thread(lambda: environ["wsgibatch.touch"]("User:1")),
    "another thread in a copy of the context": lambda site: lambda environ: in_a_thread(lambda: tags.touch("User:1"), copied=True),
}


def in_a_thread(call: Callable[[], object], copied: bool = False) -> None:
    context = copy_context()
    thread = threading.Thread(target=(lambda: context.run(call)) if copied else call)
    thread.start()
    thread.join(30)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("keyed", [True, False])
def test_it_does_not_matter_how_a_change_is_told(store: Failing, clock: Clock, way: str, keyed: bool) -> None:
    site = Site(first=goes_by("User:1"))
    site.views["/change"] = WAYS[way](site)
    app = guarded(site, store)
    ask(app, "/first", clock=clock)

    answer = ask(app, "/change", "PUT" if keyed else "DELETE", clock)

    assert [name for name, _ in answer.headers] == ["Content-Type"]
    site.headers.clear()
    assert not is_replay(ask(app, "/first", clock=clock))


@pytest.mark.parametrize("name", ["Wsgibatch-Reads", "wsgibatch-reads"])
def test_what_an_answer_goes_by_may_be_told_in_a_header(store: Failing, clock: Clock, name: str) -> None:
    site = Site(change=touches("User:1"))
    site.headers = [(name, "User:1"), ("X-Other", "1"), (name, "User:7")]
    app = guarded(site, store)

    first, again = ask(app, "/first", clock=clock), ask(app, "/first", clock=clock)

    assert first.header("X-Other") == "1"
    assert not any("reads" in found.lower() for found, _ in (*first.headers, *again.headers))
    assert is_replay(again)
    ask(app, "/change", "DELETE", clock)
    assert not is_replay(ask(app, "/first", clock=clock))


def test_what_an_answer_goes_by_may_be_told_by_the_function(store: Failing, clock: Clock) -> None:
    assert executed_again(Site(first=lambda environ: tags.reads("User:1"), change=touches("User:1")), store, clock, "/change")


def test_header_names_that_come_once_are_not_remembered_for_ever(store: Failing) -> None:
    from wsgibatch._idempotency import collect

    site = Site()
    app = IdempotencyMiddleware(site, store)
    for number in range(2 * collect._MEMORY):
        site.headers = [(f"X-{number}", "1"), ("X" * 99, "1")]
        ask(app, "/any", "DELETE")

    assert len(collect._plain) <= collect._MEMORY
    assert "X" * 99 not in collect._plain


# When it is said


def of_body(*pieces: Callable[[], object], close: Callable[[], object] = lambda: None) -> Any:
    """An app that does something with each piece of its answer, and when that is closed."""

    class Body:
        def __iter__(self) -> Iterator[bytes]:
            for piece in pieces:
                piece()
                yield b"x"

        def close(self) -> None:
            close()

    def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        start_response("200 OK", [("Content-Type", "text/plain")])
        return Body()

    return app


def say() -> None:
    tags.touch("User:1")


def signed(store: Failing) -> bool:
    return bool(store._tags)


@pytest.mark.parametrize("app", [of_body(say), of_body(str, close=say)])
@pytest.mark.parametrize("method", ["PUT", "DELETE"])
def test_what_is_changed_while_an_answer_is_sent_counts(store: Failing, app: Any, method: str) -> None:
    ask(guarded(app, store), "/", method)

    assert signed(store)


@pytest.mark.parametrize("method", ["PUT", "DELETE"])
def test_nothing_is_said_before_the_request_has_ended(store: Failing, method: str) -> None:
    found: list[bool] = []

    def watch() -> None:
        say()
        found.append(signed(store))

    ask(guarded(of_body(watch, watch, close=watch), store), "/", method)

    assert (found, signed(store)) == ([False] * 3, True)


def test_what_is_told_after_the_end_is_said_at_once(store: Failing) -> None:
    kept: list[Any] = []
    ask(IdempotencyMiddleware(Site(first=lambda environ: kept.append(environ["wsgibatch.touch"])), store), "/first")
    assert not signed(store)

    kept[0]("User:1")

    assert signed(store)


def test_the_answers_of_one_thread_may_be_sent_by_turns(store: Failing) -> None:
    seen: list[Any] = []

    def note() -> None:
        seen.append(tags.current.get())

    app = IdempotencyMiddleware(of_body(note, note), store)
    one, other = (iter(app(environ_of(REQUEST_METHOD="DELETE"), lambda *arguments: print)) for _ in range(2))
    for _ in range(2):
        next(one)
        next(other)

    assert seen[0] is seen[2] is not seen[1] is seen[3]
    assert tags.current.get() is None


@pytest.mark.parametrize("method", ["PUT", "DELETE"])
def test_what_an_app_that_raises_has_changed_is_said(store: Failing, method: str) -> None:
    def change(environ: dict[str, Any]) -> None:
        say()
        raise RuntimeError("after the commit")

    with pytest.raises(RuntimeError, match="after the commit"):
        ask(IdempotencyMiddleware(Site(first=change), store, [(("PUT",), ".*", READ)]), "/first", method)

    assert signed(store)


def test_what_a_request_has_changed_whose_answer_nobody_waits_for_is_said(store: Failing) -> None:
    app = IdempotencyMiddleware(of_body(say, say, say), store, [("PUT", ".*", Policy(derive=Dimensions(), ttl=600, drain_timeout=0, max_body=0))])
    answer: Any = app(environ_of(REQUEST_METHOD="PUT", HTTP_AUTHORIZATION="anna"), lambda *arguments: print)
    next(answer)

    answer.close()

    assert signed(store)


def test_what_is_refused_in_the_end_has_changed_something_all_the_same(store: Failing, clock: Clock) -> None:
    site = Site(first=goes_by("User:1"), change=touches("User:1"))
    app = guarded(site, store)
    ask(app, "/first", clock=clock)
    site.status = "500 Internal Server Error"
    ask(app, "/change", "PUT", clock)

    assert not is_replay(ask(app, "/first", clock=clock))


def test_a_file_is_given_to_the_server_as_it_is(store: Failing, tmp_path: Any) -> None:
    (tmp_path / "file").write_bytes(b"x")

    def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        say()
        start_response("200 OK", [])
        return FileWrapper((tmp_path / "file").open("rb"))

    result = IdempotencyMiddleware(app, store)(environ_of(REQUEST_METHOD="GET", wsgi__file_wrapper=FileWrapper), lambda *arguments: print)

    assert isinstance(result, FileWrapper)
    result.close()
    assert signed(store)


# Who was first


def one_after_another(*views: View) -> View:
    def view(environ: dict[str, Any]) -> None:
        for one in views:
            one(environ)

    return view


def changed_elsewhere(store: Any) -> View:
    """A whole request, by somebody else, that changes User:1."""
    app = guarded(Site(change=touches("User:1")), store)
    return lambda environ: in_a_thread(lambda: ask(app, "/change", "DELETE"))


def test_a_change_that_was_signed_while_a_request_ran_makes_its_reply_out_of_date(store: Failing, clock: Clock) -> None:
    # B commits after A, and is done before A is: what A says is older than what B says, though it comes later.
    site = Site(first=touches("User:1"))
    app = guarded(site, store)
    elsewhere = changed_elsewhere(store)
    site.views["/first"] = one_after_another(touches("User:1"), elsewhere)
    ask(app, "/first", "PUT", clock)

    assert not is_replay(ask(app, "/first", "PUT", clock))


@pytest.mark.parametrize("looked_at", ["User:1", "User:*"])
def test_a_change_while_an_answer_is_made_makes_it_out_of_date(store: Failing, clock: Clock, looked_at: str) -> None:
    site = Site(first=goes_by(looked_at))
    app = guarded(site, store)
    elsewhere = changed_elsewhere(store)
    site.views["/first"] = one_after_another(elsewhere, goes_by(looked_at))
    ask(app, "/first", clock=clock)
    site.views["/first"] = goes_by(looked_at)

    assert not is_replay(ask(app, "/first", clock=clock))
    assert is_replay(ask(app, "/first", clock=clock))


def test_a_contested_reply_to_a_key_of_the_client_is_kept_and_says_so(store: Failing, clock: Clock) -> None:
    site = Site()
    app = guarded(site, store)
    elsewhere = changed_elsewhere(store)
    site.views["/pay"] = one_after_another(touches("User:1"), elsewhere)
    ask(app, "/pay", "POST", clock, HTTP_IDEMPOTENCY_KEY="k")

    answer = ask(app, "/pay", "POST", clock, HTTP_IDEMPOTENCY_KEY="k")

    assert (is_replay(answer), answer.header("Idempotent-Stale"), site.runs) == (True, "true", ["/pay"])


def test_a_change_between_a_look_and_a_first_signature_is_not_hidden(store: Failing, clock: Clock) -> None:
    app = guarded(Site(first=goes_by("User:1")), store)
    elsewhere = changed_elsewhere(store)
    look = store.seen
    between: list[View] = []

    def overtaken(names: Any) -> Any:
        found = look(names)
        if between:
            between.pop()({})
        return found

    store.seen = overtaken  # type: ignore[method-assign]
    between.append(elsewhere)
    ask(app, "/first")
    # Who looks now sees a change, and not a signature that stands for none.
    assert not store._tags[tags._stored("User:1")].owner.startswith("~")
    assert not is_replay(ask(app, "/first"))


def test_a_change_of_long_before_contests_nothing(store: Failing, clock: Clock) -> None:
    app = guarded(Site(first=touches("User:1"), change=touches("User:1")), store)
    ask(app, "/change", "DELETE", clock)
    ask(app, "/first", "PUT", clock)

    assert is_replay(ask(app, "/first", "PUT", clock))


def test_of_many_that_find_a_reply_out_of_date_one_executes(clock: Clock) -> None:
    store = Failing(clock)
    site = Site(first=goes_by("User:1"), change=touches("User:1"))
    app = guarded(site, store, Policy(derive=Dimensions(), ttl=600, wait=30))
    ask(app, "/first", clock=clock)
    ask(app, "/change", "DELETE", clock)
    clock.now += 1

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda number: ask(app, "/first"), range(16)))

    assert [is_replay(answer) for answer in answers].count(False) == 1
    assert site.runs.count("/first") == 2


# Stores that fail


@pytest.mark.parametrize("call", ["seen", "forget"])
def test_where_it_is_not_known_a_derived_key_is_executed_unguarded(store: Failing, clock: Clock, call: str, caplog: pytest.LogCaptureFixture) -> None:
    app = guarded(Site(first=goes_by("User:1"), change=touches("User:1")), store)
    ask(app, "/first", clock=clock)
    ask(app, "/change", "DELETE", clock)
    store.fails = {call}

    answer = ask(app, "/first", clock=clock)

    assert (answer.status, is_replay(answer)) == (200, False)
    assert f"{call} failed" in caplog.text


@pytest.mark.parametrize(("method", "call"), [("PUT", "touch"), ("GET", "seen"), ("DELETE", "touch")])
def test_a_request_has_happened_although_nothing_can_be_signed(
    store: Failing, clock: Clock, method: str, call: str, caplog: pytest.LogCaptureFixture
) -> None:
    app = guarded(Site(first=one_after_another(goes_by("User:1"), *([] if method == "GET" else [touches("User:1")]))), store)
    store.fails = {call}

    assert ask(app, "/first", method, clock).status == 200
    assert "failed to sign tags" in caplog.text
    store.fails.clear()
    assert not is_replay(ask(app, "/first", method, clock))


# Outside of requests


def test_outside_of_requests_a_change_is_said_at_once(store: Failing, clock: Clock) -> None:
    app = guarded(Site(first=goes_by("User:1")), store)
    ask(app, "/first", clock=clock)
    clock.now += 1

    tags.touch("User:1")

    assert not is_replay(ask(app, "/first", clock=clock))


def test_a_process_without_a_middleware_says_which_store_it_means(store: Failing) -> None:
    tags.use(store)

    tags.touch("User:1")

    assert signed(store)


def test_without_a_store_a_change_cannot_be_said() -> None:
    with pytest.raises(ConfigError, match="no store is known here"):
        tags.touch("User:1")


def test_a_store_that_fails_outside_of_requests_is_told(store: Failing) -> None:
    tags.use(store)
    store.fails = {"touch"}

    with pytest.raises(StoreError):
        tags.touch("User:1")


def test_amid_a_commit_nothing_is_raised(store: Failing, caplog: pytest.LogCaptureFixture) -> None:
    tags.changed(["User:1"])
    tags.use(store)
    store.fails = {"touch"}

    tags.changed(["User:1"])

    assert "failed to sign tags" in caplog.text


def test_outside_of_requests_an_answer_goes_by_nothing() -> None:
    tags.reads("User:1")


# Batches and groups


def batch(site: Any, store: Any, *items: Any, outer: Any = None, atomic: Any = None) -> Answer:
    inner = IdempotencyMiddleware(site, store, [(("GET", "PUT"), ".*", READ)])
    app: Any = BatchMiddleware(inner, dialect=Prepared(list(items)), atomic=atomic)
    if outer is not None:
        app = IdempotencyMiddleware(app, outer, Policy(derive=Dimensions(), ttl=600))
    return send(app, environ_of(b"[]", HTTP_AUTHORIZATION="anna"))


def test_a_reply_to_a_whole_batch_ends_with_what_its_items_go_by(store: Failing, clock: Clock) -> None:
    tags.use(store)
    site = Site(one=goes_by("User:1"), two=touches("User:2"))
    both = [item(0, "/one"), item(1, "/two", method="PUT")]
    assert [is_replay(batch(site, store, *both, outer=store)) for _ in range(2)] == [False, True]
    for tag in ("User:1", "User:2"):
        clock.now += 1
        tags.touch(tag)
        clock.now += 1

        assert [is_replay(batch(site, store, *both, outer=store)) for _ in range(2)] == [False, True]


def test_a_reply_to_a_whole_batch_in_another_store_ends_as_well(store: Failing, clock: Clock) -> None:
    site, other = Site(one=goes_by("User:1")), Failing(clock)
    keep = IdempotencyMiddleware(site, other)
    batch(site, store, item(0, "/one"), outer=other)
    assert is_replay(batch(site, store, item(0, "/one"), outer=other))
    clock.now += 1
    ask(IdempotencyMiddleware(Site(change=touches("User:1")), keep.store), "/change", "DELETE")
    clock.now += 1

    assert not is_replay(batch(site, store, item(0, "/one"), outer=other))


def test_items_tell_a_middleware_in_front_of_the_batch(store: Failing) -> None:
    app = IdempotencyMiddleware(BatchMiddleware(Site(put=touches("User:1")), dialect=Prepared([item(0, "/put")])), store)

    send(app, environ_of(b"[]"))

    assert signed(store)


class Transaction:
    """Makes groups atomic; what is signed by its end is written down."""

    def __init__(self, store: Failing) -> None:
        self.store, self.signed_before_commit = store, False

    def __call__(self) -> "Transaction":
        return self

    def __enter__(self) -> Group:
        return Group()

    def __exit__(self, *_: object) -> None:
        self.signed_before_commit = signed(self.store)


@pytest.mark.parametrize("method", ["PUT", "DELETE"])
@pytest.mark.parametrize("site", [Site(put=touches("User:1")), of_body(say, say), of_body(str, close=say)])
def test_what_a_group_has_changed_is_said_once_it_is_committed(store: Failing, method: str, site: Any) -> None:
    atomic = Transaction(store)

    batch(site, store, *(item(number, f"/put?{number}", group="g", method=method) for number in range(2)), atomic=atomic)

    assert (atomic.signed_before_commit, signed(store)) == (False, True)


@pytest.mark.parametrize("method", ["PUT", "DELETE"])
def test_what_a_group_would_have_changed_is_never_said(store: Failing, method: str) -> None:
    def fail(environ: dict[str, Any]) -> None:
        raise RuntimeError("no")

    site = Site(put=touches("User:1"), fail=fail)
    batch(site, store, item(0, "/put", group="g", method=method), item(1, "/fail", group="g"), atomic=Transaction(store))

    assert site.runs == ["/put", "/fail"]
    assert not signed(store)


def test_a_reply_of_a_group_ends_as_any_other(store: Failing, clock: Clock) -> None:
    tags.use(store)
    site = Site(put=touches("User:1"))
    runs = []
    for change in (False, False, True):
        if change:
            tags.touch("User:1")
        clock.now += 1
        batch(site, store, item(0, "/put", group="g", method="PUT"), atomic=Transaction(store))
        runs.append(len(site.runs))

    assert runs == [1, 1, 2]


def test_nobody_waits_for_ever_for_a_reply_that_is_out_of_date(store: Failing, clock: Clock) -> None:
    app = guarded(Site(first=goes_by("User:1"), change=touches("User:1")), store)
    ask(app, "/first", clock=clock)
    ask(app, "/change", "DELETE", clock)
    forget = store.forget

    def overtaken(key: str, value: bytes) -> bool:
        forget(key, value)
        assert isinstance(store.begin(key, b"", 30, 30, "execute"), Claimed)
        return False

    store.forget = overtaken  # type: ignore[method-assign]

    assert code(ask(app, "/first", clock=clock)) == "in-flight"
