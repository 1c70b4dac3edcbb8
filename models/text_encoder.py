"""Texts as frozen vectors: by the language model's token embeddings, or a sentence encoder in a folder."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import torch

from models.location import model_fingerprint
from spaces.errors import InputError

AT_ONCE = 64
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
            self._model: Any = AutoModel.from_pretrained(folder, use_safetensors=True).eval()
        except (OSError, ValueError, KeyError) as error:
            raise InputError(
                f'text_encoder must be a folder that AutoModel and AutoTokenizer read; "{folder}" is '
                f"not: {(str(error).splitlines() or [''])[0]}"
            ) from error

    @torch.no_grad()
    def encode(self, texts: Sequence[str]) -> torch.Tensor:
        found = []
        for start in range(0, len(texts), AT_ONCE):
            batch = list(texts[start : start + AT_ONCE])
            inputs = self._tokenizer(batch, padding=True, truncation=True, return_tensors="pt")
            states = self._model(**inputs).last_hidden_state
            mask = inputs["attention_mask"][..., None].to(states)
            found.append((states * mask).sum(1) / mask.sum(1).clamp(min=1))
        return torch.nn.functional.normalize(torch.cat(found).float(), dim=-1)


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
