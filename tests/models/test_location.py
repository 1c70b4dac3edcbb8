"""Models from folders, and from the hub's cache."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import huggingface_hub.constants
import pytest
from toy import Toy

from models.location import model_fingerprint, model_folder, on_hub, pinned_name
from spaces import InputError

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture
def cached(toy: Toy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Return the id of a model that was fetched from the hub before."""
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    repository = tmp_path / "models--someone--squares"
    (repository / "refs").mkdir(parents=True)
    (repository / "refs" / "main").write_text(COMMIT)
    shutil.copytree(toy.model, repository / "snapshots" / COMMIT)
    return "someone/squares"


def test_a_model_of_the_hub_is_the_folder_that_it_was_fetched_into(cached: str, toy: Toy) -> None:
    folder = model_folder(cached)
    assert folder.name == COMMIT
    assert model_fingerprint(folder) == model_fingerprint(toy.model)
    assert pinned_name(cached, folder) == f"{cached}@{COMMIT}"
    assert model_folder(f"{cached}@{COMMIT}") == folder
    assert pinned_name(f"{cached}@{COMMIT}", folder) == f"{cached}@{COMMIT}"


def test_a_model_that_cannot_be_fetched_is_an_input_error(cached: str) -> None:
    with pytest.raises(InputError, match=r"could not be fetched from the hub: .*a folder"):
        model_folder("someone/circles")
    with pytest.raises(InputError, match="could not be fetched"):
        model_folder(f"{cached}@v2")


def test_a_folder_on_disk_takes_precedence_over_the_hub(
    toy: Toy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(toy.model, tmp_path / "mine" / "squares")
    monkeypatch.chdir(tmp_path)
    assert not on_hub("mine/squares")
    assert model_folder("mine/squares") == tmp_path / "mine" / "squares"
    assert pinned_name("mine/squares", tmp_path / "mine" / "squares") == str(
        tmp_path / "mine/squares"
    )


def test_weights_as_a_pickle_and_language_models_with_an_encoder_are_refused(
    toy: Toy, tmp_path: Path
) -> None:
    folder = shutil.copytree(toy.model, tmp_path / "model")
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(InputError, match=r"must hold .*safetensors weights.*is a pickle"):
        model_folder(folder)
    config = json.loads((folder / "config.json").read_text())
    config |= {"model_type": "blip-2", "text_config": {"model_type": "t5"}}
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(InputError, match=r"must be a decoder alone.*is t5"):
        model_folder(folder)


def test_weights_that_were_cut_off_are_refused(toy: Toy, tmp_path: Path) -> None:
    folder = shutil.copytree(toy.model, tmp_path / "model")
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    with pytest.raises(InputError, match="must be whole, and is not"):
        model_folder(folder)
