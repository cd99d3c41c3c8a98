"""The commands `survey new` and `survey list` on a folder as people have it."""

import io
import shlex

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import yaml
from PIL import Image
from typer.testing import CliRunner

from galaxy_assets.cli import app
from galaxy_assets.deliveries.readers import open_reader
from galaxy_assets.science.labels import standing
from galaxy_assets.settings.files import survey_files
from galaxy_assets.storage.label_events import LabelLog
from galaxy_assets.storage.layout import Layout
from galaxy_assets.storage.tables import write_table
from galaxy_assets_tests.conftest import draw


def test_a_folder_nobody_prepared_becomes_a_survey(tmp_path, monkeypatch):
    monkeypatch.setenv("GALAXY_ASSETS_DATA", str(tmp_path / "data"))
    monkeypatch.chdir(tmp_path)
    rng, rows = np.random.default_rng(0), ["file name,what,comment"]
    for i in range(60):
        folder = tmp_path / "my images" / ("", "Field 1", "Field 2/deep er")[i % 3]
        folder.mkdir(parents=True, exist_ok=True)
        kind = "pair" if i % 12 == 0 else ("round", "long")[i % 2]
        suffix = ("png", "JPG", "jpeg")[i % 3]
        Image.fromarray(draw(kind, rng)).save(folder / f"obj {i}.{suffix}")
        rows.append(f"obj {i}.{suffix},{kind},")
    (tmp_path / "my images" / "broken.png").write_bytes(b"not an image")
    (tmp_path / "my images" / "old scan.gif").write_bytes(b"GIF89a")
    (tmp_path / "classes.csv").write_text("\n".join(rows))

    runner = CliRunner()
    command = ["survey", "new", "mine", "--images", "my images", "--labels", "classes.csv", "--label-column", "what"]
    made = runner.invoke(app, command)
    assert made.exit_code == 0, made.output
    assert "galaxy-assets run mine" in made.output and "broken.png: no image format that is known" in made.output
    assert "1 of 62 images have a format that image_folder does not read" in made.output

    survey = survey_files(tmp_path / "data").named("mine")
    assert survey.source.path == str(tmp_path / "my images") and survey.source.id_column == "file name"
    assert survey.anomaly.labels == ("pair",) and not survey.cutout.grey
    assert [one.name for one in survey.evaluation.classes] == ["long", "round"]
    reader = open_reader(survey.source, tmp_path / "data" / "raw")
    found = [row for batch in reader.batches() for row in reader.catalogue(batch).to_pylist()]
    assert reader.batches() == ["Field_1", "Field_2", "images"]
    assert len(found) == 61 and [r["galaxy_id"] for r in found if r["problem"]] == ["broken"]
    assert {r["galaxy_id"]: r["label"] for r in found}["obj 12"] == "pair"

    path = tmp_path / "data" / "surveys" / "mine.yaml"
    assert len(yaml.safe_load(path.read_text())) > 8 and path.read_text().count("\n  # ") > 10
    again = runner.invoke(app, command)
    assert again.exit_code == 2 and "is not overwritten" in " ".join(again.output.replace("│", " ").split())
    assert runner.invoke(app, ["survey", "add", "demo_optical", "gz_decals"]).exit_code == 0
    listed = runner.invoke(app, ["survey", "list"]).output
    assert f"{tmp_path / 'my images'}: 3 deliveries" in listed
    assert "made by its first run" in listed and "no delivery there" in listed
    assert not (tmp_path / "data" / "raw").exists()


def test_a_folder_of_nothing_but_shards_becomes_a_survey(tmp_path, monkeypatch):
    monkeypatch.setenv("GALAXY_ASSETS_DATA", str(tmp_path / "data"))
    rng, folder = np.random.default_rng(0), tmp_path / "dataset/data"
    folder.mkdir(parents=True)
    for shard in range(2):
        kinds = ["round"] * 12 + ["long"] * 10 + ["pair"] * 2
        images = []
        for kind in kinds:
            stream = io.BytesIO()
            Image.fromarray(draw(kind, rng)).save(stream, "PNG")
            images.append({"bytes": stream.getvalue(), "path": None})
        pq.write_table(pa.table({"image": images, "label": kinds}), folder / f"train-0000{shard}-of-00002.parquet")
    made = CliRunner().invoke(app, ["survey", "new", "mine", "--images", str(tmp_path / "dataset")])
    assert made.exit_code == 0, made.output
    assert "48 of 48 images have a class" in made.output and "2: train-00000-of-00002, train-00001" in made.output
    survey = survey_files(tmp_path / "data").named("mine")
    assert (survey.source.images, survey.source.labels, survey.anomaly.labels) == ("data", None, ("pair",))
    assert [one.name for one in survey.evaluation.classes] == ["round", "long"]


