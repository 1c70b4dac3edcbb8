"""Check of an example's texts for tokens that must not be trained, and for those that are said."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from tasks.data.placeholders import kept_tokens, token_fault
from tasks.formats.raw_example import RawExample, RowError
from tasks.formats.values.boxes import without_marks


def check_tokens(texts: Iterable[str], prompts: Collection[str] = ()) -> tuple[str, ...]:
    """Return what is said of tokens in some texts; raise `RowError` for one that must not be trained."""
    kept: dict[str, None] = {}
    for text in texts:
        if fault := token_fault(text, prompt=text in prompts):
            raise RowError(*fault)
        kept |= dict.fromkeys(kept_tokens(text))
    return tuple(f"{token} kept as text" for token in kept)


def check_example(example: RawExample) -> tuple[str, ...]:
    """Check all texts of an example; marks of boxes that are filled in later are no texts."""
    texts = tuple(dict.fromkeys(example.texts()))
    if example.boxes:
        texts = tuple(map(without_marks, texts))
    return check_tokens(texts, {example.prompt, *(prompt for prompt, _ in example.history)})
