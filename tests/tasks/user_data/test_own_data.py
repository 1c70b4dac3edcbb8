"""docs/your_own_data.md followed to the letter, and searches on raw data."""

from __future__ import annotations

import io
import json
import re
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from PIL import Image
from raw import coco, llava, pairs, write_images, write_json, write_lines
from toy import ADAPTER, TRAINING, Toy, walked

from search.cli import main
from search.plan.checks import DATA
from tasks import load_benchmark
from tasks.data.benchmark_file import BenchmarkFile, TaskEntry
from tasks.formats.detect import FORMATS, detect
from tasks.formats.raw_example import Accepted
from tasks.formats.reader import read_items
from tasks.user_data.prepared_benchmark import prepare_benchmark

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs" / "your_own_data.md").read_text()


def blocks(kind: str) -> list[str]:
    return re.findall(rf"```{kind}\n(.*?)```", PAGE, re.DOTALL)


def write_data(root: Path) -> None:
    """Write the files that the page names."""
    for name in ("signs", "charts"):
        write_images(root / "data" / name, 40)
        write_json(root / "data" / name / "train.json", [llava(n) for n in range(40)])
    receipts = root / "data" / "receipts"
    write_images(receipts / "pictures", 6)
    for name in ("train", "dev", "eval"):
        rows = [pairs(n) | {"question": "What is it, then?", "weight": 0.5} for n in range(6)]
        write_lines(receipts / "lists" / f"{name}.jsonl", rows)
    write_images(root / "data" / "captions", 90)
    write_json(root / "data" / "captions" / "all.json", coco(90))
    (root / "tasks.yaml").write_text(blocks("yaml")[0])


def test_every_command_of_the_page_works(tmp_path: Path) -> None:
    write_data(tmp_path)
    for command in "".join(blocks("bash")).splitlines():
        words = [sys.executable, *shlex.split(command)[1:]]
        words = [str(ROOT / word) if word.startswith("search/") else word for word in words]
        done = subprocess.run(
            words,
            cwd=tmp_path,
            env={"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"},
            capture_output=True,
            text=True,
            timeout=300,
        )
        assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    assert "data:image/png" in (tmp_path / "signs.html").read_text()
    (prepared,) = (tmp_path / "results" / DATA).glob("*.yaml")
    benchmark = load_benchmark(prepared)
    assert (benchmark.order, benchmark.initial) == (("signs", "receipts"), ("captions",))
    assert benchmark.general == ("charts",)
    assert benchmark.task("receipts").answer_format == "phrase"
    assert benchmark.task("captions").examples("test")[0].prompt == "Describe the picture."
    assert len(benchmark.task("captions").examples("test")) == 50


def test_the_samples_of_the_page_are_read_as_the_formats_it_names(tmp_path: Path) -> None:
    found = []
    for number, sample in enumerate(blocks("json")):
        (tmp_path / f"{number}.json").write_text(sample)
        detection = detect(tmp_path / f"{number}.json")
        assert all(isinstance(item, Accepted) for item in read_items(detection))
        found.append(detection.format)
    assert found == ["llava", "coin", "swift", "pairs", "coco"]
    assert all(f"`{name}`" in PAGE for name in FORMATS)


def test_the_yaml_of_the_page_holds_every_key() -> None:
    written = yaml.safe_load(blocks("yaml")[0])
    assert {*written, "description"} == set(BenchmarkFile.model_fields)
    assert {key for entry in written["tasks"].values() for key in entry} == set(
        TaskEntry.model_fields
    )


def test_general_tasks_are_those_of_the_prepared_benchmark_too(toy: Toy, tmp_path: Path) -> None:
    file = write_raw_toy(toy, tmp_path / "raw")
    file.write_text(file.read_text() + "general: [light]\n")
    prepared = load_benchmark(prepare_benchmark(str(file), tmp_path / "data"))
    assert (prepared.order, prepared.general) == (("hue",), ("light",))
    assert len(prepared.task("light").examples("validation")) == 10


def write_raw_toy(toy: Toy, root: Path) -> Path:
    """Write the toy tasks as rows of `pairs` with image files."""
    benchmark, tasks = load_benchmark(toy.benchmark), {}
    for name in ("hue", "light"):
        task = benchmark.task(name)
        for split in ("train", "validation", "test"):
            rows = []
            for example in task.examples(split):
                image = f"{example.id}.png"
                (root / name).mkdir(parents=True, exist_ok=True)
                (root / name / image).write_bytes(example.images[0])
                row = {"id": example.id, "image": image, "prompt": example.prompt}
                rows.append(row | {"answer": example.answer})
            write_json(root / name / f"{split}.json", rows)
        tasks[name] = {"metric": task.metric, "max_new_tokens": 6, "closed": True}
    (root / "tasks.yaml").write_text(yaml.safe_dump({"name": "toy", "tasks": tasks}))
    return root / "tasks.yaml"


def test_training_on_converted_data_is_training_on_the_data(toy: Toy, tmp_path: Path) -> None:
    import dataclasses

    from trainables.config import TrialConfig

    config = TrialConfig.from_dict(
        {
            "strategy": {"name": "finetune"},
            "training": TRAINING | {"epochs": 1},
            "adapter": ADAPTER,
        }
    )
    path = prepare_benchmark(write_raw_toy(toy, tmp_path / "raw"), tmp_path / "data")
    converted = dataclasses.replace(toy, benchmark=path)
    ours = walked(converted.walk(config, tmp_path / "a")).matrices()
    plain = walked(toy.walk(config, tmp_path / "b")).matrices()
    assert ours == plain


def test_a_dry_run_on_raw_data_converts_them_once(
    toy: Toy, plan: Callable[..., str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    raw, storage = write_raw_toy(toy, tmp_path / "raw"), tmp_path / "storage"
    command = ["--plan", plan(benchmark=str(raw)), "--storage", str(storage), "--dry-run"]
    assert main(command) == 0
    out, err = capsys.readouterr()
    assert "converting  hue" in err and "tasks       hue, light" in out
    (prepared,) = (storage / DATA).glob("*.yaml")
    assert f"on {prepared}" in out
    assert main(command) == 0
    assert "converting" not in capsys.readouterr().err


def spoil(raw: Path) -> None:
    """Remove the answers of two rows of the raw toy."""
    path = raw.parent / "hue" / "train.json"
    rows: list[dict[str, Any]] = json.loads(path.read_text())
    rows[3]["answer"] = rows[5]["answer"] = ""
    path.write_text(json.dumps(rows))


def test_broken_rows_stop_a_search_before_anything_starts(
    toy: Toy, plan: Callable[..., str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    raw, storage = write_raw_toy(toy, tmp_path / "raw"), tmp_path / "storage"
    spoil(raw)
    command = ["--plan", plan(benchmark=str(raw)), "--storage", str(storage), "--dry-run"]
    assert main(command) == 2
    err = capsys.readouterr().err
    assert "row 3 (id hue-train-3): empty answer" in err
    assert "2 of 88 rows are broken" in err or "2 of 44 rows are broken" in err
    assert [path.name for path in storage.iterdir()] == [DATA]
    assert not list((storage / DATA).glob(".making-*"))
    raw.write_text(raw.read_text() + "skip_broken: true\n")
    assert main(command) == 0


def test_pictures_that_pillow_reads_by_other_programs_are_refused() -> None:
    from tasks.data.images import inspect_image

    out = io.BytesIO()
    Image.new("RGB", (8, 8)).save(out, "EPS")
    assert inspect_image(out.getvalue()) == "no image format known"
