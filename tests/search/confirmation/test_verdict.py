"""Verdicts and the sentences that a confirmation ends with."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from confirmations import confirmation

from search.confirmation.answer import result_lines
from search.confirmation.course import course_of, wanted_runs
from search.confirmation.sentences import verdict_sentences, verdict_table
from search.confirmation.verdict import Verdict, judge

FLOOR, CEILING = [0.20, 0.22, 0.19, 0.21, 0.23], [0.56, 0.55, 0.58, 0.57, 0.54]
GOOD, LESS = [0.45, 0.47, 0.44, 0.46, 0.48], [0.31, 0.33, 0.30, 0.30, 0.34]


def told(scores: dict[str, list[float | None]], units: int = 0) -> str:
    made = confirmation(scores, units)
    return " ".join(verdict_sentences(judge(made), made.plan))


def verdict(scores: dict[str, list[float | None]], units: int = 0) -> Verdict:
    return judge(confirmation(scores, units))


def test_a_clear_winner_is_best() -> None:
    scores = {"0000": GOOD, "0001": LESS, "finetune": FLOOR, "joint": CEILING}
    found = verdict(scores)
    assert (found.kind, found.recommended, found.units) == ("best", "0000", 3)
    text = told(scores)
    assert "replay (trial 0000) is best: final average 0.453" in text
    assert "over 3 orderings and seeds that chose nothing" in text
    assert "On validation it leads ewc (trial 0001) by 0.140 (" in text
    assert "It closes 69%" in text and "of the gap from finetune to joint tuning" in text


def test_tasks_held_out_are_named_as_what_chose_nothing() -> None:
    made = confirmation({"0000": GOOD, "0001": LESS, "finetune": FLOOR, "joint": CEILING})
    plan = made.plan.model_copy(update={"held_out_tasks": ("a", "b", "c", "d")})
    text = " ".join(verdict_sentences(judge(made), plan))
    assert "over 3 orderings and seeds, on tasks that chose nothing" in text


def test_equal_finalists_are_not_told_apart() -> None:
    scores = {"0000": GOOD, "0001": [0.47, 0.45, 0.46, 0.44, 0.49], "finetune": FLOOR}
    found = verdict(scores)
    assert found.kind == "not told apart"
    assert set(found.together) == {"0000", "0001"}
    assert "are not told apart over 5 orderings" in told(scores)
    assert "Their differences are known to ± 0.0" in told(scores)


def test_finalists_equal_by_construction_are_not_told_apart() -> None:
    found = verdict({"0000": GOOD, "0001": GOOD, "finetune": LESS})
    assert found.kind == "not told apart"
    assert found.behind["0001"].estimate == found.behind["0001"].half == 0


def test_nothing_beats_plain_tuning() -> None:
    scores = {"0000": [0.24, 0.20, 0.21, 0.20, 0.22], "finetune": FLOOR, "joint": CEILING}
    assert verdict(scores).kind == "nothing beats plain tuning"
    assert told(scores).startswith("Nothing is surely better than plain tuning.")


@pytest.mark.parametrize(("units", "finalists"), [(1, 3), (2, 2)])
def test_too_few_units_cannot_tell(units: int, finalists: int) -> None:
    scores = {"0000": GOOD[:units], "finetune": FLOOR[:units], "0001": LESS[:units]}
    scores = dict([*scores.items()][:finalists])
    assert verdict(scores).kind == "cannot tell"
    assert f"Cannot tell: {units} units have been confirmed" in told(scores)


def test_nothing_is_told_apart_before_the_first_look() -> None:
    made = confirmation({"0000": GOOD[:2], "0001": LESS[:2], "finetune": FLOOR[:2]}, units=5)
    found = judge(made)
    assert (found.kind, found.units, found.together[1:]) == ("cannot tell", 2, ("0001", "finetune"))
    text = " ".join(verdict_sentences(found, made.plan))
    assert text == (
        "Cannot tell: 2 units have been confirmed, and finalists are first compared after 3."
    )


def test_two_units_of_several_finalists_tell_what_is_far_apart() -> None:
    made = {"0000": GOOD[:2], "0001": LESS[:2], "finetune": FLOOR[:2], "finetune-1": FLOOR[1::-1]}
    found = verdict(made)
    assert (found.kind, found.units) == ("best", 2)
    assert found.behind["finetune"].df == 3  # (4 finalists - 1) x (2 units - 1)
    noisy = {**made, "finetune": [0.05, 0.4]}
    assert verdict(noisy).kind == "nothing beats tuned finetune"


def test_intervals_wider_than_the_whole_gap_cannot_tell() -> None:
    scores = {
        "0000": [0.1, 0.5, 0.3],
        "0001": [0.5, 0.1, 0.35],
        "finetune": [0.0, 0.01, 0.0],
        "joint": [0.02, 0.02, 0.03],
    }
    found = verdict(scores)
    assert found.kind == "cannot tell"
    assert "are known to ± " in told(scores)


def test_finetune_that_reaches_joint_tuning_is_not_beaten() -> None:
    near = [0.56, 0.54, 0.57, 0.58, 0.55]
    found = verdict({"0000": near, "0001": LESS, "finetune": CEILING, "joint": near[::-1]})
    assert found.kind == "nothing beats plain tuning"


def test_a_share_above_the_whole_gap_is_not_a_percentage() -> None:
    near = [0.57, 0.54, 0.60, 0.56, 0.56]
    text = told({"0000": near, "0001": LESS, "finetune": FLOOR, "joint": CEILING})
    assert "It reaches joint tuning within noise: at least 89%" in text
    above = [one + 0.1 for one in CEILING]
    text += told({"0000": above, "0001": LESS, "finetune": FLOOR, "joint": CEILING})
    assert "It scores more than joint tuning" in text
    assert "10" not in text.replace("0.10", "")


def test_a_gap_that_is_not_clear_has_no_share() -> None:
    flat = [0.21, 0.20, 0.22, 0.19, 0.24]
    text = told({"0000": GOOD, "0001": LESS, "finetune": FLOOR, "joint": flat})
    assert "on these units that is no clear gap" in text
    assert "closes" not in text


def test_a_finalist_that_diverged_is_out() -> None:
    found = verdict({"0000": [0.45, None, 0.44], "0001": LESS[:3], "finetune": FLOOR[:3]})
    assert found.recommended == "0001"
    assert "0000" not in found.together


def test_finalists_that_drop_out_ask_for_no_further_units() -> None:
    rng = np.random.default_rng(0)
    close = [round(one + float(rng.normal(0, 0.02)), 3) for one in GOOD]
    scores = {"0000": GOOD, "0001": close, "0002": LESS[:3], "finetune": FLOOR, "joint": CEILING}
    made = confirmation(scores, units=8)
    course = course_of(made)
    assert (course.units, course.ended) == (8, False)
    assert "0002" not in course.contenders and "finetune" not in course.contenders
    wanted = {(unit, name) for unit, name, _ in wanted_runs(made)}
    assert wanted == {(u, n) for u in (5, 6, 7) for n in ("0000", "0001", "finetune", "joint")}


def test_a_metric_of_which_less_is_better_is_shown_as_it_is() -> None:
    scores = {"0000": [0.02, 0.03, 0.01], "finetune": [0.58, 0.57, 0.59]}
    made = confirmation(scores)
    made = dataclasses.replace(made, plan=made.plan.model_copy(update={"higher_is_better": False}))
    found = judge(made)
    assert (found.kind, found.recommended) == ("best", "0000")
    assert "final average 0.020 (-0.005 to 0.045)" in " ".join(verdict_sentences(found, made.plan))
    assert "0.580 (0.555 to 0.605)" in verdict_table(found, made.plan)[2]


def test_a_metric_that_joint_tuning_lacks_ends_the_confirmation() -> None:
    made = confirmation({"0000": GOOD[:3], "finetune": FLOOR[:3], "joint": [0.5, 0.5, 0.5]})
    lacking = {
        name: one.model_copy(update={"metrics": {"final_average": None}})
        if "joint" in name
        else one
        for name, one in made.records.items()
    }
    made = dataclasses.replace(made, records=lacking)
    assert not wanted_runs(made)
    assert judge(made).kind == "best"
    assert [
        row.split()[0] for row in verdict_table(judge(made), made.plan) if row.endswith("out")
    ] == ["joint"]


def test_no_verdict_is_given_between_two_looks() -> None:
    # After 4 units the lead is clear, after 3 it is not; the next look is after 5.
    scores = {"0000": [0.40, 0.50, 0.45, 0.451], "finetune": [0.38, 0.41, 0.44, 0.39]}
    made = confirmation(scores, units=8)
    found = judge(made)
    assert (found.units, found.kind) == (3, "nothing beats plain tuning")
    assert found.scores["0000"].df == found.behind["finetune"].df == 2
    missing = [line for line in result_lines(made) if line.startswith("Not finished")]
    assert missing == ["Not finished: 4 runs up to unit 5 are missing; confirm.py goes on."]


def test_the_interval_of_a_lead_agrees_with_who_is_best() -> None:
    # Finetune is surely behind, so that the other rival is tested at .025 and not at .025 / 2.
    lead = np.array([0.02, 0.05, 0.06])
    scores = {"0000": [0.5, 0.5, 0.5], "0001": (0.5 - lead).tolist(), "finetune": [0.1, 0.11, 0.1]}
    for factor, kind in ((1.3, "not told apart"), (0.7, "best")):
        scores["0001"] = (0.5 - lead.mean() - factor * (lead - lead.mean())).tolist()
        found = verdict(scores)
        assert found.kind == kind
        assert (found.behind["0001"].low > 0) == (kind == "best")
    assert found.behind["0001"].level == pytest.approx(0.975)
    assert found.behind["finetune"].level == pytest.approx(0.9875)


def test_finetune_closes_no_share_and_all_out_is_said() -> None:
    scores = {"0000": [0.19, 0.21, 0.2], "finetune": [0.2, 0.22, 0.19], "joint": CEILING[:3]}
    assert verdict(scores).recommended == "finetune"
    assert "closes" not in told(scores)
    nobody = {"0000": [None], "finetune": [None], "joint": [0.5]}
    assert told(nobody) == "Cannot tell: every finalist has a run that ended without a score."


def test_finetune_alone_is_said_to_be_best() -> None:
    scores = {"0000": FLOOR[:3], "finetune": GOOD[:3], "joint": CEILING[:3]}
    assert verdict(scores).kind == "nothing beats plain tuning"
    text = told(scores)
    assert text.startswith("Nothing beats plain tuning. finetune is best: final average 0.453 (")
    assert "On validation it leads replay (trial 0000) by 0.250 (" in text
    assert "not told apart" not in text


def test_who_is_compared_with_none_is_not_called_best() -> None:
    text = told({"0000": GOOD[:3], "finetune": [0.2, None, 0.2], "joint": CEILING[:3]})
    assert text.startswith("replay (trial 0000) alone has a score on every unit: final average")
    assert "leads" not in text


def test_who_drops_out_is_still_scored_on_the_test_split() -> None:
    made = confirmation({"0000": GOOD, "0001": LESS[:3], "finetune": FLOOR, "joint": CEILING})
    records = {name: one for name, one in made.records.items() if name != "unit3-0001-test"}
    assert wanted_runs(dataclasses.replace(made, records=records)) == [(2, "0001", "test")]


def test_the_table_has_both_splits_and_the_distance_to_the_leader() -> None:
    made = confirmation({"0000": GOOD, "0001": LESS, "finetune": FLOOR, "joint": CEILING})
    head, *rows = verdict_table(judge(made), made.plan)
    assert head.split() == ["finalist", "validation", "test", "behind", "the", "leader"]
    assert [row.split()[0] for row in rows] == ["replay", "ewc", "finetune", "joint"]
    assert rows[0].rstrip().endswith("-")
    assert "0.453 (0.415 to 0.491)" in rows[0]


def test_a_tuned_finetune_is_the_floor_and_is_called_so() -> None:
    scores = {"0000": LESS, "finetune": FLOOR, "finetune-1": GOOD, "joint": CEILING}
    found = verdict(scores)
    assert found.kind == "nothing beats tuned finetune"
    text = told(scores)
    assert text.startswith(
        "Nothing beats tuned finetune. tuned finetune (trial finetune-1) is best:"
    )
    assert found.gap and found.gap.estimate == pytest.approx(
        np.mean(np.subtract(CEILING, GOOD)[:3])
    )
    tie = [one + 0.003 * (-1) ** n for n, one in enumerate(GOOD)]
    near = told({"0000": tie, "finetune-1": GOOD, "joint": CEILING})
    assert near.startswith("Nothing is surely better than tuned finetune. ")
    plain = told({"0000": tie, "finetune": GOOD, "finetune-1": FLOOR, "joint": CEILING})
    assert plain.startswith("Nothing is surely better than plain tuning. ")


def test_tuned_reference_runs_stay_to_the_last_unit() -> None:
    scores = {"0000": GOOD, "0001": [0.47, 0.45, 0.46, 0.44, 0.49], "finetune-1": FLOOR}
    made = confirmation(scores, units=8)
    assert {name for _, name, _ in wanted_runs(made)} == {"0000", "0001", "finetune-1"}


def test_the_share_of_a_gap_is_that_of_the_recommended_one_and_may_be_none() -> None:
    spread = [0.1, -0.09, 0.08, -0.1, 0.02]
    worse = [0.24 + one for one in spread]
    text = told({"0000": worse, "finetune": [0.21, 0.24, 0.2, 0.22, 0.21], "joint": CEILING})
    assert "It may close none of the gap from finetune to joint tuning: 8% (-33% to 43%)." in text
