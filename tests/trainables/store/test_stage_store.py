from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from stored import kept, scored, trained
from toy import Toy, adapted, blobs, config, walked

from trainables.store.stage_store import StageStore

ROOT = Path(__file__).parents[3]


def tensors(seed: int, size: int = 8) -> dict[str, torch.Tensor]:
    return {"a.weight": torch.full((size, 4), float(seed)), "b": torch.arange(3.0) * seed}


@pytest.fixture
def store(tmp_path: Path) -> StageStore:
    return StageStore(tmp_path / "stages")


def equal(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[n], other[n]) for n in one)


# Records and blobs -------------------------------------------------------------------------------


def test_what_was_put_is_there_and_what_was_not_is_none(store: StageStore) -> None:
    assert store.get("ab12") is None
    assert not store.has("ab12")
    store.put("ab12", trained(steps=3), tensors(2))
    assert store.has("ab12")
    assert store.get("ab12").steps == 3
    assert equal(store.tensors("ab12"), tensors(2))


def test_a_record_may_have_no_tensors(store: StageStore) -> None:
    store.put("cd", scored(0.5))
    assert store.get("cd") == scored(0.5)
    with pytest.raises(KeyError, match="no tensors"):
        store.tensors("cd")
    with pytest.raises(KeyError, match="no tensors"):
        store.tensors("nothing")


def test_tensors_that_are_views_or_on_a_graph_are_stored_whole(store: StageStore) -> None:
    grown = torch.arange(12.0).reshape(3, 4).requires_grad_()
    store.put("ab", kept(), {"t": grown.T, "part": grown[1:]})
    assert equal(store.tensors("ab"), {"t": grown.detach().T, "part": grown.detach()[1:]})


def test_the_first_publication_stands(store: StageStore) -> None:
    store.put("ab", trained(steps=1), tensors(1))
    store.put("ab", trained(steps=2), tensors(2))
    assert store.get("ab").steps == 1
    assert equal(store.tensors("ab"), tensors(1))


def test_a_blob_is_named_by_its_content_and_shared_by_equal_ones(store: StageStore) -> None:
    store.put("ab", kept(of="one"), tensors(1))
    store.put("cd", kept(of="two"), tensors(1))
    (blob,) = (store.root / "blobs").rglob("*.safetensors")
    assert blob.stem == hashlib.sha256(blob.read_bytes()).hexdigest()
    assert store.get("ab").blob == store.get("cd").blob


# Damage ------------------------------------------------------------------------------------------


def rewrite(path: Path, content: bytes) -> None:
    """Another content at another time: clocks of file systems tick every few milliseconds."""
    path.write_bytes(content)
    os.utime(path, (1, 1))


def flip(path: Path) -> None:
    """Change one byte of a file's second half, at the same length."""
    content = bytearray(path.read_bytes())
    content[-8] ^= 0xFF
    rewrite(path, content)


DAMAGES = {
    "cut": lambda path: rewrite(path, path.read_bytes()[:-5]),
    "emptied": lambda path: rewrite(path, b""),
    "zeroed": lambda path: rewrite(path, bytes(path.stat().st_size)),
    "flipped": flip,
    "gone": lambda path: path.unlink(),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_blob_is_not_there_and_can_be_put_again(store: StageStore, damage: str) -> None:
    store.put("ab", trained(steps=1), tensors(1))
    (blob,) = (store.root / "blobs").rglob("*.safetensors")
    assert store.has("ab")
    DAMAGES[damage](blob)
    assert not store.has("ab")
    store.put("ab", trained(steps=1), tensors(1))
    assert equal(store.tensors("ab"), tensors(1))


WRONG = (b"", b"\0" * 40, b'{"steps": 1', b"\xff\xfe", b"[]", b"7", b'{"blob": 3}', b'{"blob": {}}')


@pytest.mark.parametrize("content", WRONG)
def test_a_damaged_record_is_not_there_and_can_be_put_again(
    store: StageStore, content: bytes
) -> None:
    store.put("ab", trained(steps=1), tensors(1))
    (record,) = (store.root / "records").rglob("*.json")
    record.write_bytes(content)
    assert store.get("ab") is None
    store.put("ab", trained(steps=2), tensors(1))
    assert store.get("ab").steps == 2


@pytest.mark.parametrize("damage", ["cut", "flipped"])
def test_a_stage_whose_weights_are_damaged_is_trained_again_to_the_same_bits(
    toy: Toy, tmp_path: Path, damage: str
) -> None:
    quick = adapted(config(epochs=1), parts="connector")
    whole = walked(toy.walk(quick, tmp_path))
    first = blobs(whole)
    for blob in (tmp_path / "blobs").rglob("*.safetensors"):
        DAMAGES[damage](blob)
    again = walked(toy.walk(quick, tmp_path))
    assert [stage.trained for stage in again.stages] == [True, True]
    assert blobs(again) == first
    assert again.matrices() == whole.matrices()


PUBLISHER = """
import os, signal, sys, time
from pathlib import Path
import torch
from trainables.store.records import KeptRecord
from trainables.store.stage_store import StageStore

store, kills = StageStore(Path(sys.argv[1])), int(sys.argv[2])
for kill in range(kills):
    child = os.fork()
    if child == 0:
        for number in range(1000):
            seed = kill * 1000 + number
            record = KeptRecord(strategy="ewc", of="k", task=str(seed))
            store.put(f"{seed:08x}", record, {"w": torch.full((1 << 18,), float(seed))})
    time.sleep(0.03 + 0.013 * kill)
    os.kill(child, signal.SIGKILL)
    assert os.waitpid(child, 0)[1] == signal.SIGKILL
"""


def test_a_process_killed_in_the_middle_of_publishing_leaves_only_whole_records(
    store: StageStore,
) -> None:
    script = [sys.executable, "-c", PUBLISHER, str(store.root), "12"]
    subprocess.run(script, cwd=ROOT, env={**os.environ, "PYTHONPATH": "."}, check=True, timeout=300)
    records = list((store.root / "records").rglob("*.json"))
    assert len(records) >= 5
    for path in records:
        seed = int(json.loads(path.read_text())["task"])
        assert path.stem == f"{seed:08x}"
        assert equal(store.tensors(path.stem), {"w": torch.full((1 << 18,), float(seed))})
    for blob in (store.root / "blobs").rglob("*.safetensors"):
        if not blob.name.startswith("."):
            assert blob.stem == hashlib.sha256(blob.read_bytes()).hexdigest()
