from __future__ import annotations

import itertools
from collections import Counter
from pathlib import Path

import pytest
from toy import SIZES, Toy, blobs, config, walked

from strategies import Replay, StageContext
from strategies.replay_memory import cyclic_batch, interleaved
from tasks import load_benchmark
from trainables.config import TrialConfig
from trainables.lanes.in_process import InProcessRunner
from trainables.rank.batching import permutation
from trainables.store.digest import digest
from trainables.trial import PanelTrial

NEW, OLD = [("c", row) for row in range(6)], {"a": 100, "b": 37}
SECOND = StageContext(("c",), (("a",), ("b",)))


def shuffled(task: str) -> list[int]:
    return permutation({"c": 6, **OLD}[task], digest(0, task))


def memory(old=OLD, **knobs) -> list[tuple[str, int]]:
    return Replay(**knobs).mix(NEW, old, shuffled)[len(NEW) :]


@pytest.mark.parametrize(
    ("ratio", "a", "b"), [(0.001, 0, 0), (0.01, 1, 0), (0.05, 5, 1), (0.2, 20, 7), (0.3, 30, 11)]
)
def test_a_ratio_of_each_earlier_task_is_drawn_without_replacement(
    ratio: float, a: int, b: int
) -> None:
    drawn = memory(ratio=ratio)
    assert Counter(task for task, _ in drawn) == Counter({"a": a, "b": b})
    assert len(set(drawn)) == len(drawn)
    assert all(0 <= row < OLD[task] for task, row in drawn)


@pytest.mark.parametrize(("count", "a", "b"), [(0, 0, 0), (1, 1, 1), (50, 50, 37)])
def test_a_count_is_of_each_task_and_at_most_all_of_it(count: int, a: int, b: int) -> None:
    drawn = memory(variant="count", count=count)
    assert Counter(task for task, _ in drawn) == Counter({"a": a, "b": b})
    assert len(set(drawn)) == len(drawn)
    assert memory(variant="count", count=10)[:10] == [("a", row) for row in shuffled("a")[:10]]


def test_a_smaller_ratios_memory_is_part_of_a_larger_ones() -> None:
    ratios = (0.01, 0.05, 0.1, 0.3)
    drawn = [set(memory(ratio=ratio)) for ratio in ratios]
    assert all(small < large for small, large in itertools.pairwise(drawn))


def test_the_draw_of_a_task_does_not_depend_on_the_other_tasks() -> None:
    assert [p for p in memory(ratio=0.1) if p[0] == "a"] == memory({"a": 100}, ratio=0.1)


@pytest.mark.parametrize("ratio", [0.001, 0.3])
def test_every_example_of_the_new_task_is_trained_once(ratio: float) -> None:
    picks = Replay(ratio=ratio).mix(NEW, OLD, shuffled)
    assert picks[:6] == [("c", row) for row in range(6)]
    assert Counter(picks)["c", 0] == 1


def test_the_first_stage_has_nothing_to_replay() -> None:
    assert Replay(ratio=0.3).mix(NEW, {}, shuffled) == [("c", row) for row in range(6)]
    assert Replay(ratio=0.3).effective(StageContext(("c",))) == {}
    assert Replay(ratio=0.3).effective(SECOND) == {"ratio": 0.3}
    assert Replay(ratio=0.3, variant="share").effective(SECOND) == {"ratio": 0.3, "share": 0.25}
    assert Replay(ratio=0.3, variant="count").effective(SECOND) == {"count": 100}


# A share of every batch --------------------------------------------------------------------------


def test_a_share_keeps_the_new_examples_and_fills_up_every_batch() -> None:
    strategy = Replay(variant="share", ratio=0.05, share=0.25)
    assert strategy.mix(NEW, OLD, shuffled) == NEW
    assert strategy.replayed_per_batch(8) == 2
    memory = [("a", row) for row in shuffled("a")[:5]] + [("b", shuffled("b")[0])]
    replayed_per_batch = [pick for step in range(6) for pick in strategy.replay_batch(step, 2)]
    assert Counter(replayed_per_batch) == Counter(memory * 2)


@pytest.mark.parametrize(
    ("share", "batch", "expected"),
    [(0.25, 8, 2), (0.75, 8, 6), (0.01, 8, 1), (0.75, 2, 1), (0.5, 1, 0), (0.3, 16, 5)],
)
def test_a_batch_has_old_and_new_examples_if_it_has_room(
    share: float, batch: int, expected: int
) -> None:
    strategy = Replay(variant="share", ratio=0.3, share=share)
    strategy.mix(NEW, OLD, shuffled)
    assert strategy.replayed_per_batch(batch) == expected


