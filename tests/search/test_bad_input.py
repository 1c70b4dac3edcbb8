from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest
from small import row, write_benchmark, write_rows
from toy import TRAINING, Toy

from search import commands

WRONG_FLAGS = {
    "a plan": (["--plan", "smok"], 'unknown plan "smok"; .*did you mean "smoke"'),
    "a plan file": (["--plan", "no/such.yaml"], r'YAML file; no ".*no/such.yaml"'),
    "a strategy": (["--strategies", "replay,ewk"], 'unknown strategy "ewk"; .*mean "ewc"'),
    "no strategy": (["--strategies", "joint"], "at least one strategy must be searched"),
    "a task": (["--tasks", "hue,lihgt"], 'unknown task "lihgt"; .*did you mean "light"'),
    "a task twice": (["--tasks", "hue,hue"], "tasks must differ"),
    "an empty strategy": (["--strategies", "replay,"], "--strategies must be names .* empty name"),
    "an empty task": (["--tasks", ""], "--tasks must be names separated by commas, got an empty"),
    "no ordering": (["--orderings", ";"], "orderings must name one at least: got ';'"),
    "a seed of orderings": (["--orderings", f"random:{'9' * 40}"], "unknown ordering"),
    "orderings beyond counting": (["--orderings", f"random:{'9' * 18}"], "must ask for 1 to 2 ord"),
    "an ordering": (["--orderings", "revers"], 'unknown ordering "revers"; .*mean "reverse"'),
    "a task of an ordering": (["--orderings", "hue>liht"], 'unknown task "liht".*"light"'),
    "an ordering too short": (["--orderings", "hue"], "omits light"),
    "too many orderings": (["--orderings", "random:3"], "must ask for 1 to 2 orderings"),
    "an objective": (["--objectives", "forgeting"], 'unknown objective .*mean "forgetting"'),
    "a direction": (["--objectives", "forgetting:up"], 'must end in ":max" or ":min"'),
    "forgetting as the paper has it": (["--objectives", "chaudhry_forgetting"], 'scoring "all"'),
    "an unscored objective": (["--objectives", "forward_transfer"], 'needs scoring "next"'),
    "no objective": (["--objectives", ""], "one metric or more that differ, got none"),
    "an objective twice": (
        ["--objectives", "forgetting,forgetting:max"],
        "must be one metric or more that differ, got forgetting, forgetting",
    ),
    "an objective against a reference": (
        ["--objectives", "intransigence"],
        'unknown objective "intransigence"',
    ),
    "only the floor": (["--strategies", "finetune"], "to search: replay, .*ewc"),
    "the store's name": (
        ["--name", "stages"],
        "--name must be at most 100 letters.*none of stages",
    ),
    "a name with folders": (["--name", "../mine"], "--name must be at most 100 letters"),
    "a long name": (["--name", "x" * 300], "--name must be at most 100 letters"),
    "a bucket": (
        ["--storage", "s3://bucket/path"],
        "--storage must be a folder that all nodes see",
    ),
    "a storage that is a file": (["--storage", "README.md/results"], "README.md"),
    "a benchmark": (["--benchmark", "minni"], 'unknown benchmark "minni"; .*mean "mini"'),
    "a model": (["--model", "no/such/folder"], 'folder, the id of one .*got "no/such/folder"'),
    "no samples": (["--samples", "0"], "samples must be at least 1, got 0"),
    "no trial at once": (["--concurrent", "0"], "--concurrent must be at least 1, got 0"),
    "no workers": (["--workers-per-trial", "0"], "workers_per_trial must be at least 1, got 0"),
    "more than a GPU": (["--gpus-per-worker", "2"], "must be more than 0 and at most 1, got 2"),
    "a GPU where there is none": (["--gpus-per-worker", "0.5"], "this machine has none"),
    "no time": (["--time-budget", "0"], "time_budget must be more than 0 seconds, got 0"),
    "ranks that do not divide": (
        ["--workers-per-trial", "3"],
        "batch_size must be a multiple of the workers, got 8 and 3; batch_size 9 would do",
    ),
    "nothing to resume": (["--resume"], "--resume needs a search to continue"),
    "no such search": (["--resume", "--name", "gone"], "no plan is there"),
}


@pytest.mark.parametrize("what", WRONG_FLAGS)
def test_a_wrong_flag_is_one_clear_error(what: str, plan: Callable, refused: Callable) -> None:
    flags, message = WRONG_FLAGS[what]
    resuming = "--resume" in flags or "--plan" in flags
    where = "--storage" not in flags
    error = refused(*([] if resuming else ["--plan", plan()]), *flags, where=where)
    assert re.search(message, error), error
    assert "\n" not in error


