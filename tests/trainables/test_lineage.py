from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import scribe as scribes
from scribe import SETTING, Scribe, alike, path
from toy import config

from strategies import StartFrom
from trainables.lineage import Lineage
from trainables.panel import Panel
from trainables.stage_job import Expert
from trainables.store.stage_keys import embedding_key
from trainables.store.stage_store import StageStore

TASKS = ("a", "b", "c", "d")
SIGNATURES = {
    **{"a": alike([1.0, 0.0, 0.1]), "b": alike([0.0, 1.0, 0.0])},
    **{"c": alike([0.1, 1.0, 0.0]), "d": alike([0.9, 0.1, 0.2])},
}
"""c is like b, and d like a."""
HALF = {"signal": "image", "threshold": 0.5}


@pytest.fixture
def scribe(tmp_path: Path) -> Scribe:
    return Scribe(StageStore(tmp_path), SIGNATURES)


def of(
    scribe: Scribe,
    name: str = "eproj",
    fingerprints=SETTING,
    initial=(),
    initial_state="known",
    **knobs,
):
    """The stages of a strategy over all tasks in their order, or those that are not initial."""
    panel = Panel(
        (tuple(t for t in TASKS if t not in initial),), initial=initial, initial_state=initial_state
    )
    return scribes.lineage(config({"name": name, **knobs}), scribe, panel, fingerprints)


def sources(found: Lineage, written: str) -> list[str]:
    """The stage that each stage of a path begins with."""
    whole = path(written)
    begun = [found.source(whole[: i + 1]) for i in range(len(whole))]
    return [">".join(task for group in source for task in group) for source in begun]


# Where stages begin ------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["finetune", "replay", "ewc", "tir", "der", "lwf", "a_gem"])
def test_a_stage_begins_with_the_one_before(name: str, scribe: Scribe) -> None:
    found = of(scribe, name)
    assert sources(found, "a>b>c>d") == ["", "a", "a>b", "a>b>c"]
    assert [found.depth(path(p)) for p in ("", "a", "a>b", "a>b>c>d")] == [0, 1, 2, 4]
    assert found.experts(path("a>b")) == ()


def test_threshold_1_always_expands_from_the_models_own(scribe: Scribe) -> None:
    found = of(scribe)
    assert sources(found, "a>b>c>d") == [""] * 4
    assert [found.depth(path(p)) for p in ("a", "a>b", "a>b>c>d")] == [1, 1, 1]
    assert [e.tasks for e in found.experts(path("a>b>c>d"))] == [(t,) for t in TASKS]


def test_threshold_0_never_expands(scribe: Scribe) -> None:
    found = of(scribe, threshold=0)
    assert sources(found, "a>b>c>d") == ["", "a", "a>b", "a>b>c"]
    (expert,) = found.experts(path("a>b>c>d"))
    assert expert.tasks == TASKS
    assert expert.key == found.key(path("a>b>c>d"))


def test_a_threshold_between_uses_the_most_similar_tasks_expert_again(scribe: Scribe) -> None:
    found = of(scribe, **HALF)
    assert sources(found, "a>b>c>d") == ["", "", "a>b", "a"]
    assert found.start(path("a>b>c")) == StartFrom("b")
    assert found.start(path("a>b")) == StartFrom(None, expert=True)
    assert [found.depth(path(p)) for p in ("a>b", "a>b>c", "a>b>c>d")] == [1, 2, 2]
    kept = {p[-1]: found.kept(path(p))[0][1] for p in ("a", "a>b", "a>b>c", "a>b>c>d")}
    assert found.experts(path("a>b>c")) == (
        Expert(found.key(path("a")), ("a",), (kept["a"],)),
        Expert(found.key(path("a>b>c")), ("b", "c"), (kept["b"], kept["c"])),
    )
    assert found.experts(path("a>b>c>d")) == (
        Expert(found.key(path("a>b>c")), ("b", "c"), (kept["b"], kept["c"])),
        Expert(found.key(path("a>b>c>d")), ("a", "d"), (kept["a"], kept["d"])),
    )


