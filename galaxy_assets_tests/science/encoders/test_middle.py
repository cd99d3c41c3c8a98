"""The middle block of a network as an encoder: what the whole network has there, of architectures of every kind."""

import json

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from galaxy_assets.science.encoders.embedding import embed
from galaxy_assets.science.encoders.middle import Middle, Pyramid, middle_network, middle_of, pyramid_network
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


def of_places(image):
    """Of (C, 4, 4): three times the mean, then of every feature corners, ends of columns, ends of rows and inside."""
    ends = [0, 3], [1, 2]
    places = [[image[np.ix_(range(len(image)), rows, columns)].mean((1, 2)) for columns in ends] for rows in ends]
    return np.concatenate([3 * image.mean((1, 2)), np.array(places).transpose(2, 0, 1).ravel()])


@pytest.mark.parametrize("backbone", ["tf_efficientnet_lite0", "resnet18", "regnety_002"])
def test_the_pyramid_has_the_means_over_places_of_what_the_middle_block_answers(backbone, tmp_path):
    whole, found = encoder(backbone, tmp_path), []
    half = middle_of(whole, pyramid=True)
    whole.network.get_submodule(BLOCK[backbone]).register_forward_hook(lambda *its: found.append(its[-1]))
    with torch.no_grad():
        whole(torch.from_numpy(PIXELS).permute(0, 3, 1, 2) / 255)
    assert found[0].shape[2:] == (4, 4)
    expected = np.array([of_places(image) for image in found[0].numpy()])
    assert half.feature_size == expected.shape[1] == 5 * middle_of(whole).feature_size
    np.testing.assert_allclose(embed(half, PIXELS, device=CPU), expected, rtol=0, atol=1e-4 * np.abs(expected).max())


