"""The evaluation subset: how a large class is sampled."""

import logging

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from galaxy_assets.orchestration.assets import evaluation
from galaxy_assets.orchestration.assets.evaluation import balanced, class_sizes, largest_sample
from galaxy_assets.orchestration.declaration import SurveyContext
from galaxy_assets.orchestration.graph import ASSETS
from galaxy_assets.science import votes
from galaxy_assets.science.encoders import embedding
from galaxy_assets.science.encoders.embedding import embed
from galaxy_assets.science.encoders.weights import build_encoder
from galaxy_assets.settings.evaluation import Cut, Evaluation, EvaluationClass
from galaxy_assets.storage.layout import Layout
from galaxy_assets.storage.tables import read_table

SPIRALS, RINGS = 400, 7


def subset() -> pa.Table:
    classes = ["spiral"] * SPIRALS + ["ring"] * RINGS
    return pa.table({"galaxy_id": [f"g{i:03d}" for i in range(len(classes))], "evaluation_class": classes})


def test_a_large_class_is_sampled_at_random_and_the_same_each_time():
    table = subset()
    sample, again, other = balanced(table, 50, 0), balanced(table, 50, 0), balanced(table, 50, 1)
    assert sample.equals(again) and not sample.equals(other)
    ids, classes = sample["galaxy_id"].to_pylist(), sample["evaluation_class"].to_pylist()
    assert ids == sorted(ids) and (classes.count("spiral"), classes.count("ring")) == (50, RINGS)
    # of 400 in the order of delivery, 50 at random come from all four hundreds
    assert {int(galaxy[1:]) // 100 for galaxy in ids[:50]} == {0, 1, 2, 3}
    assert balanced(table, None, 0).equals(table) and balanced(table, SPIRALS, 0).equals(table)


@given(st.lists(st.integers(0, 500), max_size=8), st.integers(100, 900))
def test_of_too_many_the_largest_classes_are_sampled_and_as_few_as_need_be(sizes, most):
    sample = largest_sample(sizes, most)
    assert (sample is None) == (sum(sizes) <= most)
    if sample is not None:
        assert sum(min(n, sample) for n in sizes) <= most < sum(min(n, sample + 1) for n in sizes)


def test_the_subset_holds_no_more_than_may_be_judged_and_rare_classes_whole(world):
    layout = Layout(world.root)
    fewer = world.survey.evaluation.model_copy(update={"judged_at_most": 50})
    few = world.survey.model_copy(update={"evaluation": fewer})
    tables = {name: layout.lake / "tiny" / name for name in ("catalogue", "cutouts", "clean_galaxies")}
    read = {k: pa.concat_tables(read_table(p) for p in sorted(v.glob("[!.]*.parquet"))) for k, v in tables.items()}
    read["volunteer_votes"] = read_table(layout.table("tiny", "volunteer_votes"))
    before, after = (
        ASSETS["evaluation_subset"].function(SurveyContext(survey, {}, layout, "", "", None), **read).table
        for survey in (world.survey, few)
    )
    sizes, left = (class_sizes(table, world.survey.evaluation) for table in (before, after))
    assert sum(sizes.values()) > 50 == sum(left.values()) and min(sizes.values()) == min(left.values()) > 0
    assert set(after["galaxy_id"].to_pylist()) < set(before["galaxy_id"].to_pylist())


def test_sizes_name_every_class_also_those_without_galaxies():
    wanted = Evaluation(classes=tuple(EvaluationClass(name=n, labels=(n,)) for n in ("ring", "spiral", "merger")))
    assert class_sizes(subset(), wanted) == {"ring": RINGS, "spiral": SPIRALS, "merger": 0}


def test_a_network_is_embedded_once_for_all_start_weights_and_anew_for_other_images(world, monkeypatch):
    layout, asked = Layout(world.root), []
    context = SurveyContext(world.survey, {}, layout, "", "", None)
    cutouts = pa.concat_tables(read_table(p) for p in sorted((world.root / "lake/tiny/cutouts").glob("*.parquet")))
    monkeypatch.setattr(evaluation, "_JUDGED", {})
    monkeypatch.setattr(embedding, "embed", lambda *given, **named: asked.append(given) or embed(*given, **named))
    backbone, weights = world.survey.recipe.backbone, layout.weights
    one, other = (build_encoder(backbone, "random", seed=seed, weights=weights) for seed in (0, 1))
    rows = np.flatnonzero(cutouts["outcome"].to_numpy(zero_copy_only=False) == "ok")[:8]
    rows = rows if len(rows) else np.arange(8)

    def features(encoder, rows) -> np.ndarray:
        return evaluation._Judge(context, cutouts, rows, np.array(["a"] * len(rows))).features(encoder)

    first = features(one, rows)
    np.testing.assert_array_equal(features(build_encoder(backbone, "random", seed=0, weights=weights), rows), first)
    assert len(asked) == 1
    assert not np.array_equal(features(other, rows), first) and len(asked) == 2
    np.testing.assert_array_equal(features(one, rows[::-1].copy()), first[::-1])
    assert len(asked) == 3
    for seed in range(2, 20):
        features(build_encoder(backbone, "random", seed=seed, weights=weights), rows[:2])
    assert len(evaluation._JUDGED) == evaluation._REMEMBERED


def test_a_class_of_a_few_is_left_out_and_the_others_are_judged(world, caplog):
    layout = Layout(world.root)
    context = SurveyContext(world.survey, {}, layout, "", "imagenet", None)
    cutouts = pa.concat_tables(read_table(p) for p in sorted((world.root / "lake/tiny/cutouts").glob("*.parquet")))
    whole = read_table(layout.table("tiny", "evaluation_subset"))
    labels = whole["evaluation_class"].to_pylist()
    kinds = sorted(set(labels))
    assert min(labels.count(kind) for kind in kinds) >= 10 and len(kinds) >= 2
    few = pa.table({"galaxy_id": whole["galaxy_id"], "evaluation_class": ["rare"] * 2 + labels[2:]})
    made = evaluation.epoch_accuracy.function(
        context,
        cutouts=cutouts,
        evaluation_subset=few,
        byol_checkpoints=read_table(layout.table("tiny", "byol_checkpoints", "imagenet")),
    )
    assert made.table.num_rows and made.metadata["galaxies"] == len(labels) - 2
    assert "not judged: rare" in caplog.text


def test_of_images_that_are_equal_the_first_alone_is_judged():
    catalogue = pa.table({"galaxy_id": ["a", "b", "c", "d", "e"], "sha256": ["1", "2", "1", None, "1"]})
    assert evaluation._copies(catalogue).to_pylist() == ["c", "e"]
    assert evaluation._copies(catalogue.select(["galaxy_id"])).to_pylist() == []


def test_a_copy_takes_the_place_of_one_that_has_no_label_or_was_removed(world):
    layout = Layout(world.root)
    tables = {
        name: pa.concat_tables(read_table(p) for p in sorted((world.root / f"lake/tiny/{name}").glob("*.parquet")))
        for name in ("catalogue", "cutouts", "clean_galaxies")
    }
    said = read_table(layout.table("tiny", "volunteer_votes"))
    classes = [c.labels[0] for c in world.survey.evaluation.classes]
    rows = tables["catalogue"].to_pylist()
    kept = set(tables["clean_galaxies"].filter(tables["clean_galaxies"]["kept"])["galaxy_id"].to_pylist())
    labelled = [row for row in rows if row["label"] in classes and row["galaxy_id"] in kept]
    unlabelled = next(row for row in rows if row["label"] not in classes and row["galaxy_id"] in kept)
    removed, one, copy = labelled[0]["galaxy_id"], labelled[1]["galaxy_id"], labelled[2]["galaxy_id"]
    for row in rows:  # of four equal images the first is not labelled and the second removed
        if row["galaxy_id"] in (unlabelled["galaxy_id"], removed, one, copy):
            row["sha256"] = "same"
    rows.sort(key=lambda row: row["galaxy_id"] != unlabelled["galaxy_id"])
    tables["catalogue"] = pa.Table.from_pylist(rows, schema=tables["catalogue"].schema)
    clean = [
        row | {"kept": row["kept"] and row["galaxy_id"] != removed} for row in tables["clean_galaxies"].to_pylist()
    ]
    tables["clean_galaxies"] = pa.Table.from_pylist(clean, schema=tables["clean_galaxies"].schema)
    context = SurveyContext(world.survey, {}, layout, "", "", logging.getLogger(__name__))
    found = ASSETS["evaluation_subset"].function(context, volunteer_votes=said, **tables).table["galaxy_id"].to_pylist()
    assert one in found and not {unlabelled["galaxy_id"], removed, copy} & set(found)


@pytest.mark.parametrize("reject", [False, True])
def test_labels_and_votes_can_be_asked_together(world, reject):
    cut = Cut(question="merging", answer="merger", below=0.5)
    classes = EvaluationClass(name="ring", labels=("ring",)), EvaluationClass(name="calm", cuts=(cut,))
    wanted = Evaluation(classes=classes[:1], reject=(cut,)) if reject else Evaluation(classes=classes)
    catalogue = pa.table({"galaxy_id": ["a"], "label": ["ring"]})
    table = evaluation._described(catalogue, votes.empty("5"), wanted)
    assert votes.evaluation_class(table, wanted)["evaluation_class"].to_pylist() == ([] if reject else ["ring"])
