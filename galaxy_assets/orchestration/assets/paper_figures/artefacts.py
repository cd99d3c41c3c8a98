"""Figure 1, the artefacts (paper 3.3).

Belongs here: what the figure reads, shows and says. Does not belong here: drawing (`figures`), removing artefacts
(`science.artefacts`).
"""

import numpy as np
import pyarrow as pa

from galaxy_assets.orchestration.assets.artefacts import ON_THE_MAP
from galaxy_assets.orchestration.assets.paper_figures.declaring import (
    GALAXY,
    REAL,
    TEXT,
    WHOLE,
    YES,
    NotApplicable,
    Shown,
    View,
    paper_figure,
)
from galaxy_assets.science import artefacts, figure_tables
from galaxy_assets.storage.tables import lookup


@paper_figure(
    "figure_01",
    "Map of all images, and the artefacts removed",
    "3.3, Figure 1",
    {
        **GALAXY,
        "x": (REAL, ON_THE_MAP["x"]),
        "y": (REAL, ON_THE_MAP["y"]),
        "kept": (YES, "whether the image is taken as a galaxy"),
        "rule": (TEXT, "what removed it; null where it is kept"),
        "example": (WHOLE, "place among the removed images drawn, from 1; null for the others"),
    },
    reads=["cutouts", "artefact_map", "artefact_regions", "clean_galaxies"],
    settings=("umap",),
    version="2",
)
def figure_01(view: View, artefact_map: pa.Table, artefact_regions: pa.Table, clean_galaxies: pa.Table) -> Shown:
    """One row per image with pixels: where it lies, whether it was kept, and its place among the examples drawn."""
    from galaxy_assets.figures.maps import artefact_map as draw

    if not artefact_map.num_rows:
        raise NotApplicable("no image has pixels")
    kept, rule = lookup(clean_galaxies, "kept"), lookup(clean_galaxies, "rule")
    ids = artefact_map["galaxy_id"].to_pylist()
    removed = [galaxy for galaxy in ids if not kept[galaxy]]
    shown = figure_tables.sample(removed, 16, view.survey.umap.seed)
    table = artefact_map.select(["galaxy_id", "x", "y"])
    for name, values in [("kept", [kept[g] for g in ids]), ("rule", [None if kept[g] else rule[g] for g in ids])]:
        table = table.append_column(name, pa.array(values, YES if name == "kept" else TEXT))
    place = {galaxy: i for i, galaxy in enumerate(shown, 1)}
    table = table.append_column("example", pa.array([place.get(g) for g in ids], WHOLE))
    regions = artefacts.table_to_regions(artefact_regions)
    boxes = [(r.x0, r.y0, r.x1, r.y1) for r in regions]
    examples = [(image, str(rule[g])) for image, g in zip(view.images(shown), shown, strict=True)]
    x, y = (artefact_map[c].to_numpy() for c in ("x", "y"))
    figure = draw(x, y, np.array([not kept[g] for g in ids]), boxes, examples)
    share = len(removed) / len(ids)
    beside = f", with {len(shown)} of them chosen at random at the right" if shown else ""
    return Shown(
        table,
        figure,
        f"UMAP of the features that the ImageNet network gives to all {len(ids):,} images, before any training. "
        f"Boxes are the {len(regions)} regions taken for artefacts; they and the rules for single images remove the "
        f"{len(removed):,} images ({share:.1%}) drawn as triangles{beside}. Axes are in arbitrary units.",
        {"images": len(ids), "removed": len(removed), "share removed": share, "regions": len(regions)},
    )
