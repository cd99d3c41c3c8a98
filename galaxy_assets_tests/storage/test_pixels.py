"""The pixel store resumes, never redoes, and gathers rows across batches."""

import hashlib

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from galaxy_assets.storage.files import DamagedFile
from galaxy_assets.storage.pixels import PixelStore
from galaxy_assets.storage.provenance import origin

SHAPE = (8, 8, 3)


class Maker:
    """Makes chunks whose pixels are their row number; can be told to fail."""

    def __init__(self, fail_at: int | None = None):
        self.made: list[int] = []
        self.fail_at = fail_at

    def __call__(self, rows: range):
        if self.fail_at is not None and rows.start >= self.fail_at:
            raise RuntimeError("killed")
        self.made += rows
        return np.stack([np.full(SHAPE, i, np.uint8) for i in rows]), pa.table({"row": list(rows)})


def fill(store, maker, fingerprint="f"):
    return store.fill("b", n=10, shape=SHAPE, fingerprint=fingerprint, make=maker, chunk=3)


def test_an_interrupted_filling_goes_on_after_its_last_whole_chunk(tmp_path):
    store = PixelStore(tmp_path)
    with pytest.raises(RuntimeError, match="killed"):
        fill(store, Maker(fail_at=6))
    with pytest.raises(FileNotFoundError, match="materialise `cutouts`"):
        store.read("b")
    second = Maker()
    assert fill(store, second)["row"].to_pylist() == list(range(10))
    assert second.made == [6, 7, 8, 9]
    np.testing.assert_array_equal(store.read("b")[:, 0, 0, 0], np.arange(10))


def test_a_finished_filling_is_not_redone_unless_its_fingerprint_changes(tmp_path):
    store = PixelStore(tmp_path)
    fill(store, Maker())
    again, other = Maker(), Maker()
    fill(store, again)
    assert again.made == []
    fill(store, other, fingerprint="g")
    assert other.made == list(range(10))
    assert store.fingerprint(["b"]) == "b:g"


def test_what_older_code_filled_with_other_columns_is_filled_anew(tmp_path):
    store = PixelStore(tmp_path)
    fill(store, Maker())

    def wider(rows):
        pixels, table = Maker()(rows)
        return pixels, table.append_column("nodata", pa.array([0.0] * len(rows)))

    columns = ["row", "nodata"]
    filled = store.fill("b", n=10, shape=SHAPE, fingerprint="f", make=wider, chunk=3, columns=columns)
    assert filled.column_names == columns
    again = Maker(fail_at=0)
    assert store.fill("b", n=10, shape=SHAPE, fingerprint="f", make=again, chunk=3, columns=columns).equals(filled)


def test_another_size_is_made_once_and_belongs_to_its_pixels(tmp_path):
    store = PixelStore(tmp_path)
    fill(store, Maker())
    small = store.read("b", 4)
    assert small.shape == (10, 4, 4, 3)
    np.testing.assert_array_equal(small[:, 2, 2, 1], np.arange(10))
    fill(store, lambda rows: (np.zeros((len(rows), *SHAPE), np.uint8), pa.table({"row": list(rows)})), "zeros")
    assert store.read("b", 4).max() == 0


def test_a_stack_gathers_rows_across_batches_in_the_order_asked(tmp_path):
    store = PixelStore(tmp_path)
    for batch, offset in [("a", 0), ("b", 100)]:
        store.fill(
            batch,
            n=4,
            shape=SHAPE,
            fingerprint="f",
            make=lambda rows, o=offset: (
                np.stack([np.full(SHAPE, o + i, np.uint8) for i in rows]),
                pa.table({"row": list(rows)}),
            ),
        )
    stack = store.stack(["a", "b"])
    assert stack.shape == (8, *SHAPE)
    assert stack[np.array([7, 0, 4, 3])][:, 0, 0, 0].tolist() == [103, 0, 100, 3]


@given(st.sets(st.integers(0, 6)))
def test_only_a_ledger_with_every_row_of_its_batches_names_rows_of_the_stack(tmp_path_factory, left):
    store = PixelStore(tmp_path_factory.mktemp("pixels"))
    sizes = {"a": 4, "b": 3}
    for batch, n in sizes.items():
        store.fill(batch, n=n, shape=SHAPE, fingerprint="f", make=Maker())
    batches = [batch for batch, n in sizes.items() for _ in range(n)]
    ledger = pa.table({"batch": batches, "pixels": ["f"] * 7}).take(pa.array(sorted(left), pa.int64()))
    counted = {batch: ledger["batch"].to_pylist().count(batch) for batch in sizes}
    if all(counted[batch] in (0, n) for batch, n in sizes.items()):
        assert len(store.of(ledger)) == len(left)
    else:
        with pytest.raises(ValueError, match="give every row of these batches"):
            store.of(ledger)


@pytest.mark.parametrize("told", ["", "[]", "{}", '{"n": 10}', '{"n": "x", "shape": [8, 8, 3], "fingerprint": "f"}'])
def test_what_is_said_of_pixels_names_its_file_where_it_is_damaged(tmp_path, told):
    store = PixelStore(tmp_path)
    fill(store, Maker())
    (tmp_path / "b/content.json").write_text(told)
    with pytest.raises(DamagedFile, match="content.json"):
        store.check({"b": "f"})
    again = Maker()
    fill(store, again)
    assert again.made == list(range(10))


def test_chunks_keep_the_digest_of_their_pixels(tmp_path):
    store = PixelStore(tmp_path)
    fill(store, Maker())
    for chunk in (tmp_path / "b/rows").iterdir():
        made, start = origin(chunk), int(chunk.stem)
        rows = np.stack([np.full(SHAPE, i, np.uint8) for i in range(start, min(start + 3, 10))])
        assert made is not None and made.beside == {"cutouts.npy": hashlib.sha256(rows.tobytes()).hexdigest()}
    store.read("b", 4)
    digest, name = (tmp_path / "b/size_004.sha256").read_text().split()
    assert digest == hashlib.sha256((tmp_path / "b" / name).read_bytes()).hexdigest()
