"""docs/paper_claims.md, from the results in a folder and nothing else."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.claims import figures
from benchmarks.claims.evidence import ALIGNED, Difference, Evidence, Study
from benchmarks.claims.jobs import RATES
from benchmarks.claims.sections import (
    matrices,
    retrieval,
    similarities,
    strategies,
    tuned,
)
from benchmarks.claims.tables import interval, joined, signed, table
from benchmarks.claims.verdicts import Verdict, verdicts
from search.results.formatting import format_duration

NOTES = Path(__file__).parent / "notes.md"
"""What a person says of the results: copied as it is, where there is any."""


def page(studies: Sequence[Study], about: Mapping[str, Any], drawn: Path | None) -> str:
    """The whole page as Markdown; figures are written into the folder `drawn`, or left out."""
    evidence = [study.evidence for study in studies]
    lines = [
        "# Do the founding paper's claims hold here?",
        "",
        "He, Guo, Tang, Wang, *Continual Instruction Tuning for Large Multimodal Models* (2023, "
        "[arXiv 2311.16206](https://arxiv.org/abs/2311.16206)) makes five claims. Here they are tested "
        "on the embedded models and tasks: small, so that anyone can do it again, and not the paper's.",
        "",
        f"`{about.get('command', 'python benchmarks/paper_claims.py --work FOLDER')}` makes this page. "
        f"It took {format_duration(about.get('seconds', 0.0))} "
        f"on {about.get('machine', 'an unknown machine')}, "
        f"processes at once: {about.get('lanes', '?')}, of one thread each"
        f"{''.join(f', {name} {v}' for name, v in about.get('versions', {}).items())}.",
        "",
        *_protocol(studies),
        *_verdicts(verdicts(evidence[0], evidence[1])),
    ]
    for study in studies:
        lines += _preset(study, drawn)
    lines += ["## Which expert answers", ""]
    for study in studies:
        lines += retrieval(study.evidence)
    lines += _similarity(evidence, drawn)
    lines += _notes(NOTES)
    return "\n".join(lines).rstrip() + "\n"


def _protocol(studies: Sequence[Study]) -> list[str]:
    seeds = sorted({seed for s in studies for own in s.evidence.units.values() for seed, _ in own})
    budgets = {
        study.evidence.preset: study.search.run.plan.plan.samples
        // max(1, len(study.search.run.plan.plan.strategies))
        for study in studies
    }
    each = ", ".join(f"{count} in {name}" for name, count in budgets.items())
    return [
        "Each strategy but the bounds finetune and joint, which have nothing to search, is given the same "
        "number of configurations to try on the tuning orderings, "
        f"validation split, seed {studies[0].search.run.plan.plan.seed} ({each}). The best of each by "
        f"{studies[0].search.objectives[0][0]} is then trained anew from the start model on two "
        "other orderings, with "
        f"the seeds {joined(map(str, seeds)) or '-'}, and scored on the test split. A unit is one seed on "
        "one ordering. Figures are means over all units ± half the 95 % confidence interval; "
        "differences are paired over units. Units that share a seed or an ordering are not independent: "
        "seeds and orderings are two crossed random effects (`crossed_interval` in "
        "`search/confirmation/estimates.py`), and with two orderings an interval is wide. A difference is "
        "*clear* if its interval excludes 0. Nothing is corrected for the number of comparisons. "
        "`finetune (aligned start)` learns the second preset's tasks from the first one's "
        f"start; `@{RATES[0]:g}` is that learning rate instead of the presets'. `tir_as_strong` is tir "
        "with the importances and strength of the better of ewc and mas; `tir_as_strong_random` is the "
        "same with random numbers in place of similarities.",
        "",
    ]


def _verdicts(found: Sequence[Verdict]) -> list[str]:
    rows = [[str(n), verdict.claim, f"**{verdict.outcome}**"] for n, verdict in _numbered(found)]
    lines = ["## Verdicts", "", *table(["", "claim", "here"], rows)]
    for number, verdict in _numbered(found):
        lines += [
            f"### {number}. {verdict.claim}",
            "",
            f"**{verdict.outcome}**: {verdict.rule}.",
            "",
        ]
        lines += _differences(verdict.judged)
        if verdict.beside:
            lines += ["Beside it, without effect on the verdict:", ""]
            lines += _differences(verdict.beside)
    return lines


def _numbered(found: Sequence[Verdict]) -> list[tuple[int, Verdict]]:
    return list(enumerate(found, start=1))


def _differences(found: Sequence[Difference]) -> list[str]:
    rows = [
        [
            difference.preset,
            difference.what.replace(ALIGNED, "finetune (aligned start)"),
            interval(difference.interval, signed_=" - " in difference.what),
            signed(difference.interval.low),
            signed(difference.interval.high),
            f"{difference.interval.positive} of {difference.interval.count}",
        ]
        for difference in found
    ]
    return table(["preset", "figure", "mean ± 95 % CI", "from", "to", "units above 0"], rows)


def _preset(study: Study, drawn: Path | None) -> list[str]:
    evidence, plan = study.evidence, study.search.run.plan
    initial = plan.panel.initial
    initial_state = {"known": "which the model knows", "trained": "trained before"}
    known = initial_state.get(plan.panel.initial_state, "")
    lines = [
        f"## {evidence.preset}",
        "",
        f"Start: `{plan.model.name}`. Tasks: {joined(study.search.run.orderings[0])}."
        + (f" Initial tasks, {known}: {joined(initial)}." if initial else ""),
        "",
        f"Tuned on {_orders(study.search.run.orderings)}; held out {_orders(held_out(evidence))}.",
        "",
        *strategies(evidence),
        *([f"Not finished yet: {joined(study.missing)}.", ""] if study.missing else []),
        *_divergences(evidence),
    ]
    if drawn and evidence.strategies:
        path = figures.bars(evidence, drawn / f"{evidence.preset}-final_average.svg")
        lines += _image(path, f"Final average of every strategy in {evidence.preset}")
        lines += ["Grey: the bounds. Orange: strategies that ask how similar tasks are.", ""]
    for ordering in held_out(evidence)[:1] if figures.shown(evidence) else ():
        lines += [f"Scores after each stage of {_orders([ordering])}, mean over seeds:", ""]
        if drawn:
            path = figures.heat_maps(evidence, ordering, drawn / f"{evidence.preset}-matrices.svg")
            lines += [*_image(path, f"Score matrices in {evidence.preset}")]
        lines += matrices(evidence, ordering)
    return [*lines, *tuned(study)]


def held_out(evidence: Evidence) -> list[tuple[str, ...]]:
    """The orderings of the finals, in the order of the results."""
    return list(dict.fromkeys(o for name in evidence.strategies for _, o in evidence.units[name]))


def _orders(orderings: Sequence[Sequence[str]]) -> str:
    return "; ".join(" > ".join(ordering) for ordering in orderings) or "-"


def _divergences(evidence: Evidence) -> list[str]:
    told = [f"- {name}, {text}" for name, texts in evidence.diverged.items() for text in texts]
    return ["Diverged, and thus without figures:", "", *told, ""] if told else []


def _image(path: Path, text: str) -> list[str]:
    return [f"![{text}]({path.parent.name}/{path.name})", ""]


def _similarity(evidence: Sequence[Evidence], drawn: Path | None) -> list[str]:
    lines = [
        "## Does similarity tell what is forgotten?",
        "",
        "For every ordered pair of tasks: what finetune on the second costs the first, a[1][1] - a[2][1] "
        "(the first task's score after it was learned, less that after the second one) on the test split "
        "at one seed, against the similarity of the two, which is standardised over all "
        "pairs of the preset's tasks. The intervals are percentiles of a bootstrap that draws both orders "
        "of a pair together, for their similarity is the same. Within each first task: both figures less "
        "their mean over the pairs with that first task, for some tasks are forgotten sooner than others, "
        "whatever follows.",
        "",
    ]
    for one in evidence:
        lines += similarities(one)
        if drawn and one.pairs:
            path = figures.scatter(one.pairs, drawn / f"{one.preset}-pairs.svg")
            lines += _image(path, f"Similarity against forgetting in {one.preset}")
    return lines


def _notes(file: Path) -> list[str]:
    text = file.read_text().strip() if file.exists() else ""
    return [
        "## What differs from the paper, and why",
        "",
        text or "Nothing has been written yet.",
        "",
    ]
