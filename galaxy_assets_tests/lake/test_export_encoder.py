"""The encoder that leaves as ONNX gives the features of the lake, by onnxruntime, to 1e-5."""

import json

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from typer.testing import CliRunner

from galaxy_assets.cli import app
from galaxy_assets.lake.export_encoder import TOLERANCE, export_encoder, some_features
from galaxy_assets.science.encoders.classical import classical_network
from galaxy_assets.science.encoders.network import Encoder
from galaxy_assets.science.encoders.onnx_graph import write_onnx
from galaxy_assets.storage.layout import Layout
from galaxy_assets.storage.pixels import PixelStore
from galaxy_assets.storage.tables import column_to_vectors, read_table, rows_of


@pytest.fixture
def onnx():
    for name in ("onnx", "onnxscript"):
        pytest.importorskip(name, reason="the extra galaxy-assets[onnx] is not installed")
    return pytest.importorskip("onnxruntime", reason="the extra galaxy-assets[onnx] is not installed")


def test_the_file_gives_the_lakes_embeddings_of_any_number_of_images(onnx, world, tmp_path, monkeypatch):
    monkeypatch.setenv("GALAXY_ASSETS_DATA", str(world.root))
    ran = CliRunner().invoke(app, ["export", "encoder", "tiny", "--to", str(tmp_path / "encoder")])
    assert ran.exit_code == 0 and "encoder.onnx, images ['N', 3, 32, 32] in [0, 1]" in ran.output, ran.output
    layout, about = Layout(world.root), json.loads((tmp_path / "encoder/about.json").read_text())
    assert about["orientations"] == 8 and about["compared"]["galaxies"] == 16
    stored = read_table(layout.table("tiny", "embeddings", "first", "imagenet"))
    cutouts = read_table(layout.table("tiny", "cutouts", "first"))
    images = PixelStore(layout.pixels("tiny")).of(cutouts, 32)[rows_of(cutouts, stored)]
    session = onnx.InferenceSession(tmp_path / "encoder/encoder.onnx", providers=["CPUExecutionProvider"])
    given = np.ascontiguousarray(images.transpose(0, 3, 1, 2), dtype=np.float32) / 255
    for n in (1, len(given)):
        (features,) = session.run(["features"], {"images": given[:n]})
        expected = column_to_vectors(stored["vector"])[:n]
        np.testing.assert_allclose(features, expected, rtol=0, atol=TOLERANCE * np.abs(expected).max())
    told = session.get_modelmeta().custom_metadata_map
    assert (told["survey"], told["checkpoint_sha256"]) == ("tiny", about["checkpoint_sha256"])


def test_of_the_embeddings_a_few_rows_are_read(world, monkeypatch):
    layout, read = Layout(world.root), []
    rows = pq.ParquetFile.iter_batches

    def counted(self, *asked, **named):
        for batch in rows(self, *asked, **named):
            read.append(batch.num_rows)
            yield batch

    monkeypatch.setattr(pq.ParquetFile, "iter_batches", counted)
    monkeypatch.setattr(pq.ParquetFile, "read", lambda *_, **__: pytest.fail("a whole file of embeddings is read"))
    some = some_features(layout, world.survey, "embeddings/[!.]*/imagenet")
    assert sum(read) == some.num_rows == 16 and len(read) == 2, "of every delivery some"


def test_grey_images_fill_the_channels_of_the_network(onnx, tmp_path):
    network = torch.nn.Sequential(torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten())
    mean, std = (0.1, 0.2, 0.3), (0.5, 1.0, 2.0)
    encoder = Encoder(network, backbone="mean", start="", feature_size=3, mean=mean, std=std)
    write_onnx(encoder, tmp_path / "grey.onnx", channels=1, size=16)
    session = onnx.InferenceSession(tmp_path / "grey.onnx", providers=["CPUExecutionProvider"])
    (features,) = session.run(None, {"images": np.full((3, 1, 16, 16), 0.6, np.float32)})
    np.testing.assert_allclose(features, [[1.0, 0.4, 0.15]] * 3, atol=1e-6)


def test_what_cannot_be_exported_is_said_and_leaves_nothing(world, tmp_path, monkeypatch):
    with pytest.raises(ValueError, match="no start weights rgz in tiny"):
        export_encoder("tiny", tmp_path / "x", init="rgz", root=world.root)
    monkeypatch.setitem(__import__("sys").modules, "onnxscript", None)
    with pytest.raises(ValueError, match=r"install the extra: pip install 'galaxy-assets\[onnx\]'"):
        export_encoder("tiny", tmp_path / "x", root=world.root)
    assert list(tmp_path.iterdir()) == []


def test_formulae_have_no_graph(onnx, tmp_path):
    classical = Encoder(classical_network(""), backbone="", start="", feature_size=1, mean=(0.0,) * 3, std=(1.0,) * 3)
    with pytest.raises(ValueError, match="`classical` are formulae .* there is no graph"):
        write_onnx(classical, tmp_path / "x.onnx", channels=3, size=16)
