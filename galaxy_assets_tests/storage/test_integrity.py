"""Damage of any file of a data folder is named, set aside and made again; nothing else is made again."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from galaxy_assets.cli import app
from galaxy_assets.definitions import build_defs
from galaxy_assets.orchestration.engines import in_process
from galaxy_assets.settings.files import survey_files
from galaxy_assets.storage.files import DamagedFile
from galaxy_assets.storage.integrity import flaws
from galaxy_assets.storage.label_events import LabelLog
from galaxy_assets.storage.layout import Layout
from galaxy_assets.storage.provenance import Origin, origin, with_origin
from galaxy_assets.storage.tables import digest, read_table, vectors_to_column, verify, write_table


def flip(path: Path, at: int, bit: int = 2) -> None:
    """Change one bit of a file."""
    data = bytearray(path.read_bytes())
    data[at] ^= 1 << bit
    path.write_bytes(data)


def cut(path: Path) -> None:
    """Take the end of a file away."""
    path.write_bytes(path.read_bytes()[:-30])


@pytest.fixture
def lake(untrained, tmp_path, monkeypatch) -> Iterator[Path]:
    """The folder of a survey's tables, in a data folder of the test's own."""
    root = tmp_path / "data"
    shutil.copytree(untrained, root)
    monkeypatch.setenv("GALAXY_ASSETS_DATA", str(root))
    yield root / "lake/tiny"


def check(*arguments: str) -> tuple[int, str]:
    """Status and words of the command."""
    answer = CliRunner().invoke(app, ["check", *arguments])
    assert answer.exception is None or isinstance(answer.exception, SystemExit), answer.exception
    return answer.exit_code, answer.output


def run_again(root: Path) -> dict[str, list[str]]:
    """Run the survey; names of assets by what became of them."""
    known = survey_files(root).known
    ran = in_process.run_survey(build_defs(root), known["tiny"], known, dg.DagsterInstance.ephemeral(), root)
    became: dict[str, list[str]] = {}
    for outcome in ran:
        became.setdefault(outcome.status, []).extend(outcome.assets)
    return became


def digests(lake: Path) -> dict[str, str]:
    """What every table is, but for the ledger of deliveries, which holds times."""
    files = [p for p in lake.rglob("[!.]*.parquet") if ".damaged" not in p.parts and p.stem != "deliveries"]
    made = {path.relative_to(lake).as_posix(): origin(path) for path in files}
    return {name: found.data for name, found in made.items() if found is not None and "pixels/" not in name}


def test_an_undamaged_folder_is_as_it_was_written(lake):
    assert check()[0] == 0
    status, words = check("tiny", "--deep")
    assert status == 0 and "as it was written (read whole" in words


# where it is, what happens to it, whether a look at footers and lengths finds it, and which assets are made again
DAMAGE = [
    ("embeddings/first/imagenet.parquet", lambda p: flip(p, 3000), False, ["embeddings"]),
    ("pca_model/imagenet.parquet", lambda p: cut(p), True, ["pca_model"]),
    ("anomaly_ranking.parquet", lambda p: p.write_bytes(b""), True, ["anomaly_ranking"]),
    ("pixels/first/cutouts.npy", lambda p: flip(p, 9000), False, ["cutouts"]),
    ("pixels/first/cutouts.npy", lambda p: cut(p), True, ["cutouts"]),
    ("pixels/first/cutouts.npy", lambda p: flip(p, 20), True, ["cutouts"]),
    ("pixels/first/content.json", lambda p: cut(p), True, ["cutouts"]),
    ("pixels/first/cutouts.npy", lambda p: p.unlink(), True, ["cutouts"]),
    ("pixels/first/size_032.npy", lambda p: flip(p, 9000), False, []),
    ("checkpoints/imagenet/*/epoch_000.safetensors", lambda p: flip(p, -9), False, ["byol_checkpoints"]),
    ("checkpoints/imagenet/*/epoch_000.safetensors", lambda p: p.unlink(), True, ["byol_checkpoints"]),
    ("figures/figure_01.png", lambda p: p.unlink(), True, ["figure_01"]),
    ("figures/figure_01.pdf", lambda p: flip(p, 99), False, ["figure_01"]),
    ("worksheets/imagenet.csv", lambda p: p.unlink(), True, ["cluster_summary"]),
]


@pytest.mark.parametrize(("where", "damage", "seen", "made"), DAMAGE)
def test_damage_is_named(lake, where, damage, seen, made):
    (path,) = lake.glob(where)
    damage(path)
    status, words = check("tiny")
    assert (status == 1) == seen, words
    status, words = check("tiny", "--deep")
    assert status == 1 and "1 damaged or missing" in words and str(path.parent) in words.replace("\n", "")
    assert "people's labels come back from a backup alone" in words


@pytest.mark.parametrize("kind", ["flip", "cut", "unlink"])
def test_what_is_damaged_is_set_aside_and_made_again_alone(lake, kind):
    before, expected = digests(lake), set()
    for where, damage, _, made in DAMAGE:
        if kind in damage.__code__.co_names:
            damage(next(iter(lake.glob(where))))
            expected |= set(made)
    status, words = check("tiny", "--deep", "--repair")
    assert status == 0 and "the next run makes it again" in words
    became = run_again(lake.parents[1])
    assert set(became.get("done", [])) == expected and not {"failed", "blocked", "skipped"} & set(became), became
    assert check("tiny", "--deep")[0] == 0 and digests(lake) == before


def test_tables_without_their_footers_are_made_again_by_a_run_and_kept(lake):
    before, kept = digests(lake), {}
    for where in ("pca_model/imagenet.parquet", "cutouts/first.parquet", "results.parquet"):
        cut(lake / where)
        kept[where] = (lake / where).read_bytes()
    assert set(run_again(lake.parents[1])["done"]) == {"pca_model", "cutouts", "results"}
    assert digests(lake) == before
    assert {where: (lake / ".damaged" / where).read_bytes() for where in kept} == kept


@pytest.mark.parametrize("follow", [None, "retrain"])
def test_a_missing_checkpoint_is_made_again_by_a_run(lake, follow):
    (path,) = lake.glob("checkpoints/imagenet/*/epoch_000.safetensors")
    whole = path.read_bytes()
    path.unlink()
    root = lake.parents[1]
    known = survey_files(root).known
    ran = in_process.run_survey(build_defs(root), known["tiny"], known, dg.DagsterInstance.ephemeral(), root, follow)
    assert "byol_checkpoints" in [asset for outcome in ran if outcome.status == "done" for asset in outcome.assets]
    assert path.read_bytes() == whole


def test_a_table_of_older_code_does_not_name_its_files_and_is_made_again_with_them(lake):
    for name in ("cutouts/first", "byol_checkpoints/imagenet"):
        table = read_table(lake / f"{name}.parquet")
        made = origin(lake / f"{name}.parquet")
        assert made is not None
        write_table(with_origin(table, Origin(**{**made.__dict__, "beside": {}})), lake / f"{name}.parquet")
    (checkpoint,) = lake.glob("checkpoints/imagenet/*/epoch_000.safetensors")
    checkpoint.unlink()
    (lake / "pixels/first/cutouts.npy").unlink()
    assert "2 damaged or missing" in check("tiny")[1]
    check("tiny", "--repair")
    assert {"cutouts", "byol_checkpoints"} <= set(run_again(lake.parents[1])["done"])
    assert checkpoint.exists() and check("tiny", "--deep")[0] == 0


def test_no_flipped_bit_of_a_table_gives_other_values_without_a_word(tmp_path):
    rng = np.random.default_rng(0)
    columns = {
        "galaxy_id": [f"galaxy {i}" for i in range(200)],
        "score": pa.array([None if i % 7 == 0 else float(x) for i, x in enumerate(rng.normal(size=200))]),
        "vector": vectors_to_column(rng.normal(size=(200, 8))),
        "who": pa.array(["a", "b", None, "c"] * 50).dictionary_encode(),
        "several": pa.array([list(range(i % 4)) if i % 5 else None for i in range(200)]),
    }
    table, path = pa.table(columns), tmp_path / "t.parquet"
    write_table(table, path)
    whole, told, silent = path.read_bytes(), 0, 0
    expected = verify(path)
    for at in rng.integers(0, len(whole), 400):
        path.write_bytes(whole)
        flip(path, int(at), int(rng.integers(8)))
        try:
            found = verify(path)
        except DamagedFile as error:
            told += 1
            assert str(path) in str(error)
        else:
            silent += not found.equals(expected)
    assert silent == 0 and told > 200


def test_columns_of_other_types_with_the_same_values_are_damage(tmp_path):
    path = tmp_path / "t.parquet"
    columns = {"who": pa.array(["a", "b"]).dictionary_encode(), "vector": vectors_to_column(np.ones((2, 3)))}
    write_table(pa.table(columns), path)
    table = verify(path)
    others = {
        "who": pa.DictionaryArray.from_arrays(pa.array([0, 1], pa.int32()), pa.array(["a", "b"]), ordered=True),
        "vector": table["vector"].cast(pa.list_(pa.float32())),
    }
    for name, other in others.items():
        changed = table.set_column(table.column_names.index(name), name, other)
        pq.write_table(changed.replace_schema_metadata(table.schema.metadata), path)
        with pytest.raises(DamagedFile, match="the types of its columns are not those"):
            verify(path)


def test_the_digest_of_a_file_is_that_of_what_was_written_whatever_the_types(tmp_path):
    under_null = pa.Array.from_buffers(pa.int64(), 2, [pa.py_buffer(b"\x01"), pa.py_buffer(np.array([5, 99]))])
    table = pa.table(
        {
            "under null": under_null,
            "nothing": pa.nulls(2),
            "struct": [{"a": 1, "b": None}, None],
            "time": pa.array([0, None], pa.timestamp("us", "UTC")),
            "bytes": [b"\x00", None],
            "flag": [True, None],
            "half": pa.array(np.array([1, 2], np.float16)),
        }
    )
    write_table(table, tmp_path / "t.parquet")
    assert digest(verify(tmp_path / "t.parquet").select(["flag"])) == digest(table.select(["flag"]))


def said(log: LabelLog, n: int, first: int = 0) -> None:
    """Append n scores."""
    rows = [
        {"who": "a", "kind": "score", "score": i % 6, "galaxy_id": f"g{first + i}", "source": "cli"} for i in range(n)
    ]
    log.append(rows)


def test_events_that_can_be_read_are_saved_from_a_damaged_file(lake):
    log = LabelLog(Layout(lake.parents[1]).labels("tiny"))
    said(log, 2500)
    said(log, 30, first=2500)
    assert log.compact() == 2
    said(log, 5, first=3000)
    merged = next(path for path in log.files() if path.name.startswith("merged"))
    flip(merged, 400)
    with pytest.raises(DamagedFile, match="merged"):
        log.read()
    status, words = check("tiny", "--repair")
    assert status == 0 or "merged" not in words
    status, words = check("tiny", "--deep", "--repair")
    assert status == 0 and "1530 events were saved, 1000 are lost" in words.replace("\n", " ")
    assert log.read().num_rows == 1535
    assert check("tiny", "--deep")[0] == 0
    cut(log.files()[0])
    with pytest.raises(DamagedFile, match=str(log.files()[0])):
        log.read()
    assert "cannot be told" in check("tiny", "--repair")[1].replace("\n", " ")


def test_what_was_never_run_is_said(lake):
    status, words = check("sdss_gz1")
    assert status == 2 and "nothing of sdss_gz1" in words
    assert [flaw for flaw in flaws(Layout(lake.parents[1]), "sdss_gz1")] == []
