"""The mailbox between a trial and the ranks of its lane: jobs one way, answers the other.

It is an actor of its own that imports this module alone. Jobs stay pickled here, so that it needs
neither torch nor Ray Train. Their import takes seconds of the processor that the starting lane needs.
"""

from __future__ import annotations

import asyncio
import pickle
from typing import Any

Answer = dict[str, Any]
"""A rank's answer: {"seconds": {...}} or {"diverged": message}."""


class Mailbox:
    """Jobs by their number, and the answers of `workers` ranks to each."""

    def __init__(self, workers: int) -> None:
        self.workers = workers
        self.jobs: list[bytes] = []
        self.answers: dict[int, list[Answer]] = {}
        self.changed = asyncio.Condition()

    async def post(self, job: bytes) -> int:
        """Post a pickled job; return its number."""
        async with self.changed:
            self.jobs.append(job)
            self.changed.notify_all()
            return len(self.jobs) - 1

    async def job(self, number: int) -> bytes:
        """Wait for a job."""
        async with self.changed:
            await self.changed.wait_for(lambda: len(self.jobs) > number)
            return self.jobs[number]

    async def answer(self, number: int, answer: Answer) -> None:
        """Post one rank's answer."""
        async with self.changed:
            self.answers.setdefault(number, []).append(answer)
            self.changed.notify_all()

    async def answered(self, number: int) -> list[Answer]:
        """Wait until every rank has answered a job; return the answers."""
        async with self.changed:
            await self.changed.wait_for(lambda: len(self.answers.get(number, [])) == self.workers)
            self.jobs[number] = b""  # every rank has read it
            return self.answers.pop(number)


def pack(job: object) -> bytes:
    """Pickle a job; None ends the ranks."""
    return pickle.dumps(job)


def unpack(job: bytes) -> Any:
    """Unpickle a job, which never left the processes of the search."""
    return pickle.loads(job)
