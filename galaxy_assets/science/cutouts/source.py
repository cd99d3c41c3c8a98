"""The source in the middle of an image: its outline above a threshold.

Belongs here: from a mask, or a channel and a limit, to a contour. Does not belong here: the threshold (`noise`), the
box around the contour (`cutters`).

Two things that Astronomaly's sigma clipping does are done only where they are asked for by `contour: astronomaly`: it
looks for the contour at (row, column) where OpenCV expects (column, row), and it takes the last contour when none holds
that pixel.
"""

from collections.abc import Sequence
from typing import Literal

import numpy as np

_MIDDLE = 4
"""The middle of a frame begins at this part of each side and is as far from the other end."""


def source_above(plane: np.ndarray, limit: float, reading: Literal["central", "astronomaly"]) -> np.ndarray | None:
    """`source_contour` of the pixels above a limit, sought in the middle of the frame before the whole of it.

    A contour of the middle is one of the frame if it does not reach the middle's rim. It is an outer one if no other
    surrounds it: if from its leftmost, rightmost, highest or lowest pixel there is nothing but sky straight outwards to
    the frame's edge. Where neither is sure, or nothing is found, the whole frame decides.

    Parameters
    ----------
    plane : ndarray of shape (H, W), uint8 or float
        May be a view of one channel.
    limit : float
        Pixels strictly above it are the mask.
    reading : {"central", "astronomaly"}
        As in `source_contour`.

    Returns
    -------
    ndarray of shape (N, 1, 2), int32; or None
        As `source_contour` gives it.
    """
    height, width = plane.shape
    left, top = width // _MIDDLE, height // _MIDDLE
    middle = plane[top : height - top, left : width - left] > limit
    x, y = _point(width, height, reading)
    contour = _holding(_outlines(middle, (left, top)), x, y)
    if contour is not None and _alone(plane, limit, contour, left, top):
        return contour
    return source_contour(plane > limit, reading)


def _alone(plane: np.ndarray, limit: float, contour: np.ndarray, left: int, top: int) -> bool:
    """Whether a contour ends inside the middle of a plane, and sky leads from it straight to the frame's edge."""
    import cv2

    height, width = plane.shape
    x, y, w, h = cv2.boundingRect(contour)
    if x <= left or y <= top or x + w >= width - left or y + h >= height - top:
        return False
    xs, ys = contour[:, 0, 0], contour[:, 0, 1]
    rays = (
        lambda: plane[ys[xs.argmin()], :x],
        lambda: plane[ys[xs.argmax()], x + w :],
        lambda: plane[:y, xs[ys.argmin()]],
        lambda: plane[y + h :, xs[ys.argmax()]],
    )
    return any(not (ray() > limit).any() for ray in rays)


def source_contour(mask: np.ndarray, reading: Literal["central", "astronomaly"]) -> np.ndarray | None:
    """The outer contour of a mask that is taken for the source.

    Parameters
    ----------
    mask : ndarray of shape (H, W), bool
        True above the threshold.
    reading : {"central", "astronomaly"}
        `central` takes the contour that strictly contains pixel (W // 2, H // 2). `astronomaly` does what Astronomaly's
        sigma clipping does: the contour that strictly contains (H // 2, W // 2), else the last one OpenCV lists,
        whatever that is. On a square frame they differ only where no contour holds the centre.

    Returns
    -------
    ndarray of shape (N, 1, 2), int32; or None
        x and y of the corners; None where there is no such contour.
    """
    height, width = mask.shape
    contours = _outlines(mask)
    contour = _holding(contours, *_point(width, height, reading))
    return contours[-1] if contour is None and reading == "astronomaly" and contours else contour


def _point(width: int, height: int, reading: Literal["central", "astronomaly"]) -> tuple[int, int]:
    """The pixel (x, y) that the source's contour holds."""
    return (width // 2, height // 2) if reading == "central" else (height // 2, width // 2)


def _outlines(mask: np.ndarray, offset: tuple[int, int] = (0, 0)) -> Sequence[np.ndarray]:
    """The outer contours of a mask, moved by `offset`, in OpenCV's order."""
    import cv2

    return cv2.findContours(mask.view(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE, offset=offset)[0]


def _holding(contours: Sequence[np.ndarray], x: int, y: int) -> np.ndarray | None:
    """The contour that strictly contains a pixel."""
    import cv2

    for contour in contours:
        # specks of noise, a thousand of them where the threshold is low, are dropped before the polygon is walked
        if len(contour) < 3:
            continue
        left, top, w, h = cv2.boundingRect(contour)
        if left < x < left + w and top < y < top + h and cv2.pointPolygonTest(contour, (x, y), False) > 0:
            return contour
    return None
