"""A benchmark: the tasks of a search and the order in which they arrive."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from spaces.errors import InputError, unknown
from spaces.yaml_files import read_yaml
from tasks.data.benchmark_file import (
    BENCHMARK_FILE,
    RAW_KEYS,
    BenchmarkFile,
    TaskEntry,
)
from tasks.data.manifest import IMAGES, MANIFEST, read_manifest
from tasks.data.task import SPLITS, Task

EMBEDDED = {
    path.parent.name: path for path in Path(__file__).parents[1].glob(f"*/{BENCHMARK_FILE}")
}
"""Benchmark files of this package by name."""
SUFFIXES = (".parquet", ".arrow")
"""Suffixes of a split's file that needs no conversion."""


@dataclass(frozen=True)
class Benchmark:
    """Tasks by name: the order in which they are learned, those learned before it, and general ones."""

    name: str
    tasks: Mapping[str, Task] = field(hash=False)
    order: tuple[str, ...]
    initial: tuple[str, ...]
    file: Path
    """YAML file that paths of tasks are relative to."""
    description: str = ""
    general: tuple[str, ...] = ()
    """Tasks that are scored and never trained."""

    def task(self, name: str) -> Task:
        """Return the task of that name; raise `InputError` that names the nearest one otherwise."""
        if name not in self.tasks:
            raise unknown("task", name, self.tasks)
        return self.tasks[name]


def read_benchmark_file(name_or_path: str | Path) -> tuple[Path, BenchmarkFile]:
    """Find and check a benchmark's YAML file; the data that it names are not read."""
    path = _find(name_or_path)
    return path, BenchmarkFile.from_values(read_yaml(path), str(path))


def load_benchmark(name_or_path: str | Path) -> Benchmark:
    """Load an embedded benchmark by name, or the one that a folder or a YAML file describes."""
    path, file = read_benchmark_file(name_or_path)
    order, initial = file.learning_order(str(path))
    return Benchmark(
        name=file.name if "name" in file.model_fields_set else path.parent.name,
        tasks={name: _task(path, name, entry) for name, entry in file.tasks.items()},
        order=order,
        initial=initial,
        file=path,
        description=file.description,
        general=file.general_tasks(str(path)),
    )


def _find(name_or_path: str | Path) -> Path:
    """Return the YAML file's absolute path: Tune changes the working directory of a trial."""
    if isinstance(name_or_path, str) and name_or_path in EMBEDDED:
        return EMBEDDED[name_or_path].resolve()
    path = Path(name_or_path).expanduser().resolve()
    if path.is_dir():
        path /= BENCHMARK_FILE
    if path.is_file():
        return path
    if "/" not in str(name_or_path) and path.suffix not in (".yaml", ".yml"):
        raise unknown("benchmark", name_or_path, EMBEDDED)
    raise InputError(
        f"a benchmark is a folder with {BENCHMARK_FILE}, a YAML file or one of "
        f"{', '.join(EMBEDDED)}: {path} does not exist"
    )


def _task(path: Path, name: str, entry: TaskEntry) -> Task:
    where = f"{path}: task {name}"
    raw_keys = [key for key in RAW_KEYS if key in entry.raw_values()]
    if raw_keys:
        raise InputError(
            f"{where}: {', '.join(raw_keys)} asks for a conversion, which search/run.py and "
            "search/train.py do; here the data must be converted"
        )
    files, images = task_files(where, entry.data_path(name, path.parent))
    return Task(name=name, files=files, images=images, **entry.scoring())


def task_files(where: str, folder: Path) -> tuple[dict[str, tuple[Path, ...]], tuple[Path, ...]]:
    """Return the files of each split, and the image shards if there are any."""
    if (folder / MANIFEST).is_file():
        manifest = read_manifest(folder)
        files = {split: manifest.files(folder, split) for split in SPLITS}
        images = manifest.files(folder, IMAGES)
    else:
        files, images = plain_files(folder), ()
    missing = [split for split in SPLITS if not files.get(split)]
    if missing:
        raise InputError(
            f"{where}: {folder} must hold {', '.join(f'{split}.parquet' for split in SPLITS)}: "
            f"missing {', '.join(missing)}"
        )
    return files, images


def plain_files(folder: Path) -> dict[str, tuple[Path, ...]]:
    """Return the splits' files in a folder that needs no conversion; Parquet goes before Arrow."""
    return {
        split: (file,)
        for split in SPLITS
        for suffix in reversed(SUFFIXES)
        if (file := folder / f"{split}{suffix}").is_file()
    }
