import io
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsgibatch._body import Body, Part, Spool, joined


def part_of(spool: Spool, content: bytes) -> Part:
    start = spool.size
    spool.write(content)
    return Part("a", "a.txt", "text/plain", spool, start, len(content), b"")


@contextmanager
def spooled() -> Iterator[Spool]:
    spool = Spool()
    try:
        yield spool
    finally:
        spool.release()


def body_of(pieces: list[tuple[bool, bytes]], spool: Spool) -> Body:
    """A body of *pieces*, those that are marked in *spool*."""
    return Body([part_of(spool, content) if marked else content for marked, content in pieces])


contents = st.lists(st.tuples(st.booleans(), st.binary(max_size=12) | st.sampled_from([b"\n", b"a\nb\n", b"x" * 300])), max_size=6)
reads: dict[str, Callable[[io.BufferedIOBase, int], object]] = {
    "read": lambda stream, size: stream.read(size),
    "read all": lambda stream, size: stream.read(),
    "readline": lambda stream, size: stream.readline(),
    "readline of a size": lambda stream, size: stream.readline(size),
    "readlines": lambda stream, size: stream.readlines(size),
    "iteration": lambda stream, size: next(iter(stream), b""),
    "seek": lambda stream, size: stream.seek(size),
    "seek from here": lambda stream, size: stream.seek(size, io.SEEK_CUR),
    "seek from the end": lambda stream, size: stream.seek(0, io.SEEK_END),
    "tell": lambda stream, size: stream.tell(),
}


@given(contents, st.lists(st.tuples(st.sampled_from(sorted(reads)), st.integers(0, 40)), max_size=12))
def test_a_body_is_read_as_a_file_of_its_bytes_is(pieces: list[tuple[bool, bytes]], calls: list[tuple[str, int]]) -> None:
    whole = b"".join(content for _, content in pieces)
    with spooled() as spool:
        body, plain = body_of(pieces, spool), io.BufferedReader(io.BytesIO(whole))
        stream = body.open()

        assert len(body) == len(whole)
        for name, size in calls:
            assert reads[name](stream, size) == reads[name](plain, size), (name, size)
        assert stream.read() == plain.read()
        assert (stream.read(), stream.read(1), stream.readline()) == (b"", b"", b"")


def test_nothing_lies_before_the_start_of_a_body() -> None:
    stream = Body([b"abc"]).open()

    with pytest.raises(ValueError, match="before the start"):
        stream.seek(-4, io.SEEK_END)


def test_pieces_of_a_mebibyte_are_read_whole_at_once() -> None:
    content = bytes(range(256)) * 4096

    with spooled() as spool:
        body = body_of([(False, b"<"), (True, content), (False, content), (False, b">")], spool)

        assert body.open().read(2 * len(content) + 2) == b"<%b%b>" % (content, content)


@pytest.fixture
def switching() -> Iterator[None]:
    """Threads give way to each other all the time."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


def test_many_read_one_spool_at_once_and_each_what_is_its_own(switching: None) -> None:
    spool = Spool()
    parts = [part_of(spool, bytes([number]) * 300_000) for number in range(8)]
    bodies = [Body([b"(", part, b")"]) for part in parts]
    read: dict[int, bytes] = {}
    start = threading.Barrier(8)

    def reader(number: int) -> None:
        start.wait(timeout=20)
        read[number] = b"".join(bodies[number].read(at, 100) for at in range(1, 300_000, 100))

    threads = [threading.Thread(target=reader, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    spool.release()
    assert [set(read[number]) for number in range(8)] == [{number} for number in range(8)]


def test_pieces_in_memory_are_joined_there_and_others_are_not() -> None:
    assert joined([b"a", b"b"]) == (b"ab", None)
    assert joined([]) == (b"", None)
    with spooled() as spool:
        body, form = joined([b"a", part_of(spool, b"b")])
        assert (body, form and form.open().read()) == (b"", b"ab")


@pytest.mark.parametrize("size", [10, 1 << 20])
def test_a_spool_is_closed_when_the_last_of_its_holders_lets_go_of_it(size: int) -> None:
    spool = Spool()
    part = part_of(spool, b"x" * size)

    assert spool.hold()
    spool.release()
    assert len(part.read()) == size
    spool.release()

    assert not spool.hold()
    with pytest.raises(ValueError, match="closed file"):
        part.read()
