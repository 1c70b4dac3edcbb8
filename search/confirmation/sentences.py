"""The verdict of a confirmation in sentences, and its table."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from search.confirmation.estimates import Interval
from search.confirmation.finalists import ConfirmationRecord, Finalist
from search.confirmation.looks import FEWEST
from search.confirmation.verdict import Verdict
from search.results.formatting import format_metric
from spaces.references import CEILING, FLOOR

WHOLE = 0.995
"""Share of a gap from which on it is not called a share any more."""


def verdict_sentences(verdict: Verdict, plan: ConfirmationRecord) -> list[str]:
    """Return the verdict in sentences: who is best, by how much, and how sure that is."""
    named = {finalist.name: finalist for finalist in plan.finalists}
    metric = format_metric(plan.metric)
    if verdict.kind == "cannot tell":
        return [_cannot_tell(verdict, plan)]
    best = f"{called(named[verdict.recommended])}"
    own = _shown(verdict.scores[verdict.recommended], plan)
    over = f"over {verdict.units} orderings and seeds that chose nothing"
    if not verdict.together[1:]:
        plain = ["Nothing beats plain tuning."] if verdict.recommended == FLOOR else []
        lead = f"{best} is best: {metric} {own} {over}."
        if not any(named[name].may_win for name in verdict.behind):
            lead = f"{best} alone has a score on every unit: {metric} {own} {over}."
        return [*plain, lead, *_nearest(verdict, named), *_closed(verdict)]
    others = [called(named[name]) for name in verdict.together if name != verdict.recommended]
    tied = f"{best} and {_joined(others)} are not told apart {over}: {metric} {own}."
    if verdict.kind == "nothing beats plain tuning":
        return [
            "Nothing is told apart from plain tuning.",
            tied,
            *_spread(verdict),
            *_closed(verdict),
        ]
    return [tied, *_spread(verdict), f"Recommended among them: {best}.", *_closed(verdict)]


def verdict_table(verdict: Verdict, plan: ConfirmationRecord) -> list[str]:
    """Return a line for each finalist: its means on the two splits, and how far behind it is.

    A finalist with a run that ended without a score is "out".
    """
    lines = [f"{'finalist':24}{'validation':26}{'test':26}behind the leader"]
    for finalist in plan.finalists:
        both = [split.get(finalist.name) for split in (verdict.scores, verdict.tested)]
        cells = [str(_shown(one, plan)) if one else "-" for one in both]
        behind = verdict.behind.get(finalist.name)
        cells.append("out" if finalist.name in verdict.out else _signed(behind) if behind else "-")
        lines.append(f"{called(finalist):24}" + "".join(f"{cell:26}" for cell in cells).rstrip())
    return lines


def _cannot_tell(verdict: Verdict, plan: ConfirmationRecord) -> str:
    if all(finalist.name in verdict.out for finalist in plan.finalists if finalist.may_win):
        return "Cannot tell: every finalist has a run that ended without a score."
    if verdict.units < FEWEST:
        return (
            f"Cannot tell: {verdict.units} units have been confirmed, and fewer than {FEWEST} tell "
            "nothing apart."
        )
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
    return [
        f"It leads {called(named[nearest])} by {lead.estimate:.3f} ({lead.low:.3f} to {lead.high:.3f}, "
        f"at {lead.level:.1%}, for several finalists and looks)."
    ]


def _spread(verdict: Verdict) -> list[str]:
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
            f"{CEILING} tuning and {FLOOR} differ by {_signed(gap)}: this benchmark has no clear gap."
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
    high = "all" if closed.high >= 1 else f"{closed.high:.0%}"
    return [
        f"It closes {closed.estimate:.0%} of the gap from {FLOOR} to {CEILING} tuning ({closed.low:.0%} to "
        f"{high})."
    ]


def called(finalist: Finalist) -> str:
    """Return a finalist's strategy and trial; only the strategy of plain references."""
    if finalist.name == finalist.strategy:
        return finalist.name
    return f"{finalist.strategy} (trial {finalist.name})"


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
