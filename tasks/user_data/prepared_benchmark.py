"""A benchmark of raw data -> one that `load_benchmark` reads, with what was converted before used again.

DIR/benchmark-HASH.yaml   the prepared benchmark
DIR/TASK-HASH/            the shards of a task; never changed once they are there
DIR/known/HASH.json       what data and settings a folder was made of
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import yaml

from spaces.errors import InputError
from tasks.data.benchmark import READY_KEYS, plain_files, read_benchmark_file
from tasks.data.rows import COLUMNS, column_faults
from tasks.data.shards import MANIFEST, REJECTED, file_sha256, read_manifest
from tasks.data.task import SPLITS
from tasks.user_data.converted_folder import convert_task
from tasks.user_data.raw_files import KEYS as RAW_KEYS
from tasks.user_data.raw_files import RawTask, raw_task
from tasks.user_data.task_converter import VERSION, file_state

UNREAD = "from here on"  # what follows was not even counted, which skip_broken must not hide
NAMED = 20  # broken rows that an error names, before the counts
MOST_PLAIN = 1 << 31  # bytes of plain Parquet that are read into memory as they are


def prepare_benchmark(name_or_path: str | Path, out: Path) -> Path:
    """The YAML file of a benchmark that needs no conversion: its own, or a prepared one in `out`.

    Raises one `InputError` with the broken rows of all tasks, if any are and the benchmark does not
    say `skip_broken: true`. What could be converted stays in `out`, and is not converted again.
    """
    path, written = read_benchmark_file(name_or_path)
    skip = written.get("skip_broken", False)
    raw = {
        name: raw_task(f"{path}: task {name}", path.parent, name, entry)
        for name, entry in written["tasks"].items()
        if skip or is_raw(path.parent / str(entry.get("path", name)), entry)
    }
    if not raw:
        return path
    folders = {name: converted(task, out) for name, task in raw.items()}
    broken = [folder for folder in folders.values() if read_manifest(folder)["rows"]["rejected"]]
    cut = [
        folder for folder in broken if any(UNREAD in r for r in read_manifest(folder)["reasons"])
    ]
    if (broken and not skip) or cut:
        raise InputError(_broken_rows(path, cut or broken))
    _check_splits(path, folders)
    return _write(path, written, folders, out)


def is_raw(folder: Path, entry: Mapping[str, Any]) -> bool:
    """Whether a task's data must be converted: it says so, or they are not as they should be."""
    if any(key in entry for key in RAW_KEYS):
        return True
    if (folder / MANIFEST).is_file():
        return False
    plain = [file for files in plain_files(folder).values() for file in files]
    if len(plain) < len(SPLITS):
        return True
    if sum(file.stat().st_size for file in plain) > MOST_PLAIN:
        return True  # as shards they are mapped into memory
    return any(_other_columns(file) for file in plain)


def _other_columns(file: Path) -> bool:
    """Whether a Parquet file has other columns than ours; a broken one is left to the checks of rows."""
    if file.suffix != ".parquet":
        return False
    try:
        schema = pq.read_schema(file)
    except (OSError, ValueError):
        return False
    return bool(column_faults(schema, [name for name in COLUMNS if name != "images"]))


def converted(task: RawTask, out: Path) -> Path:
    """The folder of a task's shards: that of an earlier conversion, if nothing has changed since."""
    settings = json.dumps([VERSION, task.settings()], sort_keys=True)
    note = out / "known" / f"{hashlib.sha256(settings.encode()).hexdigest()[:16]}.json"
    earlier = _unchanged(note, out)
    if earlier:
        return earlier
    print(f"converting  {task.name}", file=sys.stderr, flush=True)
    folder, images = convert_task(task, out)
    note.parent.mkdir(exist_ok=True)
    sources = read_manifest(folder)["sources"]
    _put(note, json.dumps({"folder": folder.name, "sources": sources, "images": images}))
    return folder


def _unchanged(note: Path, out: Path) -> Path | None:
    try:
        known = json.loads(note.read_text(encoding="utf-8"))
        folder = out / known["folder"]
        good = (folder / MANIFEST).is_file() and all(map(_same_source, known["sources"]))
        same = good and all(file_state(path) == tuple(was) for path, was in known["images"].items())
        return folder if same and read_manifest(folder) else None
    except (OSError, ValueError, KeyError, TypeError, AttributeError):  # also an InputError
        return None


def _same_source(entry: Mapping[str, Any]) -> bool:
    """Whether a file is as it was: by size and time, else by its content."""
    path = Path(entry["file"])
    size, mtime_ns = file_state(str(path))
    if size != entry["bytes"]:
        return False
    return mtime_ns == entry["mtime_ns"] or file_sha256(path) == entry["sha256"]


def _broken_rows(path: Path, folders: list[Path]) -> str:
    """The first broken rows of all tasks, and how many there are for each reason."""
    reasons: Counter[str] = Counter()
    read = 0
    for folder in folders:
        manifest = read_manifest(folder)
        reasons.update(manifest["reasons"])
        read += manifest["rows"]["read"]
    lines = [
        f"{fault['file']} {_row(fault)}"
        for fault in islice((one for folder in folders for one in rejected(folder)), NAMED)
    ]
    total = sum(reasons.values())
    if total > NAMED:
        lines.append(f"... and {total - NAMED} more: python -m tasks.validate {path}")
    counts = ", ".join(f"{count} {reason}" for reason, count in reasons.most_common())
    lines.append(
        f"{total} of {read} rows are broken: {counts}; mend them, or say skip_broken: true"
    )
    return "\n".join(lines)


def _row(fault: Mapping[str, Any]) -> str:
    detail = f" ({fault['detail']})" if fault["detail"] else ""
    return f"row {fault['row']} (id {fault['id']}): {fault['reason']}{detail}"


def rejected(folder: Path) -> Iterator[dict[str, Any]]:
    """The rejected rows of a conversion."""
    with (folder / REJECTED).open(encoding="utf-8") as file:
        yield from map(json.loads, file)


def _check_splits(path: Path, folders: Mapping[str, Path]) -> None:
    for name, folder in folders.items():
        examples = read_manifest(folder)["examples"]
        empty = [split for split in SPLITS if not examples[split]]
        if empty:
            counts = ", ".join(f"{split} {examples[split]}" for split in SPLITS)
            raise InputError(
                f"{path}: task {name}: every split needs examples, got {counts}: give more data, name "
                "a file for the split, or make it larger (split: {validation: 0.1, test: 0.1})"
            )


def _write(path: Path, written: dict[str, Any], folders: Mapping[str, Path], out: Path) -> Path:
    """The prepared benchmark, named for its content."""
    tasks = {}
    for name, entry in written["tasks"].items():
        kept = {key: entry[key] for key in READY_KEYS if key in entry}
        folder = path.parent / str(entry.get("path", name))
        kept["path"] = folders[name].name if name in folders else str(folder.absolute())
        tasks[name] = kept
    prepared = {"name": path.parent.name} | {k: v for k, v in written.items() if k != "skip_broken"}
    prepared["tasks"] = tasks
    text = "# Made of raw data by a conversion; not to be edited.\n"
    text += yaml.safe_dump(prepared, sort_keys=False, allow_unicode=True)
    name = f"benchmark-{hashlib.sha256(text.encode()).hexdigest()[:16]}.yaml"
    _put(out / name, text)
    return out / name


def _put(path: Path, text: str) -> None:
    """Write a file in one move."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.write_text(text, encoding="utf-8")
    os.replace(temporary, path)
