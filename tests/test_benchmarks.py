"""The benchmark's own machinery: what it says of a figure, what it lets through as an answer, and what it writes. Nothing is timed."""

import ctypes
import datetime as dt
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures.process import BrokenProcessPool
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest

from benchmarks import ROOT, apart, apps, instructions, measure, questions, record, tables, work
from benchmarks import __main__ as command
from benchmarks.answers import Figure, Row, Unable, Wrong, exact, not_run, row
from benchmarks.contestants import batch, fastapi_loopback, flask_aggregator, flask_batch, flask_client, part, webob_blank, werkzeug_client
from benchmarks.contestants import django_batch_requests as django_peer
from benchmarks.contestants import kinto as kinto_peer
from benchmarks.loops import Answered, looped
from benchmarks.measure import alone
from benchmarks.posting import Mismatch, check, poster
from benchmarks.questions import names, p1, p2, p9, p15, parts, stores
from benchmarks.served import gunicorn
from benchmarks.wire import ways
from tests import peers
from tests.servers.run import free_port, running
from wsgibatch import BatchMiddleware, SubRequest, SubResponse, dialects
from wsgibatch._lookup import members
from wsgibatch.executors._burst import burst

TIMED = [sys.executable, "-c", "import sys; print('ready', flush=True); [print(number + 0.5, flush=True) for number, _ in enumerate(sys.stdin)]"]
"""A process that times itself."""
HERE, ELSEWHERE = (record.Machine(name, 2, "Linux x86_64", "CPython 3.11.7") for name in ("Here", "Elsewhere"))


def answer(*rows: Row, day: int = 1, code: str = "") -> record.Answer:
    return record.Answer("how fast it is", dt.date(2026, 1, day), list(rows), code)


# What is said of a figure


def test_a_figure_misses_a_bar_that_is_the_most_by_being_more() -> None:
    assert [Row("", exact(value), 2, "x").missed for value in (1.9, 2, 2.1)] == [False, False, True]


def test_a_figure_misses_a_bar_that_is_the_least_by_being_less() -> None:
    assert [Row("", exact(value), 2, "x", ">=").missed for value in (1.9, 2, 2.1)] == [True, False, False]


def test_a_row_reads_as_its_bar_is_meant() -> None:
    assert Row("", Figure(7.31, 7.2, 7.4), 5, "x", ">=").told == ("7.31 x", ">= 5.00", "passed", "7.20 to 7.40")
    assert Row("", exact(45_321), 45_000, "").told == ("45,321", "<= 45,000", "missed", "")


@pytest.mark.parametrize(
    ("value", "bar", "sense", "reads"),
    [(1.1428, 1.14, "<=", "1.143 x"), (1.14004, 1.14, "<=", "1.14004 x"), (1.1478, 1.15, ">=", "1.148 x"), (45_000.4, 45_000, "<=", "45,000.4 x")],
)
def test_what_misses_its_bar_does_not_read_like_it(value: float, bar: float, sense: Any, reads: str) -> None:
    assert Row("", exact(value), bar, "x", sense).told[0] == reads


def test_what_passes_its_bar_may_read_like_it() -> None:
    assert Row("", exact(1.1396), 1.14, "x").told[0] == "1.14 x"


def test_what_was_not_run_keeps_its_bar_and_has_not_missed_it() -> None:
    told = not_run("", 5, "x", Unable("no such package"), ">=")

    assert (told.missed, told.told, told.note) == (False, ("not run", ">= 5.00", "", ""), "cannot be run here: no such package")


def test_a_peer_that_answers_wrongly_is_not_told_as_one_that_cannot_be_run() -> None:
    def measure() -> Figure:
        raise Wrong("with 500")

    told = row("", 5, "x", ">=", "", measure)

    assert (told.missed, told.told, told.note) == (False, ("wrong", ">= 5.00", "", ""), "answered wrongly: with 500")


# What counts as answered


def reads(*paths: str) -> list[SubRequest]:
    return [SubRequest(number, "GET", path, [], id=str(number)) for number, path in enumerate(paths)]


