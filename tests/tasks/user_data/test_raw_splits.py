from __future__ import annotations

import shutil
from pathlib import Path

from converting import converted, examples, manifest_of, sizes
from raw import llava, pairs, write_images, write_json


def test_an_image_of_many_questions_is_stored_once_and_lies_in_one_split(tmp_path: Path) -> None:
    write_images(tmp_path / "t", 30)
    shutil.copy(tmp_path / "t" / "0.png", tmp_path / "t" / "copy.png")
    data = [pairs(n % 30) | {"id": n, "prompt": f"Question {n}?"} for n in range(150)]
    data += [pairs(0) | {"id": "copy", "image": "copy.png"}]
    write_json(tmp_path / "t" / "all.json", data)
    task = converted(tmp_path)
    assert manifest_of(task)["images"] == 30
    images = {split: {e.images for e in own} for split, own in examples(task).items()}
    assert sum(map(len, images.values())) == 30
    assert all(images.values())


def test_examples_that_share_images_stay_in_one_split(tmp_path: Path) -> None:
    write_images(tmp_path / "t", 40)
    data = [pairs(n) | {"image": [f"{n}.png", f"{n - n % 4}.png"]} for n in range(40)]
    write_json(tmp_path / "t" / "all.json", data)
    task = converted(tmp_path, {"split": {"validation": 0.3, "test": 0.3}})
    images = [{one for e in own for one in e.images} for own in examples(task).values()]
    assert sum(map(len, images)) == 40
    assert all(images)


def test_added_rows_move_no_old_one_and_the_seed_moves_them(tmp_path: Path) -> None:
    write_images(tmp_path / "t", 80)
    data = [pairs(n) | {"id": f"a{n}"} for n in range(60)]
    write_json(tmp_path / "t" / "all.json", data)
    before = {e.id: split for split, own in examples(converted(tmp_path)).items() for e in own}
    assert sum(split == "train" for split in before.values()) > 36
    more = [pairs(n) | {"id": f"a{n}"} for n in range(60, 80)]
    write_json(tmp_path / "t" / "all.json", more[:10] + data + more[10:])
    after = {e.id: split for split, own in examples(converted(tmp_path)).items() for e in own}
    assert after.items() >= before.items()
    other = examples(converted(tmp_path, {"split": {"seed": 1}}))
    assert {e.id: split for split, own in other.items() for e in own} != after


def test_a_split_may_be_a_number_of_examples_and_limits_keep_the_same_ones(tmp_path: Path) -> None:
    write_images(tmp_path / "t", 50)
    data = [pairs(n) | {"id": f"a{n}"} for n in range(50)]
    write_json(tmp_path / "t" / "all.json", data)
    rule = {"validation": 7, "test": 5}
    whole = converted(tmp_path, {"split": rule})
    assert sizes(whole) == {"train": 38, "validation": 7, "test": 5}
    some = converted(tmp_path, {"split": rule, "limit": {"train": 9, "test": 2}})
    assert sizes(some) == {"train": 9, "validation": 7, "test": 2}
    assert manifest_of(some)["rows"]["left_out"] == 50 - 18
    assert manifest_of(some)["images"] == 18
    ids = {split: {e.id for e in own} for split, own in examples(whole).items()}
    assert all({e.id for e in own} <= ids[split] for split, own in examples(some).items())
    write_json(tmp_path / "t" / "all.json", data[::-1])
    again = converted(tmp_path, {"split": rule, "limit": {"train": 9, "test": 2}})
    assert {e.id for e in again.examples("train")} == {e.id for e in some.examples("train")}


def test_splits_without_a_file_are_made_of_train_alone(tmp_path: Path) -> None:
    write_images(tmp_path / "t", 40)
    write_json(tmp_path / "t" / "train.json", [llava(n) for n in range(30)])
    write_json(
        tmp_path / "t" / "test.json",
        [
            {"question_id": n, "image": f"{n}.png", "text": "?", "answer": "x"}
            for n in range(30, 40)
        ],
    )
    task = converted(tmp_path, {"split": {"validation": 0.3}})
    assert [e.id for e in task.examples("test")] == [str(n) for n in range(30, 40)]
    assert sizes(task)["train"] + sizes(task)["validation"] == 30
    assert [source["format"] for source in manifest_of(task)["sources"]] == ["llava", "coin"]
