"""Documentation of strategies as Markdown: `python -m strategies [--table | --write] [NAME ...]`."""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Sequence
from pathlib import Path

from spaces.command_line import Parser
from spaces.domains import knobs_of
from spaces.errors import InputError
from strategies import STRATEGIES, Strategy, strategy_class

HEAD = """# Strategies

Written by `python -m strategies --write`. A search varies a knob unless the table says
otherwise, and begins with the defaults. A knob's `(off)` value switches off its effect: plans may give it,
but no search proposes it.

`+` joins strategies (`replay+ewc`, `replay+eproj`): mixes chain, penalties add, and each keeps its own
knobs. Their names are then `replay_ratio` and `ewc_strength`; a plan's `replay.ratio` holds for both.
"""


def page(names: Sequence[str]) -> str:
    """Return a section for each strategy: its docstring and a table of its knobs."""
    return "\n".join([HEAD, *(section(strategy_class(name)) for name in names)])


def section(cls: type[Strategy]) -> str:
    """Return the section of one strategy."""
    lines = [f"## {cls.name}", "", inspect.cleandoc(cls.__doc__ or ""), ""]
    if knobs := knobs_of(cls):
        lines += ["| knob | default | values | searched | meaning |", "|" + " --- |" * 5]
    for name, knob in knobs.items():
        searched = "yes" if knob.searched else "no"
        default = f"{knob.default:g}" if isinstance(knob.default, float) else knob.default
        lines.append(f"| `{name}` | {default} | {knob.describe()} | {searched} | {knob.help} |")
    return "\n".join([*lines, ""])


def table(names: Sequence[str]) -> str:
    """Return one row for each strategy: the first sentence of its docstring and its searched knobs."""
    lines = ["| strategy | effect | knobs searched |", "| --- | --- | --- |"]
    for cls in map(strategy_class, names):
        sentence = inspect.cleandoc(cls.__doc__ or "").partition("\n")[0].rstrip(".")
        effect = re.sub(r" \([^()]*\)$", "", sentence)
        knobs = ", ".join(f"`{name}`" for name, knob in knobs_of(cls).items() if knob.searched)
        lines.append(f"| `{cls.name}` | {effect} | {knobs} |")
    return "\n".join(lines)


def write(root: Path) -> None:
    """Write `docs/strategies.md`, and replace the table of `README.md`."""
    (root / "docs" / "strategies.md").write_text(page(list(STRATEGIES)))
    readme, rows = root / "README.md", table(list(STRATEGIES))
    old = re.compile(rf"^{re.escape(rows.splitlines()[0])}\n(\|.*\n)*", re.MULTILINE)
    readme.write_text(old.sub(lambda _: rows + "\n", readme.read_text()))


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the page or table; the exit status is 2 if a strategy is unknown."""
    parser = Parser(prog="python -m strategies", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help="strategies; default: all")
    parser.add_argument("--table", action="store_true", help="the table of the README alone")
    parser.add_argument(
        "--write", action="store_true", help="write docs/strategies.md and the README's table"
    )
    given = parser.parse_args(arguments)
    if given.write:
        write(Path(__file__).parents[1])
        return 0
    try:
        print((table if given.table else page)(given.names or list(STRATEGIES)))
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
