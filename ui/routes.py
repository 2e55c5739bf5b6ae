"""What the browser fetches beside the pages: slices, thumbnails, a run's report. Read-only, from the lake alone.

Every address holds an id and a number, never a path: what is not a known id of the lake is 404. Answers are private to
the browser for an hour and no longer, so that an erased person is not kept by its cache.
"""

from __future__ import annotations

import gzip
import re
from collections.abc import Callable
from uuid import UUID

from starlette.middleware.base import BaseHTTPMiddleware, RequestResponseEndpoint
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from ui import slices
from ui.catalog import Catalog

_RUN_ID = re.compile(r"[0-9a-f]{16}")
_PRIVATE = "private, max-age=3600"
_GZIP_FROM_BYTES = 4096

POLICY = (
    "default-src 'self'; img-src 'self' data: blob:; font-src 'self' data:; connect-src 'self'; "
    "style-src 'self' 'unsafe-inline'; script-src 'self' 'unsafe-inline' 'unsafe-eval' blob: data:; worker-src 'self' blob:; "
    "frame-src 'self' blob: data:; object-src 'none'; base-uri 'self'; form-action 'self'; frame-ancestors 'self'"
)
"""Nothing may be loaded from, or sent to, anywhere but this server; the browser enforces it."""

REPORT_POLICY = "sandbox allow-scripts; default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'"
"""A run's report is a closed page: it may draw itself and nothing else."""


class SecurityHeaders(BaseHTTPMiddleware):
    """Puts the content policy on every answer that has none of its own."""

    async def dispatch(self, request: Request, call_next: RequestResponseEndpoint) -> Response:
        """The answer with its headers."""
        response = await call_next(request)
        response.headers.setdefault("Content-Security-Policy", POLICY)
        response.headers["X-Content-Type-Options"] = "nosniff"
        response.headers["Referrer-Policy"] = "no-referrer"
        return response


def routes(catalog: Callable[[], Catalog]) -> list[Route]:
    """The routes over a catalog, asked for anew with each request: a new snapshot shows at once."""

    def raw(request: Request) -> Response:
        found = _slice(catalog(), request, reduce=_number(request.query_params.get("reduce", "0"), most=6))
        if isinstance(found, Response):
            return found
        body = found.values.astype(found.values.dtype.newbyteorder("<"), copy=False).tobytes()
        headers = {
            "X-Slice-Type": found.kind,
            "X-Slice-Rows": str(found.values.shape[0]),
            "X-Slice-Columns": str(found.values.shape[1]),
            "X-Slice-Slope": repr(float(found.slope)),
            "X-Slice-Intercept": repr(float(found.intercept)),
            "X-Slice-Inverted": "1" if found.is_inverted else "0",
            "X-Slice-Center": repr(float(found.center)),
            "X-Slice-Width": repr(float(found.width)),
            "X-Slice-Aspect": repr(float(found.aspect)),
            "X-Slice-Mm": repr(float(found.mm)),
            "X-Slice-Regions": ";".join(",".join(f"{n:.1f}" for n in box) for box in found.regions),
            "Cache-Control": _PRIVATE,
        }
        if len(body) >= _GZIP_FROM_BYTES and "gzip" in request.headers.get("accept-encoding", ""):
            body = gzip.compress(body, compresslevel=1)
            headers["Content-Encoding"] = "gzip"
        return Response(body, media_type="application/octet-stream", headers=headers)

    def picture(request: Request) -> Response:
        found = _slice(catalog(), request, largest=slices.LARGEST_SHOWN_PX)
        return found if isinstance(found, Response) else _webp(found, slices.LARGEST_SHOWN_PX)

    def thumbnail(request: Request) -> Response:
        found = _slice(catalog(), request, largest=2 * slices.THUMBNAIL_PX)
        return found if isinstance(found, Response) else _webp(found, slices.THUMBNAIL_PX)

    def report(request: Request) -> Response:
        run_id = request.path_params["run_id"]
        page = catalog().report_page(run_id) if _RUN_ID.fullmatch(run_id) else None
        if page is None:
            return _missing()
        return Response(
            page,
            media_type="text/html",
            headers={"Content-Security-Policy": REPORT_POLICY, "Cache-Control": "no-store"},
        )

    return [
        Route("/api/series/{series_id}/{index}.raw", raw),
        Route("/api/series/{series_id}/{index}.webp", picture),
        Route("/api/thumb/{series_id}.webp", thumbnail),
        Route("/api/run/{run_id}/report.html", report),
    ]


def _slice(
    catalog: Catalog, request: Request, *, reduce: int = 0, largest: int | None = None
) -> slices.Slice | Response:
    series_id, index = _uuid(request.path_params["series_id"]), request.path_params.get("index")
    if series_id is None or reduce < 0:
        return _missing()
    number = _number(index, most=10_000_000) if index is not None else None
    if number is not None and number < 0:
        return _missing()
    frame = catalog.frame(series_id, number)
    if frame is None:
        return _missing()
    if largest is not None:
        reduce = slices.reduce_for(frame["rows_px"], frame["columns_px"], largest)
    try:
        return slices.read_slice(frame, reduce)
    except Exception:
        return Response("This frame cannot be decoded here.", status_code=422, media_type="text/plain")


def _webp(found: slices.Slice, longest_px: int) -> Response:
    return Response(
        slices.to_webp(found, longest_px), media_type="image/webp", headers={"Cache-Control": _PRIVATE}
    )


def _missing() -> Response:
    return Response("Not in the lake.", status_code=404, media_type="text/plain")


def _uuid(text: str) -> UUID | None:
    try:
        found = UUID(text)
    except ValueError:
        return None
    return found if str(found) == text else None  # one address a thing: no braces, no urn:, no capitals


def _number(text: str, *, most: int) -> int:
    """A plain whole number from 0 to `most`; -1 for anything else."""
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 9 and int(text) <= most else -1
