from __future__ import annotations

import base64
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from converting import SPLITS, converted, examples, folder_of, manifest_of, sizes
from PIL import Image
from raw import (
    NAMES,
    coco,
    llava,
    pairs,
    write_good,
    write_images,
    write_json,
    write_yaml,
)
from small import png, row, write_benchmark

from spaces.errors import InputError
from tasks import check_rows, load_benchmark
from tasks.data.manifest import MANIFEST, Manifest
from tasks.user_data.prepared_benchmark import prepare_benchmark, rejected_rows


@pytest.mark.parametrize("name", NAMES)
def test_every_format_becomes_a_task_that_passes_the_checks(name: str, tmp_path: Path) -> None:
    write_good(tmp_path / "t", name, 40)
    task = converted(tmp_path, {"metric": "rouge_l"})
    report = check_rows(load_benchmark(next((tmp_path / "out").glob("*.yaml"))))
    assert not report.broken
    assert report.checked == sum(sizes(task).values()) >= 40
    found = [example for split in examples(task).values() for example in split]
    assert {example.images for example in found} == {(png(n),) for n in range(40)}
    manifest = manifest_of(task)
    assert manifest["sources"][0]["format"] == name
    assert manifest["rows"]["read"] == manifest["rows"]["accepted"] == 40 * (1 + (name == "coco"))
    assert manifest["images"] == 40


def test_captions_are_an_example_each_in_train_and_references_elsewhere(tmp_path: Path) -> None:
    write_images(tmp_path / "t", 6)
    for name in ("captions_train2014.json", "captions_val2014.json", "captions_test2014.json"):
        write_json(tmp_path / "t" / name, coco(6))
    task = converted(tmp_path, {"prompt": "Tell.", "metric": "rouge_l"})
    assert sizes(task) == {"train": 12, "validation": 6, "test": 6}
    assert task.examples("train")[1].answers == ("caption 1",)
    first = task.examples("validation")[0]
    assert (first.prompt, first.answers) == ("Tell.", ("caption 0", "caption 1"))


def test_the_template_is_put_around_every_prompt_and_must_have_its_mark(tmp_path: Path) -> None:
    write_good(tmp_path / "t", "llava", 30)
    task = converted(tmp_path, {"prompt": "{prompt}\nOne word."})
    assert task.examples("train")[0].prompt == "<image>\nWhat is it?\nOne word."
    with pytest.raises(InputError, match=r"prompt must have \{prompt\} in it.*got 'One word"):
        converted(tmp_path, {"prompt": "One word."})


def test_history_system_and_repeated_ids_reach_the_examples(tmp_path: Path) -> None:
    write_images(tmp_path / "t", 1)
    turns = llava(0)["conversations"] * 2
    turns[2] = {"from": "human", "value": "Sure?"}
    row_ = {"id": "same", "images": ["0.png"], "conversations": turns, "system": "Be short."}
    for name in ("train", "val", "test"):
        write_json(tmp_path / "t" / f"{name}.json", [row_, row_])
    own = converted(tmp_path).examples("train")
    assert [e.id for e in own] == ["same-1", "same-2", "same-1#2", "same-2#2"]
    assert own[1].history == (("<image>\nWhat is it?", "cat"),)
    assert (own[1].system, own[1].images) == ("Be short.", (png(0),))


@pytest.fixture
def broken(tmp_path: Path) -> Path:
    """Write a file of 40 good rows, and one row for each fault of images or answers."""
    folder = tmp_path / "t"
    write_images(folder, 40)
    (tmp_path / "outside.png").write_bytes(png(1))
    (folder / "cut.png").write_bytes(png(1)[:150])
    (folder / "text.png").write_text("no image")
    (folder / "folder.png").mkdir()
    Image.new("1", (20_000, 10_000)).save(folder / "bomb.png")
    wrong = [
        *("missing.png", "cut.png", "text.png", "folder.png", "bomb.png", "../outside.png"),
        *("/etc/passwd", "http://host/a.png", "data:image/png;base64,%%%", "a\x00b"),
        *(str(folder / "sub" / ".." / ".." / "outside.png"), 5),
    ]
    data = [pairs(n) for n in range(40)]
    data += [pairs(0) | {"image": image} for image in wrong]
    data += [pairs(0) | {"answer": "", "id": "empty"}, pairs(0) | {"answer": "..."}]
    write_json(folder / "all.json", data)
    return tmp_path


