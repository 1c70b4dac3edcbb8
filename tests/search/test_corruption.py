"""Every kind of damage in every kind of file of a storage: found, said, and made again as it was."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import pytest
from corruption import DAMAGES, KINDS, Bench, without_ray
from toy import Toy


@pytest.fixture(scope="module")
def bench(toy: Toy, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    with pytest.MonkeyPatch.context() as patch:
        without_ray(patch)
        yield Bench(tmp_path_factory.mktemp("corruption"), toy)


@pytest.fixture(scope="module")
def table(bench: Bench) -> Iterator[list[str]]:
    """Return the rows of the table, which is printed after all of them."""
    rows: list[str] = []
    yield rows
    heads = [f"| file | {' | '.join(DAMAGES)} |", f"|{' --- |' * (len(DAMAGES) + 1)}"]
    print("", *heads, *rows, sep="\n", file=sys.__stdout__, flush=True)


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_every_damage_of_a_file_is_found_said_and_mended(
    bench: Bench, table: list[str], kind: str
) -> None:
    cells, failed = [], []
    for damage in DAMAGES:
        try:
            cells.append(bench.outcome(kind, damage))
        except Exception as error:  # the table shows all of them
            failed.append(f"{damage}: {error!r}")
            cells.append("WRONG")
    table.append(f"| {kind} | {' | '.join(cells)} |")
    assert not failed, "\n".join(failed)
