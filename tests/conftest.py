"""Environment of all tests, and fixtures that many share."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from toy import Toy

# Set before torch is imported: with a thread per core, tiny matrices are slow on a busy machine,
# and the order of sums would depend on the machine.
for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ[name] = "1"
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["HF_HUB_DISABLE_PROGRESS_BARS"] = "1"
os.environ["RAY_ADDRESS"] = "local"  # never another's cluster
TABLE: pytest.StashKey[Any] = pytest.StashKey()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--families", type=Path, help="file for the table of the families' features")


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    """Record the outcomes of tests/models/test_families.py for the table of families."""
    report = (yield).get_result()  # type: ignore[attr-defined]  # pytest sends the outcome
    path = item.config.getoption("--families")
    if path and (report.when == "call" or report.outcome != "passed"):
        from families import FAMILIES
        from family_table import Outcomes

        table = item.config.stash.setdefault(TABLE, Outcomes(list(FAMILIES)))
        table.note(item.nodeid, report.outcome)


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Write the table of families if `--families` was given."""
    if TABLE in session.config.stash:
        session.config.stash[TABLE].write(session.config.getoption("--families").resolve())


@pytest.fixture(scope="session")
def toy_benchmark(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write three tasks to disk; tests must not change them."""
    from toy import write_toy_benchmark

    return write_toy_benchmark(tmp_path_factory.mktemp("toy") / "benchmark")


@pytest.fixture(scope="session")
def toy(toy_benchmark: Path) -> Toy:
    """Return the toy tasks with a LLaVA."""
    from toy import Toy, write_llava

    return Toy(toy_benchmark, write_llava(toy_benchmark.parent / "llava"))


@pytest.fixture(scope="session")
def toy_instructblip(toy_benchmark: Path) -> Toy:
    """Return the toy tasks with an InstructBLIP."""
    from toy import Toy, write_instructblip

    return Toy(toy_benchmark, write_instructblip(toy_benchmark.parent / "instructblip"))


@pytest.fixture
def plan(toy: Toy, tmp_path: Path) -> Callable[..., str]:
    """Return a function that writes a plan file for the toy, with changes, and returns its path."""
    import yaml
    from toy import ADAPTER, TRAINING

    def write(**changes: Any) -> str:
        values = {
            "benchmark": str(toy.benchmark),
            "model": str(toy.model),
            "tasks": ["hue", "light"],
            "orderings": "given+reverse",
            "samples": 3,
            "training": TRAINING,
            "adapter": ADAPTER,
            "space": {},
            "concurrent": 1,
        }
        path = tmp_path / "toy.yaml"
        path.write_text(yaml.safe_dump(values | changes))
        return str(path)

    return write


@pytest.fixture
def refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Callable[..., str]:
    """Return a function that runs a command, which must fail at once, and returns its one message."""
    import ray

    from search import cli, run_search

    monkeypatch.setattr(run_search, "run_search", lambda *_: pytest.fail("it has begun"))

    def run(*args: str, command: Callable[..., int] = cli.main, where: bool = True) -> str:
        storage = tmp_path / "storage"
        before = sorted(storage.rglob("*"))
        status = command([*args, *(["--storage", str(storage)] if where else [])])
        out, err = capsys.readouterr()
        assert status == 2
        assert err.startswith("error: ")
        assert err.count("error:") == 1
        assert "Traceback" not in out + err
        assert not out
        assert sorted(storage.rglob("*")) == before
        assert not ray.is_initialized()
        return err.removeprefix("error: ").strip()

    return run
