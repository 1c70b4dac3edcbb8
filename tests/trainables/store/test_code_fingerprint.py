"""Mutants of every module that can change a stage: each changes a key, and words change none."""

from __future__ import annotations

import ast
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from strategies import STRATEGIES
from trainables.store.code_fingerprint import EXCLUDED, ROOT, code_fingerprint, import_closure
from trainables.store.stage_keys import RANK_MODULE

PACKAGES = ("trainables", "strategies", "models", "tasks", "spaces")
MODULES = {name: cls.__module__ for name, cls in STRATEGIES.items()}
CLOSURE = sorted({*import_closure(RANK_MODULE), *import_closure(*MODULES.values())})
SWAPS: dict[type[ast.AST], type[ast.AST]] = {
    **{ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult},
    **{ast.FloorDiv: ast.Mult, ast.Mod: ast.Mult, ast.BitOr: ast.BitAnd, ast.Pow: ast.Mult},
    **{ast.Lt: ast.GtE, ast.LtE: ast.Gt, ast.Gt: ast.LtE, ast.GtE: ast.Lt},
    **{ast.Eq: ast.NotEq, ast.NotEq: ast.Eq, ast.Is: ast.IsNot, ast.IsNot: ast.Is},
    **{ast.In: ast.NotIn, ast.NotIn: ast.In, ast.And: ast.Or, ast.Or: ast.And},
}


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the code."""
    root = tmp_path_factory.mktemp("tree")
    for package in PACKAGES:
        for file in (ROOT / package).rglob("*.py"):
            copy = root / file.relative_to(ROOT)
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, copy)
    return root


def file_of(module: str, root: Path) -> Path:
    path = root / module.replace(".", "/")
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


def keys(root: Path) -> dict[str, str]:
    """The fingerprint of the rank's code, and that of each strategy."""
    named = {name: code_fingerprint([module], root=root) for name, module in MODULES.items()}
    return {"rank": code_fingerprint([RANK_MODULE], root=root), **named}


def changed(root: Path, module: str, edit: Callable[[str], str]) -> set[str]:
    """Edit a module; returns the keys that change, and undoes the edit."""
    file = file_of(module, root)
    source = file.read_text()
    assert edit(source) != source, f"{module} was not edited"
    file.write_text(edit(source))
    try:
        return {name for name, key in keys(root).items() if key != BEFORE[name]}
    finally:
        file.write_text(source)


class FirstPlace(ast.NodeTransformer):
    """Change the first number, comparison or operator of a module."""

    done = False

    def visit(self, node: ast.AST) -> ast.AST:
        if self.done:
            return node
        if isinstance(node, ast.Constant) and isinstance(node.value, int | float):
            self.done = True
            value = not node.value if isinstance(node.value, bool) else node.value + 1
            return ast.copy_location(ast.Constant(value), node)
        if isinstance(node, ast.Compare):
            node.ops[0] = self.swapped(node.ops[0])
        elif isinstance(node, ast.BinOp | ast.BoolOp) and not self.done:
            node.op = self.swapped(node.op)
        return node if self.done else self.generic_visit(node)

    def swapped(self, operator: ast.AST) -> ast.AST:
        self.done = type(operator) in SWAPS
        return SWAPS[type(operator)]() if self.done else operator


def mutant(source: str) -> str:
    """The source with one place changed that can alter results; the same where there is none."""
    tree, place = ast.parse(source), FirstPlace()
    for index, statement in enumerate(tree.body):
        if not isinstance(statement, ast.Import | ast.ImportFrom) and not place.done:
            tree.body[index] = place.visit(statement)
    return ast.unparse(tree) if place.done else source


def has_mutant(module: str) -> bool:
    source = file_of(module, ROOT).read_text()
    return mutant(source) != source


BEFORE = keys(ROOT)
MUTANTS = list(filter(has_mutant, CLOSURE))


def test_a_mutant_of_each_module_changes_the_keys_of_the_stages_it_acts_in(
    tree: Path, record_property: Callable[[str, object], None]
) -> None:
    of_rank = import_closure(RANK_MODULE)
    edits = {module: changed(tree, module, mutant) for module in MUTANTS}
    live = [m for m, names in edits.items() if not names or (m in of_rank) != ("rank" in names)]
    record_property("mutants", len(MUTANTS))
    print(f"{len(MUTANTS)} mutants of {len(CLOSURE)} modules, {len(live)} live")
    assert not live
    # The others hold names, types or text alone.
    assert len(MUTANTS) > 0.7 * len(CLOSURE)
    assert edits["strategies.lwf"] == {"lwf"}


