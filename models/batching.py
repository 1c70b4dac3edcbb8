"""Examples become model input through the family's own processor and chat template."""

from __future__ import annotations

import dataclasses
import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from PIL import Image

from tasks.rows import Example

# Columns that run along the language model's sequence; all others belong to the image or the
# instruction as a Q-Former reads it.
SEQUENCE = ("input_ids", "attention_mask", "token_type_ids", "mm_token_type_ids")
PIXELS, FEATURES = "pixel_values", "features"


@dataclass(frozen=True)
class Encoded:
    """One example, ready to be batched: the processor's output without its batch dimension."""

    prompt: dict[str, torch.Tensor]
    answer: torch.Tensor
    """Token ids of the answer and the end-of-sequence token, (length,)."""

    def seen(self, features: torch.Tensor) -> Encoded:
        """The same with what the vision tower saw in place of the pixels."""
        rest = {name: value for name, value in self.prompt.items() if name != PIXELS}
        return dataclasses.replace(self, prompt=rest | {FEATURES: features})

    @property
    def bytes(self) -> int:
        """Memory that the tensors take."""
        return sum(t.nbytes for t in (*self.prompt.values(), self.answer))


def encode(processor: Any, example: Example) -> Encoded:
    """An example through the processor: image tokens in place, the prompt up to the answer's start."""
    (data,) = example.images or (None,)
    image = Image.open(io.BytesIO(data)).convert("RGB") if data else None
    prompt = processor(
        images=[image] if image else None,
        text=[prompt_text(processor, example.prompt, image is not None)],
        return_tensors="pt",
    )
    tokenizer = processor.tokenizer
    ids = tokenizer(example.answer, add_special_tokens=False)["input_ids"]
    return Encoded(
        {name: value[0] for name, value in prompt.items()},
        torch.tensor([*ids, tokenizer.eos_token_id]),
    )


def prompt_text(processor: Any, prompt: str, has_image: bool) -> str:
    """The prompt in the processor's chat template; as it is where there is none (InstructBLIP)."""
    if not getattr(processor, "chat_template", None):
        return prompt
    content = [{"type": "image"}] * has_image + [{"type": "text", "text": prompt}]
    return processor.apply_chat_template(
        [{"role": "user", "content": content}], add_generation_prompt=True
    )


def collate(
    processor: Any, batch: Sequence[Encoded], with_answers: bool
) -> tuple[dict[str, torch.Tensor], torch.Tensor]:
    """Model input and, padded with -100, the answers (batch, longest answer).

    Prompts are padded on the left and answers on the right: the answers are the last columns.
    """
    width = max(len(e.answer) for e in batch)
    answers = torch.full((len(batch), width), -100)
    for row, encoded in enumerate(batch):
        answers[row, : len(encoded.answer)] = encoded.answer
    pad = processor.tokenizer.pad_token_id
    inputs = {}
    for name in dict.fromkeys(name for e in batch for name in e.prompt):
        values = [e.prompt[name] for e in batch if name in e.prompt]  # not all have an image
        if name in SEQUENCE:
            inputs[name] = _left_padded(values, pad if name == "input_ids" else 0)
        elif values[0].dim() == 1:
            inputs[name] = _right_padded(values, _pad_of(processor, name))
        else:
            inputs[name] = torch.stack(values)
    if with_answers:
        tails = {"input_ids": answers.masked_fill(answers == -100, pad)}
        tails["attention_mask"] = (answers != -100).long()
        for name in [n for n in SEQUENCE if n in inputs]:
            tail = tails.get(name, torch.zeros_like(answers))
            inputs[name] = torch.cat([inputs[name], tail], dim=1)
    return inputs, answers


def _pad_of(processor: Any, name: str) -> int:
    if name == "qformer_input_ids":
        return processor.qformer_tokenizer.pad_token_id
    return 0


def _left_padded(values: Sequence[torch.Tensor], pad: int) -> torch.Tensor:
    length = max(len(v) for v in values)
    return torch.stack(
        [torch.nn.functional.pad(v, (length - len(v), 0), value=pad) for v in values]
    )


def _right_padded(values: Sequence[torch.Tensor], pad: int) -> torch.Tensor:
    return torch.nn.utils.rnn.pad_sequence(list(values), batch_first=True, padding_value=pad)
