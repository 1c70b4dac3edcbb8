"""Where a model's folder is, whether it can be loaded, and a fingerprint of what it holds."""

from __future__ import annotations

import functools
import hashlib
import json
from pathlib import Path

from models.family import Family, family_of
from spaces.errors import InputError

EMBEDDED = Path(__file__).parent / "mini"


def embedded_names() -> list[str]:
    """The models that ship with the project, by name."""
    return sorted(p.parent.name for p in EMBEDDED.glob("*/config.json"))


def model_folder(name_or_path: str | Path) -> Path:
    """The folder of an embedded model (by name) or of a user's (by path), checked to be loadable."""
    name = str(name_or_path)
    folder = EMBEDDED / name if name in embedded_names() else Path(name).expanduser()
    if not folder.is_dir():
        raise InputError(
            f"the model must be a folder or one of {', '.join(embedded_names())}; "
            f'got "{name}", and there is no such folder'
        )
    config = folder / "config.json"
    if not config.is_file():
        raise InputError(f'the model folder "{folder}" must hold a config.json; it does not')
    if not any(folder.glob("*.safetensors")):
        raise InputError(
            f'the model folder "{folder}" must hold *.safetensors weights; it does not'
        )
    folder_family(folder)
    return folder.resolve()


def folder_family(folder: Path) -> Family:
    """The family of the model in `folder`."""
    try:
        config = json.loads((folder / "config.json").read_text())
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise InputError(f'"{folder / "config.json"}" must be readable JSON: {error}') from error
    return family_of(str(config.get("model_type") if isinstance(config, dict) else None))


def image_token(folder: Path) -> str | None:
    """The token that stands for the image in a prompt; None if the folder names none."""
    config, tokenizer = json.loads((folder / "config.json").read_text()), folder / "tokenizer.json"
    number = config.get("image_token_id", config.get("image_token_index"))
    if not isinstance(number, int) or not tokenizer.is_file():
        return None
    added = json.loads(tokenizer.read_text()).get("added_tokens", ())
    return next((token["content"] for token in added if token["id"] == number), None)


def weight_bytes(folder: Path) -> int:
    """Size of the weights on disk."""
    return sum(f.stat().st_size for f in folder.glob("*.safetensors"))


def model_fingerprint(folder: Path) -> str:
    """SHA-256 over the names and contents of all files at the top of the folder that are loaded."""
    files = sorted(f for f in folder.iterdir() if f.suffix in (".json", ".safetensors", ".jinja"))
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
