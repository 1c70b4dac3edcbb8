from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
import torch
from stored import kept as kept_record
from toy import Toy

from models.lmm import LMM
from spaces import InputError, Training
from tasks import load_benchmark
from trainables.rank.batching import batches, micro_batches, permutation
from trainables.rank.data import Data
from trainables.rank.task_embeddings import spread
from trainables.store.stage_store import LazyTensors, StageStore

PICKS = [("a", row) for row in range(13)]


def stream(training: Training, seed: int = 0) -> list[tuple[str, int]]:
    return [pick for batch in batches(PICKS, training, seed) for pick in batch]


def test_every_example_comes_once_an_epoch_and_the_last_batch_is_what_is_left() -> None:
    made = batches(PICKS, Training(epochs=3, batch_size=4), seed=0)
    assert [len(batch) for batch in made] == [4, 4, 4, 1] * 3
    for epoch in (made[:4], made[4:8], made[8:]):
        assert Counter(pick for batch in epoch for pick in batch) == Counter(PICKS)
    (few,) = batches(PICKS, Training(batch_size=32), seed=0)
    assert Counter(few) == Counter(PICKS)


def test_a_rest_that_is_dropped_is_carried_over_and_left_out_of_the_last_epoch() -> None:
    training = Training(epochs=3, batch_size=4, micro_batch=4, last_batch="drop")
    seen = stream(training)
    assert len(seen) == 36  # 39, whole batches of 4
    assert Counter(seen[:13]) == Counter(seen[13:26]) == Counter(PICKS)


def test_every_epoch_and_every_seed_has_an_order_of_its_own() -> None:
    training = Training(epochs=2, batch_size=13, micro_batch=13)
    first, second = batches(PICKS, training, seed=0)
    assert first != second
    assert batches(PICKS, training, seed=0) == [first, second]
    assert batches(PICKS, training, seed=1)[0] != first


def test_fewer_examples_than_a_batch_are_repeated_to_fill_it_where_rests_are_dropped() -> None:
    training = Training(epochs=1, batch_size=32, micro_batch=32, last_batch="drop")
    (batch,) = batches(PICKS, training, seed=0)
    assert len(batch) == 32
    assert set(Counter(batch).values()) <= {2, 3}


@pytest.mark.parametrize("workers", [1, 2, 4])
@pytest.mark.parametrize("micro", [1, 2])
def test_ranks_share_a_batch_out_evenly(workers: int, micro: int) -> None:
    batch = PICKS[:8]
    passes = 8 // (micro * workers)
    shares = [micro_batches(batch, passes, rank, workers) for rank in range(workers)]
    assert Counter(p for share in shares for part in share for p in part) == Counter(batch)
    assert {len(share) for share in shares} == {passes}
    assert {len(part) for share in shares for part in share} == {micro}


@pytest.mark.parametrize("size", range(1, 14))
@pytest.mark.parametrize(("passes", "workers"), [(1, 1), (2, 1), (1, 2), (2, 3), (4, 2)])
def test_a_batch_that_is_not_full_is_shared_out_with_as_many_passes(
    size: int, passes: int, workers: int
) -> None:
    shares = [micro_batches(PICKS[:size], passes, rank, workers) for rank in range(workers)]
    assert {len(share) for share in shares} == {passes}
    parts = [part for share in shares for part in share]
    assert Counter(pick for part in parts for pick in part) == Counter(PICKS[:size])
    assert max(map(len, parts)) - min(map(len, parts)) <= 1


def test_the_key_decides_a_permutation() -> None:
    assert sorted(permutation(50, "ab" * 20)) == list(range(50))
    assert permutation(50, "ab" * 20) == permutation(50, "ab" * 20)
    assert permutation(50, "ab" * 20) != permutation(50, "ac" * 20)


def test_a_batch_that_micro_batches_and_ranks_do_not_divide_is_an_input_error() -> None:
    assert Training(batch_size=16, micro_batch=4).accumulation(workers=2) == 2
    with pytest.raises(InputError, match=r"got 16 and 16 x 2; micro_batch 8 would do"):
        Training(batch_size=16, micro_batch=16).accumulation(workers=2)
    with pytest.raises(InputError, match="must be a multiple of micro_batch x workers"):
        Training(batch_size=10, micro_batch=4).accumulation(workers=1)
    with pytest.raises(InputError, match="of the workers, got 8 and 3; batch_size 9 would do"):
        Training(batch_size=8).accumulation(workers=3)


