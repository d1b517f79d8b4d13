"""References of the form ``{result=name:$.path}``: what a JSONPath query finds in the answer to the request called *name*.

They stand in the text of a url or of a form, as they are or percent-encoded, since most clients encode all values of a form alike.
"""

import re
from collections.abc import Sequence
from typing import Literal
from urllib.parse import unquote_plus

from .. import _jsonpath
from ..errors import BadBatch, DependencyCycle, DuplicateId, UnknownDependency
from ..model import Reference

MAX_REFERENCES = 1000
"""In one batch: twenty for each request that it may hold."""

_START = re.compile(r"(?:\{|(%7[Bb]))result(?:=|%3[Dd])")
# A brace within quotes belongs to the query.
_PLAIN = re.compile(r"""((?:'[^']*+'|"[^"]*+"|[^}'"])*+)\}""")
_ENCODED = re.compile(r"([^{}&]*?)%7[Dd]")


def refers(text: str) -> bool:
    """Would anything in *text* be read as a reference?"""
    return _START.search(text) is not None


class Results:
    """What the requests of a batch are called, and what is referred to.

    :param names: of the requests; several may have one, as long as nobody uses it.
    :param place: a JSON Pointer to the list of requests.
    """

    def __init__(self, names: Sequence[str | None], place: str) -> None:
        self._place = place
        self._places: dict[str, list[int]] = {}
        for index, name in enumerate(names):
            if name is not None:
                self._places.setdefault(name, []).append(index)
        self._count = 0
        self.wanted: set[int] = set()
        """The places of the requests that others refer to, or wait for."""

    def earlier(self, name: str, index: int, member: str) -> int:
        """The place of the request called *name*, as *member* of the request at *index* means it.

        :raises BadBatch: when there is none before it, or more than one.
        """
        pointer = f"{self._place}/{index}/{member}"
        places = self._places.get(name, [])
        if len(places) > 1:
            raise DuplicateId("Several requests have the name that is meant here.", pointer)
        if places == [index]:
            raise DependencyCycle("A request cannot wait for itself.", pointer)
        if not places or places[0] > index:
            raise UnknownDependency("No request before this one has the name that is meant here.", pointer)
        self.wanted.add(places[0])
        return places[0]

    def pieces(self, text: str, index: int, member: str, part: Literal["found", "text"] = "found") -> list[str | Reference]:
        """*text* in pieces, with the references in it.

        :raises BadBatch: for a reference that is malformed, or leads nowhere.
        """
        pieces: list[str | Reference] = []
        done = 0
        while start := _START.search(text, done):
            found = (_ENCODED if start[1] else _PLAIN).match(text, start.end())
            name, colon, query = (unquote_plus(found[1]) if start[1] else found[1]).partition(":") if found else ("", "", "")
            if not found or not colon:
                raise BadBatch("A reference is written {result=name:$.path}.", f"{self._place}/{index}/{member}")
            pieces += [text[done : start.start()], Reference(self._checked(name, query, index, member), part, (query,))]
            done = found.end()
        return [piece for piece in (*pieces, text[done:]) if piece]

    def _checked(self, name: str, query: str, index: int, member: str) -> int:
        self._count += 1
        if self._count > MAX_REFERENCES:
            raise BadBatch(f"A batch may hold at most {MAX_REFERENCES} references.", f"{self._place}/{index}/{member}")
        try:
            _jsonpath.check(query)
        except ValueError as error:
            raise BadBatch(str(error), f"{self._place}/{index}/{member}") from None
        return self.earlier(name, index, member)
