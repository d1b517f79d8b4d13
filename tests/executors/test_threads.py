import threading
from collections import deque
from collections.abc import Callable

from tests.executors.gate import PATIENCE
from tests.executors.test_contract import Calling, all_done, answer_of, meet, units_of
from wsgibatch import Settings
from wsgibatch._limits import Ticket
from wsgibatch.executors._lanes import PullersLane
from wsgibatch.executors.threads import ThreadsExecutor
from wsgibatch.model import Answers, Unit


def test_the_thread_of_the_batch_is_one_of_the_workers() -> None:
    executor = ThreadsExecutor(Settings(workers=1))
    ran_in: set[int] = set()

    def call(unit: Unit) -> Answers:
        ran_in.add(threading.get_ident())
        return answer_of(unit)

    all_done(executor, call, units_of(20))

    executor.close()
    assert ran_in == {threading.get_ident()}


def test_a_batch_of_one_item_starts_no_thread() -> None:
    executor = ThreadsExecutor(Settings(workers=4))
    before = threading.active_count()

    all_done(executor, answer_of, units_of(1))

    assert threading.active_count() == before
    executor.close()


def test_threads_have_a_name_that_says_whose_they_are() -> None:
    executor = ThreadsExecutor(Settings(workers=2))
    together = threading.Barrier(2, timeout=PATIENCE)
    names: set[str] = set()

    def call(unit: Unit) -> Answers:
        together.wait()
        names.add(threading.current_thread().name)
        return answer_of(unit)

    all_done(executor, call, units_of(2))

    executor.close()
    assert any(name.startswith("wsgibatch") for name in names)


def test_closing_ends_the_threads() -> None:
    executor = ThreadsExecutor(Settings(workers=4))
    together = threading.Barrier(4, timeout=PATIENCE)
    before = threading.active_count()

    def call(unit: Unit) -> Answers:
        together.wait()
        return answer_of(unit)

    all_done(executor, call, units_of(4))
    assert threading.active_count() > before

    executor.close()

    assert threading.active_count() == before


def test_closing_what_was_never_used_does_nothing() -> None:
    ThreadsExecutor(Settings(workers=4)).close()


def test_a_batch_that_runs_while_its_executor_is_closed_is_answered() -> None:
    executor = ThreadsExecutor(Settings(workers=2))
    started, closed = threading.Event(), threading.Event()

    def call(unit: Unit) -> Answers:
        if unit[0].index == 0:
            started.set()
            meet(closed)
        return answer_of(unit)

    done: list[object] = []
    batch = threading.Thread(target=lambda: done.extend(all_done(executor, call, units_of(1) + [units_of(2)[1]] * 50)))
    batch.start()
    meet(started)
    closing = threading.Thread(target=executor.close)
    closing.start()
    closed.set()
    for thread in (batch, closing):
        thread.join(PATIENCE)
        assert not thread.is_alive()
    executor.close()
    assert len(done) == 51


def test_batches_at_the_same_time_share_the_threads() -> None:
    executor = ThreadsExecutor(Settings(workers=3))
    before = threading.active_count()
    most = 0
    lock = threading.Lock()

    def call(unit: Unit) -> Answers:
        nonlocal most
        with lock:
            most = max(most, threading.active_count())
        return answer_of(unit)

    batches = [threading.Thread(target=all_done, args=(executor, call, units_of(200))) for _ in range(8)]
    for thread in batches:
        thread.start()
    for thread in batches:
        thread.join(PATIENCE)
        assert not thread.is_alive()

    executor.close()
    assert most <= before + 8 + 3


def test_a_puller_that_goes_idle_looks_once_more_for_what_was_spawned_meanwhile() -> None:
    pullers: list[Callable[[], None]] = []
    ran: list[int] = []

    def call(unit: Unit) -> Answers:
        ran.append(unit[0].index)
        return answer_of(unit)

    class Crew:
        left = 0

        def start(self, job: Callable[[], None], stand_in: bool = False) -> None:
            pullers.append(job)

        def worker(self) -> object:
            raise AssertionError

        def leave(self, ticket: Ticket, stop: bool) -> None:
            raise AssertionError

        def close(self) -> None:
            raise AssertionError

        def back(self, ticket: Ticket) -> None:
            raise AssertionError

    lane = PullersLane(Calling(call), Crew(), workers=2)
    first, second, *later = units_of(5)

    class Places(deque[None]):
        """Where a batch spawns just before the puller gives its place back."""

        def append(self, token: None) -> None:
            if len(ran) == 2:
                lane.spawn(later)
            super().append(token)

    lane._places = Places(lane._places)
    lane.spawn([first, second])
    lane.wait()
    [pull] = pullers

    pull()

    assert ran == [0, 1, 2, 3, 4]
