"""An encoder as an ONNX graph: what another program runs without torch and without this package.

Belongs here: the graph, and how far its features are from those of the encoder. Does not belong here: which encoder
(`lake.export_encoder`), features of a survey's images (`embedding`).
"""

import copy
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn

from galaxy_assets.science.encoders.classical import Classical
from galaxy_assets.science.encoders.composition import SideBySide
from galaxy_assets.science.encoders.embedding import oriented
from galaxy_assets.science.encoders.network import Encoder

INPUT, OUTPUT = "images", "features"
"""Names in the graph."""

_REMEDY = "install the extra: pip install 'galaxy-assets[onnx]'"


class _Graph(nn.Module):
    """Images (B, C, H, H) in [0, 1] to features (B, F): normalisation, network and mean over orientations."""

    def __init__(self, encoder: Encoder, orientations: Literal[1, 4, 8]):
        super().__init__()
        self.encoder = copy.deepcopy(encoder).cpu().eval()
        self.orientations: Literal[1, 4, 8] = orientations

    def forward(self, images: Tensor) -> Tensor:
        return _features(self.encoder, images, self.orientations)


def _features(encoder: Encoder, images: Tensor, orientations: Literal[1, 4, 8]) -> Tensor:
    """Features (B, F) as `embedding.embed` makes them; all orientations at once, so that the graph has one network."""
    if isinstance(encoder.network, SideBySide):
        return encoder.network.joined([_features(part, images, orientations) for part in encoder.network.encoders])
    views = list(oriented(images, orientations))
    # the shape, and not the length, stays a number of any size in the graph
    return encoder(torch.cat(views)).reshape(len(views), images.shape[0], -1).mean(0)


def write_onnx(
    encoder: Encoder,
    path: Path,
    *,
    channels: int,
    size: int,
    orientations: Literal[1, 4, 8] = 1,
    metadata: dict[str, str] | None = None,
) -> None:
    """Write an encoder as ONNX: float images (B, C, H, H) in [0, 1] to features (B, F), for any B.

    The graph has the normalisation, the network, and the mean over the orientations.

    Parameters
    ----------
    encoder : Encoder
        Is not changed.
    path : Path
        File to write.
    channels : int
        C of the images: 1, or 3 in the order red, green, blue.
    size : int
        H, pixels.
    orientations : {1, 4, 8}
        As `embedding.embed` takes them.
    metadata : dict of str to str, optional
        Kept in the file.

    Raises
    ------
    ValueError
        Where the extra is not installed, or the encoder has no graph.
    """
    try:
        import onnxscript as onnxscript
    except ImportError as error:
        raise ValueError(f"ONNX cannot be written without onnxscript ({error}); {_REMEDY}") from error
    if any(isinstance(module, Classical) for module in encoder.modules()):
        raise ValueError(
            "the features of `classical` are formulae that repeat a step until nothing changes, for which there is no "
            "graph; export start weights of a network, or a survey without `classical` in recipe.beside"
        )
    graph, sample = _Graph(encoder, orientations), torch.rand(2, channels, size, size)
    try:
        with _quiet():
            program = torch.onnx.export(
                graph,
                (sample,),
                input_names=[INPUT],
                output_names=[OUTPUT],
                dynamic_shapes=({0: torch.export.Dim("batch", min=1)},),
                dynamo=True,
                verbose=False,
            )
    except Exception as error:  # of torch's exporter, which raises many kinds
        first = str(error).strip().splitlines()[0][:300]
        raise ValueError(f"{encoder.backbone}: its network cannot be written as ONNX: {first}") from error
    if program is None:
        raise ValueError(f"{encoder.backbone}: torch made no ONNX program of its network")
    program.model.metadata_props.update(metadata or {})
    program.save(path)


def onnx_features(path: Path, images: np.ndarray) -> np.ndarray:
    """Features by onnxruntime, on the CPU.

    Parameters
    ----------
    path : Path
        A file of `write_onnx`.
    images : ndarray of shape (N, H, H, C), uint8
        At the graph's size.

    Returns
    -------
    ndarray of shape (N, F), float32

    Raises
    ------
    ValueError
        Where the extra is not installed.
    """
    try:
        import onnxruntime
    except ImportError as error:
        raise ValueError(f"an ONNX file cannot be run without onnxruntime ({error}); {_REMEDY}") from error
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    given = np.ascontiguousarray(images.transpose(0, 3, 1, 2)).astype(np.float32) / 255
    (features,) = session.run([OUTPUT], {INPUT: given})
    return np.asarray(features)


@contextmanager
def _quiet() -> Iterator[None]:
    """Without what torch's exporter says to its developers."""
    log = logging.getLogger("torch.onnx")
    level = log.level
    log.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        log.setLevel(level)
