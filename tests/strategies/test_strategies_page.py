from __future__ import annotations

from pathlib import Path

import pytest

from strategies import STRATEGIES
from strategies.__main__ import main, page, table, write
from strategies.strategy import Strategy

ROOT = Path(__file__).parents[2]


def test_docs_strategies_is_written_from_the_classes() -> None:
    """Compare with the classes; `python -m strategies --write` writes it again."""
    assert (ROOT / "docs" / "strategies.md").read_text().rstrip() == page(list(STRATEGIES)).rstrip()


def test_the_readme_has_the_table_of_the_classes() -> None:
    """Compare with the classes; `python -m strategies --write` writes it again."""
    assert table(list(STRATEGIES)) in (ROOT / "README.md").read_text()


def test_a_row_has_the_first_sentence_without_its_paper_and_the_searched_knobs() -> None:
    row = table(["replay"]).splitlines()[2]
    assert row == (
        "| `replay` | Train a share of every earlier task again with the new task | `ratio` |"
    )


def test_writing_replaces_the_table_and_nothing_else_of_the_readme(tmp_path: Path) -> None:
    readme = (ROOT / "README.md").read_text()
    (tmp_path / "docs").mkdir()
    row = table(["ewc"]).splitlines()[2] + "\n"
    assert row in readme
    (tmp_path / "README.md").write_text(readme.replace(row, ""))
    write(tmp_path)
    assert (tmp_path / "README.md").read_text() == readme
    assert (tmp_path / "docs" / "strategies.md").read_text() == page(list(STRATEGIES))


def test_an_unknown_strategy_is_named_with_status_2(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--table", "ewk"]) == 2
    assert 'unknown strategy "ewk"' in capsys.readouterr().err


def test_every_hook_has_a_docstring() -> None:
    hooks = [value for name, value in vars(Strategy).items() if not name.startswith("_")]
    assert all(hook.__doc__ for hook in hooks if callable(hook))
