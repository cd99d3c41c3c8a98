"""Each check on stored tables: what passes, what warns, what stops; and one that a person runs alone."""

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

import dagster as dg
import numpy as np
import pyarrow as pa
import pytest

from galaxy_assets.orchestration import verdicts
from galaxy_assets.orchestration.checks import CHECKS, Stored, Verdict, said_aloud, stopped
from galaxy_assets.orchestration.graph import ASSETS
from galaxy_assets.orchestration.training_ledger import FEW, FIXED
from galaxy_assets.science import active_learning, anomaly_model
from galaxy_assets.science.checklist import checklist_for
from galaxy_assets.science.observations import Observed
from galaxy_assets.science.results import SCHEMA, compare
from galaxy_assets.settings.files import survey_files
from galaxy_assets.settings.survey import Survey
from galaxy_assets.storage.files import DamagedFile
from galaxy_assets.storage.label_events import EVENTS
from galaxy_assets.storage.layout import Layout
from galaxy_assets.storage.tables import read_table, write_table
from galaxy_assets_tests.conftest import TINY

CHECK = {check.name: check for check in CHECKS}
SURVEY = Survey.model_validate(TINY)


def epochs(components: int, chosen: int = 1) -> pa.Table:
    rows = [{"init": "imagenet", "epoch": e, "pcs_95": components, "chosen": e == chosen} for e in (0, 1)]
    return pa.Table.from_pylist([row | {"reason": "it is the last"} for row in rows])


def clean(kept: int, removed: int) -> pa.Table:
    flags = [True] * kept + [False] * removed
    ids, rule = [str(i) for i in range(len(flags))], [None if flag else "blank" for flag in flags]
    return pa.table({"galaxy_id": ids, "kept": pa.array(flags, pa.bool_()), "rule": pa.array(rule, pa.string())})


def judged(kept: int, removed: int, against: int) -> dict[str, pa.Table]:
    """A delivery of images that are kept, removed, or kept against the rule, and ten without pixels."""
    rows = [(True, None)] * kept + [(False, "blank")] * removed + [(True, "saturated")] * against
    outcomes = ["whole"] * len(rows) + ["blank"] * 10
    all_rows = enumerate(rows + [(False, "blank")] * 10)
    clean = [{"galaxy_id": str(i), "batch": "first", "kept": k, "rule": rule} for i, (k, rule) in all_rows]
    # a delivery that is not judged yet has its cutouts already
    batches, outcomes = ["first"] * len(outcomes) + ["second"] * 900, outcomes + ["whole"] * 900
    cutouts = pa.table({"batch": batches, "outcome": outcomes})
    return {"clean_galaxies": pa.Table.from_pylist(clean), "cutouts": cutouts}


def poor(kept: int, removed: int, against: int = 0) -> dict[str, pa.Table]:
    """A good delivery, and one that loses more than half of its images, or keeps some against the rule."""
    rows = [("night_2", True, None)] * kept + [("night_3", False, "trail")] * removed
    rows += [("night_3", True, None)] * (8 - removed if removed < 8 else 3) + [("night_3", True, "trail")] * against
    clean = pa.Table.from_pylist([dict(zip(("batch", "kept", "rule"), row, strict=True)) for row in rows])
    clean = clean.append_column("galaxy_id", [[str(i) for i in range(len(rows))]])
    return {
        "clean_galaxies": clean,
        "cutouts": clean.select(["batch"]).append_column("outcome", [["whole"] * len(rows)]),
    }


def fitted_on(*batches: str, there: list[str]) -> dict[str, pa.Table]:
    return {"artefact_umap_model": pa.table({"batch": batches}), "delivered_images": pa.table({"batch": there})}


def delivered(*sha256: str) -> pa.Table:
    return pa.table({"galaxy_id": [str(i) for i in range(len(sha256))], "sha256": sha256})


def accuracies(chosen: float, pixels: float, pretrained: float) -> pa.Table:
    rows = [("byol", True, chosen), ("byol", False, 1.0), ("pixels", False, pixels), ("pretrained", False, pretrained)]
    return pa.Table.from_pylist([{"features": f, "chosen": c, "accuracy": a} for f, c, a in rows])


