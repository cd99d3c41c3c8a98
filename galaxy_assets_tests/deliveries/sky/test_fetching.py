"""Cutouts from a sky on 127.0.0.1: what comes of every kind of answer, and going on after a stop."""

import json
import logging
import os
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from galaxy_assets.deliveries.download.offers import FetchError
from galaxy_assets.deliveries.readers import open_reader
from galaxy_assets.deliveries.sky.answers import BadAnswer, is_blank
from galaxy_assets.deliveries.sky.connection import Connection, Manners, _seconds
from galaxy_assets.deliveries.sky.fetching import fetch_sky
from galaxy_assets.deliveries.sky.ledger import Ledger
from galaxy_assets.deliveries.sky.plan import choose, keep_plan
from galaxy_assets.deliveries.sky.positions import Columns, keep_positions, read_positions
from galaxy_assets.deliveries.sky.skies import HIPS2FITS, LEGACY, address_of, known_skies
from galaxy_assets.settings.files import SurveyError
from galaxy_assets.settings.printing import printable
from galaxy_assets.settings.source import Source
from galaxy_assets_tests.deliveries.sky.loopback import Sky, image

QUICK = Manners(timeout=0.5, attempts=3, pause=0.001, per_second=10_000, longest=3.0, in_a_row=5)
COLOUR, BAND, LAYER = "CDS/P/SDSS9/color", "CDS/P/NVSS", "legacysurvey:ls-dr10"


@pytest.fixture
def sky(monkeypatch) -> Iterator[Sky]:
    sky = Sky()
    monkeypatch.setenv(HIPS2FITS.variable, f"{sky.address}/hips2fits")
    monkeypatch.setenv(LEGACY.variable, f"{sky.address}/viewer/")
    yield sky
    sky.close()


def begin(tmp_path: Path, n: int = 6, which: str = COLOUR, pixels: int = 40, **columns) -> Path:
    """A folder of positions at whole degrees of right ascension and a half."""
    table = tmp_path / "t.csv"
    tmp_path.mkdir(exist_ok=True)
    table.write_text("name,ra,dec\n" + "\n".join(f"g{i},{i}.5,{i}" for i in range(n)))
    folder = tmp_path / "raw" / "mine"
    plan = keep_plan(folder, choose(which, table, "40arcsec", pixels))
    keep_positions(folder, read_positions(table, Columns(**columns), f".{plan.format}").table)
    return folder


def rows(folder: Path) -> dict[str, dict]:
    return {row["id"]: row for row in pq.read_table(folder / "ledger.parquet").to_pylist()}


def opened(folder: Path, which: str = "image_folder"):
    source = Source(
        reader=which, path=str(folder), labels="positions.parquet", file_column="file", label_column=None,
        ra_column="ra", dec_column="dec",
    )  # fmt: skip
    return open_reader(source, folder)


# Requests


def test_hips2fits_is_asked_as_astroquery_asks_it(sky, tmp_path):
    folder = begin(tmp_path, 3)
    assert fetch_sky(folder, QUICK) == {"done": 3}
    assert sky.asked[1] == {
        "path": "/hips2fits", "hips": COLOUR, "width": "40", "height": "40", "projection": "TAN", "coordsys": "icrs",
        "rotation_angle": "0.0", "ra": "1.5000000", "dec": "1.0000000", "fov": "0.0111111111", "format": "png",
    }  # fmt: skip
    assert len(sky.ports) == 1, "one connection"
    assert all(agent.startswith("galaxy-assets/") for agent in sky.agents)


def test_the_legacy_viewer_is_asked_for_its_layer_and_scale(sky, tmp_path):
    assert fetch_sky(begin(tmp_path / "jpg", 1, LAYER), QUICK) == {"done": 1}
    plan = choose(LAYER, tmp_path / "t.csv", "0.01deg", 120, "fits")
    pattern = f"{sky.address}/viewer/cutout.fits?ra={{ra}}&dec={{dec}}&layer=ls-dr10&pixscale=0.3&size=120&bands=grz"
    assert plan.url() == pattern
    assert sky.asked == [
        {"path": "/viewer/cutout.jpg", "ra": "0.5000000", "dec": "0.0000000"}
        | {"layer": "ls-dr10", "pixscale": "1", "size": "40"}
    ]


