"""The benchmarks run, their answers are equal, and the page shows the numbers committed with it. No time is judged."""

import importlib
import json
import math
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch

from galaxy_assets import plugins
from galaxy_assets.lake import connect
from galaxy_assets.lake.read_model import publish
from galaxy_assets.settings.files import survey_files
from galaxy_assets.storage.layout import Layout
from galaxy_assets.storage.tables import write_table

ROOT = Path(__file__).parents[1]
COMPARED = {
    "cutouts": ["cutout in memory, 8-bit", "PNG file to stored cutout", "cutout in memory, float"],
    "neighbours": ["k-NN accuracy, 5 splits, 600 x 512"],
    "mixture": [
        *(f"mixture, one iteration of one start of 2, {name}" for name in ("float64", "float32")),
        *(f"mixture, 2 starts to convergence, begun in {name}" for name in ("float64", "float32")),
    ],
    "gaussian_process": ["one round of the search, learner published", "one round of the search, learner corrected"],
    "similarity": ["one similarity search", "one similarity search, beside SQL"],
    "pca": ["PCA, 95 % of the variance, 2,000 x 512"],
    "projection": ["UMAP"],
    "feature_tables": ["reading features, 2,000 x 29"] * 2,
}


@pytest.fixture(scope="module", autouse=True)
def benchmarks():
    """The folder's modules are importable as its scripts find them."""
    sys.path.insert(0, str(ROOT / "benchmarks"))
    yield
    sys.path.remove(str(ROOT / "benchmarks"))


@pytest.mark.parametrize("stage", COMPARED)
def test_a_stage_compares_what_the_issue_asks_for_and_its_answers_are_equal(stage):
    rows = list(importlib.import_module(stage).measure(small=True))
    compared = [row for row in rows if row.peer is not None]
    assert [row.case for row in compared] == COMPARED[stage]
    for row in compared:
        assert row.equal and all(equal.holds for equal in row.equal), row
        assert row.ratio_min <= row.ratio <= row.ratio_max
    assert any(row.exponent is not None and len(row.sizes) == 3 for row in rows)


def test_learners_tried_beside_the_shipped_ones_begin_as_these_and_differ_by_their_choice():
    tried = importlib.import_module("tried_learners")
    anomaly_search = importlib.import_module("anomaly_search")
    plain = tried.PublishedKernel(ask="improvement", cold_start=False, keeps_scores_given=False)
    learners = tried.NEARBY | tried.OTHERS | {"shipped": tried.Variant(), "plain": plain}
    rng = np.random.default_rng(0)
    features = rng.normal(size=(300, 6)).astype(np.float32) * np.geomspace(3, 1, 6)
    features[:30, 2:] += 2
    world = anomaly_search.World(features, np.array([f"g{i:03d}" for i in range(300)], object), np.zeros(300))
    true = np.arange(300) < 30

    def found(name: str) -> str:
        return str(anomaly_search.searched(world, true, name, budget=60))

    with tried.registered(learners):
        assert found("shipped") == found("corrected") and found("plain") == found("published")
        others = {name: found(name) for name in learners}
    assert len(set(others.values())) >= len(others) - 3  # some choices are alike on a world so small
    with pytest.raises(plugins.PluginError):
        plugins.find("learners", "plain")


def test_a_table_without_a_section_on_its_page_is_refused_and_nothing_is_written(tmp_path):
    report, page = importlib.import_module("report"), tmp_path / "page.md"
    text = "<!-- measured: kept -->\n\nold\n\n<!-- end -->\n"
    page.write_text(text)
    with pytest.raises(ValueError, match=r"page\.md has no section .*add <!-- measured: lost one -->"):
        report.write_sections(page, {"kept": "new", "lost one": "table"})
    assert page.read_text() == text
    report.write_sections(page, {"kept": "new"})
    assert page.read_text() == text.replace("old", "new")


