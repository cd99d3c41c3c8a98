"""A disk that fills up at a dozen places of the command's life.

The data folder is a tmpfs of its own, on which a large file leaves so few bytes that the next write of some size does
not fit. The command must then end by itself, in words that say what is full and where, and leave no half file; once the
large file is gone the same command must end as if nothing had happened.

Belongs here: the places, and what must hold. Does not belong here: room that is never made again.
"""

import os
import re
import shutil
import subprocess
import tarfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from campaign.compare import contents, differences
from campaign.world import PUBLICATION, START, SURVEY, Command, Reference, copy, partials

SIZE = 1_000_000_000
"""Bytes of the tmpfs; several times what the finished data folder and a training take."""
LARGE = 2_500_000_000
"""Where a spool is written, which leaves a gigabyte free."""
_WORDS = re.compile(r"no space left|disk (is |was )?full|is full|no room", re.IGNORECASE)


@contextmanager
def disk(folder: Path, size: int) -> Iterator[Path]:
    """A tmpfs at an empty folder. Raises PermissionError where this user may not mount one."""
    folder.mkdir(parents=True, exist_ok=True)
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise PermissionError(f"no tmpfs can be mounted here: {done.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def fill(root: Path, left: int) -> Path:
    """Fill a disk with one file until so many bytes are left."""
    ballast = root / "ballast"
    status = os.statvfs(root)
    with ballast.open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, max(status.f_bavail * status.f_frsize - left, 1))
    return ballast


def _no_preparation(root: Path) -> None: ...


def _remove_resized(root: Path) -> None:
    for path in (root / "lake" / SURVEY / "pixels").rglob("size_*.npy"):
        path.unlink()


def _archive_the_second_delivery(root: Path) -> None:
    """The second delivery as an archive, in a folder that may not be written, so that it is spooled below the data."""
    folder = root / "raw" / SURVEY / "images"
    with tarfile.open(folder / "second.tar.gz", "w:gz") as archive:
        for path in sorted((folder / "second").iterdir()):
            archive.add(path, path.name)
    shutil.rmtree(folder / "second")


@dataclass(frozen=True)
class Place:
    """Where the disk fills up.

    at : asset whose stage the data folder is copied from, `start-up` or `publication`; empty for the finished run.
    left : bytes that are left. command : what is run. prepare : changes the data folder before.
    same_disk : Dagster's folder lies on the full disk too. size : bytes of the disk.
    """

    at: str
    left: int
    command: tuple[str, ...] = ("run", SURVEY)
    prepare: Callable[[Path], None] = _no_preparation
    same_disk: bool = False
    size: int = SIZE

    def stage(self, reference: Reference) -> int | None:
        """The stage that the data folder is copied from."""
        return reference.stage_with(self.at) if self.at else None


ADD = ("labels", "add", SURVEY, "{galaxy}", "--score", "4", "--who", "full")
PLACES = {
    "the lock and ledger of the deliveries": Place(START, 0),
    "Dagster's own folder": Place(START, 600_000, same_disk=True),
    "the spool of an archive": Place(START, 100_000, prepare=_archive_the_second_delivery, size=LARGE),
    "the pixels of the cutouts": Place("cutouts", 400_000),
    "the pixels at the network's size": Place("byol_checkpoints", 60_000, prepare=_remove_resized),
    "the table of the map of artefacts": Place("artefact_umap_model", 60_000),
    "a checkpoint at the start of a training": Place("byol_checkpoints", 5_000_000),
    "a checkpoint in the midst of a training": Place("byol_checkpoints", 20_000_000),
    "the tables of the models": Place("pca_model", 40_000),
    "a figure": Place("figure_03", 60_000),
    "the tables of the ranking": Place("anomaly_model", 20_000),
    "the read model": Place(PUBLICATION, 100_000),
    "a label": Place("", 0, ADD),
    "an export": Place("", 8_000, ("export", "ranking", SURVEY, "--to", "{root}/exported", "--images")),
    "the page of all figures": Place("", 0, ("figures",)),
    "the explorer's start": Place("", 4_000, ("explore", "--no-browser", "--port", "8597")),
}


