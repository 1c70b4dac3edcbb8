"""Folders that hold no whole model in stock transformers' layout, each refused by what it is."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file, save_file
from toy import Toy

from models.location import model_fingerprint, model_folder
from spaces import InputError

ADAPTER = {"peft_type": "LORA", "base_model_name_or_path": "someone/base", "r": 8}


@pytest.fixture
def folder(toy: Toy, tmp_path: Path) -> Path:
    return Path(shutil.copytree(toy.model, tmp_path / "model"))


def configure(folder: Path, **changes: Any) -> None:
    file = folder / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))


def shard(folder: Path) -> None:
    """Write the weights as two shards with an index."""
    weights = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    names = sorted(weights)
    places = {name: f"part-{number % 2}.safetensors" for number, name in enumerate(names)}
    for place in set(places.values()):
        save_file({n: weights[n] for n in names if places[n] == place}, folder / place)
    index = {"metadata": {}, "weight_map": places}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))


def test_an_adapter_alone_names_its_base(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "adapter_model.safetensors")
    (folder / "adapter_config.json").write_text(json.dumps(ADAPTER))
    for name in ("with config.json", "without"):
        with pytest.raises(
            InputError, match=r'adapter alone \(LORA\), made for "someone/base"; merge'
        ):
            model_folder(folder)
        (folder / "config.json").unlink(missing_ok=True)
        assert name


def test_an_adapter_beside_whole_weights_is_refused(folder: Path) -> None:
    shutil.copy(folder / "model.safetensors", folder / "adapter_model.safetensors")
    with pytest.raises(InputError, match=r"weights of an adapter beside it.*adapter_model"):
        model_folder(folder)
    (folder / "adapter_config.json").write_text(json.dumps(ADAPTER))
    with pytest.raises(InputError, match=r"whole weights \(model.safetensors.*and an adapter"):
        model_folder(folder)


def test_a_connector_that_was_trained_beside_an_adapter_is_refused(folder: Path) -> None:
    (folder / "non_lora_trainables.bin").write_bytes(b"x")
    with pytest.raises(InputError, match=r"would not be read: non_lora_trainables.bin"):
        model_folder(folder)


def test_the_output_folder_of_a_training_names_its_newest_checkpoint(folder: Path) -> None:
    for step in (500, 1000, 90):
        shutil.copytree(folder, folder.parent / "out" / f"checkpoint-{step}")
    with pytest.raises(InputError, match=r'holds 3 that would do: .*checkpoint-1000"$'):
        model_folder(folder.parent / "out")
    shutil.copy(folder / "config.json", folder.parent / "out")
    with pytest.raises(InputError, match=r"output folder of a training.*checkpoint-1000"):
        model_folder(folder.parent / "out")


@pytest.mark.parametrize(
    "changes",
    [
        {"mm_vision_tower": "openai/clip-vit-large-patch14-336"},
        {"model_type": "llava_llama"},
        {"model_type": "llava_qwen"},
        {"model_type": "internvl_chat"},
    ],
    ids=str,
)
def test_models_in_their_authors_layout_need_conversion(
    folder: Path, changes: dict[str, Any]
) -> None:
    configure(folder, **changes)
    with pytest.raises(InputError, match=r"original (LLaVA|InternVL) code.*converted form \(-hf"):
        model_folder(folder)


@pytest.mark.parametrize("method", ["gptq", "awq", "bitsandbytes", "fp8", "compressed-tensors"])
def test_quantised_models_are_refused(folder: Path, method: str) -> None:
    configure(folder, quantization_config={"quant_method": method})
    with pytest.raises(InputError, match=f'quantization_config with method "{method}"'):
        model_folder(folder)
    text = json.loads((folder / "config.json").read_text())["text_config"]
    inside = text | {"quantization_config": {"quant_method": method}}
    configure(folder, quantization_config=None, text_config=inside)
    with pytest.raises(InputError, match=r"text_config.quantization_config"):
        model_folder(folder)


def test_shards_need_their_index_and_the_index_its_shards(folder: Path) -> None:
    shutil.copy(folder / "model.safetensors", folder.parent)
    shard(folder)
    assert model_folder(folder)
    shutil.copy(folder.parent / "model.safetensors", folder)
    with pytest.raises(InputError, match=r"one set of weights, and has both"):
        model_folder(folder)
    (folder / "model.safetensors").unlink()
    part = folder / "part-1.safetensors"
    part.write_text("version https://git-lfs.github.com/spec/v1\n")
    with pytest.raises(InputError, match=r"part-1.safetensors.*git-lfs pointer"):
        model_folder(folder)
    shutil.copy(folder / "part-0.safetensors", part)
    with pytest.raises(InputError, match=r"each tensor must be in one file"):
        model_folder(folder)
    part.unlink()
    with pytest.raises(InputError, match=r"names 2 files, of which 1 .*part-1.safetensors"):
        model_folder(folder)
    (folder / "model.safetensors.index.json").unlink()
    with pytest.raises(InputError, match=r"index.json that names its shards; it has part-0"):
        model_folder(folder)


def test_files_in_folders_that_are_read_are_part_of_the_fingerprint(folder: Path) -> None:
    before = model_fingerprint(folder)
    (folder / "qformer_tokenizer").mkdir()
    (folder / "qformer_tokenizer" / "tokenizer.json").write_text("{}")
    assert model_fingerprint(folder) != before
