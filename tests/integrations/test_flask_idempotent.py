"""The place of flask-idempotent2: its decorators, and a test for each of its faults that would have found it."""

import io
import pickletools
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import flask
import pytest
from flask import Flask, request
from flask.views import MethodView
from flask_sqlalchemy import SQLAlchemy
from redis import Redis
from sqlalchemy.exc import IntegrityError
from werkzeug.exceptions import NotFound

from tests.servers.redis import Server
from tests.test_idempotency import Clock, Watched
from wsgibatch import ConfigError, tags
from wsgibatch.integrations.flask import Batch, Idempotent, gen_keyfunc
from wsgibatch.model import Kept
from wsgibatch.stores.redis import RedisStore


class Shop:
    """An app with users and seats, whose clock goes on by a second with each request."""

    def __init__(self, folder: Path) -> None:
        self.app = Flask(__name__)
        self.app.secret_key = "only for tests"
        self.app.config["SQLALCHEMY_DATABASE_URI"] = f"sqlite:///{folder}/shop.db"
        self.db = SQLAlchemy(self.app)
        db = self.db

        class User(db.Model):  # type: ignore[name-defined]  # made by the extension
            id = db.Column(db.Integer, primary_key=True)
            name = db.Column(db.String, unique=True)

        class Seat(db.Model):  # type: ignore[name-defined]  # as above
            row = db.Column(db.Integer, primary_key=True)
            letter = db.Column(db.String, primary_key=True)
            taken = db.Column(db.Boolean)

        self.User, self.Seat = User, Seat
        with self.app.app_context():
            db.create_all()
            db.session.add_all([User(id=1, name="ada"), User(id=2, name="bob"), *(Seat(row=4, letter=letter) for letter in "ABC")])
            db.session.commit()
        self.clock = Clock()
        self.store = Watched(self.clock)
        self.idempotent = Idempotent(self.app, self.store, db.session)
        self.runs: list[str] = []

    def view(self, rule: str, view: Callable[..., Any], *decorators: Any, methods: tuple[str, ...] = ("PUT",)) -> None:
        """Add a view that notes that it has run."""

        def noted(**values: Any) -> Any:
            self.runs.append(request.path)
            return view(**values) or "done"

        noted.__name__ = f"view_{len(self.app.view_functions)}"
        made: Any = noted
        for decorate in decorators:
            made = decorate(made)
        self.app.add_url_rule(rule, noted.__name__, made, methods=methods)

    def ask(self, path: str, method: str = "PUT", client: Any = None, **options: Any) -> Any:
        self.clock.now += 1
        # Read to its end and closed, as servers do.
        return (client or self.app.test_client()).open(path, method=method, buffered=True, **options)

    def ran(self, *paths: str, method: str = "PUT", **options: Any) -> list[str]:
        """What has run of requests to *paths*."""
        self.runs.clear()
        for path in paths:
            self.ask(path, method, **options)
        return list(self.runs)


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Shop]:
    monkeypatch.setattr(tags, "_signers", type(tags._signers)())
    made = Shop(tmp_path)
    yield made
    with made.app.app_context():
        made.db.engine.dispose()


def rename(shop: Shop, name: str = "eve") -> Callable[..., None]:
    def view(number: int) -> None:
        shop.db.session.get_one(shop.User, number).name = f"{name} {number} {len(shop.runs)}"
        shop.db.session.commit()

    return view


def take(shop: Shop) -> Callable[..., None]:
    def view(row: int, letter: str) -> None:
        seat = shop.db.session.get_one(shop.Seat, (row, letter))
        seat.taken = not seat.taken
        shop.db.session.commit()

    return view


def noting(runs: list[str], name: str) -> str:
    runs.append(name)
    return "done"


# What it does


def test_an_equal_request_is_answered_as_before(shop: Shop) -> None:
    shop.view("/users/<int:number>", rename(shop), shop.idempotent.cache(600))

    assert shop.ran("/users/1", "/users/1", "/users/2", "/users/1?x") == ["/users/1", "/users/2", "/users/1"]
    assert shop.ask("/users/2").headers["Idempotent-Replayed"] == "true"


