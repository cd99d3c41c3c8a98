"""The paper's figures as assets: what they show, what they say where they cannot be made, and the page of them all."""

import inspect
import json
import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from typer.testing import CliRunner

from galaxy_assets.cli import app
from galaxy_assets.cli.figures import write_figures_page
from galaxy_assets.figures.curves import variance
from galaxy_assets.orchestration.assets.paper_figures import ASSETS, FIGURES
from galaxy_assets.orchestration.assets.paper_figures.declaring import (
    NotApplicable,
    PaperFigure,
    Shown,
    View,
    figure_asset,
    paper_figure,
    publish,
)
from galaxy_assets.orchestration.declaration import IF_THERE, MAIN_START, SHOWN, SurveyContext
from galaxy_assets.science import votes
from galaxy_assets.settings.survey import Survey
from galaxy_assets.storage.layout import Layout
from galaxy_assets.storage.tables import read_table
from galaxy_assets_tests.conftest import TINY

SHOW = {figure.name: figure.show for figure in FIGURES}


def at(survey: Survey, root: Path) -> SurveyContext:
    """Where a figure of the survey is made, over a data folder."""
    return SurveyContext(survey, {}, Layout(root), "", "", None)


DRAWN = {f"figure_{n:02d}" for n in (1, 2, 3, 4, 8, 9, 10, 11, 12, 13, 14, 15)}


def notes(world) -> dict[str, dict]:
    folder = Layout(world.root).figure("tiny", "x").parent
    return {path.stem: json.loads(path.read_text()) for path in folder.glob("*.json")}


def test_every_figure_and_table_of_the_paper_is_there():
    assert sorted(SHOW) == [*(f"figure_{n:02d}" for n in range(1, 16)), "table_1", "table_2"]


def test_all_that_a_figure_declares_reaches_its_asset():
    said = {
        "name": "figure_99",
        "title": "A title",
        "section": "9.9, Figure 99",
        "columns": {"n": (pa.int64(), "a number", "pix")},
        "reads": ["umap_model"],
        "main": ["umap"],
        "starts": ["epoch_accuracy"],
        "settings": ("variance",),
        "version": "7",
    }
    assert said.keys() == inspect.signature(paper_figure).parameters.keys()
    asset, survey = figure_asset(paper_figure(**said)(lambda view: None)), Survey.model_validate(TINY)
    assert (asset.name, asset.paper, asset.version) == ("figure_99", "9.9, Figure 99", "7")
    assert asset.function.__doc__.startswith("A title.") and asset.columns == {"n": ("a number", "pix")}
    assert asset.reads == {"umap_model": SHOWN, "umap": MAIN_START | SHOWN, "epoch_accuracy": IF_THERE}
    other = Survey.model_validate(TINY | {"variance": 0.5})
    assert asset.code_version(survey).startswith("7-") and asset.code_version(survey) != asset.code_version(other)


def test_each_is_drawn_with_a_caption_or_says_why_not(world):
    found = notes(world)
    assert set(found) == set(SHOW)
    for name, note in found.items():
        png = Layout(world.root).figure("tiny", name)
        assert png.exists() == png.with_suffix(".pdf").exists() == note["drawn"]
        assert bool(note["caption"]) != bool(note["reason"])
        if note["drawn"]:
            assert png.with_suffix(".pdf").read_bytes().startswith(b"%PDF")
    assert {name for name, note in found.items() if note["drawn"]} >= DRAWN
    assert "no volunteers' votes" in found["figure_07"]["reason"]


def test_where_a_figure_cannot_be_made_its_table_is_empty_with_the_same_columns(world):
    (figure,) = (f for f in FIGURES if f.name == "figure_07")
    table = read_table(Layout(world.root).table("tiny", "figure_07"))
    assert table.num_rows == 0 and table.schema.equals(figure.columns)
    made = read_table(Layout(world.root).table("tiny", "figure_03"))
    assert made.num_rows and made.column_names == ["init", "epoch", "features", "mean", "std", "n"]


def test_a_figure_no_longer_applicable_leaves_no_stale_picture(world, tmp_path):
    view = View(at(world.survey, tmp_path), None)
    figure = PaperFigure("figure_99", "A figure", "0", {}, pa.schema([]), (), lambda view: None)
    png = view.context.layout.figure("tiny", "figure_99")
    drawn = Shown([], variance(np.array([0.9]), 1), "A caption.", {"n": 3, "unknown": float("nan")})
    metadata = publish(view, figure, drawn)
    assert metadata["preview"].value.startswith("![") and metadata["n"] == 3
    assert png.exists() and png.with_suffix(".pdf").exists()
    note = json.loads(png.with_suffix(".json").read_text())
    assert note["numbers"] == {"n": 3, "unknown": None} and note["reason"] is None
    publish(view, figure, Shown([], None, "", {"not applicable": "no votes"}))
    assert [path.name for path in png.parent.iterdir()] == ["figure_99.json"]
    assert json.loads(png.with_suffix(".json").read_text())["reason"] == "no votes"


