"""What a survey of cutouts that were fetched for positions has beside one of a folder that nobody prepared.

Belongs here: its labels and positions, and where the images come from, for the survey file. Does not belong here:
fetching (`deliveries.sky`), all other settings (`propose`).
"""

from collections import Counter
from pathlib import Path

from galaxy_assets.deliveries.onboarding.inspect import Inspection, Labels
from galaxy_assets.deliveries.onboarding.propose import Setting
from galaxy_assets.deliveries.readers.tables import read_labels
from galaxy_assets.deliveries.sky import positions
from galaxy_assets.deliveries.sky.plan import Plan
from galaxy_assets.deliveries.sky.skies import known_skies, service_of


def labels_of(found: Inspection, folder: Path) -> Labels:
    """What `positions.parquet` says of the images that were fetched.

    Parameters
    ----------
    found : Inspection
        Of the folder.
    folder : Path
        The survey's, of data/raw.

    Returns
    -------
    Labels
    """
    table = positions.kept_positions(folder)
    source = found.source.model_copy(
        update={
            "labels": positions.NAME,
            "id_column": "id",
            "file_column": "file",
            "label_column": "label" if "label" in table.column_names else None,
            "ra_column": "ra",
            "dec_column": "dec",
        }
    )
    there = {Path(file).name for file in found.files}
    named = {
        galaxy for galaxy, file in zip(table["id"].to_pylist(), table["file"].to_pylist(), strict=True) if file in there
    }
    classes = Counter(
        entry.label
        for entry in read_labels(folder / positions.NAME, source).entries
        if entry.name in named and entry.label is not None
    )
    return Labels(source, dict(classes.most_common()), len(named), len(table) - len(named))


def with_origin(settings: list[Setting], folder: Path, plan: Plan, counts: Counter[str]) -> list[Setting]:
    """The settings of a survey with what was fetched, from where and when.

    Parameters
    ----------
    settings : list of Setting
        As `propose.settings_for` makes them.
    folder : Path
        The survey's, of data/raw.
    plan : Plan
        What was fetched.
    counts : collections.Counter of str
        Positions of each state of the ledger.

    Returns
    -------
    list of Setting
    """
    service, known = service_of(plan.sky), known_skies().get(plan.sky)
    what = f" ({known.what})" if known else ""
    size = f"{plan.size:g} arcsec and {plan.pixels} pixels ({plan.size / plan.pixels:.3g} arcsec each)"
    states = ", ".join(f"{n:,} {state.replace('_', ' ')}" for state, n in counts.items())
    why = {
        "png": "PNG: the sky is a picture of several bands, which is not compressed a second time and is transparent "
        "where there is no data.",
        "jpg": "JPEG: a picture of several bands, as the service makes it.",
        "fits": "FITS: values and coordinates of the survey stay, NaN where there is no data.",
    }[plan.format]
    origin = (
        f"Cutouts of {size} on a side, fetched from {service.name}, begun {plan.begun}, by {plan.url()}. {why} "
        f"Positions: {states}; ledger.parquet in that folder says it of each. `galaxy-assets fetch {folder.name}` asks "
        "again for those that failed."
    )
    if (caution := plan.caution()) is not None:
        origin += f" {caution}"
    said = {
        "description": (f"{plan.sky}{what} around the positions of {plan.catalogue}.", None),
        "reference": (f"{known.source if known else plan.sky}. {service.reference}", None),
        "source.path": (folder.name, origin),
    }
    changed = []
    for setting in settings:
        value, reason = said.get(setting.key, (setting.value, None))
        changed.append(Setting(setting.key, value, reason or setting.reason))
    return changed