def test_a_request_is_executed_again_once_another_one_has_changed_the_same(shop: Shop) -> None:
    shop.view("/users/<int:number>", rename(shop), shop.idempotent.cache(600))
    shop.view("/other/<int:number>", rename(shop, "other"), shop.idempotent.cache(600))

    assert shop.ran("/users/1", "/other/2", "/users/1", "/other/1", "/users/1") == ["/users/1", "/other/2", "/other/1", "/users/1"]


def test_an_answer_is_kept_for_its_time(shop: Shop) -> None:
    shop.view("/any", lambda: None, shop.idempotent.cache(600))
    shop.ask("/any")
    shop.clock.now += 601

    assert shop.ran("/any") == ["/any"]


def test_views_without_a_decorator_are_left_alone(shop: Shop) -> None:
    shop.view("/any", lambda: None)

    assert shop.ran("/any", "/any") == ["/any", "/any"]
    assert shop.store.begun == []


@pytest.mark.parametrize(("path", "status"), [("/none", 404), ("/slash", 308), ("/any", 405)])
def test_what_the_app_has_no_view_for_it_answers_itself(shop: Shop, path: str, status: int) -> None:
    shop.view("/slash/", lambda: None, shop.idempotent.cache(600))
    shop.view("/any", lambda: None, shop.idempotent.cache(600), methods=("POST",))

    assert shop.ask(path).status_code == status


@pytest.mark.parametrize("method", ["HEAD", "OPTIONS"])
def test_what_asks_about_a_view_only_is_not_kept(shop: Shop, method: str) -> None:
    shop.view("/any", lambda: None, shop.idempotent.cache(600), methods=("GET",))
    for _ in range(2):
        assert shop.ask("/any", method).status_code == 200

    assert shop.store.begun == []


def test_the_views_of_a_class_may_be_decorated(shop: Shop) -> None:
    runs = shop.runs

    class Users(MethodView):
        @shop.idempotent.cache(600)
        def put(self) -> str:
            runs.append("put")
            return "put"

        def post(self) -> str:
            runs.append("post")
            return "post"

    class All(MethodView):
        decorators = [shop.idempotent.cache(600)]  # noqa: RUF012 - as Flask has it

        def put(self) -> str:
            runs.append("all")
            return "all"

    shop.app.add_url_rule("/users", view_func=Users.as_view("users"))
    shop.app.add_url_rule("/all", view_func=All.as_view("all"))

    assert shop.ran("/users", "/users", "/all", "/all") == ["put", "all"]
    assert shop.ran("/users", "/users", method="POST") == ["post", "post"]


def test_a_decorator_that_hides_a_view_is_told_of(shop: Shop) -> None:
    def hiding(view: Any) -> Any:
        return lambda: view()

    shop.view("/any", lambda: None, shop.idempotent.cache(600), hiding)
    shop.app.testing = True

    with pytest.raises(RuntimeError, match=r"should use functools\.wraps"):
        shop.ask("/any")


def test_a_view_can_be_called_without_the_middleware(shop: Shop) -> None:
    @shop.idempotent.cache(600)
    def view() -> str:
        return "done"

    with shop.app.test_request_context("/any"):
        assert view() == "done"


def test_the_items_of_a_batch_are_answered_as_before(shop: Shop) -> None:
    shop.view("/any", lambda: None, shop.idempotent.cache(600))
    Batch(shop.app)

    [item] = shop.ask("/batch", "POST", json=[{"method": "PUT", "url": "/any"}]).json
    [again] = shop.ask("/batch", "POST", json=[{"method": "PUT", "url": "/any"}]).json

    assert "Idempotent-Replayed" not in item["headers"]
    assert again["headers"]["Idempotent-Replayed"] == "true"


