"""The records of the stage store."""

from __future__ import annotations

DIVERGED = "diverged"
"""Kind of the record of a stage that diverged, so that no other trial trains it again."""
