"""What all tabs of one explorer share: open surveys, kept sets of rows, prepared downloads, the run that is under way.

Belongs here: state that outlives a tab. Does not belong here: what one tab shows (`tab`), routes, panels.
"""

import asyncio
import hashlib
import secrets
import threading
import time
from collections import OrderedDict
from pathlib import Path

import numpy as np

from galaxy_assets.explorer.colours import Colours
from galaxy_assets.explorer.pictures import Pictures
from galaxy_assets.explorer.runs import Dagster, Run, RunError, until_over
from galaxy_assets.explorer.scoring import Labels
from galaxy_assets.explorer.selections import Selection
from galaxy_assets.explorer.temporary import DOWNLOADS, make_folder
from galaxy_assets.explorer.view import PRETRAINED, OpenLake, View, version
from galaxy_assets.lake.query import QueryError
from galaxy_assets.settings.files import SurveyFiles, survey_files
from galaxy_assets.settings.login import whoami
from galaxy_assets.settings.survey import Survey
from galaxy_assets.storage.layout import Layout
from galaxy_assets.storage.store import store_of
from galaxy_assets.storage.versions import stamp

_VIEWS = 4
_SETS = 64
_CONDITIONS = 1000
_DOWNLOADS = 8  # files that are kept for browsers, of all tabs together
_SURVEYS_FOR = 5.0


