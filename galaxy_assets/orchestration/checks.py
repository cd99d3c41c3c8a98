"""The checks of a survey's assets: each reads stored tables, so that a person can run one by itself.

A check says in words what it found. Most of them warn. One that is declared `blocking` stops what reads its asset where
the rest would be nonsense, and its words name the remedy; the main job and the automation ask the same function. One
that is declared `loud` stops nothing, and `run` and `status` print it.

Belongs here: what is checked, and when it blocks. Does not belong here: how a check is declared and reads its tables
(`verdicts`), numbers that an asset keeps (`assets`).
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa

from galaxy_assets.orchestration.assets.artefacts import WOULD_BE_REMOVED
from galaxy_assets.orchestration.assets.cutouts import fallen_back, few_levels, outcomes, shown_of, with_pixels
from galaxy_assets.orchestration.assets.discovery import LEAST, SHARE, SHORT, oracle_scores
from galaxy_assets.orchestration.assets.evaluation import NOTHING, class_sizes
from galaxy_assets.orchestration.assets.recall import never_scored
from galaxy_assets.orchestration.assets.similarity import RECALL
from galaxy_assets.orchestration.training_ledger import epoch_used, meant_to_train
from galaxy_assets.orchestration.verdicts import CHECKS, Stored, Verdict, survey_check
from galaxy_assets.science import recall as recalls
from galaxy_assets.science.cutouts import FEW_LEVELS
from galaxy_assets.science.labels import standing, why_alike
from galaxy_assets.storage.files import DamagedFile

LEAST_COMPONENTS = 3  # below it a representation has collapsed to a line or a plane, and says nothing
_AT_BOUND = (1e-5, 1e5)  # scikit-learn's bounds of a kernel's hyper-parameters
_SEVERAL = 5  # images that a delivery loses before its loss is told: a delivery may hold one or two
_WORST = 0.3  # share removed above which a person should look; the paper removed 14 %


def stopped(stored: Stored, asset: str, verdicts: dict[tuple[str, str, str], Verdict] | None = None) -> str | None:
    """Why nothing should be made of an asset's partition.

    Files that cannot be read are left out: they are made anew before anything reads them, and are checked then.

    Parameters
    ----------
    stored : Stored
        The partition.
    asset : str
        Its name.
    verdicts : dict, optional
        (check, batch, init) -> what it found, to be kept while the tables stay: a check of a whole asset is asked for
        each of its partitions.

    Returns
    -------
    str or None
        The words of the blocking check that failed; None where none did.
    """
    verdicts = {} if verdicts is None else verdicts
    for check in (check for check in CHECKS if check.blocking and check.asset == asset):
        read = replace(stored, readable=True, **({"batch": "", "init": ""} if check.whole else {}))
        key = check.name, read.batch, read.init
        if key not in verdicts:
            try:
                verdicts[key] = check.function(read)
            except DamagedFile as error:
                verdicts[key] = Verdict(False, str(error))
        if verdicts[key].stops:
            return f"{check.name}: {verdicts[key].words}"
    return None


def said_aloud(stored: Stored) -> list[str]:
    """What the loud checks of a survey find, as far as their tables are there.

    Parameters
    ----------
    stored : Stored
        The survey.

    Returns
    -------
    list of str
        The words of those that fail, each after the check's name.
    """
    said = []
    for check in (check for check in CHECKS if check.loud):
        try:
            found = check.function(replace(stored, readable=True))
            said += [] if found.passed else [f"{check.name}: {found.words}"]
        except (FileNotFoundError, DamagedFile):
            continue
        except Exception as error:  # a table that other code or settings made, before it is made anew
            said.append(f"{check.name}: cannot be asked ({error})")
    return said


@survey_check("catalogue")
def every_image_readable(stored: Stored) -> Verdict:
    """No delivered image is missing, unreadable or delivered twice."""
    problems = Counter(stored("catalogue")["problem"].drop_null().to_pylist())
    return Verdict(not problems, ", ".join(f"{n} {problem}" for problem, n in problems.items()) or "all readable")


@survey_check("absent_images")
def every_label_has_an_image(stored: Stored) -> Verdict:
    """Every galaxy of the survey's table of labels was delivered."""
    n = stored("absent_images").num_rows
    return Verdict(n == 0, f"{n} labels without an image" if n else "no label is without an image")


