"""The presets: what they say, what they expect, and what the commands say of what is missing."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from small import write_rows

from search.plan.plan_file import named_plan
from search.plan.presets import PLANS
from spaces.errors import InputError
from tasks import ANSWER_METRICS, check_format
from tasks.data import benchmark as loader
from tasks.presets import PRESETS, data_folder, load_preset, write_preset
from tasks.presets.__main__ import main
from tasks.user_data.prepared_benchmark import prepare_benchmark

ORDERS = {
    "paper_1": "flickr30k textcaps vqav2 ocrvqa gqa",
    "paper_2": "flickr30k vizwiz textvqa gqa",
    "coin": "scienceqa textvqa imagenet gqa vizwiz grounding vqav2 ocrvqa",
    "ucit": "imagenet_r arxivqa vizwiz_caption iconqa clevr_math flickr30k",
    "mllm_dcl": "remote_sensing medical driving science finance",
    "mllm_acl": "ocr math visual_perception gui",
}
"""Published orders: arXiv 2311.16206, 2403.08350, 2503.12941, 2506.05453."""
KEYS = {"name", "description", "order", "initial", "tasks"}
TASK_KEYS = {
    *("path", "train", "validation", "test", "images", "format", "split", "limit", "prompt"),
    *("answer_format", "metric", "max_new_tokens", "closed", "description"),
}
EACH = pytest.mark.parametrize("name", PRESETS)


@EACH
def test_a_preset_has_its_published_order_and_known_metrics_and_formats(name: str) -> None:
    found = load_preset(name)
    assert found.values["name"] == name
    assert found.order == tuple(ORDERS[name].split())
    assert set(found.values) <= KEYS
    assert set(found.tasks) == {*found.order, *found.initial}
    for values in found.tasks.values():
        assert set(values) <= TASK_KEYS
        assert values["metric"] in ANSWER_METRICS
        assert values["description"] and "https://" in values["description"]
        assert values.get("closed") or values["answer_format"]
        check_format(values.get("answer_format", ""))
        assert values["max_new_tokens"] > 0
        assert "{prompt}" in values.get("prompt", "{prompt}")


def test_the_second_benchmark_of_the_paper_starts_from_five_tasks() -> None:
    assert load_preset("paper_2").initial == ("textcaps", "vqav2", "ocrvqa", "okvqa", "aokvqa")


@EACH
def test_missing_files_are_named_with_status_1(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([name, "--data", str(tmp_path)]) == 1
    out = capsys.readouterr().out
    for expected in load_preset(name).expected(tmp_path):
        assert f"{expected.what:11s}{expected}" in out
    assert "there   " not in out


def fill(name: str, data: Path) -> None:
    """Write a small file for each one that a preset expects."""
    for expected in load_preset(name).expected(data):
        path = expected.paths[0]
        if expected.what == "images":
            path.mkdir(parents=True, exist_ok=True)
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("[]")


@EACH
def test_files_in_the_expected_layout_are_found_complete(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fill(name, tmp_path)
    assert main([name, "--data", str(tmp_path)]) == 0
    assert f"complete in {tmp_path}" in capsys.readouterr().out
    file = write_preset(name, tmp_path, tmp_path / "made")
    values = yaml.safe_load(file.read_text())
    assert all(Path(task["path"]).is_absolute() for task in values["tasks"].values())
    assert {k: v for k, v in values.items() if k != "tasks"} == {
        k: v for k, v in load_preset(name).values.items() if k != "tasks"
    }


def test_two_data_folders_do_not_share_a_file(tmp_path: Path) -> None:
    files = set()
    for place in ("one", "other"):
        fill("mllm_acl", tmp_path / place)
        files.add(write_preset("mllm_acl", tmp_path / place, tmp_path / "made"))
    assert len(files) == 2


def test_pictures_in_parquet_need_no_folder(tmp_path: Path) -> None:
    for task, values in load_preset("paper_1").tasks.items():
        for split in ("train", "validation", "test"):
            write_rows(tmp_path / values["path"] / f"{split}.parquet", [{"prompt": task}])
    assert not load_preset("paper_1").missing(tmp_path)
    made = yaml.safe_load(write_preset("paper_1", tmp_path, tmp_path / "made").read_text())
    assert not any("images" in task for task in made["tasks"].values())
    (tmp_path / "gqa" / "test.parquet").rename(tmp_path / "gqa" / "test.json")
    assert [str(one.what) for one in load_preset("paper_1").missing(tmp_path)] == ["images"]


def test_all_presets_are_listed_without_data(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CITUNE_DATA", raising=False)
    assert main([]) == 0
    out = capsys.readouterr().out
    assert all(f"{name}: " in out for name in PRESETS)


def test_the_environment_names_the_data_without_a_flag(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CITUNE_DATA", str(tmp_path))
    assert data_folder("") == tmp_path
    assert data_folder(str(tmp_path / "other")) == tmp_path / "other"
    assert main(["coin"]) == 1


def test_an_unknown_preset_names_the_nearest(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["paper1"]) == 2
    assert 'did you mean "paper_1"' in capsys.readouterr().err


# In a search --------------------------------------------------------------------------------------


@EACH
def test_a_plan_of_the_same_name_trains_as_published(name: str) -> None:
    assert name in PLANS
    plan = named_plan(name)
    assert (plan.benchmark, plan.model, plan.tasks) == (name, "", ())
    assert plan.training["epochs"] == 1 and plan.training["warmup"] == 0.03
    assert plan.training["precision"] == "bf16"
    assert plan.training["learning_rate"] in (2e-4, 2e-5)


def test_a_preset_without_its_data_is_one_clear_error(
    refused: Callable[..., str], toy: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CITUNE_DATA", raising=False)
    assert "--data DIR, or CITUNE_DATA" in refused("--benchmark", "paper_1")
    error = refused("--benchmark", "coin", "--data", str(tmp_path / "data"))
    assert "scienceqa train: " in error and "needs 24 more of its files in" in error
    assert f"python -m tasks.presets coin --data {tmp_path / 'data'} lists" in error


def test_a_plan_that_leaves_the_model_to_the_user_asks_for_it(refused: Callable[..., str]) -> None:
    assert "give --model" in refused("--plan", "ucit")


def test_a_preset_is_not_written_while_a_file_is_missing(tmp_path: Path) -> None:
    fill("ucit", tmp_path / "data")
    (tmp_path / "data" / "UCIT" / "IconQA" / "train.json").unlink()
    with pytest.raises(InputError, match=r"1 more of its files[^\n]*\n  iconqa train: .*IconQA"):
        write_preset("ucit", tmp_path / "data", tmp_path / "made")
    assert not (tmp_path / "made").exists()


def test_a_written_preset_is_a_benchmark_that_loads(tmp_path: Path) -> None:
    fill("mllm_acl", tmp_path)
    rows = [
        {"conversations": [{"from": "human", "value": f"q{n}"}, {"from": "gpt", "value": "a"}]}
        for n in range(1200)
    ]
    for file in tmp_path.rglob("*.json"):
        file.write_text(json.dumps(rows))
    where = write_preset("mllm_acl", tmp_path, tmp_path / "made")
    found = loader.load_benchmark(prepare_benchmark(where, tmp_path / "data"))
    assert found.order == load_preset("mllm_acl").order
