"""The memory estimate of `--dry-run` against the peak that a rank really has, on this machine.

    python benchmarks/memory.py            # measured on this machine
    python benchmarks/memory.py --shapes   # estimates for 7B models on GPUs: the table of docs/models.md
    python benchmarks/memory.py --gpu      # estimates against what speed/shapes.py measured on one

A LLaVA of 170 million random weights is trained for two steps in a process of its own, in several
configurations. One line of JSON for each: what was estimated, what was measured (the largest resident
set; on a GPU the most that torch reserved), and their ratio.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path[0] = str(ROOT)

TASK = "animal"
LORA, WHOLE = {"rank": 16}, {"parts": "connector+lm"}
STEPS = {"epochs": 1, "batch_size": 4}
CONFIGURATIONS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "LoRA, fp32": ({**STEPS, "precision": "fp32", "checkpointing": False}, LORA),
    "LoRA, bf16, checkpointing": ({**STEPS, "precision": "bf16"}, LORA),
    "LoRA, fp32, batch 8": (
        {**STEPS, "batch_size": 8, "precision": "fp32", "checkpointing": False},
        LORA,
    ),
    "full LM, fp32": ({**STEPS, "precision": "fp32", "checkpointing": False}, WHOLE),
    "full LM, bf16, ZeRO 2, checkpointing": ({**STEPS, "precision": "bf16", "zero": 2}, WHOLE),
}


def write_model(folder: Path) -> Path:
    """A LLaVA with random weights, 256 visual tokens an image and the embedded model's tokenizer."""
    from transformers import (
        AutoTokenizer,
        CLIPImageProcessor,
        LlavaConfig,
        LlavaForConditionalGeneration,
        LlavaProcessor,
    )

    from models.location import EMBEDDED

    source = EMBEDDED / "llava-aligned"
    tokenizer: Any = AutoTokenizer.from_pretrained(source)
    config: Any = LlavaConfig.from_pretrained(source)
    text, vision = config.text_config, config.vision_config
    text.hidden_size, text.intermediate_size, text.num_hidden_layers = 1024, 2816, 12
    text.num_attention_heads, text.num_key_value_heads, text.head_dim = 16, 16, 64
    text.max_position_embeddings = 1024
    vision.hidden_size, vision.intermediate_size, vision.num_hidden_layers = 384, 1536, 4
    vision.num_attention_heads, vision.image_size, vision.patch_size = 6, 224, 14
    LlavaForConditionalGeneration(config).save_pretrained(folder)
    side = {"height": 224, "width": 224}
    images = CLIPImageProcessor(size=side, crop_size=side, do_center_crop=False)
    template = tokenizer.chat_template
    LlavaProcessor(
        images,
        tokenizer,
        patch_size=14,
        vision_feature_select_strategy=config.vision_feature_select_strategy,
        num_additional_image_tokens=1,
        chat_template=template,
    ).save_pretrained(folder)
    return folder


def write_task(folder: Path) -> Path:
    """The first rows of an embedded task: two steps, and a few answers to score."""
    import pyarrow.parquet as pq
    import yaml

    from tasks import load_benchmark

    task = load_benchmark("mini").task(TASK)
    for split, rows in (("train", 16), ("validation", 8), ("test", 8)):
        (folder / TASK).mkdir(parents=True, exist_ok=True)
        table = pq.read_table(task.files[split][0]).slice(0, rows)
        pq.write_table(table, folder / TASK / f"{split}.parquet")
    says = {"metric": task.metric, "max_new_tokens": 4, "closed": False}
    (folder / "benchmark.yaml").write_text(yaml.safe_dump({"tasks": {TASK: says}}))
    return folder


def measure(name: str, work: Path) -> None:
    """Train one stage of a configuration in this process and print what it took."""
    import torch

    from models.location import model_fingerprint
    from tasks import load_benchmark
    from trainables.config import TrialConfig
    from trainables.lanes.in_process import InProcessRunner
    from trainables.panel import Panel
    from trainables.stage_job import Fingerprints, WorkerSpec
    from trainables.store.stage_store import StageStore
    from trainables.trial import PanelTrial

    benchmark = load_benchmark(work / "task")
    tasks = {n: t.fingerprint() for n, t in benchmark.tasks.items()}
    training, adapter = CONFIGURATIONS[name]
    config = TrialConfig.from_dict(
        {"strategy": {"name": "finetune"}, "training": training, "adapter": adapter}
    )
    store = Path(tempfile.mkdtemp(dir=work))
    fingerprints = Fingerprints(model_fingerprint(work / "model"), tasks, 0, 1)
    runner = InProcessRunner(WorkerSpec(work / "model", work / "task", store))
    walk = PanelTrial(config, Panel(((TASK,),)), fingerprints, StageStore(store), runner)
    while not walk.finished:
        walk.step()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    if torch.cuda.is_available():
        peak = torch.cuda.max_memory_reserved()
    print(json.dumps({"peak": peak}))


def estimated(name: str, work: Path) -> dict[str, int]:
    """What the dry run of such a search would print, in bytes."""
    from search.resources.processor_probe import probe_processor
    from search.resources.rank_memory import rank_memory
    from spaces import Adapter, Training
    from tasks import load_benchmark

    training, adapter = CONFIGURATIONS[name]
    tasks = list(load_benchmark(work / "task").tasks.values())
    knobs = Training(**training)
    return rank_memory(probe_processor(work / "model", tasks, knobs), Adapter(**adapter), knobs, 1)


