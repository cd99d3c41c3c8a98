"""What a browser gets by plain HTTP: points, colours and pictures of a map, rows it chose, prepared downloads.

Belongs here: the addresses and the checks of what is in them. Does not belong here: the page (`page`), who may ask
(`guard`).

    /view/<survey>/<start weights>/<version>/points            float32: x of every galaxy, then y, both in [-1, 1]
    /view/.../colours/<stamp>?column=                          uint8, see `view.Colours`
    /view/.../image/<row>/<side>                               a cutout
    /view/.../frame/<row>                                      the original frame
    /view/.../about/<row>?column=                              id and value, as JSON
    /view/.../rows                                             POST of int32 rows; answers with the set's name
    /rows/<name>                                               int32 rows of a set
    /download/<name>                                           a file that was prepared
"""

import asyncio
from typing import Annotated, NamedTuple

import numpy as np
from fastapi import Depends, FastAPI, HTTPException, Request, Response
from fastapi.responses import FileResponse

from galaxy_assets.deliveries.images import UnreadableImage
from galaxy_assets.explorer.pictures import SIDES, Pictures
from galaxy_assets.explorer.shared import Shared
from galaxy_assets.explorer.view import View, word
from galaxy_assets.lake.query import QueryError
from galaxy_assets.settings.files import SurveyError

# the version of what is asked for is part of every address below /view
_FOREVER = {"cache-control": "private, max-age=31536000, immutable"}
# NiceGUI would compress: seven times the time for a quarter of the bytes, on loopback
_AS_IT_IS = {"content-encoding": "identity"}


class Extent(NamedTuple):
    """How positions of a map become those of the page: (x - x0) / scale, which keeps the aspect, is in [-1, 1]."""

    x0: float
    y0: float
    scale: float

    @classmethod
    def of(cls, view: View) -> "Extent":
        low_x, high_x, low_y, high_y = (float(f(v)) for v in (view.x, view.y) for f in (np.nanmin, np.nanmax))
        half = max(high_x - low_x, high_y - low_y) / 2 * 1.04
        return cls((low_x + high_x) / 2, (low_y + high_y) / 2, half or 1.0)

    def to_map(self, x: float, y: float) -> tuple[float, float]:
        return x * self.scale + self.x0, y * self.scale + self.y0

    def to_page(self, x: float, y: float) -> tuple[float, float]:
        return (x - self.x0) / self.scale, (y - self.y0) / self.scale


def add_routes(app: FastAPI, shared: Shared) -> None:
    """Register the addresses above. Functions without `async` run in FastAPI's threads."""

    def view_of(survey: str, start: str, version: str) -> View:
        if survey not in shared.surveys():
            raise HTTPException(404, f"no survey {survey} in this data folder")
        try:
            view = shared.view(survey, start)
        except (FileNotFoundError, QueryError) as error:
            raise HTTPException(404, str(error)) from error
        if view.version != version:
            raise HTTPException(410, "the map was made anew; reload the page")
        return view

    prefix = "/view/{survey}/{start}/{version}"

    def row_of(view: Annotated[View, Depends(view_of)], row: int) -> int:
        if not 0 <= row < len(view):
            raise HTTPException(404, f"row {row} of {len(view)}")
        return row

    @app.get(prefix + "/points")
    def points(view: Annotated[View, Depends(view_of)]) -> Response:
        extent = Extent.of(view)
        content = np.concatenate([(view.x - extent.x0) / extent.scale, (view.y - extent.y0) / extent.scale])
        return Response(
            content.astype("<f4").tobytes(), media_type="application/octet-stream", headers=_FOREVER | _AS_IT_IS
        )

    @app.get(prefix + "/colours/{stamp}")
    def colours(view: Annotated[View, Depends(view_of)], stamp: str, column: str) -> Response:
        try:
            codes = shared.colours(view, column).codes
        except QueryError as error:
            raise HTTPException(404, str(error)) from error
        return Response(codes.tobytes(), media_type="application/octet-stream", headers=_FOREVER | _AS_IT_IS)

    def pictures_of(view: View) -> Pictures:
        try:
            return shared.pictures(view.survey)
        except FileNotFoundError as error:
            raise HTTPException(404, str(error)) from error

    @app.get(prefix + "/image/{row}/{side}")
    def image(view: Annotated[View, Depends(view_of)], row: Annotated[int, Depends(row_of)], side: int) -> Response:
        if side not in SIDES:
            raise HTTPException(404, f"pictures have a side of {', '.join(map(str, SIDES))} pixels")
        at = int(shared.picture_rows(view)[row])
        if at < 0:
            raise HTTPException(404, f"{view.ids[row]} has no cutout")
        content, kind = pictures_of(view).cutout(at, side)
        return Response(content, media_type=kind, headers=_FOREVER)

    @app.get(prefix + "/frame/{row}")
    def frame(view: Annotated[View, Depends(view_of)], row: Annotated[int, Depends(row_of)]) -> Response:
        try:
            file = view.column("file")[row].as_py()
            content, kind = pictures_of(view).frame(file)
        except (UnreadableImage, SurveyError, QueryError, OSError) as error:
            raise HTTPException(404, f"the original of {view.ids[row]} cannot be shown: {error}") from error
        return Response(content, media_type=kind, headers=_FOREVER)

    @app.get(prefix + "/about/{row}")
    def about(
        view: Annotated[View, Depends(view_of)], row: Annotated[int, Depends(row_of)], column: str = ""
    ) -> dict[str, str]:
        answer = {"id": view.ids[row].as_py()}
        if column in view.columns:
            value = view.column(column)[row].as_py()
            answer["text"] = f"{column}: {word(value)}"
        return answer

    @app.post(prefix + "/rows")
    async def rows(request: Request, survey: str, start: str, version: str) -> Response:
        view = await asyncio.to_thread(view_of, survey, start, version)
        content = await request.body()
        if len(content) % 4 or len(content) > 4 * len(view):
            raise HTTPException(413, f"{len(content)} bytes are no rows of {len(view)} galaxies")
        found = np.frombuffer(content, "<i4")
        if len(found) and not (0 <= found.min() and found.max() < len(view)):
            raise HTTPException(400, f"rows of {len(view)} galaxies only")
        return Response(shared.keep_rows(found.copy()), media_type="text/plain")

    @app.get("/rows/{name}")
    def kept(name: str) -> Response:
        found = shared.rows(name)
        if found is None:
            raise HTTPException(404, "no such set of rows; it was of an earlier server")
        return Response(found.astype("<i4").tobytes(), media_type="application/octet-stream", headers=_AS_IT_IS)

    @app.get("/download/{token}")
    def download(token: str) -> FileResponse:
        found = shared.offered(token)
        if found is None or not found[0].is_file():
            raise HTTPException(404, "no such download; export again")
        return FileResponse(found[0], filename=found[1])