def classes(*sizes: int) -> pa.Table:
    names = [c.name for c in SURVEY.evaluation.classes]
    return pa.table({"evaluation_class": [n for n, size in zip(names, sizes, strict=True) for _ in range(size)]})


def shown(*levels: int | None) -> pa.Table:
    """Cutouts of so many levels above the noise; None for an image without pixels."""
    boxes = pa.array([None if n is None else 0 for n in levels], pa.int32())
    outcomes = ["blank" if n is None else "whole" for n in levels]
    return pa.table({"outcome": outcomes, "levels": pa.array(levels, pa.int32()), "box_x0": boxes})


def drifted(*values: float) -> pa.Table:
    rows = [{"words": "shift", "value": v, "limit": 0.5, "exceeded": v > 0.5} for v in values]
    return pa.Table.from_pylist(rows)


def worksheet(cluster: int | None, label: str | None) -> pa.Table:
    said = {"cluster": pa.array([cluster], pa.int32()), "label": pa.array([label], pa.string())}
    return pa.table({"line": [2], "written_for": [3], "exemplars": [["a", "b"]], "n_held": [1], **said})


PASS, WARN, STOP = (True, False), (False, False), (False, True)
CASES = [
    ("every_image_readable", {"catalogue": pa.table({"problem": pa.array([None], pa.string())})}, PASS, "all readable"),
    ("every_image_readable", {"catalogue": pa.table({"problem": ["too_small"]})}, WARN, "1 too_small"),
    ("every_label_has_an_image", {"absent_images": pa.table({"galaxy_id": ["a"]})}, WARN, "1 labels without"),
    ("fallback_share", {"cutouts": pa.table({"outcome": ["cropped"] * 5})}, PASS, "0.0%"),
    ("fallback_share", {"cutouts": pa.table({"outcome": ["fallback_edge", *["cropped"] * 4]})}, PASS, "20.0%"),
    ("fallback_share", {"cutouts": pa.table({"outcome": ["fallback_edge", *["cropped"] * 3]})}, WARN, "25.0%"),
    (
        "levels_above_noise",
        {"cutouts": shown(32, 33, 31, 200, 99, None)},
        PASS,
        "20.0% of the cutouts have fewer than 32",
    ),
    ("levels_above_noise", {"cutouts": shown(32, 2, 31, 200)}, WARN, "`cutout.stretch: asinh` keeps more"),
    ("levels_above_noise", {"cutouts": pa.table({"outcome": ["cropped"]})}, PASS, "0.0%"),
    ("removed_share", {"clean_galaxies": clean(70, 30)}, PASS, "30.0% removed"),
    ("removed_share", {"clean_galaxies": clean(60, 40)}, WARN, "40.0% removed"),
    ("removal_agreed", judged(95, 5, 0), PASS, "at most 5% is removed, or a person agreed"),
    (
        "removal_agreed",
        judged(70, 0, 6),
        WARN,
        "6 of 76 images with pixels look like artefacts (saturated 6) and are kept: the rule would remove more than",
    ),
    ("removal_agreed", judged(70, 0, 6), WARN, "raise artefacts.most_removed in data/surveys/tiny.yaml, or accept"),
    (
        "removal_agreed",
        poor(500, 0, 1) | fitted_on("night_2", there=["night_2", "night_3"]),
        WARN,
        "night_3 came with fewer than 20 images, of which one is more than 5%",
    ),
    (
        "removal_agreed",
        judged(70, 0, 6) | fitted_on("first", "lost", "not_judged", there=["first", "not_judged"]),
        WARN,
        "lost is gone, and the map is still of them: run tiny --retrain makes it anew",
    ),
    ("no_remnant", judged(55, 45, 0), PASS, "55 of 110 images are kept, and 10 have no pixels"),
    ("no_remnant", judged(54, 46, 0), WARN, "54 of 110 images are kept, and 10 have no pixels; training, components,"),
    ("no_remnant", poor(500, 12), WARN, "of night_3 fewer than half are kept (trail 12). Look at what was removed"),
    ("no_remnant", poor(500, 4), PASS, "504 of 508 images are kept, and 0 have no pixels"),
    ("something_to_see", {"cutouts": pa.table({"outcome": ["whole", "blank"]})}, PASS, "1 of 2 images have a cutout"),
    (
        "something_to_see",
        {"cutouts": pa.table({"outcome": ["blank"] * 2})},
        STOP,
        "none of 2 images has a cutout (blank 2",
    ),
    (
        "enough_left",
        {"clean_galaxies": clean(16, 4), "catalogue": delivered(*"abcdefghijklmnopqrst")},
        PASS,
        "16 of 20 images are left",
    ),
    (
        "enough_left",
        {"clean_galaxies": clean(15, 5), "catalogue": delivered(*"abcdefghijklmnopqrst")},
        STOP,
        "at least 16 are needed (recipe.batch_size); removed: blank 5",
    ),
    (
        "enough_left",
        {"clean_galaxies": clean(20, 0), "catalogue": delivered(*"ab" * 10)},
        STOP,
        "20 of 20 images are left, but only 2 of them differ",
    ),
    (
        "enough_left",
        {"clean_galaxies": clean(1, 0), "catalogue": delivered("a")},
        STOP,
        "the survey has 1 images, and at least 16 are needed (recipe.batch_size): its images are compared",
    ),
    ("no_collapse", {"byol_checkpoints": epochs(10)}, PASS, "10 components"),
    ("no_collapse", {"byol_checkpoints": epochs(9)}, WARN, "9 components"),
    ("no_collapse", {"byol_checkpoints": epochs(3)}, WARN, "3 components"),
    ("no_collapse", {"byol_checkpoints": epochs(2)}, STOP, "take imagenet out of start_weights"),
    ("better_than_start", {"byol_checkpoints": epochs(10)}, PASS, "it is the last"),
    ("better_than_start", {"byol_checkpoints": epochs(10, chosen=0)}, WARN, "it is the last"),
    ("better_than_pixels", {"epoch_accuracy": accuracies(0.8, 0.7, 0.9)}, PASS, "0.800 at the chosen epoch"),
    ("better_than_pixels", {"epoch_accuracy": accuracies(0.7, 0.8, 0.6)}, WARN, "raw pixels 0.800"),
    ("better_than_networks", {"epoch_accuracy": accuracies(0.8, 0.9, 0.7)}, PASS, "pretrained 0.700"),
    ("better_than_networks", {"epoch_accuracy": accuracies(0.8, 0.7, 0.9)}, WARN, "pretrained 0.900"),
    ("converged", {"cluster_model": pa.table({"converged": [False], "iterations": [50]})}, WARN, "50 iterations"),
    ("converged", {"cluster_model": pa.table({"converged": [True], "iterations": [50]})}, PASS, "50 iterations"),
    ("classes_filled", {"evaluation_subset": classes(10, 12)}, PASS, "smallest class: 10"),
    ("classes_filled", {"evaluation_subset": classes(9, 12)}, WARN, "smallest class: 9"),
    ("no_drift", {"batch_drift": drifted(0.5, 0.1)}, PASS, "like the fitted ones"),
    ("no_drift", {"batch_drift": drifted(0.1, 0.6)}, WARN, "retrain: shift 0.60, limit 0.50"),
    ("rows_match", {"cluster_worksheet": worksheet(1, None)}, PASS, "1 rows"),
    ("rows_match", {"cluster_worksheet": worksheet(None, None)}, WARN, "line 2 (written for cluster 3; the best"),
    ("labels_are_classes", {"cluster_worksheet": worksheet(1, "long")}, PASS, "all are"),
    ("labels_are_classes", {"cluster_worksheet": worksheet(1, "ring")}, WARN, "ring"),
    ("clusters_used", {"cluster_summary": pa.table({"n": [3, 2, 0, 0]})}, PASS, "2 of 4"),
    ("clusters_used", {"cluster_summary": pa.table({"n": [3, 0, 0]})}, WARN, "1 of 3"),
]


