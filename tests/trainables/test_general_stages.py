"""Real stages with a general task whose training examples cannot be read."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import yaml
from lively import NAMES, lively
from toy import Toy, walked

from spaces.errors import InputError
from tasks import load_benchmark
from trainables.lanes.in_process import InProcessRunner
from trainables.panel import Panel
from trainables.store.stage_store import StageStore
from trainables.trial import PanelTrial

FAST = ("replay", "eproj")
"""A memory, and experts; the others only with the slow tests."""
CASES = [n if n in FAST else pytest.param(n, marks=pytest.mark.slow) for n in NAMES]


@pytest.fixture(scope="module")
def unread(toy: Toy, tmp_path_factory: pytest.TempPathFactory) -> Toy:
    """Return the toy with `half` as a general task; its answers are open, so train is never read."""
    root = shutil.copytree(toy.benchmark, tmp_path_factory.mktemp("unread") / "benchmark")
    file = root / "benchmark.yaml"
    values = yaml.safe_load(file.read_text())
    values["order"], values["general"] = ["hue", "light"], ["half"]
    values["tasks"]["half"]["closed"] = False
    file.write_text(yaml.safe_dump(values))
    (root / "half" / "train.parquet").write_bytes(b"no training examples")
    return Toy(root, toy.model)


def test_its_training_examples_cannot_be_read(unread: Toy) -> None:
    with pytest.raises(InputError, match=r"half/train\.parquet"):
        len(load_benchmark(unread.benchmark).task("half").examples("train"))


@pytest.mark.parametrize("name", CASES)
def test_no_strategy_reads_a_training_example_of_it(name: str, unread: Toy, tmp_path: Path) -> None:
    panel = Panel((("hue", "light"),), general=load_benchmark(unread.benchmark).general)
    runner = InProcessRunner(unread.worker_spec(tmp_path))
    store = StageStore(tmp_path)
    found = walked(PanelTrial(lively(name, epochs=1), panel, unread.fingerprints(), store, runner))
    (matrix,), (kl,) = found.matrices(), found.matrices("general_kl")
    assert matrix.row(2)["half"] >= 0
    assert kl.row(0)["half"] == 0 < kl.row(2)["half"]
