"""The files of one training: weights as safetensors, the state to resume from, and the ledger of its epochs.

Belongs here: which files one training has, reading and writing them, and which epochs are finished. Does not belong
here: what an encoder is (`science.encoders.network`), other start weights (`science.encoders.weights`), training
(`science.byol`).
"""

import json
import pickle
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from galaxy_assets.plugins import PluginError
from galaxy_assets.storage.files import DamagedFile, file_sha256, replacing
from galaxy_assets.storage.provenance import damaged_otherwise
from galaxy_assets.storage.store import store_of

if TYPE_CHECKING:
    from galaxy_assets.science.encoders.network import Encoder


def save_encoder(encoder: "Encoder", path: Path, metadata: dict[str, str]) -> None:
    """Write an encoder as safetensors, whole or not at all. Equal encoders and metadata give equal files.

    Parameters
    ----------
    encoder : Encoder
        Is not changed.
    path : Path
        File to write; its folder is made.
    metadata : dict of str to str
        Kept in the file beside the encoder's own entries, which `load_encoder` reads.
    """
    from safetensors.torch import save

    from galaxy_assets.science.encoders.network import encoder_to_tensors

    tensors, own = encoder_to_tensors(encoder)
    header, content = _in_order(save(tensors, metadata=metadata | own))
    with replacing(path) as partial, partial.open("wb") as file:
        file.write(header)
        file.write(content)