def test_items_are_guarded_also_where_the_batch_was_there_first() -> None:
    app = Flask(__name__)
    Batch(app)
    Batch(app, path="/other")
    idempotent = Idempotent(app, "memory://")
    runs: list[str] = []
    app.add_url_rule("/any", "any", idempotent.cache(60)(lambda: noting(runs, "any")), methods=["PUT"])
    client = app.test_client()

    for path in ("/batch", "/other"):
        client.post(path, json=[{"method": "PUT", "url": "/any"}] * 2)

    assert client.put("/any").headers["Idempotent-Replayed"] == "true"
    assert runs == ["any"]


def test_a_client_of_redis_is_a_store(redis: Server, tmp_path: Path) -> None:
    app = Flask(__name__)
    runs: list[str] = []
    with Redis.from_url(redis.empty_url()) as client:
        for idempotent in (Idempotent(app, client), Idempotent(Flask("other"), redis=client)):
            assert isinstance(idempotent.middleware.store, RedisStore)
        idempotent = Idempotent(app, client)
        app.add_url_rule("/any", "any", idempotent.cache(60)(lambda: noting(runs, "any")), methods=["PUT"])
        for _ in range(2):
            assert app.test_client().put("/any").text == "done"

    assert runs == ["any"]


@pytest.mark.parametrize("arguments", [(), (None,), (5,), ("memory://", 5)])
def test_what_cannot_work_is_refused_at_the_start(arguments: Any) -> None:
    with pytest.raises(ConfigError):
        Idempotent(Flask(__name__), *arguments)


def test_a_store_is_given_once() -> None:
    with Redis() as client, pytest.raises(ConfigError, match="^redis: is another name for store"):
        Idempotent(Flask(__name__), "memory://", redis=client)


@pytest.mark.parametrize("kind", ["cache", "lock"])
def test_a_decorator_without_seconds_is_refused(shop: Shop, kind: str) -> None:
    with pytest.raises(ConfigError, match=rf"as in @idempotent\.{kind}\(15\)"):
        getattr(shop.idempotent, kind)(lambda: "view")


@pytest.mark.parametrize("kind", ["cache", "lock"])
@pytest.mark.parametrize("timeout", [0, -1, "5", None])
def test_a_timeout_that_is_no_time_is_refused(shop: Shop, kind: str, timeout: Any) -> None:
    with pytest.raises(ConfigError, match="^timeout: "):
        getattr(shop.idempotent, kind)(timeout)


@pytest.mark.parametrize("patience", [-1, "5"])
def test_a_patience_that_is_no_time_is_refused(shop: Shop, patience: Any) -> None:
    with pytest.raises(ConfigError, match="^blocking_timeout: "):
        shop.idempotent.lock(3, blocking_timeout=patience)


@pytest.mark.parametrize("keyfunc", ["x", 5, lambda request: ""])
def test_what_makes_no_key_is_refused(shop: Shop, keyfunc: Any) -> None:
    for decorate in (shop.idempotent.cache, shop.idempotent.lock):
        with pytest.raises(ConfigError, match="^keyfunc: "):
            decorate(3, keyfunc=keyfunc)
    with pytest.raises(ConfigError, match="^default_keyfunc: "):
        Idempotent(Flask(__name__), "memory://", default_keyfunc=keyfunc)


def test_a_key_of_nothing_is_refused() -> None:
    nothing = dict.fromkeys(("endpoint", "path", "method", "query_string", "data", "session", "content_type", "content_length", "remote_addr"), False)

    with pytest.raises(ConfigError, match="at least one"):
        gen_keyfunc(**nothing)  # type: ignore[arg-type]  # no headers are among them


# Keys


def test_requests_of_two_endpoints_are_two_and_of_two_apps(shop: Shop, tmp_path: Path) -> None:
    other = Flask("another")
    idempotent = Idempotent(other, shop.store)
    view = idempotent.cache(600)(lambda: noting(shop.runs, "another"))
    other.add_url_rule("/any", "any", view, methods=["PUT"])
    shop.view("/any", lambda: None, shop.idempotent.cache(600))
    shop.ask("/any")

    assert other.test_client().put("/any").headers.get("Idempotent-Replayed") is None


