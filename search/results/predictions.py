"""What the models answered, out of the stage store: an Arrow table, and JSONL as other scripts read it.

Of each strategy its best trial, all cells; of the best trial also `predictions/ordering-N/TASK.jsonl`,
the answers at the end of an ordering. `python -m tasks.rescore` scores the table by other metrics.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa

from tasks import EXTRA_SCORES
from tasks.rescore import ANSWER_COLUMNS, CELL_COLUMNS, PREDICTIONS_FILE
from trainables.store.stage_store import StageStore

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
"""A row an answer; `task_score` is that of its whole cell."""


class ScoredCell(NamedTuple):
    """One cell of a score matrix, and the key of its record in the store."""

    trial: str
    tasks: str
    ordering: int
    stage: int
    task: str
    split: str
    key: str
    last: bool
    """Whether it is at the end of its ordering."""


def scored_cells(
    trial: str, orderings: Sequence[Sequence[str]], records: Iterable[Mapping[str, Any]]
) -> Iterator[ScoredCell]:
    """The cells that a trial's record, or a walk, names."""
    for record in records:
        number: int = record["ordering"]
        tasks = orderings[number - 1]
        yield ScoredCell(
            trial=trial,
            tasks=" > ".join(tasks),
            ordering=number,
            stage=record["stage"],
            task=record["task"],
            split=record["split"],
            key=record["key"],
            last=record["stage"] == len(tasks),
        )


def write_predictions(
    folder: Path, cells: Iterable[ScoredCell], store: Path, chosen: set[ScoredCell]
) -> int:
    """Write the table and, of the `chosen` cells, JSONL files; returns how many answers were found.

    Where nothing is found, as in a search's folder moved away from its storage, what is there stays.
    """
    stages, count = StageStore(store), 0
    target = folder / PREDICTIONS_FILE
    temporary = target.with_name(f".{target.name}.{os.getpid()}")
    target.parent.mkdir(parents=True, exist_ok=True)
    options = pa.ipc.IpcWriteOptions(compression="zstd")
    with (
        pa.OSFile(str(temporary), "wb") as sink,
        pa.ipc.new_file(sink, SCHEMA, options=options) as out,
    ):
        for cell in cells:  # one at a time: all answers of a search need not fit into memory
            record = stages.get(cell.key)
            if record is None or "answers" not in record["predictions"][0]:
                continue  # a store that was cleared, or one of an earlier version
            batch = pa.RecordBatch.from_pylist(list(_rows(cell, record)), SCHEMA)
            out.write_batch(batch)
            count += len(batch)
            if cell in chosen:
                _write_lines(folder / FOLDER / f"ordering-{cell.ordering}", cell, record)
    if count:
        os.replace(temporary, target)
    else:
        temporary.unlink()
    return count


def _rows(cell: ScoredCell, record: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    place = {name: getattr(cell, name) for name in CELL_COLUMNS}
    whole = {"metric": record["metric"], "task_score": record["score"]}
    for one in record["predictions"]:
        yield (
            place | whole | {name: one[name] for name in (*ANSWER_COLUMNS, "score", *EXTRA_SCORES)}
        )


def _write_lines(folder: Path, cell: ScoredCell, record: Mapping[str, Any]) -> None:
    """`question_id`, `prompt` and `text`, as LLaVA's and CoIN's evaluations take them, and more."""
    lines = [
        {
            "question_id": one["id"],
            "prompt": one["prompt"],
            "text": one["prediction"],
            "answers": one["answers"],
            **{name: one[name] for name in ("score", *EXTRA_SCORES)},
        }
        for one in record["predictions"]
    ]
    folder.mkdir(parents=True, exist_ok=True)
    temporary = folder / f".{cell.task}.{os.getpid()}"
    text = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)
    temporary.write_text(text, encoding="utf-8")
    os.replace(temporary, folder / f"{cell.task}.jsonl")
