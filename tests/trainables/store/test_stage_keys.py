from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from toy import adapted, config

from strategies import Learner, StageContext, Tensors, strategy_class
from strategies.ewc import EWC
from strategies.similarity import MODALITIES
from trainables.panel import Panel
from trainables.stage_job import Expert, Fingerprints
from trainables.store import stage_keys
from trainables.store.code_fingerprint import import_closure
from trainables.store.digest import stage_seed
from trainables.store.stage_keys import (
    embedding_key,
    kept_key,
    routed_key,
    scored_key,
    trained_key,
)
from trainables.store.stage_store import StageStore
from trainables.trial import PanelTrial

TASKS = ("a", "b", "c")
SETTING = Fingerprints(model="m", tasks={t: f"data of {t}" for t in TASKS}, seed=0, workers=1)


def key(
    strategy="finetune", path: str = "a>b", fingerprints: Fingerprints = SETTING, **training
) -> str:
    """The key of the last stage of `path`."""
    chosen = strategy if hasattr(strategy, "adapter") else config(strategy, **training)
    tasks = tuple(path.split(">"))
    unrun = PanelTrial(chosen, Panel((tasks,)), fingerprints, StageStore(Path("nowhere")), None)
    return unrun.key(chosen.strategy.curriculum(tasks))


REPLAYS = [{"name": "replay", "ratio": ratio} for ratio in (0.01, 0.3)]
EWCS = [{"name": "ewc", "strength": strength} for strength in (1e3, 1e9)]


def test_the_first_stage_is_the_same_for_every_strategy_and_its_strength() -> None:
    assert len({key(s, "a") for s in ("finetune", "replay", "ewc", *REPLAYS, *EWCS)}) == 1


def test_from_the_second_stage_on_a_strategy_and_its_knobs_count() -> None:
    assert len({key(s, "a>b") for s in ("finetune", *REPLAYS, *EWCS)}) == 5


def test_a_knob_without_effect_on_a_stage_is_not_in_its_key() -> None:
    decays = [{"name": "ewc", "decay": decay} for decay in (1.0, 0.5)]
    assert len({key(s, "a>b") for s in decays}) == 1
    assert len({key(s, "a>b>c") for s in decays}) == 2
    wide, narrow = (adapted(config(), parts="connector", rank=rank) for rank in (4, 64))
    assert key(wide) == key(narrow)


OFF = [
    *({"name": name, "strength": 0} for name in ("ewc", "mas", "tir", "lwf")),
    *({"name": name, "ratio": 0} for name in ("replay", "a_gem", "der")),
    {"name": "replay", "variant": "count", "count": 0},
    *({"name": "replay", "variant": "share", knob: 0} for knob in ("ratio", "share")),
    {"name": "replay+ewc", "replay_ratio": 0, "ewc_strength": 0},
]


def test_a_strategy_that_is_switched_off_has_the_keys_of_finetune() -> None:
    uninformed = [off for off in OFF if off["name"] != "tir"]
    assert {key(off, "a>b") for off in uninformed} == {key("finetune", "a>b")}
    assert key({"name": "der", "alpha": 0}) != key("finetune")
    for off in OFF:
        strategy = config(off).strategy
        assert strategy.effective(StageContext(("b",), (("a",),), {})) == {}, off


def test_only_the_knobs_of_the_chosen_kind_of_replay_count() -> None:
    def replay(**knobs) -> str:
        return key({"name": "replay", **knobs}, "a>b")

    assert replay() == replay(count=5) == replay(share=0.5)
    counted = {"variant": "count"}
    assert replay(**counted) == replay(**counted, ratio=0.1) != replay(**counted, count=5)
    shared = {"variant": "share"}
    assert replay(**shared) == replay(**shared, count=5)
    assert len({replay(**shared, **k) for k in ({}, {"ratio": 0.1}, {"share": 0.5})}) == 3


def test_what_is_kept_depends_on_the_estimate_and_not_on_the_strength() -> None:
    def kept(**knobs) -> str:
        unrun = PanelTrial(
            config({"name": "ewc", **knobs}),
            Panel((TASKS,)),
            SETTING,
            StageStore(Path("nowhere")),
            None,
        )
        return unrun.job((("a",),)).to_consolidate

    assert kept() == kept(strength=1e3) == kept(decay=0.5)
    assert kept() != kept(importance_examples=10)


def test_strategies_that_keep_the_same_of_a_stage_share_it() -> None:
    def kept(name: str, **knobs) -> str | None:
        return kept_key(SETTING, config({"name": name, **knobs}), "weights", "a")

    assert kept("ewc") == kept("tir") == kept("tir", strength=0, signal="image")
    assert kept("mas") == kept("tir", importances="mas") != kept("ewc")
    assert kept("tir", importance_batch=4) != kept("tir")
    assert kept("finetune") is kept("lwf") is kept("a_gem") is kept("der", alpha=0) is None
    assert kept("der") != kept("der", ratio=0.3)
    assert kept("der") == kept("der", beta=1.0)
    assert kept("eproj") == kept("eproj", threshold=0.5) != kept("eproj", key_steps=5)


def test_a_constant_that_consolidation_reads_is_in_the_key_of_what_is_kept() -> None:
    class Constant(EWC):
        name = "constant"
        size = 1.0

        def consolidate(self, learner: Learner, task: str, size: int) -> Tensors:
            return {"size": torch.full((1,), self.size)}

    class Other(Constant):
        size = 2.0

    class Same(Constant):
        unread = 3.0

    codes = {cls: stage_keys._consolidation_code(cls) for cls in (Constant, Other, Same)}
    assert codes[Constant] == codes[Same] != codes[Other]


