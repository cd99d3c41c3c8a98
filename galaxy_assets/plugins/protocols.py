"""What readers, cutters and learners promise, as a Protocol each; `contracts` tests the promises.

Belongs here: one class for each kind, with every method's arguments, answers and errors. Does not belong here: a plug-
in, or anything that runs; what trains networks (`training_protocols`), engines (`orchestration.engines.contract`). The
rooms are imported for their types alone.
"""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

    from galaxy_assets.deliveries.delivery import Delivery
    from galaxy_assets.science.cutouts import Cutout
    from galaxy_assets.settings.cutouts import CutoutSettings
    from galaxy_assets.settings.source import Source


class Reader(Protocol):
    """What every survey's deliveries can be asked, whatever their layout. Safe to use from several threads.

    Registered in `galaxy_assets.readers`: the class itself, or any function of the same two arguments.

    A reader that makes its deliveries itself, as the simulated surveys' does, has beside these a static method
    `make(source, path)`. It is called before the reader is opened for a run, makes all deliveries or none, and does
    nothing where they are there already. It raises SurveyError.

    A reader that keeps something on the disk to read its deliveries, such as an unpacked copy, has a method
    `spool_in(data)`. It is called once, after the reader is opened, with a folder below the data folder for that: the
    deliveries may lie where nothing can be written.

    A reader whose deliveries are files has a method `files(delivery)`: the files of a whole delivery as a dict of their
    names in it to their paths. Their content then tells whether it was changed; without it, `Delivery.snapshot` does.
    """

    def __init__(self, source: Source, path: Path) -> None:
        """Open the deliveries of a survey; no image is read for it.

        Parameters
        ----------
        source : Source
            The survey's settings of that name. `source.options` holds those of a reader of another package.
        path : Path
            Folder or file of the deliveries, absolute: `source.path`, or the copy of what lies at an address.

        Raises
        ------
        SurveyError
            Where nothing is where it should be; it names the path, what is expected there, and the remedy.
        """
        ...

    def deliveries(self, quiet: float = 0) -> list[Delivery]:
        """Every delivery present, whole or not, sorted by name; no image is read for it.

        Parameters
        ----------
        quiet : float
            Seconds for which nothing in a delivery without a manifest may have changed before it counts as whole. With
            0 it counts as whole at once.

        Returns
        -------
        list of Delivery
        """
        ...

    def batches(self) -> list[str]:
        """Names of the whole deliveries; the log says why others are not.

        Returns
        -------
        list of str
            Sorted; letters and digits of any script and `_-.` only (`deliveries.delivery.batch_name`).

        Raises
        ------
        SurveyError
            If there is none; it lists the reasons where deliveries are not whole.
        """
        ...

    def catalogue(self, batch: str, taken: Collection[str] = ()) -> pa.Table:
        """One row per image of a delivery.

        No image is left out. One that cannot be used is a row with a problem. Of images that share an id the first by
        path keeps it, unless it is taken; the others are `<id>#2`, `<id>#3`, with problem `duplicate_id`
        (`distinct_ids` does it). An image is not decoded, so what is truncated after its header shows when `image`
        does.

        Parameters
        ----------
        batch : str
            Name of a delivery.
        taken : Collection of str
            Ids that images of other deliveries have.

        Returns
        -------
        pyarrow.Table
            In `deliveries.readers.catalogue.CATALOGUE_SCHEMA`, sorted by galaxy_id.

        Raises
        ------
        SurveyError
            If there is no such delivery or it is not whole.
        """
        ...

    def labelled(self) -> pa.Table | None:
        """All rows of the table of labels.

        Returns
        -------
        pyarrow.Table or None
            In `deliveries.readers.catalogue.LABELLED_SCHEMA`; None if the survey has no such table.

        Raises
        ------
        SurveyError
            It names the file and what is wrong with it.
        """
        ...

    def image(self, file: str) -> np.ndarray:
        """Decode an image.

        Parameters
        ----------
        file : str
            Of a row of the catalogue.

        Returns
        -------
        numpy.ndarray of shape (H, W) or (H, W, 3)
            uint8, or float32 for more than 8 bits (float64 where that would lose levels). Pixels without data are NaN
            in floats and masked in a `numpy.ma.MaskedArray` of uint8; `science.cutouts.cut` fills them.

        Raises
        ------
        UnreadableImage
            Of `deliveries.images`; the image becomes a row with this reason and the run goes on.
        SurveyError
            If the archive that it is in was damaged since.
        """
        ...

    def tables(self) -> list[Path]:
        """Files of labels and votes that it reads beside the images, absolute; they need not exist."""
        ...

    def votes(self) -> pa.Table | None:
        """Read the volunteer table.

        Returns
        -------
        pyarrow.Table or None
            In the normal form of `science.votes.normalise`; None if the survey has no such table.

        Raises
        ------
        VotesError
            Of `science.votes`; it names the file and what is wrong with it.
        """
        ...


