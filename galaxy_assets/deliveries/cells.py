"""Cells of Parquet columns: which types can hold an image or a name, and the bytes or pixels in one cell.

Belongs here: Arrow's types and values. Does not belong here: which column is meant (`shards`).
"""

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.types as kinds

from galaxy_assets.deliveries.images import UnreadableImage
from galaxy_assets.settings.limits import MAXIMUM_ARRAY


def is_name(kind: pa.DataType) -> bool:
    """Whether a type is text or a whole number."""
    if kinds.is_dictionary(kind):
        kind = kind.value_type
    whole = kinds.is_integer(kind) or (kinds.is_decimal(kind) and kind.scale == 0)
    return whole or kinds.is_string(kind) or kinds.is_large_string(kind) or kinds.is_string_view(kind) or is_bytes(kind)


def is_bytes(kind: pa.DataType) -> bool:
    """Whether values of a type are bytes."""
    return (
        kinds.is_binary(kind)
        or kinds.is_large_binary(kind)
        or kinds.is_binary_view(kind)
        or kinds.is_fixed_size_binary(kind)
    )


def _is_list(kind: pa.DataType) -> bool:
    return kinds.is_list(kind) or kinds.is_large_list(kind) or kinds.is_fixed_size_list(kind)


def _plain(kind: pa.DataType) -> pa.DataType:
    return kind.storage_type if isinstance(kind, pa.BaseExtensionType) else kind


def inner_type(kind: pa.DataType) -> pa.DataType:
    """The type itself, or that of the values of a list."""
    kind = _plain(kind)
    return _plain(kind.value_type) if _is_list(kind) else kind


def fields_of(kind: pa.DataType) -> dict[str, pa.DataType]:
    """The fields of a struct with their types; none of any other type."""
    return {field.name: _plain(field.type) for field in kind} if kinds.is_struct(kind) else {}


def _depth(kind: pa.DataType) -> int:
    """How many lists lie around numbers; 0 where there are none, or something else."""
    kind, depth = _plain(kind), 0
    while _is_list(kind):
        kind, depth = _plain(kind.value_type), depth + 1
    number = kinds.is_integer(kind) or kinds.is_floating(kind) or kinds.is_boolean(kind)
    return depth if number else 0


def may_hold_images(kind: pa.DataType) -> bool:
    """Whether values of a type can be images."""
    if isinstance(kind, pa.FixedShapeTensorType):
        return len(kind.shape) in (2, 3)
    inner = inner_type(kind)
    files = fields_of(inner)
    if is_bytes(inner) or is_bytes(files.get("bytes", pa.null())) or {"bytes", "path"} <= files.keys():
        return True
    return _depth(kind) in (2, 3) or _depth(fields_of(inner).get("flux", pa.null())) >= 2


def files_in(value: Any) -> list[bytes | None]:
    """The bytes in a value that is bytes, a struct with `bytes`, or a list of either."""
    values = value if isinstance(value, list) else [value]
    found = [one.get("bytes") if isinstance(one, dict) else one for one in values]
    return [one for one in found if isinstance(one, bytes | None)]


def pixels_in(cell: Any, inner: pa.DataType) -> tuple[np.ndarray, list[str] | None]:
    """The numbers of a cell, and the names of its bands where it has such: lists of structs, or a struct of lists."""
    if "flux" not in fields_of(inner):
        if isinstance(cell, pa.FixedShapeTensorScalar):
            return cell.to_numpy(), None
        return _numbers(cell), None
    if _is_list(_plain(cell.type)):
        parts = [one for one in cell.values] if cell.values is not None else []
        planes = [_numbers(one["flux"]) for one in parts]
        bands = [str(one.as_py().get("band")) for one in parts] if "band" in fields_of(inner) else None
        if len({plane.shape for plane in planes}) != 1:
            raise UnreadableImage(f"its bands have the sizes {', '.join(str(plane.shape) for plane in planes)}")
        return np.stack(planes), bands
    named = cell["band"].as_py() if "band" in fields_of(inner) else None
    return _numbers(cell["flux"]), [str(one) for one in named] if isinstance(named, list) else None


def _numbers(cell: Any) -> np.ndarray:
    """A list of lists as an array; UnreadableImage where its rows have unequal lengths."""
    import pyarrow.compute as pc

    cell = cell.value if isinstance(cell, pa.ExtensionScalar) else cell
    if not cell.is_valid:
        raise UnreadableImage("its row holds no image")
    values, shape = cell.values, [len(cell.values)]
    while _is_list(_plain(values.type)):
        if isinstance(values, pa.ExtensionArray):
            values = values.storage
        lengths = set(pc.list_value_length(values).to_pylist())
        if len(lengths) != 1 or None in lengths:
            raise UnreadableImage("the rows of its pixels have unequal lengths")
        shape.append(lengths.pop())
        values = values.flatten()
    if values.nbytes > MAXIMUM_ARRAY:
        raise UnreadableImage(f"{values.nbytes} bytes of pixels", "too_large")
    return values.to_numpy(zero_copy_only=False).reshape(shape)
