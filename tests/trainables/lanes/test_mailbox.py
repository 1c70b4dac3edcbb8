"""The mailbox between a trial and its lane: what goes in comes out, and its process stays light."""

from __future__ import annotations

import asyncio
import subprocess
import sys

from search.resources.cluster import ROOT
from trainables.lanes.mailbox import Mailbox, pack, unpack

LIGHT = (
    "import sys, trainables.lanes.mailbox; sys.exit(bool({'torch', 'ray'} & sys.modules.keys()))"
)


def test_its_process_needs_neither_torch_nor_ray() -> None:
    subprocess.run([sys.executable, "-c", LIGHT], cwd=ROOT, check=True)


def test_jobs_come_to_ranks_in_their_order_and_answers_when_all_are_there() -> None:
    async def exchange() -> None:
        box = Mailbox(workers=2)
        early = asyncio.create_task(box.job(0))
        assert await box.post(pack("first")) == 0
        assert await box.post(pack(None)) == 1
        assert unpack(await early) == unpack(await box.job(0)) == "first"
        assert unpack(await box.job(1)) is None
        answered = asyncio.create_task(box.answered(0))
        await box.answer(0, {"seconds": {"train": 1.0}})
        await asyncio.sleep(0)
        assert not answered.done()
        await box.answer(0, {"diverged": "it"})
        assert await answered == [{"seconds": {"train": 1.0}}, {"diverged": "it"}]
        assert box.jobs[0] == b""

    asyncio.run(exchange())
