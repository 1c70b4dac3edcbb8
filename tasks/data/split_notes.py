"""Notes about splits from which no search can learn which strategy is best."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import combinations

from tasks.data.task import SPLITS

FEW = 10
"""Examples of a split below which a score moves in steps that are too large."""


def shared_notes(
    task: str, examples: Mapping[str, set[bytes]], pictures: Mapping[str, set[bytes]]
) -> list[str]:
    """Return a note for each pair of splits that share examples, else pictures; both come as hashes."""
    notes = []
    for one, other in combinations([split for split in SPLITS if split in examples], 2):
        if both := len(examples[one] & examples[other]):
            notes.append(
                f"{task}: {both} of {len(examples[other])} distinct examples of {other} are in {one}, "
                "too (picture, question and answer): scores there reward what was learned by heart"
            )
        elif both := len(pictures.get(one, set()) & pictures.get(other, set())):
            notes.append(
                f"{task}: {both} of {len(pictures[other])} pictures of {other} are in {one}, too"
            )
    return notes


def size_notes(task: str, sizes: Mapping[str, int]) -> list[str]:
    """Return a note for each scored split of very few examples."""
    return [
        f"{task}: {split} has {sizes[split]} examples: its score moves in steps of "
        f"{100 / sizes[split]:.0f} %"
        for split in SPLITS[1:]
        if 0 < sizes.get(split, FEW) < FEW
    ]


def closed_notes(
    task: str, train: set[str], references: Mapping[str, Iterable[Iterable[str]]]
) -> list[str]:
    """Return a note for each split of a closed task with answers that train does not have.

    `references`: by split, the right answers of each example; all are normalised.
    """
    notes = []
    for split, examples in references.items():
        answers = [tuple(one) for one in examples]
        new = [one[0] for one in answers if one and train.isdisjoint(one)]
        if new:
            named = ", ".join(repr(answer[:40]) for answer in dict.fromkeys(new[:3]))
            notes.append(
                f"{task}: closed, but {len(new)} of {len(answers)} answers of {split} are none of the "
                f"{len(train)} training answers (such as {named}): none of them can be right"
            )
    return notes
