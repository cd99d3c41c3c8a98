"""Labels that people gave elsewhere, in the files as they are, recognised by their columns.

    galaxy_id, score and/or label, note, who, time     one's own CSV; the last three may be absent
    any columns, two of them named by `ScoreColumns`   a table of graded scores, of any kind and range
    <object id>, ..., human_label, ...                 ml_scores.csv of Astronomaly (Lochner & Bassett 2021)
    classification_id, ..., annotations, subject_data  a classification export of a Zooniverse project

Belongs here: reading these files. Does not belong here: what becomes of the labels (`storage.label_events`).
"""

import hashlib
import json
import math
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa
from pydantic import Field, field_validator

from galaxy_assets.deliveries.ids import image_name
from galaxy_assets.deliveries.images import in_words
from galaxy_assets.deliveries.label_scales import (
    HIGHEST,
    NOTHING,
    BadRow,
    Outside,
    codes_of,
    number_of,
    refuse_another_scale,
    score_of,
)
from galaxy_assets.deliveries.readers.tables import ids_of, lost_of, notes_of, read_table
from galaxy_assets.deliveries.readers.text_tables import read_text_table
from galaxy_assets.settings import spreadsheets, yaml_files
from galaxy_assets.settings.base import Settings
from galaxy_assets.settings.limits import MAXIMUM_AHEAD, MAXIMUM_YAML
from galaxy_assets.settings.regular import read_regular

Source = Literal["csv", "astronomaly", "zooniverse"]

_ID_KEYS = ("galaxy_id", "id", "iauname", "objid", "filename")
_HIDDEN = ("//", "#", "!")  # how Zooniverse marks subject metadata that volunteers do not see
_PICTURE = re.compile(r"!\[[^\]]*\]\([^)]*\)")  # Markdown before the words of an answer
SUBJECT_SURVEY = "galaxy_assets_survey"
"""Key of the subject metadata by which `lake.export_subjects` says whose galaxy it is."""
OURS = frozenset(["score_std", "scored_by", "rank", "n_people"])
"""Columns of our own tables of scores that a model predicted, or that are of several people."""
_OWN_LAYOUT = ("galaxy_id", "score")
_SHOWN = 80  # characters of the columns in a message
_ANONYMOUS = "not-logged-in-"


@dataclass(frozen=True)
class GivenLabel:
    """What one row says: a score, or a class; `who` and `time` are None where the row does not say them."""

    line: int
    galaxy_id: str
    score: float | None = None
    label: str | None = None
    note: str | None = None
    who: str | None = None
    time: datetime | None = None
    key: str = ""
    """What else tells this label from an equal one: the classification's id."""


@dataclass
class LabelFile:
    """The labels of a file.

    Attributes
    ----------
    source : str
        Which kind of file it is.
    labels : list of GivenLabel
        In the order of the rows.
    n_unlabelled : int
        Rows that give no label.
    problems : list of str
        What is wrong with the other rows, by line.
    notes : list of str
        How the file was read where that is not plain.
    """

    source: Source
    labels: list[GivenLabel] = field(default_factory=list)
    n_unlabelled: int = 0
    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class ScoreColumns:
    """Where a table of graded scores has them, and the ends of their scale.

    Attributes
    ----------
    galaxy_id, score : str
        Names of columns. Where they are these, the table may have a column `label` of classes too, or in their place.
    scale : tuple of two floats
        The dullest and the most interesting score there can be; they become 0 and 5, and those between lie between.
    who : str
        Name of the column of who gave the score; one of the usual name need not be there.
    """

    galaxy_id: str = "galaxy_id"
    score: str = "score"
    scale: tuple[float, float] = (0.0, HIGHEST)
    who: str = "who"


class ZooniverseAnswers(Settings):
    """What the answers to one question of a Zooniverse workflow mean."""

    task: str = Field(default="T0", description="the question, as the workflow numbers it")
    answers: dict[str, float | str] = Field(
        min_length=1, description="answer -> score 0-5 or class; classifications with other answers give no label"
    )
    galaxy_id: str | None = Field(
        default=None, description=f"key of the subject metadata; the first of {', '.join(_ID_KEYS)} when not given"
    )

    @field_validator("answers")
    @classmethod
    def _scores_in_range(cls, answers: dict[str, float | str]) -> dict[str, float | str]:
        """What is a number, also as a text, is a score."""
        return {_words(answer): _meaning(answer, meaning) for answer, meaning in answers.items()}


