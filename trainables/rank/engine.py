"""One DeepSpeed engine over the trainable parts of an LMM, whatever the ZeRO stage.

Weights and gradients are read and written whole, gathered where ZeRO keeps them in parts. That is cheap:
the trainable parts are adapters and connectors, small beside the model.
"""

from __future__ import annotations

import contextlib
import dataclasses
import gc
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch
from transformers import get_scheduler

from models.batching import Encoded
from models.lmm import LMM
from spaces.training import Training

if not torch.cuda.is_available():
    os.environ.setdefault("DS_ACCELERATOR", "cpu")  # else DeepSpeed searches for devices, and warns

import deepspeed
from deepspeed.runtime.base_optimizer import ZeROOptimizer
from deepspeed.runtime.zero.linear import zero3_linear_wrap
from deepspeed.utils import logger as deepspeed_logger
from deepspeed.utils import safe_get_full_fp32_param, safe_get_full_grad, safe_set_full_grad

deepspeed_logger.setLevel("ERROR")
# This kernel serves DeepSpeed's inference alone. Each new environment would compile it for half a minute,
# with a C++ compiler that may be missing.
deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False

Tensors = dict[str, torch.Tensor]
HOOKS = ("module_forward_pre_hook", "module_forward_post_hook", "first_dataloader_check")
"""Attributes of a DeepSpeed engine that hold the handles of its hooks on the module."""
PERSISTENT = 100_000
"""Default of DeepSpeed: the largest size, in elements, of a parameter that ZeRO-3 keeps whole."""
TORCH_LINEAR = torch.nn.functional.linear


class PausableAdamW(torch.optim.AdamW):
    """AdamW whose `step` changes neither weights nor moments while it is paused."""

    paused = False

    def step(self, closure: Any = None) -> Any:
        return None if self.paused else super().step(closure)


@dataclasses.dataclass(frozen=True)
class GradientChange:
    """Changes of a strategy to a batch's gradient before AdamW reads it."""

    penalty_gradient: Tensors = dataclasses.field(default_factory=dict)
    """Added to the gradient, by name; gradients of other weights stay as they are."""
    project: Callable[[Tensors], Tensors] | None = None
    """Maps the whole gradient to the one to follow, which may be the same object."""


