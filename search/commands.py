"""The command lines around a search: analyze, export, train, clean."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path


def analyze(argv: Sequence[str] | None = None) -> int:
    """Write a search's tables and report again, and print its outcome."""
    p = argparse.ArgumentParser(prog="search/analyze.py", description=analyze.__doc__)
    p.add_argument("run", type=Path, help="the search's folder")
    args = p.parse_args(argv)

    def act() -> int:
        from search.report.html import write_report
        from search.report.terminal import show_results
        from search.results.tables import write_tables

        write_tables(args.run)
        write_report(args.run)
        show_results(args.run)
        return 0

    return guarded(act)


def export(argv: Sequence[str] | None = None) -> int:
    """Write the best configuration of a search as best.yaml."""
    p = argparse.ArgumentParser(prog="search/export.py", description=export.__doc__)
    p.add_argument("run", type=Path, help="the search's folder")
    p.add_argument("--trial", help="this trial instead of the best one")
    p.add_argument("--by", help="the metric that chooses on the Pareto front (default: the first)")
    p.add_argument("--out", type=Path, help="the file to write (default: RUN/best.yaml)")
    args = p.parse_args(argv)

    def act() -> int:
        from search.final.best_record import export_best
        from search.report.terminal import unfinished
        from search.results.outcome import read_outcome

        path = export_best(args.run, args.trial, args.by, args.out)
        for line in unfinished(read_outcome(args.run)):  # there may be a better one yet
            print(line)
        print(f"{path}\ntrain it: python search/train.py {path}")
        return 0

    return guarded(act)


def train(argv: Sequence[str] | None = None) -> int:
    """Train a best.yaml again, score it on the test split, and save its adapters."""
    p = argparse.ArgumentParser(prog="search/train.py", description=train.__doc__)
    p.add_argument("best", type=Path, help="what export.py wrote")
    p.add_argument("--out", type=Path, help="the folder to make (default: final beside best.yaml)")
    p.add_argument("--held-out", help="further orderings to score, such as random:2@1")
    p.add_argument("--model", help="another model than that of the search")
    p.add_argument("--benchmark", help="other data than those of the search")
    p.add_argument("--text-encoder", help="where the search's sentence encoder lies here")
    args = p.parse_args(argv)

    def act() -> int:
        from search.final.final_training import train_final

        out = (args.out or args.best.parent / "final").expanduser().resolve()
        return train_final(
            args.best, out, args.held_out, args.model, args.benchmark, args.text_encoder
        )

    return guarded(act)


def clean(argv: Sequence[str] | None = None) -> int:
    """Remove from a storage's stages what no search in it needs, and weights beyond a limit.

    What scores, reports and costs come from stays; weights that are needed again are trained again.
    """
    p = argparse.ArgumentParser(prog="search/clean.py", description=clean.__doc__)
    p.add_argument("storage", type=Path, help="the folder that holds the searches")
    p.add_argument("--store-limit", type=float, metavar="GB", help="stages kept at the most")
    p.add_argument("--dry-run", action="store_true", help="only tell what would be removed")
    args = p.parse_args(argv)

    def act() -> int:
        from search.resources.store_limit import clean_storage

        print(clean_storage(args.storage, args.store_limit, args.dry_run))
        return 0

    return guarded(act)


def guarded(act: Callable[[], int]) -> int:
    """The exit status of `act`; 2, with one message, for a mistake in what was asked for."""
    from spaces.errors import InputError
    from trainables.rank.gc_policy import collect_rarely

    collect_rarely()
    try:
        return act()
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