def test_an_expert_that_was_used_again_answers_as_it_was_trained_last(scribe: Scribe) -> None:
    found = of(scribe, **HALF, init="similar")
    # b is new; what it begins with is nearest to it
    assert sources(found, "a>b>c>d") == ["", "a", "a>b", "a"]
    assert sources(found, "b>c>a>d") == ["", "b", "b>c", "b>c>a"]


def test_an_expert_begins_as_the_most_similar_tasks_where_it_is_to(scribe: Scribe) -> None:
    found = of(scribe, init="similar")
    assert sources(found, "a>b>c>d") == ["", "a", "a>b", "a"]
    assert found.start(path("a>b>c")) == StartFrom("b", expert=True)
    assert [found.depth(path(p)) for p in ("a>b", "a>b>c", "a>b>c>d")] == [2, 3, 2]
    assert len(found.experts(path("a>b>c>d"))) == 4


# What is shared ----------------------------------------------------------------------------------


def test_one_expert_with_the_shared_knobs_is_finetune(scribe: Scribe) -> None:
    one = of(scribe, threshold=0, expert="trained", learning_rate=0)
    free = of(scribe, "finetune")
    for written in ("a", "a>b", "a>b>c>d"):
        assert one.key(path(written)) == free.key(path(written))
        assert one.scored(path(written), "a") != free.scored(path(written), "a")


def test_experts_apart_are_the_same_in_every_ordering(scribe: Scribe) -> None:
    found = of(scribe)
    assert found.key(path("a>b>c")) == found.key(path("c")) == found.key(path("d>c"))
    assert found.kept(path("a>c")) == found.kept(path("c"))
    assert found.scored(path("a>c"), "c") != found.scored(path("c"), "c")
    assert of(scribe, init="similar").key(path("a>c")) != found.key(path("a>c"))


def test_thresholds_that_decide_alike_share_their_stages(scribe: Scribe) -> None:
    decided: dict[tuple[str, ...], set[tuple[str, ...]]] = {}
    panel = Panel((TASKS,))
    for number in range(50):
        knobs = {"name": "eproj", "signal": "image", "threshold": number / 49}
        found = scribes.run_trial(config(knobs), scribe, panel)
        keys = tuple(stage.key for stage in found.stages)
        decided.setdefault(tuple(sources(found.lineage, "a>b>c>d")), set()).add(keys)
    assert 2 < len(decided) <= len(TASKS)
    assert all(len(keys) == 1 for keys in decided.values())
    # A stage is decided by the chain of those that it goes on from.
    whole = [path("a>b>c>d")[:i] for i in range(5)]
    chains = set()
    for begun in decided:
        chain: dict[str, tuple[str, ...]] = {"": ()}
        for stage, source in zip(whole[1:], begun, strict=True):
            name = ">".join(task for group in stage for task in group)
            chain[name] = (*chain[source], stage[-1][0])
            chains.add(chain[name])
    assert len(scribe.trained) == len(chains) < len(TASKS) * len(decided)


# The text encoder --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "knobs", "changes"),
    [
        ("finetune", {}, False),
        ("ewc", {}, False),
        ("tir", {}, True),
        ("tir", {"strength": 0}, False),
        ("replay+tir", {"replay_ratio": 0.1}, True),
        ("eproj", {}, False),
    ],
)
def test_another_text_encoder_makes_other_stages_of_what_hangs_on_it(
    name: str, knobs: dict, changes: bool, scribe: Scribe
) -> None:
    other = replace(SETTING, text_encoder="another")
    first, second = of(scribe, name, **knobs), of(scribe, name, other, **knobs)
    assert first.key(path("a")) == second.key(path("a"))
    assert (first.key(path("a>b")) != second.key(path("a>b"))) is changes


