"""Which split an example falls into, where the user has one file, and which examples a limit keeps.

Both hang on hashes, not on the order or the number of rows. An example's place is a number from 0 to 1
made of the seed and its image (the content, not the path), or of id and prompt where it has no image.
Test takes the places from 0 up, validation those from 1 down, train the rest. So

- examples of one image never lie in two splits: where examples have several images, all that hang
  together by images they share have one place;
- added rows move no old one, but where they tie images together that were apart, and but for splits of
  a fixed number of examples, which new rows can push old ones out of;
- another share for test does not move validation, and the other way round.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from spaces.errors import InputError

OUT = "-"
"""The split of what a limit leaves out."""


@dataclass(frozen=True)
class SplitRule:
    """Shares (below 1) or numbers of examples (from 1) that leave train for the other splits."""

    validation: float = 0.1
    test: float = 0.1
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("validation", "test"):
            value = getattr(self, name)
            number = isinstance(value, int | float) and not isinstance(value, bool)
            if not number or value <= 0 or (value >= 1 and value != int(value)):
                raise InputError(
                    f"split: {name} must be a share between 0 and 1 or a whole number of examples, "
                    f"got {value!r}"
                )
        if not isinstance(self.seed, int) or isinstance(self.seed, bool):
            raise InputError(f"split: seed must be a whole number, got {self.seed!r}")
        shares = [value for value in (self.validation, self.test) if value < 1]
        if len(shares) == 2 and sum(shares) >= 1:
            raise InputError(f"split: shares must leave something to train, got {shares}")

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def place(seed: int, *parts: object) -> float:
    """A number from 0 to 1 made of a seed and what is to be placed."""
    text = "|".join(map(str, (seed, *parts))).encode("utf-8", "surrogatepass")
    return int.from_bytes(hashlib.sha256(text).digest()[:7], "big") / 2**56


class Places:
    """The places of groups of examples, which images tie together."""

    def __init__(self) -> None:
        self._groups: list[float] = []
        self._tied: dict[float, float] = {}

    def add(self, places: Iterable[float]) -> None:
        """The next group: the places of its images, or of its text where it has none."""
        least, *others = sorted(set(places))
        self._groups.append(least)
        for other in others:
            one, two = self._least(least), self._least(other)
            if one != two:
                self._tied[max(one, two)] = min(one, two)

    def all(self) -> list[float]:
        """The place of every group, in the order in which they came.

        The least of many places is near 0, which is test: what stands for a tied group is drawn anew.
        """
        return [place(0, "group", repr(self._least(own))) for own in self._groups]

    def _least(self, own: float) -> float:
        while (tied := self._tied.get(own)) is not None:
            own = tied
        return own


def split_places(
    places: Sequence[float], sizes: Sequence[int], rule: SplitRule, made: Iterable[str]
) -> list[str]:
    """The split of every group: one of `made`, or train.

    `sizes`: how many examples each group is. Groups of one place stay together.
    """
    made = tuple(made)
    test = _within(places, sizes, rule.test) if "test" in made else set()
    mirrored = [1 - place for place in places]
    validation = _within(mirrored, sizes, rule.validation) if "validation" in made else set()
    return [
        "test" if place in test else "validation" if 1 - place in validation else "train"
        for place in places
    ]


def _within(places: Sequence[float], sizes: Sequence[int], share: float) -> set[float]:
    """The places that a share takes from 0 up, or those of the first so many examples."""
    if share < 1:
        return {place for place in places if place < share}
    examples: dict[float, int] = {}
    for where, size in zip(places, sizes, strict=True):
        examples[where] = examples.get(where, 0) + size
    taken, left = set(), int(share)
    for where in sorted(examples):
        if examples[where] <= left:
            taken.add(where)
            left -= examples[where]
    return taken


def limited(
    splits: Sequence[str], sizes: Sequence[int], draws: Sequence[float], limits: Mapping[str, int]
) -> list[str]:
    """The splits again, `OUT` for groups beyond a limit: those of the least draws are kept."""
    kept, left = list(splits), dict(limits)
    for group in sorted(range(len(kept)), key=lambda one: draws[one]):
        split = kept[group]
        if split in left:
            if sizes[group] <= left[split]:
                left[split] -= sizes[group]
            else:
                kept[group] = OUT
    return kept
