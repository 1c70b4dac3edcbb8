"""Private attributes of Ray, Optuna, torch and other libraries are used only where `ALLOWED` says why."""

from __future__ import annotations

import ast
import functools
import importlib
import inspect
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.readability import ROOT, files, module_name

ALLOWED = {
    "models/frozen.py": {
        "_forward_pre_hooks": "torch lists no hooks: those of ZeRO-3 are put aside and put back",
        "_forward_hooks": "as above",
    },
    "models/processors.py": {
        "_get_arguments_from_pretrained": "transformers loads a processor's parts only here: that "
        "for videos is left out where torchvision is not installed"
    },
    "search/cli.py": {
        "_ArgumentGroup": "argparse has no other name for what `add_argument_group` returns; a type only"
    },
    "search/resources/cluster.py": {
        "ray._private.authentication.authentication_token_setup": "Ray refreshes its cached settings only "
        "here: an existing token is not used otherwise",
        "ray._private.services": "the address that `ray start` wrote has no public reader; "
        '`ray.init("auto")` also joins the Ray of another search',
    },
    "search/interruption.py": {
        "_exit": "Ray's exit handlers abort after its processes have ended; public in spite of its name"
    },
    "search/resources/ray_start.py": {
        "ray._private": "the switch that keeps Ray on the loopback interface is a constant there"
    },
    "search/resources/ray_watch.py": {
        "ray._private.worker": "Ray tells nobody that its own processes have died",
        "_global_node": "as above: it holds the processes that `ray.init` started",
    },
    "spaces/command_line.py": {
        "_option_string_actions": "argparse lists a parser's flags nowhere else"
    },
    "tasks/user_data/processes.py": {
        "_exit": "a thread ends its process so: `sys.exit` would end the thread alone; public in spite of "
        "its name"
    },
    "trainables/lanes/loopback.py": {
        "_TorchBackend": "Ray Train lets nobody choose how ranks meet; its way opens a port to everybody",
        "_set_torch_distributed_env_vars": "as above: the part that stays",
        "_setup_torch_process_group": "as above: it takes another meeting point",
    },
}
"""Private names of libraries by file, each with the reason for its use."""
NAMED_TUPLE = {"_asdict", "_replace", "_make", "_fields", "_field_defaults"}
"""Public methods of named tuples, in spite of their names."""
BUILT_APART = {"tasks/mini/arrays.py"}
"""Files that import what only the extra `build` installs."""
OWN = ("search", "trainables", "strategies", "models", "tasks", "spaces")


class Use(NamedTuple):
    """One use of a private name."""

    file: str
    name: str


def is_private(name: str) -> bool:
    return name.startswith("_") and not name.startswith("__") and name not in NAMED_TUPLE


def place(path: Path) -> str:
    return str(path.relative_to(ROOT))


@functools.cache
def trees() -> dict[str, ast.Module]:
    return {place(path): ast.parse(path.read_text()) for path in files()}


def defined(tree: ast.AST) -> set[str]:
    """Return the private names that a module or class defines: functions, classes, fields and variables."""
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            names.add(node.id)
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store) and is_self(node):
            names.add(node.attr)
    return names


def is_self(node: ast.Attribute) -> bool:
    return isinstance(node.value, ast.Name) and node.value.id in ("self", "cls")


def is_super(node: ast.Attribute) -> bool:
    return isinstance(node.value, ast.Call) and ast.unparse(node.value.func) == "super"


@functools.cache
def classes() -> dict[str, ast.ClassDef]:
    return {
        node.name: node
        for tree in trees().values()
        for node in ast.walk(tree)
        if isinstance(node, ast.ClassDef)
    }


def bases(node: ast.ClassDef) -> list[str]:
    """Return the names of a class's bases, without their modules and parameters."""
    return [re.split(r"[\[(]", ast.unparse(base))[0].split(".")[-1] for base in node.bases]


def family(node: ast.ClassDef) -> Iterator[ast.ClassDef]:
    """Yield a class of this project and its ancestors in this project."""
    yield node
    for base in bases(node):
        if base in classes():
            yield from family(classes()[base])


