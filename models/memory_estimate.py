"""Estimate of a rank's memory from the model's own shapes: nothing is loaded, let alone trained.

The stock classes are built on torch's meta device, where tensors have shapes and no contents. There the
tensors are counted that a forward pass of the language model keeps for its backward pass.
"""

from __future__ import annotations

import copy
import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from peft import get_peft_model
from transformers import AutoConfig, AutoModelForImageTextToText

from models.family import Family
from models.loading import DTYPES, IMAGES_PER_CALL, answers_at_once, cache_bytes
from models.location import folder_family
from models.parts import lora_config, trained_prefixes
from spaces.adapter import Adapter
from spaces.training import Training

PACKED = 0.5 + 0.016
"""Bytes of a weight in NF4 with doubly quantised constants (QLoRA, Dettmers et al. 2023)."""
ADAM = 8
"""Bytes of AdamW's two moments, fp32."""
BUCKET = 5e8
"""Gradients that DeepSpeed collects before it shares them out (ZeRO 2 and 3), by its own default."""


@dataclass(frozen=True)
class ExampleSizes:
    """Sizes of the longest example, in tokens, and of the splits."""

    prompt: int
    answer: int
    patches: int = 0
    """Patches of its images."""
    scored: int = 64
    """Examples of the largest split that is scored."""
    cached_bytes: int = 0
    """Bytes of the encoded examples that are cached at the same time."""


@dataclass(frozen=True)
class ParameterCounts:
    """Counts of parameters, by part of the model."""

    tower: int
    qformer: int
    language: int
    linear: int
    """Language-model parameters that can be packed into 4 bits."""
    other: int
    trained: int


class MetaModel:
    """Model without weights, on the meta device."""

    def __init__(self, folder: Path, adapter: Adapter, training: Training) -> None:
        self.family: Family = folder_family(folder)
        self.adapter, self.training = adapter, training
        self.dtype = DTYPES[training.precision]
        config: Any = AutoConfig.from_pretrained(folder)
        with torch.device("meta"):
            options = (
                {} if training.attention == "auto" else {"attn_implementation": training.attention}
            )
            self.base: Any = AutoModelForImageTextToText.from_config(
                config, dtype=self.dtype, **options
            )
            self.base.requires_grad_(False)
            self.plain = self._counted()
            if adapter.lora:
                whole: Any = get_peft_model(self.base, lora_config(self.base, self.family, adapter))
                whole.to(self.dtype)  # as DeepSpeed does with what peft made in fp32
        self.text: Any = self.base.config.get_text_config()
        prefixes = trained_prefixes(self.family, adapter)
        for name, parameter in self.base.named_parameters():
            if name.startswith(prefixes) and "lora_" not in name:
                parameter.requires_grad_(True)

    def _counted(self) -> dict[str, int]:
        tower, language = f"{self.family.tower_layers}.", f"{self.family.language_model}."
        counts = {"tower": 0, "qformer": 0, "language": 0, "linear": 0, "other": 0}
        for name, parameter in self.base.named_parameters():
            part = "tower" if name.startswith(tower) else "other"
            part = "qformer" if name.startswith(self.family.qformer) else part
            part = "language" if name.startswith((language, "lm_head.")) else part
            counts[part] += parameter.numel()
            packable = part == "language" and parameter.dim() == 2 and "embed" not in name
            counts["linear"] += parameter.numel() * (packable and "lm_head" not in name)
        return counts

    def parameters(self) -> ParameterCounts:
        """Return the counts of parameters, by part."""
        trained = sum(p.numel() for p in self.base.parameters() if p.requires_grad)
        return ParameterCounts(**self.plain, trained=trained)

    def activations(self, batch: int, tokens: int, fused: bool = False) -> int:
        """Return the bytes that the language model keeps for the backward pass of (batch, tokens).

        `fused` attention keeps its output in place of its weights (tokens, tokens).
        """
        language = self.base.get_submodule(self.family.language_model)
        width = language.get_input_embeddings().weight.shape[1]
        loading = self.training.loading
        language.train()
        if loading.checkpointing:
            language.gradient_checkpointing_enable({"use_reentrant": False})
        try:
            with torch.device("meta"):
                hidden = torch.empty(batch, tokens, width, dtype=self.dtype, requires_grad=True)
                mask = torch.ones(batch, 1, tokens, tokens, dtype=torch.bool)
                kept = _kept(self.base, language, hidden, mask, tokens if fused else 0)
        finally:
            if loading.checkpointing:
                language.gradient_checkpointing_disable()
        out = hidden.nbytes * self.layers() if fused and not loading.checkpointing else 0
        return kept + out

    def layers(self) -> int:
        """Return the number of the language model's layers."""
        return self.text.num_hidden_layers

    def with_training(self, training: Training) -> MetaModel:
        """Return the same model under other knobs."""
        other = copy.copy(self)
        other.training = training
        return other


