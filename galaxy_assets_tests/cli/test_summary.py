"""The summary at the end of a run: short, its numbers those of the tables, the paper's where it has the survey."""

from pathlib import Path

import pyarrow as pa
import pytest

from galaxy_assets.cli.summary import _clusters, _search, _training, found, say_summary
from galaxy_assets.lake import connect
from galaxy_assets.lake.read_model import publish
from galaxy_assets.orchestration.assets.evaluation import ACCURACY
from galaxy_assets.orchestration.assets.recall import MET, QUESTIONS
from galaxy_assets.orchestration.training_ledger import FEW, FIXED
from galaxy_assets.orchestration.training_ledger import SCHEMA as CHECKPOINTS
from galaxy_assets.science.results import SCHEMA
from galaxy_assets.settings.files import survey_files
from galaxy_assets.storage.layout import Layout
from galaxy_assets.storage.tables import read_table, write_table


def rows_of(world) -> dict[str, list[str]]:
    rows: dict[str, list[str]] = {}
    for name, words in found(world.survey, Layout(world.root)):
        rows.setdefault(name or list(rows)[-1], []).append(words)
    return rows


def test_features_side_by_side_are_no_epoch_that_is_used(world):
    used = {epoch: _training(lambda _, epoch=epoch: [(epoch, "why")], {}, world.survey)[0] for epoch in (2, 3)}
    main = world.survey.main_start_weights
    assert used == {2: f"{main}: epoch 2 of 2 is used", 3: f"{main}: features side by side are used"}


def test_images_come_first_and_then_what_the_search_met_beside_other_lists(world):
    rows = rows_of(world)
    assert list(rows) == ["images", "search", "clusters", "training", "other starts"]
    with connect(world.root) as lake:
        kept, removed = lake.sql(
            "select count(*) filter (kept), count(*) filter (not kept and rule <> 'unreadable') "
            "from tiny.clean_galaxies"
        ).fetchall()[0]
        true = "(select galaxy_id from tiny.catalogue where label = 'pair')"
        pairs, met = lake.sql(
            f"select count(*) filter (galaxy_id in {true}), "
            f"(select count(*) from tiny.oracle_events where galaxy_id in {true}) "
            "from tiny.clean_galaxies where kept"
        ).fetchall()[0]
        ranked = lake.sql(
            "select galaxy_id from tiny.baseline_rankings order by isolation_forest desc, galaxy_id"
        ).fetchall()
        pair_ids = {galaxy for (galaxy,) in lake.sql(f"from {true}").fetchall()}
    assert rows["images"] == [f"73 in, {kept} kept", f"{removed} removed, 1 without a cutout (unreadable 1)"]
    forest = sum(galaxy in pair_ids for (galaxy,) in ranked[:18])
    assert rows["search"][0] == f"{met} of {pairs} pairs met in 18 questions"
    assert rows["search"][1].startswith(f"(the first 18 of an isolation forest hold {forest}, of a random order ")
    assert rows["search"][1].endswith(f"asking meets {met - forest if met > forest else 'none'} more")
    assert rows["search"][2] == f"{pairs - met} more in the first {kept - 18} that nobody scored"


def test_more_questions_than_galaxies_that_are_known_now_leave_the_comparison_out(world):
    def ask(sql: str) -> list:
        return [(100, 30)] if "count" in sql else [(100, 30)] if "found_unshown from" in sql else []

    lines = _search(ask, world.survey, {QUESTIONS: 250.0, MET: 20.0})
    assert lines == ["20 of 30 pairs met in 250 questions", "30 more in the first 100 that nobody scored"]


def test_clusters_of_which_nobody_knows_anything_are_said_in_one_line(world):
    def of(*descriptions: str) -> list[str]:
        return _clusters(
            lambda _: [(1200 - i, words, False, None) for i, words in enumerate(descriptions)], world.survey
        )

    unknown = "No labelled members"
    assert of(unknown, unknown)[1:] == [f"the largest 1,200, 1,199; all: {unknown}"]
    assert of(unknown, "Mostly rings")[1:] == [f"1,200 {unknown}", "1,199 Mostly rings"]
    assert of(unknown)[1:] == [f"1,200 {unknown}"]


def test_clusters_and_what_training_was_worth(world):
    layout, rows = Layout(world.root), rows_of(world)
    summary = [row for row in read_table(layout.table("tiny", "cluster_summary", "imagenet")).to_pylist() if row["n"]]
    largest = max(summary, key=lambda row: row["n"])
    assert rows["clusters"][0].startswith(f"{len(summary)} with members, ")
    assert rows["clusters"][1] == f"{largest['n']} {largest['description']}"[:46] or "..." in rows["clusters"][1]
    with connect(world.root) as lake:
        observed = dict(lake.sql("select check_id, observed from tiny.results").fetchall())
    assert rows["training"][:2] == [
        f"imagenet: epoch {observed['B5:imagenet:epoch']:.0f} of 2 is used",
        f"k-NN accuracy {observed['E7:imagenet']:.3f}, before training {observed['E7:imagenet:start']:.3f}, "
        f"of the pixels alone {observed['E7:pixels']:.3f}",
    ]
    assert rows["training"][2].startswith("training ") or observed["B5:imagenet:epoch"] == 0
    assert rows["other starts"] == [f"random: k-NN accuracy {observed['E7:random']:.3f}"]