def voted(rows: list[dict[str, tuple[int, ...]]]) -> pa.Table:
    """A volunteer table of campaign 1 and 2 in normal form, from the votes for each answer of some questions."""
    table = []
    for i, row in enumerate(rows):
        galaxy: dict = {"iauname": f"g{i}"}
        for question in votes.TREES["1_and_2"]:
            counts = row.get(question.name, (0,) * len(question.answers))
            total = sum(counts)
            galaxy[question.total_column] = total
            for answer, n in zip(question.answers, counts, strict=True):
                galaxy[f"{question.name}_{answer}"] = n
                galaxy[f"{question.name}_{answer}_fraction"] = n / total if total else None
        table.append(galaxy)
    return votes.normalise(pa.Table.from_pylist(table), "1_and_2")


def test_violins_hold_galaxies_above_the_papers_thresholds_and_no_artefact_clusters(world):
    featured, smooth, half = (8, 32, 0), (32, 8, 0), (20, 20, 0)
    rows = [
        {"smooth-or-featured": featured, "disk-edge-on": (6, 4), "merging": (1, 0, 0, 19)},
        {"smooth-or-featured": featured, "disk-edge-on": (9, 0)},  # nine votes: not counted
        {"smooth-or-featured": half, "disk-edge-on": (5, 5), "merging": (0, 0, 0, 20)},  # half: merging alone counts
        {"smooth-or-featured": smooth, "how-rounded": (2, 2, 16), "disk-edge-on": (10, 0)},
        {"smooth-or-featured": (1, 8, 0)},  # nine votes
        {"smooth-or-featured": featured, "disk-edge-on": (2, 18)},  # in the cluster of artefacts
    ]
    labels = pa.table({"galaxy_id": [f"g{i}" for i in range(6)], "cluster": [0, 0, 1, 1, 0, 2]})
    summary = pa.table({"cluster": [0, 1, 2], "artefact": [False, False, True]})
    shown = SHOW["figure_07"](View(at(world.survey, Path("/nonexistent")), None), voted(rows), labels, summary)
    found: dict[tuple[str, str], list[float]] = {}
    for row in shown.table.to_pylist():
        found.setdefault((row["panel"].split(":")[0], row["cluster"]), []).append(round(row["fraction"], 3))
    assert {k: sorted(v) for k, v in found.items()} == {
        ("smooth-or-featured", "all"): [0.2, 0.5, 0.8, 0.8, 0.8],
        ("smooth-or-featured", "0"): [0.8, 0.8],
        ("smooth-or-featured", "1"): [0.2, 0.5],
        ("how-rounded", "all"): [0.8],
        ("how-rounded", "1"): [0.8],
        ("disk-edge-on", "all"): [0.1, 0.6],
        ("disk-edge-on", "0"): [0.6],
        ("merging", "all"): [0.95, 1.0],
        ("merging", "0"): [0.95],
        ("merging", "1"): [1.0],
    }
    assert shown.numbers["clusters left out"] == 1


def test_recall_without_baselines_leaves_them_null(world):
    table = read_table(Layout(world.root).table("tiny", "anomaly_recall"))
    kept = table.select(["rank", "found", "random", "perfect", "found_unshown"])
    spread = read_table(Layout(world.root).table("tiny", "search_spread"))
    model = read_table(Layout(world.root).table("tiny", "anomaly_model"))
    shown = SHOW["figure_08"](View(at(world.survey, world.root), None), model, kept, spread)
    assert "ordered by the score, 0 to 5, that active learning predicts from 18 scores given." in shown.caption
    assert shown.table["isolation_forest"].null_count == table.num_rows
    assert shown.table["found"].to_pylist() == table["found"].to_pylist()
    with pytest.raises(NotApplicable, match="no true anomaly"):
        SHOW["figure_08"](View(at(world.survey, world.root), None), model, kept.slice(0, 0), spread)


FOREST = pa.table({"role": ["reference"] * 3})
CATALOGUE = pa.table({"galaxy_id": ["a", "b"], "label": ["pair", "round"]})


