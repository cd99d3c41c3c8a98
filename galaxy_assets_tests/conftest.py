"""A small world that many tests share: a survey of two deliveries, run once from images to results.

The pixels are drawn here (round blobs, elongated blobs, pairs of blobs) and the network is a tiny one from timm with
generated weights in the place of ImageNet's, so that the whole path runs in seconds and offline.
"""

import logging
import os
import shutil
import subprocess
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple, NoReturn

import dagster as dg
import numpy as np
import pytest
import yaml
from hypothesis import settings

from galaxy_assets.definitions import build_defs
from galaxy_assets.orchestration.engines import in_process
from galaxy_assets.orchestration.outcome import Outcome
from galaxy_assets.settings.files import survey_files
from galaxy_assets.settings.survey import Survey
from galaxy_assets_tests import postgresql

# a machine that is busy with something else is slow, which is no failure
settings.register_profile("any_machine", deadline=None)
settings.load_profile("any_machine")

PLANTED = "planted-secret-8c1f2a"
"""In the environment of every test, as a person's keys are: it must be found nowhere (`test_secrets`)."""
os.environ["PLANTED_SECRET_ACCESS_KEY"] = PLANTED

BACKBONE = "test_efficientnet"

TINY = {
    "name": "tiny",
    "title": "Tiny survey",
    "description": "Blobs.",
    "source": {"reader": "image_folder", "path": "tiny", "labels": "labels.csv"},
    "cutout": {"size": 48},
    "start_weights": ["random", "imagenet", "demo_optical"],
    "recipe": {
        "backbone": BACKBONE,
        "image_size": 32,
        "epochs": 2,
        "train_random_from": 0,
        "batch_size": 16,
        "projection_size": 16,
        "projection_hidden_size": 32,
    },
    "evaluation": {"splits": 5, "classes": [{"name": k, "labels": [k]} for k in ("round", "long")]},
    "anomaly": {"name": "pairs", "labels": ["pair"], "seeds": 6, "per_round": 4, "budget": 18},
    "mixture": {"components": 4, "n_init": 1, "max_iter": 50},
    "similarity": {"n_queries": 2, "neighbours": 3},
}


@pytest.fixture(autouse=True)
def the_log_stays_as_it_was() -> Iterator[None]:
    """`galaxy-assets run` shows its log and lowers its level; what a test reads must not depend on the tests before."""
    log = logging.getLogger("galaxy_assets")
    level, handlers = log.level, list(log.handlers)
    yield
    log.setLevel(level)
    log.handlers[:] = handlers


class World(NamedTuple):
    """A data folder with the tiny survey in it, and what its main job reported."""

    root: Path
    survey: Survey
    defs: dg.Definitions
    instance: dg.DagsterInstance
    outcomes: list[Outcome]


def draw(kind: str, rng: np.random.Generator, side: int = 120) -> np.ndarray:
    """One uint8 (side, side, 3) image of a blob of the kind on a noisy sky."""
    y, x = np.mgrid[:side, :side] - side / 2 + rng.normal(0, 1)
    angle, width = rng.uniform(0, np.pi), rng.uniform(4, 6)
    u, v = x * np.cos(angle) + y * np.sin(angle), y * np.cos(angle) - x * np.sin(angle)
    stretch = 3.0 if kind == "long" else 1.0
    light = np.exp(-0.5 * ((u / (width * stretch)) ** 2 + (v / width) ** 2))
    if kind == "pair":
        light += np.exp(-0.5 * (((u - 12) / width) ** 2 + (v / width) ** 2))
    image = 20 + 180 * light[..., None] * rng.uniform(0.7, 1, 3) + rng.normal(0, 4, (side, side, 3))
    return np.clip(image, 0, 255).astype(np.uint8)


def write_tiny(root: Path, settings: dict | None = None) -> None:
    """Lay out the tiny survey: two deliveries of 36 images, labels, one broken file, and generated weights."""
    from PIL import Image

    rng = np.random.default_rng(0)
    raw = root / "raw" / "tiny"
    rows = ["id,label"]
    for batch in ("first", "second"):
        (raw / "images" / batch).mkdir(parents=True)
        for i in range(36):
            kind = ("round", "long", "round", "long", "pair", "round")[i % 6]
            Image.fromarray(draw(kind, rng)).save(raw / "images" / batch / f"{batch}_{i:02d}.png")
            rows.append(f"{batch}_{i:02d},{kind}")
    (raw / "images" / "second" / "broken.png").write_bytes(b"not an image")
    (raw / "labels.csv").write_text("\n".join(rows))
    (root / "surveys").mkdir()
    (root / "surveys" / "tiny.yaml").write_text(yaml.safe_dump(settings or TINY))
    write_generated_weights(root / "weights")


