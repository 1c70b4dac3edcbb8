"""Calibration of verdicts on simulated searches; `benchmarks.calibration.simulate` simulates 1,000."""

from __future__ import annotations

import dataclasses
import itertools
import json
import random
from pathlib import Path

import numpy as np
import pytest

from benchmarks.calibration.model import Components, equal, simulate
from benchmarks.calibration.replay import replayed, summary
from benchmarks.calibration.simulate import (
    called_best,
    coverage,
    kept_best,
    paired_coverage,
    report,
    rightly_best,
)
from benchmarks.calibration.table import Table, fitted, read_table, spreads

MODEL, SEARCHES, UNITS = Components(), 200, 8


def error(share: float) -> float:
    """Return three standard errors of a share of so many searches."""
    return 3 * float(np.sqrt(share * (1 - share) / SEARCHES))


def test_intervals_cover_and_the_best_is_kept() -> None:
    found = simulate(MODEL, [], SEARCHES, UNITS)
    # Means of four finalists share their units' luck, so that 200 searches are no more than that.
    assert abs(coverage(found) - 0.95) <= 0.02 + error(0.95) / 2
    assert abs(paired_coverage(found, UNITS) - 0.95) <= 0.02 + error(0.95) / 2
    assert kept_best(found) >= 0.95 - error(0.95)


@pytest.mark.parametrize("strategies", [2, 4])
def test_equal_strategies_are_hardly_ever_told_apart(strategies: int) -> None:
    found = simulate(equal(MODEL, strategies), [], SEARCHES, UNITS)
    assert called_best(found) <= 0.05 + error(0.05)


def test_a_gap_of_two_deviations_of_a_unit_is_found() -> None:
    found = simulate(equal(MODEL, 2), [2 * MODEL.paired], SEARCHES, UNITS)
    assert rightly_best(found) >= 0.8


def test_the_model_moves_scores_as_its_components_say() -> None:
    still = dataclasses.replace(
        equal(MODEL), ordering=0.0, seed=0.0, ordering_own=0.0, seed_own=0.0, examples=10**8
    )
    for one in simulate(still, [], 3, UNITS):
        scores = [one.confirmation.score(unit, "0000") for unit in range(UNITS)]
        assert scores == pytest.approx([MODEL.mean] * UNITS, abs=1e-3)
        assert one.verdict.kind == "not told apart"
    wide = [
        one.confirmation.score(0, "0000") - one.confirmation.score(0, "0001")  # type: ignore[operator]
        for one in simulate(equal(MODEL, 2), [], 400, 1)
    ]
    assert np.std(wide) == pytest.approx(MODEL.paired, rel=0.1)


def test_the_report_names_what_must_hold() -> None:
    lines: list[str] = []
    report(MODEL, 10, UNITS, lines.append)
    text = "\n".join(lines)
    assert "95 % interval of a paired difference" in text
    assert "2 equal strategies: one is called best" in text
    assert "standard errors of its mean) is found in" in text


def written_table(path: Path, components: Components, seed: int) -> Table:
    """Write a table of scores drawn from known components, and read it."""
    rng = np.random.default_rng(seed)
    orderings = [list(one) for one in itertools.permutations("abc")]
    names = {f"{s}-{n}": s for s in ("replay", "ewc") for n in range(20)} | {"finetune": "finetune"}
    shared = rng.normal(0, components.seed, (12, 1)) + rng.normal(0, components.ordering, 6)
    rows = []
    for name, strategy in names.items():
        own = rng.normal(0, components.seed_own, (12, 6)) + rng.normal(
            0, components.ordering_own, 6
        )
        cells = 0.5 + shared + own
        rows += [
            {"name": name, "strategy": strategy, "seed": s, "ordering": o, "train_seconds": 2.0,
             "scores": [[0.0] * 3, [float(cells[s, n])] * 3]}
            for s in range(12) for n, o in enumerate(orderings)
        ]  # fmt: skip
    joint = {"strategy": "joint", "ordering": [], "scores": [[0.6] * 3], "train_seconds": 3.0}
    rows += [{"name": "joint", "seed": s, **joint} for s in range(12)]
    path.write_text(json.dumps({"examples": dict.fromkeys("abc", 10**7), "rows": rows}))
    return read_table(path)


def test_components_are_found_again_in_a_table(tmp_path: Path) -> None:
    truth = Components(seed=0.03, ordering=0.04, seed_own=0.02, ordering_own=0.03)
    found = [fitted(written_table(tmp_path / f"{n}.json", truth, n)) for n in range(30)]
    for name in ("seed", "ordering", "seed_own", "ordering_own"):
        squares = [getattr(one, name) ** 2 for one in found]
        assert np.sqrt(np.mean(squares)) == pytest.approx(getattr(truth, name), rel=0.25)
    assert (found[0].strategies, found[0].ceiling) == (2, pytest.approx(0.6))


def test_searches_are_replayed_on_a_table(tmp_path: Path) -> None:
    table = written_table(tmp_path / "table.json", Components(), 0)
    rng = random.Random(0)
    found = [replayed(table, rng) for _ in range(5)]
    text = "\n".join([*spreads(table), *summary(table, found)])
    assert "5 searches of 16 configurations; verdicts: " in text
    assert "best of the panel, as without confirmation" in text
    assert all(one.stages <= one.everything for one in found)
