"""Flags of the commands: a wrong one is one line with the nearest valid flag, and none is abbreviated."""

from __future__ import annotations

import argparse
import math
import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn

from spaces.errors import InputError, listed, nearest, plain, shortened, shown
from spaces.paths import user_path


class Parser(argparse.ArgumentParser):
    """Parser whose flags are written whole, once, and with a value that is not empty."""

    def __init__(self, **options: Any) -> None:
        super().__init__(allow_abbrev=False, **options)
        self.register("action", None, _StoreOnce)
        self.register("action", "store", _StoreOnce)

    def parse_args(  # type: ignore[override]  # the same, without a namespace of the caller
        self, args: Sequence[str] | None = None, namespace: None = None
    ) -> argparse.Namespace:
        """Return the flags' values; exit with status 2 and one line for a mistake."""
        parsed, others = self.parse_known_args(args, argparse.Namespace())
        if others:
            self.error(self._stranger(others[0]))
        vars(parsed).pop(_GIVEN, None)
        return parsed

    def error(self, message: str) -> NoReturn:
        """Print one line and exit with status 2."""
        line = f"error: {_in_plain_words(message)} (all flags: {self.prog} --help)"
        print(line, file=sys.stderr)
        raise SystemExit(2)

    def _stranger(self, text: str) -> str:
        """Say that a flag is unknown, or a value too many, and which flag may be meant."""
        if not text.startswith("-"):
            return f"there is no place for {shown(text)}: a value follows its flag, with blanks in quotes"
        flag = text.partition("=")[0]
        known = [f for f in self._option_string_actions if f.startswith("--")]
        longer = [f for f in known if f.startswith(flag)] if len(flag) > 2 else []
        if longer:
            return f'unknown flag "{flag}" — did you mean {" or ".join(longer)}?'
        name = shortened(plain(flag))
        return f'unknown flag "{name}"{nearest(flag, known) or f"; known: {listed(known)}"}'


_GIVEN = "_given"


class _StoreOnce(argparse.Action):
    """Action that keeps a flag's value, and refuses a second one: the first would vanish."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: Any,
        option_string: str | None = None,
    ) -> None:
        given = vars(namespace).setdefault(_GIVEN, set())
        if option_string and self.dest in given:
            raise argparse.ArgumentError(self, "must be given once, got twice")
        given.add(self.dest)
        setattr(namespace, self.dest, values)


def _in_plain_words(message: str) -> str:
    """Return argparse's message in the words of the other errors."""
    message = message.replace("the following arguments are required:", "this must be given:")
    found = re.fullmatch(r"argument (\S+): (.*)", message, re.DOTALL)
    if not found:
        return shortened(plain(message), 900)
    flag, problem = found[1].split("/")[0], found[2]
    problem = re.sub(r"^expected (one|at least one) argument$", "needs a value", problem)
    choice = re.fullmatch(r"invalid choice: (.*?) \(choose from (.*)\)", problem, re.DOTALL)
    if choice:
        got, known = choice[1].strip("'"), re.findall(r"[\w.+-]+", choice[2])
        problem = f"must be one of {', '.join(known)}, got {shown(got)}{nearest(got, known)}"
    return shortened(plain(f"{flag} {problem}"), 900)


IT = "it"
"""Beginning of an error that stands behind its flag's name, where it says nothing."""


def flag_type(read: Callable[[str], Any]) -> Callable[[str], Any]:
    """Return the type of a flag: `read`, whose `InputError` becomes the flag's, for texts of one line."""

    def convert(text: str) -> Any:
        try:
            if not text.strip():
                raise InputError("needs a value, got an empty text")
            return read(text)
        except InputError as error:
            raise argparse.ArgumentTypeError(str(error).removeprefix(f"{IT} ")) from error

    return convert


def _whole(text: str) -> int:
    if not re.fullmatch(r"\s*[-+]?[0-9]{1,300}\s*", text):
        raise InputError(f"must be a whole number, got {shown(text)}")
    return int(text)


def _number(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value) or "_" in text:
        raise InputError(f"must be a number, got {shown(text)}")
    return value


_UNITS = {"d": 86400, "h": 3600, "m": 60, "s": 1}
_NAMES = {"day": "d", "hour": "h", "hr": "h", "minute": "m", "min": "m", "second": "s", "sec": "s"}


def read_duration(text: str) -> float:
    """Return the seconds of a text such as 90, 45s, 90m, 2h, 1.5h, 1h30m or 2d; raises `InputError`."""
    short = re.sub(r"\s+", "", text.lower())
    short = re.sub(r"([a-z]+)", lambda w: _NAMES.get(w[0].removesuffix("s"), w[0]), short)
    parts = re.findall(r"([0-9]{1,15}(?:\.[0-9]{0,15})?|\.[0-9]{1,15})([dhms])", short)
    units = [unit for _, unit in parts]
    if (
        short
        and "".join(map("".join, parts)) == short
        and units == sorted(set(units), key="dhms".index)
    ):
        return sum(float(count) * _UNITS[unit] for count, unit in parts)
    try:
        return _number(text)
    except InputError:
        raise InputError(
            f"must be a time such as 90m, 2h, 1h30m or 5400 (seconds), got {shown(text)}"
        ) from None


text_flag = flag_type(str)
"""Type of a flag that takes any text but an empty one."""
whole_flag = flag_type(_whole)
"""Type of a flag that takes a whole number."""
number_flag = flag_type(_number)
"""Type of a flag that takes a finite number."""
time_flag = flag_type(read_duration)
"""Type of a flag that takes a time."""
path_flag: Callable[[str], Path] = flag_type(lambda text: user_path(text, IT))
"""Type of a flag that takes a path."""
