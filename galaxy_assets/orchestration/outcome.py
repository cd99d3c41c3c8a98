"""What an engine says of each run.

Belongs here: the words for what became of a partition. Does not belong here: any engine.
"""

from typing import NamedTuple


class Outcome(NamedTuple):
    """What became of some assets' partition in the main job.

    Attributes
    ----------
    survey : str
    assets : list of str
    partition : str or None
    status : str
        `done`, `fresh` (nothing to do), `failed`, `blocked` (a check of what they read says that the rest would be
        nonsense), or `skipped` because what they read failed; of a delivery that is not whole: `held` or `arriving`.
    seconds : float
    error : str
        Empty where nothing went wrong.
    """

    survey: str
    assets: list[str]
    partition: str | None
    status: str
    seconds: float = 0.0
    error: str = ""