WRONG_FIELDS = {
    "a field": ({"sample": 3}, 'unknown field in .*"sample"; .*did you mean "samples"'),
    "a preference": ({"prefer": "cheap"}, 'unknown prefer "cheap"'),
    "a type": ({"samples": "many"}, "samples must be a whole number, got 'many'"),
    "itself": ({"extends": "toy.yaml"}, "a plan must not extend itself"),
    "a base": ({"extends": "smok"}, 'unknown plan "smok"; .*did you mean "smoke"'),
    "a knob": ({"space": {"replay.ration": 0.1}}, 'knob of replay "ration".*mean "ratio"'),
    "a part": ({"space": {"reply.ratio": 0.1}}, 'unknown strategy "reply".*mean "replay"'),
    "a name without a part": ({"space": {"ratio": 0.1}}, r'"part.knob", such as replay.ratio'),
    "a fixed knob": ({"training": {"epoch": 1}}, 'unknown knob of training "epoch".*"epochs"'),
    "a fixed value": ({"adapter": {"rank": 3}}, r"adapter.rank must lie in \{1, 2.*got 3"),
    "low above high": (
        {"space": {"replay.ratio": {"low": 0.2, "high": 0.1}}},
        "replay.ratio: low must be less than high, got low=0.2, high=0.1",
    ),
    "low at high": (
        {"space": {"ewc.strength": {"low": 1e3, "high": 1e3}}},
        "low must be less than high.*for a fixed value give it alone",
    ),
    "outside": ({"space": {"replay.ratio": [0.1, 2.0]}}, r"choices must lie in .*got \[2.0\]"),
    "batches that do not divide": (
        {"space": {"training.batch_size": [8, 12]}},
        "batch_size must be a multiple of micro_batch x workers, got 12 and 8 x 1",
    ),
    "a step that does not divide": (
        {"space": {"training.epochs": {"low": 1, "high": 4, "step": 2}}},
        "step",
    ),
    "more tokens than positions": ({"training": {"longest": 10**6}}, "longest must"),
    "scoring": ({"scoring": "sene"}, 'unknown scoring "sene"; .*did you mean "seen"'),
}


@pytest.mark.parametrize("what", WRONG_FIELDS)
def test_a_wrong_field_of_a_plan_file_is_one_clear_error(
    what: str, plan: Callable, refused: Callable
) -> None:
    fields, message = WRONG_FIELDS[what]
    error = refused("--plan", plan(**fields))
    assert re.search(message, error), error
    assert "\n" not in error


@pytest.mark.parametrize("content", ["a: [", "a:\n\tb", "- samples", "7", "", b"\xff\xfe\x00"])
def test_a_file_that_is_no_plan_is_one_error(
    content: str | bytes, tmp_path: Path, refused: Callable
) -> None:
    path = tmp_path / "plan.yaml"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    assert str(path) in refused("--plan", str(path))
    assert str(path) in refused(str(path), command=commands.train, where=False)


# The model and the data --------------------------------------------------------------------------


def test_a_model_folder_that_cannot_be_loaded_is_one_error(
    plan: Callable, refused: Callable, tmp_path: Path
) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    assert "must hold a config.json" in refused("--plan", plan(), "--model", str(folder))
    (folder / "config.json").write_text('{"model_type": "llava"}')
    assert "must hold *.safetensors" in refused("--plan", plan(), "--model", str(folder))
    (folder / "model.safetensors").touch()
    (folder / "config.json").write_text('{"model_type": "bert"}')
    unknown = refused("--plan", plan(), "--model", str(folder))
    assert "must be of a known family (llava, llava_next, " in unknown
    assert 'got model_type "bert"' in unknown
    for content in ("{", "\0"):
        (folder / "config.json").write_text(content)
        assert "must be readable JSON" in refused("--plan", plan(), "--model", str(folder))


def test_every_broken_row_is_named_with_its_reason_and_counted(
    plan: Callable, refused: Callable, tmp_path: Path
) -> None:
    root = write_benchmark(tmp_path / "data")
    broken = [row(0), row(1, prompt=" "), row(2, image={"bytes": b"GIF", "path": None})]
    write_rows(root / "left" / "train.parquet", broken)
    write_rows(root / "right" / "validation.parquet", [row(0), row(0)])
    lines = refused("--plan", plan(benchmark=str(root), tasks=["left", "right"])).splitlines()
    assert lines == [
        "left/train row 1 (id a1): empty prompt",
        "left/train row 2 (id a2): image cannot be decoded (no image format known)",
        "right/validation row 1 (id a0): id is not unique",
        "3 of 23 rows are broken: 1 empty prompt, 1 image cannot be decoded, 1 id is not unique",
    ]


