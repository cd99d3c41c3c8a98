"""Assets of which one run at a time may work on a partition, since they keep files on the way to their table.

Belongs here: the lock of such an asset. Does not belong here: what is made under it (`assets`).
"""

import functools
import os
import socket
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

from galaxy_assets.orchestration.declaration import Result, SurveyContext
from galaxy_assets.settings.printing import logger
from galaxy_assets.storage.files import told_of
from galaxy_assets.storage.locks import held

log = logger(__name__)


def training_alone(function: Callable[..., Result]) -> Callable[..., Result]:
    """Let an asset's function train these start weights while no other process does; a second one goes on from there.

    Who has to wait says so, and for whom.

    Parameters
    ----------
    function : callable
        Of an asset by start weights; it keeps its files in the survey's folder of checkpoints.

    Returns
    -------
    callable
    """

    @functools.wraps(function)
    def alone(context: SurveyContext, *tables: Any, **named: Any) -> Result:
        lock = context.layout.checkpoints(context.survey.name) / context.init / ".training.lock"
        with ExitStack() as holds:
            try:
                holds.enter_context(held(lock, wait=False))
            except BlockingIOError:
                whose = lock.read_text(encoding="utf-8") or "another process"
                log.warning("%s is held by %s, which trains these start weights; waiting for it", lock, whose)
                holds.enter_context(held(lock))
            with told_of(lock):
                lock.write_text(f"process {os.getpid()} on {socket.gethostname()}", encoding="utf-8")
            return function(context, *tables, **named)

    return alone