@pytest.mark.parametrize(
    ("off", "one", "other"),
    [
        ("query_string", {"path": "/a?x"}, {"path": "/a?y"}),
        ("data", {"data": "x"}, {"data": "y"}),
        ("method", {"method": "PUT"}, {"method": "POST"}),
        ("path", {"path": "/a"}, {"path": "/b"}),
        ("session", {"cookie": "ada"}, {"cookie": "bob"}),
        ("content_type", {"content_type": "text/plain"}, {"content_type": "text/html"}),
        ("remote_addr", {"environ_overrides": {"REMOTE_ADDR": "192.0.2.1"}}, {"environ_overrides": {"REMOTE_ADDR": "192.0.2.2"}}),
    ],
)
@pytest.mark.parametrize("left_out", [True, False])
@pytest.mark.parametrize("own", [True, False])
def test_each_side_of_a_request_makes_it_another_unless_left_out(
    shop: Shop, off: str, one: dict[str, Any], other: dict[str, Any], left_out: bool, own: bool
) -> None:
    made = gen_keyfunc(**{off: not left_out})  # type: ignore[arg-type]  # none of them is headers
    keyfunc = (lambda: made()) if own else made
    shop.view("/<name>", lambda name: None, shop.idempotent.cache(600, keyfunc=keyfunc), methods=("PUT", "POST"))

    def ask(path: str = "/a", cookie: str = "", **options: Any) -> None:
        client = shop.app.test_client()
        if cookie:
            with client.session_transaction() as session:
                session["user"] = cookie
        shop.ask(path, options.pop("method", "PUT"), client, **options)

    for options in (one, other, one):
        ask(**options)

    assert len(shop.runs) == (1 if left_out else 2)


def test_answers_of_one_host_are_not_given_out_by_another(shop: Shop) -> None:
    shop.view("/any", lambda: None, shop.idempotent.cache(600))

    hosts = ("ada.example", "Ada.example", "bob.example")
    replayed = [shop.app.test_client().put("/any", headers={"Host": host}).headers.get("Idempotent-Replayed") for host in hosts]

    assert replayed == [None, "true", None]


def test_a_header_that_is_named_makes_another_request(shop: Shop) -> None:
    shop.view("/any", lambda: None, shop.idempotent.cache(600, gen_keyfunc(headers=["X-Tenant"], use_checksum=False)))
    for tenant in "abab":
        shop.ask("/any", headers={"X-Tenant": tenant, "X-Other": str(len(shop.runs))})

    assert len(shop.runs) == 2


def test_the_default_key_may_be_the_apps_own(tmp_path: Path) -> None:
    app = Flask(__name__)
    runs: list[str] = []

    def keyfunc() -> str:
        assert request.endpoint == "any"
        return f"{request.args['k']} {request.data.decode()}"

    idempotent = Idempotent(app, "memory://", default_keyfunc=keyfunc)
    app.add_url_rule("/any", "any", idempotent.cache(60)(lambda: noting(runs, request.data.decode())), methods=["PUT"])
    for key, body in (("a", "x"), ("a", "x"), ("b", "x"), ("a", "y")):
        app.test_client().put(f"/any?k={key}&n={len(runs)}", data=body)

    assert runs == ["x", "x", "y"]


# Locks


def test_one_of_equal_requests_runs_at_a_time(shop: Shop) -> None:
    inside, most = [0], [0]
    both = threading.Lock()

    def view() -> None:
        with both:
            inside[0] += 1
            most[0] = max(most[0], inside[0])
        threading.Event().wait(0.02)
        inside[0] -= 1

    shop.view("/any", view, shop.idempotent.lock(3))
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda number: shop.app.test_client().put("/any"), range(4)))

    assert ([answer.status_code for answer in answers], most, len(shop.runs)) == ([200] * 4, [1], 4)


def test_who_does_not_wait_is_refused(shop: Shop) -> None:
    entered, leave = threading.Event(), threading.Event()

    def view() -> None:
        entered.set()
        assert leave.wait(30)

    shop.view("/any", view, shop.idempotent.lock(3, blocking_timeout=0))
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(shop.app.test_client().put, "/any")
        assert entered.wait(30)
        refused = shop.app.test_client().put("/any")
        leave.set()

        assert (refused.status_code, first.result(30).status_code) == (409, 200)


