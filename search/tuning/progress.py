"""Live view of a search: in place on a terminal, plain lines in a log."""

from __future__ import annotations

import contextlib
import functools
import logging
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
from search.tuning.progress_state import ProgressState, TrialProgress
from spaces.errors import InputError
from spaces.references import CEILING, FLOOR
from trainables.trial_record import TrialRecord

logger = logging.getLogger(__name__)
PLAIN_SECONDS = 10.0
"""Seconds between two status lines in a log."""


def _never_raises(hook: Callable[..., None]) -> Callable[..., None]:
    """Wrap a callback so that an error in it ends the view, and not the search."""

    @functools.wraps(hook)
    def safe(self: Progress, *args: Any, **info: Any) -> None:
        try:
            hook(self, *args, **info)
        except Exception as error:
            self.give_up(error)

    return safe


class Progress(tune.Callback):
    """Callback that shows the state of a search; `trials` are planned, references included."""

    def __init__(
        self,
        run: Path,
        trials: int,
        stages_per_trial: int,
        lanes: int,
        objectives: Sequence[Objective],
        console: Console | None = None,
        joint_trials: int = 1,
    ) -> None:
        self.run = Path(run)
        named = [(metric, direction) for metric, direction in objectives]
        self.state = ProgressState(
            trials, stages_per_trial, lanes, named, joint_trials=joint_trials
        )
        self.start = self.printed = time.monotonic()
        self.broken = False
        self._console = console
        self._live: Live | None = None

    def __getstate__(self) -> dict[str, Any]:
        # Tune saves its callbacks with the tuner; a terminal cannot be saved.
        return {**self.__dict__, "_console": None, "_live": None}

    @property
    def console(self) -> Console:
        """Console of the view; standard output by default."""
        if self._console is None:
            self._console = Console(highlight=False)
        return self._console

    # Hooks of Tune --------------------------------------------------------------------------------

    @_never_raises
    def setup(self, *args: Any, **info: Any) -> None:
        self.start = self.printed = time.monotonic()
        for trial in self._earlier_trials():
            if trial.state != "running":
                self.state.restore(trial)
        self._draw()

    @_never_raises
    def on_trial_result(
        self, iteration: int, trials: list[Any], trial: Any, result: dict[str, Any], **info: Any
    ) -> None:
        self.state.update(*_named(trial), result)
        self._draw()

    @_never_raises
    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        self._print_end(self.state.end(*_named(trial)))

    @_never_raises
    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        self._print_end(self.state.end(*_named(trial), state="failed"))

    @_never_raises
    def on_step_end(self, iteration: int, trials: list[Any], **info: Any) -> None:
        self._draw()

    @_never_raises
    def on_experiment_end(self, trials: list[Any], **info: Any) -> None:
        self._print(f"{self.status()} · done", force=True)
        self.close()

    def close(self) -> None:
        """Give the terminal back; safe to call at any time, and again."""
        live, self._live = self._live, None
        if live is not None:
            try:
                live.stop()
            except (OSError, ValueError) as error:  # the terminal has gone, or its file is closed
                logger.debug("the terminal cannot be given back: %r", error)

    def give_up(self, error: Exception) -> None:
        """Stop drawing, and say so once."""
        self.close()
        if not self.broken:
            self.broken = True
            logger.warning("the live view stopped", exc_info=error)
            with contextlib.suppress(OSError, ValueError):
                print(f"The live view stopped ({error!r}); the search goes on.", flush=True)

    def _earlier_trials(self) -> Sequence[TrialRecord]:
        try:
            return read_run_folder(self.run).trials
        except InputError as error:
            logger.debug("no earlier trials are counted: %s", error)
            return ()

    # Texts ----------------------------------------------------------------------------------------

    def status(self) -> str:
        """Return the state of the search in one line."""
        return " · ".join(
            [format_duration(time.monotonic() - self.start), self._trials(), self._stages()]
            + [part for part in (self._best(), self._references(), self._left()) if part]
        )

    def view(self) -> Group:
        """Return the state of the search as a bar and a few lines, for a terminal."""
        state = self.state
        total = max(1, state.stages_planned)
        bar = ProgressBar(total=total, completed=total - state.stages_left, width=60)
        spent = format_duration(time.monotonic() - self.start)
        lines = [self._trials(), self._stages(), self._best() or "no trial has finished yet"]
        references = [self._references()] if self._references() else []
        times = f"{spent} · {self._left() or 'nothing left'}"
        return Group(Padding(bar, 0), *(Text(line) for line in [*lines, *references, times]))

    def _trials(self) -> str:
        state = self.state
        counts = {
            "finished": state.count("finished"),
            "stopped": state.count("stopped"),
            "failed": state.count("failed", "diverged"),
            "running": state.count("running"),
        }
        shown = [f"{n} {state}" for state, n in counts.items() if n or state != "failed"]
        return f"trials {', '.join(shown)} of {state.planned}"

    def _stages(self) -> str:
        state = self.state
        notes = [f"{state.stages_shared} from the store"] if state.stages_shared else []
        notes += [f"{state.stages_skipped} skipped"] if state.stages_skipped else []
        note = f" ({', '.join(notes)})" if notes else ""
        return f"stages {state.stages_done} of {state.stages_planned}{note}"

    def _best(self) -> str:
        best = self.state.best()
        return f"best {_scores(best, self.state.objectives)}" if best else ""

    def _references(self) -> str:
        metric = self.state.objectives[0][0]
        references = {
            "floor": self.state.best_reference(FLOOR),
            "ceiling": self.state.best_reference(CEILING),
        }
        return " · ".join(
            f"{word} {e.strategy} {format_number(e.metrics[metric])}"
            for word, e in references.items()
            if e
        )

    def _left(self) -> str:
        left = self.state.seconds_left()
        if self.state.stages_left == 0:
            return ""
        return "estimating time left" if left is None else f"about {format_duration(left)} left"

    def _print_end(self, trial: TrialProgress) -> None:
        total = self.state.stages_of(trial.strategy)
        done, shared = min(trial.stages_done, total), sum(not trained for trained in trial.trained)
        text = _scores(trial, self.state.objectives) if trial.state == "finished" else _label(trial)
        stages = f"{done} of {total} stages, {shared} from the store"
        self._print(f"{trial.state}: {text} ({stages})", force=True)
        self._draw()

    def _draw(self) -> None:
        if self.broken:
            return
        if not self.console.is_terminal:
            # The line counts over all trials: with thousands, that is too slow for every stage.
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


def _scores(trial: TrialProgress, objectives: Sequence[Objective]) -> str:
    scores = ", ".join(
        f"{metric} {format_number(trial.metrics.get(metric))}" for metric, _ in objectives
    )
    return f"{_label(trial)}: {scores}"


def _label(trial: TrialProgress) -> str:
    """Return a trial's strategy and name; a reference is named by its strategy alone."""
    return trial.name if trial.name == trial.strategy else f"{trial.strategy} {trial.name}"