@survey_check("cutouts")
def fallback_share(stored: Stored) -> Verdict:
    """At most a fifth of the images fall back to the original frame."""
    share = fallen_back(stored("cutouts"))
    return Verdict(share <= 0.2, f"{share:.1%} used the original frame", numbers={"share": share})


@survey_check("cutouts")
def levels_above_noise(stored: Stored) -> Verdict:
    """At most a fifth of the cutouts have fewer than 32 levels above the noise."""
    share = few_levels(stored("cutouts"))
    words = f"{share:.1%} of the cutouts have fewer than {FEW_LEVELS} levels above the noise"
    remedy = "; where the images have more than 8 bits, `cutout.stretch: asinh` keeps more" if share > 0.2 else ""
    return Verdict(share <= 0.2, words + remedy, numbers={"share": share})


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

    clean, survey = stored("clean_galaxies", ["batch", "kept", "rule"]), stored.survey
    against = clean.filter(pc.and_(clean["kept"], pc.is_valid(clean["rule"])))
    most, shown = survey.artefacts.most_removed, sum(_with_pixels(stored, clean).values())
    if not against.num_rows:
        return Verdict(True, f"at most {most:.0%} is removed, or a person agreed")
    batches = sorted(set(against["batch"].to_pylist()))
    picture = stored.layout.figure(survey.name, WOULD_BE_REMOVED, batches[0])
    return Verdict(
        False,
        f"{against.num_rows} of {shown} images with pixels look like artefacts ({_rules(against)}) and are kept: "
        f"the rule would remove more than {most:.0%} of the survey, or of what a delivery brought later. They are in "
        f"{_some(batches)}. Look at {picture}. If they are artefacts, raise artefacts.most_removed in "
        f"data/surveys/{survey.name}.yaml, or accept regions in data/surveys/{survey.name}_artefacts.csv. If they are "
        "not, leave it so, or raise the limits under `artefacts` that call them artefacts",
        numbers={"kept against the rule": against.num_rows},
    )


@survey_check("clean_galaxies", whole=True, loud=True)
def no_remnant(stored: Stored) -> Verdict:
    """At least half of the images are kept, and of those with pixels of each delivery, unless it loses fewer than five.

    What is made of less says nothing of the rest.
    """
    import pyarrow.compute as pc

    clean = stored("clean_galaxies", ["batch", "kept"])
    shown, kept = _with_pixels(stored, clean), Counter(clean.filter(clean["kept"])["batch"].to_pylist())
    n, n_shown, n_kept = clean.num_rows, sum(shown.values()), kept.total()
    words = f"{n_kept:,} of {n:,} images are kept, and {n - n_shown:,} have no pixels"
    if n_shown and 2 * n_kept < n:  # without any `something_to_see` says it
        rest = "; training, components, clusters and ranking rest on this remnant and say nothing of the others"
        return Verdict(False, words + rest)
    poor = sorted(one for one, m in shown.items() if 2 * kept[one] < m and m - kept[one] >= _SEVERAL)
    if not poor:
        return Verdict(True, words)
    rules = stored("clean_galaxies", ["batch", "kept", "rule"])
    lost = rules.filter(pc.and_(pc.invert(rules["kept"]), pc.is_in(rules["batch"], pa.array(poor, pa.string()))))
    few = f"of {_some(poor)} fewer than half are kept ({_rules(lost)})"
    return Verdict(
        False, f"{words}; {few}. Look at what was removed: it may be a fault of the delivery, or no artefact"
    )


def _with_pixels(stored: Stored, clean: pa.Table) -> Mapping[str, int]:
    """Images with pixels by delivery, of those that are judged; others may have their cutouts already."""
    return with_pixels(stored("cutouts", ["batch", "outcome"]), clean["batch"])


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:3]) + (" and others" if len(names) > 3 else "")


