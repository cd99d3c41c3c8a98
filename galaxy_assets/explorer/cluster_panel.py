"""The cluster panel: each cluster with its most certain members and vote evidence, and what a person says of it.

Belongs here: the panel. Does not belong here: the worksheet's file (`worksheet`).
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

from nicegui import ui

from galaxy_assets.explorer.changes import Changes
from galaxy_assets.explorer.runs import RunError
from galaxy_assets.explorer.tab import Tab
from galaxy_assets.explorer.view import PRETRAINED
from galaxy_assets.explorer.worksheet import Cluster, read_clusters, save
from galaxy_assets.lake.query import QueryError
from galaxy_assets.science.worksheet import Override
from galaxy_assets.settings.printing import count_of

_ARTEFACT = {"": "by rule", "yes": "artefacts", "no": "no artefacts"}
_WORDS = {"rule": "by rule", "person": "by a person"}


class ClusterPanel:
    """The clusters of a map, with what a person says of them.

    Parameters
    ----------
    tab : Tab
    on_open : callable
        Called with a row.
    on_cluster : callable
        Called with a cluster's number, to show its members.
    changes : Changes
        Where what is saved can be taken back from.
    """

    def __init__(
        self, tab: Tab, on_open: Callable[[int], Any], on_cluster: Callable[[int], Awaitable[Any]], changes: Changes
    ):
        self.tab, self.on_open, self.on_cluster, self.changes = tab, on_open, on_cluster, changes
        self.loaded = False
        self._read: list[Cluster] | str | None = None  # what is shown: clusters, or why there are none
        self._typed: list[Callable[[], bool]] = []  # whether something is typed into a card and not saved
        self._saving = asyncio.Lock()  # the second click of a double click waits, and finds what the first one saved
        with ui.column().classes("ga-panel"):
            with ui.row().classes("ga-bar"):
                self.state = ui.label("reading the clusters").classes("ga-count").props("role=status")
                self.outdated = ui.button("Made anew: show them", on_click=self.reload).props("flat dense no-caps")
                self.outdated.tooltip("what is typed below and not saved is lost").set_visibility(False)
                ui.space()
                self.use = ui.button("Use it now", on_click=self._use).props("flat dense no-caps")
                self.use.tooltip("run cluster_worksheet and cluster_summary in Dagster; else the next run does")
            self.list = (
                ui.column().classes("ga-clusters ga-grow-y").props('tabindex=0 role=region aria-label="clusters"')
            )

    async def load(self) -> None:
        """Read the clusters, once per map."""
        if self.loaded:
            return
        self.loaded = True
        tab = self.tab
        if tab.view.start == PRETRAINED:
            self.state.text = "Clusters belong to start weights; choose one at the top."
            self.use.set_visibility(False)
            return
        self._show(await self._clusters())

    async def _clusters(self) -> list[Cluster] | str:
        try:
            return await asyncio.to_thread(read_clusters, self.tab.view, self.tab.survey)
        except (QueryError, ValueError, OSError) as error:
            return f"no clusters to show: {error}"

    def _show(self, read: list[Cluster] | str) -> None:
        tab, self._read = self.tab, read
        self._typed = []
        self.outdated.set_visibility(False)
        self.list.clear()
        if isinstance(read, str):
            self.state.text = read
            return
        clusters = read
        with self.list:
            for cluster in clusters:
                self._card(cluster)
        said = sum(cluster.said != Override() for cluster in clusters)
        self.state.text = f"{len(clusters)} clusters of {tab.view.start} start weights, {said} described by a person"

    def _card(self, cluster: Cluster) -> None:
        tab = self.tab
        with ui.element("section").classes("ga-cluster-card").props(f'aria-label="cluster {cluster.number}"'):
            with ui.row().classes("ga-bar"):
                ui.label(f"Cluster {cluster.number}").classes("ga-subtitle").props("role=heading aria-level=3")
                ui.label(count_of(cluster.n, "galaxy")).classes("ga-note")
                ui.label(cluster.description or "not described").classes("ga-described")
                ui.label(_WORDS.get(cluster.described_by, cluster.described_by)).classes("ga-note")
                if cluster.artefact:
                    ui.label("artefacts").classes("ga-flag")
                ui.space()
                ui.button("Members", on_click=lambda: self.on_cluster(cluster.number)).props("flat dense no-caps")
            with ui.row().classes("ga-strip"):
                for row in tab.view.rows_of(cluster.exemplars):
                    with ui.element("button").props("type=button").classes("ga-card") as card:
                        # not by `props`, which reads a text: an id is anybody's text
                        card._props["aria-label"] = f"galaxy {tab.galaxy(int(row))}"
                        ui.element("img").props(
                            f'src="{tab.picture(int(row), 96)}" alt="" width=96 height=96 loading=lazy'
                        )
                    card.on("click", lambda _, r=int(row): self.on_open(r))
            if cluster.evidence:
                ui.label(cluster.evidence).classes("ga-note")
            for what, own, everywhere, n in cluster.votes[:4]:
                with ui.row().classes("ga-vote"):
                    ui.label(what.replace("_", " ")).classes("ga-vote-name")
                    with ui.element("div").classes("ga-vote-bar").props("aria-hidden=true"):
                        ui.element("i").style(f"width: {100 * own:.0f}%")
                        ui.element("b").style(f"left: {100 * everywhere:.0f}%")
                    ui.label(f"{own:.0%}, all {everywhere:.0%}, of {n:,}").classes("ga-note")
            with ui.row().classes("ga-bar"):
                description = ui.input(
                    "Description", value=cluster.said.description or "", placeholder=cluster.description
                )
                description.props("dense outlined stack-label maxlength=300 autocomplete=off").classes("ga-grow")
                said = cluster.said.label or ""  # of a worksheet, which may name classes that the survey has not
                classes = dict.fromkeys(["", *(c.name for c in tab.survey.evaluation.classes), said])
                label = ui.select(list(classes), value=said, label="Class")
                label.props("dense outlined options-dense").classes("ga-cluster")
                given = cluster.said.artefact
                artefact = ui.select(
                    _ARTEFACT, value="" if given is None else "yes" if given else "no", label="Artefacts"
                )
                artefact.props("dense outlined options-dense").classes("ga-artefact")
                saved = ui.label().classes("ga-note").props("role=status")
                shown = [cluster]

                def says() -> Override:
                    return Override(
                        (description.value or "").strip() or None,
                        label.value or None,
                        {"": None, "yes": True, "no": False}[artefact.value],
                    )

                async def keep() -> None:
                    async with self._saving:
                        given = says()
                        saved.text = await self._save(shown[0], given)
                        if not saved.text.startswith("not saved"):
                            shown[0] = replace(cluster, said=given)

                self._typed.append(lambda: says() != shown[0].said)
                ui.button("Save", on_click=keep).props("flat dense no-caps")

    async def _save(self, cluster: Cluster, says: Override) -> str:
        """Save what is said of a cluster; returns what became of it, in words."""
        tab, about = self.tab, f"{self.tab.view.start}/{cluster.number}"
        try:
            who = tab.person()
            path = await asyncio.to_thread(save, tab.view, tab.survey, cluster, says)
        except (QueryError, ValueError, OSError) as error:
            return f"not saved: {error}"
        try:
            if says != cluster.said:
                words = f"what cluster {cluster.number} is"
                await asyncio.to_thread(
                    self.changes.made,
                    who,
                    "cluster",
                    words,
                    list(cluster.said),
                    list(says),
                    about=about,
                    exemplars=cluster.exemplars,
                )
        except OSError as error:
            return f"saved in {path.name}; the next run uses it. It cannot be taken back here: {error}"
        tab.on_step()
        return f"saved in {path.name}; the next run uses it"

    async def reload(self) -> None:
        """Read the clusters again after one was changed elsewhere on the page."""
        if self.loaded:
            self.loaded = False
            await self.load()

    async def anew(self) -> None:
        """Show the clusters that a run made; where something is typed and not saved, offer to."""
        if not self.loaded or self.tab.view.start == PRETRAINED:
            return
        read = await self._clusters()
        if read == self._read:
            return
        if any(typed() for typed in self._typed):
            self.outdated.set_visibility(True)
        else:
            self._show(read)

    async def _use(self) -> None:
        tab = self.tab
        try:
            run = await tab.shared.start_run(tab.survey.name, ["cluster_worksheet", "cluster_summary"], tab.view.start)
        except RunError as refused:
            problem = str(refused)
        else:
            problem = run.error
        if problem:
            ui.notify(problem, type="negative", multi_line=True, timeout=15_000, close_button="Close")
        else:
            ui.notify("Started in Dagster; the Ranking panel follows the run.", type="positive")
