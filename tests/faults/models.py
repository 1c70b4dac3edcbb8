"""Model folders with faults, made of the embedded one."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

from tests.faults.case import CHECKOUT, DRY_RUN, Case, write_benchmark

SOURCE = CHECKOUT / "models" / "mini" / "llava-instructed"
POINTER = f"version https://git-lfs.github.com/spec/v1\noid sha256:{'0' * 64}\nsize 207924\n"
Tensors = dict[str, torch.Tensor]


def changed(change: Callable[[Path], None]) -> Callable[[Path], None]:
    """Return a writer of a benchmark and a changed copy of the embedded model."""

    def write(folder: Path) -> None:
        write_benchmark(folder)
        shutil.copytree(SOURCE, folder / "model")
        change(folder / "model")

    return write


def case(
    name: str, change: Callable[[Path], None], *says: str, status: int = 2, **more: Any
) -> Case:
    return Case(name, changed(change), status, says, command=DRY_RUN, model="model", **more)


def edit(path: Path, **values: Any) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def weights(change: Callable[[Tensors], Tensors]) -> Callable[[Path], None]:
    def write(model: Path) -> None:
        path = model / "model.safetensors"
        save_file(change(load_file(path)), path, metadata={"format": "pt"})

    return write


def replaced(name: str, content: str) -> Callable[[Path], None]:
    return lambda model: void((model / name).write_text(content))


def void(_: object) -> None: ...


def adapter(model: Path) -> None:
    """Write an adapter of one weight."""
    config = {"peft_type": "LORA", "r": 8, "lora_alpha": 16, "target_modules": ["q_proj"]}
    config["base_model_name_or_path"] = "llava-hf/llava-1.5-7b-hf"
    (model / "adapter_config.json").write_text(json.dumps(config))
    name = "base_model.model.model.language_model.layers.0.self_attn.q_proj.lora_"
    tensors = {f"{name}A.weight": torch.zeros(8, 192), f"{name}B.weight": torch.zeros(192, 8)}
    save_file(tensors, model / "adapter_model.safetensors")


def adapter_alone(model: Path, *keep: str) -> None:
    adapter(model)
    for path in (model / "model.safetensors", model / "config.json"):
        if path.name not in keep:
            path.unlink()


def shards_without_index(model: Path) -> None:
    whole = load_file(model / "model.safetensors")
    (model / "model.safetensors").unlink()
    names = sorted(whole)
    for number, part in enumerate((names[::2], names[1::2]), 1):
        save_file({n: whole[n] for n in part}, model / f"model-0000{number}-of-00002.safetensors")


def original_llava(model: Path) -> None:
    def rename(tensors: Tensors) -> Tensors:
        short = {n.replace("model.language_model.", "model."): t for n, t in tensors.items()}
        return {
            n.replace("multi_modal_projector.linear_1", "mm_projector.0"): t
            for n, t in short.items()
            if "vision_tower" not in n
        }

    weights(rename)(model)
    config = {
        "architectures": ["LlavaLlamaForCausalLM"],
        "model_type": "llava",
        "mm_projector_type": "mlp2x_gelu",
    }
    (model / "config.json").write_text(json.dumps(config))


def output_parent(model: Path) -> None:
    inside = model / "checkpoint-500"
    inside.mkdir()
    for path in list(model.iterdir()):
        if path.is_file():
            path.rename(inside / path.name)


def template_in_tokenizer(model: Path) -> None:
    template = (model / "chat_template.jinja").read_text()
    (model / "chat_template.jinja").unlink()
    edit(model / "tokenizer_config.json", chat_template=template)


def old_preprocessor(model: Path) -> None:
    parts = json.loads((model / "processor_config.json").read_text())
    (model / "processor_config.json").unlink()
    old = parts["image_processor"] | {"processor_class": "LlavaProcessor"}
    (model / "preprocessor_config.json").write_text(json.dumps(old))


def refuses_system(folder: Path) -> None:
    """Write a model whose template refuses a system text, and a row with one."""
    write_benchmark(folder, lambda split, i: {"system": "Be short."} if i == 3 else {})
    shutil.copytree(SOURCE, folder / "model")
    path = folder / "model" / "chat_template.jinja"
    path.write_text(
        "{% if messages[0]['role'] == 'system' %}{{ raise_exception('No system role') }}{% endif %}"
        + path.read_text()
    )


CASES = [
    case(
        "no_projector",
        weights(lambda w: {n: t for n, t in w.items() if "projector" not in n}),
        "multi_modal_projector",
    ),
    case("base_with_adapter", adapter, "adapter"),
    case("lora_only", adapter_alone, "adapter", "llava-hf/llava-1.5-7b-hf"),
    case("lora_with_config", lambda m: adapter_alone(m, "config.json"), "adapter"),
    case("index_missing", shards_without_index, "index"),
    case(
        "gptq",
        lambda m: edit(m / "config.json", quantization_config={"quant_method": "gptq", "bits": 4}),
        "gptq",
    ),
    case("original_llava", original_llava, "original|convert"),
    case("output_parent", output_parent, "checkpoint-500"),
    case("old_preprocessor", old_preprocessor, "process", never=("NoneType",)),
    case("template_in_tokenizer_config", template_in_tokenizer, "stages", status=0),
    case(
        "template_broken",
        replaced("chat_template.jinja", "{% for m in messages %}{{ m['content'] "),
        "template",
    ),
    case("lfs_tokenizer", replaced("tokenizer.json", POINTER), "git-lfs|LFS|lfs"),
    case("lfs_weights", replaced("model.safetensors", POINTER), "git-lfs|LFS|lfs"),
    Case("system_row", refuses_system, 2, ("template", "system"), command=DRY_RUN, model="model"),
]
