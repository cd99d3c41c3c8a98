"""Frames for pretrained networks against torchvision's transforms, as Astronomaly composes them."""

import numpy as np
import pytest
from torchvision import transforms

from galaxy_assets.science.encoders.framing import AstronomalyFrame

ASTRONOMALY = transforms.Compose(
    [transforms.ToTensor(), transforms.Resize(256, antialias=True), transforms.CenterCrop(224)]
)


@pytest.mark.parametrize("side", [143, 256, 300])
@pytest.mark.parametrize("channels", [1, 3])
def test_frames_are_those_of_astronomalys_transforms_to_half_a_level(side, channels):
    stored = np.random.default_rng(0).integers(0, 256, (4, side, side, channels), np.uint8)
    frames = AstronomalyFrame(stored)
    rows = np.array([3, 0])
    assert len(frames) == 4 and frames[rows].dtype == np.uint8
    for frame, image in zip(frames[rows], stored[rows], strict=True):
        expected = 255 * ASTRONOMALY(image).permute(1, 2, 0).numpy()
        np.testing.assert_allclose(frame, expected, atol=0.5 + 1e-3)
