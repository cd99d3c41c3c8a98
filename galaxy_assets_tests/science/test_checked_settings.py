"""Every setting of the paper has a row that reads all of it; every other setting is listed with the reason."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from galaxy_assets.science.checked_settings import found, not_the_papers, setting
from galaxy_assets.science.checklist import Check, checklist
from galaxy_assets.science.results import AGREES, DIFFERS, results
from galaxy_assets.settings.base import Settings
from galaxy_assets.settings.evaluation import Cut, EvaluationClass
from galaxy_assets.settings.files import read_survey, survey_files
from galaxy_assets.settings.survey import Survey

SURVEYS = survey_files(Path("/nonexistent")).known
GZ = SURVEYS["gz_decals"]
PAPERS = ("gz_decals", "mirabest")
ROWS = {survey: [c for c in checklist() if c.setting and survey in c.surveys] for survey in PAPERS}

NOT_IN_THE_PAPER = {
    "name": "says which survey of the paper it is",
    "title": "shown only",
    "description": "shown only",
    "reference": "shown only",
    "owner": "shown only",
    "sky_links": "shown only",
    "source.reader": "what the delivery is, and D1, D2 and M1 count what is read",
    "source.path": "where the delivery lies",
    "source.mirror": "where the delivery lies",
    "source.votes": "where the delivery lies",
    "source.images": "of other readers",
    "source.labels": "of other readers",
    "source.id_column": "of other readers",
    "source.label_column": "of other readers",
    "source.ra_column": "of other readers",
    "source.dec_column": "of other readers",
    "source.folder_labels": "of other readers",
    "source.file_column": "of other readers",
    "source.simulate": "of the simulated surveys",
    "source.n_images": "of the simulated surveys",
    "source.seed": "of the simulated surveys",
    "source.batches": "of the simulated surveys",
    "source.options": "of another package's reader",
    "source.bands": "of files with several planes",
    "source.extension": "of files with several extensions",
    "source.colour": "of files with several planes",
    "cutout.nodata": "the paper's images are of 8 bits",
    "cutout.stretch": "the paper's images are of 8 bits",
    "cutout.source": "of `flux_radius`, and P1:method and M2:framing ask for the method",
    "cutout.flux_fraction": "of `flux_radius`",
    "cutout.align": "of `flux_radius`",
    "cutout.central_pixels": "of `central`",
    "cutout.options": "of another package's cutter",
    "artefacts.blank_fraction": "the paper drew its box by eye, and D3 counts what is left",
    "artefacts.saturated_fraction": "as above",
    "artefacts.edge_flux_ratio": "as above",
    "artefacts.trail_length": "as above",
    "artefacts.nodata_fraction": "as above",
    "artefacts.decisive": "as above",
    "artefacts.most_removed": "the authors looked at what they removed, which is their yes",
    "artefacts.region_purity": "as above",
    "artefacts.region_minimum": "as above",
    "artefacts.region_evidence": "as above",
    "artefacts.pretrained_frame": "the text does not say which; docs/fidelity.md has both readings",
    "rgz_checkpoint": "where a file lies",
    "networks": "where files lie; the paper's starts are named in start_weights",
    "recipe.beside": "the paper has the trained network's features alone",
    "recipe.train_random_from": "the preset `paper` trains random start weights always",
    "recipe.embedding_precision": "of the machine, and the paper gives none",
    "recipe.preset": "a name for the settings beside it",
    "recipe.seed": "the paper gives no seed",
    "evaluation.seed": "the paper gives no seed",
    "evaluation.judged_at_most": "the paper judges 13,609 galaxies and samples none of them, which E1:sample asks",
    "mixture.seed": "the paper gives no seed",
    "umap.seed": "the paper gives no seed",
    "labelling.exemplars": "images shown to a person",
    "labelling.candidates": "what is offered beyond the paper",
    "anomaly.name": "shown only",
    "similarity.queries": "the ids of the two ring galaxies are not given",
    "similarity.n_queries": "stands in for them",
    "drift.spread": "the paper has one delivery",
    "drift.shift": "as above",
    "drift.unsure": "as above",
    "drift.fallback": "as above",
    "auto": "what trials choose stands in the other settings",
    "mixture.fitted_on": "the paper's surveys are smaller, and all of them is fitted",
    "umap.fitted_on": "as above",
    "anomaly.fitted_on": "as above",
    "anomaly.outliers_among": "the paper has no local outlier factor",
    **dict.fromkeys(
        ("anomaly.exact_below", "anomaly.shortlist", "anomaly.whole_every", "anomaly.least_share"),
        "the paper's surveys are smaller, and every round scores all of them",
    ),
    **dict.fromkeys(("similarity.exact_below", "similarity.least_recall"), "as above, and every search reads them"),
}
NOT_OF_MIRABEST = NOT_IN_THE_PAPER | {
    "source.campaign": "MiraBest has no volunteers",
    **dict.fromkeys(
        ("cutout.sigma", "cutout.threshold", "cutout.channel", "cutout.contour", "cutout.enlarge", "cutout.square"),
        "nothing is cut out of its images",
    ),
    "cutout.clamp": "nothing is cut out of its images",
    "cutout.interpolation": "they are stored as they are",
    "main_start_weights": "four are compared, and none is chosen",
    **{f"votes.{name}": "MiraBest has no volunteers" for name in type(GZ.votes).model_fields},
    "labelling.artefact_fraction": "the paper names no artefacts in MiraBest",
    **{f"anomaly.{name}": "the paper has no search in MiraBest" for name in type(GZ.anomaly).model_fields},
    "similarity.neighbours": "the paper has no such search in MiraBest",
}
LISTED = {"gz_decals": NOT_IN_THE_PAPER, "mirabest": NOT_OF_MIRABEST}

Path_ = tuple[str | int, ...]


def leaves(value: Any, path: Path_ = ()) -> Iterator[Path_]:
    """Every single setting, by its path through models and lists."""
    if isinstance(value, Settings):
        for name in type(value).model_fields:
            yield from leaves(getattr(value, name), (*path, name))
    elif isinstance(value, tuple) and value and isinstance(value[0], Settings):
        for i, part in enumerate(value):
            yield from leaves(part, (*path, i))
    else:
        yield path


def another(value: Any, name: str) -> Any:
    """A value that is not this one, of its kind."""
    if value == () and name in ("cuts", "reject"):
        return (Cut(question="merging", answer="merger"),)
    if isinstance(value, bool):
        return not value
    if isinstance(value, int | float):
        return value + 1
    return {tuple: lambda: (*value, "x"), dict: lambda: {"x": 1}, type(None): lambda: 1}.get(
        type(value), lambda: f"{value}x"
    )()


def changed(value: Any, path: Path_) -> Any:
    step, *rest = path
    if isinstance(step, int):
        return (*value[:step], changed(value[step], tuple(rest)), *value[step + 1 :])
    old = getattr(value, step)
    return value.model_copy(update={step: changed(old, tuple(rest)) if rest else another(old, step)})


def forms(survey: Survey, path: Path_) -> set[str]:
    """The dotted paths that lead to a setting: past a list's parts, or by the name of one."""
    found_forms, value = {""}, survey
    for step in path:
        if isinstance(step, int):
            value = value[step]
            name = getattr(value, "name", None)
            found_forms |= {f"{form}.{name}" for form in found_forms if name}
        else:
            value = getattr(value, step)
            found_forms = {f"{form}.{step}" for form in found_forms}
    return {form.removeprefix(".") for form in found_forms}


