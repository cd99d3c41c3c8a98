"""Parquet files of images: Hugging Face's shards, and tables in which a column holds the images.

The images are bytes of files, structs with `bytes`, lists of either, or pixels: nested lists, tensors, or
MultimodalUniverse's fluxes by band.

Belongs here: which columns hold the images and what is said of them, and the images row by row. Does not belong here:
keeping them (`spools`), and how pixels become an image (`stacks`).
"""

import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.types as kinds

from galaxy_assets.deliveries.archives import damaged_otherwise
from galaxy_assets.deliveries.cells import (
    fields_of,
    files_in,
    inner_type,
    is_bytes,
    is_name,
    may_hold_images,
    pixels_in,
)
from galaxy_assets.deliveries.images import UnreadableImage
from galaxy_assets.deliveries.members import (
    IDS,
    LABELS,
    DamagedArchive,
    Said,
    check_count,
    class_of,
    format_of,
    known,
    like_class,
    position_of,
    says_nothing,
)
from galaxy_assets.settings.limits import COLUMN_PER_BYTE, MAXIMUM_ARRAY
from galaxy_assets.settings.printing import logger

log = logger(__name__)

IMAGES = (
    "image",
    "bytes",
    "img",
    "images",
    "jpg",
    "jpeg",
    "png",
    "webp",
    "tif",
    "tiff",
    "fits",
    "image_bytes",
    "jpg.bytes",
    "jpeg.bytes",
    "png.bytes",
    "image_data",
    "cutout",
    "picture",
    "photo",
    "pixels",
    "array",
    "image_array",
    "flux",
)
"""Columns that hold images, in any case; the first of them that can."""

_CHUNK = 2**24  # bytes that Arrow reads ahead; without a limit it reads all images of a row group at once
_ROWS = 64  # in memory at once
_CELLS = 2**14  # of classes
_LOOKED_AT = 8  # first values of a column that no known name has


class Columns(NamedTuple):
    """Which columns of a Parquet file say what; None where no column says it."""

    image: str
    id: str | None
    label: str | None
    ra: str | None
    dec: str | None


class Row(NamedTuple):
    """One image: what its row calls it, its bytes, what the row says of it, and why there are none."""

    name: str
    data: bytes
    said: Said
    problem: UnreadableImage | None = None


def columns_of(path: Path) -> tuple[Columns, int] | None:
    """Which columns of a Parquet file say what, and its number of rows.

    Parameters
    ----------
    path : Path
        The file.

    Returns
    -------
    (Columns, int) or None
        None where no column holds images: the file is a table of something else.

    Raises
    ------
    DamagedArchive
        If there is no whole footer, several columns may hold the images, or the column of ids holds decimal numbers.
    """
    import pyarrow.parquet as pq

    with damaged_otherwise(), pq.ParquetFile(path) as file:
        columns = _columns(file)
        if columns is not None:
            check_count(file.metadata.num_rows)
            _check_growth(file, columns.image)
        return None if columns is None else (columns, file.metadata.num_rows)


def notes(path: Path, stem: str) -> list[str]:
    """What a person should know of the columns of a Parquet file that are taken, or of why none is.

    Parameters
    ----------
    path : Path
        The file.
    stem : str
        Its name without suffix.

    Returns
    -------
    list of str

    Raises
    ------
    DamagedArchive
        As `columns_of`.
    """
    import pyarrow.parquet as pq

    found = columns_of(path)
    with damaged_otherwise(), pq.ParquetFile(path) as file:
        schema = file.schema_arrow
        unclassed = _without_class(file, found[0].label) if found is not None else []
    if found is None:
        return [f"no column holds images; it has {_described(schema)}. Expected {_EXPECTED}"]
    columns, _ = found
    said = []
    if columns.id is None and "path" not in fields_of(inner_type(schema.field(columns.image).type)):
        said.append(
            f"no column names its images, which are called {stem}_0 and so on; it has {_described(schema)}. Known are "
            f"{', '.join(IDS)}"
        )
    if columns.label is None and (left := [field for field in schema if field.name not in columns]):
        said.append(f"no column gives classes; not used: {_described(left)}. Known are {', '.join(LABELS)}")
    return said + unclassed


