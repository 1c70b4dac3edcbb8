"""YAML files that users write, read so that nothing in them vanishes or changes its meaning.

Scalars are read as YAML 1.2 reads them, and a little more strictly. `yes`, `no`, `on`, `off`, dates and
1:30 are texts, 1e-4 is a number. Integers with a leading zero are refused, for YAML 1.1 reads 010 as 8.
Keys are texts and are written once. Aliases and merge keys are followed as far as the whole stays small.
"""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any

import yaml
from yaml.constructor import ConstructorError

from spaces.errors import InputError, plain, shortened, shown
from spaces.paths import check_path

MOST_BYTES = 1 << 20
"""Size of a file that a person writes; one of results may be larger."""
MOST_DEPTH = 30
"""Levels of lists and mappings within one another."""
MOST_NODES = 1 << 16
"""Nodes that aliases may repeat in all."""
MOST_DIGITS = 300
"""Digits of an integer."""

_TAG = "tag:yaml.org,2002:"
_NULL = re.compile(r"(?:~|null|Null|NULL|)\Z")
_TRUTH = re.compile(r"(?:true|True|TRUE|false|False|FALSE)\Z")
_INTEGER = re.compile(
    r"[-+]?(?:[0-9]+|[1-9][0-9]{0,2}(?:_[0-9]{3})+|0x[0-9a-fA-F]+|0o[0-7]+|0b[01]+)\Z"
)
_NUMBER = re.compile(
    r"[-+]?(?:[0-9]+\.[0-9]*(?:[eE][-+]?[0-9]+)?|\.[0-9]+(?:[eE][-+]?[0-9]+)?|[0-9]+[eE][-+]?[0-9]+"
    r"|\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))\Z"
)
_WORDS = {"yes": True, "on": True, "no": False, "off": False}


def read_yaml(path: Path, most_bytes: int = MOST_BYTES) -> Any:
    """Parse the one document of a YAML file; raise `InputError`, which names the line, for any fault."""
    check_path(path, "a YAML file")
    try:
        with path.open("rb") as file:
            content = file.read(most_bytes + 1)
    except OSError as error:
        raise InputError(f'"{path}" cannot be read: {error.strerror}') from error
    if len(content) > most_bytes:
        raise InputError(
            f'"{path}" must be YAML of at most {most_bytes >> 20} MB, and is larger: is it another file?'
        )
    return parse_yaml(content, f'"{path}"')


def parse_yaml(content: bytes | str, source: str) -> Any:
    """Parse YAML; raise `InputError`, which begins with `source` and names the line, for any fault."""
    try:
        text = content if isinstance(content, str) else _decoded(content)
        loader = _Loader(text)
        try:
            return loader.get_single_data()
        finally:
            loader.dispose()
    except (yaml.YAMLError, UnicodeError, RecursionError) as error:
        raise InputError(f"{source} must be YAML: {_fault(error, content)}") from error


def write_yaml(values: Any) -> str:
    """Return YAML that `read_yaml` reads as the same values."""
    return yaml.dump(values, Dumper=_Dumper, sort_keys=False, allow_unicode=True)


class Word(str):
    """Text without quotes that some readers of YAML take for a truth value: yes, no, on or off."""


def truth(value: object) -> object:
    """Return the truth value that a `Word` stands for; other values stay as they are."""
    return _WORDS[value.lower()] if isinstance(value, Word) else value


def _decoded(content: bytes) -> str:
    if content[:2] in (b"\xff\xfe", b"\xfe\xff"):  # as some editors and shells of Windows write
        return content.decode("utf-16")
    return content.decode("utf-8-sig")


def _fault(error: Exception, content: bytes | str) -> str:
    """Say in one line what is wrong, and where."""
    if isinstance(error, UnicodeDecodeError) and isinstance(content, bytes):
        line = content[: error.start].count(b"\n") + 1
        return f"line {line} is not UTF-8; save it as UTF-8"
    if isinstance(error, RecursionError):
        return f"it must have at most {MOST_DEPTH} levels"
    if isinstance(error, yaml.reader.ReaderError):
        text = content if isinstance(content, str) else content.decode("utf-8", "replace")
        code = error.character if isinstance(error.character, int) else 0
        line = text[: text.find(chr(code)) + 1].count("\n") + 1
        return f"line {line} holds the control character {code:#04x}, which must go"
    mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    place = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
    problem = plain(" ".join(str(getattr(error, "problem", None) or error).split()))
    if "'\\t'" in problem or "'\\\\t'" in problem:
        problem = "a tab begins a value, and YAML is indented by blanks"
    return f"{place}{shortened(problem, 300)}"


