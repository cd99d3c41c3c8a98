"""Whether a survey's networks can be had: its backbone, its files of weights, and the surveys that it starts from.

Belongs here: what is wrong with them, in words. Does not belong here: what becomes of such a survey (`files`), reading
weights (`science.encoders`).
"""

from pathlib import Path

from galaxy_assets import plugins
from galaxy_assets.settings.networks import unknown_backbone, unusable
from galaxy_assets.settings.recipe import OF_START
from galaxy_assets.settings.survey import Survey
from galaxy_assets.settings.wrong_values import meant


def unusable_network(survey: Survey, root: Path) -> str | None:
    """Say why, and the remedy, where a backbone or a file of weights that a survey names cannot be had; else None.

    Parameters
    ----------
    survey : Survey
    root : Path
        The data folder.

    Returns
    -------
    str or None
    """
    if why := unknown_backbone(survey.recipe.backbone):
        return f"recipe.backbone: {why}"
    return unusable(survey.networks, root)


def circle(name: str, surveys: dict[str, Survey]) -> str | None:
    """Say why, and the remedy, where a survey's start weights come, through others or at once, from itself; else None.

    Parameters
    ----------
    name : str
        Of the survey.
    surveys : dict of str to Survey
        All by name.

    Returns
    -------
    str or None
    """
    paths: list[tuple[str, ...]] = [(name,)]
    seen = {name}
    while paths:
        path = paths.pop()
        for start in surveys[path[-1]].start_weights:
            if start == name:
                return f"start weights in a circle: {' <- '.join([*path, name])}; take that name out of `start_weights`"
            if start in surveys and start not in seen:
                seen.add(start)
                paths.append((*path, start))
    return None


def missing_start(survey: Survey, known: dict[str, Survey], files: dict[str, Path]) -> str | None:
    """Say why, and the remedy, where a survey's start weights are neither registered nor a known survey's; else None.

    Parameters
    ----------
    survey : Survey
    known : dict of str to Survey
        Surveys by name, whose networks may be start weights.
    files : dict of str to Path
        Survey name -> file, broken ones included.

    Returns
    -------
    str or None
    """
    if taken := sorted(set(survey.networks) & set(files)):
        return f"networks: {', '.join(taken)} is a survey already; give the network another name"
    of_its_own = {*plugins.names("start_weights"), *survey.networks}
    beside = {*OF_START, *of_its_own}
    if unknown := [start for start in survey.recipe.beside if start not in beside]:
        near = meant(unknown[0], beside)
        return f"recipe.beside names {', '.join(unknown)}, which is none of {', '.join(sorted(beside))}{near}"
    for start in survey.start_weights:
        if start in of_its_own or start in known:
            continue
        if start in files:
            return f"start weights {start!r} come from {files[start]}, which is broken; correct that file"
        names = ", ".join(sorted(set(known) - {survey.name}))
        ours = ", ".join(sorted(of_its_own))
        return f"start weights {start!r} are not {ours} or another survey; known surveys are {names}"
    return None
