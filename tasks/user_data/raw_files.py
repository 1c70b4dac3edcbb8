"""Data files in a user's folder, and the split that each belongs to by its name."""

from __future__ import annotations

import re
from pathlib import Path

from spaces.errors import InputError
from tasks.data.task import SPLITS

SUFFIXES = (".json", ".jsonl", ".ndjson", ".parquet", ".arrow")
_WORDS = {
    "train": "train training",
    "validation": "validation valid val dev",
    "test": "test testing",
}
_SPLIT_OF_WORD = {word: split for split, words in _WORDS.items() for word in words.split()}
_NOT_DATA = {"dataset_info.json", "dataset_infos.json", "dataset_dict.json", "state.json"}
"""Files that Hugging Face datasets write beside the data."""


def find_files(where: str, path: Path) -> dict[str, tuple[Path, ...]]:
    """Return the data files of each split in a folder, or one file as train.

    A word in the name of a file or folder names its split: `train.json`, `val-00000-of-00002
    .parquet`, `captions_train2014.json`, `test/data-00000-of-00001.arrow`.
    """
    if path.is_file():
        return {"train": (path,)}
    by_split: dict[str, list[Path]] = {}
    for file in data_files(path):
        by_split.setdefault(split_of(file, path) or "", []).append(file)
    other = by_split.pop("", [])
    if not by_split and (len(other) == 1 or _is_sharded(other)):
        return {"train": tuple(other)}
    for split, files in by_split.items():
        if len(files) > 1 and not _is_sharded(files):
            raise InputError(
                f"{where}: {split} must be one file, or shards of one: {path} holds "
                f"{', '.join(file.name for file in files)}; name it with {split}: FILE"
            )
    if not by_split:
        raise InputError(
            f"{where}: {path} must be a data file, or a folder with train, validation and test files "
            f"({', '.join(SUFFIXES)}), or at least train: got {_listed(other) or 'no data file'}"
        )
    return {split: tuple(by_split[split]) for split in SPLITS if split in by_split}


def data_files(path: Path) -> list[Path]:
    """Return the files that may hold rows: in a folder, its `data`, or its folders of splits."""
    inner = [path / "data", *(path / word for word in _SPLIT_OF_WORD)]
    files = [
        file
        for folder in (path, *inner)
        if folder.is_dir()
        for file in sorted(folder.iterdir())
        if file.suffix in SUFFIXES and file.is_file() and file.name not in _NOT_DATA
    ]
    return [file for file in files if not file.name.startswith((".", "cache-"))]


def split_of(file: Path, folder: Path) -> str | None:
    """Return the split that is named by a word in the file's name, else in its folder's; or None."""
    names = [file.stem] if file.parent == folder else [file.stem, file.parent.name]
    for name in names:
        words = re.split("[^a-z]+", name.lower())
        splits = {_SPLIT_OF_WORD[word] for word in words if word in _SPLIT_OF_WORD}
        if len(splits) == 1:
            return splits.pop()
    return None


def _is_sharded(files: list[Path]) -> bool:
    return len(files) > 1 and all(re.search(r"-\d+-of-\d+$", file.stem) for file in files)


def _listed(files: list[Path]) -> str:
    return ", ".join(file.name for file in files[:10]) + (", ..." if len(files) > 10 else "")
