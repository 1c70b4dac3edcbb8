"""Files of a model's weights as transformers chooses them, and their tensors by the headers."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from models.folder.files import check_fetched, check_filled, json_object
from models.folder.kind import no_weights
from spaces.errors import InputError, first_line

WHOLE, INDEX = "model.safetensors", "model.safetensors.index.json"
EXPLICIT = "transformers_weights"
"""Setting in config.json that names another file."""


@dataclass(frozen=True)
class Tensor:
    """One tensor of a file, by its header."""

    file: Path
    dtype: str
    """Kind of number as safetensors writes it, such as BF16."""
    shape: tuple[int, ...]


def weight_files(folder: Path, config: dict[str, Any]) -> list[Path]:
    """Return the files that transformers reads; raise `InputError` if none or several could be meant."""
    if named := config.get(EXPLICIT):
        raise InputError(
            f'the model in "{folder}" must have {WHOLE} or {INDEX}, and its config.json names '
            f'{EXPLICIT} "{named}"; rename the file and leave the setting out'
        )
    whole, index = folder / WHOLE, folder / INDEX
    for file in (whole, index):
        if file.is_symlink() and not file.exists():
            raise InputError(
                f'"{file}" must be a file, and is a link to "{file.readlink()}", which is not there; copy '
                "the file itself"
            )
    if whole.is_file() and index.is_file():
        raise InputError(
            f'the model folder "{folder}" must hold one set of weights, and has both {WHOLE}, which '
            f"would be read, and {INDEX}, which would not; move the one that is out of date elsewhere"
        )
    if whole.is_file():
        return [whole]
    if not index.is_file():
        raise no_weights(folder)
    return _shards(index)


def _shards(index: Path) -> list[Path]:
    """Return the shards that an index names; raise `InputError` if one of them is not there."""
    names = json_object(index).get("weight_map")
    if not isinstance(names, dict) or not names:
        raise InputError(f'"{index}" must have a weight_map from tensors to files; it has none')
    wrong = [
        name for name in names.values() if not isinstance(name, str) or Path(name).name != name
    ]
    if wrong:
        raise InputError(f'"{index}" must name files beside it, got {str(wrong[0])[:60]!r}')
    files = [index.parent / name for name in sorted(set(names.values()))]
    missing = [file.name for file in files if not file.is_file()]
    if missing:
        raise InputError(
            f'"{index}" names {len(files)} files, of which {len(missing)} must be beside it and are not: '
            f"{', '.join(missing[:3])}{', ...' if len(missing) > 3 else ''}; copy them, too"
        )
    return files


def unread_notes(folder: Path, files: list[Path]) -> list[str]:
    """Return a note on further weights in the folder, which are not read."""
    others = sorted(file.name for file in folder.glob("*.safetensors") if file not in files)
    return [f"weights in the model's folder that are not read: {', '.join(others)}"] * bool(others)


def tensors_of(files: list[Path]) -> dict[str, Tensor]:
    """Return the tensors of all files by name; raise `InputError` for a file that is not whole."""
    found: dict[str, Tensor] = {}
    for file in files:
        check_fetched(file)
        check_filled(file)
        for name, tensor in _header(file).items():
            if name in found:
                raise InputError(
                    f'each tensor must be in one file, and "{name}" is in {found[name].file.name} and in '
                    f'{file.name} of "{file.parent}"; write the model again with save_pretrained'
                )
            found[name] = tensor
    return found


def _header(file: Path) -> dict[str, Tensor]:
    """Return a file's tensors; the library compares the offsets in its header with its size."""
    found: dict[str, Tensor] = {}
    try:
        with safe_open(file, framework="np") as opened:
            for name in opened.keys():  # noqa: SIM118  # no mapping
                part = opened.get_slice(name)
                found[name] = Tensor(file, str(part.get_dtype()), tuple(part.get_shape()))
    except (SafetensorError, OSError) as error:
        raise InputError(
            f'"{file}" must be whole, and is not: {first_line(error)}; copy it again'
        ) from error
    return found
