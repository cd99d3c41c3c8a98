"""A folder that nobody prepared: what is measured, which settings follow, and the file that is written."""

from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from astropy.io import fits
from PIL import Image

from galaxy_assets.deliveries.onboarding.beginnings import beginnings
from galaxy_assets.deliveries.onboarding.folders import folder_labels
from galaxy_assets.deliveries.onboarding.inspect import inspect
from galaxy_assets.deliveries.onboarding.labels import inspect_labels
from galaxy_assets.deliveries.onboarding.propose import settings_for
from galaxy_assets.deliveries.onboarding.report import cautions, table_of
from galaxy_assets.deliveries.onboarding.survey_file import as_yaml, refuse_name, write_survey
from galaxy_assets.deliveries.readers import open_reader
from galaxy_assets.science.artefact_regions import propose_regions
from galaxy_assets.science.cutouts import cut
from galaxy_assets.settings.artefacts import ArtefactRules
from galaxy_assets.settings.cutouts import CutoutSettings
from galaxy_assets.settings.files import SurveyError
from galaxy_assets.settings.printing import printable
from galaxy_assets.settings.survey import Survey

RNG = np.random.default_rng(0)


def blobs(
    side: int, *centres: tuple[float, float], width: float, noise: float = 3, sky: float = 20, peak: float = 180
) -> np.ndarray:
    """uint8 (side, side) with a round blob at each (x, y) from the middle."""
    y, x = np.mgrid[:side, :side] - side // 2
    light = sum(np.exp(-0.5 * ((x - cx) ** 2 + (y - cy) ** 2) / width**2) for cx, cy in centres)
    return np.clip(sky + peak * light + RNG.normal(0, noise, (side, side)) * (noise > 0), 0, 255).astype(np.uint8)


