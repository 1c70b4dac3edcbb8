"""Weights against the class: missing, left over, misshapen, quantised and not finite ones are refused."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from families import FAMILIES, write_model
from safetensors.torch import load_file, save_file
from toy import Toy
from transformers import AutoModelForImageTextToText

from models.folder.weights import check_weights, weight_notes
from models.loading import load_base
from spaces import InputError
from spaces.loading import Loading

Weights = dict[str, torch.Tensor]
OLD_NAMES = (
    ("model.language_model.", "language_model.model."),
    ("model.vision_tower.", "vision_tower."),
    ("model.multi_modal_projector.", "multi_modal_projector."),
    ("lm_head.", "language_model.lm_head."),
)
"""Beginnings of names in the files of today, and in those of older transformers."""
CONNECTOR = "multi_modal_projector.linear_1.weight"


@pytest.fixture
def folder(toy: Toy, tmp_path: Path) -> Path:
    return Path(shutil.copytree(toy.model, tmp_path / "model"))


def change(folder: Path, act: Callable[[Weights], object]) -> None:
    weights = load_file(folder / "model.safetensors")
    act(weights)
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})


def connector(weights: Weights) -> str:
    return next(name for name in weights if name.endswith(CONNECTOR))


def test_weights_that_lack_a_connector_are_refused_by_check_and_loader(folder: Path) -> None:
    change(folder, lambda weights: weights.pop(connector(weights)))
    with pytest.raises(
        InputError, match=r"1 missing \(model.multi_modal_projector.linear_1.weight\)"
    ):
        check_weights(folder)
    with pytest.raises(InputError, match=r"drawn at random"):
        load_base(folder, Loading())


def test_further_and_misshapen_weights_are_refused(folder: Path) -> None:
    change(folder, lambda weights: weights.update(more=torch.zeros(2)))
    with pytest.raises(InputError, match=r"1 unexpected \(more\)"):
        check_weights(folder)
    change(folder, lambda weights: weights.pop("more"))
    change(folder, lambda weights: weights.update({connector(weights): torch.zeros(0)}))
    with pytest.raises(InputError, match=r"of another shape .*linear_1.weight \(0,\) instead of"):
        check_weights(folder)


@pytest.mark.parametrize("kind", [torch.int8, torch.uint8, torch.float8_e4m3fn], ids=str)
def test_packed_weights_are_refused(folder: Path, kind: torch.dtype) -> None:
    change(folder, lambda w: w.update({connector(w): w[connector(w)].to(kind)}))
    with pytest.raises(InputError, match="1 are quantised"):
        check_weights(folder)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_finite_are_refused(folder: Path, value: float) -> None:
    change(folder, lambda weights: weights[connector(weights)][-1].fill_(value))
    with pytest.raises(InputError, match=r"must be finite, and .*linear_1.weight"):
        check_weights(folder)


@pytest.mark.parametrize("family", ["llava", "llava_next", "paligemma"])
def test_names_of_older_files_are_accepted(family: str, tmp_path: Path) -> None:
    folder = write_model(family, tmp_path / "model")
    expected = AutoModelForImageTextToText.from_pretrained(folder).state_dict()

    def rename(weights: Weights) -> None:
        for name, value in list(weights.items()):
            new = next((o + name.removeprefix(n) for n, o in OLD_NAMES if name.startswith(n)), name)
            weights[new] = weights.pop(name) if new == name else value
            if new != name:
                weights.pop(name, None)

    change(folder, rename)
    check_weights(folder)
    loaded = AutoModelForImageTextToText.from_pretrained(folder).state_dict()
    assert all(torch.equal(loaded[name], value) for name, value in expected.items())


@pytest.mark.slow
@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_is_accepted_whole_and_refused_without_any_one_weight(
    family: str, tmp_path: Path
) -> None:
    folder = write_model(family, tmp_path / "model")
    check_weights(folder)
    whole = load_file(folder / "model.safetensors")
    for name in whole:
        rest = {other: value for other, value in whole.items() if other != name}
        save_file(rest, folder / "model.safetensors", metadata={"format": "pt"})
        with pytest.raises(InputError, match=r"[12] missing"):
            check_weights(folder)


def test_zeros_are_said_and_a_model_of_zeros_is_refused(folder: Path) -> None:
    change(folder, lambda weights: weights[connector(weights)].zero_())
    (note,) = weight_notes(folder)
    assert "1 of the model's" in note and CONNECTOR in note
    change(folder, lambda weights: [weight.zero_() for weight in weights.values()])
    with pytest.raises(InputError, match="hold zeros alone"):
        check_weights(folder)


def test_numbers_beyond_16_bits_and_weights_of_whole_numbers_are_refused(folder: Path) -> None:
    whole = folder / "model.safetensors"
    shutil.copy(whole, folder / "kept")
    change(
        folder, lambda w: w.update({connector(w): torch.full_like(w[connector(w)].double(), 1e300)})
    )
    with pytest.raises(InputError, match="range of 16 bits"):
        check_weights(folder)
    shutil.copy(folder / "kept", whole)
    change(folder, lambda w: w.update({connector(w): w[connector(w)].to(torch.int64)}))
    with pytest.raises(InputError, match=r"1 are quantised: .* \(I64\)"):
        check_weights(folder)


def test_links_and_other_names_of_weights_are_told(folder: Path) -> None:
    whole = folder / "model.safetensors"
    shutil.copy(whole, folder / "consolidated.safetensors")
    assert weight_notes(folder) == (
        "weights in the model's folder that are not read: consolidated.safetensors",
    )
    (folder / "consolidated.safetensors").unlink()
    whole.rename(folder / "model.fp16.safetensors")
    with pytest.raises(InputError, match="if that is the whole model, name it so"):
        check_weights(folder)
    whole.symlink_to("/nowhere/blob")
    with pytest.raises(InputError, match='is a link to "/nowhere/blob"'):
        check_weights(folder)
