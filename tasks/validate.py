"""Check of data before a search: `python -m tasks.validate PATH`.

PATH is a data file, a folder of them, or the YAML file of a benchmark. Prints the format of each file,
with the reason for it, and every fault. The exit status is 0 if all is good, 1 if rows were rejected, 2
if nothing could be read.
"""

from __future__ import annotations

import argparse
import dataclasses
import os
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from io import TextIOWrapper
from pathlib import Path
from typing import Any, TextIO

from spaces.command_line import Parser, path_flag, text_flag, whole_flag
from spaces.errors import InputError
from tasks.data.benchmark import read_benchmark_file
from tasks.data.benchmark_file import BENCHMARK_FILE
from tasks.data.manifest import MANIFEST
from tasks.formats.containers.opening import split_keys
from tasks.formats.detect import FORMATS
from tasks.formats.raw_example import Rejected
from tasks.formats.values.columns import IGNORE, INDEX_FROM, Columns, columns_of
from tasks.user_data.inspection import CountTokens, Inspection, inspect_file
from tasks.user_data.inspection_page import render_page
from tasks.user_data.raw_files import data_files, find_files, split_of
from tasks.user_data.raw_task import raw_task
from tasks.user_data.split_survey import SplitSurvey

NAMED = 20
"""Rejected rows on the screen; the others are counted."""


