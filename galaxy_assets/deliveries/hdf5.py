"""HDF5 files: arrays in groups, such as Galaxy10's and MultimodalUniverse's.

Belongs here: which arrays a file has, and their rows, without reading any other file. Does not belong here: which of
them are images (`image_arrays`).
"""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from galaxy_assets.deliveries.archives import damaged_otherwise
from galaxy_assets.deliveries.image_arrays import Kept
from galaxy_assets.deliveries.images import UnreadableImage, unreadable_otherwise
from galaxy_assets.deliveries.members import IDS, LABELS, DamagedArchive, check_count
from galaxy_assets.settings.limits import DATASET_PER_BYTE, MAXIMUM_ARRAY, MAXIMUM_BYTES
from galaxy_assets.settings.regular import regular

if TYPE_CHECKING:
    import h5py

_TEXTS = 64  # texts of any length that are read at once: many may be the same long one
_LONGEST = 1000  # characters of a name that are kept
_SAYING = {*IDS, *LABELS, "ra", "dec"}  # attributes that are read
_SHOWN = 8  # arrays that a note names


class Hdf5Arrays:
    """The arrays of an HDF5 file. Safe to read from several threads.

    Parameters
    ----------
    path : Path
        The file.

    Attributes
    ----------
    kept : dict of str to Kept
        Shapes and types, by path, attributes that say an id, a class or a position among them. Virtual datasets, links
        into other files, and arrays whose numbers lie in other files are left out: they would read what is not in the
        delivery.
    notes : list of str
        What is left out, and why.
    packed : bool
        Whether rows are compressed together, so that reading one unpacks many.

    Raises
    ------
    DamagedArchive
        Where the file is not whole, or h5py is not installed: the delivery is held, and taken once it is.
    """

    def __init__(self, path: Path):
        try:
            import h5py
        except ImportError as error:
            raise DamagedArchive(
                "HDF5 is read by h5py, which is not installed: pip install 'galaxy-assets[formats]'"
            ) from error

        self.kept: dict[str, Kept] = {}
        self.notes: list[str] = []
        self._packed: set[str] = set()
        self._attributes: dict[str, tuple[str, str]] = {}
        self._of_objects: list[str] = []
        with damaged_otherwise():
            self._file = h5py.File(regular(path), "r", locking=False)  # a lock needs permission to write
            self._look_at_attributes("", self._file)
            self._file.visititems(self._look)
            self._file.visititems_links(self._look_at_link)
        if self._of_objects:
            more = f" and {len(self._of_objects) - _SHOWN:,} more" if len(self._of_objects) > _SHOWN else ""
            self.notes.append(
                f"values of any length or references are not read: {', '.join(self._of_objects[:_SHOWN])}{more}; save "
                "images as numbers, or their files in a zip"
            )

    def _look(self, name: str, found: Any) -> None:
        import h5py

        self._look_at_attributes(name, found)
        if not isinstance(found, h5py.Dataset) or found.shape is None:
            return
        if found.is_virtual or found.external:
            self.notes.append(f"the array {name} lies in other files and is not read: copy it into this one")
            return
        text = h5py.check_string_dtype(found.dtype)
        kept = Kept(found.shape, np.dtype("S1") if text and text.length is None else found.dtype)
        if kept.dtype.hasobject:
            self._of_objects.append(f"{name} {found.shape}")
            return
        if found.chunks is not None and Kept(found.chunks, kept.dtype).nbytes > MAXIMUM_ARRAY:
            self.notes.append(f"the array {name} has chunks {found.chunks}, too large to unpack: write smaller ones")
        elif kept.nbytes > max(MAXIMUM_BYTES, DATASET_PER_BYTE * found.id.get_storage_size()):
            self.notes.append(f"the array {name} unpacks to {kept.nbytes} bytes: write it without compression")
        else:
            self.kept[name] = kept
            if (
                found.ndim > 2
                and found.chunks is not None
                and found.chunks[0] > 1
                and found.id.get_create_plist().get_nfilters()
            ):
                self._packed.add(name)
            check_count(len(self.kept))

    def _look_at_link(self, name: str, link: Any) -> None:
        import h5py

        if isinstance(link, h5py.ExternalLink):
            self.notes.append(f"{name} is a link into another file and is not followed: copy the array into this one")

    def _look_at_attributes(self, path: str, found: Any) -> None:
        """Keep the attributes of a group or an array as single values in it; those in capitals are of libraries."""
        import h5py

        for name in found.attrs:
            if name.lower() in _SAYING and not name.isupper():
                about = found.attrs.get_id(name)
                text = h5py.check_string_dtype(about.dtype)
                kind = np.dtype("S1") if text and text.length is None else about.dtype
                if about.shape in ((), (1,)) and not kind.hasobject:
                    inner = f"{path}/{name}" if path else name
                    self._attributes[inner] = path or "/", name
                    self.kept.setdefault(inner, Kept((), kind))

    @property
    def packed(self) -> bool:
        """See the class."""
        return bool(self._packed)

    def row(self, path: str, i: int) -> np.ndarray:
        """One row of an array; raises UnreadableImage."""
        with unreadable_otherwise():
            return self._array(path)[i]

    def rows(self, path: str) -> Iterator[np.ndarray]:
        """All rows of an array, one after the other; raises UnreadableImage."""
        with unreadable_otherwise():
            array, kept = self._array(path), self.kept[path]
            most = max(1, MAXIMUM_ARRAY // (kept.nbytes // kept.shape[0]))
            step = min(array.chunks[0] if array.chunks is not None else 1, most)
            for i in range(0, kept.shape[0], step):
                yield from array[i : i + step]

    def whole(self, path: str) -> np.ndarray:
        """A small array; raises UnreadableImage. Texts are cut to 1000 characters."""
        import h5py

        if self.kept[path].nbytes > MAXIMUM_ARRAY:
            raise UnreadableImage(f"an array of {self.kept[path].nbytes} bytes", "too_large")
        with unreadable_otherwise():
            if path in self._attributes and path not in self._file:
                home, name = self._attributes[path]
                return np.array(_text(self._file[home].attrs[name]), dtype=object)
            array = self._array(path)
            text = h5py.check_string_dtype(array.dtype)
            if text is None or text.length is not None:
                return array[()]
            if array.shape == ():
                return np.array(_text(array[()]), dtype=object)
            texts = [_text(one) for i in range(0, array.shape[0], _TEXTS) for one in np.ravel(array[i : i + _TEXTS])]
            return np.array(texts, dtype=object).reshape(array.shape)

    def _array(self, path: str) -> "h5py.Dataset":
        found: Any = self._file[path]
        return found


def _text(value: Any) -> Any:
    """A value that is text as such, cut; one in a list alone; any other as it is."""
    value = value.ravel()[0] if isinstance(value, np.ndarray) else value
    value = value.decode("utf-8", "replace") if isinstance(value, bytes) else value
    return value[:_LONGEST] if isinstance(value, str) else value
