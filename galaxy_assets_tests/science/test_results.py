"""Numbers read off tables small enough to count by hand, and the verdict on each."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from galaxy_assets.science.checklist import IDS, Check, checklist, checklist_for
from galaxy_assets.science.observations import Observed, first_majority, order_agreement, true_anomalies
from galaxy_assets.science.results import (
    AGREES,
    DIFFERS,
    NOT_APPLICABLE,
    NOT_COMPARABLE,
    NOT_OBSERVED,
    SCHEMA,
    VERDICTS,
    compare,
    results,
)
from galaxy_assets.settings.files import SHIPPED, read_survey, survey_files
from galaxy_assets.settings.survey import Survey
from galaxy_assets_tests.science.test_checked_settings import changed, leaves

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
        (10, {"decided_by": "machine"}, NOT_COMPARABLE),
        (None, {"decided_by": "machine"}, NOT_OBSERVED),
        (10, {"rests_on": ["recipe", "mixture"]}, AGREES),
        (10, {"start": "sdss_gz1"}, NOT_COMPARABLE),
        (11, {"start": "gz_decals"}, DIFFERS),
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
    ],
)
def test_a_missing_number_says_what_brings_it(changes, says):
    assert says in compare(check(**changes), None, GZ)["note"]


def test_a_number_under_other_settings_is_shown_and_not_compared(offline):
    assert (offline.name, offline.recipe.backbone) == ("mirabest", "tf_efficientnet_lite0")
    of_network = check(surveys=["mirabest"], rests_on=["recipe.backbone", "mixture"])
    row = compare(of_network, Observed("D9", 10), offline)
    assert (row["verdict"], row["observed"], row["expected"]) == (NOT_COMPARABLE, 10, 10)
    assert row["note"] == "under other settings than the paper's: recipe.backbone: tf_efficientnet_lite0"
    assert compare(of_network, Observed("D9", 10), SURVEYS["mirabest"])["verdict"] == AGREES
    assert compare(check(surveys=["mirabest"], rests_on=["mixture"]), Observed("D9", 10), offline)["verdict"] == AGREES
    row = compare(check(surveys=["mirabest"], rests_on=["recipe"]), Observed("D9", 10), offline)
    assert row["note"].endswith(" more"), "three are named"


@pytest.mark.parametrize(
    ("changes", "verdict"),
    [
        ({"rests_on": ["recipe"]}, NOT_COMPARABLE),
        ({"rests_on": ["recipe"], "start": "imagenet"}, NOT_COMPARABLE),
        ({"rests_on": ["recipe"], "start": "random"}, AGREES),
        ({"rests_on": ["recipe.backbone"]}, AGREES),
        ({}, AGREES),
    ],
)
def test_a_network_that_was_trained_otherwise_than_the_settings_say_is_not_the_papers(changes, verdict):
    row = compare(check(**changes), Observed("D9", 10), GZ, {"imagenet": "of an earlier recipe"})
    assert row["verdict"] == verdict
    assert ("imagenet: of an earlier recipe" in row["note"]) == (verdict == NOT_COMPARABLE)


def test_what_is_not_complete_can_differ_and_not_agree():
    row = compare(check(), Observed("D9", 10, lacks="half of it is missing"), GZ)
    assert (row["verdict"], row["observed"], row["note"]) == (NOT_OBSERVED, 10, "half of it is missing")


def test_the_note_holds_reason_observation_paper_and_tolerance():
    row = compare(check(note="the text says 11", **within(1)), Observed("D9", 10, note="epoch 3"), GZ)
    assert row["note"] == "epoch 3; the text says 11; tolerance: seeds"


@pytest.mark.parametrize(
    ("accuracy", "in_order", "pairs"),
    [
        ({"rgz": 0.9, "imagenet": 0.8, "gz_decals": 0.7, "random": 0.6}, 6, 6),
        ({"rgz": 0.6, "imagenet": 0.7, "gz_decals": 0.8, "random": 0.9}, 0, 6),
        ({"imagenet": 0.7, "gz_decals": 0.8, "random": 0.6}, 2, 3),
        ({"imagenet": 0.8, "sdss_gz1": 0.9, "random": 0.6}, 1, 1),
        ({"imagenet": 0.8, "random": 0.8}, 0, 1),
        ({"imagenet": 0.8, "sdss_gz1": 0.9}, 0, 0),
    ],
)
def test_start_weights_are_in_the_papers_order_pair_by_pair(accuracy, in_order, pairs):
    assert order_agreement(accuracy) == (in_order, pairs)


@pytest.mark.parametrize(
    ("accuracy", "verdict", "says"),
    [
        (
            {"rgz": 0.9, "imagenet": 0.8, "gz_decals": 0.7, "random": 0.6},
            AGREES,
            "6 of the 6 pairs that there are, of six",
        ),
        ({"rgz": 0.8, "imagenet": 0.9, "gz_decals": 0.7, "random": 0.6}, DIFFERS, "5 of the 6 pairs"),
        (
            {"imagenet": 0.8, "random": 0.6},
            NOT_OBSERVED,
            "5 of the six pairs are missing; train the other start weights",
        ),
        ({"rgz": 0.9, "gz_decals": 0.7, "random": 0.6}, NOT_OBSERVED, "3 of the six pairs are missing"),
        ({"imagenet": 0.8, "random": 0.9}, DIFFERS, "0 of the 1 pairs that there are, of six"),
        ({"imagenet": 0.8}, NOT_OBSERVED, "materialise mirabest/epoch_accuracy"),
    ],
)
def test_the_order_of_start_weights_needs_all_six_pairs(accuracy, verdict, says):
    table = rows(
        "init epoch features split accuracy chosen", *((s, 0, "byol", 0, a, True) for s, a in accuracy.items())
    )
    row = of(SURVEYS["mirabest"], {"epoch_accuracy": table})["M3:order"]
    assert (row["verdict"], row["expected"]) == (verdict, 6)
    assert says in row["note"]


@pytest.mark.parametrize(
    ("shown", "query"),
    [
        ([[0, 0], [0, 1], [1, 1], [0, 0]], 3),  # one of two is no majority
        ([[1, 0, 1], [0, 0, 0]], 1),
        ([[0, 1], [1, 0]], np.inf),
    ],
)
def test_mergers_dominate_from_the_first_query_with_a_majority(shown, query):
    number, true = zip(*((r, bool(t)) for r, these in enumerate(shown) for t in these), strict=True)
    assert first_majority(np.array(number), np.array(true)) == query


def rows(columns: str, *values: tuple) -> pa.Table:
    return pa.Table.from_pylist([dict(zip(columns.split(), row, strict=True)) for row in values])


@pytest.fixture
def tables() -> dict[str, pa.Table]:
    """Ten galaxies of two classes, one of them lost to artefacts, two starts, three clusters."""
    ids = [f"g{i}" for i in range(10)]
    classes = ["round_elliptical"] * 4 + ["spiral"] * 4
    cluster = {"random": [0, 1, 0, 1, 0, 1, 0, 1, 2], "imagenet": [0, 0, 0, 1, 1, 1, 1, 1, 2]}
    overall = {"random": 0.5, "imagenet": 7 / 8}
    accuracy = {("random", 0): 0.5, ("random", 1): 0.6, ("random", 2): 0.58}
    accuracy |= {("imagenet", 0): 0.7, ("imagenet", 1): 0.9, ("imagenet", 2): 0.85}  # the chosen one is not the best
    vector = pa.FixedSizeListArray.from_arrays(pa.array([0.0] * 7 * 4, pa.float32()), 4)
    return {
        "catalogue": rows("galaxy_id label problem", *((g, None, None) for g in ids)),
        # g5 and g9 are true mergers; of g6 3 in 10 say so, which is a score of 2, and of g7 all of 9
        "volunteer_votes": rows(
            "galaxy_id merging_total-votes merging_merger_fraction merging_both_fraction",
            ("g5", 20, 0.3, 0.1),
            ("g6", 10, 0.3, 0.0),
            ("g7", 9, 1.0, 0.0),
            ("g8", 10, 0.0, 0.0),
            ("g9", 10, 0.0, 0.4),
            ("elsewhere", 10, 1.0, 0.0),
        ),
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
            *((s, e, "byol", i, a + d, e == 2) for (s, e), a in accuracy.items() for i, d in enumerate([-0.01, 0.01])),
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
            *(
                (s, k, cluster[s].count(k), k == 2, words, overall[s])
                for s in cluster
                for k, words in enumerate(
                    ["Mostly ellipticals and some spirals", "Spiral galaxies", "Artefacts", "Mixed"]
                )
            ),
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
        "oracle_events": rows("round galaxy_id", (0, "g6"), (0, "g7"), (1, "g5"), (1, "g9")),
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
        "E7:imagenet": 0.85,  # at the chosen epoch, whatever the best is
        "E7:random": 0.58,
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
        "M6:imagenet": 7 / 8 - 0.85,
        "M6:random": 0.5 - 0.58,
        "T1": 7,
        "T2": 3,  # an elliptical, a spiral and an artefact; the mixed one has no members
    }
    assert {i: found[i]["observed"] for i in by_hand} == pytest.approx(by_hand)
    assert "A8:200" not in found and "A7:100:published" not in found
    said = (
        "the paper's number is for mirabest; 1 of the 1 pairs that there are, of six; here: imagenet (0.850) > random"
    )
    assert found["M3:order"]["note"].startswith(said)
    assert found["A8:100"]["description"].endswith("in the first 100 that nobody scored")


def test_features_side_by_side_are_no_epoch_with_a_peak(tables):
    table = tables["epoch_accuracy"]
    best = [
        1.0 if e == 2 and s == "random" else a
        for s, e, a in zip(*(table[c].to_pylist() for c in ("init", "epoch", "accuracy")), strict=True)
    ]
    table = table.set_column(table.column_names.index("accuracy"), "accuracy", pa.array(best))
    for epochs, peak, note in ((1, 1, "of features side by side"), (2, 0, "epoch 2")):
        survey = GZ.model_copy(update={"recipe": GZ.recipe.model_copy(update={"epochs": epochs})})
        found = of(survey, tables | {"epoch_accuracy": table})
        assert found["E6:peak"]["observed"] == peak and note in found["E7:random"]["note"]


def test_the_verdicts_of_those_numbers(tables):
    found = of(GZ, tables)
    verdicts = {
        "P1": AGREES,
        "B1:projection": AGREES,
        "D1": DIFFERS,
        "B4": NOT_COMPARABLE,
        "C3:imagenet": DIFFERS,
        "C5:imagenet": AGREES,
        "M4:random": NOT_APPLICABLE,
        "B5:random": NOT_APPLICABLE,
        "A7:100": NOT_APPLICABLE,
        "T1": AGREES,
        "T2": DIFFERS,
        "A6": DIFFERS,
    }
    assert {i: found[i]["verdict"] for i in verdicts} == verdicts
    assert "recipe.projection_size: 100" in found["B1:projection"]["note"]
    assert found["B5:random"]["note"] == "the paper has no number for it"


TABLE_2 = {  # the paper's descriptions, as they stand there
    "Predominantly spiral galaxies": 2,
    "Mostly ellipticals and some spirals with prominent bulges": 1,
    "Edge-on disks and some cigar-shaped ellipticals": 2,
    "Predominantly ellipticals but does contain some spirals": 1,
    "A large mix of morphologies, including some apparent mergers and some artefacts": 2,
    "Almost entirely spiral galaxies": 1,
    "Mixed morphology, dominated by galaxies that have a (sometimes coincident) companion": 1,
    "Artefacts": 8,
    "Predominantly ellipticals": 2,
}


@pytest.mark.parametrize(
    ("instead", "clusters", "verdict"),
    [
        ({}, 20, AGREES),
        ({"Artefacts": "Mostly artefacts"}, 20, AGREES),
        ({"Predominantly ellipticals": "Mostly ellipticals and some spirals"}, 20, AGREES),
        (
            {"Edge-on disks and some cigar-shaped ellipticals": "Cigar-shaped ellipticals and some edge-on disks"},
            20,
            AGREES,
        ),
        ({"Predominantly spiral galaxies": "Mostly disks without spiral arms"}, 18, AGREES),
        ({"Artefacts": "A large mix of morphologies"}, 12, DIFFERS),
        (dict.fromkeys(TABLE_2, "A large mix of morphologies"), 3, DIFFERS),
        (dict.fromkeys(TABLE_2, "Predominantly ellipticals"), 4, DIFFERS),
        (dict.fromkeys(TABLE_2, "No labelled members"), 0, DIFFERS),
    ],
)
def test_descriptions_are_of_the_kinds_of_table_2_apart_from_how_many_clusters_there_are(instead, clusters, verdict):
    words = [instead.get(text, text) for text, n in TABLE_2.items() for _ in range(n)]
    table = rows(
        "init cluster n artefact description accuracy_overall",
        *(("imagenet", k, 5, text == "Artefacts", text, 0.77) for k, text in enumerate(words)),
    )
    found = of(GZ, {"cluster_summary": table})
    assert (found["C2:imagenet"]["observed"], found["C2:imagenet"]["verdict"]) == (20, AGREES)
    assert (found["T2"]["observed"], found["T2"]["verdict"]) == (clusters, verdict)


def test_a_query_of_galaxies_that_score_two_is_no_majority_of_mergers(tables):
    """3 of 10 volunteers are a score of 2, and no true merger; 4 of 10 are one."""
    tables["oracle_events"] = rows("round galaxy_id", (0, "g6"), (0, "g6"), (1, "g5"), (1, "g6"), (1, "g9"))
    assert of(GZ, tables)["A6"]["observed"] == 2
    tables["oracle_events"] = tables["oracle_events"].slice(0, 2)
    assert of(GZ, tables)["A6"]["observed"] == np.inf


def test_true_anomalies_are_those_of_the_survey(tables):
    sdss = SURVEYS["sdss_gz1"]
    tables["catalogue"] = rows("galaxy_id label", ("a", "merger"), ("b", "spiral"), ("c", None))
    assert true_anomalies(sdss, tables).to_pylist() == ["a"]
    assert set(true_anomalies(GZ, tables).to_pylist()) == {"g5", "g9", "elsewhere"}
    assert len(true_anomalies(GZ, {})) == len(true_anomalies(SURVEYS["mirabest"], {})) == 0
    other = GZ.model_copy(update={"anomaly": GZ.anomaly.model_copy(update={"question": "bar"})})
    assert len(true_anomalies(other, tables)) == 0, "nobody was asked"


def test_no_number_of_another_experiment_agrees(tables, tmp_path):
    """Everything that the paper has is found, under settings that are not its own."""
    text = "extends: gz_decals\nname: gz_decals\nsource: {campaign: '5'}\ncutout: {clamp: trim}\n"
    text += "main_start_weights: random\n"
    for section, change in {
        "recipe": "image_size: 64",
        "evaluation": "maximum_per_class: 9",
        "mixture": "tol: 1000",
        "votes": "parents: path",
        "labelling": "majority_share: 0.9",
        "anomaly": "{question: bar, seeds: 11}",
    }.items():
        text += f"{section}: {change if change[0] == '{' else '{' + change + '}'}\n"
    (tmp_path / "gz_decals.yaml").write_text(text)
    survey = read_survey(tmp_path / "gz_decals.yaml")
    for c in checklist_for(survey.start_weights):
        if c.asset and survey.name in c.surveys:
            row = compare(c, Observed(c.id, float(c.expected)), survey)
            assert row["verdict"] == (AGREES if c.id in ("D1", "P3:features") else NOT_COMPARABLE), c.id
            assert row["verdict"] == AGREES or "settings than the paper's" in row["note"] or c.decided_by
            assert compare(c, Observed(c.id, float(c.expected)), GZ)["verdict"] in (AGREES, NOT_COMPARABLE)
    assert {
        row["verdict"] for i, row in of(survey, tables).items() if i in ("E6:peak", "C6:imagenet", "M4:random")
    } == {
        NOT_COMPARABLE,
        NOT_APPLICABLE,
    }


def test_each_setting_that_a_number_rests_on_makes_it_incomparable():
    """Whatever one setting under `rests_on` is changed, and no other."""
    for name in ("gz_decals", "mirabest"):
        shipped = SURVEYS[name]
        settings = [c for c in checklist() if c.setting and name in c.surveys]
        for path in leaves(shipped):
            survey = changed(shipped, path)
            if survey.name != name:
                continue
            turned = {c.setting for c in settings if compare(c, None, survey)["verdict"] == DIFFERS}
            for c in checklist_for(shipped.start_weights):
                if c.asset and name in c.surveys and not c.decided_by:
                    row = compare(c, Observed(c.id, float(c.expected)), survey)
                    touched = any(f"{one}.".startswith(f"{section}.") for one in turned for section in c.rests_on)
                    assert row["verdict"] == (NOT_COMPARABLE if touched else AGREES), (c.id, path)


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
    assert found["M3:starts"]["verdict"] == DIFFERS
    assert other["M3:starts"]["verdict"] == NOT_COMPARABLE, "they are the starts of another network"
    assert other["M4:random"]["verdict"] == NOT_COMPARABLE and other["M4:random"]["observed"] == 3
    assert other["M6:imagenet"]["verdict"] == NOT_COMPARABLE, "its clusters are of another network's features"
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
    assert bool(missing) == (survey.name in ("gz_decals", "mirabest"))


@pytest.mark.parametrize("name", ["gz_decals", "mirabest", "offline"])
@pytest.mark.parametrize("empty", [True, False])
def test_with_nothing_materialised_settings_are_judged_and_no_number_is(name, empty, tables, request):
    survey = request.getfixturevalue("offline") if name == "offline" else SURVEYS[name]
    found = of(survey, {asset: table.slice(0, 0) for asset, table in tables.items()} if empty else {})
    measured = [c for c in checklist_for(survey.start_weights) if c.asset and survey.name in c.surveys]
    assert len(measured) > 10
    for c in measured:
        assert (found[c.id]["verdict"], found[c.id]["observed"]) == (NOT_OBSERVED, None), c.id
    judged = {row["verdict"] for i, row in found.items() if i not in {c.id for c in measured}}
    assert judged == ({AGREES, DIFFERS, NOT_APPLICABLE} if name == "offline" else {AGREES, NOT_APPLICABLE})


@pytest.mark.parametrize("asset", sorted({c.asset for c in checklist() if c.asset}))
def test_one_table_that_is_missing_leaves_its_numbers_unobserved_and_no_others_wrong(asset, tables):
    for name in ("gz_decals", "mirabest"):
        found = of(SURVEYS[name], tables)
        without = of(SURVEYS[name], tables | {asset: tables[asset].slice(0, 0)})
        for c in checklist_for(SURVEYS[name].start_weights):
            if c.asset == asset and name in c.surveys:
                assert without[c.id]["verdict"] == NOT_OBSERVED, c.id
            elif c.id != "C3:imagenet:galaxies":  # of those with votes, where there are any
                assert without[c.id]["verdict"] in (found[c.id]["verdict"], NOT_OBSERVED), c.id


def test_the_small_world_walks_the_checklist(world):
    from galaxy_assets.lake import connect

    with connect(world.root) as lake:
        found = lake.sql("select check_id, observed, verdict from tiny.results").fetchall()
    assert {check_id.split(":")[0] for check_id, _, _ in found} >= set(IDS)
    assert {verdict for _, _, verdict in found} == {NOT_APPLICABLE}, "the paper has no number for a survey of one's own"
    observed = {check_id: value for check_id, value, _ in found}
    assert (observed["D1"], observed["C1:components"], observed["S1"]) == (73, 4, 3)
    assert observed["M6:imagenet"] == pytest.approx(observed["C8:imagenet"] - observed["E7:imagenet"])
