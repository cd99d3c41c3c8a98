"""What an interrupt is called in Dagster's records, where it must not look like a crash.

Belongs here: those words, and putting them around a step. Does not belong here: what becomes of an interrupted run
(`engines`, `automation`).
"""

import functools
from collections.abc import Callable
from typing import Any

import dagster as dg

from galaxy_assets.settings.printing import PrintableError

INTERRUPTED = "interrupted; run it again to go on from here"


def stopped_for_good(function: Callable[..., Any]) -> Callable[..., Any]:
    """Make Ctrl-C, a cancelled run and an error in words final: Dagster would retry the step like after a crash.

    Parameters
    ----------
    function : callable
        Of a step that Dagster starts once more.

    Returns
    -------
    callable
    """

    @functools.wraps(function)
    def step(*arguments: Any, **inputs: Any) -> Any:
        try:
            return function(*arguments, **inputs)
        except (dg.DagsterExecutionInterruptedError, KeyboardInterrupt) as stop:
            raise dg.Failure(INTERRUPTED, allow_retries=False) from stop
        except PrintableError as error:
            raise dg.Failure(str(error), allow_retries=False) from error

    return step