def _rules(clean: pa.Table) -> str:
    """The five commonest rules of these rows of `clean_galaxies`, each with its number."""
    counted = Counter(clean["rule"].to_pylist()).most_common(5)
    return ", ".join(f"{rule} {n}" for rule, n in counted)


@survey_check("cutouts", whole=True, blocking=True)
def something_to_see(stored: Stored) -> Verdict:
    """Some of the images have a cutout."""
    made = outcomes(stored("cutouts", ["outcome"]))
    n, shown = sum(made.values()), shown_of(made)
    if shown:
        return Verdict(True, f"{shown} of {n} images have a cutout")
    found = ", ".join(f"{outcome} {k}" for outcome, k in made.items())
    return Verdict(
        False,
        f"none of {n} images has a cutout ({found}). Blank images are one constant value, as cutout servers answer "
        f"outside their footprint; the column `reason` of {stored.survey.name}.cutouts says what is wrong with others. "
        "Deliver images with something in them; then run it again",
        True,
    )


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


@survey_check("byol_checkpoints", blocking=True)
def no_collapse(stored: Stored) -> Verdict:
    """At the chosen epoch at least ten components are needed for 95 % of the variance; below three nothing follows."""
    from galaxy_assets.science.health import LEAST_COMPONENTS as HEALTHY

    row = next(r for r in stored("byol_checkpoints").to_pylist() if r["chosen"])
    found = f"{row['pcs_95']} components hold 95 % of the variance at epoch {row['epoch']}"
    if row["pcs_95"] >= HEALTHY:
        return Verdict(True, found)
    remedy = (
        f"{found}: the representation of {row['init']} start weights has collapsed. Look whether the images differ "
        "from each other (many copies of one image collapse anything), train longer or with more images, or take "
        f"{row['init']} out of start_weights in data/surveys/{stored.survey.name}.yaml; then run it again"
    )
    stops = row["pcs_95"] < LEAST_COMPONENTS
    return Verdict(False, remedy if stops else found, stops)


@survey_check("byol_checkpoints")
def better_than_start(stored: Stored) -> Verdict:
    """An epoch of training was chosen, not the start itself, where anything is to be trained."""
    row = next(r for r in stored("byol_checkpoints").to_pylist() if r["chosen"])
    return Verdict(epoch_used(row) > 0 or not meant_to_train(row, stored.survey.recipe), row["reason"])


@survey_check("evaluation_subset")
def classes_filled(stored: Stored) -> Verdict:
    """Every evaluation class has at least ten galaxies."""
    least = min(class_sizes(stored("evaluation_subset"), stored.survey.evaluation).values(), default=0)
    return Verdict(least >= 10, f"smallest class: {least}")


@survey_check("epoch_accuracy")
def better_than_pixels(stored: Stored) -> Verdict:
    """The chosen epoch's mean accuracy is above that of raw pixels."""
    means = _accuracies(stored("epoch_accuracy"))
    if not means:
        return Verdict(False, NOTHING)
    words = f"{means['chosen']:.3f} at the chosen epoch, raw pixels {means['pixels']:.3f}"
    return Verdict(means["chosen"] > means["pixels"], words)


@survey_check("epoch_accuracy")
def better_than_networks(stored: Stored) -> Verdict:
    """It is above that of the untrained and the ImageNet network, embedded alike."""
    means = _accuracies(stored("epoch_accuracy"))
    if not means:
        return Verdict(False, NOTHING)
    networks = {kind: mean for kind, mean in means.items() if kind not in ("chosen", "pixels")}
    said = ", ".join(f"{kind} {mean:.3f}" for kind, mean in networks.items())
    return Verdict(means["chosen"] > max(networks.values()), f"{means['chosen']:.3f} at the chosen epoch, {said}")


def _accuracies(epoch_accuracy: pa.Table) -> dict[str, float]:
    """Mean accuracy at the chosen epoch and of each baseline; empty where nothing was judged."""
    rows = epoch_accuracy.to_pylist()
    kinds: dict[str, list[float]] = {}
    for row in rows:
        if row["features"] != "byol" or row["chosen"]:
            kinds.setdefault("chosen" if row["chosen"] else row["features"], []).append(row["accuracy"])
    return {kind: float(np.mean(values)) for kind, values in kinds.items()}


