"""Files that are gone from a storage although another file names them."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path

from search.plan.saved_plan import PLAN_FILE
from search.results.sums import SUMS, read_sums
from search.tuning.journal import JOURNAL, journal_fault, load_study
from search.tuning.restored_trials import ended_trials
from spaces.errors import InputError
from tasks.data.benchmark import read_benchmark_file
from tasks.data.manifest import MANIFEST, Manifest
from trainables.trial_record import TRIALS, trial_path

Lost = tuple[Path, str]
"""Path of a file that is gone, and what names it."""


def lost_files(kind: str, path: Path) -> Iterator[Lost]:
    """Yield the files that a sound file of some kind names, and that are gone."""
    match kind:
        case "record":
            yield from _lost_blob(path)
        case "data" if path.name == MANIFEST:
            manifest = Manifest.from_json(path.read_bytes(), str(path))
            for shard in (shard for files in manifest.shards.values() for shard in files):
                if not (path.parent / shard.file).is_file():
                    yield path.parent / shard.file, f"its {MANIFEST} names it"
        case "benchmark":
            yield from _lost_tasks(path)
        case "result" if path.name == SUMS:
            for file in read_sums(path.parent):
                if not (path.parent / file).is_file():
                    yield path.parent / file, f"{SUMS} names it; search/analyze.py writes it again"


def lost_of_search(run: Path) -> Iterator[Lost]:
    """Yield the plan, journal and trial records that a search's folder has lost."""
    if not (run / PLAN_FILE).exists():
        yield run / PLAN_FILE, "the folder holds a search without it"
    if not (run / JOURNAL).exists():
        if why := journal_fault(run):
            yield run / JOURNAL, why
        return
    study = None
    with contextlib.suppress(InputError):  # a damaged journal is named as such
        study = load_study(run)
    for name in ended_trials(study) if study else ():
        if not trial_path(run, name).exists():
            yield trial_path(run, name), "the journal names it; search/run.py --resume makes it"


def searches(storage: Path) -> list[Path]:
    """Return the folders of searches, also of those that have lost their plan."""
    names = (PLAN_FILE, JOURNAL, TRIALS)
    return sorted({path.parent for name in names for path in storage.glob(f"*/{name}")})


def _lost_blob(path: Path) -> Iterator[Lost]:
    values = json.loads(path.read_bytes())
    blob = values.get("blob")
    if not blob or values.get("evicted"):
        return
    sha256 = blob["sha256"]
    store = path.parents[2]
    file = store / "blobs" / sha256[:2] / f"{sha256}.safetensors"
    if not file.exists():
        yield file, f"the record {path.stem} names it; it is made again when it is needed"


def _lost_tasks(path: Path) -> Iterator[Lost]:
    """Yield the manifests of converted tasks that a prepared benchmark names beside itself."""
    path, file = read_benchmark_file(path)
    for name, entry in file.tasks.items():
        folder = entry.data_path(name, path.parent)
        if folder.parent == path.parent and not (folder / MANIFEST).is_file():
            yield folder / MANIFEST, f"{path.name} names it; a search converts the data again"
