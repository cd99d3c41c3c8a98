"""A plan continues what was measured by laws: what grows with what, and what does not matter."""

import importlib
import json
import math
import sys
from dataclasses import replace
from pathlib import Path

import dagster as dg
import pytest
from typer.testing import CliRunner

from galaxy_assets.cli import app
from galaxy_assets.orchestration.engines.main_job import Stage
from galaxy_assets.orchestration.planning.measured import FILE, Slope, measured
from galaxy_assets.orchestration.planning.networks import counted, network_of, networks_of, parts_of
from galaxy_assets.orchestration.planning.plan import Plan, Size, plan
from galaxy_assets.settings.recipe import Recipe
from galaxy_assets.settings.survey import Survey

ROOT = Path(__file__).parents[2]
STAGES = [Stage([dg.AssetKey(["s", "a"])], by) for by in [("batch",), ("init",), ("batch", "init"), ()]]
SURVEY = Survey.model_validate(
    {
        "name": "s",
        "title": "S",
        "description": "-",
        "source": {"reader": "image_folder", "path": "s"},
        "cutout": {"size": 150},
        "start_weights": ["imagenet"],
        "recipe": {"preset": "paper", "backbone": "resnet18", "image_size": 224, "epochs": 20},
    }
)
SIZE = Size(10**7, 10**5, memory=24e9)


def of(survey: Survey = SURVEY, size: Size = SIZE) -> Plan:
    return plan(survey, size, STAGES, STAGES, measured())


def changed(**settings: object) -> Survey:
    recipe = {key: settings.pop(key) for key in list(settings) if key in Recipe.model_fields}
    return SURVEY.model_copy(update={**settings, "recipe": SURVEY.recipe.model_copy(update=recipe)})


def hours(found: Plan) -> dict[str, float]:
    return {cost.step: cost.core_hours + cost.gpu_hours for cost in found.costs}


def total(found: Plan, name: str) -> float:
    return sum(getattr(entry, name) for entry in found.bytes)


def test_ten_times_the_galaxies_cost_ten_times_but_for_what_is_fitted_on_a_sample():
    one, ten = hours(of()), hours(of(size=replace(SIZE, galaxies=10**8)))
    power = {step: math.log10(ten[step] / one[step]) for step in one}
    assert power.pop("cluster_model") == power.pop("umap_model") == 0
    assert power.pop("starting runs") == pytest.approx(1, abs=0.01)
    slopes = measured().slopes  # of what was measured to grow faster
    grows = {s: slopes[s].exponent if s in slopes and s != "baseline_rankings" else 1.0 for s in power}
    assert power == pytest.approx(grows, abs=1e-9)
    assert max(grows.values()) < 1.1
    few, many = (hours(of(size=replace(SIZE, galaxies=n)))["baseline_rankings"] for n in (2000, 20_000))
    assert math.log10(many / few) == pytest.approx(measured().slopes["baseline_rankings"].exponent), "every pair"
    for name in ("read", "kept"):
        assert total(of(size=replace(SIZE, galaxies=10**8)), name) == pytest.approx(10 * total(of(), name))


def test_more_cores_and_more_gpus_take_less_time_and_no_fewer_hours():
    for few, many in (({}, {"cores": 8}), ({"gpus": 1}, {"gpus": 8})):
        one, eight = (of(size=replace(SIZE, **changes)) for changes in (few, many))
        assert (eight.core_hours, eight.gpu_hours) == (one.core_hours, one.gpu_hours)
        assert eight.hours < one.hours and eight.runs == one.runs


def test_no_more_cores_are_busy_than_there_are_batches_but_for_training():
    few = replace(SIZE, batch_size=10**7)
    one, many = of(size=few), of(size=replace(few, cores=64))
    (training,) = (cost.core_hours for cost in one.costs if cost.step == "byol_checkpoints")
    assert training > 0 and one.hours - many.hours == pytest.approx(training * 63 / 64)


def test_what_more_cores_do_not_shorten_is_in_the_hours_as_it_is_said():
    one, many = of(size=replace(SIZE, batch_size=10**7)), of()
    assert one.longest_on_one_core.step == "pretrained_features", "of one delivery"
    assert many.longest_on_one_core.step == "baseline_rankings"
    for found in (one, many):
        endless = replace(found, size=replace(found.size, cores=10**12))
        slow, batches = found.longest_on_one_core, found.size.batches
        shared = sum(cost.core_hours / batches for cost in found.costs if cost.by_batch) if batches > 1 else 0.0
        alone = [c for c in found.costs if c.step != "byol_checkpoints" and (batches == 1 or not c.by_batch)]
        assert slow == max(alone, key=lambda cost: cost.core_hours)
        assert endless.hours == pytest.approx(sum(cost.core_hours for cost in alone) + shared)