@survey_check("cluster_model")
def converged(stored: Stored) -> Verdict:
    """The best start of the mixture converged."""
    row = stored("cluster_model").slice(0, 1).to_pylist()[0]
    return Verdict(row["converged"], f"{row['iterations']} iterations")


@survey_check("batch_drift")
def no_drift(stored: Stored) -> Verdict:
    """The delivery is like what the models were fitted to; otherwise retraining is advised."""
    over = [row for row in stored("batch_drift").to_pylist() if row["exceeded"]]
    found = "; ".join(f"{row['words']} {row['value']:.2f}, limit {row['limit']:.2f}" for row in over)
    return Verdict(not over, f"retrain: {found}" if over else "the galaxies are like the fitted ones")


@survey_check("cluster_worksheet")
def rows_match(stored: Stored) -> Verdict:
    """Every row of the worksheet is about a cluster of today."""
    rows = stored("cluster_worksheet").to_pylist()
    lost = [
        f"line {row['line']} (written for cluster {row['written_for'] or '?'}; the best cluster now holds "
        f"{row['n_held']} of {len(row['exemplars'])} exemplars)"
        for row in rows
        if row["cluster"] is None
    ]
    return Verdict(not lost, "; ".join(lost) or f"{len(rows)} rows")


@survey_check("cluster_worksheet")
def labels_are_classes(stored: Stored) -> Verdict:
    """Every label in the worksheet is one of the survey's evaluation classes."""
    classes = {c.name for c in stored.survey.evaluation.classes}
    strange = sorted(set(stored("cluster_worksheet")["label"].drop_null().to_pylist()) - classes) if classes else []
    return Verdict(not strange, ", ".join(strange) or "all are")


@survey_check("cluster_summary")
def clusters_used(stored: Stored) -> Verdict:
    """At least half of the mixture's components have members."""
    members = stored("cluster_summary")["n"].to_pylist()
    used = sum(n > 0 for n in members)
    return Verdict(2 * used >= len(members), f"{used} of {len(members)} have members")


@survey_check("oracle_events")
def oracle_labelled(stored: Stored) -> Verdict:
    """The simulated oracle has labels, and there is at least one true anomaly among the clean galaxies."""
    import pyarrow.compute as pc

    anomaly, clean = stored.survey.anomaly, stored("clean_galaxies")
    ids = clean.filter(pc.equal(clean["kept"], True))["galaxy_id"]
    score, true = oracle_scores(ids, stored("catalogue"), stored("volunteer_votes"), anomaly)
    words = f"{int((score >= 0).sum())} labelled galaxies, {int(true.sum())} true {anomaly.name}"
    if true.any():
        return Verdict(True, words)
    return Verdict(
        False,
        f"{words}: until people score galaxies (`galaxy-assets explore`), the ranking is that of an isolation forest. "
        f"Name what is sought under `anomaly` in data/surveys/{stored.survey.name}.yaml if the labels have it",
    )


@survey_check("anomaly_model", loud=True)
def posterior_informed(stored: Stored) -> Verdict:
    """The scores given tell galaxies apart; otherwise an isolation forest ranks."""
    model = _anomaly_model(stored)
    if model.predictor is not None:
        return Verdict(True, f"kernel: {model.predictor.kernel}")
    clean = stored("clean_galaxies", ["galaxy_id", "kept"])
    words = why_alike(standing(stored("label_events")), clean["galaxy_id"].filter(clean["kept"]), stored.survey.name)
    return Verdict(not words, words or "kernel: none")


@survey_check("anomaly_model")
def hyper_parameters_inside(stored: Stored) -> Verdict:
    """No hyper-parameter of the Gaussian process ended at its bound."""
    from galaxy_assets.science.gaussian_process import GaussianProcess

    process = _anomaly_model(stored).predictor
    if not isinstance(process, GaussianProcess):
        return Verdict(True, "no Gaussian process")
    chosen = {"length_scale": process.length_scale, "noise_level": process.noise}
    at = [f"{n} = {v:.3g}" for n, v in chosen.items() if np.isclose(np.log(v), np.log(_AT_BOUND)).any()]
    return Verdict(not at, ", ".join(at) or process.kernel)


