"""CONTRIBUTING.md's example of a new strategy, followed in a copy of the checkout and outside it."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
COPIED = ("search", "trainables", "strategies", "spaces", "tests", "docs")
LINKED = ("models", "tasks", "pyproject.toml")
CONTRACT = ("tests/strategies/test_strategy_knobs.py", "tests/test_strategies.py")


def text() -> str:
    return (ROOT / "CONTRIBUTING.md").read_text()


def example(file: str) -> str:
    """Return the code of the page's example called `file`."""
    found = re.search(rf"```python\n# {re.escape(file)}\n(.*?)```", text(), re.DOTALL)
    assert found
    return found[1]


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """Copy the checkout and follow the steps of the page, unless they were followed here."""
    for name in COPIED:
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in LINKED:
        (tmp_path / name).symlink_to(ROOT / name)
    shutil.copy(ROOT / "README.md", tmp_path / "README.md")
    (tmp_path / "strategies" / "l2.py").write_text(example("strategies/l2.py"))
    table = tmp_path / "strategies" / "__init__.py"
    source = table.read_text()
    if "import L2\n" not in source:
        source, count = re.subn(r"(for s in \([^)]*?),?\s*\)", r"\1, L2)", source)
        assert count == 1
        importing = "from strategies.joint import Joint\n"
        assert importing in source
        source = source.replace(importing, importing + "from strategies.l2 import L2\n")
        table.write_text(source)
    printed(tmp_path, "strategies", "--write")
    return tmp_path


def printed(folder: Path, *command: str, root: Path | None = None) -> str:
    """Return the output of a module run in `folder`; it must succeed."""
    run = subprocess.run(
        [sys.executable, "-m", *command],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(root or folder), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert run.returncode == 0, run.stdout[-4000:] + run.stderr[-2000:]
    return run.stdout


def passed(output: str) -> int:
    """Return the number of tests that passed, if none failed."""
    found = re.search(r"(\d+) passed", output)
    assert found
    assert "failed" not in output
    return int(found[1])


def test_the_example_is_known_by_its_name_alone_and_in_compositions(checkout: Path) -> None:
    page = printed(checkout, "strategies", "l2", "replay+l2")
    assert (
        "| `strength` | 0.01 | [0.0001, 10, log] or 0 (off) | yes | weight of the penalty |" in page
    )
    assert "| `l2_strength` |" in page


def test_the_page_and_the_readme_have_the_example(checkout: Path) -> None:
    printed(
        checkout, "pytest", "tests/strategies/test_strategies_page.py", "-p", "no:cacheprovider"
    )
    assert "| `l2` | Penalise every change" in (checkout / "README.md").read_text()
    assert "\n## l2\n" in (checkout / "docs" / "strategies.md").read_text()


@pytest.mark.slow
def test_the_contract_of_all_strategies_holds_for_the_example(checkout: Path) -> None:
    out = printed(checkout, "pytest", *CONTRACT, "-k", "l2", "-p", "no:cacheprovider")
    assert passed(out) >= 20


@pytest.fixture
def elsewhere(tmp_path: Path) -> Path:
    """Write the example and the page's test of it into a folder outside the checkout."""
    (tmp_path / "mine.py").write_text(
        re.sub(r"\bL2\(", "Mine(", example("strategies/l2.py")).replace('"l2"', '"mine"')
    )
    (tmp_path / "test_mine.py").write_text(example("test_mine.py"))
    return tmp_path


def test_the_declaration_of_a_strategy_outside_the_checkout_is_tested(elsewhere: Path) -> None:
    chosen = ["-k", "docstring or defaults or effective or switched_off_no_knob or name"]
    out = printed(elsewhere, "pytest", "-q", *chosen, "-p", "no:cacheprovider", root=ROOT)
    assert passed(out) >= 5


@pytest.mark.slow
def test_the_whole_contract_holds_for_a_strategy_outside_the_checkout(elsewhere: Path) -> None:
    out = printed(elsewhere, "pytest", "-q", "-p", "no:cacheprovider", root=ROOT)
    assert passed(out) >= 16


@pytest.mark.slow
def test_a_strategy_outside_the_checkout_that_breaks_the_contract_fails(elsewhere: Path) -> None:
    mine = elsewhere / "mine.py"
    mine.write_text(mine.read_text().replace(" if context.before and self.strength else {}", "", 1))
    with pytest.raises(AssertionError, match="effective_knobs_are_its_own"):
        printed(elsewhere, "pytest", "-q", "-k", "effective", "-p", "no:cacheprovider", root=ROOT)
