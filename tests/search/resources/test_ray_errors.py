from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

from search.resources.ray_errors import LOGGERS, send_errors_to
from spaces.storage import mark_storage, release_storage


@pytest.fixture(autouse=True)
def loggers() -> Iterator[None]:
    """Give Ray's loggers back their handlers."""
    known = [logging.getLogger(name) for name in LOGGERS]
    before = [(logger, logger.handlers, logger.propagate) for logger in known]
    yield
    for logger, handlers, propagate in before:
        logger.handlers, logger.propagate = handlers, propagate


def test_tracebacks_of_ray_go_to_the_log_alone_and_hold_no_secrets(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    errors = send_errors_to(tmp_path / "ray-error.log")
    assert errors.place == ""
    for name in ("ray._private.worker", "ray.tune.execution.tune_controller", "ray.train.x"):
        try:
            raise OSError(f"{name} read https://user:hunter2@host")
        except OSError:
            logging.getLogger(name).exception("Unhandled error")
    text = (tmp_path / "ray-error.log").read_text()
    assert text.count("Traceback") == 3 and "hunter2" not in text and "https://***@host" in text
    assert str(tmp_path / "ray-error.log") in errors.place
    assert capfd.readouterr() == ("", "")


def test_nothing_is_written_below_a_storage_that_went_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    temporary, storage = tmp_path / "temporary", tmp_path / "storage"
    temporary.mkdir()
    monkeypatch.setattr("tempfile.gettempdir", lambda: str(temporary))
    mark_storage(storage)
    errors = send_errors_to(storage / "ray-error.log")
    try:
        (storage / ".storage-id").unlink()  # as after an unmount: the folder below is another
        logging.getLogger("ray.tune").error("gone")
    finally:
        release_storage(storage)
    assert not any(storage.iterdir())
    assert "gone" in (temporary / "ray-error.log").read_text() and str(temporary) in errors.place
