"""Encoders side by side and between start and trained: features as the parts', whatever is done to the whole."""

import copy

import numpy as np
import pytest
import torch

from galaxy_assets.plugins import PluginError
from galaxy_assets.science.encoders.composition import equal_variance, interpolated, side_by_side
from galaxy_assets.science.encoders.embedding import embed, for_inference
from galaxy_assets.science.encoders.network import (
    Encoder,
    encoder_from_tensors,
    encoder_to_tensors,
    rgz_network,
    seeded,
)
from galaxy_assets.science.encoders.weights import build_encoder
from galaxy_assets.storage.checkpoints import load_encoder, save_encoder

TINY, CPU = "test_resnet", torch.device("cpu")
PIXELS = np.random.default_rng(0).integers(0, 256, (5, 32, 32, 3), np.uint8)


@pytest.fixture
def parts(tmp_path):
    """A network of three channels and one of a single channel, each with its own normalisation and statistics."""
    colour = build_encoder(TINY, "random", seed=1, weights=tmp_path)
    with seeded(2):
        network = rgz_network("resnet18")
    grey = Encoder(network, backbone="resnet18", start="rgz", feature_size=512, mean=(0.3,), std=(0.2,), variant="rgz")
    for part in (colour, grey):
        part.train()(torch.rand(8, part.in_channels, 32, 32))  # running statistics that are not those of a new network
    return [colour.eval(), grey.eval()]


@pytest.mark.parametrize("orientations", [1, 4, 8])
def test_features_are_those_of_the_parts_times_their_scales(parts, orientations, tmp_path):
    both = side_by_side(parts, [2.0, 0.5])
    alone = [embed(part, PIXELS, device=CPU, orientations=orientations) for part in parts]
    expected = np.hstack([2 * alone[0], 0.5 * alone[1]])
    assert both.feature_size == expected.shape[1] == parts[0].feature_size + 512
    assert both.start == "random" and both.in_channels == 3
    found = embed(both, PIXELS, device=CPU, orientations=orientations)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5 * np.abs(expected).max())
    save_encoder(both, tmp_path / "both.safetensors", {"survey": "mine"})
    again = load_encoder(tmp_path / "both.safetensors")
    assert np.array_equal(embed(again, PIXELS, device=CPU, orientations=orientations), found)
    grey = PIXELS[..., :1]
    np.testing.assert_allclose(
        embed(both, grey, device=CPU)[:, -512:], 0.5 * embed(parts[1], grey, device=CPU), rtol=0, atol=1e-4
    )


def test_a_composition_may_hold_compositions_and_the_same_encoder_twice(parts):
    inner = side_by_side([parts[0], parts[0]], [1.0, 3.0])
    outer = encoder_from_tensors(*encoder_to_tensors(side_by_side([inner, parts[1]], [1.0, 0.0])))
    features, alone = embed(outer, PIXELS, device=CPU), embed(parts[0], PIXELS, device=CPU)
    np.testing.assert_allclose(features, np.hstack([alone, 3 * alone, np.zeros((5, 512))]), rtol=0, atol=1e-4)


def test_normalisations_of_the_parts_are_folded(parts):
    both = for_inference(side_by_side(parts, [1.0, 1.0]), CPU, 32)
    assert not any(isinstance(module, torch.nn.BatchNorm2d) for module in both.modules())
    assert sum(isinstance(module, torch.nn.BatchNorm2d) for part in parts for module in part.modules()) > 20


def test_the_parts_stay_as_they_are(parts):
    before = copy.deepcopy(parts[0].state_dict())
    both = side_by_side(parts, [1.0, 1.0])
    with torch.no_grad():
        for weight in both.parameters():
            weight.zero_()
    assert all(torch.equal(before[name], tensor) for name, tensor in parts[0].state_dict().items())


def test_what_cannot_stand_side_by_side_is_refused(parts):
    for given in ([], []), (parts, [1.0]):
        with pytest.raises(ValueError, match="one scale for each encoder"):
            side_by_side(*given)
    tensors, metadata = encoder_to_tensors(side_by_side(parts, [1.0, 1.0]))
    for backbone, message in ("resnet18", "does not say what stands"), ("[]", "no list of the encoders"):
        with pytest.raises(ValueError, match=message):
            encoder_from_tensors(tensors, metadata | {"backbone": backbone})
    absent = metadata["backbone"].replace('"variant": "rgz"', '"variant": "theirs"')
    with pytest.raises(PluginError, match="'theirs'"):
        encoder_from_tensors(tensors, metadata | {"backbone": absent})


def test_scales_give_equal_total_variance_and_nothing_to_a_constant():
    rng = np.random.default_rng(0)
    wide, narrow = rng.normal(0, 3, (200, 40)).astype(np.float32), rng.normal(5, 0.01, (200, 2)).astype(np.float32)
    constant = np.full((200, 4), 0.1, np.float32)
    scales = equal_variance([wide, narrow, constant])
    assert scales[0] == 1 and scales[2] == 0
    total = [float((block * scale).var(axis=0).sum()) for block, scale in zip([wide, narrow], scales, strict=False)]
    assert total[1] == pytest.approx(total[0], rel=1e-3)
    assert equal_variance([constant, narrow]) == [0.0, 1.0] and equal_variance([constant]) == [0.0]


def test_between_start_and_trained_lie_weights_and_statistics(tmp_path):
    start = build_encoder(TINY, "random", seed=1, weights=tmp_path)
    trained = build_encoder(TINY, "random", seed=2, weights=tmp_path)
    trained.train()(torch.rand(8, 3, 32, 32))
    for share, end in (0.0, start), (1.0, trained):
        mixed = interpolated(start, trained, share)
        expected = {name: t for name, t in end.state_dict().items() if t.is_floating_point()}
        assert all(torch.equal(mixed.state_dict()[name], tensor) for name, tensor in expected.items())
    quarter = interpolated(start, trained, 0.25).network.state_dict()
    a, b = start.network.state_dict(), trained.network.state_dict()
    moved = [name for name in a if a[name].is_floating_point() and not torch.equal(a[name], b[name])]
    assert any("running_var" in name for name in moved) and any("weight" in name for name in moved)
    for name in moved:
        torch.testing.assert_close(quarter[name], 0.75 * a[name] + 0.25 * b[name])
    assert int(quarter["bn1.num_batches_tracked"]) == int(b["bn1.num_batches_tracked"]) == 1


def test_there_is_nothing_between_two_architectures(parts):
    with pytest.raises(ValueError, match=r"a test_resnet \(timm\) and a resnet18 \(rgz\) have no weights between"):
        interpolated(parts[0], parts[1], 0.5)
