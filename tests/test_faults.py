"""Every fault that was reported from outside comes out right: `python -m tests.faults` prints the table."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.faults.case import Case
from tests.faults.table import CASES


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_reported_fault_comes_out_right(case: Case, tmp_path: Path) -> None:
    outcome = case.run(tmp_path / "case")
    assert not case.faults(outcome), outcome.text[-2000:]
