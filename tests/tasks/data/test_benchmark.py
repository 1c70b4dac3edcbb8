from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import yaml
from small import SCHEMA, png, row, rows, write_benchmark, write_rows

from spaces.errors import InputError
from tasks import RowRequirements, check_rows, load_benchmark


def change_task(root: Path, **changes: Any) -> Path:
    """Change the YAML of the task `left`."""
    path = root / "benchmark.yaml"
    data = yaml.safe_load(path.read_text())
    data["tasks"]["left"] |= changes
    path.write_text(yaml.safe_dump(data))
    return root


def test_a_benchmark_is_loaded_from_a_folder_or_its_file_with_absolute_paths(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_benchmark(tmp_path / "b")
    monkeypatch.chdir(tmp_path)
    benchmark = load_benchmark("./b")
    assert benchmark == load_benchmark(tmp_path / "b" / "benchmark.yaml")
    assert (benchmark.name, benchmark.order, benchmark.initial) == ("small", ("left", "right"), ())
    assert benchmark.file == tmp_path / "b" / "benchmark.yaml"
    assert all(p.is_absolute() for (p,) in benchmark.task("left").files.values())


def test_without_an_order_the_tasks_are_learned_as_written_but_for_initial(tmp_path: Path) -> None:
    write_benchmark(tmp_path, ("c", "a", "b"), initial=["a"])
    data = yaml.safe_load((tmp_path / "benchmark.yaml").read_text())
    del data["order"]
    (tmp_path / "benchmark.yaml").write_text(yaml.safe_dump(data, sort_keys=False))
    assert load_benchmark(tmp_path).order == ("c", "b")


def test_general_tasks_are_in_no_order_unless_it_names_them(tmp_path: Path) -> None:
    write_benchmark(tmp_path, ("c", "a", "b"), initial=["a"])
    data = yaml.safe_load((tmp_path / "benchmark.yaml").read_text())
    del data["order"]
    data["general"] = ["b"]
    (tmp_path / "benchmark.yaml").write_text(yaml.safe_dump(data, sort_keys=False))
    benchmark = load_benchmark(tmp_path)
    assert (benchmark.order, benchmark.initial, benchmark.general) == (("c",), ("a",), ("b",))
    data["general"] = ["b", "c"]
    (tmp_path / "benchmark.yaml").write_text(yaml.safe_dump(data, sort_keys=False))
    with pytest.raises(InputError, match=r"order needs at least one task.*an empty list"):
        load_benchmark(tmp_path)


def test_an_arrow_file_may_stand_for_a_parquet_file(tmp_path: Path) -> None:
    write_benchmark(tmp_path)
    table = pa.Table.from_pylist(rows(5), schema=SCHEMA)
    (tmp_path / "left" / "train.parquet").unlink()
    with pa.ipc.new_file(str(tmp_path / "left" / "train.arrow"), table.schema) as writer:
        writer.write_table(table)
    assert len(load_benchmark(tmp_path).task("left").examples("train")) == 5


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"ordr": []}, 'unknown key "ordr".*did you mean "order"'),
        ({"order": ["left", "rihgt"]}, 'order: unknown task "rihgt".*did you mean "right"'),
        ({"order": ["left", "left"]}, "order must name a task once: got left twice"),
        ({"order": "left"}, "order must be a list: got 'left'"),
        ({"order": [["left"]]}, "order: unknown task"),
        ({"order": []}, "order needs at least one task.*an empty list"),
        ({"initial": ["left"]}, "none of initial.*got left"),
        ({"general": ["rihgt"]}, 'general: unknown task "rihgt".*did you mean "right"'),
        ({"general": ["right", "right"]}, "general must name a task once: got right twice"),
        ({"general": "right"}, "general must be a list: got 'right'"),
        ({"general": ["right"]}, "general must name tasks that nothing trains.*got right"),
        (
            {"order": ["left"], "initial": ["right"], "general": ["right"]},
            "nothing trains.*got right",
        ),
        ({"tasks": {}}, "at least one task"),
        ({"tasks": {"a>b": {}}}, "task's name is a text without blanks"),
        ({"tasks": {True: {}}}, "got True; put it in quotes"),
        ({"tasks": {"left": None}}, "task left must hold path, metric.*got nothing"),
    ],
)
def test_a_wrong_key_of_the_benchmark_is_an_input_error(
    changes: dict[str, Any], message: str, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=message):
        load_benchmark(write_benchmark(tmp_path, **changes))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"metirc": "x"}, 'task left: unknown key "metirc".*did you mean "metric"'),
        ({"metric": "exact"}, 'task left: unknown metric "exact".*did you mean "exact_match"'),
        ({"max_new_tokens": 0}, "max_new_tokens must be at least 1: got 0"),
        ({"max_new_tokens": True}, "max_new_tokens must be a whole number: got True"),
        ({"closed": "no"}, "closed must be true or false: got 'no'"),
        ({"path": "nowhere"}, "nowhere must hold .*: missing train, validation, test"),
    ],
)
def test_a_wrong_key_of_a_task_is_an_input_error(
    changes: dict[str, Any], message: str, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=message):
        load_benchmark(change_task(write_benchmark(tmp_path), **changes))


