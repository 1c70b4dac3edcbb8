"""Data files in a user's folder, and the split that each belongs to by its name."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from pathlib import Path

from spaces.errors import InputError
from tasks.data.task import SPLITS
from tasks.formats.containers.opening import SPLIT_OF_WORD, split_by_word, split_keys

SUFFIXES = (".json", ".jsonl", ".ndjson", ".parquet", ".arrow")
"""Suffixes of data files, in small letters or capitals."""
_NOT_DATA = {"dataset_info.json", "dataset_infos.json", "dataset_dict.json", "state.json"}
"""Files that Hugging Face datasets write beside the data."""
_SPLIT_FOLDER = re.compile(rf"(partial-)?({'|'.join(SPLIT_OF_WORD)})")
_OF = re.compile(r"(.*)-(\d+)-of-(\d+)")
MOST_FOLDERS = 200
"""Folders in a folder that are searched for data, if it has none itself."""


def find_files(where: str, path: Path) -> dict[str, tuple[Path, ...]]:
    """Return the data files of each split in a folder, or one file as train.

    A word in the name of a file or folder names its split: `train.json`, `val-00000-of-00002
    .parquet`, `captions_train2014.json`, `test/0000.parquet`. One file may also hold several splits.
    """
    if path.is_file():
        return _inner_splits(where, {"train": (path,)})
    by_split: dict[str, list[Path]] = {}
    for file in data_files(path):
        by_split.setdefault(split_of(file, path) or "", []).append(file)
    other = by_split.pop("", [])
    if not by_split and (len(other) == 1 or _is_sharded(other)):
        by_split = {"train": other}
    for split, files in by_split.items():
        if len(files) > 1 and not _is_sharded(files):
            raise InputError(
                f"{where}: {split} must be one file, or shards of one: {path} holds "
                f"{', '.join(file.name for file in files)}; name it with {split}: FILE"
            )
        _check_shards(f"{where}: {split}", files)
    if not by_split:
        raise InputError(
            f"{where}: {path} must be a data file, or a folder with train, validation and test files "
            f"({', '.join(SUFFIXES)}), or at least train: got {_listed(other) or 'no data file'}"
        )
    return _inner_splits(
        where, {split: tuple(by_split[split]) for split in SPLITS if split in by_split}
    )


def _inner_splits(where: str, files: dict[str, tuple[Path, ...]]) -> dict[str, tuple[Path, ...]]:
    """Return the splits that the files hold themselves, where one is an object of splits."""
    every = [file for some in files.values() for file in some]
    held = {file: keys for file in every if (keys := split_keys(file))}
    if not held:
        return files
    if len(every) == 1:
        return {split: tuple(every) for split in SPLITS if split in held[every[0]]}
    file, keys = next(iter(held.items()))
    raise InputError(
        f"{where}: {file.name} holds the splits {', '.join(keys.values())} itself, and "
        f"{_listed([other for other in every if other != file])} is there too: keep one of them, or name "
        "a file for each split"
    )


def data_files(path: Path) -> list[Path]:
    """Return the files that may hold rows: in a folder, its `data`, or its folders of splits.

    A folder without any may have one folder with splits for its configuration, as the hub's `default`.
    """
    files = _files_of_set(path)
    if files or not path.is_dir():
        return files
    folders = [file for file in sorted(path.iterdir()) if file.is_dir()][:MOST_FOLDERS]
    every = {folder: _files_of_set(folder) for folder in folders}
    sets = {f.name: found for f, found in every.items() if any(split_of(one, f) for one in found)}
    if len(sets) > 1:
        raise InputError(
            f"{path} must hold one set of data: it has {', '.join(sets)}; name one of these folders"
        )
    return next(iter(sets.values()), [])


def _files_of_set(path: Path) -> list[Path]:
    tops = [path, *(folder for folder in _folders(path) if folder.name.lower() == "data")]
    splits = [
        folder
        for top in tops
        for folder in _folders(top)
        if _SPLIT_FOLDER.fullmatch(folder.name.lower())
    ]
    files = [file for folder in (*tops, *splits) for file in _entries(folder) if _is_data(file)]
    for file in files:
        if not file.exists():
            raise InputError(f"{file} is a link to {os.readlink(file)}, which is not there")
    return [file for file in files if file.is_file()]


def _entries(folder: Path) -> list[Path]:
    try:
        return sorted(folder.iterdir()) if folder.is_dir() else []
    except OSError as error:
        raise InputError(f"{folder} cannot be read: {error.strerror}") from error


def _folders(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    with os.scandir(folder) as entries:
        return sorted(Path(entry.path) for entry in entries if entry.is_dir())


def _is_data(file: Path) -> bool:
    hidden = file.name.startswith((".", "cache-"))
    return file.suffix.lower() in SUFFIXES and file.name not in _NOT_DATA and not hidden


def split_of(file: Path, folder: Path) -> str | None:
    """Return the split that is named by a word in the file's name, else in its folder's; or None."""
    names = [file.stem] if file.parent == folder else [file.stem, file.parent.name]
    return next((split for name in names if (split := split_by_word(name))), None)


def _is_sharded(files: list[Path]) -> bool:
    """Return whether files are parts of one: `-0-of-2`, or numbers in a row in one folder."""
    if len(files) < 2:
        return False
    if all(_OF.fullmatch(file.stem) for file in files):
        return True
    alike = {(file.parent, re.sub(r"\d+", "#", file.stem), file.suffix.lower()) for file in files}
    return len(alike) == 1 and _missing_numbers(files) == []


def _missing_numbers(files: Iterable[Path]) -> list[int] | None:
    """Return the numbers that lack in a row of files; None if their names differ otherwise."""
    numbers = [[int(number) for number in re.findall(r"\d+", file.stem)] for file in files]
    places = [place for place in zip(*numbers, strict=True) if len(set(place)) > 1]
    if len(places) != 1 or min(places[0]) > 1:
        return None
    return sorted({*range(min(places[0]), max(places[0]))} - {*places[0]})


def _check_shards(where: str, files: list[Path]) -> None:
    """Raise `InputError` if a file says that it is one of several, and not all are there."""
    parts: dict[tuple[str, int], list[int]] = {}
    for file in files:
        if match := _OF.fullmatch(file.stem):
            parts.setdefault((match[1], int(match[3])), []).append(int(match[2]))
    if len(parts) > 1:
        names = ", ".join(f"{name}-...-of-{count}" for name, count in parts)
        raise InputError(f"{where} must be the shards of one set: got {names}; remove the others")
    for (name, count), numbers in parts.items():
        missing = sorted({*range(count)} - {*numbers})[:5]
        if missing:
            raise InputError(
                f"{where} must have all {count} shards of {name}: missing "
                f"{', '.join(f'{number:05d}' for number in missing)} in {files[0].parent}; fetch them, or "
                "name the files that are meant"
            )


def _listed(files: list[Path]) -> str:
    return ", ".join(file.name for file in files[:10]) + (", ..." if len(files) > 10 else "")
