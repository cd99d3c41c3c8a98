"""What assets read that is no table of their survey: deliveries, a person's files, another survey's checkpoint.

Belongs here: which of these an asset's partition reads, and their fingerprints, from which a change is seen. Does not
belong here: reading them.
"""

from pathlib import Path

from galaxy_assets.deliveries.readers import reader_in_place
from galaxy_assets.settings.files import SurveyError, survey_files
from galaxy_assets.settings.survey import Survey
from galaxy_assets.storage.label_events import LabelLog
from galaxy_assets.storage.layout import Layout
from galaxy_assets.storage.provenance import data_version, fingerprint
from galaxy_assets.storage.tables import read_table


def outside(survey: Survey, asset: str, partition: str | None, layout: Layout) -> dict[str, str]:
    """Name -> fingerprint of everything beside its survey's tables that a partition of an asset reads."""
    match asset:
        case "catalogue":
            return _delivery(survey, partition, layout) | {"labels": fingerprint(_tables(survey, layout))}
        case "volunteer_votes" | "absent_images":
            return {"tables": fingerprint(_tables(survey, layout))}
        case "artefact_regions":
            return {"review": fingerprint([layout.artefact_review(survey.name)])}
        case "cluster_worksheet":
            return {"worksheet": fingerprint([layout.cluster_worksheet(survey.name)])}
        case "label_events":
            return {"labels": fingerprint(LabelLog(layout.labels(survey.name)).files())}
        case "byol_checkpoints" if partition in (surveys := survey_files(layout.root).known):
            start = layout.table(partition, "byol_checkpoints", surveys[partition].main_start_weights)
            return {f"{partition}/byol_checkpoints": data_version(start) or ""}
    return {}


def _tables(survey: Survey, layout: Layout) -> list[Path]:
    """The survey's tables of labels and votes; none where its folder is not there."""
    try:
        return sorted(reader_in_place(survey.source, layout.raw).tables())
    except SurveyError:
        return []


def _delivery(survey: Survey, batch: str | None, layout: Layout) -> dict[str, str]:
    """The snapshot of a delivery when it was last found whole. One that is being changed, or broken, does not make what
    was made of it outdated before it is whole again."""
    path = layout.table(survey.name, "deliveries")
    if not path.exists():
        return {}
    of_batch = (row for row in read_table(path).to_pylist() if row["delivery"] == batch and row["state"] == "whole")
    row = next(of_batch, None)
    return {"delivery": row["snapshot"]} if row is not None else {}
