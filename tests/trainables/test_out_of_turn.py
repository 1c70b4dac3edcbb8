"""Two trials that want one stage at once: one trains it, the other goes on with another branch."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from scribe import SETTING, Scribe, path
from toy import config

from trainables.panel import Panel
from trainables.store.stage_store import StageStore
from trainables.trainable import trial_record
from trainables.trial import PanelTrial

ORDERINGS = (("a", "b"), ("b", "a"), ("a", "c"))
PANEL = Panel(ORDERINGS)
IN_TURN = ["a", "a>b", "b", "b>a", "a>c"]


@pytest.fixture
def scribe(tmp_path: Path) -> Scribe:
    return Scribe(StageStore(tmp_path))


def begun(scribe: Scribe) -> PanelTrial:
    return PanelTrial(config(), PANEL, SETTING, scribe.store, scribe)


@contextmanager
def stepping(walk: PanelTrial, key: str) -> Iterator[None]:
    """A thread makes the next stage; meanwhile another trial makes what `key` names."""
    thread = threading.Thread(target=walk.step)
    with walk.store.lease(key):
        thread.start()
        yield
    thread.join(timeout=60)
    assert not thread.is_alive()


def until(holds) -> None:
    end = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.01)


def trained(scribe: Scribe) -> list[str]:
    return [">".join(tasks) for tasks in scribe.trained]


def test_while_another_makes_a_stage_those_that_hang_on_others_are_made(scribe: Scribe) -> None:
    walk = begun(scribe)
    with stepping(walk, walk.key(path("a"))):
        until(lambda: trained(scribe) == ["b", "b>a"])
        assert walk.done == 0
        scribe.store.put(walk.key(path("a")), {"kind": "trained", "seconds": 7.0})
        time.sleep(0.3)
        assert trained(scribe) == ["b", "b>a"]  # nothing that hangs on the stage that is not there
    assert walk.done == 1
    assert walk.stages[0]["trained"] is False
    assert 0.2 < walk.stages[0]["waited"] < 5
    while not walk.finished:
        walk.step()
    assert trained(scribe) == ["b", "b>a", "a>b", "a>c"]
    assert [">".join(t for group in s["tasks"] for t in group) for s in walk.stages] == IN_TURN
    assert [stage["trained"] for stage in walk.stages] == [False, True, True, True, True]
    assert all(stage["waited"] == 0 for stage in walk.stages[1:])


def test_a_lane_gets_ready_while_its_trial_waits_and_only_a_ready_one_waits(tmp_path: Path) -> None:
    def waited(slow: int) -> float:
        scribe = Scribe(StageStore(tmp_path / str(slow)), slow=slow)
        walk = begun(scribe)
        keys = [walk.key(path(name)) for name in "ab"]
        with walk.store.lease(keys[1]), stepping(walk, keys[0]):
            until(lambda: scribe.asked > 2)
            scribe.store.put(keys[0], {"kind": "trained", "seconds": 7.0})
        assert walk.done == 1
        return walk.stages[0]["waited"]

    assert waited(slow=0) > 0
    assert waited(slow=10**9) == 0


def test_the_scores_of_the_model_itself_hold_up_no_training(scribe: Scribe) -> None:
    walk = begun(scribe)
    with stepping(walk, walk.lineage.base):
        until(lambda: trained(scribe) == ["a", "a>b", "b", "b>a", "a>c"])
    assert walk.done == 1


@pytest.mark.parametrize("name", ["ewc", "finetune"])
def test_no_stage_begins_before_what_is_kept_of_known_initial_tasks(
    scribe: Scribe, name: str
) -> None:
    known = Panel(ORDERINGS, initial=("d",), learnt="known")
    walk = PanelTrial(config(name), known, SETTING, scribe.store, scribe)
    with stepping(walk, walk.lineage.base):
        time.sleep(0.4)
        ahead = [stage[1:] for stage in scribe.trained]
        assert ahead == (
            [] if name == "ewc" else [("a",), ("a", "b"), ("b",), ("b", "a"), ("a", "c")]
        )
    assert walk.done == 1
    assert walk.before["waited"] > 0.1 or name == "finetune"


def test_what_was_made_ahead_stands_in_the_record(scribe: Scribe) -> None:
    walk = begun(scribe)
    with stepping(walk, walk.key(path("a"))):
        until(lambda: len(scribe.trained) == 2)
        ahead = trial_record("it", walk, "running")["ahead"]
        assert [stage["key"] for stage in ahead][:1] == [walk.key(path("b"))]
        assert all(stage["trained"] for stage in ahead)
    while not walk.finished:
        walk.step()
    assert trial_record("it", walk, "finished")["ahead"] == []


def test_what_was_made_ahead_is_compared_in_its_turn(scribe: Scribe) -> None:
    walk = begun(scribe)
    with stepping(walk, walk.key(path("a"))):
        until(lambda: len(scribe.trained) == 2)
        assert walk.seen() == []
    other = begun(Scribe(scribe.store))
    while not other.finished:
        other.step()
    while not walk.finished:
        walk.step()
        assert walk.seen() == other.seen()[: walk.done]
    assert walk.matrices() == other.matrices()


@dataclass
class Slow(Scribe):
    """Notes when it begins and ends; a stage takes a while."""

    at_work: list[str] = field(default_factory=list)

    def run(self, job):
        time.sleep(0.05)
        return super().run(job)


def test_four_trials_at_once_train_no_stage_twice(tmp_path: Path) -> None:
    store = StageStore(tmp_path)
    scribes = [Slow(store) for _ in range(4)]
    walks = [begun(scribe) for scribe in scribes]

    def whole(walk: PanelTrial) -> None:
        while not walk.finished:
            walk.step()

    threads = [threading.Thread(target=whole, args=[walk]) for walk in walks]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=120)
    made = [stage for scribe in scribes for stage in trained(scribe)]
    assert sorted(made) == sorted(IN_TURN)
    counted = [stage["trained"] for walk in walks for stage in walk.stages]
    assert sum(counted) == len(IN_TURN)
    assert all(walk.matrices() == walks[0].matrices() for walk in walks)
