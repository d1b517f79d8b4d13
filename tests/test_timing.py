from hypothesis import given
from hypothesis import strategies as st

from wsgibatch._timing import SHOWN, read_timing, seconds, timing_headers


def test_a_duration_is_seconds_with_six_decimals() -> None:
    assert [seconds(duration) for duration in (0.0, 0.0000004, 0.0000015, 12.5, 100000.0)] == [
        "0.000000",
        "0.000000",
        "0.000002",
        "12.500000",
        "100000.000000",
    ]


def test_the_headers_of_a_batch_are_these() -> None:
    assert timing_headers("Batch-Duration", 0.0152, [(0.0031, 0.012), (0.0001, 0.0)]) == [
        ("Batch-Duration", "0.015200"),
        ("Server-Timing", 'batch;dur=15.2, i0;dur=12.0;desc="start 3.1", i1;dur=0.0;desc="start 0.1"'),
    ]


def test_a_batch_without_items_has_its_own_metric_only() -> None:
    assert timing_headers("X", 0.001, []) == [("X", "0.001000"), ("Server-Timing", "batch;dur=1.0")]


times = st.lists(st.tuples(st.floats(0, 1e5), st.floats(0, 1e5)), max_size=SHOWN)


@given(st.floats(0, 1e5), times)
def test_what_is_written_is_read(total: float, drawn: list[tuple[float, float]]) -> None:
    read = read_timing(timing_headers("Batch-Duration", total, drawn))

    assert list(read) == list(range(len(drawn)))
    for index, (started, duration) in enumerate(drawn):
        assert abs(read[index][0] - started) <= 0.000051
        assert abs(read[index][1] - duration) <= 0.000051


def test_metrics_of_others_are_passed_over() -> None:
    headers = [
        ("server-timing", 'db;dur=5, i0;dur=1.0;desc="start 2.0"'),
        ("Server-Timing", 'cache;desc="hit", i1;dur=3.0;desc="start 4.0"'),
        ("X", "i2;dur=1"),
    ]

    assert read_timing(headers) == {0: (0.002, 0.001), 1: (0.004, 0.003)}


def test_no_header_tells_nothing() -> None:
    assert read_timing([]) == {}