@pytest.mark.parametrize(
    ("module", "old", "new", "expected"),
    [
        ("spaces.training", "MOST_AT_ONCE = 16", "MOST_AT_ONCE = 8", {"rank", *MODULES}),
        ("strategies.regulariser", "1e8", "1e9", {"ewc", "mas", "tir"}),
    ],
)
def test_an_edit_changes_the_keys_of_the_stages_where_it_acts(
    module: str, old: str, new: str, expected: set[str], tree: Path
) -> None:
    assert changed(tree, module, lambda source: source.replace(old, new)) == expected


@pytest.mark.parametrize("module", ["spaces.loading", "spaces.adapter", "models.location"])
def test_modules_that_a_list_once_missed_are_in_the_keys_of_the_rank(module: str) -> None:
    assert module in import_closure(RANK_MODULE)
    assert {"trainables.config", "tasks.data.benchmark"} <= set(import_closure(RANK_MODULE))


def test_words_comments_and_blank_lines_change_no_key(tree: Path) -> None:
    def reworded(source: str) -> str:
        return source.replace('."""\n', '. Other words."""\n').replace(
            "\n\n\n", "\n\n\n\n# Words.\n"
        )

    for module in CLOSURE:
        file = file_of(module, tree)
        file.write_text(reworded(file.read_text()) + "# The end.\n")
    try:
        assert keys(tree) == BEFORE
    finally:
        for module in CLOSURE:
            shutil.copyfile(file_of(module, ROOT), file_of(module, tree))


def test_a_strategy_more_changes_no_key_of_another(tree: Path) -> None:
    def registered(source: str) -> str:
        added = source.replace("from strategies.tir import TIR", "from strategies.x import X")
        return added.replace("TIR, ", "TIR, X, ")

    assert not changed(tree, "strategies", registered)


HOOKS = {
    "def hook(self, gradient: Tensors, step: int) -> Tensors:\n        return gradient": True,
    "def hook(self, gradient: Tensors, step: int) -> Tensors:\n        return {}": False,
    "def hook(self, step: int) -> list[ExampleId]:\n        return []": True,
    "def hook(self, step: int) -> list[ExampleId]:\n        return [step]": False,
    "def hook(self) -> torch.Tensor | None:\n        return None": True,
    "def hook(self) -> dict[str, Value] | None:\n        return {}": False,
    "def hook(self) -> bool:\n        return False": True,
    "def hook(self) -> bool:\n        return True": False,
    "def hook(self) -> None:\n        pass": True,
    "def hook(self) -> None:\n        self.x = 1": False,
    "flag: ClassVar[bool] = False": True,
    "flag: ClassVar[bool] = True": False,
}


@pytest.mark.parametrize("hook", HOOKS)
def test_only_a_hook_that_does_nothing_is_added_without_a_change_of_keys(
    hook: str, tree: Path
) -> None:
    def added(source: str) -> str:
        assert "    def knobs(self)" in source
        return source.replace("    def knobs(self)", f"    {hook}\n\n    def knobs(self)")

    assert (changed(tree, "strategies.strategy", added) == set()) is HOOKS[hook]


def test_a_default_that_no_longer_does_nothing_changes_the_keys(tree: Path) -> None:
    def emptied(source: str) -> str:
        return source.replace("return picks", "return []")

    assert "rank" in changed(tree, "strategies.strategy", emptied)


def test_helpers_beside_a_strategy_outside_the_tree_are_in_its_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "outside_helper.py").write_text("FACTOR = 2\n")
    (tmp_path / "outside.py").write_text(
        "def f():\n    from outside_helper import FACTOR\n    return FACTOR\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    __import__("outside")
    try:
        assert import_closure("outside") == ("outside", "outside_helper")
        before = code_fingerprint(["outside"])
        (tmp_path / "outside_helper.py").write_text("FACTOR = 30\n")
        assert code_fingerprint(["outside"]) != before
    finally:
        sys.modules.pop("outside")


def test_a_helper_in_a_folder_without_init_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "folder_of_helpers").mkdir()
    (tmp_path / "folder_of_helpers" / "one.py").write_text("FACTOR = 2\n")
    (tmp_path / "importing.py").write_text("from folder_of_helpers import one\n")
    monkeypatch.syspath_prepend(tmp_path)
    __import__("importing")
    try:
        assert import_closure("importing") == ("folder_of_helpers.one", "importing")
    finally:
        for module in ("importing", "folder_of_helpers.one", "folder_of_helpers"):
            sys.modules.pop(module)


def test_an_unknown_module_is_an_error() -> None:
    with pytest.raises(ValueError, match='"nowhere" must be a module below'):
        import_closure("nowhere")


def test_versions_of_libraries_are_in_the_key() -> None:
    assert code_fingerprint([RANK_MODULE], ["torch"]) != code_fingerprint([RANK_MODULE])


def test_what_is_excluded_exists() -> None:
    assert all(file_of(module, ROOT).is_file() for module in EXCLUDED)