def test_a_list_of_surveys_copies_nothing_from_an_address(tmp_path, monkeypatch):
    monkeypatch.setenv("GALAXY_ASSETS_DATA", str(tmp_path))
    (tmp_path / "far" / "b1").mkdir(parents=True)
    Image.fromarray(draw("round", np.random.default_rng(0))).save(tmp_path / "far" / "b1" / "a.png")
    (tmp_path / "surveys").mkdir()
    far = {"name": "far", "title": "Far", "description": "Elsewhere."}
    source = {"reader": "image_folder", "path": f"file://{tmp_path}/far"}
    (tmp_path / "surveys" / "far.yaml").write_text(yaml.safe_dump(far | {"source": source}))
    runner = CliRunner()
    assert f"copied from file://{tmp_path}/far by its first run" in runner.invoke(app, ["survey", "list"]).output
    assert not (tmp_path / "raw" / "far").exists()
    open_reader(survey_files(tmp_path).named("far").source, tmp_path / "raw")
    assert f"{tmp_path / 'raw' / 'far'}: 1 delivery" in runner.invoke(app, ["survey", "list"]).output


def test_a_column_of_graded_scores_is_offered_as_what_people_say_and_the_printed_command_imports_it(
    tmp_path, monkeypatch
):
    monkeypatch.setenv("GALAXY_ASSETS_DATA", str(tmp_path / "data"))
    rng, rows = np.random.default_rng(0), ["file,Interest"]
    (tmp_path / "images").mkdir()
    for i in range(30):
        Image.fromarray(draw("round", rng)).save(tmp_path / "images" / f"g{i:02d}.png")
        rows.append(f"g{i:02d}.png,{1 + i % 5}")
    (tmp_path / "scores.csv").write_text("\n".join(rows))
    runner = CliRunner()
    images, table = str(tmp_path / "images"), str(tmp_path / "scores.csv")
    made = runner.invoke(app, ["survey", "new", "mine", "--images", images, "--labels", table])
    assert made.exit_code == 0, made.output
    survey = survey_files(tmp_path / "data").named("mine")
    assert survey.source.label_column is None and survey.anomaly.labels == (), "scores are no classes"
    (command,) = (line for line in made.output.splitlines() if "labels import" in line)
    assert command.strip().endswith("--id-column file --score-column Interest --who Interest --range 1 5")
    catalogue = Layout(tmp_path / "data").table("mine", "catalogue", "images")
    ids = [f"g{i:02d}" for i in range(30)]
    write_table(pa.table({"galaxy_id": ids, "file": [f"images/{name}.png" for name in ids]}), catalogue)
    imported = runner.invoke(app, shlex.split(command)[1:])
    assert imported.exit_code == 0 and "30 labels are new" in imported.output, imported.output
    assert "the scores run from 0 to 5" in imported.output
    held = standing(LabelLog(Layout(tmp_path / "data").labels("mine")).read())
    assert held["score"].to_pylist() == [1.25 * (i % 5) for i in range(30)]
    assert held["galaxy_id"].to_pylist()[:2] == ["g00", "g01"], "as the catalogue has them"


def test_of_too_few_images_for_trials_the_proposal_is_written_and_that_is_said(tmp_path, monkeypatch):
    monkeypatch.setenv("GALAXY_ASSETS_DATA", str(tmp_path / "data"))
    images, rng = tmp_path / "images", np.random.default_rng(0)
    images.mkdir()
    for i in range(19):
        Image.fromarray(draw("round", rng)).save(images / f"g{i:02d}.png")
    (images / "broken.png").write_bytes(b"not an image")
    runner, files = CliRunner(), tmp_path / "data/surveys"
    given = ["--images", str(images)]
    plain = runner.invoke(app, ["survey", "new", "plain", *given])
    few = runner.invoke(app, ["survey", "new", "few", *given, "--tune"])
    assert plain.exit_code == few.exit_code == 0, few.output
    assert "Trials need 20 images, and 19 can be read" in few.output and "chosen by trials" not in few.output
    assert "Trials" not in plain.output
    head = {"name", "title"}
    written, other = (yaml.safe_load((files / f"{name}.yaml").read_text()) for name in ("few", "plain"))
    assert {k: v for k, v in written.items() if k not in head} == {k: v for k, v in other.items() if k not in head}
    Image.fromarray(draw("round", rng)).save(images / "g19.png")
    enough = runner.invoke(app, ["survey", "new", "enough", *given, "--tune"])
    assert "chosen by trials of the first run" in enough.output and "Trials need" not in enough.output
    assert survey_files(tmp_path / "data").named("enough").auto


def test_a_table_that_is_about_no_image_writes_no_survey(tmp_path, monkeypatch):
    monkeypatch.setenv("GALAXY_ASSETS_DATA", str(tmp_path / "data"))
    (tmp_path / "images").mkdir()
    for i in range(6):
        Image.fromarray(draw("round", np.random.default_rng(i))).save(tmp_path / "images" / f"hsc_{4315914220 + i}.png")
    (tmp_path / "t.csv").write_text("object_id,kind\n" + "".join(f"{4315914220 + i},{'ab'[i % 2]}\n" for i in range(6)))
    command = ["survey", "new", "mine", "--images", str(tmp_path / "images"), "--labels", str(tmp_path / "t.csv")]
    for column in ([], ["--id-column", "object_id"], ["--id-column", "kind"]):
        made = CliRunner().invoke(app, [*command, *column])
        said = " ".join(made.output.replace("│", " ").split())
        assert made.exit_code == 2 and "The names are hsc_ + object_id" in said
        assert not (tmp_path / "data" / "surveys" / "mine.yaml").exists()
