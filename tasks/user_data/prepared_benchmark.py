"""Preparation of a benchmark of raw data: converted tasks, and a benchmark file that names them.

DIR/benchmark-HASH.yaml   the prepared benchmark
DIR/TASK-HASH/            the shards of a task; never changed once they are complete
DIR/known/*.json          notes on conversions and checks
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any, ClassVar

import pyarrow.parquet as pq

from spaces.damage import set_aside
from spaces.errors import InputError, first_line
from spaces.files import file_sha256, write_atomically
from spaces.records import NamedRecord
from tasks.data.benchmark import plain_files, read_benchmark_file
from tasks.data.benchmark_file import BenchmarkFile, TaskEntry
from tasks.data.manifest import MANIFEST, REJECTED, SourceFile, check_shards, read_manifest
from tasks.data.rows import COLUMNS, column_faults
from tasks.data.task import SPLITS
from tasks.formats.values.noted_row import note_lines
from tasks.user_data.converted_folder import convert_task
from tasks.user_data.damaged_data import KNOWN, note_origin, origin_of_damaged, set_damaged_aside
from tasks.user_data.processes import convert_together
from tasks.user_data.raw_task import RawTask, raw_task
from tasks.user_data.task_converter import VERSION, file_state

UNREAD = "from here on"
"""Part of a reason for which the rest of a file was not read, so that `skip_broken` must not pass it."""
NAMED = 20
"""Largest number of broken rows that an error names; the others are counted."""
MOST_PLAIN = 1 << 31
"""Bytes up to which plain Parquet is read into memory; more is converted to shards, which are mapped."""


class ConversionNote(NamedRecord):
    """Inputs of a conversion: while they are unchanged, its folder is used again."""

    TITLE: ClassVar[str] = "note of a conversion"
    SCHEMA: ClassVar[int] = 3

    folder: str
    sources: tuple[SourceFile, ...]
    images: Mapping[str, tuple[int, int]]
    """Path -> (bytes, mtime_ns) of each image file."""


def prepare_benchmark(name_or_path: str | Path, out: Path) -> Path:
    """Return the YAML file of a benchmark ready to be read: its own, or a prepared one in `out`.

    Tasks of raw data are converted into `out`, unless an earlier conversion is there. Raises one
    `InputError` with the broken rows of all tasks, unless the benchmark sets `skip_broken: true`.
    """
    # A prepared benchmark whose data were damaged is prepared again, from the file that it was made of.
    if again := origin_of_damaged(name_or_path, out):
        name_or_path = again
    path, file = read_benchmark_file(name_or_path)
    raw = {
        name: raw_task(f"{path}: task {name}", path.parent, name, entry)
        for name, entry in file.tasks.items()
        if file.skip_broken or is_raw(name, entry, path.parent)
    }
    for name, entry in file.tasks.items():
        folder = entry.data_path(name, path.parent)
        if name not in raw and (folder / MANIFEST).is_file():
            check_shards(folder)
    if not raw:
        return path
    known = {name: earlier_folder(task, out) for name, task in raw.items()}
    new = [raw[name] for name, folder in known.items() if folder is None]
    made = iter(convert_together(converted_folder, new, out))
    folders = {name: folder or next(made) for name, folder in known.items()}
    manifests = {folder: read_manifest(folder) for folder in folders.values()}
    broken = [folder for folder, manifest in manifests.items() if manifest.rows.rejected]
    cut = [f for f in broken if any(UNREAD in reason for reason in manifests[f].reasons)]
    if (broken and not file.skip_broken) or cut:
        raise InputError(_broken_rows(path, cut or broken))
    _check_splits(path, folders)
    return _write(path, file, folders, out)


def is_raw(name: str, entry: TaskEntry, base: Path) -> bool:
    """Return whether a task's data must be converted: the file asks for it, or the layout is not ours."""
    if entry.raw_values():
        return True
    folder = entry.data_path(name, base)
    if (folder / MANIFEST).is_file():
        return False
    plain = [file for files in plain_files(folder).values() for file in files]
    if len(plain) < len(SPLITS):
        return True
    if sum(file.stat().st_size for file in plain) > MOST_PLAIN:
        return True
    return any(_has_other_columns(file) for file in plain)


def _has_other_columns(file: Path) -> bool:
    """Return whether a Parquet file has other columns than ours; False for one that cannot be read.

    Later checks name its fault.
    """
    if file.suffix != ".parquet":
        return False
    try:
        schema = pq.read_schema(file)
    except (OSError, ValueError):
        return False
    return bool(column_faults(schema, [name for name in COLUMNS if name != "images"]))


def earlier_folder(task: RawTask, out: Path) -> Path | None:
    """Return the folder of an earlier conversion of a task if its inputs and its data are unchanged.

    Damaged data are set aside.
    """
    earlier = _unchanged(_note_file(task, out), out)
    return earlier if earlier and not set_damaged_aside(earlier) else None


