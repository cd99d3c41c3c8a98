"""The checks of a survey's assets: each reads stored tables, so that a person can run one by itself.

A check says in words what it found. Most of them warn. One that is declared `blocking` stops what reads its asset where
the rest would be nonsense, and its words name the remedy; the main job and the automation ask the same function. One
that is declared `loud` stops nothing, and `run` and `status` print it.

Belongs here: what is checked, and when it blocks. Does not belong here: what is checked of removed images
(`artefact_checks`), how a check is declared and reads its tables (`verdicts`), numbers that an asset keeps (`assets`).
"""

from collections import Counter
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa

from galaxy_assets.orchestration import artefact_checks  # noqa: F401, they are declared where it is imported
from galaxy_assets.orchestration.assets.cutouts import fallen_back, few_levels, outcomes, shown_of
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
