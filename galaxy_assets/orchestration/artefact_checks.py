"""The checks of what is removed as an artefact, and of what is left.

Belongs here: checks of `clean_galaxies`. Does not belong here: which images are removed (`assets.artefacts`), other
checks (`checks`), how a check is declared and reads its tables (`verdicts`).
"""

import math
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress

import pyarrow as pa

from galaxy_assets.orchestration.assets.artefacts import WOULD_BE_REMOVED
from galaxy_assets.orchestration.verdicts import Stored, Verdict, survey_check
from galaxy_assets.science.cutouts import WITHOUT_PIXELS

_SEVERAL = 5  # images that a delivery loses before its loss is told: a delivery may hold one or two
_WORST = 0.3  # share removed above which a person should look; the paper removed 14 %


@survey_check("clean_galaxies")
def removed_share(stored: Stored) -> Verdict:
    """At most 30 % of the images are removed (the paper removed 14 %)."""
    kept = stored("clean_galaxies")["kept"].to_numpy(zero_copy_only=False)
    share = float((~kept).mean()) if len(kept) else 0.0
    return Verdict(share <= _WORST, f"{share:.1%} removed", numbers={"share": share})


@survey_check("clean_galaxies", whole=True, loud=True)
def removal_agreed(stored: Stored) -> Verdict:
    """No more images are removed than `artefacts.most_removed` without a person's yes.

    Where more would be, none is.
    """
    import pyarrow.compute as pc

    (clean, shown), survey = _judged(stored), stored.survey
    against, most = clean.filter(pc.and_(clean["kept"], pc.is_valid(clean["rule"]))), survey.artefacts.most_removed
    if not against.num_rows:
        return Verdict(True, f"at most {most:.0%} is removed, or a person agreed")
    batches = sorted(set(against["batch"].to_pylist()))
    besides = _besides(stored, shown, batches)
    picture = stored.layout.figure(survey.name, WOULD_BE_REMOVED, batches[0])
    return Verdict(
        False,
        f"{against.num_rows} of {shown.total()} images with pixels look like artefacts ({_rules(against)}) and are "
        f"kept: the rule would remove more than {most:.0%} of the survey, or of a delivery that came later. They are "
        f"in {_some(batches)}. Look at {picture}. If they are artefacts, raise artefacts.most_removed in "
        f"data/surveys/{survey.name}.yaml, or accept regions in data/surveys/{survey.name}_artefacts.csv. If they are "
        f"not, leave it so, or raise the limits under `artefacts` that call them artefacts{besides}",
        numbers={"kept against the rule": against.num_rows},
    )


def _besides(stored: Stored, shown: Mapping[str, int], against: Collection[str]) -> str:
    """What else may be why images are kept against the rule.

    Deliveries of few images came after the map was fitted, or it is fitted on others that are gone.
    """
    import pyarrow.compute as pc

    most, found = stored.survey.artefacts.most_removed, ""
    with suppress(FileNotFoundError):
        fitted = {*pc.unique(stored("artefact_umap_model", ["batch"])["batch"]).to_pylist()}
        if few := sorted(one for one in {*against} - fitted if shown[one] * most < 1) if most else []:
            least = math.ceil(1 / most)
            found += f". {_some(few)} came with fewer than {least} images, of which one is more than {most:.0%}"
        there = {*pc.unique(stored("delivered_images", ["batch"])["batch"]).to_pylist()}
        if gone := sorted(fitted - there):
            is_gone = f"{_some(gone)} {'is' if len(gone) == 1 else 'are'} gone"
            found += f". {is_gone}, and the map is still of them: run {stored.survey.name} --retrain makes it anew"
    return found


