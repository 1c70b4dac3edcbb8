"""Conversions of data that were mended, cut or damaged, and what others left unfinished."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from converting import SPLITS
from raw import write_good, write_lines, write_yaml

from spaces.errors import InputError
from tasks import load_benchmark
from tasks.formats.detect import detect
from tasks.formats.raw_example import Accepted
from tasks.formats.reader import read_items
from tasks.user_data.prepared_benchmark import prepare_benchmark


@pytest.mark.parametrize("fault", ["missing", "cut"])
def test_a_mended_image_is_taken_at_the_next_start(fault: str, tmp_path: Path) -> None:
    write_good(tmp_path / "t", "llava", 30)
    image = tmp_path / "t" / "3.png"
    whole = image.read_bytes()
    image.unlink() if fault == "missing" else image.write_bytes(whole[:40])
    path = write_yaml(tmp_path, {"t": {}})
    for _ in range(2):
        with pytest.raises(InputError, match="1 of 30 rows are broken"):
            prepare_benchmark(path, tmp_path / "out")
    image.write_bytes(whole)
    found = load_benchmark(prepare_benchmark(path, tmp_path / "out")).task("t")
    assert sum(len(found.examples(split)) for split in SPLITS) == 30


def test_every_row_of_a_parquet_file_is_counted_though_a_row_group_is_damaged(
    tmp_path: Path,
) -> None:
    path = tmp_path / "data.parquet"
    columns = {"question": [f"what {n}?" for n in range(90)], "answer": ["cat", "dog"] * 45}
    pq.write_table(pa.table(columns), path, row_group_size=30, compression="none")
    start = pq.ParquetFile(path).metadata.row_group(1).column(0).dictionary_page_offset
    data = bytearray(path.read_bytes())
    data[start : start + 8] = b"\xff" * 8
    path.write_bytes(bytes(data))
    items = list(read_items(detect(path)))
    accepted = [row for item in items if isinstance(item, Accepted) for row in item.rows]
    rejected = [item.row for item in items if not isinstance(item, Accepted)]
    assert (len(accepted), len(rejected)) == (60, 30)
    assert sorted([*accepted, *rejected]) == list(range(90))


def test_a_list_that_breaks_off_stops_the_search_even_where_broken_rows_may_be_skipped(
    tmp_path: Path,
) -> None:
    file = write_good(tmp_path / "t", "llava", 40)
    file.write_text(file.read_text().replace('{"id": "a20"', '{"id" "a20"'))
    path = write_yaml(tmp_path, {"t": {}}, skip_broken=True)
    with pytest.raises(InputError, match="the file is no JSON from here on"):
        prepare_benchmark(path, tmp_path / "out")


def test_an_unfinished_conversion_of_the_same_process_number_blocks_no_other(
    tmp_path: Path,
) -> None:
    write_good(tmp_path / "t", "llava", 30)
    out = tmp_path / "out"
    left = out / f".making-{socket.gethostname()}-{os.getpid()}-t"
    left.mkdir(parents=True)
    prepare_benchmark(write_yaml(tmp_path, {"t": {}}), out)
    assert left.exists()  # it may be at work
    os.utime(left, (0, 0))
    (tmp_path / "t" / "data.json").touch()
    write_good(tmp_path / "t", "llava", 31)
    prepare_benchmark(tmp_path / "tasks.yaml", out)
    assert not left.exists()


def test_one_question_under_many_ids_lies_in_one_split(tmp_path: Path) -> None:
    rows = [{"id": str(n), "prompt": f"what is {n % 30}?", "answer": "a"} for n in range(300)]
    write_lines(tmp_path / "t" / "data.jsonl", rows)
    path = write_yaml(tmp_path, {"t": {}})
    task = load_benchmark(prepare_benchmark(path, tmp_path / "out")).task("t")
    asked = [{e.prompt for e in task.examples(split)} for split in SPLITS]
    assert all(asked) and not asked[0] & asked[1] and not asked[0] & asked[2]
