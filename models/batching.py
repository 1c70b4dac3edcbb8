"""Examples become model input through the family's own processor and chat template."""

from __future__ import annotations

import dataclasses
import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from PIL import Image

from spaces.errors import InputError
from tasks.data.rows import IMAGE, Example

# Columns that run along the language model's sequence, and those of the instruction as a Q-Former reads
# it; all others belong to the images, and their first dimension counts images, tiles or patches.
SEQUENCE = ("input_ids", "attention_mask", "token_type_ids", "mm_token_type_ids")
QFORMER = ("qformer_input_ids", "qformer_attention_mask")
PIXELS, FEATURES, QUERIES = "pixel_values", "features", "queries"
"""An image as it came; what the frozen vision tower saw; what a frozen Q-Former made of that."""
NO_INPUT = ("labels",)
"""What a processor makes beside the model's input."""


@dataclass(frozen=True)
class Encoded:
    """One example, ready to be batched: text columns without a batch dimension, images with theirs."""

    prompt: dict[str, torch.Tensor]
    answer: torch.Tensor
    """Token ids of the answer and the end-of-sequence token, (length,)."""
    mapped_bytes: int = 0
    """Bytes of it that lie in a file, whose pages all processes share."""

    def with_features(self, features: torch.Tensor) -> Encoded:
        """The same with what the vision tower saw in place of the pixels."""
        rest = self.without(PIXELS)
        return dataclasses.replace(rest, prompt=rest.prompt | {FEATURES: features})

    def with_queries(self, queries: torch.Tensor) -> Encoded:
        """The same with what the frozen Q-Former read, beside what the tower saw."""
        return dataclasses.replace(self, prompt=self.prompt | {QUERIES: queries})

    def without(self, name: str) -> Encoded:
        """The same without a column."""
        rest = {own: value for own, value in self.prompt.items() if own != name}
        return dataclasses.replace(self, prompt=rest)

    @property
    def images(self) -> dict[str, torch.Tensor]:
        """The columns of the images."""
        text = (*SEQUENCE, *QFORMER)
        return {name: value for name, value in self.prompt.items() if name not in text}

    @property
    def length(self) -> int:
        """Tokens of prompt and answer."""
        return len(self.prompt["input_ids"]) + len(self.answer)

    @property
    def bytes(self) -> int:
        """Memory of this process that the tensors take."""
        return sum(t.nbytes for t in (*self.prompt.values(), self.answer)) - self.mapped_bytes


def encode(processor: Any, example: Example, longest: int = 0) -> Encoded:
    """An example through the processor: image tokens in place, the prompt up to the answer's start.

    One of more than `longest` tokens (0: any number) loses its earlier turns, then the beginning of its
    prompt's text, never a part of an image or of the answer; raises `InputError` if that is not enough.
    """
    encoded = _encoded(processor, example)
    while longest and encoded.length > longest:
        example = _shortened(example, encoded.length - longest)
        encoded = _encoded(processor, example)
    return encoded


