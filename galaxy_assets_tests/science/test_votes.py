"""The vote trees: all campaigns in one form, cuts at their limits, evaluation classes, anomalies and scores."""

import os
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from galaxy_assets.deliveries.readers import open_reader
from galaxy_assets.science import votes
from galaxy_assets.science.galaxy_zoo import TREES
from galaxy_assets.science.votes import VotesError
from galaxy_assets.settings.discovery import Anomaly
from galaxy_assets.settings.evaluation import Cut, Evaluation, EvaluationClass
from galaxy_assets.settings.files import survey_files
from galaxy_assets.settings.source import Source

REAL = os.environ.get("GALAXY_ASSETS_REAL_DATA")

ROUND = {"smooth-or-featured_smooth": 9, "smooth-or-featured_artifact": 1, "how-rounded_completely": 9}
SPIRAL = {"smooth-or-featured_featured-or-disk": 10, "disk-edge-on_no": 10, "has-spiral-arms_yes": 10}
CALM, CRASH = {"merging_neither": 10}, {"merging_merger": 3, "merging_neither": 7}


def delivered(*galaxies: dict[str, int], campaign: str = "1_and_2", names: list | None = None) -> pa.Table:
    """A volunteer table as delivered, from the counts that are not zero; unasked fractions as the campaign has them."""
    columns: dict[str, list] = {"iauname": names or [f"g{i}" for i in range(len(galaxies))]}
    for question in TREES[campaign]:
        counts = np.array([[g.get(f"{question.name}_{a}", 0) for a in question.answers] for g in galaxies])
        total = counts.sum(axis=1)
        columns[question.total_column] = total.tolist()
        for answer, count in zip(question.answers, counts.T, strict=True):
            share = np.where(total > 0, count / np.maximum(total, 1), 0.0 if campaign == "1_and_2" else np.nan)
            columns[f"{question.name}_{answer}"] = count.tolist()
            columns[f"{question.name}_{answer}_fraction"] = share.tolist()
    return pa.table(columns)


def normal(*galaxies: dict[str, int]) -> pa.Table:
    return votes.normalise(delivered(*galaxies), "1_and_2")


@pytest.mark.parametrize("campaign", ["1_and_2", "5", "gz2"])
def test_tree_is_rooted_and_consistent(campaign):
    root, *others = TREES[campaign]
    answers = {(q.name, a) for q in TREES[campaign] for a in q.answers}
    assert root.parents == () and len(answers) == {"1_and_2": 30, "5": 34, "gz2": 37}[campaign]
    assert all(q.parents and set(q.parents) <= answers for q in others)


@pytest.mark.parametrize("campaign", ["1_and_2", "5"])
def test_unasked_questions_are_null_in_both_campaigns(campaign):
    asked = {"smooth-or-featured_smooth": 3, "smooth-or-featured_artifact": 1}
    table = votes.normalise(delivered(asked, campaign=campaign), campaign)
    (row,) = table.to_pylist()
    assert row["total_votes"] == row["smooth-or-featured_total-votes"] == 4
    assert row["smooth-or-featured_smooth_fraction"] == 0.75
    assert row["smooth-or-featured_featured-or-disk_fraction"] == 0.0
    assert row["bar_no_fraction"] is None and row["bar_no"] == 0
    assert table.schema.equals(votes.empty(campaign).schema) and votes.empty(campaign).num_rows == 0


def galaxy_zoo_2(**given: float) -> pa.Table:
    """A row of gz2_hart16.csv: numbers given by the end of their column's name, 0 elsewhere as in the file."""
    galaxy, *names = votes.delivered_columns("gz2")
    row = {name: next((v for end, v in given.items() if name.endswith(end)), 0.0) for name in names}
    return pa.table({galaxy: [587722981736120347]} | {name: [value] for name, value in row.items()})


def test_galaxy_zoo_2_has_eleven_questions_in_the_normal_form_of_the_others():
    asked = galaxy_zoo_2(
        a01_smooth_count=10,
        a01_smooth_weighted_fraction=0.25,
        a02_features_or_disk_count=30,
        a02_features_or_disk_weighted_fraction=0.75,
        a04_yes_count=0,
        a05_no_count=30,
        a05_no_weighted_fraction=1.0,
        a06_bar_count=12,
        a06_bar_weighted_fraction=0.5,
    )
    (row,) = votes.normalise(asked, "gz2").to_pylist()
    assert len(TREES["gz2"]) == 11 and row["galaxy_id"] == "587722981736120347"
    assert row["total_votes"] == row["smooth-or-featured_total-votes"] == 40
    assert row["smooth-or-featured_featured-or-disk_fraction"] == 0.75
    assert row["disk-edge-on_yes_fraction"] == 0.0 and row["bar_yes"] == 12
    assert row["spiral-winding_tight_fraction"] is None  # 0.0 in the file, but nobody was asked
    assert row["odd-feature_merger_fraction"] is None and row["odd-feature_total-votes"] == 0
    assert votes.empty("gz2").schema.equals(votes.normalise(asked, "gz2").schema)


