"""The lock of a survey's main job: while it runs, nothing of that survey starts by itself.

The main job and the automation would otherwise make the same tables at the same time.

Belongs here: the lock, which ends with its process however that ends. Does not belong here: what runs (`engines`,
`conditions`).
"""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from galaxy_assets.settings.printing import PrintableError
from galaxy_assets.storage import locks
from galaxy_assets.storage.layout import Layout


def _path(layout: Layout, survey: str) -> Path:
    return layout.lake / survey / ".main_job.lock"


class AtWork(PrintableError, RuntimeError):
    """Another main job of the survey is at work."""


@contextmanager
def main_job_of(survey: str, layout: Layout) -> Iterator[None]:
    """Hold the lock of a survey while the block runs.

    Parameters
    ----------
    survey : str
    layout : Layout
        The data folder.

    Raises
    ------
    AtWork
        Where another process holds it.
    NotWritten
        Where the data folder may not be written.
    """
    with ExitStack() as holds:
        try:
            holds.enter_context(locks.held(_path(layout, survey), wait=False))
        except BlockingIOError:
            raise AtWork(f"{survey}: another main job of it is at work; wait for it or stop it") from None
        yield


def main_job_runs(survey: str, layout: Layout) -> bool:
    """Whether some process holds the lock of a survey.

    Parameters
    ----------
    survey : str
    layout : Layout
        The data folder.

    Returns
    -------
    bool
    """
    return locks.is_held(_path(layout, survey))
