"""The lease on a search, which the process that runs it holds."""

from __future__ import annotations

from pathlib import Path

from spaces.errors import MachineError
from trainables.store.leases import held_by, taken_by_another

RUN_LEASE = "lease"
"""File in a search's folder that names the process that runs it."""


def check_run_lease(run: Path) -> None:
    """Raise `MachineError` if another process has taken the search over, while this one slept."""
    lease = run / RUN_LEASE
    if taken_by_another(lease):
        raise MachineError(
            f'the search "{run.name}" has been taken over by {held_by(lease)}, for this process had not '
            "been heard of for a minute: it ends here, and the other one goes on"
        )
