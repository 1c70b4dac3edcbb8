"""No password or token of an address reaches the screen or a file, from plans, flags, data or errors."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from raw import pairs, write_images, write_lines
from records import record, write_run

from search.cli import main
from search.commands import clean, export
from search.report.facts import plan as plan_facts
from search.resources.ray_start import note_traceback
from search.results.outcome import read_outcome
from tasks.user_data.prepared_benchmark import prepare_benchmark
from tasks.validate import main as validate
from trainables.trial_record import TrialRecord, trial_path

SECRET = "hunter2xyz"
HTTPS, S3 = f"https://user:{SECRET}@host/m", f"s3://KEY:se/c+{SECRET}@bucket/m"
QUERY = f"https://host/m?token={SECRET}"


def said(command: Any, capsys: pytest.CaptureFixture[str], *args: object) -> tuple[int, str]:
    try:
        status = command([str(arg) for arg in args])
    except SystemExit as error:
        status = int(error.code or 0)
    out = capsys.readouterr()
    assert SECRET not in out.out + out.err and "Traceback" not in out.err
    return status, out.out + out.err


@pytest.mark.parametrize("address", [HTTPS, S3, QUERY])
@pytest.mark.parametrize(
    "flag", ["--model", "--benchmark", "--data", "--text-encoder", "--storage", "--plan", "--tasks"]
)
def test_a_flag_with_a_secret_is_refused_without_saying_it(
    flag: str, address: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    storage = [] if flag == "--storage" else ["--storage", tmp_path]
    status, text = said(main, capsys, "--dry-run", flag, address, *storage)
    assert status == 2 and text.startswith("error: ") and not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("fields", "place"),
    [
        ({"model": HTTPS}, "model"),
        ({"benchmark": S3}, "benchmark"),
        ({"text_encoder": QUERY}, "text_encoder"),
        ({"data": HTTPS}, "data"),
        ({"space": {HTTPS: {"low": 1, "high": 2}}}, "space"),
    ],
)
def test_a_plan_with_a_secret_is_refused_with_the_place(
    fields: dict[str, Any], place: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "plan.yaml").write_text(yaml.safe_dump(fields))
    args = ("--dry-run", "--plan", tmp_path / "plan.yaml", "--storage", tmp_path / "storage")
    status, text = said(main, capsys, *args)
    assert status == 2 and len(text.splitlines()) == 1
    assert f"error: {place}" in text and "no address with a password or a token" in text
    assert not (tmp_path / "storage").exists()


def test_a_benchmark_file_with_a_secret_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    entry = {"path": HTTPS, "metric": "exact_match", "max_new_tokens": 4}
    (tmp_path / "tasks.yaml").write_text(yaml.safe_dump({"tasks": {"pets": entry}}))
    for command in (validate, lambda args: main(["--dry-run", "--benchmark", *args])):
        status, text = said(command, capsys, tmp_path / "tasks.yaml")
        assert status == 2 and "tasks.pets.path must be no address with a password" in text


def test_rows_with_a_secret_are_rejected_without_saying_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_images(tmp_path, 60)
    rows = [pairs(number) for number in range(60)]
    for row, image in zip(rows, (HTTPS, S3, QUERY, {"url": HTTPS}), strict=False):
        row["image"] = image
    write_lines(tmp_path / "train.jsonl", rows)
    rejected = tmp_path / "rejected"
    status, text = said(validate, capsys, tmp_path / "train.jsonl", "--rejected", rejected)
    assert status == 1 and "rejected    4" in text, text
    assert SECRET not in rejected.read_text()
    entry = {"path": "train.jsonl", "metric": "exact_match", "max_new_tokens": 4}
    (tmp_path / "tasks.yaml").write_text(
        yaml.safe_dump({"tasks": {"pets": entry}, "skip_broken": True})
    )
    prepare_benchmark(tmp_path / "tasks.yaml", tmp_path / "out")
    kept = [path for path in (tmp_path / "out").rglob("*") if path.is_file()]
    assert kept and not [path for path in kept if SECRET.encode() in path.read_bytes()]


def test_errors_of_trials_and_of_ray_are_kept_without_secrets(tmp_path: Path) -> None:
    error = OSError(f"cannot read {HTTPS} or {QUERY}")
    failed = record("0007", state="failed", message=str(error))
    write_run(tmp_path / "run", [failed])
    path = trial_path(tmp_path / "run", "0007")
    assert SECRET not in path.read_text() and "***" in TrialRecord.read(path).message
    note_traceback(tmp_path / "ray-error.log", error)
    assert SECRET not in (tmp_path / "ray-error.log").read_text()


def test_a_report_on_an_older_plan_hides_its_secrets(tmp_path: Path) -> None:
    write_run(tmp_path / "run", model={"name": HTTPS, "path": HTTPS})
    assert SECRET not in repr(plan_facts(read_outcome(tmp_path / "run")))


def test_other_commands_repeat_no_secret(capsys: pytest.CaptureFixture[str]) -> None:
    for command, args in ((export, [HTTPS]), (export, ["x", "--by", QUERY]), (clean, [S3])):
        assert said(command, capsys, *args)[0] == 2
