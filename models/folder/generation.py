"""Settings by which a model answers: greedy, whatever its folder's generation_config.json prefers."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from transformers import GenerationConfig

CHANGES = (
    *("min_length", "min_new_tokens", "suppress_tokens", "begin_suppress_tokens", "bad_words_ids"),
    *("sequence_bias", "no_repeat_ngram_size", "encoder_no_repeat_ngram_size", "guidance_scale"),
    *("encoder_repetition_penalty", "repetition_penalty", "forced_bos_token_id", "stop_strings"),
    *("forced_eos_token_id", "exponential_decay_length_penalty", "max_time", "penalty_alpha"),
    *("dola_layers", "forced_decoder_ids", "force_words_ids", "constraints", "watermarking_config"),
)
"""Settings that would change a greedy answer."""


def greedy(preferred: GenerationConfig, tokenizer: Any) -> GenerationConfig:
    """Return the configuration of greedy answers that end at the token which is trained as the end.

    All other settings that would change an answer, such as the fewest tokens, are left out.
    """
    ends = [tokenizer.eos_token_id, *_numbers(preferred.eos_token_id)]
    pad = next(_numbers([tokenizer.pad_token_id, preferred.pad_token_id, ends[0]]))
    ends = list(dict.fromkeys(ends))
    return GenerationConfig(
        do_sample=False,
        num_beams=1,
        eos_token_id=ends if len(ends) > 1 else ends[0],
        pad_token_id=pad,
        bos_token_id=preferred.bos_token_id,
    )


def generation_notes(folder: Path) -> list[str]:
    """Return a note on settings that would change a greedy answer, and are not used."""
    file = folder / "generation_config.json"
    preferred = GenerationConfig.from_pretrained(folder).to_diff_dict() if file.is_file() else {}
    names = [name for name in preferred if name in CHANGES]
    return [f"settings of generation_config.json that are not used: {', '.join(names)}"] * bool(
        names
    )


def _numbers(values: Any) -> Iterator[int]:
    values = values if isinstance(values, list | tuple) else [values]
    return (value for value in values if isinstance(value, int))
