"""A large multimodal model as the loop sees it: loaded, adapted, fed with examples, asked for answers."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import AutoModelForImageTextToText, AutoProcessor
from transformers.utils import logging as transformers_logging

from models.batching import FEATURES, PIXELS, Encoded, collate
from models.frozen import FrozenTower
from models.location import folder_family
from spaces.adapter import Adapter

transformers_logging.disable_progress_bar()  # a bar per rank would tear the search's own view

PEFT_PREFIX = "base_model.model."
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}


class LMM:
    """A stock transformers model with its processor, and the parts of it that are trained.

    The weights on disk are read once; `adapt` puts other adapters on the same base.
    """

    def __init__(self, folder: Path, precision: str = "fp32") -> None:
        self.folder = folder
        self.family = folder_family(folder)
        self.processor: Any = AutoProcessor.from_pretrained(folder)
        self.base: Any = AutoModelForImageTextToText.from_pretrained(
            folder, dtype=DTYPES[precision]
        ).eval()
        self.model: Any = self.base
        self.base.requires_grad_(False)
        self.tower = FrozenTower(self.base, self.family)
        self.peft: PeftModel | None = None
        self._adapter: Adapter | None = None
        self._connector = {
            name: p.detach().clone()
            for name, p in self.base.named_parameters()
            if self._joins(name)
        }

    def adapt(self, adapter: Adapter, seed: int) -> None:
        """Make `adapter.parts` trainable, at their initial values; LoRA is drawn from `seed`.

        LoRA's second factor starts at zero, so that the model's answers are those of the base.
        """
        if self.peft is not None:
            self.model = self.base = self.peft.unload()
            self.peft = None
        self.base.requires_grad_(False)
        with torch.no_grad():
            for name, parameter in self.base.named_parameters():
                if name in self._connector:
                    parameter.copy_(self._connector[name])
        if adapter.lora:
            torch.manual_seed(seed)
            self.peft = get_peft_model(self.base, self._lora(adapter))  # type: ignore[assignment]
            self.model = self.peft
        if adapter.connector:
            for name, parameter in self.trainable_or_not():
                if self._joins(name):
                    parameter.requires_grad_(True)
        self._initial = {n: p.detach().clone() for n, p in self.trainable().items()}

    def _lora(self, adapter: Adapter) -> LoraConfig:
        path = self.family.language_model
        kinds = {
            name.rpartition(".")[2]
            for name, module in self.base.named_modules()
            if isinstance(module, torch.nn.Linear) and name.startswith(path + ".")
        } - {"lm_head"}
        return LoraConfig(
            r=adapter.rank,
            lora_alpha=adapter.alpha_per_rank * adapter.rank,  # type: ignore[arg-type]  # any number
            lora_dropout=adapter.dropout,
            # A pattern of whole names: peft would shorten a list of them to endings, which in the stock
            # model that the adapter is loaded into fit the vision tower's layers too.
            target_modules=rf"{re.escape(path)}\..*\.({'|'.join(sorted(kinds))})",
            bias="none",
        )

    def _joins(self, name: str) -> bool:
        return name.startswith(self.family.connector)

    def trainable_or_not(self) -> Iterator[tuple[str, torch.nn.Parameter]]:
        """All parameters by their name in the plain model, whether or not peft wraps it."""
        for name, parameter in self.model.named_parameters():
            yield name.removeprefix(PEFT_PREFIX), parameter

    def trainable(self) -> dict[str, torch.nn.Parameter]:
        """The parameters that are trained, by name."""
        return {name: p for name, p in self.trainable_or_not() if p.requires_grad}

    def initial(self) -> dict[str, torch.Tensor]:
        """The trainable parameters' values before any stage."""
        return self._initial

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return next(self.model.parameters()).device

    def to(self, device: torch.device | str) -> None:
        """Move the weights, the vision tower's too."""
        self.base.to(device)
        self.tower.move(device)

    def seen(self, batch: Sequence[Encoded]) -> list[Encoded]:
        """The examples with what the vision tower saw in place of the pixels, where there are any."""
        shown = [place for place, encoded in enumerate(batch) if PIXELS in encoded.prompt]
        features = self.tower.look([batch[place].prompt[PIXELS] for place in shown])
        found = dict(zip(shown, features, strict=True))
        return [e.seen(found[place]) if place in found else e for place, e in enumerate(batch)]

    def answer_loss(self, batch: Sequence[Encoded]) -> torch.Tensor:
        """Summed negative log-likelihood of the answers' tokens, in nats (a scalar).

        Logits are computed for the answers alone: prompts are padded on the left, so that the
        answers are the last columns of every row.
        """
        inputs, answers = collate(self.processor, batch, with_answers=True)
        width = answers.shape[1]
        # Positions rather than a count: they are gathered into a contiguous tensor, which the head
        # multiplies in one product instead of one per example.
        length = inputs["input_ids"].shape[1]
        kept = torch.arange(length - width - 1, length - 1, device=self.device)
        with self._given(inputs) as given:
            logits = self.model(**given, logits_to_keep=kept).logits.float()
        return torch.nn.functional.cross_entropy(
            logits.flatten(0, 1),
            answers.to(logits.device).flatten(),
            ignore_index=-100,
            reduction="sum",
        )

    @torch.no_grad()
    def answers(
        self, batch: Sequence[Encoded], max_new_tokens: int, synced: bool = False
    ) -> list[str]:
        """Greedy answers, one string an example; `synced` where ranks hold parts of the weights."""
        inputs, _ = collate(self.processor, batch, with_answers=False)
        with _evaluating(self.model), self._given(inputs) as given:
            output = self.model.generate(
                **given,
                max_new_tokens=max_new_tokens,
                do_sample=False,
                num_beams=1,
                synced_gpus=synced,
            )
        tokens = output[:, inputs["input_ids"].shape[1] :]
        return [
            text.strip() for text in self.processor.batch_decode(tokens, skip_special_tokens=True)
        ]

    @contextlib.contextmanager
    def _given(self, inputs: dict[str, torch.Tensor]) -> Iterator[dict[str, torch.Tensor]]:
        """The model's arguments where its weights are; features pass for pixels meanwhile."""
        dtype = next(self.model.parameters()).dtype
        moved = {}
        for name, value in inputs.items():
            argument = PIXELS if name == FEATURES else name
            moved[argument] = value.to(self.device, dtype if value.is_floating_point() else None)
        with self.tower.seen(FEATURES in inputs):
            yield moved


@contextlib.contextmanager
def _evaluating(model: torch.nn.Module) -> Iterator[None]:
    training = model.training
    model.eval()
    try:
        yield
    finally:
        model.train(training)