REASONS = {
    "image file is missing": 1,
    "image cannot be decoded": 3,
    "image is no file": 1,
    "image lies outside the image folder": 3,
    "image is an address": 1,
    "data: URI is no base64": 1,
    "image file cannot be read": 1,
    "image is neither a path nor bytes": 1,
    "empty answer": 1,
    "nothing of the answer is left for exact_match": 1,
}


def test_broken_rows_stop_with_one_error_and_skip_broken_leaves_them_out(broken: Path) -> None:
    with pytest.raises(InputError) as error:
        converted(broken)
    lines = str(error.value).splitlines()
    assert len(lines) == 15
    assert lines[0].endswith(
        f"row 40 (id row-40): image file is missing ('{broken}/t/missing.png')"
    )
    assert lines[-1].startswith("14 of 54 rows are broken: 3 image ")
    assert not list((broken / "out").glob("*.yaml"))
    task = converted(broken, skip_broken=True)
    manifest = manifest_of(task)
    assert manifest["reasons"] == REASONS
    assert manifest["rows"] == {"read": 54, "accepted": 40, "rejected": 14, "left_out": 0}
    assert len(list(rejected_rows(folder_of(task)))) == 14
    assert sum(sizes(task).values()) == 40
    assert manifest["images"] == 40


def test_more_than_twenty_broken_rows_are_counted(tmp_path: Path) -> None:
    write_images(tmp_path / "t", 3)
    write_json(tmp_path / "t" / "all.json", [pairs(n) for n in range(30)])
    with pytest.raises(InputError, match="and 7 more: python -m"):
        converted(tmp_path)


def test_absolute_paths_within_the_folder_and_data_uris_are_good(tmp_path: Path) -> None:
    write_images(tmp_path / "pictures", 30)
    uri = "data:image/png;base64," + base64.b64encode(png(99)).decode()
    data = [pairs(n) | {"image": str(tmp_path / "pictures" / f"{n}.png")} for n in range(30)]
    write_json(tmp_path / "t" / "train.json", [*data, pairs(0) | {"image": uri}])
    write_json(tmp_path / "t" / "val.json", data)
    write_json(tmp_path / "t" / "test.json", data)
    task = converted(tmp_path, {"images": "pictures"})
    assert task.examples("train")[30].images == (png(99),)
    assert manifest_of(task)["images"] == 31


def touch_later(path: Path) -> None:
    os.utime(path, ns=(1, time.time_ns() + 10**9))


def test_only_changed_data_are_converted_again(tmp_path: Path) -> None:
    file = write_good(tmp_path / "t", "llava", 30)
    first = converted(tmp_path)
    stamp = (folder_of(first) / MANIFEST).stat().st_mtime_ns
    touch_later(file)  # another time, the same content
    assert converted(tmp_path).files == first.files
    assert (folder_of(first) / MANIFEST).stat().st_mtime_ns == stamp
    (tmp_path / "t" / "3.png").write_bytes(png(77))  # an image has changed, the JSON has not
    second = converted(tmp_path)
    assert folder_of(second) != folder_of(first)
    assert len(first.examples("train")) == len(second.examples("train"))  # the first is still there
    assert second.fingerprint() != first.fingerprint()


def test_the_same_data_elsewhere_have_the_same_fingerprint(tmp_path: Path) -> None:
    for place in ("here", "there"):
        write_good(tmp_path / place / "t", "swift", 30)
    here, there = converted(tmp_path / "here"), converted(tmp_path / "there")
    assert here.fingerprint() == there.fingerprint()
    moved = tmp_path / "moved"
    shutil.copytree(folder_of(here), moved / "t", copy_function=shutil.copy)  # with new times
    (moved / "benchmark.yaml").write_text(
        "tasks: {t: {metric: exact_match, max_new_tokens: 3}}\nname: moved\n"
    )
    assert load_benchmark(moved).task("t").fingerprint() == here.fingerprint()
    file = moved / "t" / "test-00000.arrow"
    file.write_bytes(file.read_bytes().replace(b"cat", b"cow").replace(b"dog", b"fog"))
    assert load_benchmark(moved).task("t").fingerprint() != here.fingerprint()


