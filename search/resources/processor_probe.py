"""The model's own processor, tried on the longest examples of each task and on one of each kind."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig

from models.batching import PIXELS, Encoded, encode, prompt_text
from models.folder.chat_template import dropped_texts, template_notes
from models.folder.generation import generation_notes
from models.folder.weights import weight_notes
from models.image_tokens import ImageTokens
from models.location import folder_family
from models.memory_estimate import ExampleSizes
from models.processors import load_processor
from search.resources.answer_lengths import answer_notes
from search.resources.probed_rows import probed_rows
from spaces import InputError, Training
from spaces.errors import first_line
from tasks import Example, Task
from trainables.rank.data import CACHE_BYTES

PROMPT = "the prompt"
CACHED_SPLITS = ("train", "validation")
"""Splits that a search trains and scores on; a rank caches their examples."""


@dataclass(frozen=True)
class ProcessorProbe:
    """The longest examples of each task and one of each kind, encoded by the model's own processor."""

    folder: Path
    encoded: Mapping[str, Sequence[Encoded]]
    counts: Mapping[str, Mapping[str, int]]
    """Numbers of examples by task and split."""
    limit: int
    """Token limit; 0 if neither model nor plan has one."""
    warnings: Sequence[str] = ()
    """Notes on chat templates that are not used, and on answers longer than the model may answer."""

    def notes(self) -> list[str]:
        """Return a note for each task with an example or answer that is too long and will be cut."""
        lengths = {task: max(e.length for e in some) for task, some in self.encoded.items()}
        cut = [
            f"{task}: an example has {length} tokens, and is cut to {self.limit}: earlier turns first, "
            "then the beginning of the prompt, never an image"
            for task, length in lengths.items()
            if self.limit and length > self.limit
        ]
        return [*self.warnings, *cut]

    def sizes(self, training: Training) -> ExampleSizes:
        """Return the longest prompt and answer, the most patches, and the memory of all cached examples."""
        known = self._known
        config: Any = AutoConfig.from_pretrained(self.folder)
        patches = max(_patches(config.vision_config, e) for e in known)
        text = max(e.bytes - _pixels(e) for e in known)
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


def probe_processor(folder: Path, tasks: Sequence[Task], training: Training) -> ProcessorProbe:
    """Encode the longest examples of each task, and one of each kind of picture and of conversation.

    Raises `InputError` if one cannot be cut to the token limit, or if processor and model do not match.
    """
    processor, tokens = load_processor(folder), ImageTokens(folder)
    limit = _token_limit(folder, training)
    encoded: dict[str, list[Encoded]] = {}
    notes = [*weight_notes(folder), *template_notes(folder, processor, folder_family(folder))]
    notes += generation_notes(folder)
    for task in tasks:
        encoded[task.name] = []
        lost: set[str] = set()
        if limit and task.max_new_tokens >= limit:
            raise InputError(
                f"task {task.name}: max_new_tokens must leave room for a prompt in {limit} tokens (the "
                f"model's positions, or training.longest), got {task.max_new_tokens}"
            )
        for split, row in probed_rows(task):
            where, example = f"{task.name}/{split} row {row}", task.examples(split)[row]
            whole = _encode(processor, example, where)
            tokens.check(whole, where)
            if limit and whole.length > limit:
                _encode(processor, example, where, limit)
            lost.update(_lost_texts(processor, example, where))
            encoded[task.name] = _largest([*encoded[task.name], whole])
        if lost:
            notes.append(f"{task.name}: the chat template leaves out {' and '.join(sorted(lost))}")
        notes += answer_notes(processor.tokenizer, task)
    counts = {
        task.name: {split: len(task.examples(split)) for split in CACHED_SPLITS} for task in tasks
    }
    return ProcessorProbe(folder, encoded, counts, limit, notes)


def _largest(encoded: list[Encoded]) -> list[Encoded]:
    """Return the examples that are the largest in some way: all of them would fill the memory."""
    sizes: list[Callable[[Encoded], int]] = [
        lambda e: e.length,
        lambda e: len(e.prompt["input_ids"]),
        lambda e: len(e.answer),
        _pixels,
        lambda e: e.bytes - _pixels(e),
    ]
    kept = [max(encoded, key=size) for size in sizes]
    return [one for one in encoded if any(one is other for other in kept)]


def _pixels(encoded: Encoded) -> int:
    """Return the bytes of an example's pixels."""
    return encoded.prompt[PIXELS].nbytes if PIXELS in encoded.prompt else 0


def _token_limit(folder: Path, training: Training) -> int:
    """Return the token limit of an example; raises `InputError` for one beyond the model's positions."""
    text = AutoConfig.from_pretrained(folder).get_text_config()
    positions = getattr(text, "max_position_embeddings", 0)
    if positions and training.longest > positions:
        raise InputError(
            f"training.longest must be at most the model's {positions} positions, got {training.longest}; "
            "0 stands for all of them"
        )
    return training.longest or positions


def _encode(processor: Any, example: Example, where: str, limit: int = 0) -> Encoded:
    """Encode an example; raises `InputError`, which names its row, whatever goes wrong."""
    try:
        return encode(processor, example, limit)
    except InputError as error:
        raise InputError(f"{where}: {error}") from error
    except Exception as error:  # a template raises what it likes
        roles = ["system"] * bool(example.system) + ["user", "assistant"] * len(example.history)
        raise InputError(
            f"{where} (id {example.id}): the model's chat template must take the roles "
            f"{', '.join([*roles, 'user'])}, and does not: {first_line(error)}; a row without them, or "
            "another template in the model's folder, would do"
        ) from error


def _lost_texts(processor: Any, example: Example, where: str) -> list[str]:
    """Return what the model's template leaves out; raise `InputError` if it is the prompt itself."""
    texts = {
        PROMPT: [example.prompt],
        "system texts": [example.system],
        "earlier turns": [text for turn in example.history for text in turn],
    }
    lost = dropped_texts(prompt_text(processor, example), texts)
    if PROMPT in lost:
        raise InputError(
            f"{where} (id {example.id}): the model's chat template must write the prompt, and leaves it "
            "out; copy the template from the original model"
        )
    return lost


def _patches(vision: Any, encoded: Encoded) -> int:
    """Return the number of vision patches of an example's images."""
    if PIXELS not in encoded.prompt:
        return 0
    side = vision.patch_size if isinstance(vision.patch_size, int) else vision.patch_size[0]
    deep = getattr(vision, "temporal_patch_size", 1)
    return encoded.prompt[PIXELS].numel() // (3 * side * side * deep)
