"""What a model said of a stage's examples before the stage, kept beside memory where it is much."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch

from strategies import Pick

IN_MEMORY = 1 << 30
"""Bytes of logits that are kept in memory; more of them lie in a file that goes with the teacher."""


class Teacher:
    """Logits (answer tokens, vocabulary) by example, for the examples that one rank trains on."""

    def __init__(self, lengths: dict[Pick, int], precision: torch.dtype) -> None:
        self._lengths = lengths
        self._precision = precision
        self._starts: dict[Pick, int] = {}
        self._logits: torch.Tensor | None = None
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        start = 0
        for pick, length in lengths.items():
            self._starts[pick], start = start, start + length
        self._tokens = start

    def learn(self, picks: Sequence[Pick], logits: torch.Tensor) -> None:
        """Keep the logits (examples, longest answer, vocabulary) of some examples."""
        if self._logits is None:
            self._logits = self._allocated(logits.shape[-1])
        for pick, of_one in zip(picks, logits, strict=True):
            start, length = self._starts[pick], self._lengths[pick]
            self._logits[start : start + length] = of_one[:length]

    def of(self, picks: Sequence[Pick], like: torch.Tensor) -> torch.Tensor:
        """The logits of some examples, padded with zeros to the shape of `like`, and where it is."""
        assert self._logits is not None
        found = torch.zeros_like(like)
        for place, pick in enumerate(picks):
            start, length = self._starts[pick], self._lengths[pick]
            found[place, :length] = self._logits[start : start + length].to(like)
        return found

    def _allocated(self, vocabulary: int) -> torch.Tensor:
        size, item = self._tokens * vocabulary, torch.empty(0, dtype=self._precision).element_size()
        if size * item <= IN_MEMORY:
            return torch.empty(self._tokens, vocabulary, dtype=self._precision)
        free = shutil.disk_usage(tempfile.gettempdir()).free
        if size * item > free:  # written all the same, it would end the process without a word
            raise OSError(
                f"what the model says of {len(self._lengths)} examples takes {size * item / 1e9:.1f} GB, "
                f"and {tempfile.gettempdir()} has {free / 1e9:.1f} free; TMPDIR names another folder"
            )
        self._folder = tempfile.TemporaryDirectory(prefix="citune-teacher-")
        file = str(Path(self._folder.name) / "logits")
        flat = torch.from_file(file, shared=True, size=size, dtype=self._precision)
        return flat.view(self._tokens, vocabulary)


def in_parts(picks: Sequence[Pick], size: int, calls: int) -> Iterator[list[Pick]]:
    """The examples in `calls` batches of `size`; the last stands in where there are none left."""
    for start in range(0, calls * size, size):
        yield list(picks[start : start + size]) or [picks[-1]]