def _meaning(answer: str, meaning: float | str) -> float | str:
    try:
        score = float(meaning)
    except ValueError:
        return meaning
    if not 0 <= score <= HIGHEST:
        raise ValueError(f"answer {answer!r} means the score {meaning}; scores are 0 to 5")
    return int(score) if score.is_integer() else score


def read_answers(path: Path) -> ZooniverseAnswers:
    """Read the YAML file of a ZooniverseAnswers.

    Parameters
    ----------
    path : Path
        The file.

    Returns
    -------
    ZooniverseAnswers

    Raises
    ------
    ValueError
        Names the file and what is wrong with it.
    """
    try:
        text = read_regular(path, MAXIMUM_YAML).decode("utf-8")
        return ZooniverseAnswers.model_validate(yaml_files.load(text))
    except OSError as error:
        raise ValueError(f"{path}: cannot be read: {error.strerror}; correct or remove it") from error
    except Exception as error:  # what YAML makes of a value raises whatever the value's own type does
        raise ValueError(
            f"{path}: not the meaning of a Zooniverse task's answers, see docs/labels.md: {error}"
        ) from None


def read_label_file(
    path: Path,
    answers: ZooniverseAnswers | Path | None = None,
    columns: ScoreColumns | None = None,
    survey: str = "",
) -> LabelFile:
    """The labels in a file; a bad row is a problem with its line number, and the other rows are read.

    Hashes of addresses (`user_ip`, and those in the names of volunteers that were not logged in) are not taken over:
    such a volunteer becomes `anonymous-` and a hash of the name.

    Parameters
    ----------
    path : Path
        The file.
    answers : ZooniverseAnswers or Path, optional
        Needed for a Zooniverse export; a file that has them is read for one alone.
    columns : ScoreColumns, optional
        The file is a table of graded scores, of any format that `readers.tables` reads.
    survey : str
        Whose labels are wanted: Zooniverse's subjects that `lake.export_subjects` made of another survey give none.

    Returns
    -------
    LabelFile

    Raises
    ------
    ValueError
        Where it is no CSV or none of the three layouts, a Zooniverse export comes without `answers`, a column of
        `columns` is missing, the scores are what this platform predicted, or many of them lie outside their scale;
        names the file and the remedy.
    FileNotFoundError
        Where it is absent.
    """
    if columns is not None:
        return _graded(path, columns)
    try:
        table = read_text_table(path)
    except FileNotFoundError:
        raise
    except Exception as error:  # also what decompressors say of what is in it
        raise ValueError(f"{path}: not a CSV ({in_words(error)}); save it as one") from error
    source, row_labels = _layout(path, table.names, answers, survey)
    found = LabelFile(source, problems=list(table.lost))
    found.notes = [note for note in table.notes if note not in table.lost]
    outside: list[tuple[Outside, str]] = []
    for line, cells in zip(table.lines, table.rows, strict=True):
        try:
            labels = list(row_labels(line, dict(zip(table.names, cells, strict=True))))
        except Exception as problem:  # of any kind: a row gives what a stranger wrote
            words = f"line {line}: {in_words(problem)}"
            outside += [(problem, words)] if isinstance(problem, Outside) else []
            found.problems.append(words)
            continue
        found.labels += labels
        found.n_unlabelled += not labels
    return _judged(path, found, outside, ScoreColumns().scale)


def _judged(path: Path, found: LabelFile, outside: list[tuple[Outside, str]], scale: tuple[float, float]) -> LabelFile:
    """What was found, with what is said by the scores outside the scale, which are among the problems."""
    inside = [label.score for label in found.labels if label.score is not None]
    codes = codes_of({row.score for row, _ in outside}, {*inside}, scale)
    for code in sorted(codes):
        coded = {words: row.beside for row, words in outside if row.score == code}
        found.problems = [words for words in found.problems if words not in coded]
        found.labels += [label for beside in coded.values() for label in beside]
        found.n_unlabelled += sum(not beside for beside in coded.values())
        found.notes.append(f"{len(coded)} rows have {code:g}, which is taken as no score")
    refuse_another_scale(path, [row.score for row, _ in outside if row.score not in codes], len(inside), scale)
    return found


def is_astronomalys(columns: Sequence[str]) -> bool:
    """Whether a table with these columns is what Astronomaly writes: what people said beside its own scores."""
    return "human_label" in columns and columns[0] != "human_label"


