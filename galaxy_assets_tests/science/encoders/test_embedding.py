"""Features: independent of batches, order, storage and folding, and the mean over an image's orientations."""

import numpy as np
import pytest
import torch
from torch import nn

from galaxy_assets.science.encoders.embedding import embed, for_inference
from galaxy_assets.science.encoders.network import Encoder, state_sha256
from galaxy_assets.science.encoders.weights import build_encoder
from galaxy_assets.settings.progress import looking

CPU = torch.device("cpu")


def images(n: int = 5, size: int = 32, channels: int = 3) -> np.ndarray:
    return np.random.default_rng(1).integers(0, 256, (n, size, size, channels), np.uint8)


def test_features_do_not_depend_on_batches_order_or_storage(tmp_path):
    encoder = build_encoder("resnet18", "random", seed=0, weights=tmp_path).train()
    stored = np.lib.format.open_memmap(tmp_path / "p.npy", "w+", np.uint8, (7, 32, 32, 3))
    stored[:] = images(7)
    at_once = embed(encoder, images(7), device=CPU, batch_size=3)
    one_by_one = embed(encoder, stored, device=CPU, batch_size=1, indices=np.array([6, 0, 3]))
    np.testing.assert_allclose(one_by_one, at_once[[6, 0, 3]], atol=1e-5)
    assert at_once.dtype == np.float32
    assert encoder.training
    assert int(encoder.network.bn1.num_batches_tracked) == 0


def test_the_time_left_is_told_only_of_features_that_are_a_table(tmp_path):
    encoder, seen = build_encoder("resnet18", "random", seed=0, weights=tmp_path), []
    for whole in (False, True):
        with looking(seen.append):
            embed(encoder, images(7), device=CPU, batch_size=5, whole=whole)
    assert [(told.done, told.left is not None) for told in seen] == [(5, False), (7, False), (5, True), (7, False)]


def unfolded(encoder, pixels):
    """Features as the network computes them, without `for_inference`."""
    with torch.inference_mode():
        return encoder.eval()(torch.from_numpy(pixels).permute(0, 3, 1, 2) / 255).numpy()


@pytest.mark.parametrize("backbone", ["resnet18", "tf_efficientnet_lite0", "densenet121", "test_vit"])
def test_folded_normalisations_change_features_by_rounding_alone(tmp_path, backbone):
    side = 160 if backbone == "test_vit" else 32  # a transformer takes one size
    encoder = build_encoder(backbone, "random", seed=0, weights=tmp_path).train()
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for _ in range(3):  # statistics other than 0 and 1
            encoder(torch.rand(8, 3, side, side, generator=generator))
    before = state_sha256(encoder)
    pixels = np.random.default_rng(0).integers(0, 256, (5, side, side, 3), np.uint8)
    found = embed(encoder, pixels, device=CPU)
    assert encoder.training and state_sha256(encoder) == before
    expected = unfolded(encoder, pixels)
    np.testing.assert_allclose(found, expected, atol=2e-5 * np.abs(expected).max())
    left = [m for m in for_inference(encoder, CPU, side).modules() if isinstance(m, nn.BatchNorm2d)]
    # in a densenet half of them come before their convolution
    assert len(left) == (62 if backbone == "densenet121" else 0)


def test_a_convolution_whose_output_is_used_twice_keeps_its_normalisation():
    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.convolution, self.normalisation = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)

        def forward(self, images):
            convolved = self.convolution(images)
            return (convolved + self.normalisation(convolved)).mean((2, 3))

    network = Twice()
    network.normalisation.running_mean += 1
    encoder = Encoder(network, backbone="twice", start="random", feature_size=4, mean=(0.5,) * 3, std=(0.2,) * 3)
    pixels = np.random.default_rng(0).integers(0, 256, (5, 32, 32, 3), np.uint8)
    np.testing.assert_allclose(embed(encoder, pixels, device=CPU), unfolded(encoder, pixels), atol=1e-5)


def test_grey_images_are_grey_colour_images_and_bfloat16_is_close(tmp_path):
    encoder = build_encoder("resnet18", "random", seed=0, weights=tmp_path)
    grey = images(4, channels=1)
    exact = embed(encoder, grey, device=CPU)
    np.testing.assert_allclose(exact, embed(encoder, grey.repeat(3, 3), device=CPU), atol=1e-5)
    rounded = embed(encoder, grey, device=CPU, precision="bfloat16")
    cosine = (exact * rounded).sum(1) / np.linalg.norm(exact, axis=1) / np.linalg.norm(rounded, axis=1)
    assert rounded.dtype == np.float32
    assert cosine.min() > 0.999
    assert not np.array_equal(exact, rounded)


@pytest.mark.parametrize(("orientations", "group"), [(1, 1), (4, 4), (8, 8)])
def test_features_over_all_orientations_do_not_depend_on_the_image_s(tmp_path, orientations, group):
    encoder = build_encoder("test_efficientnet", "random", seed=0, weights=tmp_path)
    image = np.random.default_rng(0).integers(0, 256, (1, 32, 32, 3), np.uint8)
    turned = np.concatenate([np.rot90(side, k, (1, 2)) for side in (image, image[:, :, ::-1]) for k in range(4)])
    features = embed(encoder, np.ascontiguousarray(turned), device=CPU, orientations=orientations)
    same = np.abs(features - features[0]).max(1) < 1e-4
    assert same.sum() == group
    with torch.inference_mode():
        one = encoder.eval()(torch.from_numpy(image).permute(0, 3, 1, 2).float() / 255)
    assert (orientations == 1) == np.allclose(features[0], one[0].numpy(), atol=1e-5)
