"""A user with a model folder and data in LLaVA's format: search, export, train, load, without code."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import yaml
from readme import assert_says_the_same
from searches import ran

from models.batching import encode
from models.lmm import LMM
from models.location import model_folder
from search.plan.presets import MINI_TRAINING
from tasks import IMAGE, load_benchmark
from trainables.config import TrialConfig
from trainables.panel import Panel
from trainables.rank.engine import set_weights
from trainables.stage_job import Fingerprints
from trainables.store.stage_store import StageStore
from trainables.trial import PanelTrial

TASKS = {"animal": 96, "digit": 96}
"""Rows of each embedded task that stands for a user's own: one file without splits."""
PLAN = {
    "orderings": "given+reverse",
    "strategies": ["replay"],
    "samples": 2,
    "confirm": 0,
    "training": {**MINI_TRAINING, "epochs": 1},
    "adapter": {"rank": 8},
    "space": {"replay.ratio": {"low": 0.1, "high": 0.3}},
}


def write_llava_format(root: Path) -> Path:
    """Write `train.json` and images for each task; return the YAML file that names them."""
    for name, count in TASKS.items():
        (root / name / "images").mkdir(parents=True)
        rows = []
        for number, example in enumerate(
            load_benchmark("mini").task(name).examples("train")[:count]
        ):
            image = f"images/{number}.png"
            (root / name / image).write_bytes(example.images[0])
            said = [("human", f"{IMAGE}\n{example.prompt}"), ("gpt", example.answer)]
            turns = [{"from": who, "value": text} for who, text in said]
            rows.append({"id": number, "image": image, "conversations": turns})
        (root / name / "train.json").write_text(json.dumps(rows))
    says = {"metric": "exact_match", "max_new_tokens": 6}
    (root / "tasks.yaml").write_text(yaml.safe_dump({"tasks": {name: says for name in TASKS}}))
    return root / "tasks.yaml"


@pytest.mark.slow
def test_from_llava_data_and_a_model_folder_to_an_adapter_that_loads_anywhere(
    tmp_path: Path,
) -> None:
    data = write_llava_format(tmp_path / "data")
    model = shutil.copytree(model_folder("llava-aligned"), tmp_path / "my-llava")
    (tmp_path / "plan.yaml").write_text(yaml.safe_dump(PLAN))
    flags = ("--plan", "plan.yaml", "--model", model, "--benchmark", data)
    ran(
        "run",
        *flags,
        "--storage",
        "results",
        "--name",
        "mine",
        "--concurrent",
        "1",
        cwd=tmp_path,
        status=1,
    )
    ran("export", "results/mine", cwd=tmp_path)
    said = ran("train", "results/mine/best.yaml", "--out", "final", cwd=tmp_path)
    assert "reproduced  exactly: 2 matrices equal those of the search" in said

    best = yaml.safe_load((tmp_path / "results" / "mine" / "best.yaml").read_text())
    resolved = load_benchmark(best["benchmark"]["path"])
    assert {n: len(t.examples("test")) > 3 for n, t in resolved.tasks.items()} == dict.fromkeys(
        TASKS, True
    )
    config = TrialConfig.from_dict(best["config"])
    store = StageStore(tmp_path / "final" / "stages")
    tasks = {name: task.fingerprint() for name, task in resolved.tasks.items()}
    fingerprints = Fingerprints(best["fingerprints"]["model"], tasks, 0, 1)
    walk = PanelTrial(config, Panel((tuple(TASKS), tuple(TASKS)[::-1])), fingerprints, store, None)
    lmm = LMM(model)
    lmm.adapt(config.adapter, seed=0)
    set_weights(lmm, store.tensors(walk.key(walk.paths[1])))
    examples = [encode(lmm.processor, e) for e in resolved.task("digit").examples("test")[:4]]
    assert_says_the_same(tmp_path / "final" / "ordering-1", lmm, examples, tmp_path)
