"""Cutouts around the positions of a survey, as deliveries that are whole or hidden.

Belongs here: which positions are asked for, in which order, and how a delivery becomes whole. Does not belong here: one
request (`connection`), one answer (`answers`).
"""

import csv
import hashlib
import logging
import re
import shutil
import time
from collections import Counter
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa

from galaxy_assets.deliveries import manifests
from galaxy_assets.deliveries.download.fetching import alone_in
from galaxy_assets.deliveries.download.offers import FetchError
from galaxy_assets.deliveries.sky.answers import BadAnswer, is_blank, most_bytes
from galaxy_assets.deliveries.sky.connection import Connection, Failed, Manners
from galaxy_assets.deliveries.sky.ledger import Entry, Ledger
from galaxy_assets.deliveries.sky.plan import Plan, read_plan
from galaxy_assets.deliveries.sky.positions import kept_positions
from galaxy_assets.deliveries.sky.skies import address_of, service_of
from galaxy_assets.settings.files import SurveyError
from galaxy_assets.settings.printing import logger
from galaxy_assets.storage.files import replacing

log = logger(__name__)

_LEAST, _MOST_DELIVERIES = 500, 50
_TOLD = 5  # failures that are told as they happen; all are in the ledger
_PART = re.compile(r"part_(\d+)")