def test_several_shards_are_one_split(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tasks.user_data.shard_writer.SHARD_BYTES", 2_000)
    monkeypatch.setattr("tasks.user_data.shard_writer.BATCH_BYTES", 500)
    write_good(tmp_path / "t", "llava", 40)
    task = converted(tmp_path)
    assert len(task.files["train"]) > 1 < len(task.images)
    own = [e for split in examples(task).values() for e in split]
    assert {e.id: e.images for e in own} == {f"a{n}": (png(n),) for n in range(40)}
    assert not check_rows(load_benchmark(next((tmp_path / "out").glob("*.yaml")))).broken


def test_shards_are_mapped_and_not_read(tmp_path: Path) -> None:
    draw = random.Random(0)
    folder = tmp_path / "t"
    folder.mkdir()
    for number in range(20):
        Image.frombytes("RGB", (500, 500), draw.randbytes(750_000)).save(folder / f"{number}.bmp")
    data = [pairs(n) | {"image": f"{n}.bmp"} for n in range(20)]
    for name in ("train", "val", "test"):
        write_json(folder / f"{name}.json", data)
    task = converted(tmp_path)
    before = pa.total_allocated_bytes()
    assert len(task.examples("train")[3].images[0]) > 750_000
    assert pa.total_allocated_bytes() - before < 1e6


def flip(path: Path, at: int) -> None:
    """Flip one bit of a file, whose times stay."""
    times, data = path.stat(), bytearray(path.read_bytes())
    data[at] ^= 4
    path.write_bytes(data)
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))


def test_a_damaged_shard_is_made_again_and_never_believed(tmp_path: Path) -> None:
    write_images(tmp_path / "t", 2)
    for name in ("train", "val", "test"):
        write_json(tmp_path / "t" / f"{name}.json", [pairs(0), pairs(1), pairs(0)])
    task = converted(tmp_path)
    good = [list(task.examples(split)) for split in SPLITS]
    for path in (*task.images, *task.files["test"]):
        text = path.read_bytes()
        flip(path, text.find(png(0) if path in task.images else b"square") + 3)
        read = load_benchmark(next((tmp_path / "out").glob("*.yaml"))).task("t").examples("test")
        with pytest.raises(InputError, match=r"damaged or edited: delete .* converted again"):
            list(read)
        prepared = next((tmp_path / "out").glob("*.yaml"))
        assert prepare_benchmark(prepared, tmp_path / "out") == prepared  # from its source
        again = converted(tmp_path)
        assert path.read_bytes() == text
        assert [list(again.examples(split)) for split in SPLITS] == good


def test_a_disk_that_is_full_is_one_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    write_good(tmp_path / "t", "llava")
    with monkeypatch.context() as patch:
        patch.setattr("tasks.user_data.shard_writer.pa.ipc.new_file", full)
        with pytest.raises(InputError, match=r"task t cannot be converted: No space left .* below"):
            converted(tmp_path)


def test_plain_parquet_stays_where_it_is_and_other_columns_are_converted(tmp_path: Path) -> None:
    write_benchmark(tmp_path)
    assert prepare_benchmark(tmp_path, tmp_path / "out") == tmp_path / "benchmark.yaml"
    assert not (tmp_path / "out").exists()
    for split in SPLITS:
        content = [row(n) | {"question": "Is it?"} for n in range(3)]
        for one in content:
            del one["prompt"]
        pq.write_table(pa.Table.from_pylist(content), tmp_path / "left" / f"{split}.parquet")
    path = prepare_benchmark(tmp_path, tmp_path / "out")
    benchmark = load_benchmark(path)
    assert benchmark.task("left").examples("train")[0].prompt == "Is it?"
    assert benchmark.task("right").files["train"] == (tmp_path / "right" / "train.parquet",)
    assert (benchmark.name, benchmark.order) == ("small", ("left", "right"))


def test_saved_hugging_face_datasets_are_found(tmp_path: Path) -> None:
    table = pa.Table.from_pylist([{"question": f"{n}?", "answer": "x"} for n in range(4)])
    for split in ("train", "validation", "test"):
        folder = tmp_path / "t" / split
        folder.mkdir(parents=True)
        (folder / "state.json").write_text("{}")
        (folder / "dataset_info.json").write_text("{}")
        for shard in range(2):
            name = str(folder / f"data-0000{shard}-of-00002.arrow")
            with pa.ipc.new_stream(name, table.schema) as writer:
                writer.write_table(table)
    assert sizes(converted(tmp_path)) == dict.fromkeys(SPLITS, 8)


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({"fromat": "llava"}, 'unknown key "fromat".*did you mean "format"'),
        ({"format": "lava"}, 'task t: unknown format "lava"'),
        ({"images": "nowhere"}, "images must be a folder: no .*nowhere"),
        ({"train": "none.json"}, "train must be a file: no .*none.json"),
        ({"train": 5}, "train must be a file or a list of files: got 5"),
        ({"test": "data.json"}, "no file of the train split; got test"),
        ({"split": {"tset": 0.1}}, 'unknown key of split "tset".*did you mean "test"'),
        ({"split": {"test": 1.5}}, "test must be a share between 0 and 1 or a whole number"),
        ({"split": {"test": 0.6, "validation": 0.5}}, "shares must leave something to train"),
        ({"split": {"seed": "x"}}, "seed must be a whole number"),
        ({"limit": {"dev": 3}}, 'limit: unknown split "dev"'),
        ({"limit": {"train": 0}}, "train must be at least 1 example: got 0"),
        ({"limit": 5}, "limit must hold numbers of examples by split: got 5"),
        ({"split": {"test": 6, "validation": 0.1}}, "every split needs examples, got train 0"),
        ({"prompt": 5}, "prompt must be a text"),
    ],
)
def test_a_wrong_key_of_a_raw_task_is_an_input_error(
    entry: dict[str, Any], message: str, tmp_path: Path
) -> None:
    write_good(tmp_path / "t", "llava")
    with pytest.raises(InputError, match=message):
        converted(tmp_path, entry)


