"""Two thousand damaged inputs through everything that reads a file, seeded.

A reader either reads what is left or raises an error that names the file; it never raises anything else, ends its
process, takes more than a gigabyte or hangs.

Belongs here: how a file is damaged, the process that reads, and what may come of it. Does not belong here: the kinds of
files (`inputs_kinds`).
"""

import logging
import multiprocessing as mp
import random
import resource
import shutil
import tempfile
import traceback
import warnings
from collections import Counter
from collections.abc import Callable
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from campaign.inputs_kinds import KINDS
from campaign.world import Reference

EACH = -(-2000 // len(KINDS))
"""Damaged files of each kind."""
MAXIMUM, SECONDS = 1_000, 30
"""MB that the reading process may grow by, and seconds that one file may take."""
_TEXTS = [b'"', b"'", b"[" * 20_000, b"{" * 20_000, b"9" * 5_000, b"\0", b"\xff", b"\n", b",,", b": ", b"\r", b"-"]
_TEXTS += [b"0001-01-01T00:00:00+23:00", b"2026-13-45", b"1e400", b"&a [*a, *a]", b"!!python/object:os.system x"]
_TEXTS += [b"\xef\xbb\xbf", b"../../x"]


def damaged(content: bytes, rng: random.Random, text: bool) -> bytes:
    """Bits flipped, bytes changed, pieces cut out, doubled, made of ones; of text also what breaks its grammar."""
    changed = bytearray(content)
    for _ in range(rng.randint(1, 4)):
        # half of it near the beginning, where headers are
        at = rng.randrange(len(changed) if rng.random() < 0.5 else min(len(changed), 400)) if changed else 0
        match rng.randrange(7 if text else 6):
            case 0:
                changed[at : at + 1] = bytes([changed[at] ^ 1 << rng.randrange(8)]) if changed else b""
            case 1:
                changed[at : at + 1] = bytes([rng.randrange(256)])
            case 2:
                changed[at : at + 4] = b"\xff" * 4
            case 3:
                del changed[at : at + rng.randint(1, 64)]
            case 4:
                changed[at:at] = changed[at : at + rng.randint(1, 64)]
            case 5 if rng.random() < 0.3:
                del changed[at:]
            case 6:
                changed[at:at] = rng.choice(_TEXTS)
    return bytes(changed)


def _reads(kind_name: str, data: Path, finished: Path, first: int, last: int, tell: Connection) -> None:
    """Read the damaged files of a kind, telling before and after each; runs in a process of its own."""
    resource.setrlimit(resource.RLIMIT_AS, (16 << 30, 16 << 30))
    logging.disable(logging.WARNING)
    warnings.simplefilter("ignore")
    from side_by_side import resident

    kind = KINDS[kind_name]
    with tempfile.TemporaryDirectory(prefix="campaign_inputs_") as folder:
        place = Path(folder) / "whole"
        place.mkdir()
        target = kind.write(place, data, finished)
        whole, name = target.read_bytes(), target.relative_to(place)
        rows = kind.read(place, target)  # whole files are read, and all is imported before memory is counted
        tell.send(None)
        for number in range(first, last):
            here = Path(folder) / "damaged"
            shutil.copytree(place, here)
            (here / name).write_bytes(damaged(whole, random.Random(f"{kind_name} {number}"), kind.text))
            Path("/proc/self/clear_refs").write_text("5")
            before = resident("VmRSS")
            outcome = _outcome(kind.read, here, here / name, rows)
            tell.send((number, *outcome, resident("VmHWM") - before))
            shutil.rmtree(here)


def _outcome(read: Callable[[Path, Path], int], folder: Path, target: Path, rows: int) -> tuple[str, str]:
    """What came of reading one damaged file, and the words of it."""
    try:
        found = read(folder, target)
        return ("read", "") if found >= rows else ("read with less in it", f"{found} of {rows}")
    except Exception as error:
        from galaxy_assets.settings.printing import PrintableError

        if isinstance(error, PrintableError) or target.name in str(error) or str(target.parent) in str(error):
            return "named error", ""
        where = traceback.extract_tb(error.__traceback__)
        own = [f"{Path(f.filename).name}:{f.lineno}" for f in where if "galaxy_assets" in f.filename]
        return "other error", f"{type(error).__name__} at {own[-1] if own else '?'}: {str(error)[:120]}"


def read_all(reference: Reference, kind: str, n: int) -> dict[str, Any]:
    """Read `n` damaged files of a kind; a process that ends or hangs is counted and another goes on."""
    counts, bad, peak, number = Counter(), [], 0.0, 0
    finished = reference.finished / "data"
    context = mp.get_context("spawn")
    while number < n:
        here, there = context.Pipe(duplex=False)
        process = context.Process(target=_reads, args=(kind, reference.data, finished, number, n, there))
        process.start()
        there.close()
        try:
            here.recv()  # the whole file was read
            while number < n:
                if not here.poll(SECONDS):
                    counts["hung"] += 1
                    bad.append(f"{number}: no answer within {SECONDS} s")
                    number += 1
                    break
                at, outcome, words, memory = here.recv()
                number, peak = at + 1, max(peak, memory)
                counts[outcome] += 1
                if outcome == "other error":
                    bad.append(f"{at}: {words}")
                if memory > MAXIMUM:
                    bad.append(f"{at}: {memory:.0f} MB")
        except EOFError:
            process.join()
            if process.exitcode == 1:
                raise RuntimeError(f"{kind}: the whole file is not read") from None
            counts["ended its process"] += 1
            bad.append(f"{number}: the process ended with {process.exitcode}")
            number += 1
        finally:
            process.kill()
            process.join()
    return {"counts": dict(counts), "peak MB": round(peak), "wrong": bad}


def cases(reference: Reference) -> dict[str, Callable[[], dict[str, Any]]]:
    """The kinds by name."""
    return {name: partial(read_all, reference, name, EACH) for name in KINDS}


def figures(found: list[dict[str, Any]]) -> dict[str, Any]:
    """What is counted."""
    counts = sum((Counter(c["counts"]) for c in found), Counter())
    return {"inputs": counts.total(), **counts, "most memory of one, MB": max((c["peak MB"] for c in found), default=0)}
