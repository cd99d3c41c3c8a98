"""What clusters contain: examples, labels, words, votes."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from galaxy_assets.deliveries.readers import open_reader
from galaxy_assets.science import clusters, descriptions, votes
from galaxy_assets.science.descriptions import Spread
from galaxy_assets.science.galaxy_zoo import TREES
from galaxy_assets.science.worksheet import Override
from galaxy_assets.settings.source import Source
from galaxy_assets.settings.structure import Labelling, VoteRules

CLUSTER = np.array([0] * 10 + [1] * 6 + [2] * 4)
LABELS = ["spiral"] * 9 + ["edge_on"] + ["edge_on"] * 3 + ["spiral"] * 2 + [None] + [None] * 4
SUSPECT = np.array([False] * 16 + [True] * 4)


def test_summaries_count_what_is_labelled_and_flag_artefacts_by_evidence():
    zero, one, two, empty = clusters.summarise(CLUSTER, LABELS, SUSPECT, 4)
    assert (zero.n, zero.n_labelled, zero.majority_class, zero.purity, zero.label) == (10, 10, "spiral", 0.9, "spiral")
    assert (one.n, one.n_labelled, one.majority_class, one.purity) == (6, 5, "edge_on", 0.6)
    assert (zero.description, zero.evidence) == ("Almost entirely spiral", "spiral 90%, edge on 10% of 10 with a class")
    assert one.description == "Mostly edge on and some spiral" and one.described_by == "rule"
    assert two.artefact and (two.description, two.evidence) == ("Artefacts", "100% suspects")
    assert two.majority_class is None and two.label is None
    assert (empty.n, empty.description, empty.label) == (0, "Empty", None)


def test_a_class_names_a_cluster_only_above_the_majority_share():
    cluster, labels = np.zeros(5, int), ["a", "a", "b", "b", "c"]
    (mixed,) = clusters.summarise(cluster, labels, np.zeros(5, bool), 1, Labelling(majority_share=0.5))
    assert (mixed.majority_class, mixed.purity, mixed.label) == ("a", 0.4, None)
    assert mixed.description == "A mix of b, a, c"
    two_of_four = np.zeros(4, int), ["a", "a", "b", "c"], np.zeros(4, bool), 1
    assert clusters.summarise(*two_of_four, Labelling(majority_share=0.5))[0].label is None
    assert clusters.summarise(*two_of_four, Labelling(majority_share=0.49))[0].label == "a"
    (plural,) = clusters.summarise(cluster, labels, np.zeros(5, bool), 1)
    assert plural.label == "a"
    assert clusters.label_accuracy(cluster, labels, [mixed.label]) == 0
    assert clusters.label_accuracy(cluster, labels, [plural.label]) == pytest.approx(2 / 5)


def test_labels_get_nine_and_three_of_fifteen_right():
    given = [s.label for s in clusters.summarise(CLUSTER, LABELS, SUSPECT, 4)]
    assert clusters.label_accuracy(CLUSTER, LABELS, given) == pytest.approx(12 / 15)
    assert np.isnan(clusters.label_accuracy(CLUSTER, [None] * 20, given))


def test_what_a_person_says_counts_and_what_they_leave_open_is_the_rules():
    said = {
        0: Override(description="Rings", label="edge_on"),
        1: Override(artefact=True),
        2: Override(artefact=False, label="spiral"),
    }
    zero, one, two, _ = clusters.summarise(CLUSTER, LABELS, SUSPECT, 4, overrides=said)
    assert (zero.description, zero.label, zero.described_by) == ("Rings", "edge_on", "person")
    assert zero.evidence.startswith("the rule says: Almost entirely spiral; spiral 90%")
    assert (one.description, one.artefact, one.label) == ("Artefacts", True, None)
    assert (two.description, two.artefact, two.label) == ("No labelled members", False, "spiral")
    given = [s.label for s in (zero, one, two)]
    assert clusters.label_accuracy(CLUSTER, LABELS, given) == pytest.approx(1 / 15)


def test_membership_tells_where_the_galaxies_of_a_class_are():
    rows = clusters.membership(CLUSTER, LABELS, ["spiral", None, None]).to_pylist()
    assert [(r["evaluation_class"], r["cluster"], r["n"], r["labelled_as"]) for r in rows] == [
        ("edge_on", 1, 3, None),
        ("edge_on", 0, 1, "spiral"),
        ("spiral", 0, 9, "spiral"),
        ("spiral", 1, 2, None),
    ]
    assert [r["share"] for r in rows] == pytest.approx([3 / 4, 1 / 4, 9 / 11, 2 / 11])
    assert clusters.membership(CLUSTER, [None] * 20, []).num_rows == 0


def test_most_certain_members_are_by_probability_then_id():
    cluster = np.array([0, 0, 0, 1, 0])
    found = clusters.most_certain(cluster, np.array([0.5, 1.0, 0.9, 0.2, 1.0]), ["e", "d", "c", "b", "a"], 3)
    assert {k: rows.tolist() for k, rows in found.items()} == {0: [4, 1, 2], 1: [3]}


def test_examples_are_random_members_that_do_not_depend_on_row_order():
    ids = np.array([f"g{i:02d}" for i in range(20)])
    chosen = clusters.examples(CLUSTER, ids, 3, seed=1)
    assert {k: len(v) for k, v in chosen.items()} == {0: 3, 1: 3, 2: 3}
    assert all((CLUSTER[rows] == k).all() for k, rows in chosen.items())
    back = np.arange(20)[::-1]
    again = clusters.examples(CLUSTER[back], ids[back], 3, seed=1)
    assert {k: ids[v].tolist() for k, v in chosen.items()} == {k: ids[back][v].tolist() for k, v in again.items()}


def by_galaxy(column: str, **values: object) -> pa.Table:
    """A table of a value for each galaxy."""
    return pa.table({"galaxy_id": pa.array(values, pa.string()), column: list(values.values())})


def test_label_shares_average_to_the_share_of_the_label():
    shares = clusters.label_shares(
        by_galaxy("label", a="x", b="x", c="y", elsewhere="z"), by_galaxy("cluster", a=0, b=0, c=0, d=1)
    )
    assert {(d.cluster, d.answer): d.fractions.mean() for d in shares} == {
        ("0", "x"): pytest.approx(2 / 3),
        ("all", "x"): pytest.approx(2 / 3),
        ("0", "y"): pytest.approx(1 / 3),
        ("all", "y"): pytest.approx(1 / 3),
    }


def voted(galaxies: dict[str, dict[str, tuple[int, float]]]) -> pa.Table:
    """A volunteer table of campaign 1_and_2: per galaxy the answers given as (votes for the question, fraction)."""
    columns: dict[str, list] = {name: [] for name in votes.delivered_columns("1_and_2")}
    for galaxy, answers in galaxies.items():
        row = dict.fromkeys(columns, 0.0) | {"iauname": galaxy}
        for answer, (total, fraction) in answers.items():
            row |= {f"{answer}_fraction": fraction, f"{answer.split('_')[0]}_total-votes": total}
        for name, value in row.items():
            columns[name].append(value)
    return votes.normalise(pa.table(columns), "1_and_2")


def test_vote_distributions_ask_for_ten_votes_and_a_parent_above_one_half():
    disc = {"smooth-or-featured_featured-or-disk": (30, 0.9)}
    table = voted(
        {
            "a": disc | {"disk-edge-on_yes": (12, 0.8), "merging_neither": (30, 0.7)},
            "b": disc | {"disk-edge-on_yes": (9, 0.6)},
            "c": {"smooth-or-featured_featured-or-disk": (30, 0.5), "disk-edge-on_yes": (15, 1.0)}
            | {"merging_neither": (30, 0.4)},
            "d": disc | {"disk-edge-on_yes": (20, 0.1)},
            "elsewhere": disc | {"disk-edge-on_yes": (20, 0.3)},
        }
    )
    found = clusters.vote_distributions(table, by_galaxy("cluster", a=0, b=0, c=0, d=1), "1_and_2")
    fractions = {(d.cluster, d.question, d.answer): d.fractions.tolist() for d in found}
    # b has too few votes, c is not featured enough, the last is in no cluster
    assert fractions["all", "disk-edge-on", "yes"] == [0.8, 0.1]
    assert fractions["0", "disk-edge-on", "yes"] == [0.8] and fractions["1", "disk-edge-on", "yes"] == [0.1]
    # merging asks for "at least" one half
    assert fractions["0", "merging", "neither"] == [0.7, 0.4]
    assert fractions["0", "smooth-or-featured", "featured-or-disk"] == [0.9, 0.9, 0.5]
    panels = clusters.figure_7(found)
    rows = zip(*(panels[c].to_pylist() for c in ("cluster", "panel", "fraction")), strict=True)
    assert ("1", "disk-edge-on: yes", 0.1) in set(rows)


def conditions_of(campaign: str, rules: VoteRules) -> dict[str, list[tuple[str, str]]]:
    return {q.name: clusters.conditions(q, campaign, rules) for q in TREES[campaign]}


def test_the_paper_asks_the_root_and_another_reading_every_answer_on_the_way():
    smooth, featured = ("smooth-or-featured", "smooth"), ("smooth-or-featured", "featured-or-disk")
    root = conditions_of("1_and_2", VoteRules())
    assert root["smooth-or-featured"] == [] and root["how-rounded"] == [smooth]
    for question in ("disk-edge-on", "bulge-size", "has-spiral-arms", "merging"):
        assert root[question] == [featured]
    path = conditions_of("1_and_2", VoteRules(parents="path"))
    assert path["bulge-size"] == [("disk-edge-on", "no"), featured]
    assert path["spiral-winding"] == [("has-spiral-arms", "yes"), ("disk-edge-on", "no"), featured]
    assert path["merging"] == [featured]
    assert conditions_of("gz2", VoteRules(parents="path"))["odd-feature"] == [("something-odd", "yes"), featured]


def test_vote_rules_decide_which_galaxies_count():
    disc = {"smooth-or-featured_featured-or-disk": (30, 0.5)}
    table = voted(
        {"a": disc | {"disk-edge-on_yes": (4, 0.8), "disk-edge-on_no": (4, 0.2), "bulge-size_none": (4, 1.0)}}
    )

    def counted(**rules) -> set[str]:
        return {
            d.question
            for d in clusters.vote_distributions(table, by_galaxy("cluster", a=0), "1_and_2", VoteRules(**rules))
        }

    assert counted() == {"smooth-or-featured"}
    below_root = {"minimum_votes": 4, "parent_fraction": 0.4}
    assert {"disk-edge-on", "bulge-size"} <= counted(**below_root)
    assert "bulge-size" not in counted(**below_root, parents="path")  # the volunteers say edge-on
    assert "disk-edge-on" in counted(minimum_votes=4, inclusive=("disk-edge-on",))


def spread_of(*fractions: float) -> Spread:
    return Spread(len(fractions), float(np.mean(fractions)), np.quantile(fractions, descriptions.QUANTILES).tolist())


@settings(deadline=None)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=60))
def test_a_majority_is_read_off_the_quantiles_to_their_step(fractions):
    exact = float(np.mean(np.array(fractions) > 0.5))
    assert abs(spread_of(*fractions).majority() - exact) <= 0.05 + 1 / len(fractions)


def asked(smooth: float, featured: float, artifact: float = 0.02, **below: float) -> dict:
    """Votes of a cluster in which a share of the galaxies has each majority: .9 of the votes there, .1 elsewhere."""

    def shares(share: float) -> Spread:
        majority = round(share * 1000)
        return spread_of(*[0.9] * majority, *[0.1] * (1000 - majority))

    root = "smooth-or-featured"
    found = {(root, "smooth"): shares(smooth), (root, "featured-or-disk"): shares(featured)}
    found[root, "artifact"] = spread_of(*[artifact] * 100)
    names = {
        "cigar": ("how-rounded", "cigar-shaped"),
        "edge_on": ("disk-edge-on", "yes"),
        "arms": ("has-spiral-arms", "yes"),
        "bulge": ("bulge-size", "dominant"),
        "calm": ("merging", "neither"),
    }
    return found | {names[name]: shares(share) for name, share in below.items()}


@pytest.mark.parametrize(
    ("votes_of", "expected"),
    [
        (asked(0.02, 0.98, edge_on=0.02, arms=0.97), "Almost entirely spiral galaxies"),
        (asked(0.1, 0.9, edge_on=0.05, arms=0.95), "Predominantly spiral galaxies"),
        (asked(0.87, 0.13, cigar=0.02, edge_on=0.1, arms=0.5), "Predominantly ellipticals"),
        (asked(0.78, 0.22, cigar=0.02, edge_on=0.05, arms=0.9), "Predominantly ellipticals and some spiral galaxies"),
        (
            asked(0.65, 0.35, cigar=0.02, edge_on=0.05, arms=0.9, bulge=0.8),
            "Mostly ellipticals and some spirals with prominent bulges",
        ),
        (asked(0.3, 0.6, cigar=0.8, edge_on=0.9, arms=0.3), "Edge-on disks and some cigar-shaped ellipticals"),
        (asked(0.6, 0.35, cigar=0.9, edge_on=0.9, arms=0.3), "Cigar-shaped ellipticals and some edge-on disks"),
        (
            asked(0.4, 0.4, artifact=0.2, cigar=0.1, edge_on=0.3, arms=0.5, calm=0.7),
            "A large mix of morphologies, including some apparent mergers and some artefacts",
        ),
        (asked(0.1, 0.9, edge_on=0.05, arms=0.1), "Predominantly disks without spiral arms"),
        (asked(0.1, 0.1, artifact=0.7), "Artefacts"),
    ],
)
def test_clusters_are_described_in_the_words_of_table_2(votes_of, expected):
    assert descriptions.describe(votes_of, np.array([]), 0.05, 0.5).says == expected


def test_the_words_change_at_their_shares():
    words = {0.51: "Mostly", 0.749: "Mostly", 0.75: "Predominantly", 0.899: "Predominantly", 0.9: "Almost entirely"}
    assert {share: descriptions.degree(share) for share in words} == words
    # a second kind is named from 15 %, mergers and artefacts too
    for share, named in ((0.14, False), (0.16, True)):
        second = descriptions.describe_votes(asked(1 - share, share, cigar=0, edge_on=0, arms=1.0), 0.0)
        assert second.says == f"Predominantly ellipticals{' and some spiral galaxies' if named else ''}"
        merging = descriptions.describe_votes(asked(1.0, 0.0, cigar=0, calm=1 - share), 0.0).says
        assert merging == f"Almost entirely ellipticals{', including some apparent mergers' if named else ''}"
        suspects = descriptions.describe_votes(asked(1.0, 0.0, cigar=0), share).says
        assert suspects == f"Almost entirely ellipticals{', including some artefacts' if named else ''}"


def test_spreads_are_of_the_volunteers_questions_alone():
    row = {"cluster": "0", "answer": "x", "n": 3, "mean": 0.5, "quantiles": [0.0, 0.5, 1.0]}
    table = pa.Table.from_pylist([row | {"question": "label"}, row | {"question": "merging"}])
    assert descriptions.spreads(table) == {"0": {("merging", "x"): Spread(3, 0.5, [0.0, 0.5, 1.0])}}
    assert descriptions.spreads(table.slice(0, 1)) == {}


def test_the_evidence_gives_the_numbers_the_words_rest_on():
    reason = descriptions.describe_votes(asked(0.02, 0.98, edge_on=0.02, arms=0.97, calm=1.0), 0.1).reason
    assert reason.startswith("spiral galaxies 93%, ") and "% of 1000 with votes; smooth-or-featured smooth" in reason
    assert "smooth-or-featured featured-or-disk median 0.90 of 1000; " in reason
    assert reason.endswith("merging neither median 0.90 of 1000; artifact mean 0.02; 10% suspects")


def test_thresholds_of_figure_7_on_official_rows(real_data):
    # by hand from the cells: smooth above .5 with ten votes on roundness; featured above .5 (J152532 alone, 19 of 29)
    source = Source(reader="galaxy_zoo_decals", path="gz_decals_sample")
    table = open_reader(source, real_data).votes()
    assert table is not None
    found = clusters.vote_distributions(
        table, by_galaxy("cluster", **dict.fromkeys(table["galaxy_id"].to_pylist(), 0)), "1_and_2"
    )
    panels = {(d.question, d.answer): sorted(d.fractions) for d in found if d.cluster == "all"}
    expected = {
        ("smooth-or-featured", "featured-or-disk"): [5 / 56, 7 / 31, 7 / 27, 17 / 52, 11 / 29, 19 / 29],
        ("how-rounded", "cigar-shaped"): [0, 2 / 19, 6 / 20, 30 / 45, 23 / 31],
        ("disk-edge-on", "yes"): [1 / 19],
        ("bulge-size", "dominant"): [0],
        ("merging", "neither"): [14 / 23],
    }
    assert {key: panels[key] for key in expected} == {key: pytest.approx(value) for key, value in expected.items()}
