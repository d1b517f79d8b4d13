from hypothesis import given
from hypothesis import strategies as st

from wsgibatch import SubRequest, SubResponse
from wsgibatch._plan import Plan
from wsgibatch._run import Run
from wsgibatch.model import Done, Unit


def unit(index: int, refused: bool = False) -> Unit:
    return (SubRequest(index, "GET", f"/{index}", [], refusal=answer(index) if refused else None),)


def answer(index: int) -> SubResponse:
    return SubResponse(200, "OK", [], str(index).encode())


def done(index: int, units: list[Unit]) -> Done:
    return units[index], (answer(index),)


@given(st.data(), st.lists(st.tuples(st.booleans(), st.booleans()), max_size=30), st.integers(1, 8), st.booleans())
def test_whatever_is_done_first_all_is_started_once_kept_in_order_and_handed_out_once(
    data: st.DataObject, drawn: list[tuple[bool, bool]], window: int, ordered: bool
) -> None:
    units = [unit(index, refused) for index, (refused, _) in enumerate(drawn)]
    alone = [lonely for _, lonely in drawn] if ordered else []
    to_run = {index for index, (refused, _) in enumerate(drawn) if not refused}
    run = Run(Plan(units, alone))
    running: list[int] = []
    started: list[int] = []
    finished: set[int] = set()
    written: list[Done] = []

    while True:
        written += run.drain()
        for (item,) in run.ready(window):
            assert item.index in to_run
            assert item.index < len(written) + window, "nothing runs far ahead of what is written"
            if alone:
                before = {index for index in to_run if index < item.index}
                if alone[item.index]:
                    assert before <= finished, "what runs alone runs after all before it"
                assert all(index in finished for index in before if alone[index]), "and before all behind it"
            running.append(item.index)
            started.append(item.index)
        if run.drained:
            break
        assert running, "something is left to do, and nothing runs"
        some = data.draw(st.lists(st.sampled_from(running), min_size=1, unique=True), label="done next")
        running = [index for index in running if index not in some]
        finished.update(some)
        run.take([done(index, units) for index in some])

    assert not running
    assert started == sorted(to_run)
    assert [(found[0].index, answers[0].body) for found, answers in written] == [(index, str(index).encode()) for index in range(len(units))]


def test_a_batch_of_nothing_is_drained_at_once() -> None:
    run = Run(Plan([], []))

    assert (run.drain(), run.ready(5), run.drained) == ([], [], True)


def test_refused_items_are_never_ready() -> None:
    units = [unit(0, refused=True), unit(1), unit(2, refused=True)]
    run = Run(Plan(units, [True, True, True]))

    assert [found[0].index for found, _ in run.drain()] == [0]
    assert run.ready(5) == [units[1]]
    run.take([done(1, units)])
    assert [found[0].index for found, _ in run.drain()] == [1, 2]
    assert run.drained


def test_what_is_ready_is_ready_once() -> None:
    units = [unit(0), unit(1)]
    run = Run(Plan(units, []))

    assert run.ready(5) == units
    assert run.ready(5) == []


def test_the_window_opens_as_answers_are_handed_out() -> None:
    units = [unit(index) for index in range(4)]
    run = Run(Plan(units, []))

    assert run.ready(2) == units[:2]
    run.take([done(1, units)])
    assert (run.drain(), run.ready(2)) == ([], [])
    run.take([done(0, units)])
    assert len(run.drain()) == 2
    assert run.ready(2) == units[2:]
