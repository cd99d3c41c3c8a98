"""A survey of forty images that leaves its frame, image size and orientations to trials, from images to similarity."""

import dataclasses
import functools
import json
import shutil
import tracemalloc
from pathlib import Path
from types import SimpleNamespace
from typing import NamedTuple

import dagster as dg
import numpy as np
import pyarrow as pa
import pytest
import timm
import torch
import yaml
from PIL import Image

from galaxy_assets.cli.run import _choice
from galaxy_assets.definitions import build_defs
from galaxy_assets.deliveries.images import UnreadableImage
from galaxy_assets.deliveries.readers import open_reader
from galaxy_assets.lake import similar as search
from galaxy_assets.orchestration.assets import trials as asset
from galaxy_assets.orchestration.automation.outdated import Outdated
from galaxy_assets.orchestration.declaration import SurveyContext
from galaxy_assets.orchestration.engines import in_process
from galaxy_assets.orchestration.graph import ASSETS, keys_of
from galaxy_assets.science import trials as science
from galaxy_assets.science.cutouts import cut
from galaxy_assets.settings.cutouts import CutoutSettings
from galaxy_assets.settings.files import read_survey, survey_files
from galaxy_assets.settings.printing import PrintableError, logger
from galaxy_assets.settings.survey import Survey
from galaxy_assets.settings.tuning import KEYS, TRIED, with_choice
from galaxy_assets.storage.checkpoints import chosen_checkpoint
from galaxy_assets.storage.layout import Layout
from galaxy_assets.storage.provenance import origin, with_origin
from galaxy_assets.storage.tables import read_table, write_table
from galaxy_assets.storage.trials import TRIALS, as_chosen, document_of_trials, in_force
from galaxy_assets_tests.conftest import TINY, draw, write_generated_weights

OPEN = TINY | {
    "cutout": {"method": "auto", "size": 48, "align": False},  # turned, these drawings are all but alike
    "start_weights": ["imagenet"],
    "recipe": TINY["recipe"] | {"image_size": "auto", "orientations": 1, "epochs": 1},
}
TUNED = {"cutouts", "pretrained_features", "clean_galaxies", "byol_checkpoints", "embeddings", "epoch_accuracy"}


class Tuned(NamedTuple):
    root: Path
    outcomes: list

    @property
    def layout(self) -> Layout:
        return Layout(self.root)

    def context(self, root: Path | None = None) -> SurveyContext:
        known = survey_files(root or self.root).known
        return SurveyContext(known["tiny"], known, Layout(root or self.root), "", "", logger(__name__))


def run(root: Path, until: str = "") -> list:
    """The main job, or its runs until an asset was made of both deliveries."""
    known = survey_files(root).known
    runs = in_process.run_survey(build_defs(root), known["tiny"], known, dg.DagsterInstance.ephemeral(), root)
    made = []
    for outcome in runs:
        made.append(outcome)
        if sum(until in one.assets for one in made) == 2:
            break
    return made


@pytest.fixture(scope="module")
def tuned(tmp_path_factory) -> Tuned:
    root, rng = tmp_path_factory.mktemp("tuned"), np.random.default_rng(0)
    rows = ["id,label"]
    for i in range(40):
        folder = root / "raw/tiny/images" / ("first", "second")[i % 2]
        folder.mkdir(parents=True, exist_ok=True)
        kind = ("round", "long", "pair")[i % 3]
        Image.fromarray(draw(kind, rng)).save(folder / f"g_{i:02d}.png")
        rows.append(f"g_{i:02d},{kind}")
    (root / "raw/tiny/images/second/broken.png").write_bytes(b"not an image")
    (root / "raw/tiny/labels.csv").write_text("\n".join(rows))
    (root / "surveys").mkdir()
    (root / "surveys/tiny.yaml").write_text(yaml.safe_dump(OPEN))
    write_generated_weights(root / "weights")
    return Tuned(root, run(root))


def chosen(table: pa.Table) -> dict:
    (row,) = table.filter(table["chosen"]).to_pylist()
    return row


