"""Start weights: drawn, published and of the Radio Galaxy Zoo, the last two on generated weights."""

import hashlib
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
import torchvision
from safetensors.torch import save_file
from torch import nn

from galaxy_assets.plugins import PluginError
from galaxy_assets.plugins.training_contracts import check_start_weights
from galaxy_assets.science.encoders import weights as encoders
from galaxy_assets.science.encoders.embedding import embed
from galaxy_assets.science.encoders.network import encoder_from_tensors, encoder_to_tensors
from galaxy_assets.science.encoders.weights import (
    LITE0,
    MissingWeights,
    PublishedWeights,
    build_encoder,
    check_sha256,
    imagenet_network,
    rename_by_order,
)

CPU = torch.device("cpu")
TINY = "test_resnet"


def images(n: int = 5, size: int = 32, channels: int = 3) -> np.ndarray:
    return np.random.default_rng(1).integers(0, 256, (n, size, size, channels), np.uint8)


def publish(state: dict, path: Path, *, url: str | None = None) -> PublishedWeights:
    """Weights written to `path`, as if their authors had printed the hash of exactly this file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save(state, path)
    return PublishedWeights(path.name, url or path.as_uri(), hashlib.sha256(path.read_bytes()).hexdigest()[:8])


def randomised(network: nn.Module) -> nn.Module:
    """Give the normalisation layers statistics too, so that a mixed-up pair of tensors changes the output."""
    generator = torch.Generator().manual_seed(3)
    for tensor in network.state_dict().values():
        if tensor.is_floating_point():
            tensor.copy_(torch.rand(tensor.shape, generator=generator) * 0.1 + 0.01)
    return network.eval()


def test_start_weights_that_nobody_registered_are_refused_with_those_that_are(tmp_path):
    with pytest.raises(
        PluginError, match="no start_weights plug-in 'gz_decals'; registered are classical, imagenet, random, rgz"
    ):
        build_encoder(TINY, "gz_decals", seed=0, weights=tmp_path)


@pytest.mark.parametrize(("name", "backbone"), [("random", TINY), ("imagenet", LITE0)])
def test_our_start_weights_keep_the_contract(name, backbone, tmp_path):
    check_start_weights(name, backbone=backbone, weights=tmp_path)


def test_the_contract_catches_start_weights_that_are_drawn_from_the_global_state(tmp_path, monkeypatch):
    def careless(backbone: str, *, seed: int, files: encoders.WeightFiles):
        torch.rand(1)
        return encoders.random_weights(backbone, seed=seed, files=files)

    monkeypatch.setattr("galaxy_assets.plugins.load", lambda kind, name: careless)
    with pytest.raises(AssertionError, match="mine changes the global random state"):
        check_start_weights("mine", backbone=TINY, weights=tmp_path)


# random


def test_random_start_follows_its_seed_and_leaves_the_global_generator_alone(tmp_path):
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    first, again, other = (build_encoder(TINY, "random", seed=s, weights=tmp_path) for s in (1, 1, 2))
    assert torch.equal(torch.rand(3), expected)
    pairs = list(zip(first.parameters(), again.parameters(), other.parameters(), strict=True))
    assert all(torch.equal(a, b) for a, b, _ in pairs)
    assert not all(torch.equal(a, c) for a, _, c in pairs)


def test_unknown_backbone_is_refused(tmp_path):
    with pytest.raises(ValueError, match="resnet_18"):
        build_encoder("resnet_18", "random", seed=0, weights=tmp_path)


# ImageNet


def test_lite0_recognises_a_palace_and_a_daisy(tmp_path):
    """Weights renamed by order give ImageNet's classes (698 palace, 985 daisy) for scikit-learn's two photographs."""
    from sklearn.datasets import load_sample_images

    network = imagenet_network(LITE0, tmp_path).eval()
    encoder = build_encoder(LITE0, "imagenet", seed=0, weights=tmp_path).eval()
    assert (encoder.feature_size, encoder.in_channels) == (1280, 3)
    for photograph, label in zip(load_sample_images().images, (698, 985), strict=True):
        pixels = torch.from_numpy(photograph.copy()).permute(2, 0, 1)[None] / 255
        side = min(pixels.shape[2:])
        pixels = torchvision.transforms.functional.center_crop(pixels, [side, side])
        pixels = nn.functional.interpolate(pixels, (224, 224), mode="bilinear", antialias=True)
        with torch.inference_mode():
            assert network.classifier(encoder(pixels)).argmax() == label


def test_weights_in_another_order_are_refused():
    target = {"a.weight": torch.zeros(2), "b.weight": torch.zeros(3)}
    with pytest.raises(ValueError, match="y.weight .* does not fit a.weight"):
        rename_by_order({"y.weight": torch.zeros(3), "x.weight": torch.zeros(2)}, target)
    with pytest.raises(ValueError, match="does not fit"):
        rename_by_order({"x.bias": torch.zeros(2), "y.weight": torch.zeros(3)}, target)
    with pytest.raises(ValueError, match="another architecture"):
        rename_by_order({"x.weight": torch.zeros(2)}, target)


def test_resnet18_computes_what_torchvision_computes(tmp_path, monkeypatch):
    reference = randomised(torchvision.models.resnet18(weights=None))
    file = tmp_path / encoders.RESNET18.name
    monkeypatch.setattr(encoders, "RESNET18", publish(reference.state_dict(), file))
    encoder = build_encoder("resnet18", "imagenet", seed=0, weights=tmp_path)
    reference.fc = nn.Identity()
    pixels = images()
    normalise = torchvision.transforms.Normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])
    with torch.inference_mode():
        expected = reference(normalise(torch.from_numpy(pixels).permute(0, 3, 1, 2) / 255)).numpy()
    np.testing.assert_allclose(embed(encoder, pixels, device=CPU), expected, rtol=1e-4)


def test_a_file_with_the_right_name_and_another_content_is_refused(tmp_path):
    (tmp_path / encoders.RESNET18.name).write_bytes(b"random weights")
    with pytest.raises(ValueError, match="expected f37072fd"):
        build_encoder("resnet18", "imagenet", seed=0, weights=tmp_path)
    with pytest.raises(ValueError, match="not the published weights"):
        check_sha256(tmp_path / encoders.RESNET18.name, "00")


def test_weights_are_sought_in_the_folder_then_in_torchs_cache_then_downloaded(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    cached = tmp_path / "torch" / "hub" / "checkpoints" / "net.pth"
    folder = tmp_path / "weights"
    published = publish({"w": torch.ones(2)}, cached)
    assert published.find(folder) == cached
    source = tmp_path / "server" / "net.pth"
    source.parent.mkdir()
    cached.rename(source)
    served = PublishedWeights("net.pth", source.as_uri(), published.sha256)
    assert served.find(folder) == folder / "net.pth"
    assert (folder / "net.pth").read_bytes() == source.read_bytes()


@pytest.mark.parametrize("content", [None, b"something else"])
def test_a_failed_download_says_what_is_missing_and_where_to_put_it(tmp_path, monkeypatch, content):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    source = tmp_path / "server.pth"
    if content:
        source.write_bytes(content)
    with pytest.raises(MissingWeights) as caught:
        PublishedWeights("net.pth", source.as_uri(), "f37072fd").find(tmp_path / "weights")
    message = str(caught.value)
    for part in ("net.pth", "f37072fd", str(tmp_path / "torch"), f"Put the file at {tmp_path / 'weights' / 'net.pth'}"):
        assert part in message
    assert list((tmp_path / "weights").iterdir()) == []


@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
def test_other_models_are_read_from_the_weights_folder(tmp_path, suffix):
    with pytest.raises(MissingWeights, match=f"{TINY}.safetensors"):
        build_encoder(TINY, "imagenet", seed=0, weights=tmp_path)
    classes = timm.get_pretrained_cfg(TINY).num_classes
    reference = randomised(timm.create_model(TINY, num_classes=classes))
    (save_file if suffix == ".safetensors" else torch.save)(reference.state_dict(), tmp_path / f"{TINY}{suffix}")
    encoder = build_encoder(TINY, "imagenet", seed=0, weights=tmp_path)
    state = reference.state_dict()
    assert all(torch.equal(tensor, state[name]) for name, tensor in encoder.network.state_dict().items())


def test_imagenet_weights_of_a_transformer_take_any_size_and_are_the_same_at_their_own(tmp_path):
    published = timm.get_pretrained_cfg("test_vit")
    reference = randomised(timm.create_model("test_vit", num_classes=published.num_classes))
    save_file(reference.state_dict(), tmp_path / "test_vit.safetensors")
    encoder = build_encoder("test_vit", "imagenet", seed=0, weights=tmp_path).eval()
    reference.reset_classifier(0)
    own = torch.rand(2, 3, *published.input_size[1:])
    with torch.inference_mode():
        assert torch.equal(encoder.network(own), reference(own))
        for side in (64, 100, 224):
            assert encoder(torch.rand(1, 3, side, side)).shape == (1, encoder.feature_size)


def test_a_file_of_another_model_never_leaves_the_network_random(tmp_path):
    torch.save({"conv.weight": torch.zeros(1)}, tmp_path / f"{TINY}.pth")
    with pytest.raises(RuntimeError, match="Missing key"):
        build_encoder(TINY, "imagenet", seed=0, weights=tmp_path)


# Radio Galaxy Zoo


def rgz_reference() -> nn.Module:
    network = torchvision.models.resnet18(weights=None)
    network.conv1 = nn.Conv2d(1, 64, 3, 1, 1, bias=False)
    network.fc = nn.Identity()
    return randomised(network)


def rgz_names(network: nn.Module) -> dict[str, torch.Tensor]:
    """The reference's tensors under the names of the published encoder."""
    named = {}
    for name, tensor in network.state_dict().items():
        first, rest = name.split(".", 1)
        if first in ("conv1", "bn1"):
            named[f"layers.0.{int(first == 'bn1')}.{rest}"] = tensor
        else:
            block, rest = rest.split(".", 1)
            named[f"layers.{2 * int(first[-1]) - 1 + int(block)}.{rest}"] = tensor
    return named


