"""The command, run as its users run it: a process of its own, real servers, real shells."""

import contextlib
import itertools
import json
import os
import re
import signal
import subprocess
import sys
import sysconfig
import time
import urllib.request
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest

from tests.gateway import get
from tests.servers.run import free_port, running
from wsgibatch.cli import main
from wsgibatch.demo.run import sayable, speakers

COMMAND = Path(sysconfig.get_path("scripts"), "wsgibatch")

SHOP = """\
def app(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [environ["PATH_INFO"].encode()]

def make(greeting):
    def made(environ, start_response):
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [greeting.encode()]
    return made
"""

LANES = """\
from wsgibatch.executors.sequential import SequentialExecutor

class Lanes(SequentialExecutor):
    concurrent = False
"""


@contextlib.contextmanager
def demo(*options: str) -> Iterator[subprocess.Popen[str]]:
    """``wsgibatch demo`` in a session of its own; nothing of the session is left behind it."""
    with subprocess.Popen([COMMAND, "demo", *options], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True) as process:
        try:
            yield process
        finally:
            for left in session(process.pid):
                os.kill(left, signal.SIGKILL)


def session(leader: int) -> list[int]:
    """The processes of a session."""
    listed = subprocess.run(["ps", "-A", "-o", "pid="], capture_output=True, text=True, check=True).stdout.split()
    found = []
    for pid in map(int, listed):
        with contextlib.suppress(ProcessLookupError):
            if os.getsid(pid) == leader:
                found.append(pid)
    return found


def until_kept(process: subprocess.Popen[str]) -> list[str]:
    """What ``demo --keep`` prints before it waits."""
    assert process.stdout is not None
    lines: list[str] = []
    while not (lines and lines[-1].startswith("gunicorn's log: ")):
        line = process.stdout.readline()
        assert line, f"ended early: {process.communicate()}"
        lines.append(line.rstrip("\n"))
    return lines


@contextlib.contextmanager
def served(folder: Path, *arguments: str, theirs: tuple[str, ...] = ()) -> Iterator[str]:
    """``wsgibatch serve`` in *folder*; gives the base url."""
    (folder / "shop.py").write_text(SHOP)
    port = free_port()
    with running([str(COMMAND), "serve", *arguments, "--", "--bind", f"127.0.0.1:{port}", *theirs], port, cwd=folder) as base:
        yield base


def refused(*arguments: str) -> tuple[int, str]:
    """Exit status and error output of a command that cannot start."""
    ended = subprocess.run([COMMAND, *arguments], check=False, capture_output=True, text=True, timeout=60)
    return ended.returncode, ended.stderr