def test_the_survey_goes_through_with_what_was_chosen(tuned):
    assert {o.status for o in tuned.outcomes} == {"done"}, [o for o in tuned.outcomes if o.error]
    table = read_table(tuned.layout.table("tiny", TRIALS))
    assert table.num_rows > 4
    row = chosen(table)
    assert row["reason"].startswith(row["candidate"]) and table["reason"].null_count == table.num_rows - 1
    assert row["score"] == max(table["score"].to_pylist())
    survey = in_force(tuned.layout, survey_files(tuned.root).named("tiny"))
    assert survey.cutout.method == row["method"] and survey.recipe.image_size == row["image_size"] == 64
    assert survey.recipe.orientations == row["orientations"] == 1, "what a person set stays"
    assert survey.cutout.size == 48 and survey.recipe.epochs == 1, "what a person set stays"
    pixels = np.load(tuned.layout.pixels("tiny") / "first/cutouts.npy", mmap_mode="r")
    assert pixels.shape == (20, 48, 48, 3)
    cutouts = read_table(tuned.layout.table("tiny", "cutouts", "first"))
    expected = {"sigma_clip": "cropped", "flux_radius": "cropped", "central": "central", "whole": "whole"}
    assert expected[survey.cutout.method] in cutouts["outcome"].to_pylist()
    ledger = read_table(tuned.layout.table("tiny", "byol_checkpoints", "imagenet"))
    assert ledger["epoch"].to_pylist() == [0, 1] and chosen_checkpoint(ledger, tuned.root)[1].exists()


def test_only_a_survey_that_leaves_something_open_has_the_asset_and_it_is_lineage(tuned, tmp_path):
    graph = build_defs(tuned.root).resolve_asset_graph()
    assert {key.path[-1] for key in keys_of(graph, "tiny")} == set(ASSETS)
    reads = {a for a in ASSETS if dg.AssetKey(["tiny", TRIALS]) in graph.get(dg.AssetKey(["tiny", a])).parent_keys}
    assert reads == TUNED | {"results", "figure_03", "figure_14", "table_1"}
    others = build_defs(tmp_path).resolve_asset_graph().get_all_asset_keys()
    assert dg.AssetKey(["demo_radio", "cutouts"]) in others and dg.AssetKey(["demo_radio", TRIALS]) not in others
    assert TRIALS in origin(tuned.layout.table("tiny", "cutouts", "first")).inputs


def test_everything_is_up_to_date_afterwards_and_a_delivery_changes_no_choice(tuned, tmp_path):
    root = tmp_path / "copy"
    shutil.copytree(tuned.root, root)
    Image.fromarray(draw("long", np.random.default_rng(9))).save(root / "raw/tiny/images/first/new.png")
    before = origin(Layout(root).table("tiny", TRIALS)).run
    outcomes = run(root, until="cutouts")
    assert not [o for o in outcomes if o.error]
    assert origin(Layout(root).table("tiny", TRIALS)).run == before
    assert [o for o in outcomes if o.status == "done" and "cutouts" in o.assets]


def rule(root: Path) -> Outdated:
    files = survey_files(root)
    graph = build_defs(root).resolve_asset_graph()
    return Outdated(graph, files.named("tiny"), files.known, Layout(root), ["first", "second"])


def test_another_choice_makes_what_goes_by_it_outdated_and_other_numbers_do_not(tuned, tmp_path):
    root = tmp_path / "copy"
    shutil.copytree(tuned.root, root)
    layout, key = Layout(root), dg.AssetKey(["tiny", "cutouts"])
    assert rule(root).why(key, ("first",)) is None
    where = layout.table("tiny", TRIALS)
    table = read_table(where)

    def remake(settings: dict | None = None, stability: float = 0.0) -> None:
        rows = table.to_pylist()
        for row in rows:
            row["stability"] = stability
            if row["chosen"] and settings is not None:
                row["settings"] = json.dumps(settings)
        made = asset._shown(pa.Table.from_pylist(rows, schema=asset.SCHEMA), "", "", {})
        told = dataclasses.replace(origin(where), data=made.data_version)
        write_table(with_origin(made.table, told), where)

    remake(stability=0.9)
    assert rule(root).why(key, ("first",)) is None
    remake({"cutout.method": "central", "cutout.central_pixels": 33})
    for name, part in [("cutouts", ("first",)), ("byol_checkpoints", ("imagenet",))]:
        assert rule(root).why(dg.AssetKey(["tiny", name]), part) == "recipe_trials changed"
    run(root, until="cutouts")
    boxes = read_table(layout.table("tiny", "cutouts", "first"))
    assert {x1 - x0 for x0, x1 in zip(boxes["box_x0"].to_pylist(), boxes["box_x1"].to_pylist(), strict=True) if x1} == {
        33
    }


