"""The claims' benchmark: statistics by hand, verdicts on made-up figures, the page from made-up results."""

from __future__ import annotations

import itertools
import json
import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from records import joint_matrix, matrix, record, write_run

from benchmarks.claims import figures
from benchmarks.claims import page as pages
from benchmarks.claims.evidence import Evidence, Pair, Unit, Walked, read_study
from benchmarks.claims.jobs import (
    ALIGNED,
    FINALS,
    INFORMED,
    PAIR,
    RATES,
    informed,
    rates,
    write_wanted,
)
from benchmarks.claims.page import page
from benchmarks.claims.presets import apart, read_preset
from benchmarks.claims.sections import within_first
from benchmarks.claims.stats import (
    Interval,
    correlation,
    mean,
    paired,
    pearson,
    ranks,
    spearman,
)
from benchmarks.claims.tables import interval
from benchmarks.claims.verdicts import HOLDS, OPEN, REFUTED, verdicts
from search.plan.search_plan import SearchPlan
from spaces.errors import InputError
from strategies.similarity import MODALITIES, SIGNALS
from trainables.metrics.score_matrix import ScoreMatrix
from trainables.metrics.summary import summary

TASKS = ("animals", "digits", "signs")
HELD = (("digits", "animals", "signs"), ("animals", "signs", "digits"))
UNITS: list[Unit] = [(seed, ordering) for seed in (1, 2, 3) for ordering in HELD]
WOBBLE = (0.000, 0.002, -0.002, 0.004, -0.004, 0.000)
"""Added to the units, so that differences have a spread."""


# Statistics --------------------------------------------------------------------------------------


def over_seeds(*values: float) -> dict[Unit, float]:
    """One ordering at some seeds."""
    return {(seed, HELD[0]): value for seed, value in enumerate(values)}


def test_a_mean_has_the_interval_of_the_textbook() -> None:
    # Standard deviation 1 of three values: 4.3027 / sqrt(3) on either side.
    found = mean(over_seeds(1.0, 2.0, 3.0))
    assert found.value == 2.0
    assert found.half == pytest.approx(4.3027 / math.sqrt(3), abs=1e-4)
    assert not found.above and not found.below


def test_one_value_has_no_interval_and_an_unknown_one_no_mean() -> None:
    alone = mean(over_seeds(0.5))
    assert alone.value == 0.5 and math.isnan(alone.low) and not alone.above
    assert math.isnan(mean(over_seeds(0.5, math.nan)).value) and math.isnan(mean({}).value)


def test_differences_are_paired_by_unit_and_not_by_order() -> None:
    a, b = (1, HELD[0]), (2, HELD[0])
    one, other = {a: 1.0, b: 5.0}, {b: 4.0, a: 0.0}
    assert paired(one, other) == Interval(1.0, 1.0, 1.0, 2, 2)
    assert math.isnan(paired(one, {a: 0.0}).value)


def test_correlations_are_those_made_by_hand() -> None:
    x, once = np.array([1.0, 2.0, 3.0]), np.ones((1, 3))
    assert pearson(x, np.array([1.0, 3.0, 2.0]), once) == pytest.approx(0.5)
    assert ranks(np.array([10.0, 30.0, 10.0]), once).tolist() == [[1.5, 3.0, 1.5]]
    assert spearman(x, np.array([1.0, 10.0, 100.0]), once) == pytest.approx(1)
    assert np.isnan(pearson(x, np.ones(3), once))


def test_a_value_that_counts_twice_correlates_as_if_it_stood_there_twice() -> None:
    x, y = np.array([1.0, 2.0, 4.0, 3.0]), np.array([2.0, 1.0, 3.0, 9.0])
    rows = [0, 0, 1, 2]
    for of in (pearson, spearman):
        twice = of(x, y, np.array([[2.0, 1.0, 1.0, 0.0]]))
        assert twice == pytest.approx(of(x[rows], y[rows], np.ones((1, 4))))


def test_the_bootstrap_draws_groups_and_is_the_same_every_time() -> None:
    x, y = [1.0, 1.0, 2.0, 2.0, 3.0, 3.0], [0.0, 0.2, 0.3, 0.1, 0.4, 0.6]
    groups = [0, 0, 1, 1, 2, 2]
    found = correlation(x, y, groups)
    assert found == correlation(x, y, groups)
    assert found.low < found.value < found.high <= 1
    # Drawn one by one, other resamples come about.
    assert (found.low, found.high) != (correlation(x, y, list(range(6))).low, found.high)


