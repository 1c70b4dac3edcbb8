from __future__ import annotations

import pickle
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from test_ewc import GivenGradients
from toy import Toy, blobs, config, walked

from spaces import Adapter, InputError, Training, knobs_of
from strategies import (
    AGEM,
    DER,
    EWC,
    Composed,
    EProj,
    LwF,
    Outputs,
    Queries,
    Replay,
    StageContext,
    StartFrom,
    Strategy,
    strategy_class,
)
from strategies.outputs import ENDED
from strategies.similarity import MODALITIES

SECOND = StageContext(("b",), (("a",),), dict.fromkeys(MODALITIES, (0.5,)))
NAMES = ("replay+ewc", "replay+tir", "replay+eproj", "der+lwf")
NEW, OLD = [("b", 0), ("b", 1)], {"a": 20}


def shuffled(task: str) -> Sequence[int]:
    return list(reversed(range(20)))


def made(name: str, **knobs) -> Composed:
    found = strategy_class(name)(**knobs)
    assert isinstance(found, Composed)
    return found


# Names and knobs ----------------------------------------------------------------------------------


def test_its_knobs_are_those_of_its_parts_with_their_names_before() -> None:
    found = knobs_of(strategy_class("replay+ewc"))
    assert list(found) == [
        *(f"replay_{name}" for name in knobs_of(Replay)),
        *(f"ewc_{name}" for name in knobs_of(EWC)),
    ]
    for cls in (Replay, EWC):
        for name, knob in knobs_of(cls).items():
            assert found[f"{cls.name}_{name}"] == knob
    strategy = made("replay+ewc", replay_ratio=0.1, ewc_strength=1e3)
    assert strategy.name == "replay+ewc"
    assert strategy.parts == [Replay(ratio=0.1), EWC(strength=1e3)]
    with pytest.raises(InputError, match=r"replay\+ewc.replay_ratio must lie in"):
        made("replay+ewc", replay_ratio=0.9)


