from __future__ import annotations

from pathlib import Path

import pytest

from strategies import STRATEGIES
from strategies.__main__ import page
from strategies.strategy import Strategy

ROOT = Path(__file__).parents[2]


def test_docs_strategies_is_what_the_classes_say() -> None:
    """`python -m strategies > docs/strategies.md` makes it anew."""
    assert (ROOT / "docs" / "strategies.md").read_text().rstrip() == page(list(STRATEGIES)).rstrip()


@pytest.mark.parametrize("name", STRATEGIES)
def test_the_readme_names_every_strategy(name: str) -> None:
    assert f"`{name}`" in (ROOT / "README.md").read_text()


def test_every_hook_says_what_it_is_for() -> None:
    hooks = [value for name, value in vars(Strategy).items() if not name.startswith("_")]
    assert all(hook.__doc__ for hook in hooks if callable(hook))