def _kept(base: Any, language: Any, hidden: torch.Tensor, mask: torch.Tensor, fused: int) -> int:
    # OPT counts its positions in the mask, and expects one of (batch, tokens).
    counts = getattr(language.config, "model_type", "") == "opt"
    options = {"position_ids": torch.arange(hidden.shape[1], device="meta")[None]} if counts else {}
    weights = {p.untyped_storage() for p in base.parameters()}
    storages: set[torch.UntypedStorage] = set()

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        square = fused and tensor.dim() > 2 and tensor.shape[-2:] == (fused, fused)
        if storage not in weights and not square:
            storages.add(storage)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        language(inputs_embeds=hidden, attention_mask=mask, use_cache=False, **options)
    return sum(storage.nbytes() for storage in storages)


@dataclass(frozen=True)
class Machine:
    """Processor that a rank runs on, and its own use of memory."""

    process: int
    """Bytes without a model: the interpreter and its libraries, or a GPU's context."""
    heap_factor: float
    """Memory that the allocator holds, over the activations that live in it."""
    fused: bool = False
    """True if attention keeps no weights of (tokens, tokens), unless it is "eager"."""


CPU = Machine(process=900_000_000, heap_factor=1.8)
"""glibc keeps freed blocks of less than 32 MB (measured by benchmarks/memory.py)."""
GPU = Machine(process=600_000_000, heap_factor=1.1, fused=True)


def estimate_bytes(
    folder: Path,
    adapter: Adapter,
    training: Training,
    workers: int,
    sizes: ExampleSizes,
    machine: Machine,
) -> dict[str, int]:
    """Return the bytes of one rank at its peak, by use."""
    model = MetaModel(folder, adapter, training)
    parts = {
        "process": machine.process,
        **_resident(model, workers),
        "examples": sizes.cached_bytes,
    }
    parts["working memory"] = _working(model, workers, sizes, machine)
    return {name: int(size) for name, size in parts.items()}


def _resident(model: MetaModel, workers: int) -> dict[str, float]:
    """Return the bytes that are in use all the time."""
    training, count = model.training, model.parameters()
    bytes_each = 2 if training.precision == "bf16" else 4
    zero = max(training.zero, int(bytes_each == 2))
    adapter = model.adapter
    frozen = 0 if adapter.trains("vision_lora") else count.tower
    if not adapter.trains("vision_lora", "connector", "qformer"):
        frozen += count.qformer
    every = count.language + count.other + count.tower + count.qformer
    base = float((every - frozen) * bytes_each)
    if training.base_bits == 4:
        base -= count.linear * (bytes_each - PACKED)
    base = 0.0 if training.offload == "all" else base / (workers if zero == 3 else 1)
    # bf16 weights have fp32 copies, and a gradient of those for the step.
    moments = (ADAM + (8 if bytes_each == 2 else 0)) / (workers if zero else 1)
    gradients = bytes_each / (workers if zero >= 2 else 1) + min(
        BUCKET / max(count.trained, 1), 1
    ) * (bytes_each if zero >= 2 else 0)
    return {
        "weights": frozen * bytes_each + base,
        "optimizer and gradients": count.trained
        * (gradients + (0 if training.offload != "none" else moments)),
        # The stage's start weights, and the initial values.
        "copies of what is trained": count.trained * (4 + bytes_each),
    }


def _working(model: MetaModel, workers: int, sizes: ExampleSizes, machine: Machine) -> float:
    """Return the largest temporary use: a training step, embedding, answering, or a stage's end."""
    training = model.training
    bytes_each = 2 if training.precision == "bf16" else 4
    batch, tokens = training.per_pass(workers), sizes.prompt + sizes.answer
    fused = machine.fused and training.attention != "eager"
    step = float(model.activations(batch, tokens, fused))
    if training.checkpointing:  # and those of the layer that is recomputed
        plain = dataclasses.replace(training, checkpointing=False)
        step += model.with_training(plain).activations(batch, tokens, fused) / model.layers()
    # Logits of the answers: as computed, in fp32, their logarithms and their gradient.
    step += batch * (sizes.answer + 1) * model.text.vocab_size * (bytes_each + 3 * 4)
    vision = model.base.config.vision_config
    inner = getattr(vision, "intermediate_size", 4 * vision.hidden_size) + 6 * vision.hidden_size
    embedding = IMAGES_PER_CALL * sizes.patches * inner * bytes_each
    rows = min(sizes.scored, answers_at_once(model.text, tokens * 5 // 4, bytes_each))
    answers = rows * tokens * cache_bytes(model.text, bytes_each)
    answers += rows * tokens * (2 * model.text.hidden_size + _inner(model.text)) * bytes_each
    # The stage's weights, whole and as the bytes of a file.
    end = 8 * model.parameters().trained
    return max(machine.heap_factor * max(step, embedding), answers, end)


def _inner(text: Any) -> int:
    return getattr(text, "intermediate_size", None) or getattr(
        text, "ffn_dim", 4 * text.hidden_size
    )