@pytest.mark.parametrize(
    ("scored_by", "words"),
    [
        ([None, None], "how isolated a galaxy is by an isolation forest, since no score was given"),
        (["people", None], "how isolated a galaxy is by an isolation forest, since the 1 scores given tell no"),
    ],
)
def test_a_list_that_an_isolation_forest_ranks_is_called_no_predicted_score(world, scored_by, words):
    view = View(at(world.survey, world.root), None)
    unshown = [1, 1] if scored_by == [None, None] else [0, None]
    recall = pa.table(
        {"rank": [1, 2], "found": [1, 1], "random": [0.5, 1.0], "perfect": [1, 1], "found_unshown": pa.array(unshown)}
    )
    spread = read_table(Layout(world.root).table("tiny", "search_spread"))
    assert words in SHOW["figure_08"](view, FOREST, recall, spread).caption
    ranking = pa.table({"galaxy_id": ["a", "b"], "score": [0.6, 0.4], "scored_by": pa.array(scored_by, pa.string())})
    umap = pa.table({"galaxy_id": ["a", "b"], "x": [0.0, 1.0], "y": [0.0, 1.0]})
    said = SHOW["figure_09"](view, CATALOGUE, votes.empty("1_and_2"), FOREST, ranking, umap).caption
    assert words in said and "predicts" not in said and "pairs score 0.60 on average, all others 0.40" in said
    alone = SHOW["figure_09"](view, CATALOGUE[:1], votes.empty("1_and_2"), FOREST, ranking[:1], umap[:1])
    assert "all others unknown." in alone.caption


def test_a_share_that_nobody_knows_is_called_unknown(world):
    layout = Layout(world.root)
    subset = read_table(layout.table("tiny", "evaluation_subset"))
    umap, summary = (
        pa.concat_tables(read_table(p) for p in sorted((world.root / "lake/tiny" / name).rglob("*.parquet")))
        for name in ("umap", "cluster_summary")
    )
    at_column = summary.column_names.index("accuracy_overall")
    unknown = summary.set_column(at_column, "accuracy_overall", pa.array([np.nan] * summary.num_rows))
    caption = SHOW["figure_15"](View(at(world.survey, world.root), None), subset, umap, unknown).caption
    assert "random unknown, imagenet unknown" in caption and "nan" not in caption


def test_clusters_of_artefacts_say_what_they_are_taken_for_that_by(world):
    layout, init = Layout(world.root), world.survey.main_start_weights
    view = View(
        at(world.survey, world.root),
        pa.concat_tables(read_table(layout.table("tiny", "cutouts", batch)) for batch in ("first", "second")),
    )
    labels, umap = (
        pa.concat_tables(read_table(layout.table("tiny", name, batch, init)) for batch in ("first", "second"))
        for name in ("cluster_labels", "umap")
    )
    spread = pa.array(np.arange(labels.num_rows) % 4, pa.int32())
    labels = labels.set_column(labels.column_names.index("cluster"), "cluster", spread)
    summary = read_table(layout.table("tiny", "cluster_summary", init))
    rows = [row | {"artefact": True, "n": 18} for row in summary.to_pylist()]
    said = [
        ("60% suspects", "rule"),
        ("smooth-or-featured artifact mean 0.61 of 40", "rule"),
        ("the rule says: Artefacts; 70% suspects", "person"),
        ("the rule says: A large mix of morphologies; spirals 40%", "person"),
    ]
    rows = [row | {"evidence": e, "described_by": by} for row, (e, by) in zip(rows, said, strict=True)]
    caption = SHOW["figure_06"](view, umap, labels, pa.Table.from_pylist(rows, schema=summary.schema)).caption
    assert caption.startswith("4 of 4 clusters that are taken for artefacts that the removal left in: ")
    for k, why in enumerate(
        ["60% suspects", "smooth-or-featured artifact mean 0.61 of 40", "70% suspects", "by a person"]
    ):
        assert f"{k} ({why})" in caption
    empty = pa.Table.from_pylist([row | {"n": 0} for row in rows], schema=summary.schema)
    with pytest.raises(NotApplicable, match="no cluster is taken for artefacts"):
        SHOW["figure_06"](view, umap, labels, empty)


