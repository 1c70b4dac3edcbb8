from __future__ import annotations

import os
import pickle
import shutil
from pathlib import Path

import pyarrow as pa
import pytest
from small import SCHEMA, png, row, rows, write_benchmark, write_rows

from spaces.errors import InputError
from tasks import Task, load_benchmark


@pytest.fixture
def task(tmp_path: Path) -> Task:
    return load_benchmark(write_benchmark(tmp_path)).task("left")


def with_train(task: Task, path: Path) -> Task:
    return Task(
        task.name, task.metric, task.max_new_tokens, True, "", {**task.files, "train": (path,)}
    )


def test_examples_are_indexed_sliced_and_iterated_as_a_sequence(task: Task) -> None:
    examples = task.examples("train")
    assert len(examples) == 6
    assert [example.id for example in examples] == ["a0", "a1", "a2", "a3", "a4", "a5"]
    assert examples[-1] == examples[5]
    assert examples[1:3] == [examples[1], examples[2]]
    assert examples[0].images == (png(0),)
    assert examples[1].answers == ("no",)
    with pytest.raises(IndexError):
        examples[6]


def test_nothing_is_read_before_an_example_is_asked_for(task: Task) -> None:
    examples = task.examples("test")
    task.files["test"][0].write_bytes(b"no parquet")
    with pytest.raises(InputError, match=r"cannot read .*test\.parquet"):
        len(examples)


def test_a_missing_id_is_derived_from_the_row_and_missing_answers_are_the_answer(
    task: Task, tmp_path: Path
) -> None:
    content = [{"image": None, "prompt": "Say yes", "answer": "yes"} for _ in range(2)]
    schema = pa.schema([SCHEMA.field(name) for name in ("image", "prompt", "answer")])
    examples = with_train(task, write_rows(tmp_path / "x.parquet", content, schema)).examples(
        "train"
    )
    assert [example.id for example in examples] == ["train-0", "train-1"]
    assert examples[0].answers == ("yes",)
    assert examples[0].images == ()


def test_integer_ids_plain_binary_images_and_extra_columns_are_read(
    task: Task, tmp_path: Path
) -> None:
    content = [{"id": 7, "image": b"x", "prompt": "p", "answer": "a", "source": "s"}]
    schema = pa.schema(
        {
            "id": pa.int64(),
            "image": pa.binary(),
            "prompt": pa.large_string(),
            "answer": pa.dictionary(pa.int32(), pa.string()),
            "source": pa.string(),
        }
    )
    path = write_rows(tmp_path / "x.parquet", content, schema)
    example = with_train(task, path).examples("train")[0]
    assert (example.id, example.images, example.prompt, example.answer) == ("7", (b"x",), "p", "a")


@pytest.mark.parametrize("form", [pa.ipc.new_file, pa.ipc.new_stream])
def test_arrow_files_of_both_forms_are_read(form: object, task: Task, tmp_path: Path) -> None:
    table = pa.Table.from_pylist(rows(3), schema=SCHEMA)
    path = tmp_path / "train.arrow"
    with form(str(path), table.schema) as writer:
        writer.write_table(table)
    assert list(with_train(task, path).examples("train")) == task.examples("train")[:3]


def test_an_unknown_split_names_the_nearest(task: Task) -> None:
    with pytest.raises(InputError, match='did you mean "validation"'):
        task.examples("validate")


def test_missing_and_mistyped_columns_are_all_named(task: Task, tmp_path: Path) -> None:
    schema = pa.schema({"image": SCHEMA.field("image").type, "answer": pa.int64()})
    path = write_rows(tmp_path / "x.parquet", [{"image": None, "answer": 3}], schema)
    with pytest.raises(InputError) as error:
        len(with_train(task, path).examples("train"))
    assert 'column "prompt" is missing' in str(error.value)
    assert 'column "answer" must be string, got int64' in str(error.value)


def test_the_answer_set_is_the_sorted_training_answers_of_a_closed_task(task: Task) -> None:
    assert task.answer_set() == ("no", "yes")
    files = dict(task.files)
    assert Task("open", "rouge_l", 9, False, "", files).answer_set() is None


def test_the_fingerprint_is_of_data_and_scoring_not_of_names(task: Task, tmp_path: Path) -> None:
    other = tmp_path / "elsewhere"
    shutil.copytree(task.files["train"][0].parent, other)
    files = {split: (other / files[0].name,) for split, files in task.files.items()}
    moved = Task("renamed", task.metric, task.max_new_tokens, task.closed, "other words", files)
    assert moved.fingerprint() == task.fingerprint()
    assert Task("left", "rouge_l", 3, True, "", files).fingerprint() != task.fingerprint()
    assert Task("left", "exact_match", 4, True, "", files).fingerprint() != task.fingerprint()


def test_the_fingerprint_follows_a_change_of_the_file(task: Task) -> None:
    before = task.fingerprint()
    path = task.files["test"][0]
    write_rows(path, [*rows(3), row(3, answer="maybe")])
    os.utime(path, ns=(1, 1))
    assert task.fingerprint() != before


def test_a_task_survives_pickling(task: Task) -> None:
    assert pickle.loads(pickle.dumps(task)) == task
    assert hash(task) == hash(pickle.loads(pickle.dumps(task)))