@pytest.mark.parametrize("dialect", [name for name in members(dialects) if name != "auto"])
def test_a_batch_in_any_dialect_is_measured_where_it_is_answered_as_its_requests_are(dialect: str) -> None:
    batch.prepare(apps.load("bottle").app, work.written(dialect, reads("/items/3", "/items/14")), dialect=dialect)()


@pytest.mark.parametrize("kind", ["gets", "listed", "posts", "routes", "requests", "chained", "spread", "parts"])
def test_all_kinds_of_work_are_answered(kind: str) -> None:
    batch.prepare(apps.load("bottle").app, getattr(work, kind)(3))()


@pytest.mark.parametrize("dialect", [name for name in members(dialects) if name != "auto"])
def test_a_batch_in_any_dialect_is_not_measured_where_it_is_answered_otherwise(dialect: str) -> None:
    other = BatchMiddleware(apps.load("trivial").app, dialect=dialect)

    with pytest.raises(RuntimeError, match="was answered with"):
        poster(other, apps.load("bottle").app, work.written(dialect, reads("/items/3")))


def test_answers_that_are_no_json_are_not_what_an_app_answers_in_json() -> None:
    answers = b'[{"status_code": 200, "reason_phrase": "OK", "headers": {}, "body": "busy"}]'

    with pytest.raises(Mismatch, match="was answered with 200, b'busy'"):
        check("200 OK", [], answers, work.gets(1), [b'{"number": 0}'])


def test_what_is_no_answer_to_a_batch_is_a_wrong_one() -> None:
    with pytest.raises(Mismatch, match="the batch was answered with b'busy'"):
        check("200 OK", [], b"busy", work.gets(1), [b"{}"])


def test_a_batch_that_is_refused_is_not_measured() -> None:
    with pytest.raises(RuntimeError, match="the batch was answered with 413"):
        poster(BatchMiddleware(apps.load("trivial").app, max_requests=1), apps.load("trivial").app, work.gets(2))


@pytest.fixture
def failing_later() -> tuple[Any, list[bool]]:
    """An endpoint that answers batches until it is told to refuse them, and what it is told by."""
    answering, refusing = BatchMiddleware(apps.load("bottle").app), BatchMiddleware(apps.load("bottle").app, max_requests=1)
    failed: list[bool] = []
    return lambda environ, start_response: (refusing if failed else answering)(environ, start_response), failed


@pytest.mark.parametrize("rounds", [measure.interleaved, measure.interleaved_by_the_wall, lambda run: apart.taking_turns(run, TIMED, {})])
def test_a_batch_that_is_refused_once_the_clock_runs_is_not_measured(
    failing_later: tuple[Any, list[bool]], monkeypatch: pytest.MonkeyPatch, rounds: Callable[[Any], object]
) -> None:
    endpoint, failed = failing_later
    for module in (measure, apart):
        monkeypatch.setattr(module, "ROUNDS", 1)
        monkeypatch.setattr(module, "SECONDS", 0)
    run = poster(endpoint, apps.load("bottle").app, work.gets(2))
    failed.append(True)

    with pytest.raises(Mismatch, match="the batch was answered with 413"):
        rounds(run)


def test_a_loop_that_goes_wrong_once_the_clock_runs_is_not_measured() -> None:
    answers = iter(["{}"])

    def send(method: str, url: str) -> Answered:
        return Answered(200, "OK", [], next(answers, "busy"))

    run = looped(lambda environ, start_response: start_response("200 OK", []) or [b"{}"], work.gets(1), send)

    with pytest.raises(Mismatch, match="was answered with 200, b'busy'"):
        measure.interleaved(run)


def test_a_peer_that_goes_wrong_once_the_clock_runs_is_told_as_that(failing_later: tuple[Any, list[bool]]) -> None:
    endpoint, failed = failing_later
    run = apart.peer(lambda: poster(endpoint, apps.load("bottle").app, work.gets(2)))
    failed.append(True)
    run()

    with pytest.raises(Wrong, match="the batch was answered with 413"):
        run.verify()


def test_what_an_app_does_not_answer_with_200_is_not_measured() -> None:
    with pytest.raises(RuntimeError, match="did not answer /nothing/0 with 200"):
        batch.prepare(apps.load("bottle").app, work.gets(1, "/nothing"))


