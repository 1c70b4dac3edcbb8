"""Digests of result files, in a file that `sha256sum -c SHA256SUMS` reads, too.

Tables, answers, reports and adapters are read by other programs and carry no seal of their own.
"""

from __future__ import annotations

import contextlib
import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from spaces.errors import DamagedError
from spaces.files import file_sha256, write_atomically

SUMS = "SHA256SUMS"
"""File in a folder of results with the digest of each of them; its first line has that of the others."""
ANSWERS = ("tables/predictions.arrow", "predictions/*/*.jsonl")
TABLES = ("tables/trials.*", "tables/cells.*", "tables/strategies.*")
RESULTS = (*TABLES, *ANSWERS, "report.html")
"""Results of a search, in its folder."""
FINAL = (*ANSWERS, "scores.json", "ordering-*/**/*")
"""Results of a final training, in its folder."""
_LINE = re.compile(r"(?P<sha256>[0-9a-f]{64})  (?P<file>.+)")


@contextlib.contextmanager
def summed(folder: Path, patterns: Iterable[str]) -> Iterator[None]:
    """Write the digests of the results that the block writes in `folder`.

    A file that the block leaves alone keeps the digest that it had. There are no digests meanwhile, nor
    after an error: a kill leaves none that do not fit.
    """
    patterns, before = list(patterns), {}
    with contextlib.suppress(DamagedError):
        before = read_sums(folder)
    left = {file: _state(folder / file) for file in before}
    with contextlib.suppress(FileNotFoundError):
        (folder / SUMS).unlink()
    yield
    found = {path for pattern in patterns for path in folder.glob(pattern) if path.is_file()}
    sums = {}
    for path in sorted(path for path in found if not path.name.startswith(".")):
        file = path.relative_to(folder).as_posix()
        same = file in before and left[file] == _state(path)
        sums[file] = before[file] if same else file_sha256(path)
    if sums:
        write_atomically(folder / SUMS, _text(sums))


def read_sums(folder: Path) -> dict[str, str]:
    """Return the digests of a folder's results by their relative paths; none if there is no such file.

    Raises `DamagedError` if the file is not as it was written.
    """
    path = folder / SUMS
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise DamagedError(f"{path} cannot be read: {error}") from error
    found = [_LINE.fullmatch(line) for line in text.splitlines()[1:]]
    sums = {match["file"]: match["sha256"] for match in found if match}
    if len(sums) != len(found) or text != _text(sums):
        raise DamagedError(
            f"{path} was changed since it was written: search/analyze.py makes it anew"
        )
    return sums


def _text(sums: Mapping[str, str]) -> str:
    lines = "".join(f"{sha256}  {file}\n" for file, sha256 in sums.items())
    return f"# {hashlib.sha256(lines.encode()).hexdigest()}\n{lines}"


def _state(path: Path) -> tuple[int, int] | None:
    """Return what changes when a file is replaced; None if it is gone."""
    try:
        stat = path.stat()
    except OSError:
        return None
    return stat.st_ino, stat.st_mtime_ns