class Cutter(Protocol):
    """How the source in an image is found and cut out. Called from several threads.

    Registered in `galaxy_assets.cutters`. The same image and settings always give the same pixels.
    """

    def __call__(self, image: np.ndarray, settings: CutoutSettings) -> Cutout:
        """Cut one image.

        Parameters
        ----------
        image : numpy.ndarray of shape (H, W, 1) or (H, W, 3)
            RGB order, uint8 or any float type, finite, and not constant: a constant image is `blank` before a cutter is
            asked. Where pixels have no data it is a `numpy.ma.MaskedArray` that masks them and holds the local median
            in their place (`cutouts.nodata`); others are plain arrays. It must not be changed.
        settings : CutoutSettings
            The survey's. `settings.options` holds those of a cutter of another package.

        Returns
        -------
        Cutout
            pixels uint8 (size, size, 3), or (size, size, 1) with `settings.grey` (`cutouts.rendering.render` makes them
            of a box); an outcome of `cutouts.OUTCOMES`, or a word that begins with the plug-in's name; the box inside
            the frame.

        Raises
        ------
        ValueError
            Where a setting is missing; it names the setting.
        """
        ...


class ScoreModel(Protocol):
    """What a learner fits to the scores given: it predicts the score of any galaxy."""

    @property
    def kernel(self) -> str:
        """How it predicts, in words, for the asset's page: a kernel with its numbers, or the like."""
        ...

    @property
    def at_bounds(self) -> tuple[str, ...]:
        """The hyper-parameters that ended at their bound, in words; a warning of the asset names them."""
        ...

    def predict(self, features: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Score of every galaxy and its standard deviation.

        Parameters
        ----------
        features : ndarray of shape (N, D)
            Principal components, N may be 0.

        Returns
        -------
        mean, std : ndarray of shape (N,), float64
            Finite, and the same whenever they are asked for. The larger the score the more interesting the galaxy.
        """
        ...

    def to_table(self) -> pa.Table:
        """What it takes to predict again, as rows of the asset `anomaly_model`.

        Returns
        -------
        pyarrow.Table
            Column `role` (str; `labelled` and `reference` are taken by the platform), those of `Learner.columns`, and
            `vector` (FixedSizeList of D float64) where the model has vectors. It may have no rows. The features and
            the scores of the galaxies that the model was fitted to are kept by the platform, in rows of their own.
        """
        ...


class Learner(Protocol):
    """Learner of the anomaly search: it decides what scores say of other galaxies, and what is asked next.

    What is registered is a class that is made without arguments. Our own are in `science.learners`. It may have two
    attributes beside those below: `strange_seeds`, the share of the seeds that are the strangest galaxies by an
    isolation forest (0 where it is absent), and `trees`, of how many trees that forest is (100).
    """

    @property
    def keeps_scores_given(self) -> bool:
        """Whether a score given stands in place of the predicted one in the ranking."""
        ...

    @property
    def columns(self) -> pa.Schema:
        """Columns of `anomaly_model` that are the learner's own, beside role, galaxy_id, score and vector."""
        ...

    def can_fit(self, scores: np.ndarray) -> bool:
        """Whether these scores are enough to fit.

        Until they are, an isolation forest ranks the galaxies and the search asks for the most anomalous.

        Parameters
        ----------
        scores : ndarray of shape (L,)
            Of any range, at least one.

        Returns
        -------
        bool
        """
        ...

    def fit(self, labelled: np.ndarray, scores: np.ndarray, std: np.ndarray) -> ScoreModel:
        """Fit a model to the scores given.

        Parameters
        ----------
        labelled : ndarray of shape (L, D)
            Principal components of the galaxies that have a score, unscaled.
        scores : ndarray of shape (L,)
            Of any range, at least one, and such that `can_fit` is true.
        std : ndarray of shape (D,), float64
            Standard deviation of each component over the survey; 0 where it is constant.

        Returns
        -------
        ScoreModel
        """
        ...

    def acquisition(self, mean: np.ndarray, std: np.ndarray, best: float, trade_off: float) -> np.ndarray:
        """How much is gained by asking for each galaxy; the search asks for the largest first.

        Parameters
        ----------
        mean, std : ndarray of shape (N,), float64
            The predicted scores and their standard deviations.
        best : float
            The highest score given.
        trade_off : float
            `anomaly.trade_off` of the survey.

        Returns
        -------
        value : ndarray of shape (N,), float64
            Without NaN.
        """
        ...

    def table_to_model(self, table: pa.Table, labelled: np.ndarray, scores: np.ndarray) -> ScoreModel:
        """The model that `ScoreModel.to_table` kept; it predicts the same to the last bit.

        Parameters
        ----------
        table : pyarrow.Table
            The model's rows: role, the learner's columns, and `vector`.
        labelled : ndarray of shape (L, D), float64
            Features of the galaxies that the model was fitted to, in the order of the fit.
        scores : ndarray of shape (L,), float64
            Their scores.

        Returns
        -------
        ScoreModel
        """
        ...
