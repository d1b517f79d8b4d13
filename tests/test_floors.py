"""The house stands: a floor imports lower ones only, nothing is imported on the way, and nothing optional at the start."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent / "wsgibatch"
MODULES = sorted(path.relative_to(ROOT).with_suffix("").as_posix() for path in ROOT.rglob("*.py") if path != ROOT / "__init__.py")

FLOORS = (
    {"_body", "_grammar", "_idempotency/__init__", "errors", "model"},
    {"_limits", "_lookup", "_paths"},
    {"settings"},
    {"protocols"},
    {"_answer", "_bind", "_inherit", "_jsonpath", "_keys", "_log", "_plan", "_run", "_target", "_timing", "_vet", "dialects", "executors", "stores"}
    | {"_idempotency/fingerprints", "_idempotency/policy", "_idempotency/records"},
    {"_exchange", "_idempotency/claims", "tags"},
    {"_caller", "_drive", "_input", "_linked", "_stopping", "_turns", "clients", "idempotency", "wsgi"}
    | {"_idempotency/collect", "_idempotency/guard", "_idempotency/leases", "_idempotency/reply"},
    {"integrations"},
    {"demo"},
    {"__main__", "_bench", "_post", "_send", "cli"},
)
"""From the ground up, by module or by folder. On its own floor a module imports only what begins with an underscore."""
FAMILIES = ("clients", "dialects", "executors", "integrations", "stores")
SHARED = {"executors/futures": {"executors/threads"}, "dialects/graph": {"dialects/odata"}, "integrations/sqlalchemy": {"integrations/flask"}}
"""Members of a family that another member builds on."""
OPTIONAL = {
    "bottle",
    "dask",
    "django",
    "falcon",
    "flask",
    "gevent",
    "gunicorn",
    "httpx",
    "httpx2",
    "jsonpath",
    "paste",
    "pyramid",
    "redis",
    "requests",
    "rich",
    "sqlalchemy",
    "waitress",
}


def floor(module: str) -> int:
    [found] = [number for number, names in enumerate(FLOORS) if names & {module, module.partition("/")[0]}]
    return found


def imports(module: str) -> Iterator[str]:
    """The modules and families of this package that *module* imports."""
    for node in ast.walk(ast.parse((ROOT / f"{module}.py").read_text())):
        if isinstance(node, ast.ImportFrom) and (node.level or (node.module or "").partition(".")[0] == "wsgibatch"):
            base = module.split("/")[: -node.level] if node.level else []
            base += [part for part in (node.module or "").split(".") if part not in ("", "wsgibatch")]
            for name in node.names:
                longer = "/".join([*base, name.name])
                found = longer if longer in MODULES or (ROOT / longer).is_dir() else "/".join(base)
                if found:
                    yield found


@pytest.mark.parametrize("module", MODULES)
def test_a_module_stands_on_a_floor_and_imports_lower_ones_only(module: str) -> None:
    home = module.partition("/")[0]
    for imported in imports(module):
        place, _, inside = imported.partition("/")
        if place != home or place.startswith("_"):
            assert floor(imported) < floor(module) or (floor(imported) == floor(module) and place.startswith("_")), imported
        elif home in FAMILIES and module != f"{home}/auto":
            assert inside.startswith("_") or module in SHARED.get(imported, ()), imported


@pytest.mark.parametrize("module", MODULES)
def test_nothing_is_imported_inside_a_function_but_what_is_optional(module: str) -> None:
    for function in ast.walk(ast.parse((ROOT / f"{module}.py").read_text())):
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
            for node in ast.walk(function):
                if isinstance(node, ast.Import | ast.ImportFrom):
                    names = [node.module or ""] if isinstance(node, ast.ImportFrom) else [alias.name for alias in node.names]
                    assert {name.partition(".")[0] for name in names} <= OPTIONAL, f"line {node.lineno}"


def test_no_modules_import_each_other_in_a_circle() -> None:
    left = {module: {imported for imported in imports(module) if imported in MODULES} for module in MODULES}
    while free := {module for module, imported in left.items() if not imported & left.keys()}:
        left = {module: imported for module, imported in left.items() if module not in free}
    assert left == {}


@pytest.mark.parametrize("module", MODULES)
def test_a_module_is_read_in_one_sitting(module: str) -> None:
    assert len((ROOT / f"{module}.py").read_text().splitlines()) <= 350


def test_importing_the_package_imports_nothing_optional_and_starts_no_thread() -> None:
    code = "import sys, threading; before = set(sys.modules); import wsgibatch; print(*set(sys.modules) - before, threading.active_count())"

    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    *imported, threads = ended.stdout.split()
    assert not OPTIONAL & {name.partition(".")[0] for name in imported}
    assert threads == "1"


def test_importing_the_package_warns_of_nothing() -> None:
    ended = subprocess.run([sys.executable, "-X", "dev", "-W", "error", "-c", "import wsgibatch"], capture_output=True, text=True, check=False)

    assert (ended.returncode, ended.stderr) == (0, "")
