"""The index of the similarity search against the exact search, on small surveys that count as large."""

import numpy as np
import pyarrow as pa
import pytest

from galaxy_assets.lake.similar import nearest
from galaxy_assets.orchestration.assets.similarity import RECALL, _by_index, _exactly, similar_galaxies
from galaxy_assets.orchestration.checks import CHECKS, Stored
from galaxy_assets.orchestration.declaration import SurveyContext
from galaxy_assets.science import cells
from galaxy_assets.science.neighbours import most_similar_in_turn
from galaxy_assets.settings.survey import Survey
from galaxy_assets.storage import similarity
from galaxy_assets.storage.files import DamagedFile
from galaxy_assets.storage.in_turn import TablesInTurn
from galaxy_assets.storage.layout import Layout
from galaxy_assets.storage.provenance import Origin, with_origin
from galaxy_assets.storage.tables import vectors_to_column, write_table
from galaxy_assets_tests.conftest import TINY

(CHECK,) = (check for check in CHECKS if check.name == "neighbours_found")
N, D = 6_000, 12


def survey(**given) -> Survey:
    return Survey.model_validate(TINY | {"similarity": {"n_queries": 2, "neighbours": 8, "exact_below": 1000} | given})


def galaxies(seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Ids, and features of overlapping clusters with long tails; some galaxies lie on each other."""
    rng = np.random.default_rng(seed)
    centres = 3 * rng.normal(size=(12, D))
    features = centres[rng.integers(12, size=N)] + rng.standard_t(5, (N, D))
    features[100:120] = features[100]
    ids = np.array([f"galäxy {i * 7919 % N}" for i in range(N)], dtype=object)
    return ids, features.astype(np.float32)


def store(layout: Layout, ids: np.ndarray, features: np.ndarray) -> list:
    files = []
    for name, part in (("first", slice(0, 2500)), ("second", slice(2500, N))):
        files.append(layout.table("tiny", "pca_features", name, "imagenet"))
        table = pa.table({"galaxy_id": pa.array(ids[part]), "vector": vectors_to_column(features[part])})
        write_table(table, files[-1])
    return files


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    layout = Layout(tmp_path_factory.mktemp("lake"))
    ids, features = galaxies()
    files = store(layout, ids, features)
    index = similarity.make_index(similarity.index_path(layout, "tiny", "imagenet", files), files, neighbours=8)
    return layout, ids, features, files, index


def test_it_finds_the_exact_neighbours_of_nearly_all_galaxies_and_says_how_many(kept):
    _, ids, features, _, index = kept
    assert 0.99 <= index.recall <= 1 and index.probes < len(index.centres) / 2
    found, asked = 0, np.random.default_rng(9).choice(N, 150, replace=False)
    for row in asked:
        example, own = features[[row]], [ids[row]]
        candidates = index.candidates(example, 9)
        assert len(candidates[0]) < 200
        answer, _, _ = most_similar_in_turn([candidates], example, 8, own)
        exact, _, _ = most_similar_in_turn([(ids, features)], example, 8, own)
        found += len({*answer} & {*exact})
    assert found / (8 * len(asked)) >= 0.99


def test_read_whole_it_is_the_exact_search_to_the_last_bit(kept):
    _, ids, features, _, index = kept
    for rows in ([3], [100], [5, 17, 104], [0, 2999, 5999]):
        for count in (1, 8, 70):
            blocks = [index.candidates(features[rows], count + len(rows), exact=True)]
            answer = most_similar_in_turn(blocks, features[rows], count, ids[rows])
            exact = most_similar_in_turn([(ids, features)], features[rows], count, ids[rows])
            for ours, theirs in zip(answer, exact, strict=True):
                np.testing.assert_array_equal(ours, theirs)


def test_more_answers_than_the_cells_were_fitted_for_are_exact(kept):
    _, ids, features, _, index = kept
    blocks = [index.candidates(features[[7]], 501)]
    answer, _, _ = most_similar_in_turn(blocks, features[[7]], 500, [ids[7]])
    assert answer.tolist() == most_similar_in_turn([(ids, features)], features[[7]], 500, [ids[7]])[0].tolist()


def test_galaxies_are_found_by_name_and_others_are_not(kept):
    _, ids, features, _, index = kept
    found = index.vectors_of([ids[0], "galäxy", "zz", ids[4321], "x" * 100, ""])
    assert list(found) == [ids[0], ids[4321]]
    np.testing.assert_array_equal(np.stack([*found.values()]), features[[0, 4321]])


def test_the_lake_reads_the_index_of_a_large_survey_and_of_no_small_one(kept, monkeypatch):
    layout, ids, features, _, _ = kept
    exact, large = nearest(layout, survey(exact_below=N + 1), "imagenet", ids[:2], 8), survey()
    assert nearest(layout, large, "imagenet", ids[:2], 8, exact=True) == exact
    monkeypatch.setattr("galaxy_assets.lake.similar.feature_blocks", lambda files: pytest.fail("every galaxy is read"))
    found = nearest(layout, large, "imagenet", ids[:2], 8)
    assert len({*found.ids} & {*exact.ids}) >= 7 and set(found.examples) <= {*ids[:2]}
    assert nearest(layout, large, "imagenet", [], 1, [("a file", features[9])]).ids == [ids[9]]


def test_other_features_have_another_index_and_of_the_old_ones_the_last_stays_for_who_reads_it(tmp_path):
    layout = Layout(tmp_path)
    ids, features = galaxies()
    files = store(layout, ids, features)
    old = similarity.index_path(layout, "tiny", "imagenet", files)
    made = similarity.make_index(old, files, neighbours=8)
    written = old.stat()
    again = similarity.make_index(old, files, neighbours=8)
    assert again.recall == made.recall and old.stat().st_ino == written.st_ino
    store(layout, ids, features + 1)
    new = similarity.index_path(layout, "tiny", "imagenet", files)
    assert new != old and similarity.open_index(new) is None
    similarity.make_index(new, files, neighbours=8)
    assert new.exists() and old.exists()
    store(layout, ids, features + 2)
    newest = similarity.index_path(layout, "tiny", "imagenet", files)
    similarity.make_index(newest, files, neighbours=8)
    assert newest.exists() and new.exists() and not old.exists()


def test_equally_near_galaxies_do_not_count_as_missed(tmp_path):
    ids, features = galaxies()
    features[:300] = features[0]
    files = store(Layout(tmp_path), [*np.random.default_rng(5).permutation(ids)], features)
    path = similarity.index_path(Layout(tmp_path), "tiny", "imagenet", files)
    assert similarity.make_index(path, files, neighbours=8).recall > 0.98


def test_a_damaged_index_is_named_and_the_lake_does_without_it(tmp_path, caplog):
    layout = Layout(tmp_path)
    ids, features = galaxies()
    files = store(layout, ids, features)
    path = similarity.index_path(layout, "tiny", "imagenet", files)
    similarity.make_index(path, files, neighbours=8)
    exact = nearest(layout, survey(), "imagenet", ids[:1], 8, exact=True)
    path.write_bytes(path.read_bytes()[:-5])
    with pytest.raises(DamagedFile):
        similarity.open_index(path)
    assert nearest(layout, survey(), "imagenet", ids[:1], 8) == exact
    assert "every galaxy is read instead" in caplog.text
    assert similarity.make_index(path, files, neighbours=8).recall >= 0.99


def test_the_asset_searches_by_the_index_and_keeps_its_recall(kept):
    layout, ids, _, files, index = kept
    context = SurveyContext(survey(), {}, layout, "", "", None)
    asked, tables = ids[[5, 50]].tolist(), TablesInTurn(tuple(files), {})
    found, distances, measured = _by_index(context, tables, asked)
    exact, apart, nothing = _exactly(context, tables, asked)
    assert (found == exact).mean() >= 0.9 and distances.shape == apart.shape == (2, 8)
    assert nothing == {} and measured[RECALL] == index.recall and context.beside == [index.path]
    with pytest.raises(ValueError, match="nobody not among the clean galaxies"):
        _by_index(context, tables, ["nobody"])


@pytest.mark.parametrize("fault", [False, True])
def test_a_search_that_reads_the_wrong_cells_fails_its_check(tmp_path, monkeypatch, fault):
    if fault:  # the cells that are farthest
        monkeypatch.setattr(similarity, "apart", lambda features, centres: -cells.apart(features, centres))
        monkeypatch.setattr(similarity, "cells_to_read", lambda ranks, wanted: 10)
    layout = Layout(tmp_path)
    files = store(layout, *galaxies())
    path = similarity.index_path(layout, "tiny", "imagenet", files)
    recall = similarity.make_index(path, files, neighbours=8).recall
    table = with_origin(pa.table({"query_id": ["a"]}), Origin(measured={RECALL: recall}))
    write_table(table, layout.table("tiny", similar_galaxies.name))
    verdict = CHECK.function(Stored(survey(), layout))
    assert verdict.passed is not fault and f"{recall:.4f}" in verdict.words
    assert (recall < 0.5) is fault


def test_without_an_index_the_check_says_that_every_galaxy_is_read(tmp_path):
    layout = Layout(tmp_path)
    write_table(pa.table({"query_id": ["a"]}), layout.table("tiny", "similar_galaxies"))
    verdict = CHECK.function(Stored(survey(), layout))
    assert verdict.passed and verdict.words == "every galaxy is read"
