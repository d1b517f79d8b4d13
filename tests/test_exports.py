import importlib
import pkgutil

import wsgibatch


def test_the_promised_names_are_these() -> None:
    assert wsgibatch.__all__ == (
        "BadBatch",
        "Batch",
        "BatchFailed",
        "BatchMiddleware",
        "BatchRejected",
        "ClientError",
        "ConfigError",
        "DependencyCycle",
        "DuplicateId",
        "Forbidden",
        "Group",
        "Head",
        "LengthRequired",
        "MissingResponse",
        "NestedBatch",
        "Overloaded",
        "Settings",
        "StoreError",
        "SubRequest",
        "SubResponse",
        "TooLarge",
        "TooManyItems",
        "UnknownDependency",
        "UnknownMediaType",
        "WSGIBatchError",
    )


def test_every_promised_name_is_there_and_documented() -> None:
    for name in wsgibatch.__all__:
        assert getattr(wsgibatch, name).__doc__


def test_every_error_is_promised() -> None:
    errors = {name for name, thing in vars(wsgibatch.errors).items() if isinstance(thing, type) and issubclass(thing, Exception)}

    assert errors <= set(wsgibatch.__all__)


def test_every_module_says_what_it_is_for() -> None:
    for info in pkgutil.iter_modules(wsgibatch.__path__, "wsgibatch."):
        if info.name != "wsgibatch.__main__":
            assert importlib.import_module(info.name).__doc__, info.name
