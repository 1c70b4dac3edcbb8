from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from raw import (
    NAMES,
    ROWS,
    coco,
    llava,
    pairs,
    write_good,
    write_images,
    write_json,
    write_lines,
    write_yaml,
)
from small import png
from tokenizers import Tokenizer, models, pre_tokenizers

from spaces import InputError
from tasks.user_data.prepared_benchmark import prepare_benchmark
from tasks.validate import main


def broken_rows(name: str) -> list[Any]:
    """Make good rows 0 to 2, then one without an answer, one without its image file, and no object."""
    rows: list[Any] = [ROWS[name](number) for number in range(5)]
    if name in ("llava", "sharegpt"):
        rows[3]["conversations"][1]["value"] = ""
    elif name == "swift":
        rows[3]["messages"][1]["content"] = ""
    elif name == "table":
        rows[3]["answers"] = [""]
        rows[4]["image"] = {"bytes": None, "path": "missing.png"}
        return rows
    else:
        rows[3]["answer"] = ""
    rows[4] |= {"images": ["missing.png"]} if "images" in rows[4] else {"image": "missing.png"}
    return [*rows, "no object"]


def write_broken(folder: Path, name: str) -> None:
    write_images(folder, 4)
    if name == "coco":
        data = coco(5)
        data["annotations"][6]["caption"] = ""
        data["annotations"].append("no object")
        write_json(folder / "data.json", data)
    elif name == "table":
        pq.write_table(pa.Table.from_pylist(broken_rows(name)), folder / "data.parquet")
    else:
        write_lines(folder / "data.jsonl", broken_rows(name))