def test_a_delivery_has_no_more_galaxies_than_there_are():
    assert of(size=Size(10**6, batch_size=10**8)) == of(size=Size(10**6, batch_size=10**6))


def test_larger_batches_are_fewer_runs_and_the_same_work():
    small, large = of(), of(size=replace(SIZE, batch_size=10**6))
    assert small.runs == 100 + 1 + 100 + 1 and large.runs == 10 + 1 + 10 + 1
    started = {"starting runs"}
    assert {k: v for k, v in hours(small).items() if k not in started} == {
        k: v for k, v in hours(large).items() if k not in started
    }
    assert hours(small)["starting runs"] > hours(large)["starting runs"]
    assert of(size=replace(SIZE, galaxies=10**7 + 1)).size.batches == 101


def test_gpus_take_the_networks_and_nothing_else():
    without, gpu = of(), of(size=replace(SIZE, gpus=1))
    on_gpu = {cost.step for cost in gpu.costs if cost.gpu_hours}
    assert on_gpu == {"pretrained_features", "byol_checkpoints", "embeddings"}
    assert {cost.basis for cost in gpu.costs if cost.gpu_hours} == {"computed"}
    assert {c.step: c.core_hours for c in gpu.costs} == {
        c.step: 0.0 if c.step in on_gpu else c.core_hours for c in without.costs
    }
    assert without.gpu_hours == 0 and any("no GPU was measured" in words for words in gpu.unknown)


@pytest.mark.parametrize(
    ("settings", "step", "times"),
    [
        ({"orientations": 4}, "embeddings", 4),
        ({"epochs": 40}, "byol_checkpoints", 2),
        ({"epochs": 0}, "byol_checkpoints", 0),
        ({"beside": {"start": 1.0}}, "embeddings", 2),
        ({"beside": {"start": 1.0}, "epochs": 0}, "embeddings", 1),
        ({"beside": {"imagenet": 1.0}}, "embeddings", 1),
        ({"beside": {"random": 1.0}}, "pca_model", 4),
        ({"start_weights": ("imagenet", "random")}, "embeddings", 2),
        ({"start_weights": ("imagenet", "random")}, "byol_checkpoints", 2),
        ({"start_weights": ("imagenet", "random")}, "cluster_model", 2),
        ({"start_weights": ("imagenet", "random")}, "cutouts", 1),
        ({"start_weights": ("imagenet", "classical")}, "byol_checkpoints", 1),
    ],
)
def test_what_a_survey_asks_for_is_what_it_costs(settings, step, times):
    assert hours(of(changed(**settings)))[step] == pytest.approx(times * hours(of())[step])


def test_the_image_size_goes_by_its_pixels_and_the_backbone_by_its_operations():
    twice = hours(of(changed(image_size=448)))
    assert twice["embeddings"] / hours(of())["embeddings"] == pytest.approx(4, rel=1e-3)
    wide = hours(of(changed(backbone="resnet34")))["embeddings"] / hours(of())["embeddings"]
    assert wide == pytest.approx(counted("resnet34", 224).operations / counted("resnet18", 224).operations)
    assert any("other layers" in words for words in of(changed(backbone="resnet34")).unknown)


def test_a_network_of_depthwise_convolutions_goes_by_one_that_was_measured():
    lite, slopes = of(changed(backbone="tf_efficientnet_lite0")), measured().slopes
    embeddings = next(cost for cost in lite.costs if cost.step == "embeddings")
    images = SIZE.galaxies * SURVEY.recipe.orientations
    measured_once = slopes["embedding float32 depthwise"].core_seconds(1)
    assert embeddings.basis == "measured" and embeddings.core_hours == pytest.approx(images * measured_once / 3600)
    assert counted("tf_efficientnet_lite0", 64).depthwise and not counted("resnet18", 64).depthwise
    per_operation = {
        kind: slopes[f"embedding float32{kind}"].core_seconds(1) / counted(backbone, 224).operations
        for kind, backbone in (("", "resnet18"), (" depthwise", "tf_efficientnet_lite0"))
    }
    assert per_operation[" depthwise"] > 2 * per_operation[""]
    assert not any("other layers" in words for words in lite.unknown)
    assert of(changed(backbone="mobilenetv3_small_100")).costs, "of the same kind"


def test_a_network_whose_first_weights_are_places_is_counted():
    assert counted("visformer_tiny", 224).operations > 1e9


