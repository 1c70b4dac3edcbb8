"""Costs of finalists, measured on their own runs: they decide among those that are not told apart."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from search.confirmation.estimates import mean_interval
from search.confirmation.finalists import Finalist
from search.confirmation.results import VALIDATION, Confirmation, cell_name
from search.plan.checks import STAGES
from search.plan.preferences import Preference
from strategies import strategy_class
from trainables.store.records import ScoreRecord
from trainables.store.stage_store import StageStore
from trainables.trial_record import TrialRecord

BYTES = 4
"""Bytes of a trained weight: fp32, as the store and the exported adapters hold them."""


@dataclass(frozen=True)
class Costs:
    """One cost of some finalists, unit by unit."""

    preference: Preference
    values: Mapping[str, Sequence[float]] = field(default_factory=dict)
    """Seconds of training a unit, bytes beside the model at its end, or seconds an answer."""
    unknown: str = ""
    """Reason why the costs cannot be compared."""

    def mean(self, name: str) -> float:
        """Return a finalist's mean cost over the units."""
        return float(np.mean(self.values[name]))

    def cheapest(self) -> list[str]:
        """Return the cheapest finalist first, and those whose cost its units do not tell from it.

        Costs are told apart where the paired interval of their difference leaves 0 out: seconds vary with
        what else the machine does.
        """
        if not self.values:
            return []
        first = min(self.values, key=self.mean)
        costs = {name: np.subtract(own, self.values[first]) for name, own in self.values.items()}
        equal = [n for n, more in costs.items() if mean_interval(more.tolist()).low <= 0]
        return [first, *(name for name in equal if name != first)]


def measure_costs(confirmation: Confirmation, names: Iterable[str], units: int) -> Costs:
    """Return what finalists cost on the first units, by the preference of the confirmation's plan."""
    prefer, named = confirmation.plan.prefer, {f.name: f for f in confirmation.plan.finalists}
    found: dict[str, list[float]] = {}
    for name in names:
        if prefer == "latency" and strategy_class(named[name].strategy).has_experts:
            why = f"{name} answers by experts, whose earlier answers are taken from the store"
            return Costs(prefer, unknown=why)
        records = [
            confirmation.records.get(cell_name(unit, name, VALIDATION)) for unit in range(units)
        ]
        costs = [_cost(confirmation, named[name], record) for record in records if record]
        if len(costs) < units or any(cost is None for cost in costs):
            return Costs(prefer, unknown=f"the runs of {name} do not say it")
        found[name] = [cost for cost in costs if cost is not None]
    return Costs(prefer, found)


def _cost(confirmation: Confirmation, finalist: Finalist, record: TrialRecord) -> float | None:
    match confirmation.plan.prefer:
        case "training":
            return record.metrics.get("train_seconds")
        case "memory":
            return _memory(finalist, record)
        case "latency":
            return _latency(confirmation, record)
    return None


def _memory(finalist: Finalist, record: TrialRecord) -> float | None:
    """Return the bytes beside the model; experts and their keys are among those that are stored."""
    stored, added = (record.metrics.get(name) for name in ("stored_bytes", "added_parameters"))
    if stored is None or added is None:
        return None
    return stored if strategy_class(finalist.strategy).has_experts else stored + BYTES * added


def _latency(confirmation: Confirmation, record: TrialRecord) -> float | None:
    """Return the seconds of an answer after the last stage, by whichever run scored it first."""
    if confirmation.run is None:
        return None
    store, last = StageStore(confirmation.run.parent / STAGES), record.matrices[0].stages
    found = [store.get(cell.key) for cell in record.cells if cell.stage == last]
    scores = [one for one in found if isinstance(one, ScoreRecord)]
    answers = sum(len(one.predictions) for one in scores)
    if len(scores) < len(found) or not answers:
        return None
    return sum(one.seconds for one in scores) / answers