def test_a_setting_that_a_person_writes_in_place_of_auto_is_taken(tuned, tmp_path):
    root = tmp_path / "copy"
    shutil.copytree(tuned.root, root)
    given = OPEN | {"cutout": {"size": 48}, "recipe": OPEN["recipe"] | {"image_size": 32, "orientations": 1}}
    (root / "surveys/tiny.yaml").write_text(yaml.safe_dump(given))
    assert rule(root).why(dg.AssetKey(["tiny", "cutouts"]), ("first",)) == "code or settings changed"


def test_an_image_from_elsewhere_is_cut_and_embedded_by_the_choice(tuned, tmp_path):
    clean = read_table(tuned.layout.table("tiny", "clean_galaxies", "first"))
    galaxy = clean.filter(clean["kept"])["galaxy_id"][0].as_py()
    file = shutil.copy(tuned.root / f"raw/tiny/images/first/{galaxy}.png", tmp_path / "elsewhere.png")
    found = search.similar("tiny", files=[file], neighbours=2, root=tuned.root)
    assert found["neighbour_id"][0].as_py() == galaxy
    assert found["distance"][0].as_py() < 1e-2 * found["distance"][1].as_py()


def test_without_its_trials_a_survey_cuts_nothing_from_elsewhere(tuned, tmp_path):
    survey = survey_files(tuned.root).named("tiny")
    with pytest.raises(FileNotFoundError, match="no recipe_trials, which choose cutout.method"):
        search.pixels_of(Layout(tmp_path), survey, [])


def volatile(table: pa.Table) -> pa.Table:
    return table.drop_columns(["seconds"])


def catalogue(tuned: Tuned) -> pa.Table:
    return pa.concat_tables(
        read_table(tuned.layout.table("tiny", "catalogue", batch)).replace_schema_metadata(None)
        for batch in ("first", "second")
    )


def test_trials_give_the_same_rows_twice_and_go_on_where_they_were_stopped(tuned, tmp_path, monkeypatch):
    root = tmp_path / "copy"
    shutil.copytree(tuned.root, root)
    table = read_table(tuned.layout.table("tiny", TRIALS))
    measured, criteria = [], science.criteria

    def third_is_the_last(*given):
        if len(measured) == 3:
            raise KeyboardInterrupt
        measured.append(given)
        return criteria(*given)

    monkeypatch.setattr(science, "criteria", third_is_the_last)
    with pytest.raises(KeyboardInterrupt):
        ASSETS[TRIALS].function(tuned.context(root), catalogue(tuned))
    (left,) = (Layout(root).lake / "tiny/trials").glob("*.json")
    assert len(json.loads(left.read_text())) == 3

    def counted(*given):
        measured.append(given)
        return criteria(*given)

    monkeypatch.setattr(science, "criteria", counted)
    again = ASSETS[TRIALS].function(tuned.context(root), catalogue(tuned))
    assert len(measured) == table.num_rows and not left.exists()
    assert volatile(again.table).equals(volatile(table.replace_schema_metadata(None)))


def test_the_sheet_has_a_row_for_each_frame_and_marks_the_chosen_one(tuned):
    from galaxy_assets.figures.galleries import comparison

    table = read_table(tuned.layout.table("tiny", TRIALS))
    shown = table.to_pylist()
    with Image.open(tuned.layout.figure("tiny", TRIALS)) as sheet:
        assert sheet.height == comparison([("", [np.zeros((8, 8), np.uint8)], False)] * len(shown)).height
        assert sheet.width > 10 * 96
        marked = np.asarray(sheet)[2 + 100 * np.arange(len(shown)) + 1, sheet.width - 1]
    assert sum((marked == [0xA8, 0xE0, 0xB0]).all(axis=1)) == 1


