"""Where a trial leaves jobs for its lane, and the lane's ranks their answers.

An actor of its own imports this module alone: jobs stay pickled here, so that it needs neither torch nor
Ray Train, whose import takes seconds of a processor that the lane itself wants at its start.
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
        self.news = asyncio.Condition()

    async def post(self, job: bytes) -> int:
        """Leave a job that is `pack`; returns its number."""
        async with self.news:
            self.jobs.append(job)
            self.news.notify_all()
            return len(self.jobs) - 1

    async def job(self, number: int) -> bytes:
        """Wait for a job."""
        async with self.news:
            await self.news.wait_for(lambda: len(self.jobs) > number)
            return self.jobs[number]

    async def answer(self, number: int, answer: Answer) -> None:
        """Leave one rank's answer."""
        async with self.news:
            self.answers.setdefault(number, []).append(answer)
            self.news.notify_all()

    async def answered(self, number: int) -> list[Answer]:
        """Wait until every rank has answered a job."""
        async with self.news:
            await self.news.wait_for(lambda: len(self.answers.get(number, [])) == self.workers)
            self.jobs[number] = b""  # every rank has had it
            return self.answers.pop(number)


def pack(job: object) -> bytes:
    """A job as the mailbox takes it; None dismisses the ranks."""
    return pickle.dumps(job)


def unpack(job: bytes) -> Any:
    """The job again, in a rank. It never left the search's own processes."""
    return pickle.loads(job)
