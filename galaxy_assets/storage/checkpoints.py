"""Names and ledger of the checkpoints of one training.

Belongs here: which files one training has and which epochs are finished. Does not belong here: how weights are written
(`science.encoders.network`) or trained (`science.byol`).
"""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from galaxy_assets.storage.files import replacing


def file_sha256(path: Path) -> str:
    """sha256 of a file, as 64 hex digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def chosen_checkpoint(ledger: pa.Table, root: Path) -> tuple[dict[str, Any], Path]:
    """The chosen epoch's row of `byol_checkpoints` and its weights below the data folder `root`.

    Raises ValueError unless the weights are there and are those that the row records.
    """
    row = next(row for row in ledger.to_pylist() if row["chosen"])
    path = root / row["path"]
    if not path.exists() or file_sha256(path) != row["sha256"]:
        raise ValueError(
            f"{path} is not the checkpoint its ledger records (sha256 {row['sha256']}); materialise "
            f"byol_checkpoints for {row['init']} again"
        )
    return row, path


@dataclass(frozen=True)
class Training:
    """The files of one training: `checkpoints/<init>/<recipe fingerprint>/`.

    The fingerprint is part of the path, so that a changed recipe never resumes from another one's weights.
    """

    folder: Path

    def weights(self, epoch: int) -> Path:
        return self.folder / f"epoch_{epoch:03d}.safetensors"

    @property
    def state(self) -> Path:
        """Learner and optimiser after the last whole epoch, to resume from."""
        return self.folder / "state.pt"

    def record(self, epoch: int, row: dict[str, Any]) -> None:
        """Keep one epoch's row; written after its weights, so a row's weights exist."""
        with replacing(self.folder / f"epoch_{epoch:03d}.json") as partial:
            partial.write_text(json.dumps(row), encoding="utf-8")

    def whole(self) -> bool:
        """Whether every recorded epoch's weights are there and are the recorded ones."""
        return all(
            self.weights(row["epoch"]).exists() and file_sha256(self.weights(row["epoch"])) == row["sha256"]
            for row in self.rows()
        )

    def rows(self) -> list[dict[str, Any]]:
        """Rows of the finished epochs, in order."""
        return [json.loads(path.read_text(encoding="utf-8")) for path in sorted(self.folder.glob("epoch_*.json"))]