@pytest.mark.parametrize(("name", "tables", "expected", "words"), CASES)
def test_a_check_finds_what_it_is_for(tmp_path, name, tables, expected, words):
    layout = Layout(tmp_path)
    for asset, table in ({"catalogue": delivered(*map(str, range(100)))} | tables).items():
        partition = {"batch": ("first",), "init": ("imagenet",), None: ()}[ASSETS[asset].by]
        write_table(table, layout.table("tiny", asset, *partition))
    found = CHECK[name].function(Stored(SURVEY, layout))
    assert (found.passed, found.stops) == expected and words in found.words
    assert bool(stopped(Stored(SURVEY, layout), CHECK[name].asset)) == (expected == STOP)


@pytest.mark.parametrize(
    ("trained", "reason", "passes"),
    [
        (2, "epoch 2 beside start (x1), scaled; of it: it is the last", True),
        (2, "epoch 0 beside classical (x1), scaled; of it: no epoch is better", False),
        (0, "epoch 0 beside classical (x1), scaled; of it: it is the last", True),
        (2, f"epoch 0 beside random (x1), scaled; of it: {FIXED}", True),
        (2, f"epoch 0 beside classical (x1), scaled; of it: {FEW}10,000 galaxies or more", True),
    ],
)
def test_a_start_that_is_meant_to_stay_is_no_failed_training_also_with_features_beside(
    tmp_path, trained, reason, passes
):
    recipe = SURVEY.recipe.model_copy(update={"epochs": trained})
    layout = Layout(tmp_path)
    row = {"init": "imagenet", "epoch": trained + 1, "chosen": True, "reason": reason}
    write_table(pa.Table.from_pylist([row]), layout.table("tiny", "byol_checkpoints", "imagenet"))
    found = CHECK["better_than_start"].function(Stored(SURVEY.model_copy(update={"recipe": recipe}), layout))
    assert (found.passed, found.words) == (passes, reason)


