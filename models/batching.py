"""Examples as model input, through the family's own processor and chat template."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from models.folder.chat_template import template_file
from spaces.errors import InputError, first_line
from tasks.data.pictures import picture_rgb
from tasks.data.rows import IMAGE, Example

# Columns along the language model's sequence, and those of the instruction for a Q-Former. All others
# belong to the images, and their first dimension counts images, tiles or patches.
SEQUENCE = ("input_ids", "attention_mask", "token_type_ids", "mm_token_type_ids")
QFORMER = ("qformer_input_ids", "qformer_attention_mask")
PIXELS, FEATURES, QUERIES = "pixel_values", "features", "queries"
"""Columns of an image: as pixels, as output of the frozen vision tower, as output of a frozen Q-Former."""
NO_INPUT = ("labels",)
"""Columns of a processor that are not model input."""


@dataclass(frozen=True)
class Encoded:
    """One example, ready for batching: text columns without a batch dimension, images with theirs."""

    prompt: dict[str, torch.Tensor]
    answer: torch.Tensor
    """Token ids of the answer and the end-of-sequence token, (length,)."""
    mapped_bytes: int = 0
    """Bytes that are memory-mapped from a file, whose pages all processes share."""

    def with_features(self, features: torch.Tensor) -> Encoded:
        """Return the example with features in place of pixels."""
        prompt = self.without(PIXELS).prompt | {FEATURES: features}
        return dataclasses.replace(self, prompt=prompt)

    def with_queries(self, queries: torch.Tensor) -> Encoded:
        """Return the example with queries beside the features."""
        return dataclasses.replace(self, prompt=self.prompt | {QUERIES: queries})

    def without(self, name: str) -> Encoded:
        """Return the example without a column."""
        prompt = {column: value for column, value in self.prompt.items() if column != name}
        return dataclasses.replace(self, prompt=prompt)

    @property
    def images(self) -> dict[str, torch.Tensor]:
        """Columns of the images."""
        text = (*SEQUENCE, *QFORMER)
        return {name: value for name, value in self.prompt.items() if name not in text}

    @property
    def length(self) -> int:
        """Tokens of prompt and answer."""
        return len(self.prompt["input_ids"]) + len(self.answer)

    @property
    def bytes(self) -> int:
        """Bytes of the tensors in this process's own memory."""
        return sum(t.nbytes for t in (*self.prompt.values(), self.answer)) - self.mapped_bytes


def encode(processor: Any, example: Example, longest: int = 0) -> Encoded:
    """Encode an example by the processor: the prompt with its image tokens, and the answer.

    An example of more than `longest` tokens loses earlier turns, then the beginning of its prompt's text.
    Images and answers stay whole; raises `InputError` if they are too long. 0: any number.
    """
    encoded = _encoded(processor, example)
    while longest and encoded.length > longest:
        example = _shortened(example, encoded.length - longest)
        encoded = _encoded(processor, example)
    return encoded


