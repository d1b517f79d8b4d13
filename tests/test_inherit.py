from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.apps import mirror
from tests.gateway import environ_of, get, post, shown
from wsgibatch import BatchMiddleware, Settings
from wsgibatch._inherit import HeaderNames, is_dropped, is_inherited, template

CLEAN = {
    "SCRIPT_NAME",
    "SERVER_NAME",
    "SERVER_PORT",
    "SERVER_PROTOCOL",
    "HTTP_HOST",
    "wsgi.version",
    "wsgi.url_scheme",
    "wsgi.errors",
    "wsgi.multithread",
    "wsgi.multiprocess",
    "wsgi.run_once",
    "wsgi.input_terminated",
    "wsgi.file_wrapper",
}
"""What the template of a batch with nothing special holds."""

OF_WHO_ASKS = [
    "REMOTE_ADDR",
    "REMOTE_PORT",
    "REMOTE_HOST",
    "REMOTE_USER",
    "AUTH_TYPE",
    "HTTPS",
    "SERVER_SOFTWARE",
    "GATEWAY_INTERFACE",
    "UNIQUE_ID",
    "SSL_CLIENT_VERIFY",
    "SSL_PROTOCOL",
    "mod_wsgi.application_group",
    "mod_wsgi.process_group",
    "HTTP_COOKIE",
    "HTTP_AUTHORIZATION",
    "HTTP_USER_AGENT",
    "HTTP_ACCEPT",
    "HTTP_ACCEPT_LANGUAGE",
    "HTTP_ORIGIN",
    "HTTP_REFERER",
    "HTTP_SEC_FETCH_SITE",
    "HTTP_X_FORWARDED_FOR",
    "HTTP_X_FORWARDED_PROTO",
    "HTTP_FORWARDED",
    "HTTP_X_REAL_IP",
    "HTTP_X_REQUEST_ID",
    "HTTP_TRACEPARENT",
    "HTTP_X_CSRFTOKEN",
    "HTTP_X_ANY",
]

OF_THE_BATCH_ITSELF = [
    "HTTP_RANGE",
    "HTTP_IF_NONE_MATCH",
    "HTTP_IF_MATCH",
    "HTTP_IF_MODIFIED_SINCE",
    "HTTP_IF_UNMODIFIED_SINCE",
    "HTTP_IF_RANGE",
    "HTTP_EXPECT",
    "HTTP_TE",
    "HTTP_TRAILER",
    "HTTP_TRANSFER_ENCODING",
    "HTTP_CONNECTION",
    "HTTP_KEEP_ALIVE",
    "HTTP_UPGRADE",
    "HTTP_PROXY",
    "HTTP_PROXY_AUTHORIZATION",
    "HTTP_PROXY_CONNECTION",
    "HTTP_HTTP2_SETTINGS",
    "HTTP_CONTENT_ENCODING",
    "HTTP_CONTENT_MD5",
    "HTTP_CONTENT_LANGUAGE",
    "HTTP_CONTENT_RANGE",
    "HTTP_CONTENT_LOCATION",
    "HTTP_CONTENT_TYPE",
    "HTTP_CONTENT_LENGTH",
    "HTTP_DIGEST",
    "HTTP_ACCEPT_ENCODING",
    "HTTP_IDEMPOTENCY_KEY",
    "HTTP_PREFER",
    "HTTP_X_HTTP_METHOD",
    "HTTP_X_HTTP_METHOD_OVERRIDE",
    "HTTP_X_METHOD_OVERRIDE",
    "HTTP_SEC_WEBSOCKET_KEY",
    "HTTP_SEC_WEBSOCKET_VERSION",
]

LEFT_BEHIND = [
    "REQUEST_METHOD",
    "PATH_INFO",
    "QUERY_STRING",
    "CONTENT_TYPE",
    "CONTENT_LENGTH",
    "wsgi.input",
    "RAW_URI",
    "REQUEST_URI",
    "SCRIPT_URL",
    "SCRIPT_URI",
    "REDIRECT_URL",
    "REDIRECT_STATUS",
    "PATH_TRANSLATED",
    "DOCUMENT_ROOT",
    "gunicorn.socket",
    "gunicorn.http2.stream",
    "wsgi.early_hints",
    "wsgi.websocket",
    "uwsgi.version",
    "x-wsgiorg.fdevent.readable",
    "werkzeug.request",
    "werkzeug.socket",
    "webob._parsed_post_vars",
    "webob.adhoc_attrs",
    "bottle.request",
    "bottle.request.json",
    "route.url_args",
    "bfg.routes.route",
    "repoze.who.identity",
    "paste.urlvars",
    "wsgiorg.routing_args",
    "waitress.client_disconnected",
    "wsgibatch.item",
    "any.key",
    "ANY_KEY",
]