def _in_order(file: bytes) -> tuple[bytes, memoryview]:
    """Header and content of a safetensors file, its metadata by name: the library writes them in a random order.

    The header is the length of its JSON (8 bytes, little-endian) and the JSON, filled up with spaces to a multiple of 8
    bytes; where tensors lie is counted from its end.
    """
    begin = 8 + int.from_bytes(file[:8], "little")
    entries = json.loads(file[8:begin])
    entries["__metadata__"] = dict(sorted(entries["__metadata__"].items()))
    text = json.dumps(entries, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text, memoryview(file)[begin:]


def load_encoder(path: Path) -> "Encoder":
    """Read a file of `save_encoder`.

    Parameters
    ----------
    path : Path
        Such a file.

    Returns
    -------
    Encoder
        On the CPU.

    Raises
    ------
    DamagedFile
        Where it is no whole safetensors file.
    ValueError
        Where it is another kind of safetensors file.
    PluginError
        Where its architecture is not registered (any more).
    """
    from safetensors import safe_open

    from galaxy_assets.science.encoders.network import encoder_from_tensors

    with damaged_otherwise(path), safe_open(store_of(path).local(path), framework="pt") as file:
        metadata = file.metadata() or {}
        tensors = {name: file.get_tensor(name) for name in file.keys()}
    try:
        return encoder_from_tensors(tensors, metadata)
    except PluginError as error:
        raise PluginError(f"{path}: {error}") from error
    except Exception as error:  # what it says of itself may be anything
        raise ValueError(f"{path}: {error}") from error


def read_metadata(path: Path) -> dict[str, str]:
    """What a file of `save_encoder` says of its encoder, without reading the weights.

    Parameters
    ----------
    path : Path
        Such a file.

    Returns
    -------
    dict of str to str
        `backbone`, `variant` and `feature_size` among its keys.

    Raises
    ------
    DamagedFile
        Where it is no whole safetensors file.
    """
    from safetensors import safe_open

    with damaged_otherwise(path), safe_open(store_of(path).local(path), framework="np") as file:
        return file.metadata() or {}


def load_start(path: Path | None, *, survey: str, backbone: str) -> "Encoder":
    """The encoder that another survey trained, as start weights.

    Parameters
    ----------
    path : Path or None
        That survey's checkpoint; None where it has none.
    survey : str
        Its name, which becomes the encoder's `start`.
    backbone : str
        timm model name that it must have.

    Returns
    -------
    Encoder
        On the CPU.

    Raises
    ------
    MissingWeights
        Where the checkpoint is absent.
    ValueError
        Where it is no encoder or has another backbone.
    """
    from galaxy_assets.science.encoders.composition import SideBySide
    from galaxy_assets.science.encoders.weights import MissingWeights

    if path is None or not path.is_file():
        raise MissingWeights(f"start weights {survey!r}: no checkpoint at {path}; train the survey {survey} first")
    encoder = load_encoder(path)
    if isinstance(encoder.network, SideBySide):
        encoder = encoder.network.encoders[0]  # what stands beside it is not what was trained
    if encoder.backbone != backbone:
        raise ValueError(
            f"{path} holds a {encoder.backbone}, this survey's backbone is {backbone}; "
            f"use one backbone in both recipes or drop {survey!r} from start_weights"
        )
    encoder.start = survey
    return encoder


@dataclass(frozen=True)
class StateFile:
    """A training's state in a file, as `science.training.TrainingState` asks for it.

    Parameters
    ----------
    path : Path
        The file; absent before the first epoch.
    """

    path: Path

    def __str__(self) -> str:
        """The file's path, for messages."""
        return str(self.path)

    def read(self) -> dict[str, Any] | None:
        """What was written last.

        Returns
        -------
        dict or None
            Tensors on the CPU, and plain values; None where nothing was written.

        Raises
        ------
        ValueError
            Where the file is damaged; names the file and the remedy.
        """
        import torch

        if not self.path.exists():
            return None
        try:
            return torch.load(store_of(self.path).local(self.path), map_location="cpu", weights_only=True)
        except (RuntimeError, EOFError, pickle.UnpicklingError) as error:
            raise ValueError(
                f"{self} is not a whole training state ({error}); delete {self} to train from the start"
            ) from error

    def write(self, saved: dict[str, Any]) -> None:
        """Replace what was written, whole or not at all."""
        import torch

        with replacing(self.path) as partial:
            torch.save(saved, partial)

    def remove(self) -> None:
        """Remove the file, if it is there."""
        store_of(self.path).remove(self.path)


def chosen_checkpoint(ledger: pa.Table, root: Path) -> tuple[dict[str, Any], Path]:
    """The chosen epoch's row of `byol_checkpoints` and the file of its weights, compared with its sha256.

    Parameters
    ----------
    ledger : pyarrow.Table
        `byol_checkpoints` of one start weight.
    root : Path
        The data folder, which the paths in the ledger are relative to.

    Returns
    -------
    row : dict
        The ledger's row.
    path : Path
        Its weights.

    Raises
    ------
    DamagedFile
        Where the weights are absent or are not those that the row records.
    """
    row = next(row for row in ledger.to_pylist() if row["chosen"])
    path = root / row["path"]
    if not path.exists() or file_sha256(path) != row["sha256"]:
        raise DamagedFile(path, f"it is not the checkpoint its ledger records, sha256 {row['sha256']}")
    return row, path


def read_row(path: Path) -> dict[str, Any]:
    """What a file of `Training.record` says of its epoch.

    Parameters
    ----------
    path : Path
        The file.

    Returns
    -------
    dict
        `epoch` and `sha256` among its keys.

    Raises
    ------
    DamagedFile
        Where it does not say so.
    """
    with damaged_otherwise(path):
        row = json.loads(path.read_text(encoding="utf-8"))
        return row | {"epoch": int(row["epoch"]), "sha256": str(row["sha256"])}


@dataclass(frozen=True)
class Training:
    """The files of one training: `checkpoints/<init>/<recipe fingerprint>/`.

    The fingerprint is part of the path, so that a changed recipe never resumes from another one's weights.

    Parameters
    ----------
    folder : Path
        That folder; it need not exist.
    """

    folder: Path

    def weights(self, epoch: int) -> Path:
        """File of the weights after an epoch; epoch 0 is the start."""
        return self.folder / f"epoch_{epoch:03d}.safetensors"

    def _row(self, epoch: int) -> Path:
        return self.folder / f"epoch_{epoch:03d}.json"

    @property
    def state(self) -> StateFile:
        """The file of the state after the last whole epoch (learner and optimiser), to resume from."""
        return StateFile(self.folder / "state.pt")

    @property
    def rows_for_other_hosts(self) -> Path:
        """File of the rows of pixels that are trained on, for the processes on other hosts; there while it trains."""
        return self.folder / "training_set.parquet"

    def remove_what_resumes(self) -> None:
        """Remove what is of use until the training is done: its state is larger than all checkpoints together."""
        self.state.remove()
        store_of(self.folder).remove(self.rows_for_other_hosts)

    def record(self, epoch: int, row: dict[str, Any]) -> None:
        """Keep one epoch's row; it is written after its weights, so a row's weights exist.

        Parameters
        ----------
        epoch : int
            From 0 on.
        row : dict of str to Any
            Values that JSON can hold, `epoch` and `sha256` among them.
        """
        with replacing(self._row(epoch)) as partial:
            partial.write_text(json.dumps(row), encoding="utf-8")

    def begin_with(self, metadata: Mapping[str, str]) -> bool:
        """Whether the recorded start, where there is one, is an encoder of this description.

        The folder's name does not tell: weights alone say nothing of how the pixels are normalised.

        Parameters
        ----------
        metadata : mapping of str to str
            As `science.encoders.network.architecture_metadata` returns it.
        """
        if not self._row(0).exists():
            return True
        kept = read_metadata(self.weights(0))
        return all(kept.get(name, value) == value for name, value in metadata.items())

    def whole(self) -> bool:
        """Whether every recorded epoch's weights are there and are the recorded ones."""
        try:
            rows = self.rows()
            return all(self.weights(row["epoch"]).exists() for row in rows) and all(
                file_sha256(self.weights(row["epoch"])) == row["sha256"] for row in rows
            )
        except DamagedFile:
            return False

    def rows(self) -> list[dict[str, Any]]:
        """Rows of the finished epochs, in order of the epoch."""
        return sorted(map(read_row, self.folder.glob("epoch_*.json")), key=lambda row: row["epoch"])