REST = (
    "that of an isolation forest, which no score has changed. Score galaxies that differ in interest (`galaxy-assets "
    "explore`, or `labels import tiny`), or look whether the right column was imported, on the right --range"
)


def given(scores: list[float]) -> pa.Table:
    """A person's scores of as many galaxies, as `label_events`."""
    now = datetime.now(UTC)
    rows = [
        {"event": f"e{i}", "time": now, "recorded": now, "who": "ada", "kind": "score", "source": "explorer"}
        | {"galaxy_id": f"g{i}", "score": score}
        for i, score in enumerate(scores)
    ]
    return pa.Table.from_pylist(rows, schema=EVENTS)


def test_a_posterior_that_tells_nothing_apart_and_a_bound_are_told(tmp_path):
    layout, ids = Layout(tmp_path), np.array([f"g{i}" for i in range(8)])
    published = SURVEY.model_copy(update={"anomaly": SURVEY.anomaly.model_copy(update={"learner": "published"})})
    apart, one_place = np.linspace(-3, 3, 16).reshape(8, 2), np.ones((8, 2))
    kept = pa.table({"galaxy_id": ids, "kept": [True] * 8})
    write_table(kept, layout.table("tiny", "clean_galaxies", "b1"))
    rare, exact = [5.0, *[0.0] * 7], [0.0, 0.1, 0.4, 0.9, 1.6, 2.5, 3.6, 4.9]
    for survey, features, scores, *expected in (
        (SURVEY, apart, rare, True, True),
        (published, one_place, rare, False, True),
        (published, apart, exact, True, False),  # without noise
    ):
        said = pa.table({"galaxy_id": ids, "score": scores})
        write_table(given(scores), layout.table("tiny", "label_events"))
        model = anomaly_model.fit(features, ids, said, features.std(axis=0), survey.anomaly.learner, 0)
        write_table(anomaly_model.model_to_table(model), layout.table("tiny", "anomaly_model"))
        names = "posterior_informed", "hyper_parameters_inside"
        found = [CHECK[name].function(Stored(survey, layout)) for name in names]
        assert [one.passed for one in found] == expected and not any(one.stops for one in found)
    assert "noise_level = 1e-05" in found[1].words
    forest = anomaly_model.fit(apart, ids, said.slice(0, 0), apart.std(axis=0), "corrected", 0)
    write_table(anomaly_model.model_to_table(forest), layout.table("tiny", "anomaly_model"))
    stored = Stored(SURVEY, layout)
    said = "posterior_informed: all 8 scores given tell no galaxies apart, and the ranking is "
    assert said + REST in said_aloud(stored)
    write_table(given([3.0, 3.0]), layout.table("tiny", "label_events"))
    assert "all 2 scores given are 3, so they tell no galaxies apart" in " ".join(said_aloud(stored))
    write_table(given([]), layout.table("tiny", "label_events"))
    assert CHECK["posterior_informed"].function(stored).passed and "posterior" not in " ".join(said_aloud(stored))


