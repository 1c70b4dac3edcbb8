"""What each strategy does and which knobs it has, as Markdown: `python -m strategies [NAME ...]`."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Sequence

from spaces.domains import knobs_of
from spaces.errors import InputError
from strategies import STRATEGIES, Strategy, strategy_class

HEAD = """# Strategies

What `python -m strategies` prints. A knob is searched unless it says otherwise; the search begins with the
defaults. A knob's `(off)` value switches it off, and can be given in a plan, but no search proposes it.
Strategies are joined by `+` (`replay+ewc`, `replay+eproj`): mixes chain, penalties add, each keeps its own
knobs, named `replay_ratio` and `ewc_strength` then; what a plan says of `replay.ratio` holds for both.
"""


def page(names: Sequence[str]) -> str:
    """A section for each strategy: its docstring and a table of its knobs."""
    return "\n".join([HEAD, *(section(strategy_class(name)) for name in names)])


def section(cls: type[Strategy]) -> str:
    """One strategy."""
    lines = [f"## {cls.name}", "", inspect.cleandoc(cls.__doc__ or ""), ""]
    if knobs := knobs_of(cls):
        lines += ["| knob | default | values | searched | what it is |", "|" + " --- |" * 5]
    for name, knob in knobs.items():
        searched = "yes" if knob.searched else "no"
        default = f"{knob.default:g}" if isinstance(knob.default, float) else knob.default
        lines.append(f"| `{name}` | {default} | {knob.describe()} | {searched} | {knob.help} |")
    return "\n".join([*lines, ""])


def main() -> int:
    """Print the page; the exit status is 2 for a strategy that is not known."""
    try:
        print(page(sys.argv[1:] or list(STRATEGIES)))
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
