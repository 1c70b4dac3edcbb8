"""The plan in `plan.json` against that in the journal."""

from __future__ import annotations

import json
from pathlib import Path

import optuna
import pytest
from optuna.storages import JournalStorage
from records import write_run

from search.tuning.journal import JOURNAL, SealedJournal
from search.tuning.recorded_plan import PLAN, check_plan
from search.tuning.searcher import STUDY
from spaces import InputError
from spaces.seals import sealed

NEW = ("protocol", "whole_orderings")
"""Fields of `plan.json` that an older citune did not write; likewise those of the plan itself below."""
NEW_OF_PLAN = ("held_out_tasks", "search_stages")


def older(run: Path) -> dict[str, object]:
    """Return the plan of a search as an older citune wrote it."""
    values = json.loads((run / "plan.json").read_text())
    plan = {name: value for name, value in values["plan"].items() if name not in NEW_OF_PLAN}
    return {**{name: v for name, v in values.items() if name not in NEW}, "plan": plan}


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """Return the folder of a search whose journal holds the plan of an older citune."""
    folder = write_run(tmp_path / "run")
    storage = JournalStorage(SealedJournal(folder / JOURNAL))
    study = optuna.create_study(storage=storage, study_name=STUDY, directions=["maximize"])
    study.set_user_attr(PLAN, sealed(older(folder)))
    return folder


def test_fields_that_an_older_citune_did_not_write_have_their_defaults(run: Path) -> None:
    assert check_plan(run) == []  # plan.json has the new fields, as a resumed search writes them
    (run / "plan.json").write_text(json.dumps(sealed(older(run))))
    assert check_plan(run) == []


def test_another_protocol_than_the_one_begun_with_is_an_edit(run: Path) -> None:
    values = json.loads((run / "plan.json").read_text())
    values["plan"]["search_stages"] = 2
    (run / "plan.json").write_text(json.dumps(sealed(values)))
    with pytest.raises(InputError, match=r"plan\.search_stages was null, now 2"):
        check_plan(run)