class _Loader(yaml.SafeLoader):
    """Loader of plain values alone, of bounded depth and size."""

    yaml_implicit_resolvers = {}  # noqa: RUF012  # PyYAML's own way to add to a class
    yaml_constructors = {}  # noqa: RUF012

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self._depth = self._repeated = 0
        self._sizes: dict[int, int] = {}
        """Nodes in each node that is complete, itself included."""

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        """Compose a node within bounds; the keys of a mapping are texts that differ."""
        event = self.peek_event()
        self._depth += 1
        if self._depth > MOST_DEPTH:
            raise _refused(f"there must be at most {MOST_DEPTH} levels", event.start_mark)
        node = super().compose_node(parent, index)
        self._depth -= 1
        if isinstance(event, yaml.AliasEvent):
            self._follow(node, event)
        elif node is not None:
            if isinstance(node, yaml.MappingNode):
                _check_keys(node)
            self._sizes[id(node)] = 1 + sum(self._sizes[id(part)] for part in _parts(node))
        return node

    def _follow(self, node: yaml.Node | None, alias: yaml.AliasEvent) -> None:
        """Count what an alias repeats: a few lines can stand for billions of values."""
        if id(node) not in self._sizes:  # it is not complete: it would hold itself
            raise _refused(f"*{alias.anchor} must not hold itself", alias.start_mark)
        self._repeated += self._sizes[id(node)]
        if self._repeated > MOST_NODES:
            raise _refused(f"aliases must repeat at most {MOST_NODES:,} values", alias.start_mark)

    def construct_integer(self, node: yaml.ScalarNode) -> int:
        """Return an integer that every reader of YAML takes for the same."""
        text = str(self.construct_scalar(node))
        digits = text.lstrip("+-")
        if not _INTEGER.match(text) or len(digits) > MOST_DIGITS:
            raise _refused(f"{shown(text)} must be a whole number", node.start_mark)
        if len(digits) > 1 and digits.isdecimal() and digits[0] == "0":
            raise _refused(
                f"a number must not begin with 0, got {shortened(text)}: write it without the zero, or "
                "in quotes as a text",
                node.start_mark,
            )
        return int(text, 0)

    def construct_number(self, node: yaml.ScalarNode) -> float:
        """Return a floating-point number; one that is too large is no infinity."""
        text = str(self.construct_scalar(node))
        special = text.lower().lstrip("+-").removeprefix(".")
        if special in ("inf", "nan"):
            return float(text[0].replace(".", "") + special)
        try:
            value = float(text)
        except ValueError:
            value = math.inf
        if not math.isfinite(value):
            raise _refused(f"{shown(text)} must be a finite number", node.start_mark)
        return value

    def construct_text(self, node: yaml.ScalarNode) -> str:
        """Return a text."""
        text = str(self.construct_scalar(node))
        return Word(text) if node.style is None and text.lower() in _WORDS else text

    def construct_truth(self, node: yaml.ScalarNode) -> bool:
        """Return true or false."""
        text = str(self.construct_scalar(node))
        if not _TRUTH.match(text):
            raise _refused(f"{shown(text)} must be true or false", node.start_mark)
        return text.lower() == "true"

    def refuse_tag(self, node: yaml.Node) -> Any:
        """Raise an error for a tag that asks for something else than plain values."""
        raise _refused(f"the tag {shown(node.tag)} must go", node.start_mark)


def _check_keys(node: yaml.MappingNode) -> None:
    """Refuse keys that are no texts or written twice: a reader would drop one, or change it."""
    lines: dict[str, int] = {}
    for key, _ in node.value:
        if not isinstance(key, yaml.ScalarNode) or key.tag not in (f"{_TAG}str", f"{_TAG}merge"):
            value = key.value if isinstance(key, yaml.ScalarNode) else "a list or mapping"
            value = value.capitalize() if key.tag == f"{_TAG}bool" else shortened(plain(value))
            raise _refused(f"a key must be a text, got {value}; put it in quotes", key.start_mark)
        line = key.start_mark.line + 1
        if key.value in lines:
            raise _refused(
                f"{shortened(plain(key.value))} must be written once, got twice: in lines "
                f"{lines[key.value]} and {line}",
                key.start_mark,
            )
        lines[key.value] = line


def _parts(node: yaml.Node) -> list[yaml.Node]:
    """Return the nodes that a collection holds."""
    if isinstance(node, yaml.MappingNode):
        return [part for pair in node.value for part in pair]
    return node.value if isinstance(node, yaml.SequenceNode) else []


def _refused(problem: str, mark: Any) -> ConstructorError:
    return ConstructorError(None, None, problem, mark)


class _Dumper(yaml.SafeDumper):
    """Dumper that quotes each text which a reader of YAML 1.1 or 1.2 takes for something else."""

    yaml_implicit_resolvers = {  # noqa: RUF012
        first: list(known) for first, known in yaml.SafeDumper.yaml_implicit_resolvers.items()
    }

    def ignore_aliases(self, data: Any) -> bool:
        """Write repeated values out."""
        return True


_FIRST = list("-+.0123456789")
for _kind in (_Loader, _Dumper):
    _kind.add_implicit_resolver(f"{_TAG}null", _NULL, ["~", "n", "N", ""])
    _kind.add_implicit_resolver(f"{_TAG}bool", _TRUTH, list("tTfF"))
    _kind.add_implicit_resolver(f"{_TAG}int", _INTEGER, _FIRST)
    _kind.add_implicit_resolver(f"{_TAG}float", _NUMBER, _FIRST)
_Loader.add_implicit_resolver(f"{_TAG}merge", re.compile(r"<<\Z"), ["<"])
for _name, _construct in (
    ("null", yaml.SafeLoader.construct_yaml_null),
    ("bool", _Loader.construct_truth),
    ("int", _Loader.construct_integer),
    ("float", _Loader.construct_number),
    ("str", _Loader.construct_text),
    ("seq", yaml.SafeLoader.construct_yaml_seq),
    ("map", yaml.SafeLoader.construct_yaml_map),
):
    _Loader.add_constructor(f"{_TAG}{_name}", _construct)
_Dumper.add_representer(Word, yaml.SafeDumper.represent_str)
_Loader.add_constructor(None, _Loader.refuse_tag)  # type: ignore[arg-type]  # any other tag