def rows_of(survey: Survey, path: Path_) -> set[str]:
    """The rows whose path is the setting's or leads to a whole that it is part of; a name is part of its own paths."""
    dotted = forms(survey, path)
    through = set()
    if path[-1] == "name" and isinstance(path[-2:][0], int):
        through = {form.removesuffix("name") for form in dotted} - {"evaluation.classes."}
    checks = ROWS[survey.name]
    at = {c.id for c in checks if any(f"{form}.".startswith(f"{c.setting}.") for form in dotted)}
    named = {c.id for c in checks if any(f"{c.setting}.".startswith(one) for one in through)}
    rows = at | named
    return rows | {c.id for c in checklist() if survey.name in c.surveys and rows & set(c.rows)}


def differing(survey: Survey) -> set[str]:
    return {row["check_id"] for row in results(survey, {}).to_pylist() if row["verdict"] == DIFFERS}


@pytest.mark.parametrize("name", PAPERS)
def test_every_setting_of_the_shipped_survey_is_the_papers(name):
    verdicts = {row["check_id"]: row["verdict"] for row in results(SURVEYS[name], {}).to_pylist()}
    assert {c.id: verdicts[c.id] for c in ROWS[name]} == {c.id: AGREES for c in ROWS[name]}


CASES = [(name, path) for name in PAPERS for path in leaves(SURVEYS[name])]


