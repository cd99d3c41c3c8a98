"""The similarity search over the small world: in Python, in SQL and as the asset; by id, by file and by several."""

import os
import shutil
import subprocess
import sys

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image
from typer.testing import CliRunner

from galaxy_assets.cli import app
from galaxy_assets.deliveries.images import UnreadableImage
from galaxy_assets.lake import connect
from galaxy_assets.lake import similar as search
from galaxy_assets.settings.files import SurveyError, enable
from galaxy_assets.storage.layout import Layout
from galaxy_assets.storage.tables import read_table, write_table
from galaxy_assets_tests.conftest import draw, write_tiny

COLUMNS = ["query_id", "neighbour_id", "distance", "rank"]


def rows(table) -> list[tuple]:
    return [tuple(row.values()) for row in table.select(COLUMNS).to_pylist()]


def image(world, galaxy: str):
    return world.root / "raw" / "tiny" / "images" / galaxy.split("_")[0] / f"{galaxy}.png"


@pytest.fixture(scope="module")
def kept(world) -> list[str]:
    files = sorted((Layout(world.root).lake / "tiny/clean_galaxies").glob("*.parquet"))
    clean = pa.concat_tables([read_table(file) for file in files])
    return sorted(clean.filter(clean["kept"])["galaxy_id"].to_pylist())


def test_python_sql_and_the_asset_agree(world, kept):
    asset = rows(read_table(Layout(world.root).table("tiny", "similar_galaxies")))
    queries = list(dict.fromkeys(query for query, *_ in asset))
    assert len(queries) == 2 and len(asset) == 6
    with connect(world.root) as lake:

        def in_sql(ids: list[str], neighbours: int) -> list[tuple]:
            return lake.execute("select * from tiny.similar_to(?, ?)", [ids, neighbours]).fetchall()

        for query in queries:
            found = rows(search.similar("tiny", ids=[query], neighbours=3, root=world.root))
            assert found == in_sql([query], 3) == [row for row in asset if row[0] == query]
        several = [*queries, kept[-1], kept[0]]
        found = rows(search.similar("tiny", ids=several, neighbours=500, root=world.root))
        assert found == in_sql(several, 500)
    assert sorted(row[1] for row in found) == sorted(set(kept) - set(several))
    assert len({row[0] for row in found}) > 1


def test_a_file_of_the_survey_finds_its_galaxy_and_then_what_that_galaxy_finds(world, kept, tmp_path):
    for galaxy in (kept[0], kept[-1]):
        elsewhere = tmp_path / "holiday.jpeg"  # a PNG by content, from outside the survey's folder
        elsewhere.write_bytes(image(world, galaxy).read_bytes())
        by_file = search.similar("tiny", files=[elsewhere], neighbours=6, root=world.root)
        by_id = search.similar("tiny", ids=[galaxy], neighbours=5, root=world.root)
        assert by_file["neighbour_id"].to_pylist() == [galaxy, *by_id["neighbour_id"].to_pylist()]
        assert by_file["query_id"].to_pylist() == [str(elsewhere)] * 6
        scale = by_id["distance"][0].as_py()
        assert by_file["distance"][0].as_py() < 1e-3 * scale
        np.testing.assert_allclose(by_file["distance"].to_numpy()[1:], by_id["distance"].to_numpy(), rtol=1e-3)
        assert by_file["file"][0].as_py() == image(world, galaxy).relative_to(world.root / "raw/tiny").as_posix()


def test_a_fits_file_and_an_id_are_searched_together(world, kept, tmp_path):
    from astropy.io import fits

    path = tmp_path / "one.fits"
    plane = draw("long", np.random.default_rng(9))[..., 0].astype(np.float32)
    fits.PrimaryHDU(plane).writeto(path)
    found = search.similar("tiny", ids=[kept[0]], files=[path], neighbours=100, root=world.root)
    assert set(found["query_id"].to_pylist()) == {kept[0], str(path)}
    alone = [
        search.similar("tiny", neighbours=100, root=world.root, **one)
        for one in ({"ids": [kept[0]]}, {"files": [path]})
    ]
    by_id, by_fits = (dict(zip(*(t[c].to_pylist() for c in COLUMNS[1:3]), strict=True)) for t in alone)
    assert len(found) == len(by_id) == len(by_fits) - 1, "a file is no galaxy of the survey, an id is"
    for _, galaxy, distance, _ in rows(found):
        assert distance == pytest.approx(min(by_id[galaxy], by_fits[galaxy]), rel=1e-3)


def test_what_cannot_be_searched_is_said_in_words(world, kept, tmp_path):
    def why(error, survey="tiny", **asked) -> str:
        with pytest.raises(error) as raised:
            search.similar(survey, root=world.root, **asked)
        return str(raised.value)

    assert "no survey nosuch in " in why(SurveyError, "nosuch", ids=["a"])
    assert "; known are demo_optical" in why(SurveyError, "nosuch", ids=["a"])
    assert "`galaxy-assets run mirabest` makes it" in why(FileNotFoundError, "mirabest", ids=["a"])
    assert why(ValueError, ids=["nosuch", kept[0]]) == "no galaxy nosuch in tiny; its table `catalogue` lists the ids"
    assert "removed by the rule 'unreadable'" in why(ValueError, ids=["broken"])
    assert "no example given" in why(ValueError)
    assert "absent.png" in why(UnreadableImage, files=[tmp_path / "absent.png"])
    (tmp_path / "text.fits").write_text("no image")
    assert "text.fits: no image format that is known" in why(UnreadableImage, files=[tmp_path / "text.fits"])
    Image.new("RGB", (9000, 9000)).save(tmp_path / "huge.png")
    assert "the largest area" in why(UnreadableImage, files=[tmp_path / "huge.png"])
    Image.new("RGB", (90, 90)).save(tmp_path / "black.png")
    assert "black.png: every channel is constant" in why(UnreadableImage, files=[tmp_path / "black.png"])