def _shortened(example: Example, excess: int) -> Example:
    """Return the example without its oldest turn, or with a shorter prompt if it has no turns."""
    if example.history:
        # An image whose turn is dropped is still shown, before the rest of the conversation.
        rest = [(prompt.replace(IMAGE, ""), answer) for prompt, answer in example.history[1:]]
        prompt = example.prompt.replace(IMAGE, "")
        return dataclasses.replace(example, history=tuple(rest), prompt=prompt)
    words = example.prompt.replace(IMAGE, "").split(" ")
    if len(words) < 2:
        raise InputError(
            f"example {example.id} must be shorter by {excess} tokens, and only its images and its answer "
            "are left; smaller images (in the folder's processor) or a larger training.longest would do"
        )
    # Each word is at least one token.
    return dataclasses.replace(
        example, prompt=" ".join(words[max(1, min(excess, len(words) // 2)) :])
    )


def _encoded(processor: Any, example: Example) -> Encoded:
    images = [picture_rgb(data) for data in example.images]
    text = prompt_text(processor, example)
    tokenizer = processor.tokenizer
    # A template that writes the beginning-of-sequence token itself must not get a second one.
    has_bos = bool(tokenizer.bos_token) and text.startswith(tokenizer.bos_token)
    options = {"add_special_tokens": False} if has_bos else {}
    try:
        prompt = processor(images=images or None, text=[text], return_tensors="pt", **options)
    except Exception as error:  # wrong settings in the folder, or an image that it cannot take
        raise InputError(
            f"the model's processor must take example {example.id}, and does not: "
            f"{first_line(error)}; its chat template must place each "
            "image, its image size must be one that this image can be brought to"
        ) from error
    ids = tokenizer(example.answer, add_special_tokens=False)["input_ids"]
    columns = {name: value for name, value in prompt.items() if name not in NO_INPUT}
    return Encoded(
        {n: v[0] if n in (*SEQUENCE, *QFORMER) else v for n, v in columns.items()},
        torch.tensor([*ids, tokenizer.eos_token_id]),
    )


def prompt_text(processor: Any, example: Example) -> str:
    """Return the conversation up to the answer's start, in the processor's chat template.

    Processors without one (BLIP-2, InstructBLIP, PaliGemma) put the images first themselves. Then the
    system prompt and the earlier turns precede the prompt, a line each.
    """
    template = getattr(processor, "chat_template", None)
    if not template:
        turns = [text.replace(IMAGE, "").strip() for turn in example.history for text in turn]
        prompt = example.prompt.replace(IMAGE, "").strip() if example.images else example.prompt
        text = "\n".join(part for part in (example.system, *turns, prompt) if part)
        # BLIP-2 and InstructBLIP add a token for each query; PaliGemma needs one for each image.
        marks = 0 if hasattr(processor, "num_query_tokens") else len(example.images)
        return IMAGE * marks + text
    turns = messages(example)
    try:
        # By the tokenizer: the method of some processors needs the packages for videos.
        return processor.tokenizer.apply_chat_template(
            turns, chat_template=template, add_generation_prompt=True, tokenize=False
        )
    except Exception as error:  # a template may raise what it wants
        roles = ", ".join(dict.fromkeys(turn["role"] for turn in turns))
        raise InputError(
            f'the chat template in "{template_file(Path(processor.tokenizer.name_or_path))}" must take '
            f"example {example.id} (roles {roles}; {len(example.images)} images), and does not: "
            f"{type(error).__name__}: {first_line(error)}; a template that takes these roles in "
            "chat_template.jinja, or the rows without them, would do"
        ) from error


def messages(example: Example) -> list[dict[str, Any]]:
    """Return the conversation for a chat template: turns of texts and images in their places."""
    turns: list[dict[str, Any]] = []
    if example.system:
        turns.append({"role": "system", "content": [{"type": "text", "text": example.system}]})
    prompts = [*(prompt for prompt, _ in example.history), example.prompt]
    marked = any(IMAGE in prompt for prompt in prompts)
    for turn, prompt in enumerate(prompts):
        first = 0 if marked or turn else len(example.images)
        content = [{"type": "image"}] * first + (
            _parts(prompt) if example.images else _text(prompt)
        )
        turns.append({"role": "user", "content": content})
        if turn < len(example.history):
            turns.append({"role": "assistant", "content": _text(example.history[turn][1])})
    return turns


def _text(text: str) -> list[dict[str, str]]:
    return [{"type": "text", "text": text}]


def _parts(prompt: str) -> list[dict[str, str]]:
    """Split a prompt into its texts and, at each `IMAGE`, its images."""
    parts: list[dict[str, str]] = []
    for number, text in enumerate(prompt.split(IMAGE)):
        parts += [{"type": "image"}] if number else []
        # Blank lines around an image come from the data format, not from the text.
        parts += _text(text.strip("\n")) if text.strip("\n") else []
    return parts


def collate(
    processor: Any, batch: Sequence[Encoded], with_answers: bool, answer_type: int = 0
) -> tuple[dict[str, torch.Tensor], torch.Tensor]:
    """Return the model input, and the answers (batch, longest answer) padded with -100.

    Prompts are padded on the left and answers on the right: the answers are the last columns.
    """
    width = max(len(e.answer) for e in batch)
    answers = torch.full((len(batch), width), -100)
    for row, encoded in enumerate(batch):
        answers[row, : len(encoded.answer)] = encoded.answer
    pad = pad_id(processor.tokenizer)
    inputs = {}
    for name in dict.fromkeys(name for e in batch for name in e.prompt):
        values = [e.prompt[name] for e in batch if name in e.prompt]  # not all have an image
        if name in SEQUENCE:
            inputs[name] = _left_padded(values, pad if name == "input_ids" else 0)
        elif name in QFORMER:
            inputs[name] = _right_padded(values, _pad_of(processor, name))
        else:
            inputs[name] = joined(values)
    if with_answers:
        tails = {"input_ids": answers.masked_fill(answers == -100, pad)}
        tails["attention_mask"] = (answers != -100).long()
        tails["token_type_ids"] = torch.full_like(answers, answer_type)
        for name in [n for n in SEQUENCE if n in inputs]:
            tail = tails.get(name, torch.zeros_like(answers))
            inputs[name] = torch.cat([inputs[name], tail], dim=1)
    return inputs, answers


def joined(values: Sequence[torch.Tensor]) -> torch.Tensor:
    """Concatenate tensors, the smaller ones padded with zeros: images that do not exist."""
    sizes = [max(v.shape[d] for v in values) for d in range(1, values[0].dim())]
    padded = []
    for value in values:
        missing = [full - size for full, size in zip(sizes, value.shape[1:], strict=True)]
        padding = [n for size in reversed(missing) for n in (0, size)]
        padded.append(torch.nn.functional.pad(value, padding) if any(missing) else value)
    return torch.cat(padded)


def _pad_of(processor: Any, name: str) -> int:
    if name == "qformer_input_ids":
        return pad_id(processor.qformer_tokenizer)
    return 0


def pad_id(tokenizer: Any) -> int:
    """Return the padding token; the end-of-sequence token where there is none, as padding is masked."""
    return tokenizer.eos_token_id if tokenizer.pad_token_id is None else tokenizer.pad_token_id


def _left_padded(values: Sequence[torch.Tensor], pad: int) -> torch.Tensor:
    length = max(len(v) for v in values)
    return torch.stack(
        [torch.nn.functional.pad(v, (length - len(v), 0), value=pad) for v in values]
    )


def _right_padded(values: Sequence[torch.Tensor], pad: int) -> torch.Tensor:
    return torch.nn.utils.rnn.pad_sequence(list(values), batch_first=True, padding_value=pad)
