"""The live view of a search: in place on a terminal, plain lines in a log."""

from __future__ import annotations

import contextlib
import functools
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from ray import tune
from rich.console import Console, Group
from rich.live import Live
from rich.padding import Padding
from rich.progress_bar import ProgressBar
from rich.text import Text

from search.plan.objectives import Objective
from search.results.formatting import format_duration, format_number
from search.results.run_folder import read_run_folder
from search.tuning.progress_state import Entry, ProgressState
from spaces.errors import InputError
from spaces.references import CEILING, FLOOR

PLAIN_SECONDS = 10.0
"""Between status lines in a log."""


def _harmless(hook: Callable[..., None]) -> Callable[..., None]:
    """A callback that raises ends the whole search; a view that cannot be drawn is no reason to."""

    @functools.wraps(hook)
    def safe(self: Progress, *args: Any, **info: Any) -> None:
        try:
            hook(self, *args, **info)
        except Exception as error:
            self.give_up(error)

    return safe


class Progress(tune.Callback):
    """Tells how a search is going; `trials` are planned, references included."""

    def __init__(
        self,
        run: Path,
        trials: int,
        stages_per_trial: int,
        lanes: int,
        objectives: Sequence[Objective],
        console: Console | None = None,
    ) -> None:
        self.run = Path(run)
        self.tally = ProgressState(trials, stages_per_trial, lanes, [(m, d) for m, d in objectives])
        self.start = self.printed = time.monotonic()
        self.broken = False
        self._console = console
        self._live: Live | None = None

    def __getstate__(self) -> dict[str, Any]:
        # Tune saves its callbacks with the tuner; a terminal cannot be saved.
        return {**self.__dict__, "_console": None, "_live": None}

    @property
    def console(self) -> Console:
        """Where the view is drawn."""
        if self._console is None:
            self._console = Console(highlight=False)
        return self._console

    # What Tune calls -----------------------------------------------------------------------------

    @_harmless
    def setup(self, *args: Any, **info: Any) -> None:
        self.start = self.printed = time.monotonic()
        with contextlib.suppress(InputError):
            for trial in read_run_folder(self.run).trials:
                if trial.state != "running":
                    self.tally.remember(trial)
        self._draw()

    @_harmless
    def on_trial_result(
        self, iteration: int, trials: list[Any], trial: Any, result: dict[str, Any], **info: Any
    ) -> None:
        self.tally.take(*_named(trial), result)
        self._draw()

    @_harmless
    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        self._ended(self.tally.end(*_named(trial)))

    @_harmless
    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        self._ended(self.tally.end(*_named(trial), state="failed"))

    @_harmless
    def on_step_end(self, iteration: int, trials: list[Any], **info: Any) -> None:
        self._draw()

    @_harmless
    def on_experiment_end(self, trials: list[Any], **info: Any) -> None:
        self._print(f"{self.status()} · done", force=True)
        self.close()

    def close(self) -> None:
        """Give the terminal back; safe to call at any time, and again."""
        live, self._live = self._live, None
        if live is not None:
            with contextlib.suppress(Exception):
                live.stop()

    def give_up(self, error: Exception) -> None:
        """Draw no more, and say so once where that is possible."""
        self.close()
        if not self.broken:
            self.broken = True
            with contextlib.suppress(Exception):
                print(f"The live view stopped ({error!r}); the search goes on.", flush=True)

    # What is shown -------------------------------------------------------------------------------

    def status(self) -> str:
        """Everything in one line."""
        return " · ".join(
            [format_duration(time.monotonic() - self.start), self._trials(), self._stages()]
            + [part for part in (self._best(), self._bounds(), self._left()) if part]
        )

    def view(self) -> Group:
        """The same as a few lines with a bar, for a terminal."""
        tally = self.tally
        total = max(1, tally.stages_planned)
        bar = ProgressBar(total=total, completed=total - tally.stages_left, width=60)
        spent = format_duration(time.monotonic() - self.start)
        lines = [self._trials(), self._stages(), self._best() or "no trial has finished yet"]
        bounds = [self._bounds()] if self._bounds() else []
        times = f"{spent} · {self._left() or 'nothing left'}"
        return Group(Padding(bar, 0), *(Text(line) for line in [*lines, *bounds, times]))

    def _trials(self) -> str:
        tally = self.tally
        counts = {
            "finished": tally.count("finished"),
            "stopped": tally.count("stopped"),
            "failed": tally.count("failed", "diverged"),
            "running": tally.count("running"),
        }
        shown = [f"{n} {state}" for state, n in counts.items() if n or state != "failed"]
        return f"trials {', '.join(shown)} of {tally.planned}"

    def _stages(self) -> str:
        tally = self.tally
        notes = [f"{tally.stages_shared} from the store"] if tally.stages_shared else []
        notes += [f"{tally.stages_spared} spared"] if tally.stages_spared else []
        note = f" ({', '.join(notes)})" if notes else ""
        return f"stages {tally.stages_done} of {tally.stages_planned}{note}"

    def _best(self) -> str:
        best = self.tally.best()
        return f"best {_scores(best, self.tally.objectives)}" if best else ""

    def _bounds(self) -> str:
        metric = self.tally.objectives[0][0]
        bounds = {"floor": self.tally.bound(FLOOR), "ceiling": self.tally.bound(CEILING)}
        return " · ".join(
            f"{word} {e.strategy} {format_number(e.metrics[metric])}"
            for word, e in bounds.items()
            if e
        )

    def _left(self) -> str:
        left = self.tally.seconds_left()
        if self.tally.stages_left == 0:
            return ""
        return "estimating time left" if left is None else f"about {format_duration(left)} left"

    def _ended(self, entry: Entry) -> None:
        whole = self.tally.stages_of(entry.strategy)
        done, store = min(entry.stages_done, whole), sum(not trained for trained in entry.trained)
        scores = _scores(entry, self.tally.objectives) if entry.state == "finished" else ""
        of = f"{done} of {whole} stages, {store} from the store"
        what = scores or _label(entry)
        self._print(f"{entry.state}: {what} ({of})", force=True)
        self._draw()

    def _draw(self) -> None:
        if self.broken:
            return
        if not self.console.is_terminal:
            # The line is made of all trials: with thousands, not for every stage.
            if time.monotonic() - self.printed >= PLAIN_SECONDS:
                self._print(self.status())
        elif self._live is None:
            self._live = Live(
                get_renderable=self.view, console=self.console, refresh_per_second=2, transient=True
            )
            self._live.start()

    def _print(self, line: str, force: bool = False) -> None:
        now = time.monotonic()
        if self.broken or not (force or now - self.printed >= PLAIN_SECONDS):
            return
        if not force:
            self.printed = now
        self.console.print(Text(line), soft_wrap=True)
        self.console.file.flush()


def _named(trial: Any) -> tuple[str, str]:
    config = trial.config
    return str(config["name"]), str(config["trial"]["strategy"]["name"])


def _scores(entry: Entry, objectives: Sequence[Objective]) -> str:
    scores = ", ".join(
        f"{metric} {format_number(entry.metrics.get(metric))}" for metric, _ in objectives
    )
    return f"{_label(entry)}: {scores}"


def _label(entry: Entry) -> str:
    """A reference trial is called by its strategy."""
    return entry.name if entry.name == entry.strategy else f"{entry.strategy} {entry.name}"
