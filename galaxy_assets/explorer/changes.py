"""What people changed on the page beside scores, to be taken back: descriptions of clusters, and artefact reviews.

Belongs here: the log of these changes. Nothing in it is changed: a change is taken back by another one. Does not belong
here: scores (`storage.label_events`), writing the worksheet and the review (`worksheet`, `regions`).

    labels/<survey>/changes/<time>-<id>.json    one change, as `Change`
"""

import json
import uuid
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from galaxy_assets.settings.printing import PrintableError
from galaxy_assets.storage.files import replacing
from galaxy_assets.storage.layout import Layout
from galaxy_assets.storage.locks import held
from galaxy_assets.storage.store import store_of


@dataclass(frozen=True)
class Change:
    """One change.

    Attributes
    ----------
    change : str
        Its id; sorted by it, changes are in the order in which they were made.
    time : float
        Seconds since 1970.
    who : str
        The person.
    what : str
        `cluster` or `artefacts`.
    about : str
        Of a cluster its start weights and number, such as `imagenet/3`; empty for artefacts.
    words : str
        What was changed, for a person.
    before, after : object
        What it said before and says since, as JSON holds it.
    undoes : str or None
        The change that it takes back, or passes over for good.
    exemplars : list of str
        Of a cluster the galaxies that it was known by, whose number does not outlast a refit.
    """

    change: str
    time: float
    who: str
    what: str
    about: str
    words: str
    before: Any
    after: Any
    undoes: str | None = None
    exemplars: list[str] = field(default_factory=list)


class Otherwise(PrintableError):
    """What a change was of is otherwise by now, and stays so: somebody changed it since."""


class Changes:
    """The changes of one survey. Any number of processes may append and read at the same time.

    Parameters
    ----------
    layout : Layout
    survey : str
    """

    def __init__(self, layout: Layout, survey: str):
        self.folder = layout.labels(survey) / "changes"
        self._read: dict[Path, Change | None] = {}

    def made(
        self,
        who: str,
        what: str,
        words: str,
        before: Any,
        after: Any,
        *,
        about: str = "",
        undoes: str | None = None,
        exemplars: Sequence[str] = (),
    ) -> Change:
        """Append a change that was made; when it returns, it is on disk.

        Parameters
        ----------
        who, what, words : str
            As `Change` has them.
        before, after : object
            As JSON holds it.
        about : str
        undoes : str, optional
        exemplars : sequence of str

        Returns
        -------
        Change

        Raises
        ------
        OSError
            Where it cannot be written.
        """
        now = datetime.now(UTC)
        name = f"{now:%Y%m%dT%H%M%S%f}-{uuid.uuid4().hex[:12]}"
        change = Change(name, now.timestamp(), who, what, about, words, before, after, undoes, list(exemplars))
        with replacing(self.folder / f"{name}.json") as partial:
            partial.write_text(json.dumps(asdict(change), ensure_ascii=False, indent=1), encoding="utf-8")
        return change

    def all(self) -> list[Change]:
        """Every change, the earliest first.

        Returns
        -------
        list of Change
            Without files that hold none.
        """
        store_of(self.folder).refresh(every=2.0)
        files = sorted(self.folder.glob("[!.]*.json"))
        for file in files:  # written once, under names that are given once
            if file not in self._read:
                self._read[file] = _change_in(file)
        return [change for file in files if (change := self._read[file]) is not None]

    def last_by(self, who: str) -> Change | None:
        """The latest change of a person that was not taken back.

        Parameters
        ----------
        who : str

        Returns
        -------
        Change or None
        """
        changes = self.all()
        back = {change.undoes for change in changes}
        mine = [c for c in changes if c.who == who and c.undoes is None and c.change not in back]
        return mine[-1] if mine else None


def one_at_a_time(layout: Layout, survey: str) -> AbstractContextManager[None]:
    """Let one process at a time look at the worksheet or the review of a survey and replace it.

    Parameters
    ----------
    layout : Layout
    survey : str

    Returns
    -------
    context manager
    """
    return held(layout.labels(survey) / ".saving.lock")


def _change_in(file: Path) -> Change | None:
    try:
        return Change(**json.loads(store_of(file).local(file).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None