def test_checks_that_can_stop_are_declared_blocking_and_no_others():
    assert {check.name for check in CHECKS if check.blocking} == {"something_to_see", "enough_left", "no_collapse"}
    assert {name for name, _, expected, _ in CASES if expected == STOP} == {
        "something_to_see",
        "enough_left",
        "no_collapse",
    }


def test_a_loud_check_stops_nothing_and_is_said(tmp_path):
    assert {check.name for check in CHECKS if check.loud} == {"removal_agreed", "no_remnant", "posterior_informed"}
    stored = Stored(SURVEY, Layout(tmp_path))
    assert said_aloud(stored) == []  # before anything was made
    for asset, table in judged(0, 0, 0).items():
        write_table(table, stored.layout.table("tiny", asset, "first"))
    assert said_aloud(stored) == []  # no image has pixels, which another check says
    for asset, table in judged(10, 70, 5).items():
        write_table(table, stored.layout.table("tiny", asset, "first"))
    agreed, remnant = said_aloud(stored)
    assert agreed.startswith("removal_agreed: 5 of 85 images") and remnant.startswith("no_remnant: 15 of 95 images")
    assert stopped(Stored(SURVEY, stored.layout, batch="first"), "cutouts") is None
    write_table(judged(10, 0, 0)["cutouts"], stored.layout.table("tiny", "cutouts", "second"))
    stored.layout.table("tiny", "clean_galaxies", "second").write_bytes(b"damaged")
    assert [one[:20] for one in said_aloud(stored)] == [agreed[:20], remnant[:20]], "of what can be read"
    for batch in ("first", "second"):
        stored.layout.table("tiny", "cutouts", batch).write_bytes(b"damaged")
    assert said_aloud(stored) == []  # what is wrong with the file is said where it is outdated


def test_an_emptied_delivery_stops_nothing_while_the_survey_has_enough(tmp_path):
    layout = Layout(tmp_path)
    write_table(clean(40, 0), layout.table("tiny", "clean_galaxies", "first"))
    write_table(clean(0, 9), layout.table("tiny", "clean_galaxies", "second"))
    write_table(delivered(*map(str, range(40))), layout.table("tiny", "catalogue", "first"))
    assert stopped(Stored(SURVEY, layout, batch="second"), "clean_galaxies") is None


@pytest.mark.parametrize(("others", "stops"), [(40, False), (3, True)])
def test_a_damaged_table_of_another_delivery_is_left_out_and_ends_nothing(tmp_path, others, stops):
    layout = Layout(tmp_path)
    for batch, n in (("first", 20), ("second", others)):
        write_table(clean(n, 0), layout.table("tiny", "clean_galaxies", batch))
        write_table(delivered(*map(str, range(n))), layout.table("tiny", "catalogue", batch))
    damaged = layout.table("tiny", "clean_galaxies", "first")
    damaged.write_bytes(damaged.read_bytes()[:-100])
    second = Stored(SURVEY, layout, batch="second")
    assert bool(stopped(second, "clean_galaxies")) is stops
    with pytest.raises(DamagedFile):  # a person who asks the check itself is told
        CHECK["enough_left"].function(Stored(SURVEY, layout))
    layout.table("tiny", "clean_galaxies", "second").write_bytes(b"damaged too")
    assert stopped(second, "clean_galaxies") is None


