"""Splits of the user's one file, and the examples that a limit keeps.

Both depend on hashes, not on the order or the number of rows. An example's position is a number from 0 to
1. It is a hash of the seed and the content of its image, or of its prompt if it has none. Test takes
positions from 0 up, validation those from 1 down, train the rest. So

- examples of one image never lie in two splits, and examples that share images have one position;
- added rows move old ones only if they connect their images, or push them out of a split of a fixed
  number of examples;
- another share for test does not move validation, and the other way round.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from spaces.errors import InputError

LEFT_OUT = "-"
"""Split of the examples beyond a limit."""


@dataclass(frozen=True)
class SplitRule:
    """Shares (below 1) or numbers of examples (from 1) that the other splits take from train."""

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
        """Return the rule as plain values."""
        return asdict(self)


def hash_position(seed: int, *parts: object) -> float:
    """Hash a seed and other parts to a number from 0 to 1."""
    text = "|".join(map(str, (seed, *parts))).encode("utf-8", "surrogatepass")
    return int.from_bytes(hashlib.sha256(text).digest()[:7], "big") / 2**56


class GroupPositions:
    """Positions of groups of examples; groups that share images have one position."""

    def __init__(self) -> None:
        self._groups: list[float] = []
        self._lower: dict[float, float] = {}
        """Position -> a lower one that it is connected to."""

    def add(self, positions: Iterable[float]) -> None:
        """Add a group by the positions of its images, or of its text if it has none."""
        least, *others = sorted(set(positions))
        self._groups.append(least)
        for other in others:
            one, two = self._least(least), self._least(other)
            if one != two:
                self._lower[max(one, two)] = min(one, two)

    def all(self) -> list[float]:
        """Return the position of every group, in the order of `add`.

        The least of many positions is near 0, in test: connected groups therefore get a new hash.
        """
        return [hash_position(0, "group", repr(self._least(first))) for first in self._groups]

    def _least(self, position: float) -> float:
        while (lower := self._lower.get(position)) is not None:
            position = lower
        return position


def split_positions(
    positions: Sequence[float], sizes: Sequence[int], rule: SplitRule, made_splits: Iterable[str]
) -> list[str]:
    """Return the split of every group: one of `made_splits`, or train.

    `sizes`: number of examples of each group. Groups of one position stay together.
    """
    made_splits = tuple(made_splits)
    test = _lowest(positions, sizes, rule.test) if "test" in made_splits else set()
    mirrored = [1 - position for position in positions]
    validation = _lowest(mirrored, sizes, rule.validation) if "validation" in made_splits else set()
    return [
        "test" if position in test else "validation" if 1 - position in validation else "train"
        for position in positions
    ]


def _lowest(positions: Sequence[float], sizes: Sequence[int], amount: float) -> set[float]:
    """Return the positions below a share, or the lowest ones that hold that many examples."""
    if amount < 1:
        return {position for position in positions if position < amount}
    examples: dict[float, int] = {}
    for position, size in zip(positions, sizes, strict=True):
        examples[position] = examples.get(position, 0) + size
    taken, left = set(), int(amount)
    for position in sorted(examples):
        if examples[position] <= left:
            taken.add(position)
            left -= examples[position]
    return taken


def apply_limits(
    splits: Sequence[str], sizes: Sequence[int], draws: Sequence[float], limits: Mapping[str, int]
) -> list[str]:
    """Return the splits with `LEFT_OUT` for groups beyond a limit: the lowest draws are kept."""
    limited, left = list(splits), dict(limits)
    for group in sorted(range(len(limited)), key=lambda one: draws[one]):
        split = limited[group]
        if split in left:
            if sizes[group] <= left[split]:
                left[split] -= sizes[group]
            else:
                limited[group] = LEFT_OUT
    return limited
