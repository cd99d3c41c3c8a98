"""Training on several hosts: the first of torchrun's processes runs the survey, the others only train.

Belongs here: what the first process tells the others of a training, and how they take part in it. Does not belong here:
how processes find each other (`science.torchrun`), the training, Dagster: it sees the first process's run alone.

What is trained comes from the data folder, which every host sees: the start weights, the pixels, the rows that are
trained on, the state to resume from.
"""

import inspect
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import pyarrow as pa

from galaxy_assets import plugins
from galaxy_assets.science import torchrun
from galaxy_assets.settings.printing import logger
from galaxy_assets.settings.recipe import Recipe
from galaxy_assets.storage.checkpoints import Training, load_encoder
from galaxy_assets.storage.layout import Layout
from galaxy_assets.storage.pixels import PixelStore
from galaxy_assets.storage.store import store_of
from galaxy_assets.storage.tables import read_table, write_table

if TYPE_CHECKING:
    from galaxy_assets.orchestration.declaration import SurveyContext

log = logger(__name__)


@dataclass(frozen=True)
class TrainingElsewhere:
    """What another host needs to know of a training.

    Attributes
    ----------
    survey : str
        Its name.
    folder : str
        Of the training's files, below the data folder.
    batches : list of str
        Whose pixels are trained on, in order.
    recipe : dict
        As JSON values.
    freeze : bool
        Whether the encoder's batch normalisation keeps its statistics.
    """

    survey: str
    folder: str
    batches: list[str]
    recipe: dict[str, Any]
    freeze: bool

    @classmethod
    def of(cls, context: "SurveyContext", files: Training, batches: Sequence[str], freeze: bool) -> Self:
        """The training of a survey's start weights."""
        folder = files.folder.relative_to(context.layout.root).as_posix()
        recipe = context.survey.recipe.model_dump(mode="json")
        return cls(context.survey.name, folder, list(batches), recipe, freeze)


def invite(told: TrainingElsewhere, rows: np.ndarray, train: Callable[..., Any], layout: Layout) -> bool:
    """Ask the processes that torchrun started, if there are any, to train too.

    Parameters
    ----------
    told : TrainingElsewhere
    rows : ndarray of int
        Of the pixels, to train on.
    train : callable
        The trainer; one without a parameter `hosts` trains on this host alone.
    layout : Layout
        The data folder.

    Returns
    -------
    bool
        Whether they are asked.
    """
    if torchrun.place() is None:
        return False
    if "hosts" not in inspect.signature(train).parameters:
        log.warning("this trainer knows nothing of other hosts: they wait")
        return False
    write_table(pa.table({"row": rows}), Training(layout.root / told.folder).rows_for_other_hosts)
    torchrun.invite(asdict(told))
    return True


def take_part(place: torchrun.Place, layout: Layout) -> int:
    """Train whatever the first process asks for, until it needs nothing more.

    A training that fails is logged, and the next one is waited for.

    Parameters
    ----------
    place : Place
        This process's.
    layout : Layout
        The data folder.

    Returns
    -------
    int
        Trainings that failed.

    Raises
    ------
    PartnerLost
        Where another process is gone for good.
    """
    failed = 0
    for told in torchrun.invitations(place):
        training = TrainingElsewhere(**told)
        log.info("process %d of %d: training %s", place.rank, place.processes, training.folder)
        try:
            _train(training, layout)
        except Exception as error:
            if torchrun.gone():
                raise
            torchrun.withdraw(place, error)
            log.error("%s: %s: %s", training.folder, type(error).__name__, error)
            failed += 1
    return failed


@dataclass(frozen=True)
class _StateToRead:
    """The state that the first host writes, as it is now."""

    files: Training

    def __str__(self) -> str:
        return str(self.files.state)

    def read(self) -> dict[str, Any] | None:
        store_of(self.files.folder).refresh()
        return self.files.state.read()

    def write(self, saved: dict[str, Any]) -> None:
        raise RuntimeError(f"{self} is the first host's to write")


def _train(told: TrainingElsewhere, layout: Layout) -> None:
    from galaxy_assets.science.devices import choose_devices

    recipe, files = Recipe.model_validate(told.recipe), Training(layout.root / told.folder)
    store_of(layout.root).refresh()
    train = plugins.load("trainers", recipe.trainer)
    train(
        load_encoder(files.weights(0)),
        PixelStore(layout.pixels(told.survey)).stack(told.batches, recipe.image_size),
        read_table(files.rows_for_other_hosts)["row"].to_numpy(),
        recipe,
        freeze=told.freeze,
        devices=choose_devices(),
        state=_StateToRead(files),
        on_epoch=lambda result, encoder: None,
        hosts=True,
    )