class Engine:
    """The trainable parts under DeepSpeed: AdamW, a schedule over `steps`, clipping, precision, ZeRO."""

    def __init__(self, lmm: LMM, training: Training, workers: int, steps: int) -> None:
        self.lmm = lmm
        self.workers = workers
        self.parameters = lmm.trainable()
        # With its optimizer offloaded, DeepSpeed would clip by the gradient's norm before the penalty is
        # added. Then this engine clips in its place.
        self._clip = training.clip if training.offload != "none" else 0.0
        values = list(self.parameters.values())
        self._optimizer = PausableAdamW(
            values, lr=training.learning_rate, weight_decay=training.weight_decay
        )
        self._scheduler: Any = get_scheduler(
            training.schedule, self._optimizer, round(training.warmup * steps), max(1, steps)
        )
        with _silenced():
            self._engine, *_ = deepspeed.initialize(
                model=lmm.model,
                model_parameters=values,  # type: ignore[arg-type]  # a list of parameters is one group
                optimizer=self._optimizer,
                config=_config(training, workers, lmm),
                dist_init_required=False,
            )
        self._engine.train()

    def answer_logits(self, batch: Sequence[Encoded]) -> tuple[torch.Tensor, torch.Tensor]:
        """Run `LMM.answer_logits` on one micro-batch.

        DeepSpeed counts micro-batches by forward passes through its own engine, which this is not. Without
        the reset, ZeRO-3 would overwrite the gradient of the micro-batch before.
        """
        if isinstance(self._engine.optimizer, ZeROOptimizer):
            self._engine.optimizer.clear_backward_seen_flag()
        return self.lmm.answer_logits(batch)

    def backward(self, loss: torch.Tensor) -> None:
        """Add the gradient of one micro-batch's loss; DeepSpeed averages over ranks and micro-batches."""
        self._engine.backward(loss)

    def step(self, change: GradientChange | None = None) -> None:
        """End a micro-batch; after the last of a batch, apply `change` to the gradient and update."""
        if not self.ends_batch:
            self._engine.step()
            return
        if change or self._clip:
            self._change(change or GradientChange())
        self._engine.step()
        self._scheduler.step()

    def take_gradients(self) -> Tensors:
        """Return the accumulated gradients and discard them without an optimizer step."""
        assert self.ends_batch
        gradients = self.gradients()
        # DeepSpeed discards gradients in no other way that works with each of its ZeRO stages.
        self._optimizer.paused = True
        self._engine.step()
        self._optimizer.paused = False
        return gradients

    def _change(self, change: GradientChange) -> None:
        """Project the gradient, add the penalty and, where DeepSpeed does not, clip the sum."""
        whole = self.gradients() if self._clip or change.project else {}
        projected = change.project(whole) if change.project else whole
        scale = 1.0
        if self._clip:
            sums = [
                g + change.penalty_gradient.get(n, torch.zeros(())) for n, g in projected.items()
            ]
            norm = torch.linalg.vector_norm(torch.stack([g.norm() for g in sums]))
            scale = min(1.0, self._clip / (float(norm) + 1e-6))
        if projected is whole and not change.penalty_gradient and scale == 1.0:
            return
        # In the order of the parameters, equal on every rank, for each is a collective call. Tensors read
        # from a file come in an order that differs between processes.
        for name, parameter in self.parameters.items():
            if projected is whole and name not in change.penalty_gradient and scale == 1.0:
                continue
            gradient = safe_get_full_grad(parameter)
            if gradient is None:  # the weight has no part in the loss, so it never changed
                continue
            if projected is not whole:
                gradient = projected[name].to(gradient)
            penalty_gradient = change.penalty_gradient.get(name, torch.zeros(())).to(
                gradient.device
            )
            safe_set_full_grad(parameter, (gradient + penalty_gradient) * scale)

    @property
    def ends_batch(self) -> bool:
        """True if the current micro-batch is the last of its batch."""
        return bool(self._engine.is_gradient_accumulation_boundary())

    @property
    def skipped(self) -> int:
        """Steps that DeepSpeed skipped for a gradient that was not finite, as some ZeRO stages do."""
        return self._engine.skipped_steps

    def weights(self) -> Tensors:
        """Gather the trainable weights in fp32 on the CPU, equal on every rank."""
        return {
            name: (p.detach() if (full := safe_get_full_fp32_param(p)) is None else full)
            .float()
            .cpu()
            .clone()
            for name, p in self.parameters.items()
        }

    @contextlib.contextmanager
    def temporary_weights(self, weights: Mapping[str, torch.Tensor]) -> Iterator[None]:
        """Swap in other weights between two batches; AdamW's fp32 weights are not touched."""
        now = self.weights()
        set_weights(self.lmm, weights)
        try:
            yield
        finally:
            set_weights(self.lmm, now)

    def gradients(self) -> Tensors:
        """Gather the gradients before the step on the CPU; zero where none reached a weight."""
        gathered = {name: safe_get_full_grad(p) for name, p in self.parameters.items()}
        return {
            name: torch.zeros(self.parameters[name].shape) if g is None else g.float().cpu().clone()
            for name, g in gathered.items()
        }

    def close(self) -> None:
        """Destroy the engine and remove its hooks from the module."""
        self._engine.destroy()
        # `destroy` leaves hooks on the module: each forward pass would run those of all earlier engines,
        # and they keep these engines in memory.
        for name in HOOKS:
            if handle := getattr(self._engine, name, None):
                handle.remove()


@contextlib.contextmanager
def open_engine(
    lmm: LMM, training: Training, workers: int, start: Mapping[str, torch.Tensor], steps: int
) -> Iterator[Engine]:
    """Open an engine on `lmm` with the trainable weights `start`, and close it at the end."""
    set_weights(lmm, start)
    engine = Engine(lmm, training, workers, steps)
    try:
        with _linear_of(training.zero):
            yield engine
    finally:
        engine.close()
        # An engine has reference cycles. Without this, several would stay in memory until Python collects.
        del engine
        gc.collect()