def searched(layout: Layout, features: np.ndarray, strange: np.ndarray, learner: str, seed: int) -> list[bool]:
    """Search a world, store what the asset would, and ask both checks of its recall."""
    ids = np.array([f"g{i:03d}" for i in range(len(features))], dtype=object)
    anomaly = {"labels": ["rare"], "learner": learner}
    queries = active_learning.search(
        features, ids, lambda rows: 5 * strange[rows],
        seeds=10, per_round=10, budget=60, trade_off=0.5, learner=learner, seed=seed,
    )  # fmt: skip
    said = pa.table({"galaxy_id": [ids[q.row] for q in queries], "score": [float(q.score) for q in queries]})
    said = said.append_column("n_people", pa.array([0] * 60)).append_column("round", pa.array([0] * 60))
    model = anomaly_model.fit(features, ids, said, features.std(axis=0), learner, seed)
    galaxies = pa.table({"galaxy_id": ids, "batch": ["first"] * len(ids)})
    scores = anomaly_model.scores_to_table(galaxies, *model.score(features))
    tables = {
        "anomaly_ranking": anomaly_model.ranked(scores, said, learner),
        "baseline_rankings": pa.table(
            {"galaxy_id": ids, "isolation_forest": active_learning.unsupervised_score(features, seed)}
        ),
        "volunteer_votes": pa.table({"galaxy_id": pa.array([], pa.string())}),
        "catalogue": pa.table({"galaxy_id": ids, "label": np.where(strange, "rare", "usual")}),
    }
    for name, table in tables.items():
        write_table(table, layout.table("tiny", name, *("first",) if ASSETS[name].by == "batch" else ()))
    stored = Stored(Survey.model_validate(TINY | {"anomaly": anomaly}), layout)
    return [CHECK[name].function(stored).passed for name in ("better_than_random", "better_than_isolation_forest")]


@pytest.mark.parametrize("learner", ["published", "corrected"])
def test_on_features_that_say_nothing_the_search_fails_its_checks_nine_times_in_ten(tmp_path, learner):
    passed = []
    for seed in range(30):
        rng = np.random.default_rng(seed)
        features, strange = rng.normal(size=(400, 4)).astype(np.float32), rng.permutation(400) < 40
        passed.append(searched(Layout(tmp_path), features, strange, learner, seed))
    assert (np.sum(passed, axis=0) <= 3).all(), np.sum(passed, axis=0)


@pytest.mark.parametrize("learner", ["published", "corrected"])
def test_a_search_that_finds_what_nobody_scored_passes_its_checks(tmp_path, learner):
    rng = np.random.default_rng(0)
    features, strange = rng.normal(size=(600, 4)), np.arange(600) % 4 == 0
    features[strange] = rng.normal(size=(150, 4)) * 0.4 + [0.5, 2.2, 0, 0]  # a clump, which no forest isolates
    assert searched(Layout(tmp_path), features.astype(np.float32), strange, learner, 0) == [True, True]


def test_a_survey_without_an_anomaly_left_says_so(tmp_path):
    layout = Layout(tmp_path)
    nothing = np.zeros(600, bool)
    features = np.random.default_rng(0).normal(size=(600, 4)).astype(np.float32)
    assert searched(layout, features, nothing, "corrected", 0) == [False, False]
    found = CHECK["better_than_random"].function(Stored(SURVEY, layout))
    assert "0 true anomalies among 540 labelled galaxies that nobody scored: nothing to judge" in found.words


def test_every_check_runs_alone_on_what_is_stored(world):
    by = {"batch": "first", "init": "imagenet", None: None}
    for check in CHECKS:
        key = dg.AssetCheckKey(dg.AssetKey(["tiny", check.asset]), check.name)
        job = dg.define_asset_job("alone", selection=dg.AssetSelection.checks(key))
        defs = dg.Definitions.merge(world.defs, dg.Definitions(jobs=[job]))
        instance = dg.DagsterInstance.ephemeral()
        instance.add_dynamic_partitions("tiny_batch", ["first", "second"])
        partition = None if check.whole else by[ASSETS[check.asset].by]
        # as the UI starts it: a run of checks alone has no asset whose partitions it could be asked for
        tags = {"dagster/partition": partition} if partition else {}
        ran = defs.resolve_job_def("alone").execute_in_process(instance=instance, tags=tags)
        (evaluation,) = ran.get_asset_check_evaluations()
        assert evaluation.check_name == check.name and evaluation.description
        assert not ran.get_asset_materialization_events()


def test_a_check_of_a_table_that_was_never_made_says_what_to_make(tmp_path):
    with pytest.raises(FileNotFoundError, match="tiny/results was never made; materialise it first"):
        CHECK["agrees_with_paper"].function(Stored(SURVEY, Layout(tmp_path)))


PAPERS = survey_files(Path("/nonexistent")).known


