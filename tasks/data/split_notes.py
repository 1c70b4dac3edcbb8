"""Notes about splits from which no search can learn which strategy is best."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import combinations

from tasks.data.task import SPLITS
from tasks.scoring.answers import Metric

FEW = 10
"""Examples of a split below which a score moves in steps that are too large."""


class SplitTexts:
    """Examples of one task, as hashes by split: of raw data that are inspected, or of converted ones."""

    def __init__(self, task: str, answers_by: Metric | None = None) -> None:
        self.task = task
        self._metric = answers_by
        """Metric of a closed task, all of whose answers train must have; None for another task."""
        self._sizes: Counter[str] = Counter()
        self._examples: dict[str, set[bytes]] = {}
        self._pictures: dict[str, set[bytes]] = {}
        self._answers: dict[str, list[tuple[str, ...]]] = {}

    def add(
        self,
        split: str,
        asked: tuple[str, Sequence[tuple[str, str]], str],
        answers: Sequence[str],
        pictures: Sequence[bytes],
    ) -> None:
        """Add an example: its system text, earlier turns and prompt, its answers, its pictures' hashes."""
        system, turns, prompt = asked
        texts = repr((system, [tuple(turn) for turn in turns], prompt, answers[0])).encode()
        self._sizes[split] += 1
        self._examples.setdefault(split, set()).add(short_hash(texts + b"".join(pictures)))
        self._pictures.setdefault(split, set()).update(pictures)
        if self._metric:
            normalised = map(self._metric.normalise, answers)
            self._answers.setdefault(split, []).append(tuple(dict.fromkeys(normalised)))

    def notes(self) -> list[str]:
        """Return the notes about the task's splits."""
        references = {split: some for split, some in self._answers.items() if split != "train"}
        train = {answer for some in self._answers.get("train", ()) for answer in some[:1]}
        return [
            *shared_notes(self.task, self._examples, self._pictures),
            *size_notes(self.task, self._sizes),
            *(closed_notes(self.task, train, references) if train else []),
        ]


def short_hash(content: bytes) -> bytes:
    """Return a hash by which examples and pictures are compared."""
    return hashlib.blake2b(content, digest_size=12).digest()


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
