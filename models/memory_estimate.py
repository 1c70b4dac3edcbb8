"""What one rank needs of memory, from the model's own shapes: nothing is loaded, let alone trained.

The stock classes are built on torch's meta device, where tensors have shapes and no contents, and what a
forward pass of the language model keeps for its backward pass is counted there.
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
    """Of the longest example, in tokens."""

    prompt: int
    answer: int
    patches: int = 0
    """That the vision tower sees of its images."""
    asked: int = 64
    """Examples of the largest split that is scored."""
    examples: int = 0
    """Bytes of the encoded examples that are kept at the same time."""


@dataclass(frozen=True)
class ParameterCounts:
    """Counts of parameters."""

    tower: int
    qformer: int
    language: int
    linear: int
    """Of the language model's, those that can be packed into 4 bits."""
    rest: int
    trained: int


class MetaModel:
    """A model without weights."""

    def __init__(self, folder: Path, adapter: Adapter, training: Training) -> None:
        self.family: Family = folder_family(folder)
        self.adapter, self.training = adapter, training
        self.dtype = DTYPES[training.precision]
        config: Any = AutoConfig.from_pretrained(folder)
        with torch.device("meta"):
            own = (
                {} if training.attention == "auto" else {"attn_implementation": training.attention}
            )
            self.base: Any = AutoModelForImageTextToText.from_config(
                config, dtype=self.dtype, **own
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
        counts = {"tower": 0, "qformer": 0, "language": 0, "linear": 0, "rest": 0}
        for name, parameter in self.base.named_parameters():
            part = "tower" if name.startswith(tower) else "rest"
            part = "qformer" if name.startswith(self.family.qformer) else part
            part = "language" if name.startswith((language, "lm_head.")) else part
            counts[part] += parameter.numel()
            packable = part == "language" and parameter.dim() == 2 and "embed" not in name
            counts["linear"] += parameter.numel() * (packable and "lm_head" not in name)
        return counts

    def parameters(self) -> ParameterCounts:
        """How many there are of each part."""
        trained = sum(p.numel() for p in self.base.parameters() if p.requires_grad)
        return ParameterCounts(**self.plain, trained=trained)

    def activations(self, batch: int, tokens: int, fused: bool = False) -> int:
        """Bytes that the language model keeps for the backward pass of (batch, tokens).

        `fused` attention keeps what comes out of it in place of its weights (tokens, tokens).
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
        """Of the language model."""
        return self.text.num_hidden_layers

    def with_(self, training: Training) -> MetaModel:
        """The same model under other knobs."""
        other = copy.copy(self)
        other.training = training
        return other


def _kept(base: Any, language: Any, hidden: torch.Tensor, mask: torch.Tensor, fused: int) -> int:
    # OPT counts its positions in the mask, which it takes for one of (batch, tokens).
    counts = getattr(language.config, "model_type", "") == "opt"
    own = {"position_ids": torch.arange(hidden.shape[1], device="meta")[None]} if counts else {}
    weights = {p.untyped_storage() for p in base.parameters()}
    found: set[torch.UntypedStorage] = set()

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        square = fused and tensor.dim() > 2 and tensor.shape[-2:] == (fused, fused)
        if storage not in weights and not square:
            found.add(storage)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        language(inputs_embeds=hidden, attention_mask=mask, use_cache=False, **own)
    return sum(storage.nbytes() for storage in found)


@dataclass(frozen=True)
class Machine:
    """What a rank runs on."""

    process: int
    """Bytes without a model: the interpreter and its libraries, or a GPU's context."""
    heap: float
    """How much more an allocator holds than the activations that live in it."""
    fused: bool = False
    """Whether attention keeps no weights of (tokens, tokens), unless it is "eager"."""


CPU = Machine(process=900_000_000, heap=1.8)
"""glibc keeps what was freed in blocks of less than 32 MB (measured by benchmarks/memory.py)."""
GPU = Machine(process=600_000_000, heap=1.1, fused=True)


def estimate_bytes(
    folder: Path,
    adapter: Adapter,
    training: Training,
    workers: int,
    sizes: ExampleSizes,
    machine: Machine,
) -> dict[str, int]:
    """Bytes of one rank at its peak, by what takes them."""
    skeleton = MetaModel(folder, adapter, training)
    parts = {"process": machine.process, **_resident(skeleton, workers), "examples": sizes.examples}
    parts["working memory"] = _working(skeleton, workers, sizes, machine)
    return {name: int(size) for name, size in parts.items()}


def _resident(skeleton: MetaModel, workers: int) -> dict[str, float]:
    """What lies there all the time."""
    training, count = skeleton.training, skeleton.parameters()
    own = 2 if training.precision == "bf16" else 4
    zero = max(training.zero, int(own == 2))
    adapter = skeleton.adapter
    taken_out = 0 if adapter.trains("vision_lora") else count.tower
    if not adapter.trains("vision_lora", "connector", "qformer"):
        taken_out += count.qformer
    every = count.language + count.rest + count.tower + count.qformer
    base = float((every - taken_out) * own)
    if training.base_bits == 4:
        base -= count.linear * (own - PACKED)
    base = 0.0 if training.offload == "all" else base / (workers if zero == 3 else 1)
    # Behind bf16 weights lie fp32 ones, and their gradient for the step.
    moments = (ADAM + (8 if own == 2 else 0)) / (workers if zero else 1)
    gradients = own / (workers if zero >= 2 else 1) + min(BUCKET / max(count.trained, 1), 1) * (
        own if zero >= 2 else 0
    )
    return {
        "weights": taken_out * own + base,
        "optimizer and gradients": count.trained
        * (gradients + (0 if training.offload != "none" else moments)),
        # Where the stage starts, and the initial values.
        "copies of what is trained": count.trained * (4 + own),
    }


def _working(skeleton: MetaModel, workers: int, sizes: ExampleSizes, machine: Machine) -> float:
    """The most that comes and goes: of a training step, of a look, of answers, of a stage's end."""
    training = skeleton.training
    own = 2 if training.precision == "bf16" else 4
    batch, tokens = training.per_pass(workers), sizes.prompt + sizes.answer
    fused = machine.fused and training.attention != "eager"
    step = float(skeleton.activations(batch, tokens, fused))
    if training.checkpointing:  # and one layer's while it is computed again
        plain = dataclasses.replace(training, checkpointing=False)
        step += skeleton.with_(plain).activations(batch, tokens, fused) / skeleton.layers()
    # Logits of the answers: as they come, in fp32, their logarithms and their gradient.
    step += batch * (sizes.answer + 1) * skeleton.text.vocab_size * (own + 3 * 4)
    vision = skeleton.base.config.vision_config
    inner = getattr(vision, "intermediate_size", 4 * vision.hidden_size) + 6 * vision.hidden_size
    look = IMAGES_PER_CALL * sizes.patches * inner * own
    rows = min(sizes.asked, answers_at_once(skeleton.text, tokens * 5 // 4, own))
    answers = rows * tokens * cache_bytes(skeleton.text, own)
    answers += rows * tokens * (2 * skeleton.text.hidden_size + _inner(skeleton.text)) * own
    # Weights as a stage leaves them, whole and as the bytes of a file.
    end = 8 * skeleton.parameters().trained
    return max(machine.heap * max(step, look), answers, end)


def _inner(text: Any) -> int:
    return getattr(text, "intermediate_size", None) or getattr(
        text, "ffn_dim", 4 * text.hidden_size
    )