def against_the_paper(survey: Survey, layout: Layout, numbers: Mapping[str, float] | None) -> Verdict:
    """The check, where every number that was measured is the paper's but for those given; None: nothing was."""
    measured = {
        check.id: None if numbers is None else Observed(check.id, numbers.get(check.id, float(check.expected)))
        for check in checklist_for(survey.start_weights)
        if check.asset
    }
    rows = [compare(check, measured.get(check.id), survey) for check in checklist_for(survey.start_weights)]
    write_table(pa.Table.from_pylist(rows, schema=SCHEMA), layout.table(survey.name, "results"))
    return CHECK["agrees_with_paper"].function(Stored(survey, layout))


@pytest.mark.parametrize("name", ["gz_decals", "mirabest"])
def test_the_shipped_surveys_agree_with_the_paper_where_they_find_what_it_found(tmp_path, name):
    survey, layout = PAPERS[name], Layout(tmp_path)
    found = against_the_paper(survey, layout, {})
    assert found.passed and not found.stops, found.words
    assert found.words.endswith("agree, 0 differ, 1 not comparable, 0 not observed"), "the speed of the machine"
    some = against_the_paper(survey, layout, {"P3:features": np.nan})
    assert some.passed and some.words.endswith("1 not observed")
    features = against_the_paper(survey, layout, {"P3:features": 1280})
    assert not features.passed and "1 differ: P3:features," in features.words
    nothing = against_the_paper(survey, layout, None)
    assert not nothing.passed and "0 differ" in nothing.words
    assert "no number was observed; materialise the survey" in nothing.words


def test_a_survey_that_the_paper_does_not_have_has_nothing_to_disagree_with(tmp_path):
    found = against_the_paper(SURVEY, Layout(tmp_path), {})
    assert found.passed and found.words == "the paper has no number for this survey"


def test_the_oracle_without_labels_is_told_what_to_do(world, tmp_path):
    layout = Layout(tmp_path)
    for name in ("clean_galaxies", "catalogue"):
        for batch in ("first", "second"):
            write_table(read_table(Layout(world.root).table("tiny", name, batch)), layout.table("tiny", name, batch))
    votes = read_table(Layout(world.root).table("tiny", "volunteer_votes"))
    write_table(votes, layout.table("tiny", "volunteer_votes"))
    write_table(pa.table({"event": pa.array([], pa.string())}), layout.table("tiny", "oracle_events"))
    assert CHECK["oracle_labelled"].function(Stored(SURVEY, layout)).passed
    unlabelled = SURVEY.model_copy(update={"anomaly": SURVEY.anomaly.model_copy(update={"labels": ("ring",)})})
    found = CHECK["oracle_labelled"].function(Stored(unlabelled, layout))
    assert not found.passed and not found.stops and "under `anomaly` in data/surveys/tiny.yaml" in found.words


def test_a_check_that_cannot_be_asked_says_so_and_stops_neither_run_nor_status(tmp_path):
    stored = Stored(SURVEY, Layout(tmp_path))
    write_table(pa.table({"galaxy_id": ["a"]}), Layout(tmp_path).table("tiny", "anomaly_model"))
    write_table(pa.table({"galaxy_id": ["a"]}), Layout(tmp_path).table("tiny", "label_events"))
    (said,) = said_aloud(stored)
    assert said.startswith("posterior_informed: cannot be asked (")


def test_what_a_check_of_a_whole_survey_remembers_is_read_again_once_its_file_is_another(tmp_path, monkeypatch):
    layout, read = Layout(tmp_path), []
    monkeypatch.setattr(verdicts, "read_table", lambda *given: read.append(given) or read_table(*given))
    for batch, kept in (("first", 3), ("second", 600)):
        write_table(clean(kept, 1), layout.table("tiny", "clean_galaxies", batch))
    stored = Stored(SURVEY, layout)
    for _ in range(3):
        assert stored("clean_galaxies", ["kept"]).num_rows == 605
    assert len(read) == 1 + 3  # the small one is remembered, the large one is not
    write_table(clean(5, 1), layout.table("tiny", "clean_galaxies", "first"))
    assert stored("clean_galaxies", ["kept"]).num_rows == 607
    assert stored("clean_galaxies", ["kept", "rule"]).column_names == ["kept", "rule"]