def fetch(url: str, batch: object) -> Any:
    request = urllib.request.Request(url, json.dumps(batch).encode(), {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=30) as response:
        return json.load(response)


def bodies(base: str) -> list[str]:
    return [item["body"] for item in fetch(base + "/batch", [get("/one"), get("/two")])]


@pytest.fixture(scope="module")
def ended_demo() -> tuple[int, str, str, list[int]]:
    """Exit status, output and error output of ``wsgibatch demo``, and the processes that it left behind."""
    with demo() as process:
        out, err = process.communicate(timeout=60)
        return process.returncode, out, err, session(process.pid)


@pytest.fixture
def blocks(ended_demo: tuple[int, str, str, list[int]]) -> dict[str, list[str]]:
    """The lines of the demo about the items of each batch, by what it is called."""
    found = (block.splitlines() for block in ended_demo[1].split("\n\n")[1:])
    return {lines[0].partition(":")[0]: lines[1:-1] for lines in found}


def test_the_demo_ends_with_0_and_without_complaints(ended_demo: tuple[int, str, str, list[int]]) -> None:
    status, _, err, _ = ended_demo

    assert (status, err) == (0, "")


def test_the_demo_leaves_no_process_behind(ended_demo: tuple[int, str, str, list[int]]) -> None:
    assert ended_demo[3] == []


def test_the_demo_shows_every_request_of_every_dialect(blocks: dict[str, list[str]]) -> None:
    shown = {word: [tuple(line.split()[:2]) for line in lines] for word, lines in blocks.items() if word in speakers()}

    assert shown == {word: [(request.method, request.target) for request in sayable(dialect)] for word, dialect in speakers().items()}


def test_the_demo_shows_the_statuses_that_a_dialect_tells(blocks: dict[str, list[str]]) -> None:
    assert [line.split()[2] for line in blocks["django"]] == ["200", "200", "404", "200", "200", "201", "200", "200", "500"]


def test_in_the_demo_what_is_read_after_the_write_sees_it(blocks: dict[str, list[str]]) -> None:
    [newest] = [line for line in blocks["django"] if "/notes/newest" in line]

    assert '{"id":4,"autho' in newest


def test_the_demo_shows_that_what_is_sent_again_is_answered_as_before(blocks: dict[str, list[str]]) -> None:
    first, again = (lines for title, lines in blocks.items() if title.startswith("django, "))

    assert ["as before: {" in line for line in first + again] == [False, False, True, False]
    # Nothing was added by the second one.
    assert [re.findall(r'"id":\d+', lines[1]) for lines in (first, again)] == [re.findall(r'"id":\d+', first[0])] * 2


def test_the_demo_says_that_its_failures_are_meant(ended_demo: tuple[int, str, str, list[int]]) -> None:
    assert "Each 404 and 500 is the app's own" in ended_demo[1].splitlines()[-1]


def test_the_demo_ends_quietly_when_nobody_reads_on() -> None:
    pipe = subprocess.run(["bash", "-c", f"'{COMMAND}' demo | head -n 1"], capture_output=True, text=True, timeout=60, check=True)

    assert len(pipe.stdout.splitlines()) == 1
    assert pipe.stderr == ""


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 0), (signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_a_kept_demo_takes_its_server_along_when_it_is_ended(number: signal.Signals, status: int) -> None:
    with demo("--keep") as process:
        log = Path(until_kept(process)[-1].removeprefix("gunicorn's log: "))
        assert log.exists()
        assert len(session(process.pid)) >= 3

        process.send_signal(number)

        assert process.wait(timeout=30) == status
        assert session(process.pid) == []
        assert not log.parent.exists()


def test_the_curl_commands_of_a_kept_demo_work_as_they_are_pasted() -> None:
    with demo("--keep", "--plain") as process:
        lines = until_kept(process)
        commands = {lines[i - 1].removeprefix("# "): line for i, line in enumerate(lines) if line.startswith("curl ")}

        answers = {word: subprocess.run(["bash", "-c", line], capture_output=True, check=True).stdout for word, line in commands.items()}

        process.send_signal(signal.SIGINT)
        process.wait(timeout=30)
    assert answers.keys() == speakers().keys()
    assert [item["status_code"] for item in json.loads(answers["django"])["batch"]] == [200, 200, 404]
    assert list(json.loads(answers["aggregator"])) == ["/notes", "/notes/1", "/notes/99999"]


def test_a_kept_demo_tells_when_its_server_has_ended_by_itself() -> None:
    with demo("--keep") as process:
        until_kept(process)
        # gunicorn's first process leads a group of its own.
        [first] = [pid for pid in session(process.pid) if pid == os.getpgid(pid) != process.pid]
        os.kill(first, signal.SIGKILL)

        _, err = process.communicate(timeout=30)

    assert process.returncode == 1
    assert err.startswith("wsgibatch: gunicorn ended with status -9; the end of its log:\n")


@pytest.mark.parametrize("missing", ["gunicorn", "paste.deploy"])
def test_the_demo_without_its_server_names_the_extra_to_install(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], missing: str
) -> None:
    monkeypatch.setitem(sys.modules, missing, None)

    status, err = main(["demo"]), capsys.readouterr().err

    assert status == 1
    assert err.startswith("wsgibatch: the demo needs gunicorn and PasteDeploy")
    assert err.endswith("pip install 'wsgibatch[demo]'\n")


