"""Idempotent replies in front of a real Django project, and what its models tell them."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.gateway import Answer, environ_of, send
from tests.servers.run import gunicorn
from tests.test_idempotency import Clock
from tests.test_tags import is_replay
from wsgibatch import BatchMiddleware, ConfigError, tags
from wsgibatch.idempotency import Dimensions, IdempotencyMiddleware, Policy
from wsgibatch.model import SubRequest
from wsgibatch.stores.memory import MemoryStore

ROOT = Path(__file__).parents[2]
PROJECT = "tests.integrations.django_project"


@pytest.fixture
def told(environment: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Iterator[set[str]]:
    """What the models have told. There is one of each, and the one store there is is empty."""
    from django.db import connections
    from django.db.models import signals

    from wsgibatch.integrations.django import track

    from .django_project.models import Book, Case, Note, Shelf

    for model in (Book, Shelf, Note):
        model.objects.all().delete()
    monkeypatch.setattr(tags, "_signers", type(tags._signers)())
    monkeypatch.setattr(tags, "_used", [])
    Case.objects.create(pk=1, place="hall")
    Book.objects.create(pk=1, title="one")
    Note.objects.create(pk=1, text="old")
    found: set[str] = set()
    sign = tags.Signer.sign

    def noted(self: tags.Signer, names: Iterable[str], owner: str = "") -> Any:
        names = list(names)
        found.update(names)
        return sign(self, names, owner)

    monkeypatch.setattr(tags.Signer, "sign", noted)
    tags.use(MemoryStore())
    track()
    track()
    yield found
    for signal in (signals.post_save, signals.post_delete, signals.m2m_changed):
        assert signal.disconnect(dispatch_uid="wsgibatch.tags")
        assert not signal.disconnect(dispatch_uid="wsgibatch.tags")
    connections.close_all()


# What models tell


def models() -> Any:
    from .django_project import models

    return models


def in_block(*steps: Callable[[], object], fails: bool = False) -> Callable[[], object]:
    from django.db import transaction

    def do() -> None:
        with suppress(ZeroDivisionError), transaction.atomic():
            for step in steps:
                step()
            if fails:
                raise ZeroDivisionError

    return do


def rename(key: int) -> Callable[[], object]:
    return lambda: models().Book(pk=key, title=f"new {key}").save()


def delete_one() -> None:
    models().Book.objects.get(pk=1).delete()


def fail_to_add() -> None:
    from django.db import IntegrityError, transaction

    with suppress(IntegrityError), transaction.atomic():
        models().Book.objects.create(title="one")


BOOK = "django_project.Book"
CASE, SHELF = "django_project.Case:1", "django_project.Shelf:1"

STEPS: dict[str, tuple[Callable[[], object], set[str]]] = {
    "a new row": (lambda: models().Book.objects.create(pk=7, title="seven"), {f"{BOOK}:7"}),
    "a changed row": (lambda: models().Book.objects.get(pk=1).save(), {f"{BOOK}:1"}),
    "a deleted row": (delete_one, {f"{BOOK}:1"}),
    "deleted rows": (lambda: models().Book.objects.all().delete(), {f"{BOOK}:1"}),
    "a row with a parent": (lambda: models().Case.objects.get(pk=1).save(), {CASE, SHELF}),
    "a row of a proxy": (lambda: models().OldCase.objects.get(pk=1).save(), {CASE, SHELF}),
    "a row put to others": (lambda: models().Book.objects.get(pk=1).shelves.add(1), {f"{BOOK}:1", SHELF}),
    "the other way round": (lambda: models().Shelf.objects.get(pk=1).book_set.add(1), {f"{BOOK}:1", SHELF}),
    "a field cleared": (lambda: models().Book.objects.get(pk=1).shelves.clear(), {f"{BOOK}:1", "django_project.Shelf:*"}),
    "a read": (lambda: list(models().Book.objects.all()), set()),
    "nothing of a update": (lambda: models().Book.objects.update(title="x"), set()),
    "a block": (lambda: in_block(rename(1), rename(2))(), {f"{BOOK}:1", f"{BOOK}:2"}),
    "a failed block": (lambda: in_block(rename(1), fails=True)(), set()),
    "a failed savepoint": (lambda: in_block(rename(1), in_block(rename(2), fails=True))(), {f"{BOOK}:1"}),
    "a savepoint in a failed block": (lambda: in_block(rename(1), in_block(rename(2)), fails=True)(), set()),
    "a savepoint in a failed savepoint": (lambda: in_block(rename(1), in_block(in_block(rename(2)), fails=True))(), {f"{BOOK}:1"}),
    "an error that was caught": (lambda: in_block(rename(2), fail_to_add, rename(3))(), {f"{BOOK}:2", f"{BOOK}:3"}),
}


@pytest.mark.parametrize("step", STEPS)
def test_what_models_commit_is_known_and_nothing_else(told: set[str], step: str) -> None:
    do, expected = STEPS[step]

    do()

    assert told == expected


def test_nothing_is_known_before_it_is_committed(told: set[str]) -> None:
    during: list[set[str]] = []

    in_block(rename(1), lambda: during.append(set(told)))()

    assert (during, told) == ([set()], {f"{BOOK}:1"})


@pytest.mark.parametrize("guarded", [True, False])
@pytest.mark.parametrize("failing", [True, False])
def test_in_a_group_it_is_known_once_that_is_committed(told: set[str], guarded: bool, failing: bool) -> None:
    from django.core.wsgi import get_wsgi_application

    from tests.prepared import Prepared
    from wsgibatch.integrations.django import atomic

    seen: list[set[str]] = []
    project = get_wsgi_application()

    def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        result: Iterable[bytes] = project(environ, start_response)
        seen.append(set(told))
        return result

    inner: Any = IdempotencyMiddleware(app) if guarded else app
    batch = BatchMiddleware(inner, dialect=Prepared([member(0, "well"), member(1, "refused" if failing else "well")]), atomic=atomic())
    send(batch, environ_of(b"[]", HTTP_HOST="localhost"))

    assert seen == [set(), set()]
    assert len(told) == (0 if failing else 2)


def test_the_reply_to_a_member_of_a_group_goes_by_what_it_has_changed(told: set[str]) -> None:
    from django.core.wsgi import get_wsgi_application

    from tests.prepared import Prepared
    from wsgibatch.integrations.django import atomic

    clock = Clock()
    store = MemoryStore(clock=clock)
    tags.use(store)
    inner = IdempotencyMiddleware(get_wsgi_application(), store, [("POST", ".*", Policy(derive=Dimensions(principal=False), ttl=600))])
    added = []
    for change in (False, False, True):
        told.clear()
        if change:
            tags.touch("django_project.Note:*")
            told.clear()
        clock.now += 1
        send(BatchMiddleware(inner, dialect=Prepared([member(0, "well")]), atomic=atomic()), environ_of(b"[]", HTTP_HOST="localhost"))
        added.append(len(told))

    assert added == [1, 0, 1]


def member(number: int, way: str) -> SubRequest:
    from tests.prepared import request

    made = request(number, f"/groups/{way}", group="g", method="POST")
    made.body = json.dumps({"text": str(number)}).encode()
    return made


def test_a_kept_answer_ends_with_what_it_goes_by(told: set[str]) -> None:
    from django.core.wsgi import get_wsgi_application

    from wsgibatch.integrations.django import idempotent

    from .django_project.models import Note

    clock = Clock()
    policy = [("GET", "/notes", Policy(derive=Dimensions(principal=False), ttl=600))]
    project = get_wsgi_application()

    def reading(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        tags.reads("django_project.Note:*")
        result: Iterable[bytes] = project(environ, start_response)
        return result

    app = idempotent(reading, store=MemoryStore(clock=clock), policy=policy)

    def ask(method: str = "GET", body: bytes = b"") -> Answer:
        clock.now += 1
        return send(app, environ_of(body, "/notes", REQUEST_METHOD=method, HTTP_HOST="localhost"))

    assert [is_replay(ask()) for _ in range(2)] == [False, True]
    Note.objects.create(text="by somebody else")
    answers = [ask() for _ in range(2)]
    assert [(is_replay(answer), len(answer.json())) for answer in answers] == [(False, 2), (True, 2)]


def test_outside_of_requests_the_store_of_the_settings_is_told(told: set[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from django.test import override_settings

    from wsgibatch.integrations.django import track
    from wsgibatch.stores.sqlite import SqliteStore

    monkeypatch.setattr(tags, "_signers", type(tags._signers)())
    with override_settings(WSGIBATCH_IDEMPOTENCY={"STORE": f"sqlite:///{tmp_path}/replies.db"}):
        track()
    rename(1)()

    store = SqliteStore(tmp_path / "replies.db")
    assert store.seen([tags._stored(f"{BOOK}:1")]) != [None]
    store.close()


def test_a_store_that_cannot_be_had_is_told_of_by_the_checks_and_not_by_a_traceback(environment: dict[str, str]) -> None:
    lines = [
        "from django.conf import settings",
        "urlpatterns = []",
        "settings.configure(INSTALLED_APPS=[], ROOT_URLCONF='__main__', WSGIBATCH_IDEMPOTENCY={'store': 'memcached://'})",
        "import django; django.setup()",
        "from wsgibatch.integrations.django import track; track()",
        "from django.core.management import execute_from_command_line",
        "execute_from_command_line(['manage.py', 'check'])",
    ]

    ended = subprocess.run([sys.executable, "-c", "\n".join(lines)], cwd=ROOT, capture_output=True, text=True, check=False)

    assert ended.returncode == 1
    assert "Traceback" not in ended.stderr
    assert "(wsgibatch.E002) store: 'memcached' is none of the stores" in ended.stderr
    assert "what changes outside of requests makes no reply out of date: store: 'memcached'" in ended.stderr


# Settings


def configured(given: Any, **overrides: Any) -> IdempotencyMiddleware:
    from django.test import override_settings

    from wsgibatch.integrations.django import idempotent

    with override_settings(WSGIBATCH_IDEMPOTENCY=given):
        return idempotent(nothing, **overrides)


def nothing(environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
    start_response("201 Created", [])
    return []


def who(environ: dict[str, Any]) -> str | None:
    return environ.get("HTTP_X_USER")


rules = [("PUT", ".*", Policy(required=True))]


def policy_of(app: IdempotencyMiddleware, method: str = "POST") -> Policy | None:
    return app._policy(environ_of(REQUEST_METHOD=method, HTTP_IDEMPOTENCY_KEY="k"))


def test_the_settings_say_how_requests_are_guarded(environment: dict[str, str], tmp_path: Path) -> None:
    app = configured({"STORE": f"sqlite:///{tmp_path}/x.db", "wait": 5, "PRINCIPAL": f"{__name__}:who"}, ttl=60)

    policy = policy_of(app)
    assert policy is not None
    assert (policy.wait, policy.ttl, policy.principal, type(app.store).__name__) == (5, 60, who, "SqliteStore")


def test_a_policy_may_be_named(environment: dict[str, str]) -> None:
    app = configured({"policy": f"{__name__}:rules"})

    assert policy_of(app) is None
    assert policy_of(app, "PUT") == Policy(required=True)


def test_clients_are_told_apart_by_their_sessions(environment: dict[str, str]) -> None:
    policy = policy_of(configured({}))

    assert policy is not None
    assert policy.cookies == ("sessionid",)


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"stor": "memory://"}, "a policy has no field 'stor'"),
        ({"wait": "long"}, "wait: Expected `float`, got `str`"),
        ({"store": "memcached://"}, "store: 'memcached' is none of the stores"),
        ({"policy": "nowhere:rules"}, "policy: 'nowhere:rules' cannot be found"),
        ({"policy": f"{__name__}:rules", "wait": 5}, "wait: belongs into the policy"),
        ({"wait": 5, "WAIT": 6}, "WSGIBATCH_IDEMPOTENCY: a setting is given twice"),
        ("memory://", "WSGIBATCH_IDEMPOTENCY: Expected `object`, got `str`"),
        ({"derive": "metod", "ttl": 5}, "derive: there is no dimension 'metod'"),
    ],
    ids=str,
)
def test_the_checks_tell_of_settings_that_cannot_work(environment: dict[str, str], given: Any, sentence: str) -> None:
    from django.core import checks
    from django.test import override_settings

    with override_settings(WSGIBATCH_IDEMPOTENCY=given):
        found = [message for message in checks.run_checks() if str(message.id).startswith("wsgibatch.")]

    [message] = found
    assert (message.id, message.msg.startswith(sentence)) == ("wsgibatch.E002", True), message.msg
    with pytest.raises(ConfigError):
        configured(given)


WSGI = """
import os
from django.core.wsgi import get_wsgi_application
from wsgibatch.integrations.django import batch, idempotent
application = batch(idempotent(get_wsgi_application(), store=os.environ["STORE"]))
"""


def test_a_project_under_gunicorn_answers_what_is_sent_again_as_before(environment: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "shop_wsgi.py").write_text(WSGI)
    variables = {**environment, "STORE": f"sqlite:///{tmp_path}/replies.db", "PYTHONPATH": os.pathsep.join([str(ROOT), str(tmp_path)])}

    with gunicorn("shop_wsgi:application", "--workers", "2", cwd=tmp_path, env=variables) as base:
        session = requests.Session()
        token = session.get(f"{base}/token", timeout=30).text
        session.cookies.set("sessionid", "anna")
        headers = {"X-CSRFToken": token, "Idempotency-Key": "k", "Referer": base}
        first, again = (session.post(f"{base}/notes", b"once", headers=headers, timeout=30) for _ in range(2))
        other = session.post(f"{base}/notes", b"once", headers={**headers, "Cookie": f"csrftoken={token}; sessionid=bob"}, timeout=30)

    assert (first.status_code, first.headers.get("Idempotent-Replayed")) == (201, None), first.text
    assert (again.status_code, again.headers.get("Idempotent-Replayed"), again.content) == (201, "true", first.content), again.text
    assert "Idempotent-Replayed" not in other.headers
