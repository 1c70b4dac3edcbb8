"""A training step at the shapes of real models, with random weights: for a machine with a GPU.

    python -m benchmarks.speed.shapes --shape llava-7b   # or blip-2-2.7b

Prints for each way to train (adapters on a frozen base, bf16): seconds a step, model FLOPs utilisation,
memory, and what it gains to keep the frozen tower's features. Weights are drawn at random, for speed does
not hang on them. The model is written to a temporary folder and loaded as a user's would be. `--small`
makes it a fraction of its size, to try the script.
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import json
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.paper_claims import machine
from benchmarks.speed.measure import say
from models.batching import PIXELS, Encoded
from models.lmm import LMM
from models.location import EMBEDDED
from spaces import Adapter, Training
from trainables.lanes.in_process import init_single_process_group
from trainables.rank.engine import open_engine

PEAKS = {"H100": 989e12, "H200": 989e12, "A100": 312e12, "L40S": 362e12}
"""Dense bf16 operations a second, after the makers' data sheets."""
TEXT, ANSWER = 64, 16
"""Tokens of an instruction, and of an answer."""
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"


def llava(tokens: int, small: bool) -> Any:
    """Return the shape of LLaVA 1.5 7B (Liu et al. 2023): CLIP ViT-L/14 at 336 pixels, and Vicuna 7B."""
    from transformers import CLIPVisionConfig, LlamaConfig, LlavaConfig

    sees: dict[str, Any] = {"hidden_size": 1024, "num_hidden_layers": 24, "num_attention_heads": 16}
    sees |= {"intermediate_size": 4096, "image_size": 336, "patch_size": 14}
    says: dict[str, Any] = {"hidden_size": 4096, "num_hidden_layers": 32, "num_attention_heads": 32}
    says |= {"intermediate_size": 11008, "vocab_size": 32064, "max_position_embeddings": 4096}
    if small:
        sees, says = _smaller(sees), _smaller(says)
    return LlavaConfig(
        vision_config=CLIPVisionConfig(**sees),
        text_config=LlamaConfig(**says),
        image_token_index=tokens,
        vision_feature_layer=-2,
    )


def blip_2(tokens: int, small: bool) -> Any:
    """Return BLIP-2 OPT 2.7B (Li et al. 2023): EVA ViT-g/14 at 224 pixels, a Q-Former, OPT 2.7B."""
    from transformers import Blip2Config

    sees: dict[str, Any] = {"hidden_size": 1408, "num_hidden_layers": 39, "num_attention_heads": 16}
    sees |= {"intermediate_size": 6144, "image_size": 224, "patch_size": 14}
    reads: dict[str, Any] = {"hidden_size": 768, "num_hidden_layers": 12, "num_attention_heads": 12}
    reads |= {"intermediate_size": 3072, "encoder_hidden_size": 1408}
    says: dict[str, Any] = {"hidden_size": 2560, "num_hidden_layers": 32, "num_attention_heads": 32}
    says |= {"ffn_dim": 10240, "vocab_size": 50304, "word_embed_proj_dim": 2560}
    if small:
        sees, reads, says = _smaller(sees), _smaller(reads), _smaller(says)
    return Blip2Config(
        vision_config=sees,
        qformer_config=reads,
        text_config=says | {"model_type": "opt"},
        num_query_tokens=32,
        image_token_index=tokens,
    )


SHAPES = {"llava-7b": (llava, "llava-aligned"), "blip-2-2.7b": (blip_2, "instructblip-aligned")}


def _smaller(values: dict[str, Any]) -> dict[str, Any]:
    """Return a shape of about a fortieth, to try the script."""
    wide = ("hidden", "intermediate", "ffn", "proj_dim")
    less = {
        n: v // 16 for n, v in values.items() if any(w in n for w in wide) and "layers" not in n
    }
    return values | less | {"num_hidden_layers": 4, "num_attention_heads": 4}


def main() -> None:
    """Make the model, and print a line for each way."""
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    p.add_argument("--shape", choices=SHAPES, required=True)
    p.add_argument("--small", action="store_true", help="a fraction of its size, to try the script")
    p.add_argument("--batch", type=int, default=8, help="examples of a step")
    p.add_argument("--steps", type=int, default=10)
    args = p.parse_args()
    init_single_process_group()
    with tempfile.TemporaryDirectory() as folder:
        write(Path(folder), args.shape, args.small)
        for parts in ("projection", "connector+lm_lora"):
            flops = 0.0
            for checkpointing in (False, True):
                told = measured(Path(folder), parts, checkpointing, args.batch, args.steps)
                # What checkpointing does twice is no work of the model's.
                flops = flops or told["step_teraflops"] * 1e12
                told |= {"step_teraflops": flops / 1e12, "flops_utilisation": used(flops, told)}
                about = {"name": "shape", "shape": args.shape, "small": args.small, "parts": parts}
                about |= {"checkpointing": checkpointing, "batch": args.batch}
                print(json.dumps(about | told | {"machine": machine()}), flush=True)


