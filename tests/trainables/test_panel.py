from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import scribe as scribes
from scribe import SETTING, Scribe
from stored import trained
from toy import config

from trainables.metrics.summary import summary
from trainables.panel import Panel
from trainables.stage_job import StageJob
from trainables.store.stage_store import StageStore
from trainables.trial import PanelTrial

TASKS = ("a", "b", "c")
BRANCHED = (("a", "b", "c"), ("a", "c", "b"))
"""Two orderings with a common first stage: five stages of six."""


@pytest.fixture
def scribe(tmp_path: Path) -> Scribe:
    return Scribe(StageStore(tmp_path))


def run_trial(chosen, scribe: Scribe, *orderings: tuple[str, ...], **panel: str) -> PanelTrial:
    return scribes.run_trial(chosen, scribe, Panel(orderings or BRANCHED, **panel))


# Paths and sharing -------------------------------------------------------------------------------


def test_the_paths_are_the_distinct_prefixes_each_after_its_parent(scribe: Scribe) -> None:
    paths = Panel(BRANCHED).paths(config())
    written = [">".join(task for group in path for task in group) for path in paths]
    assert written == ["a", "a>b", "a>b>c", "a>c", "a>c>b"]


def test_a_common_prefix_is_trained_once_in_a_trial(scribe: Scribe) -> None:
    run_trial(config(), scribe)
    assert scribe.trained == [
        ("a",),
        ("a", "b"),
        ("a", "b", "c"),
        ("a", "c"),
        ("a", "c", "b"),
    ]


def test_another_strategy_shares_the_first_stage_and_trains_the_others(scribe: Scribe) -> None:
    run_trial(config(), scribe)
    scribe.jobs.clear()
    shared = run_trial(config("replay"), scribe)
    assert ("a",) not in scribe.trained
    assert len(scribe.trained) == 4
    assert [stage.trained for stage in shared.stages] == [False, True, True, True, True]


def test_the_same_configuration_again_trains_nothing_and_comes_to_the_same(scribe: Scribe) -> None:
    first = run_trial(config("ewc"), scribe)
    scribe.jobs.clear()
    second = run_trial(config("ewc"), scribe)
    assert not scribe.jobs
    assert second.matrices() == first.matrices()
    assert not any(stage.trained for stage in second.stages)
    assert second.metrics()["train_seconds"] == first.metrics()["train_seconds"] == 10.0


def test_a_stage_is_kept_for_later_ones_only_where_there_are_any(scribe: Scribe) -> None:
    run_trial(config("ewc"), scribe, ("a", "b", "c"))
    keeps = {job.depth: [task for task, _ in job.to_consolidate] for job in scribe.jobs}
    assert keeps == {0: [], 1: ["a"], 2: ["b"], 3: []}
    assert [len(job.kept_before) for job in scribe.jobs] == [0, 0, 1, 2]
    assert not any(job.to_consolidate for job in _jobs_of(config("finetune"), scribe))


def test_a_longer_panel_later_makes_what_was_not_kept_before(scribe: Scribe) -> None:
    run_trial(config("ewc"), scribe, ("a", "b"))
    scribe.jobs.clear()
    run_trial(config("ewc"), scribe, ("a", "b", "c"))
    assert [
        (job.depth, job.train, bool(job.to_consolidate)) for job in scribe.jobs if job.depth
    ] == [
        (2, False, True),
        (3, True, False),
    ]


def _jobs_of(chosen, scribe: Scribe) -> list[StageJob]:
    scribe.jobs.clear()
    run_trial(chosen, scribe, ("c", "b", "a"))
    return scribe.jobs


def test_joint_tuning_is_one_stage_for_all_orderings(scribe: Scribe) -> None:
    run_trial(config("joint"), scribe)
    assert scribe.trained == [("a+b+c",)]


# Scoring -----------------------------------------------------------------------------------------

N = math.nan
MATRICES = {
    "seen": [[0.1, 0.1, 0.1], [0.9, N, N], [0.8, 0.9, N], [0.7, 0.8, 0.9]],
    "next": [[0.1, 0.1, 0.1], [0.9, 0.1, N], [0.8, 0.9, 0.1], [0.7, 0.8, 0.9]],
    "all": [[0.1, 0.1, 0.1], [0.9, 0.1, 0.1], [0.8, 0.9, 0.1], [0.7, 0.8, 0.9]],
    "cheap": [[0.1, 0.1, 0.1], [0.9, 0.1, N], [N, 0.9, 0.1], [0.7, 0.8, 0.9]],
}