def test_rows_that_the_connector_alone_cannot_learn_from_are_refused(
    plan: Callable, refused: Callable, tmp_path: Path
) -> None:
    root = write_benchmark(tmp_path / "data")
    rows = [row(0), row(1, image=None), row(2, prompt="<image> <image> which half?")]
    write_rows(root / "left" / "train.parquet", rows)
    data = {"benchmark": str(root), "tasks": ["left", "right"], "strategies": ["replay"]}
    token = (
        "left/train row 2 (id a2): number of <image> marks differs from images (2 marks, 1 images)"
    )
    image = (
        "left/train row 1 (id a1): no image, and one is needed by adapter.parts without the language "
        "model (lm_lora would do)"
    )
    assert refused("--plan", plan(**data)).splitlines()[:-1] == [token]
    for adapter, space in (({"parts": "connector"}, {}), ({}, {"adapter.parts": ["connector"]})):
        lines = refused("--plan", plan(**data, adapter=adapter, space=space)).splitlines()
        assert lines[:-1] == [image, token]


def test_text_alone_is_refused_by_the_name_of_the_strategy_that_needs_images(
    plan: Callable, refused: Callable, tmp_path: Path
) -> None:
    root = write_benchmark(tmp_path / "data")
    write_rows(root / "left" / "train.parquet", [row(0), row(1, image=None)])
    data = {"benchmark": str(root), "tasks": ["left", "right"], "strategies": ["replay", "eproj"]}
    (line, _) = refused("--plan", plan(**data)).splitlines()
    assert line == (
        "left/train row 1 (id a1): no image, and one is needed by eproj (--strategies without it would do)"
    )


def test_text_alone_is_refused_for_a_model_that_needs_images(
    plan: Callable, refused: Callable, tmp_path: Path, toy_instructblip: Toy
) -> None:
    root = write_benchmark(tmp_path / "data")
    write_rows(root / "left" / "train.parquet", [row(0), row(1, image=None)])
    lines = refused(
        "--plan",
        plan(benchmark=str(root), tasks=["left", "right"], model=str(toy_instructblip.model)),
    )
    assert "left/train row 1 (id a1): no image, and one is needed by the model" in lines


def test_lanes_that_memory_cannot_hold_are_refused_with_a_number_that_fits(
    plan: Callable, refused: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    for free, remedy in ((3.0e9, "--concurrent 2 would do"), (0.1e9, "fewer --workers-per-trial")):
        monkeypatch.setattr(
            psutil, "virtual_memory", lambda free=free: SimpleNamespace(available=free)
        )
        error = refused("--plan", plan(), "--concurrent", "4")
        assert f"{free / 1e9:.1f} GB are free" in error
        assert remedy in error


def test_a_processor_that_does_not_match_its_model_is_one_error(
    plan: Callable, refused: Callable, tmp_path: Path, toy: Toy
) -> None:
    folder = shutil.copytree(toy.model, tmp_path / "model")
    config = folder / "processor_config.json"
    config.write_text(config.read_text().replace('"patch_size": 16', '"patch_size": 32'))
    error = refused("--plan", plan(), "--model", str(folder))
    assert "as many image tokens as the model sees in its images: hue/train row" in error
    (folder / "chat_template.jinja").write_text("{{ messages[0]['content'][1]['text'] }}")
    error = refused("--plan", plan(), "--model", str(folder))
    assert "processor must take example" in error and "chat template must place each image" in error


KNOBS_THAT_CLASH = {
    "offload all without zero 3": ({"offload": "all"}, {}, "offload all needs training.zero 3"),
    "a base in 4 bits and fp32": ({"base_bits": 4}, {}, "base_bits 4 needs precision bf16"),
    "one of those proposed": (
        {},
        {"training.offload": ["none", "all"], "training.zero": [2, 3]},
        "offload all needs training.zero 3, got 2",
    ),
    "a Q-Former that is not there": (None, {}, "only families with a Q-Former"),
}


@pytest.mark.parametrize("what", KNOBS_THAT_CLASH)
def test_knobs_that_exclude_each_other_are_one_error(
    what: str, plan: Callable, refused: Callable
) -> None:
    training, space, message = KNOBS_THAT_CLASH[what]
    adapter = {} if training is not None else {"parts": "qformer"}
    fields = {"training": {**TRAINING, **(training or {})}, "adapter": adapter, "space": space}
    assert message in refused("--plan", plan(**fields))


def test_text_alone_is_refused_where_several_ranks_train_a_connector(
    plan: Callable, refused: Callable, tmp_path: Path
) -> None:
    root = write_benchmark(tmp_path / "data")
    write_rows(root / "left" / "train.parquet", [row(0), row(1, image=None)])
    data = {"benchmark": str(root), "tasks": ["left", "right"], "workers_per_trial": 2}
    lora = {"parts": "lm_lora"}
    for adapter, zero in (({}, 0), (lora, 3)):
        training = {**TRAINING, "micro_batch": 4, "zero": zero}
        lines = refused("--plan", plan(**data, training=training, adapter=adapter))
        assert "left/train row 1 (id a1): no image, and one is needed by eproj" in lines
        assert "and by the connector on several workers (one would do" in lines