@pytest.mark.parametrize("layout", ["encoder", "learner"])
def test_rgz_encoder_computes_what_its_tensors_say_in_both_layouts(tmp_path, layout):
    reference, path = rgz_reference(), tmp_path / "byol.ckpt"
    state = rgz_names(reference)
    if layout == "learner":
        wrong = {name: tensor + 1 for name, tensor in state.items()}
        state = {
            "state_dict": {f"encoder.{name}": tensor for name, tensor in state.items()}
            | {f"encoder.finetuning_{name}": tensor for name, tensor in wrong.items()}
            | {f"encoder_momentum.{name}": tensor for name, tensor in wrong.items()}
            | {"projection_head.0.weight": torch.ones(2, 2)}
        }
    torch.save(state, path)
    encoder = build_encoder("resnet18", "rgz", seed=0, weights=tmp_path, rgz=path)
    assert (encoder.in_channels, encoder.feature_size) == (1, 512)
    assert sum(p.numel() for p in encoder.parameters()) == 11_167_680
    pixels = images(channels=1)
    with torch.inference_mode():
        expected = reference((torch.from_numpy(pixels).permute(0, 3, 1, 2) / 255 - 0.008008896) / 0.05303395)
    np.testing.assert_allclose(embed(encoder, pixels, device=CPU), expected.numpy(), rtol=1e-4)
    grey = torch.rand(2, 1, 32, 32)
    colour = grey * torch.tensor([0.5, 1.0, 1.5]).view(1, 3, 1, 1)
    torch.testing.assert_close(encoder.eval()(colour), encoder(grey))

    again = encoder_from_tensors(*encoder_to_tensors(encoder))
    np.testing.assert_array_equal(embed(again, pixels, device=CPU), embed(encoder, pixels, device=CPU))


class Config:
    """Stands for what a Lightning checkpoint carries beside its tensors."""


def test_rgz_weights_keep_the_contract(tmp_path):
    torch.save(rgz_names(rgz_reference()), tmp_path / "byol.ckpt")
    check_start_weights("rgz", rgz=tmp_path / "byol.ckpt")


def test_rgz_refusals_name_the_remedy(tmp_path):
    path = tmp_path / "byol.ckpt"
    with pytest.raises(MissingWeights, match=str(path)):
        build_encoder("resnet18", "rgz", seed=0, weights=tmp_path, rgz=path)
    torch.save({"state_dict": {}, "hyper_parameters": Config()}, path)
    with pytest.raises(ValueError, match="export the encoder once"):
        build_encoder("resnet18", "rgz", seed=0, weights=tmp_path, rgz=path)
    torch.save(rgz_reference().state_dict(), path)
    with pytest.raises(ValueError, match="does not hold the Radio Galaxy Zoo encoder"):
        build_encoder("resnet18", "rgz", seed=0, weights=tmp_path, rgz=path)
    with pytest.raises(ValueError, match="resnet18"):
        build_encoder(LITE0, "rgz", seed=0, weights=tmp_path, rgz=path)