@pytest.mark.parametrize("scoring", MATRICES)
def test_the_schedule_says_which_cells_are_scored(scoring: str, scribe: Scribe) -> None:
    (matrix,) = run_trial(config(), scribe, TASKS, scoring=scoring).matrices()
    assert matrix.values == pytest.approx(np.array(MATRICES[scoring]), nan_ok=True)


def test_where_orderings_branch_every_next_task_is_scored(scribe: Scribe) -> None:
    first, second = run_trial(config(), scribe, scoring="next").matrices()
    assert first.row(1) == pytest.approx({"a": 0.9, "b": 0.1, "c": 0.1})
    assert second.row(1) == pytest.approx({"a": 0.9, "c": 0.1, "b": 0.1})
    assert not math.isnan(summary(first)["forward_transfer"])


def test_the_split_asked_for_is_scored_and_has_scores_of_its_own(scribe: Scribe) -> None:
    run_trial(config(), scribe)
    scribe.jobs.clear()
    run_trial(config(), scribe, split="test")
    assert {cell[1] for job in scribe.jobs for cell in job.score} == {"test"}
    assert not scribe.trained


def test_joint_tuning_stands_where_each_sequence_ends(scribe: Scribe) -> None:
    for matrix in run_trial(config("joint"), scribe).matrices():
        assert matrix.row(3) == pytest.approx({"a": 0.7, "b": 0.8, "c": 0.9})
        assert math.isnan(matrix.values[1:3].min())
        assert math.isnan(summary(matrix)["forgetting"])


# Metrics -----------------------------------------------------------------------------------------


def test_metrics_are_undefined_until_an_ordering_is_whole_and_then_means(scribe: Scribe) -> None:
    found = PanelTrial(config(), Panel(BRANCHED), SETTING, scribe.store, scribe)
    for _ in range(2):
        found.step()
        assert math.isnan(found.metrics()["final_average"])
        assert math.isnan(found.metrics()["worst_ordering"])
    assert found.outcome.seen_scores() == [
        {"a": pytest.approx(0.9)},
        {"a": pytest.approx(0.8), "b": 0.9},
    ]
    found.step()
    assert found.metrics()["final_average"] == pytest.approx(0.8)
    assert found.metrics()["forgetting"] == pytest.approx(((0.9 - 0.7) + (0.9 - 0.8)) / 2)
    while not found.finished:
        found.step()
    metrics = found.metrics()
    assert metrics["final_average"] == metrics["worst_ordering"] == pytest.approx(0.8)
    assert metrics["final_average_std"] == pytest.approx(0.0)
    assert len(found.outcome.seen_scores()) == 5


def test_what_rungs_compare_is_the_same_whatever_the_schedule(scribe: Scribe) -> None:
    seen = {
        s: run_trial(config(), scribe, TASKS, scoring=s).outcome.seen_scores() for s in MATRICES
    }
    assert seen["next"] == seen["all"] == seen["seen"]
    assert seen["cheap"] == [
        {"a": pytest.approx(0.9)},
        {"b": pytest.approx(0.9)},
        seen["seen"][2],
    ]


def test_the_cheap_schedule_tells_what_is_forgotten_by_the_end(scribe: Scribe) -> None:
    found = run_trial(config(), scribe, scoring="cheap")
    assert sum(len(job.score) for job in scribe.jobs if job.depth) == 3 + 2 * (2 + 3)
    metrics = found.metrics()
    assert metrics["final_average"] == pytest.approx(0.8)
    assert metrics["forgetting"] == pytest.approx(((0.9 - 0.7) + (0.9 - 0.8)) / 2)
    assert metrics["forward_transfer"] == pytest.approx(0.0)
    assert math.isnan(metrics["average_over_stages"])


@dataclass
class Growing(Scribe):
    """A runner whose weights grow by 10 parameters at every stage."""

    def run(self, job: StageJob) -> Mapping[str, float]:
        if job.train:
            size = 100 + 10 * len(job.context.old)
            self.store.put(job.key, trained(seconds=2.0, parameters=size))
        return super().run(dataclasses.replace(job, train=False))


def test_added_parameters_count_weights_that_grow_in_place(tmp_path: Path) -> None:
    grown = scribes.run_trial(config(), Growing(StageStore(tmp_path)), Panel((("a", "b", "c"),)))
    assert grown.metrics()["added_parameters"] == 20


def test_weights_of_one_size_add_no_parameters(scribe: Scribe) -> None:
    assert run_trial(config("ewc"), scribe).metrics()["added_parameters"] == 0