@pytest.mark.parametrize("name", ["graded_search", "anomaly_search"])
def test_every_table_of_the_anomaly_search_has_a_section_on_its_page(name):
    sections, page = importlib.import_module(name).SECTIONS, importlib.import_module("anomaly_search").PAGE.read_text()
    assert [section for section in sections if f"<!-- measured: {section} -->\n" not in page] == []


def test_targets_found_unshown_are_compared_with_those_of_the_forest_among_the_same_galaxies():
    graded_search = importlib.import_module("graded_search")
    name, target = graded_search.TARGETS[0]
    where = {"kind": "0/5", "set": name, "varied": "sample", "learner": "graded"}
    found = [(target, 0, 3, 2), (target, 1, 6, 1), (graded_search.TARGETS[1][1], 0, 1, 2), ("merger", 0, 4, 0)]
    rows = [where | dict(zip(("target", "number", "unshown", "forest_unshown"), row, strict=True)) for row in found]
    lines = [[cell.strip() for cell in line.split("|")] for line in graded_search.show_beside_forest(rows).split("\n")]
    graded = lines[0].index("graded, 0 or 5")
    shown = {line[1]: line[graded] for line in lines}
    assert [shown[f"{name}: {one}"] for one in (target, graded_search.TARGETS[1][1], "merger")] == ["3.00", "0.50", ""]
    assert shown["mean"] == "1.75 (of 2)"


def test_the_minutes_of_a_tuned_survey_are_those_of_all_its_starts(tmp_path):
    tuned, spent = importlib.import_module("tuned_surveys"), tmp_path / "seconds"
    spent.write_text("100.0")
    assert tuned.counted([sys.executable, "-c", "import time; time.sleep(.3)"], spent, look=0.1) == 0
    first = float(spent.read_text())
    assert first >= 100.3
    assert tuned.counted([sys.executable, "-c", "raise SystemExit(3)"], spent) == 3
    assert float(spent.read_text()) > first


def test_trainings_gain_is_told_beside_the_start_and_its_formulae():
    tuned = importlib.import_module("tuned_surveys")
    kinds = {"met": 8.0, "unshown": 3.0, "forest": 4.0, "forest_unshown": 2.0}
    row = {"set": "a", "seed": 0, "images": 9, "left_out": 0, "seconds": 120}
    row |= {f"{key}_{when}": value for key, value in kinds.items() for when in ("before", "beside", "after")}
    older = {key: value for key, value in row.items() if "beside" not in key and "forest_unshown" not in key} | {
        "before": 0.7,
        "after": 0.8,
    }
    shown = tuned.show_training([row | {"before": 0.7, "beside": 0.77, "after": 0.8}, older])
    head, _, new, old, means = ([cell.strip() for cell in line.split("|")] for line in shown.split("\n"))
    at = [head.index(name) for name in ("without training", "gain", "of training", "unshown / forest unshown")]
    assert [[line[i] for i in at] for line in (new, old, means)] == [
        ["0.770", "+10.0", "+3.0", "1.50"],
        ["", "+10.0", "", ""],
        ["", "+10.0", "+3.0", "1.50"],
    ]
    start, formulae = np.random.default_rng(0).normal(size=(50, 4)), np.random.default_rng(1).normal(size=(50, 9))
    rng = np.random.default_rng(2)
    classes = np.repeat(["dull", "rare"], [200, 40])
    apart = rng.normal(size=(240, 3)) + 2 * np.eye(3)[0] * (classes == "rare")[:, None]
    found = tuned._searched(apart, classes)
    assert 0 < found["forest_unshown"] < found["forest"]
    assert found["forest_unshown"] <= found["of"] - found["met"]
    joined = tuned.side_by_side([start, formulae], [1.0, 0.5])
    assert joined[:, 4:].var(axis=0).sum() == pytest.approx(0.25 * start.var(axis=0).sum())