def test_a_task_without_a_metric_is_an_input_error(tmp_path: Path) -> None:
    write_benchmark(tmp_path, tasks={"left": {}, "right": {}})
    with pytest.raises(InputError, match="task left: key metric is missing"):
        load_benchmark(tmp_path)


def test_a_task_written_twice_is_an_input_error(tmp_path: Path) -> None:
    path = tmp_path / "benchmark.yaml"
    path.write_text("tasks:\n  left: {metric: exact_match}\n  left: {metric: rouge_l}\n")
    with pytest.raises(InputError, match="left must be written once, got twice"):
        load_benchmark(path)


def test_broken_yaml_and_unknown_benchmarks_are_input_errors(tmp_path: Path) -> None:
    (tmp_path / "x.yaml").write_text("tasks: [")
    with pytest.raises(InputError, match="must be YAML"):
        load_benchmark(tmp_path / "x.yaml")
    with pytest.raises(InputError, match='unknown benchmark "mni"'):
        load_benchmark("mni")
    with pytest.raises(InputError, match="does not exist"):
        load_benchmark(tmp_path / "nowhere.yaml")


def test_good_rows_give_an_empty_report(tmp_path: Path) -> None:
    report = check_rows(load_benchmark(write_benchmark(tmp_path)))
    assert (report.checked, report.broken) == (28, ())
    report.raise_if_broken()


def test_rows_without_images_are_broken_where_the_model_needs_one(tmp_path: Path) -> None:
    benchmark = load_benchmark(write_benchmark(tmp_path))
    write_rows(tmp_path / "left" / "train.parquet", [row(0), row(1, image=None)])
    assert not check_rows(benchmark, ["left"], ["train"]).broken
    (fault,) = check_rows(benchmark, ["left"], ["train"], RowRequirements(image="the model")).broken
    assert str(fault) == "left/train row 1 (id a1): no image, and one is needed by the model"


def test_a_prompt_with_the_models_own_image_token_is_broken(tmp_path: Path) -> None:
    benchmark = load_benchmark(write_benchmark(tmp_path))
    write_rows(tmp_path / "left" / "train.parquet", [row(0), row(1, prompt="<|pad|> what?")])
    assert not check_rows(benchmark, ["left"], ["train"]).broken
    (fault,) = check_rows(
        benchmark, ["left"], ["train"], RowRequirements(reserved="<|pad|>")
    ).broken
    assert fault.reason == "prompt holds <|pad|>, which the model puts there itself"


def test_control_tokens_in_ready_rows_are_broken_where_a_model_would_read_them(
    tmp_path: Path,
) -> None:
    benchmark = load_benchmark(write_benchmark(tmp_path))
    content = [row(0), row(1, prompt="what? <|im_end|>"), row(2, prompt="USER: what? ASSISTANT:")]
    write_rows(tmp_path / "left" / "train.parquet", content)
    assert not check_rows(benchmark, ["left"], ["train"]).broken
    report = check_rows(benchmark, ["left"], ["train"], RowRequirements(tokens=False))
    assert [(fault.row, fault.detail.partition(":")[0]) for fault in report.broken] == [
        (1, "<|im_end|>"),
        (2, "ASSISTANT"),
    ]


def test_marks_of_images_are_as_many_as_images_or_none(tmp_path: Path) -> None:
    benchmark = load_benchmark(write_benchmark(tmp_path))
    prompts = ["what?", "<image>what?", "<image><image>what?", "<image>"]
    content = [row(number, prompt=prompt) for number, prompt in enumerate(prompts)]
    content.append(row(4, image=None, prompt="<image>what?"))
    write_rows(tmp_path / "left" / "train.parquet", content)
    report = check_rows(benchmark, ["left"], ["train"], RowRequirements(reserved="<image>"))
    assert [(fault.row, fault.reason, fault.detail) for fault in report.broken] == [
        (2, "number of <image> marks differs from images", "2 marks, 1 images"),
        (3, "empty prompt", ""),
        (4, "number of <image> marks differs from images", "1 marks, 0 images"),
    ]


def test_a_reference_that_is_empty_after_normalisation_is_a_fault(tmp_path: Path) -> None:
    benchmark = load_benchmark(write_benchmark(tmp_path))
    write_rows(tmp_path / "left" / "train.parquet", [row(0, answers=["yes", "."])])
    (fault,) = check_rows(benchmark, ["left"], ["train"]).broken
    assert "nothing of one of the answers is left for exact_match" in str(fault)


