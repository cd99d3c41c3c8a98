"""The asset graph of a survey: all assets in the order of the paper, and how they are found in Dagster's graph.

Belongs here: which assets there are, and from a key to what is declared of it. Does not belong here: any asset.
"""

from collections.abc import Mapping, Sequence
from types import ModuleType
from typing import Any

import dagster as dg

from galaxy_assets.orchestration.assets import (
    artefacts,
    clusters,
    comparison,
    cutouts,
    delivery,
    discovery,
    evaluation,
    paper_figures,
    recall,
    representation,
    results,
    similarity,
    structure,
    trials,
)
from galaxy_assets.orchestration.declaration import SurveyAsset
from galaxy_assets.orchestration.resources import KEYS, Keys
from galaxy_assets.settings.survey import Survey
from galaxy_assets.storage.trials import TRIALS


def _declared_in(module: ModuleType) -> list[SurveyAsset]:
    """The assets that the module declares, in its order."""
    found = [value for value in vars(module).values() if isinstance(value, SurveyAsset)]
    return [asset for asset in found if asset.function.__module__ == module.__name__]


_STEPS = (
    delivery,
    trials,
    cutouts,
    artefacts,
    representation,
    evaluation,
    structure,
    clusters,
    discovery,
    recall,
    similarity,
    comparison,
    results,
)
ASSETS: dict[str, SurveyAsset] = {
    asset.name: asset for asset in [*(a for module in _STEPS for a in _declared_in(module)), *paper_figures.ASSETS]
}
"""Every asset that a survey has, by name, in the order of the paper; `recipe_trials` is of those with `auto` alone."""
_SHOWN = [(asset.explorer, asset.name) for asset in ASSETS.values() if asset.explorer is not None]
EXPLORER = tuple(name for _, name in sorted(_SHOWN))
"""Tables whose columns the explorer shows and filters by, in the order in which they keep the names of columns."""


def survey_assets(
    survey: Survey, known: Mapping[str, Survey], prefix: Sequence[str] = (), keys: Keys = KEYS
) -> list[dg.AssetsDefinition]:
    """All assets of a survey under its key prefix.

    Parameters
    ----------
    survey : Survey
    known : mapping of str to Survey
        All surveys by name, for start weights taken from another.
    prefix : sequence of str
        What the keys begin with, before the survey's name.
    keys : Keys
        Of the resources of its data folder.

    Returns
    -------
    list of dagster.AssetsDefinition
    """
    return [asset.of(survey, known, prefix, keys) for asset in declared_of(survey)]


def declared_of(survey: Survey) -> list[SurveyAsset]:
    """What is declared of a survey's assets: trials are made where something is left to them.

    Parameters
    ----------
    survey : Survey

    Returns
    -------
    list of SurveyAsset
    """
    return [asset for asset in ASSETS.values() if survey.auto or asset.name != TRIALS]


def keys_of(graph: Any, survey: str) -> list[dg.AssetKey]:
    """Keys of the survey's assets, each after what it reads; the files that people edit are left out.

    Parameters
    ----------
    graph : asset graph of Dagster
    survey : str

    Returns
    -------
    list of dagster.AssetKey
    """
    return [key for key in graph.toposorted_asset_keys if is_of(key, survey) and graph.get(key).is_materializable]


def is_of(key: dg.AssetKey, survey: str) -> bool:
    """Whether a key is of an asset, or of a file, of this survey, under any prefix.

    Parameters
    ----------
    key : dagster.AssetKey
    survey : str

    Returns
    -------
    bool
    """
    return len(key.path) > 1 and key.path[-2] == survey


def steps_of_assets() -> dict[str, str]:
    """The step of the paper that each asset belongs to, without its number.

    Returns
    -------
    dict of str to str
        By the asset's name, in the order of the steps.
    """
    by_step = sorted(ASSETS.values(), key=lambda asset: asset.step)
    return {asset.name: asset.step.partition("_")[2] for asset in by_step}