@pytest.mark.parametrize("name", NAMES)
def test_a_good_folder_of_every_format_is_reported_with_status_0(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_good(tmp_path, name)
    assert main([str(tmp_path)]) == 0
    out = capsys.readouterr().out
    assert f"format      {name}: " in out
    rows = 12 if name == "coco" else 6
    assert f"{rows} read, {rows} accepted, 0 rejected; 6 examples" in out
    assert "images      6 in examples, 6 distinct" in out
    assert "image width: 32 / 32 / 32" in out
    assert "PNG RGB 6" in out
    assert out.endswith("rejected    none\n")


@pytest.mark.parametrize("name", NAMES)
def test_a_broken_folder_of_every_format_names_its_rows_with_status_1(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_broken(tmp_path / "data", name)
    into = tmp_path / "rejected.jsonl"
    assert main([str(tmp_path / "data"), "--rejected", str(into)]) == 1
    out = capsys.readouterr().out
    lines = [json.loads(line) for line in into.read_text().splitlines()]
    found = sorted((line["row"], line["reason"]) for line in lines)
    if name == "coco":
        missing = "image file is missing"
        wrong = [(6, "empty caption"), (8, missing), (9, missing), (10, "the row is no object")]
    else:
        wrong = [(3, "empty answer"), (4, "image file is missing")]
        wrong += [(5, "the row is no object")] * (name != "table")
    assert found == wrong
    for row, reason in wrong:
        assert re.search(rf"row {row} .*{reason}|row {row}: {reason}", out)
    assert f"rejected    {len(wrong)}" in out


def test_only_the_first_twenty_are_named_and_all_are_counted_and_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write_json(tmp_path / "x.json", [pairs(n) for n in range(50)])
    into = tmp_path / "rejected.jsonl"
    assert main([str(path), "--rejected", str(into)]) == 1
    out = capsys.readouterr().out
    assert out.count("x.json row ") == 20
    assert "... and 30 more" in out
    assert "      50  image file is missing" in out
    assert len(into.read_text().splitlines()) == 50


def test_a_folder_of_several_formats_is_reported_file_by_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_images(tmp_path, 4)
    write_json(tmp_path / "train.json", [ROWS["llava"](n) for n in range(4)])
    write_json(tmp_path / "test.json", [ROWS["coin"](n) for n in range(3)])
    write_json(tmp_path / "notes.json", {"a": 1})
    assert main([str(tmp_path)]) == 1
    out = capsys.readouterr().out
    assert "format      llava" in out and "format      coin" in out
    assert "train: 4 rows, 4 examples in 1 files" in out
    assert "test: 3 rows, 3 examples in 1 files" in out
    assert re.search(r"not read    .*notes\.json is in no known format", out)


def test_repeated_examples_ids_and_common_answers_are_counted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_images(tmp_path, 2)
    rows = [pairs(0) | {"id": 1}, pairs(0) | {"id": 1}, pairs(1) | {"id": 2}]
    assert main([str(write_json(tmp_path / "x.json", rows))]) == 0
    out = capsys.readouterr().out
    assert "repeated    1 examples, 1 ids" in out
    assert "2 distinct; most common: 'cat' 2, 'dog' 1" in out
    assert "images      3 in examples, 2 distinct" in out


def test_lengths_are_in_words_characters_and_the_models_tokens(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tokenizer = Tokenizer(models.WordLevel({"?": 0}, unk_token="?"))
    tokenizer.pre_tokenizer = pre_tokenizers.Split("e", "isolated")  # type: ignore[assignment]
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    rows = [{"prompt": "we see", "answer": "yes"}, {"prompt": "a b c", "answer": "no"}]
    path = write_json(tmp_path / "x.json", rows)
    assert main([str(path), "--model", str(tmp_path)]) == 0
    out = capsys.readouterr().out
    assert "prompt words: 2 / 2.5 / 3" in out
    assert "prompt characters: 5 / 5.5 / 6" in out
    assert "prompt tokens: 1 / 3 / 5" in out  # w e _s e e
    assert main([str(path), "--model", str(tmp_path / "none")]) == 2
    assert "must be a folder with a tokenizer.json" in capsys.readouterr().err


def test_the_page_holds_thumbnails_and_escapes_what_comes_from_the_data(tmp_path: Path) -> None:
    write_images(tmp_path, 1)
    bad = "<script>alert(1)</script>"
    rows = [pairs(0) | {"prompt": bad, "answer": bad, "id": bad}]
    rows += [pairs(0) | {"answer": "", "id": "<b>"}]
    path, out = write_json(tmp_path / "x.json", rows), tmp_path / "page.html"
    assert main([str(path), "--html", str(out)]) == 1
    page = out.read_text()
    assert "<script" not in page and "<b>)" not in page
    assert page.count("&lt;script&gt;alert(1)&lt;/script&gt;") >= 3
    assert page.count('<img alt="image" src="data:image/png;base64,') == 1
    assert not re.search(r'(src|href)="(?!data:)', page)


def test_the_page_shows_six_examples_of_a_file(tmp_path: Path) -> None:
    write_good(tmp_path / "data", "pairs", 9)
    page = tmp_path / "page.html"
    assert main([str(tmp_path / "data"), "--html", str(page)]) == 0
    assert page.read_text().count("<article>") == 6


def test_a_benchmark_is_inspected_task_by_task_with_its_metrics(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_good(tmp_path / "a", "llava")
    write_images(tmp_path / "b", 2)
    write_json(tmp_path / "b" / "all.json", [pairs(0), pairs(1) | {"answer": "..."}])
    path = write_yaml(tmp_path, {"a": {}, "b": {"path": "b/all.json"}})
    assert main([str(path)]) == 1
    out = capsys.readouterr().out
    assert "a/train: 6 rows, 6 examples in 1 files" in out
    assert "nothing of the answer is left for exact_match" in out


def test_the_folder_of_a_benchmark_is_its_yaml_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_good(tmp_path / "a", "llava")
    write_good(tmp_path / "b", "pairs")
    write_yaml(tmp_path, {"a": {}, "b": {}}).rename(tmp_path / "benchmark.yaml")
    assert main([str(tmp_path)]) == 0
    out = capsys.readouterr().out
    assert "a/train: 6 rows, 6 examples in 1 files" in out
    assert "b/train: 6 rows" in out


@pytest.mark.parametrize(
    ("entry", "more", "message"),
    [
        ({"metric": "exact"}, {}, r"task a: .*did you mean \"exact_match\""),
        ({"max_new_tokens": 0}, {}, "task a: max_new_tokens must be at least 1"),
        ({"answer_format": "lettre"}, {}, "task a: .*letter"),
        ({"closed": "no"}, {}, "task a: closed must be true or false"),
        ({}, {"order": ["b"]}, "order: .*task"),
    ],
)
def test_a_benchmark_file_is_checked_before_its_data_are_read(
    entry: dict[str, Any],
    more: dict[str, Any],
    message: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    write_good(tmp_path / "a", "llava")
    path = write_yaml(tmp_path, {"a": entry}, **more)
    assert main([str(path)]) == 2
    assert re.search(rf"error: {re.escape(str(path))}: .*{message}", capsys.readouterr().err)
    with pytest.raises(InputError, match=message):
        prepare_benchmark(path, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_flags_override_what_is_detected(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write_json(tmp_path / "x.json", [pairs(n) for n in range(4)])
    (tmp_path / "p").mkdir()
    for number in range(2):
        (tmp_path / "p" / f"{number}.png").write_bytes(png(number))
    assert main([str(path), "--images", str(tmp_path / "p"), "--limit", "2"]) == 0
    assert "2 read, 2 accepted" in capsys.readouterr().out
    assert main([str(path), "--format", "llava"]) == 1
    assert "format      llava: " in capsys.readouterr().out


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["nowhere"], "must be a data file, a folder or a YAML file"),
        (["."], "holds no data file"),
        (["x.json", "--format", "lava"], 'did you mean "llava"'),
        (["x.json", "--images", "nowhere"], "--images must be a folder"),
        (["x.json", "--limit", "0"], "--limit must be at least 1 row"),
        (["x.json", "--html", "no/where.html"], "cannot be written"),
        (["empty.json"], "must be a JSON list"),
        (["other.json"], "in no known format"),
        (["none.yaml"], "does not exist"),
    ],
)
def test_an_argument_that_cannot_be_used_is_one_message_and_status_2(
    args: list[str],
    message: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (tmp_path / "x").mkdir()
    write_json(tmp_path / "x" / "x.json", [{"prompt": "p", "answer": "a"}])
    write_json(tmp_path / "x" / "other.json", [{"a": 1}])
    (tmp_path / "x" / "empty.json").write_text("")
    monkeypatch.chdir(tmp_path if args == ["."] else tmp_path / "x")
    if args == ["."]:
        (tmp_path / "x" / "x.json").rename(tmp_path / "x.txt")
    assert main(args) == 2
    captured = capsys.readouterr()
    assert captured.err.startswith("error: ") and message in captured.err
    assert "Traceback" not in captured.err


def test_a_benchmarks_template_counts_as_it_does_in_the_conversion(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_images(tmp_path / "t", 30)
    rows = [llava(n) for n in range(30)]
    for row in rows:
        row["conversations"][0]["value"] = "<image>"
    write_json(tmp_path / "t" / "data.json", rows)
    path = write_yaml(tmp_path, {"t": {"prompt": "{prompt}\nWhat is it?"}})
    assert main([str(path)]) == 0
    prepare_benchmark(path, tmp_path / "out")
    assert main([str(tmp_path / "t")]) == 1
    assert "30  empty prompt" in capsys.readouterr().out


def test_a_reader_that_closes_the_output_early_is_no_error(tmp_path: Path) -> None:
    file = write_json(tmp_path / "data.json", [{"prompt": "é?", "answer": "ü"} for _ in range(9)])
    command = f"{sys.executable} -m tasks.validate {file} | head -1"
    environment = {"PYTHONPATH": str(Path(__file__).parents[2]), "PYTHONIOENCODING": "ascii"}
    done = subprocess.run(
        command, shell=True, env={**os.environ, **environment}, capture_output=True, text=True
    )
    assert "Traceback" not in done.stderr and "Error" not in done.stderr
