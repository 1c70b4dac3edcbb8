from __future__ import annotations

import itertools
from collections import Counter
from pathlib import Path

import pytest
from toy import SIZES, Toy, blobs, config, walked

from strategies import Replay
from trainables.data import permutation
from trainables.job import digest

NEW, OLD = {"c": 6}, {"a": 100, "b": 37}


def shuffled(task: str) -> list[int]:
    return permutation({**NEW, **OLD}[task], digest(0, task))


def memory(ratio: float, old=OLD) -> list[tuple[str, int]]:
    return Replay(ratio=ratio).mix(NEW, old, shuffled)[NEW["c"] :]


@pytest.mark.parametrize(
    ("ratio", "a", "b"), [(0.001, 0, 0), (0.01, 1, 0), (0.05, 5, 1), (0.2, 20, 7), (0.3, 30, 11)]
)
def test_so_much_of_each_earlier_task_is_drawn_without_replacement(
    ratio: float, a: int, b: int
) -> None:
    drawn = memory(ratio)
    assert Counter(task for task, _ in drawn) == Counter({"a": a, "b": b})
    assert len(set(drawn)) == len(drawn)
    assert all(0 <= row < OLD[task] for task, row in drawn)


def test_a_smaller_ratios_memory_is_part_of_a_larger_ones() -> None:
    ratios = (0.01, 0.05, 0.1, 0.3)
    drawn = [set(memory(ratio)) for ratio in ratios]
    assert all(small < large for small, large in itertools.pairwise(drawn))


def test_what_is_drawn_of_a_task_does_not_depend_on_what_else_was_learned() -> None:
    assert [p for p in memory(0.1) if p[0] == "a"] == memory(0.1, {"a": 100})


@pytest.mark.parametrize("ratio", [0.001, 0.3])
def test_every_example_of_the_new_task_is_seen_once(ratio: float) -> None:
    picks = Replay(ratio=ratio).mix(NEW, OLD, shuffled)
    assert picks[:6] == [("c", row) for row in range(6)]
    assert Counter(picks)["c", 0] == 1


def test_the_first_stage_has_nothing_to_replay() -> None:
    assert Replay(ratio=0.3).mix(NEW, {}, shuffled) == [("c", row) for row in range(6)]
    assert Replay(ratio=0.3).effective(1) == {}
    assert Replay(ratio=0.3).effective(2) == {"ratio": 0.3}


def test_where_nothing_is_drawn_it_is_finetune_to_the_last_bit(toy: Toy, tmp_path: Path) -> None:
    assert int(0.04 * SIZES["train"]) == 0
    assert int(0.05 * SIZES["train"]) == 1
    plain = walked(toy.walk(config("finetune"), tmp_path))
    idle = walked(toy.walk(config({"name": "replay", "ratio": 0.04}), tmp_path))
    busy = walked(toy.walk(config({"name": "replay", "ratio": 0.05}), tmp_path))
    assert idle.stages[1]["key"] != plain.stages[1]["key"]
    assert blobs(idle) == blobs(plain)
    assert blobs(busy)[0] == blobs(plain)[0]
    assert blobs(busy)[1] != blobs(plain)[1]


def test_what_is_drawn_is_trained(toy: Toy, tmp_path: Path) -> None:
    walk = walked(toy.walk(config({"name": "replay", "ratio": 0.3}, epochs=1), tmp_path))
    steps = [walk.store.get(stage["key"])["steps"] for stage in walk.stages]
    assert steps == [24 // 8, (24 + 7) // 8]
    long = walked(
        toy.walk(
            config({"name": "replay", "ratio": 0.3}, batch_size=1, micro_batch=1, epochs=1),
            tmp_path,
        )
    )
    assert [long.store.get(stage["key"])["steps"] for stage in long.stages] == [24, 31]
