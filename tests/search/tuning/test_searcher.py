from __future__ import annotations

import json
import math
import pickle
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import TrialState
from ray import cloudpickle
from toy import TRAINING

from search.plan.space import ConfigSpace, config_space
from search.tuning.searcher import DIED_TWICE, STUDY, StudySearcher
from spaces import knobs_of
from strategies import STRATEGIES
from trainables.config import TrialConfig

OBJECTIVES = [("final_average", "max"), ("forgetting", "min")]
SEARCHED = ("finetune", "replay", "ewc")
DOMAINS = {
    "training.learning_rate": {"low": 1e-4, "high": 1e-2, "log": True},
    "training.warmup": {"low": 0.0, "high": 0.2, "step": 0.1},
    "adapter.rank": [2, 4, 8],
    "ewc.decay": 1.0,
}
REFERENCES = ("finetune", "joint")


def space() -> ConfigSpace:
    return config_space(SEARCHED, {"training": TRAINING, "adapter": {}}, DOMAINS)


def searcher(run: Path, samples: int = 12, references: tuple[str, ...] = ()) -> StudySearcher:
    run.mkdir(exist_ok=True)
    return StudySearcher(
        space(),
        OBJECTIVES,
        run,
        seed=3,
        samples=samples,
        references={name: space().reference(name) for name in references},
    )


def outcome(given: dict[str, Any], state: str = "finished") -> dict[str, Any]:
    """Return a result that depends on the configuration alone."""
    knobs = json.dumps(given["trial"], sort_keys=True)
    score = sum(map(ord, knobs)) % 97 / 97
    return {"state": state, "final_average": score, "forgetting": 1 - score * score}


def run_trials(found: StudySearcher, count: int, prefix: str = "t") -> list[dict[str, Any]]:
    """Run `count` trials, one after the other; return their suggestions."""
    given = []
    for number in range(count):
        trial_id = f"{prefix}{number}"
        given.append(found.suggest(trial_id))
        found.on_trial_complete(trial_id, outcome(given[-1]))
    return given


def states(found: StudySearcher) -> list[TrialState]:
    return [trial.state for trial in found.study.trials]


# Proposals ---------------------------------------------------------------------------------------


def test_every_suggestion_is_json_and_a_configuration_inside_the_space(tmp_path: Path) -> None:
    given = run_trials(searcher(tmp_path, 40), 40)
    assert [g["name"] for g in given] == [f"{n:04d}" for n in range(40)]
    for trial in given:
        values = json.loads(json.dumps(trial["trial"]))
        config = TrialConfig.from_dict(values)
        assert config.to_dict() == values
        assert 1e-4 <= config.training.learning_rate <= 1e-2
        assert config.training.warmup in (0.0, 0.1, 0.2)
        assert config.training.epochs == TRAINING["epochs"]
        assert config.adapter.rank in (2, 4, 8)
        assert config.strategy.knobs().get("decay", 1.0) == 1.0
    assert {t["trial"]["strategy"]["name"] for t in given} == set(SEARCHED)
    assert len({json.dumps(t["trial"]) for t in given}) > 20


def test_the_first_proposals_are_each_strategys_published_knobs(tmp_path: Path) -> None:
    for name, trial in zip(SEARCHED, run_trials(searcher(tmp_path), 3), strict=True):
        knobs = dict(trial["trial"]["strategy"])
        assert knobs.pop("name") == name
        assert knobs == {n: k.default for n, k in knobs_of(STRATEGIES[name]).items()}
        assert trial["trial"]["training"]["learning_rate"] == 0.01  # 0.02 lies outside
        assert trial["trial"]["training"]["warmup"] == 0.0  # 0.03 is no step
        assert trial["trial"]["adapter"]["rank"] == 2  # 16 is no choice


def test_the_seed_decides_the_proposals_after_the_starting_points(tmp_path: Path) -> None:
    first, again = (run_trials(searcher(tmp_path / name), 10) for name in ("a", "b"))
    other = StudySearcher(space(), OBJECTIVES, tmp_path, seed=4, samples=12, references={})
    assert first == again
    assert run_trials(other, 10)[3:] != first[3:]


@pytest.mark.parametrize("seed", [-1, 0, 20_260_101, 1 << 40])
def test_any_whole_number_is_a_seed(tmp_path: Path, seed: int) -> None:
    found = StudySearcher(space(), OBJECTIVES, tmp_path, seed=seed, samples=4, references={})
    assert len(run_trials(found, 4)) == 4


def test_references_come_first_and_do_not_count_as_samples(tmp_path: Path) -> None:
    found = searcher(tmp_path, references=REFERENCES)
    assert found.trials_left() == 14
    given = run_trials(found, 4)
    assert [g["name"] for g in given] == ["finetune", "joint", "0000", "0001"]
    assert given[1]["trial"]["strategy"] == {"name": "joint"}
    assert given[1]["trial"]["training"] == {**given[1]["trial"]["training"], **TRAINING}
    assert states(found) == [TrialState.COMPLETE] * 2 + [TrialState.WAITING]


@pytest.mark.parametrize("pickler", [pickle, cloudpickle])
def test_a_searcher_can_be_pickled_in_mid_search(tmp_path: Path, pickler: Any) -> None:
    found = searcher(tmp_path / "one")
    run_trials(found, 5)
    pending = found.suggest("pending")
    copy = pickler.loads(pickler.dumps(found))
    copy.on_trial_complete("pending", outcome(pending))
    later = run_trials(copy, 3, "later")
    assert later == run_trials(searcher(tmp_path / "two"), 9)[6:]


