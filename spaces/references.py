"""Names of the reference runs, which every search trains and never chooses."""

from __future__ import annotations

FLOOR = "finetune"
"""Plain sequential tuning: nothing is done against forgetting."""
CEILING = "joint"
"""Joint tuning on all tasks at once."""
REFERENCES = (FLOOR, CEILING)
