"""A preset: a benchmark's YAML whose paths are relative to a folder of data that the user names.

`NAME.yaml` beside this file is written as any benchmark; what it expects can be looked for before it is
read, and `write_preset` writes it down with absolute paths, as a benchmark of the user's own.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from hashlib import sha256
from pathlib import Path
from typing import Any

import yaml

from spaces.errors import InputError, unknown
from spaces.files import write_atomically
from tasks.data.task import SPLITS

PRESETS = {
    name: Path(__file__).parent / f"{name}.yaml"
    for name in ("paper_1", "paper_2", "coin", "ucit", "mllm_dcl", "mllm_acl")
}
VARIABLE = "CITUNE_DATA"
SUFFIXES = (".parquet", ".arrow", ".json", ".jsonl")
"""Of a split's file, where a preset leaves its form to the user."""


@dataclass(frozen=True)
class Expected:
    """One thing that a task needs in the data folder: any of `paths` will do."""

    task: str
    what: str
    """A split, or images."""
    paths: tuple[Path, ...]

    @property
    def found(self) -> Path | None:
        """Which of them is there."""
        return next((path for path in self.paths if path.exists()), None)

    def __str__(self) -> str:
        first = self.paths[0]
        if len(self.paths) == 1:
            return str(first)
        return f"{first.with_suffix('')}.({'|'.join(p.suffix[1:] for p in self.paths)})"


@dataclass(frozen=True)
class Preset:
    """What `NAME.yaml` says."""

    name: str
    values: Mapping[str, Any]

    @property
    def order(self) -> tuple[str, ...]:
        """The tasks in the order in which they are learned."""
        return tuple(self.values["order"])

    @property
    def initial(self) -> tuple[str, ...]:
        """The tasks learned jointly before it."""
        return tuple(self.values.get("initial", ()))

    @property
    def tasks(self) -> Mapping[str, Mapping[str, Any]]:
        """What is said of each task."""
        return self.values["tasks"]

    def expected(self, data: Path) -> Iterator[Expected]:
        """All that must lie in the folder `data`."""
        for task, values in self.tasks.items():
            folder = data / values["path"]
            for split in SPLITS:
                if split in values:
                    yield Expected(task, split, (folder / values[split],))
                elif split not in values.get("split", {}):
                    paths = tuple(folder / f"{split}{suffix}" for suffix in SUFFIXES)
                    yield Expected(task, split, paths)
            if "images" in values:
                yield Expected(task, "images", (data / values["images"],))

    def missing(self, data: Path) -> list[Expected]:
        """What is not there; of images in Parquet no folder is needed."""
        return [one for one in self.expected(data) if not one.found and not self._inside(one, data)]

    def _inside(self, images: Expected, data: Path) -> bool:
        """Whether the pictures of a task lie in its Parquet or Arrow files."""
        if images.what != "images":
            return False
        files = [one.found for one in self.expected(data) if one.task == images.task]
        kept = [file for file in files if file and file.suffix in (".parquet", ".arrow")]
        return bool(kept) and len(kept) == sum(file is not None for file in files)


@lru_cache
def preset(name: str) -> Preset:
    """The preset of that name; `InputError` with the nearest one otherwise."""
    if name not in PRESETS:
        raise unknown("preset", name, PRESETS)
    return Preset(name, yaml.safe_load(PRESETS[name].read_text(encoding="utf-8")))


def data_folder(given: str | Path | None) -> Path | None:
    """The folder of data: the one given, else what `CITUNE_DATA` names, else none."""
    named = given or os.environ.get(VARIABLE)
    return Path(named).expanduser().resolve() if named else None


def write_preset(name: str, data: Path | None, folder: Path) -> Path:
    """Write the preset with absolute paths into `folder`; returns the file.

    The file is named after the data's place, so that two places do not share one. Raises `InputError`
    where no data folder is named, or something in it is missing.
    """
    found = preset(name)
    command = f"python -m tasks.presets {name} --data DIR"
    if data is None:
        raise InputError(
            f'the preset "{name}" needs the folder of its data: --data DIR, or {VARIABLE} in the '
            f"environment; {command} lists what must be in it"
        )
    missing = found.missing(data)
    if missing:
        listed = "\n".join(f"  {one.task} {one.what}: {one}" for one in missing)
        raise InputError(
            f'the preset "{name}" needs {len(missing)} more of its files in "{data}":\n{listed}\n'
            f"{command.replace('DIR', str(data))} says where to get them"
        )
    values = {**found.values, "tasks": {n: _absolute(t, data) for n, t in found.tasks.items()}}
    path = folder / f"{name}-{sha256(str(data).encode()).hexdigest()[:8]}.yaml"
    write_atomically(path, yaml.safe_dump(values, sort_keys=False, allow_unicode=True))
    return path


def _absolute(values: Mapping[str, Any], data: Path) -> dict[str, Any]:
    """A task's values for the loader; images kept in the data files themselves need no folder."""
    new = {**values, "path": str(data / values["path"])}
    if "images" in values:
        new["images"] = str(data / values["images"])
        if not Path(new["images"]).exists():
            del new["images"]
    return new