@pytest.mark.parametrize("loop", [flask_client, werkzeug_client, webob_blank])
def test_a_loop_over_a_test_client_answers_what_the_app_does(loop: Any) -> None:
    assert loop.prepare(apps.load("flask").app, work.gets(3))().count(b'"status_code": 200') == 3


def test_the_loop_over_djangos_test_client_answers_what_the_app_does() -> None:
    assert alone(_looped) == 3


def _looped() -> int:
    from benchmarks.contestants import django_client

    return django_client.prepare(apps.load("django").app, work.gets(3))().count(b'"status_code": 200')


PEERS = {
    "flask_batch": (flask_batch.PACKAGES, "flask", "parts"),
    "flask_aggregator": (flask_aggregator.PACKAGES, "flask", "routes"),
    "django_batch_requests": (django_peer.PACKAGES, "django", "listed"),
    "kinto": (kinto_peer.PACKAGES, "kinto", "records"),
}


@pytest.mark.parametrize("peer", PEERS)
def test_a_peer_answers_in_its_environment_what_the_app_does(peer: str) -> None:
    packages, app, kind = PEERS[peer]

    assert apart.inside(environment(packages), peers.answered, peer, app, kind) == exact(2)


def environment(packages: Sequence[str]) -> Path:
    try:
        return apart.environment(packages)
    except Unable as reason:
        pytest.skip(f"no environment for it can be made here: {reason}")


def test_the_route_that_calls_its_own_server_does_so_on_ten_connections_that_stay_open() -> None:
    assert apart.inside(environment(fastapi_loopback.PACKAGES), peers.calling_their_own_server) == exact(10)


def test_django_batch_requests_in_threads_has_as_many_as_ours() -> None:
    assert apart.inside(environment(django_peer.PACKAGES), peers.side_by_side, 2 * p15.WORKERS) == exact(p15.WORKERS)


@pytest.mark.parametrize("name", ["decode", "plan", "environ", "call", "encode"])
def test_each_part_of_the_road_can_be_gone_by_itself(name: str) -> None:
    run: Callable[[], object] = getattr(part, name)(apps.load("trivial").app, work.posts(3))

    run()
    run()


# Environments of others


def test_what_was_made_once_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    made: list[Path] = []

    def make(folder: Path) -> None:
        folder.mkdir()
        made.append(folder)

    first, second, other = (apart._kept(recipe, make) for recipe in (["Flask"], ["Flask"], ["Django"]))

    assert (first, len(made)) == (second, 2)
    assert other != first
    assert sorted((tmp_path / "wsgibatch-benchmarks").iterdir()) == sorted([first, other])


def test_what_could_not_be_made_is_not_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))

    with pytest.raises(Unable, match=r"SystemExit|not today"):
        apart._kept(["any"], lambda folder: apart._done([sys.executable, "-c", "raise SystemExit('not today')"]))

    assert [*(tmp_path / "wsgibatch-benchmarks").iterdir()] == []


def test_a_peer_that_is_not_there_is_told_as_one_that_cannot_be_run() -> None:
    with pytest.raises(Unable, match="ModuleNotFoundError: No module named 'flask_aggregator'"):
        apart.inside(Path(sys.executable), peers.answered, "flask_aggregator", "flask", "routes")


def test_what_fails_beside_a_peer_is_not_taken_for_one_that_cannot_be_run() -> None:
    with pytest.raises(RuntimeError, match="ours does not work"):
        apart.inside(Path(sys.executable), peers.failing)


def test_a_peer_that_answers_wrongly_in_its_environment_is_told_as_that() -> None:
    with pytest.raises(Wrong, match="a request that is answered with"):
        apart.inside(Path(sys.executable), peers.answering_wrongly)


def test_a_peer_that_hangs_in_its_environment_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(apart, "PATIENCE", 0.1)

    with pytest.raises(Unable, match=r"said nothing for 0\.1 s"):
        apart.inside(Path(sys.executable), peers.hanging)


