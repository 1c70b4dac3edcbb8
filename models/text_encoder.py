"""Texts as frozen vectors: by the language model's token embeddings, or a sentence encoder in a folder."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import torch

from models.location import model_fingerprint
from spaces.errors import InputError

AT_ONCE = 64
MOST_TOKENS = 2048
WANTED = {
    "config.json": ("config.json",),
    "tokenizer": ("tokenizer.json", "vocab.*", "*.model"),
    "*.safetensors": ("*.safetensors",),
}
"""What a sentence encoder's folder must hold, and files that any of would do; transformers makes a
tokenizer without any words where there is none."""


class TextEncoder(Protocol):
    """Something that places texts; alike ones near each other."""

    def encode(self, texts: Sequence[str]) -> torch.Tensor:
        """(texts, width) in fp32 on the CPU, each of length 1."""
        ...


class TokenMean:
    """The mean of a text's token embeddings: needs nothing but the LMM itself."""

    def __init__(self, tokenizer: Any, embeddings: torch.Tensor) -> None:
        self._tokenizer, self._embeddings = tokenizer, embeddings

    def encode(self, texts: Sequence[str]) -> torch.Tensor:
        found = []
        for text in texts:
            ids = self._tokenizer(text, add_special_tokens=False)["input_ids"]
            rows = torch.tensor(ids, dtype=torch.long, device=self._embeddings.device)
            embedded = self._embeddings[rows].float().cpu()
            found.append(embedded.sum(0) / max(1, len(ids)))  # of no tokens: zeros
        return torch.nn.functional.normalize(torch.stack(found), dim=-1)


class SentenceEncoder:
    """A text encoder that stock transformers reads from a folder; the mean over its tokens' outputs."""

    def __init__(self, folder: Path) -> None:
        from transformers import AutoModel, AutoTokenizer

        check_text_encoder(folder)
        try:
            self._tokenizer: Any = AutoTokenizer.from_pretrained(folder)
            model: Any = AutoModel.from_pretrained(folder, use_safetensors=True).eval()
        except Exception as error:  # of a cut file, of a class that is not known, ...
            raise unusable(folder, error) from error
        # Of one that writes, too, the part that reads.
        self._model = model.get_encoder() if model.config.is_encoder_decoder else model
        positions = getattr(model.config, "max_position_embeddings", None) or MOST_TOKENS
        self._longest = min(self._tokenizer.model_max_length, positions, MOST_TOKENS)
        if self._tokenizer.pad_token is None:  # masked wherever it stands
            self._tokenizer.pad_token = self._tokenizer.eos_token or self._tokenizer.unk_token

    @torch.no_grad()
    def encode(self, texts: Sequence[str]) -> torch.Tensor:
        found = []
        for start in range(0, len(texts), AT_ONCE):
            batch = list(texts[start : start + AT_ONCE])
            inputs = self._tokenizer(
                batch,
                padding=True,
                truncation=True,
                max_length=self._longest,
                return_tensors="pt",
            )
            states = self._model(**inputs).last_hidden_state
            mask = inputs["attention_mask"][..., None].to(states)
            found.append((states * mask).sum(1) / mask.sum(1).clamp(min=1))
        return torch.nn.functional.normalize(torch.cat(found).float(), dim=-1)


def try_text_encoder(folder: Path) -> None:
    """Raise `InputError` for a folder whose encoder does not place a short and a long text."""
    encoder = SentenceEncoder(folder)
    try:
        encoder.encode(["a", "a " * MOST_TOKENS])
    except Exception as error:
        raise unusable(folder, error) from error


def unusable(folder: Path, error: Exception) -> InputError:
    """What to say of a folder that cannot be used."""
    return InputError(
        f'text_encoder must be a folder that AutoModel and AutoTokenizer read; "{folder}" is not: '
        f"{(str(error).splitlines() or [type(error).__name__])[0]}; the language model's own embeddings "
        "would do"
    )


def check_text_encoder(folder: Path) -> None:
    """Raise `InputError` for a folder that cannot hold a sentence encoder."""
    lacking = [n for n, files in WANTED.items() if not any(any(folder.glob(f)) for f in files)]
    if not folder.is_dir() or lacking:
        raise InputError(
            "text_encoder must be a folder with a config.json, a tokenizer and *.safetensors, got "
            f'"{folder}", '
            + (f"which has no {' and no '.join(lacking)}" if folder.is_dir() else "which is none")
        )


def text_encoder_fingerprint(folder: str | Path) -> str:
    """Of the folder's contents; empty for the language model's own embeddings."""
    return model_fingerprint(Path(folder)) if str(folder) else ""
