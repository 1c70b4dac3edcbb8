"""Secrets in addresses: never shown or saved, and refused in a plan.

An address may hold a password (`https://user:password@host`, `s3://KEY:SECRET@bucket`) or a token in its
query (`?token=...`). These belong in the environment, or in a login of the tool that reads the address.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

HIDDEN = "***"
"""Text that is shown in place of a secret."""
_SCHEME = r"(?P<scheme>[a-zA-Z][a-zA-Z0-9+.-]{1,30}:/{1,3})"  # a `Path` leaves one slash of two
_PASSWORD = re.compile(
    # An IPv6 host, a port, or a drive of Windows follows a colon, too, and is no secret.
    rf"{_SCHEME}(?P<user>[^\s/:@\"'<>\[]*):(?!\d{{1,5}}(?:[/?#\s\"'),;>]|$)|[/\\])"
    r"(?P<secret>(?:[^\s\"'<>]*@)|[^\s\"'<>]+)"
)
_USER = re.compile(rf"{_SCHEME}(?P<secret>[^\s/:@\"'<>]+@)")
_QUERY = re.compile(
    r"(?P<name>[?&;#](?:[\w.%-]{0,40}(?:token|secret|passw|signature|credential|api[_-]?key|access[_-]?key"
    r"|access[_-]?id|auth)[\w.%-]{0,40}|key|sig|pwd))=(?P<secret>[^&;\s\"'<>#]+)",
    re.IGNORECASE,
)


def masked(text: str) -> str:
    """Return a text with `HIDDEN` for each password and token of an address in it."""
    if "=" not in text and ":/" not in text:
        return text
    text = _PASSWORD.sub(_hide_password, text)
    # Every ssh address of git has the user `git`.
    text = _USER.sub(lambda m: m[0] if m["secret"] == "git@" else f"{m['scheme']}{HIDDEN}@", text)
    return _QUERY.sub(lambda m: f"{m['name']}={HIDDEN}", text)


def holds_secret(text: str) -> bool:
    """Return whether an address in a text holds a password or a token."""
    return masked(text) != text


def secret_places(values: Any, place: str = "") -> Iterable[str]:
    """Yield the place of each address with a secret in nested values, such as `training.note`."""
    if isinstance(values, str) and holds_secret(values):
        yield place
    elif isinstance(values, Mapping):
        for name, value in values.items():
            yield from secret_places(str(name), masked(f"{place}.{name}").lstrip("."))
            yield from secret_places(value, masked(f"{place}.{name}").lstrip("."))
    elif isinstance(values, list | tuple):
        for number, value in enumerate(values):
            yield from secret_places(value, f"{place}.{number}".lstrip("."))


def _hide_password(found: re.Match[str]) -> str:
    end = "@" if found["secret"].endswith("@") else ""
    return f"{found['scheme']}{HIDDEN}{end}"