def test_the_pace_is_kept(sky, tmp_path):
    url = choose(COLOUR, tmp_path, "40arcsec", 40).url(1.5, 0)
    with Connection(sky.address, Manners(per_second=10)) as connection:
        connection.ask(url, 10**6, len)
        begun = time.monotonic()
        for _ in range(10):
            connection.ask(url, 10**6, len)
    assert time.monotonic() - begun >= 0.9


# Answers

ANSWERS = {
    "image": ("done", None, 1),
    "blank": ("blank", "no data", 1),
    "404": ("failed", "the service answers 404 Not Found: .*no .x1b", 1),
    "301": ("failed", "redirects to http://192.0.2.1/elsewhere, which is not followed", 1),
    "429": ("failed", "answers 429", 3),
    "500": ("failed", "answers 500", 3),
    "html": ("failed", "sent no PNG but '<html>Service under", 3),
    "empty": ("failed", "the answer is empty", 3),
    "truncated": ("failed", "no whole answer: ", 3),
    "half": ("failed", "cannot be decoded: damaged or truncated", 3),
    "small": ("failed", "20 x 20 pixels and not 40 x 40", 3),
    "white": ("failed", "sent no PNG", 3),
    "huge": ("failed", "larger than the 1,074,176 bytes", 1),
    "gzip": ("failed", "encoded .gzip.", 1),
    "slow": ("failed", "no whole answer: ", 3),
}


@pytest.mark.parametrize("answer", ANSWERS)
def test_every_kind_of_answer_is_a_row_of_the_ledger_and_stops_no_other(answer, sky, tmp_path):
    state, reason, tries = ANSWERS[answer]
    sky.forever = {2: answer}
    folder = begin(tmp_path, 4)
    fetch_sky(folder, QUICK)
    row = rows(folder)["g2"]
    assert (row["state"], row["tries"]) == (state, tries)
    assert (row["reason"] is None) if reason is None else re.search(reason, row["reason"])
    assert {rows(folder)[f"g{i}"]["state"] for i in (0, 1, 3)} == {"done"}
    assert len(sky.asked) == 3 + tries
    files = {path.name for path in (folder / "images" / "part_0001").iterdir()}
    assert files == {"manifest.csv", "g0.png", "g1.png", "g3.png"} | ({"g2.png"} if state == "done" else set())


@pytest.mark.parametrize("answer", [a for a, (state, _, _) in ANSWERS.items() if state == "failed"])
def test_a_bad_answer_once_is_asked_for_again_by_the_same_command(answer, sky, tmp_path):
    sky.bad = {1: [answer] * ANSWERS[answer][2]}
    folder = begin(tmp_path, 3)
    fetch_sky(folder, QUICK)
    assert rows(folder)["g1"]["state"] == "failed"
    assert fetch_sky(folder, QUICK) == {"done": 3}
    assert (folder / "images/part_0002/g1.png").exists() and rows(folder)["g1"]["tries"] == ANSWERS[answer][2] + 1
    asked = len(sky.asked)
    assert fetch_sky(folder, QUICK) == {"done": 3} and len(sky.asked) == asked


def test_blank_positions_are_not_asked_for_again(sky, tmp_path):
    sky.forever = {0: "blank", 1: "blank"}
    folder = begin(tmp_path, 3)
    assert fetch_sky(folder, QUICK) == {"blank": 2, "done": 1}
    assert fetch_sky(folder, QUICK) == {"blank": 2, "done": 1} and len(sky.asked) == 3
    sky.forever.pop(1)
    assert fetch_sky(folder, QUICK, blank_too=True) == {"blank": 1, "done": 2} and len(sky.asked) == 5