def _graded(path: Path, columns: ScoreColumns) -> LabelFile:
    """The scores of a table by its columns; a row without one is no problem."""
    table = read_table(path, remedy="name another file")
    names, (low, high) = table.column_names, columns.scale
    named = {columns.galaxy_id, columns.score, columns.who}
    beside_scores = "label" in {*names} - named and _has_classes(table)
    classes = "label" if beside_scores and (columns.galaxy_id, columns.score) == _OWN_LAYOUT else None
    alone = classes and columns.scale == ScoreColumns.scale  # a scale is one of scores
    wanted = named - {ScoreColumns.who} - ({ScoreColumns.score} if alone else set())
    if missing := sorted(wanted - set(names)):
        raise ValueError(f"{path}: no column {' and no '.join(missing)}; it has {', '.join(names)[: 4 * _SHOWN]}")
    if not (math.isfinite(low) and math.isfinite(high) and low < high):
        raise ValueError(f"--range {low:g} {high:g} is no scale: the first must be the smaller")
    try:
        galaxies = ids_of(table[columns.galaxy_id])
    except ValueError as error:
        raise ValueError(f"{path}: column {columns.galaxy_id} {error}, or name another with --id-column") from error
    beside = {"note": "note", "who": columns.who, "time": "time", "label": classes}
    beside = {kept: name for kept, name in beside.items() if name in names}
    scores = table[columns.score].to_pylist() if columns.score in names else [None] * len(table)
    given = [("" if v is None else str(v).strip()) for v in scores]
    lost = lost_of(table)
    found = LabelFile("csv", problems=lost, notes=[note for note in notes_of(table) if note not in lost])
    if beside_scores and not classes:
        found.notes.append(
            f"the classes in its column label are not taken over: beside {columns.galaxy_id} and {columns.score} the "
            "scores alone are people's; rename these to galaxy_id and score where the classes are too"
        )
    outside: list[tuple[Outside, str]] = []
    for row, (galaxy, text) in enumerate(zip(galaxies, given, strict=True)):
        cells = {kept: str(table[name][row].as_py() or "").strip() for kept, name in beside.items()}
        scored, said = text.lower() not in NOTHING, cells.pop("label", "")
        said = "" if said.lower() in NOTHING else said
        if not scored and not said:
            found.n_unlabelled += 1
            continue
        own = {"galaxy_id": galaxy or "", "score": text if scored else "", "label": said, **cells}
        try:
            found.labels += list(_own(row + 1, own, columns.scale))
        except Outside as problem:
            outside.append((problem, words := f"row {row + 1}: {problem}"))
            found.problems.append(words)
        except BadRow as problem:
            found.problems.append(f"row {row + 1}: {problem}")
    return _judged(path, found, outside, columns.scale)


def _has_classes(table: pa.Table) -> bool:
    """Whether a column `label` has classes, not the numbers of a table of sources, nor what this platform exports."""
    given = {str(value).strip() for value in table["label"].to_pylist() if value is not None}
    words = [value for value in given if value.lower() not in NOTHING and not _is_number(value)]
    return bool(words) and not OURS & {*table.column_names}


def _is_number(text: str) -> bool:
    try:
        number_of(text)
    except BadRow:
        return False
    return True


_Row = dict[str, str]


def _layout(
    path: Path, columns: list[str], answers: ZooniverseAnswers | Path | None, survey: str
) -> tuple[Source, Callable[[int, _Row], Iterator[GivenLabel]]]:
    """Which of the layouts it is, and how a row of it is read."""
    if {"classification_id", "annotations", "subject_data"} <= set(columns):
        if answers is None:
            raise ValueError(
                f"{path}: a Zooniverse export, and nothing says what its answers mean; give --task and --answer, or "
                "put zooniverse.yaml into the survey's folder of labels, see docs/labels.md"
            )
        means = read_answers(answers) if isinstance(answers, Path) else answers
        return "zooniverse", lambda line, row: _zooniverse(line, row, means, survey)
    if is_astronomalys(columns):
        return "astronomaly", lambda line, row: _astronomaly(line, row, columns[0])
    if "galaxy_id" in columns and {"score", "label"} & set(columns):
        if "score" in columns and (ours := sorted(OURS & set(columns))):
            raise ValueError(
                f"{path}: beside the scores stands {', '.join(ours)}, as in what this platform exports: what a model "
                "predicted, or several people said, is no person's opinion. If these are one person's scores, say "
                "--score-column score"
            )
        return "csv", _own
    raise ValueError(
        f"{path}: columns {', '.join(columns)[:_SHOWN] or 'none'} are those of no label file; it needs galaxy_id and "
        "score or label, or must be an export of Astronomaly or Zooniverse as it is"
    )


