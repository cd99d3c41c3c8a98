"""Reader of a survey that the project simulates: made before its first run, and then read like any other.

    <path>/simulation.json   the settings it was made with
    <path>/...               `optical`: laid out like `galaxy_zoo_decals`; `radio`: like `image_folder`, with labels.csv

Belongs here: when a simulation is made, and who reads it. Does not belong here: what is drawn (`simulation`).
"""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from galaxy_assets.deliveries.readers.galaxy_zoo_decals import GalaxyZooDecals
from galaxy_assets.deliveries.readers.image_folder import ImageFolder
from galaxy_assets.settings.files import SurveyError
from galaxy_assets.settings.printing import logger
from galaxy_assets.settings.source import Source

log = logger(__name__)


class Simulated:
    """Reader of `simulated`; see the module and `plugins.protocols.Reader`."""

    def __new__(cls, source: Source, path: Path) -> ImageFolder:
        """The reader of the layout that the simulation writes."""
        if source.simulate == "optical":
            return GalaxyZooDecals(source, path)
        return ImageFolder(source.model_copy(update={"labels": "labels.csv"}), path)

    @staticmethod
    def make(source: Source, path: Path) -> None:
        """Make the deliveries of a simulated survey, whole or not at all, unless they are there already.

        Parameters
        ----------
        source : Source
            `simulate`, `batches`, `n_images` and `seed` decide what is made.
        path : Path
            The survey's folder.

        Raises
        ------
        SurveyError
            Where a setting is missing, or the folder holds a simulation made with other settings.
        """
        settings = source.model_dump_json(include={"simulate", "batches", "n_images", "seed"})
        record = path / "simulation.json"
        if path.exists():
            if record.is_file() and record.read_text(encoding="utf-8") != settings:
                raise SurveyError(
                    f"{path}: simulated with other settings than {settings}; delete it to have it made anew"
                )
            return
        if source.simulate is None or not source.batches or not source.n_images:
            wanted = "`source.simulate`, `source.batches` and `source.n_images`"
            raise SurveyError(f"{path}: cannot be simulated without {wanted}; set them in the survey file")
        from galaxy_assets.simulation import surveys as simulate

        make = {"optical": simulate.simulate_optical, "radio": simulate.simulate_radio}[source.simulate]
        log.info("simulating %d %s images in %s", source.n_images, source.simulate, path)
        with _whole_or_not_at_all(path, record) as beside:
            make(beside, batches=source.batches, n_images=source.n_images, seed=source.seed)
            (beside / record.name).write_text(settings, encoding="utf-8")


@contextmanager
def _whole_or_not_at_all(path: Path, record: Path) -> Iterator[Path]:
    """A folder to write to, which becomes `path` at the end; `record` is the file in `path` that says it is whole."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = Path(tempfile.mkdtemp(prefix=f".{path.name}.", dir=path.parent))
    try:
        yield beside
        beside.chmod(0o755)  # mkdtemp makes it private
        try:
            beside.rename(path)
        except OSError:
            if not record.is_file():  # else another process was quicker, with the same images
                raise
    finally:
        shutil.rmtree(beside, ignore_errors=True)