def test_the_lines_beside_the_sheet_take_any_row_of_it(tuned, tmp_path):
    table = read_table(tuned.layout.table("tiny", TRIALS))
    path = document_of_trials(tuned.layout, "tiny")
    assert str(path.relative_to(tuned.root)) in origin(tuned.layout.table("tiny", TRIALS)).beside
    blocks = [yaml.safe_load(one.split("```")[0]) for one in path.read_text().split("```yaml")[1:]]
    assert len(blocks) == table.num_rows and chosen(table)["reason"] in path.read_text()
    for row, lines in zip(table.to_pylist(), blocks, strict=True):
        taken = OPEN | {"cutout": {"size": 48} | lines["cutout"], "recipe": OPEN["recipe"] | lines["recipe"]}
        survey = Survey.model_validate(taken)
        assert not survey.auto and (survey.cutout.method, survey.recipe.image_size) == (row["method"], 64)
        assert survey.cutout.central_pixels == row["central_pixels"]
        if row["chosen"]:
            assert survey.cutout == in_force(tuned.layout, survey_files(tuned.root).named("tiny")).cutout


def test_the_lines_of_any_row_leave_nothing_open_of_a_survey_that_left_all(tuned, tmp_path):
    rest = {key: value for key, value in OPEN["recipe"].items() if key not in TRIED["recipe"]}
    opened = OPEN | {"cutout": {}, "recipe": rest, "auto": ["cutout", *(f"recipe.{key}" for key in TRIED["recipe"])]}
    ways = science.frames(CutoutSettings(), KEYS, [40.0] * 20, 120)
    survey, names = Survey.model_validate(opened), [one.name for one in ways]
    assert survey.auto == KEYS and {"whole", "central 40 px", "flux radius, aligned"} <= set(names)
    told = asset._to_take_another(survey, names, ways, "")
    path = tmp_path / "tiny.yaml"
    for way, block in zip(ways, told.split("```yaml")[1:], strict=True):
        lines = yaml.safe_load(block.split("```")[0])
        path.write_text(yaml.safe_dump(opened | {"cutout": lines["cutout"], "recipe": rest | lines["recipe"]}))
        taken, chosen_so = read_survey(path), with_choice(survey, way.settings)
        assert not taken.auto and (taken.cutout, taken.recipe) == (chosen_so.cutout, chosen_so.recipe)


def test_an_image_is_decoded_once_where_there_is_room(tuned):
    names = [row["file"] for row in catalogue(tuned).to_pylist() if row["problem"] is None]
    reader = open_reader(survey_files(tuned.root).named("tiny").source, tuned.layout.raw)
    decoded = []

    class Counting:
        def image(self, file):
            decoded.append(file)
            return reader.image(file)

    for room, times in ((2**24, 1), (0, 2)):
        decoded.clear()
        sample = asset._Sample(Counting(), [{"file": name} for name in names], room=room)
        boxes, frames = sample.clipped(CutoutSettings())
        made = sample.cut([CutoutSettings(size=16), CutoutSettings(method="whole", size=16)], 16)
        assert sorted(decoded) == sorted(names * times) and not sample.decoded
        assert [one.sides[0] for one in made if one.sides[0] < one.frame] == boxes and len(frames) == len(names)


def test_pixels_for_which_there_is_no_room_are_cut_again_and_never_of_two_ways_at_once():
    rng = np.random.default_rng(0)
    images = {f"{i}.png": draw("long", rng) for i in range(30)}
    reader, files, side = SimpleNamespace(image=images.__getitem__), [{"file": file} for file in images], 200
    ways = [CutoutSettings(method="central", central_pixels=n, size=side) for n in range(40, 120, 4)]
    kept, cramped = asset._Sample(reader, files), asset._Sample(reader, files, room_for_pixels=0)
    made = kept.cut(ways, side)
    tracemalloc.start()
    again = cramped.cut(ways, side)
    assert [one._replace(pixels=[]) for one in made] == again and tracemalloc.get_traced_memory()[0] < 2**20
    tracemalloc.reset_peak()
    for i, way in enumerate(ways):
        cramped.pixels(again, i, way, side)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 3 * len(files) * side**2 * 3, "and there are twenty ways"
    for i in (0, 7):
        assert np.array_equal(cramped.pixels(again, i, ways[i], side), kept.pixels(made, i, ways[i], side))


