"""What is sent by SAMP, read by a second client at astropy's own hub on loopback."""

import os
import stat
import threading
import time
from itertools import starmap
from pathlib import Path
from urllib.parse import unquote, urlparse

import numpy as np
import pyarrow as pa
import pytest
import typer
from astropy.io import fits
from astropy.samp import SAMPHubServer, SAMPIntegratedClient, conf
from astropy.table import Table
from typer.testing import CliRunner

from galaxy_assets.cli import app, send
from galaxy_assets.lake import samp
from galaxy_assets.lake.meanings import with_meanings
from galaxy_assets.lake.samp import Answer, SampError, send_table
from galaxy_assets.storage.layout import Layout
from galaxy_assets.storage.pixels import PixelStore
from galaxy_assets.storage.tables import read_table
from galaxy_assets_tests.explorer.small_lake import NAME, write_small_lake


@pytest.fixture(autouse=True)
def desk(tmp_path, monkeypatch):
    """A home and a temporary folder of this test's own."""
    (tmp_path / "tmp").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "tmp"))
    monkeypatch.setenv("SAMP_HUB", f"std-lockurl:{(tmp_path / 'lock').as_uri()}")
    with conf.set_temp("use_internet", False):
        yield tmp_path


@pytest.fixture
def hub(desk):
    server = SAMPHubServer(addr="127.0.0.1", web_profile=False, mode="single")
    server.start()
    yield server
    server.stop()


class Receiver:
    """A program that loads tables and images, and answers."""

    def __init__(self, name: str, mtypes: tuple[str, ...], problem: str = ""):
        self.client = SAMPIntegratedClient(name=name, addr="127.0.0.1")
        self.client.connect()
        self.got: list[tuple[str, dict]] = []
        self.problem = problem
        for mtype in mtypes:
            self.client.bind_receive_call(mtype, self.receive)

    def receive(self, key, sender, msg_id, mtype, params, extra):
        path = Path(unquote(urlparse(params["url"]).path))
        self.got.append((mtype, params | {"content": path.read_bytes(), "mode": path.parent.stat().st_mode}))
        time.sleep(0.2)  # astropy's hub notes that it waits after it has passed the call on: an earlier reply is lost
        error = {"samp.status": "samp.error", "samp.result": {}, "samp.error": {"samp.errortxt": self.problem}}
        self.client.reply(msg_id, error if self.problem else {"samp.status": "samp.ok", "samp.result": {}})


@pytest.fixture
def receiver(hub):
    made = []

    def start(*arguments, **options) -> Receiver:
        made.append(Receiver(*arguments, **options))
        return made[-1]

    yield start
    for one in made:
        one.client.disconnect()


TABLE, IMAGE = "table.load.votable", "image.load.fits"


def test_a_table_comes_with_its_units_and_every_program_answers(receiver, tmp_path):
    topcat, broken = receiver("topcat", (TABLE, IMAGE)), receiver("Aladin", (TABLE,), problem="no memory")
    ds9 = receiver("SAOImage DS9", (IMAGE,))
    table = with_meanings(pa.table({"galaxy_id": ["a"], "ra": [180.5]}), {"ra": ("right ascension", "deg")})
    answers = send_table(table, "tiny ranking")
    assert sorted(answers) == [("Aladin", "no memory"), ("topcat", "")] and ds9.got == []
    ((mtype, params),) = topcat.got
    assert (mtype, params["name"]) == (TABLE, "tiny ranking") and params["url"].startswith("file:///")
    (tmp_path / "got.vot").write_bytes(params["content"])
    read = Table.read(tmp_path / "got.vot", format="votable")
    assert read["ra"].unit == "deg" and read["ra"].tolist() == [180.5] and len(broken.got) == 1
    assert stat.S_IMODE(params["mode"]) == 0o700, "nobody else can read what is sent"
    assert send_table(table, "again", to="TOP") == [("topcat", "")] and len(broken.got) == 1


def test_the_command_sends_a_ranking_and_images(world, receiver, tmp_path, monkeypatch):
    monkeypatch.setenv("GALAXY_ASSETS_DATA", str(world.root))
    ds9 = receiver("SAOImage DS9", (TABLE, IMAGE))
    ran = CliRunner().invoke(app, ["send", "ranking", "tiny", "--first", "4", "--to", "ds9"])
    assert ran.exit_code == 0 and "SAOImage DS9: loaded 4 galaxies" in ran.output, ran.output
    (tmp_path / "got.vot").write_bytes(ds9.got[0][1]["content"])
    read = Table.read(tmp_path / "got.vot", format="votable")
    ranking = read_table(Layout(world.root).table("tiny", "anomaly_ranking")).sort_by("rank")
    assert list(read["galaxy_id"]) == ranking["galaxy_id"].to_pylist()[:4]
    assert read["ra"].unit == "deg" and read["rank"].meta["ucd"] == "stat.rank"
    ran = CliRunner().invoke(app, ["send", "image", "tiny", "first_03"])
    assert ran.exit_code == 0 and "loaded 1 image\n" in ran.output, ran.output
    (tmp_path / "got.fits").write_bytes(ds9.got[1][1]["content"])
    layout = Layout(world.root)
    ids = read_table(layout.table("tiny", "cutouts", "first"))["galaxy_id"].to_pylist()
    stored = PixelStore(layout.pixels("tiny")).read("first")[ids.index("first_03")]
    with fits.open(tmp_path / "got.fits") as hdus:
        assert hdus[0].header["OBJECT"] == "first_03"
        np.testing.assert_array_equal(np.moveaxis(hdus[0].data, 0, 2)[::-1], stored)