def kaggle(*galaxies: dict[str, float]) -> pa.Table:
    galaxy, *names = votes.kaggle_columns()
    ids = {galaxy: [str(100008 + i) for i in range(len(galaxies))]}
    return pa.table(ids | {name: [float(g.get(name, 0.0)) for g in galaxies] for name in names})


def test_kaggles_probabilities_are_divided_back_up_the_tree():
    # the organisers' own example: 80 % smooth, of whom 50, 25, 25 % say round, in between, cigar-shaped
    example = {"Class1.1": 0.8, "Class1.2": 0.15, "Class1.3": 0.05, "Class7.1": 0.4, "Class7.2": 0.2, "Class7.3": 0.2}
    table = votes.normalise(kaggle(example | {"Class6.1": 0.1, "Class6.2": 0.9}), "gz2")
    (row,) = table.to_pylist()
    assert row["galaxy_id"] == "100008" and row["total_votes"] is None and row["how-rounded_completely"] is None
    assert row["smooth-or-featured_featured-or-disk_fraction"] == pytest.approx(0.15)
    assert row["how-rounded_completely_fraction"] == pytest.approx(0.5)
    assert row["how-rounded_cigar-shaped_fraction"] == pytest.approx(0.25)
    assert row["something-odd_yes_fraction"] == pytest.approx(0.1)
    assert row["disk-edge-on_yes_fraction"] is None
    # without counts no galaxy fails for too few votes
    assert votes.passes(table, Cut(question="how-rounded", answer="completely", above=0.4, minimum_votes=30)).all()
    assert table.schema.equals(votes.empty("gz2").schema)


def test_kaggle_values_that_are_no_probabilities_are_an_error():
    with pytest.raises(VotesError, match="Class1.1 to Class1.3 hold values outside 0 to 1"):
        votes.normalise(kaggle({"Class1.1": 1.2}), "gz2")


@settings(deadline=None)
@given(st.lists(st.lists(st.floats(0.01, 1), min_size=7, max_size=7), min_size=11, max_size=11))
def test_multiplying_down_the_tree_is_undone_whatever_the_votes(weights):
    fractions = {}
    products: dict[tuple[str, str], float] = {}
    solution = {}
    for number, (question, drawn) in enumerate(zip(TREES["gz2"], weights, strict=True), start=1):
        shares = np.array(drawn[: len(question.answers)]) / sum(drawn[: len(question.answers)])
        reached = sum(products[parent] for parent in question.parents) if question.parents else 1.0
        for j, (answer, share) in enumerate(zip(question.answers, shares, strict=True), start=1):
            products[question.name, answer] = solution[f"Class{number}.{j}"] = reached * share
            fractions[f"{question.name}_{answer}_fraction"] = share
    (row,) = votes.normalise(kaggle(solution), "gz2").to_pylist()
    assert {name: row[name] for name in fractions} == pytest.approx(fractions)


def test_types_of_the_normal_form():
    schema = normal(ROUND).schema
    assert schema.names[:2] == ["galaxy_id", "total_votes"]
    for name in schema.names[1:]:
        assert schema.field(name).type == (pa.float64() if name.endswith("_fraction") else pa.int32())


def test_missing_columns_are_named():
    table = delivered(ROUND).drop_columns(["bar_yes", "merging_total-votes"])
    with pytest.raises(VotesError, match="no column bar_yes, merging_total-votes;"):
        votes.normalise(table, "1_and_2")


@pytest.mark.parametrize("bad", [["many"], [-1], [0.5], [1e12]])
def test_cells_that_are_no_counts_are_one_error(bad):
    table = delivered(ROUND)
    table = table.set_column(table.column_names.index("bar_yes"), "bar_yes", [bad])
    with pytest.raises(VotesError, match="bar_yes"):
        votes.normalise(table, "1_and_2")


def test_repeated_and_nameless_rows_are_dropped_and_counted(caplog):
    table = delivered(ROUND, SPIRAL, CALM, CALM, names=["a", "a", None, "b"])
    normalised = votes.normalise(table, "1_and_2")
    assert normalised["galaxy_id"].to_pylist() == ["a", "b"]
    assert normalised["smooth-or-featured_smooth"].to_pylist() == [9, 0]
    assert "dropped 1 repeated" in caplog.text and "dropped 1 rows without iauname" in caplog.text


