"""CONTRIBUTING.md's example of a new strategy: one file, one name, and it is under the contract."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
COPIED = ("search", "trainables", "strategies", "spaces", "tests")
LINKED = ("models", "tasks", "pyproject.toml", "docs")


def example() -> str:
    """The code of the example."""
    found = re.search(r"```python\n# strategies/l2.py\n(.*?)```", text(), re.DOTALL)
    assert found
    return found[1]


def text() -> str:
    return (ROOT / "CONTRIBUTING.md").read_text()


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """Another checkout, in which the steps of the page have been followed."""
    for name in COPIED:
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in LINKED:
        (tmp_path / name).symlink_to(ROOT / name)
    (tmp_path / "strategies" / "l2.py").write_text(example())
    table = tmp_path / "strategies" / "__init__.py"
    named = table.read_text().replace("LwF, EProj)", "LwF, EProj, L2)")
    imported = named.replace(
        "from strategies.lwf import LwF\n",
        "from strategies.l2 import L2\nfrom strategies.lwf import LwF\n",
    )
    assert "L2)" in named
    assert imported != named
    table.write_text(imported)
    return tmp_path


def said(checkout: Path, *command: str) -> str:
    """What a command in that checkout prints; it must succeed."""
    run = subprocess.run(
        [sys.executable, "-m", *command],
        cwd=checkout,
        env={**os.environ, "PYTHONPATH": str(checkout), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert run.returncode == 0, run.stdout[-4000:] + run.stderr[-2000:]
    return run.stdout


def test_the_example_is_known_by_its_name_alone_and_in_compositions(checkout: Path) -> None:
    page = said(checkout, "strategies", "l2", "replay+l2")
    assert "| `strength` | 0.01 | [0.0001, 10, log] or 0 (off) | yes | of the penalty |" in page
    assert "| `l2_strength` |" in page


@pytest.mark.slow
def test_the_contract_of_all_strategies_holds_for_the_example(checkout: Path) -> None:
    files = ("tests/strategies/test_strategy_knobs.py", "tests/test_strategies.py")
    out = said(checkout, "pytest", *files, "-k", "l2", "-p", "no:cacheprovider")
    passed = re.search(r"(\d+) passed", out)
    assert passed
    assert int(passed[1]) >= 12
    assert "failed" not in out
