"""Stored answers, scored anew by `python -m tasks.rescore`."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pytest
from records import record, write_run
from toy import Toy, config, walked

from search.results.predictions import SCHEMA
from search.results.tables import write_tables
from tasks import rescore
from trainables.metrics.score_matrix import ScoreMatrix

ORDERINGS = (("hue", "light"), ("light", "hue"))


@pytest.fixture(scope="module")
def run(toy: Toy, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a search with two trials that were really trained."""
    storage = tmp_path_factory.mktemp("storage")
    trials = []
    for name, strategy in (("finetune", "finetune"), ("0000", "replay")):
        walk = walked(toy.walk(config(strategy, epochs=2), storage / "stages", *ORDERINGS))
        trials.append(walk.record(name, "finished"))
    panel = {"orderings": ORDERINGS, "scoring": "seen", "split": "validation"}
    metrics = {"hue": "exact_match", "light": "exact_match"}
    folder = write_run(storage / "made", trials, panel=panel, metrics=metrics)
    write_tables(folder)
    return folder


def table(folder: Path) -> pa.Table:
    return pa.ipc.open_file(folder / rescore.PREDICTIONS_FILE).read_all()


def test_every_answer_of_each_strategys_best_trial_is_in_the_table(run: Path) -> None:
    answers = table(run)
    assert answers.schema == SCHEMA
    # Two tasks before any stage, one after the first, two after the second; ten examples each.
    assert answers.num_rows == 2 * 2 * (2 + 1 + 2) * 10
    cells = pa.ipc.open_file(run / "tables" / "cells.arrow").read_all().to_pylist()
    scores = {(c["trial"], c["ordering"], c["stage"], c["task"]): c for c in cells}
    for row in answers.to_pylist():
        cell = scores[row["trial"], row["ordering"], row["stage"], row["task"]]
        assert row["task_score"] == cell["score"]
        assert row["prompt"] and row["answers"] and row["id"].startswith(row["task"])
        assert row["format_compliance"] in (0, 1) and row["constrained_accuracy"] in (0, 1)


def test_cells_have_format_and_constrained_accuracy_beside_the_score(run: Path) -> None:
    cells = pa.ipc.open_file(run / "tables" / "cells.arrow").read_all().to_pylist()
    answers = table(run).to_pylist()
    for cell in (c for c in cells if c["score"] is not None):
        same = ("trial", "ordering", "stage", "task")
        rows = [r for r in answers if all(r[name] == cell[name] for name in same)]
        for name in ("format_compliance", "constrained_accuracy"):
            assert cell[name] == pytest.approx(sum(r[name] for r in rows) / 10)
        assert cell["constrained_accuracy"] >= cell["score"]


def test_the_best_trials_final_answers_are_jsonl_that_other_evaluations_read(run: Path) -> None:
    files = sorted(p.relative_to(run).as_posix() for p in (run / "predictions").rglob("*.jsonl"))
    assert files == [
        f"predictions/ordering-{n}/{t}.jsonl" for n in (1, 2) for t in ("hue", "light")
    ]
    lines = [json.loads(line) for line in (run / files[0]).read_text().splitlines()]
    assert len({line["question_id"] for line in lines}) == 10
    assert set(lines[0]) >= {"question_id", "prompt", "text", "answers", "score"}