def test_a_first_task_that_is_forgotten_sooner_is_set_apart() -> None:
    pairs = [Pair(*names, 0.0, {}) for names in ("ab", "ac", "ba", "bc")]
    assert within_first(pairs, [1.0, 3.0, 0.0, 0.0]) == [-1.0, 1.0, 0.0, 0.0]


def test_orderings_that_something_was_tuned_on_are_not_held_out() -> None:
    assert apart([TASKS], "reverse+digits>animals>signs") == (
        TASKS[::-1],
        HELD[0],
    )
    with pytest.raises(InputError, match="two orderings that nothing was tuned on"):
        apart([TASKS], "given+reverse")


# Verdicts ----------------------------------------------------------------------------------------


def evidence(preset: str, finals: Mapping[str, float], **more: Any) -> Evidence:
    """Final averages by strategy; `lost` and `lost_aligned`: what finetune forgets from either start."""
    names = {"finetune": 0.3, "joint": 0.8, "replay": 0.5, "eproj": 0.5, "tir": 0.5} | {
        **dict.fromkeys(("ewc", "mas", "lwf"), 0.3),
        ALIGNED: 0.2,
        **finals,
    }
    lost = {"finetune": more.get("lost", 0.3), ALIGNED: more.get("lost_aligned", 0.6)}
    units = {
        name: {
            unit: Walked(
                {
                    "final_average": final + (name != "finetune") * wobble,
                    "forgetting": lost.get(name, 0.1) + (name == ALIGNED) * wobble,
                    "learning_average": 0.7,
                    "relative_forgetting": lost.get(name, 0.1) / 0.7,
                }
            )
            for unit, wobble in zip(UNITS, WOBBLE, strict=True)
        }
        for name, final in names.items()
    }
    tuned = {name: final for name, final in names.items() if name != ALIGNED}
    return Evidence(preset, units, tuned | more.get("tuned", {}))


def outcome(number: int, first: Evidence, second: Evidence) -> str:
    return verdicts(first, second)[number - 1].outcome


PLAIN = {"ewc": 0.35}  # better than finetune, and than mas and lwf


def test_each_claim_holds_where_its_differences_are_clearly_above_nothing() -> None:
    found = verdicts(evidence("one", {}), evidence("two", PLAIN))
    assert [verdict.outcome for verdict in found] == [HOLDS] * 5


def test_forgetting_needs_both_presets() -> None:
    good = evidence("one", {})
    assert outcome(1, good, evidence("two", {"joint": 0.3})) == OPEN
    assert outcome(1, good, evidence("two", {"joint": 0.2})) == REFUTED
    assert outcome(1, evidence("one", {}, lost=-0.2), good) == REFUTED


def test_a_start_forgets_less_only_by_a_clear_difference() -> None:
    good = evidence("one", {})
    assert outcome(2, good, evidence("two", {}, lost_aligned=0.3)) == OPEN
    assert outcome(2, good, evidence("two", {}, lost_aligned=0.1)) == REFUTED


def test_replay_and_expansion_must_both_be_above_finetune_in_both_presets() -> None:
    good = evidence("one", {})
    assert outcome(3, good, evidence("two", {"replay": 0.3})) == OPEN
    assert outcome(3, good, evidence("two", {"eproj": 0.1})) == REFUTED


def test_regularisation_is_to_work_from_one_start_alone() -> None:
    none, works = evidence("one", {}), evidence("two", PLAIN)
    assert outcome(4, none, works) == HOLDS
    assert outcome(4, evidence("one", PLAIN), works) == REFUTED  # from either start
    assert outcome(4, none, evidence("two", {})) == OPEN
    worse = {"ewc": 0.2, "mas": 0.2, "lwf": 0.2}
    assert outcome(4, none, evidence("two", worse)) == REFUTED  # from neither


def test_the_regulariser_is_chosen_on_the_tuning_orderings_and_not_on_the_held_out_ones() -> None:
    second = evidence("two", {"mas": 0.6}, tuned={"ewc": 0.5, "mas": 0.4, "lwf": 0.3})
    judged = verdicts(evidence("one", {}), second)[3].judged[1]
    assert judged.what == "final_average: ewc - finetune"
    assert judged.interval.value == pytest.approx(0.0)


def test_similarity_is_judged_against_the_better_of_ewc_and_mas_and_finetune() -> None:
    good = evidence("one", {})
    assert outcome(5, good, evidence("two", {"tir": 0.3})) == OPEN
    assert outcome(5, good, evidence("two", {"mas": 0.6})) == REFUTED
    assert outcome(5, good, evidence("two", {"eproj": 0.2})) == REFUTED
    beside = verdicts(good, good)[4].beside
    assert beside[0].what == "final_average: eproj - replay"  # the best that knows no similarity