def test_the_similarity_of_old_tasks_is_in_the_key_of_a_strategy_that_reads_it() -> None:
    def trained(similarity: float, name: str) -> str:
        context = StageContext(("b",), (("a",),), dict.fromkeys(MODALITIES, (similarity,)))
        return trained_key(SETTING, config(name), "parent", context, 2, ("kept",))

    assert trained(0.25, "tir") != trained(0.5, "tir")
    assert trained(0.25, "ewc") == trained(0.5, "ewc")


DIFFERENT = {
    "seed": lambda: key(fingerprints=replace(SETTING, seed=1)),
    "model": lambda: key(fingerprints=replace(SETTING, model="n")),
    "workers": lambda: key(fingerprints=replace(SETTING, workers=2)),
    "data": lambda: key(fingerprints=replace(SETTING, tasks={**SETTING.tasks, "b": "other data"})),
    "data before": lambda: key(
        fingerprints=replace(SETTING, tasks={**SETTING.tasks, "a": "other"})
    ),
    "rank": lambda: key(adapted(config(), rank=16)),
    "parts": lambda: key(adapted(config(), parts="lm_lora")),
    "learning rate": lambda: key(learning_rate=0.001),
    "precision": lambda: key(precision="bf16"),
    "ZeRO": lambda: key(zero=2),
    "order": lambda: key(path="b>a"),
    "position": lambda: key(path="b"),
}


@pytest.mark.parametrize("what", DIFFERENT)
def test_a_key_differs_by_all_that_has_effect(what: str) -> None:
    assert DIFFERENT[what]() != key()


def test_data_of_a_later_task_do_not_change_an_earlier_stage() -> None:
    assert key(path="a", fingerprints=replace(SETTING, tasks={**SETTING.tasks, "b": "x"})) == key(
        path="a"
    )


def test_joint_tuning_has_one_key_for_every_ordering() -> None:
    assert len({key("joint", path) for path in ("a>b>c", "c>a>b")}) == 1
    assert key("joint", "a>b>c") != key("joint", "a>b")


def test_the_seed_of_a_stage_is_of_the_plans_seed_its_tasks_and_its_position() -> None:
    seeds = [stage_seed(0, "a", 1), stage_seed(1, "a", 1), stage_seed(0, "b", 1)]
    seeds += [stage_seed(0, "a", 2), stage_seed(0, ("a", "b"), 1)]
    assert len(set(seeds)) == 5
    assert stage_seed(0, ("a",), 1) == stage_seed(0, ["a"], 1)


def all_keys(chosen) -> dict[str, str | None]:
    """A key of each kind, after the second stage."""
    trial = PanelTrial(chosen, Panel((TASKS,)), SETTING, StageStore(Path("nowhere")), None)
    context = StageContext(("b",), (("a",),))
    expert = Expert("weights", ("a",), ("kept",))
    return {
        "base": trial.lineage.base,
        "first": trial.key((("a",),)),
        "trained": trained_key(SETTING, chosen, "parent", context, 2),
        "kept": kept_key(SETTING, chosen, "weights", "a"),
        "embedding": embedding_key(SETTING, chosen, "a"),
        "scored": scored_key(SETTING, "weights", "a", "validation"),
        "routed": routed_key(SETTING, chosen, [expert], "a", "validation"),
    }


def differing(name: str, code: str, monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """The kinds of key that differ where `code`, a function of `stage_keys`, returns another print."""
    chosen = config({"name": name})
    before = all_keys(chosen)
    monkeypatch.setattr(stage_keys, code, lambda *args: "other code")
    return {kind for kind, key in all_keys(chosen).items() if key != before[kind]}


def test_the_code_of_the_rank_is_in_the_keys_of_all_that_stages_make(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # Consolidated tensors and scores hold it by way of the weights that they are made from.
    expected = {"base", "first", "trained", "embedding"}
    assert differing("ewc", "rank_code", monkeypatch) == expected


@pytest.mark.parametrize("name", ["ewc", "lwf", "replay+ewc"])
def test_the_code_of_a_strategy_is_in_the_keys_where_it_acts(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    composed = {"kept"} if "+" in name else set()
    assert differing(name, "acting_code", monkeypatch) == {"trained", "routed"} | composed


def test_the_code_of_consolidation_is_in_the_key_of_what_it_makes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert differing("ewc", "_consolidation_code", monkeypatch) == {"kept"}


@pytest.mark.parametrize(
    ("name", "inside", "outside"),
    [
        ("ewc", "strategies.regulariser", "strategies.mas"),
        ("replay+ewc", "strategies.replay", "strategies.lwf"),
        ("mas", "strategies.ewc", "strategies.tir"),
    ],
)
def test_the_code_of_a_strategy_is_that_of_its_classes_and_its_parts(
    name: str, inside: str, outside: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def noted(modules, libraries=()) -> str:
        asked.extend(import_closure(*modules))
        return "code"

    monkeypatch.setattr(stage_keys, "code_fingerprint", noted)
    stage_keys.acting_code.__wrapped__(strategy_class(name))
    assert inside in asked and outside not in asked


def test_the_rank_and_its_libraries_are_in_the_code_of_every_stage(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[tuple[list[str], tuple[str, ...]]] = []
    monkeypatch.setattr(stage_keys, "code_fingerprint", lambda *given: asked.append(given) or "")
    stage_keys.rank_code.__wrapped__()
    ((modules, libraries),) = asked
    assert modules == ["trainables.rank.worker"]
    assert {"torch", "transformers", "peft", "deepspeed", "tokenizers"} <= set(libraries)