@pytest.mark.parametrize("backbone", ["vit_tiny_patch16_224", "eva02_tiny_patch14_224"])
def test_the_pyramid_of_a_transformer_is_of_the_image_and_not_of_the_token_of_the_class(backbone, tmp_path):
    whole, found = encoder(backbone, tmp_path), []
    half = middle_of(whole, pyramid=True).eval()
    whole.network.get_submodule(BLOCK[backbone]).register_forward_hook(lambda *its: found.append(its[-1]))
    with torch.no_grad():
        whole(images := torch.rand(2, 3, 224, 224, generator=torch.Generator().manual_seed(0)))
        answer = half(images).numpy()
    tokens = found[0][:, 1:].numpy()
    side = int(tokens.shape[1] ** 0.5)
    np.testing.assert_allclose(answer[:, : tokens.shape[2]], 3 * tokens.mean(1), rtol=0, atol=1e-4)
    if side % 4 == 0:  # of the other one they overlap
        parts = tokens.reshape(2, 4, side // 4, 4, side // 4, -1).mean((2, 4)).transpose(0, 3, 1, 2)
        np.testing.assert_allclose(answer, np.array([of_places(image) for image in parts]), rtol=0, atol=1e-4)


@pytest.mark.parametrize("shape", [(2, 3, 8, 8), (2, 3, 5, 5), (2, 3, 6, 7), (2, 8, 8, 3), (2, 65, 3)])
def test_the_pyramid_is_of_an_image_however_it_is_stored_and_mirrored(shape):
    pyramid = Pyramid(nn.Identity(), prefix=1)
    answer = torch.rand(shape, generator=torch.Generator().manual_seed(0))
    found = pyramid(answer)
    values = found[:, 1:] if len(shape) == 3 else found
    assert found.ndim == len(shape) and values.numel() == 2 * 5 * 3
    if len(shape) == 3:
        image = answer[:, 1:].reshape(2, 8, 8, 3).permute(0, 3, 1, 2)
    else:
        image = answer.permute(0, 3, 1, 2) if shape[-1] == 3 else answer
    torch.testing.assert_close(values.flatten(1), pyramid(image).flatten(1), rtol=0, atol=1e-6)
    for axes in [(2,), (3,), (2, 3)]:
        torch.testing.assert_close(pyramid(image.flip(axes)), pyramid(image), rtol=0, atol=1e-6)
    if shape[2:] == (8, 8):
        parts = image.numpy().reshape(2, 3, 4, 2, 4, 2).mean((3, 5))
        np.testing.assert_allclose(pyramid(image).flatten(1), [of_places(one) for one in parts], rtol=0, atol=1e-5)


@pytest.mark.parametrize("side", range(3, 21))
def test_parts_are_those_of_torchs_adaptive_pooling(side):
    image = torch.rand(2, 40, side, side + 1, generator=torch.Generator().manual_seed(side))
    parts = F.adaptive_avg_pool2d(image, 4).numpy()
    expected = np.array([of_places(one) for one in parts])
    expected[:, :40] = 3 * image.numpy().mean((2, 3))  # of which parts that overlap are not the mean
    np.testing.assert_allclose(Pyramid(nn.Identity())(image).flatten(1), expected, rtol=0, atol=1e-6)


def test_an_image_of_too_few_places_is_told_before_a_training(tmp_path):
    whole = encoder("tf_efficientnet_lite0", tmp_path)
    middle_of(whole, pyramid=True, side=64), middle_of(whole, side=32)
    with pytest.raises(ValueError, match="2 x 2 places has no inside; images of more pixels.*remove `pyramid`"):
        middle_of(whole, pyramid=True, side=32)


def test_a_network_that_orders_its_tokens_in_its_own_way_has_no_places(tmp_path):
    whole = encoder("hiera_tiny_224", tmp_path)
    assert middle_of(whole).feature_size == 384
    with pytest.raises(ValueError, match="Hiera does not keep its tokens in the order.*remove `pyramid`"):
        middle_of(whole, pyramid=True)


def test_tokens_that_are_no_square_image_have_no_places():
    with pytest.raises(RuntimeError, match="12 tokens are no square image"):
        Pyramid(nn.Identity())(torch.zeros(1, 12, 3))


def test_a_network_that_pools_after_its_middle_has_no_places(tmp_path):
    with pytest.raises(ValueError, match="DenseNet cannot be cut.*remove `pyramid` from recipe.beside"):
        middle_of(encoder("densenet121", tmp_path), pyramid=True)


@pytest.mark.parametrize(
    "backbone", ["efficientformer_l1", "xcit_nano_12_p16_224", "cait_xxs24_224", "hrnet_w18_small"]
)
def test_a_network_that_does_not_answer_as_its_middle_block_is_refused(backbone, tmp_path):
    with pytest.raises(ValueError, match="middle.*remove `middle` from recipe.beside"):
        middle_of(encoder(backbone, tmp_path))


@pytest.mark.parametrize(
    ("backbone", "variant"), [*((b, "middle") for b in BLOCK), ("resnet18", "pyramid"), ("convnext_atto", "pyramid")]
)
def test_the_half_comes_back_from_its_tensors_without_what_comes_after(backbone, variant, tmp_path):
    whole = encoder(backbone, tmp_path)
    half = middle_of(whole, pyramid=variant == "pyramid").eval()
    tensors, metadata = encoder_to_tensors(half)
    again = encoder_from_tensors(tensors, metadata).eval()
    images = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        assert torch.equal(half(images), again(images)) and half(images).shape == (2, half.feature_size)
    kept = sum(weight.numel() for weight in half.parameters())
    assert kept < 0.75 * sum(weight.numel() for weight in whole.parameters())
    own = {name.replace(".block.", ".") for name in tensors} if variant == "pyramid" else set(tensors)
    assert own <= {f"network.{name}" for name in whole.network.state_dict()}, "the whole one's own weights"
    assert (half.start, half.variant) == ("random", variant)
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
    with pytest.raises(ValueError, match="does not say of which network"):
        pyramid_network("resnet18")


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