@pytest.mark.parametrize(("name", "path"), CASES, ids=[f"{n}-{'.'.join(map(str, p))}" for n, p in CASES])
def test_a_changed_setting_turns_the_rows_of_its_path_and_no_others(name, path):
    survey = SURVEYS[name]
    rows = rows_of(survey, path)
    plain = ".".join(step for step in path if isinstance(step, str))
    if plain in LISTED[name]:
        assert not rows, f"{plain} is in the checklist, and not beside the paper"
    else:
        assert rows, f"{plain} has no row in the checklist, and no reason why"
    if path != ("name",):
        assert differing(changed(survey, path)) == rows


@pytest.mark.parametrize("name", PAPERS)
def test_every_row_and_every_reason_is_of_a_setting_there_is(name):
    every = {path for path in leaves(SURVEYS[name])}
    assert {row for path in every for row in rows_of(SURVEYS[name], path)} >= {c.id for c in ROWS[name]}
    plain = {".".join(step for step in path if isinstance(step, str)) for path in every}
    assert {one for one in LISTED[name] if one not in plain} == set()
    assert all(LISTED[name].values())


EXTENDED = """
extends: gz_decals
name: gz_decals
cutout: {channel: mean, contour: astronomaly, square: false, clamp: trim, interpolation: linear}
recipe:
  preset: paper
  image_size: 64
  freeze_statistics: true
  batch_norm: concat
  orientations: 8
  epoch_choice: healthy
evaluation:
  reject:
    - {question: merging, answer: merger, below: 0.2, minimum_votes: 1}
  classes:
    - name: round_elliptical
      cuts:
        - {question: smooth-or-featured, answer: artifact, above: 0.8}
        - {question: how-rounded, answer: completely, above: 0.8}
    - name: spiral
      cuts:
        - {question: smooth-or-featured, answer: featured-or-disk, above: 0.8}
        - {question: bar, answer: "yes", above: 0.8}
    - name: edge_on
      cuts:
        - {question: bulge-size, answer: boxy, above: 0.8}
anomaly: {question: bar, learner: corrected}
votes: {parents: path}
labelling: {majority_share: 0.9}
mixture: {tol: 1000}
"""


@pytest.fixture
def extended(tmp_path) -> Survey:
    (tmp_path / "gz_decals.yaml").write_text(EXTENDED)
    return read_survey(tmp_path / "gz_decals.yaml")


def test_another_experiment_under_the_papers_name_agrees_with_nothing_that_it_changed(extended):
    assert differing(extended) == {
        *("P1:channel", "P1:contour", "P2:shape", "P2:frame", "P2:interpolation", "P3:input", "P3:orientations"),
        *("B1:batch_norm", "B1:statistics", "E2:cuts", "E3:cuts", "E4:cuts", "E7:epoch", "C1:tolerance"),
        *("C4:parents", "C5:majority", "A1:question", "A5:learner"),
    }


@pytest.mark.parametrize(
    ("path", "values"),
    [
        ("cutout.sigma", [4.0]),
        ("variance", [0.95]),
        ("anomaly.answers", [("merger", "both")]),
        ("evaluation.classes.cuts.above", [0.8] * 5),
        ("evaluation.reject.below", [0.2]),
        ("evaluation.reject.above", [None]),
        ("evaluation.classes.spiral.cuts.answer", ["featured-or-disk", "yes"]),
        ("evaluation.classes.barred.cuts.answer", []),
    ],
)
def test_a_setting_is_found_by_its_path_through_lists(path, values):
    assert setting(GZ, path) == values


