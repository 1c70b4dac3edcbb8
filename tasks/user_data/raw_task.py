"""A task of raw data: its files, and the settings of the benchmark file for reading them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from spaces.errors import InputError, nearest, unknown
from tasks.data.benchmark_file import TaskEntry
from tasks.data.placeholders import token_fault
from tasks.data.task import SPLITS
from tasks.formats.detect import Detection, check_format_name
from tasks.formats.values.columns import Columns, columns_of
from tasks.user_data.raw_files import find_files
from tasks.user_data.splits import SplitRule

PROMPT_MARK = "{prompt}"
"""Place of a row's own prompt in a template."""
_OTHER_MARK = re.compile(
    r"(?<![\\\w}])(?:\{\}|%s|\{\{prompt\}\}|\{\s*(?!(?-i:prompt)\})(?:prompt|question|query|instruction|problem"
    r"|text|input|options|choices|context|hint|image|caption)\s*\})",
    re.IGNORECASE,
)
"""Marks that other templates fill, and that would stand in every prompt as they are."""


@dataclass(frozen=True)
class RawTask:
    """The files of each split, and how they are read."""

    name: str
    files: Mapping[str, tuple[Path, ...]]
    images: Path | None = None
    format: str | None = None
    rule: SplitRule | None = None
    """Rule by which splits without files are taken from train; None where all have files."""
    limit: Mapping[str, int] | None = None
    prompt: str = PROMPT_MARK
    metric: str = ""
    """Metric that must be able to score every answer; empty: any answer is accepted."""
    columns: Columns = field(default_factory=Columns)

    @property
    def made_splits(self) -> tuple[str, ...]:
        """Splits that are taken from train."""
        return tuple(split for split in SPLITS if split not in self.files)

    def image_folder(self, file: Path) -> Path:
        """Return the folder that image paths in a file start from."""
        return self.images or file.parent

    def settings(self) -> dict[str, Any]:
        """Return all that the conversion depends on, besides the content of the files."""
        return {
            "files": {split: [str(file) for file in files] for split, files in self.files.items()},
            "images": str(self.images) if self.images else None,
            "format": self.format,
            "split": self.rule.to_dict() if self.rule else None,
            "limit": dict(self.limit or {}),
            "prompt": self.prompt,
            "metric": self.metric,
            "columns": self.columns.settings(),
        }


def raw_task(where: str, base: Path, name: str, entry: TaskEntry) -> RawTask:
    """Make a raw task of a benchmark file's entry; `where` begins every error, `base` is its folder."""
    path, values = entry.data_path(name, base), entry.raw_values()
    files = _named_files(where, path, values) or find_files(where, path)
    if "train" not in files:
        raise InputError(
            f"{where}: no file of the train split; got {', '.join(sorted(files)) or 'none'}"
        )
    complete = all(split in files for split in SPLITS)
    if "split" in values and complete:
        raise InputError(f"{where}: split makes missing splits of train, but every split has files")
    return RawTask(
        name=name,
        files=files,
        images=_image_folder(where, base, path, values.get("images")),
        format=_format(where, values.get("format")),
        rule=None if complete else _rule(where, values.get("split", {})),
        limit=_limit(where, values.get("limit", {})),
        prompt=_template(where, values.get("prompt", PROMPT_MARK)),
        metric=entry.metric,
        columns=columns_of(values.get("columns"), where),
    )


def _named_files(where: str, path: Path, values: Mapping[str, Any]) -> dict[str, tuple[Path, ...]]:
    """Return the files that an entry names: relative to `path` if that is a folder, else beside it."""
    folder, files = path if path.is_dir() else path.parent, {}
    for split in SPLITS:
        names = values.get(split)
        if names is None:
            continue
        names = [names] if isinstance(names, str) else names
        if not (isinstance(names, list) and names and all(isinstance(n, str) for n in names)):
            raise InputError(f"{where}: {split} must be a file or a list of files: got {names!r}")
        files[split] = tuple(folder / name for name in names)
        if len(set(files[split])) < len(files[split]):
            raise InputError(f"{where}: {split} must name a file once: got {names!r:.200}")
        missing = [str(file) for file in files[split] if not file.is_file()]
        if missing:
            raise InputError(f"{where}: {split} must be a file: no {', '.join(missing)}")
    return files


def _image_folder(where: str, base: Path, path: Path, value: Any) -> Path | None:
    if value is None:
        return None
    if not isinstance(value, str):
        raise InputError(f"{where}: images must be a folder: got {value!r}")
    candidates = [(path if path.is_dir() else path.parent) / value, base / value]
    for folder in candidates:
        if folder.is_dir():
            return folder
    raise InputError(
        f"{where}: images must be a folder: no {' and no '.join(map(str, candidates))}"
        f"{_near_folder(value, candidates)}"
    )


def _near_folder(value: str, candidates: Sequence[Path]) -> str:
    """Suggest a folder that lies where one was looked for, written with slashes or a near name."""
    slashes = value.replace("\\", "/")
    if slashes != value and any((one.parent / slashes).is_dir() for one in candidates):
        return f' — did you mean "{slashes}"?'
    beside = [one.parent for one in candidates if one.parent.is_dir()]
    names = {one.name for parent in beside for one in parent.iterdir() if one.is_dir()}
    return nearest(Path(value).name, names)


def _format(where: str, value: Any) -> str | None:
    try:
        return None if value is None else check_format_name(value)
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


def check_template(where: str, template: str, detections: Sequence[Detection]) -> None:
    """Raise `InputError` for a template that leaves out prompts of the rows' own; captions have none."""
    if PROMPT_MARK not in template and not all(detection.captions for detection in detections):
        raise InputError(
            f"{where}: prompt must have {PROMPT_MARK} in it, for the row's own: got {template!r:.200}"
        )


def _template(where: str, value: Any) -> str:
    if not isinstance(value, str) or not value.strip():
        raise InputError(f"{where}: prompt must be a text with {PROMPT_MARK} in it: got {value!r}")
    if found := _OTHER_MARK.search(value):
        raise InputError(
            f"{where}: prompt must have {PROMPT_MARK} where the row's own prompt stands, and no other "
            f"mark: got {found[0]}"
        )
    if fault := token_fault(value, prompt=True):
        raise InputError(f"{where}: prompt: {fault[0]} ({fault[1]})")
    return value
