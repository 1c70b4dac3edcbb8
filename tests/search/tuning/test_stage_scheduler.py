from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Any

import pytest
from ray.tune.experiment import Trial
from trial_files import write_trial

from search.tuning.stage_scheduler import StageScheduler
from search.tuning.stopping import MedianRule, Racing, StoppingRule, SuccessiveHalving

ORDERINGS = (("a", "b", "c"), ("b", "c", "a"), ("c", "a", "b"))
STAGES = 9
"""Three orderings of three tasks: rungs after 3 and after 6 stages."""
RULES: dict[str, Callable[[], StoppingRule]] = {
    "asha": lambda: SuccessiveHalving(3, STAGES, 2),
    "median": lambda: MedianRule(3),
    "racing": lambda: Racing([(letter,) for letter in "abcdefghi"]),  # a stage is an ordering
}


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A search whose joint tuning reached 1 on its one task."""
    write_trial(tmp_path, "joint", "finished", final={"t": 1.0})
    return tmp_path


def scheduler_of(rule: str, run: Path, unfinished: Collection[str] = ()) -> StageScheduler:
    return StageScheduler(RULES[rule](), run, set(), unfinished)


@pytest.fixture
def halving(run: Path) -> StageScheduler:
    return scheduler_of("asha", run)


def rungs(scheduler: StageScheduler) -> dict[int, list[float]]:
    assert isinstance(scheduler.rule, SuccessiveHalving)
    return scheduler.rule.rungs


def seen(scores: Sequence[float]) -> list[dict[str, float]]:
    """Return the score of one task after each stage."""
    return [{"t": score} for score in scores]


def walk(scheduler: Any, name: str, stages: Sequence[Any]) -> int:
    """Report one stage after the other; return their number when the trial was stopped or over."""
    trial = Trial("test", config={"name": name}, stub=True)
    scheduler.on_trial_add(None, trial)
    result: dict[str, Any] = {}
    for stage in range(1, len(stages) + 1):
        so_far = [] if stages[stage - 1] is None else list(stages[:stage])
        result = {"stages_done": stage, "seen": so_far, "training_iteration": stage}
        if scheduler.on_trial_result(None, trial, result) == scheduler.STOP:
            scheduler.on_trial_remove(None, trial)
            return stage
    scheduler.on_trial_complete(None, trial, result)
    return len(stages)


# Stopping ----------------------------------------------------------------------------------------


def test_a_weak_trial_is_stopped_at_a_rung_and_only_there(halving: StageScheduler) -> None:
    for name in ("0000", "0001", "0002"):
        assert walk(halving, name, seen([0.8] * STAGES)) == STAGES
    assert walk(halving, "0003", seen([0.1] * STAGES)) == 3
    assert walk(halving, "0004", seen([0.9] * 3 + [0.0] * 6)) == 6
    assert halving.stopped_names == {"0003", "0004"}
    assert walk(halving, "0005", seen([0.9] * STAGES)) == STAGES


def test_names_of_stopped_trials_are_added_to_the_set_that_was_given(run: Path) -> None:
    names: set[str] = set()
    scheduler = StageScheduler(RULES["asha"](), run, names)
    walk(scheduler, "0000", seen([0.8] * 5))
    walk(scheduler, "0001", seen([0.7] * 5))
    assert names == {"0001"}


def test_a_reference_is_never_stopped_and_sets_no_mark(halving: StageScheduler) -> None:
    walk(halving, "joint", seen([0.99] * STAGES))
    assert not any(rungs(halving).values())
    for name in ("0000", "0001"):
        assert walk(halving, name, seen([0.5] * STAGES)) == STAGES
    assert walk(halving, "finetune", seen([0.0] * STAGES)) == STAGES
    assert "finetune" not in halving.stopped_names


def test_a_trial_that_diverged_is_left_to_end_by_itself(halving: StageScheduler) -> None:
    assert walk(halving, "0000", [*seen([0.5, 0.5]), None]) == 3
    assert not halving.stopped_names
    assert not any(rungs(halving).values())


def test_below_the_median_a_trial_ends_once_there_are_three_others(run: Path) -> None:
    scheduler = scheduler_of("median", run)
    for name, score in (("0000", 0.2), ("0001", 0.5), ("0002", 0.8)):
        assert walk(scheduler, name, seen([score] * STAGES)) == STAGES
    assert walk(scheduler, "finetune", seen([0.0] * STAGES)) == STAGES
    assert walk(scheduler, "0003", seen([0.4] * STAGES)) == 3
    assert walk(scheduler, "0004", seen([0.6] * STAGES)) == STAGES
    assert scheduler.stopped_names == {"0003"}


def test_a_trial_that_ends_by_itself_is_recorded_and_not_filed_as_stopped(
    halving: StageScheduler,
) -> None:
    walk(halving, "0000", seen([0.8] * STAGES))
    trial, controller = Trial("test", config={"name": "0001"}, stub=True), None
    result = {"seen": seen([0.1] * 6), "training_iteration": 6}
    halving.on_trial_complete(controller, trial, result)
    assert not halving.stopped_names
    assert {stage: len(scores) for stage, scores in rungs(halving).items()} == {3: 2, 6: 2}


# The scale ---------------------------------------------------------------------------------------


def test_no_trial_is_stopped_before_joint_tuning_gives_the_scale(tmp_path: Path) -> None:
    for state in ("", "running"):
        if state:
            write_trial(tmp_path, "joint", state)
        scheduler = scheduler_of("asha", tmp_path)
        for name, score in (("0000", 0.8), ("0001", 0.1)):
            assert walk(scheduler, name, seen([score] * STAGES)) == STAGES
    write_trial(tmp_path, "joint", "failed")
    scheduler = scheduler_of("asha", tmp_path)
    assert walk(scheduler, "0000", seen([0.8] * STAGES)) == STAGES
    assert walk(scheduler, "0001", seen([0.1] * STAGES)) == 3


def test_a_rung_has_a_trials_score_there_even_if_the_scale_comes_later(tmp_path: Path) -> None:
    scheduler, controller = scheduler_of("asha", tmp_path), None
    early = Trial("test", config={"name": "0000"}, stub=True)
    stages = seen([0.8] * 3 + [0.0] * 3)
    for stage in (1, 3, 5):
        result = {"stages_done": stage, "seen": stages[:stage], "training_iteration": stage}
        assert scheduler.on_trial_result(controller, early, result) == scheduler.CONTINUE
    assert not any(rungs(scheduler).values())
    write_trial(tmp_path, "joint", "finished", final={"t": 1.0})
    scheduler.on_trial_result(controller, early, {"seen": stages, "training_iteration": 6})
    assert rungs(scheduler) == {3: [pytest.approx(0.8)], 6: [pytest.approx(0.4)]}


def test_a_trial_that_ended_before_the_scale_was_known_is_recorded_once(tmp_path: Path) -> None:
    scheduler = scheduler_of("asha", tmp_path)
    assert walk(scheduler, "0000", seen([0.8] * STAGES)) == STAGES
    write_trial(tmp_path, "0000", "finished", seen([0.8] * STAGES))
    write_trial(tmp_path, "joint", "finished", final={"t": 1.0})
    assert walk(scheduler, "0000", seen([0.8] * STAGES)) == STAGES
    assert [len(scores) for scores in rungs(scheduler).values()] == [1, 1]
    assert walk(scheduler, "0001", seen([0.1] * STAGES)) == 3


# Going on after an interruption ------------------------------------------------------------------

WALKS = [
    seen([early] * 4 + [late] * 5)
    for early, late in zip(
        (0.6, 0.8, 0.7, 0.5, 0.9, 0.85, 0.75, 0.95, 0.3),
        (0.8, 0.6, 0.7, 0.5, 0.1, 0.95, 0.75, 0.2, 0.3),
        strict=True,
    )
]


@pytest.mark.parametrize("done", [1, 4, 7])
@pytest.mark.parametrize(
    "state_of_the_open_one", ["running", "stopped"]
)  # killed before the journal
@pytest.mark.parametrize("rule", RULES)
def test_a_resumed_search_stops_the_trials_that_an_undisturbed_one_stops(
    run: Path, done: int, state_of_the_open_one: str, rule: str
) -> None:
    undisturbed = scheduler_of(rule, run)
    expected = [walk(undisturbed, f"{n:04d}", stages) for n, stages in enumerate(WALKS)]
    assert len(set(expected)) >= 2  # some are stopped, some not
    for number in range(done):
        state = "finished" if expected[number] == STAGES else "stopped"
        write_trial(run, f"{number:04d}", state, WALKS[number][: expected[number]])
    write_trial(run, f"{done:04d}", state_of_the_open_one, seen([0.99] * 4))
    resumed = scheduler_of(rule, run, unfinished={f"{done:04d}"})
    rest = [walk(resumed, f"{n:04d}", WALKS[n]) for n in range(done, len(WALKS))]
    assert rest == expected[done:]


def test_a_search_resumed_before_joint_tuning_is_over_restores_trials_once_it_is(
    tmp_path: Path,
) -> None:
    write_trial(tmp_path, "0000", "finished", seen([0.8] * STAGES))
    scheduler = scheduler_of("asha", tmp_path)
    assert walk(scheduler, "0001", seen([0.1] * 2)) == 2
    assert not any(rungs(scheduler).values())
    write_trial(tmp_path, "joint", "finished", final={"t": 1.0})
    assert walk(scheduler, "0002", seen([0.1] * STAGES)) == 3
