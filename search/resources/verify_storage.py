"""Check of a whole storage: every file that carries a digest is read, and the damaged ones are named."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from search.plan.checks import DATA, FEATURES, STAGES
from search.plan.saved_plan import PLAN_FILE, read_saved_plan
from search.results.formatting import format_duration
from search.tuning.journal import JOURNAL, journal_fault
from spaces.errors import DamagedError, InputError, first_line
from spaces.files import file_sha256, set_aside
from spaces.records import parse_json
from tasks.data.manifest import MANIFEST, read_manifest
from trainables.rank.features import FeatureFiles
from trainables.store.records import parse_record
from trainables.trial_record import TRIALS, TrialRecord

PROGRESS_SECONDS = 10.0
"""Seconds between two lines of progress."""
KINDS = ("record", "blob", "features", "data", "plan", "journal", "trial")


@dataclass
class Findings:
    """Sound, damaged and foreign files of a storage, by kind."""

    sound: dict[str, int] = field(default_factory=dict)
    foreign: dict[str, int] = field(default_factory=dict)
    """Files that another version wrote."""
    damaged: list[tuple[str, Path, str]] = field(default_factory=list)
    """Kind, path and reason of each damaged file."""

    def lines(self) -> list[str]:
        """Return a table by kind, and a line for each damaged file."""
        rows = [f"{'kind':10}{'files':>8}{'sound':>8}{'damaged':>9}{'foreign':>9}"]
        for kind in KINDS:
            bad = sum(k == kind for k, _, _ in self.damaged)
            sound, foreign = self.sound.get(kind, 0), self.foreign.get(kind, 0)
            rows.append(f"{kind:10}{sound + bad + foreign:8}{sound:8}{bad:9}{foreign:9}")
        return rows + [f"damaged: {path}: {why}" for _, path, why in self.damaged]


def verify_storage(storage: Path, aside: bool, notify: Callable[[str], None] = print) -> bool:
    """Check every file, print a table and return True if all are sound; `aside` sets others aside."""
    files = list(_files(storage))
    if not files:
        raise InputError(f'a storage holds searches and their stages, and "{storage}" holds none')
    total, done, start = sum(_size(path) for _, path in files), 0, time.monotonic()
    found, shown = Findings(), start
    for kind, path in files:
        try:
            why = _fault(kind, path)
        except DamagedError as error:
            why = first_line(error)
        except InputError:
            found.foreign[kind] = found.foreign.get(kind, 0) + 1
            continue
        except (OSError, ValueError) as error:
            why = first_line(error)
        if why:
            found.damaged.append((kind, path, why))
        else:
            found.sound[kind] = found.sound.get(kind, 0) + 1
        done += _size(path)
        if done and time.monotonic() - shown > PROGRESS_SECONDS:
            shown = time.monotonic()
            left = format_duration((shown - start) * (total - done) / done)
            notify(f"{done / 1e9:.2f} of {total / 1e9:.2f} GB read, about {left} left")
    for line in found.lines():
        notify(line)
    for _, path, _ in found.damaged if aside else ():
        if moved := set_aside(path):
            notify(f"set aside as {moved.name}")
    return not found.damaged


def _files(storage: Path) -> Iterator[tuple[str, Path]]:
    """Yield the kind and path of each file or folder that can be checked."""
    patterns = (
        ("record", f"{STAGES}/records/*/*.json"),
        ("blob", f"{STAGES}/blobs/*/*.safetensors"),
        ("features", f"{FEATURES}/*/images/*.arrow"),
        ("features", f"{FEATURES}/*/examples/*.arrow"),
        ("data", f"{DATA}/*/{MANIFEST}"),
        ("data", f"{DATA}/*/*.arrow"),
        ("plan", f"*/{PLAN_FILE}"),
        ("trial", f"*/{TRIALS}/*.json"),
    )
    for kind, pattern in patterns:
        for path in sorted(storage.glob(pattern)):
            if not path.name.startswith("."):
                yield kind, path
    for plan in sorted(storage.glob(f"*/{PLAN_FILE}")):
        yield "journal", plan.parent / JOURNAL


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _fault(kind: str, path: Path) -> str | None:
    """Return why a file is damaged, or None; may raise `DamagedError`, or `InputError` if foreign."""
    if path.is_dir():
        return "a folder stands in its place"
    match kind:
        case "record":
            values = parse_json(path.read_bytes(), path.name)
            if not isinstance(values, dict):
                return "it must hold a JSON object"
            parse_record(values, path.name, path.stem)
        case "blob":
            return None if file_sha256(path) == path.stem else "its bytes are not those of its name"
        case "features":
            return FeatureFiles(path.parent.parent).fault(path)
        case "data" if path.name == MANIFEST:
            read_manifest(path.parent)
        case "data":
            shards = read_manifest(path.parent).shards.values()
            known = {shard.file: shard.sha256 for files in shards for shard in files}
            same = path.name not in known or known[path.name] == file_sha256(path)
            return None if same else "its bytes are not those that its manifest names"
        case "plan":
            read_saved_plan(path.parent)
        case "journal":
            return journal_fault(path.parent)
        case "trial":
            TrialRecord.read(path)
    return None
