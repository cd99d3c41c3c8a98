"""Single bits flipped in a copy of the lake, one at a time: what tells, and what does not.

Belongs here: the flips and who tells of them. Does not belong here: repairing.
"""

import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from campaign.world import SURVEY, Command, Reference

FLIPS = 400
KINDS = {
    "tables": (f"lake/{SURVEY}/[!.]*.parquet", *(f"lake/{SURVEY}/{c}/**/*.parquet" for c in ("[!p.]*", "p[!i]*"))),
    "pixels": (f"lake/{SURVEY}/pixels/*/cutouts.npy", f"lake/{SURVEY}/pixels/*/content.json"),
    "checkpoints": (f"lake/{SURVEY}/checkpoints/**/*.safetensors",),
    "label events": (f"labels/{SURVEY}/events/[!.]*.parquet",),
}
"""What is flipped, a quarter of the flips in each; within a kind every file is as likely as any other."""


@dataclass(frozen=True)
class Flip:
    """A flipped bit that reading did not tell; `values` tells a changed value from what the file says of itself."""

    at: int
    bit: int
    values: bool


def _read(kind: str, root: Path, path: Path) -> tuple[str, str]:
    """What is read from a file as the platform reads it: a digest of the values, and what it says it was made from."""
    import hashlib

    from galaxy_assets.storage.checkpoints import load_encoder
    from galaxy_assets.storage.label_events import LabelLog
    from galaxy_assets.storage.pixels import PixelStore
    from galaxy_assets.storage.provenance import origin
    from galaxy_assets.storage.tables import digest, read_table

    if kind == "tables":
        return digest(read_table(path)), str(origin(path))
    if kind == "label events":
        return digest(LabelLog(root / "labels" / SURVEY).read()), ""
    if kind == "pixels":
        store = PixelStore(root / "lake" / SURVEY / "pixels")
        batch = path.parent.name
        return hashlib.sha256(store.read(batch).tobytes()).hexdigest(), store.fingerprint([batch])
    state = load_encoder(path).state_dict()
    return hashlib.sha256(b"".join(v.numpy().tobytes() for v in state.values())).hexdigest(), ""


def flipped(reference: Reference, kind: str, n: int) -> dict[str, Any]:
    """Flip `n` bits, each in the whole lake, and count who tells."""
    rng, counts, wrong = random.Random(f"flips {kind}"), Counter(), []
    with reference.at(None) as root:
        files = sorted({p for pattern in KINDS[kind] for p in root.glob(pattern)})
        whole = {path: _read(kind, root, path) for path in files}
        rounds: list[dict[Path, Flip]] = []
        for _ in range(n):
            path = rng.choice(files)
            content = path.read_bytes()
            at, bit = rng.randrange(len(content)), rng.randrange(8)
            _write(path, content, at, bit)
            values = True
            try:
                now = _read(kind, root, path)
                outcome, values = "harmless" if now == whole[path] else "other", now[0] != whole[path][0]
            except Exception as error:
                outcome = "told by reading"
                if path.name not in str(error) and path.parent.name not in str(error):
                    wrong.append(
                        f"no file is named: {path.name}, byte {at}: {type(error).__name__}: {str(error)[:150]}"
                    )
            path.write_bytes(content)
            counts[outcome] += 1
            if outcome == "other":
                free = next((r for r in rounds if path not in r), None)
                if free is None:
                    rounds.append(free := {})
                free[path] = Flip(at, bit, values)
        checks = Command(root, "check", "--help").wait(60) == 0
        for flips in rounds:
            told = _checked(root, flips) if checks else set()
            for path, flip in flips.items():
                counts["other"] -= 1
                if path in told:
                    counts["told by check --deep"] += 1
                elif not flip.values:
                    counts["equal values, but it counts as outdated"] += 1
                else:
                    counts["silent"] += 1
                    wrong.append(f"silent: {path.relative_to(root)}, byte {flip.at}, bit {flip.bit}")
    return {"counts": dict(+counts), "check --deep": checks, "wrong": wrong}


def _write(path: Path, content: bytes, at: int, bit: int) -> None:
    path.write_bytes(content[:at] + bytes([content[at] ^ 1 << bit]) + content[at + 1 :])


def _checked(root: Path, flips: dict[Path, Flip]) -> set[Path]:
    """The files that `check --deep` names when each has one bit flipped."""
    whole = {path: path.read_bytes() for path in flips}
    for path, flip in flips.items():
        _write(path, whole[path], flip.at, flip.bit)
    check = Command(root, "check", SURVEY, "--deep")
    code = check.wait()
    for path, content in whole.items():
        path.write_bytes(content)
    said = "".join(check.lines)
    return {p for p in flips if code and p.relative_to(root / p.relative_to(root).parts[0]).as_posix() in said}


def cases(reference: Reference) -> dict[str, Callable[[], dict[str, Any]]]:
    """The kinds of files."""
    return {kind: partial(flipped, reference, kind, FLIPS // len(KINDS)) for kind in KINDS}


def figures(found: list[dict[str, Any]]) -> dict[str, Any]:
    """What is counted."""
    counts = sum((Counter(c["counts"]) for c in found), Counter())
    return {"flips": counts.total(), **counts, "check --deep was there": all(c["check --deep"] for c in found)}
