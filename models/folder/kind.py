"""Refusals of folders that hold no whole model in stock transformers' layout, each by its kind."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from models.folder.files import folder_config, json_object, models_inside
from spaces.errors import InputError

ADAPTER = "adapter_config.json"
ADAPTER_WEIGHTS = ("adapter_model.*", "non_lora_trainables.bin")
"""Weights of an adapter, and of the connector that LLaVA's own code trained beside it."""
CONNECTOR_ALONE = "mm_projector.bin"
ORIGINAL_LLAVA = (
    "mm_vision_tower",
    "mm_projector_type",
    "mm_hidden_size",
    "mm_vision_select_layer",
)
"""Settings in config.json of the original LLaVA code, which stock transformers does not read."""
CONVERTED = {
    "llava_llama": "llava-hf/llava-1.5-7b-hf",
    "llava_mistral": "llava-hf/llava-v1.6-mistral-7b-hf",
    "llava_qwen": "llava-hf/llava-onevision-qwen2-7b-ov-hf",
    "internvl_chat": "OpenGVLab/InternVL3-1B-hf",
}
"""Types of models in their authors' layout, and an example of the converted ones."""
OTHER_RUNTIMES = ("*.gguf", "*.ggml", "*.onnx", "onnx/*.onnx", "*.mlpackage", "*.engine")
"""Files of models that are packed for inference elsewhere."""
QUANTISED = ("quantization_config", "compression_config")


def check_kind(folder: Path) -> None:
    """Raise `InputError` for an adapter, another code's layout, or weights that are quantised."""
    if (folder / ADAPTER).is_file():
        raise _adapter(folder, json_object(folder / ADAPTER))
    stray = sorted(file.name for pattern in ADAPTER_WEIGHTS for file in folder.glob(pattern))
    if stray:
        raise InputError(
            f'the model folder "{folder}" must hold one model, and has weights of an adapter beside it, '
            f"which would not be read: {', '.join(stray)}; {_merged()}, or move them elsewhere"
        )
    config = folder_config(folder)
    _check_layout(folder, config)
    for where, settings in _quantisations(config):
        method = settings.get("quant_method") if isinstance(settings, dict) else settings
        raise InputError(
            f'the model in "{folder}" must have weights of 16 or 32 bits, and its config.json has '
            f'{where} with method "{method}"; the model that it was made from would do, which '
            "training.base_bits 4 packs as it is loaded"
        )


def _adapter(folder: Path, settings: dict[str, Any]) -> InputError:
    """Return the error about a folder that holds an adapter, with or without a base."""
    base = (
        settings.get("base_model_name_or_path") or "a base that adapter_config.json does not name"
    )
    weights = [file for file in folder.glob("*.safetensors") if "adapter" not in file.name]
    if weights:
        return InputError(
            f'the model folder "{folder}" must hold one model, and holds whole weights '
            f'({weights[0].name}, ...) and an adapter of "{base}" beside them; {_merged()}, or move '
            f"{ADAPTER} and adapter_model.* elsewhere to train the base alone"
        )
    kind = settings.get("peft_type", "LORA")
    return InputError(
        f'the model folder "{folder}" must hold a whole model, and holds an adapter alone ({kind}), '
        f'made for "{base}"; {_merged()}; "{base}" itself would do to begin without it'
    )


def _merged() -> str:
    return (
        "merge it into its base (PeftModel.from_pretrained(base, adapter).merge_and_unload()"
        ".save_pretrained(folder), and the processor beside it)"
    )


def _check_layout(folder: Path, config: dict[str, Any]) -> None:
    """Raise `InputError` for a model of the original LLaVA's or InternVL's own code."""
    model_type = str(config.get("model_type"))
    original = [name for name in ORIGINAL_LLAVA if name in config]
    if (folder / CONNECTOR_ALONE).is_file() and not any(folder.glob("*.safetensors")):
        raise InputError(
            f'the model folder "{folder}" must hold a whole model, and holds a connector alone '
            f"({CONNECTOR_ALONE}) of the original LLaVA code; {_conversion('llava_llama')}"
        )
    if original or model_type in CONVERTED:
        sign = original[0] if original else f'model_type "{model_type}"'
        code = "InternVL" if model_type == "internvl_chat" else "LLaVA"
        raise InputError(
            f'the model in "{folder}" must be in the layout of stock transformers, and its config.json '
            f"has {sign} of the original {code} code, whose weights are named otherwise; "
            f"{_conversion(model_type)}"
        )


def _conversion(model_type: str) -> str:
    """Return what would do instead of a model in its authors' layout."""
    example = CONVERTED.get(model_type, CONVERTED["llava_llama"])
    return (
        f"its converted form (-hf, such as {example}) would do, and so would your own weights after "
        "the conversion script of transformers (convert_*_to_hf.py of its family)"
    )


def _quantisations(config: dict[str, Any], where: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the places in config.json that say that weights are quantised."""
    for name, value in config.items():
        if name in QUANTISED and value is not None:
            yield f"{where}{name}", value
        elif isinstance(value, dict):
            yield from _quantisations(value, f"{where}{name}.")


def no_weights(folder: Path) -> InputError:
    """Return the error about a folder without weights in safetensors, by what it has instead."""
    shards = sorted(file.name for file in folder.glob("*.safetensors") if file.is_file())
    start = f'the model folder "{folder}" must hold '
    if len(shards) == 1 and shards[0].startswith(("model.", "pytorch_model.")):
        return InputError(
            f"{start}model.safetensors, and has {shards[0]} alone; if that is the whole model, name it so"
        )
    if shards:
        return InputError(
            f"{start}model.safetensors, or model.safetensors.index.json that names its shards; it has "
            f"{', '.join(shards[:3])}{', ...' if len(shards) > 3 else ''} alone. Copy the index of the "
            "original, or write both with save_pretrained of transformers"
        )
    instead = "" if any(folder.glob("*.bin")) else models_inside(folder)
    packed = sorted(file.name for kind in OTHER_RUNTIMES for file in folder.glob(kind))
    if packed and not instead:
        return InputError(
            f"{start}model.safetensors; it has {packed[0]} alone, which is for another runtime and cannot "
            "be trained: the model that it was made from would do"
        )
    return InputError(
        f"{start}*.safetensors weights; it does not{instead}. From pytorch_model.bin, which is a "
        "pickle, save_pretrained of transformers makes them"
    )
