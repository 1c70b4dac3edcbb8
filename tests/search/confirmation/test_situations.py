"""The sentences that a search ends with in five situations, on recorded real runs of the toy benchmark.

`pytest -s` prints them.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
from recorded import recorded_confirmation, recorded_search
from records import screen

from search.confirmation.answer import result_lines
from search.confirmation.verdict import judge

REFERENCES = ("finetune", "joint")
SITUATIONS: dict[str, tuple[Sequence[str], int, str, str]] = {
    "clear winner": (
        ("0001", "0003", *REFERENCES),
        5,
        "best",
        "replay (trial 0001) is best: final average 0.398 (0.321 to 0.475) on the test split over 5 "
        "orderings and seeds that chose nothing. On validation it leads finetune by 0.258 (0.078 to "
        "0.438, at 98.6%, for several finalists and looks). It closes 42% of the gap from finetune to "
        "joint tuning (17% to 62%).",
    ),
    "tie": (
        ("0001", "0002", *REFERENCES),
        5,
        "not told apart",
        "replay (trial 0001) and replay (trial 0002) are not told apart over 5 orderings and seeds that "
        "chose nothing: final average 0.398 (0.321 to 0.475) on the test split for the first, which is "
        "the highest of several. Their differences are known to ± 0.187. Recommended among them: replay "
        "(trial 0001), by its mean: the others are not close enough to go by their training. It closes "
        "42% of the gap from finetune to joint tuning (17% to 62%).",
    ),
    "nothing beats tuned finetune": (
        ("0003", "0004", "finetune-1", "joint"),
        5,
        "nothing beats tuned finetune",
        "Nothing is surely better than tuned finetune. tuned finetune (trial finetune-1), ewc (trial 0003) "
        "and ewc (trial 0004) are not told apart over 5 orderings and seeds that chose nothing: final "
        "average 0.167 (0.029 to 0.304) on the test split for the first, which is the highest of several. "
        "Their differences are known to ± 0.168. Recommended among them: tuned finetune (trial "
        "finetune-1), of those close to the first by its mean, since their training costs about the same "
        "(SECONDS a unit).",
    ),
    "too few units": (
        ("0001", *REFERENCES),
        2,
        "cannot tell",
        "Cannot tell: 2 units have been confirmed, and to tell anything apart takes 3, or 2 of 3 "
        "finalists.",
    ),
}


@pytest.mark.parametrize("situation", SITUATIONS)
def test_a_confirmation_ends_with_its_verdict(situation: str) -> None:
    names, units, kind, sentences = SITUATIONS[situation]
    made = recorded_confirmation(names, units)
    verdict = judge(made)
    assert verdict.kind == kind
    lines = result_lines(made)
    spent = verdict.costs.values
    seconds = f"{verdict.costs.mean(verdict.recommended):.1f} s" if spent else ""
    assert lines[-1] == sentences.replace("SECONDS", seconds)
    assert len(lines) == len(names) + 3
    print(f"\n--- {situation}", *lines, sep="\n")


def test_a_best_that_blocks_a_task_and_lies_at_an_edge_is_named(tmp_path: Path) -> None:
    text = screen(recorded_search(tmp_path / "run", ["0005", "0004", *REFERENCES]))
    assert "replay (trial 0005) leads the search: final average 0.294" in text
    assert "Note: hue: 0.083 after its own stage, and 0.650 with finetune." in text
    assert "Note: replay.ratio 0.3 lies at the upper end of its range (0.001 to 0.3)" in text
    assert "is optimistic: it chose the trial among 2" in text
    print("\n--- blocks a task, at the edge of its range", text, sep="\n")