def test_an_image_that_is_kept_was_removed_by_nothing(world):
    layout = Layout(world.root)
    cutouts, clean = (
        pa.concat_tables(read_table(layout.table("tiny", name, batch)) for batch in ("first", "second"))
        for name in ("cutouts", "clean_galaxies")
    )
    places = pa.concat_tables(read_table(layout.table("tiny", "artefact_map", batch)) for batch in ("first", "second"))
    regions = read_table(layout.table("tiny", "artefact_regions"))
    at_column = clean.column_names.index("rule")
    clean = clean.set_column(at_column, "rule", pa.array(["would be removed"] * clean.num_rows))
    table = SHOW["figure_01"](View(at(world.survey, world.root), cutouts), places, regions, clean).table.to_pylist()
    assert any(row["kept"] for row in table)
    assert all((row["rule"] is None) == row["kept"] for row in table)


def test_classes_of_fewer_galaxies_are_shown_with_all_they_have(world):
    subset = pa.table({"galaxy_id": ["first_00"], "evaluation_class": ["round"]})
    cutouts = pa.concat_tables(read_table(p) for p in sorted((world.root / "lake/tiny/cutouts").glob("*.parquet")))
    view = View(at(world.survey, world.root), cutouts)
    assert SHOW["figure_02"](view, subset).caption.startswith("Up to nine galaxies of each class")
    assert "up to 4 at random of each of round" in SHOW["figure_13"](view, subset).caption


def test_comparison_of_starts_holds_only_evaluated_galaxies_and_the_clusters_accuracy(world):
    layout = Layout(world.root)
    table = read_table(layout.table("tiny", "figure_15"))
    subset = read_table(layout.table("tiny", "evaluation_subset"))
    assert pc.unique(table["init"]).to_pylist() == ["random", "imagenet"], "in the survey's order; one start failed"
    for init in ("random", "imagenet"):
        own = table.filter(pc.equal(table["init"], init))
        assert sorted(own["galaxy_id"].to_pylist()) == sorted(subset["galaxy_id"].to_pylist())
        summary = read_table(layout.table("tiny", "cluster_summary", init))
        assert set(own["cluster_accuracy"].to_pylist()) == {summary["accuracy_overall"][0].as_py()}
    assert "Not there: demo optical." in notes(world)["figure_15"]["caption"]


def test_first_query_stands_in_the_middle_of_its_neighbours(world):
    table = read_table(Layout(world.root).table("tiny", "figure_11")).to_pylist()
    assert len(table) == TINY["similarity"]["neighbours"] + 1
    (query,) = (row for row in table if row["rank"] == 0)
    assert query["galaxy_id"] == query["query_id"] and query["position"] == 2
    assert [row["rank"] for row in table if row["rank"]] == [1, 2, 3]


def test_the_page_links_pictures_that_exist_and_tells_the_reasons(world, tmp_path, monkeypatch):
    import re
    from urllib.parse import unquote

    path = write_figures_page([world.survey], Layout(world.root))
    html = path.read_text()
    links = [unquote(link) for link in re.findall(r'(?:src|href)="(\.\.[^"]+)"', html)]
    assert len(links) >= 3 * len(DRAWN)
    assert all((path.parent / link).resolve().is_file() for link in links)
    assert "Not applicable: the survey has no volunteers" in html and "Neurons in projection layer" in html
    assert "<td>D1</td>" in html
    monkeypatch.setenv("GALAXY_ASSETS_DATA", str(tmp_path))
    empty = CliRunner().invoke(app, ["figures"])
    assert empty.exit_code == 1 and "`galaxy-assets demo`" in empty.output


def test_a_galaxy_that_is_no_longer_delivered_is_grey_and_the_caption_says_so(world, tmp_path):
    root = shutil.copytree(world.root, tmp_path / "data")
    (asset,) = (one for one in ASSETS if one.function.__name__ == "figure_10")
    events = read_table(Layout(root).table("tiny", "oracle_events"))
    cutouts = pa.concat_tables(read_table(p) for p in sorted((root / "lake/tiny/cutouts").glob("*.parquet")))
    whole = asset.function(at(world.survey, root), cutouts=cutouts, oracle_events=events)
    assert "no longer delivered" not in whole.metadata
    left = cutouts.filter(pc.equal(cutouts["batch"], cutouts["batch"][-1]))  # row i of it is row i of the pixels
    gone = {*whole.table["galaxy_id"].to_pylist()} - {*left["galaxy_id"].to_pylist()}
    made = asset.function(at(world.survey, root), cutouts=left, oracle_events=events)
    assert made.table.equals(whole.table) and made.metadata["no longer delivered"] == len(gone) > 1
    assert made.metadata["caption"].value.endswith(f"Grey: {len(gone)} galaxies that are no longer delivered.")
