import logging

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.apps import show
from tests.gateway import get, post
from wsgibatch import BatchMiddleware
from wsgibatch._log import escaped


@pytest.fixture(autouse=True)
def everything(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "wsgibatch")


def records(caplog: pytest.LogCaptureFixture, name: str) -> list[logging.LogRecord]:
    return [record for record in caplog.records if record.name == name]


@given(st.text(max_size=400))
def test_text_is_escaped_to_one_short_line_of_printable_ascii(text: str) -> None:
    line = escaped(text)

    assert line.isascii()
    assert line.isprintable() or line == ""
    assert len(line) <= 256


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("/a", "/a"),
        ("a\r\nb", "a\\r\\nb"),
        ("\x1b[31m", "\\x1b[31m"),
        ("\u202e", "\\u202e"),
        ("ü", "\\xfc"),
        ("\ud800", "\\ud800"),
        ("\x85\u2028", "\\x85\\u2028"),
    ],
)
def test_control_characters_of_every_kind_are_escaped(text: str, line: str) -> None:
    assert escaped(text) == line


def test_there_is_one_record_for_a_batch_and_one_for_each_item(caplog: pytest.LogCaptureFixture) -> None:
    post(BatchMiddleware(show), [get("/text?secret=1"), {"method": "POST", "url": "/missing"}])

    [batch] = records(caplog, "wsgibatch")
    first, second = records(caplog, "wsgibatch.item")
    assert batch.getMessage().startswith("batch /batch: 2 items, 1 failed, in 0.")
    assert vars(batch).items() >= {"batch_path": "/batch", "batch_items": 2, "batch_failed": 1}.items()
    assert first.getMessage().startswith("item 0: GET /text -> 200 in 0.")
    assert vars(first).items() >= {"item_method": "GET", "item_path": "/text", "item_status": 200, "item_index": 0, "item_id": None}.items()
    assert vars(second).items() >= {"item_method": "POST", "item_path": "/missing", "item_status": 404, "item_index": 1}.items()
    assert vars(second)["item_duration"] > 0


def test_queries_are_not_logged_since_they_hold_tokens(caplog: pytest.LogCaptureFixture) -> None:
    post(BatchMiddleware(show), [get("/a?access_token=hunter2"), get("/raise")])

    assert "hunter2" not in caplog.text


def test_the_query_of_an_item_that_failed_is_not_logged_either(caplog: pytest.LogCaptureFixture) -> None:
    post(BatchMiddleware(show), [get("/raise?access_token=hunter2")])

    assert "hunter2" not in caplog.text


def test_an_item_cannot_forge_a_line_of_the_log(caplog: pytest.LogCaptureFixture) -> None:
    post(BatchMiddleware(show), [{"method": "X\r\nitem 9: GET /forged -> 200", "url": "/\r\n\x1b[31mforged\u2028"}, get("/" + "a" * 5000)])

    lines = [record.getMessage() for record in caplog.records]
    assert len(lines) == 3
    assert all(line.isascii() and line.isprintable() for line in lines)
    assert max(map(len, lines)) < 600


def test_a_batch_that_is_refused_has_one_record(caplog: pytest.LogCaptureFixture) -> None:
    post(BatchMiddleware(show), b"broken\r\n")

    [record] = caplog.records
    assert record.getMessage() == "batch /batch refused: 400 bad-batch"
    assert vars(record).items() >= {"batch_path": "/batch", "batch_status": 400, "batch_code": "bad-batch"}.items()


def test_what_the_app_raises_is_logged_with_one_traceback(caplog: pytest.LogCaptureFixture) -> None:
    post(BatchMiddleware(show), [get("/raise"), get("/a")])

    [failure] = [record for record in caplog.records if record.exc_info]
    assert failure.levelno == logging.ERROR
    assert failure.exc_info is not None
    assert isinstance(failure.exc_info[1], RuntimeError)
    assert len(records(caplog, "wsgibatch.item")) == 2


def test_the_path_of_a_batch_cannot_forge_a_line_either(caplog: pytest.LogCaptureFixture) -> None:
    post(BatchMiddleware(show, path="*?batch"), [get("/a")], path="/x\r\nforged", QUERY_STRING="batch")

    assert all("\n" not in record.getMessage() for record in caplog.records)


def test_nothing_is_logged_where_nobody_listens(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING, "wsgibatch")

    post(BatchMiddleware(show), [get("/a"), get("/missing")])

    assert caplog.records == []