def test_training_compares_steps_views_and_embeddings_like_for_like_and_as_users_run_them():
    rows = list(importlib.import_module("training").measure(small=True))
    step, views = "BYOL step, 32 px, batch 4, float32", "one view of each of 2, 32 px"
    of_lite = "BYOL step of EfficientNet-Lite0"
    assert [(row.case, row.peer) for row in rows] == [
        ("BYOL step, 32 px, batch 4, bfloat16", "byol-pytorch in float32"),
        (step, "byol-pytorch in float32"),
        (step, "byol-pytorch in float32, as its users run it"),
        (step.replace("step", "step per view"), "byol-pytorch in float32"),
        (f"{of_lite}, 32 px, batch 4, bfloat16", "byol-pytorch in float32"),
        (f"{of_lite}, 32 px, batch 4, float32", "byol-pytorch in float32"),
        (views, "torchvision on the same pixels, one by one"),
        (views, "torchvision on 300 px, one by one, as its users run it"),
        (views, "kornia on the same pixels"),
        *(
            (f"embedding, 32 px, {precision}", peer)
            for precision in ("bfloat16", "float32")
            for peer in ("batches of 32, no gradients", "one at a time with gradients, as Astronomaly runs it")
        ),
        ("embedding of EfficientNet-Lite0, 32 px, bfloat16", "batches of 32, no gradients"),
        ("embedding of EfficientNet-Lite0, 32 px, float32", "batches of 32, no gradients"),
    ]
    assert all(equal.holds for row in rows for equal in row.equal)


def test_the_check_of_a_gpu_runs_on_a_cpu_and_says_so():
    gpu = importlib.import_module("gpu")
    result = gpu.measure(gpu.CPU, True, gpu.random_pixels(32, 32))
    assert not result["gpu"] and result["targets"] == []
    assert len(result["equality"]) == 9 and all(row["holds"] for row in result["equality"])
    assert [row["device"] for row in result["health"]] == ["cpu", "cpu"]
    assert result["health"][0] == result["health"][1]
    assert {(row["what"], row["precision"]) for row in result["speed"]} == {
        (what, precision) for what in ("training", "embedding") for precision in ("bfloat16", "float32")
    }
    assert all(row["images_per_second"] > 0 and row["share"] > 0 for row in result["speed"])
    page = gpu.page(json.loads(json.dumps(result)))
    assert "**No GPU was seen.**" in page and all(line in page for line in gpu.UNSEEN)
    seen = gpu.page(result | {"gpu": True, "targets": [{"what": "x", "target": 3.0, "found": 2.0, "met": False}]})
    assert "| x | 3 | 2 | **no** |" in seen and "No GPU" not in seen


def test_the_page_of_the_gpu_is_of_the_numbers_beside_it():
    gpu, docs = importlib.import_module("gpu"), ROOT / "docs"
    assert gpu.page(json.loads((docs / "gpu.json").read_text())) == (docs / "gpu.md").read_text()


def test_the_check_of_a_gpu_uses_the_papers_recipe_and_the_papers_tool():
    """It restates both, for machines that have neither pydantic nor byol-pytorch."""
    from byol_pytorch import BYOL

    from galaxy_assets.settings.recipe import Recipe

    gpu = importlib.import_module("gpu")
    shipped = Recipe(preset="paper").model_dump()
    assert {name: shipped[name] for name in gpu.PAPER} == gpu.PAPER
    later = {"beside", "train_random_from"}
    assert set(shipped) - set(gpu.PAPER) == {"preset", "epoch_choice", "trainer", "embedding_precision", *later}
    ours = gpu.Published(gpu.random_encoder(), 512, 32, 0.9).double()
    halves = [lambda images, i=i: images.chunk(2)[i] for i in range(2)]
    theirs = BYOL(
        gpu.random_encoder(),
        32,
        hidden_layer=-1,
        projection_size=100,
        projection_hidden_size=32,
        augment_fn=halves[0],
        augment_fn2=halves[1],
        moving_average_decay=0.9,
        use_simplicial_embeddings=False,
    ).double()
    theirs.online_encoder.net.load_state_dict(ours.online[0].state_dict())
    theirs.online_encoder.projector.load_state_dict(ours.online[1].state_dict())
    theirs.target_encoder.load_state_dict(theirs.online_encoder.state_dict())
    theirs.online_predictor.load_state_dict(ours.predictor.state_dict())
    optimisers = [torch.optim.SGD(learner.parameters(), lr=0.1) for learner in (ours, theirs)]
    for _ in range(3):
        images, losses = torch.rand(8, 3, 32, 32, dtype=torch.float64), []
        for learner, optimiser in zip((ours, theirs), optimisers, strict=True):
            loss = learner(images)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            learner.update_moving_average()
            losses.append(loss.item())
        assert losses[0] == pytest.approx(losses[1], abs=1e-10)


