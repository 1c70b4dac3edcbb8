"""A benchmark and models small enough to train in a test: real classes, random weights, no network."""

from __future__ import annotations

import io
import random
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
import yaml
from PIL import Image
from small import write_rows

from models.location import EMBEDDED
from trainables.config import TrialConfig
from trainables.job import Place, Setting
from trainables.panel import Panel
from trainables.stages import StageStore
from trainables.walk import Runner, Walk

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
"""The toy tasks, in their order; prompts of several lengths, so that batches are padded."""
TRAINING = {
    **{"epochs": 4, "batch_size": 8, "micro_batch": 8, "learning_rate": 0.02},
    **{"precision": "fp32", "checkpointing": False},
}
ADAPTER = {"rank": 8}
"""Twelve steps a stage, after which a toy model answers some of the examples rightly."""


def write_toy_benchmark(root: Path) -> Path:
    """A folder with benchmark.yaml and three tasks of coloured squares, whose answers are a word."""
    for task in PROMPTS:
        for split, count in SIZES.items():
            write_rows(root / task / f"{split}.parquet", _rows(task, split, count))
    kinds = {
        name: {"metric": "exact_match", "max_new_tokens": 6, "closed": True} for name in PROMPTS
    }
    data = {"name": "toy", "order": list(PROMPTS), "tasks": kinds}
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
    """A picture whose one half has the color, with a speck somewhere so that no two are the same."""
    picture = Image.new("RGB", (64, 64), (128, 128, 128))
    filled = tuple(int(c * scale) for c in color)
    picture.paste(filled, (0, 0, 32, 64) if left else (32, 0, 64, 64))
    x, y = draw.randrange(60), draw.randrange(60)
    picture.paste((draw.randrange(256),) * 3, (x, y, x + 4, y + 4))
    out = io.BytesIO()
    picture.save(out, "PNG")
    return out.getvalue()


# Models ------------------------------------------------------------------------------------------


def write_llava(folder: Path) -> Path:
    """A LLaVA with random weights and the embedded model's processor: two layers of 32."""
    from transformers import LlavaConfig, LlavaForConditionalGeneration

    config = LlavaConfig.from_pretrained(EMBEDDED / "llava-aligned")
    _shrink(config.text_config, 2)
    _shrink(config.vision_config, 1)
    config.vision_config.projection_dim = 32
    _save(LlavaForConditionalGeneration, config, folder)
    for name in ("tokenizer.json", "tokenizer_config.json", "processor_config.json"):
        shutil.copy(EMBEDDED / "llava-aligned" / name, folder)
    shutil.copy(EMBEDDED / "llava-aligned" / "chat_template.jinja", folder)
    return folder


def write_instructblip(folder: Path) -> Path:
    """An InstructBLIP with random weights; its Q-Former reads by the embedded model's tokenizer too."""
    from transformers import (
        AutoTokenizer,
        InstructBlipConfig,
        InstructBlipForConditionalGeneration,
        InstructBlipProcessor,
        LlavaConfig,
        LlavaProcessor,
    )

    llava = LlavaConfig.from_pretrained(EMBEDDED / "llava-aligned")
    _shrink(llava.text_config, 2)
    tokenizer = AutoTokenizer.from_pretrained(EMBEDDED / "llava-aligned")
    sizes = {"hidden_size": 32, "intermediate_size": 64, "num_attention_heads": 2}
    config = InstructBlipConfig(
        vision_config={**sizes, "num_hidden_layers": 1, "image_size": 64, "patch_size": 16},
        qformer_config={
            **sizes,
            **{"num_hidden_layers": 2, "encoder_hidden_size": 32, "cross_attention_frequency": 1},
            **{"vocab_size": len(tokenizer), "pad_token_id": tokenizer.pad_token_id},
        },
        text_config=llava.text_config.to_dict(),
        num_query_tokens=4,
        image_token_index=llava.image_token_index,
    )
    _save(InstructBlipForConditionalGeneration, config, folder)
    images = LlavaProcessor.from_pretrained(EMBEDDED / "llava-aligned").image_processor
    InstructBlipProcessor(images, tokenizer, tokenizer, num_query_tokens=4).save_pretrained(folder)
    return folder


def _shrink(config: Any, layers: int) -> None:
    config.hidden_size, config.intermediate_size, config.num_hidden_layers = 32, 64, layers
    config.num_attention_heads = 2
    if hasattr(config, "num_key_value_heads"):
        config.num_key_value_heads, config.head_dim = 2, 16


def _save(kind: Any, config: Any, folder: Path) -> None:
    torch.manual_seed(0)
    model = kind(config)
    with torch.no_grad():  # words far apart: it learns in a few steps
        for name, parameter in model.named_parameters():
            if parameter.dim() > 1:
                scale = 4 if "embed_tokens" in name else 1
                parameter.copy_(torch.randn(parameter.shape) * scale * parameter.shape[-1] ** -0.5)
    model.save_pretrained(folder)


# Trials ------------------------------------------------------------------------------------------


def config(strategy: str | Mapping[str, Any] = "finetune", **training: Any) -> TrialConfig:
    """A configuration with the toy's knobs; `training` in place of some of them."""
    named = {"name": strategy} if isinstance(strategy, str) else dict(strategy)
    return TrialConfig.from_dict(
        {"strategy": named, "training": {**TRAINING, **training}, "adapter": ADAPTER}
    )


def adapted(base: TrialConfig, **knobs: Any) -> TrialConfig:
    """The configuration with other adapter knobs."""
    return replace(base, adapter=replace(base.adapter, **knobs))


@dataclass(frozen=True)
class Toy:
    """The benchmark and a model on disk."""

    benchmark: Path
    model: Path

    def setting(self, seed: int = 0, workers: int = 1) -> Setting:
        """What all stages share."""
        from models.location import model_fingerprint
        from tasks import load_benchmark

        tasks = {n: t.fingerprint() for n, t in load_benchmark(self.benchmark).tasks.items()}
        return Setting(model_fingerprint(self.model), tasks, seed, workers)

    def place(self, store: Path, seed: int = 0) -> Place:
        """What a worker serves, with the stages in `store`."""
        return Place(self.model, self.benchmark, store, seed)

    def walk(
        self,
        chosen: TrialConfig,
        store: Path,
        *orderings: tuple[str, ...],
        runner: Runner | None = None,
    ) -> Walk:
        """A configuration at the start of its way, in this process unless a runner is given."""
        from trainables.local import Local

        panel = Panel(orderings or (("hue", "light"),))
        runner = runner or Local(self.place(store))
        return Walk(chosen, panel, self.setting(), StageStore(store), runner)


def walked(walk: Walk) -> Walk:
    """The same at its end."""
    while not walk.finished:
        walk.step()
    return walk


def blobs(walk: Walk) -> list[str]:
    """The SHA-256 of the weights of every stage, in the order of its stages."""
    records = [walk.store.get(stage["key"]) for stage in walk.stages]
    return [record["blob"]["sha256"] for record in records if record]
