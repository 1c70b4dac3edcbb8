"""Kinds of files in a storage: the paths by which each is known, and the check of one."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

from search.final.best_record import MOST_BYTES, BestRecord
from search.plan.checks import DATA, FEATURES, STAGES
from search.plan.resolve import PRESET_FOLDER
from search.plan.saved_plan import PLAN_FILE, read_saved_plan
from search.results.sums import SUMS
from search.storage.result_files import NotCheckedError, sound_result, structure_fault
from search.tuning.journal import JOURNAL, journal_fault
from spaces.errors import InputError, first_line
from spaces.files import file_sha256
from spaces.records import NamedRecord, parse_json
from spaces.seals import SEAL
from spaces.storage import MARKER
from spaces.yaml_files import read_yaml
from tasks.data.benchmark import read_benchmark_file
from tasks.data.manifest import MANIFEST, REJECTED, Manifest
from tasks.data.survey import PictureNote
from tasks.user_data.damaged_data import PREPARED, BenchmarkOrigin
from tasks.user_data.prepared_benchmark import KNOWN, ConversionNote
from trainables.rank.features import FeatureFiles
from trainables.store.records import parse_record
from trainables.trial_record import TRIALS, TrialRecord

Fault = str | None
"""Reason why a file is damaged; None for a sound one."""
Check = Callable[[Path], Fault]
"""Check of one file, which may also raise `DamagedError`, or another `InputError` if it is foreign."""

WORKING = "working"
"""Kind of files that processes leave while they run: none is read after its process has ended."""


def _record(path: Path) -> Fault:
    values = parse_json(path.read_bytes(), path.name)
    if not isinstance(values, dict):
        return "it must hold a JSON object"
    parse_record(values, path.name, path.stem)
    return None


def _blob(path: Path) -> Fault:
    return None if file_sha256(path) == path.stem else "its bytes are not those of its name"


def _features(path: Path) -> Fault:
    return FeatureFiles(path.parent.parent).fault(path)


def _manifest(path: Path) -> Fault:
    Manifest.from_json(path.read_bytes(), str(path))
    return None


def _shard(path: Path) -> Fault:
    manifest = path.parent / MANIFEST
    if not manifest.is_file():
        raise NotCheckedError(f"there is no {MANIFEST} beside it")
    shards = Manifest.from_json(manifest.read_bytes(), str(manifest)).shards.values()
    known = {shard.file: shard.sha256 for files in shards for shard in files}
    if path.name not in known:
        raise NotCheckedError(f"its {MANIFEST} does not name it")
    same = known[path.name] == file_sha256(path)
    return None if same else "its bytes are not those that its manifest names"


def _benchmark(path: Path) -> Fault:
    if path.name.startswith(PREPARED):
        digest = file_sha256(path)[:16]
        return None if path.stem == f"{PREPARED}{digest}" else "its bytes are not those of its name"
    read_benchmark_file(path)
    return None


def _note(path: Path) -> Fault:
    kinds: dict[str, type[NamedRecord]] = {PREPARED: BenchmarkOrigin, "pictures-": PictureNote}
    record = next((r for start, r in kinds.items() if path.name.startswith(start)), ConversionNote)
    record.read(path)
    return None


def _plan(path: Path) -> Fault:
    read_saved_plan(path.parent)
    return None


def _journal(path: Path) -> Fault:
    return journal_fault(path.parent)


def _trial(path: Path) -> Fault:
    TrialRecord.read(path)
    return None


def _best(path: Path) -> Fault:
    try:
        values = read_yaml(path, MOST_BYTES)
    except InputError as error:
        return first_line(error)
    if path.name != "best.yaml" and not (isinstance(values, dict) and SEAL in values):
        raise NotCheckedError("a YAML file without a seal")
    BestRecord.from_values(values, str(path))
    return None


def _marker(path: Path) -> Fault:
    whole = re.fullmatch(rb"[0-9a-f]{32}", path.read_bytes())
    return None if whole else "it must hold the storage's id of 32 hexadecimal digits"


def _unknown(path: Path) -> Fault:
    raise NotCheckedError("nothing is known of such files")


RUN = r"[^/]+"
"""Folder of a search, by its name."""
KINDS: dict[str, tuple[tuple[str, Check], ...]] = {
    "record": ((rf"{STAGES}/records/[^/]+/[^/]+\.json", _record),),
    "blob": ((rf"{STAGES}/blobs/[^/]+/[^/]+\.safetensors", _blob),),
    "features": ((rf"{FEATURES}/[^/]+/(?:images|examples)/[^/]+\.arrow", _features),),
    "weights": ((rf"{FEATURES}/[^/]+/weights/[^/]+\.safetensors", structure_fault),),
    "data": (
        (rf"{DATA}/[^/]+/{re.escape(MANIFEST)}", _manifest),
        (rf"{DATA}/[^/]+/[^/]+\.arrow", _shard),
        (rf"{DATA}/[^/]+/{re.escape(REJECTED)}", structure_fault),
    ),
    "benchmark": (
        (rf"{DATA}/{PREPARED}[^/]*\.yaml", _benchmark),
        (rf"{re.escape(PRESET_FOLDER)}/[^/]+\.yaml", _benchmark),
    ),
    "note": ((rf"{DATA}/{KNOWN}/[^/]+\.json", _note),),
    "plan": ((rf"{RUN}/{re.escape(PLAN_FILE)}", _plan),),
    "journal": ((rf"{RUN}/{re.escape(JOURNAL)}", _journal),),
    "trial": ((rf"{RUN}/{TRIALS}/[^/]+\.json", _trial),),
    "best": ((rf"{RUN}/[^/]+\.ya?ml", _best),),
    "marker": ((re.escape(MARKER), _marker),),
    WORKING: (
        (rf"(?:{STAGES}/(?:leases|pins)|{RUN}/(?:tune|lanes))/.*", lambda path: None),
        (rf"{STAGES}/records/[^/]+/[^/]+\.used", lambda path: None),
        (rf"{DATA}/\.making-[^/]+/.*", lambda path: None),
        (r"(?:\.lock|lease|damaged\.log|ray-error\.log)", lambda path: None),
        (r"\.[^/]+\.[0-9a-f]{32}", lambda path: None),  # of a writer that was killed
    ),
    "result": (
        (
            r"(?:tables/[^/]+|predictions/[^/]+/[^/]+|report\.html|(?:scores|rescored)\.json)",
            sound_result,
        ),
        (rf"(?:ordering-\d+/.*|{SUMS})", sound_result),
    ),
}
"""Patterns of the end of a path, and their checks, by kind; the first that fits counts."""
OTHER = "other"
"""Kind of all other files."""
_COMPILED = [
    (kind, re.compile(f"(?:.*/)?{pattern}"), check)
    for kind, rules in KINDS.items()
    for pattern, check in rules
]


def kind_of(file: str) -> tuple[str, Check]:
    """Return the kind of a file, by its path below the storage, and its check."""
    found = ((kind, check) for kind, pattern, check in _COMPILED if pattern.fullmatch(file))
    return next(found, (OTHER, _unknown))
