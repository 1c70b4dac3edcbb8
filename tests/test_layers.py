from __future__ import annotations

import ast
import subprocess
import sys
import tomllib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("search", "trainables", "models", "tasks", "strategies", "spaces")
FILES = sorted(
    path for folder in (*PACKAGES, "benchmarks", "tests") for path in (ROOT / folder).rglob("*.py")
)
DRAWERS = {"utils", "util", "common", "core", "helpers", "misc"}


def imported(path: Path) -> Iterator[str]:
    """The full names of the modules a file imports, wherever in the file."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module


def test_imports_go_down_the_layers_only() -> None:
    pytest.importorskip("importlinter")
    command = "import sys; from importlinter.cli import lint_imports; sys.exit(lint_imports())"
    run = subprocess.run(
        [sys.executable, "-c", command], cwd=ROOT, capture_output=True, text=True, timeout=120
    )
    assert run.returncode == 0, run.stdout + run.stderr


def test_outside_search_only_distributions_of_optuna_are_imported() -> None:
    found = {
        (str(path.relative_to(ROOT)), module)
        for path in FILES
        if path.relative_to(ROOT).parts[0] in set(PACKAGES) - {"search"}
        for module in imported(path)
        if module.split(".")[0] == "optuna" and module != "optuna.distributions"
    }
    assert not found


def test_no_file_of_tests_or_benchmarks_is_longer_than_400_lines_and_no_function_than_60() -> None:
    """Product code has closer limits, in `test_readability.py`."""
    long = []
    for path in FILES:
        if path.relative_to(ROOT).parts[0] in PACKAGES:
            continue
        source = path.read_text()
        long += [path.name] * (len(source.splitlines()) > 400)
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.FunctionDef) and node.end_lineno - node.lineno >= 60:
                long.append(f"{path.name}: {node.name}")
    assert not long


def constants(tree: ast.Module) -> Iterator[str]:
    """Yield the constants that a module assigns, once for each time; `+=` extends one."""
    for node in tree.body:
        bound = node.targets if isinstance(node, ast.Assign) else []
        bound += [node.target] if isinstance(node, ast.AnnAssign) else []
        for target in bound:
            yield from (
                n.id for n in ast.walk(target) if isinstance(n, ast.Name) and n.id.isupper()
            )


def test_no_module_binds_a_constant_twice() -> None:
    twice = {
        (str(path.relative_to(ROOT)), name)
        for path in FILES
        for name, count in Counter(constants(ast.parse(path.read_text()))).items()
        if count > 1
    }
    assert not twice


def test_no_module_is_a_drawer() -> None:
    names = {path: {path.stem, path.parent.name} & DRAWERS for path in FILES}
    assert not {path for path, found in names.items() if found}


def test_every_package_is_installed() -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]
    assert {f"{package}*" for package in PACKAGES} == set(settings["packages"]["find"]["include"])
    folders = {path.parent for path in FILES if path.relative_to(ROOT).parts[0] in PACKAGES}
    assert not [folder for folder in folders if not (folder / "__init__.py").is_file()]
