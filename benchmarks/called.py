"""What runs in a peer's environment: calls a function of a question and writes what it gives, for :func:`benchmarks.apart.inside`."""

import sys
from importlib import import_module
from pathlib import Path

import msgspec

from .answers import Unable


def main(told: str, module: str, function: str, arguments: str) -> int:
    """Write to the file *told* what *function* of *module* gives for *arguments*, a list in JSON."""
    try:
        figure = getattr(import_module(module), function)(*msgspec.json.decode(arguments))
    except Unable as error:
        print(error, file=sys.stderr)
        return error.status
    Path(told).write_bytes(msgspec.json.encode(figure))
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
