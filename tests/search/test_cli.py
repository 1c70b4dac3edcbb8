from __future__ import annotations

import json
import resource
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import optuna
import pytest
import ray
import yaml
from records import write_run
from toy import PROMPTS, Toy

from search import commands
from search.cli import latest_search, main, parser, plan_from_flags
from search.run_search import save_plan
from spaces import InputError
from spaces.seals import sealed

ROOT = Path(__file__).parents[2]


# Names and resuming -------------------------------------------------------------------------------


def test_a_name_that_is_taken_is_refused(plan: Callable, refused: Callable, tmp_path: Path) -> None:
    (tmp_path / "storage" / "mine").mkdir(parents=True)
    (tmp_path / "storage" / "mine" / "plan.json").write_text("{}")
    error = refused("--plan", plan(), "--name", "mine")
    assert "must be new" in error
    assert "--resume --name mine" in error


@pytest.fixture
def begun(plan: Callable, tmp_path: Path) -> Path:
    """A search that was begun and has no trial yet."""
    from search.plan.resolve import resolve_plan

    args = parser().parse_args(["--plan", plan()])
    resolved = resolve_plan(plan_from_flags(args, None), "begun", tmp_path / "storage", False)
    resolved.run.mkdir(parents=True)
    save_plan(resolved)
    return resolved.run


@pytest.mark.parametrize(
    "flag",
    ["--seed 1", "--zero 0", "--model x", "--plan smoke", "--strategies ewc", "--orderings given"],
)
def test_a_search_is_not_resumed_as_another_one(flag: str, begun: Path, refused: Callable) -> None:
    error = refused("--resume", "--name", "begun", *flag.split())
    assert f"got {flag.split()[0]}" in error
    free = "--samples, --confirm, --confirm-seeds, --prefer, --concurrent, --gpus-per-worker"
    assert f"only {free}, --time-budget and --store-limit may differ" in error


def test_a_search_is_not_resumed_on_other_data(begun: Path, refused: Callable) -> None:
    saved = json.loads((begun / "plan.json").read_text())
    saved["fingerprints"]["tasks"]["hue"] = "0" * 64
    (begun / "plan.json").write_text(json.dumps(sealed(saved)))
    assert "have changed since" in refused("--resume")


def test_a_search_is_not_resumed_with_other_code(begun: Path, refused: Callable) -> None:
    saved = json.loads((begun / "plan.json").read_text())
    saved["code"]["ewc"] = "0" * 40
    (begun / "plan.json").write_text(json.dumps(sealed(saved)))
    assert "the code and library versions it began with" in refused("--resume")


def test_a_search_is_not_resumed_with_fewer_samples_than_it_proposed(begun: Path) -> None:
    from search.tuning.journal import STUDY, open_journal
    from search.tuning.recorded_plan import check_samples

    check_samples(begun, 1)  # nothing is proposed yet
    study = optuna.create_study(storage=open_journal(begun), study_name=STUDY)
    study.enqueue_trial({})
    for _ in range(3):
        study.ask()
    study.enqueue_trial({})
    check_samples(begun, 3)
    with pytest.raises(InputError, match=r'at least 3 to resume "begun".* got 2'):
        check_samples(begun, 2)


def test_a_changed_flag_of_a_resumed_search_is_saved(begun: Path) -> None:
    from search.plan.resolve import resolve_plan, resumed_plan

    before = json.loads((begun / "plan.json").read_text())
    args = parser().parse_args(["--resume", "--samples", "20"])
    save_plan(resolve_plan(plan_from_flags(args, begun), begun.name, begun.parent, True))
    assert resumed_plan(begun).samples == 20
    assert json.loads((begun / "plan.json").read_text())["started"] == before["started"]


def test_a_search_is_resumed_from_any_folder(
    begun: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:

    monkeypatch.chdir(tmp_path)
    assert main(["--resume", "--storage", str(begun.parent), "--dry-run"]) == 0


def test_the_search_begun_last_is_resumed(tmp_path: Path) -> None:
    for name, started in (("a", "2026-01-02"), ("b", "2026-01-03"), ("c", "2026-01-01")):
        write_run(tmp_path / name, [], started=started)
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "plan.json").write_text("{")  # a broken one is skipped
    assert latest_search(tmp_path) == "b"