def test_a_composition_is_one_class_and_can_be_pickled() -> None:
    assert strategy_class("replay+ewc") is strategy_class("replay + ewc")
    assert strategy_class("replay+ewc") is strategy_class("ewc+replay")
    strategy = made("replay+lwf+ewc", lwf_strength=2.0)
    assert strategy.name == "replay+ewc+lwf"
    again = pickle.loads(pickle.dumps(strategy))
    assert again == strategy
    assert type(again) is type(strategy)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("replay+replay", r'must name different strategies, got "replay\+replay"'),
        ("replay+ewc+replay", "must name different strategies"),
        ("replay+finetune", r"strategies that do something, got .* with finetune"),
        ("joint+ewc", r"strategies that do something, got .* with joint"),
        ("replay+der", "train old examples again in one way only, got replay and der"),
        ("replay+ewk", 'unknown strategy "ewk".*did you mean "ewc"'),
        ("replay+", "unknown strategy"),
    ],
)
def test_strategies_that_cannot_be_joined_are_an_input_error(name: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        strategy_class(name)


def test_every_hook_and_flag_of_strategies_is_joined() -> None:
    """Fail for a new hook until `Composed` joins it."""
    hooks = {
        name
        for name, value in vars(Strategy).items()
        if not name.startswith("_")
        and (callable(value) or isinstance(value, property | classmethod))
    }
    assert hooks - vars(Composed).keys() == {"knobs", "kept_name"}  # both follow from the names
    flags = {
        name
        for name, value in vars(Strategy).items()
        if isinstance(value, bool) and not name.startswith("_")
    }
    joined = vars(strategy_class("replay+ewc")).keys()
    assert flags - joined == {"is_reference"}


def test_the_curriculum_is_the_one_of_the_part_that_has_its_own(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert made("replay+ewc").curriculum(("a", "b")) == (("a",), ("b",))
    monkeypatch.setattr(EWC, "curriculum", lambda self, ordering: (tuple(ordering),))
    assert made("replay+ewc").curriculum(("a", "b")) == (("a", "b"),)


def test_it_has_the_flags_of_its_parts() -> None:
    flags = {n: (strategy_class(n).needs_similarity, strategy_class(n).has_experts) for n in NAMES}
    assert flags == {
        **{"replay+ewc": (False, False), "replay+tir": (True, False)},
        **{"replay+eproj": (True, True), "der+lwf": (False, False)},
    }


# Hooks -------------------------------------------------------------------------------------------


def test_effective_knobs_are_those_of_the_parts_that_act() -> None:
    strategy = made("replay+ewc", ewc_strength=0)
    assert strategy.effective(SECOND) == {"replay_ratio": 0.01}
    assert strategy.effective(StageContext(("a",))) == {}
    both = made("replay+ewc").effective(SECOND)
    assert set(both) == {
        *("replay_ratio", "ewc_strength", "ewc_importance_examples", "ewc_importance_batch"),
    }
    assert made("replay+ewc").consolidation_knobs() == {
        "ewc_importance_examples": 1000,
        "ewc_importance_batch": 1,
    }
    assert made("replay+lwf").consolidation_knobs() is None
    assert made("replay+eproj").routing_knobs() == {"eproj_routing": "retrieved"}


def test_shared_knobs_and_the_start_come_from_the_part_that_sets_them() -> None:
    training, adapter = Training(learning_rate=2e-4), Adapter(parts="lm_lora")
    found = made("replay+eproj").override_shared(training, adapter)
    assert found == EProj().override_shared(training, adapter)
    assert made("replay+ewc").override_shared(training, adapter) == (training, adapter)
    assert made("replay+eproj").begin(SECOND) == StartFrom(None, expert=True)
    assert made("replay+eproj", eproj_threshold=0.0).begin(SECOND) == StartFrom("a")
    assert made("replay+ewc").begin(SECOND) == StartFrom("a")


def test_mixes_chain() -> None:
    strategy = made("replay+a_gem", replay_ratio=0.1, a_gem_ratio=0.05)
    strategy.prepare({}, [], SECOND)
    assert strategy.mix(NEW, OLD, shuffled) == [*NEW, ("a", 19), ("a", 18)]
    assert strategy.memory_batch(0, 2) == [("a", 19)] * 2
    shared = {"replay_variant": "share", "replay_ratio": 0.1, "replay_share": 0.5}
    filled = made("ewc+replay", **shared)
    assert filled.mix(NEW, OLD, shuffled) == NEW
    assert filled.replayed_per_batch(8) == 4
    assert filled.replay_batch(0, 4) == [("a", 19), ("a", 18)] * 2


def test_penalties_add_and_kept_tensors_stay_apart() -> None:
    strategy = made("ewc+mas", ewc_strength=1e3, mas_strength=1e4)
    learner = GivenGradients([1.0, 0.0, 2.0], [-3.0, 1.0, 1.0])
    kept = strategy.consolidate(learner, "a", 8)
    assert kept["ewc/w"].tolist() == pytest.approx([10 / 16, 1 / 16])
    assert kept["mas/w"].tolist() == pytest.approx([4 / 8, 1 / 8])
    assert set(kept) == {"ewc/w", "ewc/v", "mas/w", "mas/v"}
    start = {"w": torch.zeros(2), "v": torch.zeros(1)}
    strategy.prepare(start, [kept], SECOND)
    assert strategy.has_penalty()
    paid = strategy.penalty_gradient({"w": torch.tensor([1.0, -2.0]), "v": torch.ones(1)})
    expected = [2e3 * 10 / 16 + 2e4 * 4 / 8, -2 * (2e3 / 16 + 2e4 / 8)]
    assert paid["w"].tolist() == pytest.approx(expected)
    assert paid["v"].tolist() == pytest.approx([2e3 * 5 / 16 + 2e4 * 3 / 8])


def test_a_part_that_is_switched_off_adds_no_penalty() -> None:
    strategy = made("ewc+mas", ewc_strength=0, mas_strength=1e4)
    kept = strategy.consolidate(GivenGradients([1.0, 0.0, 2.0]), "a", 8)
    strategy.prepare({"w": torch.zeros(2), "v": torch.zeros(1)}, [kept], SECOND)
    paid = strategy.penalty_gradient({"w": torch.ones(2), "v": torch.ones(1)})
    assert paid["w"].tolist() == pytest.approx([2e4 / 3, 0.0])
    off = made("ewc+mas", ewc_strength=0, mas_strength=0)
    off.prepare({"w": torch.zeros(2)}, [kept], SECOND)
    assert not off.has_penalty()


def test_distillation_terms_add() -> None:
    draw = torch.Generator().manual_seed(0)
    said, before = (torch.randn(2, 2, 4, generator=draw) for _ in range(2))
    answers = torch.tensor([[0, 1], [2, ENDED]])
    outputs = Outputs([("b", 0), ("a", 19)], said, answers, before)
    kept = [{"rows": torch.tensor([19]), "lengths": torch.tensor([1]), "logits": before[1, :1]}]
    strategy = made("lwf+der", der_ratio=0.05, lwf_strength=2.0)
    strategy.prepare({}, [{f"der/{n}": v for n, v in kept[0].items()}], SECOND)
    strategy.mix(NEW, OLD, shuffled)
    lwf, der = LwF(strength=2.0), DER(ratio=0.05)
    lwf.prepare({}, [], SECOND)
    der.prepare({}, kept, SECOND)
    der.mix(NEW, OLD, shuffled)
    assert strategy.needs_teacher()
    paid = [part.distil(outputs) for part in (lwf, der)]
    assert float(strategy.distil(outputs)) == pytest.approx(float(sum(paid)), rel=1e-6)
    quiet = Outputs([("b", 0)], said[:1], answers[:1])
    assert strategy.distil(quiet) is None


def test_the_projection_of_a_part_is_applied() -> None:
    strategy = made("ewc+a_gem", a_gem_ratio=0.05)
    assert strategy.mix(NEW, OLD, shuffled) == NEW
    assert strategy.memory_batch(0, 2) == [("a", 19)] * 2
    own, memory = {"w": torch.tensor([1.0, -2.0])}, {"w": torch.tensor([1.0, 1.0])}
    assert torch.equal(strategy.project(own, memory)["w"], AGEM().project(own, memory)["w"])
    agreed = {"w": torch.tensor([1.0, 0.0])}
    assert strategy.project(own, agreed) is own


def test_examples_are_routed_by_the_keys_among_the_kept_tensors() -> None:
    strategy = made("ewc+eproj")
    keys = [{"image": torch.eye(2)[i], "instruction": torch.eye(2)[i]} for i in range(2)]
    kept = [{"ewc/w": torch.zeros(3), **{f"eproj/{n}": v for n, v in own.items()}} for own in keys]
    asked = Queries(torch.eye(2), torch.eye(2))
    assert strategy.route(asked, kept, None) == EProj().route(asked, keys, None) == [0, 1]
    assert set(strategy.routing_tensors(kept[0])) == {"image", "instruction"}
    assert made("ewc+mas").routing_tensors({"ewc/w": torch.zeros(3)}) == {}


def test_warnings_of_all_parts_are_joined() -> None:
    said = made("replay+a_gem").warning({"a": 10, "b": 1000})
    assert said == (
        "replay with ratio 0.01 draws no example of a; a_gem with ratio 0.01 draws no example of a"
    )
    assert made("replay+ewc", replay_ratio=0.3).warning({"a": 10}) == ""


# In the loop -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "off", "active"),
    [
        ("replay+ewc", {"ewc_strength": 0}, {"name": "replay", "ratio": 0.3}),
        ("ewc+replay", {"replay_ratio": 0}, {"name": "ewc", "strength": 1e4}),
    ],
)
def test_one_part_alone_is_that_strategy_to_the_last_bit(
    name: str, off: dict, active: dict, toy: Toy, tmp_path: Path
) -> None:
    own = {f"{active['name']}_{knob}": v for knob, v in active.items() if knob != "name"}
    both = walked(toy.walk(config({"name": name, **off, **own}, epochs=1), tmp_path / "both"))
    one = walked(toy.walk(config(active, epochs=1), tmp_path / "one"))
    assert both.stages[1].key != one.stages[1].key
    assert blobs(both) == blobs(one)


def test_experts_beside_another_strategy_are_counted_alone(toy: Toy, tmp_path: Path) -> None:
    knobs = {"ewc_importance_batch": 12, "eproj_key_steps": 50, "eproj_key_rate": 0.05}
    walk = walked(toy.walk(config({"name": "ewc+eproj", **knobs}, epochs=1), tmp_path))
    projection = walk.store.get(walk.stages[0].key).parameters
    assert walk.metrics()["added_parameters"] == projection + 2 * (32 + 32)
    kept = [walk.store.get(k).blob.bytes for p in walk.paths for _, k in walk.lineage.kept(p)]
    second = walk.store.get(walk.stages[1].key).blob.bytes
    assert walk.metrics()["stored_bytes"] == second + sum(kept)