@pytest.mark.parametrize("which", [COLOUR, BAND, LAYER])
def test_blank_and_image_of_every_format(which, sky, tmp_path):
    sky.forever = {1: "blank"}
    folder = begin(tmp_path, 3, which)
    assert fetch_sky(folder, QUICK) == {"done": 2, "blank": 1}


def test_a_band_is_fits_with_values_coordinates_and_gaps(sky, tmp_path):
    from astropy.io import fits

    folder = begin(tmp_path, 2, BAND)
    fetch_sky(folder, QUICK)
    data, header = fits.getdata(folder / "images/part_0001/g1.fits", header=True)
    assert data.dtype.kind == "f" and bool((data[:3] != data[:3]).all()) and header["CRVAL1"] == 1.5
    catalogue = opened(folder, "fits_folder").catalogue("part_0001")
    assert catalogue["ra"].to_pylist() == pytest.approx([0.5, 1.5])
    assert is_blank(image("fits", 40, None, 0, 0), choose(BAND, tmp_path, "1deg", 40))


def test_planes_that_are_a_picture_are_refused(tmp_path):
    import io

    import numpy as np
    from astropy.io import fits

    stream = io.BytesIO()
    fits.PrimaryHDU(np.ones((4, 40, 40), np.uint8)).writeto(stream)
    with pytest.raises(BadAnswer, match="4 planes.*--format png"):
        is_blank(stream.getvalue(), choose("CDS/P/unknown", tmp_path, "1deg", 40))


# Manners


def test_a_service_that_asks_to_wait_is_waited_for(sky, tmp_path):
    sky.bad, sky.after = {1: ["429"]}, 1
    folder = begin(tmp_path, 3)
    begun = time.monotonic()
    assert fetch_sky(folder, QUICK) == {"done": 3}
    assert time.monotonic() - begun >= 1


def test_one_that_asks_for_too_long_is_left_in_peace_and_gone_on_with_later(sky, tmp_path):
    sky.bad, sky.after = {2: ["503"]}, 3600
    folder = begin(tmp_path, 5)
    with pytest.raises(FetchError, match="asks to come back in 3600 s; the same command goes on"):
        fetch_sky(folder, QUICK)
    assert Counter(row["state"] for row in rows(folder).values()) == {"done": 2, "pending": 3}
    assert opened(folder).deliveries() == [], "nothing half is seen"
    assert fetch_sky(folder, QUICK) == {"done": 5}
    assert Counter(place[1][0] for place in sky.places()) == {"0": 1, "1": 1, "2": 2, "3": 1, "4": 1}


def test_retry_after_may_be_a_date():
    soon = datetime.now(UTC) + timedelta(seconds=90)
    never = ("Mon, 01 Jan 99999999999999 00:00:00 GMT", "Mon, 01 Jan 2029 00:00:00 +99999999999999999")
    assert [_seconds(text) for text in never] == [0, 0]
    assert 80 < _seconds(format_datetime(soon, usegmt=True)) <= 90
    assert [_seconds(text) for text in ("7", "", "tomorrow", "-3", "Thu, 01 Jan 1970 00:00:00 GMT")] == [7, 0, 0, 0, 0]


def test_a_service_that_is_down_is_not_asked_for_everything(sky, tmp_path):
    sky.forever = dict.fromkeys(range(3, 40), "404")
    folder = begin(tmp_path, 40)
    with pytest.raises(FetchError, match="5 positions failed in a row, the last with: the service answers 404"):
        fetch_sky(folder, QUICK)
    assert len(sky.asked) == 8
    assert Counter(row["state"] for row in rows(folder).values()) == {"done": 3, "failed": 5, "pending": 32}


def test_positions_that_always_fail_keep_no_other_from_being_fetched(sky, tmp_path):
    sky.forever = dict.fromkeys(range(3, 8), "404")
    folder = begin(tmp_path, 40)
    with pytest.raises(FetchError, match="5 positions failed in a row"):
        fetch_sky(folder, QUICK)
    with pytest.raises(FetchError, match="5 positions failed in a row"):
        fetch_sky(folder, QUICK)
    assert Counter(row["state"] for row in rows(folder).values()) == {"done": 35, "failed": 5}


