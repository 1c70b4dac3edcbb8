"""The exit status of a command, and what it says when user or machine are at fault."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from spaces.damage import DamageWatch


@contextlib.contextmanager
def damage_told(storage: Path, *folders: Path) -> Iterator[DamageWatch]:
    """Print a line, at the latest at the end of the block, for files that it set aside."""
    watch = DamageWatch(storage, *folders)
    try:
        yield watch
    finally:
        watch.tell()


def guarded(act: Callable[[], int]) -> int:
    """Return the exit status of `act`; 2 or 3, with one message, if user or machine are at fault."""
    from spaces.errors import MACHINE_STATUS, InputError, MachineError
    from spaces.storage import StorageGoneError
    from trainables.rank.gc_policy import collect_rarely

    collect_rarely()
    try:
        return act()
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except (MachineError, StorageGoneError) as error:
        print(f"error: {error}", file=sys.stderr)
        return MACHINE_STATUS
