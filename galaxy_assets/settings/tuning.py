"""Settings that a survey leaves to trials: `auto` in its file, and what becomes of it.

Belongs here: which settings may say `auto`, how they are read, and a choice in their place: of a survey, and in its
file. Does not belong here: the trials (`science.trials`) and where their table lies (`storage.trials`).
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import yaml

if TYPE_CHECKING:
    from galaxy_assets.settings.survey import Survey

AUTO = "auto"
TRIED: dict[str, tuple[str, ...]] = {
    "cutout": ("method", "source", "align", "flux_fraction", "enlarge", "central_pixels", "size"),
    "recipe": ("image_size", "orientations", "rotation_maximum", "contrast"),
}
"""Section of a survey -> its settings that may say `auto`."""
KEYS = tuple(f"{section}.{key}" for section, keys in TRIED.items() for key in keys)


def without_given(values: dict[str, Any]) -> dict[str, Any]:
    """The settings of a survey file, with nothing in its list `auto` that it gives a value: what a person set is kept.

    Parameters
    ----------
    values : dict of str to Any
        The top level of one file, without those that it extends. Is not changed.

    Returns
    -------
    dict of str to Any

    Examples
    --------
    >>> from galaxy_assets.settings.tuning import without_given
    >>> without_given({"recipe": {"image_size": 128}, "auto": ["recipe.image_size", "cutout.method"]})
    {'recipe': {'image_size': 128}, 'auto': ['cutout.method']}
    """
    asked = values.get(AUTO)
    if not isinstance(asked, list):
        return values
    sections = {section: values[section] for section in TRIED if isinstance(values.get(section), dict)}
    given = {f"{section}.{key}" for section, own in sections.items() for key in TRIED[section] if key in own}
    return values | {AUTO: [key for key in asked if str(key) not in given]}


def without_auto(values: dict[str, Any]) -> dict[str, Any]:
    """The settings of a survey file with every `auto` taken out and named in `auto`.

    `cutout: auto` and `cutout: {method: auto}` leave open all of TRIED["cutout"] that is not given beside it; so does
    `auto: [cutout]`.

    Parameters
    ----------
    values : dict of str to Any
        The top level of a survey file. Is not changed.

    Returns
    -------
    dict of str to Any
        What is left out takes its default until the trials have chosen.

    Examples
    --------
    >>> from galaxy_assets.settings.tuning import without_auto
    >>> without_auto({"cutout": {"method": "central", "size": "auto"}, "recipe": {"image_size": "auto"}})
    {'cutout': {'method': 'central'}, 'recipe': {}, 'auto': ['cutout.size', 'recipe.image_size']}
    """
    values, asked = dict(values), values.get("auto", ())
    if not isinstance(asked, list | tuple):
        return values  # told of by the model
    if values.get("cutout") == AUTO:
        values["cutout"] = {"method": AUTO}
    found = {str(key) for key in asked} - {"cutout"}
    for section, keys in TRIED.items():
        given = values.get(section, {})
        if not isinstance(given, dict):
            continue
        here = {key for key in keys if isinstance(given.get(key), str) and given[key] == AUTO}
        if "method" in here or (section == "cutout" and "cutout" in asked):
            here |= {key for key in keys if key not in given}
        if here:
            values[section] = _possible({key: value for key, value in given.items() if key not in here})
            found |= {f"{section}.{key}" for key in here}
    if asked or found:
        values["auto"] = [key for key in KEYS if key in found] + sorted(found - set(KEYS))
    return values


def _possible(given: dict[str, Any]) -> dict[str, Any]:
    """With the only method that can turn a cutout, where one is to be turned and no method is given."""
    return {"method": "flux_radius"} | given if given.get("align") is True else given


def as_yaml(choice: Mapping[str, Any]) -> str:
    """A choice as lines of a survey file, in place of its `auto`.

    Parameters
    ----------
    choice : mapping of str to Any
        Setting, as in KEYS, -> value.

    Returns
    -------
    str

    Examples
    --------
    >>> from galaxy_assets.settings.tuning import as_yaml
    >>> print(as_yaml({"recipe.image_size": 64, "cutout.method": "central", "cutout.central_pixels": 90}))
    cutout:
      method: central
      central_pixels: 90
    recipe:
      image_size: 64
    """
    sections: dict[str, dict[str, Any]] = {}
    for key in (key for key in KEYS if key in choice):
        section, _, name = key.partition(".")
        sections.setdefault(section, {})[name] = choice[key]
    return yaml.safe_dump(sections, sort_keys=False).strip()


def with_choice(survey: "Survey", choice: Mapping[str, Any]) -> "Survey":
    """A survey with what was chosen in place of `auto`.

    Parameters
    ----------
    survey : Survey
    choice : mapping of str to Any
        Setting, as in KEYS, -> value. What the survey does not leave open is passed over: a person's setting wins.

    Returns
    -------
    Survey
        The settings that were left open and are not in `choice` have their defaults.
    """
    update = {}
    for section in TRIED if survey.auto else ():
        open_here = {key.removeprefix(f"{section}.") for key in survey.auto if key.startswith(f"{section}.")}
        settings = getattr(survey, section)
        given = {key: value for key, value in settings.model_dump().items() if key not in open_here}
        chosen = {key: choice[f"{section}.{key}"] for key in open_here if f"{section}.{key}" in choice}
        update[section] = type(settings).model_validate(_possible(given) | chosen)
    return survey.model_copy(update=update)


def of_open(survey: "Survey") -> dict[str, Any]:
    """The values of the settings that a survey left open.

    Parameters
    ----------
    survey : Survey
        As `with_choice` returns it.

    Returns
    -------
    dict of str to Any
        Setting, as in KEYS, -> value: of each in `survey.auto`, its default where nothing was chosen.
    """
    return {key: getattr(getattr(survey, key.partition(".")[0]), key.partition(".")[2]) for key in survey.auto}
