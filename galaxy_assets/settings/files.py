"""Survey files: reading one, and which surveys a data folder has.

Shipped files are templates. A survey is enabled when a file in <data>/surveys/ describes it, or when the lake has
tables of a shipped one already; with none enabled, the two demo surveys are. A file that cannot be used is told with
its reason and hides no other survey.

Belongs here: what is read from, and written to, <data>/surveys/*.yaml. Does not belong here: what the settings mean
(the models beside this module), and files of another kind that people put there.
"""

import os
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from galaxy_assets.settings import yaml_files
from galaxy_assets.settings.limits import MAXIMUM_YAML
from galaxy_assets.settings.printing import PrintableError, printable
from galaxy_assets.settings.regular import NotRegular, read_regular
from galaxy_assets.settings.starts import circle, missing_start, unusable_network
from galaxy_assets.settings.survey import Survey
from galaxy_assets.settings.tuning import without_given
from galaxy_assets.settings.wrong_values import in_words

SHIPPED = Path(__file__).parent / "shipped"
DEMOS = ("demo_optical", "demo_radio")
VERSION = 1
"""Of the keys of a survey file, as its key `version` says it; a file without that key is of version 1."""

_SUFFIXES = (".yaml", ".yml")
_SHOWN = 8  # wrong keys of a file that are named; the rest is counted


class SurveyError(PrintableError):
    """A survey file or a delivery that cannot be used; the message names the file, the reason and the remedy."""


def read_survey(path: Path) -> Survey:
    """Read one survey file; `extends: NAME` starts from the shipped survey of that name and overrides it.

    Parameters
    ----------
    path : Path
        The file. Whether the surveys among its start weights exist is not checked here, but by `survey_files`.

    Returns
    -------
    Survey
        Its settings.

    Raises
    ------
    SurveyError
        Where it cannot be used; names the file, every key that is wrong, and the remedy. Safe to print.

    Examples
    --------
    >>> survey = read_survey(SHIPPED / "demo_radio.yaml")
    >>> survey.name, survey.source.reader, survey.cutout.grey
    ('demo_radio', 'simulated', True)
    """
    return survey_from(_mapping_in(path), path)


def survey_from(settings: dict[str, Any], path: Path) -> Survey:
    """Make a survey of settings that were read from `path`, as `read_survey` does.

    Parameters
    ----------
    settings : dict
        The top level of a survey file.
    path : Path
        The file they come from, for messages.

    Returns
    -------
    Survey
        Its settings.

    Raises
    ------
    SurveyError
        As `read_survey`.
    """
    settings = dict(settings)
    _refuse_newer(path, settings.pop("version", VERSION))
    return _validated(path, _extended(path, settings))


def _unusable(path: Path, why: str) -> SurveyError:
    return SurveyError(printable(f"{path}: {why}"))


def _mapping_in(path: Path) -> dict[str, Any]:
    """The top level of a YAML file."""
    text = _text_in(path)
    try:
        settings = yaml_files.load(text)
    except yaml.YAMLError as error:
        raise _unusable(path, f"not valid YAML: {_said(error)}; correct the file") from error
    except Exception as error:  # what YAML makes of a date such as 2024-13-45 raises whatever the type's own code does
        raise _unusable(
            path, f"holds a value that cannot be read ({error}); correct it, or put it in quotes"
        ) from error
    if settings is None:
        raise _unusable(path, f"empty; write a survey there ({SHIPPED} has examples), or delete the file")
    if not isinstance(settings, dict):
        raise _unusable(path, "not a survey; expected `name:`, `source:` and so on at the top level")
    return settings


def _text_in(path: Path) -> str:
    try:
        return read_regular(path, MAXIMUM_YAML).decode("utf-8")
    except UnicodeDecodeError as error:
        where = f"byte {error.start + 1} is {error.object[error.start]:#04x}"
        raise _unusable(path, f"not UTF-8 text ({where}); save it in UTF-8") from error
    except FileNotFoundError as error:
        why = f"a link to {path.readlink()}, which is not there" if path.is_symlink() else "not there"
        raise _unusable(path, f"{why}; correct or remove it") from error
    except NotRegular as error:
        raise _unusable(path, f"{error.strerror}, where a survey file is expected; rename or remove it") from error
    except OSError as error:
        raise _unusable(path, f"cannot be read: {error.strerror}; correct its permissions or remove it") from error


def _said(error: yaml.YAMLError) -> str:
    """What is wrong and where, without the lines that PyYAML quotes."""
    mark = getattr(error, "problem_mark", None)
    where = f" in line {mark.line + 1}, column {mark.column + 1}" if mark else ""
    return f"{getattr(error, 'problem', None) or error}{where}"


def _refuse_newer(path: Path, version: Any) -> None:
    if type(version) is not int or version < 1:
        raise _unusable(path, f"version: expected a whole number from 1 to {VERSION}; correct or remove that line")
    if version > VERSION:
        raise _unusable(
            path, f"version: written by a newer galaxy-assets (this one reads {VERSION}); upgrade galaxy-assets"
        )


