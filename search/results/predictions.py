"""Stored answers as an Arrow table, and as JSONL that other evaluation scripts read.

The table holds all cells of each strategy's best trial. `predictions/ordering-N/TASK.jsonl` holds those of
the best trial of all, at the end of each ordering.
`python -m tasks.rescore` scores the table by other metrics.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa

from spaces.files import replacing, write_atomically
from tasks import EXTRA_SCORES
from tasks.rescore import ANSWER_COLUMNS, CELL_COLUMNS, PREDICTIONS_FILE
from trainables.store.records import ScoreRecord
from trainables.store.stage_store import StageStore
from trainables.trial_record import ScoredCell

FOLDER = "predictions"
SCHEMA = pa.schema(
    [
        *((name, pa.string()) for name in ("trial", "tasks", "task", "split", "metric")),
        *((name, pa.int64()) for name in ("ordering", "stage")),
        ("task_score", pa.float64()),
        *((name, pa.string()) for name in ("id", "prompt", "prediction")),
        ("answers", pa.list_(pa.string())),
        *((name, pa.float64()) for name in ("score", *EXTRA_SCORES)),
    ]
)
"""Columns of a row per answer; `task_score` is the score of its whole cell."""


class AnsweredCell(NamedTuple):
    """One cell of a score matrix, and the key of its score record in the store."""

    trial: str
    tasks: str
    ordering: int
    stage: int
    task: str
    split: str
    key: str
    is_final: bool
    """True at the end of its ordering."""


def answered_cells(
    trial: str, orderings: Sequence[Sequence[str]], cells: Iterable[ScoredCell]
) -> Iterator[AnsweredCell]:
    """Yield a trial's cells with the names that the table of answers needs."""
    for cell in cells:
        tasks = orderings[cell.ordering - 1]
        yield AnsweredCell(
            trial=trial,
            tasks=" > ".join(tasks),
            ordering=cell.ordering,
            stage=cell.stage,
            task=cell.task,
            split=cell.split,
            key=cell.key,
            is_final=cell.stage == len(tasks),
        )


def write_predictions(
    folder: Path, cells: Iterable[AnsweredCell], store: Path, chosen: set[AnsweredCell]
) -> None:
    """Write the table and, for the `chosen` cells, JSONL files.

    If the store has no answers, as for a folder moved away from its storage, old files stay.
    """
    stages = StageStore(store)
    # One record at a time: all answers of a search may exceed memory.
    known = (
        (cell, record) for cell in cells if isinstance(record := stages.get(cell.key), ScoreRecord)
    )
    first = next(known, None)
    if first is None:
        return
    target = folder / PREDICTIONS_FILE
    target.parent.mkdir(parents=True, exist_ok=True)
    options = pa.ipc.IpcWriteOptions(compression="zstd")
    with (
        replacing(target) as temporary,
        pa.OSFile(str(temporary), "wb") as sink,
        pa.ipc.new_file(sink, SCHEMA, options=options) as table,
    ):
        for cell, record in itertools.chain([first], known):
            table.write_batch(pa.RecordBatch.from_pylist(list(_answer_rows(cell, record)), SCHEMA))
            if cell in chosen:
                _write_lines(folder / FOLDER / f"ordering-{cell.ordering}", cell, record)


def _answer_rows(cell: AnsweredCell, record: ScoreRecord) -> Iterator[dict[str, Any]]:
    of_cell = {name: getattr(cell, name) for name in CELL_COLUMNS}
    of_cell |= {"metric": record.metric, "task_score": record.score}
    for answer in record.predictions:
        yield of_cell | {n: answer[n] for n in (*ANSWER_COLUMNS, "score", *EXTRA_SCORES)}


def _write_lines(folder: Path, cell: AnsweredCell, record: ScoreRecord) -> None:
    """Write `question_id`, `prompt` and `text`, as LLaVA's and CoIN's evaluations read, and scores."""
    lines = [
        {
            "question_id": answer["id"],
            "prompt": answer["prompt"],
            "text": answer["prediction"],
            "answers": answer["answers"],
            **{name: answer[name] for name in ("score", *EXTRA_SCORES)},
        }
        for answer in record.predictions
    ]
    text = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)
    write_atomically(folder / f"{cell.task}.jsonl", text)