def test_the_check_of_a_gpu_needs_four_packages_alone():
    """What a machine with a GPU may lack is hidden."""
    hidden = "pydantic dagster pyarrow pandas duckdb cv2 astropy byol_pytorch yaml typer torchvision umap"
    code = f"import sys; sys.modules.update(dict.fromkeys('{hidden}'.split())); import gpu; gpu.Published"
    # timm itself needs torchvision and yaml
    code = code.replace(" yaml", "").replace(" torchvision", "")
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT / "benchmarks", capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_a_simulated_survey_goes_all_the_way_to_the_read_model():
    at_scale = importlib.import_module("survey_at_scale")
    rows = {row.case: row for row in at_scale.measure(small=True)}
    waited = [rows.pop(case) for case in at_scale.WAITED]
    assert list(rows) == [*at_scale.STEPS, "all steps"]
    assert all(row.sizes == list(at_scale.SMALL) and row.note is None for row in rows.values())
    assert all(row.n == at_scale.SMALL[-1] and row.seconds > 0 and row.equal[0].found == 0 for row in waited)


def test_a_step_that_needs_too_much_memory_is_named(tmp_path):
    at_scale = importlib.import_module("survey_at_scale")
    at_scale.deliver(Layout(tmp_path), 100_000)
    stopped = at_scale.alone("pca_model", tmp_path, limit=2**28)
    # threads of libraries need memory too, and say it in their own way
    assert re.search("memory|alloc|temporarily unavailable|new thread", stopped["stopped"])
    last = list(at_scale.rows({1000: {"pca_model": stopped}}, bare=0.0))
    assert last[0].note.startswith("stopped at 1,000 galaxies") and last[-1].case == "all steps"


def test_a_first_run_is_followed_by_what_others_tell(untrained):
    bench, layout = importlib.import_module("first_run"), Layout(untrained)
    survey = survey_files(untrained).named("tiny")
    tables = [("delivered_images", "first"), ("cutouts", "first"), ("byol_checkpoints", "imagenet"), ("results", None)]
    works = {table: work for table, (work, _) in bench.first_run.works(survey, tables, layout).items()}

    def run(times: float) -> object:
        """One of so many times the work, of which each table takes 2 s and one for each unit."""
        work = {table: times * one for table, one in works.items()}
        ends = np.cumsum([2 + one for one in work.values()])
        begun = dict(zip(tables, zip([0.0, *ends[:-1]], ends, strict=True), strict=True))
        return bench.Made(survey, layout, begun, work)

    known = bench.fitted([run(2), run(3)])
    assert known["cutouts"] == pytest.approx((2, 1)) and known["results"] == pytest.approx((2, 1))
    said = bench.followed(run(1), known)
    assert [told for told, _ in said] == pytest.approx([took for _, took in said]) and said[0][0] > 60