class Shared:
    """What all tabs of one server share: the read model, the maps, the pictures, the labels and the runs.

    Parameters
    ----------
    layout : Layout
        The data folder.
    dagster : str
        Address of Dagster's webserver, with its token where it has one.
    """

    def __init__(self, layout: Layout, dagster: str):
        self.layout = layout
        self.dagster = Dagster.at(dagster)
        self.lake = OpenLake(layout)
        self.who = whoami()
        """Who somebody is that has not said it; empty where others than the server's owner reach the page."""
        self.folder = make_folder(DOWNLOADS)
        """Of uploads and downloads; removed when the server ends."""
        self.runs: dict[str, Run] = {}
        self._following: dict[str, asyncio.Task[None]] = {}
        self._files: tuple[float, SurveyFiles | None] = (0.0, None)
        self._views: OrderedDict[tuple[str, str], View] = OrderedDict()
        self._pictures: dict[str, Pictures] = {}
        self._rows: dict[tuple[str, str], tuple[str, np.ndarray]] = {}
        self._labels: dict[str, Labels] = {}
        self._sets: OrderedDict[str, Selection] = OrderedDict()
        self._colours: OrderedDict[tuple, Colours] = OrderedDict()
        self._applied: OrderedDict[str, None] = OrderedDict()
        self._downloads: OrderedDict[str, tuple[Path, str]] = OrderedDict()
        self._lock = threading.RLock()

    def files(self) -> SurveyFiles:
        """The survey files, read again every _SURVEYS_FOR seconds.

        Returns
        -------
        SurveyFiles
        """
        with self._lock:
            until, files = self._files
            if files is None or time.monotonic() > until:
                files = survey_files(self.layout.root)
                self._files = time.monotonic() + _SURVEYS_FOR, files
            return files

    def surveys(self) -> dict[str, Survey]:
        """Surveys of which the lake has something to show.

        Returns
        -------
        dict of str to Survey
            By name.
        """
        enabled = self.files().enabled
        return {name: enabled[name] for name in enabled if (self.layout.lake / name / "cutouts").exists()}

    def starts(self, survey: Survey) -> list[str]:
        """Start weights that have a map, the main ones first, and the map of pretrained features.

        Parameters
        ----------
        survey : Survey

        Returns
        -------
        list of str
        """
        home = self.layout.lake / survey.name
        made = {file.stem for file in (home / "umap").rglob("[!.]*.parquet")}
        mapped = (home / "artefact_map").is_dir() or (home / "artefact_map.parquet").exists()
        return [s for s in survey.starts_main_first if s in made] + ([PRETRAINED] if mapped else [])

    def view(self, survey: str, start: str) -> View:
        """A map, read when first asked for and when its files changed.

        Parameters
        ----------
        survey, start : str

        Returns
        -------
        View

        Raises
        ------
        FileNotFoundError
            Where there is no such map.
        QueryError
            Where its tables cannot be read.
        """
        with self._lock:
            view = self._views.get((survey, start))
            if view is None or view.version != version(self.layout, survey, start):
                view = self._views[survey, start] = View(self.lake, survey, start, self.stamp(survey))
                self._rows.pop((survey, start), None)
            self._views.move_to_end((survey, start))
            while len(self._views) > _VIEWS:
                old, _ = self._views.popitem(last=False)
                self._rows.pop(old, None)
            return view

    def up_to_date(self, view: View) -> str:
        """Let a map read its columns anew where a run has replaced a table.

        Parameters
        ----------
        view : View

        Returns
        -------
        str
            The `stamp` of its tables.
        """
        now = self.stamp(view.survey)
        view.read_anew(now)
        return now

    def warm(self) -> None:
        """Read what the page shows first, before anybody asks for it, and start the process of people's queries."""
        self.lake.persons.warm()
        try:
            for survey in list(self.surveys().values())[:1]:
                for start in self.starts(survey)[:1]:
                    view = self.view(survey.name, start)
                    if "cluster" in view.columns:
                        self.colours(view, "cluster")
        except (QueryError, OSError):
            return  # the page will say it

    def pictures(self, survey: str) -> Pictures:
        """The cutouts of a survey.

        Parameters
        ----------
        survey : str

        Returns
        -------
        Pictures

        Raises
        ------
        FileNotFoundError
            Where there are none, or they are newer than their ledger.
        """
        with self._lock:
            found = self._pictures.get(survey)
            if found is None or found.stale():
                found = self._pictures[survey] = Pictures(self.layout, self.surveys()[survey])
            return found

    def picture_rows(self, view: View) -> np.ndarray:
        """Row of the pixels of each row of a map.

        They are looked up with the first picture: the map does not wait for it.

        Parameters
        ----------
        view : View
            Of N rows.

        Returns
        -------
        ndarray of shape (N,), int32
            -1 where there is none.
        """
        key = view.survey, view.start
        with self._lock:
            known = self._rows.get(key)
            if known is None or known[0] != view.version:
                known = self._rows[key] = view.version, self.pictures(view.survey).rows(view.ids)
            return known[1]

    def labels(self, survey: Survey) -> Labels:
        """What people say of a survey's galaxies.

        Parameters
        ----------
        survey : Survey

        Returns
        -------
        Labels
            One for all tabs.
        """
        with self._lock:
            if survey.name not in self._labels:
                self._labels[survey.name] = Labels(self.layout, survey)
            return self._labels[survey.name]

    def colours(self, view: View, column: str) -> Colours:
        """A column of a map as colours.

        The last few are kept: the legend and the map ask for the same.

        Parameters
        ----------
        view : View
        column : str

        Returns
        -------
        Colours

        Raises
        ------
        QueryError
            For an unknown column.
        """
        key = (view.survey, view.start, view.version, self.up_to_date(view), column)
        with self._lock:
            if key not in self._colours:
                self._colours[key] = view.colours(column)
                while len(self._colours) > 6:
                    self._colours.popitem(last=False)
            return self._colours[key]

    def stamp(self, survey: str) -> str:
        """What the survey's tables are now: changes when a run replaced one.

        Parameters
        ----------
        survey : str

        Returns
        -------
        str
        """
        home = self.layout.lake / survey
        store_of(home).refresh(every=5.0)
        names = [*self.lake.tables(), "cluster_summary", "artefact_regions"]
        files = [f for n in names for f in (home / f"{n}.parquet", *sorted((home / n).rglob("[!.]*.parquet")))]
        return stamp(files)

    def keep_rows(self, view: View, rows: np.ndarray, words: str = "", found: dict[int, float] | None = None) -> str:
        """Name a set of rows of a map, for a browser and a page's address.

        Parameters
        ----------
        view : View
        rows : ndarray of int
        words : str
            What the set is, for a person; what was said of the same rows before when empty.
        found : dict of int to float, optional
            Distances by row, where the set has an order of its own.

        Returns
        -------
        str
            16 hex digits, others for other rows, other distances or another version of the map.
        """
        of = f"{view.survey}/{view.start}/{view.version}/".encode()
        order = np.fromiter((found or {}).values(), float).tobytes()
        name = hashlib.sha256(of + np.ascontiguousarray(rows, np.int32).tobytes() + order).hexdigest()[:16]
        with self._lock:
            if words or name not in self._sets:
                self._sets[name] = Selection(rows, words, found)
            self._sets.move_to_end(name)
            while len(self._sets) > _SETS:
                self._sets.popitem(last=False)
        return name

    def kept(self, name: str, view: View | None = None) -> Selection | None:
        """The set of rows that `keep_rows` named.

        Parameters
        ----------
        name : str
        view : View, optional
            Rows of another map than this one are not returned.

        Returns
        -------
        Selection or None
            None for an unknown name.
        """
        with self._lock:
            kept = self._sets.get(name)
        if kept is None or view is None:
            return kept
        return kept if self.keep_rows(view, kept.rows, found=kept.found) == name else None

    def apply(self, condition: str) -> None:
        """Note that a person applied a condition: from now on an address with it is answered when it is opened.

        Parameters
        ----------
        condition : str
        """
        with self._lock:
            self._applied[condition] = None
            self._applied.move_to_end(condition)
            while len(self._applied) > _CONDITIONS:
                self._applied.popitem(last=False)

    def applied(self, condition: str) -> bool:
        """Whether a person applied a condition on this server.

        Any page can hold a link to an address with a condition, so that what an address says is no word of a person.

        Parameters
        ----------
        condition : str

        Returns
        -------
        bool
        """
        with self._lock:
            return condition in self._applied

    def offer(self, file: Path, name: str) -> str:
        """A path from which a browser gets a file, until newer ones take its place and it is removed.

        A browser that is getting it gets the rest of it.

        Parameters
        ----------
        file : Path
            In `folder`.
        name : str
            Of the file that the browser saves.

        Returns
        -------
        str
        """
        token = secrets.token_urlsafe(16)
        with self._lock:
            self._downloads[token] = (file, name)
            while len(self._downloads) > _DOWNLOADS:
                _, (old, _) = self._downloads.popitem(last=False)
                old.unlink(missing_ok=True)
        return f"/download/{token}"

    def offered(self, token: str) -> tuple[Path, str] | None:
        """The file that `offer` gave a path.

        Parameters
        ----------
        token : str
            The last part of the path.

        Returns
        -------
        (Path, str) or None
            The file and the name it is saved under; None for an unknown token.
        """
        with self._lock:
            return self._downloads.get(token)

    async def start_run(self, survey: str, assets: list[str], partition: str | None = None) -> Run:
        """Start a run and follow it until it ended, also when no page is open.

        Parameters
        ----------
        survey : str
        assets : list of str
            Their names.
        partition : str, optional

        Returns
        -------
        Run
            Its `error` says what went wrong.

        Raises
        ------
        RunError
            Where a run of the survey is not over.
        """
        before = self.runs.get(survey)
        if before is not None and not before.over:
            raise RunError(
                f"a run of {survey} ({', '.join(before.assets)}) is not over yet; the Ranking panel shows it. Start "
                "this one when it has ended"
            )
        run = self.runs[survey] = Run(survey, assets)
        try:
            run.run = await asyncio.to_thread(self.dagster.launch, survey, assets, self.layout.root, partition)
        except Exception as error:  # whatever it was: a run that is never over would let nobody start another
            run.error = str(error) or type(error).__name__
        finally:
            if not run.run:
                run.ended = time.time()
        if run.run:
            # the loop itself holds only a weak reference
            self._following[survey] = asyncio.create_task(until_over(run, self.dagster))
        return run
