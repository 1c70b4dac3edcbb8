"""The peers' own code, loaded from where `make peers` puts it."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from unittest.mock import MagicMock, patch

import pytest

SITE = Path(__file__).parents[2] / ".peers"
"""Folder of the packages that are installed without what they depend on."""
_NEEDED = [
    *("datasets", "sacrebleu", "loguru", "lmms_eval", "lmms_eval.api", "lmms_eval.api.registry"),
    *("lmms_eval.tasks", "lmms_eval.tasks._task_utils", "lmms_eval.tasks._task_utils.file_utils"),
]
_VQA = "lmms_eval.tasks._task_utils.vqa_eval_metric"
if SITE.is_dir():
    sys.path.append(str(SITE))


def package(name: str) -> ModuleType:
    """Import a package; skip the test without it."""
    if importlib.util.find_spec(name.partition(".")[0]) is None:
        pytest.skip(f"{name} is not installed: see `make peers`")
    return importlib.import_module(name)


def lmms_eval(path: str) -> ModuleType:
    """Load one file of lmms-eval by itself: the package would import hundreds of others."""
    found = importlib.util.find_spec("lmms_eval")
    if found is None or not found.submodule_search_locations:
        pytest.skip("lmms_eval is not installed: see `make peers`")
    root = Path(next(iter(found.submodule_search_locations)))
    stand_ins: dict[str, ModuleType] = {name: MagicMock() for name in _NEEDED}
    registry = stand_ins["lmms_eval.api.registry"]
    registry.register_metric = registry.register_aggregation = lambda *_, **__: lambda made: made
    with patch.dict(sys.modules, stand_ins):
        sys.modules[_VQA] = _alone(root / "tasks/_task_utils/vqa_eval_metric.py")
        return _alone(root / path)


def _alone(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"peer_{path.parent.name}_{path.stem}", path)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
