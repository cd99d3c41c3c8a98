"""Simulated surveys in official layouts: optical galaxies with volunteers' votes, and radio galaxies with labels.

They let the whole path run offline, where nothing can be downloaded; no result on them says anything about the sky.

Belongs here: which images and tables a survey delivers. Does not belong here: drawing them (the modules beside this
one), reading deliveries (`deliveries.readers`).

Image i depends on the seed and i alone, so its bytes do not depend on how many processes draw.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from galaxy_assets.simulation.frames import draw_optical
from galaxy_assets.simulation.galaxies import describe_galaxy
from galaxy_assets.simulation.radio import describe_radio, draw_radio
from galaxy_assets.simulation.streams import PARAMETERS, VOTES, generator
from galaxy_assets.simulation.volunteers import volunteer_columns, volunteer_row
from galaxy_assets.simulation.writing import deliver, split, write_table

VOLUNTEER_TABLE = "gz_decals_volunteers_1_and_2.csv"

_UNSEEN = {6, 13, 19}  # of every 20 optical images, those that no volunteer has seen


def simulate_optical(
    folder: Path,
    *,
    batches: Sequence[str],
    n_images: int,
    seed: int,
    processes: int | None = None,
) -> None:
    """Write a simulated survey in the layout of Galaxy Zoo DECaLS (Walmsley et al. 2022).

    - `<folder>/<batch>/J???/<iauname>.png`: RGB, uint8, square, 300 to 424 pixels, with z, r, g as red, green, blue;
    - `<folder>/gz_decals_volunteers_1_and_2.csv`: the 115 official columns, for 85 % of the images; the fractions of a
      question that nobody was asked are 0.0, and `_debiased` is empty;
    - `<folder>/truth.csv` (iauname, kind, batch): for looking and for tests; nothing in the platform reads it.

    Each batch and each table is whole or absent and what is there is kept: a second call does nothing, and a call after
    a killed one completes its work.

    Parameters
    ----------
    folder : Path
        Where the survey is written; made where it is absent.
    batches : sequence of str
        Names of the batches; the images are spread evenly over them.
    n_images : int
        Images in all; the log tells how far they are.
    seed : int
        Decides every byte.
    processes : int, optional
        As many as cores, by default, where there are enough images to gain by it. They are spawned, so a script calls
        this under `if __name__ == "__main__"`.

    Raises
    ------
    ValueError
        If there are fewer images than batches.
    """
    delivery = split(n_images, batches)
    galaxies, files, truth, rows = [], [], [], []
    for i, batch in enumerate(delivery):
        rng = generator(seed, i, PARAMETERS)
        galaxy = describe_galaxy(rng)
        # uniform on the sky between declinations of -8 and 33 degrees
        ra, dec = float(rng.uniform(0, 360)), float(np.degrees(np.arcsin(rng.uniform(-0.14, 0.545))))
        name = _iauname(ra, dec)
        galaxies.append(galaxy)
        files.append(f"{name[:4]}/{name}.png")
        truth.append({"iauname": name, "kind": galaxy.artefact or galaxy.body, "batch": batch})
        if i % 20 not in _UNSEEN:
            votes = volunteer_row(galaxy, generator(seed, i, VOTES))
            rows.append({"iauname": name, "ra": ra, "dec": dec} | votes)
    deliver(folder, delivery, files, draw_optical, galaxies, seed, processes)
    write_table(folder / VOLUNTEER_TABLE, volunteer_columns(), rows)
    write_table(folder / "truth.csv", ("iauname", "kind", "batch"), truth)


def simulate_radio(
    folder: Path,
    *,
    batches: Sequence[str],
    n_images: int,
    seed: int,
    processes: int | None = None,
) -> None:
    """Write a simulated survey of radio galaxies, prepared as MiraBest is (Porter & Scaife 2023).

    - `<folder>/<batch>/<id>.png`: greyscale, uint8, 150 x 150 pixels of 1.8 arcsec, zero below three times the noise;
    - `<folder>/labels.csv` (id, label): FRI, FRII, FRI_uncertain, FRII_uncertain or hybrid.

    What is there is kept, as by `simulate_optical`.

    Parameters
    ----------
    folder : Path
        Where the survey is written; made where it is absent.
    batches : sequence of str
        Names of the batches; the images are spread evenly over them.
    n_images : int
        Images in all; the log tells how far they are.
    seed : int
        Decides every byte.
    processes : int, optional
        As many as cores, by default, where there are enough images to gain by it. They are spawned, so a script calls
        this under `if __name__ == "__main__"`.

    Raises
    ------
    ValueError
        If there are fewer images than batches.
    """
    delivery = split(n_images, batches)
    sources = [describe_radio(generator(seed, i, PARAMETERS)) for i in range(n_images)]
    names = [f"radio_{seed}_{i:06d}" for i in range(n_images)]
    deliver(folder, delivery, [f"{name}.png" for name in names], draw_radio, sources, seed, processes)
    labels = [{"id": name, "label": source.label} for name, source in zip(names, sources, strict=True)]
    write_table(folder / "labels.csv", ("id", "label"), labels)


def _iauname(ra: float, dec: float) -> str:
    """Position in degrees as JHHMMSS.ss+DDMMSS.s, truncated as the IAU asks."""
    centiseconds, deciseconds = int(ra * 24000), int(abs(dec) * 36000)
    hours, minutes = divmod(centiseconds // 6000, 60)
    degrees, arcminutes = divmod(deciseconds // 600, 60)
    return (
        f"J{hours:02d}{minutes:02d}{centiseconds % 6000 / 100:05.2f}"
        f"{'-' if dec < 0 else '+'}{degrees:02d}{arcminutes:02d}{deciseconds % 600 / 10:04.1f}"
    )
