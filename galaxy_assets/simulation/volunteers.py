"""Simulated volunteers of Galaxy Zoo: how they answer, and the row of the official table that they leave.

Belongs here: the chances of their answers and the table's columns. Does not belong here: what votes mean
(`science.votes`, whose tree is walked here), writing the table (`writing`).
"""

import math

import numpy as np

from galaxy_assets.science.galaxy_zoo import TREES
from galaxy_assets.simulation.galaxies import Galaxy
from galaxy_assets.simulation.streams import normalised


def volunteer_columns() -> list[str]:
    """The 115 columns of the official table of campaign 1_and_2.

    Returns
    -------
    list of str
        In the table's order.
    """
    columns = [
        *("iauname", "ra", "dec", "redshift", "elpetro_absmag_r", "sersic_nmgy_r", "petro_th50", "petro_th90"),
        *("petro_theta", "upload_group", "active_learning_on", "in_gzd_c", "data_release"),
    ]
    for question in TREES["1_and_2"]:
        columns.append(question.total_column)
        for answer in question.answers:
            name = f"{question.name}_{answer}"
            columns += [name, f"{name}_fraction", f"{name}_debiased"]
    return [*columns, "wrong_size_statistic", "wrong_size_warning"]


def volunteer_row(galaxy: Galaxy, rng: np.random.Generator) -> dict[str, object]:
    """One row of the volunteer table but for name and position: 20 to 45 volunteers walk down the tree.

    Parameters
    ----------
    galaxy : Galaxy
        What they look at.
    rng : numpy.random.Generator
        Of the image's votes.

    Returns
    -------
    dict of str to object
        Column -> votes, fraction or value.
    """
    redshift = float(np.clip(rng.gamma(4, 0.02), 0.003, 0.25))
    theta = 0.262 * galaxy.radius  # arcsec
    flux = 2 * math.pi * galaxy.radius**2 * galaxy.axis_ratio * galaxy.brightness * 0.03
    magnitude = 22.5 - 2.5 * math.log10(flux) - 5 * math.log10(redshift * 4283) - 25
    concentration = 2.3 + 0.3 * galaxy.sersic
    row: dict[str, object] = {
        "redshift": redshift,
        "elpetro_absmag_r": magnitude,
        "sersic_nmgy_r": flux,
        "petro_th50": theta,
        "petro_th90": concentration * theta,
        "petro_theta": 2.2 * theta,
        "upload_group": "pre_active",
        "active_learning_on": False,
        "in_gzd_c": False,
        "data_release": "DR2",
        "wrong_size_statistic": float(rng.normal(156, 1.5)),
        "wrong_size_warning": False,
    }
    chances = _answers(galaxy)
    counts: dict[tuple[str, str], int] = {}
    volunteers = int(rng.integers(20, 46))
    for question in TREES["1_and_2"]:
        asked = sum(counts[parent] for parent in question.parents) if question.parents else volunteers
        drawn = rng.multinomial(asked, normalised(chances[question.name])).tolist()
        row[question.total_column] = asked
        for answer, count in zip(question.answers, drawn, strict=True):
            counts[question.name, answer] = count
            row[f"{question.name}_{answer}"] = count
            row[f"{question.name}_{answer}_fraction"] = count / asked if asked else 0.0
    return row


def _answers(galaxy: Galaxy) -> dict[str, list[float]]:
    """Chance of every answer by question, in the order of the tree: the truth, blurred as clarity falls."""
    body, q = galaxy.body, galaxy.axis_ratio
    if body == "edge_on":
        q = 0.25 + 0.25 * galaxy.bulge
    featured = {"round": 0.03, "in_between": 0.08, "spiral": 0.96, "edge_on": 0.85, "merger": 0.4, "ring": 0.92}
    edge_on = _step(galaxy.inclination, 79, 1.0) if body == "edge_on" else 0.6 * _step(-q, -0.33, 0.03)
    spiral = {"spiral": 0.97, "ring": 0.35, "merger": 0.35}.get(body, 0.06)
    round_, cigar = _step(q, 0.76, 0.03), _step(-q, -0.36, 0.03)
    tight, loose = _step(-galaxy.pitch, -16, 1.5), _step(galaxy.pitch, 26, 1.5)
    arms = [0.03 if n == 1 else 0.9 if n == galaxy.arms else 0.03 for n in (1, 2, 3, 4, 5)]
    truth = {
        "smooth-or-featured": [1 - (f := featured.get(body, 0.65)), f, 0.0],
        "how-rounded": [round_, (1 - round_) * (1 - cigar), cigar * (1 - round_)],
        "disk-edge-on": [edge_on, 1 - edge_on],
        "edge-on-bulge": [galaxy.bulge * 2, 0.1, max(0.9 - galaxy.bulge * 2, 0.05)],
        "bar": [p := 0.85 if body == "spiral" and galaxy.bar else 0.08, 1 - p],
        "has-spiral-arms": [spiral, 1 - spiral],
        "spiral-winding": [tight, max(1 - tight - loose, 0.05), loose],
        "spiral-arm-count": arms,
        "bulge-size": [_step(-galaxy.bulge, -0.12, 0.03), 0.6, _step(galaxy.bulge, 0.5, 0.05)],
        "merging": [0.02, 0.02, 0.01, 0.95],
    }
    if body == "merger":
        # two bodies well apart pass for a chance alignment
        neither = 0.05 + 0.65 * _step(galaxy.separation, 2.3, 0.12)
        both = min(2 * galaxy.tails, 0.45)
        truth["merging"] = [max(0.85 - both - neither, 0.05), 0.1 + 0.1 * galaxy.tails, both, neither]
    # what is answered where little can be made out
    blurred = {"smooth-or-featured": [0.62, 0.35, 0.03], "merging": [0.06, 0.06, 0.02, 0.86]}
    confusion = (1 - galaxy.clarity) * 0.8
    answers = {}
    for question in TREES["1_and_2"]:
        unsure = normalised(blurred.get(question.name, [1.0] * len(question.answers)))
        answers[question.name] = (1 - confusion) * normalised(truth[question.name]) + confusion * unsure
    if galaxy.artefact:
        seen = {"satellite_trail": 0.5, "misaligned": 0.6}.get(galaxy.artefact, 0.85)
        answers["smooth-or-featured"] = (1 - seen) * answers["smooth-or-featured"] + seen * np.array([0, 0, 1])
    return {question: list(chances) for question, chances in answers.items()}


def _step(value: float, middle: float, width: float) -> float:
    return 1 / (1 + math.exp(-(value - middle) / width))
