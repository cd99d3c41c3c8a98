"""How much memory all threads together may hold of files and pixels: who needs more than is left waits.

Belongs here: the count. Does not belong here: what one image may take (`images.check_memory`).
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from galaxy_assets.settings.limits import JOINT_MEMORY


class Memory:
    """Bytes that threads hold, with a joint limit. One that needs more than the limit waits until it is alone.

    No two threads wait for each other: where all that hold something wait for more, one of them goes on.

    Parameters
    ----------
    most : int
        Bytes.

    Attributes
    ----------
    held : int
        Bytes that all threads hold now.
    peak : int
        Most that they ever held.
    """

    def __init__(self, most: int):
        self.held = self.peak = 0
        self._most, self._running, self._changed, self._own = most, 0, threading.Condition(), threading.local()

    @contextmanager
    def hold(self, n: int) -> Iterator[None]:
        """Hold bytes, and what `grow` adds to them, for a block; waits until they are there.

        Parameters
        ----------
        n : int
            Bytes.
        """
        own = self._blocks()
        if own:
            own.append(0)
            self.grow(n)
        else:
            with self._changed:
                self._changed.wait_for(lambda: not self.held or self.held + n <= self._most)
                self._take(n)
                self._running += 1
            own.append(n)
        try:
            yield
        finally:
            with self._changed:
                self.held -= own.pop()
                self._running -= not own
                self._changed.notify_all()

    def grow(self, n: int) -> None:
        """Hold more bytes until the innermost block of this thread ends; outside of any, nothing is counted.

        Parameters
        ----------
        n : int
            Bytes.
        """
        own = self._blocks()
        if not own:
            return
        with self._changed:
            self._running -= 1
            self._changed.notify_all()
            try:
                self._changed.wait_for(lambda: not self._running or self.held + n <= self._most)
            finally:
                self._running += 1
            self._take(n)
        own[-1] += n

    def _take(self, n: int) -> None:
        self.held += n
        self.peak = max(self.peak, self.held)

    def _blocks(self) -> list[int]:
        """Bytes of each block that this thread is in."""
        if not hasattr(self._own, "blocks"):
            self._own.blocks = []
        return self._own.blocks


MEMORY = Memory(JOINT_MEMORY)
"""Of this process."""
