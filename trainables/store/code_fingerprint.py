"""Fingerprints of code: every module that can change a result, compared without its words.

The modules are found by following imports, not by a list. `from package import name` is followed to
the module that defines the name, so that a package of many does not bring all of them in.
"""

from __future__ import annotations

import ast
import functools
import hashlib
import importlib.metadata
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from trainables.store.digest import digest

ROOT = Path(__file__).parents[2]
EXCLUDED = (
    # Finds a strategy by name; the name, and the code of the strategy, are in each key where it acts.
    "strategies",
    # Decides which process makes a stage and when, never how.
    "trainables.store.leases",
    # Decides when Python collects garbage: seconds, not results.
    "trainables.rank.gc_policy",
)
"""Modules that cannot change a result: neither they nor their imports count."""
BASE_CLASS = "Strategy"
"""Class whose inert hooks do not count; see `_is_inert`."""


def code_fingerprint(
    modules: Sequence[str], libraries: Sequence[str] = (), root: Path = ROOT
) -> str:
    """Return the fingerprint of all code that `modules` import, and of the libraries' versions.

    Comments, docstrings and formatting do not count, nor do inert hooks of the base class `Strategy`.
    """
    folders = _folders(modules, root)
    code = {m: _source(m, folders).digest for m in import_closure(*modules, root=root)}
    return digest(code, {name: importlib.metadata.version(name) for name in libraries})


def import_closure(*modules: str, root: Path = ROOT) -> tuple[str, ...]:
    """Return the modules of this project that `modules` import, directly or not, and themselves.

    Imports in functions count, those under TYPE_CHECKING do not. A module outside `root` that is
    loaded counts too, with those that lie beside it. Raises `ValueError` for an unknown module.
    """
    folders, found, pending = _folders(modules, root), set[str](), list(modules)
    packages: set[str] = set()
    while pending:
        module = pending.pop()
        if module in found or module in EXCLUDED:
            continue
        if _file(module, folders) is None:
            raise ValueError(f'"{module}" must be a module below {root}, or one that is loaded')
        found.add(module)
        # Python runs the packages above a module too; the names that they import are not used here.
        parts = module.split(".")
        packages |= {".".join(parts[:depth]) for depth in range(1, len(parts))}
        for source, name, _ in _source(module, folders).imports:
            imported = _definer(source, name, folders) if name else source
            if _file(imported, folders):
                pending.append(imported)
    with_code = {p for p in packages if _file(p, folders)} - set(EXCLUDED)
    return tuple(sorted(found | with_code))


@dataclass(frozen=True)
class Source:
    """A module's source: the names that it imports, and a digest of its code."""

    imports: tuple[tuple[str, str, str], ...]
    """(module, name or "" for the module itself, local name)."""
    digest: str


def _source(module: str, folders: Sequence[Path]) -> Source:
    file = _file(module, folders)
    assert file is not None, f"{module} has no file"
    stat = file.stat()
    return _parsed(file, module, stat.st_size, stat.st_mtime_ns)