def check(**changes: Any) -> Check:
    whole = {"id": "D9", "section": "2", "surveys": ["gz_decals"], "description": "d", "expected": 1}
    return Check.model_validate(whole | changes)


def cut_at(*above: float | None) -> Survey:
    cuts = tuple(Cut(question="bar", answer="yes", above=one) for one in above)
    classes = (GZ.evaluation.classes[0].model_copy(update={"cuts": cuts}),)
    return GZ.model_copy(update={"evaluation": GZ.evaluation.model_copy(update={"classes": classes})})


@pytest.mark.parametrize(
    ("above", "value", "agrees"),
    [
        ((0.8,), 0.8, True),
        ((0.8, 0.8), 0.8, True),
        ((0.8, 0.7), 0.7, False),
        ((0.81, 0.8, 0.5), 0.5, False),
        ((0.8, None), None, False),
        ((), None, False),
    ],
)
def test_of_several_values_every_one_must_be_the_papers(above, value, agrees):
    one = found(check(expected=0.8, setting="evaluation.classes.cuts.above"), cut_at(*above))
    assert (one.value, one.is_papers) == (value, agrees)


def with_classes(*classes: EvaluationClass) -> Survey:
    return GZ.model_copy(update={"evaluation": GZ.evaluation.model_copy(update={"classes": classes})})


def test_a_class_that_is_there_twice_is_another_experiment():
    round_, spiral, edge = GZ.evaluation.classes
    assert differing(with_classes(round_, spiral, spiral, edge)) == {"E1:classes", "E3:cuts"}
    halves = [spiral.model_copy(update={"cuts": (one,)}) for one in spiral.cuts]  # either cut makes a spiral
    assert "E1:classes" in differing(with_classes(round_, *halves, edge))


@pytest.mark.parametrize("name", ["cuts", "labels", "name"])
def test_a_class_may_be_named_as_a_setting_is(name):
    more = EvaluationClass(name=name, labels=("x",))
    assert differing(with_classes(*GZ.evaluation.classes, more)) == {"E1:classes", "E1:labels"}


def test_a_limit_that_is_almost_the_papers_is_not():
    round_, spiral, edge = GZ.evaluation.classes
    cut = edge.cuts[0].model_copy(update={"above": 0.8 + 1e-9})
    almost = edge.model_copy(update={"cuts": (cut,)})
    assert differing(with_classes(round_, spiral, almost)) == {"E1:fraction", "E4:cuts"}


@pytest.mark.parametrize(
    ("expected", "also", "path", "agrees"),
    [
        ("byol", [], "recipe.trainer", True),
        ("byol_pytorch", ["byol"], "recipe.trainer", True),
        ("byol_pytorch", [], "recipe.trainer", False),
        (["both", "merger"], [], "anomaly.answers", True),  # they are added, in any order
        (["merger"], [], "anomaly.answers", False),
        (["merger", "both", "tidal"], [], "anomaly.answers", False),
        ("none", [], "evaluation.maximum_per_class", True),
        ([], [], "anomaly.labels", True),
        (["bar_yes_fraction > 0.8, 5 votes"], [], "evaluation.classes.spiral.cuts", False),
    ],
)
def test_words_agree_as_a_whole(expected, also, path, agrees):
    one = found(check(expected=expected, also=also, setting=path), GZ)
    assert (one.value, one.is_papers) == (float(agrees), agrees)
    assert one.said.startswith(f"{path}: ")


def test_the_settings_of_a_section_that_are_not_the_papers_are_named(extended):
    assert not_the_papers(extended, ["recipe.backbone", "mixture.n_init"]) == []
    assert not_the_papers(extended, ["mixture", "votes"]) == ["mixture.tol: 1000.0", "votes.parents: path"]
    assert not_the_papers(extended, ["recipe.image"]) == [], "a section is a whole word"