def _own(line: int, row: _Row, scale: tuple[float, float] = ScoreColumns.scale) -> Iterator[GivenLabel]:
    score, label = row.get("score", ""), row.get("label", "")
    if not score and not label:
        raise BadRow("neither a score nor a label")
    galaxy = _galaxy(row["galaxy_id"])
    said = {"note": row.get("note") or None, "who": row.get("who") or None, "time": _time(row.get("time", ""))}
    classes = [GivenLabel(line, galaxy, label=label, **said)] if label else []
    if score.lower() not in NOTHING:
        try:
            yield GivenLabel(line, galaxy, score=score_of(score, scale), **said)
        except Outside as problem:
            problem.beside = classes
            raise
    yield from classes


def _astronomaly(line: int, row: _Row, index: str) -> Iterator[GivenLabel]:
    """Its first column, without a name, is the object's id; -1 is no label."""
    given = row.get("human_label", "")
    if given and given.lower() != "nan" and number_of(given) != -1:
        yield GivenLabel(line, _galaxy(row[index]), score=score_of(given))


def _zooniverse(line: int, row: _Row, answers: ZooniverseAnswers, survey: str) -> Iterator[GivenLabel]:
    try:
        annotations, subjects = json.loads(row["annotations"]), json.loads(row["subject_data"])
        given = [a["value"] for a in annotations if a.get("task") == answers.task]
        subjects = list(subjects.values())
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        raise BadRow("annotations or subject_data are not the JSON of a classification") from None
    said = [_words(v) for value in given for v in (value if isinstance(value, list) else [value]) if isinstance(v, str)]
    means = list(dict.fromkeys(answers.answers[words] for words in said if words in answers.answers))
    if not means:
        return
    if len(means) > 1:
        raise BadRow(f"the answers to {answers.task} mean {' and '.join(map(str, means))} at once")
    if len(subjects) != 1:
        raise BadRow(f"{len(subjects)} subjects in one classification")
    subject = _shown(subjects[0])
    if survey and subject.get(SUBJECT_SURVEY, survey) != survey:
        return
    key, time = row["classification_id"], _time(row.get("created_at", "").removesuffix(" UTC"))
    who, galaxy = _volunteer(row.get("user_name", "")), _galaxy(_subject_id(subject, answers))
    score, label = (None, means[0]) if isinstance(means[0], str) else (means[0], None)
    yield GivenLabel(line, galaxy, score=score, label=label, who=who, time=time, key=key)


def _words(answer: str) -> str:
    """An answer without pictures, case and spaces around it."""
    return _PICTURE.sub("", answer).strip().lower()


def _volunteer(name: str) -> str | None:
    # the name of one who was not logged in ends in the hash of the address
    if name.startswith(_ANONYMOUS):
        return f"anonymous-{hashlib.sha256(name.encode()).hexdigest()[:12]}"
    return name or None


def _shown(subject: Any) -> dict[str, Any]:
    """The subject's metadata by their keys, without the marks of hidden ones."""
    if not isinstance(subject, dict):
        raise BadRow("subject_data is not the JSON of a classification")
    return {re.sub(f"^({'|'.join(_HIDDEN)})+", "", key).strip().lower(): value for key, value in subject.items()}


def _subject_id(subject: dict[str, Any], answers: ZooniverseAnswers) -> str:
    wanted = (answers.galaxy_id.lower(),) if answers.galaxy_id else _ID_KEYS
    key = next((key for key in wanted if subject.get(key) not in (None, "")), None)
    if key is None:
        raise BadRow(f"the subject's metadata have no {' or '.join(wanted)}, but {', '.join(subject) or 'nothing'}")
    name = str(subject[key]).strip()
    if SUBJECT_SURVEY in subject:  # our own manifest, which is a CSV for spreadsheets
        return spreadsheets.read(name)
    return image_name(name) if key == "filename" else name


def _galaxy(name: str) -> str:
    if not name:
        raise BadRow("no galaxy id")
    name.encode()  # JSON may hold halves of characters, which no table takes
    return name


def _time(text: str) -> datetime | None:
    """In UTC where it does not say otherwise."""
    if not text:
        return None
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        raise BadRow(f"time {text!r} is not ISO 8601") from None
    try:
        time = time.astimezone(UTC) if time.tzinfo else time.replace(tzinfo=UTC)
    except OverflowError:
        if time.year == 1:
            raise BadRow(f"time {text!r} is before the year 1 in UTC") from None
        time = datetime.max.replace(tzinfo=UTC)
    if time > datetime.now(UTC) + timedelta(seconds=MAXIMUM_AHEAD):
        raise BadRow(f"time {text!r} is in the future: it would count more than all that is said until then")
    return time
