"""Measure how readable the tree is: `python -m tests.readability [FOLDER ...]`, `--list` for each fault.

The bars are those that `tests/test_readability.py` holds. Words are judged by their first one: a
function's docstring opens with an imperative from `verbs.txt`; those of classes, attributes,
properties and modules name a thing.
"""

from __future__ import annotations

import argparse
import ast
import graphlib
import itertools
import re
import statistics
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).parents[1]
PACKAGES = ("search", "trainables", "strategies", "models", "tasks", "spaces")
VERBS = frozenset((Path(__file__).parent / "verbs.txt").read_text().split())
CLAUSES = frozenset("what which whether of that".split())
"""First words of a clause that hangs in the air: at most `MOST_CLAUSES` of all docstrings."""
NO_NOUN = CLAUSES | frozenset(
    "who whose whom how where when while why if as by in on at for from to with without than then because "
    "since until unless it its he she they them their this these those such so and or but not is are was "
    "were be been has have had does do did may must can could would should one's likewise else".split()
)
"""Words that no noun phrase begins with."""

LEAST_OPENED, MOST_CLAUSES, MOST_LONG = 0.90, 0.01, 0.01
MOST_WORDS, MOST_LINES, MOST_FUNCTION_LINES = 25, 300, 50
MOST_MEDIAN_LINES, MOST_MODULES = 110, 15
CROWDED = {"strategies"}
"""Folders that may hold more modules: one file a strategy."""


@dataclass
class Room:
    """Counts and faults of one package, or of the whole tree."""

    docstrings: int = 0
    sentences: int = 0
    lines: list[int] = field(default_factory=list)
    """Lines of each file."""
    unopened: list[str] = field(default_factory=list)
    clauses: list[str] = field(default_factory=list)
    long_sentences: list[str] = field(default_factory=list)
    long_files: list[str] = field(default_factory=list)
    long_functions: list[str] = field(default_factory=list)

    @property
    def opened(self) -> float:
        """Share of docstrings that open as they should."""
        return 1 - len(self.unopened) / max(1, self.docstrings)

    @property
    def clause_share(self) -> float:
        """Share of docstrings that open with a clause."""
        return len(self.clauses) / max(1, self.docstrings)

    @property
    def long_share(self) -> float:
        """Share of sentences of more than `MOST_WORDS` words."""
        return len(self.long_sentences) / max(1, self.sentences)


def files(folders: Sequence[str] = PACKAGES) -> list[Path]:
    """Return the Python files below some folders of the checkout."""
    return sorted(path for folder in folders for path in (ROOT / folder).rglob("*.py"))


def measure(paths: Sequence[Path]) -> Room:
    """Measure some files together."""
    room = Room()
    for path in paths:
        source, place = path.read_text(), str(path.relative_to(ROOT))
        tree = ast.parse(source)
        count = len(source.splitlines())
        if path.name != "__init__.py":
            room.lines.append(count)
        if count > MOST_LINES:
            room.long_files.append(f"{place}: {count} lines")
        room.long_functions += [f"{place}: {text}" for text in long_functions(tree)]
        for kind, line, text in docstrings(tree):
            judge(room, f"{place}:{line}", kind, text)
    return room


def judge(room: Room, place: str, kind: str, text: str) -> None:
    """Add one docstring to the counts of a room."""
    shown = f"{place}: {text.splitlines()[0] if text else '(empty)'}"
    room.docstrings += 1
    first = first_word(text)
    if first in CLAUSES:
        room.clauses.append(shown)
    # A unit or formula in front ("Seconds: ...") is a noun, too.
    if not (first in VERBS if kind == "function" else first not in NO_NOUN):
        room.unopened.append(shown)
    for sentence in sentences(text):
        room.sentences += 1
        if len(words(sentence)) > MOST_WORDS:
            room.long_sentences.append(f"{place}: {len(words(sentence))} words: {sentence[:90]}")


def docstrings(tree: ast.Module) -> Iterator[tuple[str, int, str]]:
    """Yield (kind, line, text) of every docstring, those of attributes and constants included."""
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            text = ast.get_docstring(node)
            if text is not None:
                kind = "function" if is_plain_function(node) else "thing"
                yield kind, node.body[0].lineno, text
        if isinstance(node, ast.Module | ast.ClassDef) and isinstance(body, list):
            for before, after in itertools.pairwise(body):
                bound = isinstance(before, ast.Assign | ast.AnnAssign)
                if bound and isinstance(after, ast.Expr) and is_text(after.value):
                    yield "thing", after.lineno, str(ast.literal_eval(after.value))


