"""Where everything lies below the data folder.

Belongs here: names of folders and files. Does not belong here: reading or writing any of them.

    raw/<survey>/                                             what a survey delivers
    spool/<survey>-<digest>/*.tar                             plain tars of archives in folders that may not be written
    surveys/<survey>.yaml                                     a user's surveys
    surveys/<survey>_artefacts.csv                            a person's review of the proposed artefact regions
    surveys/<survey>_clusters.csv                             what a person says of the clusters
    surveys/versions/<survey>_artefacts/*.csv                 every version of the review that the explorer saved
    labels/<survey>/*.csv                                     labels that a person puts there to be imported
    labels/<survey>/imported/                                 those that were, and what was wrong in them
    labels/<survey>/zooniverse.yaml                           what the answers of a Zooniverse export mean
    labels/<survey>/events/*.parquet                          people's labels as events, see `storage.label_events`
    labels/<survey>/rankings/*.parquet                        rankings that people saw, see `explorer.rankings`
    weights/                                                  weights that were fetched or put there by hand
    lake/<survey>/<asset>.parquet                             a table
    lake/<survey>/deliveries.parquet                          what a look at the survey's drop found
    lake/<survey>/.withdrawn/                                 what was made of deliveries that are gone
    lake/<survey>/.damaged/                                   files that were not what was written, see `integrity`
    lake/<survey>/<asset>/<partition>.parquet                 a partitioned table (batch before init)
    lake/<survey>/pixels/<batch>/                             decoded cutouts
    lake/<survey>/checkpoints/<init>/<recipe>/epoch_020.safetensors
    lake/<survey>/similarity/<init>/<features>.safetensors    index of a large survey's similarity search
    lake/<survey>/trials/<fingerprint>.json                   rows of trials that were stopped
    lake/<survey>/figures/<name>.png                          beside it .pdf and .json of the paper's figures
    lake/<survey>/worksheets/<init>.csv                       templates of what a person may say of the clusters
    lake/benchmarks/performance/<stage>.parquet               what the benchmarks measured, see docs/performance.md
    figures/index.html                                        the page of all figures
    galaxy.duckdb                                             the read model
"""

from dataclasses import dataclass
from pathlib import Path

from galaxy_assets.storage.store import data_folder


@dataclass(frozen=True)
class Layout:
    """Paths below one data folder.

    Parameters
    ----------
    root : Path
        The data folder.
    """

    root: Path

    @classmethod
    def default(cls) -> "Layout":
        """The layout of $GALAXY_ASSETS_DATA, else of ./data; of a bucket, after a look at what is there."""
        return cls(data_folder())

    @classmethod
    def at(cls, told: Path | str | None) -> "Layout":
        """The layout of a data folder as a person names it, by the rules of $GALAXY_ASSETS_DATA; None for that one."""
        return cls(data_folder(told))

    def named(self, path: Path) -> str:
        """A path as every machine that has the data folder understands it.

        Parameters
        ----------
        path : Path

        Returns
        -------
        str
            Relative to the data folder; as it is where it lies elsewhere.

        Examples
        --------
        >>> Layout(Path("/data")).named(Path("/data/lake/demo_radio/cutouts/images.parquet"))
        'lake/demo_radio/cutouts/images.parquet'
        """
        return path.relative_to(self.root).as_posix() if path.is_relative_to(self.root) else str(path)

    @property
    def raw(self) -> Path:
        """Folder of what surveys deliver."""
        return self.root / "raw"

    @property
    def spools(self) -> Path:
        """Folder of plain tars of deliveries whose own folder may not be written; may be deleted."""
        return self.root / "spool"

    @property
    def weights(self) -> Path:
        """Folder of weights that were fetched or put there by hand."""
        return self.root / "weights"

    @property
    def surveys(self) -> Path:
        """Folder of a user's survey files and reviews."""
        return self.root / "surveys"

    def labels(self, survey: str) -> Path:
        """Folder of people's labels of a survey."""
        return self.root / "labels" / survey

    @property
    def lake(self) -> Path:
        """Folder of all tables, pixels and checkpoints."""
        return self.root / "lake"

    @property
    def read_model(self) -> Path:
        """File of the DuckDB read model."""
        return self.root / "galaxy.duckdb"

    def table(self, survey: str, asset: str, *partition: str) -> Path:
        """File of one table.

        Parameters
        ----------
        survey : str
            Name of the survey.
        asset : str
            Name of the asset.
        *partition : str
            Nothing, (batch,), (init,) or (batch, init).

        Returns
        -------
        Path
            It need not exist.

        Examples
        --------
        >>> Layout(Path("data")).table("demo_radio", "pca_features", "2026_01", "imagenet").as_posix()
        'data/lake/demo_radio/pca_features/2026_01/imagenet.parquet'
        """
        return (
            self.lake.joinpath(survey, asset, *partition[:-1], f"{partition[-1]}.parquet")
            if partition
            else (self.lake / survey / f"{asset}.parquet")
        )

    def pixels(self, survey: str) -> Path:
        """Folder of a survey's decoded cutouts."""
        return self.lake / survey / "pixels"

    def checkpoints(self, survey: str) -> Path:
        """Folder of a survey's checkpoints."""
        return self.lake / survey / "checkpoints"

    def trials(self, survey: str, fingerprint: str) -> Path:
        """File of the rows of trials that are not finished."""
        return self.lake / survey / "trials" / f"{fingerprint}.json"

    def figure(self, survey: str, *name: str) -> Path:
        """File of a figure as PNG; the parts of its name are joined by `_`."""
        return self.lake / survey / "figures" / f"{'_'.join(name)}.png"

    @property
    def figures_page(self) -> Path:
        """File of the page of all figures."""
        return self.root / "figures" / "index.html"

    def artefact_review(self, survey: str) -> Path:
        """File of a person's review of the proposed artefact regions."""
        return self.surveys / f"{survey}_artefacts.csv"

    def cluster_worksheet(self, survey: str) -> Path:
        """File of what a person says of the clusters."""
        return self.surveys / f"{survey}_clusters.csv"

    def worksheet_template(self, survey: str, init: str) -> Path:
        """File of the template of a cluster worksheet, for one of the start weights."""
        return self.lake / survey / "worksheets" / f"{init}.csv"
