"""Tokenizer of a model folder against its model: each token has an embedding, and texts stay whole."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from spaces.errors import InputError

SOUND = "a"
"""Text that shows which tokens the tokenizer adds to every one."""
LIMITS = (
    "max_length",
    "stride",
    "truncation",
    "truncation_strategy",
    "padding",
    "pad_to_multiple_of",
)
"""Settings in tokenizer_config.json that a training may have left, and that processors would obey."""


def prepare_tokenizer(folder: Path, tokenizer: Any, vocabulary: int) -> None:
    """Take an earlier training's limits out of the language model's tokenizer, and check it.

    Raises `InputError` for tokens without an embedding, no token of the end, or an end after every text.
    """
    free_of_limits(folder, tokenizer, vocabulary)
    end = tokenizer.eos_token_id
    if end is None:
        raise InputError(
            f'the tokenizer in "{folder}" must have an end-of-sequence token (eos_token)'
        )
    if tokenizer(SOUND)["input_ids"][-1:] == [end]:
        raise InputError(
            f'the tokenizer in "{folder}" must not end every text with {tokenizer.eos_token}, which would '
            "stand between question and answer; set add_eos_token to false in tokenizer_config.json, and "
            "take it out of post_processor in tokenizer.json"
        )


def free_of_limits(folder: Path, tokenizer: Any, vocabulary: int) -> None:
    """Take truncation and padding of an earlier training out of a tokenizer.

    Otherwise prompts would be cut in silence. Raises `InputError` for tokens without an embedding.
    """
    for name in LIMITS:
        tokenizer.init_kwargs.pop(name, None)
    if (backend := getattr(tokenizer, "backend_tokenizer", None)) is not None:
        backend.no_truncation()
        backend.no_padding()
    numbers = tokenizer.get_vocab()
    beyond = sorted((n, token) for token, n in numbers.items() if n >= vocabulary)
    if beyond:
        number, token = beyond[0]
        raise InputError(
            f'each token of the tokenizer in "{folder}" must have one of the model\'s {vocabulary} '
            f"embeddings, and {len(beyond)} have none (such as {token[:40]!r}, number {number}); the "
            "tokenizer's files of the same model would do, or a model whose embeddings were resized "
            "(resize_token_embeddings)"
        )
