"""A task whose data are still as the user has them: which files, and what the YAML file says of them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from spaces.errors import InputError, unknown
from tasks.data.task import SPLITS
from tasks.formats import known_format
from tasks.user_data.splits import SplitRule

KEYS = ("train", "validation", "test", "images", "format", "split", "limit", "prompt")
"""Keys of a task that say how raw data are read."""
SUFFIXES = (".json", ".jsonl", ".ndjson", ".parquet", ".arrow")
PLACE = "{prompt}"
_NAMES = {
    "train": "train training",
    "validation": "validation valid val dev",
    "test": "test testing",
}
_SPLIT_OF = {word: split for split, words in _NAMES.items() for word in words.split()}
# What Hugging Face datasets write beside the data.
_BESIDE = {"dataset_info.json", "dataset_infos.json", "dataset_dict.json", "state.json"}


@dataclass(frozen=True)
class RawTask:
    """The files of each split, and how they are read."""

    name: str
    files: Mapping[str, tuple[Path, ...]]
    images: Path | None = None
    format: str | None = None
    rule: SplitRule | None = None
    """How the splits without files are made of train; None where all have files."""
    limit: Mapping[str, int] | None = None
    prompt: str = PLACE
    metric: str = ""
    """Answers must be ones that it can score; empty: any."""

    @property
    def made(self) -> tuple[str, ...]:
        """The splits that are made of train."""
        return tuple(split for split in SPLITS if split not in self.files)

    def image_folder(self, file: Path) -> Path:
        """The folder that paths in a file start from."""
        return self.images or file.parent

    def settings(self) -> dict[str, Any]:
        """All that the conversion hangs on, beside what is in the files."""
        return {
            "files": {split: [str(file) for file in files] for split, files in self.files.items()},
            "images": str(self.images) if self.images else None,
            "format": self.format,
            "split": self.rule.to_dict() if self.rule else None,
            "limit": dict(self.limit or {}),
            "prompt": self.prompt,
            "metric": self.metric,
        }


def raw_task(where: str, base: Path, name: str, entry: Mapping[str, Any]) -> RawTask:
    """The raw task that a YAML entry describes; `where` begins every error, `base` is its folder."""
    path = base / str(entry.get("path", name))
    files = _given(where, path, entry) or found_files(where, path)
    if "train" not in files:
        raise InputError(
            f"{where}: no file of the train split; got {', '.join(sorted(files)) or 'none'}"
        )
    made = [split for split in SPLITS if split not in files]
    if "split" in entry and not made:
        raise InputError(f"{where}: split makes missing splits of train, but every split has files")
    return RawTask(
        name=name,
        files=files,
        images=_image_folder(where, base, path, entry.get("images")),
        format=_format(where, entry.get("format")),
        rule=_rule(where, entry.get("split", {})) if made else None,
        limit=_limit(where, entry.get("limit", {})),
        prompt=_template(where, entry.get("prompt", PLACE)),
        metric=str(entry.get("metric", "")),
    )


def found_files(where: str, path: Path) -> dict[str, tuple[Path, ...]]:
    """The data files of each split in a folder, or one file as train.

    A split is known by a word in the name of its file or folder: `train.json`, `val-00000-of-00002
    .parquet`, `captions_train2014.json`, `test/data-00000-of-00001.arrow`.
    """
    if path.is_file():
        return {"train": (path,)}
    named: dict[str, list[Path]] = {}
    for file in data_files(path):
        named.setdefault(split_of(file, path) or "", []).append(file)
    other = named.pop("", [])
    if not named and (len(other) == 1 or _is_sharded(other)):
        return {"train": tuple(other)}
    for split, files in named.items():
        if len(files) > 1 and not _is_sharded(files):
            raise InputError(
                f"{where}: {split} must be one file, or shards of one: {path} holds "
                f"{', '.join(file.name for file in files)}; name it with {split}: FILE"
            )
    if not named:
        raise InputError(
            f"{where}: {path} must be a data file, or a folder with train, validation and test files "
            f"({', '.join(SUFFIXES)}), or at least train: got {_listed(other) or 'no data file'}"
        )
    return {split: tuple(named[split]) for split in SPLITS if split in named}


def data_files(path: Path) -> list[Path]:
    """The files in a folder, its `data`, or folders of splits in it, that may hold rows."""
    inner = [path / "data", *(path / word for word in _SPLIT_OF)]
    files = [
        file
        for folder in (path, *inner)
        if folder.is_dir()
        for file in sorted(folder.iterdir())
        if file.suffix in SUFFIXES and file.is_file() and file.name not in _BESIDE
    ]
    return [file for file in files if not file.name.startswith((".", "cache-"))]


def split_of(file: Path, folder: Path) -> str | None:
    """The split that a file is of by its name, or by that of the folder it is in."""
    names = [file.stem] if file.parent == folder else [file.stem, file.parent.name]
    for name in names:
        found = {_SPLIT_OF[word] for word in re.split("[^a-z]+", name.lower()) if word in _SPLIT_OF}
        if len(found) == 1:
            return found.pop()
    return None


def _is_sharded(files: list[Path]) -> bool:
    return len(files) > 1 and all(re.search(r"-\d+-of-\d+$", file.stem) for file in files)


def _listed(files: list[Path]) -> str:
    return ", ".join(file.name for file in files[:10]) + (", ..." if len(files) > 10 else "")


def _given(where: str, path: Path, entry: Mapping[str, Any]) -> dict[str, tuple[Path, ...]]:
    """The files that the entry names: relative to `path` if that is a folder, else beside it."""
    folder, files = path if path.is_dir() else path.parent, {}
    for split in SPLITS:
        names = entry.get(split)
        if names is None:
            continue
        names = [names] if isinstance(names, str) else names
        if not (isinstance(names, list) and names and all(isinstance(n, str) for n in names)):
            raise InputError(f"{where}: {split} must be a file or a list of files: got {names!r}")
        files[split] = tuple(folder / name for name in names)
        missing = [str(file) for file in files[split] if not file.is_file()]
        if missing:
            raise InputError(f"{where}: {split} must be a file: no {', '.join(missing)}")
    return files


def _image_folder(where: str, base: Path, path: Path, value: Any) -> Path | None:
    if value is None:
        return None
    if not isinstance(value, str):
        raise InputError(f"{where}: images must be a folder: got {value!r}")
    tried = [(path if path.is_dir() else path.parent) / value, base / value]
    for folder in tried:
        if folder.is_dir():
            return folder
    raise InputError(f"{where}: images must be a folder: no {' and no '.join(map(str, tried))}")


def _format(where: str, value: Any) -> str | None:
    try:
        return None if value is None else known_format(value)
    except InputError as error:
        raise InputError(f"{where}: {error}") from None


def _rule(where: str, value: Any) -> SplitRule:
    known = ("validation", "test", "seed")
    if not isinstance(value, dict):
        raise InputError(f"{where}: split must hold {', '.join(known)}: got {value!r}")
    for key in value:
        if key not in known:
            raise InputError(f"{where}: {unknown('key of split', key, known)}")
    try:
        return SplitRule(**value)
    except InputError as error:
        raise InputError(f"{where}: {error}") from None


def _limit(where: str, value: Any) -> dict[str, int]:
    if not isinstance(value, dict):
        raise InputError(f"{where}: limit must hold numbers of examples by split: got {value!r}")
    for split, most in value.items():
        if split not in SPLITS:
            raise InputError(f"{where}: limit: {unknown('split', split, SPLITS)}")
        if not isinstance(most, int) or isinstance(most, bool) or most < 1:
            raise InputError(f"{where}: limit: {split} must be at least 1 example: got {most!r}")
    return value


def _template(where: str, value: Any) -> str:
    if not isinstance(value, str) or not value.strip():
        raise InputError(f"{where}: prompt must be a text with {PLACE} in it: got {value!r}")
    return value