def _shortened(example: Example, beyond: int) -> Example:
    """The example without its oldest turn; without any, with a shorter prompt."""
    if example.history:
        # An image whose turn is left out is still shown, before what is left of the conversation.
        rest = [(prompt.replace(IMAGE, ""), answer) for prompt, answer in example.history[1:]]
        prompt = example.prompt.replace(IMAGE, "")
        return dataclasses.replace(example, history=tuple(rest), prompt=prompt)
    words = example.prompt.replace(IMAGE, "").split(" ")
    if len(words) < 2:
        raise InputError(
            f"example {example.id} must be shorter by {beyond} tokens, and only its images and its answer "
            "are left; smaller images (in the folder's processor) or a larger training.longest would do"
        )
    # A word is a token at least.
    return dataclasses.replace(
        example, prompt=" ".join(words[max(1, min(beyond, len(words) // 2)) :])
    )


def _encoded(processor: Any, example: Example) -> Encoded:
    images = [Image.open(io.BytesIO(data)).convert("RGB") for data in example.images]
    text = prompt_text(processor, example)
    tokenizer = processor.tokenizer
    # A template that writes the beginning-of-sequence token itself must not get a second one.
    twice = bool(tokenizer.bos_token) and text.startswith(tokenizer.bos_token)
    more = {"add_special_tokens": False} if twice else {}
    try:
        prompt = processor(images=images or None, text=[text], return_tensors="pt", **more)
    except Exception as error:  # of the folder's own settings, or of an image that it cannot take
        raise InputError(
            f"the model's processor must take example {example.id}, and does not: "
            f"{(str(error).splitlines() or [type(error).__name__])[0]}; its chat template must place each "
            "image, its image size must be one that this image can be brought to"
        ) from error
    ids = tokenizer(example.answer, add_special_tokens=False)["input_ids"]
    columns = {name: value for name, value in prompt.items() if name not in NO_INPUT}
    return Encoded(
        {n: v[0] if n in (*SEQUENCE, *QFORMER) else v for n, v in columns.items()},
        torch.tensor([*ids, tokenizer.eos_token_id]),
    )


def prompt_text(processor: Any, example: Example) -> str:
    """The conversation up to the answer's start, in the processor's chat template.

    Processors without one (BLIP-2, InstructBLIP, PaliGemma) put the images first themselves; earlier
    turns and the system's words then go before the prompt, a line each.
    """
    template = getattr(processor, "chat_template", None)
    if not template:
        turns = [text.replace(IMAGE, "").strip() for turn in example.history for text in turn]
        own = example.prompt.replace(IMAGE, "").strip() if example.images else example.prompt
        text = "\n".join(part for part in (example.system, *turns, own) if part)
        # BLIP-2's kind puts as many tokens as there are queries; PaliGemma's wants one for each image.
        marks = 0 if hasattr(processor, "num_query_tokens") else len(example.images)
        return IMAGE * marks + text
    # Of the tokenizer, for some processors' own method asks for what videos need.
    return processor.tokenizer.apply_chat_template(
        messages(example), chat_template=template, add_generation_prompt=True, tokenize=False
    )


def messages(example: Example) -> list[dict[str, Any]]:
    """The conversation as chat templates take it: turns of texts and images in their places."""
    said: list[dict[str, Any]] = []
    if example.system:
        said.append({"role": "system", "content": [{"type": "text", "text": example.system}]})
    prompts = [*(prompt for prompt, _ in example.history), example.prompt]
    marked = any(IMAGE in prompt for prompt in prompts)
    for turn, prompt in enumerate(prompts):
        first = 0 if marked or turn else len(example.images)
        content = [{"type": "image"}] * first + (
            _parts(prompt) if example.images else _text(prompt)
        )
        said.append({"role": "user", "content": content})
        if turn < len(example.history):
            said.append({"role": "assistant", "content": _text(example.history[turn][1])})
    return said


def _text(text: str) -> list[dict[str, str]]:
    return [{"type": "text", "text": text}]


def _parts(prompt: str) -> list[dict[str, str]]:
    """The prompt's texts and, where `IMAGE` stands, its images."""
    parts: list[dict[str, str]] = []
    for number, text in enumerate(prompt.split(IMAGE)):
        parts += [{"type": "image"}] if number else []
        # Blank lines about an image are the data format's way to set it apart, not a part of the text.
        parts += _text(text.strip("\n")) if text.strip("\n") else []
    return parts


def collate(
    processor: Any, batch: Sequence[Encoded], with_answers: bool, answer_type: int = 0
) -> tuple[dict[str, torch.Tensor], torch.Tensor]:
    """Model input and, padded with -100, the answers (batch, longest answer).

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
    """One after the other, the smaller ones filled up with zeros: images that are not there."""
    sizes = [max(v.shape[d] for v in values) for d in range(1, values[0].dim())]
    whole = []
    for value in values:
        lacking = [size - own for size, own in zip(sizes, value.shape[1:], strict=True)]
        after = [n for size in reversed(lacking) for n in (0, size)]
        whole.append(torch.nn.functional.pad(value, after) if any(lacking) else value)
    return torch.cat(whole)


def _pad_of(processor: Any, name: str) -> int:
    if name == "qformer_input_ids":
        return pad_id(processor.qformer_tokenizer)
    return 0


def pad_id(tokenizer: Any) -> int:
    """What fills up; masked wherever it stands, so that any token will do where there is none for it."""
    return tokenizer.eos_token_id if tokenizer.pad_token_id is None else tokenizer.pad_token_id


def _left_padded(values: Sequence[torch.Tensor], pad: int) -> torch.Tensor:
    length = max(len(v) for v in values)
    return torch.stack(
        [torch.nn.functional.pad(v, (length - len(v), 0), value=pad) for v in values]
    )


def _right_padded(values: Sequence[torch.Tensor], pad: int) -> torch.Tensor:
    return torch.nn.utils.rnn.pad_sequence(list(values), batch_first=True, padding_value=pad)