def test_what_is_missing_or_has_one_unit_tells_nothing() -> None:
    whole = evidence("one", {})
    without = {n: own for n, own in whole.units.items() if n not in ("replay", ALIGNED, "tir")}
    lacking = Evidence("two", without, whole.tuned)
    assert [v.outcome for v in verdicts(whole, lacking)] == [HOLDS, OPEN, OPEN, OPEN, OPEN]
    alone = {n: dict(itertools.islice(own.items(), 1)) for n, own in whole.units.items()}
    single = Evidence("one", alone, whole.tuned)
    assert [v.outcome for v in verdicts(single, single)] == [OPEN] * 5


# The page ----------------------------------------------------------------------------------------

KNOBS: dict[str, dict[str, Any]] = {
    "finetune": {},
    "joint": {},
    "replay": {"ratio": 0.1},
    "ewc": {"strength": 1e8},
    "tir": {"strength": 1e8},
    "eproj": {"threshold": 1.0},
}
KEPT = {"finetune": 0.5, "replay": 0.9, "ewc": 0.6, "tir": 0.65, "eproj": 1.0, ALIGNED: 0.4}


def scores(name: str, ordering: tuple[str, ...], seed: int) -> ScoreMatrix:
    if name == "joint":
        return joint_matrix(ordering, 0.85 + seed / 200)
    return matrix(ordering, 0.8, KEPT[name] + seed / 200)


def walked(name: str, ordering: tuple[str, ...], seed: int) -> dict[str, Any]:
    made = scores(name, ordering, seed)
    costs = {"stored_bytes": 2000.0, "added_parameters": 0.0, "core_seconds": 12.0 + seed}
    metrics = summary(made) | costs
    beside = ("retrieval_accuracy", "oracle_score") if name == "eproj" else ()
    return {
        "ordering": ordering,
        "scores": made.to_dict(),
        **{n: made.to_dict() for n in beside},
        "metrics": {n: None if v != v else v for n, v in metrics.items()},
    }


def write_result(
    work: Path, preset: str, name: str, seed: int, orderings: Any, **more: Any
) -> None:
    (work / FINALS).mkdir(exist_ok=True)
    result = {
        **{"preset": preset, "name": name, "seed": seed, "identity": "as wanted", "message": ""},
        **{"config": {"strategy": {"name": name}}, "seconds": 1.0, "orderings": orderings},
        **more,
    }
    (work / FINALS / f"{preset}-{name}-{seed}.json").write_text(json.dumps(result))


def write_preset(work: Path, preset: str) -> None:
    """A search, finals at three seeds, pairs and similarities."""
    tuning = (TASKS, TASKS[::-1])
    trials = [
        record(name if not knobs else f"{n:04d}", name, [scores(name, o, 0) for o in tuning],
               knobs=knobs)
        for n, (name, knobs) in enumerate(KNOBS.items())
    ]  # fmt: skip
    plan = SearchPlan(preset, strategies=("replay", "ewc", "tir", "eproj"), samples=4)
    write_run(work / preset, trials, plan=plan)
    for name, seed in itertools.product([*KNOBS, ALIGNED], (1, 2, 3)):
        write_result(work, preset, name, seed, [walked(name, o, seed) for o in HELD])
    for task in TASKS:
        orderings = [(task, other) for other in TASKS if other != task]
        made = [walked("finetune", ordering, 0) for ordering in orderings]
        write_result(work, preset, f"{PAIR}{task}", 0, made)
    files = sorted(file.name for file in (work / FINALS).glob(f"{preset}-*"))
    write_wanted(work, preset, dict.fromkeys(files, "as wanted"))
    names = (SIGNALS[0], *MODALITIES)
    similarity = {
        one: {n: {t: len({*one} & {*t}) / 10 for t in TASKS if t != one} for n in names}
        for one in TASKS
    }
    (work / FINALS / f"{preset}-similarity.json").write_text(json.dumps(similarity))


@pytest.fixture
def work(tmp_path: Path) -> Path:
    for preset in ("one", "two"):
        write_preset(tmp_path, preset)
    return tmp_path