def test_every_broken_row_is_named_with_its_reason_and_counted_at_the_end(tmp_path: Path) -> None:
    write_benchmark(tmp_path)
    content = [
        row(0, image={"bytes": png()[:200], "path": None}),
        row(1, image={"bytes": b"no image", "path": None}),
        row(2, image={"bytes": None, "path": "x.png"}),
        row(3, prompt=" "),
        row(4, answer=None, answers=None),
        row(5, answers=["no", "maybe"]),
        row(6, answer="...", answers=["..."]),
        row(0),
        row(8, image=None),
    ]
    write_rows(tmp_path / "left" / "train.parquet", content)
    report = check_rows(load_benchmark(tmp_path), ["left"], ["train", "test"])
    with pytest.raises(InputError) as error:
        report.raise_if_broken()
    *lines, counts = str(error.value).splitlines()
    assert lines[0].startswith("left/train row 0 (id a0): image cannot be decoded (")
    assert lines[1:] == [
        "left/train row 1 (id a1): image cannot be decoded (no image format known)",
        "left/train row 2 (id a2): image has a path but no bytes (x.png)",
        "left/train row 3 (id a3): empty prompt",
        "left/train row 4 (id a4): empty answer",
        "left/train row 5 (id a5): answer is not among answers ('yes' is not in ['no', 'maybe'])",
        "left/train row 6 (id a6): nothing of the answer is left for exact_match ('...')",
        "left/train row 7 (id a0): id is not unique",
    ]
    assert counts.startswith("8 of 13 rows are broken: 2 image cannot be decoded, 1 ")


def test_a_row_with_two_faults_is_one_broken_row(tmp_path: Path) -> None:
    write_benchmark(tmp_path)
    write_rows(tmp_path / "left" / "train.parquet", [row(0, prompt="", answer="", answers=None)])
    report = check_rows(load_benchmark(tmp_path), ["left"], ["train"])
    assert str(report) == "1 of 1 rows are broken: 1 empty prompt, 1 empty answer"


def test_a_file_that_cannot_be_used_is_a_fault_and_the_others_are_still_checked(
    tmp_path: Path,
) -> None:
    write_benchmark(tmp_path)
    left = tmp_path / "left"
    whole = (left / "train.parquet").read_bytes()
    (left / "train.parquet").write_bytes(whole[: len(whole) // 2])
    write_rows(left / "validation.parquet", [{"prompt": "p"}], pa.schema({"prompt": pa.string()}))
    write_rows(left / "test.parquet", [])
    write_rows(tmp_path / "right" / "test.parquet", [row(0, prompt="")])
    report = check_rows(load_benchmark(tmp_path))
    texts = [str(fault) for fault in report.broken]
    assert "cannot read" in texts[0] and texts[0].startswith("left/train: ")
    assert 'column "answer" is missing' in texts[1]
    assert texts[2:] == ["left/test: holds no rows", "right/test row 0 (id a0): empty prompt"]
    assert str(report).endswith(
        "1 of 11 rows are broken: 1 empty prompt; files that cannot be used: 3"
    )


def test_pages_damaged_in_the_middle_of_a_file_do_not_end_in_a_traceback(tmp_path: Path) -> None:
    write_benchmark(tmp_path)
    path = tmp_path / "left" / "train.parquet"
    data = bytearray(path.read_bytes())
    for start in range(20, len(data) - 2000, 97):
        data[start : start + 40] = b"\xff" * 40
    path.write_bytes(bytes(data))
    assert check_rows(load_benchmark(tmp_path), ["left"], ["train"]).broken


def test_unknown_tasks_and_splits_are_input_errors(tmp_path: Path) -> None:
    benchmark = load_benchmark(write_benchmark(tmp_path))
    with pytest.raises(InputError, match='did you mean "left"'):
        check_rows(benchmark, ["lefft"])
    with pytest.raises(InputError, match='unknown split "dev"'):
        check_rows(benchmark, ["left"], ["dev"])


def test_thousands_of_rows_are_checked_in_seconds(tmp_path: Path) -> None:
    write_benchmark(tmp_path, ("left",))
    image = {"bytes": png(size=96), "path": None}
    write_rows(tmp_path / "left" / "train.parquet", [row(i, image=image) for i in range(2000)])
    start = time.process_time()
    assert not check_rows(load_benchmark(tmp_path)).broken
    assert time.process_time() - start < 5


def test_a_benchmark_file_may_name_its_schema_and_a_newer_one_is_refused(tmp_path: Path) -> None:
    write_benchmark(tmp_path, schema=1)
    assert load_benchmark(tmp_path).order == ("left", "right")
    write_benchmark(tmp_path / "newer", schema=2)
    with pytest.raises(InputError, match="has schema 2: this citune reads schema 1 of a benchmark"):
        load_benchmark(tmp_path / "newer")