@pytest.mark.parametrize(
    ("batch", "workers", "per_pass", "passes"),
    [(16, 1, 16, 1), (16, 4, 4, 1), (64, 1, 16, 4), (36, 2, 9, 2), (17, 1, 1, 17)],
)
def test_the_size_of_a_forward_pass_divides_the_share_of_a_rank(
    batch: int, workers: int, per_pass: int, passes: int
) -> None:
    training = Training(batch_size=batch)
    assert (training.per_pass(workers), training.accumulation(workers)) == (per_pass, passes)


def test_grouped_batches_hold_the_same_examples_with_similar_lengths() -> None:
    picks = [("a", row) for row in range(64)]
    lengths = {"a": permutation(64, "0" * 12)}
    training = Training(epochs=2, batch_size=4, micro_batch=4)
    plain = batches(picks, training, seed=0)
    grouped = batches(picks, training, seed=0, lengths=lengths)
    assert Counter(p for b in grouped for p in b) == Counter(p for b in plain for p in b)
    assert [len(batch) for batch in grouped] == [len(batch) for batch in plain]
    assert all(len(set(batch)) == 4 for batch in grouped)
    assert Counter(p for b in grouped[:16] for p in b) == Counter(picks)  # an epoch is a whole one

    def spread(found: list[list[tuple[str, int]]]) -> int:
        return sum(
            max(lengths["a"][row] for _, row in b) - min(lengths["a"][row] for _, row in b)
            for b in found
        )

    assert spread(grouped) < spread(plain) / 4
    middles = [sum(lengths["a"][row] for _, row in batch) for batch in grouped]
    assert middles != sorted(middles)
    assert grouped == batches(picks, training, seed=0, lengths=lengths)


# What is known of examples -----------------------------------------------------------------------


@pytest.fixture(scope="module")
def loaded(toy: Toy) -> Data:
    return Data(load_benchmark(toy.benchmark), LMM(toy.model), seed=0)


def test_the_size_of_a_memory_counts_images_and_texts(loaded: Data) -> None:
    rows = [loaded.examples("hue", "train")[row] for row in (3, 5)]
    size = sum(len(e.images[0]) + len(e.prompt) + len(e.answer) for e in rows)
    assert loaded.memory_size([("hue", 3), ("hue", 5)]) == {"examples": 2, "bytes": size}
    assert loaded.memory_size([]) == {"examples": 0, "bytes": 0}


def test_the_length_of_an_answer_is_that_of_its_encoding(loaded: Data) -> None:
    picks = [("hue", row) for row in range(8)] + [("half", 2)]
    lengths = [len(encoded.answer) for encoded in loaded.training(picks)]
    assert [loaded.answer_length(pick) for pick in picks] == lengths


def test_the_shuffle_of_a_task_depends_on_the_seed_and_its_name(loaded: Data) -> None:
    other = Data(loaded.benchmark, loaded.lmm, seed=1)
    assert sorted(loaded.shuffled("hue")) == list(range(24))
    assert loaded.shuffled("hue") == loaded.shuffled("hue") != other.shuffled("hue")
    assert loaded.shuffled("hue") != loaded.shuffled("light")


@pytest.mark.parametrize(
    ("size", "most"), [(24, 1000), (1000, 1000), (5000, 1000), (20, 8), (3, 8)]
)
def test_rows_are_spread_over_a_task_in_whole_blocks(size: int, most: int) -> None:
    rows = spread(size, most)
    assert len(rows) <= most
    assert len(rows) >= min(size, most) // 2
    assert rows == sorted(set(rows))
    assert rows[0] == 0 and rows[-1] < size
    blocks = {row // 8 for row in rows}
    assert rows == [
        row for block in sorted(blocks) for row in range(block * 8, block * 8 + 8) if row < size
    ]
    assert rows == list(range(size)) or size > most


def test_lazy_tensors_are_read_when_they_are_indexed(tmp_path: Path) -> None:
    store, keys = StageStore(tmp_path), ["a" * 40, "b" * 40]
    kept = LazyTensors(store, keys)
    assert len(kept) == 2
    for number, key in enumerate(keys):
        store.put(key, kept_record(), {"w": torch.full((2,), float(number))})
    assert [float(own["w"][0]) for own in kept] == [0.0, 1.0]
    assert not LazyTensors(store, [])
