"""What every settings model shares: validation, and the fingerprint of what decides a result.

Belongs here: the base class and the marks a field may carry. Does not belong here: any setting.
"""

import hashlib
import json
from typing import Any

from pydantic import BaseModel, ConfigDict
from pydantic.fields import FieldInfo

from galaxy_assets import plugins


class AddedLater:
    """Mark of a field that older lakes were made without: at its default it stays out of the fingerprint."""


class ShownOnly:
    """Mark of a field that only people read: it stays out of the fingerprint, whatever it says."""


class PluginName:
    """Mark of a field that names a plug-in.

    Where another package registered that plug-in, the package's name and version enter the fingerprint.

    Parameters
    ----------
    kind : str
        Kind of plug-in, such as `readers`.
    """

    def __init__(self, kind: plugins.Kind):
        self.kind: plugins.Kind = kind


class Settings(BaseModel):
    """Base of every settings model: unknown keys are errors, values do not change after loading."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    def deciding(self) -> dict[str, Any]:
        """These settings as JSON values, as far as they decide a result.

        Fields marked `AddedLater` are left out at their default, those marked `ShownOnly` always. A field marked
        `PluginName` is followed by the distribution and version of another package's plug-in.

        Returns
        -------
        dict of str to Any
            Field name -> JSON value; settings inside settings are dicts again.
        """
        return _deciding(self, self.model_dump(mode="json"))

    def fingerprint(self) -> str:
        """First 12 hex digits of the sha256 of `deciding` as canonical JSON.

        Returns
        -------
        str
            Equal for settings that decide the same results.
        """
        canonical = json.dumps(self.deciding(), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(canonical.encode()).hexdigest()[:12]


def _deciding(settings: Settings, dumped: dict[str, Any]) -> dict[str, Any]:
    for name, field in type(settings).model_fields.items():
        value = getattr(settings, name)
        if _mark(field, ShownOnly):
            del dumped[name]
        elif _mark(field, AddedLater) and value == field.get_default(call_default_factory=True):
            del dumped[name]
        elif isinstance(value, Settings):
            dumped[name] = _deciding(value, dumped[name])
        elif isinstance(value, tuple):
            parts = zip(value, dumped[name], strict=True)
            dumped[name] = [_deciding(one, part) if isinstance(one, Settings) else part for one, part in parts]
        if named := _mark(field, PluginName):
            given = [value] if isinstance(value, str) else [str(one) for one in value]
            if others := [other for one in given if (other := plugins.provenance(named.kind, one))]:
                dumped[f"{name} from"] = " ".join(others)
    return dumped


def _mark(field: FieldInfo, kind: type) -> Any:
    """The mark of this kind in a field's annotation; None where it has none."""
    return next((one for one in field.metadata if isinstance(one, kind)), None)