def uses(file: str, tree: ast.Module) -> Iterator[Use]:
    """Yield the uses of private names that neither the module nor its classes define."""
    own = defined(tree)
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (Use(file, a.name) for a in node.names if private_module(a.name))
        elif isinstance(node, ast.ImportFrom) and node.module:
            if private_module(node.module):
                yield Use(file, node.module)
            yield from (Use(file, a.name) for a in node.names if is_private(a.name))
        elif isinstance(node, ast.Attribute) and is_private(node.attr):
            if not is_self(node) and node.attr not in own:
                yield Use(file, node.attr)
        elif isinstance(node, ast.Call) and ast.unparse(node.func) in ("getattr", "setattr"):
            name = node.args[1]
            if isinstance(name, ast.Constant) and is_private(str(name.value)):
                yield Use(file, str(name.value))
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef):
            own_names, *inherited = map(defined, family(node))
            for inner in ast.walk(node):
                if not isinstance(inner, ast.Attribute) or not is_private(inner.attr):
                    continue
                known = set().union(*inherited, own_names if is_self(inner) else ())
                if (is_self(inner) or is_super(inner)) and inner.attr not in known:
                    yield Use(file, inner.attr)


def private_module(name: str) -> bool:
    return any(map(is_private, name.split(".")))


def test_private_names_of_libraries_are_used_only_where_a_reason_is_given() -> None:
    found = {use for file, tree in trees().items() for use in uses(file, tree)}
    allowed = {Use(file, name) for file, names in ALLOWED.items() for name in names}
    assert not found - allowed, "public code of 30 lines would do, or a reason in ALLOWED"
    assert not allowed - found, "no longer used: remove it from ALLOWED"


def test_no_attribute_of_a_class_hides_a_private_one_of_its_library_base() -> None:
    hidden = []
    for file, tree in trees().items():
        for node in tree.body:
            if not isinstance(node, ast.ClassDef) or set(bases(node)) <= {*classes(), "Protocol"}:
                continue
            private = {name for name in defined(node) if is_private(name)}
            if private and file not in BUILT_APART:
                cls = getattr(importlib.import_module(module_name(ROOT / file)), node.name)
                hidden += [(file, node.name, name) for name in private & library_names(cls)]
    assert not hidden


def library_names(cls: type) -> set[str]:
    """Return the private names in the source of a class's bases outside this project."""
    foreign = [b for b in cls.__mro__ if b.__module__.split(".")[0] not in (*OWN, "builtins")]
    names: set[str] = set()
    for base in foreign:
        try:
            source = inspect.getsource(base)
        except (OSError, TypeError):  # written in C
            continue
        names |= {a or b for a, b in re.findall(r"(?:self|cls)\.(_\w+)|def (_\w+)", source)}
    return names


def test_the_names_of_every_class_are_told_apart() -> None:
    """`family` finds bases by their names alone, so no two classes may share the name of a base."""
    counts = Counter(
        node.name
        for tree in trees().values()
        for node in ast.walk(tree)
        if isinstance(node, ast.ClassDef)
    )
    bases_used = {base for node in classes().values() for base in bases(node)}
    assert not [name for name, count in counts.items() if count > 1 and name in bases_used]


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("import ray._private.services", {"ray._private.services"}),
        ("from ray._raylet import Config", {"ray._raylet"}),
        ("def f(trial): return trial._trial_id", {"_trial_id"}),
        ("def f(trial): setattr(trial, '_state', 1)", {"_state"}),
        ("class A(Searcher):\n def f(self): return self._metric", {"_metric"}),
        ("class A(Searcher):\n def f(self): self._own = 1; return self._own", set()),
        ("class A:\n _x = 1\ndef f(a): return a._x", set()),
        ("def f(base):\n class A(base):\n  def _x(self): return super()._x()", {"_x"}),
        ("class A:\n def _x(self): pass\nclass B(A):\n def _x(self): super()._x()", set()),
        ("def f(row): return row._asdict(), row.__dict__", set()),
    ],
)
def test_a_use_of_a_private_name_is_found(
    source: str, found: set[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    tree = ast.parse(source)
    known = {n.name: n for n in ast.walk(tree) if isinstance(n, ast.ClassDef)}
    monkeypatch.setattr(f"{__name__}.classes", lambda: known)
    assert {use.name for use in uses("here.py", tree)} == found
