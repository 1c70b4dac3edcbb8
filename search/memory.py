"""What a rank of a search needs of memory: the model's part of it, and the benchmark's."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig

from models.batching import PIXELS, Encoded, encode
from models.location import folder_family
from models.memory import CPU, GPU, Sizes, estimate
from models.processors import load_processor
from spaces import Adapter, Training
from tasks import Example, Task
from trainables.data import CACHE_BYTES

LOOKED_AT = 16
"""Examples of each task that are encoded to learn how long they are: those with the longest texts."""


def rank_memory(
    folder: Path, tasks: Sequence[Task], adapter: Adapter, training: Training, workers: int
) -> dict[str, int]:
    """Bytes of one rank at its peak, by what takes them; on a GPU if this machine has one."""
    processor = load_processor(folder)
    encoded = [encode(processor, e) for task in tasks for e in longest(task)]
    train, asked = ([len(t.examples(split)) for t in tasks] for split in ("train", "validation"))
    found = sizes(folder, encoded, sum(train) + sum(asked), training)
    found = dataclasses.replace(found, asked=max(asked))
    machine = GPU if torch.cuda.is_available() else CPU
    return estimate(folder, adapter, training, workers, found, machine)


def longest(task: Task) -> list[Example]:
    """The training examples with the longest texts."""
    examples = task.examples("train")
    order = sorted(range(len(examples)), key=lambda row: -len(examples[row].prompt))
    return [examples[row] for row in order[:LOOKED_AT]]


def sizes(folder: Path, encoded: Iterable[Encoded], count: int, training: Training) -> Sizes:
    """The longest prompt and answer among them, the most patches, and the memory that `count` take."""
    known = list(encoded)
    config: Any = AutoConfig.from_pretrained(folder)
    patches = max(_patches(config.vision_config, e) for e in known)
    layers = len(folder_family(folder).layers_read(config) or (0,))
    own = 2 if training.precision == "bf16" else 4
    text = max(e.bytes - (e.prompt[PIXELS].nbytes if PIXELS in e.prompt else 0) for e in known)
    each = text + patches * layers * config.vision_config.hidden_size * own
    return Sizes(
        prompt=max(len(e.prompt["input_ids"]) for e in known),
        answer=max(len(e.answer) for e in known),
        patches=patches,
        # Images are encoded on the CPU, and only there they are kept.
        examples=0 if torch.cuda.is_available() else min(CACHE_BYTES, count * each),
    )


def _patches(vision: Any, encoded: Encoded) -> int:
    """That the tower sees of an example's images."""
    if PIXELS not in encoded.prompt:
        return 0
    side = vision.patch_size if isinstance(vision.patch_size, int) else vision.patch_size[0]
    deep = getattr(vision, "temporal_patch_size", 1)
    return encoded.prompt[PIXELS].numel() // (3 * side * side * deep)
