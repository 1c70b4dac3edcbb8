"""The verdict of a confirmation in sentences, and its table."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from search.confirmation.costs import Costs
from search.confirmation.estimates import Interval
from search.confirmation.finalists import ConfirmationRecord, Finalist
from search.confirmation.looks import MIN_DF, MIN_UNITS, PREFERRED_UNITS
from search.confirmation.verdict import Verdict
from search.plan.protocol import chose_nothing
from search.results.formatting import format_duration, format_metric
from spaces.references import CEILING, FLOOR, REFERENCES

WHOLE = 0.995
"""Share of a gap from which on it is not called a share any more."""


def verdict_sentences(verdict: Verdict, plan: ConfirmationRecord) -> list[str]:
    """Return the verdict in sentences: who is best, by how much, and how sure that is."""
    named = {finalist.name: finalist for finalist in plan.finalists}
    if verdict.kind == "cannot tell":
        return [_cannot_tell(verdict, plan)]
    leader = called(named[verdict.leader])
    own = f"{format_metric(plan.metric)} {_reported(verdict, plan)}"
    over = f"over {verdict.units} {chose_nothing(plan.held_out_tasks, plan.repeats(verdict.units))}"
    plain = _plain(verdict, named)
    if not verdict.together[1:]:
        lead = f"{leader} is best: {own} {over}."
        if not any(named[name].may_win for name in verdict.behind):
            lead = f"{leader} alone has a score on every unit: {own} {over}."
        return [*plain, lead, *_nearest(verdict, named), *_closed(verdict)]
    tied = _joined([called(named[name]) for name in verdict.together])
    tied = (
        f"{tied} are not told apart {over}: {own} for the first, which is the highest of several."
    )
    chosen = _recommended(verdict, named)
    return [*plain, tied, *_precision(verdict), *chosen, *_closed(verdict)]


def _reported(verdict: Verdict, plan: ConfirmationRecord) -> str:
    """Return the leader's mean on the test split; if it is not scored there, on the one that chose."""
    if (tested := verdict.tested.get(verdict.leader)) is not None:
        return f"{_shown(tested, plan)} on the test split"
    return f"{_shown(verdict.scores[verdict.leader], plan)} on the split that chose it"


def _plain(verdict: Verdict, named: Mapping[str, Finalist]) -> list[str]:
    """Return the sentence on plain sequential tuning, if nothing is surely above it."""
    if not verdict.kind.startswith("nothing beats"):
        return []
    plain = "plain tuning" if verdict.kind == "nothing beats plain tuning" else "tuned finetune"
    others = [named[name] for name in verdict.together if not named[name].is_plain]
    return [f"Nothing is surely better than {plain}." if others else f"Nothing beats {plain}."]


def _recommended(verdict: Verdict, named: Mapping[str, Finalist]) -> list[str]:
    """Return who is recommended among those that are not told apart, and why."""
    chosen, costs = verdict.recommended, verdict.costs
    text = f"Recommended among them: {called(named[chosen])}, "
    if costs.preference == "mean":
        return [f"{text}which has the highest mean."]
    if costs.unknown:
        return [f"{text}by its mean, since {costs.preference} is not compared: {costs.unknown}."]
    if not costs.values:
        return [
            f"{text}by its mean: the others are not close enough to go by their {costs.preference}."
        ]
    equal = [name for name in costs.cheapest() if name != chosen]
    dearer = [name for name in costs.values if name not in (*equal, chosen)]
    if set(costs.values) != set(verdict.together):
        text += "of those close to the first "
    spent = _cost(costs, chosen)
    if not dearer:
        return [
            f"{text}by its mean, since their {costs.preference} costs about the same ({spent})."
        ]
    least = min(dearer, key=costs.mean)
    why = f"{'by its mean among ' if equal else ''}the cheapest in {costs.preference}"
    return [f"{text}{why} ({spent}; {called(named[least])} {_cost(costs, least)})."]


def _cost(costs: Costs, name: str) -> str:
    value = costs.mean(name)
    match costs.preference:
        case "training":
            return f"{format_duration(value)} a unit"
        case "memory":
            return f"{value / 1e6:.2f} MB beside the model"
        case _:
            return f"{value * 1e3:.1f} ms an answer"


COLUMNS = ("finalist", "validation", "test", "behind the leader")
"""Columns of the table of a verdict."""


def verdict_rows(verdict: Verdict, plan: ConfirmationRecord) -> list[list[str]]:
    """Return the cells of each finalist: its means on the two splits, and how far behind it is.

    A finalist with a run that ended without a score is "out".
    """
    rows = []
    for finalist in plan.finalists:
        both = [split.get(finalist.name) for split in (verdict.scores, verdict.tested)]
        cells = [str(_shown(one, plan)) if one else "-" for one in both]
        behind = verdict.behind.get(finalist.name)
        cells.append("out" if finalist.name in verdict.out else _signed(behind) if behind else "-")
        rows.append([called(finalist), *cells])
    return rows


