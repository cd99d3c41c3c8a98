"""What is wrong with a survey file's settings, in words for the person who wrote it.

Belongs here: from pydantic's errors to one sentence a key: the key, what is expected, what was read, and what was
probably meant. Does not belong here: reading the file (`files`), what is allowed (the models).
"""

import difflib
import re
import typing
from collections.abc import Iterable
from typing import Any

from pydantic import ValidationError
from pydantic.fields import FieldInfo

from galaxy_assets import plugins
from galaxy_assets.settings.base import PluginName, Settings
from galaxy_assets.settings.tuning import AUTO, KEYS

_LONGEST = 40  # letters of a value that is quoted
_QUOTES_NOTHING = "source"  # an address may hold a password
_TYPES = {"integer": "a whole number", "boolean": "true or false", "string": "text"}
_PLAIN = {  # pydantic's type of error -> what is wrong
    "extra_forbidden": "there is no such setting",
    "missing": "is missing; write it",
    "model_type": "expected settings, each as `key: value`",
    "dict_type": "expected settings, each as `key: value`",
    "tuple_type": "expected a list, such as [{}]",
}


def in_words(error: ValidationError, model: type[Settings], settings: dict[str, Any]) -> list[str]:
    """What is wrong with each key.

    Parameters
    ----------
    error : ValidationError
        Of the model.
    model : type of Settings
    settings : dict of str to Any
        What was read.

    Returns
    -------
    list of str
        A sentence per key, which begins with the key. Not escaped.

    Examples
    --------
    >>> from galaxy_assets.settings.cutouts import CutoutSettings
    >>> try:
    ...     CutoutSettings.model_validate({"source": "nerby"})
    ... except ValidationError as error:
    ...     print(*in_words(error, CutoutSettings, {"source": "nerby"}))
    source: expected 'central', 'nearby' or 'all'; read 'nerby', did you mean `nearby`?
    """
    found: dict[tuple, list[Any]] = {}
    for one in error.errors():
        found.setdefault(_keys(one["loc"], settings, one["type"]), []).append(one)
    return [f"{'.'.join(map(str, keys)) or 'survey'}: {_said(keys, of, model)}" for keys, of in found.items()]


def _keys(loc: tuple, settings: Any, kind: str) -> tuple:
    """The part of a location that is keys of the file; what follows are names of the types that were tried."""
    keys = []
    for part in loc:
        inside = isinstance(settings, dict) and part in settings
        inside = inside or (isinstance(settings, list | tuple) and isinstance(part, int) and part < len(settings))
        if not inside and kind not in ("missing", "extra_forbidden") and keys:
            break
        keys.append(part)
        settings = settings[part] if inside else None
    return tuple(keys)


def _said(keys: tuple, errors: list[Any], model: type[Settings]) -> str:
    first = errors[0]
    value, (field, owner) = first["input"], _field(keys, model)
    short = isinstance(value, str | int | float) and len(str(value)) <= _LONGEST and keys[0] != _QUOTES_NOTHING
    words = " or ".join(dict.fromkeys(_expected(one, value if short and value else "...") for one in errors))
    if first["type"] == "extra_forbidden":
        return words + meant(str(keys[-1]), () if owner is None else owner.model_fields)
    if value is None:
        fill = f"write its value, or `{AUTO}`," if _opens(keys, field) else "write its value,"
        return f"{words}; read nothing: {fill} or delete the line"
    if first["type"] == "missing" or not short:
        return words
    if keys[0] == AUTO:
        return f"{words}; read {value!r}, and it may hold {_where(AUTO, model)}"
    allowed = [] if first["type"] in _PLAIN else [*_literals(field), *_names(field)]
    near = meant(str(value), [*allowed, *([AUTO] if _opens(keys, field) else [])])
    if not near and _like_auto(str(value)):
        near = f", and `{AUTO}` may stand for {_where(keys[0], model)}"
    return f"{words}; read {value!r}{near}"


def _expected(one: Any, example: str | float) -> str:
    if one["type"] in _PLAIN:
        return _PLAIN[one["type"]].format(example)
    words = one["msg"].removeprefix("Value error, ").removesuffix(", unable to interpret input")
    words = re.sub(r"^Input should be ", "expected ", words.partition(", unable to parse")[0])
    return re.sub(r"a valid (\w+)", lambda found: _TYPES.get(found[1], f"a {found[1]}"), words)


def _field(keys: tuple, model: type[Settings]) -> tuple[FieldInfo | None, type[Settings] | None]:
    """The field that the keys name, and the model that it is of; None where they lead elsewhere."""
    owner: type[Settings] | None = model
    field = None
    for key in keys:
        if owner is None:
            return None, None
        before, field = owner, owner.model_fields.get(key)
        kind = None if field is None else field.annotation
        owner = kind if isinstance(kind, type) and issubclass(kind, Settings) else None
    return field, before if keys else None


def _opens(keys: tuple, field: FieldInfo | None) -> bool:
    """Whether `auto` may be the value of these keys."""
    return keys == ("cutout",) or ".".join(map(str, keys)) in KEYS or AUTO in _literals(field)


def _literals(field: FieldInfo | None) -> list[Any]:
    """The words that a field may have."""
    return [] if field is None else list(_within(field.annotation))


def _within(annotation: Any) -> Iterable[Any]:
    for one in typing.get_args(annotation):
        if isinstance(one, str):
            yield one
        else:
            yield from _within(one)


def _names(field: FieldInfo | None) -> list[str]:
    """The plug-ins that a field may name."""
    marks = [] if field is None else [mark for mark in field.metadata if isinstance(mark, PluginName)]
    return [name for mark in marks for name in plugins.names(mark.kind)]


def meant(word: str, allowed: Iterable[str]) -> str:
    """What was probably meant by a word.

    Parameters
    ----------
    word : str
        What was read.
    allowed : iterable of str
        What may stand there.

    Returns
    -------
    str
        `, did you mean ...?`, or nothing.
    """
    allowed = list(allowed)
    near = difflib.get_close_matches(word.lower(), allowed, 1)
    if not near and AUTO in allowed and _like_auto(word):
        near = [AUTO]
    return f", did you mean `{near[0]}`?" if near and near[0] != word else ""


def _like_auto(word: str) -> bool:
    return word.lower().startswith(AUTO) or bool(difflib.get_close_matches(word.lower(), [AUTO]))


def _where(section: str, model: type[Settings]) -> str:
    """The settings that may say `auto`: those of a section, or, where it has none, all there are."""
    every = [*KEYS]
    for head, field in model.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, Settings):
            own = field.annotation.model_fields.items()
            every += [f"{head}.{key}" for key, one in own if AUTO in _literals(one)]
    own = [key for key in every if key.startswith(f"{section}.")]
    if section == AUTO:
        return f"`cutout`, {', '.join(KEYS)}"
    return f"{'' if own and section != 'cutout' else 'the whole of `cutout`, or '}{', '.join(own or every)}"
