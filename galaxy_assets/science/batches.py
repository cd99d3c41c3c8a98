"""Batches of pixels on a device: kept there whole where they fit, else read ahead while the device computes.

Belongs here: how pixels get to a device. Does not belong here: their files (`storage.pixels`), what is done with them
(`training`, `encoders.embedding`).
"""

from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import numpy as np
import torch
from torch import Tensor

from galaxy_assets.science.devices import describe, fits, send
from galaxy_assets.science.encoders.network import Images

_AHEAD = 2  # batches that are read while the device computes
_SHARE = 0.4  # of a GPU's free memory that pixels may take
_COPIED = 4096  # images sent at once


class Batches:
    """The pixels of some galaxies, batch by batch on a device.

    Parameters
    ----------
    pixels : Images
        uint8 (N, H, H, C).
    rows : ndarray of int
        Galaxies that are asked for.
    device : torch.device
    keep : bool
        Whether they are asked for again and again: a GPU then keeps them, where 40 % of its free memory holds them.
    """

    def __init__(self, pixels: Images, rows: np.ndarray, device: torch.device, *, keep: bool):
        self.pixels, self.rows, self.device = pixels, rows, device
        self.kept: Tensor | None = None
        self._stream = torch.cuda.Stream(device) if device.type == "cuda" else None
        if keep and device.type == "cuda" and len(rows):
            size = len(rows) * int(np.prod(pixels[rows[:1]].shape[1:]))
            if size <= _SHARE * describe(device).free:
                self.kept = fits(self._upload, device)

    def _upload(self) -> Tensor:
        shape = self.pixels[self.rows[:1]].shape[1:]
        kept = torch.empty((len(self.rows), *shape), dtype=torch.uint8, device=self.device)
        begin = 0
        for part in self._read([self.rows[i : i + _COPIED] for i in range(0, len(self.rows), _COPIED)]):
            kept[begin : begin + len(part)] = part
            begin += len(part)
        return kept

    def release(self) -> bool:
        """Give up the pixels on the device, so that its memory serves the network; batches are read ahead from now on.

        Returns
        -------
        bool
            Whether any were kept.
        """
        kept, self.kept = self.kept, None
        return kept is not None

    def __call__(self, order: np.ndarray, size: int) -> Iterator[Tensor]:
        """The galaxies in an order, `size` at a time.

        Parameters
        ----------
        order : ndarray of int
            Positions in `rows`.
        size : int

        Yields
        ------
        Tensor of shape (B, H, H, C), uint8
            On the device.
        """
        batches = [order[begin : begin + size] for begin in range(0, len(order), size)]
        if self.kept is None:
            yield from self._read([self.rows[batch] for batch in batches])
            return
        on_device = send(torch.from_numpy(order), self.device)
        for number, batch in enumerate(batches):
            begin = number * size
            if self.kept is None:  # released meanwhile
                yield from self._read([self.rows[later] for later in batches[number:]])
                return
            yield self.kept[on_device[begin : begin + len(batch)]]

    def _read(self, batches: Sequence[np.ndarray]) -> Iterator[Tensor]:
        """Read batches of rows while the device computes on those before them."""
        stream, on = self._stream, self.device

        def read(batch: np.ndarray) -> tuple[Tensor, "torch.Event | None"]:
            pixels = torch.from_numpy(self.pixels[batch])
            if stream is None:  # Apple's MPS is for one thread alone
                return pixels, None
            with torch.cuda.stream(stream):
                return send(pixels, on), stream.record_event()

        # without it the thread would begin on the first GPU, and take some of its memory
        begin = partial(torch.cuda.set_device, on) if stream else None
        with ThreadPoolExecutor(1, initializer=begin) as reader:
            waiting = deque(reader.submit(read, batch) for batch in batches[:_AHEAD])
            for number in range(len(batches)):
                pixels, copied = waiting.popleft().result()
                if number + _AHEAD < len(batches):
                    waiting.append(reader.submit(read, batches[number + _AHEAD]))
                if copied is not None:  # the computation waits for the copy on the device, not here
                    computing = torch.cuda.current_stream(on)
                    computing.wait_event(copied)
                    pixels.record_stream(computing)
                yield pixels if stream else send(pixels, on)
