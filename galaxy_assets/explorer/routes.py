"""What a browser gets by plain HTTP: points, colours and pictures of a map, rows it chose, prepared downloads.

Belongs here: the addresses and the checks of what is in them. Does not belong here: the page (`page`), who may ask
(`guard`).

    /view/<survey>/<start weights>/<version>/points            float32: x of every galaxy, then y, both in [-1, 1]
    /view/.../colours/<stamp>?column=                          uint8, see `colours.Colours`
    /view/.../colours/...&of=<start weights>                   the same galaxies' colours on another map
    /view/.../peers?on=<start weights>                         int32: row of each galaxy on another map, -1 for none
    /view/.../image/<row>/<side>                               a cutout
    /view/.../frame/<row>                                      the original frame
    /view/.../about/<row>?column=                              id and value, as JSON
    /view/.../rows                                             POST of int32 rows; answers with the set's name
    /rows/<name>                                               int32 rows of a set
    /download/<name>                                           a file that was prepared
"""

from typing import Annotated, NamedTuple

import numpy as np
from fastapi import APIRouter, Depends, FastAPI, HTTPException, Request, Response
from fastapi.responses import FileResponse

from galaxy_assets.deliveries.images import UnreadableImage
from galaxy_assets.explorer.colours import NOTHING, word
from galaxy_assets.explorer.peers import PEERS
from galaxy_assets.explorer.pictures import SIDES, Pictures
from galaxy_assets.explorer.shared import Shared
from galaxy_assets.explorer.view import View
from galaxy_assets.lake.query import QueryError
from galaxy_assets.settings.files import SurveyError

# the version of what is asked for is part of every address below /view
_FOREVER = {"cache-control": "private, max-age=31536000, immutable"}
# NiceGUI would compress: seven times the time for a quarter of the bytes, on loopback
_AS_IT_IS = {"content-encoding": "identity"}


class Extent(NamedTuple):
    """How positions of a map become those of the page.

    (x - x0) / scale is in [-1, 1] and keeps the aspect.

    Attributes
    ----------
    x0, y0 : float
        Centre of the map.
    scale : float
        Half its longer side.
    """

    x0: float
    y0: float
    scale: float

    @classmethod
    def of(cls, view: View) -> "Extent":
        """The extent of a map, with a margin of 4 %.

        Parameters
        ----------
        view : View

        Returns
        -------
        Extent
        """
        low_x, high_x, low_y, high_y = (float(f(v)) for v in (view.x, view.y) for f in (np.nanmin, np.nanmax))
        half = max(high_x - low_x, high_y - low_y) / 2 * 1.04
        return cls((low_x + high_x) / 2, (low_y + high_y) / 2, half or 1.0)

    def to_map(self, x: float, y: float) -> tuple[float, float]:
        """A position of the page as one of the map.

        Parameters
        ----------
        x, y : float

        Returns
        -------
        x, y : float
        """
        return x * self.scale + self.x0, y * self.scale + self.y0

    def to_page(self, x: float, y: float) -> tuple[float, float]:
        """A position of the map as one of the page.

        Parameters
        ----------
        x, y : float

        Returns
        -------
        x, y : float
        """
        return (x - self.x0) / self.scale, (y - self.y0) / self.scale


router = APIRouter()
_PREFIX = "/view/{survey}/{start}/{version}"


def add_routes(app: FastAPI, shared: Shared) -> None:
    """Register the addresses above.

    Parameters
    ----------
    app : FastAPI
        Serves one data folder: what it shares is kept as its state.
    shared : Shared
    """
    app.state.shared = shared
    app.include_router(router)


async def _shared(request: Request) -> Shared:
    return request.app.state.shared


Sharing = Annotated[Shared, Depends(_shared)]
"""What the server shares. Functions with it and without `async` run in FastAPI's threads."""


def _view_of(shared: Sharing, survey: str, start: str, version: str) -> View:
    if survey not in shared.surveys():
        raise HTTPException(404, f"no survey {survey} in this data folder")
    try:
        view = shared.view(survey, start)
    except (FileNotFoundError, QueryError) as error:
        raise HTTPException(404, str(error)) from error
    if view.version != version:
        raise HTTPException(410, "the map was made anew; reload the page")
    return view


Seen = Annotated[View, Depends(_view_of)]
"""The view that an address names, if it is the present one."""


def _row_of(view: Seen, row: int) -> int:
    if not 0 <= row < len(view):
        raise HTTPException(404, f"row {row} of {len(view)}")
    return row


