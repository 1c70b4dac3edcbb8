"""Placeholders, control tokens and characters in a text that its writer did not mean as words.

Text that another framework would fill or skip is never trained. The reader of raw rows fills those
placeholders that it understands. Others that `REFUSED` finds refuse the row; those of `KEPT` stay, and are
reported.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

REFUSED = re.compile(
    r"""
      <\|[^|<>\s]{1,40}\|>                       # <|im_end|>, <|image_pad|>, <|eot_id|>
    | <\uff5c[^\uff5c<>]{1,40}\uff5c>            # the same in DeepSeek's wide bars
    | </?s> | <(?:pad|unk|bos|eos|mask)>         # ends and fillers of sequences
    | \[/?INST\] | <</?SYS>> | \[/?SYSTEM_PROMPT\] | \[IMG(?:_BREAK|_END)?\]
    | </?start_of_turn> | <end_of_turn> | <(?:start|end)_of_(?:image|audio|utterance)>
    | <(?!image>)\s*images?\s*/?\s*> | &lt;images?&gt;
    | <image[ _-]?\d+> | <image[_-](?:placeholder|token|pad)> | <image_soft_token> | </image>
    | </?img> | <(?:img|image)_?context> | <imagehere> | <fake_token_around_image>
    | <(?:video|audio|speech|sound|point_cloud|pcd)(?:[ _-]?\d+)?>
    | <bbox> | <ref-object> | <cot-process>      # ms-swift's
    | <(?:im_start|im_end|im_patch|vid_start|vid_end)>
    | (?-i:\[IMAGE\] | <IMG_CONTEXT> | <IMAGE> | <Image> | <ImageHere> | <VIDEO> | <AUDIO>)
    | \#\#\#\ (?:human|assistant|instruction|response)\ *:
    """,
    re.VERBOSE | re.IGNORECASE,
)
"""Tokens that a model's template or another framework gives a meaning."""
BAKED_IN = re.compile(r"(?:^|\s)(?:ASSISTANT|Assistant)\s*:\s*\Z")
"""End of a prompt into which a chat template was written already."""
_ROLES = (re.compile(r"(?:^|\s)USER\s*:"), re.compile(r"(?:^|\s)ASSISTANT\s*:"))
KEPT = re.compile(
    r"</?(?:box|quad|ref|think|answer|p|loc\d+|seg\d+|point)>"
    r"|!\[[^\]\n]*\]\([^)\s]*\)|<(?:img|image)\s[^<>]*>|<(?:media|visual)>"
    r"|\{\{?\s*image\s*\}?\}|\$image\$|\[image\]"
    r"|[\u200b\u200c\u200d\u2060\ufeff\u00ad\ufffd]",
    re.IGNORECASE,
)
"""Markup of boxes, thoughts and pages, and characters that cannot be seen: kept as they are, and said."""
_CONTROL = re.compile(r"[\x00-\x08\x0e-\x1f\x7f]")
_UNSEEN = re.compile(r"[\s\u200b\u200c\u200d\u2060\ufeff\u00ad]+")
_MARKUP = {"![": "Markdown's images", "<i": "HTML's images"}
_NAMES = {
    "\u200b": "zero-width spaces",
    "\u200c": "zero-width non-joiners",
    "\u200d": "zero-width joiners",
    "\u2060": "word joiners",
    "\ufeff": "byte-order marks",
    "\u00ad": "soft hyphens",
    "\ufffd": "replacement characters",
}


def visible(text: str) -> str:
    """Return a text without blanks or zero-width characters around it: empty if nobody could see it."""
    text = text.strip()
    return text if text.isascii() else _UNSEEN.sub("", text)


def token_fault(text: str, prompt: bool = False) -> tuple[str, str] | None:
    """Return (reason, detail) if a text holds a token that must not be trained; None if it is good."""
    if found := _CONTROL.search(text):
        return "control character", f"{found[0]!r} at character {found.start()}"
    found = REFUSED.search(text) if any(mark in text for mark in "<[#&") else None
    found = found or _written_template(text) or (BAKED_IN.search(text) if prompt else None)
    if found is None:
        return None
    token = " ".join(found[0].split())
    return "placeholder or control token of another framework", f"{token}: {_remedy(token)}"


def _written_template(text: str) -> re.Match[str] | None:
    """Return the place at which a text names the assistant after the user, as a chat template does."""
    return _ROLES[1].search(text) if all(role.search(text) for role in _ROLES) else None


def _remedy(token: str) -> str:
    lower = token.lower()
    if "ima" in lower or "img" in lower or "vision" in lower:
        return "write <image> in the prompt for each image"
    if lower in ("<bbox>", "<ref-object>"):
        return "objects must hold a box or name for each"
    return "remove it; the model's own template adds what it needs"


def kept_tokens(text: str) -> Iterator[str]:
    """Yield the names of what a text holds that is kept, though it may not be meant as words."""
    if text.isascii() and not any(mark in text for mark in "<[{$"):  # most texts
        return
    for found in KEPT.finditer(text):
        yield _NAMES.get(found[0]) or _MARKUP.get(found[0][:2]) or found[0].lower()
