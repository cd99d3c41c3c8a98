"""The simulated surveys: the same bytes from a seed, official layouts, and votes that obey the tree and the truth."""

import csv
import hashlib
import os
from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from galaxy_assets.deliveries.readers.galaxy_zoo_decals import position_of
from galaxy_assets.science import votes
from galaxy_assets.science.votes import TREES
from galaxy_assets.simulation import galaxies as simulate
from galaxy_assets.simulation.galaxies import VOLUNTEER_TABLE, simulate_optical, simulate_radio

REAL = os.environ.get("GALAXY_ASSETS_REAL_DATA")
BATCHES = ("one", "two")


def contents(folder: Path) -> dict[str, str]:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def table(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


@pytest.fixture(scope="module")
def optical(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("optical") / "survey"
    simulate_optical(folder, batches=BATCHES, n_images=21, seed=3)
    return folder


@pytest.fixture(scope="module")
def radio(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("radio") / "survey"
    simulate_radio(folder, batches=BATCHES, n_images=40, seed=3)
    return folder


@pytest.fixture(scope="module")
def many() -> list[tuple[str, dict[str, object]]]:
    """Kind and volunteer row of 2000 galaxies, without their images."""
    found = []
    for i in range(2000):
        galaxy = simulate._describe_galaxy(simulate._generator(1, i, simulate._PARAMETERS))
        row = simulate._volunteer_row(galaxy, simulate._generator(1, i, simulate._VOTES))
        found.append((galaxy.artefact or galaxy.body, row | {"iauname": str(i)}))
    return found


# --- deliveries


def test_optical_layout(optical):
    images = sorted(optical.glob("*/*/*.png"))
    truth = {row["iauname"]: row for row in table(optical / "truth.csv")}
    assert Counter(path.parts[-3] for path in images) == {"one": 11, "two": 10}
    assert {path.stem for path in images} == set(truth) and len(truth) == 21
    for path in images:
        image = Image.open(path)
        assert image.mode == "RGB" and image.width == image.height and 300 <= image.width <= 424
        assert path.parent.name == path.name[:4] and path.parts[-3] == truth[path.stem]["batch"]
    assert {path.name for path in optical.iterdir()} == {*BATCHES, VOLUNTEER_TABLE, "truth.csv"}


def test_radio_layout(radio):
    labels = {row["id"]: row["label"] for row in table(radio / "labels.csv")}
    images = sorted(radio.glob("*/*.png"))
    assert {path.stem for path in images} == set(labels) and len(images) == 40
    assert set(labels.values()) <= {"FRI", "FRII", "FRI_uncertain", "FRII_uncertain", "hybrid"}
    for path in images:
        pixels = np.asarray(Image.open(path))
        assert pixels.shape == (150, 150) and pixels.dtype == np.uint8
        # the sky is cut away and the source scaled to the full range
        assert pixels.max() == 255 and np.mean(pixels == 0) > 0.5


@pytest.mark.parametrize("make", [simulate_optical, simulate_radio])
def test_bytes_depend_on_the_seed_alone(make, tmp_path):
    for name, processes in (("first", 1), ("again", 1), ("parallel", 2)):
        make(tmp_path / name, batches=BATCHES, n_images=8, seed=5, processes=processes)
    make(tmp_path / "other", batches=BATCHES, n_images=8, seed=6)
    first = contents(tmp_path / "first")
    assert first == contents(tmp_path / "again") == contents(tmp_path / "parallel")
    assert not set(first.values()) & set(contents(tmp_path / "other").values())


def test_an_image_does_not_depend_on_how_many_follow(tmp_path):
    simulate_optical(tmp_path / "few", batches=["one"], n_images=3, seed=5)
    simulate_optical(tmp_path / "more", batches=["one"], n_images=5, seed=5)
    few, more = contents(tmp_path / "few" / "one"), contents(tmp_path / "more" / "one")
    assert len(few) == 3 and few.items() <= more.items()


def test_a_second_call_does_nothing_and_a_third_replaces_what_was_lost(tmp_path):
    arguments = {"batches": BATCHES, "n_images": 6, "seed": 5}
    simulate_radio(tmp_path, **arguments)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.*")}
    simulate_radio(tmp_path, **arguments)
    assert before == {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.*")}
    whole = contents(tmp_path)
    for path in (tmp_path / "two").iterdir():
        path.unlink()
    (tmp_path / "two").rmdir()
    (tmp_path / "labels.csv").unlink()
    simulate_radio(tmp_path, **arguments)
    assert contents(tmp_path) == whole


def test_an_interrupted_batch_is_absent(tmp_path, monkeypatch):
    draw, drawn = simulate._draw_radio, []

    def interrupt(*arguments):
        drawn.append(arguments)
        if len(drawn) == 5:
            raise KeyboardInterrupt
        return draw(*arguments)

    monkeypatch.setattr(simulate, "_draw_radio", interrupt)
    with pytest.raises(KeyboardInterrupt):
        simulate_radio(tmp_path, batches=BATCHES, n_images=6, seed=5)
    assert [path.name for path in tmp_path.iterdir()] == ["one"]


@pytest.mark.parametrize(("batches", "n_images"), [((), 5), (BATCHES, 1)])
def test_fewer_images_than_batches_is_an_error(batches, n_images, tmp_path):
    with pytest.raises(ValueError, match=f"{n_images} images over {len(batches)} batches"):
        simulate_optical(tmp_path / "survey", batches=batches, n_images=n_images, seed=0)
    assert not (tmp_path / "survey").exists()


# --- volunteers


def test_volunteer_columns_are_the_official_ones_in_order(optical):
    header = (optical / VOLUNTEER_TABLE).read_text(encoding="utf-8").splitlines()[0]
    assert header.split(",") == simulate.volunteer_columns() and len(simulate.volunteer_columns()) == 115
    # of the header line of the published table
    assert (
        hashlib.sha256(header.encode()).hexdigest()
        == "3dee3fedb0d9a1e8d2144a5cc4f4e968f7e4c10cef62fca812dee839571a964c"
    )


@pytest.mark.skipif(REAL is None, reason="needs GALAXY_ASSETS_REAL_DATA")
def test_volunteer_columns_are_those_of_the_real_table():
    with Path(REAL or "", "gz_decals_sample", VOLUNTEER_TABLE).open(encoding="utf-8") as stream:
        assert stream.readline().strip().split(",") == simulate.volunteer_columns()


def test_names_are_positions_and_most_images_have_votes(optical):
    rows = table(optical / VOLUNTEER_TABLE)
    assert len(rows) == 18 and {row["iauname"] for row in rows} < {
        row["iauname"] for row in table(optical / "truth.csv")
    }
    for row in rows:
        ra, dec = position_of(row["iauname"])
        # a name is truncated to 0.15 arcsec in right ascension and 0.1 in declination
        assert 0 <= float(row["ra"]) - ra < 0.15 / 3600 + 1e-9 and abs(float(row["dec"]) - dec) < 0.1 / 3600 + 1e-9


def test_counts_add_up_and_unasked_questions_are_zero(many):
    unasked = 0
    for _, row in many:
        assert 20 <= row["smooth-or-featured_total-votes"] <= 45
        for question in TREES["1_and_2"]:
            total = row[question.total_column]
            counts = [row[f"{question.name}_{answer}"] for answer in question.answers]
            fractions = [row[f"{question.name}_{answer}_fraction"] for answer in question.answers]
            assert sum(counts) == total
            assert fractions == [count / total if total else 0.0 for count in counts]
            if question.parents:
                assert total == sum(row["_".join(parent)] for parent in question.parents)
            unasked += total == 0
    assert unasked > 0


def test_kinds_come_in_their_shares(many):
    shares = {**simulate.BODIES, **simulate.ARTEFACTS}
    counts = Counter(kind for kind, _ in many)
    assert sum(shares.values()) == pytest.approx(1) and set(counts) == set(shares)
    for kind, share in shares.items():
        assert abs(counts[kind] / len(many) - share) < 4 * (share / len(many)) ** 0.5


def test_votes_follow_the_truth_but_not_slavishly(many):
    kinds = np.array([kind for kind, _ in many])
    columns = votes.delivered_columns("1_and_2")
    normal = votes.normalise(pa.table({name: [row[name] for _, row in many] for name in columns}), "1_and_2")

    def share(question: str, answer: str) -> np.ndarray:
        return np.nan_to_num(votes.fraction(normal, question, answer, 5))

    merger = share("merging", "merger") + share("merging", "both") >= 0.4
    assert 0.6 < merger[kinds == "merger"].mean() < 0.98 and merger[kinds != "merger"].mean() < 0.02
    spiral = (share("smooth-or-featured", "featured-or-disk") > 0.8) & (share("has-spiral-arms", "yes") > 0.8)
    round_ = (share("smooth-or-featured", "smooth") > 0.8) & (share("how-rounded", "completely") > 0.8)
    edge_on = share("disk-edge-on", "yes") > 0.8
    for members, kind in ((spiral, "spiral"), (round_, "round"), (edge_on, "edge_on")):
        assert 0.5 < members[kinds == kind].mean() < 0.95 and np.mean(kinds[members] == kind) > 0.9
    artefact = np.isin(kinds, list(simulate.ARTEFACTS))
    assert share("smooth-or-featured", "artifact")[artefact].mean() > 0.5
    assert share("smooth-or-featured", "artifact")[~artefact].mean() < 0.05
