"""List of the presets, the files that each expects, where to get them, and which are missing.

python -m tasks.presets
python -m tasks.presets coin --data /data
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from spaces.command_line import Parser, path_flag
from spaces.errors import InputError
from tasks.presets.preset import PRESETS, VARIABLE, Preset, data_folder, load_preset


def main(argv: Sequence[str] | None = None) -> int:
    """List presets, or the files of one and which are missing; the exit status is 1 if any is."""
    p = Parser(prog="python -m tasks.presets", description=main.__doc__)
    p.add_argument("name", nargs="?", help=f"one of {', '.join(PRESETS)} (default: all, briefly)")
    p.add_argument(
        "--data",
        type=path_flag,
        help=f"the folder of data (default: {VARIABLE} in the environment)",
    )
    args = p.parse_args(argv)
    try:
        names = [args.name] if args.name else list(PRESETS)
        presets, data = [load_preset(name) for name in names], data_folder(args.data)
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    for one in presets:
        for line in _detailed(one, data) if args.name else _brief(one, data):
            print(line)
    return int(data is not None and any(one.missing(data) for one in presets))


def _brief(one: Preset, data: Path | None) -> Iterator[str]:
    yield f"{one.name}: {one.values['description']}"
    if one.initial:
        yield f"  initial  {', '.join(one.initial)}"
    yield f"  order    {' > '.join(one.order)}"
    if data:
        yield f"  data     {_state(one, data)}"


def _detailed(one: Preset, data: Path | None) -> Iterator[str]:
    yield from _brief(one, data)
    root = data or Path("DIR")
    expected = list(one.expected(root))
    missing = set(one.missing(root)) if data else set()
    for task in (*one.initial, *one.order):
        values = one.tasks[task]
        yield f"\n{task} ({values['metric']})"
        yield f"  {values['description']}"
        for file in (file for file in expected if file.task == task):
            mark = "        " if not data else "missing " if file in missing else "there   "
            yield f"  {mark}{file.what:11s}{file.existing or file}"
    if not data:
        yield f"\nWith --data DIR, or {VARIABLE}, missing files are marked."


def _state(one: Preset, data: Path) -> str:
    missing, expected = len(one.missing(data)), len(list(one.expected(data)))
    return f"complete in {data}" if not missing else f"{missing} of {expected} missing in {data}"


if __name__ == "__main__":
    sys.exit(main())