def test_bytes_of_pixels_are_exact():
    kept = {entry.what: entry for entry in of().bytes}
    assert kept["stored cutouts"].kept == 10**7 * 150 * 150 * 3
    assert kept["cutouts at the network's size"].kept == 10**7 * 224 * 224 * 3
    assert kept["cutouts at the network's size"].read == (1 + 1 + 20) * 10**7 * 224 * 224 * 3
    same = {entry.what: entry for entry in of(changed(image_size=150)).bytes}
    assert same["cutouts at the network's size"].kept == 0


def test_random_weights_are_planned_as_they_are_trained():
    survey = changed(start_weights=("random",), main_start_weights="random", train_random_from=10_000)
    assert hours(of(survey, Size(9_999)))["byol_checkpoints"] == 0 < hours(of(survey, Size(10_000)))["byol_checkpoints"]


def test_a_survey_that_tunes_itself_is_planned_as_its_trials_will_most_likely_have_it():
    recipe = {"preset": "small", "image_size": "auto", "orientations": "auto"}
    written = SURVEY.model_dump(exclude={"cutout", "recipe", "auto"})
    tuned = Survey.model_validate(written | {"cutout": "auto", "recipe": recipe})
    taken = Survey.model_validate(written | {"recipe": recipe | {"image_size": 64, "orientations": 4}})
    size = Size(5000)
    assert hours(of(tuned, size)) == hours(of(taken, size))
    (words,) = [words for words in of(tuned, size).unknown if words.startswith("trials choose")]
    assert "64 pixels, 4 orientations" in words and not any("trials" in words for words in of(taken, size).unknown)


def test_the_same_work_is_measured_and_other_work_computed():
    basis = {cost.step: cost.basis for cost in of().costs}
    assert (basis["cutouts"], basis["embeddings"], basis["pca_model"]) == ("measured",) * 3
    assert (basis["byol_checkpoints"], basis["cluster_model"]) == ("computed",) * 2  # at 128 px; iterations assumed
    other = {cost.step: cost.basis for cost in of(changed(image_size=96)).costs}
    assert other["embeddings"] == "computed" and other["cutouts"] == "measured"


def test_what_no_network_computes_is_not_known():
    found = of(changed(start_weights=("imagenet", "classical")))
    assert any("without a network" in words for words in found.unknown)
    assert [cost.basis for cost in found.costs if cost.step == "embeddings without a network"] == ["unknown"]


def test_what_the_engine_launched_runs_apart_is_counted_apart():
    found = plan(SURVEY, SIZE, STAGES, [*STAGES, STAGES[0]], measured())
    assert found.runs_launched - found.runs == SIZE.batches


def test_steps_over_the_whole_survey_that_were_not_measured_are_named_and_no_others():
    names = {"umap_model": ("init",), "absent_images": (), "anomaly_model": (), "pixels": ("batch",), "figure_01": ()}
    stages = [Stage([dg.AssetKey(["s", name])], by) for name, by in names.items()]
    (words,) = [w for w in plan(SURVEY, SIZE, stages, stages, measured()).unknown if w.startswith("steps over the")]
    assert words.endswith(": absent_images, anomaly_model")


def test_a_baseline_holds_a_sample_and_what_the_search_holds_of_every_galaxy():
    def memory(n: int) -> dict[str, float]:
        return {cost.step: cost.memory or 0 for cost in of(size=replace(SIZE, galaxies=n)).costs}

    few, many = memory(10**7), memory(10**8)
    sample = few["baseline_rankings"] - few["oracle_events"]
    assert 0 < sample < 1e8 and many["baseline_rankings"] - many["oracle_events"] == pytest.approx(sample)


def test_memory_grows_and_the_first_to_break_is_the_one_that_is_full_first():
    small, large = of(), of(size=replace(SIZE, galaxies=10**9))
    for one, other in zip(small.costs, large.costs, strict=True):
        assert (one.memory or 0) <= (other.memory or 0)
    first = small.breaks_first
    assert first is not None and first.full_at is not None
    slope = measured().slopes[first.step]
    assert slope.memory_of(first.full_at) == pytest.approx(24e9)
    assert all(cost.full_at >= first.full_at for cost in small.costs if cost.full_at is not None)
    assert of(size=replace(SIZE, memory=48e9)).breaks_first.full_at > first.full_at


def test_a_slope_passes_through_what_was_measured():
    for name, slope in measured().slopes.items():
        if name.startswith("bytes"):
            assert slope.bytes_each and slope.bytes_each > 0, name
            continue
        assert slope.core_seconds(slope.n) == pytest.approx(slope.seconds) and slope.seconds > 0, name
        for n, taken in slope.memory:
            assert slope.memory_of(n) >= taken, name