def test_failures_are_told_five_times_and_all_are_kept(sky, tmp_path, caplog):
    sky.forever = dict.fromkeys(range(0, 40, 2), "404")
    caplog.set_level(logging.INFO)
    folder = begin(tmp_path, 20)
    assert fetch_sky(folder, QUICK) == {"failed": 10, "done": 10}
    assert sum("404 Not Found" in record.message for record in caplog.records if "sky" in record.name) == 5


# Deliveries


def test_images_come_in_whole_deliveries_with_manifests(sky, tmp_path):
    folder = begin(tmp_path, 11)
    assert fetch_sky(folder, QUICK, in_a_delivery=4) == {"done": 11}
    reader = opened(folder)
    found = reader.deliveries(quiet=1e9)  # whole at once, whatever the quiet period
    assert [(one.name, one.state, one.files) for one in found] == [
        ("part_0001", "whole", 4), ("part_0002", "whole", 4), ("part_0003", "whole", 3)
    ]  # fmt: skip
    assert [path.name for path in (folder / "images").iterdir() if path.name.startswith(".")] == []
    row = reader.catalogue("part_0002").to_pylist()[0]
    assert (row["galaxy_id"], row["ra"], row["dec"], row["problem"]) == ("g4", 4.5, 4.0, None)
    (folder / "images/part_0002/g4.png").write_bytes(b"other")
    assert [one.state for one in opened(folder).deliveries()] == ["whole", "held", "whole"]


def test_ids_that_are_no_file_names_stay_the_ids_of_the_catalogue(sky, tmp_path):
    from galaxy_assets_tests.deliveries.sky.test_positions import HOSTILE

    folder = begin(tmp_path, 1)
    (folder / "positions.parquet").unlink()
    table, ra = tmp_path / "hostile.parquet", [i + 0.25 for i in range(len(HOSTILE))]
    pq.write_table(pa.table({"name": HOSTILE, "ra": ra, "dec": [0.0] * len(ra)}), table)
    read = read_positions(table, Columns(), ".png").table
    keep_positions(folder, read)
    assert fetch_sky(folder, QUICK) == {"done": len(HOSTILE)}
    catalogue = opened(folder).catalogue("part_0001")
    assert sorted(catalogue["galaxy_id"].to_pylist()) == sorted(map(printable, read["id"].to_pylist()))
    assert set(catalogue["problem"].to_pylist()) == {None}
    at = dict(zip(catalogue["galaxy_id"].to_pylist(), catalogue["ra"].to_pylist(), strict=True))
    assert at["../../x"] == 0.25 and at["ABC"] == 5.25
    everything = {path.relative_to(tmp_path).parts[0] for path in tmp_path.rglob("*")}
    assert everything == {"raw", "t.csv", "hostile.parquet"}
    assert {path.name for path in (tmp_path / "raw").iterdir()} == {"mine"}


def test_an_image_that_is_gone_is_fetched_again(sky, tmp_path):
    folder = begin(tmp_path, 4)
    fetch_sky(folder, QUICK)
    (folder / "images/part_0001/g2.png").unlink()
    fetch_sky(folder, QUICK)
    assert sky.places()[4:] == [("2.5000000", "2.0000000")] and (folder / "images/part_0002/g2.png").exists()


def test_positions_that_were_added_are_fetched_alone(sky, tmp_path):
    fetch_sky(begin(tmp_path, 3), QUICK)
    folder = begin(tmp_path, 5)
    assert fetch_sky(folder, QUICK) == {"done": 5} and len(sky.asked) == 5
    assert {p.name for p in (folder / "images/part_0002").iterdir()} == {"g3.png", "g4.png", "manifest.csv"}


# Stops


