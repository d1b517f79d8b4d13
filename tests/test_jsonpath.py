import json
import sys
import tracemalloc
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsgibatch import _jsonpath
from wsgibatch._jsonpath import check, found, parsed, steps

ANSWER = {"data": [{"id": "1", "name": "Zoë"}, {"id": "2", "tags": ["a", "b"]}], "a b": {"c,d": 1.10}, "none": None}
BODY = json.dumps(ANSWER).replace("1.1", "1.10").encode()


@pytest.mark.parametrize(
    ("query", "values"),
    [
        ("$.data[0].id", ["1"]),
        ("$.data[-1].id", ["2"]),
        ("$.data.*.id", ["1", "2"]),
        ("$.data[*].id", ["1", "2"]),
        ("$.data[0:1].id", ["1"]),
        ("$..id", ["1", "2"]),
        ("$.data..tags[*]", ["a", "b"]),
        ("$['a b'][\"c,d\"]", [Decimal("1.10")]),
        ("$.data[?@.name=='Zoë'].id", ["1"]),
        ("$.data[?length(@.tags) == 2].id", ["2"]),
        ("$.data[?@.tags[0] == 'a' && (@['id'] == '2' || !@.name)].tags[*]", ["a", "b"]),
        ("$.data[ ?@.name != '[?*:..']..id", ["1", "2"]),
        ("$.none", [None]),
        ("$.nothing", []),
        ("$.data[7]", []),
    ],
)
def test_a_query_finds_values_in_their_order(query: str, values: list[object]) -> None:
    check(query)
    assert list(found(query, parsed(BODY))) == values


def test_no_digit_of_a_number_is_lost() -> None:
    body = b"[1.10, 12345678901234567890123, 0.1000000000000000055511151231257827]"

    assert [str(value) for value in found("$[*]", parsed(body))] == ["1.10", "12345678901234567890123", "0.1000000000000000055511151231257827"]


@pytest.mark.parametrize(
    "query", ["", "data", "$ ", " $", "$.", "$[", "$.a.~", "$.a b", "^.a", "$['\\ud800']", "$\n.a", "$.a\x00", "$[99999999999999999999]"]
)
def test_what_is_no_query_is_told(query: str) -> None:
    with pytest.raises(ValueError, match=r"^[A-Z].*\.$"):
        check(query)


@pytest.mark.parametrize(
    "query",
    [
        "$..a..b",
        "$[?@..a && @..b]",
        "$.a[?@.b == $.c]",
        "$.a | $.b",
        "$[0,0]",
        "$['a','b']",
        "$[?match(@.a,'(a+)+b')]",
        "$[?search(@.a, 'x')]",
        "$[?@ == 1e400]",
        "$[?@.*]",
        "$[?count(@[*]) > 1]",
        "$.a[?@..b]",
        "$[ ?@[1:]]",
        "$[?@[?@.a]]",
        "$[?@.a[?@.b == 'x'] == 1]",
    ]
    + ["$" + ".a" * 128, "$[?" + "(" * 200 + "@.a" + ")" * 200 + "]"],
)
def test_a_query_that_could_go_through_an_answer_again_and_again_is_not_taken(query: str) -> None:
    with pytest.raises(ValueError, match=r"^[A-Z].*\.$"):
        check(query)


def test_what_leads_to_one_place_does_not_go_through_an_answer() -> None:
    assert steps("$") == steps("$.a.b[0]['c']") == 0


@pytest.mark.parametrize("sign", ["[*]", ".*", "..a", "[?@]", "[1:]"])
def test_what_leads_to_several_places_and_each_step_behind_it_goes_through_an_answer(sign: str) -> None:
    assert steps(f"$.a.b{sign}") >= 1
    assert steps(f"$.a.b{sign}.c[0]") == steps(f"$.a.b{sign}") + 2


def test_what_stands_in_quotes_is_no_step_and_no_second_query() -> None:
    check("$['..$,[.*?:']")
    assert steps("$['..$,[.*?:']") == 0


@pytest.mark.parametrize("again", ["!", "@ && ", "@ || ", "1==1&&", "(1<2)&&"])
def test_all_that_a_filter_asks_of_each_value_is_counted(again: str) -> None:
    assert steps(f"$[?{again * 9}@]") >= steps("$[?@]") + 9


@pytest.mark.parametrize("body", [b"5", b'"a"', b"null", b"", b"{", b'["\xff"]', b"[" * 5000 + b"]" * 5000, b"[" * 200 + b"1" + b"]" * 200])
def test_what_cannot_be_searched_is_told(body: bytes) -> None:
    with pytest.raises(ValueError, match="."):
        list(found("$..*", parsed(body)))


@pytest.mark.parametrize("query", ["$.*.*", "$..*", "$.*[?@ == 1]", "$[?length(@) > 1]", "$.*[::-1]"])
def test_a_search_takes_no_more_memory_than_some_times_that_of_the_answer(query: str) -> None:
    body = b'{"%b": [%b1]}' % (b"long" * 5_000, b"1," * 20_000)
    check(query)

    tracemalloc.start()
    try:
        for _ in found(query, parsed(body)):
            pass
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert peak < 200 * len(body)


TOKENS = ["$", ".", "..", "[", "]", "?", "@", "*", ":", "'", '"', "(", ")", "!", "<", ">", "=", "&&", "||", "\\u", " ", "-", "0", "9", "1e9", "1e400"]
TOKENS += ["$", "[?", "@.a", "length(", "count(", "value(", "==", "'a'", "a", "data", "null", "true", "_", "\ud7ff"]


@given(st.lists(st.sampled_from(TOKENS), max_size=20).map("".join).flatmap(lambda text: st.sampled_from([text, "$" + text, "$[?" + text + "]"])))
def test_any_text_is_a_query_or_is_not_taken(query: str) -> None:
    try:
        check(query)
        assert steps(query) >= 0
        list(found(query, parsed(BODY)))
    except ValueError:
        return


def test_without_its_library_a_query_is_refused_with_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    _jsonpath._environment.cache_clear()
    monkeypatch.setitem(sys.modules, "jsonpath", None)

    with pytest.raises(ValueError, match=r"wsgibatch\[jsonpath\]"):
        check("$.a")