@survey_check("oracle_events")
def shortlist_holds_the_best(stored: Stored) -> Verdict:
    """The shortlist of a large survey's search held the share `anomaly.least_share` of the best 100 galaxies."""
    measured, least = stored.measured("oracle_events"), stored.survey.anomaly.least_share
    if LEAST not in measured:
        short = measured.get(SHORT, 0)
        return Verdict(True, f"{short:.0f} rounds by a shortlist, and none after them that scored every galaxy")
    passed = measured[LEAST] >= least
    words = f"of the best 100 galaxies the shortlist held {measured[SHARE]:.3f}, {measured[LEAST]:.3f} at the least"
    remedy = f"; {least:g} is asked for: raise `anomaly.shortlist`, or lower `anomaly.whole_every`"
    return Verdict(passed, words if passed else words + remedy, numbers=measured)


def _anomaly_model(stored: Stored) -> Any:
    from galaxy_assets.science.anomaly_model import table_to_model

    return table_to_model(stored("anomaly_model"), stored.survey.anomaly.learner, stored.survey.recipe.seed)


@survey_check("anomaly_recall")
def better_than_random(stored: Stored) -> Verdict:
    """Of the galaxies that nobody scored, the first hold more true anomalies than chance explains.

    The first are 200, at most a tenth. The share of anomalies among them exceeds that among all, by the lower end of
    its one-sided 95 % binomial interval (Clopper-Pearson).
    """
    found = recalls.against_random(never_scored(stored, stored.survey.anomaly)[0])
    return Verdict(found.better, found.words)


@survey_check("anomaly_recall")
def better_than_isolation_forest(stored: Stored) -> Verdict:
    """Of the galaxies that nobody scored, the first hold more true anomalies than the isolation forest's first.

    Of the anomalies that only one of the two lists has among its first 200 (at most a tenth), more than half are the
    ranking's, by the lower end of the one-sided 95 % binomial interval.
    """
    found = recalls.against_list(*never_scored(stored, stored.survey.anomaly))
    return Verdict(found.better, found.words)


@survey_check("similar_galaxies")
def neighbours_found(stored: Stored) -> Verdict:
    """The index of a large survey finds the exact neighbours, as far as `similarity.least_recall` asks for."""
    recall, least = stored.measured("similar_galaxies").get(RECALL), stored.survey.similarity.least_recall
    if recall is None:
        return Verdict(True, "every galaxy is read")
    words = f"{recall:.4f} of the exact neighbours of a sample are found, {least:g} are asked for"
    remedy = "; raise `similarity.exact_below` above the number of galaxies, or ask with `--exact`"
    return Verdict(recall >= least, words if recall >= least else words + remedy, numbers={RECALL: recall})


@survey_check("results")
def agrees_with_paper(stored: Stored) -> Verdict:
    """No number or setting differs from the one the paper reports for this survey, and some number was observed."""
    from galaxy_assets.science.checklist import checklist_for
    from galaxy_assets.science.results import AGREES, DIFFERS, NOT_APPLICABLE, NOT_COMPARABLE, NOT_OBSERVED

    verdicts = {row["check_id"]: row["verdict"] for row in stored("results").to_pylist()}
    ids = {one: [i for i, verdict in verdicts.items() if verdict == one] for one in set(verdicts.values())}
    agree, differ, unlike, absent = (ids.get(v, []) for v in (AGREES, DIFFERS, NOT_COMPARABLE, NOT_OBSERVED))
    if not ids.keys() - {NOT_APPLICABLE}:
        return Verdict(True, "the paper has no number for this survey")
    words = f"{len(agree)} agree, {len(differ)} differ{': ' if differ else ''}{', '.join(differ)}"
    words += f", {len(unlike)} {NOT_COMPARABLE}, {len(absent)} {NOT_OBSERVED}"
    measured = {check.id for check in checklist_for(stored.survey.start_weights) if check.asset}
    if not measured & {*agree, *differ, *unlike}:
        return Verdict(False, f"{words}: nothing but settings, since no number was observed; materialise the survey")
    return Verdict(not differ, words)