def _extended(path: Path, settings: dict[str, Any]) -> dict[str, Any]:
    """The settings over those of the shipped survey that they extend, if any."""
    parent = settings.pop("extends", None)
    if parent is None:
        return _spelled_out(settings)
    shipped = sorted(one.stem for one in SHIPPED.glob("*.yaml"))
    if not isinstance(parent, str):
        raise _unusable(path, f"extends: expected the name of a shipped survey; those are {', '.join(shipped)}")
    if parent not in shipped:
        raise _unusable(path, f"extends {parent!r}, which is not shipped; shipped surveys are {', '.join(shipped)}")
    return _merge(_spelled_out(_mapping_in(SHIPPED / f"{parent}.yaml")), _spelled_out(settings))


def _spelled_out(settings: dict[str, Any]) -> dict[str, Any]:
    """`recipe: paper` is short for `recipe: {preset: paper}`, and a value wins over its name in the list `auto`."""
    if isinstance(settings.get("recipe"), str):
        settings = settings | {"recipe": {"preset": settings["recipe"]}}
    return without_given(settings)


def _merge(base: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in over.items():
        both = isinstance(value, dict) and isinstance(merged.get(key), dict)
        merged[key] = _merge(merged[key], value) if both else value
    return merged


def _validated(path: Path, settings: dict[str, Any]) -> Survey:
    try:
        return Survey.model_validate(settings)
    except ValidationError as error:
        wrong = in_words(error, Survey, settings)
        more = [f"and {len(wrong) - _SHOWN} more"] if len(wrong) > _SHOWN else []
        said = "; ".join(wrong[:_SHOWN] + more)
        raise _unusable(path, f"{said}. Correct the file or compare it with {SHIPPED}") from error


@dataclass(frozen=True)
class SurveyFiles:
    """The surveys of one data folder, and the survey files that cannot be used.

    Attributes
    ----------
    enabled : dict of str to Survey
        By name, those that the UI and `status` show.
    templates : dict of str to Survey
        By name, shipped ones that are not enabled.
    broken : dict of Path to str
        File -> what is wrong with it and the remedy; the text names the file and is safe to print. A shipped survey
        whose start weights come from a broken file is here too.
    files : dict of str to Path
        Name -> the file that describes it, of every survey above and of every broken file (by the name that it gives,
        and by its stem).
    root : Path
        The data folder.
    """

    enabled: dict[str, Survey]
    templates: dict[str, Survey]
    broken: dict[Path, str]
    files: dict[str, Path] = field(repr=False)
    root: Path

    @property
    def known(self) -> dict[str, Survey]:
        """Enabled surveys and templates by name; any of them may be named as start weights."""
        return self.enabled | self.templates

    def is_described(self, name: str) -> bool:
        """Whether a file in <data>/surveys/, good or broken, describes the survey of this name."""
        return name in self.files and self.files[name].parent != SHIPPED

    def named(self, name: str) -> Survey:
        """The known survey of this name.

        Parameters
        ----------
        name : str
            An enabled survey's or a template's.

        Returns
        -------
        Survey
            Its settings.

        Raises
        ------
        SurveyError
            Where its file is broken, with the reason and the remedy; where there is none, with the names there are.
        """
        if name in self.known:
            return self.known[name]
        if (path := self.files.get(name)) in self.broken:
            raise SurveyError(self.broken[path])
        raise SurveyError(
            f"no survey {printable(name)} in {self.root} (GALAXY_ASSETS_DATA, else ./data); known are "
            f"{', '.join(sorted(self.known))}; `galaxy-assets survey new NAME --images FOLDER` makes one"
        )


def survey_files(root: Path) -> SurveyFiles:
    """Read the shipped surveys and those in <root>/surveys/, of which each replaces a shipped one of its name.

    Parameters
    ----------
    root : Path
        The data folder; it need not exist.

    Returns
    -------
    SurveyFiles
        What is enabled, what may be, and what is broken. A file that cannot be used raises nothing; it is in `broken`.

    Examples
    --------
    >>> list(survey_files(Path("a_new_folder")).enabled)
    ['demo_optical', 'demo_radio']
    """
    broken: dict[Path, str] = {}
    found, files = _read_all(_listed(root / "surveys", broken), broken)
    mine = set(found)
    shipped, shipped_files = _read_all([path for path in SHIPPED.glob("*.yaml") if path.stem not in files], broken)
    found |= shipped
    files |= shipped_files
    _refuse_starts(found, broken, files, root)
    enabled = {name for name in found if name in mine or _has_tables(root / "lake" / name)}
    enabled = enabled or {name for name in DEMOS if name in found}
    return SurveyFiles(
        {name: survey for name, survey in sorted(found.items()) if name in enabled},
        {name: survey for name, survey in sorted(found.items()) if name not in enabled},
        broken,
        files,
        root,
    )


def edited_since(survey: Survey, known: Mapping[str, Survey], root: Path) -> str | None:
    """Whether a file of the user's describes a survey otherwise than when it was read, in words.

    A process that stays keeps the settings that it began with, and those that it starts read the file as it is.

    Parameters
    ----------
    survey : Survey
        As it was read.
    known : mapping of str to Survey
        All surveys by name, as they were read; those among its start weights count.
    root : Path
        The data folder.

    Returns
    -------
    str or None
        The file, and what to do; None where nothing changed, or no file of the user's describes them.
    """
    files = survey_files(root)
    for name, before in [(survey.name, survey), *((start, known.get(start)) for start in survey.start_weights)]:
        if files.is_described(name) and files.known.get(name) != before:
            path = files.files[name]
            broken = f" and cannot be used ({files.broken[path]})" if path in files.broken else ""
            return (
                f"{path} was edited{broken} since this code location was loaded; reload it (page Deployment), or start "
                "`galaxy-assets dev` again"
            )
    return None


def enable(name: str, root: Path) -> Path | None:
    """Enable a survey: write <root>/surveys/NAME.yaml, which extends the shipped one, where no file describes it yet.

    Parameters
    ----------
    name : str
        Of the survey.
    root : Path
        The data folder.

    Returns
    -------
    Path or None
        The file written, whole or not at all; None where a file of the user's describes the survey already.

    Raises
    ------
    SurveyError
        As `SurveyFiles.named`, and where the file cannot be written.
    """
    known = survey_files(root)
    known.named(name)
    if known.is_described(name):
        return None
    path = root / "surveys" / f"{name}.yaml"
    try:
        _write_new(path, f"# The shipped survey; keys added here override it.\nextends: {name}\n")
    except OSError as error:
        if survey_files(root).is_described(name):  # another process enabled it in the meantime
            return None
        if os.path.lexists(path):
            raise _unusable(path, f"exists and describes another survey than {name}; rename that file") from error
        raise _unusable(path, f"cannot be written: {error.strerror}; correct its folder") from error
    return path


def _write_new(path: Path, text: str) -> None:
    """Write a file that is whole or absent. Raises FileExistsError where there is one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{uuid.uuid4().hex}.partial")
    try:
        with partial.open("x", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(partial, path)  # unlike a rename, it never replaces a file
        except OSError:
            if os.path.lexists(path):
                raise
            partial.replace(path)  # a file system without links
    finally:
        partial.unlink(missing_ok=True)


def _listed(folder: Path, broken: dict[Path, str]) -> list[Path]:
    """The survey files of a folder; hidden ones are none. Puts a folder that cannot be listed among the broken."""
    try:
        return [path for path in folder.iterdir() if path.suffix in _SUFFIXES and not path.name.startswith(".")]
    except FileNotFoundError:
        return []
    except OSError as error:
        why = f"cannot be listed: {error.strerror}; correct it, your survey files belong there"
        broken[folder] = str(_unusable(folder, why))
        return []


def _read_all(paths: list[Path], broken: dict[Path, str]) -> tuple[dict[str, Survey], dict[str, Path]]:
    """Surveys by name, and the file of each name, those that broken files claim included.

    Of two files that describe one survey, the one that bears its name counts, else the first; the other is broken.
    """
    read: dict[Path, Survey] = {}
    claimed: list[tuple[Any, Path]] = [(path.stem, path) for path in sorted(paths)]
    for path in sorted(paths):
        try:
            settings = _mapping_in(path)
            claimed.append((settings.get("name", settings.get("extends")), path))
            read[path] = survey_from(settings, path)
        except SurveyError as error:
            broken[path] = str(error)
    found: dict[str, Survey] = {}
    files: dict[str, Path] = {}
    for path in sorted(read, key=lambda path: read[path].name != path.stem):
        name = read[path].name
        if name in found:
            why = f"survey {name!r} is already defined in {files[name]}; rename or delete one of them"
            broken[path] = str(_unusable(path, why))
        else:
            found[name], files[name] = read[path], path
    for name, path in claimed:
        if path in broken and isinstance(name, str):
            files.setdefault(name, path)
    return found, files


def _refuse_starts(found: dict[str, Survey], broken: dict[Path, str], files: dict[str, Path], root: Path) -> None:
    """Move to the broken each survey whose networks cannot be had, from files or from other surveys."""
    wrong = {name: why for name in found if (why := unusable_network(found[name], root) or circle(name, found))}
    wrong |= {name: why for name in found if name not in wrong and (why := missing_start(found[name], found, files))}
    while wrong:
        for name, why in wrong.items():
            broken[files[name]] = str(_unusable(files[name], why))
            del found[name]
        wrong = {name: why for name in found if (why := missing_start(found[name], found, files))}


def _has_tables(home: Path) -> bool:
    """Whether the lake holds a table of the survey."""
    return any(next(home.glob(f"{folders}[!.]*.parquet"), None) for folders in ("", "[!.]*/", "[!.]*/[!.]*/"))
