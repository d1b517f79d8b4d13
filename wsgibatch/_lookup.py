"""From a word of the configuration to an object.

The word *is* the name of a module of the family, and the class in it is named after both: ``"threads"`` among the executors is
``wsgibatch.executors.threads.ThreadsExecutor``. So a new member is one new file, and there is no list to keep.
"""

import difflib
import inspect
import pkgutil
from importlib import import_module
from types import ModuleType
from typing import Any

from .errors import ConfigError


def members(family: ModuleType) -> list[str]:
    """The words that may stand for a member of *family*, a package of this library."""
    return sorted(info.name for info in pkgutil.iter_modules(family.__path__) if not info.name.startswith("_"))


def member(family: ModuleType, word: str) -> Any:
    """The class that *word* stands for in *family*.

    :raises ConfigError: for an unknown word, naming the nearest known one.
    """
    known = members(family)
    if word not in known:
        raise ConfigError(f"{word!r} is none of the {family.__name__.rpartition('.')[2]} {nearest(word, known)}")
    suffix = family.__name__.rpartition(".")[2].removesuffix("s").title()
    return getattr(import_module(f"{family.__name__}.{word}"), word.title().replace("_", "") + suffix)


def named(reference: str, field: str = "") -> Any:
    """The object that ``"package.module:name"`` refers to.

    :param field: what it was given for, which the error then names.
    :raises ConfigError: when there is no such module or no such name in it.
    """
    module, colon, path = reference.partition(":")
    given = f"{field}: {reference!r}" if field else repr(reference)
    if not (colon and module and path):
        raise ConfigError(f"{given} should be written 'package.module:name'")
    try:
        found: Any = import_module(module)
        for name in path.split("."):
            found = getattr(found, name)
    except (ImportError, AttributeError) as error:
        raise ConfigError(f"{given} cannot be found: {error}") from error
    return found


def check_call(field: str, found: Any, *arguments: str) -> None:
    """See that what *field* was given can be called as it will be, with *arguments*, as far as it tells.

    :raises ConfigError: when it cannot.
    """
    how = f"f({', '.join(arguments)})"
    if not callable(found):
        raise ConfigError(f"{field}: a callable {how} is wanted, not {found!r}")
    try:
        inspect.signature(found).bind(*arguments)
    except ValueError:
        # Something built in, which tells nothing of itself.
        return
    except TypeError as error:
        raise ConfigError(f"{field}: is called as {how}, and {found!r} cannot be: {error}") from None


def nearest(word: str, known: list[str]) -> str:
    """For the end of an error message: the known word that *word* was probably meant to be, or all of them."""
    close = difflib.get_close_matches(word, known, 1)
    return f"(did you mean {close[0]!r}?)" if close else f"(known: {', '.join(known)})"
