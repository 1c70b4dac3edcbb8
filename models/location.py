"""Location of a model's folder, checks that it can be loaded, and a fingerprint of its contents."""

from __future__ import annotations

import functools
import hashlib
import re
from pathlib import Path
from typing import Any

from models.family import Family, family_of
from models.folder.files import LOADED, check_files, folder_config, json_object, loaded_files
from models.folder.kind import check_kind
from models.folder.weight_files import tensors_of, weight_files
from spaces.errors import InputError, first_line, nearest

EMBEDDED = Path(__file__).parent / "mini"
HUB = re.compile(r"[\w.-]+/[\w.-]+(@[\w./-]+)?")
"""owner/name, or owner/name@revision."""


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
    check_kind(folder)
    folder_family(folder)
    tensors_of(weight_files(folder, folder_config(folder)))
    check_files(folder)
    return folder.resolve()


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
    added = json_object(tokenizer).get("added_tokens") or ()
    try:
        return next((str(token["content"]) for token in added if token["id"] == number), None)
    except (TypeError, KeyError) as error:
        raise InputError(
            f'added_tokens in "{tokenizer}" must be objects with id and content; copy it again'
        ) from error


def model_fingerprint(folder: Path) -> str:
    """Return the SHA-256 over names and contents of the files in the folder that are loaded."""
    stats = tuple(
        (str(f), f.relative_to(folder).as_posix(), f.stat().st_size, f.stat().st_mtime_ns)
        for f in loaded_files(folder)
    )
    return _hash_files(stats)


@functools.lru_cache(maxsize=64)
def _hash_files(stats: tuple[tuple[str, str, int, int], ...]) -> str:
    digest = hashlib.sha256()
    for path, name, size, _ in stats:
        digest.update(f"{name}:{size}:".encode())
        with open(path, "rb") as file:
            while chunk := file.read(1 << 20):
                digest.update(chunk)
    return digest.hexdigest()