def test_one_process_at_a_time_runs_a_search(
    begun: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from trainables.store.leases import hold_lease

    with hold_lease(begun / "lease"):
        assert main(["--resume", "--storage", str(begun.parent)]) == 2
    assert "one process at a time" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["smoke", "default"])
def test_the_shipped_plans_resolve(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--plan", name, "--storage", str(tmp_path), "--dry-run"]) == 0
    assert f"plan        {name}: llava-aligned on mini, seed 0\n" in capsys.readouterr().out


# Another model, other data -----------------------------------------------------------------------


def test_another_model_and_other_data_reset_the_embedded_ones_settings(
    toy: Toy, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from spaces import Adapter, Training

    flags = ["--model", str(toy.model), "--benchmark", str(toy.benchmark), "--orderings", "given"]
    assert main([*flags, "--storage", str(tmp_path), "--dry-run"]) == 0
    assert f"tasks       {', '.join(sorted(PROMPTS))}\n" in capsys.readouterr().out
    plan = plan_from_flags(parser().parse_args([*flags, "--zero", "2"]), None)
    assert (plan.tasks, plan.training, plan.adapter, plan.space) == ((), {"zero": 2}, {}, {})
    assert Training(**plan.training).learning_rate == Training().learning_rate
    assert Adapter(**plan.adapter) == Adapter()
    embedded = plan_from_flags(parser().parse_args(["--model", "llava-instructed"]), None)
    assert embedded.training and embedded.tasks


def test_a_knob_without_effect_is_announced_before_the_search(
    plan: Callable, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flags = ["--storage", str(tmp_path), "--dry-run"]
    assert main(["--plan", plan(), *flags]) == 0
    said = capsys.readouterr().out
    assert "note        replay with ratio 0.01 draws no example of hue, light\n" in said
    assert main(["--plan", plan(space={"replay.ratio": 0.3}, strategies=["replay"]), *flags]) == 0
    assert "note" not in capsys.readouterr().out


def test_fewer_samples_than_strategies_are_announced(
    plan: Callable, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flags = ["--strategies", "replay,lwf,mas", "--storage", str(tmp_path), "--dry-run"]
    assert main(["--plan", plan(), "--samples", "2", *flags]) == 0
    assert "note        2 samples cannot try each of 3 strategies; --samples 3 would\n" in (
        capsys.readouterr().out
    )
    assert main(["--plan", plan(), "--samples", "3", *flags]) == 0
    assert "cannot try each" not in capsys.readouterr().out


def test_numbers_of_a_plan_file_may_be_written_with_an_exponent(tmp_path: Path) -> None:
    from search.plan.plan_file import named_plan

    text = "training: {learning_rate: 2e-4}\nspace: {ewc.strength: {low: 1e2, high: 1E+5}}\n"
    (tmp_path / "mine.yaml").write_text(text)
    plan = named_plan(str(tmp_path / "mine.yaml"))
    assert plan.training == {"learning_rate": 2e-4}
    assert plan.space == {"ewc.strength": {"low": 1e2, "high": 1e5}}


def test_any_number_of_workers_that_divides_the_batch_is_accepted(
    toy: Toy, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    where = ["--model", str(toy.model), "--benchmark", str(toy.benchmark)]
    flags = (
        "--strategies replay,ewc --orderings shared:4 --workers-per-trial 4 --zero 2 --samples 40"
    )
    assert main([*where, *flags.split(), "--storage", str(tmp_path), "--dry-run"]) == 0
    assert "with 4 workers each" in capsys.readouterr().out


def test_paths_in_a_plan_file_are_relative_to_it(
    toy: Toy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from search.plan.plan_file import named_plan

    (tmp_path / "plans").mkdir()
    (tmp_path / "data").symlink_to(toy.benchmark.parent)
    (tmp_path / "plans" / "base.yaml").write_text("benchmark: ../data\nsamples: 3\n")
    (tmp_path / "plans" / "mine.yaml").write_text("extends: base.yaml\nseed: 4\n")
    monkeypatch.chdir("/")
    plan = named_plan(str(tmp_path / "plans" / "mine.yaml"))
    assert (plan.plan, plan.samples, plan.seed, plan.tasks) == ("mine", 3, 4, ())
    assert Path(plan.benchmark).samefile(toy.benchmark.parent)


def test_a_dry_run_says_where_scores_of_different_ranges_are_averaged(
    plan: Callable, toy: Toy, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    values = yaml.safe_load((toy.benchmark / "benchmark.yaml").read_text())
    for name, task in values["tasks"].items():
        task["path"] = str(toy.benchmark / name)
    flags = ["--storage", str(tmp_path), "--dry-run"]
    assert main(["--plan", plan(), *flags]) == 0
    assert "different ranges" not in capsys.readouterr().out
    values["tasks"]["hue"]["metric"] = "cider"
    (tmp_path / "mixed.yaml").write_text(yaml.safe_dump(values))
    assert main(["--plan", plan(benchmark=str(tmp_path / "mixed.yaml")), *flags]) == 0
    assert "averaged as they are: hue (cider, 0 to 10)" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("own", "said"),
    [
        (
            {"stopping": "racing"},
            "racing compares trials from the end of ordering 3 on",
        ),
        ({"stopping": "asha", "scoring": "cheap"}, "with cheap scoring, trials are compared"),
        ({"stopping": "none", "scoring": "cheap"}, ""),
    ],
)
def test_stopping_rules_that_can_compare_little_are_announced(
    plan: Callable,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    own: dict[str, Any],
    said: str,
) -> None:
    assert main(["--plan", plan(**own), "--storage", str(tmp_path), "--dry-run"]) == 0
    notes = [line for line in capsys.readouterr().out.splitlines() if line.startswith("note")]
    assert any(said in note for note in notes) if said else not any("compared" in n for n in notes)


# Commands without a search ---------------------------------------------------------------------------


def test_a_dry_run_prints_the_stages_and_writes_nothing(
    plan: Callable, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    storage = tmp_path / "storage"
    assert (
        main(
            [
                "--plan",
                plan(strategies=["replay"], orderings="given+reverse"),
                "--storage",
                str(storage),
                "--dry-run",
            ]
        )
        == 0
    )
    out, err = capsys.readouterr()
    # finetune 2 x 2, joint 1 x 2, samples 3 x 2 x 2; finetune 4, joint 1, samples 3 x the last two
    assert (
        "stages      18 configured, at most 11 distinct, 0 known to be in the store: at most 11 to be "
        "trained"
    ) in out
    assert "orderings   2: hue>light; light>hue" in out
    assert "trials      5, 1 at once with 1 workers each" in out
    assert not err
    assert not storage.exists()
    assert not ray.is_initialized()


def test_flags_take_the_place_of_the_plans_values(
    plan: Callable, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flags = "--strategies ewc,replay --orderings given --samples 7 --seed 5 --tasks light,hue,half"
    assert main(["--plan", plan(), "--dry-run", "--storage", str(tmp_path), *flags.split()]) == 0
    out = capsys.readouterr().out
    assert "seed 5" in out
    assert "orderings   1: light>hue>half" in out
    assert "strategies  ewc, replay, beside finetune and joint" in out
    assert "trials      9," in out


@pytest.mark.parametrize("command", ["run", "train", "export", "analyze"])
def test_help_answers_at_once(command: str, tmp_path: Path) -> None:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    script = [sys.executable, str(ROOT / "search" / f"{command}.py"), "--help"]
    done = subprocess.run(script, cwd=tmp_path, capture_output=True, text=True, timeout=120)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert done.returncode == 0, done.stderr
    assert f"search/{command}.py" in done.stdout
    # CPU time, which a busy machine does not lengthen; the bound is a promise of the README.
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 2.0


@pytest.mark.parametrize("command", ["train", "export", "analyze"])
def test_the_commands_after_a_search_refuse_other_folders(
    command: str, tmp_path: Path, refused: Callable
) -> None:
    (tmp_path / "empty").mkdir()
    for what in ("empty", "gone"):
        where = str(tmp_path / what)
        assert where in refused(where, command=getattr(commands, command), where=False)
