"""Learners as plug-ins: ours and a stranger's keep the contract, and a survey file may name either."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from galaxy_assets import plugins
from galaxy_assets.plugins.contracts import check_learner
from galaxy_assets.science import active_learning
from galaxy_assets.science.anomaly_model import fit, model_to_table, table_to_model
from galaxy_assets.science.labels import STANDING
from galaxy_assets.science.learners import Corrected
from galaxy_assets.settings.discovery import Anomaly
from galaxy_assets.settings.files import SurveyError, read_survey, survey_files
from galaxy_assets_tests.conftest import UNTRAINED

TOY = '''
"""A learner of another package: the score of the nearest galaxy that has one, the less sure the farther it is."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq


@dataclass
class Nearest:
    labelled: np.ndarray
    scores: np.ndarray
    reach: float
    kernel = "nearest neighbour"
    at_bounds = ()

    def predict(self, features):
        distance = np.linalg.norm(features[:, None].astype(float) - self.labelled[None], axis=2)
        nearest = distance.argmin(axis=1)
        return self.scores[nearest].astype(float), distance[np.arange(len(features)), nearest] / self.reach

    def to_table(self):
        return pa.table({"role": ["reach"], "reach": [self.reach]})


class NearestLearner:
    keeps_scores_given = True
    columns = pa.schema([("reach", pa.float64())])

    def can_fit(self, scores):
        return True

    def fit(self, labelled, scores, std):
        return Nearest(labelled, scores, float(std.sum()) or 1.0)

    def acquisition(self, mean, std, best, trade_off):
        return mean + trade_off * std

    def table_to_model(self, table, labelled, scores):
        return Nearest(labelled, scores, table["reach"][0].as_py())
