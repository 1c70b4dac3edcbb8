"""Lanes, workers and GPU shares on machines of all kinds."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from search.plan.checks import check_share
from search.resources.packing import (
    Devices,
    Packing,
    best_packing,
    check_gpus,
    gpu_share,
    lanes_on,
)
from spaces import InputError

GB = 1e9
CPUS = Devices(cores=2, free=24 * GB)


def gpus(count: int, size: float = 80 * GB, cores: int = 32) -> Devices:
    return Devices(cores, 200 * GB, count, size)


@pytest.mark.parametrize(
    ("machine", "workers", "rank", "lanes", "share"),
    [
        (CPUS, 1, GB, 4, 0.0),
        (gpus(1), 1, 10 * GB, 14, 0.1428),  # seven in nine tenths of 80 GB
        (gpus(1), 1, 40 * GB, 14, 1.0),
        (gpus(1), 1, 10 * GB, 2, 0.5),  # no more than there are lanes for
        (gpus(4), 1, 10 * GB, 8, 0.5),
        (gpus(4, cores=4), 1, GB, 100, 1.0),  # each lane needs a core
        (gpus(2), 2, GB, 100, 1.0),  # NCCL needs a GPU for each rank
    ],
)
def test_a_gpu_is_shared_as_far_as_memory_cores_and_trials_go(
    machine: Devices, workers: int, rank: float, lanes: int, share: float
) -> None:
    found = gpu_share(machine, workers, rank, lanes)
    assert found == pytest.approx(share, abs=1e-4)
    if found:
        held = int(1 / found)
        assert held * found <= 1
        assert held * rank <= machine.gpu_bytes
        assert lanes_on(machine, found) == machine.gpus * held


def test_a_share_that_was_asked_for_is_taken_even_where_the_gpus_are_elsewhere() -> None:
    assert gpu_share(CPUS, 1, GB, 4, 0.25) == 0.25
    assert lanes_on(CPUS, 0.25) == 4


def test_in_a_cluster_gpus_are_shared_only_if_asked() -> None:
    assert gpu_share(gpus(4), 1, GB, 20, alone=False) == 1.0
    assert gpu_share(gpus(4), 1, GB, 20, asked=0.5, alone=False) == 0.5
    assert gpu_share(CPUS, 1, GB, 20, alone=False) == 0.0


def split(whole: float, kept: float = 0.0) -> Callable[[int], float]:
    """Return the bytes of a rank by workers: a sharded part, and one that each rank holds."""
    return lambda workers: whole / workers + kept


@pytest.mark.parametrize(
    ("machine", "trials", "rank", "packing"),
    [
        (CPUS, 14, split(0.0, GB), Packing(2, 1)),
        (CPUS, 1, split(0.0, GB), Packing(1, 2)),  # one trial alone: both cores for it
        (Devices(8, 3 * GB), 14, split(0.0, GB), Packing(3, 1)),
        (gpus(8), 14, split(0.0, 60 * GB), Packing(8, 1, 1.0)),
        (gpus(8), 4, split(0.0, 60 * GB), Packing(4, 2, 1.0)),
        (
            gpus(8),
            14,
            split(200 * GB, 10 * GB),
            Packing(2, 4, 1.0),
        ),  # four GPUs hold it, with 60 each
        (gpus(1), 14, split(0.0, 30 * GB), Packing(2, 1, 0.5)),
    ],
)
def test_the_best_packing_keeps_most_devices_busy_with_fewest_workers(
    machine: Devices, trials: int, rank: Callable[[int], float], packing: Packing
) -> None:
    assert best_packing(machine, trials, rank, iter((1, 2, 4, 8))) == packing


def test_a_rank_that_fits_nowhere_has_no_packing() -> None:
    assert best_packing(gpus(1), 4, split(0.0, 90 * GB), iter((1,))) is None
    assert best_packing(CPUS, 4, split(0.0, 90 * GB), iter((1, 2))) is None


def test_the_flags_of_a_packing_ask_for_it() -> None:
    assert Packing(2, 1).flags() == "--concurrent 2 --workers-per-trial 1"
    assert Packing(2, 1, 0.5).flags().endswith(" --gpus-per-worker 0.5")
    assert str(Packing(2, 1, 0.5)) == "2 at once with 1 workers each, 0.5 of a GPU each"


def test_more_workers_than_the_gpus_hold_are_an_input_error() -> None:
    check_gpus(gpus(2), 4, 0.5)
    with pytest.raises(
        InputError, match=r"2 GPUs hold 4 workers of 0\.5 GPU each, and 5 were asked for"
    ):
        check_gpus(gpus(2), 5, 0.5)


@pytest.mark.parametrize(("share", "workers"), [(0.0, 1), (-1.0, 1), (2.0, 1), (0.5, 2)])
def test_a_share_that_no_lane_can_be_given_is_an_input_error(share: float, workers: int) -> None:
    with pytest.raises(InputError, match=r"gpus-per-worker"):
        check_share(share, workers)
    check_share(None, 2)
    check_share(1.0, 2)