def _without_class(file: Any, column: str | None) -> list[str]:
    """What the column of classes has that is none, in words, with a value."""
    if column is None:
        return []
    _check_growth(file, column)
    names = _class_names(file.schema_arrow, column)
    none: list[Any] = []
    for rows in _batches(file, [column], _CELLS):
        values = rows.column(0).to_pylist()
        none += [one for one in values if not says_nothing(one) and one != -1 and _class(one, names) is None]
    if not none:
        return []
    said = f"column {column} gives {len(none):,} of {file.metadata.num_rows:,} images no class, such as {none[0]!r:.80}"
    return [f"{said}: a class is text or a whole number"]


_EXPECTED = (
    "bytes of image files, structs with `bytes` or nested lists of pixels in a column called "
    f"{', '.join(IMAGES)}, or in the only column of such bytes"
)


def _described(schema: Iterable[pa.Field]) -> str:
    return ", ".join(f"{field.name} ({str(field.type)[:80]})" for field in schema)


def _columns(file: Any) -> Columns | None:
    schema = file.schema_arrow
    able = [field.name for field in schema if may_hold_images(field.type)]
    image = known(able, IMAGES)
    if image is None:
        sniffed = [name for name in able if _begins_with_images(file, name)]
        if len(sniffed) > 1:
            raise DamagedArchive(
                f"{len(sniffed)} columns may hold the images; it has {_described(schema)}. Expected {_EXPECTED}: "
                "rename the one that is meant `image`"
            )
        image = sniffed[0] if sniffed else None
    if image is None:
        return None
    others = [field for field in schema if field.name != image]
    names = [field.name for field in others]
    plain = [field.name for field in others if is_name(field.type)]
    classes = [field.name for field in others if is_name(inner_type(field.type)) or kinds.is_floating(field.type)]
    numbers = [field.name for field in others if kinds.is_floating(field.type) or kinds.is_integer(field.type)]
    label = known(classes, LABELS) or _class_labels(schema, plain) or like_class(plain)
    path = known(plain, [f"{image.lower().removesuffix('.bytes')}.path"])  # of a struct that was flattened
    return Columns(image, _id_column(schema, names) or path, label, known(numbers, ("ra",)), known(numbers, ("dec",)))


def _id_column(schema: pa.Schema, names: list[str]) -> str | None:
    able = [name for name in names if is_name(schema.field(name).type)]
    if (found := known(able, IDS)) is not None or (wrong := known(names, IDS)) is None:
        return found
    raise DamagedArchive(
        f"column {wrong} holds {schema.field(wrong).type} values; ids are text or whole numbers, since decimal numbers "
        "keep 15 digits and could name another image. Save it as one of these, or without that column"
    )


def _begins_with_images(file: Any, column: str) -> bool:
    for rows in _batches(file, [column], _LOOKED_AT):
        values = rows.column(0).to_pylist()
        found = [data for value in values for data in files_in(value) if data]
        return bool(found) and all(format_of(data) is not None for data in found)
    return False


def _class_labels(schema: pa.Schema, names: list[str]) -> str | None:
    """The only column that Hugging Face's metadata call a class."""
    found = [name for name in names if _class_names(schema, name) is not None]
    return found[0] if len(found) == 1 else None


def _class_names(schema: pa.Schema, column: str | None) -> list[str] | None:
    try:
        about = json.loads((schema.metadata or {})[b"huggingface"])["info"]["features"][column]
        return [str(name) for name in about["names"]] if about["_type"] == "ClassLabel" else None
    except (KeyError, TypeError, ValueError, RecursionError):
        return None


def _leaves(file: Any, column: str) -> Iterator[Any]:
    """Metadata of each part of a column, by row groups."""
    for group in range(file.metadata.num_row_groups):
        about = file.metadata.row_group(group)
        for leaf in range(about.num_columns):
            if about.column(leaf).path_in_schema.split(".")[0] == column.split(".")[0]:
                yield about.column(leaf)