def test_every_stage_is_run_and_loading_is_one_of_them():
    stages = importlib.import_module("run").STAGES
    assert set(stages) == {*COMPARED, "training", "survey_at_scale", "startup", "kept_bytes"}
    assert all((ROOT / "benchmarks" / f"{stage}.py").exists() for stage in stages)
    (row,) = importlib.import_module("startup").measure(small=True)
    assert {name for name, *_ in row.targets()} == {"seconds", "MB"} and row.memory_mb > 10


def test_the_bytes_of_a_galaxy_are_those_of_its_files():
    kept = importlib.import_module("kept_bytes")
    rows = {row.case: row for row in kept.measure(small=True)}
    assert set(rows) == {"delivered image, PNG", *kept.TABLES}
    assert rows["embeddings"].n == 1_000 and rows["embeddings"].bytes / 1_000 < 4 * 512 * 1.1
    assert rows["embeddings"].bytes > rows["pca_features"].bytes > rows["cluster_labels"].bytes / 2 > 0


def test_answers_that_differ_are_told():
    side_by_side = importlib.import_module("side_by_side")
    found = side_by_side.compare(lambda: np.ones(3), lambda: np.zeros(3), rounds=3, memory=False)
    differ = side_by_side.Equal("values that differ", int((found.our_answer != found.peer_answer).sum()))
    assert not differ.holds and not side_by_side.Equal("undefined", math.nan, 1.0).holds
    row = side_by_side.Row("stage", "case", 3, "peer", **found.columns(), equal=[differ], target_ratio=1e9)
    assert "NOT EQUAL: values that differ: 3" in side_by_side.line(row)
    assert row.targets() == [("ratio", 1e9, row.ratio, False)]


def test_peak_memory_counts_what_was_freed_again():
    side_by_side = importlib.import_module("side_by_side")

    def grow_and_shrink() -> float:
        return float(np.ones(10_000_000).sum())

    memory, answer = side_by_side.peak_memory(grow_and_shrink)
    assert answer == 1e7 and (math.isnan(memory) or 70 < memory < 160)


def test_the_table_is_a_schema_of_the_read_model_and_no_survey(tmp_path):
    side_by_side, layout = importlib.import_module("side_by_side"), Layout(tmp_path)
    row = side_by_side.Row("pca", "case", 3, equal=[side_by_side.Equal("what", 0.0)], seconds=math.nan)
    path = layout.table(side_by_side.SURVEY, side_by_side.TABLE, "pca")
    write_table(side_by_side.table("pca", [row], took=1.0), path)
    write_table(pa.table({"a": [1]}), layout.table("s", "one"))
    assert publish(layout) == ["benchmarks.performance", "s.one"]
    with connect(tmp_path) as lake:
        ((seconds, n),) = lake.sql("select seconds, n from benchmarks.performance where \"case\" = 'case'").fetchall()
    assert (seconds, n) == (None, 3)


def test_the_page_shows_the_committed_numbers():
    report = importlib.import_module("report")
    page = report.PAGE.read_text(encoding="utf-8")
    assert report.rendered(page, report.read_numbers()) == page
    assert {found[1] for found in report._SECTION.findall(page)} == set(report.SECTIONS)


def test_a_projection_continues_the_measured_slope():
    side_by_side, report = (importlib.import_module(name) for name in ("side_by_side", "report"))
    slow = side_by_side.Row("neighbours", "c", 100, sizes=[10, 100], size_seconds=[0.01, 1.0], exponent=2.0)
    assert report.projected(slow, 1_000) == pytest.approx(100.0)
    fixed = side_by_side.Row("pca", "c", 100, sizes=[10, 100], size_seconds=[0.9, 1.0], exponent=0.05)
    assert report.projected(fixed, 1_000) == pytest.approx(10.0)
    assert [report.duration(s) for s in (0.02, 5, 150, 4e8)] == ["20 ms", "5 s", "2.5 min", "13 years"]


