"""Figures 1-15 and both tables of the paper, each an asset: the table behind the picture, and the picture beside it.

Belongs here: which figures there are; one module per section of the paper, one for how a figure is declared. Does not
belong here: drawing (`figures`), numbers that only a figure needs (`science.figure_tables`), results of their own (the
other steps).

A figure is one function. It returns the table, the picture and a caption with this survey's numbers, or raises
NotApplicable with the reason; the asset is then an empty table of the same columns, and an older picture is removed.
"""

from galaxy_assets.orchestration.assets.paper_figures import artefacts, discovery, evaluation, structure
from galaxy_assets.orchestration.assets.paper_figures.declaring import figure_asset

FIGURES = (
    artefacts.figure_01,
    evaluation.figure_02,
    evaluation.figure_03,
    structure.figure_04,
    structure.figure_05,
    structure.figure_06,
    structure.figure_07,
    discovery.figure_08,
    discovery.figure_09,
    discovery.figure_10,
    discovery.figure_11,
    discovery.figure_12,
    evaluation.figure_13,
    evaluation.figure_14,
    structure.figure_15,
    structure.table_1,
    structure.table_2,
)


ASSETS = [figure_asset(figure) for figure in FIGURES]
