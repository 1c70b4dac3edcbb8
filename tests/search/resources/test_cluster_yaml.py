from __future__ import annotations

import copy
import re
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[3]


@pytest.fixture
def cluster() -> dict[str, Any]:
    return yaml.safe_load((ROOT / "cluster.yaml").read_text())


def validated(cluster: dict[str, Any]) -> dict[str, Any]:
    """Return the configuration as `ray up` completes and checks it, before it requests machines."""
    util = pytest.importorskip("ray.autoscaler._private.util")
    resolved = util.prepare_config(copy.deepcopy(cluster))
    util.validate_config(resolved)
    return resolved


def test_ray_accepts_the_cluster(cluster: dict[str, Any]) -> None:
    resolved = validated(cluster)
    assert resolved["available_node_types"]["gpu_spot"]["max_workers"] <= resolved["max_workers"]


def test_the_check_would_notice_a_key_that_ray_does_not_know(cluster: dict[str, Any]) -> None:
    cluster["initial_workers"] = 2
    with pytest.raises(Exception, match="initial_workers"):
        validated(cluster)


def test_every_image_has_the_ray_version_that_is_installed(cluster: dict[str, Any]) -> None:
    installed = re.match(r"\d+\.\d+", version("ray"))
    images = [cluster["docker"]["head_image"], cluster["docker"]["worker_image"]]
    assert installed and all(f"ray:{installed[0]}." in image for image in images)


def test_the_token_is_mounted_and_required(cluster: dict[str, Any]) -> None:
    assert cluster["file_mounts"]["/home/ray/.ray/auth_token"] == "~/.ray/auth_token"
    assert "-e RAY_AUTH_MODE=token" in cluster["docker"]["run_options"]
