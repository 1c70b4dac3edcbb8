"""A preset: a benchmark's YAML whose paths are relative to a folder of data that the user names.

`NAME.yaml` beside this file is written as any benchmark. The files that it expects can be looked up
first. `write_preset` writes it with absolute paths, as a benchmark of the user's own.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from hashlib import sha256
from pathlib import Path
from typing import Any

from spaces.errors import InputError, unknown
from spaces.files import write_atomically
from spaces.yaml_files import read_yaml, write_yaml
from tasks.data.task import SPLITS

PRESETS = {
    name: Path(__file__).parent / f"{name}.yaml"
    for name in ("paper_1", "paper_2", "coin", "ucit", "mllm_dcl", "mllm_acl")
}
VARIABLE = "CITUNE_DATA"
"""Environment variable that names the folder of data."""
SUFFIXES = (".parquet", ".arrow", ".json", ".jsonl")
"""Suffixes of a split's file, if a preset leaves its format to the user."""


@dataclass(frozen=True)
class Expected:
    """A file or folder that a task needs in the data folder: any of `paths` will do."""

    task: str
    what: str
    """A split, or "images"."""
    paths: tuple[Path, ...]

    @property
    def existing(self) -> Path | None:
        """First of the paths that exists."""
        return next((path for path in self.paths if path.exists()), None)

    def __str__(self) -> str:
        first = self.paths[0]
        if len(self.paths) == 1:
            return str(first)
        return f"{first.with_suffix('')}.({'|'.join(p.suffix[1:] for p in self.paths)})"


@dataclass(frozen=True)
class Preset:
    """Content of `NAME.yaml`."""

    name: str
    values: Mapping[str, Any]

    @property
    def order(self) -> tuple[str, ...]:
        """Tasks in the order in which they are learned."""
        return tuple(self.values["order"])

    @property
    def initial(self) -> tuple[str, ...]:
        """Tasks that are learned jointly before it."""
        return tuple(self.values.get("initial", ()))

    @property
    def tasks(self) -> Mapping[str, Mapping[str, Any]]:
        """Values of each task."""
        return self.values["tasks"]

    def expected(self, data: Path) -> Iterator[Expected]:
        """Yield all that must lie in the folder `data`."""
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
        """Return all that is missing; images in Parquet need no folder."""
        return [
            one for one in self.expected(data) if not one.existing and not self._inside(one, data)
        ]

    def _inside(self, images: Expected, data: Path) -> bool:
        """Return whether a task's pictures lie in its Parquet or Arrow files."""
        if images.what != "images":
            return False
        files = [one.existing for one in self.expected(data) if one.task == images.task]
        kept = [file for file in files if file and file.suffix in (".parquet", ".arrow")]
        return bool(kept) and len(kept) == sum(file is not None for file in files)


@lru_cache
def load_preset(name: str) -> Preset:
    """Load the preset of that name; raise `InputError` that names the nearest one otherwise."""
    if name not in PRESETS:
        raise unknown("preset", name, PRESETS)
    return Preset(name, read_yaml(PRESETS[name]))


def data_folder(given: str | Path | None) -> Path | None:
    """Return the folder of data: the given one, else that of `CITUNE_DATA`, else None."""
    named = given or os.environ.get(VARIABLE)
    return Path(named).expanduser().resolve() if named else None


def write_preset(name: str, data: Path | None, folder: Path) -> Path:
    """Write the preset with absolute paths into `folder`; return the file.

    Its name holds a hash of the data folder, so that two folders do not share a file. Raises
    `InputError` if no data folder is given, or if something in it is missing.
    """
    preset = load_preset(name)
    command = f"python -m tasks.presets {name} --data DIR"
    if data is None:
        raise InputError(
            f'the preset "{name}" needs the folder of its data: --data DIR, or {VARIABLE} in the '
            f"environment; {command} lists what must be in it"
        )
    missing = preset.missing(data)
    if missing:
        listed = "\n".join(f"  {one.task} {one.what}: {one}" for one in missing)
        raise InputError(
            f'the preset "{name}" needs {len(missing)} more of its files in "{data}":\n{listed}\n'
            f"{command.replace('DIR', str(data))} lists where to get them"
        )
    values = {**preset.values, "tasks": {n: _absolute(t, data) for n, t in preset.tasks.items()}}
    path = folder / f"{name}-{sha256(str(data).encode()).hexdigest()[:8]}.yaml"
    write_atomically(path, write_yaml(values))
    return path


def _absolute(values: Mapping[str, Any], data: Path) -> dict[str, Any]:
    """Return a task's values with absolute paths; images inside the data files need no folder."""
    new = {**values, "path": str(data / values["path"])}
    if "images" in values:
        new["images"] = str(data / values["images"])
        if not Path(new["images"]).exists():
            del new["images"]
    return new