def parser() -> argparse.ArgumentParser:
    """Return the parser of the flags."""
    p = Parser(
        prog="python -m tasks.validate",
        description="Report what instruction data hold, and every row that cannot be used.",
    )
    p.add_argument(
        "path", type=path_flag, help="a data file, a folder, or the YAML file of a benchmark"
    )
    p.add_argument(
        "--format",
        type=text_flag,
        help=f"format of the files: {', '.join(FORMATS)}; default: detected",
    )
    p.add_argument(
        "--columns",
        type=text_flag,
        help="which column is meant: prompt=text,answer=label,ignore=weight,index_from=0",
    )
    p.add_argument("--images", type=path_flag, help="folder that image paths start from")
    p.add_argument(
        "--limit", type=whole_flag, help="number of rows to check in each file (default: all)"
    )
    p.add_argument(
        "--model", type=path_flag, help="model folder; lengths are also given in its tokens"
    )
    p.add_argument(
        "--rejected", type=path_flag, help="write every rejected row here, as JSON Lines"
    )
    p.add_argument("--html", type=path_flag, help="write a page with some examples here")
    return p


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; return the exit status."""
    args = parser().parse_args(argv)
    if isinstance(sys.stdout, TextIOWrapper):  # a terminal of ASCII alone must not end the command
        sys.stdout.reconfigure(errors="replace")
    try:
        return run(args)
    except BrokenPipeError:  # the reader of the output, such as `head`, has closed it
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2


def run(args: argparse.Namespace) -> int:
    """Inspect every file and print the reports; return the exit status."""
    if args.limit is not None and args.limit < 1:
        raise InputError(f"--limit must be at least 1 row, got {args.limit}")
    if args.images is not None and not args.images.is_dir():
        raise InputError(f'--images must be a folder: no "{args.images}"')
    count_tokens = _token_counter(args.model) if args.model else None
    unread: list[str] = []
    surveys: list[SplitSurvey] = []
    inspections = list(_inspections(args, count_tokens, unread, surveys))
    if not inspections:
        raise InputError("\n".join(unread))
    faults = RejectedRows(args.rejected)
    with faults:
        for inspection in inspections:
            inspection.run(lambda fault, of=inspection: faults.add(of, fault), args.limit)
            print("\n".join(inspection.lines()), flush=True)
    if len(inspections) > 1:
        print("\n".join(_totals(inspections)))
    notes = [f"note        {note}" for survey in surveys for note in survey.notes()]
    if args.limit is not None:
        notes = ["note        with --limit, nobody knows what splits share, or their sizes"]
    print("\n".join([*notes, *faults.lines(), *(f"not read    {text}" for text in unread)]))
    if args.html:
        _write(args.html, render_page(str(args.path), inspections, faults.lines()))
        print(f"page        {args.html}")
    return int(faults.count > 0 or bool(unread))


class RejectedRows:
    """Rejected rows: the first are kept for the screen, all are written to the file of --rejected."""

    def __init__(self, path: Path | None) -> None:
        self.path, self.count = path, 0
        self._first: list[str] = []
        self._reasons: Counter[str] = Counter()
        self._stack, self._file = ExitStack(), None

    def __enter__(self) -> RejectedRows:
        if self.path is not None:
            self._file = self._stack.enter_context(_opened(self.path))
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def add(self, inspection: Inspection, fault: Rejected) -> None:
        """Count a rejected row."""
        self.count += 1
        self._reasons[fault.reason] += 1
        if len(self._first) < NAMED:
            self._first.append(f"{inspection.path.name} {fault}")
        if self._file is not None:
            self._file.write(fault.to_line(inspection.split, inspection.path))

    def lines(self) -> list[str]:
        """Return lines with the first rows, and the count of each reason."""
        if not self.count:
            return ["rejected    none"]
        more = [f"  ... and {self.count - NAMED} more"] if self.count > NAMED else []
        counts = [f"  {count:8d}  {reason}" for reason, count in self._reasons.most_common()]
        where = [f"  all of them: {self.path}"] if self.path else []
        first = [f"  {line}" for line in self._first]
        return [f"rejected    {self.count}", *first, *more, "by reason", *counts, *where]


def _inspections(
    args: argparse.Namespace,
    count_tokens: CountTokens | None,
    unread: list[str],
    surveys: list[SplitSurvey],
) -> Iterator[Inspection]:
    """Yield an inspection of each file; messages about files of no known format go into `unread`.

    The surveys of the files' tasks go into `surveys`.
    """
    path: Path = args.path
    if path.suffix in (".yaml", ".yml") or (path / BENCHMARK_FILE).is_file():
        yield from _inspections_of_benchmark(args, count_tokens, surveys)
        return
    if not path.exists():
        raise InputError(f'PATH must be a data file, a folder or a YAML file: no "{path}"')
    columns = _columns(args.columns)
    files = [path] if path.is_file() else data_files(path)
    if not files:
        raise InputError(f'"{path}" holds no data file; known formats are {", ".join(FORMATS)}')
    surveys.append(SplitSurvey(path.name))
    for file in files:
        named = split_of(file, path if path.is_dir() else path.parent) or "train (not split yet)"
        for split in split_keys(file) or [named]:
            try:
                yield inspect_file(
                    *(file, split, args.images, args.format, count_tokens),
                    columns=columns,
                    survey=None if args.limit else surveys[0],
                )
            except InputError as error:
                unread.append(str(error))
    if path.is_dir() and len(unread) < len(files):
        try:
            find_files("as a task", path)
        except InputError as error:
            unread.append(str(error))


def _inspections_of_benchmark(
    args: argparse.Namespace, count_tokens: CountTokens | None, surveys: list[SplitSurvey]
) -> Iterator[Inspection]:
    path, benchmark = read_benchmark_file(args.path)
    columns = _columns(args.columns)
    for name, entry in benchmark.tasks.items():
        where = f"{path}: task {name}"
        manifest = entry.data_path(name, path.parent) / MANIFEST
        if manifest.is_file():
            raise InputError(f"{where} is converted already; {manifest} lists its sources")
        task = raw_task(where, path.parent, name, entry)
        form = args.format or task.format
        read = {"format": form, "images": args.images or task.images}
        task = dataclasses.replace(task, **read, columns=columns or task.columns)
        survey = None if args.limit else SplitSurvey(task, entry.scoring()["closed"])
        surveys += [survey] if survey else []
        for split, files in task.files.items():
            for file in files:
                images = task.image_folder(file)
                yield inspect_file(
                    file,
                    f"{name}/{split}",
                    images,
                    form,
                    count_tokens,
                    task.metric,
                    task.prompt,
                    task.columns,
                    survey,
                )


def _columns(text: str | None) -> Columns | None:
    """Return the columns of the flag: KEY=COLUMN after commas; `ignore` may be there several times."""
    if not text:
        return None
    values: dict[str, Any] = {}
    for part in text.split(","):
        key, equals, column = part.partition("=")
        if not equals or (key in values and key != IGNORE):
            raise InputError(f"--columns must be KEY=COLUMN, each key once: got {text!r:.200}")
        if key == IGNORE:
            values.setdefault(key, []).append(column)
        else:
            values[key] = int(column) if key == INDEX_FROM and column in ("0", "1") else column
    return columns_of(values, "--columns")


def _totals(inspections: Sequence[Inspection]) -> list[str]:
    """Return the counts of each split over its files."""
    lines = ["splits"]
    for split in dict.fromkeys(inspection.split for inspection in inspections):
        parts = [i for i in inspections if i.split == split]
        counts = f"{sum(i.read for i in parts)} rows, {sum(i.examples for i in parts)} examples"
        lines.append(f"  {split}: {counts} in {len(parts)} files")
    return lines


def _token_counter(folder: Path) -> CountTokens:
    """Return a function that counts a text's tokens with a model's tokenizer."""
    from tokenizers import Tokenizer

    file = folder / "tokenizer.json"
    try:
        tokenizer = Tokenizer.from_file(str(file))
    except Exception as error:  # it raises plain Exception for a missing or broken file
        raise InputError(f"--model must be a folder with a tokenizer.json: {error}") from error
    return lambda text: len(tokenizer.encode(text, add_special_tokens=False).ids)


def _opened(path: Path) -> TextIO:
    try:
        return path.open("w", encoding="utf-8", errors="replace")
    except OSError as error:
        raise InputError(f'"{path}" cannot be written: {error.strerror}') from error


def _write(path: Path, text: str) -> None:
    with _opened(path) as file:
        file.write(text)


if __name__ == "__main__":
    sys.exit(main())