def is_plain_function(node: ast.AST) -> bool:
    """Return whether a node is a function that is called as one: a property reads as an attribute."""
    if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
        return False
    decorators = {ast.unparse(d).split("(")[0].split(".")[-1] for d in node.decorator_list}
    return not decorators & {"property", "cached_property"}


def is_text(node: ast.expr) -> bool:
    """Return whether a node is a string constant."""
    return isinstance(node, ast.Constant) and isinstance(node.value, str)


def first_word(text: str) -> str:
    """Return the first word of a docstring in lower case."""
    found = re.search(r"[A-Za-z][A-Za-z'-]*", text)
    return found[0].lower() if found else ""


def sentences(text: str) -> list[str]:
    """Split a docstring into sentences; bullets, headings and indented formulas stand apart."""
    prose = re.sub(r"(?m)^( {4,}|\t).*$", "\n\n", text)
    blocks = re.split(r"\n\s*\n|\n(?=\s*[-*|] )", prose)
    joined = (re.sub(r"\s+", " ", block).strip() for block in blocks)
    return [
        s for block in joined if block for s in re.split(r"(?<=[.!?:;])\s+(?=[A-Z`\"'(\d-])", block)
    ]


def words(sentence: str) -> list[str]:
    """Return the words of a sentence; code in backticks counts as one."""
    return re.findall(r"[A-Za-z][\w'./-]*", re.sub(r"`[^`]*`", "code", sentence))


def long_functions(tree: ast.Module) -> list[str]:
    """Return the functions of more than `MOST_FUNCTION_LINES` lines."""
    return [
        f"{node.name}: {node.end_lineno - node.lineno + 1} lines"
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and node.end_lineno is not None
        and node.end_lineno - node.lineno + 1 > MOST_FUNCTION_LINES
    ]


def crowded_folders() -> list[str]:
    """Return the folders that hold more than `MOST_MODULES` modules side by side."""
    counts: dict[str, int] = {}
    for path in files():
        if path.name != "__init__.py":
            folder = str(path.parent.relative_to(ROOT))
            counts[folder] = counts.get(folder, 0) + 1
    return [f"{f}: {n} modules" for f, n in counts.items() if n > MOST_MODULES and f not in CROWDED]


def module_name(path: Path) -> str:
    """Return the dotted name that a file is imported by."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def import_graph() -> Mapping[str, set[str]]:
    """Return the modules that each module imports, wherever in the file it does."""
    modules = {module_name(path): path for path in files()}
    graph: dict[str, set[str]] = {}
    for name, path in modules.items():
        graph[name] = set()
        for node in ast.walk(ast.parse(path.read_text())):
            for imported in imported_modules(node):
                if imported in modules and imported != name:
                    graph[name].add(imported)
    return graph


def imported_modules(node: ast.AST) -> Iterator[str]:
    """Yield the dotted names that an import statement may mean."""
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom) and node.module:
        yield node.module
        yield from (f"{node.module}.{alias.name}" for alias in node.names)


def import_circle() -> list[str]:
    """Return one circle of imports, or nothing."""
    try:
        graphlib.TopologicalSorter(import_graph()).prepare()
    except graphlib.CycleError as error:
        return list(error.args[1])
    return []


def row(name: str, room: Room) -> str:
    """Return a package's line of the table."""
    return (
        f"{name:<12} {len(room.lines):>5} {statistics.median(room.lines or [0]):>7.0f} "
        f"{max(room.lines, default=0):>5} {sum(room.lines):>6} {room.docstrings:>10} {room.opened:>8.1%} "
        f"{room.clause_share:>8.1%} {room.long_share:>8.1%} {len(room.long_functions):>9}"
    )


def main() -> int:
    """Print the table, and with `--list` every fault."""
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument("folders", nargs="*", help="folders or files (default: every package)")
    p.add_argument("--list", action="store_true", help="print every fault")
    args = p.parse_args()
    named = [ROOT / folder for folder in args.folders]
    chosen = [
        p for path in named for p in ([path] if path.is_file() else sorted(path.rglob("*.py")))
    ]
    print("package      files  median   max  lines docstrings   opened  clauses   >25 w.  >50-line")
    if not named:
        for package in PACKAGES:
            print(row(package, measure(files([package]))))
    whole = measure(chosen or files())
    print(row("all", whole))
    print(f"circle: {' -> '.join(import_circle()) or 'none'}")
    print(f"crowded folders: {', '.join(crowded_folders()) or 'none'}")
    if args.list:
        for name in ("unopened", "clauses", "long_sentences", "long_files", "long_functions"):
            faults = getattr(whole, name)
            print(f"\n{name} ({len(faults)})", *faults, sep="\n  ")
    return 0


if __name__ == "__main__":
    sys.exit(main())