@pytest.mark.parametrize(
    ("epoch", "untrained", "words"),
    [
        (1, 0.86, "training gains here: +4.0 points beside an untrained network (0.860), by chance up to 3.5"),
        (1, 0.82, "training gains here: +6.0 points beside the ImageNet network (0.840), by chance up to 3.5"),
        (
            1,
            0.89,
            "training gains nothing sure here: +1.0 points beside an untrained network (0.890), by chance up to 3.5",
        ),
        (1, 0.95, "training loses here: -5.0 points beside an untrained network (0.950), by chance up to 3.5"),
        (0, 0.86, "the start itself is used: training gains nothing here"),
    ],
)
def test_it_says_on_the_spot_what_training_brought_beside_the_best_without_it(tmp_path, epoch, untrained, words):
    layout, survey = Layout(tmp_path), survey_files(tmp_path).known["demo_radio"]
    means = {"byol": [0.8, 0.9], "pretrained": [0.84], "untrained": [untrained], "pixels": [0.6]}
    write_table(
        pa.Table.from_pylist(
            [
                {"init": "imagenet", "epoch": e, "features": kind, "split": i, "accuracy": mean + wave}
                | {"chosen": kind == "byol" and e == epoch}
                for kind, curve in means.items()
                for e, mean in enumerate(curve)
                for i, wave in enumerate([0.02, -0.02, 0.02, -0.02] if kind == "byol" and e == 1 else [0.0] * 4)
            ],
            schema=ACCURACY,
        ),
        layout.table(survey.name, "epoch_accuracy", "imagenet"),
    )
    checkpoints = [{"init": "imagenet", "epoch": e, "chosen": e == epoch, "reason": "of health"} for e in (0, 1)]
    write_table(
        pa.Table.from_pylist(checkpoints, schema=CHECKPOINTS),
        layout.table(survey.name, "byol_checkpoints", "imagenet"),
    )
    observed = {"E7:imagenet": means["byol"][epoch], "E7:imagenet:start": 0.8, "E7:pixels": 0.6}
    write_table(
        pa.Table.from_pylist([{"check_id": k, "observed": v} for k, v in observed.items()], schema=SCHEMA),
        layout.table(survey.name, "results"),
    )
    publish(layout)
    assert words in [said for _, said in found(survey, layout)]


SIDE = "beside start (x1) and classical (x0.5), scaled to the same total variance; of it: it is the last"


@pytest.mark.parametrize(
    ("reason", "words"),
    [
        (
            f"epoch 1 {SIDE}",
            "training and what stands beside it (classical) together gain here: +6.0 points beside the start (0.800), "
            "by chance up to 0.0",
        ),
        (f"epoch 0 {SIDE}", "the start itself is used beside classical: training gains nothing here"),
        (f"epoch 0 {SIDE}: {FIXED}", "the start itself is used beside classical: nothing is trained here"),
        (f"epoch 0 {SIDE}: {FEW}10,000 or more", "the start itself is used beside classical: nothing is trained here"),
    ],
)
def test_what_stands_beside_is_not_said_to_be_trainings_gain(reason, words):
    survey = survey_files(Path("absent")).known["demo_radio"]
    recipe = survey.recipe.model_copy(update={"beside": {"start": 1.0, "classical": 0.5}})
    judged = [("byol", False, 0.8), ("pixels", False, 0.6), ("byol", True, 0.86)] * 2

    def ask(sql: str) -> list:
        return judged if "epoch_accuracy" in sql else [(recipe.epochs + 1, reason)]

    observed = {"E7:imagenet": 0.86, "E7:imagenet:start": 0.8, "E7:pixels": 0.6}
    assert _training(ask, observed, survey.model_copy(update={"recipe": recipe}))[-1] == words


def test_it_is_short_and_says_where_to_look_and_nothing_of_the_paper(world, monkeypatch, capsys):
    monkeypatch.setenv("GALAXY_ASSETS_DATA", str(world.root))
    say_summary([world.survey], 1, {"tiny": ["a_check: what it found"]})
    printed = capsys.readouterr().out
    assert printed.startswith("\n1 step failed, see above") and "  ! a_check: what it found\n" in printed
    assert "not applicable" not in printed and "paper" not in printed
    assert "galaxy-assets explore" in printed and "select * from tiny.anomaly_ranking" in printed
    assert len(printed.splitlines()) <= 24


@pytest.mark.parametrize(
    ("verdicts", "words"),
    [
        (
            ["agrees", "agrees", "differs", "not applicable to this survey"],
            "settings 2 agree, 1 differ (mirabest.results)",
        ),
        (["not applicable to this survey"], ""),
    ],
)
def test_of_a_survey_that_the_paper_has_it_says_how_many_numbers_agree(tmp_path, verdicts, words):
    layout = Layout(tmp_path)
    table = pa.Table.from_pylist([{"check_id": f"X{i}", "verdict": v} for i, v in enumerate(verdicts)], schema=SCHEMA)
    write_table(table, layout.table("mirabest", "results"))
    publish(layout)
    rows = dict(found(survey_files(tmp_path).known["mirabest"], layout))
    assert rows.get("the paper", "").endswith(words) and bool(rows.get("the paper")) == bool(words)
