"""The plan of a confirmation: new, gone on with, or replaced."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
from confirmations import confirmation
from confirmations import plan as made_by_hand
from records import ORDERINGS, matrix, record, references, write_run

from search.confirmation.after_search import search_budget, wanted_confirmation
from search.confirmation.confirm import planned
from search.confirmation.finalists import (
    ConfirmationRecord,
    check_units,
    followers,
    search_stages,
)
from search.confirmation.scope import SHARE
from search.confirmation.sentences import verdict_sentences
from search.confirmation.verdict import judge
from search.plan.presets import smoke
from search.plan.resolve import resolve_plan
from search.plan.resolved_plan import ResolvedPlan
from search.results.outcome import Outcome, read_outcome
from spaces.errors import InputError
from spaces.references import REFERENCES


@pytest.fixture
def search(tmp_path: Path) -> tuple[Outcome, ResolvedPlan]:
    """Return a finished search of three tasks, and a plan that goes on with it."""
    run = write_run(tmp_path / "run")
    resolved = resolve_plan(smoke(), "other", tmp_path, resume=False)
    return read_outcome(run), dataclasses.replace(resolved, run=run)


def searched(record: ConfirmationRecord) -> list[str]:
    return [one.name for one in record.finalists if one.strategy not in REFERENCES]


def test_one_begun_earlier_keeps_its_numbers(search: tuple[Outcome, ResolvedPlan]) -> None:
    outcome, resolved = search
    begun = planned(outcome, resolved, finalists=1, units=4)
    begun.write(resolved.run)
    assert len(searched(begun)) == 1 and len(begun.units) == 4
    assert planned(outcome, resolved) == begun
    assert planned(outcome, resolved, units=4) == begun
    with pytest.raises(
        InputError, match="must keep the 4 units that it was begun with, or have more"
    ):
        planned(outcome, resolved, units=3)
    check_units(resolved.run, None)


def test_one_that_cannot_tell_is_given_more_units(search: tuple[Outcome, ResolvedPlan]) -> None:
    outcome, resolved = search
    begun = planned(outcome, resolved)
    begun.write(resolved.run)
    more = planned(outcome, resolved, units=8)
    assert begun.looks == (2,) and more.looks == (2, 3, 5, 8)
    assert more.units[: len(begun.units)] == begun.units and len(more.units) == 8
    assert more.finalists == begun.finalists and more.most_stages is None
    more.write(resolved.run)
    assert planned(outcome, resolved) == more
    assert planned(outcome, resolved, units=20).looks == (2, 3, 5, 20)


def test_other_finalists_begin_it_anew_on_the_same_units(
    search: tuple[Outcome, ResolvedPlan],
) -> None:
    outcome, resolved = search
    begun = planned(outcome, resolved, finalists=1, units=4)
    begun.write(resolved.run)
    more = planned(outcome, resolved, finalists=2)
    assert searched(more)[:1] == searched(begun) and len(searched(more)) == 2
    assert more.units == begun.units and more.looks == begun.looks


def test_units_that_are_asked_for_afterwards_have_no_budget(
    search: tuple[Outcome, ResolvedPlan],
) -> None:
    outcome, resolved = search
    begun = planned(outcome, resolved)
    begun.write(resolved.run)
    assert begun.most_stages is not None
    assert planned(outcome, resolved) == begun
    assert planned(outcome, resolved, units=len(begun.units)).most_stages is None


def test_the_preference_is_that_of_the_plan(search: tuple[Outcome, ResolvedPlan]) -> None:
    outcome, resolved = search
    begun = planned(outcome, resolved)
    begun.write(resolved.run)
    assert begun.prefer == outcome.run.plan.plan.prefer == "training"
    other = dataclasses.replace(resolved, plan=dataclasses.replace(resolved.plan, prefer="memory"))
    assert planned(outcome, other, finalists=1).prefer == "memory"  # a new one
    assert planned(outcome, other) == begun.model_copy(update={"prefer": "memory"})


def test_a_search_of_references_alone_keeps_its_answer(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = write_run(tmp_path / "run", references())
    plan = dataclasses.replace(smoke(), confirm=None)
    resolved = dataclasses.replace(resolve_plan(plan, "other", tmp_path, resume=False), run=run)
    assert wanted_confirmation(resolved) is None
    assert "not confirmed: there is nothing to confirm" in capsys.readouterr().out


def test_repeated_orderings_are_not_said_to_be_fresh() -> None:
    made = confirmation({"0000": [0.5, 0.6, 0.5], "joint": [0.7, 0.7, 0.7], "finetune": [0.1] * 3})
    few = dataclasses.replace(made, plan=made.plan.model_copy(update={"fresh_orderings": 0}))
    fresh, repeated = (" ".join(verdict_sentences(judge(c), c.plan)) for c in (made, few))
    assert "3 orderings and seeds that chose nothing" in fresh
    assert "3 seeds (there are too few orderings) that chose nothing" in repeated


def test_a_time_budget_keeps_a_part_for_the_confirmation() -> None:
    plan = dataclasses.replace(smoke(), time_budget=100.0)
    assert search_budget(plan) == 100.0  # it confirms nothing
    kept = search_budget(dataclasses.replace(plan, confirm=None))
    assert kept is not None and kept == pytest.approx(100.0 * (1 - SHARE))
    assert search_budget(dataclasses.replace(plan, time_budget=None, confirm=None)) is None


def test_a_plan_by_hand_repeats_nothing() -> None:
    assert not made_by_hand(["0000", "joint"], 3).repeats(3)


def one_ordering(folder: Path) -> Outcome:
    """Return a search on one ordering, in which nothing tells two trials of a strategy apart."""
    trials = [
        record(f"000{number}", "replay", [matrix(ORDERINGS[0], learned, 0.9)])
        for number, learned in enumerate((0.8, 0.7, 0.6))
    ]
    return read_outcome(write_run(folder, [*references(ORDERINGS[:1]), *trials]))


def test_on_one_ordering_every_trial_follows_the_leader(tmp_path: Path) -> None:
    outcome = one_ordering(tmp_path / "run")
    assert followers(outcome, ["0000"], 5) == ["0001", "0002"]
    assert followers(outcome, ["0000"], 1) == ["0001"]


def test_stages_count_for_the_budget_once_wherever_they_were_trained(tmp_path: Path) -> None:
    outcome = one_ordering(tmp_path / "run")
    fresh = [
        one.model_copy(
            update={
                "stages": tuple(
                    stage.model_copy(update={"key": f"{one.name}{number}", "trained": False})
                    for number, stage in enumerate(one.stages)
                )
            }
        )
        for one in outcome.run.trials
    ]
    again = read_outcome(write_run(tmp_path / "again", fresh))
    joint = next(one for one in fresh if one.strategy == "joint")
    others = sum(len(one.stages) for one in fresh if one is not joint)
    assert search_stages(again) == others + len(ORDERINGS[0]) * len(joint.stages)
    twice = [one.model_copy(update={"name": f"1{one.name}"}) for one in fresh]
    both = read_outcome(write_run(tmp_path / "both", [*fresh, *twice]))
    assert search_stages(both) == search_stages(again)


def test_a_reference_of_several_runs_is_called_tuned(tmp_path: Path) -> None:
    more = record("finetune-2", "finetune", [matrix(o, 0.7, 0.5) for o in ORDERINGS])
    run = write_run(tmp_path / "run", [*references(), record("0000"), more])
    resolved = resolve_plan(smoke(), "other", tmp_path, resume=False)
    made = planned(read_outcome(run), dataclasses.replace(resolved, run=run), units=3)
    (floor,) = [one for one in made.finalists if one.strategy == "finetune"]
    assert (floor.name, floor.is_tuned) == ("finetune", True)
    (ceiling,) = [one for one in made.finalists if one.strategy == "joint"]
    assert not ceiling.is_tuned
