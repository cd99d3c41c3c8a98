"""Numbers read off tables small enough to count by hand, and the verdict on each."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from galaxy_assets.science.checklist import IDS, Check, checklist
from galaxy_assets.science.results import (
    AGREES,
    DIFFERS,
    NOT_APPLICABLE,
    NOT_OBSERVED,
    SCHEMA,
    VERDICTS,
    Observed,
    compare,
    first_majority,
    order_agreement,
    results,
    setting,
)
from galaxy_assets.settings.discovery import Anomaly
from galaxy_assets.settings.files import SHIPPED, read_survey, survey_files
from galaxy_assets.settings.survey import Survey

SURVEYS = survey_files(Path("/nonexistent")).known
GZ = SURVEYS["gz_decals"]


@pytest.fixture
def offline(tmp_path) -> Survey:
    """MiraBest as it runs without a download: another network, another framing."""
    path = tmp_path / "mirabest.yaml"
    path.write_text((SHIPPED.parent / "offline" / "mirabest.yaml").read_text())
    return read_survey(path)


def check(**changes: Any) -> Check:
    whole = {"id": "D9", "section": "2", "surveys": ["gz_decals"], "description": "d", "expected": 10, "asset": "umap"}
    return Check.model_validate(whole | changes)


def within(tolerance: float) -> dict[str, Any]:
    return {"tolerance": tolerance, "reason": "seeds" if tolerance else ""}


@pytest.mark.parametrize(
    ("value", "changes", "verdict"),
    [
        (10, {}, AGREES),
        (11, {}, DIFFERS),
        (12, within(2), AGREES),
        (8, within(2), AGREES),
        (12.5, within(2), DIFFERS),
        (np.inf, within(2), DIFFERS),
        (np.nan, within(2), NOT_OBSERVED),
        (None, within(2), NOT_OBSERVED),
        (10, {"surveys": ["mirabest"]}, NOT_APPLICABLE),
        (None, {"surveys": ["mirabest"]}, NOT_APPLICABLE),
        (10, {"decided_by": "machine"}, NOT_APPLICABLE),
        (11, {"decided_by": "network"}, DIFFERS),
    ],
)
def test_each_verdict(value, changes, verdict):
    row = compare(check(**changes), None if value is None else Observed("D9", value), GZ)
    assert row["verdict"] == verdict
    assert row["expected"] == 10
    assert row["observed"] == (None if value is None or np.isnan(value) else value)


@given(st.floats(-1e6, 1e6), st.floats(allow_nan=False), st.floats(0, 1e6))
def test_a_number_agrees_if_and_only_if_it_is_within_the_tolerance(expected, observed, tolerance):
    row = compare(check(expected=expected, **within(tolerance)), Observed("D9", observed), GZ)
    assert row["verdict"] == (AGREES if abs(observed - expected) <= tolerance else DIFFERS)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({}, "umap has no value for it; materialise gz_decals/umap"),
        ({"start": "random"}, "materialise gz_decals/umap, partition random"),
        ({"start": "rgz"}, "rgz is not among the survey's start weights; add it"),
        ({"asset": None, "setting": "umap.seed"}, "the survey does not set umap.seed"),
    ],
)
def test_a_missing_number_says_what_brings_it(changes, says):
    assert says in compare(check(**changes), None, GZ)["note"]


def test_another_networks_number_is_shown_and_not_compared(offline):
    assert (offline.name, offline.recipe.backbone) == ("mirabest", "tf_efficientnet_lite0")
    of_network = check(surveys=["mirabest"], decided_by="network")
    row = compare(of_network, Observed("D9", 3), offline)
    assert (row["verdict"], row["observed"], row["expected"]) == (NOT_APPLICABLE, 3, 10)
    assert "tf_efficientnet_lite0 here, resnet18 in the paper" in row["note"]
    assert compare(of_network, Observed("D9", 3), SURVEYS["mirabest"])["verdict"] == DIFFERS


def test_the_note_holds_reason_observation_paper_and_tolerance():
    row = compare(check(note="the text says 11", **within(1)), Observed("D9", 10, note="epoch 3"), GZ)
    assert row["note"] == "epoch 3; the text says 11; tolerance: seeds"


@pytest.mark.parametrize(
    ("path", "values"),
    [
        ("cutout.sigma", [4.0]),
        ("variance", [0.95]),
        ("anomaly.answers", [("merger", "both")]),
        ("evaluation.classes.cuts.above", [0.8]),
        ("evaluation.reject.below", [0.2]),
        ("evaluation.reject.above", []),
    ],
)
def test_a_setting_is_found_by_its_path_through_lists(path, values):
    assert setting(GZ, path) == values


@pytest.mark.parametrize(
    ("accuracy", "agreement"),
    [
        ({"rgz": 0.9, "imagenet": 0.8, "gz_decals": 0.7, "random": 0.6}, 1),
        ({"rgz": 0.6, "imagenet": 0.7, "gz_decals": 0.8, "random": 0.9}, 0),
        ({"imagenet": 0.7, "gz_decals": 0.8, "random": 0.6}, 2 / 3),
        ({"imagenet": 0.8, "sdss_gz1": 0.9, "random": 0.6}, 1),
        ({"imagenet": 0.8, "random": 0.8}, 0),
    ],
)
def test_start_weights_are_in_the_papers_order_pair_by_pair(accuracy, agreement):
    assert order_agreement(accuracy) == pytest.approx(agreement)


def test_one_start_has_no_order():
    assert np.isnan(order_agreement({"imagenet": 0.8, "sdss_gz1": 0.9}))


@pytest.mark.parametrize(
    ("scores", "query"),
    [
        ([[0, 0], [0, 2], [2, 5], [0, 0]], 3),  # one of two is no majority, and a score of 2 is a vote fraction of 0.4
        ([[3, 0, 4], [0, 0, 0]], 1),
        ([[0, 1], [1, 1]], np.inf),
    ],
)
def test_mergers_dominate_from_the_first_query_with_a_majority(scores, query):
    rows = [(number, score) for number, given_scores in enumerate(scores) for score in given_scores]
    assert first_majority(pd.DataFrame(rows, columns=["round", "score"]), Anomaly(truth_threshold=0.4)) == query


def rows(columns: str, *values: tuple) -> pa.Table:
    return pa.Table.from_pylist([dict(zip(columns.split(), row, strict=True)) for row in values])


@pytest.fixture
def tables() -> dict[str, pa.Table]:
    """Ten galaxies of two classes, one of them lost to artefacts, two starts, three clusters."""
    ids = [f"g{i}" for i in range(10)]
    classes = ["round_elliptical"] * 4 + ["spiral"] * 4
    cluster = {"random": [0, 1, 0, 1, 0, 1, 0, 1, 2], "imagenet": [0, 0, 0, 1, 1, 1, 1, 1, 2]}
    overall = {"random": 0.5, "imagenet": 7 / 8}
    accuracy = {("random", 0): 0.5, ("random", 1): 0.6, ("imagenet", 0): 0.7, ("imagenet", 1): 0.9}
    vector = pa.FixedSizeListArray.from_arrays(pa.array([0.0] * 7 * 4, pa.float32()), 4)
    return {
        "catalogue": rows("galaxy_id label problem", *((g, None, None) for g in ids)),
        "volunteer_votes": rows("galaxy_id", *((g,) for g in [*ids[5:], "elsewhere"])),
        "cutouts": rows("outcome", *[("cropped",)] * 7, ("fallback_edge",), ("fallback_no_contour",), ("blank",)),
        "clean_galaxies": rows("galaxy_id kept", *((g, g != "g9") for g in ids)),
        "evaluation_subset": rows("galaxy_id evaluation_class", *zip(ids[:8], classes, strict=True)),
        "byol_checkpoints": rows(
            "init epoch images_per_second seconds chosen reason",
            *(
                (s, e, None if not e else 50.0 + e, None if not e else 60.0, e == 2, "last")
                for s in overall
                for e in (0, 1, 2)
            ),
        ),
        "epoch_accuracy": rows(
            "init epoch features split accuracy chosen",
            *((s, e, "byol", i, a + d, e == 1) for (s, e), a in accuracy.items() for i, d in enumerate([-0.01, 0.01])),
            ("random", 0, "pixels", 0, 0.4, False),
            ("imagenet", 0, "pixels", 0, 0.4, False),
        ),
        # a mean, then three components of the random start and two of ImageNet's
        "pca_model": pa.table({"init": ["random"] * 4 + ["imagenet"] * 3, "vector": vector}),
        "cluster_labels": rows(
            "init galaxy_id cluster", *((s, g, k) for s in cluster for g, k in zip(ids, cluster[s], strict=False))
        ),
        "cluster_summary": rows(
            "init cluster n artefact description accuracy_overall",
            *((s, k, cluster[s].count(k), k == 2, f"cluster {k}", overall[s]) for s in cluster for k in (0, 1, 2)),
        ),
        "class_membership": rows(
            "init evaluation_class cluster n share labelled_as",
            ("random", "round_elliptical", 0, 2, 0.5, "round_elliptical"),
            ("random", "round_elliptical", 1, 2, 0.5, "spiral"),
            ("random", "spiral", 0, 2, 0.5, "round_elliptical"),
            ("random", "spiral", 1, 2, 0.5, "spiral"),
            ("imagenet", "round_elliptical", 0, 3, 0.75, "round_elliptical"),
            ("imagenet", "round_elliptical", 1, 1, 0.25, "spiral"),
            ("imagenet", "spiral", 1, 4, 1.0, "spiral"),
        ),
        "oracle_events": rows("round score", (0, 0), (0, 5), (1, 5), (1, 5)),
        "anomaly_recall": pa.table(
            {
                "found": np.minimum(np.arange(1, 201), 20),
                "random": np.arange(1, 201) / 10,
                "isolation_forest": np.arange(1, 201) // 10,
                "found_unshown": pa.array([*np.minimum(np.arange(1, 151), 17), *[None] * 50], pa.int64()),
            }
        ),
    }


def of(survey: Survey, tables: dict[str, pa.Table]) -> dict[str, dict]:
    table = results(survey, tables)
    assert table.schema == SCHEMA
    found = {row["check_id"]: row for row in table.to_pylist()}
    assert len(found) == table.num_rows, "no id twice"
    return found


def test_every_number_is_read_off_as_counted_by_hand(tables):
    found = of(GZ, tables)
    by_hand = {
        "D1": 10,  # not the one whose file is missing
        "D2": 5,  # g5 to g9
        "D2:clean": 4,  # without g9
        "D3": 9,
        "D3:share": 0.1,
        "P2:fallback": 0.2,
        "P1": 4,
        "P1:threshold": 1,
        "P3:features": 4,
        "P4:neighbours": 15,
        "B3": 0.99,
        "B4": 51.5,
        "B5:random": 3,
        "B5:imagenet": 2,
        "B5:random:epoch": 2,
        "E1:votes": 5,
        "E1:merger": 0.2,
        "E2": 4,
        "E3": 4,
        "E4": 0,
        "E6": 0.2,
        "E6:peak": 1,
        "E7:imagenet": 0.9,
        "E7:imagenet:start": 0.7,
        "E7:pixels": 0.4,
        "C2:imagenet": 3,
        "C3:imagenet": 1,
        "C3:imagenet:galaxies": 1,  # g8; g9 was removed before
        "C4:votes": 10,
        "C4:parent": 0.5,
        "C5:imagenet": 3 / 4,
        "C6:imagenet": 1,
        "C5:random": 1 / 2,
        "C8:imagenet": 7 / 8,
        "A1": 1,
        "A3": 20,
        "A3:share": 0.1,
        "A5": 4,
        "A5:share": 0.02,
        "A6": 2,
        "A7:100": 20,
        "A7:100:random": 10,
        "A7:200:isolation_forest": 20,
        "A8:100": 17,
        "S1": 8,
        "M1": 10,
        "M1:confident": 8,
        "M2:minutes": 2,
        "M3:starts": 2,
        "M3:order": 1,
        "M4:random": 3,
        "M6:imagenet": 7 / 8 - 0.9,
        "M6:random": 0.5 - 0.6,
        "T1": 6,  # all but the projection
        "T2": 3,
    }
    assert {i: found[i]["observed"] for i in by_hand} == pytest.approx(by_hand)
    assert "A8:200" not in found and "A7:100:published" not in found
    assert found["M3:order"]["note"].startswith("the paper's number is for mirabest; here: imagenet (0.900) > random")


def test_the_verdicts_of_those_numbers(tables):
    found = of(GZ, tables)
    verdicts = {
        "P1": AGREES,
        "B1:projection": DIFFERS,
        "D1": DIFFERS,
        "B4": NOT_APPLICABLE,
        "C3:imagenet": DIFFERS,
        "C5:imagenet": AGREES,
        "M4:random": NOT_APPLICABLE,
        "B5:random": NOT_APPLICABLE,
        "A7:100": NOT_APPLICABLE,
        "T1": DIFFERS,
    }
    assert {i: found[i]["verdict"] for i in verdicts} == verdicts
    assert "recipe.projection_size: 256" in found["B1:projection"]["note"]
    assert found["T1"]["note"].startswith("not the paper's: recipe.projection_size;")
    assert found["B5:random"]["note"] == "the paper has no number for it"


def test_shares_of_the_classes_weighted_by_their_counts_are_the_accuracy_over_all(tables):
    found = {i: row["observed"] for i, row in of(GZ, tables).items()}
    for start in ("random", "imagenet"):
        weighted = sum(found[f"{c}:{start}"] * found[n] for c, n in [("C5", "E2"), ("C6", "E3")])
        assert weighted / (found["E2"] + found["E3"]) == pytest.approx(found[f"C8:{start}"])


def test_mirabest_has_its_numbers_under_its_own_ids(tables, offline):
    tables["evaluation_subset"] = rows(
        "galaxy_id evaluation_class", *((f"g{i}", "FRI" if i < 5 else "FRII") for i in range(8))
    )
    found, other = of(SURVEYS["mirabest"], tables), of(offline, tables)
    assert found["M4:random"]["verdict"] == AGREES and found["M4:imagenet"]["verdict"] == DIFFERS
    assert "B5:random" not in found, "the same number once"
    assert "materialise mirabest/pca_model, partition rgz" in found["M4:rgz"]["note"]
    assert found["M4:rgz"]["verdict"] == found["M6:rgz"]["verdict"] == NOT_OBSERVED
    assert "without rgz, gz_decals" in found["M3:starts"]["note"]
    assert (found["M6:imagenet"]["verdict"], found["M6:random"]["verdict"]) == (AGREES, DIFFERS)
    assert (found["E:FRI"]["observed"], found["E:FRII"]["observed"]) == (5, 3)
    assert other["M4:random"]["verdict"] == NOT_APPLICABLE and other["M4:random"]["observed"] == 3
    assert other["M6:imagenet"]["verdict"] == AGREES, (
        "a survey's own clusters against its own k-NN, whatever the network"
    )
    assert other["P3:network"]["verdict"] == other["M2:framing"]["verdict"] == DIFFERS
    assert "cutout.method: flux_radius" in other["M2:framing"]["note"]


def test_without_volunteers_all_members_of_artefact_clusters_are_counted(tables):
    tables["cluster_summary"] = tables["cluster_summary"].set_column(
        3, "artefact", pa.array([k != 2 for k in tables["cluster_summary"]["cluster"].to_pylist()])
    )
    tables["volunteer_votes"] = tables["volunteer_votes"].slice(0, 0)
    assert of(GZ, tables)["C3:imagenet:galaxies"]["observed"] == 8


@pytest.mark.parametrize("name", [*sorted(SURVEYS), "offline"])
def test_the_checklist_is_walked_on_every_survey_with_numbers_and_without(name, tables, request):
    survey = request.getfixturevalue("offline") if name == "offline" else SURVEYS[name]
    for given_tables in (tables, {asset: table.slice(0, 0) for asset, table in tables.items()}):
        found = of(survey, given_tables)
        assert {i.split(":")[0] for i in found} >= set(IDS)
        assert {row["verdict"] for row in found.values()} <= set(VERDICTS)
        for c in checklist():
            row = found.get(c.id)
            if row and survey.name not in c.surveys:
                assert row["verdict"] == NOT_APPLICABLE and " and ".join(c.surveys) in row["note"], c.id
            if row and row["verdict"] in (NOT_APPLICABLE, NOT_OBSERVED):
                assert row["note"], c.id
    missing = {i for i, row in found.items() if row["verdict"] == NOT_OBSERVED}
    expected = {"gz_decals": {"E7:imagenet", "C8:imagenet", "A6", "E6"}, "mirabest": {"M4:rgz", "M6:random"}}
    assert missing >= expected.get(name, set())
    assert bool(missing) == (survey.name in expected)


def test_the_small_world_walks_the_checklist(world):
    from galaxy_assets.lake import connect

    with connect(world.root) as lake:
        found = lake.sql("select check_id, observed, verdict from tiny.results").fetchall()
    assert {check_id.split(":")[0] for check_id, _, _ in found} >= set(IDS)
    assert {verdict for _, _, verdict in found} == {NOT_APPLICABLE}, "the paper has no number for a survey of one's own"
    observed = {check_id: value for check_id, value, _ in found}
    assert (observed["D1"], observed["C1:components"], observed["S1"]) == (73, 4, 3)
    assert observed["M6:imagenet"] == pytest.approx(observed["C8:imagenet"] - observed["E7:imagenet"])
