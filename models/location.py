"""Location of a model's folder, checks that it can be loaded, and a fingerprint of its contents."""

from __future__ import annotations

import functools
import hashlib
import json
import re
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from models.family import Family, family_of
from spaces.errors import InputError, first_line, nearest

EMBEDDED = Path(__file__).parent / "mini"
HUB = re.compile(r"[\w.-]+/[\w.-]+(@[\w./-]+)?")
"""owner/name, or owner/name@revision."""
LOADED = ("*.json", "*.safetensors", "*.jinja", "*.model", "*.txt")
"""Files that are fetched from a hub: no pickles, no code."""


def embedded_names() -> list[str]:
    """Return the names of the models that ship with the project."""
    return sorted(p.parent.name for p in EMBEDDED.glob("*/config.json"))


def on_hub(name_or_path: str | Path) -> bool:
    """Return whether this can only be the id of a model on the Hugging Face hub."""
    name = str(name_or_path)
    return bool(HUB.fullmatch(name)) and not Path(name).expanduser().exists()


def model_folder(name_or_path: str | Path) -> Path:
    """Return the folder of an embedded model (by name), a user's (by path) or the hub's (by id).

    Raises `InputError` if it cannot be loaded. A model on the hub is fetched once.
    """
    name = str(name_or_path)
    folder = EMBEDDED / name if name in embedded_names() else Path(name).expanduser()
    if not folder.is_dir() and on_hub(name):
        folder = _fetched(name)
    if not folder.is_dir():
        names = embedded_names()
        raise InputError(
            f"the model must be a folder, the id of one on the Hugging Face hub or one of "
            f'{", ".join(names)}; got "{name}", and there is no such folder{nearest(name, names)}'
        )
    folder_family(folder)
    if not any(folder.glob("*.safetensors")):
        raise InputError(
            f'the model folder "{folder}" must hold *.safetensors weights; it does not. From '
            "pytorch_model.bin, which is a pickle, save_pretrained of transformers makes them"
        )
    for file in folder.glob("*.safetensors"):
        _check_whole(file)
    if not any((folder / file).is_file() for file in ("tokenizer.json", "tokenizer_config.json")):
        raise InputError(f'the model folder "{folder}" must hold a tokenizer; it does not')
    return folder.resolve()


def _check_whole(file: Path) -> None:
    """Raise `InputError` for weights that were cut off, by the header of the file."""
    try:
        with safe_open(file, framework="np"):
            pass
    except (SafetensorError, OSError) as error:
        raise InputError(f'"{file}" must be whole, and is not: {error}; copy it again') from error


def _fetched(name: str) -> Path:
    """Fetch a model from the hub and return its folder; raise `InputError` if that fails."""
    from huggingface_hub import snapshot_download

    repository, _, revision = name.partition("@")
    try:
        fetch: Any = snapshot_download
        folder = fetch(repository, revision=revision or None, allow_patterns=list(LOADED))
    except Exception as error:  # no network, no such model, no permission: the library says which
        raise InputError(
            f'the model "{name}" is no folder here, and could not be fetched from the hub: '
            f"{first_line(error)}; "
            "a folder that from_pretrained reads would do"
        ) from error
    return Path(folder)


def pinned_name(name: str, folder: Path) -> str:
    """Return the hub's id with the commit in `folder`; the folder itself for a user's own model."""
    return f"{name.partition('@')[0]}@{folder.name}" if on_hub(name) else str(folder)


def folder_config(folder: Path) -> dict[str, Any]:
    """Return the contents of the folder's config.json."""
    path = folder / "config.json"
    if not path.is_file():
        raise InputError(f'the model folder "{folder}" must hold a config.json; it does not')
    try:
        config = json.loads(path.read_text())
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise InputError(f'"{path}" must be readable JSON: {error}') from error
    return config if isinstance(config, dict) else {}


def folder_family(folder: Path) -> Family:
    """Return the family of the model in `folder`; raise `InputError` for an unknown one."""
    config = folder_config(folder)
    family = family_of(str(config.get("model_type")))
    text = config.get("text_config")
    if isinstance(text, dict) and text.get("is_encoder_decoder", text.get("model_type") == "t5"):
        raise InputError(
            f'the language model must be a decoder alone, and that of "{folder}" is '
            f"{text.get('model_type')}, which has an encoder; {family.name} with OPT, Vicuna or Llama "
            "would do"
        )
    return family


def image_token(folder: Path) -> str | None:
    """Return the token that stands for the image in a prompt; None if the folder names none."""
    config, tokenizer = folder_config(folder), folder / "tokenizer.json"
    number = config.get("image_token_id", config.get("image_token_index"))
    if not isinstance(number, int) or not tokenizer.is_file():
        return None
    added = json.loads(tokenizer.read_text()).get("added_tokens", ())
    return next((token["content"] for token in added if token["id"] == number), None)


def model_fingerprint(folder: Path) -> str:
    """Return the SHA-256 over names and contents of the files in the folder that are loaded."""
    files = sorted({f for pattern in LOADED for f in folder.glob(pattern)})
    stats = tuple((str(f), f.stat().st_size, f.stat().st_mtime_ns) for f in files)
    return _hash_files(stats)


@functools.lru_cache(maxsize=64)
def _hash_files(stats: tuple[tuple[str, int, int], ...]) -> str:
    digest = hashlib.sha256()
    for path, size, _ in stats:
        digest.update(f"{Path(path).name}:{size}:".encode())
        with open(path, "rb") as file:
            while chunk := file.read(1 << 20):
                digest.update(chunk)
    return digest.hexdigest()
