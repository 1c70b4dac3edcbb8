"""The frozen language model in 4 bits, with bitsandbytes' own kernels for CPUs."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from toy import Toy, config, walked

from models.lmm import LMM
from models.location import model_folder
from spaces import InputError, Training
from spaces.loading import Loading

bitsandbytes = pytest.importorskip("bitsandbytes")
PACKED = {"base_bits": 4, "precision": "bf16", "epochs": 1}


@pytest.fixture
def mini(toy: Toy) -> Toy:
    """Return the toy's tasks with the embedded model: kernels pack 64 weights, and the toy has 32."""
    return Toy(toy.benchmark, model_folder("llava-aligned"))


def test_only_the_language_models_layers_are_packed(mini: Toy) -> None:
    lmm = LMM(mini.model, Loading("bf16", base_bits=4))
    packed = {n for n, p in lmm.base.named_parameters() if p.dtype is torch.uint8}
    assert packed and all(name.startswith(lmm.family.language_model) for name in packed)
    layers = [m for m in lmm.base.modules() if isinstance(m, bitsandbytes.nn.Linear4bit)]
    assert {layer.quant_state.quant_type for layer in layers if layer.quant_state} == {"nf4"}


@pytest.mark.parametrize("zero", [0, 2])
def test_a_stage_is_trained_on_packed_weights(zero: int, mini: Toy, tmp_path: Path) -> None:
    records = {}
    for bits in (4, 16):
        chosen = config(**{**PACKED, "base_bits": bits, "zero": zero, "checkpointing": bits == 4})
        walk = walked(mini.walk(chosen, tmp_path / str(bits), ("hue",)))
        records[bits] = walk.store.get(walk.key(walk.paths[0]))
    assert records[4].last_loss < records[4].first_loss
    assert records[4].first_loss == pytest.approx(records[16].first_loss, rel=0.2)
    assert records[4].first_loss != records[16].first_loss


def test_packed_weights_cannot_be_partitioned() -> None:
    with pytest.raises(InputError, match="base_bits 4 needs precision bf16 and zero 0, 1 or 2"):
        Training(base_bits=4, zero=3)
