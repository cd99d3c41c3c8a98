"""Models of more galaxies than a survey fits on: they are those of a sample, whatever the order of deliveries."""

import logging

import numpy as np
import pyarrow as pa
import pytest

from galaxy_assets.orchestration.assets import artefacts, recall, structure
from galaxy_assets.orchestration.declaration import SurveyContext
from galaxy_assets.science import mixture, pca, projection, votes
from galaxy_assets.settings.survey import Survey
from galaxy_assets.storage.in_turn import TablesInTurn
from galaxy_assets.storage.layout import Layout
from galaxy_assets.storage.provenance import origin
from galaxy_assets.storage.tables import column_to_vectors, digest, read_table, vectors_to_column, write_table
from galaxy_assets_tests.conftest import TINY

N = 1500


def context(tmp_path, **fitted) -> SurveyContext:
    own = {"mixture": {"components": 3, "n_init": 2}, "umap": {"n_neighbors": 5}, "anomaly": {"labels": []}}
    survey = Survey.model_validate(TINY | {name: own[name] | fitted.get(name, {}) for name in own})
    return SurveyContext(survey, {}, Layout(tmp_path), "", "imagenet", logging.getLogger("test"))


@pytest.fixture(scope="module")
def embedded(tmp_path_factory):
    """Three clusters in two deliveries, and the components of their features."""
    root, rng = tmp_path_factory.mktemp("embedded"), np.random.default_rng(0)
    features = np.eye(3, 8)[np.arange(N) % 3] * 9 + rng.normal(size=(N, 8))
    ids = pa.array([f"J{i:04d}" for i in range(N)])
    table = pa.table({"galaxy_id": ids, "vector": vectors_to_column(features)})
    table = table.add_column(1, "batch", pa.array(["a"] * 700 + ["b"] * (N - 700)))
    table = table.add_column(2, "init", pa.array(["imagenet"] * N))
    paths = (root / "a.parquet", root / "b.parquet")
    for path, part in zip(paths, (table[:700], table[700:]), strict=True):
        write_table(part, path)
    return paths, pca.model_to_table(pca.fit(features.astype(np.float32), 0.95), "imagenet"), table


def test_a_mixture_of_a_sample_says_how_many_it_was_fitted_to_and_labels_as_the_whole(embedded, tmp_path):
    paths, components, table = embedded
    sample, whole = context(tmp_path, mixture={"fitted_on": 1000}), context(tmp_path)
    turned = structure.cluster_model.function(sample, TablesInTurn(paths[::-1], {}), components).table
    part = structure.cluster_model.function(sample, TablesInTurn(paths, {}), components).table
    every = structure.cluster_model.function(whole, TablesInTurn(paths, {}), components).table
    assert part["fitted_on"].to_pylist() == [1000] * 3 and "fitted_on" not in every.column_names
    assert [mixture.table_to_model(of).fitted_on for of in (part, every)] == [1000, N]
    # products of matrices over other numbers of rows differ in their last bits
    np.testing.assert_allclose(part["lower_bound"].to_numpy(), turned["lower_bound"].to_numpy(), rtol=1e-5)
    features = pca.table_to_model(components).transform(column_to_vectors(table["vector"]))
    labels = [mixture.table_to_model(of).probabilities(features).argmax(axis=1) for of in (part, every)]
    assert len(set(zip(*(label.tolist() for label in labels), strict=True))) == 3, (
        "each cluster of one is one of the other"
    )


def test_a_delivery_is_judged_by_what_was_left_out_when_the_components_were_fitted(world):
    layout, init = Layout(world.root), world.survey.main_start_weights
    embedded = [read_table(layout.table("tiny", "embeddings", batch, init)) for batch in ("first", "second")]
    features = np.vstack([column_to_vectors(table["vector"]) for table in embedded])
    (left_out,) = pca.left_out([features], len(features), world.survey.variance).values()
    assert origin(layout.table("tiny", "pca_model", init)).measured == {pca.LEFT_OUT: left_out}
    k = len(pca.table_to_model(read_table(layout.table("tiny", "pca_model", init))).components)
    drift = read_table(layout.table("tiny", "batch_drift", "second")).to_pylist()
    (limit,) = [row["limit"] for row in drift if row["name"] == "residual"]
    assert limit == 1.5 * max(left_out, (len(features) + k) / (len(features) - k - 1))


def test_the_map_of_a_sample_has_its_galaxies_alone(embedded, tmp_path, monkeypatch):
    paths, components, table = embedded
    monkeypatch.setattr(projection, "umap_xy", lambda features, _: features[:, :2].copy())
    sample, tables = context(tmp_path, umap={"fitted_on": 1000}), TablesInTurn(paths, {})
    made = structure.umap_model.function(sample, tables, components).table
    drawn = sorted(table["galaxy_id"].take(pa.array(tables.drawn(1000, 0))).to_pylist())
    assert made["galaxy_id"].to_pylist() == drawn
    own = table.filter(pa.array(np.isin(table["galaxy_id"].to_pylist(), drawn)))
    xy = pca.table_to_model(components).transform(column_to_vectors(own["vector"]))[:, :2]
    np.testing.assert_allclose(np.column_stack([made["x"], made["y"]]), xy, rtol=1e-4, atol=1e-4)
    evidence = pa.table({"galaxy_id": table["galaxy_id"][::-1], "suspect": np.arange(N)[::-1]})
    evidence = evidence.append_column("reason", pa.nulls(N, pa.string()))
    for name in artefacts.LEAST:
        evidence = evidence.append_column(name, pa.array(np.arange(N, dtype=float)[::-1]))
    made = artefacts.artefact_umap_model.function(sample, tables, evidence).table
    assert made["galaxy_id"].to_pylist() == drawn
    assert made["suspect"].to_pylist() == [int(galaxy[1:]) for galaxy in drawn], "each has its own evidence"
    everybody = artefacts.artefact_umap_model.function(context(tmp_path), tables, evidence).table
    assert everybody.num_rows == N


def test_outliers_among_a_sample_are_compared_with_it(embedded, tmp_path):
    paths, _, table = embedded
    vectors = column_to_vectors(table["vector"]).copy()
    vectors[7] = 50
    features = table.set_column(3, "vector", vectors_to_column(vectors))
    catalogue = pa.table({"galaxy_id": table["galaxy_id"], "label": pa.nulls(N, pa.string())})
    asked = context(tmp_path, anomaly={"fitted_on": 1000, "outliers_among": 1200}), context(tmp_path)
    part, every = (recall.baseline_rankings.function(at, catalogue, votes.empty("5"), features).table for at in asked)
    for name in ("isolation_forest", "local_outlier_factor"):
        assert digest(part.select([name])) != digest(every.select([name])), "a sample is another model"
        assert part[name].to_numpy().argmax() == every[name].to_numpy().argmax() == 7
    assert read_table(paths[0]).num_rows == 700
