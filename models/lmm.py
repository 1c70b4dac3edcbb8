"""A large multimodal model as training uses it: loaded, adapted, fed with examples, asked for answers."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from peft import PeftModel, get_peft_model
from transformers import GenerationConfig
from transformers.modeling_layers import GradientCheckpointingLayer
from transformers.utils import logging as transformers_logging

from models.batching import FEATURES, PIXELS, QUERIES, Encoded, collate
from models.folder.generation import greedy
from models.frozen import map_to_file
from models.frozen_parts import FrozenParts
from models.loading import answers_at_once, load_base
from models.location import folder_family
from models.parts import lora_config, trained_prefixes
from models.processors import load_processor
from spaces.adapter import Adapter
from spaces.loading import Loading

transformers_logging.disable_progress_bar()  # a bar per rank would break the search's own display

PLAIN = Loading()
PEFT_PREFIX = "base_model.model."


class LMM(FrozenParts):
    """Stock transformers model with its processor, its adapters and its frozen parts.

    The weights on disk are read once; `adapt` puts other adapters on the same base.
    """

    def __init__(self, folder: Path, loading: Loading = PLAIN) -> None:
        self.folder = folder
        family, processor = folder_family(folder), load_processor(folder)
        base: Any = load_base(folder, loading)
        base.requires_grad_(False)
        for module in base.modules():  # BLIP-2 answers by its language model's settings
            if isinstance(getattr(module, "generation_config", None), GenerationConfig):
                module.generation_config = greedy(module.generation_config, processor.tokenizer)
        self.token_embeddings: torch.Tensor = base.get_input_embeddings().weight.detach()
        """(vocabulary, width) as they were loaded, whatever is trained or split up later."""
        super().__init__(base, family, processor)
        self.model: Any = base
        self.peft: PeftModel | None = None
        self._connector = {
            name: p.detach().clone()
            for name, p in self.base.named_parameters()
            if name.startswith(self.family.connector)
        }

    def adapt(self, adapter: Adapter, seed: int) -> None:
        """Make `adapter.parts` trainable, at their initial values; LoRA is drawn from `seed`.

        LoRA's second factor starts at zero, so that the model answers as the base does.
        """
        if self.peft is not None:
            self.model = self.base = self.peft.unload()
            self.peft = None
        self.base.requires_grad_(False)
        with torch.no_grad():
            for name, parameter in self.base.named_parameters():
                if name in self._connector:
                    parameter.copy_(self._connector[name])
        self._place_parts(adapter.trains("vision_lora"), adapter.trains("connector", "qformer"))
        weight = self.base.get_input_embeddings().weight
        if adapter.trains("lm") and weight.data_ptr() == self.token_embeddings.data_ptr():
            weight.data = weight.data.clone()  # texts are embedded by the untrained ones
        if adapter.lora:
            torch.manual_seed(seed)
            config = lora_config(self.base, self.family, adapter)
            self.peft = get_peft_model(self.base, config)  # type: ignore[assignment]
            self.model = self.peft
        trained = trained_prefixes(self.family, adapter)
        for name, parameter in self.named_weights():
            if name.startswith(trained):
                parameter.requires_grad_(True)
        self._initial = {n: p.detach().clone() for n, p in self.trainable().items()}

    def named_weights(self) -> Iterator[tuple[str, torch.nn.Parameter]]:
        """Yield all parameters by their name in the plain model, even if peft wraps it."""
        for name, parameter in self.model.named_parameters():
            yield name.removeprefix(PEFT_PREFIX), parameter

    def trainable(self) -> dict[str, torch.nn.Parameter]:
        """Return the parameters that are trained, by name."""
        return {name: p for name, p in self.named_weights() if p.requires_grad}

    def initial(self) -> dict[str, torch.Tensor]:
        """Return the trainable parameters' values before any stage."""
        return self._initial

    @property
    def device(self) -> torch.device:
        """Device of the weights."""
        return next(self.model.parameters()).device

    def to(self, device: torch.device | str) -> None:
        """Move the weights, including those of frozen parts."""
        self.base.to(device)
        for part in (self.tower, self.qformer):
            if part is not None:
                part.move(device)

    def offload(self, folder: Path) -> None:
        """Map to files in `folder` the weights that are rarely read where features are cached."""
        if self.tower is not None:
            self.tower.offload(folder / "tower.safetensors")
        tokens = {"tokens": self.token_embeddings}
        self.token_embeddings = map_to_file(tokens, folder / "tokens.safetensors").get(
            "tokens", self.token_embeddings
        )

    def answer_logits(self, batch: Sequence[Encoded]) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the logits at the answers' tokens, and those tokens.

        The logits are (examples, longest answer, vocabulary) in fp32.

        The tokens are padded with -100. Prompts are padded on the left, so that the answers are the last
        columns of every row and logits are computed for them alone.
        """
        inputs, answers = self._collated(batch, with_answers=True)
        width = answers.shape[1]
        # Positions rather than a count: they are gathered into a contiguous tensor, which the head
        # multiplies in one product instead of one per example.
        length = inputs["input_ids"].shape[1]
        kept = torch.arange(length - width - 1, length - 1, device=self.device)
        with self._given(inputs) as given:
            logits = self.model(**given, logits_to_keep=kept, use_cache=False).logits.float()
        return logits, answers.to(logits.device)

    @torch.no_grad()
    def inference_logits(self, batch: Sequence[Encoded]) -> tuple[torch.Tensor, torch.Tensor]:
        """Return `answer_logits` without gradients and dropout."""
        with evaluating(self.model):
            return self.answer_logits(batch)

    @torch.no_grad()
    def answers(
        self, batch: Sequence[Encoded], max_new_tokens: int, synced: bool = False
    ) -> list[str]:
        """Generate a greedy answer for each example; `synced` where ranks hold parts of the weights."""
        inputs, _ = self._collated(batch, with_answers=False)
        with evaluating(self.model), self._given(inputs) as given:
            output = self.model.generate(
                **given,
                max_new_tokens=max_new_tokens,
                synced_gpus=synced,
            )
        tokens = output[:, inputs["input_ids"].shape[1] :]
        return [
            text.strip() for text in self.processor.batch_decode(tokens, skip_special_tokens=True)
        ]

    def token_limit(self, asked: int) -> int:
        """Return the token limit of an example: `asked`, within the model's positions; 0: any number."""
        positions = getattr(self.base.config.get_text_config(), "max_position_embeddings", 0)
        return min(asked, positions) if asked and positions else asked or positions

    def answers_at_once(self, tokens: int) -> int:
        """Return how many examples of so many tokens, answer included, are answered in one batch."""
        element_size = next(self.base.parameters()).element_size()
        return answers_at_once(self.base.config.get_text_config(), tokens, element_size)

    @contextlib.contextmanager
    def _given(self, inputs: dict[str, torch.Tensor]) -> Iterator[dict[str, torch.Tensor]]:
        """Yield the model's arguments on its device; features take the place of pixels."""
        dtype = next(self.model.parameters()).dtype
        moved = {}
        for name, value in inputs.items():
            argument = PIXELS if name in (FEATURES, QUERIES) else name
            moved[argument] = value.to(self.device, dtype if value.is_floating_point() else None)
        queries = QUERIES in inputs
        with self._reading(FEATURES in inputs or queries, queries):
            yield moved

    def _collated(
        self, batch: Sequence[Encoded], with_answers: bool
    ) -> tuple[dict[str, torch.Tensor], torch.Tensor]:
        selected = self._select_inputs(batch)
        return collate(self.processor, selected, with_answers, self.family.answer_token_type)


@contextlib.contextmanager
def evaluating(model: torch.nn.Module) -> Iterator[None]:
    """Put the model into evaluation mode, without dropout, for the block."""
    training = model.training
    model.eval()
    try:
        yield
    finally:
        model.train(training)


@contextlib.contextmanager
def without_dropout(model: torch.nn.Module) -> Iterator[None]:
    """Switch dropout off in the block, in which gradients can be computed as in training.

    Checkpointed layers are computed twice in training mode only. A few of them call dropout as a function,
    beside the dropout of their modules.
    """
    dropout = torch.nn.functional.dropout
    with evaluating(model):
        for module in model.modules():
            if isinstance(module, GradientCheckpointingLayer):
                module.training = True
        torch.nn.functional.dropout = lambda input, *_, **__: input
        try:
            yield
        finally:
            torch.nn.functional.dropout = dropout