def verdict_table(verdict: Verdict, plan: ConfirmationRecord) -> list[str]:
    """Return the table of a verdict as lines."""
    rows = [[*COLUMNS], *verdict_rows(verdict, plan)]
    widths = [max(len(row[column]) for row in rows) + 3 for column in range(len(COLUMNS))]
    return ["".join(f"{c:{w}}" for c, w in zip(row, widths, strict=True)).rstrip() for row in rows]


def _cannot_tell(verdict: Verdict, plan: ConfirmationRecord) -> str:
    if all(finalist.name in verdict.out for finalist in plan.finalists if finalist.may_win):
        return "Cannot tell: every finalist has a run that ended without a score."
    if verdict.too_few:
        first = f"finalists are first compared after {plan.looks[0]}"
        if verdict.units >= plan.looks[0]:
            several = f"{MIN_UNITS} of {MIN_DF + 1} finalists"
            first = f"to tell anything apart takes {PREFERRED_UNITS}, or {several}"
        return f"Cannot tell: {verdict.units} units have been confirmed, and {first}."
    widest = max(verdict.behind[name].half for name in verdict.together[1:])
    return (
        f"Cannot tell: after {verdict.units} units, differences between {len(verdict.together)} finalists "
        f"are known to ± {widest:.3f}, which is more than joint tuning and finetune differ by."
    )


def _nearest(verdict: Verdict, named: Mapping[str, Finalist]) -> list[str]:
    """Return the lead over the best of the other strategies."""
    others = [name for name in verdict.behind if named[name].may_win]
    if not others:
        return []
    nearest = min(others, key=lambda name: verdict.behind[name].estimate)
    lead = verdict.behind[nearest]
    shown = f"{lead.estimate:.3f} ({lead.low:.3f} to {lead.high:.3f}, at {lead.level:.1%}"
    return [
        f"On validation it leads {called(named[nearest])} by {shown}, for several finalists and looks)."
    ]


def _precision(verdict: Verdict) -> list[str]:
    leads = [verdict.behind[name] for name in verdict.together if name in verdict.behind]
    if not leads:
        return []
    widest = max(leads, key=lambda lead: lead.half)
    return [f"Their differences are known to ± {widest.half:.3f}."]


def _closed(verdict: Verdict) -> list[str]:
    """Return the share of the gap to joint tuning; nothing where the gap itself is not clear."""
    gap, closed = verdict.gap, verdict.closed
    if gap is None:
        return []
    if gap.low <= 0:
        return [
            f"{CEILING} tuning and {FLOOR} differ by {_signed(gap)}: on these units that is no clear gap."
        ]
    if closed is None:
        return []
    if closed.low >= 1:
        return [f"It scores more than {CEILING} tuning: what {FLOOR} loses is no limit here."]
    if closed.estimate > WHOLE:
        return [
            f"It reaches {CEILING} tuning within noise: at least {max(0, closed.low):.0%} of the gap from "
            f"{FLOOR} is closed."
        ]
    if closed.low <= 0:
        return [
            f"It may close none of the gap from {FLOOR} to {CEILING} tuning: {closed.estimate:.0%} "
            f"({closed.low:.0%} to {closed.high:.0%})."
        ]
    high = "all" if closed.high >= 1 else f"{closed.high:.0%}"
    return [
        f"It closes {closed.estimate:.0%} of the gap from {FLOOR} to {CEILING} tuning ({closed.low:.0%} to "
        f"{high})."
    ]


def called(finalist: Finalist) -> str:
    """Return how a finalist is called: by its strategy, and by its trial if it has one."""
    if not finalist.is_tuned:
        return finalist.name
    tuned = "tuned " if finalist.strategy in REFERENCES else ""
    return f"{tuned}{finalist.strategy} (trial {finalist.name})"


def _joined(names: list[str]) -> str:
    return " and ".join([", ".join(names[:-1]), names[-1]] if names[1:] else names)


def _shown(interval: Interval, plan: ConfirmationRecord) -> Interval:
    """Return the interval of a score as the metric has it, where less may be better."""
    if plan.higher_is_better:
        return interval
    low, high = -interval.high, -interval.low
    return dataclasses.replace(interval, estimate=-interval.estimate, low=low, high=high)


def _signed(interval: Interval) -> str:
    return f"{interval.estimate:+.3f} ({interval.low:+.3f} to {interval.high:+.3f})"