def write_generated_weights(folder: Path) -> None:
    """Weights of the tiny backbone, random, under the name that its ImageNet weights would have."""
    import timm
    import torch
    from safetensors.torch import save_file

    with torch.random.fork_rng():
        torch.manual_seed(7)
        state = timm.create_model(BACKBONE, pretrained=False).state_dict()
    folder.mkdir(parents=True, exist_ok=True)
    save_file(state, folder / f"{BACKBONE}.safetensors")


@pytest.fixture(scope="session")
def world(tmp_path_factory) -> World:
    """The tiny survey run from images to results through the real I/O manager; tests read it and do not change it."""
    root = tmp_path_factory.mktemp("world")
    write_tiny(root)
    known = survey_files(root).known
    defs, instance = build_defs(root), dg.DagsterInstance.ephemeral()
    outcomes = list(in_process.run_survey(defs, known["tiny"], known, instance, root))
    return World(root, known["tiny"], defs, instance, outcomes)


UNTRAINED = TINY | {"start_weights": ["imagenet"], "recipe": TINY["recipe"] | {"epochs": 0}}
"""The tiny survey from one start and without training."""


@pytest.fixture(scope="session")
def untrained(tmp_path_factory) -> Path:
    """The data folder of UNTRAINED, run with its first delivery; the second waits in `later`. Tests copy it: what is up
    to date is told by the files, so that the copy is a survey that was run."""
    root = tmp_path_factory.mktemp("untrained")
    write_tiny(root, UNTRAINED)
    (root / "raw/tiny/images/second").rename(root / "later")
    known, instance = survey_files(root).known, dg.DagsterInstance.ephemeral()
    outcomes = list(in_process.run_survey(build_defs(root), known["tiny"], known, instance, root))
    assert {o.status for o in outcomes} == {"done"}, [o for o in outcomes if o.error]
    return root


class Disk(type(Path())):
    """The folder of a disk of 16 MB."""

    def free(self) -> int:
        """Bytes that can still be written."""
        return shutil.disk_usage(self).free

    def read_only(self) -> None:
        """Forbid writing, for the system's administrator too."""
        subprocess.run(["mount", "-o", "remount,ro", str(self)], check=True)


@pytest.fixture
def small_disk(tmp_path) -> Iterator[Disk]:
    """A disk that is soon full, where the system lets the tests mount one."""
    folder = Disk(tmp_path / "disk")
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16m", "tmpfs", str(folder)], capture_output=True)
    if mounted.returncode:
        pytest.skip("a small disk cannot be mounted here")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def missing(words: str) -> NoReturn:
    """End a test that needs what is not here: skipped on somebody's machine, failed where CI must have it."""
    pytest.fail(words) if os.environ.get("CI") else pytest.skip(words)


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[postgresql.Postgres]:
    """A PostgreSQL server for the tests of one process."""
    if (programs := postgresql.programs()) is None:
        missing("no PostgreSQL on this machine: install it (apt install postgresql)")
    pytest.importorskip("psycopg2", reason="the extra galaxy-assets[cluster] is not installed")
    with postgresql.server(programs) as server:
        yield server


@pytest.fixture
def postgres(postgres_server) -> postgresql.Postgres:
    """An empty database: `.url` for SQLAlchemy, `.environment` for everything else."""
    return postgres_server.new(f"test_{uuid.uuid4().hex}")


@pytest.fixture(scope="session")
def browser():
    """Chromium, without a screen."""
    from galaxy_assets_tests.explorer.browser import FLAGS, chromium

    found = chromium()
    if found is None:
        pytest.skip("no chromium on this machine: install it (apt install chromium) or name it in $CHROMIUM")
    playwright = pytest.importorskip("playwright.sync_api")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=found, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real sample surveys, $GALAXY_ASSETS_REAL_DATA; tests that need it are skipped without it."""
    folder = os.environ.get("GALAXY_ASSETS_REAL_DATA")
    if not folder:
        pytest.skip("GALAXY_ASSETS_REAL_DATA is not set")
    return Path(folder)