def _check_growth(file: Any, column: str) -> None:
    for leaf in _leaves(file, column):
        size, packed = leaf.total_uncompressed_size, leaf.total_compressed_size
        if size > max(MAXIMUM_ARRAY, COLUMN_PER_BYTE * packed):
            raise DamagedArchive(f"{packed} bytes of column {column} unpack to {size}; write it without compression")


def _batches(file: Any, columns: list[str], most: int = _ROWS) -> Iterator[pa.RecordBatch]:
    """Rows, as few at a time as memory asks for: each may hold all that its row group's dictionary holds."""
    largest = max((leaf.total_uncompressed_size for name in columns for leaf in _leaves(file, name)), default=1)
    yield from file.iter_batches(max(1, min(most, 2**27 // max(largest, 1))), columns=columns)


def rows_of(path: Path, stem: str) -> Iterator[Row]:
    """The images of a Parquet file, row by row.

    Parameters
    ----------
    path : Path
        For which `columns_of` gives columns.
    stem : str
        Its name without suffix: images whose rows have no name are called `<stem>_<row>`, rows counted from 0. Several
        images of one row have `_1`, `_2` after its name.

    Yields
    ------
    Row

    Raises
    ------
    DamagedArchive
        Where the file is not whole or an id is not exact.
    """
    import pyarrow.parquet as pq

    from galaxy_assets.deliveries.readers.tables import ids_of  # the readers import this module

    with pq.ParquetFile(path, buffer_size=_CHUNK) as file:
        columns = _columns(file)
        assert columns is not None, path
        classes = _class_names(file.schema_arrow, columns.label)
        row = 0
        wanted = list(dict.fromkeys(name for name in columns if name is not None))
        for rows in _batches(file, wanted):
            names: Sequence[str | None] = [None] * len(rows)
            if columns.id is not None:
                try:
                    names = ids_of(pa.chunked_array([rows[columns.id]]))
                except ValueError as error:
                    raise DamagedArchive(f"column {columns.id} {error}") from error
            labels, ra, dec = (
                rows[name].to_pylist() if name is not None else [None] * len(rows)
                for name in (columns.label, columns.ra, columns.dec)
            )
            for i, name in enumerate(names):
                said = Said(None, _class(labels[i], classes), *position_of(ra[i], dec[i]))
                yield from _images(rows[columns.image][i], name, f"{stem}_{row}", said)
                row += 1


def _class(value: Any, names: list[str] | None) -> str | None:
    if names is not None and isinstance(value, int):
        return class_of(names[value]) if 0 <= value < len(names) else None  # -1 is Hugging Face's for none
    return class_of(value)


def format_in(path: Path, columns: Columns) -> str | None:
    """The suffix of the first image of a Parquet file by its bytes; None of pixels, and of what is not known."""
    import pyarrow.parquet as pq

    with damaged_otherwise(), pq.ParquetFile(path, buffer_size=_CHUNK) as file:
        for rows in _batches(file, [columns.image], _LOOKED_AT):
            found = [data for value in rows.column(0).to_pylist() for data in files_in(value) if data]
            return format_of(found[0]) if found else None
    return None


def _images(cell: pa.Scalar, name: str | None, default: str, said: Said) -> Iterator[Row]:
    from galaxy_assets.deliveries.decoding.arrays import encoded

    inner = inner_type(cell.type)
    try:
        if not cell.is_valid:
            raise UnreadableImage("its row holds no image")
        if is_bytes(inner) or "bytes" in fields_of(inner):
            files = cell.as_py()
            files = files if isinstance(files, list) else [files]
            for n, one in enumerate(files, start=1):
                path = one.get("path") if isinstance(one, dict) else None
                data = (one.get("bytes") if isinstance(one, dict) else one) or b""
                number = f"_{n}" if len(files) > 1 else ""
                missing = UnreadableImage(
                    f"its row holds no image, but the path {path}: the file was not packed with it"
                    if path
                    else "its row holds no image"
                )
                own = name + number if name else path or default + number
                yield Row(own, data, said, None if data else missing)
        else:
            yield Row(name or default, encoded(*pixels_in(cell, inner)), said)
    except UnreadableImage as error:
        yield Row(name or default, b"", said, error)
