"""What a pretrained network is shown of a cutout (paper 3.1).

Belongs here: another frame of stored cutouts, made while they are read. Does not belong here: cutting the galaxy out
(`cutouts`), the network's normalisation (`network`) and applying it (`embedding`).
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch.nn import functional as F

from galaxy_assets.science.encoders.network import Images

_SIDE, _SHOWN = 256, 224  # pixels


@dataclass(frozen=True)
class AstronomalyFrame:
    """Cutouts as Astronomaly's `CNN_Features` shows them: resized to 256 pixels, of which the central 224 are kept.

    They are resized as torchvision's `Resize` does by default, bilinear with a low-pass filter, and rounded to 8 bits;
    Astronomaly does not round.

    Attributes
    ----------
    stored : Images
        uint8 (N, H, H, C).

    Examples
    --------
    >>> import numpy as np
    >>> from galaxy_assets.science.encoders.framing import AstronomalyFrame
    >>> frames = AstronomalyFrame(np.zeros((5, 300, 300, 3), np.uint8))
    >>> len(frames), frames[np.array([0, 3])].shape
    (5, (2, 224, 224, 3))
    """

    stored: Images

    def __len__(self) -> int:
        """Number of cutouts."""
        return len(self.stored)

    def __getitem__(self, rows: np.ndarray) -> np.ndarray:
        """Frames of these rows: uint8 (len(rows), 224, 224, C)."""
        images = torch.from_numpy(self.stored[rows]).permute(0, 3, 1, 2).float()
        resized = F.interpolate(images, size=(_SIDE, _SIDE), mode="bilinear", antialias=True)
        margin = (_SIDE - _SHOWN) // 2
        shown = resized[..., margin:-margin, margin:-margin]
        return shown.round().to(torch.uint8).permute(0, 2, 3, 1).numpy()
