"""Files nearly as they should be: near-JSON, other layouts, and image paths of other systems."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from raw import pairs, write_images, write_json

from spaces.errors import InputError
from tasks.formats.detect import detect
from tasks.formats.images import ImageFolder
from tasks.formats.raw_example import Accepted, RowError
from tasks.formats.reader import read_items
from tasks.user_data.raw_files import find_files

ROWS = [pairs(0), pairs(1)]
ONE, TWO = map(json.dumps, ROWS)
PRETTY = json.dumps(ROWS[0], indent=1), json.dumps(ROWS[1], indent=1)


@pytest.mark.parametrize(
    "text",
    [
        f"{ONE},\n{TWO},\n",
        f"// by hand\n[{ONE}, /* and */ {TWO}]",
        f"# by hand\n{ONE}\n# more\n{TWO}\n",
        f"[\n{ONE},\n{TWO},\n]\n",
        f"{PRETTY[0]}\n{PRETTY[1]}\n",
        f"{PRETTY[0]},\n{PRETTY[1]}\n",
        f"{PRETTY[0][:-2]},\n}}\n{PRETTY[1]}",
        f"\ufeff[{ONE},{TWO},]",
        f"{ROWS[0]!r}\n{ROWS[1]!r}\n",
        f"[{ROWS[0]!r},\n {ROWS[1]!r}]",
        json.dumps({"0": ROWS[0], "1": ROWS[1]}),
        json.dumps({"data": {"0": ROWS[0], "1": ROWS[1]}}, indent=2),
        json.dumps({"version": 1, "train": ROWS, "dev": ROWS[:1]}),
    ],
)
def test_near_json_is_read_where_it_leaves_no_doubt(text: str, tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    path.write_text(text)
    items = list(read_items(detect(path)))
    asked = [one for item in items if isinstance(item, Accepted) for one in item.examples]
    assert [one.prompt for one in asked] == [row["prompt"] for row in ROWS]
    assert [one.answer for one in asked] == [row["answer"] for row in ROWS]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"prompt": "a"\n "answer": "b"}', "line 2: .*; mend that line"),
        ("\ufeff".encode("utf-16").decode("latin-1"), "UTF-16|UTF-8"),
        ("version https://git-lfs", "pointer of git-lfs"),
        ("", "it is empty"),
    ],
)
def test_a_file_that_is_not_read_says_why(text: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    path.write_text(text)
    with pytest.raises(InputError, match=message):
        detect(path)


@pytest.mark.parametrize("form", ["{}\n{}", "[{},\n{}]"])
def test_a_key_that_comes_twice_refuses_its_row_alone(form: str, tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    path.write_text(form.format(ONE[:-1] + ', "answer": "other"}', TWO))
    first, second = read_items(detect(path, "pairs"))
    assert str(first).endswith('a key is written twice (line 1: key "answer")')
    assert isinstance(second, Accepted)


@pytest.mark.parametrize("names", [["train/0000", "train/0001"], ["default/train/0000"]])
def test_layouts_of_the_hub_and_capitals_are_found(names: list[str], tmp_path: Path) -> None:
    files = [tmp_path / f"{name}.JSONL" for name in names]
    for file in files:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(ONE)
    assert find_files("t", tmp_path) == {"train": tuple(files)}
    link = tmp_path.parent / f"{tmp_path.name}-link"
    link.symlink_to(tmp_path)
    assert len(find_files("t", link)["train"]) == len(files)


def test_missing_shards_and_broken_links_are_refused(tmp_path: Path) -> None:
    write_json(tmp_path / "train-00000-of-00002.json", ROWS)
    with pytest.raises(InputError, match=r"must have all 2 shards .*missing 00001"):
        find_files("t", tmp_path)
    (tmp_path / "test.json").symlink_to("nowhere.json")
    with pytest.raises(InputError, match=r"link to nowhere\.json, which is not there"):
        find_files("t", tmp_path)


def test_splits_in_one_file_are_splits(tmp_path: Path) -> None:
    path = write_json(tmp_path / "train.json", {"train": ROWS, "val": ROWS[:1]})
    assert find_files("t", tmp_path) == {"train": (path,), "validation": (path,)}
    assert len(list(read_items(detect(path, split="validation")))) == 1
    write_json(tmp_path / "test.json", ROWS)
    with pytest.raises(InputError, match=r"train.json holds the splits train, val itself"):
        find_files("t", tmp_path)


def test_paths_of_other_systems_are_read_or_hinted_at(tmp_path: Path) -> None:
    write_images(tmp_path / "my pics", 1)
    folder, image = ImageFolder(tmp_path), (tmp_path / "my pics" / "0.png").read_bytes()
    address = (tmp_path / "my pics" / "0.png").as_uri()
    for written in (
        "my%20pics/0.png",
        ".\\my pics\\0.png",
        address,
        f"file://localhost{address[7:]}",
    ):
        assert folder.read(written) == image
    for written in ("C:\\data\\my pics\\0.png", "/home/me/my pics/0.png"):
        with pytest.raises(RowError) as refused:
            folder.read(written)
        assert 'did you mean "my pics/0.png"' in refused.value.detail
    with pytest.raises(RowError) as refused:
        folder.read("0.png")
    assert 'it is in "my pics"; set images:' in refused.value.detail