def without_updates(training: Training, batch_size: int, micro_batch: int) -> Training:
    """Return `training` with another batch and zero learning rate, for gradients without training."""
    return dataclasses.replace(
        training,
        batch_size=batch_size,
        micro_batch=micro_batch,
        learning_rate=0.0,
        weight_decay=0.0,
        clip=0.0,
    )


def set_weights(lmm: LMM, weights: Mapping[str, torch.Tensor]) -> None:
    """Copy `weights` into the trainable parts, which an earlier ZeRO-3 engine may have partitioned."""
    parameters = lmm.trainable()
    assert parameters.keys() == weights.keys(), parameters.keys() ^ weights.keys()
    for name, parameter in parameters.items():
        split = hasattr(parameter, "ds_id")
        gathered = deepspeed.zero.GatheredParameters([parameter], modifier_rank=0)
        with gathered if split else contextlib.nullcontext(), torch.no_grad():
            parameter.copy_(weights[name])


@contextlib.contextmanager
def generating(lmm: LMM) -> Iterator[None]:
    """Gather the weights that belong to no submodule, for `generate` bypasses ZeRO-3's hook for them.

    Examples are InstructBLIP's query tokens and LLaVA-NeXT's embedding of a row's end.
    """
    modules = (lmm.base, getattr(lmm.base, "model", None))
    split = [p for m in modules if m for p in m.parameters(recurse=False) if hasattr(p, "ds_id")]
    with deepspeed.zero.GatheredParameters(split) if split else contextlib.nullcontext():
        yield


def _config(training: Training, workers: int, lmm: LMM) -> dict[str, Any]:
    """Return the `config` argument of `deepspeed.initialize`."""
    half = training.precision == "bf16"
    # bf16 needs ZeRO's fp32 copy of the weights: without it small updates would be rounded away.
    zero: dict[str, Any] = {"stage": max(training.zero, int(half)), "overlap_comm": False}
    # ZeRO-3 keeps parameters below a threshold whole on every rank, for speed. DeepSpeed's default would
    # keep all of a small model whole, hence a thousandth of the model if that is less.
    whole = sum(getattr(p, "ds_numel", p.numel()) for p in lmm.model.parameters())
    zero["stage3_param_persistence_threshold"] = min(PERSISTENT, whole // 1000)
    if training.offload != "none":
        zero["offload_optimizer"] = {"device": "cpu"}
    if training.offload == "all":
        zero["offload_param"] = {"device": "cpu"}
    return {
        "train_batch_size": training.batch_size,
        "train_micro_batch_size_per_gpu": training.per_pass(workers),
        "gradient_accumulation_steps": training.accumulation(workers),
        "gradient_clipping": 0.0 if training.offload != "none" else training.clip,
        # The check would cost six kernels for each adapter's weight at every step. Without it, ZeRO 1 and 2
        # pass a gradient that is not finite on to the weights, where it is found after the stage.
        "bf16": {"enabled": half, "check_grad_overflow": False},
        "zero_optimization": zero,
        "zero_allow_untested_optimizer": True,
        "zero_force_ds_cpu_optimizer": False,
        "steps_per_print": 1_000_000_000,
    }


@contextlib.contextmanager
def _linear_of(zero: int) -> Iterator[None]:
    """Use ZeRO-3's linear layer, which sums in another order, with ZeRO-3 only.

    The first ZeRO-3 engine of a process replaces torch's function, and DeepSpeed never restores it.
    """
    torch.nn.functional.linear = zero3_linear_wrap if zero == 3 else TORCH_LINEAR
    try:
        yield
    finally:
        torch.nn.functional.linear = TORCH_LINEAR


@contextlib.contextmanager
def _silenced() -> Iterator[None]:
    """Discard standard output, for DeepSpeed prints a page at every start."""
    with open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere):
        yield
