"""Architectures by name, and an encoder taken apart and put together again."""

import pytest
import torch

from galaxy_assets import plugins
from galaxy_assets.plugins import PluginError
from galaxy_assets.plugins.training_contracts import check_encoder
from galaxy_assets.science.encoders.composition import side_by_side
from galaxy_assets.science.encoders.network import (
    encoder_from_tensors,
    encoder_sha256,
    encoder_to_tensors,
    seeded,
    state_sha256,
    timm_network,
)
from galaxy_assets.science.encoders.weights import build_encoder

TINY = "test_resnet"


@pytest.mark.parametrize(("name", "channels"), [("timm", 3), ("rgz", 1)])
def test_our_architectures_keep_the_contract(name, channels):
    check_encoder(name, channels=channels)


def test_the_contract_catches_a_network_that_keeps_something_out_of_its_state(monkeypatch):
    class Forgetful(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.weights = [torch.rand(3, 2)]

        def forward(self, images):
            return images.mean((2, 3)) @ self.weights[0]

    monkeypatch.setattr(plugins, "load", lambda kind, name: lambda backbone: Forgetful())
    with pytest.raises(AssertionError, match="state_dict does not hold all that decides features"):
        check_encoder("forgetful")


def test_an_encoder_is_the_same_after_its_tensors_and_metadata(tmp_path):
    encoder = build_encoder(TINY, "random", seed=1, weights=tmp_path)
    tensors, metadata = encoder_to_tensors(encoder)
    again = encoder_from_tensors(tensors, metadata | {"survey": "mine"})
    assert state_sha256(again) == state_sha256(encoder)
    assert (again.backbone, again.start, again.variant) == (TINY, "random", "timm")
    assert torch.equal(again.mean, encoder.mean) and torch.equal(again.std, encoder.std)


def test_metadata_that_lack_an_entry_or_name_what_is_not_there_are_refused(tmp_path):
    tensors, metadata = encoder_to_tensors(build_encoder(TINY, "random", seed=1, weights=tmp_path))
    with pytest.raises(ValueError, match="not an encoder of galaxy-assets: its metadata lacks mean, std"):
        encoder_from_tensors(tensors, {k: v for k, v in metadata.items() if k not in ("mean", "std")})
    with pytest.raises(PluginError, match="no encoders plug-in 'theirs'; registered are .*rgz, .*timm"):
        encoder_from_tensors(tensors, metadata | {"variant": "theirs"})
    with pytest.raises(ValueError, match="'resnet_18' is not a timm model"):
        encoder_from_tensors(tensors, metadata | {"backbone": "resnet_18"})


def test_an_architecture_registered_by_another_package_is_found_by_its_name(tmp_path, monkeypatch):
    encoder = build_encoder(TINY, "random", seed=1, weights=tmp_path)
    encoder.variant = "theirs"
    asked = []

    def load(kind, name):
        asked.append((kind, name))
        return timm_network

    monkeypatch.setattr(plugins, "load", load)
    again = encoder_from_tensors(*encoder_to_tensors(encoder))
    assert asked == [("encoders", "theirs")] and again.variant == "theirs"


def test_seeded_puts_the_global_random_state_back():
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    with seeded(1):
        first = torch.rand(3)
    with seeded(1):
        assert torch.equal(torch.rand(3), first)
    assert torch.equal(torch.rand(3), expected)


@pytest.mark.parametrize("part", ["mean", "std"])
def test_the_digest_of_an_encoder_sees_how_it_normalises_also_side_by_side(tmp_path, part):
    one, other = (build_encoder(TINY, "random", seed=1, weights=tmp_path) for _ in range(2))
    other.start = "elsewhere"
    assert encoder_sha256(one) == encoder_sha256(other)
    getattr(other, part)[0, 1] += 0.125
    assert state_sha256(one) == state_sha256(other) and encoder_sha256(one) != encoder_sha256(other)
    pair = [side_by_side([first, one], [1, 1]) for first in (one, other)]
    assert encoder_sha256(pair[0]) != encoder_sha256(pair[1])