def fetch_sky(
    folder: Path, manners: Manners | None = None, in_a_delivery: int | None = None, *, blank_too: bool = False
) -> Counter[str]:
    """Fetch what is missing of a survey's cutouts.

    What is there is not asked for again, nor is a position without data; those that failed are. Images go to a hidden
    folder, which gets its manifest and its name when `in_a_delivery` images are in it or no position is left. What an
    interruption leaves is gone on with.

    Parameters
    ----------
    folder : Path
        The survey's, of data/raw, with its plan and positions.
    manners : Manners, optional
        How the service is asked, and where progress is told.
    in_a_delivery : int, optional
        Images of a delivery; 500 when not given, or a fiftieth of the positions where that is more.
    blank_too : bool
        Ask again for positions without data too: a service that fails to draw a sky may send blank images.

    Returns
    -------
    collections.Counter of str
        Positions of each state of the ledger.

    Raises
    ------
    FetchError
        Where the service asks to come back later or too many positions fail in a row; what was fetched is kept.
    SurveyError
        Where there is no plan, or a file of it cannot be read.
    """
    plan = read_plan(folder)
    if plan is None:
        raise SurveyError(f"{folder}: no positions to fetch cutouts for; begin with `galaxy-assets survey new`")
    manners = manners or Manners()
    address = address_of(service_of(plan.sky))
    with ExitStack() as held:
        held.enter_context(alone_in(folder))
        positions = kept_positions(folder)
        in_a_delivery = in_a_delivery or max(_LEAST, -(-len(positions) // _MOST_DELIVERIES))
        work = _Work(folder, plan, positions, manners, in_a_delivery)
        pending = work.pending(blank_too)
        if pending:
            held.callback(lambda: work.ledger.write(positions))
            work.fetch(pending, held.enter_context(Connection(address, manners)))
        work.close()
        return work.ledger.write(positions)


class _Work:
    """One call: the open delivery, the ledger and the progress."""

    def __init__(self, folder: Path, plan: Plan, positions: pa.Table, manners: Manners, in_a_delivery: int):
        self.plan, self.manners, self.in_a_delivery = plan, manners, in_a_delivery
        self.told = 0
        self.images, self.ledger, self.positions = folder / "images", Ledger(folder), positions
        whole = [int(match[1]) for path in self._folders() if (match := _PART.fullmatch(path.name))]
        self._begin(max(whole, default=0) + 1)

    def _folders(self) -> list[Path]:
        return list(self.images.iterdir()) if self.images.is_dir() else []

    def _begin(self, number: int) -> None:
        """Begin the delivery of this number, or go on with it."""
        self.number, self.name = number, f"part_{number:04d}"
        self.partial = self.images / f".{self.name}.partial"
        for interrupted in self.partial.glob(".*.partial"):
            interrupted.unlink()
        there = {path.name for path in self.partial.iterdir()} if self.partial.is_dir() else set()
        self.here = there - {manifests.NAME}

    def pending(self, blank_too: bool) -> list[tuple[str, str, float, float]]:
        """The positions without an answer that is final, and those whose image is gone, in the table's order.

        Those that failed before come last, so that they keep no other from being asked for.
        """
        there: dict[str, set[str]] = {self.name: self.here}
        rows = zip(*(self.positions[c].to_pylist() for c in ("id", "file", "ra", "dec")), strict=True)
        left = []
        for galaxy, file, ra, dec in rows:
            entry = self.ledger.entries.get(galaxy)
            if file is None or (entry is not None and entry.state == "blank" and not blank_too):
                continue
            if entry is not None and entry.delivery is not None:
                if entry.delivery not in there:
                    folder = self.images / entry.delivery
                    there[entry.delivery] = {p.name for p in folder.iterdir()} if folder.is_dir() else set()
                if file in there[entry.delivery]:
                    continue
            left.append((galaxy, file, ra, dec))
        failed = {galaxy for galaxy, entry in self.ledger.entries.items() if entry.state == "failed"}
        return sorted(left, key=lambda one: one[0] in failed)

    def fetch(self, pending: list[tuple[str, str, float, float]], connection: Connection) -> None:
        begun = told = time.monotonic()
        counts, in_a_row = Counter(), 0
        for n, (galaxy, file, ra, dec) in enumerate(pending, start=1):
            state, reason = self._one(galaxy, file, ra, dec, connection)
            counts[state] += 1
            in_a_row = in_a_row + 1 if state == "failed" else 0
            if in_a_row >= self.manners.in_a_row:
                raise FetchError(
                    f"{in_a_row} positions failed in a row, the last with: {reason}. The service is left in peace; the "
                    "same command goes on from here"
                )
            if len(self.here) >= self.in_a_delivery:
                self.close()
                self.ledger.write(self.positions)
            now = time.monotonic()
            if now - told >= self.manners.every:
                told = now
                self.manners.show(_line(counts, n, len(pending), now - begun))

    def _one(self, galaxy: str, file: str, ra: float, dec: float, connection: Connection) -> tuple[str, str | None]:
        """Get the answer for one position and keep it: the image first, then the line of the ledger."""
        before = self.ledger.entries.get(galaxy)
        tries, state, reason = before.tries if before else 0, "done", None
        path = self.partial / file
        try:
            data = self._left_by_a_kill(path)
            if data is None:
                url = self.plan.url(ra, dec)
                read = lambda body: (body, is_blank(body, self.plan))  # noqa: E731
                (data, blank), more = connection.ask(url, most_bytes(self.plan), read)
                tries += more
                if blank:
                    state, reason = "blank", "no data: every pixel is missing or has one value"
                else:
                    with replacing(path) as partial:
                        partial.write_bytes(data)
        except Failed as error:
            state, reason, tries = "failed", error.reason, tries + error.tries
            log.log(
                logging.WARNING if self.told < _TOLD else logging.DEBUG, "%r at %.5f, %.5f: %s", galaxy, ra, dec, reason
            )
            self.told += 1
        delivery = None
        if state == "done":
            self.here.add(file)
            delivery = self.name
        now = datetime.now(UTC).isoformat(timespec="seconds")
        self.ledger.add(Entry(galaxy, state, reason, tries, delivery, now))
        return state, reason

    def _left_by_a_kill(self, path: Path) -> bytes | None:
        """An image that arrived and is not in the ledger."""
        if path.name not in self.here:
            return None
        data = path.read_bytes()
        try:
            return None if is_blank(data, self.plan) else data
        except BadAnswer:
            return None

    def close(self) -> None:
        """Give the open delivery its manifest and its name, and begin the next; one without images is removed."""
        if not self.here:
            shutil.rmtree(self.partial, ignore_errors=True)
            return
        with replacing(self.partial / manifests.NAME) as partial, partial.open("w", encoding="utf-8", newline="") as to:
            rows = csv.writer(to)
            rows.writerow(["file", "bytes", "sha256"])
            for name in sorted(self.here):
                data = (self.partial / name).read_bytes()
                rows.writerow([name, len(data), hashlib.sha256(data).hexdigest()])
        self.partial.rename(self.images / self.name)
        log.info("%s: whole, %d images", self.name, len(self.here))
        self._begin(self.number + 1)


def _line(counts: Counter[str], n: int, all_: int, seconds: float) -> str:
    pace = n / max(seconds, 1e-6)
    left = timedelta(seconds=round((all_ - n) / pace))
    return (
        f"{n:,} of {all_:,} positions: {counts['done']:,} images, {counts['blank']:,} blank, "
        f"{counts['failed']:,} failed, {pace:.1f} a second, {left} left"
    )