def test_a_line_that_a_kill_cut_off_is_dropped_and_its_image_kept(sky, tmp_path):
    folder = begin(tmp_path, 5)
    sky.bad, sky.after = {4: ["503"]}, 3600
    with pytest.raises(FetchError):
        fetch_sky(folder, QUICK)
    journal = folder / ".sky.jsonl"
    journal.write_bytes(journal.read_bytes()[:-7])
    partial = folder / "images/.part_0001.partial"
    (partial / ".g4.png.0123.partial").write_bytes(b"half")
    assert fetch_sky(folder, QUICK) == {"done": 5}
    assert [place[0] for place in sky.places()].count("3.5000000") == 1
    assert len(journal.read_bytes().splitlines()) == 5 and all(json.loads(line) for line in journal.open())
    assert len(Ledger(folder).entries) == 5
    assert len(list((folder / "images/part_0001").iterdir())) == 6


def test_half_an_image_in_the_open_delivery_is_not_taken(sky, tmp_path):
    folder = begin(tmp_path, 2)
    partial = folder / "images/.part_0001.partial"
    partial.mkdir(parents=True)
    (partial / "g1.png").write_bytes(image("png", 40, 1, 0, 0)[:300])
    assert fetch_sky(folder, QUICK) == {"done": 2} and len(sky.asked) == 2


def test_two_at_once_are_refused(sky, tmp_path):
    from galaxy_assets.deliveries.download.fetching import alone_in

    folder = begin(tmp_path, 2)
    with alone_in(folder), pytest.raises(FetchError, match="another fetch is at work"):
        fetch_sky(folder, QUICK)
    assert sky.asked == []


def test_after_a_kill_no_position_that_arrived_is_asked_for_twice(sky, tmp_path):
    folder = begin(tmp_path, 60)
    sky.bad = {7: ["slow"], 25: ["slow"], 44: ["slow"]}  # the answers on whose way the process is killed
    code = (
        "import sys; from pathlib import Path; from galaxy_assets.deliveries.sky.fetching import fetch_sky\n"
        "from galaxy_assets.deliveries.sky.connection import Manners\n"
        "fetch_sky(Path(sys.argv[1]), Manners(per_second=200), in_a_delivery=10)"
    )
    for asked in (8, 27, 47):
        process = subprocess.Popen([sys.executable, "-c", code, str(folder)], env=dict(os.environ))
        while len(sky.asked) < asked:
            assert process.poll() is None
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert len(sky.asked) == 47
    assert all(one.state == "whole" for one in opened(folder).deliveries())
    assert fetch_sky(folder, QUICK, in_a_delivery=10) == {"done": 60}
    assert {place[0] for place, n in Counter(sky.places()).items() if n > 1} == {
        "7.5000000", "25.5000000", "44.5000000"
    }  # fmt: skip
    assert len(sky.asked) == 63
    reader = opened(folder)
    assert [reader.catalogue(name).num_rows for name in reader.batches()] == [10] * 6
    assert {p for name in reader.batches() for p in reader.catalogue(name)["problem"].to_pylist()} == {None}


# Settings


@pytest.mark.parametrize("address", [
    "http://example.org/hips2fits", "http://127.0.0.1@example.org/x", "http://localhost.example.org/", "ftp://127.0.0.1/",
    "https://user:pw@127.0.0.1/", "https://example.org/?a=b", "file:///etc/passwd", "127.0.0.1:80", "https://", "http://[::1",
])  # fmt: skip
def test_an_address_that_is_neither_https_nor_within_this_machine_is_refused(address, monkeypatch, tmp_path):
    monkeypatch.setenv(HIPS2FITS.variable, address)
    with pytest.raises(SurveyError, match="GALAXY_ASSETS_HIPS2FITS.*no https address"):
        address_of(HIPS2FITS)