@pytest.mark.parametrize("order", [("cache", "lock"), ("lock", "cache")])
def test_with_a_lock_and_a_cache_one_runs_and_all_are_answered(shop: Shop, order: tuple[str, str]) -> None:
    made = {"cache": shop.idempotent.cache(600), "lock": shop.idempotent.lock(3)}
    shop.view("/any", lambda: None, *(made[name] for name in order))
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda number: shop.app.test_client().put("/any"), range(8)))

    assert ([answer.status_code for answer in answers], shop.runs) == ([200] * 8, ["/any"])


# The faults that it must not have


def test_rows_are_told_apart_by_their_whole_key(shop: Shop) -> None:
    shop.view("/seats/<int:row>/<letter>", take(shop), shop.idempotent.cache(600))

    assert shop.ran("/seats/4/A", "/seats/4/B", "/seats/4/A") == ["/seats/4/A", "/seats/4/B"]


def test_what_is_deleted_is_known(shop: Shop) -> None:
    def delete(number: int) -> None:
        user = shop.db.session.get(shop.User, number)
        if user is not None:
            shop.db.session.delete(user)
            shop.db.session.commit()

    def create(number: int) -> None:
        shop.db.session.add(shop.User(id=number, name="new"))
        shop.db.session.commit()

    shop.view("/delete/<int:number>", delete, shop.idempotent.cache(600))
    shop.view("/create/<int:number>", create, shop.idempotent.cache(600))

    assert shop.ran("/delete/1", "/delete/1", "/create/1", "/delete/1") == ["/delete/1", "/create/1", "/delete/1"]


@pytest.mark.parametrize("kind", ["cache", "lock"])
def test_a_view_that_is_decorated_twice_is_decorated_as_it_was_first(shop: Shop, kind: str) -> None:
    decorate = getattr(shop.idempotent, kind)
    once = decorate(600)(lambda: "done")

    assert decorate(5)(once) is once


def test_a_signature_whose_time_is_over_is_no_error(shop: Shop) -> None:
    shop.view("/users/<int:number>", rename(shop), shop.idempotent.cache(600))
    shop.ask("/users/1")
    shop.store._tags.clear()

    assert shop.ask("/users/1").status_code == 200
    assert shop.ran("/users/1") == []


def test_the_time_of_one_view_does_not_end_the_replies_of_another(shop: Shop) -> None:
    shop.view("/long/<int:number>", rename(shop), shop.idempotent.cache(6000))
    shop.view("/short", lambda: None, shop.idempotent.cache(2))
    shop.ask("/long/1")
    shop.ask("/short")
    shop.clock.now += 1000

    assert shop.ran("/long/1") == []


def test_every_commit_of_a_request_counts(shop: Shop) -> None:
    def both() -> None:
        rename(shop)(1)
        rename(shop)(2)

    shop.view("/both", both, shop.idempotent.cache(600))
    shop.view("/users/<int:number>", rename(shop, "other"))
    for number in (1, 2):
        shop.ask("/both")

        assert shop.ran(f"/users/{number}", "/both") == [f"/users/{number}", "/both"]


def test_what_views_without_a_decorator_change_counts(shop: Shop) -> None:
    shop.view("/users/<int:number>", rename(shop), shop.idempotent.cache(600))
    shop.view("/plain/<int:number>", rename(shop, "other"))

    assert shop.ran("/users/1", "/plain/1", "/users/1") == ["/users/1", "/plain/1", "/users/1"]


def test_what_is_committed_outside_of_requests_counts(shop: Shop) -> None:
    shop.view("/users/<int:number>", rename(shop), shop.idempotent.cache(600))
    shop.ask("/users/1")
    shop.clock.now += 1
    with shop.app.app_context():
        rename(shop, "cron")(1)

    assert shop.ran("/users/1") == ["/users/1"]