Row = Annotated[int, Depends(_row_of)]
"""A row that the view has."""


def _pictures_of(shared: Shared, view: View) -> Pictures:
    try:
        return shared.pictures(view.survey)
    except FileNotFoundError as error:
        raise HTTPException(404, str(error)) from error


@router.get(_PREFIX + "/points")
def _points(view: Seen) -> Response:
    extent = Extent.of(view)
    content = np.concatenate([(view.x - extent.x0) / extent.scale, (view.y - extent.y0) / extent.scale])
    return Response(
        content.astype("<f4").tobytes(), media_type="application/octet-stream", headers=_FOREVER | _AS_IT_IS
    )


@router.get(_PREFIX + "/colours/{stamp}")
def _colours(shared: Sharing, view: Seen, stamp: str, column: str, of: str = "") -> Response:
    try:
        first = _other(shared, view, of) if of else view
        codes = shared.colours(first, column).codes
    except QueryError as error:
        raise HTTPException(404, str(error)) from error
    if of:
        codes = np.append(codes, np.uint8(NOTHING))[PEERS.rows(view, first)]
    return Response(codes.tobytes(), media_type="application/octet-stream", headers=_FOREVER | _AS_IT_IS)


@router.get(_PREFIX + "/peers")
def _peers(shared: Sharing, view: Seen, on: str) -> Response:
    rows = PEERS.rows(view, _other(shared, view, on))
    # the other map may be made anew under the same address
    headers = {"cache-control": "no-store"} | _AS_IT_IS
    return Response(rows.astype("<i4").tobytes(), media_type="application/octet-stream", headers=headers)


def _other(shared: Shared, view: View, start: str) -> View:
    if start not in shared.starts(shared.surveys()[view.survey]):
        raise HTTPException(404, f"{view.survey} has no map of {start}")
    return shared.view(view.survey, start)


@router.get(_PREFIX + "/image/{row}/{side}")
def _image(shared: Sharing, view: Seen, row: Row, side: int) -> Response:
    if side not in SIDES:
        raise HTTPException(404, f"pictures have a side of {', '.join(map(str, SIDES))} pixels")
    at = int(shared.picture_rows(view)[row])
    if at < 0:
        raise HTTPException(404, f"{view.ids[row]} has no cutout")
    content, kind = _pictures_of(shared, view).cutout(at, side)
    return Response(content, media_type=kind, headers=_FOREVER)


@router.get(_PREFIX + "/frame/{row}")
def _frame(shared: Sharing, view: Seen, row: Row) -> Response:
    try:
        file = view.column("file")[row].as_py()
        content, kind = _pictures_of(shared, view).frame(file)
    except (UnreadableImage, SurveyError, QueryError, OSError) as error:
        raise HTTPException(404, f"the original of {view.ids[row]} cannot be shown: {error}") from error
    return Response(content, media_type=kind, headers=_FOREVER)


@router.get(_PREFIX + "/about/{row}")
def _about(view: Seen, row: Row, column: str = "") -> dict[str, str]:
    answer = {"id": view.ids[row].as_py()}
    if column in view.columns:
        value = view.column(column)[row].as_py()
        answer["text"] = f"{column}: {word(value)}"
    return answer


@router.post(_PREFIX + "/rows")
async def _choose_rows(request: Request, shared: Sharing, view: Seen) -> Response:
    content = await request.body()
    if len(content) % 4 or len(content) > 4 * len(view):
        raise HTTPException(413, f"{len(content)} bytes are no rows of {len(view)} galaxies")
    found = np.frombuffer(content, "<i4")
    if len(found) and not (0 <= found.min() and found.max() < len(view)):
        raise HTTPException(400, f"rows of {len(view)} galaxies only")
    return Response(shared.keep_rows(view, found.copy()), media_type="text/plain")


@router.get("/rows/{name}")
def _chosen_rows(shared: Sharing, name: str) -> Response:
    found = shared.kept(name)
    if found is None:
        raise HTTPException(404, "no such set of rows; it was of an earlier server")
    return Response(found.rows.astype("<i4").tobytes(), media_type="application/octet-stream", headers=_AS_IT_IS)


@router.get("/download/{token}")
def _download(shared: Sharing, token: str) -> FileResponse:
    found = shared.offered(token)
    if found is None or not found[0].is_file():
        raise HTTPException(404, "no such download; export again")
    return FileResponse(found[0], filename=found[1])
