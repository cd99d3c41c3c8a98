"""Assets of which one run at a time may work on a partition, since they keep files on the way to their table.

Belongs here: the lock of such an asset. Does not belong here: what is made under it (`assets`).
"""

import functools
from collections.abc import Callable
from typing import Any

from galaxy_assets.orchestration.declaration import Result, SurveyContext
from galaxy_assets.storage.locks import held


def training_alone(function: Callable[..., Result]) -> Callable[..., Result]:
    """Let an asset's function train these start weights while no other process does; a second one goes on from there.

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
        with held(context.layout.checkpoints(context.survey.name) / context.init / ".training.lock"):
            return function(context, *tables, **named)

    return alone