def test_another_text_encoder_makes_other_keys_and_retrieves_other_experts(scribe: Scribe) -> None:
    other = replace(SETTING, text_encoder="another")
    first, second = of(scribe), of(scribe, fingerprints=other)
    assert first.kept(path("a")) != second.kept(path("a"))
    assert first.scored(path("a"), "a") != second.scored(path("a"), "a")
    assert first.embeddings() != second.embeddings()
    plain, same = of(scribe, "ewc"), of(scribe, "ewc", other)
    assert plain.kept(path("a")) == same.kept(path("a"))
    assert plain.scored(path("a"), "a") == same.scored(path("a"), "a")


def test_the_control_of_routing_is_scored_apart_and_trained_alike(scribe: Scribe) -> None:
    first, oracle = of(scribe), of(scribe, routing="oracle")
    assert first.key(path("a>b")) == oracle.key(path("a>b"))
    assert first.kept(path("a>b")) == oracle.kept(path("a>b"))
    assert first.scored(path("a>b"), "a") != oracle.scored(path("a>b"), "a")


@pytest.mark.parametrize("name", ["ewc+eproj", "mas+eproj"])
def test_what_was_kept_at_other_weights_makes_another_stage(name: str, scribe: Scribe) -> None:
    """b begins anew either way, but what mattered to d was told by an expert of its own, or by a's."""
    knobs = {"eproj_signal": "image", f"{name.split('+')[0]}_strength": 1e4}
    apart, again = (of(scribe, name, eproj_threshold=t, **knobs) for t in (1.0, 0.5))
    assert sources(apart, "a>d>b") == ["", "", ""]
    assert sources(again, "a>d>b") == ["", "a", ""]
    assert apart.key(path("a>d>b")) != again.key(path("a>d>b"))
    plain = [of(scribe, threshold=t, signal="image") for t in (1.0, 0.5)]
    assert len({found.key(path("a>d>b")) for found in plain}) == 1


def test_the_order_of_experts_is_no_part_of_a_scores_key(scribe: Scribe) -> None:
    found = of(scribe)
    assert found.scored(path("a>b"), "a") == found.scored(path("b>a"), "a")


# Initial tasks -----------------------------------------------------------------------------------


@pytest.mark.parametrize("initial_state", ["trained", "known"])
def test_initial_tasks_share_the_first_expert(initial_state: str, scribe: Scribe) -> None:
    found = of(scribe, initial=("a", "b"), initial_state=initial_state)
    assert (found.key(()) == found.base) is (initial_state == "known")
    keys = dict(found.kept(()))
    assert list(keys) == ["a", "b"]
    assert found.experts(()) == (Expert(found.key(()), ("a", "b"), (keys["a"], keys["b"])),)
    assert sources(found, "c>d") == ["", ""]
    assert [e.tasks for e in found.experts(path("c>d"))] == [("a", "b"), ("c",), ("d",)]


@pytest.mark.parametrize("initial_state", ["trained", "known"])
def test_an_initial_expert_that_is_used_again_is_still_there_to_begin_with(
    initial_state: str, scribe: Scribe
) -> None:
    found = of(
        scribe, initial=("a", "b"), initial_state=initial_state, signal="image", threshold=0.6
    )
    assert sources(found, "c>d") == ["", "c"]
    assert [e.tasks for e in found.experts(path("c>d"))] == [("a", "b", "c", "d")]
    apart = of(scribe, initial=("a",), initial_state=initial_state, signal="image", threshold=0.75)
    assert sources(apart, "d>b>c") == ["", "", "d>b"]
    assert [e.tasks for e in apart.experts(path("d>b"))] == [("a", "d"), ("b",)]
    assert apart.owners(path("d>b"))[-1].path == path("d>b")


def test_signatures_are_asked_for_by_those_who_use_them(scribe: Scribe) -> None:
    assert of(scribe, "ewc").embeddings() == of(scribe, "replay").embeddings() == []
    signed = of(scribe, "tir", initial=("d",)).embeddings()
    assert [task for task, _ in signed] == ["d", "a", "b", "c"]
    tir = of(scribe, "tir", initial=("d",))
    assert signed[0][1] == embedding_key(SETTING, tir.config, "d")
    held = replace(tir.config, training=replace(tir.config.training, precision="bf16"))
    assert embedding_key(SETTING, held, "d") != signed[0][1]