def test_other_addresses_are_taken(monkeypatch):
    monkeypatch.setenv(HIPS2FITS.variable, "https://alaskybis.cds.unistra.fr/hips-image-services/hips2fits")
    assert address_of(HIPS2FITS) == "https://alaskybis.cds.unistra.fr/hips-image-services/hips2fits"
    monkeypatch.setenv(HIPS2FITS.variable, "")
    assert address_of(HIPS2FITS) == HIPS2FITS.address
    monkeypatch.delenv(LEGACY.variable, raising=False)
    assert address_of(LEGACY) == "https://www.legacysurvey.org/viewer"


def test_colour_is_png_a_band_is_fits_and_the_viewer_sends_jpeg(tmp_path):
    chosen = {one: choose(one, tmp_path).format for one in (COLOUR, BAND, LAYER, "ESAVO/P/HST/x", "x/P/y/RGB")}
    assert list(chosen.values()) == ["png", "fits", "jpg", "fits", "png"]
    assert (choose("ivo://CDS/P/NVSS", tmp_path).size, choose(BAND, tmp_path).pixels) == (960, 64)
    assert (choose("a/b", tmp_path).size, choose("a/b", tmp_path).pixels) == (60, 256)
    assert choose("a/b", tmp_path, "1.5arcmin").size == pytest.approx(90)
    assert "Pixels of 0.938 arcsec are asked for and CDS/P/NVSS has 15" in (
        choose(BAND, tmp_path, "60arcsec").caution() or ""
    )
    assert choose(COLOUR, tmp_path).caution() is None


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"sky": "http://x.org/hips"}, "is no sky; give a HiPS id"),
        ({"sky": "CDS/P/x&y=1"}, "is no sky"),
        ({"sky": "../../etc"}, "is no sky"),
        ({"sky": "legacysurvey:a/b"}, "is no sky"),
        ({"sky": BAND, "size": "60"}, "--size '60' is no angle"),
        ({"sky": BAND, "size": "60 m"}, "is no angle"),
        ({"sky": BAND, "size": "-1deg"}, "--size"),
        ({"sky": BAND, "size": "nandeg"}, "--size"),
        ({"sky": BAND, "size": "11deg"}, "--size"),
        ({"sky": BAND, "pixels": 4000}, "--pixels"),
        ({"sky": COLOUR, "form": "fits"}, "is a picture of several bands"),
        ({"sky": LAYER, "form": "png"}, "sends no png; give --format jpg or fits"),
    ],
)
def test_what_cannot_be_had_is_refused_before_anything_is_asked(options, message, tmp_path):
    with pytest.raises(SurveyError, match=message):
        choose(catalogue=tmp_path, **options)


def test_another_sky_or_another_folder_of_images_is_not_mixed_in(tmp_path):
    folder, plan = tmp_path / "a", choose(BAND, tmp_path, "1deg", 64)
    assert keep_plan(folder, plan) == plan
    assert keep_plan(folder, plan.model_copy(update={"begun": "later"})) == plan
    (folder / "images" / ".part_0001.partial").mkdir(parents=True)
    other = keep_plan(folder, plan.model_copy(update={"pixels": 50}))
    assert other.pixels == 50 and keep_plan(folder, plan) == plan, "as long as no image came"
    (folder / "images" / ".part_0001.partial").mkdir(parents=True)
    (folder / "images" / ".part_0001.partial" / "a.fits").touch()
    with pytest.raises(SurveyError, match="cutouts with pixels 64 were begun there, and now it is 32"):
        keep_plan(folder, plan.model_copy(update={"pixels": 32}))
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "x.png").touch()
    with pytest.raises(SurveyError, match="holds files that were not fetched"):
        keep_plan(tmp_path / "b", plan)


def test_the_skies_listed_can_be_asked_for(tmp_path):
    skies = known_skies()
    assert len(skies) >= 12 and {sky.band for sky in skies.values()} == {
        "optical",
        "infrared",
        "radio",
        "ultraviolet",
        "X-ray",
    }
    for name in skies:
        plan = choose(name, tmp_path)
        assert plan.url(1.0, 2.0).startswith("https://") and plan.caution() is None