def test_the_campaigns_comparison_notices_a_changed_value_and_nothing_that_may_differ(tmp_path):
    compare = importlib.import_module("campaign.compare")
    layout = Layout(tmp_path)
    votes = pa.table({"galaxy_id": ["a", "b"], "smooth": [0.5, 0.25]})
    trained = pa.table({"epoch": [0, 1], "loss": [2.0, 1.0], "seconds": [0.0, 3.0]})

    def left(votes: pa.Table, trained: pa.Table) -> dict[str, str]:
        write_table(votes, layout.table("s", "volunteer_votes"))
        write_table(trained, layout.table("s", "byol_checkpoints", "imagenet"))
        publish(layout)
        return compare.contents(tmp_path)

    before = left(votes, trained)
    assert before["view s.volunteer_votes"] == "2" and "s/byol_checkpoints/imagenet#loss" in before
    slower = trained.set_column(2, "seconds", pa.array([0.0, 4.0]))
    assert compare.differences(before, left(votes, slower)) == []
    other = votes.set_column(1, "smooth", pa.array([0.5, np.nextafter(0.25, 1)]))
    found = {d.split(":")[0] for d in compare.differences(before, left(other, trained))}
    assert found == {"s/volunteer_votes#smooth", "s/volunteer_votes#made by"}
    shorter = compare.differences(before, left(votes.slice(0, 1), trained))
    assert any(d.startswith("view s.volunteer_votes: 2 -> 1") for d in shorter)


def test_the_campaign_loads_and_its_cases_are_as_many_as_its_page_says(tmp_path):
    campaign = importlib.import_module("campaign.__main__")
    assert set(campaign.SECTIONS) == {"kills", "full_disk", "inputs", "sql", "http", "events", "bit_flips"}
    sql, inputs = campaign.SECTIONS["sql"], campaign.SECTIONS["inputs"]
    assert sum(len(s) for group in (sql.REFUSED, sql.BOUNDED) for s in group.values()) >= 97
    assert inputs.EACH * len(inputs.KINDS) >= 2000
    http = campaign.SECTIONS["http"]
    for requests in (http.of_host_and_origin("/", "/x"), http.to_explorer("/view/s/i/v"), http.to_dagster()):
        assert all(text.endswith("\r\n\r\n") or "\r\n\r\n" in text for text, _ in requests.values())
    assert len(http.of_host_and_origin("/", "/x") | http.to_explorer("/view/s/i/v")) >= 45


def test_kills_are_spread_over_the_whole_life_of_the_command(tmp_path):
    kills, world = (importlib.import_module(f"campaign.{name}") for name in ("kills", "world"))
    made = ["start-up", "catalogue", "cutouts", "byol_checkpoints", "embeddings", "umap", "cluster_labels"]
    made += ["anomaly_ranking", "figure_04", "publication"]
    stages = [world.Stage(name, float(i), float(i)) for i, name in enumerate(made)]
    steps = [world.Step(name, i, 0.0, 1.0) for i, name in enumerate(made)]
    planned = kills.planned(world.Reference(tmp_path, tmp_path, stages, steps, 10.0), 50)
    assert len(planned) == 50 and {k.step.stage for k in planned.values()} == set(range(10))
    assert all(0 <= k.delay <= 1 for k in planned.values())
    assert len({round(k.delay, 6) for k in planned.values()}) == 50
    assert {kills.part_of(name) for name in made} == set(kills.PARTS)


def test_a_damaged_input_is_the_same_in_every_campaign(tmp_path):
    import random

    inputs = importlib.import_module("campaign.inputs")
    content = bytes(range(256)) * 4
    once, again = (inputs.damaged(content, random.Random("kind 1"), text=True) for _ in range(2))
    assert once == again != content


def test_the_page_of_the_campaign_is_written_from_its_figures():
    campaign, page = (importlib.import_module(f"campaign.{name}") for name in ("__main__", "page"))
    kept = json.loads((ROOT / "docs" / "faults.json").read_text())
    assert (ROOT / "docs" / "faults.md").read_text() == page.page(kept, campaign.SECTIONS)