SHAPES = {
    "LLaVA-1.5-7B": {
        "model_type": "llava",
        "text_config": {"model_type": "llama", "vocab_size": 32064},
        "vision_config": {
            **{"model_type": "clip_vision_model", "hidden_size": 1024, "intermediate_size": 4096},
            **{"num_hidden_layers": 24, "num_attention_heads": 16, "image_size": 336},
            **{"patch_size": 14, "projection_dim": 768},
        },
    },
    "Qwen2.5-VL-7B": {
        "model_type": "qwen2_5_vl",
        "text_config": {
            **{"hidden_size": 3584, "intermediate_size": 18944, "num_hidden_layers": 28},
            **{"num_attention_heads": 28, "num_key_value_heads": 4, "vocab_size": 152064},
            "rope_parameters": {
                **{"rope_type": "default", "rope_theta": 1e6},
                "mrope_section": [16, 24, 24],
            },
        },
        "vision_config": {"hidden_size": 1280, "out_hidden_size": 3584, "intermediate_size": 3420},
    },
}
"""As their published config.json have them."""
ON_GPUS = {
    "defaults, 1 x 80 GB": (1, {}, 80),
    "defaults, 4 x 24 GB": (4, {}, 24),
    "zero 3, 4 x 24 GB": (4, {"zero": 3}, 24),
    "base_bits 4, 1 x 24 GB": (1, {"base_bits": 4, "micro_batch": 4}, 24),
    "checkpointing false, 1 x 80 GB": (1, {"checkpointing": False}, 80),
    "precision fp32, 4 x 24 GB": (4, {"precision": "fp32"}, 24),
}


def shapes() -> None:
    """Estimates for published shapes: nothing of the models but their configuration is needed."""
    from models.memory_estimate import GPU, ExampleSizes, estimate_bytes
    from spaces import Adapter, Training

    sizes = ExampleSizes(prompt=640, answer=16, patches=576, scored=1000)
    for model, config in SHAPES.items():
        with tempfile.TemporaryDirectory() as folder:
            (Path(folder) / "config.json").write_text(json.dumps(config))
            for name, (workers, knobs, holds) in ON_GPUS.items():
                training = Training(**knobs)
                parts = estimate_bytes(Path(folder), Adapter(), training, workers, sizes, GPU)
                total = sum(parts.values()) / 1e9
                each = {part: round(size / 1e9, 2) for part, size in parts.items()}
                print(
                    json.dumps(
                        {"model": model, "name": name, "gigabytes": round(total, 1)}
                        | {"fits": total <= holds * 1.073 * 0.95, "parts": each}
                    )
                )


def on_gpu() -> None:
    """Estimates against the peaks in benchmarks/speed/shapes.jsonl, which leave out CUDA's own memory."""
    from benchmarks.speed.shapes import ANSWER, SHAPES, TEXT
    from models.memory_estimate import GPU, ExampleSizes, estimate_bytes
    from spaces import Adapter, Training

    measured = ROOT / "benchmarks" / "speed" / "shapes.jsonl"
    for told in map(json.loads, measured.read_text().splitlines()):
        config, batch = SHAPES[told["shape"]][0](32000, False), told["batch"]
        sees = config.vision_config
        patches = (sees.image_size // sees.patch_size) ** 2
        tokens = getattr(config, "num_query_tokens", patches)
        training = Training(
            batch_size=batch, micro_batch=batch, checkpointing=told["checkpointing"]
        )
        sizes = ExampleSizes(prompt=tokens + TEXT, answer=ANSWER, patches=patches, scored=batch)
        with tempfile.TemporaryDirectory() as folder:
            config.save_pretrained(folder)
            adapter = Adapter(parts=told["parts"], rank=16)
            parts = estimate_bytes(Path(folder), adapter, training, 1, sizes, GPU)
        total = (sum(parts.values()) - parts["process"]) / 1e9
        about = {name: told[name] for name in ("shape", "parts", "checkpointing", "device")}
        compared = {"measured": told["memory_gb"], "estimated": round(total, 1)}
        print(json.dumps(about | compared | {"ratio": round(total / told["memory_gb"], 2)}))


def main() -> None:
    """Every configuration: estimate, measure, compare."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--shapes", action="store_true", help=shapes.__doc__)
    parser.add_argument("--gpu", action="store_true", help=on_gpu.__doc__)
    parser.add_argument("--measure", help=argparse.SUPPRESS)
    parser.add_argument("--work", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.shapes:
        shapes()
        return
    if args.gpu:
        on_gpu()
        return
    if args.measure:
        measure(args.measure, args.work)
        return
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        write_model(work / "model")
        write_task(work / "task")
        for name in CONFIGURATIONS:
            parts = estimated(name, work)
            command = [sys.executable, __file__, "--measure", name, "--work", str(work)]
            done = subprocess.run(command, capture_output=True, text=True, check=True)
            peak = json.loads(done.stdout.splitlines()[-1])["peak"]
            ratio = sum(parts.values()) / peak
            print(
                json.dumps(
                    {"name": name, "ratio": round(ratio, 3), "met": 0.8 <= ratio <= 1.2}
                    | {"measured": peak, "estimated": sum(parts.values()), "parts": parts}
                ),
                flush=True,
            )


if __name__ == "__main__":
    main()
