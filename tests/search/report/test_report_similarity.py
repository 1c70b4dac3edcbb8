from __future__ import annotations

from pathlib import Path

from records import ORDERINGS, matrix, record, references, write_run

from search.report.html import render, write_report
from search.results.outcome import read_outcome
from search.results.tables import write_tables
from trainables.metrics.glossary import RETRIEVAL
from trainables.trial_record import StageCost, TrialRecord

SIMILAR = {name: {"animals": 0.9, "digits": 0.3} for name in ("image", "instruction", "answer")}


def stages() -> list[StageCost]:
    """Return the three stages of the first ordering, as a trial of eproj records them."""
    starts = [(None, True), ("animals", True), ("animals", False)]
    known: list[dict] = [{}, {name: {"animals": 0.5} for name in SIMILAR}, SIMILAR]
    return [
        StageCost(
            tasks=tuple((task,) for task in ORDERINGS[0][:number]),
            key=str(number),
            trained=True,
            train_seconds=1.0,
            start_task=start_task,
            new_expert=new_expert,
            similarity=similarity,
        )
        for number, ((start_task, new_expert), similarity) in enumerate(
            zip(starts, known, strict=True), start=1
        )
    ]


def run_of(folder: Path, *trials: TrialRecord) -> Path:
    return write_run(folder / "run", [*references(), *trials])


def section(folder: Path) -> str:
    return render("similarity.html", read_outcome(folder))


def test_a_search_without_an_informed_strategy_says_so(tmp_path: Path) -> None:
    body = section(run_of(tmp_path, record("0000")))
    assert "No finished trial of this search computed task similarities." in body


def test_the_nearest_task_comes_first_with_the_factors_of_its_similarity(tmp_path: Path) -> None:
    knobs = {"signal": "image*instruction*answer"}
    extra = {name: [matrix(o, 1.0, 0.8) for o in ORDERINGS] for name in RETRIEVAL}
    trial = record("0000", "eproj", knobs=knobs, stages=stages(), extra_matrices=extra)
    body = section(run_of(tmp_path, trial))
    assert "animals 0.729 (image 0.90, instruction 0.90, answer 0.90), digits 0.027" in body
    assert "animals, as a new expert" in body
    assert "animals, trained further" in body


def test_retrieval_and_the_oracles_score_stand_beside_the_score(tmp_path: Path) -> None:
    right = [matrix(o, 1.0, 0.8) for o in ORDERINGS]
    oracle = [matrix(o, 0.9, 1.0) for o in ORDERINGS]
    extra = {"retrieval_accuracy": right, "oracle_score": oracle}
    folder = run_of(tmp_path, record("0000", "eproj", stages=stages(), extra_matrices=extra))
    body = section(folder)
    assert "Experts of eproj, trial 0000" in body
    assert "score with oracle" in body
    cells = write_tables(folder).cells
    own = [c for c in cells if c["trial"] == "0000" and c["retrieval_accuracy"] is not None]
    assert own
    assert all(c["oracle_score"] is not None for c in own)
    assert all(c["oracle_score"] is None for c in cells if c["strategy"] == "finetune")
    assert 'id="similarity"' in write_report(folder).read_text()