def inherited(**changes: Any) -> dict[str, Any]:
    return template(environ_of(**changes), Settings(), concurrent=False)


def test_nothing_but_what_is_allowed_is_inherited() -> None:
    assert inherited().keys() == CLEAN


@pytest.mark.parametrize("key", OF_WHO_ASKS)
def test_what_says_who_asks_is_inherited(key: str) -> None:
    assert inherited(**{key: "value"})[key] == "value"


@pytest.mark.parametrize("key", OF_THE_BATCH_ITSELF)
def test_what_speaks_of_the_batch_s_own_body_connection_or_conditions_is_not(key: str) -> None:
    assert key not in inherited(**{key: "value"})


@pytest.mark.parametrize("key", LEFT_BEHIND)
def test_what_servers_and_frameworks_left_behind_is_not(key: str) -> None:
    assert key not in inherited(**{key: "value"})


@pytest.mark.parametrize("connection", ["X-Private", "close, x-private", " X-PRIVATE ,keep-alive", "a,,x-private,"])
def test_a_header_that_connection_names_is_not_inherited(connection: str) -> None:
    made = inherited(HTTP_CONNECTION=connection, HTTP_X_PRIVATE="1", HTTP_X_PUBLIC="2")

    assert "HTTP_X_PRIVATE" not in made
    assert made["HTTP_X_PUBLIC"] == "2"


@pytest.mark.parametrize("key", ["HTTP_X_FORWARDED_FOR", "HTTP_X_REAL_IP", "HTTP_FORWARDED", "HTTP_HOST", "HTTP_COOKIE", "HTTP_AUTHORIZATION"])
@pytest.mark.parametrize("hyphen", ["-", "_"])
def test_a_client_cannot_take_away_what_a_proxy_vouched_for_by_naming_it_in_connection(key: str, hyphen: str) -> None:
    name = key.removeprefix("HTTP_").replace("_", hyphen)

    assert inherited(**{key: "vouched", "HTTP_CONNECTION": name})[key] == "vouched"


def test_further_keys_are_kept_where_the_settings_say_so() -> None:
    [item] = post(BatchMiddleware(mirror, keep_environ=["tenant.id", "not.there"]), [get("/a")], tenant__id="7", tenant__secret="8").items

    assert shown(item)["tenant.id"] == "7"
    assert not {"tenant.secret", "not.there"} & shown(item).keys()


def test_items_that_may_run_at_the_same_time_are_told_so() -> None:
    assert template(environ_of(), Settings(), concurrent=True)["wsgi.multithread"] is True
    assert template(environ_of(), Settings(), concurrent=False)["wsgi.multithread"] is False
    assert template(environ_of(wsgi__multithread=True), Settings(), concurrent=False)["wsgi.multithread"] is True


def test_more_than_one_item_will_run_in_this_process() -> None:
    assert inherited(wsgi__run_once=True)["wsgi.run_once"] is False


def test_the_environ_of_the_batch_is_not_changed() -> None:
    environ = environ_of(HTTP_CONNECTION="x-a", HTTP_X_A="1", wsgi__file_wrapper=object())
    before = dict(environ)

    template(environ, Settings(), concurrent=True)["HTTP_HOST"] = "changed"

    assert environ == before


@given(st.text(max_size=20))
def test_any_name_has_a_cgi_name_or_none_or_is_dropped(name: str) -> None:
    key = HeaderNames(Settings()).learn(name)

    if not key:
        return
    assert key in ("CONTENT_TYPE", "CONTENT_LENGTH") or key == "HTTP_" + name.upper().replace("-", "_")
    assert name.isascii()


def test_a_name_is_learnt_once() -> None:
    names = HeaderNames(Settings())

    assert names.learn("X-One") == "HTTP_X_ONE"
    assert names.known == {"X-One": "HTTP_X_ONE"}


@pytest.mark.parametrize("name", ["Authorization", "user-agent", "X-Any", "Accept-Language", "Cookie"])
def test_a_client_may_know_what_an_item_inherits(name: str) -> None:
    assert is_inherited(name)


@pytest.mark.parametrize("name", ["Content-Type", "If-Match", "Range", "Prefer", "Accept-Encoding", "Idempotency-Key"])
def test_a_client_may_know_what_an_item_does_not_inherit(name: str) -> None:
    assert not is_inherited(name)


@pytest.mark.parametrize(
    ("name", "dropped"), [("Host", True), ("cookie", True), ("X-Forwarded-For", True), ("a_b", True), ("Authorization", False), ("X-A", False)]
)
def test_a_client_may_know_what_an_item_cannot_bring(name: str, dropped: bool) -> None:
    assert is_dropped(name) == dropped
