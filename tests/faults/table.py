"""All cases."""

from __future__ import annotations

import sys

from tests.faults.case import CHECKOUT

sys.path.append(str(CHECKOUT / "tests" / "fixtures"))

from tests.faults import files, models, plans, rows

CASES = [*rows.CASES, *files.CASES, *models.CASES, *plans.CASES]