def write(folder: Path, shape: str, small: bool) -> None:
    """Build a model of that shape, as `from_pretrained` reads it."""
    from transformers import AutoModelForImageTextToText, AutoProcessor, Blip2Processor

    make, source = SHAPES[shape]
    processor: Any = AutoProcessor.from_pretrained(EMBEDDED / source)  # its weights are not wanted
    if shape.startswith("blip"):
        processor = Blip2Processor(
            processor.image_processor, processor.tokenizer, num_query_tokens=32
        )
    config = make(processor.tokenizer.convert_tokens_to_ids("<image>"), small)
    say(f"making {shape}")
    torch.set_default_dtype(torch.bfloat16)
    with torch.device(DEVICE):
        model: Any = AutoModelForImageTextToText.from_config(config)
    torch.set_default_dtype(torch.float32)
    model.save_pretrained(folder)
    processor.save_pretrained(folder)


def examples(lmm: LMM, count: int) -> list[Encoded]:
    """Draw pictures of noise and random words."""
    config, draw = lmm.base.config, torch.Generator().manual_seed(0)
    sees = config.vision_config
    tokens = getattr(config, "num_query_tokens", (sees.image_size // sees.patch_size) ** 2)
    found = []
    for _ in range(count):
        words = torch.randint(10, 1000, (TEXT,), generator=draw)
        ids = torch.cat([torch.full((tokens,), config.image_token_index), words])
        shown = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
        shown[PIXELS] = torch.randn(1, 3, sees.image_size, sees.image_size, generator=draw)
        found.append(Encoded(shown, torch.randint(10, 1000, (ANSWER,), generator=draw)))
    return found


def measured(
    folder: Path, parts: str, checkpointing: bool, batch: int, steps: int
) -> dict[str, Any]:
    """Measure steps with cached features, and with the tower embedding every image."""
    training = Training(
        batch_size=batch, micro_batch=batch, precision="bf16", checkpointing=checkpointing
    )
    gc.collect()  # the parts of a model know each other
    if DEVICE == "cuda":
        torch.cuda.empty_cache()
    lmm = LMM(folder, training.loading)
    lmm.to(DEVICE)
    lmm.adapt(Adapter(parts=parts, rank=16), seed=0)
    shown = examples(lmm, batch)
    kept = lmm.with_queries(lmm.with_features(shown))
    with open_engine(lmm, training, 1, lmm.initial(), 4 * steps + 3) as engine:

        def step(look: Callable[[], Sequence[Encoded]]) -> None:
            logits, answers = engine.answer_logits(look())
            engine.backward(
                torch.nn.functional.cross_entropy(logits.flatten(0, 1), answers.flatten())
            )
            engine.step()

        with FlopCounterMode(display=False) as counter:
            step(lambda: kept)
        if DEVICE == "cuda":
            torch.cuda.reset_peak_memory_stats()
        step(lambda: kept)
        peak = torch.cuda.max_memory_allocated() / 1e9 if DEVICE == "cuda" else None
        # Pixels go through the tower in the forward pass, as in a loop that keeps nothing.
        live, seconds = timed([lambda: step(lambda: shown), lambda: step(lambda: kept)], steps)
    return {
        "step_seconds": seconds,
        "live_step_seconds": live,
        "cached_gain": live / seconds,
        "step_teraflops": counter.get_total_flops() / 1e12,
        "memory_gb": peak,
        "device": torch.cuda.get_device_name() if DEVICE == "cuda" else "cpu",
    }


def used(flops: float, told: dict[str, Any]) -> float | None:
    """Share of the device's peak; None where that is not known."""
    peak = next((peak for card, peak in PEAKS.items() if card in told["device"]), None)
    return flops / told["step_seconds"] / peak if peak else None


def timed(jobs: Sequence[Callable[[], None]], times: int) -> list[float]:
    """Return the median seconds of each, in turns, after an uncounted run."""
    found: list[list[float]] = [[] for _ in jobs]
    for _ in range(times + 1):
        for job, spent in zip(jobs, found, strict=True):
            begun = _now()
            job()
            spent.append(_now() - begun)
    return [statistics.median(spent[1:]) for spent in found]


def _now() -> float:
    with contextlib.suppress(AssertionError):
        torch.cuda.synchronize()
    return time.perf_counter()


if __name__ == "__main__":
    main()
