"""A survey that leaves settings to trials, as far as it is foreseen before they are made.

Belongs here: what trials will take, or most likely take, of the settings that decide how much work a survey is. Does
not belong here: the rules of the trials (`science.trials`), and what they chose (`storage.trials`).
"""

from galaxy_assets.science.trials import IMAGE_SIZE, ORIENTATIONS
from galaxy_assets.settings.survey import Survey
from galaxy_assets.settings.tuning import with_choice


def foreseen(survey: Survey) -> Survey:
    """A survey with the image size and the orientations that its trials will most likely take in place of `auto`.

    The image size is the same for every frame. Orientations are those of aligned cutouts where these are tried: trials
    chose them for each of the sets in docs/representation.md.

    Parameters
    ----------
    survey : Survey

    Returns
    -------
    Survey
        Without what else is left open, which has its defaults. A survey without `auto` is as it is.
    """
    cutout = survey.cutout
    tried = "cutout.align" in survey.auto and ("cutout.method" in survey.auto or cutout.method == "flux_radius")
    orientations = ORIENTATIONS[0 if cutout.align or tried else 1]
    return with_choice(survey, {"recipe.image_size": IMAGE_SIZE, "recipe.orientations": orientations})
