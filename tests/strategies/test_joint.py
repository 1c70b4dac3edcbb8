from __future__ import annotations

from pathlib import Path

from toy import Toy, blobs, config, walked

from strategies import STRATEGIES, Joint


def test_the_curriculum_is_one_stage_and_the_same_for_all_orderings() -> None:
    assert Joint().curriculum(("b", "a", "c")) == (("a", "b", "c"),)
    assert Joint().curriculum(("c", "a", "b")) == (("a", "b", "c"),)


def test_it_is_the_only_reference_run_among_the_strategies() -> None:
    assert [name for name, strategy in STRATEGIES.items() if strategy.is_reference] == ["joint"]


def test_the_union_is_trained_once_whatever_the_orderings(toy: Toy, tmp_path: Path) -> None:
    orders = (("hue", "light"), ("light", "hue"))
    both = walked(toy.walk(config("joint", epochs=1), tmp_path / "both", *orders))
    assert len(both.stages) == 1
    record = both.store.get(both.stages[0].key)
    assert record.tasks == ("hue", "light")
    assert record.steps == 2 * 24 // 8
    first, second = both.matrices()
    assert first.row(2) == second.row(2)
    other = walked(toy.walk(config("joint", epochs=1), tmp_path / "other", orders[1]))
    assert blobs(other) == blobs(both)
