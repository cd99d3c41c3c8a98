"""The source in the middle of an image: its outline above a threshold.

Belongs here: from a mask to a contour. Does not belong here: the threshold (`noise`), the box around the contour
(`cutters`).

Two things that Astronomaly's sigma clipping does are done only where they are asked for by `contour: astronomaly`: it
looks for the contour at (row, column) where OpenCV expects (column, row), and it takes the last contour when none holds
that pixel.
"""

from typing import Literal

import numpy as np


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
    import cv2

    height, width = mask.shape
    x, y = (width // 2, height // 2) if reading == "central" else (height // 2, width // 2)
    contours, _ = cv2.findContours(mask.view(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    for contour in contours:
        # specks of noise, a thousand of them where the threshold is low, are dropped before the polygon is walked
        if len(contour) < 3:
            continue
        left, top, w, h = cv2.boundingRect(contour)
        if left < x < left + w and top < y < top + h and cv2.pointPolygonTest(contour, (x, y), False) > 0:
            return contour
    return contours[-1] if reading == "astronomaly" and contours else None
