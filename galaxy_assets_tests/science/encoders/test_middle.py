"""The middle block of a network as an encoder: what the whole network has there, of architectures of every kind."""

import json

import numpy as np
import pytest
import torch
from torch import nn

from galaxy_assets.science.encoders.embedding import embed
from galaxy_assets.science.encoders.middle import Middle, middle_network, middle_of
from galaxy_assets.science.encoders.network import Encoder, encoder_from_tensors, encoder_to_tensors
from galaxy_assets.science.encoders.weights import build_encoder

CPU = torch.device("cpu")
PIXELS = np.random.default_rng(0).integers(0, 256, (5, 64, 64, 3), np.uint8)
BLOCK = {
    "tf_efficientnet_lite0": "blocks.3",
    "resnet18": "layer3",
    "convnext_atto": "stages.2",
    "regnety_002": "s3",
    "densenet121": "features.denseblock3",
    "vit_tiny_patch16_224": "blocks.6",
    "eva02_tiny_patch14_224": "blocks.6",
}


def encoder(backbone, tmp_path):
    return build_encoder(backbone, "random", seed=1, weights=tmp_path).eval()


@pytest.mark.parametrize("backbone", ["tf_efficientnet_lite0", "resnet18", "regnety_002"])
def test_features_are_the_mean_of_what_the_middle_block_answers(backbone, tmp_path):
    whole, found = encoder(backbone, tmp_path), []
    half = middle_of(whole)
    whole.network.get_submodule(BLOCK[backbone]).register_forward_hook(lambda *its: found.append(its[-1].mean((2, 3))))
    with torch.no_grad():
        whole(torch.from_numpy(PIXELS).permute(0, 3, 1, 2) / 255)
    expected = found[0].numpy()
    assert half.feature_size == expected.shape[1]
    np.testing.assert_allclose(embed(half, PIXELS, device=CPU), expected, rtol=0, atol=1e-4 * np.abs(expected).max())


@pytest.mark.parametrize("backbone", ["vit_tiny_patch16_224", "eva02_tiny_patch14_224"])
def test_of_a_transformer_it_is_the_mean_over_the_image_and_not_the_token_of_the_class(backbone, tmp_path):
    whole, found = encoder(backbone, tmp_path), []
    half = middle_of(whole)
    whole.network.get_submodule(BLOCK[backbone]).register_forward_hook(lambda *its: found.append(its[-1]))
    images = torch.rand(2, 3, 224, 224, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        whole(images)
        torch.testing.assert_close(half.eval()(images), found[0][:, 1:].mean(1), rtol=0, atol=1e-4)


@pytest.mark.parametrize(
    "backbone", ["efficientformer_l1", "xcit_nano_12_p16_224", "cait_xxs24_224", "hrnet_w18_small"]
)
def test_a_network_that_does_not_answer_as_its_middle_block_is_refused(backbone, tmp_path):
    with pytest.raises(ValueError, match="middle.*remove `middle` from recipe.beside"):
        middle_of(encoder(backbone, tmp_path))


@pytest.mark.parametrize("backbone", BLOCK)
def test_the_half_comes_back_from_its_tensors_without_what_comes_after(backbone, tmp_path):
    whole = encoder(backbone, tmp_path)
    half = middle_of(whole).eval()
    tensors, metadata = encoder_to_tensors(half)
    again = encoder_from_tensors(tensors, metadata).eval()
    images = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        assert torch.equal(half(images), again(images)) and half(images).shape == (2, half.feature_size)
    kept = sum(weight.numel() for weight in half.parameters())
    assert kept < 0.75 * sum(weight.numel() for weight in whole.parameters())
    assert set(tensors) <= {f"network.{name}" for name in whole.network.state_dict()}, "the whole one's own weights"
    assert (half.start, half.variant) == ("random", "middle")
    assert torch.equal(half.mean, whole.mean) and torch.equal(half.std, whole.std)


def test_the_whole_encoder_stays_as_it_is(tmp_path):
    whole = encoder("resnet18", tmp_path).train()
    before = {name: tensor.clone() for name, tensor in whole.state_dict().items()}
    middle_of(whole)
    assert whole.training and not any(module._forward_hooks for module in whole.modules())
    assert all(torch.equal(tensor, before[name]) for name, tensor in whole.state_dict().items())


class Alone(nn.Module):
    """A network of one layer."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Conv2d(3, 4, 3)

    def forward(self, pixels):
        return self.layer(pixels).mean((2, 3))


def test_a_network_without_a_row_of_blocks_is_told_with_the_remedy():
    alone = Encoder(Alone(), backbone="", start="mine", feature_size=4, mean=(0.0,) * 3, std=(1.0,) * 3)
    with pytest.raises(ValueError, match="Alone has no row of 3 or more blocks.*remove `middle` from recipe.beside"):
        middle_of(alone)
    with pytest.raises(ValueError, match="does not say of which network"):
        middle_network("resnet18")


@pytest.mark.parametrize(("shape", "expected"), [((2, 5, 3, 3), (2, 5)), ((2, 9, 5), (2, 5)), ((2, 5), (2, 5))])
def test_places_and_tokens_are_averaged(shape, expected, tmp_path):
    half = middle_network(json.dumps(encoder_to_tensors(encoder("test_resnet", tmp_path))[1]))
    assert isinstance(half, Middle)
    answer = torch.arange(float(np.prod(shape))).view(shape)
    half.network.forward = lambda pixels: answer
    found = half(torch.zeros(1))
    assert found.shape == expected
    axes = tuple(range(2, len(shape))) if len(shape) == 4 else (1,) if len(shape) == 3 else ()
    assert torch.equal(found, answer.mean(axes) if axes else answer)