def test_without_room_trials_give_the_same_rows(tuned, tmp_path, monkeypatch):
    root = shutil.copytree(tuned.root, tmp_path / "copy")
    monkeypatch.setattr(asset, "_Sample", functools.partial(asset._Sample, room=0, room_for_pixels=0))
    table = ASSETS[TRIALS].function(tuned.context(root), catalogue(tuned)).table
    expected = read_table(tuned.layout.table("tiny", TRIALS)).replace_schema_metadata(None)
    assert volatile(table).equals(volatile(expected))


def test_a_run_says_what_was_chosen_and_where_to_look(tuned):
    said = "\n".join(_choice(survey_files(tuned.root).named("tiny"), tuned.layout))
    row = chosen(read_table(tuned.layout.table("tiny", TRIALS)))
    assert f"chosen: {row['candidate']}; " in said and str(tuned.layout.figure("tiny", TRIALS)) in said
    assert "recipe_trials.md" in said


def test_a_handful_of_images_is_not_tried_on(tuned):
    few = catalogue(tuned).slice(0, 12)
    made = ASSETS[TRIALS].function(tuned.context(), few)
    row = chosen(made.table)
    assert made.table.num_rows == 1 and "12 images" in row["reason"] and json.loads(row["settings"]) == {}
    survey = survey_files(tuned.root).named("tiny")
    assert as_chosen(survey, made.table) == survey


class NearlyBlank:
    """A reader of images of which some show something, in an order of their own."""

    def __init__(self, shown, broken=()):
        self.shown, self.broken, self.drawn = set(shown), set(broken), draw("long", np.random.default_rng(0))

    def image(self, file):
        if file in self.broken:
            raise UnreadableImage("truncated")
        return self.drawn if file in self.shown else np.zeros((120, 120, 3), np.uint8)


def test_a_nearly_blank_survey_is_looked_at_until_enough_shows_something(monkeypatch):
    files = [f"{i}.png" for i in range(300)]
    sample = asset._Sample(NearlyBlank(files[::12]), [{"file": file} for file in files])
    boxes, frames = sample.clipped(CutoutSettings())
    assert len(boxes) == len(frames) == 25 >= asset.FEWEST
    assert set(sample.left_out.values()) == {"show nothing"} and len(sample.left_out) == 275
    monkeypatch.setattr(asset, "_LOOK", 100)
    assert len(asset._Sample(NearlyBlank(files), sample.rows).clipped(CutoutSettings())[0]) == 100, "and no further"


def test_what_is_wrong_with_too_few_images_is_counted(tuned, monkeypatch):
    table = catalogue(tuned).filter(catalogue(tuned)["problem"].is_null())
    files = table["file"].to_pylist()
    reader = NearlyBlank(files[:15], files[15:18])
    monkeypatch.setattr(asset, "open_reader", lambda *of: reader)
    reason = chosen(ASSETS[TRIALS].function(tuned.context(), table).table)["reason"]
    assert reason.startswith("as set: of 40 images without a problem in `catalogue`, 15 show something, ")
    assert "3 cannot be read or cut" in reason and "22 show nothing" in reason and "fewer than 20" in reason


