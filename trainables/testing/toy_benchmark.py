"""A benchmark and a model small enough to train in a test: real classes, random weights, no network."""

from __future__ import annotations

import io
import random
import shutil
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import torch
import yaml
from PIL import Image

from models.location import EMBEDDED

SIZES = {"train": 24, "validation": 10, "test": 10}
HUES = {
    "red": (220, 30, 30),
    "green": (30, 200, 40),
    "blue": (30, 40, 220),
    "white": (240, 240, 240),
}
PROMPTS = {
    "hue": "What color is it?",
    "light": "Is it light or dark?",
    "half": "Which half of this picture is the colored one, please?",
}
"""Prompts of the toy tasks, in task order; their lengths differ, so that batches are padded."""
SCHEMA = pa.schema(
    {
        "id": pa.string(),
        "image": pa.struct({"bytes": pa.binary(), "path": pa.string()}),
        "prompt": pa.string(),
        "answer": pa.string(),
        "answers": pa.list_(pa.string()),
    }
)


def write_toy_benchmark(root: Path) -> Path:
    """Write benchmark.yaml and three tasks of coloured squares, whose answers are one word."""
    for task in PROMPTS:
        for split, count in SIZES.items():
            rows = pa.Table.from_pylist(_rows(task, split, count), schema=SCHEMA)
            (root / task).mkdir(parents=True, exist_ok=True)
            pq.write_table(rows, root / task / f"{split}.parquet")
    tasks = {
        name: {"metric": "exact_match", "max_new_tokens": 6, "closed": True} for name in PROMPTS
    }
    data = {"name": "toy", "order": list(PROMPTS), "tasks": tasks}
    (root / "benchmark.yaml").write_text(yaml.safe_dump(data, sort_keys=False))
    return root


def _rows(task: str, split: str, count: int) -> list[dict[str, Any]]:
    draw, rows = random.Random(f"{task} {split}"), []
    for number in range(count):
        hue, light, left = draw.choice(list(HUES)), draw.random() < 0.5, draw.random() < 0.5
        answer = {
            "hue": hue,
            "light": "light" if light else "dark",
            "half": "left" if left else "right",
        }[task]
        image = {"bytes": _square(HUES[hue], 1.0 if light else 0.4, left, draw), "path": None}
        rows.append(
            {"id": f"{task}-{split}-{number}", "image": image, "prompt": PROMPTS[task]}
            | {"answer": answer, "answers": [answer]}
        )
    return rows


def _square(color: tuple[int, ...], scale: float, left: bool, draw: random.Random) -> bytes:
    """Return a PNG with one coloured half, and a speck that makes every picture unique."""
    picture = Image.new("RGB", (64, 64), (128, 128, 128))
    filled = tuple(int(c * scale) for c in color)
    picture.paste(filled, (0, 0, 32, 64) if left else (32, 0, 64, 64))
    x, y = draw.randrange(60), draw.randrange(60)
    picture.paste((draw.randrange(256),) * 3, (x, y, x + 4, y + 4))
    out = io.BytesIO()
    picture.save(out, "PNG")
    return out.getvalue()


def write_llava(folder: Path) -> Path:
    """Write a LLaVA of two layers of width 32: random weights, the embedded model's processor."""
    from transformers import LlavaConfig, LlavaForConditionalGeneration

    config: Any = LlavaConfig.from_pretrained(EMBEDDED / "llava-aligned")
    shrink(config.text_config, 2)
    shrink(config.vision_config, 1)
    config.vision_config.projection_dim = 32
    save_random(LlavaForConditionalGeneration, config, folder)
    for name in ("tokenizer.json", "tokenizer_config.json", "processor_config.json"):
        shutil.copy(EMBEDDED / "llava-aligned" / name, folder)
    shutil.copy(EMBEDDED / "llava-aligned" / "chat_template.jinja", folder)
    return folder


def shrink(config: Any, layers: int) -> None:
    """Set a transformer's configuration to a width of 32 and `layers` layers."""
    config.hidden_size, config.intermediate_size, config.num_hidden_layers = 32, 64, layers
    config.num_attention_heads = 2
    if hasattr(config, "num_key_value_heads"):
        config.num_key_value_heads, config.head_dim = 2, 16


def save_random(model_class: Any, config: Any, folder: Path) -> None:
    """Save a model with random weights, the same ones on every machine."""
    torch.manual_seed(0)
    model = model_class(config)
    with torch.no_grad():  # embeddings far apart: the model learns in a few steps
        for name, parameter in model.named_parameters():
            if parameter.dim() > 1:
                scale = 4 if "embed_tokens" in name else 1
                parameter.copy_(torch.randn(parameter.shape) * scale * parameter.shape[-1] ** -0.5)
    model.save_pretrained(folder)
