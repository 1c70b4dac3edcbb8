"""The founding paper's five claims (He et al. 2023, arXiv 2311.16206), each with its rule and verdict."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.claims.evidence import RELATIVE, Difference, Evidence
from benchmarks.claims.jobs import ALIGNED, INFORMED, RATES, at_rate

HOLDS, REFUTED, OPEN = "holds", "does not hold", "cannot tell"
FINAL = "final_average"
REGULARISERS = ("ewc", "mas", "lwf")


@dataclass(frozen=True)
class Verdict:
    """A claim, how it is judged, and on what."""

    claim: str
    rule: str
    outcome: str
    judged: Sequence[Difference]
    beside: Sequence[Difference] = ()
    """What the verdict does not hang on."""


def verdicts(first: Evidence, second: Evidence) -> list[Verdict]:
    """The five claims: `first` begins with an aligned model, `second` with a jointly tuned one."""
    presets = (first, second)
    return [
        forgets(presets),
        joint_start(second),
        either_start(presets),
        regularisation(first, second),
        similarity(presets),
    ]


def forgets(presets: Sequence[Evidence]) -> Verdict:
    """The first claim."""
    judged = [
        difference
        for preset in presets
        for difference in (
            preset.single("forgetting", "finetune"),
            preset.difference(FINAL, "joint", "finetune"),
        )
    ]
    return Verdict(
        "Multimodal models forget catastrophically under sequential instruction tuning.",
        "holds if finetune's forgetting, and what joint tuning is above finetune, are clearly above 0 in "
        "both presets; does not hold if any of them is clearly below 0",
        _all_above(judged),
        judged,
        [preset.single(RELATIVE, "finetune") for preset in presets],
    )


def joint_start(second: Evidence) -> Verdict:
    """The second claim: the same tasks, orderings and seeds from either start."""
    judged = [second.difference("forgetting", ALIGNED, "finetune")]
    beside = [
        second.difference(RELATIVE, ALIGNED, "finetune"),
        *(second.single(metric, name) for metric in (RELATIVE, "learning_average")
          for name in (ALIGNED, "finetune")),
        second.difference(FINAL, "finetune", ALIGNED),
        *(second.difference(metric, at_rate(ALIGNED, rate), at_rate("finetune", rate))
          for rate in RATES for metric in ("forgetting", RELATIVE, "learning_average")),
        *(second.single(metric, at_rate(name, rate)) for rate in RATES
          for metric in (RELATIVE, "learning_average", FINAL) for name in (ALIGNED, "finetune")),
    ]  # fmt: skip
    return Verdict(
        "A start that was jointly instruction-tuned on several tasks forgets less.",
        "holds if finetune forgets clearly more from the aligned start than from the instructed one, on "
        "the same tasks, orderings and seeds; does not hold if clearly less",
        _all_above(judged),
        judged,
        beside,
    )


def either_start(presets: Sequence[Evidence]) -> Verdict:
    """The third claim."""
    judged = [
        p.difference(FINAL, name, "finetune") for p in presets for name in ("replay", "eproj")
    ]
    return Verdict(
        "Replay and model expansion work from either start.",
        "holds if replay and eproj are clearly above finetune in both presets; does not hold if any of "
        "them is clearly below it",
        _all_above(judged),
        judged,
    )


def regularisation(first: Evidence, second: Evidence) -> Verdict:
    """The fourth claim, of the regulariser that was best on the tuning orderings."""
    one, two = (p.difference(FINAL, p.chosen(REGULARISERS), "finetune") for p in (first, second))
    outcome = OPEN
    if one.interval.above or two.interval.high <= 0:
        outcome = REFUTED
    elif two.interval.above and known(one):
        outcome = HOLDS
    return Verdict(
        "Regularisation alone works only from a jointly tuned start.",
        f"of {', '.join(REGULARISERS)} the best on the tuning orderings; holds if it is clearly above "
        "finetune from the instructed start and not clearly from the aligned one; does not hold if it is "
        "clearly above finetune from the aligned start, or clearly not above it from the instructed one",
        outcome,
        [one, two],
        [p.difference(FINAL, n, "finetune") for p in (first, second) for n in REGULARISERS
         if n in p.units and n != p.chosen(REGULARISERS)],
    )  # fmt: skip


def similarity(presets: Sequence[Evidence]) -> Verdict:
    """The fifth claim."""
    judged = [
        difference
        for p in presets
        for difference in (
            p.difference(FINAL, "tir", p.chosen(("ewc", "mas"))),
            p.difference(FINAL, "eproj", "finetune"),
        )
    ]
    return Verdict(
        "Similarity-informed regularisation (tir) and expansion (eproj) improve consistently.",
        "holds if in both presets tir is clearly above the better of ewc and mas (on the tuning "
        "orderings), and eproj clearly above finetune; does not hold if any of these is clearly below 0",
        _all_above(judged),
        judged,
        [
            difference
            for p in presets
            for difference in (
                p.difference(FINAL, "eproj", p.chosen(p.plain or ["finetune"])),
                p.difference(FINAL, "tir", "finetune"),
                p.difference(FINAL, next(iter(INFORMED)), p.chosen(("ewc", "mas"))),
                p.difference(FINAL, *INFORMED),
            )
        ],
    )


def known(difference: Difference) -> bool:
    """Whether there is an interval to judge by."""
    return difference.interval.low == difference.interval.low


def _all_above(judged: Sequence[Difference]) -> str:
    if any(difference.interval.below for difference in judged):
        return REFUTED
    return HOLDS if all(difference.interval.above for difference in judged) else OPEN