@survey_check("clean_galaxies", whole=True, loud=True)
def no_remnant(stored: Stored) -> Verdict:
    """At least half of the images are kept, and of those with pixels of each delivery, unless it loses fewer than five.

    What is made of less says nothing of the rest.
    """
    import pyarrow.compute as pc

    clean, shown = _judged(stored)
    kept = Counter(clean.filter(clean["kept"])["batch"].to_pylist())
    n, n_shown, n_kept = clean.num_rows, shown.total(), kept.total()
    words = f"{n_kept:,} of {n:,} images are kept, and {n - n_shown:,} have no pixels"
    if n_shown and 2 * n_kept < n:  # without any `something_to_see` says it
        rest = "; training, components, clusters and ranking rest on this remnant and say nothing of the others"
        return Verdict(False, words + rest)
    poor = sorted(one for one, m in shown.items() if 2 * kept[one] < m and m - kept[one] >= _SEVERAL)
    if not poor:
        return Verdict(True, words)
    lost = clean.filter(pc.and_(pc.invert(clean["kept"]), pc.is_in(clean["batch"], pa.array(poor, pa.string()))))
    few = f"of {_some(poor)} fewer than half are kept ({_rules(lost)})"
    return Verdict(
        False, f"{words}; {few}. Look at what was removed: it may be a fault of the delivery, or no artefact"
    )


def _judged(stored: Stored) -> tuple[pa.Table, Counter[str]]:
    """The verdicts on every image of the deliveries whose cutouts are here, and how many of each have pixels.

    Deliveries that are not judged yet may have their cutouts already.
    """
    import pyarrow.compute as pc

    clean, cutouts = stored("clean_galaxies", ["batch", "kept", "rule"]), stored("cutouts", ["batch", "outcome"])
    clean = clean.filter(pc.is_in(clean["batch"], cutouts["batch"].cast(clean["batch"].type).unique()))
    without = pc.is_in(cutouts["outcome"], pa.array(sorted(WITHOUT_PIXELS), cutouts["outcome"].type))
    judged = pc.is_in(cutouts["batch"], clean["batch"].cast(cutouts["batch"].type).unique())
    return clean, Counter(cutouts["batch"].filter(pc.and_not(judged, without)).to_pylist())


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:3]) + (" and others" if len(names) > 3 else "")


def _rules(clean: pa.Table) -> str:
    """The five commonest rules of these rows of `clean_galaxies`, each with its number."""
    counted = Counter(clean["rule"].to_pylist()).most_common(5)
    return ", ".join(f"{rule} {n}" for rule, n in counted)


@survey_check("clean_galaxies", whole=True, blocking=True)
def enough_left(stored: Stored) -> Verdict:
    """Artefact removal leaves enough images to train on, and not copies of a few."""
    import pyarrow.compute as pc

    clean, recipe = stored("clean_galaxies", ["galaxy_id", "kept", "rule"]), stored.survey.recipe
    needed = recipe.batch_size if recipe.epochs else 1
    kept, name = clean.filter(clean["kept"]), stored.survey.name
    delivered = stored("catalogue", ["galaxy_id", "sha256"])
    left = kept.num_rows
    different = len(pc.unique(delivered.filter(pc.is_in(delivered["galaxy_id"], kept["galaxy_id"]))["sha256"]))
    if min(left, different) >= needed:
        return Verdict(True, f"{left} of {clean.num_rows} images are left")
    wanted = f"at least {needed} are needed{' (recipe.batch_size)' if recipe.epochs else ''}"
    if left >= needed:
        said = f"{left} of {clean.num_rows} images are left, but only {different} of them differ, and {wanted}"
        return Verdict(
            False, f"{said}: nothing is learnt from copies of one image. Deliver others; then run it again", True
        )
    if clean.num_rows < needed:
        said = f"the survey has {clean.num_rows} images, and {wanted}"
        return Verdict(False, f"{said}: its images are compared with each other. Deliver more; then run it again", True)
    removed = _rules(clean.filter(pc.invert(clean["kept"])))
    return Verdict(
        False,
        f"{left} of {clean.num_rows} images are left, and {wanted}; removed: {removed}. Raise the limits under "
        f"`artefacts` in data/surveys/{name}.yaml that name what is no artefact in this survey, review the regions in "
        f"data/surveys/{name}_artefacts.csv, or lower recipe.batch_size; then run it again",
        True,
    )
