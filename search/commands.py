"""The command lines around a search: analyze, confirm, export, train, clean."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from search.exit_status import damage_told, guarded
from search.plan.preferences import PREFERENCES
from spaces.command_line import Parser, number_flag, path_flag, text_flag, whole_flag


def analyze(argv: Sequence[str] | None = None) -> int:
    """Write the tables and the report of a search again, and print its outcome."""
    p = Parser(prog="search/analyze.py", description=analyze.__doc__)
    p.add_argument("run", type=path_flag, help="folder of the search")
    p.add_argument(
        "--search-stages",
        type=whole_flag,
        metavar="K",
        help="also choose by the first K tasks of each ordering alone, and compare",
    )
    args = p.parse_args(argv)

    def act() -> int:
        from search.report.html import write_report
        from search.report.terminal import show_results
        from search.results.first_stages import first_stages_lines
        from search.results.outcome import read_outcome
        from search.results.sums import RESULTS, summed
        from search.results.tables import write_tables

        compared, stages = list[str](), args.search_stages
        with damage_told(args.run.absolute().parent, args.run):
            restore_records(args.run)
            if stages is not None:
                compared = first_stages_lines(read_outcome(args.run), stages)
            with summed(args.run, RESULTS):
                write_tables(args.run)
                write_report(args.run)
            show_results(args.run)
        for line in ["", *compared] if compared else []:
            print(line)
        return 0

    return guarded(act)


def confirm(argv: Sequence[str] | None = None) -> int:
    """Train the finalists of a search again, on orderings and seeds that chose nothing.

    Each unit is a fresh ordering at a fresh seed. Finalists that are surely behind drop out.
    """
    p = Parser(prog="search/confirm.py", description=confirm.__doc__)
    p.add_argument("run", type=path_flag, help="folder of a finished search")
    p.add_argument(
        "--finalists", type=whole_flag, help="finalists at most, beside finetune and joint"
    )
    p.add_argument(
        "--units",
        type=whole_flag,
        help="units at most (default: 2 to 12, in proportion to the stages that the search trained)",
    )
    p.add_argument(
        "--prefer",
        type=text_flag,
        choices=PREFERENCES,
        help="cost that chooses among finalists that are not told apart (default: the search's own)",
    )
    p.add_argument("--dry-run", action="store_true", help="print what would be trained, then exit")
    args = p.parse_args(argv)

    def act() -> int:
        from search.confirmation.command import confirm_run

        run = args.run.expanduser().resolve()
        return confirm_run(run, args.finalists, args.units, args.prefer, args.dry_run)

    return guarded(act)


def export(argv: Sequence[str] | None = None) -> int:
    """Write the best configuration of a search as best.yaml."""
    p = Parser(prog="search/export.py", description=export.__doc__)
    p.add_argument("run", type=path_flag, help="folder of the search")
    p.add_argument(
        "--trial", type=text_flag, help="name of a trial to export in place of the best one"
    )
    p.add_argument(
        "--by",
        type=text_flag,
        help="metric that chooses on the Pareto front (default: the first objective)",
    )
    p.add_argument(
        "--search-stages",
        type=whole_flag,
        metavar="K",
        help="choose by the first K tasks of each ordering alone",
    )
    p.add_argument("--out", type=path_flag, help="file to write (default: RUN/best.yaml)")
    args = p.parse_args(argv)

    def act() -> int:
        from search.confirmation.answer import export_notes
        from search.final.best_record import export_best
        from search.report.terminal import chosen_lines, unfinished
        from search.results.outcome import read_outcome
        from spaces.errors import InputError

        with damage_told(args.run.absolute().parent, args.run):
            lost = restore_records(args.run)
        if lost and not args.trial:
            raise InputError(
                f"the best trial is not known: {', '.join(lost)} ended, but the record is lost; "
                "search/run.py --resume makes it again, or --trial NAME exports another"
            )
        trial = _trial_to_export(args.run, args.trial, args.by, args.search_stages)
        file, chosen = export_best(args.run, trial, args.by, args.out)
        outcome = read_outcome(args.run)
        # A better trial may still come.
        notes = [f"note        {line}" for line in export_notes(args.run, chosen)]
        for line in [*chosen_lines(outcome, chosen), *notes, *unfinished(outcome)]:
            print(line)
        print(f"{file}\ntrain it: python search/train.py {file}")
        return 0

    return guarded(act)


def _trial_to_export(
    run: Path, named: str | None, by: str | None, stages: int | None
) -> str | None:
    """Return the trial to export; None for the best one of the whole search."""
    from search.confirmation.answer import recommended
    from search.results.first_stages import choose_by_first_stages
    from search.results.outcome import read_outcome
    from spaces.errors import InputError

    if stages is not None and named:
        raise InputError("--search-stages chooses a trial, and --trial names one: give one of them")
    if stages is not None:
        return choose_by_first_stages(read_outcome(run), stages, by)
    return named or (None if by else recommended(run))


def train(argv: Sequence[str] | None = None) -> int:
    """Train a best.yaml again, score it on the test split, and save its adapters."""
    p = Parser(prog="search/train.py", description=train.__doc__)
    p.add_argument("best", type=path_flag, help="file that export.py wrote")
    p.add_argument(
        "--out", type=path_flag, help="folder to write (default: final beside best.yaml)"
    )
    p.add_argument(
        "--held-out",
        type=text_flag,
        help="further orderings to train and score, such as random:2@1",
    )
    p.add_argument("--model", type=text_flag, help="model to train in place of that of the search")
    p.add_argument(
        "--benchmark", type=text_flag, help="data to train on in place of those of the search"
    )
    p.add_argument(
        "--text-encoder",
        type=path_flag,
        help="folder of the search's sentence encoder on this machine",
    )
    args = p.parse_args(argv)

    def act() -> int:
        from search.final.final_training import train_final

        out = (args.out or args.best.parent / "final").expanduser().resolve()
        with damage_told(out):
            return train_final(
                args.best,
                out,
                args.held_out,
                args.model,
                args.benchmark,
                args.text_encoder and str(args.text_encoder),
            )

    return guarded(act)


def clean(argv: Sequence[str] | None = None) -> int:
    """Delete the stages that no search in a storage needs, and weights beyond a size limit.

    Scores, reports and costs are kept; weights that are needed again are trained again.
    """
    p = Parser(prog="search/clean.py", description=clean.__doc__)
    p.add_argument("storage", type=path_flag, nargs="?", help="folder that holds the searches")
    p.add_argument("--storage", type=path_flag, dest="named", help="the same (default: results)")
    p.add_argument(
        "--verify", action="store_true", help="read and check every file, delete nothing"
    )
    p.add_argument("--set-aside", action="store_true", help="with --verify: rename damaged files")
    p.add_argument(
        "--store-limit", type=number_flag, metavar="GB", help="size limit of the stage store"
    )
    p.add_argument("--dry-run", action="store_true", help="only print what would be deleted")
    args = p.parse_args(argv)

    def act() -> int:
        from search.resources.store_limit import clean_storage
        from search.storage.verify_storage import verify_storage

        given = args.storage or args.named or Path(__file__).parent.parent / "results"
        storage = given.expanduser()
        if args.verify:
            return int(not verify_storage(storage, args.set_aside))
        with damage_told(storage):
            print(clean_storage(storage, args.store_limit, args.dry_run))
        return 0

    return guarded(act)


def restore_records(run: Path) -> list[str]:
    """Write again what the folder of a search has lost, and say so; return the trials that stay lost."""
    from search.tuning.recorded_plan import check_plan
    from search.tuning.restored_trials import restore_trials, restored_lines

    for line in check_plan(run):
        print(line)
    restored, lost = restore_trials(run)
    for line in restored_lines(restored, lost):
        print(line)
    return lost