def test_of_several_images_it_is_told_how_many_each_program_loaded(capsys):
    answers = [("ds9", ""), ("Aladin", ""), ("ds9", "no memory"), ("Aladin", ""), ("ds9", ""), ("Aladin", "")]
    send._report("3 images", list(starmap(Answer, answers)))
    assert capsys.readouterr().out.splitlines() == [
        "ds9: loaded 2 of 3; of the others: no memory",
        "Aladin: loaded 3 images",
    ]
    with pytest.raises(typer.Exit) as ended:
        send._report("3 images", list(starmap(Answer, answers[::2])))
    assert ended.value.exit_code == 1, "nobody loaded all"


def test_an_original_that_was_delivered_as_fits_is_sent_as_it_is(world, receiver, tmp_path, monkeypatch):
    layout = Layout(world.root)
    monkeypatch.setattr(Layout, "raw", property(lambda self: tmp_path / "raw"))
    file = tmp_path / "raw/tiny/images/first/first_03.png"
    file.parent.mkdir(parents=True)
    fits.PrimaryHDU(np.arange(4.0).reshape(2, 2)).writeto(file)
    ds9 = receiver("SAOImage DS9", (IMAGE,))
    from galaxy_assets.lake.sending import send_galaxies

    assert send_galaxies("tiny", ["first_03"], root=layout.root) == [("SAOImage DS9", "")]
    assert ds9.got[0][1]["content"] == file.read_bytes()


def test_the_page_sends_what_it_shows_with_what_people_say(receiver, tmp_path):
    from galaxy_assets.explorer import map_version
    from galaxy_assets.explorer.scoring import Labels
    from galaxy_assets.explorer.send import send
    from galaxy_assets.settings.files import survey_files

    layout = write_small_lake(tmp_path / "data")
    Labels(layout, survey_files(layout.root).named(NAME)).say("ann", "g04", 5)
    topcat = receiver("topcat", (TABLE,))
    version = map_version.version(layout, NAME, "imagenet")
    assert send(layout.root, NAME, "imagenet", version, np.array([4, 1], np.int32)) == [("topcat", "")]
    (tmp_path / "got.vot").write_bytes(topcat.got[0][1]["content"])
    read = Table.read(tmp_path / "got.vot", format="votable")
    assert list(read["galaxy_id"]) == ["g04", "g01"] and read["human_score"].tolist() == [5.0, None]
    assert read["ra"].unit == "deg" and topcat.got[0][1]["name"] == "small, 2 galaxies"


def test_without_a_hub_or_a_receiver_the_remedy_is_said(desk, monkeypatch):
    table = pa.table({"galaxy_id": ["a"]})
    with pytest.raises(SampError, match="no SAMP hub runs .*start TOPCAT or Aladin"):
        send_table(table, "x")
    (desk / "lock").write_text("samp.secret=s\nsamp.hub.xmlrpc.url=http\\://127.0.0.1\\:9/\n")
    with pytest.raises(SampError, match="does not answer"):
        send_table(table, "x")
    (desk / "lock").write_text("# nothing\n")
    with pytest.raises(SampError, match="no lock file of a SAMP hub"):
        send_table(table, "x")
    (desk / "lock").write_text("samp.secret=s\nsamp.hub.xmlrpc.url=http://192.0.2.7:9/\n")
    with pytest.raises(SampError, match="names a SAMP hub on 192.0.2.7; files are sent .* to this machine alone"):
        send_table(table, "x")
    for elsewhere in ("std-lockurl:http://192.0.2.7/lock", "std-lockurl:file://other/lock"):
        monkeypatch.setenv("SAMP_HUB", elsewhere)
        with pytest.raises(SampError, match="no lock file of this machine"):
            send_table(table, "x")
    assert list((desk / "tmp").iterdir()) == []


def test_with_a_hub_and_nothing_that_loads_it_nothing_is_written(receiver, desk):
    table = pa.table({"galaxy_id": ["a"]})
    with pytest.raises(SampError, match="no program that loads a table is connected"):
        send_table(table, "x")
    receiver("topcat", (TABLE,))
    with pytest.raises(SampError, match="no program gaia that loads a table is connected; there are topcat"):
        send_table(table, "x", to="gaia")
    assert list((desk / "tmp").iterdir()) == []


def test_one_that_does_not_answer_is_named_and_a_folder_of_others_is_refused(receiver, desk):
    slow, gone = receiver("slow", (TABLE,)), threading.Event()
    slow.client.bind_receive_call(TABLE, lambda *_: gone.wait(5))
    try:
        assert send_table(pa.table({"galaxy_id": ["a"]}), "x", seconds=1) == [("slow", "no answer within 1 s")]
    finally:
        gone.set()
    folder = next((desk / "tmp").iterdir())
    old = next(folder.iterdir())
    os.utime(old, (0, 0))
    samp._private_folder()
    assert not old.exists(), "what is a day old is removed"
    folder.chmod(0o755)
    with pytest.raises(SampError, match="not a folder of yours that others cannot read"):
        samp._private_folder()
