from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path

import jinja2
import pytest
from markupsafe import escape
from records import ORDERINGS, TASKS, joint_matrix, matrix, record, references, sampled, write_run

from search.plan.search_plan import SearchPlan
from search.report import plots
from search.report.html import environment, write_report
from search.results.formatting import format_duration
from search.results.outcome import read_outcome
from spaces.errors import InputError
from trainables.metrics.glossary import GLOSSARY
from trainables.metrics.score_matrix import ScoreMatrix
from trainables.panel import Panel

HOSTILE = '<img src=x onerror="alert(1)"></script>&'
VOID = {"meta", "br", "img", "link", "input", "hr"}


class Nesting(HTMLParser):
    """Fails on a tag that is closed without having been opened, or never closed."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.tags.append(tag)
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def report(folder: Path) -> str:
    """The page's body, without plotly's own source."""
    text = write_report(folder).read_text()
    body = text[text.index("<body>") : text.index("</html>")]
    assert len(text) > 1_000_000 > len(body)
    parser = Nesting()
    parser.feed(body)
    assert not parser.open
    return body


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return write_run(tmp_path / "run")


def test_the_report_names_every_trial_task_metric_and_message(run: Path) -> None:
    body = report(run)
    for name in ("0000", "0001", "0002", "0003", "0004", "finetune", "joint", *TASKS):
        assert f">{name}<" in body
    for name in GLOSSARY:
        assert str(escape(GLOSSARY[name].formula)) in body
    assert "stage 2 on digits diverged" in body
    assert "made-up" in body and "plan <b>default</b>" in body
    assert "<b>llava-aligned</b>" in body and "<b>mini</b>" in body
    assert "/somewhere" not in body, "a report is passed on; the folders of its maker mean nothing"
    assert f"python search/export.py {run}" in body


def test_the_report_works_without_a_network(run: Path) -> None:
    text = write_report(run).read_text()
    body = text[text.index("<body>") :]
    assert text.count("plotly.js v") == 1
    assert not re.search(r"<(script|link|img)[^>]+(src|href)=", body)
    assert not re.search(r"https?://(?!www\.w3\.org)", body.replace("https://plot.ly", ""))
    assert [path.name for path in run.iterdir() if path.name.startswith(".")] == []


def test_names_and_messages_are_escaped(tmp_path: Path) -> None:
    orderings = [(HOSTILE, "b"), ("b", HOSTILE)]
    trials = [
        *references(orderings),
        record("0000", HOSTILE, [matrix(o, 0.8, 0.9) for o in orderings], knobs={"k": HOSTILE}),
        record("0001", HOSTILE, [], "failed", message=HOSTILE),
        record(HOSTILE.replace("/", ""), "ewc", state="stopped"),
    ]
    panel = Panel(tuple(orderings), scoring=HOSTILE)
    model = {"name": HOSTILE, "path": HOSTILE}
    folder = write_run(tmp_path / "run", trials, name=HOSTILE, panel=panel, model=model)
    (folder / "trials" / f"{HOSTILE.replace('/', '')}2.json").write_text("{")
    body = report(folder)
    parser = Nesting()
    parser.feed(body)
    assert "img" not in parser.tags
    assert "&lt;img src=x" in body


def test_a_value_that_is_missing_is_an_error() -> None:
    with pytest.raises(jinja2.UndefinedError, match="missing"):
        environment().from_string("{{ missing }}").render()
    with pytest.raises(jinja2.UndefinedError, match="missing"):
        environment().from_string("{{ row.missing }}").render(row={})


def test_a_report_without_a_finished_trial_says_why(tmp_path: Path) -> None:
    trials = [t for t in sampled() if t.state != "finished"]
    body = report(write_run(tmp_path / "run", trials))
    assert "No trial can be chosen: 0003 stopped after 3 of 6 stages" in body
    assert "search/export.py" not in body


def test_a_report_of_a_search_without_trials_can_be_written(tmp_path: Path) -> None:
    assert "the search has no trial yet" in report(write_run(tmp_path / "run", []))


def test_a_folder_that_is_no_search_gets_no_report(tmp_path: Path) -> None:
    with pytest.raises(InputError):
        write_report(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_broken_record_is_named_in_the_report(run: Path) -> None:
    (run / "trials" / "0009.json").write_text('{"name"')
    body = report(run)
    assert "0009.json" in body and "skipped" in body


def heat_map(scores: ScoreMatrix) -> str:
    macros = environment().get_template("macros.html").module
    return str(macros.heat_map(scores, 1.0, "caption"))  # type: ignore[attr-defined]


def test_heat_maps_print_scores_and_leave_unscored_cells_empty() -> None:
    text = heat_map(matrix(TASKS, 0.8, 0.5))
    assert text.count('class="never"') == 3
    assert text.count('class="learned"') == 3
    assert text.count("<tr>") == 5 and ">before</th>" in text
    assert ">0.10</td>" in text


def test_joint_tuning_is_shown_as_one_stage() -> None:
    text = heat_map(joint_matrix(TASKS, 0.85))
    assert ">all at once</th>" in text and text.count("<tr>") == 3
    assert "never" not in text and "learned" not in text


def test_the_front_line_holds_the_front_and_unfinished_trials_are_told_apart(run: Path) -> None:
    verdict = read_outcome(run)
    figure = plots.pareto(verdict)
    traces = {trace.name: trace for trace in figure.data}
    assert len(traces["Pareto front"].x) == len(verdict.front)
    assert traces["ewc, unfinished"].opacity < 1
    assert "joint" not in traces, "it has no forgetting: a line marks it"
    assert [a.text for a in figure.layout.annotations][-1] == "ceiling: joint 0.850"
    assert plots.count_undrawn(verdict) == 1


def test_one_objective_is_plotted_against_forgetting(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run", objectives=[["final_average", "max"]])
    assert plots.pareto(read_outcome(folder)).layout.xaxis.title.text.startswith("forgetting")
    assert "0002" in report(folder)


def test_forgetting_alone_is_plotted_against_the_final_average(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run", objectives=[["forgetting", "min"]])
    assert plots.pareto(read_outcome(folder)).layout.xaxis.title.text.startswith("final average")


def test_colours_do_not_depend_on_how_the_strategies_rank(tmp_path: Path) -> None:
    one = plots.colours(read_outcome(write_run(tmp_path / "a")))
    poor = [t for t in sampled() if t.strategy == "ewc"]
    better = record("0009", matrices=[matrix(o, 0.1, 0.1) for o in ORDERINGS])
    other = plots.colours(read_outcome(write_run(tmp_path / "b", [*poor, better])))
    assert one == other


def test_each_task_has_its_metric_its_range_and_what_stands_beside_its_score(
    tmp_path: Path,
) -> None:
    orderings = (("captions", "signs"),)
    scores = ScoreMatrix.from_rows(orderings[0], {2: {"captions": 1.25, "signs": 0.5}})
    shares = ScoreMatrix.from_rows(orderings[0], {2: {"signs": 0.75}})
    extra = {name: [shares] for name in ("format_compliance", "constrained_accuracy")}
    trial = record("0000", "replay", [scores], extra_matrices=extra)
    metrics = {"captions": "cider", "signs": "exact_match"}
    folder = write_run(
        tmp_path / "run",
        [trial],
        panel=Panel(orderings),
        metrics=metrics,
        objectives=[["final_average", "max"]],
    )
    text = report(folder)
    row = r"signs</td><td[^>]*>exact_match</td><td[^>]*>0 to 1</td>"
    assert re.search(row + r"<td[^>]*>0\.500</td><td[^>]*>0\.750</td><td[^>]*>0\.750</td>", text)
    assert re.search(r"captions</td><td[^>]*>cider</td><td[^>]*>0 to 10</td><td[^>]*>1\.250", text)
    assert "Scores of different ranges are averaged as they are: captions (cider, 0 to 10)" in text


def test_what_was_spent_and_saved_counts_each_worker_of_a_lane(tmp_path: Path) -> None:
    one = write_run(tmp_path / "one")
    two = write_run(tmp_path / "two", plan=SearchPlan("default", workers_per_trial=2))
    trained = read_outcome(one).total("seconds_trained")
    assert trained > 0
    for folder, workers in ((one, 1), (two, 2)):
        assert f">{format_duration(workers * trained)}<" in report(folder)