# Ends of trials -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("result", "error", "expected"),
    [
        ({"state": "finished", "final_average": 0.5, "forgetting": 0.1}, False, "COMPLETE"),
        ({"state": "finished", "final_average": math.nan, "forgetting": 0.1}, False, "FAIL"),
        ({"state": "finished", "final_average": 0.5}, False, "FAIL"),
        ({"state": "diverged", "final_average": math.nan, "forgetting": math.nan}, False, "FAIL"),
        ({"state": "running", "final_average": 0.9, "forgetting": 0.0}, False, "PRUNED"),
        ({"state": "running", "final_average": 0.9, "forgetting": 0.0}, True, "RUNNING"),
        ({"state": "finished", "final_average": 0.9, "forgetting": 0.0}, True, "RUNNING"),
        (None, True, "RUNNING"),
        (None, False, "RUNNING"),
    ],
)
def test_the_end_of_a_trial_is_filed_in_the_study_and_in_its_record(
    tmp_path: Path, result: dict[str, Any] | None, error: bool, expected: str
) -> None:
    found = searcher(tmp_path)
    name = found.suggest("t")["name"]
    found.stopped_names.add(name)
    found.on_trial_complete("t", result, error)
    found.on_trial_complete("t", result, error)  # Tune may report it twice
    assert found.study.trials[0].state.name == expected
    record = json.loads((tmp_path / "trials" / f"{name}.json").read_text())
    assert (
        record["state"]
        == {
            "COMPLETE": "finished",
            "PRUNED": "stopped",
            "FAIL": (result or {}).get("state"),
            "RUNNING": "failed",
        }[expected]
    )
    assert record["message"] == (DIED_TWICE if expected == "RUNNING" else "")
    if expected == "COMPLETE":
        assert found.study.trials[0].values == [0.5, 0.1]


def test_the_pareto_front_holds_finished_trials_only(tmp_path: Path) -> None:
    found = searcher(tmp_path)
    for number, state in enumerate(("finished", "running", "diverged", "finished")):
        given = found.suggest(f"t{number}")
        found.stopped_names.add(given["name"])
        nearly_perfect = {"final_average": 0.99, "forgetting": -0.1, "state": state}
        low = {"final_average": 0.3 + number / 10, "forgetting": number / 10, "state": state}
        found.on_trial_complete(f"t{number}", low if state == "finished" else nearly_perfect)
    assert [trial.number for trial in found.study.best_trials] == [0, 3]
    assert [d.name for d in found.study.directions] == ["MAXIMIZE", "MINIMIZE"]


def test_a_trial_that_the_time_budget_cut_off_is_still_to_be_done(tmp_path: Path) -> None:
    found = searcher(tmp_path, samples=5)
    given = found.suggest("t")
    found.on_trial_complete("t", outcome(given, "running"))
    assert states(found)[0] == TrialState.RUNNING
    resumed = searcher(tmp_path, samples=5)
    assert resumed.trials_left() == 5
    assert resumed.suggest("again") == given


# Resuming after a kill ---------------------------------------------------------------------------


@pytest.mark.parametrize("done", [0, 1, 2, 3, 6, 11])
def test_a_resumed_search_repeats_the_interrupted_trial_and_then_makes_the_same_proposals(
    tmp_path: Path, done: int
) -> None:
    whole = run_trials(searcher(tmp_path / "whole"), 12)
    killed = searcher(tmp_path / "killed")
    run_trials(killed, done)
    interrupted = killed.suggest("interrupted")
    del killed
    resumed = searcher(tmp_path / "killed")
    assert resumed.trials_left() == 12 - done
    rest = run_trials(resumed, 12 - done, "resumed")
    assert rest[0] == interrupted
    assert rest == whole[done:]
    assert len(resumed.study.trials) == 12
    assert resumed.trials_left() == 0


def test_starting_points_are_not_proposed_twice(tmp_path: Path) -> None:
    run_trials(searcher(tmp_path), 1)
    resumed = searcher(tmp_path)
    assert len(resumed.study.trials) == 3
    assert [g["trial"]["strategy"]["name"] for g in run_trials(resumed, 2)] == ["replay", "ewc"]


def test_a_trial_killed_while_its_knobs_were_drawn_gets_the_rest_of_them(tmp_path: Path) -> None:
    found = searcher(tmp_path)
    run_trials(found, 3)
    half = found.study.ask()
    rate = half.suggest_float("training/learning_rate", 1e-4, 1e-2, log=True)
    resumed = searcher(tmp_path)
    given = resumed.suggest("again")
    assert given["name"] == f"{half.number:04d}"
    assert given["trial"]["training"]["learning_rate"] == rate
    assert resumed.study.trials[half.number].params.keys() > {"strategy/name", "adapter/rank"}


def test_a_search_killed_at_its_start_has_all_its_starting_points(tmp_path: Path) -> None:
    storage = JournalStorage(JournalFileBackend(str(tmp_path / "optuna.journal")))
    study = optuna.create_study(
        storage=storage, study_name=STUDY, directions=["maximize", "minimize"]
    )
    study.enqueue_trial(space().starting_points()[0])
    assert run_trials(searcher(tmp_path), 6) == run_trials(searcher(tmp_path / "whole"), 6)


def test_a_reference_is_repeated_only_if_it_has_not_finished(tmp_path: Path) -> None:
    found = searcher(tmp_path, references=REFERENCES)
    finetune = found.suggest("finetune")
    found.suggest("joint")
    found.on_trial_complete("finetune", outcome(finetune))
    resumed = searcher(tmp_path, references=REFERENCES)
    assert resumed.trials_left() == 13
    assert [g["name"] for g in run_trials(resumed, 2)] == ["joint", "0000"]
    assert searcher(tmp_path, references=REFERENCES).references == []