def test_a_server_that_does_not_start_is_told_with_the_end_of_its_log(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    ini = tmp_path / "broken.ini"
    ini.write_text("[app:main]\nuse = egg:no-such-app\n")
    monkeypatch.setattr("wsgibatch.demo.run.CONFIGURATION", ini)

    status, err = main(["demo"]), capsys.readouterr().err

    assert status == 1
    assert err.startswith("wsgibatch: gunicorn does not answer")
    assert "no-such-app" in err


def test_a_batch_that_is_refused_ends_the_demo_with_a_sentence(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("wsgibatch.demo.run._REQUESTS", [("GET", f"/notes/{number}", b"") for number in range(21)])

    status, err = main(["demo"]), capsys.readouterr().err

    assert status == 1
    assert err.startswith("wsgibatch: the batch in the dialect aggregator was refused with 413: ")


@pytest.mark.parametrize(
    ("arguments", "theirs", "expected"),
    [
        (["shop:app"], (), ["/one", "/two"]),
        (["shop:app"], ("--preload",), ["/one", "/two"]),
        (["shop:app", "--executor", "threads"], ("--preload", "--workers", "2"), ["/one", "/two"]),
        (["shop:app", "--executor", "processes", "--workers", "2"], ("--preload", "--workers", "2"), ["/one", "/two"]),
        (["shop:make('hello')"], (), ["hello", "hello"]),
        (["shop:app", "--executor", "threads", "--workers", "3"], ("--worker-class", "gthread", "--threads", "2"), ["/one", "/two"]),
    ],
)
def test_serve_puts_a_batch_endpoint_in_front_of_an_app(tmp_path: Path, arguments: list[str], theirs: tuple[str, ...], expected: list[str]) -> None:
    with served(tmp_path, *arguments, theirs=theirs) as base:
        assert bodies(base) == expected


def test_serve_leaves_all_other_requests_to_the_app(tmp_path: Path) -> None:
    with served(tmp_path, "shop:app") as base, urllib.request.urlopen(base + "/plain", timeout=30) as answer:
        assert answer.read() == b"/plain"


def test_serve_answers_at_the_path_and_in_the_dialect_that_it_is_told(tmp_path: Path) -> None:
    with served(tmp_path, "shop:app", "--path", "/a,/b", "--dialect", "aggregator") as base:
        assert fetch(base + "/a", ["/one"]) == fetch(base + "/b", ["/one"]) == {"/one": "/one"}


def test_serve_takes_any_setting_by_its_name(tmp_path: Path) -> None:
    with served(tmp_path, "shop:app", "--set", "max_requests=1") as base:
        assert fetch(base + "/batch", [get("/one")])[0]["body"] == "/one"
        with pytest.raises(urllib.error.HTTPError, match="413") as caught:
            bodies(base)
        caught.value.close()


def test_serve_refuses_to_be_told_a_setting_twice() -> None:
    status, told = refused("serve", "shop:app", "--path", "/a", "--set", "path=/b")

    assert (status, told) == (2, "wsgibatch: --set path=/b: path is set already\n")


def test_serve_finds_an_executor_beside_the_app(tmp_path: Path) -> None:
    (tmp_path / "lanes.py").write_text(LANES)

    with served(tmp_path, "shop:app", "--executor", "lanes:Lanes") as base:
        assert bodies(base) == ["/one", "/two"]


def test_serve_hands_out_the_new_code_of_an_app_that_was_changed(tmp_path: Path) -> None:
    with served(tmp_path, "shop:app", theirs=("--reload",)) as base:
        assert bodies(base) == ["/one", "/two"]
        shop = tmp_path / "shop.py"
        shop.write_text(SHOP.replace('environ["PATH_INFO"].encode()', "b'changed'"))

        # gunicorn sees a change only after its own first look at the file, so it is shown the change more than once.
        looks = itertools.count(1)
        assert eventually(lambda: bodies(base) if next(looks) % 40 else shop.touch(), ["changed", "changed"])


def test_serve_reads_its_options_again_when_gunicorn_is_told_to_reload(tmp_path: Path) -> None:
    pidfile = tmp_path / "pid"
    with served(tmp_path, "shop:app", theirs=("--pid", str(pidfile))) as base:
        assert bodies(base) == ["/one", "/two"]
        (tmp_path / "shop.py").write_text(SHOP.replace('environ["PATH_INFO"].encode()', "b'changed'"))

        os.kill(int(pidfile.read_text()), signal.SIGHUP)

        assert eventually(lambda: bodies(base), ["changed", "changed"])


def eventually(look: Any, expected: object) -> bool:
    """Does *look* come to see what is expected, while a server changes its workers?"""
    until = time.monotonic() + 30
    while time.monotonic() < until:
        with contextlib.suppress(OSError):
            if look() == expected:
                return True
        time.sleep(0.05)
    return False


@pytest.mark.parametrize(
    ("option", "value", "sentence"),
    [
        ("--workers", "many", "workers: 'many' should be a whole number, or one with KiB, MiB or GiB behind it"),
        ("--workers", "0", "workers: Expected `int` >= 1"),
        ("--set", "max_requests", "--set max_requests: a name and a value are wanted, such as max_requests=50"),
        ("--set", "max_requsts=5", "there is no setting 'max_requsts' (did you mean 'max_requests'?)"),
        ("--set", "max_requests=many", "max_requests: 'many' should be a whole number, or one with KiB, MiB or GiB behind it"),
        ("--path", "batch", "path: 'batch' should begin with '/' and be printable"),
        ("--dialect", "jango", "'jango' is none of the dialects (did you mean 'django'?)"),
        ("--executor", "thread", "'thread' is none of the executors (did you mean 'threads'?)"),
        ("--executor", "nowhere:Executor", "executor: 'nowhere:Executor' cannot be found: No module named 'nowhere'"),
    ],
)
def test_serve_refuses_a_setting_that_cannot_work_with_a_sentence(option: str, value: str, sentence: str) -> None:
    assert refused("serve", "shop:app", option, value, "--", "--bind", "127.0.0.1:0") == (2, f"wsgibatch: {sentence}\n")


def test_serve_leaves_the_arguments_of_the_process_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["wsgibatch", "and", "more"])

    main(["serve", "shop:app", "--dialect", "jango", "--", "--preload"])

    assert sys.argv == ["wsgibatch", "and", "more"]


def test_serve_without_gunicorn_names_the_extra_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "gunicorn.app.wsgiapp", None)

    with pytest.raises(SystemExit, match=r"serve needs gunicorn .* pip install 'wsgibatch\[server\]'"):
        main(["serve", "tests.apps:show"])


def test_what_stands_behind_the_dashes_is_gunicorns() -> None:
    status, err = refused("serve", "shop:app", "--", "--no-such-option")

    assert status == 2
    assert "wsgibatch serve module:app --: error: unrecognized arguments: --no-such-option" in err


def test_the_version_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--version"])

    assert (ended.value.code, capsys.readouterr().out) == (0, f"wsgibatch {version('wsgibatch')}\n")


def test_an_option_of_gunicorn_before_the_dashes_is_refused_with_a_hint() -> None:
    status, err = refused("serve", "shop:app", "--bind", ":8000")

    assert status == 2
    assert err.endswith("wsgibatch: error: unrecognized arguments: --bind :8000 (gunicorn's own options stand behind a --)\n")
