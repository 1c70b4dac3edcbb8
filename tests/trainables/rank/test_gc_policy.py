"""Thresholds of the garbage collector in processes of a search, and in training."""

from __future__ import annotations

import gc
import subprocess
import sys
from pathlib import Path

from toy import Toy, config, walked

from search.resources.cluster import ROOT, WORKER_SETUP_HOOK
from trainables.rank.gc_policy import PYTHON_DEFAULT, RARE

SCRIPT = """
import atexit, gc
own = gc.get_threshold()
atexit.register(lambda: print(gc.get_freeze_count() > 0))
from {module} import {name}
{name}()
print(gc.get_threshold() > own)
from trainables.rank.gc_policy import collect_as_usual
collect_as_usual()
print(gc.get_threshold() == own)
"""


def test_processes_of_ray_collect_garbage_rarely_and_not_at_the_end() -> None:
    module, name = WORKER_SETUP_HOOK.rsplit(".", 1)
    code = SCRIPT.format(module=module, name=name)
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.stdout.split() == ["True", "True", "True"], done.stderr


def test_it_imports_nothing_heavy() -> None:
    module = WORKER_SETUP_HOOK.rsplit(".", 1)[0]
    code = f"import sys, {module}; print({{'torch', 'ray', 'numpy'}} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.stdout.strip() == "set()", done.stderr


def test_a_worker_with_a_loaded_model_collects_garbage_as_often_as_python(
    toy: Toy, tmp_path: Path
) -> None:
    gc.set_threshold(*RARE)
    walked(toy.walk(config(), tmp_path, ("hue",)))
    assert gc.get_threshold() == PYTHON_DEFAULT