@pytest.mark.parametrize(
    ("knobs", "old"),
    [({}, {}), ({"ratio": 0.001}, OLD), ({"ratio": 0}, OLD), ({"share": 0}, OLD)],
)
def test_without_a_memory_a_batch_has_new_examples_alone(knobs: dict, old: dict) -> None:
    strategy = Replay(**{"variant": "share", "ratio": 0.3} | knobs)
    strategy.mix(NEW, old, shuffled)
    assert strategy.replayed_per_batch(8) == 0


def test_the_tasks_of_a_memory_alternate_and_batches_cycle() -> None:
    turns = interleaved({"a": [4, 2, 9], "b": [7]})
    assert turns == [("a", 4), ("b", 7), ("a", 2), ("a", 9)]
    assert cyclic_batch(turns, 1, 3) == [("a", 9), ("a", 4), ("b", 7)]
    assert cyclic_batch(turns, 0, 6) == [*turns, ("a", 4), ("b", 7)]
    assert cyclic_batch([], 3, 2) == []


# In the loop -------------------------------------------------------------------------------------


def plan_of(walk: PanelTrial) -> list[list[tuple[str, int]]]:
    """Return the batches of the second stage."""
    job, runner = walk.job(walk.paths[1]), walk.runner
    assert isinstance(runner, InProcessRunner)
    config = TrialConfig.from_dict(job.config)
    return runner.worker._stage_batches(job, config, config.fresh_strategy(), {})


def test_every_batch_has_its_share_of_the_memory(toy: Toy, tmp_path: Path) -> None:
    knobs = {"name": "replay", "variant": "share", "ratio": 0.3, "share": 0.25}
    walk = walked(toy.walk(config(knobs, epochs=1), tmp_path))
    plan = plan_of(walk)
    assert len(plan) == 24 // 6 == walk.store.get(walk.stages[1].key).steps
    old = [[pick for pick in batch if pick[0] == "hue"] for batch in plan]
    assert [len(batch) for batch in plan] == [8] * 4
    assert [len(batch) for batch in old] == [2] * 4
    held = walk.runner.worker.rank_context.data.shuffled("hue")[: int(0.3 * 24)]
    assert Counter(row for batch in old for _, row in batch) == Counter([*held, held[0]])
    new = Counter(pick for batch in plan for pick in batch if pick[0] == "light")
    assert new == Counter(("light", row) for row in range(24))


def test_an_empty_memory_is_finetune_to_the_last_bit(toy: Toy, tmp_path: Path) -> None:
    assert int(0.04 * SIZES["train"]) == 0
    assert int(0.05 * SIZES["train"]) == 1
    plain = walked(toy.walk(config("finetune"), tmp_path))
    idle = walked(toy.walk(config({"name": "replay", "ratio": 0.04}), tmp_path))
    busy = walked(toy.walk(config({"name": "replay", "ratio": 0.05}), tmp_path))
    assert idle.stages[1].key != plain.stages[1].key
    assert blobs(idle) == blobs(plain)
    assert blobs(busy)[0] == blobs(plain)[0]
    assert blobs(busy)[1] != blobs(plain)[1]


def test_the_draw_is_trained_and_counted_as_memory(toy: Toy, tmp_path: Path) -> None:
    walk = walked(toy.walk(config({"name": "replay", "ratio": 0.3}, epochs=1), tmp_path))
    steps = [walk.store.get(stage.key).steps for stage in walk.stages]
    assert steps == [24 // 8, -(-(24 + 7) // 8)]
    singly = {"batch_size": 1, "micro_batch": 1, "epochs": 1}
    long = walked(toy.walk(config({"name": "replay", "ratio": 0.3}, **singly), tmp_path))
    assert [long.store.get(stage.key).steps for stage in long.stages] == [24, 31]
    examples = load_benchmark(toy.benchmark).task("hue").examples("train")
    drawn = [examples[row] for row in long.runner.worker.rank_context.data.shuffled("hue")[:7]]
    size = sum(len(e.images[0]) + len(e.prompt) + len(e.answer) for e in drawn)
    records = [long.store.get(stage.key) for stage in long.stages]
    assert [record.memory for record in records] == [
        {"examples": 0, "bytes": 0},
        {"examples": 7, "bytes": size},
    ]
    assert long.metrics()["stored_bytes"] == size
    assert long.metrics()["added_parameters"] == 0