def fill(folder: Path, images: list[np.ndarray], colour: bool = False) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for i, image in enumerate(images):
        shown = np.stack([image, image // 2, image // 3], axis=2) if colour else image
        Image.fromarray(shown).save(folder / f"g{i:02d}.png")
    return folder


def proposed(folder: Path, **options) -> dict:
    """The settings proposed for a folder, as `section.key`."""
    found = inspect(folder)
    return {s.key: s.value for s in settings_for("mine", found, options.get("labels"), options.get("resnet18", False))}


def test_every_file_is_counted_and_only_a_sample_is_decoded(tmp_path):
    fill(tmp_path / "a b", [blobs(64, (0, 0), width=4) for _ in range(12)])
    fill(tmp_path / "images", [blobs(64, (0, 0), width=4) for _ in range(8)], colour=True)
    (tmp_path / ".hidden").mkdir()
    (tmp_path / ".hidden" / "x.png").write_bytes(b"")
    (tmp_path / "notes.txt").write_text("n")
    found = inspect(tmp_path, sample=5, seed=1)
    assert (found.suffixes, found.deliveries) == (Counter({".png": 20, ".txt": 1}), ["a_b", "images"])
    assert len(found.files) == 20 and found.sample == found.types["uint8"] == 5
    assert found.sampled() == inspect(tmp_path, sample=5, seed=1).sampled()
    assert found.sampled() != inspect(tmp_path, sample=5, seed=2).sampled()
    everything = inspect(tmp_path)
    assert everything.kinds == {"one band": 12, "colour": 8} and everything.widths == [64] * 20
    # `images` is one delivery among others here, so the survey must not take it for the place of all images
    assert everything.source.images == "." and inspect(tmp_path / "images").source.images == "."


def test_links_to_folders_are_said(tmp_path):
    mine = fill(tmp_path / "mine", [blobs(64, (0, 0), width=4) for _ in range(3)])
    fill(tmp_path / "elsewhere", [blobs(64, (0, 0), width=4)])
    (mine / "linked").symlink_to(tmp_path / "elsewhere", target_is_directory=True)
    assert "1 links to folders, such as linked, are not followed" in " ".join(cautions(inspect(mine), None))
    (tmp_path / "links").mkdir()
    (tmp_path / "links/one").symlink_to(mine, target_is_directory=True)
    with pytest.raises(SurveyError, match="no image in it.*1 links to folders, such as one, are not followed"):
        inspect(tmp_path / "links")


def test_a_folder_that_has_all_its_images_in_images_keeps_that(tmp_path):
    fill(tmp_path / "images" / "first", [blobs(64, (0, 0), width=4)])
    fill(tmp_path / "images" / "second", [blobs(64, (0, 0), width=4)])
    found = inspect(tmp_path)
    assert (found.source.images, found.deliveries) == ("images", ["first", "second"])


def test_unreadable_constant_and_saturated_images_are_counted(tmp_path):
    star = np.full((64, 64), 255, np.uint8)
    star[:40] = blobs(64, (0, 0), width=4)[:40]
    fill(tmp_path, [blobs(64, (0, 0), width=4), np.full((64, 64), 7, np.uint8), star])
    (tmp_path / "text.png").write_text("404")
    (tmp_path / "tiny.png").write_bytes((fill(tmp_path / "x", [np.eye(4, dtype=np.uint8)]) / "g00.png").read_bytes())
    found = inspect(tmp_path)
    assert dict(found.unreadable) == {
        "text.png": "no image format that is known; PNG, JPEG, TIFF, WebP, AVIF, NumPy .npy and FITS are read",
        "tiny.png": "4 x 4 pixels; the smallest side is 16",
        "x/g00.png": "4 x 4 pixels; the smallest side is 16",
    }
    assert (found.saturated, found.framing.outcomes["blank"]) == (1, 1)
    assert "50% of the images looked at cannot be read" in " ".join(cautions(found, None))
    assert ("constant", "1 of 3 images") in table_of(found)


@pytest.mark.parametrize("bright", [8, 3])
def test_of_images_that_are_mostly_saturated_it_is_said_what_is_left_off_for_it(tmp_path, bright):
    y, x = np.indices((64, 64)) - 32
    flooded = np.clip(2000 * np.exp(-(x**2 + y**2) / 800), 0, 255).astype(np.uint8)
    found = inspect(fill(tmp_path, [flooded if i < bright else blobs(64, (0, 0), width=4) for i in range(10)]))
    said, method = " ".join(cautions(found, None)), settings_for("mine", found, None, False)
    assert found.saturated == bright
    assert ("8 of 10 images are saturated" in said and "`artefacts.saturated_fraction`" in said) == (bright == 8)
    assert ("sigma clipping, which fails on 80% of them, is not" in said) == (bright == 8)
    assert "sigma_clip" not in [one.value for one in method if one.key == "cutout.method"]


def test_a_folder_of_a_table_of_images_that_none_can_read_lists_its_columns(tmp_path):
    pq.write_table(pa.table({"stamp": ["aGVsbG8="] * 3}), tmp_path / "t.parquet")
    with pytest.raises(SurveyError, match=r"t.parquet: no column holds images; it has stamp \(string\)"):
        inspect(tmp_path)


@pytest.mark.parametrize("names", [("E", "S0", "spiral"), ("0", "1")])
def test_folders_are_classes_or_it_is_said_that_they_are_not(tmp_path, names):
    for name in names:
        fill(tmp_path / name, [blobs(64, (0, 0), width=4) for _ in range(3)])
    (tmp_path / "more.csv").write_text("a,b\n")
    found = inspect(tmp_path)
    labels = folder_labels(found)
    told = " ".join(cautions(found, labels))
    assert "No table is read (1 .csv in the folder)" in told
    if "spiral" in names:
        assert labels is not None and labels.classes == dict.fromkeys(names, 3)
    else:
        assert labels is None and "the names of the folders (0, 1) are not taken as classes" in told


def test_of_a_person_who_says_so_folders_are_classes_and_one_image_alone_costs_no_other_its_class(tmp_path):
    for name, n in {"FR0": 4, "FR1": 3, "bent": 1}.items():
        fill(tmp_path / "a" / name, [blobs(64, (i, 0), width=4) for i in range(n)])
    found = inspect(tmp_path / "a")
    assert folder_labels(found) is None and "are, give --folder-labels" in " ".join(cautions(found, None))
    asked = folder_labels(found, asked=True)
    assert asked.source.folder_labels and asked.classes == {"FR0": 4, "FR1": 3, "bent": 1}
    for name, n in {"compact": 4, "double": 3, "bent": 1}.items():
        fill(tmp_path / "b" / name, [blobs(64, (i, 0), width=4) for i in range(n)])
    assert folder_labels(inspect(tmp_path / "b")).classes == {"compact": 4, "double": 3, "bent": 1}
    fill(tmp_path / "c", [blobs(64, (i, 0), width=4) for i in range(3)])
    with pytest.raises(SurveyError, match="--folder-labels: no image of .* lies in a folder that is a class"):
        folder_labels(inspect(tmp_path / "c"), asked=True)


@pytest.mark.parametrize("asked", [False, True])
def test_parts_of_a_sample_are_no_classes_and_their_images_have_none(tmp_path, asked):
    counts = {"train/NAT": 4, "train/WAT": 3, "test": 5, "valid": 2, "Unlabelled": 2}
    for at, (name, n) in enumerate(counts.items()):
        fill(tmp_path / name, [blobs(64, (i, at), width=4) for i in range(n)])
    found = inspect(tmp_path)
    labels = folder_labels(found, asked)
    assert labels is not None and labels.classes == {"NAT": 4, "WAT": 3}
    told = " ".join(cautions(found, labels))
    assert "9 images lie in folders whose names are no class (" in told and "test" in told and "Unlabelled" in told
    reader = open_reader(labels.source, tmp_path)
    rows = [row for batch in reader.batches() for row in reader.catalogue(batch).to_pylist()]
    assert Counter(row["label"] for row in rows) == {None: 9, "NAT": 4, "WAT": 3}


@pytest.mark.parametrize(
    ("names", "said"),
    [
        ([f"{'FRI' if i % 3 else 'FRII'}_{i}" for i in range(30)], "FRI (20) or FRII (10)"),
        ([f"{'SEB'[i % 3]}{i:03d}" for i in range(30)], "S (10) or E (10) or B (10)"),
        ([f"{('lens', 'not_lens')[i % 2]}_{i}" for i in range(30)], "lens (15) or not_lens (15)"),
        ([f"{('lens', 'not-lens')[i % 2]}{i}" for i in range(30)], "lens (15) or not-lens (15)"),
        ([f"{('FRI', 'FRII')[i % 2]}_J{1000 + i}+12" for i in range(30)], "FRI (15) or FRII (15)"),
        ([f"{('ring', 'merger')[i % 2]}_{chr(97 + i)}{chr(100 + i)}" for i in range(20)], "ring (10) or merger (10)"),
        ([*(f"{('ring', 'merger')[i % 2]} ({i})" for i in range(40)), "x1", "y2"], "ring (20) or merger (20)"),
        ([f"FRI_{i}" for i in range(30)], ""),
        ([*(f"FRI_{i}" for i in range(30)), *(f"FRII_{i}" for i in range(4))], ""),
        ([f"{('ring', 'merger')[i % 2]}_{i}" for i in range(20)] + [f"{i}" for i in range(10)], ""),
        ([f"{('NGC', 'UGC', 'IC')[i % 3]}{i}" for i in range(30)], ""),
        ([f"{('train', 'test')[i % 2]}_{i}" for i in range(30)], ""),
        ([f"{('g', 'r', 'HSC-I')[i % 3]}_{i}" for i in range(30)], ""),
        ([f"{'abcdef'[i % 6]}{i:02d}e{i}a9" for i in range(60)], ""),
        ([f"J{1000 + i}+{i}" for i in range(30)], ""),
        ([f"{chr(97 + i % 15)}_{i}" for i in range(90)], ""),
    ],
)
def test_beginnings_of_names_that_may_be_classes_are_told_and_nothing_more(tmp_path, names, said):
    found = beginnings(names)
    assert " or ".join(f"{text} ({n})" for text, n in found.items()) == said
    for name in names[:30]:
        Image.fromarray(RNG.integers(0, 90, (16, 16), np.uint8)).save(tmp_path / f"{name}.png")
    inspection = inspect(tmp_path)
    told = [one for one in cautions(inspection, folder_labels(inspection)) if "names begin" in one]
    assert len(told) == bool(beginnings(names[:30]))
    assert all("put the images into folders called so, or write them into a table (--labels)" in one for one in told)
    assert "source.label_column" not in proposed(tmp_path)


def test_beginnings_of_names_are_not_told_beside_classes(tmp_path):
    for i, kind in enumerate(["FRI", "FRII"] * 6):
        (tmp_path / "images" / kind).mkdir(parents=True, exist_ok=True)
        Image.fromarray(RNG.integers(0, 90, (16, 16), np.uint8)).save(tmp_path / "images" / kind / f"{kind}_{i}.png")
    (tmp_path / "t.csv").write_text("id,kind\n" + "".join(f"{('FRI', 'FRII')[i % 2]}_{i},{i % 3}\n" for i in range(12)))
    found = inspect(tmp_path / "images")
    for labels, told in (
        (None, True),
        (folder_labels(found), False),
        (inspect_labels(found, tmp_path / "t.csv"), False),
    ):
        assert ("names begin" in " ".join(cautions(found, labels))) == told


def test_why_folders_are_not_taken_for_classes_is_said(tmp_path):
    for at, name in enumerate(("ring", "disc", "images")):
        fill(tmp_path / name, [blobs(64, (i, at), width=4) for i in range(3)])
    found = inspect(tmp_path)
    assert folder_labels(found) is None
    assert "are not taken as classes, since images lie in images beside them: if they are" in " ".join(
        cautions(found, None)
    )
    asked = folder_labels(found, asked=True)
    assert asked is not None and asked.classes == {"ring": 3, "disc": 3}


def test_small_copies_and_other_formats_of_the_images_are_told(tmp_path):
    images = [blobs(64, (i, 0), width=4) for i in range(3)]
    fill(tmp_path / "a/pictures", images)
    fill(tmp_path / "a/thumbnails", [image[::2, ::2] for image in images])
    fill(tmp_path / "a/previews", [image[::3, ::3] for image in images[:2]])
    told = " ".join(cautions(inspect(tmp_path / "a"), None))
    for folder in ("3 images in thumbnails", "2 images in previews"):
        assert f"{folder} have the names of others, of which they seem to be small copies: move that" in told
    fill(tmp_path / "b", images)
    for path in [*(tmp_path / "b").iterdir()]:
        fits.writeto(path.with_suffix(".fits"), images[0].astype("f4"))
    fits.writeto(tmp_path / "b/another.fits", images[0].astype("f4"))
    found = inspect(tmp_path / "b")
    n = 4 if found.source.reader == "image_folder" else 3
    told = " ".join(cautions(found, None))
    assert f"{n} of 7 images have a format" in told and "3 of them have the names of images that are read" in told


def test_classes_called_as_small_copies_whose_images_are_as_large_are_none(tmp_path):
    for at, name in enumerate(("small", "large")):
        fill(tmp_path / name, [blobs(64, (i, at), width=4) for i in range(8)])
    found = inspect(tmp_path)
    labels = folder_labels(found)
    assert labels is not None and labels.classes == {"small": 8, "large": 8}
    assert "small copies" not in " ".join(cautions(found, labels))


def test_of_two_equal_files_in_two_folders_one_has_a_class(tmp_path):
    images = [blobs(64, (i, 0), width=4) for i in range(3)]
    for name in ("E", "S"):
        fill(tmp_path / name, images)
    labels = folder_labels(inspect(tmp_path))
    assert labels.classes == {"E": 3}, "what the catalogue keeps"


@pytest.mark.parametrize(("colours", "grey"), [(1, True), (4, True), (6, False), (10, False)])
def test_a_few_images_in_colour_do_not_make_a_survey_of_colours(tmp_path, colours, grey):
    one = blobs(64, (0, 0), width=4)
    images = [np.dstack([one, one // 2, one // 3]) if i < colours else one for i in range(10)]
    found = inspect(fill(tmp_path, images))
    (chosen,) = [setting.value for setting in settings_for("mine", found, None, False) if setting.key == "cutout.grey"]
    assert chosen == grey
    assert (f"{colours} of 10 images have colours" in " ".join(cautions(found, None))) == (colours < 10)


def test_counts_are_no_classes_beside_scores_and_alone_none_of_them_is_sought(hundred, tmp_path):
    counts, found = [1 + (i % 7 == 0) + (i % 20 == 0) for i in range(100)], inspect(hundred, sample=1)
    (tmp_path / "t.csv").write_text("name,n_comp\n" + "".join(f"g{i:02d}.png,{n}\n" for i, n in enumerate(counts)))
    alone = inspect_labels(found, tmp_path / "t.csv")
    assert alone.source.label_column == "n_comp" and alone.unsought
    settings = {one.key: one.value for one in settings_for("mine", found, alone, False)}
    assert "evaluation.classes" in settings and "anomaly.labels" not in settings
    assert "Column n_comp was guessed to hold the classes: nothing is sought" in " ".join(cautions(found, alone))
    rows = "".join(f"g{i:02d}.png,{n},{1 + i % 9 / 2}\n" for i, n in enumerate(counts))
    (tmp_path / "t.csv").write_text("name,n_comp,score\n" + rows)
    beside = inspect_labels(found, tmp_path / "t.csv")
    assert beside.source.label_column is None and [one.column for one in beside.graded] == ["score"]
    assert "column n_comp holds numbers: beside scores" in " ".join(cautions(found, beside))
    named = inspect_labels(found, tmp_path / "t.csv", label_column="n_comp")
    assert named.source.label_column == "n_comp" and not named.unsought, "a person's word"


@pytest.mark.parametrize(
    ("column", "values", "anomaly"),
    [
        ("is_merger", ["True" if i % 20 == 0 else "False" for i in range(100)], "True"),
        ("merger", ["yes" if i % 20 == 0 else "no" for i in range(100)], "yes"),
        ("EdgeOn", ["Y" if i % 20 == 0 else "N" for i in range(100)], "Y"),
        ("star_forming", ["yes" if i % 20 == 0 else "no" for i in range(100)], "yes"),
        ("is_star", ["yes" if i % 20 == 0 else "no" for i in range(100)], None),
        ("ring", ["no" if i % 20 == 0 else "yes" for i in range(100)], None),
        ("clean", ["yes" if i % 20 == 0 else "no" for i in range(100)], None),
        ("isTrain", ["True" if i % 20 == 0 else "False" for i in range(100)], None),
        ("bad_seeing", ["yes" if i % 20 == 0 else "no" for i in range(100)], None),
        ("has_satellite_trail", ["yes" if i % 20 == 0 else "no" for i in range(100)], None),
        ("quirk", ["a" if i % 20 == 0 else "b" for i in range(100)], None),
        ("merger_class", ["True" if i % 20 == 0 else "False" for i in range(100)], "True"),
        ("morph_type", [-99.9 if i == 7 else i % 3 for i in range(100)], None),
        ("T", [3.5 if i == 7 else i % 6 - 2 for i in range(100)], None),
    ],
)
def test_truths_and_types_with_a_stray_decimal_are_classes_also_beside_what_a_program_scored(
    hundred, tmp_path, column, values, anomaly
):
    rows = "".join(f"g{i:02d}.png,{value},{i / 101:.3f}\n" for i, value in enumerate(values))
    (tmp_path / "t.csv").write_text(f"name,{column},score\n{rows}")
    found = inspect(hundred, sample=1)
    labels = inspect_labels(found, tmp_path / "t.csv")
    assert labels.source.label_column == column and [one.column for one in labels.graded] == ["score"]
    settings = {one.key: one.value for one in settings_for("mine", found, labels, False)}
    assert settings.get("anomaly.labels") == (anomaly and [anomaly])


@pytest.mark.parametrize(
    ("column", "sought"),
    [("is_lens", "lens"), ("is_merger", "merger"), ("has_ring", "ring"), ("lens", "lens"), ("merger", "merger"),
     ("anomaly", "anomaly"), ("ring", "ring"), ("IsLens", "lens"), ("strong_lens", "strong_lens"), ("is_odd", "odd"),
     ("is_clean", None), ("is_star", None), ("isTrain", None), ("has_spectrum", None), ("x", None), ("col3", None),
     ("not_lens", None), ("no_source", None), ("n_lens", None), ("lens_flag", "lens"), ("merger_flag", "merger"),
     ("z_shaped", "z_shaped"), ("lensed_image", "lensed_image"), ("spec_lens", "spec_lens"),
     ("primary_lens", "primary_lens"), ("field_elliptical", "field_elliptical"), ("lens_in_field", "lens_in_field"),
     ("lens_checked", None), ("merger_sample_used", None), ("spectrum", None), ("has_hst", None),
     ("has_counterpart", None), ("is_central", None), ("tail_visible", "tail_visible")],
)  # fmt: skip
@pytest.mark.parametrize("cells", [("0", "1"), ("0.0", "1.0")])
def test_a_rare_one_is_sought_where_its_column_names_a_thing(hundred, tmp_path, column, sought, cells):
    found = inspect(hundred, sample=1)

    def settings(every: int) -> dict:
        values = [cells[i % every == 0] for i in range(100)]
        rows = "".join(f"g{i:02d}.png,{value},{'train' if i % 3 else 'test'}\n" for i, value in enumerate(values))
        (tmp_path / "t.csv").write_text(f"name,{column},set\n{rows}")
        labels = inspect_labels(found, tmp_path / "t.csv")
        assert labels.source.label_column == column and not labels.graded
        return {one.key: one.value for one in settings_for("mine", found, labels, False)}

    rare = settings(10)
    assert (rare.get("anomaly.name"), rare.get("anomaly.labels")) == (sought, sought and [cells[1]])
    assert "anomaly.labels" not in settings(2), "equal shares"


def test_scores_are_offered_whatever_else_their_column_names(hundred, tmp_path):
    names = ["score_observer1", "rating_observer_2", "score_run1", "grade_catalogue", "interest_in_field"]
    rows = "".join(f"g{i:02d}.png,{','.join(str(1 + (i + k) % 5) for k in range(5))},{2 + i % 3}\n" for i in range(100))
    (tmp_path / "t.csv").write_text(f"name,{','.join(names)},arms\n{rows}")
    labels = inspect_labels(inspect(hundred, sample=1), tmp_path / "t.csv")
    assert {one.column for one in labels.graded} >= {*names}
    assert not any("say where, when" in note for note in labels.notes)


def test_marks_of_a_thing_are_classes_beside_scores_and_marks_that_may_be_scores_are_offered_beside_classes(
    hundred, tmp_path
):
    found = inspect(hundred, sample=1)
    rows = "".join(f"g{i:02d}.png,{int(i % 10 == 0)},{1 + i % 5},{i % 6}\n" for i in range(100))
    (tmp_path / "t.csv").write_text(f"name,is_lens,interest,camcol\n{rows}")
    labels = inspect_labels(found, tmp_path / "t.csv")
    assert labels.source.label_column == "is_lens" and [one.column for one in labels.graded] == ["interest"]
    rows = "".join(f"g{i:02d}.png,{int(i % 10 == 0)},{'ab'[i % 2]}\n" for i in range(100))
    (tmp_path / "t.csv").write_text(f"name,anomaly,kind\n{rows}")
    labels = inspect_labels(found, tmp_path / "t.csv")
    assert labels.source.label_column == "kind" and [one.column for one in labels.graded] == ["anomaly"]


def test_an_order_is_taken_for_classes_where_a_person_says_so(hundred, tmp_path):
    found = inspect(hundred, sample=1)
    rows = "".join(f"g{i:02d}.png,{'ABCX'[i % 4]}\n" for i in range(100))
    (tmp_path / "t.csv").write_text(f"name,grade\n{rows}")
    guessed = inspect_labels(found, tmp_path / "t.csv")
    assert guessed.source.label_column is None and not guessed.classes
    assert not any("evaluation" in one.key for one in settings_for("mine", found, guessed, False))
    assert "import them as scores with `galaxy-assets labels import`" in " ".join(cautions(found, guessed))
    named = inspect_labels(found, tmp_path / "t.csv", label_column="grade")
    assert named.classes == dict.fromkeys("ABCX", 25) and not named.notes


def test_of_several_scores_of_an_image_it_is_said_which_counts(hundred, tmp_path):
    rows = "".join(f"g{i % 60:02d}.png,{1 + i % 9 / 2}\n" for i in range(100))
    (tmp_path / "t.csv").write_text("name,score\n" + rows)
    told = " ".join(inspect_labels(inspect(hundred, sample=1), tmp_path / "t.csv").notes)
    assert "40 images have several rows, such as g00.png: of one person's scores the last counts" in told


def test_dark_sources_on_a_bright_sky_are_told(tmp_path):
    images = [blobs(64, (i, 0), width=4) for i in range(6)]
    assert "negatives" not in " ".join(cautions(inspect(fill(tmp_path / "a", images)), None))
    inverted = inspect(fill(tmp_path / "b", [255 - image for image in images]))
    assert "in 6 of 6 images most pixels are nearly as bright" in " ".join(cautions(inverted, None))


@pytest.mark.parametrize("column", ["morph_class", "gz2class", "target", "HubbleType"])
def test_columns_called_like_classes_are_classes(hundred, tmp_path, column):
    names = [path.name for path in sorted(hundred.glob("*.png"))]
    lines = [f"{name},{i / 7},{'ab'[i % 2]}" for i, name in enumerate(names)]
    (tmp_path / "t.csv").write_text("\n".join([f"name,mag,{column}", *lines]))
    assert inspect_labels(inspect(hundred, sample=1), tmp_path / "t.csv").source.label_column == column


def test_tables_that_name_no_image_are_shown_with_their_values(hundred, tmp_path):
    (tmp_path / "t.csv").write_text("name,label\n<x01>,a\n<x02>,b\n")
    with pytest.raises(SurveyError, match=r"it has name \(<x01>\), label \(a\)"):
        inspect_labels(inspect(hundred, sample=1), tmp_path / "t.csv")
    (tmp_path / "t.csv").write_text("name,label\n")
    with pytest.raises(SurveyError, match="no row below its columns name, label"):
        inspect_labels(inspect(hundred, sample=1), tmp_path / "t.csv")


def test_headers_say_planes_scale_and_position(tmp_path):
    wcs = {"CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN", "CRVAL1": 150.0, "CRVAL2": 2.0, "CRPIX1": 30.0, "CRPIX2": 30.0}
    pixels = blobs(60, (0, 0), width=4).astype(np.float32)
    headers = [wcs | {"CDELT1": -5e-4, "CDELT2": 5e-4, "BUNIT": "Jy/beam"}, {"RA": 150.0, "DEC": 2.0}, {}]
    for i, header in enumerate(headers):
        fits.PrimaryHDU(pixels, fits.Header(header)).writeto(tmp_path / f"{i}.fits")
    fits.PrimaryHDU(np.stack([pixels] * 5), fits.Header({"BANDS": "uvwxy"})).writeto(tmp_path / "5.fits")
    found = inspect(tmp_path)
    assert found.source.reader == "fits_folder" and found.headers is not None
    assert found.headers.scales == pytest.approx([1.8])
    assert found.headers.planes == {1: 3, 5: 1} and found.headers.types == {"float32": 4}
    assert found.headers.positions == {"WCS": 1, "RA, DEC": 1, "none": 2}
    assert (found.source.bands, found.unreadable) == ((1,), [])
    assert "4 of 5 planes of a file are not shown" in " ".join(cautions(found, None))


def test_what_cannot_be_a_survey_is_an_error_with_a_remedy(tmp_path):
    with pytest.raises(SurveyError, match="no such folder; give the folder"):
        inspect(tmp_path / "nosuch")
    (tmp_path / "scan.gif").write_bytes(b"GIF89a")
    with pytest.raises(SurveyError, match=r"no image in it.*\.png.*convert"):
        inspect(tmp_path)
    (tmp_path / "a.png").write_bytes(b"")
    with pytest.raises(SurveyError, match=r"none of 1 images can be read, for instance a.png: empty file"):
        inspect(tmp_path)
    fill(tmp_path, [np.full((64, 64), 7, np.uint8)])
    with pytest.raises(SurveyError, match="every image looked at is one constant value"):
        inspect(tmp_path)


def test_clear_central_sources_are_cut_as_the_paper_does(tmp_path):
    settings = proposed(fill(tmp_path, [blobs(200, (0, 0), width=6) for _ in range(10)], colour=True))
    assert settings["cutout.method"] == "sigma_clip" and settings["cutout.grey"] is False
    assert 64 <= settings["cutout.size"] < 120


def test_sources_that_fill_their_frames_keep_them(tmp_path):
    settings = proposed(fill(tmp_path, [blobs(100, (0, 0), width=30) for _ in range(10)], colour=True))
    assert settings["cutout.method"] == "whole" and settings["cutout.size"] == 100


def test_lobes_in_one_band_are_framed_together(tmp_path):
    doubles = [blobs(150, (0, 0), (-30, 0), (30, 0), width=3) for _ in range(10)]
    settings = proposed(fill(tmp_path, doubles))
    assert (settings["cutout.method"], settings["cutout.source"]) == ("flux_radius", "all")
    assert settings["cutout.grey"] is True
    reader = open_reader(inspect(tmp_path).source, tmp_path)
    cutout = CutoutSettings(**{k.removeprefix("cutout."): v for k, v in settings.items() if k.startswith("cutout.")})
    box = cut(reader.image("g00.png"), cutout).box
    assert box is not None and box[0] < 75 - 30 and box[2] > 75 + 30


def test_what_trials_will_choose_is_left_open_with_what_is_proposed_beside_it(tmp_path):
    found = inspect(fill(tmp_path / "images", [blobs(150, (0, 0), (-30, 0), (30, 0), width=3) for _ in range(20)]))
    settings = settings_for("new", found, None, resnet18=False, tune=True)
    path = tmp_path / "new.yaml"
    survey = write_survey(path, settings, found, None)
    assert {"cutout.method", "cutout.size", "recipe.image_size", "recipe.orientations"} < set(survey.auto)
    assert survey.cutout.grey and "cutout.grey" not in survey.auto and survey.recipe.preset == "small"
    text = " ".join(line.strip("# ") for line in path.read_text().splitlines())
    assert "method: auto" in text and "Proposed without trials: flux_radius." in text
    assert "central_pixels" not in text and "\n  size:" not in path.read_text()


def test_no_region_is_proposed_of_galaxies_that_fill_their_frame(tmp_path):
    reasons = proposed(fill(tmp_path, [blobs(64, (0, 0), width=4) for _ in range(3)]))["artefacts.region_evidence"]
    rules = ArtefactRules(region_evidence=reasons)
    x = np.concatenate([RNG.normal(0, 1, 191), RNG.normal(30, 1, 9)])
    for reason, n in (("edge_flux", 0), ("fallback_no_contour", 0), ("saturated", 1)):
        rare = [""] * 191 + [reason] * 9
        assert len(propose_regions(x, x, x > 15, rare, rules)) == n


def test_faint_sources_get_a_fixed_box_as_wide_as_those_found(tmp_path):
    sky = [blobs(150, width=1) for _ in range(6)]
    seen = [blobs(150, (0, 0), width=6) for _ in range(4)]
    settings = proposed(fill(tmp_path, [*sky, *seen], colour=True))
    assert settings["cutout.method"] == "central"
    assert 30 <= settings["cutout.central_pixels"] <= 90


def test_copies_of_one_image_are_said(tmp_path):
    found = inspect(fill(tmp_path, [blobs(64, (0, 0), width=6)] * 12))
    assert any("11 of the 12 images looked at are copies" in caution for caution in cautions(found, None))


def test_the_recipe_follows_the_number_of_images(tmp_path):
    found = inspect(fill(tmp_path, [blobs(400, (0, 0), width=40) for _ in range(4)], colour=True))

    def recipe(n: int, resnet18: bool) -> dict:
        found.files = found.files[:4] * (n // 4)
        return {s.key: s.value for s in settings_for("mine", found, None, resnet18)}

    handful, few, many = recipe(8, False), recipe(400, False), recipe(40_000, True)
    assert (handful["recipe.batch_size"], handful["mixture.components"]) == (2, 2) and "recipe.batch_size" not in few
    assert (few["recipe.preset"], few["recipe.backbone"], few["recipe.image_size"]) == (
        "small",
        "tf_efficientnet_lite0",
        96,
    )
    assert few["start_weights"] == ["imagenet"] and few["mixture.components"] == 10
    assert (many["recipe.preset"], many["recipe.backbone"], many["recipe.image_size"]) == ("paper", "resnet18", 300)
    assert many["start_weights"] == ["random", "imagenet"] and "mixture.components" not in many
    presets = {n: recipe(n, False)["recipe.preset"] for n in (19_996, 20_000)}
    assert presets == {19_996: "small", 20_000: "paper"}
    batches = {n: recipe(n, False).get("recipe.batch_size") for n in (124, 128)}
    assert batches == {124: 31, 128: None}


@pytest.fixture
def hundred(tmp_path) -> Path:
    return fill(tmp_path / "pictures", [blobs(40, (0, 0), width=3)] * 100)


def labelled(folder: Path, classes: list[str], **columns) -> Path:
    path = folder.parent / "classes.csv"
    names = ["name", "kind", *columns]
    rows = [
        [f"g{i:02d}.png", label, *(str(values[i]) for values in columns.values())] for i, label in enumerate(classes)
    ]
    path.write_text("\n".join(",".join(row) for row in [names, *rows]))
    return path


@pytest.mark.parametrize(
    ("column", "values", "says"),
    [
        ("quirk", ["T01", "T02", "T03"], "Column quirk was guessed to hold the classes: nothing is sought"),
        ("clean", ["False", "True", "True"], "nothing is sought"),
        ("TTYPE", range(-5, 11), "TTYPE are steps of a sequence: nothing is sought"),
        ("type", range(-5, 11), "type are steps of a sequence: nothing is sought"),
    ],
)
def test_what_is_no_kind_of_galaxy_by_its_column_is_never_sought(hundred, tmp_path, column, values, says):
    rare = f"{values[0] if column != 'TTYPE' else -6}"
    cells = [rare if i % 30 == 0 else str(values[1 + i % (len(values) - 1)]) for i in range(100)]
    (tmp_path / "t.csv").write_text(f"name,{column}\n" + "".join(f"g{i:02d}.png,{v}\n" for i, v in enumerate(cells)))
    found = inspect(hundred, sample=1)
    labels = inspect_labels(found, tmp_path / "t.csv")
    assert labels.source.label_column == column and says in " ".join(cautions(found, labels))
    assert "anomaly.labels" not in {one.key for one in settings_for("mine", found, labels, False)}
    named = inspect_labels(found, tmp_path / "t.csv", label_column=column)
    sought = {one.key: one.value for one in settings_for("mine", found, named, False)}.get("anomaly.labels")
    assert sought == (["T01"] if column == "quirk" else None), "a person's word, but for steps and flaws"


def test_common_classes_judge_and_the_rarest_is_sought(hundred):
    table = labelled(
        hundred,
        ["spiral"] * 50 + ["round"] * 30 + ["edge_on"] * 11 + ["ring"] * 5 + ["Don't know"] * 2 + ["star_or_artifact"],
    )
    labels = inspect_labels(inspect(hundred), table)
    assert (labels.source.id_column, labels.source.label_column) == ("name", "kind")
    assert (labels.named, labels.missing) == (99, 0)
    settings = proposed(hundred, labels=labels)
    assert [c["name"] for c in settings["evaluation.classes"]] == ["spiral", "round", "edge_on"]
    assert settings["evaluation.maximum_per_class"] == 11
    assert settings["anomaly.labels"] == ["ring"]


@pytest.mark.parametrize(("rings", "sought"), [(20, ["ring"]), (21, None)])
def test_what_is_sought_has_at_most_a_fifth_of_the_labelled_images(hundred, rings, sought):
    table = labelled(hundred, ["round"] * (100 - rings) + ["ring"] * rings)
    assert proposed(hundred, labels=inspect_labels(inspect(hundred), table)).get("anomaly.labels") == sought


def test_two_classes_of_one_size_hold_no_anomaly(hundred):
    settings = proposed(
        hundred, labels=inspect_labels(inspect(hundred), labelled(hundred, ["FRI"] * 49 + ["FRII"] * 51))
    )
    assert [c["name"] for c in settings["evaluation.classes"]] == ["FRII", "FRI"]
    assert "anomaly.labels" not in settings


def test_positions_in_a_table_are_used_and_unclear_columns_asked_for(hundred):
    found = inspect(hundred)
    table = labelled(hundred, ["b", "a"] * 50, RA=range(100), Dec=[1] * 100)
    said = inspect_labels(found, table).source
    assert (said.ra_column, said.dec_column, said.label_column) == ("RA", "Dec", "kind")
    row = open_reader(said, hundred).catalogue("images").slice(7, 1).to_pylist()[0]
    assert (row["galaxy_id"], row["ra"], row["dec"], row["label"]) == ("g07", 7, 1, "a")
    table = labelled(hundred, ["a", "b"] * 50, bar=["0", "1"] * 50)
    with pytest.raises(SurveyError, match="which column holds the classes.*kind, bar.*--label-column none"):
        inspect_labels(found, table)
    assert inspect_labels(found, table, label_column="kind").classes == {"a": 50, "b": 50}
    none = inspect_labels(found, table, label_column="none")
    assert (none.source.label_column, none.classes, none.notes) == (None, {}, [])
    table.write_text("name,kind\nother,a\n")
    with pytest.raises(
        SurveyError, match="no column names an image of .*such as g00; it has name .other., kind .a..*--id-column"
    ):
        inspect_labels(found, table)


def test_no_name_of_a_file_or_class_ends_its_comment(hundred, tmp_path):
    evil = "x\u2028name: evil\x85title: evil"
    (hundred / f"{evil}.png").write_bytes(b"")
    (hundred / "line\nname: evil.png").write_bytes(b"")
    table = tmp_path / "classes.csv"
    rows = [f'g{i:02d},"{label}"' for i, label in enumerate([f"{evil}: ring"] * 60 + ["{a: [" + "\nb"] * 30)]
    table.write_text("id,label\n" + "\n".join(rows), encoding="utf-8")
    found = inspect(hundred)
    assert len(found.unreadable) == 2 and all(text.isprintable() for _, text in table_of(found))
    labels = inspect_labels(found, table)
    text = as_yaml(settings_for("mine", found, labels, False), found, labels)
    survey = Survey.model_validate(yaml.safe_load(text))
    assert survey.name == "mine" and survey.title == "Mine"
    assert [one.labels for one in survey.evaluation.classes] == [(printable(f"{evil}: ring"),), ("{a: [\\nb",)]


def test_a_survey_file_is_never_overwritten(hundred, tmp_path):
    found = inspect(hundred)
    path = tmp_path / "surveys" / "mine.yaml"
    refuse_name("mine", tmp_path)
    survey = write_survey(path, settings_for("mine", found, None, False), found, None)
    assert survey.source == found.source
    before = path.read_text()
    assert all(line.lstrip().startswith("#") or ":" in line or "- " in line for line in before.splitlines())
    with pytest.raises(SurveyError, match="mine.yaml exists and is not overwritten"):
        write_survey(path, [], found, None)
    with pytest.raises(SurveyError, match="mine.yaml exists and is not overwritten"):
        refuse_name("mine", tmp_path)
    assert path.read_text() == before and [p.name for p in path.parent.iterdir()] == ["mine.yaml"]


@pytest.mark.parametrize(
    ("name", "says"),
    [("My Survey", "cannot name a survey"), ("main", "reserved"), ("gz_decals", "already"), ("../x", "cannot name")],
)
def test_names_are_those_of_the_model(tmp_path, name, says):
    with pytest.raises(SurveyError, match=says):
        refuse_name(name, tmp_path)


def test_real_optical_images_with_labels(real_data):
    found = inspect(real_data / "sdss_gz1" / "images", sample=40)
    labels = inspect_labels(found, real_data / "sdss_gz1" / "labels.csv")
    settings = {s.key: s.value for s in settings_for("mine", found, labels, False)}
    assert (settings["source.reader"], settings["source.id_column"]) == ("image_folder", "objid")
    assert (labels.named, labels.missing) == (3302, 0)
    assert [c["name"] for c in settings["evaluation.classes"]] == [
        "elliptical",
        "edge_on",
        "spiral",
    ]
    assert settings["anomaly.labels"] == ["merger"]
    assert (settings["cutout.method"], settings["cutout.grey"], settings["recipe.preset"]) == (
        "sigma_clip",
        False,
        "small",
    )


def test_real_radio_and_optical_fits(real_data):
    radio = inspect(real_data / "mirabest_fits")
    assert radio.headers is not None and radio.headers.scales == pytest.approx([1.8] * 10)
    settings = {s.key: s.value for s in settings_for("mine", radio, None, False)}
    assert settings["cutout.grey"] is True and settings["cutout.method"] == "flux_radius"
    optical = inspect(real_data / "decals_fits")
    assert optical.headers is not None and optical.headers.bands == {"grz": 4}
    assert [file for file, _ in optical.unreadable] == ["example_incomplete.fits"]
    assert optical.kinds == {"colour": 3}
