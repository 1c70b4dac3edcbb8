from __future__ import annotations

import json
import statistics
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from ray.tune.experiment import Trial

from search.tuning.rung_score import Scale, ends, rung_score
from search.tuning.stopping import OverStages, Racing, StageHalving, StageMedian

ORDERINGS = (("a", "b", "c"), ("b", "c", "a"), ("c", "a", "b"))
STAGES = 9
"""Three orderings of three tasks: rungs after 3 and after 6 stages."""


def write(run: Path, name: str, state: str, seen: Sequence[Any] = (), final=None) -> None:
    """A trial's record; `final`: the scores after the last stage of the one ordering."""
    (run / "trials").mkdir(exist_ok=True)
    matrices = [{"tasks": list(final), "values": [list(final.values())]}] if final else []
    record = {"name": name, "state": state, "seen": list(seen), "orderings": matrices}
    (run / "trials" / f"{name}.json").write_text(json.dumps(record))


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A search whose joint tuning reached 1 on its one task."""
    write(tmp_path, "joint", "finished", final={"t": 1.0})
    return tmp_path


def over(rule: OverStages, run: Path, stopped_names: set[str] | None = None) -> Any:
    rule.over(run, ("finetune", "joint"), set() if stopped_names is None else stopped_names)
    return rule


@pytest.fixture
def halving(run: Path) -> Callable[..., Any]:
    return lambda factor=2: over(StageHalving(3, STAGES, factor), run)


def rungs(scheduler: StageHalving) -> dict[int, dict[str, float]]:
    return dict(scheduler._brackets[0]._rungs)


def alone(scores: Sequence[float]) -> list[dict[str, float]]:
    """The score of one task after each stage."""
    return [{"t": score} for score in scores]


def walk(scheduler: Any, name: str, seen: Sequence[Any]) -> int:
    """Report one stage after the other; returns how many there were when it was stopped or over."""
    trial = Trial("test", config={"name": name}, stub=True)
    scheduler.on_trial_add(None, trial)
    result: dict[str, Any] = {}
    for stage in range(1, len(seen) + 1):
        so_far = [] if seen[stage - 1] is None else list(seen[:stage])
        result = {"stages_done": stage, "seen": so_far, "training_iteration": stage}
        if scheduler.on_trial_result(None, trial, result) == scheduler.STOP:
            scheduler.on_trial_remove(None, trial)
            return stage
    scheduler.on_trial_complete(None, trial, result)
    return len(seen)


# Successive halving ------------------------------------------------------------------------------


def test_rungs_are_stages_from_the_end_of_the_first_ordering_on(halving) -> None:
    assert sorted(rungs(halving())) == [3, 6]


def test_a_weak_trial_is_stopped_at_a_rung_and_only_there(halving) -> None:
    scheduler = halving()
    for name in ("0000", "0001", "0002"):
        assert walk(scheduler, name, alone([0.8] * STAGES)) == STAGES
    assert walk(scheduler, "0003", alone([0.1] * STAGES)) == 3
    assert walk(scheduler, "0004", alone([0.9] * 3 + [0.0] * 6)) == 6
    assert {"0003", "0004"} <= scheduler.stopped_names
    assert walk(scheduler, "0005", alone([0.9] * STAGES)) == STAGES


def test_halted_names_are_told_to_whoever_shares_the_set(run: Path) -> None:
    stopped_names: set[str] = set()
    scheduler = over(StageHalving(3, STAGES, 2), run, stopped_names)
    walk(scheduler, "0000", alone([0.8] * 5))
    walk(scheduler, "0001", alone([0.7] * 5))
    assert stopped_names == {"0001"}


def test_a_reference_is_never_stopped_and_sets_no_mark(halving) -> None:
    scheduler = halving()
    walk(scheduler, "joint", alone([0.99] * STAGES))
    assert not any(rungs(scheduler).values())
    for name in ("0000", "0001"):
        assert walk(scheduler, name, alone([0.5] * STAGES)) == STAGES
    assert walk(scheduler, "finetune", alone([0.0] * STAGES)) == STAGES
    assert "finetune" not in scheduler.stopped_names


def test_a_trial_that_diverged_is_left_to_end_by_itself(halving) -> None:
    scheduler = halving()
    assert walk(scheduler, "0000", [*alone([0.5, 0.5]), None]) == 3
    assert not scheduler.stopped_names
    assert not any(rungs(scheduler).values())


def test_with_fewer_stages_than_the_first_rung_nothing_is_stopped(run: Path) -> None:
    scheduler = over(StageHalving(3, 2, 2), run)
    assert walk(scheduler, "0000", alone([0.9])) == 1
    assert walk(scheduler, "0001", alone([0.1])) == 1


# The median rule and races -----------------------------------------------------------------------


def test_below_the_median_a_trial_ends_once_there_are_three_others(run: Path) -> None:
    scheduler = over(StageMedian(3), run)
    for name, score in (("0000", 0.2), ("0001", 0.5), ("0002", 0.8)):
        assert walk(scheduler, name, alone([score] * STAGES)) == STAGES
    assert walk(scheduler, "finetune", alone([0.0] * STAGES)) == STAGES
    assert walk(scheduler, "0003", alone([0.4] * STAGES)) == 3
    assert walk(scheduler, "0004", alone([0.6] * STAGES)) == STAGES
    assert scheduler.stopped_names == {"0003"}


def test_the_median_rule_compares_what_is_left_and_not_what_was_once_reached(run: Path) -> None:
    scheduler = over(StageMedian(3), run)
    for name in ("0000", "0001", "0002"):
        assert walk(scheduler, name, alone([0.95, *[0.8] * 8])) == STAGES
    assert walk(scheduler, "0003", alone([0.95, 0.6, 0.5, *[0.4] * 6])) == 3
    assert walk(scheduler, "0004", alone([0.7, 0.95, *[0.95] * 7])) == STAGES


def orderings(*finals: float) -> list[dict[str, float]]:
    """What is seen on the way through three orderings that end so."""
    return [{"t": score} for final in finals for score in (0.9, 0.9, final)]


def test_a_race_drops_who_is_surely_behind_the_leader_and_nobody_else(run: Path) -> None:
    scheduler = over(Racing(ORDERINGS), run)
    assert walk(scheduler, "0000", orderings(0.60, 0.62, 0.64)) == STAGES
    assert walk(scheduler, "0001", orderings(0.40, 0.42, 0.44)) == 6  # behind by 0.2 each time
    assert walk(scheduler, "0002", orderings(0.30, 0.70, 0.30)) == STAGES  # behind, or ahead
    assert walk(scheduler, "0003", orderings(0.50, 0.46, 0.52)) == STAGES  # sure when it is over
    assert (
        walk(scheduler, "0006", orderings(0.58, 0.60, 0.62)) == STAGES
    )  # twice the same, by chance
    assert scheduler.stopped_names == {"0001"}
    assert walk(scheduler, "0004", orderings(0.70, 0.72, 0.74)) == STAGES
    assert walk(scheduler, "0005", orderings(0.60, 0.62, 0.64)) == 6  # the leader is another now


def test_a_race_needs_two_orderings_and_stops_no_reference(run: Path) -> None:
    scheduler = over(Racing(ORDERINGS[:1]), run)
    assert walk(scheduler, "0000", orderings(0.9)) == walk(scheduler, "0001", orderings(0.1)) == 3
    scheduler = over(Racing(ORDERINGS), run)
    walk(scheduler, "0000", orderings(0.9, 0.9, 0.9))
    assert walk(scheduler, "finetune", orderings(0.1, 0.1, 0.1)) == STAGES
    assert "finetune" not in scheduler.reached


# What is compared --------------------------------------------------------------------------------


def test_every_task_counts_alike_whatever_its_metric_runs_to(tmp_path: Path) -> None:
    write(tmp_path, "joint", "finished", final={"caption": 8.0, "color": 0.5, "hopeless": 0.0})
    scale = Scale(tmp_path).known()
    assert scale == {"caption": 8.0, "color": 0.5}
    seen = [{"caption": 4.0}, {"caption": 2.0, "color": 0.5, "hopeless": 0.3}]
    assert rung_score(seen, scale) == pytest.approx((0.5 + (0.25 + 1.0 + 0.3) / 3) / 2)


def test_nobody_is_stopped_before_joint_tuning_tells_the_scale(tmp_path: Path) -> None:
    for state in ("", "running"):
        if state:
            write(tmp_path, "joint", state)
        scheduler = over(StageHalving(3, STAGES, 2), tmp_path)
        for name, score in (("0000", 0.8), ("0001", 0.1)):
            assert walk(scheduler, name, alone([score] * STAGES)) == STAGES
    write(tmp_path, "joint", "failed")
    scheduler = over(StageHalving(3, STAGES, 2), tmp_path)
    assert walk(scheduler, "0000", alone([0.8] * STAGES)) == STAGES
    assert walk(scheduler, "0001", alone([0.1] * STAGES)) == 3


def test_a_rung_holds_what_a_trial_was_there_even_if_the_scale_comes_later(tmp_path: Path) -> None:
    scheduler = over(StageHalving(3, STAGES, 2), tmp_path)
    early = Trial("test", config={"name": "0000"}, stub=True)
    scheduler.on_trial_add(None, early)
    seen = alone([0.8] * 3 + [0.0] * 3)
    for stage in (1, 3, 5):
        result = {"stages_done": stage, "seen": seen[:stage], "training_iteration": stage}
        assert scheduler.on_trial_result(None, early, result) == scheduler.CONTINUE
    assert not any(rungs(scheduler).values())
    write(tmp_path, "joint", "finished", final={"t": 1.0})
    scheduler.on_trial_result(None, early, {"seen": seen, "training_iteration": 6})
    assert rungs(scheduler)[3] == {early.trial_id: pytest.approx(0.8)}
    assert rungs(scheduler)[6] == {early.trial_id: pytest.approx(0.4)}


def test_a_search_resumed_before_joint_tuning_is_over_remembers_once_it_is(tmp_path: Path) -> None:
    write(tmp_path, "0000", "finished", alone([0.8] * STAGES))
    scheduler = over(StageHalving(3, STAGES, 2), tmp_path)
    scheduler.remember(tmp_path, unfinished=())
    assert not any(rungs(scheduler).values())
    write(tmp_path, "joint", "finished", final={"t": 1.0})
    assert walk(scheduler, "0001", alone([0.1] * STAGES)) == 3


def test_a_task_that_joint_tuning_hardly_learned_decides_nothing_alone(tmp_path: Path) -> None:
    write(tmp_path, "joint", "finished", final={"easy": 0.9, "hard": 0.01})
    assert Scale(tmp_path).known() == pytest.approx({"easy": 0.9, "hard": 0.0455})


def test_a_ceiling_that_failed_once_may_come_yet(tmp_path: Path) -> None:
    write(tmp_path, "joint", "failed")
    scale = Scale(tmp_path)
    assert scale.known() == {}
    write(tmp_path, "joint", "finished", final={"t": 0.5})
    assert scale.known() == {"t": 0.5}


def test_the_ends_of_orderings_are_found_among_the_stages_of_the_panel() -> None:
    shared = (("a", "b", "c"), ("a", "c", "b"), ("b", "a", "c"))
    seen = [{"stage": float(stage)} for stage in range(8)]
    assert ends(shared, seen) == [{"stage": 2.0}, {"stage": 4.0}, {"stage": 7.0}]
    assert ends(shared, seen[:5]) == [{"stage": 2.0}, {"stage": 4.0}]
    assert ends(shared, seen[:2]) == []


# Going on after an interruption ------------------------------------------------------------------

WALKS = [
    alone([early] * 4 + [late] * 5)
    for early, late in zip(
        (0.6, 0.8, 0.7, 0.5, 0.9, 0.85, 0.75, 0.95, 0.3),
        (0.8, 0.6, 0.7, 0.5, 0.1, 0.95, 0.75, 0.2, 0.3),
        strict=True,
    )
]
RULES: dict[str, Callable[[], Any]] = {
    "asha": lambda: StageHalving(3, STAGES, 2),
    "median": lambda: StageMedian(3),
    "racing": lambda: Racing(ORDERINGS),
}


@pytest.mark.parametrize("done", [1, 4, 7])
@pytest.mark.parametrize(
    "state_of_the_open_one", ["running", "stopped"]
)  # killed before the journal
@pytest.mark.parametrize("rule", RULES)
def test_a_resumed_search_stops_whom_an_undisturbed_one_stops(
    run: Path, done: int, state_of_the_open_one: str, rule: str
) -> None:
    undisturbed = over(RULES[rule](), run)
    expected = [walk(undisturbed, f"{n:04d}", seen) for n, seen in enumerate(WALKS)]
    assert len(set(expected)) >= 2  # some are stopped, some not
    for number in range(done):
        state = "finished" if expected[number] == STAGES else "stopped"
        write(run, f"{number:04d}", state, WALKS[number][: expected[number]])
    write(run, f"{done:04d}", state_of_the_open_one, alone([0.99] * 4))
    resumed = over(RULES[rule](), run)
    resumed.remember(run, unfinished={f"{done:04d}"})
    rest = [walk(resumed, f"{n:04d}", WALKS[n]) for n in range(done, len(WALKS))]
    assert rest == expected[done:]


def test_there_may_be_nothing_to_remember(halving, run: Path) -> None:
    scheduler = halving()
    scheduler.remember(run, unfinished=())
    assert not any(rungs(scheduler).values())


def test_the_rung_score_is_the_mean_over_stages() -> None:
    scores = [0.2, 0.4, 0.9]
    assert rung_score(alone(scores), {}) == pytest.approx(statistics.fmean(scores))