def test_an_unchanged_metric_reproduces_every_score(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert rescore.main([str(run)]) == 0
    out = capsys.readouterr().out
    assert "change" in out and out.count("=") == 20
    cells = json.loads((run / "rescored.json").read_text())["cells"]
    assert len(cells) == 20
    assert all(c["score"] == pytest.approx(c["score_before"]) for c in cells)


def test_another_metric_and_benchmark_replace_the_old_ones(
    run: Path, toy: Toy, capsys: pytest.CaptureFixture[str]
) -> None:
    flags = ["--metric", "hue=anls", "--benchmark", str(toy.benchmark)]
    assert rescore.main([str(run), *flags]) == 0
    cells = json.loads((run / "rescored.json").read_text())["cells"]
    assert {c["task"]: c["metric"] for c in cells} == {"hue": "anls", "light": "exact_match"}
    assert all(c["score"] >= c["score_before"] for c in cells)
    assert all(c["format_compliance"] is not None for c in cells)


def test_answers_are_scored_anew_without_torch(run: Path) -> None:
    code = (
        "import sys; from tasks import rescore; status = rescore.main(sys.argv[1:]); "
        "assert 'torch' not in sys.modules, 'torch was imported'; sys.exit(status)"
    )
    command = [sys.executable, "-c", code, str(run)]
    root = Path(__file__).parents[2]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--metric", "hue"], 'must be TASK=METRIC, got "hue"'),
        (["--metric", "hue=exactmatch"], 'did you mean "exact_match"'),
        (["--metric", "hues=anls"], 'did you mean "hue"'),
        (["--benchmark", "nowhere/benchmark.yaml"], "does not exist"),
    ],
)
def test_a_wrong_metric_task_or_benchmark_is_one_clear_error(
    run: Path, flags: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert rescore.main([str(run), *flags]) == 2
    err = capsys.readouterr().err
    assert message in err and err.count("error:") == 1


def test_a_folder_without_answers_or_with_broken_ones_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert rescore.main([str(tmp_path)]) == 2
    assert "must hold tables/predictions.arrow" in capsys.readouterr().err
    (tmp_path / "tables").mkdir()
    (tmp_path / rescore.PREDICTIONS_FILE).write_text("nothing")
    assert rescore.main([str(tmp_path)]) == 2
    assert "cannot read" in capsys.readouterr().err


def test_a_search_moved_away_from_its_store_keeps_its_answers(run: Path) -> None:
    before, store = table(run), run.parent / "stages"
    store.rename(run.parent / "gone")
    try:
        write_tables(run)
        assert table(run).equals(before)
    finally:
        (run.parent / "gone").rename(store)


def test_a_search_of_an_earlier_version_has_tables_all_the_same(tmp_path: Path) -> None:
    matrix = ScoreMatrix.from_rows(("a", "b"), {2: {"a": 0.5, "b": 0.5}})
    folder = write_run(
        tmp_path / "old",
        [record("finetune", "finetune", [matrix])],
        panel={"orderings": [("a", "b")]},
    )
    cells = write_tables(folder).cells
    assert {c["format_compliance"] for c in cells} == {None}
    assert not (folder / rescore.PREDICTIONS_FILE).exists()


def test_a_benchmark_of_raw_data_gives_its_metrics_without_being_converted(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    says = "{path: gone.json, metric: rouge_l, max_new_tokens: 9, answer_format: word}"
    (tmp_path / "tasks.yaml").write_text(f"tasks:\n  hue: {says}\n")
    assert rescore.main([str(run), "--benchmark", str(tmp_path / "tasks.yaml")]) == 0
    cells = json.loads((run / "rescored.json").read_text())["cells"]
    assert {cell["metric"] for cell in cells if cell["task"] == "hue"} == {"rouge_l"}
    assert {cell["metric"] for cell in cells if cell["task"] == "light"} == {"exact_match"}
    assert rescore.main([str(run), "--benchmark", "coin"]) == 0
    capsys.readouterr()


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("task_score", pa.array([None], pa.float64())),
        ("answers", pa.array([None], pa.list_(pa.string()))),
        ("answers", pa.array(["yes"])),
        ("prediction", pa.array([7])),
        ("prediction", pa.array([None], pa.string())),
    ],
)
def test_a_damaged_table_is_one_clear_error(
    name: str, values: pa.Array, run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = table(run).slice(0, 1)
    damaged = whole.set_column(whole.column_names.index(name), name, values)
    (tmp_path / "tables").mkdir()
    with pa.ipc.new_file(str(tmp_path / rescore.PREDICTIONS_FILE), damaged.schema) as writer:
        writer.write_table(damaged)
    assert rescore.main([str(tmp_path)]) == 2
    assert f'column "{name}"' in capsys.readouterr().err
