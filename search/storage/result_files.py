"""Check of results, which have no seal: by the digests beside them, else by their structure."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet
from safetensors import SafetensorError, safe_open

from search.results.sums import SUMS, read_sums
from spaces.errors import DamagedError, first_line
from spaces.files import file_sha256
from spaces.records import parse_json


class NotCheckedError(Exception):
    """A file of no known kind, or one that nothing says how to check."""


def sound_result(path: Path) -> str | None:
    """Return why a result is damaged, else None; raises `NotCheckedError` for files of no known kind."""
    if path.name == SUMS:
        read_sums(path.parent)
        return None
    sha256 = recorded_sha256(path)
    if sha256 is None:
        return structure_fault(path)
    return None if file_sha256(path) == sha256 else f"its bytes are not those that its {SUMS} says"


def recorded_sha256(path: Path) -> str | None:
    """Return the digest of a file in the nearest folder above it that records one."""
    for folder in path.parents[:4]:
        stat = (folder / SUMS).stat() if (folder / SUMS).is_file() else None
        sums = _sums(folder, stat.st_mtime_ns) if stat else {}
        if sha256 := sums.get(path.relative_to(folder).as_posix()):
            return sha256
    return None


def structure_fault(path: Path) -> str | None:
    """Return why a file cannot be read as its suffix says; raises `NotCheckedError` for other suffixes."""
    read = _READERS.get(path.suffix)
    if read is None:
        raise NotCheckedError(f"nothing is known of {path.suffix or 'such'} files here")
    try:
        read(path)
    except (pa.ArrowException, SafetensorError, OSError, ValueError, KeyError) as error:
        return first_line(error)
    return None


@functools.lru_cache(maxsize=64)
def _sums(folder: Path, mtime_ns: int) -> dict[str, str]:
    try:
        return read_sums(folder)
    except DamagedError:  # which its own check says
        return {}


def _read_safetensors(path: Path) -> None:
    """Read the header, which must fit the size of the file."""
    with safe_open(str(path), framework="numpy") as file:
        for name in file.keys():  # noqa: SIM118  # it is no mapping
            file.get_slice(name).get_shape()


def _read_arrow(path: Path) -> None:
    with pa.memory_map(str(path)) as source, pa.ipc.open_file(source) as file:
        for number in range(file.num_record_batches):
            file.get_batch(number).validate(full=True)


def _read_lines(path: Path) -> None:
    for number, line in enumerate(path.read_bytes().splitlines(), start=1):
        parse_json(line, f"line {number}")


def _read_html(path: Path) -> None:
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - 64))
        if not file.read().rstrip().endswith(b"</html>"):
            raise ValueError("it is cut: its last tag is not </html>")


def _read_json(path: Path) -> None:
    json.loads(path.read_bytes())


_READERS: dict[str, Callable[[Path], object]] = {
    ".safetensors": _read_safetensors,
    ".arrow": _read_arrow,
    ".parquet": lambda path: pyarrow.parquet.read_table(path).validate(full=True),
    ".csv": pyarrow.csv.read_csv,
    ".json": _read_json,
    ".jsonl": _read_lines,
    ".html": _read_html,
}
"""Readers of a whole file by its suffix."""
