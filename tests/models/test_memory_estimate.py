"""The estimate of a rank's memory, on shapes alone; `benchmarks/memory.py` measures against it."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from benchmarks.speed.shapes import SHAPES
from models.memory_estimate import GPU, ExampleSizes, Machine, estimate_bytes
from spaces import Adapter, Training

TOKENS, ANSWER, BATCH, LAYERS, HEADS = 511, 1, 4, 4, 4
PLAIN = Training(batch_size=BATCH, micro_batch=BATCH, checkpointing=False)


def written(shape: str, folder: Path) -> Path:
    """Write the configuration of such a model in small, which is all that an estimate reads."""
    SHAPES[shape][0](32000, True).save_pretrained(folder)
    return folder


def working(
    folder: Path,
    training: Training = PLAIN,
    machine: Machine = GPU,
    parts: str = "connector+lm_lora",
) -> int:
    sizes = ExampleSizes(prompt=TOKENS, answer=ANSWER, patches=256, scored=BATCH)
    adapter = Adapter(parts=parts, rank=16)
    return estimate_bytes(folder, adapter, training, 1, sizes, machine)["working memory"]


@pytest.mark.parametrize("shape", SHAPES)
def test_the_language_models_of_both_paper_settings_are_counted(shape: str, tmp_path: Path) -> None:
    folder = written(shape, tmp_path)
    with_all = working(folder)
    again = working(folder, dataclasses.replace(PLAIN, checkpointing=True))
    assert 0 < again < with_all


def test_fused_attention_keeps_no_weights(tmp_path: Path) -> None:
    folder = written("llava-7b", tmp_path)
    matrices = dataclasses.replace(GPU, fused=False)
    saved = working(folder, machine=matrices) - working(folder)
    one = BATCH * HEADS * (TOKENS + ANSWER) ** 2 * 2
    out = BATCH * (TOKENS + ANSWER) * 256 * 2  # 4096 wide, a sixteenth of it in small
    assert saved == pytest.approx(GPU.heap_factor * LAYERS * (2 * one - out), rel=0.3)
    eager = dataclasses.replace(PLAIN, attention="eager")
    assert working(folder, eager) == working(folder, eager, matrices)


def test_adapters_in_bf16_keep_their_inputs_in_bf16(tmp_path: Path) -> None:
    folder = written("llava-7b", tmp_path)
    wide = dataclasses.replace(PLAIN, precision="fp32")
    half, whole = (
        working(folder, t) - working(folder, t, parts="connector") for t in (PLAIN, wide)
    )
    assert 0 < half < 0.7 * whole