def filled(reference: Reference, place: Place) -> dict[str, Any]:
    """Run the command on a disk that fills up, make room, run it again, and say what is not as it should be."""
    with reference.at(place.stage(reference)) as source:
        beside = source.with_name("before")
        source.rename(beside)
        try:
            with disk(source, place.size) as root:
                copy(beside, root)
                place.prepare(root)
                return _filled(reference, place, root)
        except PermissionError as error:
            return {"skipped": str(error), "wrong": []}


def _filled(reference: Reference, place: Place, root: Path) -> dict[str, Any]:
    home = root / ".dagster" if place.same_disk else None
    galaxy = (
        pq.read_table(next((root / "lake").rglob("catalogue/first.parquet")))["galaxy_id"][0] if not place.at else ""
    )
    arguments = [text.format(galaxy=galaxy, root=root) for text in place.command]
    ballast = fill(root, place.left)
    already = set(partials(root))
    command = Command(root, *arguments, home=home)
    code = command.wait(600)
    left = [name for name in partials(root) if name not in already and ".building" not in name]
    ballast.unlink()
    told = [line.strip("│ ") for line in command.lines if _WORDS.search(line)]
    wrong = [f"signal {-code}"] if code < 0 else []
    wrong += ["it ended as if all were well"] if code == 0 else []
    wrong += ["it did not end within 600 s"] if code == 124 else []
    wrong += ["no word of a full disk"] if not told else []
    wrong += ["no word of where"] if told and not any(str(root) in line for line in told) else []
    wrong += ["a traceback"] if "Traceback (most recent call last)" in command.output else []
    wrong += [f"left behind: {name}" for name in left]
    wrong += _once_there_is_room(reference, place, root, arguments, home)
    return {"exit": code, "told": [line[:400] for line in told[:6]], "wrong": wrong}


def _once_there_is_room(
    reference: Reference, place: Place, root: Path, arguments: list[str], home: Path | None
) -> list[str]:
    """What is wrong after the command was run again with room."""
    again = Command(root, *arguments, home=home)
    if place.command[0] == "explore":
        up = again.wait_for(re.compile("explorer of "), 60)
        again.stop()
        return [] if up else [f"with room it does not start: {again.end}"]
    if code := again.wait():
        return [f"with room it ended with {code}: {again.end}"]
    wrong = [f"left after the next run: {name}" for name in partials(root)]
    if place.command[0] == "run":
        after = contents(root)
        if place.prepare is _archive_the_second_delivery:
            # its images have other names and times, but the same pixels
            return wrong + differences(_pixels(reference.contents), _pixels(after))
        return wrong + differences(reference.contents, after)
    if place.command == ADD:
        before = int(reference.contents[f"{SURVEY}/events#rows"])
        now = int(contents(root)[f"{SURVEY}/events#rows"])
        wrong += [f"{now - before} labels were added in place of 1"] if now - before != 1 else []
    return wrong


def _pixels(found: dict[str, str]) -> dict[str, str]:
    return {name: content for name, content in found.items() if name.endswith("cutouts.npy")}


def cases(reference: Reference) -> dict[str, Callable[[], dict[str, Any]]]:
    """The places by name."""
    return {name: partial(filled, reference, place) for name, place in PLACES.items()}


def figures(found: list[dict[str, Any]]) -> dict[str, Any]:
    """What is counted."""
    met = [c for c in found if "skipped" not in c]
    return {
        "places": len(met),
        "skipped": len(found) - len(met),
        "ended by a signal": sum(c["exit"] < 0 for c in met),
        "said in words what is full and where": sum(
            not any(w.startswith(("no word", "a traceback")) for w in c["wrong"]) for c in met
        ),
        "went on to equal results once there was room": sum(
            not any("->" in w or w.startswith("with room") for w in c["wrong"]) for c in met
        ),
        "half files left": sum(w.startswith("left behind") for c in met for w in c["wrong"]),
    }
