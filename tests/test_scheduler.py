from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
from ray.tune.experiment import Trial

from search.scheduler import StageHalving

STAGES = 9
"""Three orderings of three tasks: rungs after 3 and after 6 stages."""


def halving(factor: int = 2) -> StageHalving:
    return StageHalving(3, STAGES, factor, ("finetune", "joint"), set())


def rungs(scheduler: StageHalving) -> dict[int, dict[str, float]]:
    return dict(scheduler._brackets[0]._rungs)


def walk(scheduler: StageHalving, name: str, progress: list[float]) -> int:
    """Report one stage after the other; returns how many there were when it was stopped or over."""
    trial = Trial("test", config={"name": name}, stub=True)
    scheduler.on_trial_add(None, trial)
    result = {}
    for stage, score in enumerate(progress, start=1):
        result = {"stages_done": stage, "progress": score, "training_iteration": stage}
        if scheduler.on_trial_result(None, trial, result) == scheduler.STOP:
            scheduler.on_trial_remove(None, trial)
            return stage
    scheduler.on_trial_complete(None, trial, result)
    return len(progress)


def test_rungs_are_stages_from_the_end_of_the_first_ordering_on() -> None:
    assert sorted(rungs(halving())) == [3, 6]


def test_a_weak_trial_is_stopped_at_a_rung_and_only_there() -> None:
    scheduler = halving()
    for name in ("0000", "0001", "0002"):
        assert walk(scheduler, name, [0.8] * STAGES) == STAGES
    assert walk(scheduler, "0003", [0.1] * STAGES) == 3
    assert walk(scheduler, "0004", [0.1, 0.1, 0.9, 0.9, 0.1, 0.1, 0.9, 0.9, 0.9]) == 6
    assert {"0003", "0004"} <= scheduler.halted
    assert walk(scheduler, "0005", [0.9] * STAGES) == STAGES


def test_halted_names_are_told_to_whoever_shares_the_set() -> None:
    halted: set[str] = set()
    scheduler = StageHalving(3, STAGES, 2, (), halted)
    walk(scheduler, "0000", [0.8] * 5)
    walk(scheduler, "0001", [0.7] * 5)
    assert halted == {"0001"}


def test_a_reference_is_never_stopped_and_sets_no_mark() -> None:
    scheduler = halving()
    walk(scheduler, "joint", [0.99] * STAGES)
    assert not any(rungs(scheduler).values())
    for name in ("0000", "0001"):
        assert walk(scheduler, name, [0.5] * STAGES) == STAGES
    assert walk(scheduler, "finetune", [0.0] * STAGES) == STAGES
    assert "finetune" not in scheduler.halted


@pytest.mark.parametrize("progress", [math.nan, None])
def test_a_trial_that_diverged_is_left_to_end_by_itself(progress: float | None) -> None:
    scheduler = halving()
    assert walk(scheduler, "0000", [0.5, 0.5, progress]) == 3
    assert not scheduler.halted
    assert not any(rungs(scheduler).values())


def test_with_fewer_stages_than_the_first_rung_nothing_is_stopped() -> None:
    scheduler = StageHalving(3, 2, 2, (), set())
    assert walk(scheduler, "0000", [0.9]) == 1
    assert walk(scheduler, "0001", [0.1]) == 1


WALKS = [
    [early] * 4 + [late] * 5
    for early, late in zip(
        (0.6, 0.8, 0.7, 0.5, 0.9, 0.85, 0.75, 0.95, 0.3),
        (0.8, 0.6, 0.7, 0.5, 0.3, 0.95, 0.75, 0.4, 0.3),
        strict=True,
    )
]


def write(run: Path, name: str, state: str, scores: list[float]) -> None:
    (run / "trials").mkdir(exist_ok=True)
    record = {"name": name, "state": state, "rungs": scores}
    (run / "trials" / f"{name}.json").write_text(json.dumps(record))


@pytest.mark.parametrize("done", [1, 4, 7])
@pytest.mark.parametrize(
    "state_of_the_open_one", ["running", "stopped"]
)  # killed before the journal
def test_a_resumed_search_stops_whom_an_undisturbed_one_stops(
    tmp_path: Path, done: int, state_of_the_open_one: str
) -> None:
    undisturbed = halving()
    expected = [walk(undisturbed, f"{n:04d}", scores) for n, scores in enumerate(WALKS)]
    assert set(expected) == {3, 6, STAGES}  # some at each rung, some not at all
    for number in range(done):
        state = "finished" if expected[number] == STAGES else "stopped"
        write(tmp_path, f"{number:04d}", state, WALKS[number][: expected[number]])
    write(tmp_path, f"{done:04d}", state_of_the_open_one, [0.99] * 4)
    write(tmp_path, "joint", "finished", [0.99] * STAGES)
    resumed = halving()
    resumed.remember(tmp_path, begun={f"{done:04d}"})
    rest = [walk(resumed, f"{n:04d}", WALKS[n]) for n in range(done, len(WALKS))]
    assert rest == expected[done:]


def test_there_may_be_nothing_to_remember(tmp_path: Path) -> None:
    scheduler = halving()
    scheduler.remember(tmp_path, begun=())
    assert not any(rungs(scheduler).values())
