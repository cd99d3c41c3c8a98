"""What the benchmarks measured of each step, continued to other numbers of galaxies.

Belongs here: reading `measured.json`, and the rule by which a slope is continued. Does not belong here: any number, and
what a survey asks of a step (`plan`).
"""

import functools
import json
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import Any

FILE = Path(__file__).with_name("measured.json")


@dataclass(frozen=True)
class Slope:
    """What one step cost on the machine that the benchmarks ran on.

    Attributes
    ----------
    n : int
        Galaxies of the largest call.
    seconds : float
        Of one core, on those.
    exponent : float
        The step grows as N to this power, at least 1: a smaller one is fixed cost that larger sizes no longer have.
    memory : list of (int, float)
        Galaxies and the peak of memory in bytes, by rising number.
    bytes_each : float or None
        On disk, of one galaxy.
    of : dict
        What else it was measured on: image size, backbone, features, clusters.
    machine, measured : str
        Where, and on which day.
    """

    n: int
    seconds: float
    exponent: float
    memory: list[tuple[int, float]]
    bytes_each: float | None
    of: dict[str, Any]
    machine: str
    measured: str

    @classmethod
    def of_row(cls, row: dict[str, Any]) -> "Slope":
        """The slope of a row of `measured.json`."""
        sizes, seconds = row["sizes"], row["size_seconds"]
        return cls(
            n=sizes[-1] if seconds else row["n"],
            seconds=seconds[-1] if seconds else row["cpu_seconds"] or row["seconds"] or 0.0,
            exponent=max(row["exponent"] or 1.0, 1.0),
            # what a step that is fitted on a sample takes rises and falls by chance
            memory=[(n, 1e6 * mb) for n, mb in zip(sizes, accumulate(row["size_memory_mb"], max), strict=True)],
            bytes_each=None if row["bytes"] is None else row["bytes"] / row["n"],
            of=row["of"],
            machine=row["machine"],
            measured=row["measured"][:10],
        )

    def core_seconds(self, n: float) -> float:
        """Seconds of one core on n galaxies.

        Parameters
        ----------
        n : float

        Returns
        -------
        float
        """
        return self.seconds * (n / self.n) ** self.exponent

    @property
    def bytes_per_galaxy(self) -> float:
        """Memory by which the step grows with each galaxy, between the two largest numbers measured."""
        if len(self.memory) < 2:
            return 0.0
        (n0, low), (n1, high) = self.memory[-2:]
        return max((high - low) / (n1 - n0), 0.0)

    def memory_of(self, n: float) -> float | None:
        """Peak of memory on n galaxies, in bytes; None where none was measured.

        Parameters
        ----------
        n : float

        Returns
        -------
        float or None
        """
        if not self.memory:
            return None
        for (n0, low), (n1, high) in zip(self.memory, self.memory[1:], strict=False):
            if n <= n1:
                return max(low, low + (high - low) * (n - n0) / (n1 - n0))
        last, high = self.memory[-1]
        return high + self.bytes_per_galaxy * max(n - last, 0.0)

    def full_at(self, memory: float) -> float | None:
        """Galaxies at which the step takes all of a memory; None where it was not measured or does not grow.

        Parameters
        ----------
        memory : float
            Bytes.

        Returns
        -------
        float or None
        """
        if not self.memory or not self.bytes_per_galaxy:
            return None
        last, high = self.memory[-1]
        if high <= memory:
            return last + (memory - high) / self.bytes_per_galaxy
        return max((n for n, taken in self.memory if taken <= memory), default=0)


@dataclass(frozen=True)
class Measured:
    """Everything that a plan goes by.

    Attributes
    ----------
    slopes : dict of str to Slope
        By the name of the step.
    assumed : dict of str to Any
        What was not measured: how fast a GPU is, and how long a mixture takes to converge.
    """

    slopes: dict[str, Slope]
    assumed: dict[str, Any]

    @property
    def machines(self) -> list[str]:
        """Machines on which it was measured, with the days."""
        days: dict[str, list[str]] = {}
        for slope in self.slopes.values():
            days.setdefault(slope.machine, []).append(slope.measured)
        return sorted(f"{name}, {min(found)} to {max(found)}" for name, found in days.items())


@functools.cache
def measured() -> Measured:
    """The file of the package.

    Returns
    -------
    Measured
    """
    told = json.loads(FILE.read_text(encoding="utf-8"))
    return Measured({name: Slope.of_row(row) for name, row in told["slopes"].items()}, told["assumed"])