@pytest.mark.parametrize("expire", [True, False])
def test_keys_are_known_whether_rows_expire_or_not(shop: Shop, expire: bool) -> None:
    shop.db.session.session_factory.configure(expire_on_commit=expire)

    def create() -> None:
        user = shop.User(name=f"new {len(shop.runs)}")
        shop.db.session.add(user)
        shop.db.session.commit()
        shop.db.session.close()

    shop.view("/create", create, shop.idempotent.cache(600))
    shop.view("/users/<int:number>", rename(shop))

    assert shop.ran("/create", "/create", "/users/3", "/create") == ["/create", "/users/3", "/create"]


def test_a_savepoint_that_is_rolled_back_takes_nothing_else_with_it(shop: Shop) -> None:
    def view() -> None:
        shop.db.session.get_one(shop.User, 1).name = f"eve {len(shop.runs)}"
        shop.db.session.flush()
        with suppress(IntegrityError), shop.db.session.begin_nested():
            shop.db.session.add(shop.User(name="bob"))
            shop.db.session.flush()
            raise AssertionError("there is a bob")
        shop.db.session.commit()

    shop.view("/careful", view, shop.idempotent.cache(600))
    shop.view("/users/<int:number>", rename(shop))

    assert shop.ran("/careful", "/users/1", "/careful") == ["/careful", "/users/1", "/careful"]


def test_errors_of_the_server_are_not_kept(shop: Shop) -> None:
    shop.view("/any", lambda: ("no", 503), shop.idempotent.cache(600))

    assert shop.ran("/any", "/any") == ["/any", "/any"]


def test_an_answer_that_says_no_is_kept(shop: Shop) -> None:
    def view() -> None:
        raise NotFound

    shop.view("/any", view, shop.idempotent.cache(600))

    assert [shop.ask("/any").status_code for _ in range(2)] == [404, 404]
    assert shop.runs == ["/any"]


def test_what_is_kept_is_no_pickle(shop: Shop) -> None:
    shop.view("/any", lambda: None, shop.idempotent.cache(600))
    shop.ask("/any")
    kept = shop.store.peek(shop.store.begun[-1][0])

    assert isinstance(kept, Kept)
    with pytest.raises(ValueError, match=r"opcode|pickle|newline|exhausted|bytes"):
        list(pickletools.genops(io.BytesIO(kept.value)))


def test_a_client_cannot_say_who_it_is_by_a_header(shop: Shop) -> None:
    shop.view("/any", lambda: None, shop.idempotent.cache(600))
    for address in ("192.0.2.1", "192.0.2.2"):
        shop.ask("/any", headers={"X-Forwarded-For": "203.0.113.9"}, environ_overrides={"REMOTE_ADDR": address})

    assert shop.runs == ["/any", "/any"]


def test_clients_with_tokens_of_their_own_are_not_one(shop: Shop) -> None:
    shop.view("/any", lambda: None, shop.idempotent.cache(600))
    for token in ("ada", "bob", "ada"):
        shop.ask("/any", headers={"Authorization": f"Bearer {token}"})

    assert shop.runs == ["/any", "/any"]


def test_two_forms_are_two_requests(shop: Shop) -> None:
    # request.data is empty for either.
    shop.view("/pay", lambda: request.form["amount"], shop.idempotent.cache(600))

    assert [shop.ask("/pay", data={"amount": amount}).text for amount in "595"] == ["5", "9", "5"]
    assert len(shop.runs) == 2


def test_a_request_that_comes_while_the_first_runs_is_not_executed(shop: Shop) -> None:
    shop.view("/any", lambda: threading.Event().wait(0.05) and None, shop.idempotent.cache(600))
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda number: shop.app.test_client().put("/any"), range(8)))

    assert ([answer.status_code for answer in answers], shop.runs) == ([200] * 8, ["/any"])


def test_cookies_of_one_client_are_not_given_to_another(shop: Shop) -> None:
    def view() -> Any:
        flask.session["user"] = "ada"
        return None

    shop.view("/sign-in", view, shop.idempotent.cache(600, gen_keyfunc(session=False, remote_addr=False)))
    first, again = shop.ask("/sign-in"), shop.ask("/sign-in")

    assert ("Set-Cookie" in first.headers, "Set-Cookie" in again.headers) == (True, False)
