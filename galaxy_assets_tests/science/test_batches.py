"""Batches hold the rows asked for, in their order, wherever the pixels lie, and no more is read than soon needed."""

import numpy as np
import pytest
import torch

from galaxy_assets.science.batches import Batches
from galaxy_assets.science.distributed import Share

CPU = torch.device("cpu")
PIXELS = np.arange(40, dtype=np.uint8)[:, None, None, None] * np.ones((1, 4, 4, 3), np.uint8)


class Counted:
    """Images that know how often they were read."""

    def __init__(self):
        self.reads = 0

    def __len__(self) -> int:
        return len(PIXELS)

    def __getitem__(self, rows: np.ndarray) -> np.ndarray:
        self.reads += 1
        return PIXELS[rows]


@pytest.mark.parametrize("kept", [False, True])
@pytest.mark.parametrize("size", [1, 4, 7, 100])
def test_rows_come_in_the_order_asked_for(kept, size):
    rows, order = np.arange(39, 4, -2), np.random.default_rng(0).permutation(18)
    batches = Batches(PIXELS, rows, CPU, keep=True)
    if kept:
        batches.kept = batches._upload()
    found = list(batches(order, size))
    assert [len(batch) for batch in found[:-1]] == [size] * (len(found) - 1)
    assert torch.cat(found)[:, 0, 0, 0].tolist() == PIXELS[rows[order], 0, 0, 0].tolist()


def test_pixels_given_up_in_between_are_read_from_there_on():
    pixels = Counted()
    batches = Batches(pixels, np.arange(40), CPU, keep=False)
    batches.kept = batches._upload()
    read, found = pixels.reads, []
    for batch in batches(np.arange(40), 8):
        found.append(batch)
        if len(found) == 2:
            assert pixels.reads == read
            assert batches.release() and not batches.release()
    assert torch.cat(found)[:, 0, 0, 0].tolist() == list(range(40))
    assert pixels.reads > read


def test_no_more_than_two_batches_are_read_ahead():
    pixels = Counted()
    turns = Batches(pixels, np.arange(40), CPU, keep=False)(np.arange(40), 4)
    next(turns)
    next(turns)
    assert pixels.reads <= 4
    turns.close()


def test_an_error_of_reading_arrives_and_nothing_asked_for_gives_nothing():
    with pytest.raises(IndexError, match="out of bounds"):
        list(Batches(PIXELS, np.arange(30, 50), CPU, keep=False)(np.arange(20), 5))
    assert list(Batches(PIXELS, np.arange(0), CPU, keep=True)(np.arange(0), 5)) == []


@pytest.mark.parametrize("processes", [1, 2, 4])
def test_shares_of_every_batch_make_up_the_batch(processes):
    order = torch.randperm(21, generator=torch.Generator().manual_seed(0))
    shares = [Share(rank, processes).of_each(order, 8).reshape(2, -1) for rank in range(processes)]
    assert torch.equal(torch.cat(shares, dim=1).flatten(), order[:16])