def test_the_sheet_shows_the_examples_first(world, kept):
    asked = {"ids": [kept[3]], "files": [image(world, kept[5])]}
    found = search.similar("tiny", neighbours=7, root=world.root, **asked)
    shown = np.asarray(search.sheet("tiny", found, root=world.root, **asked))
    # ids' cutouts come from the pixel store, files are cut anew: the same galaxy looks the same
    swapped = {"ids": [kept[5]], "files": [image(world, kept[3])]}
    again = np.asarray(search.sheet("tiny", found, root=world.root, **swapped))
    first, second = slice(0, 100), slice(100, 200)
    np.testing.assert_array_equal(shown[:, 4:100], again[:, 104:200])
    assert (shown[:, first] != shown[:, second]).any() and shown.shape[1] > 9 * 96


@pytest.mark.parametrize(
    ("made", "table", "said"),
    [
        ((), "catalogue/[!.]*", "mirabest was never run: no catalogue;"),
        ((), "anomaly_ranking", "mirabest was never run: no anomaly_ranking;"),
        ((), "pca_features/[!.]*/random", "mirabest was never run: no pca_features of random start weights;"),
        (("catalogue",), "cutouts/[!.]*", "mirabest is not finished: no cutouts;"),
    ],
)
def test_a_table_that_is_missing_is_named_with_the_start_weights_that_it_has(made, table, said, tmp_path):
    enable("mirabest", tmp_path)
    layout, survey = search.open_survey("mirabest", tmp_path)
    for name in made:
        write_table(pa.table({"galaxy_id": ["a"]}), layout.table("mirabest", name, "first"))
    with pytest.raises(FileNotFoundError) as raised:
        search.read_survey_table(layout, survey, table)
    assert str(raised.value) == f"{said} `galaxy-assets run mirabest` makes it"


def test_the_command_prints_and_draws_what_the_function_finds(world, kept, tmp_path, monkeypatch):
    monkeypatch.setenv("GALAXY_ASSETS_DATA", str(world.root))
    sheet, file = tmp_path / "sheet.png", str(image(world, kept[9]))
    words = ["similar", "tiny", "--id", kept[0], "--id", kept[1], "--file", file, "--neighbours", "4"]
    ran = CliRunner().invoke(app, [*words, "--sheet", str(sheet)])
    assert ran.exit_code == 0, ran.output
    found = search.similar("tiny", ids=kept[:2], files=[file], neighbours=4, root=world.root)
    lines = [line.split() for line in ran.output.splitlines()[2:6]]
    assert [(int(r), g, f, q) for r, _, g, f, q in lines] == [
        (row["rank"], row["neighbour_id"], row["file"], row["query_id"]) for row in found.to_pylist()
    ]
    with Image.open(sheet) as drawn:
        assert drawn.format == "PNG" and drawn.width > 7 * 96
    wrong = CliRunner().invoke(app, ["similar", "tiny", "--id", "broken"])
    assert wrong.exit_code == 2 and "unreadable" in wrong.output
    assert "--sheet more_like_these.png" in " ".join(CliRunner().invoke(app, ["similar", "--help"]).output.split())


def test_the_command_refuses_a_missing_file_before_it_loads_the_search(world, tmp_path):
    code = (
        "import sys; from typer.testing import CliRunner; from galaxy_assets.cli import app; "
        "ran = CliRunner().invoke(app, ['similar', 'tiny', *sys.argv[1:]], env={'COLUMNS': '400'}); "
        "print(ran.exit_code, [m for m in ('torch', 'cv2') if m in sys.modules]); "
        "print(' '.join(ran.output.replace(chr(0x2502), ' ').split()))"
    )

    def refused(*words: object) -> str:
        environment = os.environ | {"GALAXY_ASSETS_DATA": str(world.root)}
        command = [sys.executable, "-c", code, *map(str, words)]
        said = subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout
        assert said.startswith("2 []"), said
        return said

    assert "absent.png does not exist" in refused("--file", tmp_path / "absent.png")
    assert f"{tmp_path} is a folder; name an image in it" in refused("--file", tmp_path)
    assert "name a galaxy by --id or an image by --file" in refused()
    assert "is a folder; name a file" in refused("--id", "a", "--sheet", tmp_path)


def test_a_checkpoint_that_is_not_its_ledgers_answers_no_file(world, kept, tmp_path):
    layout = Layout(tmp_path)
    write_tiny(tmp_path)
    for name in ("pca_features", "pca_model", "byol_checkpoints", "catalogue"):
        shutil.copytree(world.root / "lake" / "tiny" / name, layout.lake / "tiny" / name)
    ledger = read_table(layout.table("tiny", "byol_checkpoints", "imagenet")).to_pylist()
    weights = next(row["path"] for row in ledger if row["chosen"])
    (tmp_path / weights).parent.mkdir(parents=True)
    (tmp_path / weights).write_bytes((world.root / weights).read_bytes() + b" ")
    assert search.similar("tiny", ids=[kept[0]], root=tmp_path).num_rows == 8
    with pytest.raises(ValueError, match="not the checkpoint its ledger records"):
        search.similar("tiny", files=[image(world, kept[0])], root=tmp_path)


def test_a_search_by_id_loads_neither_dagster_nor_torch(world, kept):
    code = (
        "import sys; from galaxy_assets.lake.similar import similar; "
        f"similar('tiny', ids=[{kept[0]!r}], root={str(world.root)!r}); "
        "print([m for m in ('dagster', 'torch', 'cv2', 'sklearn', 'matplotlib') if m in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"
