from __future__ import annotations

import dataclasses
import json
import os
import time
from pathlib import Path

import pytest
import torch
from scribe import SETTING, Scribe
from stored import scored, trained
from toy import Toy, blobs, config, walked

from trainables.panel import Panel
from trainables.store import eviction as sweeping
from trainables.store.eviction import evict_unneeded, pinned, stored
from trainables.store.stage_store import StageStore
from trainables.trial import PanelTrial

KILO = 1000
RECORD = 400
"""More than a record of these tests takes."""


@pytest.fixture
def store(tmp_path: Path) -> StageStore:
    return StageStore(tmp_path / "stages")


def put(store: StageStore, key: str, value: float, size: int = 10 * KILO) -> None:
    store.put(key, trained(seconds=1.0), {"w": torch.full((size // 4,), float(value))})


def aged(store: StageStore, seconds: float = 2 * sweeping.GRACE_SECONDS) -> None:
    """All files of the store are so old, the first written ones still the oldest."""
    for file in store.root.rglob("*"):
        if file.is_file() and "leases" not in file.parts and "pins" not in file.parts:
            then = file.stat().st_mtime - seconds
            os.utime(file, (then, then))


def names(storage: Path, *keys: str, search: str = "one") -> Path:
    """A search whose trial names `keys`."""
    folder = storage / search / "trials"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "0000.json").write_text(json.dumps({"name": "0000", "keys": keys}))
    return folder.parent


def test_what_no_search_names_goes_and_what_one_names_stays(
    store: StageStore, tmp_path: Path
) -> None:
    put(store, "aa", 1), put(store, "bb", 2), put(store, "cc", 2)
    store.put("dd", scored(0.5))
    names(tmp_path, "aa", "bb")
    aged(store)
    told = evict_unneeded(store, tmp_path, None, dry=True)
    assert store.has("cc")
    assert store.has("dd")
    done = evict_unneeded(store, tmp_path, None)
    assert told == done
    assert [store.has(key) for key in ("aa", "bb", "cc", "dd")] == [True, True, False, False]
    assert torch.equal(store.tensors("bb")["w"], torch.full((2500,), 2.0))  # cc had the same
    assert 0 < done.removed < 2 * RECORD
    assert done.left == pytest.approx(stored(store), abs=RECORD)


def test_what_is_young_may_be_in_use(store: StageStore, tmp_path: Path) -> None:
    put(store, "aa", 1)
    assert evict_unneeded(store, tmp_path, None).removed == 0
    assert store.has("aa")
    aged(store)
    assert evict_unneeded(store, tmp_path, None).removed > 10 * KILO
    assert not list(store.root.rglob("*.safetensors"))
    assert not list(store.root.rglob("*.json"))


def test_over_the_limit_the_tensors_used_last_stay(store: StageStore, tmp_path: Path) -> None:
    for number, key in enumerate(("aa", "bb", "cc")):
        put(store, key, number)
        time.sleep(0.02)
    names(tmp_path, "aa", "bb", "cc")
    aged(store)
    store.tensors("aa")
    done = evict_unneeded(store, tmp_path, 21 * KILO + 3 * RECORD)
    assert done.evicted == pytest.approx(10 * KILO, rel=0.05)
    assert [store.has(key) for key in ("aa", "bb", "cc")] == [True, False, True]
    assert store.get("bb").seconds == 1.0
    with pytest.raises(KeyError, match="bb has no tensors"):
        store.tensors("bb")
    put(store, "bb", 1)
    assert store.has("bb")


def test_what_a_running_trial_needs_stays_beyond_the_limit(
    store: StageStore, tmp_path: Path
) -> None:
    put(store, "aa", 1), put(store, "bb", 2)
    names(tmp_path, "aa", "bb")
    aged(store)
    with pinned(store, ["aa", "to be made"]):
        done = evict_unneeded(store, tmp_path, 0)
        assert [store.has("aa"), store.has("bb")] == [True, False]
        assert done.pinned == pytest.approx(10 * KILO, rel=0.05)
    assert not list((store.root / "pins").iterdir())
    evict_unneeded(store, tmp_path, 0)
    assert not store.has("aa")


def test_the_pins_of_a_process_that_was_killed_hold_nothing(
    store: StageStore, tmp_path: Path
) -> None:
    put(store, "aa", 1)
    names(tmp_path, "aa")
    child = os.fork()
    if child == 0:
        with pinned(store, ["aa"]):
            os._exit(0)
    os.waitpid(child, 0)
    assert len(list((store.root / "pins").iterdir())) == 2
    evict_unneeded(store, tmp_path, 0)
    assert not store.has("aa")
    assert not list((store.root / "pins").iterdir())


def test_scores_that_a_running_trial_will_report_stay_however_long_it_takes(
    store: StageStore, tmp_path: Path
) -> None:
    trial = PanelTrial(config(), PANEL, SETTING, store, Heavy(store))
    with pinned(store, trial.store_keys):
        trial.step()  # its record is not written yet
        aged(store)
        evict_unneeded(store, tmp_path, 0)
        for path in ((), trial.paths[0]):
            assert all(
                store.has(trial.lineage.scored(path, task))
                for task in trial.lineage.scored_tasks(path)
            )


# A trial whose stages were evicted ---------------------------------------------------------------

PANEL = Panel((("a", "b"), ("a", "c")))


class Heavy(Scribe):
    """Weights are stored, too."""

    def run(self, job):
        if job.train:
            value = torch.tensor([int(job.key[:6], 16)])
            self.store.put(job.key, trained(seconds=2.0), {"w": value})
            self.jobs.append(job)
            job = dataclasses.replace(job, train=False)
        return super().run(job)


def test_a_trial_is_there_again_without_the_weights_that_it_came_from(
    store: StageStore, tmp_path: Path
) -> None:
    scribe = Heavy(store)
    first = walked(PanelTrial(config("ewc"), PANEL, SETTING, store, scribe))
    names(tmp_path, *first.store_keys, *(record.key for record in first.outcome.cells()))
    heavy = {key for key in first.store_keys if getattr(store.get(key), "blob", None)}
    evict_unneeded(store, tmp_path, 0)
    assert heavy
    assert not any(store.has(key) for key in heavy)
    scribe.jobs.clear()
    again = walked(PanelTrial(config("ewc"), PANEL, SETTING, store, scribe))
    assert not scribe.jobs
    assert again.matrices() == first.matrices()
    assert again.metrics() == pytest.approx(first.metrics(), nan_ok=True)


def test_another_trial_makes_anew_what_it_begins_with_and_no_more(
    store: StageStore, tmp_path: Path
) -> None:
    scribe = Heavy(store)
    first = walked(PanelTrial(config(), PANEL, SETTING, store, scribe))
    names(tmp_path, *first.store_keys, *(record.key for record in first.outcome.cells()))
    evict_unneeded(store, tmp_path, 0)
    scribe.jobs.clear()
    walked(PanelTrial(config("replay"), PANEL, SETTING, store, scribe))
    assert scribe.trained == [("a",), ("a", "b"), ("a", "c")]
    assert not scribe.jobs[0].score  # its scores were there


def test_stages_made_anew_after_a_sweep_have_the_same_bits(toy: Toy, tmp_path: Path) -> None:
    store, quick = StageStore(tmp_path / "stages"), config(epochs=1)
    first = walked(toy.walk(quick, store.root))
    before = blobs(first)
    names(tmp_path, *first.store_keys, *(record.key for record in first.outcome.cells()))
    evict_unneeded(store, tmp_path, 0)
    assert not list(store.root.rglob("*.safetensors"))
    longer = walked(toy.walk(quick, store.root, ("hue", "light", "half"), runner=first.runner))
    assert blobs(longer)[:2] == before
    assert [stage.trained for stage in longer.stages] == [True] * 3
    assert longer.matrices()[0].after(2) == first.matrices()[0]