def test_a_folder_that_leaves_open_which_file_is_meant_is_an_input_error(tmp_path: Path) -> None:
    write_good(tmp_path / "t", "llava")
    write_json(tmp_path / "t" / "more.json", [])
    with pytest.raises(InputError, match=r"or at least train: got data\.json, more\.json"):
        converted(tmp_path)
    write_json(tmp_path / "t" / "train.json", [])
    write_json(tmp_path / "t" / "train_2.json", [])
    with pytest.raises(InputError, match="train must be one file, or shards of one"):
        converted(tmp_path)


def test_a_raw_benchmark_that_is_not_converted_names_the_commands_that_convert(
    tmp_path: Path,
) -> None:
    write_good(tmp_path / "t", "llava")
    with pytest.raises(InputError, match="format asks for a conversion, which search"):
        load_benchmark(write_yaml(tmp_path, {"t": {"format": "llava"}}))


CHILD = """
import sys
from pathlib import Path
from tasks.user_data.prepared_benchmark import prepare_benchmark
prepare_benchmark(sys.argv[1], Path(sys.argv[2]))
"""


def killed_when(command: list[str], seen: Callable[[], bool], pause: float) -> bool:
    """Kill a process a moment after `seen` is true; return whether it was still running."""
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    end = time.monotonic() + 60
    while not seen() and process.poll() is None and time.monotonic() < end:
        time.sleep(0.001)
    time.sleep(pause)
    process.send_signal(signal.SIGKILL)
    return process.wait() == -signal.SIGKILL


def test_a_conversion_killed_at_any_moment_leaves_nothing_half_made(tmp_path: Path) -> None:
    write_images(tmp_path / "t", 500)
    write_json(tmp_path / "t" / "all.json", [pairs(n) for n in range(500)])
    yaml, out = write_yaml(tmp_path, {"t": {}}), tmp_path / "out"
    command = [sys.executable, "-c", CHILD, str(yaml), str(out)]
    kills = 0
    for pause in (0.0, 0.02, 0.06, 0.12, 0.25):
        kills += killed_when(command, lambda: bool([*out.glob(".making-*")]), pause)
        for folder in out.glob("t-*"):  # whole, or not there
            manifest = json.loads((folder / MANIFEST).read_text())
            assert manifest["rows"]["accepted"] == 500
    assert kills
    for left in [*out.glob(".making-*"), *out.glob(".making-*/*")]:
        os.utime(left, (0, 0))  # long ago: nobody is at it
    task = converted(tmp_path)
    assert sum(sizes(task).values()) == 500
    assert not list(out.glob(".making-*"))
    shutil.rmtree(out)
    assert converted(tmp_path).fingerprint() == task.fingerprint()


def test_data_with_the_manifest_of_an_older_citune_are_converted_again(tmp_path: Path) -> None:
    write_good(tmp_path / "t", "llava", 30)
    task = converted(tmp_path)
    path = folder_of(task) / MANIFEST
    values = json.loads(path.read_text())
    path.write_text(json.dumps({name: value for name, value in values.items() if name != "schema"}))
    prepared = next((tmp_path / "out").glob("*.yaml"))
    with pytest.raises(InputError, match=r"names no schema.*convert the data again"):
        load_benchmark(prepared)
    again = converted(tmp_path)
    assert again.files == task.files and again.fingerprint() == task.fingerprint()
    assert json.loads(path.read_text())["schema"] == Manifest.SCHEMA
    assert load_benchmark(prepared).task("t").files == task.files
