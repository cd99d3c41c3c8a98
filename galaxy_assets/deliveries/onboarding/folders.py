"""What the names of folders say of the images in them.

Belongs here: which folders are classes, as they lie for torchvision and Keras. Does not belong here: which names are
none (`deliveries.members`), tables (`labels`).
"""

import re
from collections import Counter
from collections.abc import Collection

from galaxy_assets.deliveries.ids import image_name
from galaxy_assets.deliveries.members import is_no_class, is_no_class_folder, is_split
from galaxy_assets.deliveries.onboarding.bands import band_in
from galaxy_assets.deliveries.onboarding.classes import in_brief
from galaxy_assets.deliveries.onboarding.inspect import Inspection, open_folder
from galaxy_assets.deliveries.onboarding.labels import Labels
from galaxy_assets.deliveries.readers.image_folder import ImageFolder, Listed
from galaxy_assets.settings.files import SurveyError

_MOST_FOLDERS = 50  # that are classes


def folder_labels(inspection: Inspection, asked: bool = False) -> Labels | None:
    """The folders of the images as classes, as they lie for torchvision and Keras.

    Where they may be classes and are not taken as such, the inspection's notes say so.

    Parameters
    ----------
    inspection : Inspection
        Of the folder.
    asked : bool
        A person says that they are classes.

    Returns
    -------
    Labels or None
        None where the names of the folders do not look like classes, and nobody asked.

    Raises
    ------
    SurveyError
        Where a person asked and no image lies in a folder of its own.
    """
    source = inspection.source.model_copy(update={"folder_labels": True})
    reader = open_folder(source)
    folders = Counter(reader.folder_of(one.image.called) for one in inspection.listed)
    unlabelled = [name for name in folders if name is not None and is_no_class_folder(name)]
    named = [name for name in folders if name is not None and name not in unlabelled]
    passed_over = {*inspection.duplicates}
    classes = Counter(
        reader.folder_of(one.image.called) for one in inspection.listed if one.image.file not in passed_over
    )
    counts = {name: n for name, n in classes.most_common() if name in named}
    if asked and not named:
        raise SurveyError(f"--folder-labels: no image of {source.path} lies in a folder that is a class")
    if not asked:
        if all((said := band_in(name)) is not None and not said[0] for name in named):
            return None
        if (why := _why_not(inspection.listed, reader, folders, named)) is not None:
            if len(named) > 1:
                inspection.notes.append(
                    f"the names of the folders ({in_brief(named)}) are not taken as classes, since {why}: if they are, "
                    "give --folder-labels"
                )
            return None
    left = sum(folders[name] for name in unlabelled)
    notes = (
        [f"{left:,} images lie in folders whose names are no class ({in_brief(unlabelled)}), and have none"]
        if left
        else []
    )
    return Labels(source, counts, len(inspection.listed), notes=notes)


def _why_not(listed: list[Listed], reader: ImageFolder, folders: Counter[str | None], named: list[str]) -> str | None:
    """Why folders are no classes that nobody says are some; None where they may be."""
    beside = [name for name in folders if name not in named and not (name and (is_no_class(name) or is_split(name)))]
    if beside:
        return f"images lie in {beside[0]} beside them" if beside[0] else "images lie beside them"
    if 2 * sum(bool(re.search(r"\d", name)) for name in named) > len(named):
        return "most have a number"
    if 2 * sum(n < 2 for n in folders.values()) > len(folders):
        return "most hold one image"
    if _same_files(listed, reader):
        return "their files have the same names"
    if not 2 <= len(named) <= _MOST_FOLDERS:
        return f"there are {len(named)}"
    return None


def _same_files(listed: list[Listed], reader: ImageFolder) -> bool:
    """Whether every folder has the same files, by names that are more than a count: each shows the same objects."""
    files: dict[str | None, set[str]] = {}
    for one in listed:
        files.setdefault(reader.folder_of(one.image.called), set()).add(image_name(one.image.called))
    first, *others = files.values()
    return bool(others) and all(first == other for other in others) and not _are_counted(first)


def _are_counted(names: Collection[str]) -> bool:
    """Whether names differ in a number alone, which counts."""
    parts = [re.fullmatch(r"(.*?)(\d+)\)?", name) for name in names]
    numbers = sorted(int(one[2]) for one in parts if one is not None)
    alike = len(numbers) == len(names) and len({one[1] for one in parts if one is not None}) == 1
    return alike and numbers == [*range(numbers[0], numbers[0] + len(numbers))]
