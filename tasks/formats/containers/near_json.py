"""JSON with small faults that leave no doubt: trailing commas, comments, single quotes.

A text is first read as JSON. Only where that fails, its bracketed value is found, and read without comments
and trailing commas, else as a Python literal. A text that readers could understand in two ways is a fault.
"""

from __future__ import annotations

import ast
import json
import re
import warnings
from typing import Any

LITERAL = 1 << 22
"""Most characters of a Python literal, whose parser needs some hundred bytes for each."""
_TOKEN = re.compile(
    r'"[^"\\]*(?:\\.[^"\\]*)*"'
    r"|'[^'\\]*(?:\\.[^'\\]*)*'"
    r"|//[^\n]*|/\*(?:[^*]|\*(?!/))*\*/|\#[^\n]*"
    r"|[\[\]{},\"']",
    re.DOTALL,
)


class JsonFault(ValueError):
    """Fault of a JSON text; the message holds the line."""


class KeyTwice(ValueError):
    """Key that an object has twice: of its values, either could be meant."""


def unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Make an object of its members; raise `KeyTwice` if a key comes twice."""
    found = dict(pairs)
    if len(found) < len(pairs):
        keys = [key for key, _ in pairs]
        raise KeyTwice(next(key for key in keys if keys.count(key) > 1))
    return found


DECODER = json.JSONDecoder(object_pairs_hook=unique_keys)


def extent(text: str, at: int) -> int | None:
    """Return the end of the list or object that begins at `at`; None if the text breaks off in it."""
    depth = 0
    for token in _TOKEN.finditer(text, at):
        match token.group():
            case "[" | "{":
                depth += 1
            case "]" | "}":
                depth -= 1
                if depth == 0:
                    return token.end()
            case '"' | "'":  # without an end
                return None
            case _:
                continue
    return None


def without_comments(text: str) -> str:
    """Return the text with blanks for comments and trailing commas; all else keeps its place."""
    parts, at, comma, before = list(text), 0, -1, ""
    for token in _TOKEN.finditer(text):
        found, start = token.group(), token.start()
        if text[at:start].strip():
            comma, before = -1, "value"  # a number or a word between
        at = token.end()
        if found[0] in "/#":
            parts[start:at] = [c if c == "\n" else " " for c in found]
            continue
        if found in "]}" and comma >= 0:
            parts[comma] = " "
        comma = start if found == "," and before not in ("", "[", "{", ",") else -1
        before = found
    return "".join(parts)


def near_value(text: str) -> Any:
    """Parse a bracketed value with small faults; raise `ValueError` if it is none.

    Raises `KeyTwice` for a key that comes twice.
    """
    plain = without_comments(text)
    try:
        return DECODER.decode(plain)
    except KeyTwice:
        raise
    except (ValueError, RecursionError):
        return _literal(plain)


def _literal(text: str) -> Any:
    """Parse what Python prints for a row: single quotes, True, None."""
    if len(text) > LITERAL or "'" not in text or _joins_texts(text):
        raise ValueError("no Python literal")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # an escape that only Python knows, and only so far
            tree = ast.parse(text.strip(), mode="eval")
        return _plain(tree.body)
    except (SyntaxError, RecursionError, MemoryError) as error:
        raise ValueError("no Python literal") from error


def _joins_texts(text: str) -> bool:
    """Return whether Python would join two texts, or read one by a prefix: a comma may be missing."""
    end, was_text = 0, False
    for token in _TOKEN.finditer(text):
        gap, is_text = text[end : token.start()], token.group()[0] in "\"'"
        if is_text and ((was_text and not gap.strip()) or gap[-1:].isalnum()):
            return True
        end, was_text = token.end(), is_text
    return False


def _plain(node: ast.expr) -> Any:
    """Return the value of a literal that JSON could hold too; raise `ValueError` for any other."""
    match node:
        case ast.Dict():
            keys = [_key(key) for key in node.keys]
            return unique_keys(list(zip(keys, map(_plain, node.values), strict=True)))
        case ast.List():
            return [_plain(one) for one in node.elts]
        case ast.Constant(value=None | bool() | int() | float() | str()):
            return node.value
        case ast.UnaryOp(op=ast.USub(), operand=ast.Constant(value=int() | float() as number)):
            return -number
        case ast.Name(id="true" | "false" | "null" as name):
            return {"true": True, "false": False, "null": None}[name]
    raise ValueError("no value of JSON")


def _key(node: ast.expr | None) -> str:
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    raise ValueError("no key of JSON")
