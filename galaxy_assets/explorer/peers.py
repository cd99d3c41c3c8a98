"""The same galaxies on two maps of a survey: which row of one is which of the other.

Belongs here: finding and keeping these rows. Does not belong here: maps (`view`), the second map of a tab (`beside`).
"""

import threading
from collections import OrderedDict

import numpy as np

from galaxy_assets.explorer.view import View
from galaxy_assets.science.galaxy_ids import places

_PAIRS = 4


class Peers:
    """Which row of one map is the same galaxy as which row of another; the last few pairs are kept."""

    def __init__(self) -> None:
        self._kept: OrderedDict[tuple[str, ...], np.ndarray] = OrderedDict()
        self._lock = threading.Lock()

    def rows(self, of: View, on: View) -> np.ndarray:
        """Rows of the same galaxies on another map.

        Parameters
        ----------
        of : View
            Of N galaxies.
        on : View
            The other map.

        Returns
        -------
        ndarray of shape (N,), int32
            Row on the other map of each row of `of`, -1 where it has none.
        """
        key = (of.survey, of.start, of.version, on.survey, on.start, on.version)
        with self._lock:
            if key not in self._kept:
                self._kept[key] = places(on.ids, of.ids).astype(np.int32)
                while len(self._kept) > _PAIRS:
                    self._kept.popitem(last=False)
            self._kept.move_to_end(key)
            return self._kept[key]


PEERS = Peers()
"""Of this server."""
