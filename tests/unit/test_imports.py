"""Imports point down the layers only, and importing the package imports no optional driver."""

from __future__ import annotations

import ast
import subprocess
import sys
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

import multistream_asgi

PACKAGE = "multistream_asgi"
ROOT = Path(multistream_asgi.__file__).parent

# A module may import what stands in a lower layer, or in its own as long as no cycle comes of it.
# `brokers` is the package's own `__init__`, which chooses among the brokers.
LAYERS = {
    0: ["types", "errors"],
    1: ["events", "config", "connections", "tasks"],
    2: ["match", "frames", "log", "brokers.base"],
    3: [
        "authorize",
        "brokers",
        "brokers.memory",
        "entities",
        "hub",
        "lifetime",
        "shutdown",
        "source_kinds",
        "sources",
        "viewers",
        "waker",
    ],
    4: ["send", "subscribe"],
    5: ["app"],
    6: ["fasthtml"],
}
LAYER_OF = {module: layer for layer, modules in LAYERS.items() for module in modules}
# These stand beside the layers: they import public names from the package itself, nothing else.
BESIDE = {"testing", "metrics", "inspector", "__main__"}

# Name of a module within the package ("" is `__init__`) -> what it imports from the package.
# Importing a name from `__init__` itself is written "" + "." + name.
Imports = dict[str, set[str]]


def read_imports(root: Path) -> Imports:
    """Every import in every module under `root`: lazy and type-only ones as well."""
    files = {module_name(file.relative_to(root)): file for file in sorted(root.rglob("*.py"))}
    return {
        module: {
            found
            for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
            for target in absolute_targets(node, module, is_package=file.name == "__init__.py")
            if (found := within_package(target, files)) is not None
        }
        for module, file in files.items()
    }


def module_name(file: Path) -> str:
    return ".".join(file.with_suffix("").parts).removesuffix("__init__").removesuffix(".")


def absolute_targets(node: ast.AST, module: str, *, is_package: bool) -> list[str]:
    """The full dotted names which an import statement asks for."""
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom):
        base = node.module or ""
        if node.level:
            here = [PACKAGE, *filter(None, module.split("."))]
            up = node.level - is_package
            base = ".".join([*here[: len(here) - up], *filter(None, [base])])
        return [f"{base}.{alias.name}" for alias in node.names]
    return []


def within_package(target: str, modules: dict[str, Path]) -> str | None:
    """The module that `target` names or is a name in; ".name" for a name of `__init__`."""
    package, _, rest = target.partition(".")
    if package != PACKAGE:
        return None
    parent = rest.rpartition(".")[0]
    if rest in modules:
        return rest
    return parent if parent else f".{rest}"


def problems_of(module: str, imports: set[str]) -> list[str]:
    """What is wrong with the imports of one module, in words."""
    if module == "":
        return []
    if module in BESIDE:
        public = {f".{name}" for name in multistream_asgi.__all__}
        return [f"{module} may import public names only, not {i}" for i in imports - public]
    if module not in LAYER_OF:
        return [f"{module} has no layer: give it one in LAYERS of {Path(__file__).name}"]
    return [
        f"{module} (layer {LAYER_OF[module]}) may not import {i} (layer {LAYER_OF.get(i, 'none')})"
        for i in imports
        if LAYER_OF.get(i, 99) > LAYER_OF[module]
    ]


IMPORTS = read_imports(ROOT)


@pytest.mark.parametrize("module", IMPORTS)
def test_imports_point_down(module: str) -> None:
    assert problems_of(module, IMPORTS[module]) == []


def test_imports_within_a_layer_make_no_cycle() -> None:
    try:
        TopologicalSorter({module: IMPORTS[module] for module in IMPORTS if module}).prepare()
    except CycleError as error:
        pytest.fail(f"a cycle of imports: {' -> '.join(error.args[1])}")


@pytest.mark.parametrize(
    ("module", "imports", "right"),
    [
        ("hub", {"events", "brokers.base", "sources"}, True),
        ("hub", {"send"}, False),
        ("brokers.base", {"brokers.memory"}, False),
        ("app", {".MultiStreamManager"}, False),
        ("app", {"testing"}, False),
        ("newcomer", set(), False),
        ("testing", {".StreamConfig"}, True),
        ("testing", {"hub"}, False),
        ("testing", {"._private"}, False),
    ],
)
def test_the_rule_itself(module: str, imports: set[str], right: bool) -> None:
    assert (problems_of(module, imports) == []) is right


def test_every_form_of_import_is_seen(tmp_path: Path) -> None:
    (tmp_path / "brokers").mkdir()
    for name in ("__init__", "a", "b", "c", "brokers/__init__", "brokers/base"):
        (tmp_path / f"{name}.py").touch()
    (tmp_path / "a.py").write_text(
        "import os, multistream_asgi.b\n"
        "from .brokers.base import Broker\n"
        "from multistream_asgi import Name\n"
        "def lazy():\n    from . import c\n"
    )
    (tmp_path / "brokers" / "memory.py").write_text("from ..c import x\nfrom .base import Broker\n")
    (tmp_path / "brokers" / "__init__.py").write_text("from . import base\nfrom .. import a\n")
    assert read_imports(tmp_path) == {
        "": set(),
        "a": {"b", "brokers.base", "c", ".Name"},
        "b": set(),
        "c": set(),
        "brokers": {"brokers.base", "a"},
        "brokers.base": set(),
        "brokers.memory": {"c", "brokers.base"},
    }


def test_importing_the_package_imports_no_optional_driver() -> None:
    """Not even where it is installed: some change the process they are imported into."""
    drivers = ["fasthtml", "fastcore", "fastapi", "uvicorn", "hypercorn", "trio", "redis", "nats"]
    code = f"import sys, {PACKAGE}; print([m for m in {drivers} if m in sys.modules])"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (result.stdout.strip(), result.stderr) == ("[]", "")
