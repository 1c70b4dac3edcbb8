from __future__ import annotations

import json
import pickle

import pytest
import yaml
from toy import adapted, config

from spaces import Adapter, InputError, Training
from strategies import EWC, STRATEGIES, StageContext
from trainables.config import TrialConfig

CHANGED = {
    "strategy": {"name": "ewc", "strength": 1e4, "decay": 0.5},
    "training": {"learning_rate": 0.001, "schedule": "linear", "zero": 2, "epochs": 3},
    "adapter": {"parts": "lm_lora", "rank": 4, "dropout": 0.1},
}


@pytest.mark.parametrize(
    "trip",
    [
        lambda values: json.loads(json.dumps(values)),
        lambda values: yaml.safe_load(yaml.safe_dump(values)),
        lambda values: pickle.loads(pickle.dumps(values)),
        lambda values: pickle.loads(pickle.dumps(TrialConfig.from_dict(values))).to_dict(),
    ],
)
def test_a_configuration_survives_the_way_to_a_file_and_back(trip) -> None:
    for values in (CHANGED, *({"strategy": {"name": name}} for name in STRATEGIES)):
        before = TrialConfig.from_dict(values)
        assert TrialConfig.from_dict(trip(before.to_dict())) == before


def test_what_is_left_out_has_its_default() -> None:
    found = TrialConfig.from_dict({"strategy": {"name": "ewc", "decay": 0.5}})
    assert found.strategy == EWC(decay=0.5)
    assert found.training == Training()
    assert found.adapter == Adapter()
    assert found.to_dict()["strategy"]["strength"] == EWC().strength


def test_a_dict_holds_every_knob() -> None:
    values = TrialConfig.from_dict(CHANGED).to_dict()
    assert values["training"]["batch_size"] == Training().batch_size
    for part, knobs in CHANGED.items():
        assert values[part] == {**values[part], **knobs}


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({}, "must name its strategy, got nothing"),
        ({"strategy": "ewc"}, "must name its strategy, got 'ewc'"),
        ({"strategy": {"strength": 1e3}}, "must name its strategy"),
        ({"strategy": {"name": "ewk"}}, 'unknown strategy "ewk".*did you mean "ewc"'),
        ({"strategy": {"name": "ewc", "strenght": 1}}, 'knob of ewc "strenght".*"strength"'),
        ({"strategy": {"name": "ewc", "strength": 1}}, r"ewc.strength must lie in \[100, 1e\+11"),
        ({"strategy": {"name": "ewc"}, "trainig": {}}, '"trainig".*did you mean "training"'),
        ({"strategy": {"name": "ewc"}, "training": {"lr": 1}}, 'unknown knob of training "lr"'),
        ({"strategy": {"name": "ewc"}, "training": [1]}, r"training must be a mapping.*\[1\]"),
        ({"strategy": {"name": "ewc"}, "adapter": {"rank": "8"}}, r"adapter.rank .*got '8'"),
    ],
)
def test_a_wrong_configuration_is_an_input_error(values, message: str) -> None:
    with pytest.raises(InputError, match=message):
        TrialConfig.from_dict(values)


def test_a_fresh_strategy_has_the_knobs_and_none_of_the_state() -> None:
    found = config({"name": "ewc", "decay": 0.5})
    found.strategy.prepare({}, [], StageContext(("a",)))
    fresh = found.fresh_strategy()
    assert fresh == found.strategy
    assert fresh is not found.strategy
    assert not hasattr(fresh, "importance")


def test_without_lora_its_width_has_no_effect() -> None:
    narrow, wide = (adapted(config(), parts="connector", rank=rank).adapter for rank in (1, 64))
    assert narrow.effective() == wide.effective() == {"parts": "connector"}
    assert (narrow.trains("connector"), narrow.lora, narrow.language) == (True, False, False)
    both = adapted(config(), rank=4).adapter
    assert (both.trains("connector"), both.lora, both.language) == (True, True, True)
    assert both.effective()["rank"] == 4
    alone = Adapter(parts="lm_lora")
    assert (alone.trains("connector"), alone.lora) == (False, True)
    assert not Adapter(parts="vision_lora").language
