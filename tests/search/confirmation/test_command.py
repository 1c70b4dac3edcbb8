"""The end of a confirmation that is cut short."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from search.confirmation.command import cut_short
from search.confirmation.confirm import confirm_command
from search.interruption import InterruptedSearch
from search.ray_session import resumable
from search.resources.ray_watch import RayDiedError
from spaces.errors import MACHINE_STATUS, MachineError

RUN = Path("results/some search")
GOES_ON = "what is finished is safe: python search/confirm.py 'results/some search' goes on with it"


@pytest.mark.parametrize(
    ("error", "cause", "status"),
    [
        (InterruptedSearch(signal.SIGTERM), "ended by SIGTERM", 143),
        (RayDiedError("the raylet"), "the raylet died", MACHINE_STATUS),
    ],
)
def test_a_confirmation_cut_short_says_how_to_go_on(
    error: BaseException, cause: str, status: int, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cut_short(error, RUN) == status
    assert capsys.readouterr().err == f"error: {cause}; {GOES_ON}\n"


def test_a_full_disk_names_the_command_of_the_confirmation() -> None:
    with pytest.raises(MachineError) as caught, resumable(RUN, confirm_command(RUN)):
        raise OSError(28, "No space left on device")
    assert GOES_ON in str(caught.value)
