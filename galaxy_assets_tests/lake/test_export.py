"""`export` over the small world: rows, cutouts, where they come from, and a folder that is whole or absent."""

import csv
import json
from datetime import UTC, datetime

import numpy as np
import pyarrow.compute as pc
import pytest
from PIL import Image
from typer.testing import CliRunner

from galaxy_assets.cli import app
from galaxy_assets.lake.export import export, file_name
from galaxy_assets.lake.export_subjects import export_subjects
from galaxy_assets.storage.layout import Layout
from galaxy_assets.storage.pixels import PixelStore
from galaxy_assets.storage.tables import digest, read_table


def rows_of(path) -> list[dict]:
    with path.open() as stream:
        return list(csv.DictReader(stream))


def pixels(world, galaxy: str) -> np.ndarray:
    layout, batch = Layout(world.root), galaxy.split("_")[0]
    ids = read_table(layout.table("tiny", "cutouts", batch))["galaxy_id"].to_pylist()
    return PixelStore(layout.pixels("tiny")).read(batch)[ids.index(galaxy)]


def test_the_ranking_with_its_images_and_its_origin(world, tmp_path, monkeypatch):
    monkeypatch.setenv("GALAXY_ASSETS_DATA", str(world.root))
    words = ["export", "ranking", "tiny", "--to", str(tmp_path / "top"), "--first", "5", "--images"]
    ran = CliRunner().invoke(app, words)
    assert ran.exit_code == 0 and "5 galaxies with images" in ran.output, ran.output
    rows, table = rows_of(tmp_path / "top/ranking.csv"), read_table(tmp_path / "top/ranking.parquet")
    ranking = read_table(Layout(world.root).table("tiny", "anomaly_ranking"))
    best = ranking.sort_by("rank").slice(0, 5)
    assert [r["galaxy_id"] for r in rows] == table["galaxy_id"].to_pylist() == best["galaxy_id"].to_pylist()
    assert table["score"].equals(best["score"]) and {"ra", "dec", "label"} <= set(table.column_names)
    for rank, row in enumerate(rows, 1):
        assert row["image"] == f"images/{rank:05d}_{row['galaxy_id']}.png"
        assert row["file"] == f"images/{row['galaxy_id'].split('_')[0]}/{row['galaxy_id']}.png"
        with Image.open(tmp_path / "top" / row["image"]) as image:
            np.testing.assert_array_equal(np.asarray(image), pixels(world, row["galaxy_id"]))
    about = json.loads((tmp_path / "top/about.json").read_text())
    ledger = read_table(Layout(world.root).table("tiny", "byol_checkpoints", "imagenet")).to_pylist()
    assert about["checkpoint_sha256"] == next(r["sha256"] for r in ledger if r["chosen"])
    assert about["tables"] == {"tiny/anomaly_ranking": digest(ranking)}
    assert (about["survey"], about["what"], about["rows"]) == ("tiny", "ranking", 5)
    again = CliRunner().invoke(app, words)
    assert again.exit_code == 2 and "not empty" in " ".join(again.output.split())


def test_a_ranking_as_it_was_names_what_it_was_made_of(world, tmp_path):
    now = datetime.now(UTC)
    export("ranking", "tiny", tmp_path / "was", first=1, until=now, formats="csv", root=world.root)
    about = json.loads((tmp_path / "was/about.json").read_text())
    assert about["until"] == now.isoformat() and sorted(about["tables"]) == [
        "tiny/oracle_events",
        "tiny/pca_features/first/imagenet",
        "tiny/pca_features/second/imagenet",
        "tiny/pca_model/imagenet",
    ]


def test_candidates_are_a_training_set_with_a_folder_per_class(world, tmp_path):
    (tmp_path / "set").mkdir()
    table = export("candidates", "tiny", tmp_path / "set", first=3, init="random", root=world.root)
    stored = read_table(Layout(world.root).table("tiny", "training_candidates", "random"))
    assert table["galaxy_id"].to_pylist() == stored.filter(pc.less_equal(stored["rank"], 3))["galaxy_id"].to_pylist()
    for row in rows_of(tmp_path / "set/candidates.csv"):
        assert row["image"].split("/")[1] == (row["label"] or f"cluster_{row['cluster']}")
    images = [p.relative_to(tmp_path / "set").as_posix() for p in (tmp_path / "set").rglob("*.png")]
    assert sorted(images) == sorted(table["image"].to_pylist()) and len(images) == table.num_rows > 3


def test_a_clusters_members_come_by_falling_probability(world, tmp_path):
    layout = Layout(world.root)
    parts = [read_table(layout.table("tiny", "cluster_labels", b, "imagenet")) for b in ("first", "second")]
    members = {r["galaxy_id"]: r for part in parts for r in part.to_pylist()}
    cluster = members[min(members)]["cluster"]
    table = export("cluster", "tiny", tmp_path / "new/one", cluster=cluster, root=world.root)
    own = sorted((-r["probability"], g) for g, r in members.items() if r["cluster"] == cluster)
    assert table["galaxy_id"].to_pylist() == [galaxy for _, galaxy in own]
    assert table["rank"].to_pylist() == list(range(1, len(own) + 1)) and "image" not in table.column_names
    assert sorted(p.name for p in (tmp_path / "new/one").iterdir()) == ["about.json", "cluster.csv", "cluster.parquet"]
    assert [p.name for p in (tmp_path / "new").iterdir()] == ["one"], "nothing is left beside it"


def test_what_cannot_be_exported_is_said_in_words_and_leaves_nothing(world, tmp_path):
    for error, message, what, options in (
        (ValueError, "say which cluster", "cluster", {}),
        (ValueError, "no export 'rankings'; there are ranking, candidates, cluster", "rankings", {}),
        (ValueError, "no format 'xls'; there are csv, parquet, votable, fits", "ranking", {"formats": ["csv", "xls"]}),
        (ValueError, "no format 'xls'", "ranking", {"formats": "xls"}),
        (ValueError, "not of one cluster", "ranking", {"cluster": 1}),
        (ValueError, "no cluster 99 with members in tiny for imagenet .* there are 0", "cluster", {"cluster": 99}),
        (ValueError, "no start weights rgz in tiny; it has random, imagenet", "candidates", {"init": "rgz"}),
        (ValueError, "main start weights, imagenet", "ranking", {"init": "random"}),
        (FileNotFoundError, "no training_candidates of demo_optical", "candidates", {"init": "demo_optical"}),
    ):
        with pytest.raises(error, match=message):
            export(what, "tiny", tmp_path / "x", root=world.root, **options)
    (tmp_path / "file").write_text("")
    with pytest.raises(FileExistsError, match="new or empty"):
        export("ranking", "tiny", tmp_path / "file", root=world.root)
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


def test_a_folder_may_be_a_text_and_a_format_stand_alone(world, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    export("ranking", "tiny", "~/home", first=1, formats="votable", root=str(world.root))
    export_subjects("tiny", "subjects", 2, root=world.root)
    assert sorted(path.name for path in (tmp_path / "home").iterdir()) == ["about.json", "ranking.vot"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["home", "subjects"]


def test_names_of_files_stay_in_their_folder_and_differ():
    names = ["J1034.6-0051+3_a", "../../etc", "..", ".x", "a/b", "a_b", "a\\b", "x" * 300, "x" * 299, "é"]
    safe = [file_name(name) for name in names]
    assert safe[0] == names[0] and len(set(safe)) == len(names)
    assert all("/" not in s and "\\" not in s and not s.startswith(".") and len(s) < 100 and s.isascii() for s in safe)