'''

RUN = """
import json, sys
from pathlib import Path
import dagster as dg
from galaxy_assets.definitions import build_defs
from galaxy_assets.orchestration.engines import in_process
from galaxy_assets.plugins.contracts import check_learner
from galaxy_assets.settings.files import survey_files

if __name__ == "__main__":
    check_learner("nearest")
    root = Path(sys.argv[1])
    survey, defs = survey_files(root).named("tiny"), build_defs(root)
    graph = defs.resolve_asset_graph()
    ours = [key for key in graph.get_all_asset_keys() if key.path[0] == "tiny"]
    versions = {key.path[-1]: graph.get(key).code_version for key in ours}
    wrong = []
    if sys.argv[2:] == ["run"]:
        outcomes = in_process.run_survey(defs, survey, survey_files(root).known, dg.DagsterInstance.ephemeral(), root)
        wrong = [str(o.error) for o in outcomes if o.status not in ("done", "fresh")]
    print(json.dumps({"anomaly": survey.anomaly.fingerprint(), "versions": versions, "wrong": wrong}))
"""


def install(folder: Path, version: str, module: str = TOY, target: str = "nearest_learner:NearestLearner") -> Path:
    """Lay a package with one learner into a folder, as pip would, and return the folder."""
    shutil.rmtree(folder, ignore_errors=True)
    metadata = folder / f"nearest_learner-{version}.dist-info"
    metadata.mkdir(parents=True)
    (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: nearest-learner\nVersion: {version}\n")
    (metadata / "entry_points.txt").write_text(f"[galaxy_assets.learners]\nnearest = {target}\n")
    (folder / "nearest_learner.py").write_text(module)
    return folder


def in_another_process(package: Path, root: Path, *arguments: str) -> dict[str, Any]:
    """What RUN prints, with the package on the path of its process."""
    path = os.pathsep.join([str(package), *filter(None, sys.path)])
    command = [sys.executable, "-c", RUN, str(root), *arguments]
    ran = subprocess.run(command, env=os.environ | {"PYTHONPATH": path}, capture_output=True, text=True, timeout=300)
    assert ran.returncode == 0, ran.stderr[-3000:]
    return json.loads(ran.stdout.splitlines()[-1])


@pytest.mark.parametrize("name", ["published", "corrected", "graded"])
def test_our_learners_keep_the_contract(name):
    check_learner(name)


def registered(monkeypatch, learner: type) -> None:
    """Make `plugins` find this class under any name."""
    monkeypatch.setattr(plugins, "load", lambda kind, name: learner)


class _Half(Corrected):
    """Forgets half of its model."""

    def table_to_model(self, table, labelled, scores):
        return super().table_to_model(table, labelled[::2], scores[::2])


class _Moody(Corrected):
    """Predicts otherwise each time."""

    drawn = np.random.default_rng(0)

    def fit(self, labelled, scores, std):
        return super().fit(labelled, scores + self.drawn.normal(), std)


class _Lost(Corrected):
    """Asks for what is no number."""

    def acquisition(self, mean, std, best, trade_off):
        return np.full(len(mean), np.nan)


class _Flat(Corrected):
    """Fits flat scores, and divides by their range."""

    def can_fit(self, scores):
        return True

    def fit(self, labelled, scores, std):
        with np.errstate(invalid="ignore"):
            return super().fit(labelled, scores / np.ptp(scores), std)


class _Grabbing(Corrected):
    """Wants a column of the platform."""

    columns = pa.schema([("score", pa.float64())])


@pytest.mark.parametrize(
    ("learner", "says"),
    [
        (_Half, "read back"),
        (_Moody, "deterministic"),
        (_Lost, "acquisition must be"),
        (_Flat, "finite|infs or NaNs"),
        (_Grabbing, "the platform's"),
    ],
)
def test_the_contract_finds_what_is_wrong(monkeypatch, learner, says):
    registered(monkeypatch, learner)
    with pytest.raises((AssertionError, ValueError), match=says):
        check_learner("any")


def test_a_search_stops_at_a_learner_that_asks_for_no_number(monkeypatch):
    registered(monkeypatch, _Lost)
    features = np.random.default_rng(0).normal(size=(50, 3))
    arguments = {"seeds": 5, "per_round": 5, "budget": 20, "trade_off": 0.5, "seed": 0}
    with pytest.raises(plugins.PluginError, match="'lost'.*acquisition.*50 galaxies.*check_learner"):
        active_learning.search(features, features[:, 0].astype(str), lambda r: r % 6, learner="lost", **arguments)


def test_a_model_of_another_learner_is_refused_with_the_remedy(monkeypatch):
    features, ids = np.random.default_rng(0).normal(size=(30, 3)), np.array([f"g{i:02d}" for i in range(30)])
    said = pa.Table.from_pylist([{"galaxy_id": g, "score": float(i)} for i, g in enumerate(ids[:5])], schema=STANDING)
    table = model_to_table(fit(features, ids, said, features.std(axis=0), "corrected", 0))
    other = type("Other", (Corrected,), {"columns": pa.schema([("reach", pa.float64())])})
    registered(monkeypatch, other)
    with pytest.raises(ValueError, match="'other' keeps .*reach.*materialise anomaly_model again"):
        table_to_model(table, "other", 0)


def test_shipped_fingerprints_are_those_of_before_learners_were_plugins():
    shipped = survey_files(Path("/nonexistent")).known
    # `corrected` was the default then; who names it keeps every ranking
    before = {name: s.anomaly.model_copy(update={"learner": "corrected"}) for name, s in shipped.items()}
    before["gz_decals"] = shipped["gz_decals"].anomaly
    surveys = {name: s.model_copy(update={"anomaly": before[name]}) for name, s in shipped.items()}
    assert {s.anomaly.learner for name, s in shipped.items() if name != "gz_decals"} == {"graded"}
    assert {name: survey.anomaly.fingerprint() for name, survey in surveys.items()} == {
        "demo_optical": "99241e9ebad5",
        "demo_radio": "b327416e7119",
        "gz_decals": "eb29526444e1",
        "mirabest": "2f1ab96f8200",
        "sdss_gz1": "8937c136cfe2",
    }
    # the two of the paper changed since with their projection of 100, as Table 1 has it; and limits of artefacts that a
    # survey does not name are of its own images
    assert {name: survey.fingerprint() for name, survey in surveys.items()} == {
        "demo_optical": "cb55de2d5c0f",
        "demo_radio": "797a9dac70a9",
        "gz_decals": "92a364ca03db",
        "mirabest": "cd93c32ce9af",
        "sdss_gz1": "53554d6a498a",
    }
    assert Anomaly(learner="corrected").fingerprint() == "3ad0ed60359d"
    assert Anomaly(learner="published").fingerprint() == "38abc6f0e180"


def test_an_unknown_learner_is_refused_by_the_survey_file_with_those_that_are_known(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump(UNTRAINED | {"anomaly": {"learner": "nearest"}}))
    with pytest.raises(SurveyError, match="anomaly.learner: .*'nearest'; registered are corrected, graded, published"):
        read_survey(path)


@pytest.fixture
def mine(untrained, tmp_path) -> Path:
    """The tiny survey, run before, now with the stranger's learner."""
    root = tmp_path / "root"
    shutil.copytree(untrained, root)
    settings = UNTRAINED | {"anomaly": UNTRAINED["anomaly"] | {"learner": "nearest"}}
    (root / "surveys/tiny.yaml").write_text(yaml.safe_dump(settings))
    return root


def test_a_survey_searches_with_another_packages_learner_and_its_version_decides(mine, tmp_path):
    package = tmp_path / "site"
    first = in_another_process(install(package, "1.0"), mine, "run")
    assert first["wrong"] == []
    [file] = (mine / "lake/tiny").rglob("anomaly_model*.parquet")
    model = pq.read_table(file)
    assert model.column_names == ["role", "galaxy_id", "score", "reach", "vector"]
    assert set(model["role"].to_pylist()) == {"reach", "labelled"}
    [file] = (mine / "lake/tiny").rglob("anomaly_ranking*.parquet")
    ranking = pq.read_table(file)
    given = dict(zip(model["galaxy_id"].to_pylist(), model["score"].to_pylist(), strict=True))
    assert set(ranking["score"].to_pylist()) <= {s for g, s in given.items() if g}, "a nearest galaxy's score"
    later = in_another_process(install(package, "1.1"), mine)
    assert later["anomaly"] != first["anomaly"]
    changed = {name for name, version in later["versions"].items() if version != first["versions"][name]}
    assert changed >= {"oracle_events", "anomaly_model", "anomaly_scores", "anomaly_ranking"}
    assert not changed & {"pca_features", "umap", "label_events", "similar_galaxies", "cluster_labels"}
