"""The executor ``gevent``, and all executors where gevent has patched the process: what needs that runs in a process of its own."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.apps import show
from tests.gateway import get, post
from wsgibatch import BatchMiddleware

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
FAMILY = [path for path in sorted((ROOT / "tests").rglob("test_*.py")) if "\n@every_executor" in path.read_text()]
"""The tests that all executors are put to."""

PATCHED = """
from gevent import monkey
monkey.patch_all()
import sys
import pytest
sys.exit(pytest.main(sys.argv[1:]))
"""


def test_all_that_holds_for_executors_holds_in_a_process_that_gevent_has_patched() -> None:
    options = ["-p", "no:cacheprovider", "-p", "no:xdist", "-k", "not sequential"]

    ended = subprocess.run(
        [sys.executable, "-c", PATCHED, *options, *map(str, FAMILY), str(HERE / "patched_gevent.py")],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )

    assert ended.returncode == 0, ended.stdout + ended.stderr


WITHOUT = """
import sys

sys.modules["gevent"] = None
from wsgibatch import BatchMiddleware, ConfigError

try:
    BatchMiddleware(print, executor="gevent")
except ConfigError as error:
    print(error)
"""


def test_without_gevent_it_is_refused_at_the_start_and_told_what_to_install() -> None:
    ended = subprocess.run([sys.executable, "-c", WITHOUT], capture_output=True, text=True, check=True)

    assert ended.stdout.startswith("executor: 'gevent' needs gevent (")
    assert ended.stdout.endswith("): pip install 'wsgibatch[gevent]'\n")


@pytest.mark.parametrize("stream", [False, True])
def test_in_a_process_that_is_not_patched_a_batch_fails_and_says_why(stream: bool) -> None:
    middleware = BatchMiddleware(show, executor="gevent", stream=stream)

    with pytest.raises(RuntimeError, match=r"needs a process that gevent has patched: .* gunicorn --worker-class gevent"):
        post(middleware, [get("/a")])


PATCHED_LATER = """
import sys
import threading
from tests.gateway import get, post
from wsgibatch import BatchMiddleware

def app(environ, start_response):
    if environ["PATH_INFO"] == "/late":
        threading.Event().wait()
    together.wait()
    start_response("200 OK", [])
    return [b""]

settings = {"executor": sys.argv[1], "workers": 4}
plain, limited = BatchMiddleware(app, **settings), BatchMiddleware(app, **settings, timeout=0.5, stream=True)

from gevent import monkey
monkey.patch_all()

together = threading.Barrier(4)
assert post(plain, [get("/a")] * 4).statuses == [200] * 4
together = threading.Barrier(3)
assert post(limited, [get("/a"), get("/late"), get("/a"), get("/a")]).statuses == [200, 504, 200, 200]
plain.close()
"""


@pytest.mark.parametrize("word", ["gevent", "threads"])
def test_what_was_made_before_the_process_was_patched_works_in_it(word: str) -> None:
    command = [sys.executable, "-c", PATCHED_LATER, word]

    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=30, check=False)

    assert ended.returncode == 0, ended.stderr
