"""The command ``wsgibatch``: a demonstration, a batch endpoint in front of an app whose code stays as it is, and a client."""

import argparse
import io
import os
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

from ._bench import bench
from ._exchange import Endpoint
from ._grammar import TOKEN, VALUE
from ._post import PostError, without_credentials
from ._send import send
from .demo.run import PATH, DemoError, Exchange, Server, exchanged, sayable, sent_twice, server, speakers
from .demo.show import Page, curl, page, printable, told
from .errors import BatchFailed, ConfigError
from .model import Headers
from .settings import Settings
from .wsgi import BatchMiddleware


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command.

    :param argv: its arguments; those of the process where it is left out.
    :return: the exit status: 0, 1 for what failed, 2 for what was asked wrongly.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    theirs: list[str] = []
    if arguments[:1] == ["serve"] and "--" in arguments:
        split = arguments.index("--")
        arguments, theirs = arguments[:split], arguments[split + 1 :]
    parser = _parser()
    options, unknown = parser.parse_known_args(arguments)
    if unknown:
        hint = " (gunicorn's own options stand behind a --)" if options.command == "serve" else ""
        parser.error(f"unrecognized arguments: {' '.join(unknown)}{hint}")
    try:
        if options.command in ("demo", "send", "bench"):
            return _shown(options)
        application = _application(options, theirs)
    except (ConfigError, DemoError, BatchFailed, PostError) as error:
        # What a log has said has lines.
        print(f"wsgibatch: {error if isinstance(error, DemoError) else printable(str(error))}", file=sys.stderr)
        return 2 if isinstance(error, ConfigError) else 1
    application.run()
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="wsgibatch", description="One HTTP request that carries many, for any WSGI app.")
    parser.add_argument("--version", action="version", version=f"%(prog)s {version('wsgibatch')}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="command")

    about = "start a small app under gunicorn, send it a batch in each dialect and one twice, and show what came back, and when"
    demo = commands.add_parser("demo", help=about, description=about.capitalize() + ".")
    demo.add_argument("--keep", action="store_true", help="leave the app running until Ctrl-C, and print curl commands to try")
    demo.add_argument("--plain", action="store_true", help="no colours")

    about = "run an app under gunicorn, with a batch endpoint in front of it"
    serve = commands.add_parser(
        "serve",
        help=about,
        description=about.capitalize() + ".",
        usage="wsgibatch serve [options] module:app [-- gunicorn's own options]",
        epilog="Example: wsgibatch serve shop:app --executor threads -- --bind 127.0.0.1:8000 --workers 2",
    )
    serve.add_argument("app", metavar="module:app", help="the WSGI app, or what makes it: module:make()")
    serve.add_argument("--path", help="where batches are posted (default: /batch); several with commas between them")
    serve.add_argument("--dialect", help="the wire format of batches (default: auto, told by their shape)")
    serve.add_argument("--atomic", metavar="package.module:name", help="what makes atomic groups all or nothing (default: nothing does)")
    serve.add_argument("--executor", help="where the requests of a batch run: sequential (the default), threads, processes, package.module:name")
    serve.add_argument(
        "--workers",
        metavar="THREADS",
        help="threads, or processes, that run the requests of batches for each process of gunicorn, with --executor threads or processes; gunicorn's "
        "own --workers, behind the --, is the number of the processes that take them",
    )
    serve.add_argument(
        "--set", metavar="NAME=VALUE", action="append", default=[], help="any setting, such as max_requests=50, as in an ini file; may be given again"
    )

    about = "send a batch, and show what came back, and when"
    sending = commands.add_parser("send", help=about, description=about.capitalize() + ".", epilog=_FILES)
    about = "measure a batch against its requests sent one by one, and on 8 connections"
    measuring = commands.add_parser("bench", help=about, description=about.capitalize() + ".", epilog=_FILES)
    measuring.add_argument("--unsafe", action="store_true", help="also with methods that write, which is done many times over")
    for command in (sending, measuring):
        command.add_argument("url", metavar="URL", help="the batch endpoint, such as http://127.0.0.1:8000/batch")
        command.add_argument("file", metavar="FILE", nargs="?", default="-", help="the batch; - or nothing for standard input")
        command.add_argument("-H", "--header", metavar="'NAME: VALUE'", action="append", default=[], help="a header to send; may be given again")
        command.add_argument("--dialect", default="auto", help="what the file is written in (default: told by its shape; for lines django)")
        command.add_argument("--json", action="store_true", help="print JSON, for programs")
        command.add_argument("--plain", action="store_true", help="no colours")
    return parser


_FILES = (
    "FILE holds a batch in any dialect, or lines such as 'GET /people' and 'POST /people {\"name\": \"Zoe\"}'. The exit status is 0 when all went "
    "well, 1 when something failed, 2 when the question was wrong."
)


def _shown(options: argparse.Namespace) -> int:
    """A command that shows something, to whoever wants to see it."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        # In a name, say, that a server has given.
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        status = _demo(options.keep, options.plain) if options.command == "demo" else _client(options)
        if sys.stdout is not None:
            sys.stdout.flush()
    except KeyboardInterrupt:
        return 128 + signal.SIGINT
    except OSError as error:
        if sys.stdout is not None:
            # At its end Python would find standard output broken once more, and say so.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if isinstance(error, BrokenPipeError):
            # Who was reading has seen enough, as `head` does.
            return 128 + signal.SIGPIPE
        print(f"wsgibatch: {error}", file=sys.stderr)
        return 1
    return status


def _client(options: argparse.Namespace) -> int:
    """``send`` and ``bench``.

    :raises ConfigError: for a file, or a header, that is none.
    """
    try:
        if options.file == "-" and sys.stdin is None:
            raise ConfigError("there is no standard input: name a file")
        text = sys.stdin.buffer.read() if options.file == "-" else Path(options.file).read_bytes()
    except OSError as error:
        raise ConfigError(f"{options.file}: {error.strerror}") from None
    headers: Headers = []
    for line in options.header:
        name, colon, value = line.partition(":")
        if not colon or not TOKEN.match(name) or not VALUE.match(value):
            raise ConfigError(f"{line!r} is no header: 'Name: value'")
        headers.append((name, value.strip()))
    url, credentials = without_credentials(options.url)
    if not any(name.lower() == "authorization" for name, _ in headers):
        headers += credentials
    if options.command == "bench":
        return bench(url, text, options.dialect, headers, options.json, options.plain, options.unsafe)
    return send(url, text, options.dialect, headers, options.json, options.plain)


def _demo(keep: bool, plain: bool) -> int:
    shown = page(plain)
    with _ended_by(signal.SIGTERM, signal.SIGHUP), server() as running:
        shown.write([("The demo app under gunicorn: ", "dim"), (running.base, "")])
        for word, dialect in speakers().items():
            _tell(exchanged(running, word, dialect), shown)
        for exchange in sent_twice(running, "django", speakers()["django"]):
            _tell(exchange, shown)
        if keep:
            _keep(running, shown)
        else:
            shown.write([])
            shown.write([("Each 404 and 500 is the app's own: an item fails alone. --keep leaves the app running, with commands to try.", "dim")])
    return 0


def _tell(exchange: Exchange, shown: Page) -> None:
    for line in [[], *told(exchange, shown.width, shown.glyphs)]:
        shown.write(line)


def _keep(running: Server, shown: Page) -> None:
    """Leave the server to the user, until Ctrl-C."""
    shown.write([])
    shown.write([("To try it yourself, until Ctrl-C:", "bold")])
    for word, dialect in speakers().items():
        headers, body = dialect.write(sayable(dialect)[:3])
        shown.write([])
        shown.write([(f"# {word}", "dim")])
        shown.write([(curl(running.base + PATH, headers, body), "")])
    shown.write([])
    try:
        shown.write([(f"gunicorn's log: {running.log}", "dim")])
        running.wait()
    except KeyboardInterrupt:
        shown.write([])


@contextmanager
def _ended_by(*signals: signal.Signals) -> Iterator[None]:
    """Let *signals* unwind the stack, so that nothing that was started stays behind."""

    def end(number: int, frame: object) -> None:
        raise SystemExit(128 + number)

    before = {number: signal.signal(number, end) for number in signals}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _application(options: argparse.Namespace, theirs: list[str]) -> Any:
    """gunicorn's own command, with its app behind a batch endpoint.

    :param theirs: gunicorn's own options.
    :raises ConfigError: for settings that cannot work.
    """
    given = {name: value for name in ("path", "dialect", "atomic", "executor", "workers") if (value := getattr(options, name)) is not None}
    for assignment in options.set:
        name, equals, value = assignment.partition("=")
        if not equals:
            raise ConfigError(f"--set {assignment}: a name and a value are wanted, such as max_requests=50")
        if name in given:
            raise ConfigError(f"--set {assignment}: {name} is set already")
        given[name] = value
    if given.get("executor") == "processes":
        given.setdefault("worker_app", options.app)
    settings = Settings.from_strings(given)
    try:
        from gunicorn.app.wsgiapp import WSGIApplication
    except ImportError as error:
        raise SystemExit(f"wsgibatch: serve needs gunicorn ({error}): pip install 'wsgibatch[server]'") from error

    class BatchApplication(WSGIApplication):  # type: ignore[misc,unused-ignore]
        def do_load_config(self) -> None:
            # gunicorn reads its options from sys.argv, when it starts and again when it is told to reload. For all else, such as starting itself
            # anew on SIGUSR2, they have to stay what they are.
            before, sys.argv = sys.argv, [sys.argv[0], options.app, *theirs]
            try:
                super().do_load_config()
            finally:
                sys.argv = before

        def load(self) -> Any:
            return BatchMiddleware(super().load(), settings)

    application = BatchApplication(prog="wsgibatch serve module:app --")
    # A word that stands for nothing is told here: gunicorn has put the app's folder on the path by now, but no process has been started.
    Endpoint(settings)
    return application