def test_four_of_five_votes_are_not_above_80_percent_even_in_single_precision():
    table = delivered({"disk-edge-on_yes": 4, "disk-edge-on_no": 1}, {"disk-edge-on_yes": 5})
    name = "disk-edge-on_yes_fraction"
    single = table.set_column(table.column_names.index(name), name, table[name].cast(pa.float32()))
    for delivery in (table, single):
        normalised = votes.normalise(delivery, "1_and_2")
        assert votes.passes(normalised, Cut(question="disk-edge-on", answer="yes", above=0.8)).tolist() == [False, True]


def test_cuts_need_their_votes():
    table = normal({"merging_neither": 4}, {"merging_neither": 5}, {})
    below = Cut(question="merging", answer="merger", below=0.2)
    assert votes.passes(table, below).tolist() == [False, True, False]
    at_the_cuts = normal({"merging_merger": 1, "merging_neither": 4}, {"merging_merger": 4, "merging_neither": 1})
    assert votes.passes(at_the_cuts, below).tolist() == [False, False]
    assert votes.passes(at_the_cuts, Cut(question="merging", answer="merger", above=0.8)).tolist() == [False, False]
    assert votes.passes(at_the_cuts, Cut(question="merging", answer="merger", above=0.79)).tolist() == [False, True]
    np.testing.assert_array_equal(votes.fraction(table, "merging", "neither", 1), [1.0, 1.0, np.nan])


def test_unknown_answers_are_an_error_that_lists_the_known():
    with pytest.raises(VotesError, match="bar_strong.*bar_yes, bar_no"):
        votes.fraction(normal(ROUND), "bar", "strong", 1)


PAPER = Evaluation(
    classes=(
        EvaluationClass(
            name="round",
            cuts=(
                Cut(question="smooth-or-featured", answer="smooth", above=0.8),
                Cut(question="how-rounded", answer="completely", above=0.8),
            ),
        ),
        EvaluationClass(
            name="spiral",
            cuts=(
                Cut(question="smooth-or-featured", answer="featured-or-disk", above=0.8),
                Cut(question="has-spiral-arms", answer="yes", above=0.8),
            ),
        ),
        EvaluationClass(name="edge_on", cuts=(Cut(question="disk-edge-on", answer="yes", above=0.8),)),
    ),
    reject=(Cut(question="merging", answer="merger", below=0.2),),
)


def test_evaluation_classes_of_the_paper(caplog):
    caplog.set_level("INFO")
    table = normal(
        ROUND | CALM,
        SPIRAL | CALM,
        {"disk-edge-on_yes": 5} | CALM,
        SPIRAL | CRASH,  # a merger
        ROUND | CALM | {"disk-edge-on_yes": 6},  # in two classes
        ROUND,  # nobody asked whether it merges
        ROUND | CALM | {"how-rounded_completely": 4},  # too few votes
    )
    subset = votes.evaluation_class(table, PAPER)
    assert subset.to_pylist() == [
        {"galaxy_id": "g0", "evaluation_class": "round"},
        {"galaxy_id": "g1", "evaluation_class": "spiral"},
        {"galaxy_id": "g2", "evaluation_class": "edge_on"},
    ]
    assert "left out 1 galaxies" in caplog.text


def test_evaluation_classes_by_labels():
    table = pa.table({"galaxy_id": ["a", "b", "c", "d"], "label": ["100", "104", "310", None]})
    evaluation = Evaluation(classes=(EvaluationClass(name="FRI", labels=("100", "104")),))
    assert votes.evaluation_class(table, evaluation)["galaxy_id"].to_pylist() == ["a", "b"]


def test_no_classes_and_no_galaxies_give_an_empty_subset():
    for table, evaluation in ((normal(ROUND), Evaluation()), (votes.empty("1_and_2"), PAPER)):
        subset = votes.evaluation_class(table, evaluation)
        assert subset.num_rows == 0 and subset.column_names == ["galaxy_id", "evaluation_class"]


MERGERS = Anomaly(question="merging", answers=("merger", "both"))


def test_anomaly_is_the_sum_of_its_answers():
    table = normal(
        {"merging_merger": 6, "merging_both": 8, "merging_neither": 21},  # 14 of 35 are exactly 0.4
        {"merging_merger": 9},  # too few votes
        {"merging_tidal-debris": 10},
        {},
    )
    probability, is_true = votes.anomaly_probability(table, MERGERS)
    np.testing.assert_array_equal(probability, [0.4, 1.0, 0.0, np.nan])
    assert is_true.tolist() == [True, False, False, False]