def test_the_parts_of_an_embedding_are_those_that_the_asset_puts_together():
    survey = changed(beside={"start": 1.0, "random": 0.5, "imagenet": 1.0})
    assert parts_of(survey, "imagenet", True) == ["imagenet", "imagenet", "random"]
    assert parts_of(survey, "imagenet", False) == ["imagenet", "random"]
    assert parts_of(survey, "random", True) == ["random", "random", "imagenet"]
    assert network_of(survey, "classical") is None
    with_half = changed(beside={"middle": 1.0, "classical": 0.5})
    assert parts_of(with_half, "imagenet", True) == ["imagenet", "classical"]
    whole, nothing, half = networks_of(with_half, "imagenet", True)
    assert nothing is None and (whole.features, half.features) == (512, 256)  # of a ResNet-18
    assert 0.5 < half.operations / whole.operations < 0.9
    assert networks_of(with_half, "rgz", False)[-1].features == 256
    with pytest.raises(ValueError, match="does not take images.*remove `pyramid` from recipe.beside"):
        networks_of(changed(backbone="densenet121", beside={"pyramid": 1.0}), "imagenet", True)
    *_, half, places = networks_of(changed(beside={"pyramid": 1.4, "middle": 1.0}), "imagenet", True)
    assert (half.features, places.features) == (256, 1280) and places.operations == pytest.approx(
        half.operations, rel=1e-3
    )
    assert networks_of(with_half, "classical", False) == [None], "formulae have no middle"
    assert network_of(survey, "rgz").operations > network_of(survey, "imagenet").operations


def test_the_packages_slopes_are_the_committed_measurements(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    report = importlib.import_module("report")
    assert report.slopes(report.read_numbers()) == json.loads(FILE.read_text())
    assert set(report.PLANNED) == set(measured().slopes)
    rows = {row.case: row for row in map(report._row, report.read_numbers())}
    for step in ("pca_model", "anomaly_ranking", "local outlier factor, a baseline of the ranking"):
        name = {case: name for name, (case, _) in report.PLANNED.items() if "bytes" not in name}[step]
        for n in (1e6, 1e8, 1e10):
            assert measured().slopes[name].core_seconds(n) == pytest.approx(report.projected(rows[step], n))
    sys.modules.pop("report", None)


def test_a_growth_below_one_is_fixed_cost():
    row = {"n": 100, "seconds": None, "cpu_seconds": 1.0, "sizes": [10, 100], "size_seconds": [0.9, 1.0]}
    row |= {"size_memory_mb": [5.0, 4.0], "exponent": 0.05, "bytes": None, "of": {}, "machine": "", "measured": ""}
    slope = Slope.of_row(row)
    assert slope.core_seconds(1_000) == pytest.approx(10.0) and slope.full_at(1e9) is None


def test_the_command_says_the_same_in_text_and_in_json(tmp_path, monkeypatch):
    monkeypatch.setenv("GALAXY_ASSETS_DATA", str(tmp_path))
    words = ["plan", "sdss_gz1", "--galaxies", "1e8", "--gpus", "2", "--memory", "24"]
    text, told = (CliRunner().invoke(app, [*words, *more]) for more in ([], ["--json"]))
    assert text.exit_code == told.exit_code == 0, text.output + told.output
    found = json.loads(told.output)
    assert f"{found['runs']:,} runs, {found['runs_launched']:,} with --engine launched" in text.output
    assert found["batches"] == 1000 and found["runs_launched"] > found["runs"] > 1000
    assert "breaks first, of the steps measured" in text.output
    assert found["breaks_first"] in text.output and found["largest"] in text.output
    assert all(words in text.output for words in found["unknown"] + found["measured_on"])
    assert {cost["basis"] for cost in found["costs"]} == {"measured", "computed"}
    assert found["core_hours"] == pytest.approx(sum(cost["core_hours"] for cost in found["costs"]))
    assert list(tmp_path.iterdir()) == [], "nothing is enabled or made"


@pytest.mark.parametrize("wrong", ["0", "many", "1.5", "-3", "inf", "nan", "1e13"])
def test_a_number_of_galaxies_is_a_number(tmp_path, monkeypatch, wrong):
    monkeypatch.setenv("GALAXY_ASSETS_DATA", str(tmp_path))
    result = CliRunner().invoke(app, ["plan", "sdss_gz1", "--galaxies", wrong], env={"COLUMNS": "200"})
    assert result.exit_code == 2 and "whole number" in result.output
