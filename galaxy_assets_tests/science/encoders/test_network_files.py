"""Networks from files that a person brought: found under any prefix, and what does not fit is named."""

import numpy as np
import pytest
import timm
import torch
from safetensors.torch import save_file

from galaxy_assets.science.encoders.embedding import embed
from galaxy_assets.science.encoders.network import encoder_from_tensors, encoder_to_tensors, seeded
from galaxy_assets.science.encoders.network_files import check_takes, network_from_file
from galaxy_assets.science.encoders.weights import MissingWeights
from galaxy_assets.settings.networks import Network

CPU = torch.device("cpu")
PIXELS = np.random.default_rng(0).integers(0, 256, (2, 40, 40, 3), np.uint8)


def state(backbone, **options):
    with seeded(5):
        return timm.create_model(backbone, pretrained=False, **options).state_dict()


def read(tmp_path, tensors, backbone="test_resnet", name="weights.pt", **settings):
    (save_file if name.endswith("safetensors") else torch.save)(tensors, tmp_path / name)
    return network_from_file("mine", Network(backbone=backbone, weights=name, **settings), tmp_path)


@pytest.mark.parametrize("backbone", ["test_resnet", "test_vit", "test_convnext"])
@pytest.mark.parametrize(
    ("prefix", "name"),
    [("", "a.pt"), ("encoder.", "a.safetensors"), ("module.backbone.", "a.pt"), ("model.", "b.pt")],
)
def test_a_network_is_found_whatever_its_names_begin_with(tmp_path, prefix, name, backbone):
    given = state(backbone)
    tensors = {f"{prefix}{key}": tensor for key, tensor in given.items()} | {"projector.weight": torch.zeros(3)}
    encoder = read(tmp_path, tensors, backbone, name)
    held = encoder.network.state_dict()
    assert all(torch.equal(held[key], given[key]) for key in held) and len(held) < len(given)
    assert (encoder.start, encoder.backbone, encoder.variant) == ("mine", backbone, "timm")
    published = timm.get_pretrained_cfg(backbone)
    assert published is not None
    assert encoder.mean.flatten().tolist() == pytest.approx(published.mean)
    features = embed(encoder, PIXELS, device=CPU)
    assert features.shape == (2, encoder.feature_size)
    assert np.array_equal(embed(encoder_from_tensors(*encoder_to_tensors(encoder)), PIXELS, device=CPU), features)


def test_nested_dicts_and_counts_are_read_as_a_lightning_checkpoint_has_them(tmp_path):
    encoder = read(tmp_path, {"epoch": 3, "state_dict": {f"encoder.{k}": v for k, v in state("test_resnet").items()}})
    assert torch.equal(encoder.network.state_dict()["conv1.0.weight"], state("test_resnet")["conv1.0.weight"])


def test_of_several_networks_alike_one_must_be_named(tmp_path):
    given = state("test_resnet")
    both = {f"student.{k}": v for k, v in given.items()} | {
        f"teacher.{k}": v + 1 if v.is_floating_point() else v for k, v in given.items()
    }
    with pytest.raises(ValueError, match="holds 2 networks that fit a test_resnet: 'student.', 'teacher.'; choose one"):
        read(tmp_path, both)
    encoder = read(tmp_path, both, prefix="teacher")
    assert torch.equal(encoder.network.state_dict()["conv1.1.weight"], given["conv1.1.weight"] + 1)


def test_a_file_of_another_network_is_refused_with_what_does_not_fit(tmp_path):
    less = {k: v for k, v in state("test_resnet").items() if "layer4" not in k}
    with pytest.raises(ValueError, match=r"does not hold a test_resnet: of its \d+ tensors \d+ are missing \(layer4.0"):
        read(tmp_path, less)
    with pytest.raises(ValueError, match=r"have another shape \(conv1.0.weight \(2, 3, 3, 3\) for"):
        read(tmp_path, state("test_resnet") | {"conv1.0.weight": torch.zeros(2, 3, 3, 3)})
    with pytest.raises(ValueError, match=r"does not hold a resnet18: .* are more than it has \(layer1.2"):
        read(tmp_path, state("resnet34"), "resnet18")
    (tmp_path / "noise.pt").write_bytes(b"not tensors")
    for name in ("noise.pt", "noise.safetensors"):
        (tmp_path / name).write_bytes(b"not tensors")
        with pytest.raises(ValueError, match=f"{name} cannot be read as tensors alone"):
            network_from_file("mine", Network(backbone="test_resnet", weights=name), tmp_path)


def test_no_object_is_unpickled(tmp_path):
    class Evil:
        def __reduce__(self):
            return (open, (str(tmp_path / "made"), "w"))

    with pytest.raises(ValueError, match="cannot be read as tensors alone"):
        read(tmp_path, {"a": Evil()})
    assert not (tmp_path / "made").exists()


def test_an_absent_file_is_named_with_where_its_weights_are(tmp_path):
    with pytest.raises(MissingWeights) as error:
        network_from_file("dinov2", Network(backbone="vit_small_patch14_dinov2", weights="weights/d.pt"), tmp_path)
    assert str(tmp_path / "weights/d.pt") in str(error.value)
    assert "huggingface.co/timm/vit_small_patch14_dinov2.lvd142m" in str(error.value)
    with pytest.raises(ValueError, match="'nothing' is not a timm model"):
        network_from_file("mine", Network(backbone="nothing", weights="w.pt"), tmp_path)


def test_a_first_layer_of_one_channel_sees_the_mean(tmp_path):
    grey = state("test_resnet", in_chans=1)
    encoder = read(tmp_path, grey, mean=(0.2,), std=(0.1,))
    with seeded(5):
        reference = timm.create_model("test_resnet", pretrained=False, in_chans=1, num_classes=0).eval()
    reference.load_state_dict({k: v for k, v in grey.items() if k in reference.state_dict()})
    images = torch.from_numpy(PIXELS).permute(0, 3, 1, 2).float() / 255
    with torch.inference_mode():
        expected = reference((images.mean(1, keepdim=True) - 0.2) / 0.1)
        torch.testing.assert_close(encoder.eval()(images), expected, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("value", ["/etc/passwd", "../outside.pt", "weights/../../outside.pt", ""])
def test_a_file_outside_the_data_folder_is_no_setting(value):
    with pytest.raises(ValueError, match="no file in the data folder"):
        Network(backbone="resnet18", weights=value)


def test_a_network_of_one_size_alone_says_which(tmp_path):
    with seeded(0):
        network = timm.create_model("test_vit", pretrained=False, num_classes=0)  # no positions of other sizes
    encoder = read(tmp_path, state("test_vit"), "test_vit")
    check_takes(encoder, 100)
    encoder.network = network
    with pytest.raises(ValueError, match=r"mine \(test_vit\) does not take images of 100 pixels .*image_size to 160"):
        check_takes(encoder, 100)