def test_the_controls_differ_from_what_they_control_in_one_thing(tmp_path: Path) -> None:
    both = [read_preset(name, tmp_path, 1, "random:2@7") for name in ("mini_1", "mini_2")]
    trials = [record("finetune", "finetune")]
    for number, (name, strength, kept) in enumerate(
        [("ewc", 40.0, 0.9), ("mas", 7.0, 0.5), ("tir", 3.0, 0.6)]
    ):
        made = [matrix(TASKS, 0.8, kept)]
        trials.append(record(f"{number:04d}", name, made, knobs={"strength": strength}))
    for preset in both:
        write_run(preset.folder, trials)
    slower = rates(both[0], both[1], (1, 2), tmp_path)
    assert [job.name for job in slower] == [
        f"{name}@{rate:g}" for rate in RATES for name in (ALIGNED, ALIGNED, "finetune", "finetune")
    ]
    for job in slower:
        assert job.config["training"]["learning_rate"] == float(job.name.partition("@")[2])
        start = both[0 if job.name.startswith(ALIGNED) else 1]
        assert job.worker_spec.model == start.resolved.plan.model
        assert job.fingerprints.model == start.resolved.fingerprints.model
        assert {o for panel in job.panels for o in panel.orderings} == set(both[1].held_out)
    controls = informed(both[1], (1, 2), tmp_path)
    assert [job.name for job in controls] == [*INFORMED] * 2
    for job in controls:
        strategy = job.config["strategy"]
        assert (strategy["name"], strategy["importances"], strategy["strength"]) == (
            "tir",
            "ewc",
            40.0,
        )
        assert strategy["control"] == INFORMED[job.name]
    plain, random = controls[0].config, controls[1].config
    assert {**random, "strategy": {**random["strategy"], "control": "none"}} == plain
    for aligned, own in zip(slower[0:2] + slower[4:6], slower[2:4] + slower[6:8], strict=True):
        assert aligned.config == own.config and aligned.fingerprints.seed == own.fingerprints.seed
    assert len({job.identity for job in [*slower, *controls]}) == len(slower) + len(controls)


ABOUT = {"command": "python it", "machine": "a loom", "lanes": 2, "seconds": 7200.0}


def test_the_page_has_every_section_and_no_number_that_is_none(
    work: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (work / "notes.md").write_text("The models are small.\n")
    monkeypatch.setattr(pages, "NOTES", work / "notes.md")
    text = page([read_study(work, name) for name in ("one", "two")], ABOUT, None)
    headings = re.findall(r"^## (.*)$", text, re.MULTILINE)
    assert headings == [
        *("Verdicts", "one", "two", "Which expert answers"),
        *("Does similarity tell what is forgotten?", "What differs from the paper, and why"),
    ]
    assert re.findall(r"^### (\d)\.", text, re.MULTILINE) == list("12345")
    assert not re.search(r"\bnan\b|\binf\b|\bnone\b", text, re.IGNORECASE)
    for part in ("python it", "2 h 0 min", "a loom", "The models are small.", "strength=1e+08"):
        assert part in text
    rows = [line for line in text.splitlines() if line.startswith("| eproj |")]
    assert "± " in rows[0] and "| 2.0 ± 0.0 |" in rows[0]


def test_a_page_of_half_the_results_says_what_is_missing(
    work: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pages, "NOTES", work / "none.md")
    (work / FINALS / "one-tir-2.json").unlink()
    write_result(work, "one", "tir", 3, [], identity="of an earlier winner")
    for file in (work / FINALS).glob("two-*"):
        file.unlink()
    write_result(work, "one", "ewc", 2, [], message="stage 2 diverged")
    text = page([read_study(work, name) for name in ("one", "two")], {}, None)
    assert "ewc, seed 2: stage 2 diverged" in text
    assert "Not finished yet: one-tir-2, one-tir-3." in text
    for part in ("No results yet.", "two: no pairs of tasks yet.", "Nothing has been written yet."):
        assert part in text
    assert not re.search(r"\bnan\b", text, re.IGNORECASE)


def test_a_figure_of_each_kind_is_small_and_always_the_same(work: Path) -> None:
    pytest.importorskip("matplotlib")
    study = read_study(work, "one")
    held = HELD[0]
    drawn = [
        figures.bars(study.evidence, work / "drawn" / "bars.svg"),
        figures.heat_maps(study.evidence, held, work / "drawn" / "matrices.svg"),
        figures.scatter(study.evidence.pairs, work / "drawn" / "pairs.svg"),
    ]
    assert all(0 < path.stat().st_size < 150_000 for path in drawn)
    again = figures.bars(study.evidence, work / "again" / "bars.svg")
    assert again.read_bytes() == drawn[0].read_bytes()


def test_a_mean_without_an_interval_is_written_alone() -> None:
    assert interval(mean(over_seeds(0.25))) == "0.250"
    assert interval(mean({})) == "-"
    assert interval(mean(over_seeds(0.1, 0.1)), signed_=True) == "+0.100 ± 0.000"
