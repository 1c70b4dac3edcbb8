"""Memory of a rank, estimated from the model and the longest examples of the benchmark."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig

from models.batching import PIXELS, Encoded, encode, prompt_text
from models.folder.chat_template import template_notes
from models.image_tokens import ImageTokens
from models.location import folder_family
from models.memory_estimate import CPU, GPU, ExampleSizes, estimate_bytes
from models.processors import load_processor
from search.plan.resolved_plan import ResolvedPlan
from spaces import Adapter, InputError, Training
from tasks import SPLITS, Example, Task
from trainables.rank.data import CACHE_BYTES

PROBED = 16
"""Examples of each task and split that the probe encodes: those with the longest texts."""
CACHED_SPLITS = ("train", "validation")
"""Splits that a search trains and scores on; a rank caches their examples."""


@dataclass(frozen=True)
class ProcessorProbe:
    """The longest examples of each task, encoded by the model's own processor."""

    folder: Path
    encoded: Mapping[str, Sequence[Encoded]]
    counts: Mapping[str, Mapping[str, int]]
    """Numbers of examples by task and split."""
    limit: int
    """Token limit; 0 if neither model nor plan has one."""
    template_notes: Sequence[str] = ()
    """Notes on chat templates of the folder that are not used."""

    def notes(self) -> list[str]:
        """Return notes on templates, and on each task with an example that is too long and will be cut."""
        lengths = {task: max(e.length for e in some) for task, some in self.encoded.items()}
        return [*self.template_notes] + [
            f"{task}: an example has {length} tokens, and is cut to {self.limit}: earlier turns first, "
            "then the beginning of the prompt, never an image"
            for task, length in lengths.items()
            if self.limit and length > self.limit
        ]

    def sizes(self, training: Training) -> ExampleSizes:
        """Return the longest prompt and answer, the most patches, and the memory of all cached examples."""
        known = self._known
        config: Any = AutoConfig.from_pretrained(self.folder)
        patches = max(_patches(config.vision_config, e) for e in known)
        text = max(e.bytes - (e.prompt[PIXELS].nbytes if PIXELS in e.prompt else 0) for e in known)
        kept = self.feature_bytes(training) + text * self._count
        answer = max(len(e.answer) for e in known)
        longest = max(len(e.prompt["input_ids"]) for e in known)
        return ExampleSizes(
            prompt=min(longest, self.limit - answer) if self.limit else longest,
            answer=answer,
            patches=patches,
            scored=max(counts["validation"] for counts in self.counts.values()),
            # They are cached in CPU memory, and count only there.
            cached_bytes=0 if torch.cuda.is_available() else min(CACHE_BYTES, kept),
        )

    def feature_bytes(self, training: Training) -> int:
        """Return the bytes of all examples' vision features, if each has as many patches as the largest."""
        config: Any = AutoConfig.from_pretrained(self.folder)
        patches = max(_patches(config.vision_config, e) for e in self._known)
        layers = len(folder_family(self.folder).layers_read(config) or (0,))
        item_size = 2 if training.precision == "bf16" else 4
        return self._count * patches * layers * config.vision_config.hidden_size * item_size

    @property
    def _known(self) -> list[Encoded]:
        return [e for encoded in self.encoded.values() for e in encoded]

    @property
    def _count(self) -> int:
        return sum(counts[split] for counts in self.counts.values() for split in CACHED_SPLITS)


@dataclass(frozen=True)
class MemoryNeeds:
    """Memory that a search needs, and the probe of the processor that it is estimated from."""

    probe: ProcessorProbe
    rank: Mapping[str, int]
    """Bytes of one rank at its peak, by part, of the configuration that needs most."""
    features: int
    """Bytes of the frozen vision tower's features of all examples, about."""

    @property
    def rank_bytes(self) -> int:
        """Bytes of one rank at its peak."""
        return sum(self.rank.values())


def memory_needs(resolved: ResolvedPlan) -> MemoryNeeds:
    """Estimate a plan's memory from a probe of its processor; raises `InputError` if that fails."""
    tasks = [resolved.benchmark.task(name) for name in resolved.panel.all_tasks]
    probe = probe_processor(resolved.model_folder, tasks, resolved.finetune.training)
    ranks = [
        rank_memory(probe, adapter, training, resolved.plan.workers_per_trial)
        for adapter, training in resolved.space.largest()
    ]
    largest = max(ranks, key=lambda parts: sum(parts.values()))
    return MemoryNeeds(probe, largest, probe.feature_bytes(resolved.finetune.training))


def probe_processor(folder: Path, tasks: Sequence[Task], training: Training) -> ProcessorProbe:
    """Encode the longest examples of each task.

    Raises `InputError` if one cannot be cut to the token limit, or if processor and model do not match.
    """
    processor = load_processor(folder)
    tokens = ImageTokens(folder)
    text = AutoConfig.from_pretrained(folder).get_text_config()
    positions = getattr(text, "max_position_embeddings", 0)
    limit = min(training.longest or positions, positions or training.longest)
    encoded: dict[str, list[Encoded]] = {}
    for task in tasks:
        encoded[task.name] = []
        _render_kinds(processor, task)
        for split, row, example in longest(task):
            whole = encode(processor, example)
            tokens.check(whole, f"{task.name}/{split} row {row}")
            if limit and whole.length > limit:
                encode(processor, example, limit)
            encoded[task.name].append(whole)
    counts = {
        task.name: {split: len(task.examples(split)) for split in CACHED_SPLITS} for task in tasks
    }
    notes = template_notes(folder, processor, folder_family(folder))
    return ProcessorProbe(folder, encoded, counts, limit, notes)


def _render_kinds(processor: Any, task: Task) -> None:
    """Render one row of each kind of conversation; raise `InputError` if the chat template refuses it."""
    for split in SPLITS:
        examples = task.examples(split)
        for row in examples.kinds():
            try:
                prompt_text(processor, examples[row])
            except InputError as error:
                raise InputError(f"{task.name}/{split} row {row}: {error}") from error


def longest(task: Task) -> Iterator[tuple[str, int, Example]]:
    """Yield split, row and example of the longest texts in each split."""
    for split in SPLITS:
        examples = task.examples(split)
        lengths = examples.lengths()
        for row in sorted(range(len(lengths)), key=lambda row: -lengths[row])[:PROBED]:
            yield split, row, examples[row]


def rank_memory(
    probe: ProcessorProbe, adapter: Adapter, training: Training, workers: int
) -> dict[str, int]:
    """Return the bytes of one rank at its peak by part, on a GPU if this machine has one."""
    machine = GPU if torch.cuda.is_available() else CPU
    sizes = probe.sizes(training)
    shared = dataclasses.replace(sizes, scored=-(-sizes.scored // workers))
    return estimate_bytes(probe.folder, adapter, training, workers, shared, machine)


def _patches(vision: Any, encoded: Encoded) -> int:
    """Return the number of vision patches of an example's images."""
    if PIXELS not in encoded.prompt:
        return 0
    side = vision.patch_size if isinstance(vision.patch_size, int) else vision.patch_size[0]
    deep = getattr(vision, "temporal_patch_size", 1)
    return encoded.prompt[PIXELS].numel() // (3 * side * side * deep)