@functools.cache  # parsed once by a process, unless it changes
def _parsed(file: Path, module: str, size: int, mtime_ns: int) -> Source:
    tree = _acting_code(ast.parse(file.read_bytes()))
    package = module if file.name == "__init__.py" else module.rpartition(".")[0]
    imports = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            imports += [(alias.name, "", alias.name) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")[: 1 - node.level or None] if node.level else []
            source = ".".join([*above, *([node.module] if node.module else [])])
            imports += [(source, alias.name, alias.asname or alias.name) for alias in node.names]
    if file.name == "__init__.py":  # its names are followed to the modules that define them
        tree.body = [n for n in tree.body if not isinstance(n, ast.Import | ast.ImportFrom)]
    return Source(tuple(imports), hashlib.sha256(ast.dump(tree).encode()).hexdigest())


def _folders(modules: Sequence[str], root: Path) -> tuple[Path, ...]:
    """Return the folders that modules are looked up in: `root`, then those of modules outside."""
    folders = [root]
    for module in modules:
        file = getattr(sys.modules.get(module), "__file__", None)
        if _file(module, (root,)) is None and file:
            folders.append(Path(file).parents[module.count(".")])
    return tuple(dict.fromkeys(folders))


def _file(module: str, folders: Sequence[Path]) -> Path | None:
    """Return the file of a module or package; None if it is not of this project."""
    relative = module.replace(".", "/")
    for folder in folders:
        for file in (folder / f"{relative}.py", folder / relative / "__init__.py"):
            if file.is_file():
                return file
    return None


def _definer(module: str, name: str, folders: Sequence[Path]) -> str:
    """Return the module that defines what `from module import name` imports."""
    if _file(f"{module}.{name}", folders):
        return f"{module}.{name}"
    if _file(f"{module}.__init__", folders):
        for source, original, local in _source(module, folders).imports:
            if local == name and original and _file(source, folders):
                return _definer(source, original, folders)
    return module


def _acting_code(tree: ast.Module) -> ast.Module:
    """Remove from a syntax tree all that cannot act; returns the same tree."""
    for node in ast.walk(tree):
        for block in ("body", "orelse", "finalbody"):
            statements = getattr(node, block, None)
            if isinstance(statements, list):
                acting = [s for s in statements if not _is_idle(s)]
                setattr(node, block, acting or ([ast.Pass()] if statements else []))
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef) and node.name == BASE_CLASS:
            node.body = [s for s in node.body if not _is_inert(s)]
    return tree


def _is_idle(statement: ast.stmt) -> bool:
    """Return whether a statement never acts: docstrings, `...`, exports, protocols, imports of types."""
    match statement:
        case ast.Expr(ast.Constant()):
            return True
        case ast.Assign([ast.Name("__all__")]):
            return True
        case ast.If(ast.Name("TYPE_CHECKING"), _, []):
            return True
        case ast.ClassDef(bases=[ast.Name("Protocol")]):
            return True
    return False


def _is_inert(statement: ast.stmt) -> bool:
    """Return whether a hook or flag of the base class does nothing, so that adding it changes no key.

    A flag is inert if it is False or "". A hook is inert if it has no statement, only raises
    `NotImplementedError`, or returns the neutral value of its signature. The neutral value is the parameter
    of the returned type (for a tuple, those of its types), else None, False, 0, "" or an empty container.
    Each signature has one, so that a change to another value changes the key.
    """
    match statement:
        case ast.AnnAssign(value=ast.Constant(False | "")):
            return True
        case ast.FunctionDef(body=[ast.Raise(ast.Name("NotImplementedError"))]):
            return True
        case ast.FunctionDef(body=[ast.Pass()]):
            return _text(statement.returns) == "None"
        case ast.FunctionDef(body=[ast.Return(value)]):
            return _text(value) in _neutral(statement)
    return False


def _neutral(hook: ast.FunctionDef) -> tuple[str, ...]:
    """Return the neutral value of a hook's signature, as source; all spellings of it."""
    returned = _text(hook.returns)
    types = {}
    for parameter in hook.args.args[1:]:
        types.setdefault(_text(parameter.annotation), parameter.arg)
    if returned in types:
        return (types[returned],)
    if returned.startswith("tuple[") and isinstance(hook.returns, ast.Subscript):
        parts = getattr(hook.returns.slice, "elts", [])
        if parts and all(_text(part) in types for part in parts):
            return (f"({', '.join(types[_text(part)] for part in parts)})",)
    if "None" in returned:
        return ("None",)
    constants = {"bool": "False", "int": "0", "float": "0.0", "str": "''"}
    return (constants[returned],) if returned in constants else ("[]", "{}", "()")


def _text(node: ast.AST | None) -> str:
    return ast.unparse(node) if node else "None"
