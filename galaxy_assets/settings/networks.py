"""Networks whose weights are files that a person puts into the data folder.

Belongs here: what is said of such a network, and what is wrong with it at first sight. Does not belong here: reading
the file (`science.encoders.network_files`).
"""

import functools
import importlib.util
import os
import re
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Annotated

from pydantic import Field, field_validator

from galaxy_assets.settings.base import Settings
from galaxy_assets.settings.regular import open_regular
from galaxy_assets.settings.wrong_values import meant

Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")]
"""Of a network: lower-case letters, digits and _."""
_MODEL = re.compile(r"^@register_model\n(?:@.*\n)*def (\w+)\(", re.M)  # how a file of timm defines a model
_SAVED_BY_TORCH = (b"PK\x03\x04", b"\x80")  # a zip, or the pickle of older versions


class Network(Settings):
    """A network of timm and the file of its weights; `start_weights` may list its name."""

    backbone: str = Field(description="any timm model name")
    weights: str = Field(description="file of its weights in the data folder: safetensors, or tensors that torch saved")
    prefix: str = Field(
        default="",
        description="what the names of its tensors begin with; needed where the file holds several networks alike",
    )
    mean: tuple[float, ...] | None = Field(
        default=None,
        description="of each channel of the images it was trained on, for pixels in [0, 1]; timm's, if absent",
    )
    std: tuple[float, ...] | None = Field(default=None, description="their standard deviations; timm's, if absent")

    @field_validator("weights")
    @classmethod
    def _in_the_data_folder(cls, value: str) -> str:
        path = PurePosixPath(value)
        if path.is_absolute() or ".." in path.parts or not path.name:
            raise ValueError(f"{value!r} is no file in the data folder; put it there and give its path relative to it")
        return value


def unusable(networks: dict[str, Network], root: Path) -> str | None:
    """Say why, and the remedy, where a network cannot be had; else None.

    The backbone is looked up in timm's own files, and of a file of weights the first bytes are read: neither timm nor
    torch is loaded. Whether the tensors fit is known when the network is read.

    Parameters
    ----------
    networks : dict of str to Network
        By name.
    root : Path
        The data folder.

    Returns
    -------
    str or None
    """
    for name, network in networks.items():
        if why := unknown_backbone(network.backbone):
            return f"networks.{name}.backbone: {why}"
        if why := _no_weights(root / network.weights):
            return f"networks.{name}.weights: {root / network.weights} {why}"
    return None


def unknown_backbone(name: str) -> str | None:
    """Say why, where timm's files define no model of a name; None also where timm is not installed.

    Parameters
    ----------
    name : str
        With or without a tag, such as `resnet18.a1_in1k`.

    Returns
    -------
    str or None
    """
    if _is_defined(model := name.partition(".")[0]):
        return None
    models = [one for text in _model_files("") for one in _MODEL.findall(text)]
    return f"{name!r} is no model of timm; timm.list_models() names them{meant(model, models)}"


@functools.cache
def _is_defined(model: str) -> bool:
    """Whether one of timm's files registers a model, by its name or by an older one; true where there is no timm."""
    texts = list(_model_files(model))
    older = re.compile(rf"^\s+'{re.escape(model)}':\s*'", re.M)
    return not texts or any(model in _MODEL.findall(text) or older.search(text) for text in texts if model in text)


def _model_files(model: str) -> Iterator[str]:
    """The text of each of timm's files of models, those first whose name the model's name begins with."""
    found = importlib.util.find_spec("timm")
    for folder in found.submodule_search_locations or () if found is not None else ():
        for path in sorted(Path(folder, "models").glob("*.py"), key=lambda path: not model.startswith(path.stem)):
            yield path.read_text(encoding="utf-8")


def _no_weights(path: Path) -> str | None:
    """Why a file holds no tensors, by its size and its first bytes; None where it may."""
    try:
        with open_regular(path) as file:
            head, size = file.read(8), os.fstat(file.fileno()).st_size
            if path.suffix != ".safetensors":
                held = head.startswith(_SAVED_BY_TORCH)
                return None if held else "is no file of tensors that torch saved; give another file"
            length = int.from_bytes(head, "little")
            whole = len(head) == 8 and 2 <= length <= size - 8 and file.read(1) == b"{"
            return None if whole else "is no safetensors file, or not all of it; give another file"
    except FileNotFoundError:
        return "is not there; put it there (docs/surveys.md says where such files are published)"
    except OSError as error:
        return f"cannot be read: {error.strerror}; correct that"