@pytest.mark.parametrize(
    ("starts", "recipe", "says"),
    [
        (["imagenet", "mine"], {}, r"mine \(convit_tiny\) does not take images of 64 .*recipe.image_size to 224"),
        (["imagenet"], {"beside": {"mine": 1.0}}, r"mine \(convit_tiny\) does not take images of 64 pixels"),
        (["imagenet"], {"beside": {"pyramid": 1.0}, "image_size": 16}, "has no inside.*remove `pyramid`"),
        (["imagenet", "demo_optical"], {"beside": {"pyramid": 1.0, "classical": 0.5}}, None),
    ],
)
def test_a_network_that_does_not_take_the_size_is_told_of_before_anything_is_cut(
    tuned, tmp_path, monkeypatch, starts, recipe, says
):
    write_generated_weights(tmp_path / "weights")
    network = timm.create_model("convit_tiny", num_classes=0)
    torch.save(network.state_dict(), tmp_path / "weights/mine.pt")
    networks = {"mine": {"backbone": "convit_tiny", "weights": "weights/mine.pt"}}
    given = {"start_weights": starts, "networks": networks, "recipe": OPEN["recipe"] | recipe}
    context = dataclasses.replace(tuned.context(), survey=Survey.model_validate(OPEN | given), layout=Layout(tmp_path))

    def sample(*of: object):
        raise InterruptedError("cutting begins")

    monkeypatch.setattr(asset, "_sample", sample)
    with pytest.raises(Exception, match=says or "cutting begins"):
        ASSETS[TRIALS].function(context, catalogue(tuned))


def test_fixed_boxes_have_a_side_where_too_little_can_be_read_to_try_one(tuned):
    context = tuned.context()
    cutout = {"method": "central", "central_pixels": "auto", "size": 48}
    survey = Survey.model_validate(OPEN | {"cutout": cutout})
    for n in (12, 0):
        made = ASSETS[TRIALS].function(dataclasses.replace(context, survey=survey), catalogue(tuned).slice(0, n))
        after = as_chosen(survey, made.table).cutout
        assert (
            after.method == "central"
            and after.central_pixels == json.loads(chosen(made.table)["settings"])["cutout.central_pixels"]
        )
        image = draw("long", np.random.default_rng(0))
        assert cut(image, after).box[2] - cut(image, after).box[0] == min(after.central_pixels, 120) > 20


def test_the_sample_and_the_trials_do_not_depend_on_the_order_of_deliveries(tuned, monkeypatch):
    monkeypatch.setattr(asset, "_SAMPLE", 25)
    table = catalogue(tuned)
    one, other = (asset._sample(tuned.context(), t).rows for t in (table, table.take(np.arange(len(table))[::-1])))
    assert one == other and len(one) == 25
    assert {row["file"].split("/")[-2] for row in one[:12]} == {"first", "second"}
    assert [row["galaxy_id"] for row in one] != sorted(row["galaxy_id"] for row in one)


@pytest.mark.parametrize(
    "changed",
    [
        {"source": OPEN["source"] | {"extension": 1}},
        {"source": OPEN["source"] | {"colour": "linear"}},
        {"cutout": OPEN["cutout"] | {"sigma": 3.5}},
        {"recipe": OPEN["recipe"] | {"seed": 1}},
    ],
)
def test_rows_of_other_pixels_are_no_rows_of_these_trials(tuned, changed):
    context, sample = tuned.context(), asset._Sample(None, [])
    before, again, other = (
        asset._begun(dataclasses.replace(context, survey=Survey.model_validate(OPEN | one)), sample, 1, 64).kept.path
        for one in ({}, {"recipe": OPEN["recipe"] | {"epochs": 7}}, changed)
    )
    assert before == again != other


def test_the_first_look_is_through_the_settings_of_a_person(tuned):
    class Reader:
        def image(self, file):
            image = np.random.default_rng(0).normal(10, 1, (120, 120, 3))
            image[50:70, 50:70, 2] += 300  # in the last channel alone
            return image

    sample = asset._Sample(Reader(), [{"file": "a"}])
    assert sample.clipped(CutoutSettings()) == ([], [120])
    (side,), _ = sample.clipped(CutoutSettings(channel="mean", method="flux_radius", align=True, enlarge=1.2))
    assert side == 40


def test_an_image_that_cannot_be_cut_is_left_out_and_a_setting_that_cannot_be_used_stops(caplog):
    image = np.zeros((9, 9, 2), np.uint8)
    assert asset._cut(lambda file: image, "strange.png", [CutoutSettings()], 16) == asset._UNREADABLE
    assert "strange.png cannot be cut" in caplog.text
    with pytest.raises(PrintableError, match="needs `central_pixels`"):
        asset._cut(lambda file: draw("long", np.random.default_rng(0)), "", [CutoutSettings(method="central")], 16)
