"""Texts as frozen vectors, by the language model's token embeddings or a sentence encoder in a folder."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import torch

from models.location import model_fingerprint
from spaces.errors import InputError, first_line

BATCH = 64
MOST_TOKENS = 2048
REQUIRED_FILES = {
    "config.json": ("config.json",),
    "tokenizer": ("tokenizer.json", "vocab.*", "*.model"),
    "*.safetensors": ("*.safetensors",),
}
"""Contents of a sentence encoder's folder, and the files of which one must be there. Without the files of
a tokenizer, transformers would make one without any words."""


class TextEncoder(Protocol):
    """Encoder of texts as vectors; similar texts get similar vectors."""

    def encode(self, texts: Sequence[str]) -> torch.Tensor:
        """Return (texts, width) in fp32 on the CPU, each of length 1."""
        ...


class TokenMean:
    """Mean of a text's token embeddings: needs nothing but the LMM itself."""

    def __init__(self, tokenizer: Any, embeddings: torch.Tensor) -> None:
        self._tokenizer, self._embeddings = tokenizer, embeddings

    def encode(self, texts: Sequence[str]) -> torch.Tensor:
        means = []
        for text in texts:
            ids = self._tokenizer(text, add_special_tokens=False)["input_ids"]
            rows = torch.tensor(ids, dtype=torch.long, device=self._embeddings.device)
            embedded = self._embeddings[rows].float().cpu()
            means.append(embedded.sum(0) / max(1, len(ids)))  # zeros for an empty text
        return torch.nn.functional.normalize(torch.stack(means), dim=-1)


class SentenceEncoder:
    """Text encoder that stock transformers loads from a folder; the mean over its tokens' outputs."""

    def __init__(self, folder: Path) -> None:
        from transformers import AutoModel, AutoTokenizer

        check_text_encoder(folder)
        try:
            self._tokenizer: Any = AutoTokenizer.from_pretrained(folder)
            model: Any = AutoModel.from_pretrained(folder, use_safetensors=True).eval()
        except Exception as error:  # a cut file, an unknown class, ...
            raise _unusable(folder, error) from error
        # An encoder-decoder is used without its decoder.
        self._model = model.get_encoder() if model.config.is_encoder_decoder else model
        positions = getattr(model.config, "max_position_embeddings", None) or MOST_TOKENS
        self._longest = min(self._tokenizer.model_max_length, positions, MOST_TOKENS)
        if self._tokenizer.pad_token is None:  # padding is masked, so that any token will do
            self._tokenizer.pad_token = self._tokenizer.eos_token or self._tokenizer.unk_token

    @torch.no_grad()
    def encode(self, texts: Sequence[str]) -> torch.Tensor:
        means = []
        for start in range(0, len(texts), BATCH):
            batch = list(texts[start : start + BATCH])
            inputs = self._tokenizer(
                batch,
                padding=True,
                truncation=True,
                max_length=self._longest,
                return_tensors="pt",
            )
            states = self._model(**inputs).last_hidden_state
            mask = inputs["attention_mask"][..., None].to(states)
            means.append((states * mask).sum(1) / mask.sum(1).clamp(min=1))
        return torch.nn.functional.normalize(torch.cat(means).float(), dim=-1)


def try_text_encoder(folder: Path) -> None:
    """Raise `InputError` for a folder whose encoder fails on a short and a long text."""
    encoder = SentenceEncoder(folder)
    try:
        encoder.encode(["a", "a " * MOST_TOKENS])
    except Exception as error:
        raise _unusable(folder, error) from error


def _unusable(folder: Path, error: Exception) -> InputError:
    return InputError(
        f'text_encoder must be a folder that AutoModel and AutoTokenizer read; "{folder}" is not: '
        f"{first_line(error)}; the language model's own embeddings would do"
    )


def check_text_encoder(folder: Path) -> None:
    """Raise `InputError` for a folder that cannot hold a sentence encoder."""
    missing = [
        n for n, files in REQUIRED_FILES.items() if not any(any(folder.glob(f)) for f in files)
    ]
    if not folder.is_dir() or missing:
        raise InputError(
            "text_encoder must be a folder with a config.json, a tokenizer and *.safetensors, got "
            f'"{folder}", '
            + (f"which has no {' and no '.join(missing)}" if folder.is_dir() else "which is none")
        )


def text_encoder_fingerprint(folder: str | Path) -> str:
    """Return the fingerprint of a folder's contents; empty for the language model's own embeddings."""
    return model_fingerprint(Path(folder)) if str(folder) else ""