def test_fractions_of_three_digits_that_add_up_to_more_than_one_are_one():
    answers = ("merger", "major-disturbance", "minor-disturbance")
    shares = {f"merging_{answer}_fraction": [0.334] for answer in answers}
    table = pa.table({"merging_total-votes": [30]} | shares)
    probability, is_true = votes.anomaly_probability(table, Anomaly(question="merging", answers=answers))
    assert probability.tolist() == [1.0] and is_true.all() and votes.score(probability).tolist() == [5]


def test_anomaly_without_a_question_is_an_error():
    with pytest.raises(VotesError, match="no question and answers"):
        votes.anomaly_probability(normal(ROUND), Anomaly(labels=("ring",)))


def test_scores_round_halves_to_even():
    assert votes.score(np.array([0, 0.1, 0.3, 0.4, 0.5, 0.7, 0.9, 1])).tolist() == [0, 0, 2, 2, 2, 4, 4, 5]
    for wrong in (np.nan, -0.1, 1.1):
        with pytest.raises(ValueError, match="0 to 1"):
            votes.score(wrong)


@settings(deadline=None)
@given(st.lists(st.integers(0, 60), min_size=4, max_size=4))
def test_every_galaxy_asked_has_a_probability_and_a_score(counts):
    galaxy = {f"merging_{a}": n for a, n in zip(TREES["1_and_2"][-1].answers, counts, strict=True)}
    probability, is_true = votes.anomaly_probability(normal(galaxy), MERGERS)
    total, merging = sum(counts), counts[0] + counts[2]
    if total == 0:
        assert np.isnan(probability[0]) and not is_true[0]
    else:
        assert probability[0] == pytest.approx(merging / total)
        assert is_true[0] == (10 * merging >= 4 * total and total >= 10)
        assert votes.score(probability)[0] == round(5 * round(merging / total, 9))


@pytest.mark.skipif(not REAL, reason="GALAXY_ASSETS_REAL_DATA is not set")
@pytest.mark.parametrize(("campaign", "galaxies"), [("1_and_2", 6), ("5", 6)])
def test_official_tables_follow_the_tree(campaign, galaxies):
    source = Source(reader="galaxy_zoo_decals", path="gz_decals_sample", campaign=campaign)
    table = open_reader(source, Path(REAL)).votes()
    assert table.num_rows == galaxies
    for question in TREES[campaign]:
        total = table[question.total_column].to_numpy()
        if question.parents:
            led_here = sum(table[f"{parent}_{answer}"].to_numpy() for parent, answer in question.parents)
            np.testing.assert_array_equal(total, led_here)
        for answer in question.answers:
            share = votes.fraction(table, question.name, answer, 1)
            np.testing.assert_array_equal(np.isnan(share), total == 0)
            count = table[f"{question.name}_{answer}"].to_numpy()
            np.testing.assert_allclose(share[total > 0], (count[total > 0] / total[total > 0]), atol=1e-12)


def official(campaign: str) -> pa.Table:
    return open_reader(
        Source(reader="galaxy_zoo_decals", path="gz_decals_sample", campaign=campaign), Path(REAL)
    ).votes()


# the expected values below were computed by hand from the cells of the official tables


@pytest.mark.skipif(not REAL, reason="GALAXY_ASSETS_REAL_DATA is not set")
def test_zero_votes_of_official_rows():
    (row,) = (r for r in official("1_and_2").to_pylist() if r["galaxy_id"] == "J084235.76+241231.3")
    assert row["spiral-winding_total-votes"] == 0 and row["spiral-winding_tight_fraction"] is None  # 0.0 in the file
    assert row["has-spiral-arms_yes_fraction"] == 0.0  # asked of five, answered by none
    (row,) = (r for r in official("5").to_pylist() if r["galaxy_id"] == "J081412.47+220853.0")
    assert row["disk-edge-on_total-votes"] == 0 and row["disk-edge-on_yes_fraction"] is None
    assert row["how-rounded_round_fraction"] == 1.0 and row["how-rounded_cigar-shaped_fraction"] == 0.0