def converted_folder(task: RawTask, out: Path) -> Path:
    """Convert a task; return the folder of its shards."""
    print(f"converting  {task.name}", file=sys.stderr, flush=True)
    folder, images = convert_task(task, out)
    manifest = read_manifest(folder)
    for line in note_lines(manifest.notes):
        print(f"{line} ({task.name})", file=sys.stderr, flush=True)
    sources = manifest.sources
    note = _note_file(task, out)
    inputs = ConversionNote(name=note.stem, folder=folder.name, sources=sources, images=images)
    write_atomically(note, inputs.to_json())
    return folder


def _note_file(task: RawTask, out: Path) -> Path:
    """Return the file of a task's `ConversionNote`, named for its settings and the converter's version."""
    settings = json.dumps([VERSION, task.settings()], sort_keys=True)
    return out / KNOWN / f"{hashlib.sha256(settings.encode()).hexdigest()[:16]}.json"


def _unchanged(note: Path, out: Path) -> Path | None:
    """Return the folder that a note names if it exists and its inputs are the same; None otherwise.

    A damaged note is set aside.
    """
    try:
        known = ConversionNote.read(note)
        folder = out / known.folder
        same = folder.is_dir() and all(map(_same_source, known.sources))
        return folder if same and all(file_state(p) == s for p, s in known.images.items()) else None
    except FileNotFoundError:
        return None
    except (OSError, InputError) as error:
        why = first_line(error)
        set_aside(note, why)
        print(f"{note} is damaged and was set aside: {why}", file=sys.stderr, flush=True)
        return None


def _same_source(source: SourceFile) -> bool:
    """Return whether a file is unchanged: by size and time, else by its content."""
    size, mtime_ns = file_state(source.file)
    if size != source.bytes:
        return False
    return mtime_ns == source.mtime_ns or file_sha256(source.file) == source.sha256


def _broken_rows(path: Path, folders: list[Path]) -> str:
    """Describe the first broken rows of all tasks, and count them by reason."""
    reasons: Counter[str] = Counter()
    read = 0
    for folder in folders:
        manifest = read_manifest(folder)
        reasons.update(manifest.reasons)
        read += manifest.rows.read
    lines = [
        f"{fault['file']} {_row(fault)}"
        for fault in islice((one for folder in folders for one in rejected_rows(folder)), NAMED)
    ]
    total = sum(reasons.values())
    if total > NAMED:
        lines.append(f"... and {total - NAMED} more: python -m tasks.validate {path}")
    counts = ", ".join(f"{count} {reason}" for reason, count in reasons.most_common())
    lines.append(
        f"{total} of {read} rows are broken: {counts}; mend them, or set skip_broken: true"
    )
    return "\n".join(lines)


def _row(fault: Mapping[str, Any]) -> str:
    detail = f" ({fault['detail']})" if fault["detail"] else ""
    return f"row {fault['row']} (id {fault['id']}): {fault['reason']}{detail}"


def rejected_rows(folder: Path) -> Iterator[dict[str, Any]]:
    """Yield the rejected rows of a conversion."""
    with (folder / REJECTED).open(encoding="utf-8") as file:
        yield from map(json.loads, file)


def _check_splits(path: Path, folders: Mapping[str, Path]) -> None:
    """Raise `InputError` if a converted task has a split without examples."""
    for name, folder in folders.items():
        examples = read_manifest(folder).examples
        empty = [split for split in SPLITS if not examples[split]]
        if empty:
            counts = ", ".join(f"{split} {examples[split]}" for split in SPLITS)
            raise InputError(
                f"{path}: task {name}: every split needs examples, got {counts}: give more data, name "
                "a file for the split, or make it larger (split: {validation: 0.1, test: 0.1})"
            )


def _write(path: Path, file: BenchmarkFile, folders: Mapping[str, Path], out: Path) -> Path:
    """Write the prepared benchmark under a name made of its content; return the path.

    Converted tasks are named by their folder beside the file, the others by an absolute path.
    """
    tasks = {}
    for name, entry in file.tasks.items():
        here = entry.data_path(name, path.parent).absolute()
        data = folders[name].name if name in folders else str(here)
        tasks[name] = TaskEntry(**{**entry.ready_values(), "path": data})
    kept = {key: getattr(file, key) for key in file.model_fields_set - {"skip_broken", "tasks"}}
    prepared = BenchmarkFile(**{"name": path.parent.name, **kept, "tasks": tasks})
    text = f"# Made of raw data by a conversion; not to be edited.\n{prepared.to_yaml()}"
    target = out / f"benchmark-{hashlib.sha256(text.encode()).hexdigest()[:16]}.yaml"
    write_atomically(target, text)
    note_origin(path, target)
    return target
