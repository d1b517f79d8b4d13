import pickle
from copy import copy

import pytest

from wsgibatch import errors
from wsgibatch.errors import BatchRejected, ConfigError, TooLarge, TooManyItems, WSGIBatchError

REJECTIONS = [
    (errors.BadBatch, 400, "bad-batch"),
    (errors.NestedBatch, 400, "nested-batch"),
    (errors.Forbidden, 403, "forbidden"),
    (errors.LengthRequired, 411, "length-required"),
    (errors.UnknownMediaType, 415, "unknown-media-type"),
]


@pytest.mark.parametrize(("kind", "status", "code"), REJECTIONS)
def test_a_rejection_has_a_status_and_a_code(kind: type[BatchRejected], status: int, code: str) -> None:
    error = kind("a sentence", "/0/url")

    assert (error.status, error.code, error.detail, error.pointer, str(error)) == (status, code, "a sentence", "/0/url", "a sentence")
    assert error.members() == {"pointer": "/0/url"}


def test_a_pointer_may_be_missing() -> None:
    assert BatchRejected("a sentence").members() == {}


def test_too_many_bytes_tell_the_limit() -> None:
    error = TooLarge(7)

    assert (error.status, error.code, error.members()) == (413, "too-large", {"limit": 7})
    assert "7 bytes" in error.detail


def test_too_many_items_tell_the_limit_and_the_place() -> None:
    error = TooManyItems(9, 8, "/batch")

    assert (error.status, error.code, error.members()) == (413, "too-many-items", {"limit": 8, "pointer": "/batch"})
    assert "9" in error.detail


def test_a_wrong_configuration_is_a_value_error() -> None:
    assert issubclass(ConfigError, ValueError)


def test_every_error_of_the_package_has_one_base() -> None:
    found = [thing for thing in vars(errors).values() if isinstance(thing, type) and issubclass(thing, Exception)]

    assert len(found) >= 9
    assert all(issubclass(kind, WSGIBatchError) for kind in found)


def test_the_tree_in_the_docstring_is_the_tree_of_the_classes() -> None:
    drawn = {line.split()[0]: len(line) - len(line.lstrip()) for line in (errors.__doc__ or "").splitlines() if line.startswith("    ")}

    assert set(drawn) == {name for name, thing in vars(errors).items() if isinstance(thing, type) and issubclass(thing, Exception)}
    for name, indent in drawn.items():
        assert indent == 2 + 2 * len([base for base in getattr(errors, name).__mro__ if base.__module__ == errors.__name__])


def test_codes_are_distinct_words_with_hyphens() -> None:
    kinds = [thing for thing in vars(errors).values() if isinstance(thing, type) and issubclass(thing, BatchRejected)]
    codes = {kind.code for kind in kinds}

    assert len(codes) == len(kinds) - 1, "BadBatch shares the code of its base"
    assert all(code == code.lower() and code.replace("-", "").isalpha() for code in codes)


def test_a_refused_batch_can_be_copied_and_pickled() -> None:
    error = errors.BatchFailed("The batch was answered with 400", 400, {"code": "bad-batch"}, [("A", "b")])

    for again in (copy(error), pickle.loads(pickle.dumps(error))):  # noqa: S301 - it was pickled here
        assert (type(again), str(again), again.status, again.document, again.headers) == (
            errors.BatchFailed,
            "The batch was answered with 400",
            400,
            {"code": "bad-batch"},
            [("A", "b")],
        )
