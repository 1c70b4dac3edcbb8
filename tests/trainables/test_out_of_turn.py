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
from stored import trained as trained_record
from toy import config

from trainables.panel import Panel
from trainables.store.stage_store import StageStore
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
def stepping(trial: PanelTrial, key: str) -> Iterator[None]:
    """A thread makes the next stage; meanwhile another trial makes what `key` names."""
    thread = threading.Thread(target=trial.step)
    with trial.store.lease(key):
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
    trial = begun(scribe)
    with stepping(trial, trial.key(path("a"))):
        until(lambda: trained(scribe) == ["b", "b>a"])
        assert trial.completed == 0
        scribe.store.put(trial.key(path("a")), trained_record(seconds=7.0))
        time.sleep(0.3)
        assert trained(scribe) == ["b", "b>a"]  # nothing that hangs on the stage that is not there
    assert trial.completed == 1
    assert trial.stages[0].trained is False
    assert 0.2 < trial.stages[0].waited < 5
    while not trial.finished:
        trial.step()
    assert trained(scribe) == ["b", "b>a", "a>b", "a>c"]
    assert [">".join(t for group in s.tasks for t in group) for s in trial.stages] == IN_TURN
    assert [stage.trained for stage in trial.stages] == [False, True, True, True, True]
    assert all(stage.waited == 0 for stage in trial.stages[1:])


def test_a_lane_gets_ready_while_its_trial_waits_and_only_a_ready_one_waits(tmp_path: Path) -> None:
    def waited(slow: int) -> float:
        scribe = Scribe(StageStore(tmp_path / str(slow)), slow=slow)
        trial = begun(scribe)
        keys = [trial.key(path(name)) for name in "ab"]
        with trial.store.lease(keys[1]), stepping(trial, keys[0]):
            until(lambda: scribe.asked > 2)
            scribe.store.put(keys[0], trained_record(seconds=7.0))
        assert trial.completed == 1
        return trial.stages[0].waited

    assert waited(slow=0) > 0
    assert waited(slow=10**9) == 0


def test_the_scores_of_the_model_itself_hold_up_no_training(scribe: Scribe) -> None:
    trial = begun(scribe)
    with stepping(trial, trial.lineage.base):
        until(lambda: trained(scribe) == ["a", "a>b", "b", "b>a", "a>c"])
    assert trial.completed == 1


@pytest.mark.parametrize("name", ["ewc", "finetune"])
def test_no_stage_begins_before_what_is_kept_of_known_initial_tasks(
    scribe: Scribe, name: str
) -> None:
    known = Panel(ORDERINGS, initial=("d",), initial_state="known")
    trial = PanelTrial(config(name), known, SETTING, scribe.store, scribe)
    with stepping(trial, trial.lineage.base):
        if name == "ewc":
            time.sleep(0.4)
            assert not scribe.trained
        else:
            ahead = [("a",), ("a", "b"), ("b",), ("b", "a"), ("a", "c")]
            until(lambda: [stage[1:] for stage in scribe.trained] == ahead)
    assert trial.completed == 1
    assert trial.outcome.before.waited > 0.1 or name == "finetune"


def test_what_was_made_ahead_stands_in_the_record(scribe: Scribe) -> None:
    trial = begun(scribe)
    with stepping(trial, trial.key(path("a"))):
        until(lambda: len(scribe.trained) == 2)
        ahead = trial.record("it", "running").ahead
        assert [stage.key for stage in ahead][:1] == [trial.key(path("b"))]
        assert all(stage.trained for stage in ahead)
    while not trial.finished:
        trial.step()
    assert trial.record("it", "finished").ahead == ()


def test_what_was_made_ahead_is_compared_in_its_turn(scribe: Scribe) -> None:
    trial = begun(scribe)
    with stepping(trial, trial.key(path("a"))):
        until(lambda: len(scribe.trained) == 2)
        assert trial.outcome.seen_scores() == []
    other = begun(Scribe(scribe.store))
    while not other.finished:
        other.step()
    while not trial.finished:
        trial.step()
        assert trial.outcome.seen_scores() == other.outcome.seen_scores()[: trial.completed]
    assert trial.matrices() == other.matrices()


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

    def whole(trial: PanelTrial) -> None:
        while not trial.finished:
            trial.step()

    threads = [threading.Thread(target=whole, args=[trial]) for trial in walks]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=120)
    made = [stage for scribe in scribes for stage in trained(scribe)]
    assert sorted(made) == sorted(IN_TURN)
    counted = [stage.trained for trial in walks for stage in trial.stages]
    assert sum(counted) == len(IN_TURN)
    assert all(trial.matrices() == walks[0].matrices() for trial in walks)
