"""Figure 1, the artefacts (paper 3.3).

Belongs here: what the figure reads, shows and says. Does not belong here: drawing (`figures`), removing artefacts
(`science.artefact_regions`).
"""

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
from galaxy_assets.science import figure_tables
from galaxy_assets.science.artefact_regions import table_to_regions
from galaxy_assets.science.galaxy_ids import places
from galaxy_assets.storage.tables import rows_of


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
    import pyarrow.compute as pc

    from galaxy_assets.figures.maps import artefact_map as draw

    if not artefact_map.num_rows:
        raise NotApplicable("no image has pixels")
    ids, n = artefact_map["galaxy_id"], artefact_map.num_rows
    at = pa.array(rows_of(clean_galaxies, artefact_map, "clean_galaxies"))
    kept = clean_galaxies["kept"].take(at).combine_chunks()
    rule = pc.if_else(kept, pa.scalar(None, TEXT), clean_galaxies["rule"].take(at).combine_chunks().cast(TEXT))
    away = pc.invert(kept)
    removed = ids.filter(away).to_pylist()
    shown = figure_tables.sample(removed, 16, view.survey.umap.seed)
    table = artefact_map.select(["galaxy_id", "x", "y"]).append_column("kept", kept.cast(YES))
    table = table.append_column("rule", rule)
    place = pc.index_in(ids, value_set=pa.array(shown, ids.type)).fill_null(-1).to_numpy() + 1
    table = table.append_column("example", pa.array(place, WHOLE, mask=place == 0))
    regions = table_to_regions(artefact_regions)
    boxes = [(r.x0, r.y0, r.x1, r.y1) for r in regions]
    why = [str(rule[int(row)]) for row in places(ids, pa.array(shown, TEXT))]
    examples = list(zip(view.images(shown), why, strict=True))
    x, y = (artefact_map[c].to_numpy() for c in ("x", "y"))
    figure = draw(x, y, away.to_numpy(zero_copy_only=False), boxes, examples)
    share = len(removed) / n
    beside = f", with {len(shown)} of them chosen at random at the right" if shown else ""
    return Shown(
        table,
        figure,
        f"UMAP of the features that the ImageNet network gives to all {n:,} images, before any training. "
        f"Boxes are the {len(regions)} regions taken for artefacts; they and the rules for single images remove the "
        f"{len(removed):,} images ({share:.1%}) drawn as triangles{beside}. Axes are in arbitrary units.",
        {"images": n, "removed": len(removed), "share removed": share, "regions": len(regions)},
    )