@pytest.mark.parametrize(
    ("does", "error", "reason"),
    [
        ("exit('not today')", Unable, "not today"),
        ("print('ready', flush=True); exit('no longer')", Unable, "no longer"),
        ("print('ready', flush=True); input(); exit('no longer')", Unable, "no longer"),
        ("print('ready', flush=True); input(); print(flush=True); input()", Unable, "no reason was told"),
        ("print('not 200', file=sys.stderr); exit(65)", Wrong, "not 200"),
        ("threading.Event().wait()", Unable, "said nothing for 2 s"),
        ("print('ready', flush=True); threading.Event().wait()", Unable, "said nothing for 2 s"),
    ],
)
def test_a_peer_that_does_not_take_its_turn_is_told_with_the_reason(
    monkeypatch: pytest.MonkeyPatch, does: str, error: type[Unable], reason: str
) -> None:
    monkeypatch.setattr(apart, "PATIENCE", 2 if "wait()" in does else apart.PATIENCE)
    monkeypatch.setattr(apart, "SECONDS", 0)

    with pytest.raises(Unable, match=reason) as caught:
        apart.taking_turns(lambda: None, [sys.executable, "-c", f"import sys, threading; {does}"], {})

    assert caught.type is error


def test_a_process_that_times_itself_takes_turns_with_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(apart, "ROUNDS", 3)
    monkeypatch.setattr(apart, "SECONDS", 0)

    ours, theirs = apart.taking_turns(lambda: None, TIMED, {})

    assert (len(ours), theirs) == (3, [0.5, 1.5, 2.5])


# What takes memory


@pytest.mark.skipif(not p9._PEAK.exists() or not hasattr(ctypes.CDLL(None), "malloc_trim"), reason="only glibc gives memory back when it is told to")
def test_what_was_freed_before_a_batch_is_not_there_for_it() -> None:
    assert alone(_given_back) > 40


def test_what_hangs_in_a_process_of_its_own_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measure, "PATIENCE", 1)

    with pytest.raises(BrokenProcessPool):
        alone(peers.hanging)


def _given_back() -> float:
    """Megabytes, of fifty that were freed below one piece that was not."""
    pieces = [b"x" * 9_999 + bytes([number % 256]) for number in range(5_000)]
    del pieces[:-1]
    before = p9._resident("VmRSS")
    p9._give_back()
    return before - p9._resident("VmRSS")


# What counts instructions


def test_where_nothing_counts_instructions_that_is_told_for_each_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")

    # Django is set up once per process, here perhaps for others.
    rows = [row for question in (p1, p2, parts) for row in alone(question.ask)]

    assert {row.note for row in rows} == {"cannot be run here: neither perf nor valgrind can count instructions here"}
    assert [row.bar for row in rows if row.bar] == [45_000, 65_000, *p2.BARS.values()]


def test_while_instructions_are_counted_no_burst_ends_by_the_clock() -> None:
    assert alone(_held) == 3


def _held() -> int:
    """Items that take a second each, in a burst that ends behind thirty bytes."""
    instructions.end_bursts(30)
    answer = SubResponse(200, "OK", [], b"x" * 10, duration=1)
    return len(burst(deque((request,) for request in reads("/items/3") * 5), lambda unit: (answer,)))


def test_a_count_says_what_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(instructions, "gauge", lambda: "perf")

    assert instructions.counted("", 2, "", lambda: 1).note == "counted by perf"


def test_what_fails_while_perf_counts_is_not_taken_for_cheap(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "perf").write_text("#!/bin/sh\nexit 3\n")
    (tmp_path / "perf").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")

    with pytest.raises(subprocess.CalledProcessError):
        instructions._with_perf(["any"])


# Servers


def test_each_way_to_a_server_has_every_request_answered() -> None:
    with gunicorn("make('bottle')") as base, ways(base, work.gets(20)) as sent:
        sent.batch()
        one, several = sent.one(), sent.several()

    assert one == [b'{"number": %d}' % number for number in range(20)]
    assert sorted(several) == sorted(one)


def test_answers_of_a_server_are_looked_at_behind_the_rounds() -> None:
    wrong: tuple[Any, ...] = (([], b"[]"), [b'{"number": 1}', b'{"number": 0}'], [b'{"number": 0}', b'{"number": 0}'])
    with gunicorn("make('bottle')") as base, ways(base, work.gets(2)) as sent:
        for place, answered in enumerate(wrong):
            way: measure.Checked[Any] = sent[place]
            way()
            way.verify()
            with pytest.raises(Mismatch):
                way.check(answered)


