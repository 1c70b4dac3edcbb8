"""Changes of the code that proposes and stops trials change search's fingerprint; words do not."""

from __future__ import annotations

import importlib.metadata
import shutil
from pathlib import Path

import pytest

from search.plan.fingerprint import DECIDING, search_code
from tests.readability import PACKAGES, ROOT
from trainables.store.code_fingerprint import import_closure

STOPPING = "search/tuning/stopping.py"
CHANGES = [
    (STOPPING, "(1 - 1 / factor) * 100", "(1 / factor) * 100"),
    (STOPPING, "stage *= factor", "stage += factor"),
    (STOPPING, "first = max(2,", "first = max(1,"),
    (STOPPING, "LEAST_OTHERS = 3", "LEAST_OTHERS = 4"),
    (STOPPING, "LEAST_DEVIATION = 0.02", "LEAST_DEVIATION = 0.03"),
    ("search/tuning/rung_score.py", "LEAST_SHARE = 0.1", "LEAST_SHARE = 0.2"),
    ("search/tuning/stage_scheduler.py", "get(name, 0) + 1", "get(name, 0) + 2"),
    ("search/tuning/searcher.py", "startup = min(10,", "startup = min(9,"),
    ("search/tuning/define_by_run.py", "[:8], 16)", "[:7], 16)"),
]
WORDS = [
    (STOPPING, '"""Median rule (Golovin et al. 2017)', '"""The rule of Golovin et al. (2017)'),
    (
        STOPPING,
        "from __future__ import annotations",
        "from __future__ import annotations  # as ever",
    ),
    ("search/tuning/searcher.py", "# time budget or signal:", "# no time is left:"),
    ("search/report/facts.py", "from __future__", "SOMETHING = 1\nfrom __future__"),
]


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


def edited(root: Path, file: str, old: str, new: str) -> str:
    """Return the fingerprint with one passage replaced, and undo the edit."""
    path = root / file
    source = path.read_text()
    assert source.count(old) == 1, f"{file} must hold {old} once"
    path.write_text(source.replace(old, new))
    try:
        return search_code(root)
    finally:
        path.write_text(source)


@pytest.mark.parametrize(("file", "old", "new"), CHANGES)
def test_a_changed_constant_or_operator_changes_the_fingerprint(
    tree: Path, file: str, old: str, new: str
) -> None:
    assert edited(tree, file, old, new) != search_code(tree)


@pytest.mark.parametrize(("file", "old", "new"), WORDS)
def test_words_and_other_code_do_not_change_the_fingerprint(
    tree: Path, file: str, old: str, new: str
) -> None:
    assert edited(tree, file, old, new) == search_code(tree)


def test_every_module_behind_proposals_and_stops_counts(tree: Path) -> None:
    before, closure = search_code(tree), import_closure(*DECIDING, root=tree)
    assert {"search.plan.reference_runs", "spaces.domains", "trainables.panel"} <= set(closure)
    for module in closure:
        path = tree / module.replace(".", "/")
        path = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
        source = path.read_text()
        path.write_text(f"{source}\nCHANGED = 1\n")
        assert search_code(tree) != before, module
        path.write_text(source)
    assert search_code(tree) == before == search_code()


@pytest.mark.parametrize("library", ["optuna", "ray"])
def test_the_versions_of_the_libraries_count(library: str, monkeypatch: pytest.MonkeyPatch) -> None:
    before, version = search_code(), importlib.metadata.version
    monkeypatch.setattr(
        importlib.metadata, "version", lambda name: "0.1" if name == library else version(name)
    )
    assert search_code() != before