@pytest.mark.skipif(not REAL, reason="GALAXY_ASSETS_REAL_DATA is not set")
def test_evaluation_cuts_on_official_rows():
    shipped = survey_files(Path("/nonexistent")).named("gz_decals").evaluation
    # J092608: 6 of 7 say edge-on, none of 27 a merger. J074349: smooth .80 but not round, and 12 of 50 say merger
    assert votes.evaluation_class(official("1_and_2"), shipped).to_pylist() == [
        {"galaxy_id": "J092608.45+031130.1", "evaluation_class": "edge_on"}
    ]
    rounder = shipped.model_dump()
    rounder["classes"][0]["cuts"][1]["answer"] = "round"  # campaign 5's name for it
    # J100403: featured 35 of 40, arms 29 of 32. J134305: 27 of 33, 25 of 26, merger 1 of 32. J081412: too few votes
    assert votes.evaluation_class(official("5"), Evaluation.model_validate(rounder)).to_pylist() == [
        {"galaxy_id": "J100403.94+182735.8", "evaluation_class": "spiral"},
        {"galaxy_id": "J134305.21-000639.5", "evaluation_class": "spiral"},
    ]


@pytest.mark.skipif(not REAL, reason="GALAXY_ASSETS_REAL_DATA is not set")
def test_merger_probabilities_of_official_rows():
    table = official("1_and_2")
    probability, is_true = votes.anomaly_probability(table, MERGERS)
    expected = {
        "J084235.76+241231.3": (0.0, 0),
        "J164324.66+275317.9": (0.0, 0),
        "J092608.45+031130.1": (0.0, 0),
        "J125434.08+184156.7": (3 / 27, 1),  # .556 of 5
        "J152532.19-000115.7": (4 / 23, 1),  # .870 of 5
        "J074349.15+291154.5": (14 / 50, 1),  # 1.4 of 5
    }
    scores = votes.score(probability).tolist()
    found = dict(zip(table["galaxy_id"].to_pylist(), zip(probability.tolist(), scores, strict=True), strict=True))
    assert {g: s for g, (_, s) in found.items()} == {g: s for g, (_, s) in expected.items()}
    assert {g: p for g, (p, _) in found.items()} == pytest.approx({g: p for g, (p, _) in expected.items()}, abs=1e-9)
    assert not is_true.any()
    five = official("5")
    probability, is_true = votes.anomaly_probability(five, Anomaly(question="merging", answers=("merger",)))
    assert [g for g, true in zip(five["galaxy_id"].to_pylist(), is_true, strict=True) if true] == [
        "J005650.84-010137.4"
    ]
    assert probability.max() == pytest.approx(16 / 35) and votes.score(probability).tolist() == [0, 0, 2, 0, 0, 0]


@pytest.mark.parametrize(("value", "says"), [(-99.0, "leave the cell empty"), (60.0, "divide percentages by 100")])
def test_fractions_are_of_0_to_1(value, says):
    delivered = {name: ["J1"] if i == 0 else [0.0] for i, name in enumerate(votes.delivered_columns("5"))}
    delivered |= {"smooth-or-featured_total-votes": [4], "smooth-or-featured_smooth_fraction": [value]}
    with pytest.raises(VotesError, match=f"smooth-or-featured_smooth_fraction.*1 values.*such as {value:g}; {says}"):
        votes.normalise(pa.table(delivered), "5")


def test_fractions_that_are_left_out_follow_from_the_votes():
    delivered = {name: ["J1"] if i == 0 else [0.0] for i, name in enumerate(votes.delivered_columns("5"))}
    delivered |= {"smooth-or-featured_total-votes": [4], "smooth-or-featured_smooth": [3]}
    delivered |= {"smooth-or-featured_smooth_fraction": [None]}
    table = votes.normalise(pa.table(delivered), "5")
    assert table["smooth-or-featured_smooth_fraction"].to_pylist() == [0.75]
    assert table["disk-edge-on_yes_fraction"].to_pylist() == [None]


def test_classes_go_by_labels_and_by_votes_together():
    smooth, other = ROUND, {"smooth-or-featured_smooth": 1, "smooth-or-featured_artifact": 9}
    said = votes.normalise(delivered(smooth, smooth, other, names=["a", "c", "e"]), "1_and_2")
    catalogue = pa.table({"galaxy_id": list("edcba"), "label": ["ring", "ring", "ring", None, None]})
    cut = Cut(question="smooth-or-featured", answer="smooth", above=0.5)
    classes = EvaluationClass(name="rings", labels=("ring",)), EvaluationClass(name="smooth", cuts=(cut,))

    def found(**wanted) -> dict[str, str]:
        table = votes.evaluation_class(votes.beside_labels(catalogue, said), Evaluation(**wanted))
        return dict(zip(*(table[name].to_pylist() for name in table.column_names), strict=True))

    assert found(classes=classes) == {"e": "rings", "d": "rings", "a": "smooth"}, "c is both"
    unsmooth = cut.model_copy(update={"above": None, "below": 0.5})
    assert found(classes=classes[:1], reject=(unsmooth,)) == {"e": "rings"}, "of d nobody was asked"