@pytest.fixture
def echo() -> Iterator[int]:
    """The port of a server that sends back what it gets."""
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve() -> None:
            connection, _ = listening.accept()
            with connection:
                while piece := connection.recv(1 << 16):
                    connection.sendall(piece)

        # The one that looks whether the proxy listens reaches us as well.
        threads = [threading.Thread(target=serve) for _ in range(2)]
        for thread in threads:
            thread.start()
        yield listening.getsockname()[1]
        for thread in threads:
            thread.join()


def test_the_delay_keeps_every_byte_and_its_place(echo: int) -> None:
    sent = b"".join(b"%07d\n" % number for number in range(100_000))
    port = free_port()
    with (
        running([sys.executable, "-m", "benchmarks.delay", str(port), str(echo), "0.01"], port, ROOT),
        socket.create_connection(("127.0.0.1", port), timeout=30) as connection,
    ):

        def send() -> None:
            connection.sendall(sent)
            connection.shutdown(socket.SHUT_WR)

        sender = threading.Thread(target=send)
        sender.start()
        received = b"".join(iter(lambda: connection.recv(1 << 16), b""))
        sender.join()

    assert received == sent


# What is written


@pytest.fixture
def published(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that stands for the documentation."""
    for name, file in (("PAGE", "page.rst"), ("README", "readme.rst")):
        (tmp_path / file).write_text(f"before\n\n{tables.START}old\n{tables.END}\nbehind\n")
        monkeypatch.setattr(tables, name, tmp_path / file)
    monkeypatch.setattr(tables, "PUBLISHED", tmp_path / "answers.json")
    return tmp_path


def test_answers_are_put_between_the_marks(published: Path) -> None:
    tables.publish(record.Record(HERE, {"p4": answer(Row("Flask", exact(1.19), 1.22, "x", note="by the clock"))}))

    page = (published / "page.rst").read_text()
    assert (page.startswith("before\n\n"), page.endswith("\nbehind\n"), "old" in page) == (True, True, False)
    assert "Here, 2 cores, Linux x86_64, CPython 3.11.7; 2026-01-01" in page
    assert "Flask 1.19 x <= 1.22 passed" in page
    assert "* Flask: by the clock." in page
    assert "Flask 1.19 x <= 1.22 passed\n" in (published / "readme.rst").read_text().replace(tables.FEW["p4", "Flask"], "Flask")


def test_the_readme_has_no_table_where_nothing_of_its_own_was_asked(published: Path) -> None:
    tables.publish(record.Record(HERE, {"p5": answer(Row("JSON", exact(1), None, "x"))}))

    assert "===" not in (published / "readme.rst").read_text()


def test_the_page_says_of_which_code_its_answers_are(published: Path) -> None:
    row = Row("JSON", exact(1), None, "x")
    of = {"p5": answer(row), "p6": answer(row, code="wsgibatch 1.0 (c0ffee5)"), "sizes": answer(row, code="wsgibatch 1.0 (c0ffee5)")}

    tables.publish(record.Record(HERE, of))

    assert "; 2026-01-01; wsgibatch 1.0 (c0ffee5).\n" in (published / "page.rst").read_text()


def test_where_answers_are_of_several_codes_each_section_of_the_page_says_of_which(published: Path) -> None:
    row = Row("JSON", exact(1), None, "x")
    of = {"p5": answer(row, code="wsgibatch 1.0 (c0ffee5)"), "p6": answer(row, code="wsgibatch 1.0 (facade5)"), "sizes": answer(row)}

    tables.publish(record.Record(HERE, of))

    top, *sections = re.split(r"\n\w+: how fast it is\n-+\n\n", (published / "page.rst").read_text())
    assert "; 2026-01-01.\n" in top
    assert [section.partition("\n")[0] for section in sections[:2]] == ["Of wsgibatch 1.0 (c0ffee5).", "Of wsgibatch 1.0 (facade5)."]
    assert sections[2].startswith("=")


def test_the_readme_says_of_which_code_its_own_figures_are(published: Path) -> None:
    row = Row("Flask", exact(1), None, "x")
    of = {"p4": answer(row, code="wsgibatch 1.0 (c0ffee5)"), "p5": answer(row, day=2, code="wsgibatch 1.0 (facade5)")}

    tables.publish(record.Record(HERE, of))

    assert "; 2026-01-01; wsgibatch 1.0 (c0ffee5).\n" in (published / "readme.rst").read_text()


def test_a_ratio_to_a_bare_write_has_the_spread_of_its_rounds() -> None:
    bare = [2.0] * stores.ROUND + [1.0] * stores.ROUND + [1.0] * stores.ROUND
    new = [8.0] * stores.ROUND + [2.0] * stores.ROUND + [3.0] * (stores.ROUND - 1) + [99.0]

    row = stores._rows("sqlite", {"new": new, "bare": bare})[-1]

    assert (row.name, row.figure) == ("sqlite, new over bare", Figure(3.0, 2.5, 3.5))


def test_answers_to_some_questions_stand_beside_the_earlier_ones(published: Path) -> None:
    row = Row("JSON", exact(1), None, "x")
    tables.publish(record.Record(HERE, {"p5": answer(row), "p6": answer(row), "sizes": answer(row)}))

    tables.publish(record.Record(HERE, {"p6": answer(row, day=2), "p3": answer(row, day=2)}))

    kept = record.read(published / "answers.json")
    assert {name: told.date.day for name, told in kept.questions.items()} == {"p3": 2, "p5": 1, "p6": 2, "sizes": 1}
    assert [*kept.questions] == ["p3", "p5", "p6", "sizes"]


def test_an_old_record_that_says_of_no_code_is_read(tmp_path: Path) -> None:
    record.write(record.Record(HERE, {"p5": answer(Row("JSON", exact(1), None, "x"))}), tmp_path / "told.json")
    told = json.loads((tmp_path / "told.json").read_text())
    del told["questions"]["p5"]["code"], told["questions"]["p5"]["rows"][0]["wrong"]
    (tmp_path / "told.json").write_text(json.dumps(told))

    assert record.read(tmp_path / "told.json").questions["p5"].code == ""


@pytest.fixture
def revised(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository with one commit, which stands for this one."""
    if shutil.which("git") is None:
        pytest.skip("there is no git")
    (tmp_path / "benchmarks").mkdir()
    (tmp_path / "benchmarks" / "code.py").write_text("1\n")
    git = ["git", "-C", str(tmp_path), "-c", "user.name=Somebody", "-c", "user.email=somebody@shop.example"]
    for arguments in (["init", "--quiet"], ["add", "."], ["commit", "--quiet", "--message", "first"]):
        subprocess.run([*git, *arguments], check=True)
    monkeypatch.setattr(record, "ROOT", tmp_path)
    return tmp_path


def test_code_is_told_by_its_version_and_revision(revised: Path) -> None:
    assert re.fullmatch(r"wsgibatch [0-9.]+ \([0-9a-f]{4,}\)", record.this_code())


def test_code_that_was_changed_is_told_as_that(revised: Path) -> None:
    (revised / "benchmarks" / "code.py").write_text("2\n")

    assert record.this_code().endswith("+)")


def test_code_without_a_repository_is_told_by_its_version(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(record, "ROOT", tmp_path)

    assert record.this_code() == f"wsgibatch {version('wsgibatch')}"


def test_what_could_not_be_run_takes_no_earlier_figures_place(published: Path) -> None:
    row, lacking = Row("JSON", exact(1), None, "x"), Row("JSON", None, None, "x")
    tables.publish(record.Record(HERE, {"p5": answer(row), "p6": answer(lacking)}))

    tables.publish(record.Record(HERE, {"p5": answer(lacking, day=2), "p6": answer(lacking, day=2)}))

    kept = record.read(published / "answers.json")
    assert {name: told.date.day for name, told in kept.questions.items()} == {"p5": 1, "p6": 2}


def test_answers_of_two_machines_do_not_stand_together(published: Path) -> None:
    row = Row("JSON", exact(1), None, "x")
    tables.publish(record.Record(HERE, {"p5": answer(row), "p6": answer(row)}))

    with pytest.raises(ValueError, match=r"of another machine \(Here, .*\): ask all questions, also p1, p2, .*"):
        tables.refuse(ELSEWHERE, ["p5", "p6"])

    tables.refuse(HERE, ["p5"])
    tables.refuse(ELSEWHERE, names())


def test_no_answer_of_another_machine_stays_where_something_could_not_be_run(published: Path) -> None:
    tables.publish(record.Record(HERE, {"p5": answer(Row("JSON", exact(1), None, "x")), "p6": answer()}))

    tables.publish(record.Record(ELSEWHERE, {"p5": answer(Row("JSON", None, None, "x"))}))

    kept = record.read(published / "answers.json")
    assert (kept.machine, [*kept.questions], kept.questions["p5"].rows[0].figure) == (ELSEWHERE, ["p5"], None)


def test_where_nothing_was_answered_what_is_published_stays(published: Path) -> None:
    tables.publish(record.Record(HERE, {"p5": answer(Row("JSON", exact(1), None, "x"))}))

    tables.publish(record.Record(ELSEWHERE, {}))

    assert record.read(published / "answers.json").machine == HERE


def test_the_tables_are_those_of_the_published_answers() -> None:
    told = record.read(tables.PUBLISHED)

    for file, render in ((tables.PAGE, tables.all_tables), (tables.README, tables.few)):
        assert tables.replaced(file.read_text(), render, told) == file.read_text()


def test_every_question_and_every_bar_is_published() -> None:
    told = record.read(tables.PUBLISHED)
    with_a_bar = {name for name, answer in told.questions.items() if any(row.bar is not None for row in answer.rows)}

    assert [*told.questions] == names()
    assert {f"p{number}" for number in range(1, 18)} <= with_a_bar


def test_what_the_readme_tells_is_among_what_was_published() -> None:
    told = record.read(tables.PUBLISHED)

    assert [place for place in tables.FEW if place[1] not in {row.name for row in told.questions[place[0]].rows}] == []


# The command


@pytest.fixture
def asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder with two questions, of which one misses a bar."""
    text = "from benchmarks.answers import Row, exact\n\ntitle = 'a title'\n\ndef ask():\n    return [Row('a row', exact({}), 2, 'x')]\n"
    (tmp_path / "good.py").write_text(text.format(1))
    (tmp_path / "bad.py").write_text(text.format(3))
    monkeypatch.setattr(questions, "__path__", [str(tmp_path)])
    yield tmp_path
    for name in ("good", "bad", "fails"):
        sys.modules.pop(f"benchmarks.questions.{name}", None)


@pytest.mark.parametrize(("names", "status"), [(["good"], 0), (["bad"], 1), ([], 1), (["GOOD"], 0)])
def test_the_exit_status_says_whether_a_bar_is_missed(asked: Path, monkeypatch: pytest.MonkeyPatch, names: list[str], status: int) -> None:
    monkeypatch.setattr(sys, "argv", ["benchmarks", *names])

    assert command.main() == status


def test_the_last_line_says_what_came_of_the_bars(asked: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    rows = "Row('', None, 2, 'x'), Row('', exact(1), None, 'x'), Row('', None, 2, 'x', wrong=True), Row('', None, None, 'x', wrong=True)"
    (asked / "fails.py").write_text(f"from benchmarks.answers import Row, exact\n\ntitle = 'a title'\n\ndef ask():\n    return [{rows}]\n")
    monkeypatch.setattr(sys, "argv", ["benchmarks"])

    assert command.main() == 1
    assert capsys.readouterr().out.endswith("\nbars: 1 passed, 1 missed, 1 not run, 1 wrong; questions without an answer: none\n")


def test_the_last_line_names_the_questions_without_an_answer(failing: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command.main()

    assert capsys.readouterr().out.endswith("\nbars: 1 passed, 1 missed, 0 not run, 0 wrong; questions without an answer: fails\n")


def test_an_answer_of_ours_that_is_wrong_is_no_success(asked: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = "from benchmarks.posting import Mismatch\n\ntitle = 'a title'\n\ndef ask():\n    raise Mismatch('the batch was answered with 413')\n"
    (asked / "fails.py").write_text(text)
    monkeypatch.setattr(sys, "argv", ["benchmarks", "good", "fails"])

    assert command.main() == 2


def test_answers_are_written_as_json(asked: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["benchmarks", "--json", str(asked / "told.json")])
    command.main()

    told = record.read(asked / "told.json")
    assert {name: [row.missed for row in found.rows] for name, found in told.questions.items()} == {"bad": [True], "good": [False]}
    assert (asked / "told.json").read_text().count('"missed": true') == 1


@pytest.fixture
def failing(asked: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The same folder with a third question, between the two, that fails."""
    (asked / "fails.py").write_text("title = 'a title'\n\ndef ask():\n    raise RuntimeError('no\\nway')\n")
    monkeypatch.setattr(sys, "argv", ["benchmarks", "--json", str(asked / "told.json")])
    return asked


def test_a_question_that_fails_takes_no_others_with_it(failing: Path) -> None:
    command.main()

    assert [*record.read(failing / "told.json").questions] == ["bad", "good"]


def test_the_exit_status_says_that_a_question_could_not_be_answered(failing: Path) -> None:
    assert command.main() == 2


def test_a_question_of_which_nothing_can_be_run_could_not_be_answered(asked: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (asked / "fails.py").write_text(
        "from benchmarks.answers import Row\n\ntitle = 'a title'\n\ndef ask():\n    return [Row('a row', None, 2, 'x')]\n"
    )
    monkeypatch.setattr(sys, "argv", ["benchmarks", "good", "fails"])

    assert command.main() == 2


def test_whoever_interrupts_it_keeps_what_was_answered(asked: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    (asked / "fails.py").write_text("title = 'a title'\n\ndef ask():\n    raise KeyboardInterrupt\n")
    monkeypatch.setattr(sys, "argv", ["benchmarks", "good", "fails", "bad", "--json", str(asked / "told.json")])

    assert command.main() == 130
    assert [*record.read(asked / "told.json").questions] == ["good"]
    assert "interrupted, with answers to good\n" in capsys.readouterr().out


def test_a_file_that_cannot_be_written_is_refused_before_anything_is_measured(
    asked: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["benchmarks", "--json", str(asked / "missing" / "told.json")])

    with pytest.raises(SystemExit):
        command.main()

    told = capsys.readouterr()
    assert "--json: [Errno 2] No such file or directory" in told.err
    assert "a title" not in told.out


def test_answers_that_would_stand_beside_those_of_another_machine_are_refused_before_anything_is_measured(
    asked: Path, published: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    record.write(record.Record(ELSEWHERE, {"good": answer(), "bad": answer()}), published / "answers.json")
    monkeypatch.setattr(sys, "argv", ["benchmarks", "good", "--publish"])

    with pytest.raises(SystemExit) as ended:
        command.main()

    told = capsys.readouterr()
    assert ended.value.code == 2
    assert "--publish: what is published is of another machine (Elsewhere, " in told.err
    assert "ask all questions, also bad\n" in told.err
    assert "a title" not in told.out


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no file here that is always full")
def test_a_file_that_cannot_be_written_in_the_end_is_told_in_a_line_and_the_answers_are_published(
    asked: Path, published: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["benchmarks", "good", "--publish", "--json", "/dev/full"])

    assert command.main() == 2
    assert "\n--json: the answers could not be written: [Errno 28] No space left on device\n" in capsys.readouterr().out
    assert [*record.read(published / "answers.json").questions] == ["good"]


def test_a_question_that_is_named_twice_is_asked_once(asked: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "argv", ["benchmarks", "good", "GOOD"])
    command.main()

    assert capsys.readouterr().out.count("a title") == 1


def test_a_question_that_fails_is_told_in_a_line(failing: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command.main()

    assert "\n  fails could not be answered: RuntimeError: no\n" in capsys.readouterr().out


def test_an_answer_says_of_which_code_it_is(asked: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["benchmarks", "good", "--json", str(asked / "told.json")])
    command.main()

    assert record.read(asked / "told.json").questions["good"].code == record.this_code()


def test_a_question_that_nobody_knows_is_refused(asked: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "argv", ["benchmarks", "better"])

    with pytest.raises(SystemExit):
        command.main()

    assert "there is no question better (known: bad, good)" in capsys.readouterr().err
