"""The server of the page: its files, the videos, and the jobs.

Whatever a page sends may have been written by somebody else. A request that changes something needs the header of the
page, which another site cannot send; a name that leads here from outside (DNS rebinding) is refused.
"""

import asyncio
import ipaddress
import json
import mimetypes
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from videoctx.app.jobs import Job, QueueFullError
from videoctx.app.maps import MOST_SECONDS
from videoctx.app.request_fields import number_of
from videoctx.app.videos import Video, VideoError
from videoctx.app.workplace import FRAME_RATES, Workplace
from videoctx.user_error import UserError, error_line

PAGE = Path(__file__).parent / "page"
PAGE_HEADER = "x-videoctx-page"
PAGE_ID = re.compile(r"[A-Za-z0-9_-]{8,64}")
MAX_JSON_BYTES = 100_000
LOOK_SECONDS = 10.0  # that a request waits for a job
LOOK_EVERY_SECONDS = 0.02
SWEEP_SECONDS = 10.0
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src 'self' data: blob:; media-src 'self' blob:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(self)",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


def make_server(work: Workplace, *, host: str) -> Starlette:
    """Return the application.

    Args:
        work: what it serves.
        host: the name or address that the user gave, which is accepted in requests.
    """
    routes = _Routes(work)

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        sweeping = asyncio.create_task(_sweep(work))
        yield
        sweeping.cancel()

    return Starlette(
        routes=[
            Route("/", routes.page),
            Route("/page/{name}", routes.page_file),
            Route("/state", routes.state),
            Route("/videos", routes.add_video, methods=["POST"]),
            Route("/videos/{id}", routes.video),
            Route("/videos/{id}/frame", routes.frame),
            Route("/jobs", routes.add_job, methods=["POST"]),
            Route("/jobs/{id}", routes.job),
            Route("/jobs/{id}", routes.cancel_job, methods=["DELETE"]),
            Route("/results", routes.results),
            Route("/page", routes.heard_of, methods=["POST"]),
            Route("/page", routes.close_page, methods=["DELETE"]),
        ],
        middleware=[Middleware(_Guard, host=host)],
        exception_handlers={
            HTTPException: _http_error,
            UserError: _user_error,
            ValueError: _user_error,
            OSError: _user_error,
        },
        lifespan=lifespan,
    )


async def _sweep(work: Workplace) -> None:
    while True:
        await asyncio.sleep(SWEEP_SECONDS)
        work.store.close_silent_pages()


class _Json(JSONResponse):
    """JSON in ASCII, because the name of a file may have bytes that are no text."""

    def render(self, content: Any) -> bytes:
        return json.dumps(content, allow_nan=False, separators=(",", ":")).encode("ascii")


class _Guard:
    """Refuses requests of other sites, and adds the headers that keep the page to itself."""

    def __init__(self, app: ASGIApp, *, host: str) -> None:
        self.app, self.host = app, host

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        async def send_with_headers(message: Any) -> None:
            if message["type"] == "http.response.start":
                extra = {"Cache-Control": "no-store", **HEADERS}
                message["headers"] += [(name.lower().encode(), value.encode()) for name, value in extra.items()]
            await send(message)

        request = Request(scope)
        refusal = self._refusal(request)
        response: ASGIApp = _Json({"error": refusal}, 403) if refusal else self.app
        await response(scope, receive, send_with_headers)

    def _refusal(self, request: Request) -> str | None:
        name = request.url.hostname or ""
        if not (name in ("localhost", self.host.lower()) or _is_address(name)):
            return (
                f"{name or 'no host'} is not this server's name; expected localhost, an address, or the name in --host"
            )
        origin = request.headers.get("origin")
        if origin is not None and origin.partition("://")[2] != request.headers.get("host"):
            return "the request comes from the page of another site"
        if request.method not in ("GET", "HEAD") and not PAGE_ID.fullmatch(request.headers.get(PAGE_HEADER, "")):
            return f"expected the header {PAGE_HEADER}, which the page sends"
        return None


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


class _Routes:
    """What each address does."""

    def __init__(self, work: Workplace) -> None:
        self.work = work
        self.frames = asyncio.Semaphore(1)

    async def page(self, _: Request) -> Response:
        return FileResponse(PAGE / "index.html", media_type="text/html; charset=utf-8")

    async def page_file(self, request: Request) -> Response:
        name = request.path_params["name"]
        types = {".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml"}
        if name not in {file.name for file in PAGE.iterdir()} or Path(name).suffix not in types:
            raise HTTPException(404, "no such file")
        return FileResponse(PAGE / name, media_type=types[Path(name).suffix])

    async def state(self, _: Request) -> Response:
        return _Json(self.work.describe())

    async def add_video(self, request: Request) -> Response:
        page = request.headers[PAGE_HEADER]
        if request.headers.get("content-type") == "application/json":
            video = await asyncio.to_thread(self.work.add_source, await _json_of(request), page)
        else:
            video = await self._upload(request, page)
        of_images = self.work.store.is_of_images(video)
        return _Json(
            {
                "id": video.id,
                "name": video.name,
                "fetched": video.path is not None,
                "of_images": of_images,
                "fps": video.fps,
                "start": video.segment.start_seconds,
                "end": video.segment.end_seconds,
            }
        )

    async def _upload(self, request: Request, page: str) -> Video:
        store = self.work.store
        length = request.headers.get("content-length", "")
        name, num_bytes = request.query_params.get("name", ""), int(length) if length.isdecimal() else None
        try:
            with store.upload(name, page, num_bytes) as video:
                assert video.path is not None
                with open(video.path, "wb") as file:
                    async for part in request.stream():
                        store.grow(video, len(part))
                        await asyncio.to_thread(file.write, part)
        except ClientDisconnect as error:
            raise HTTPException(400, "the upload was interrupted") from error
        return video

    async def video(self, request: Request) -> Response:
        video = self.work.store.find(request.path_params["id"])
        if video.path is None:
            raise HTTPException(409, "the video has not been fetched yet")
        if not Path(video.path).is_file():
            raise HTTPException(404, f"{video.name}: no such file")
        kind, _ = mimetypes.guess_type(f"file{Path(video.path).suffix}")
        is_video = kind is not None and kind.startswith("video/")
        return FileResponse(video.path, media_type=kind if is_video else "application/octet-stream")

    async def frame(self, request: Request) -> Response:
        asked = {name: _number(text) for name, text in request.query_params.items() if name in ("seconds", "fps")}
        seconds = number_of(asked, "seconds", least=0, most=MOST_SECONDS) or 0.0
        fps = number_of(asked, "fps", least=FRAME_RATES[0], most=FRAME_RATES[1])
        async with self.frames:
            image, duration = await asyncio.to_thread(self.work.frame_at, request.path_params["id"], seconds, fps=fps)
        return Response(image, media_type="image/jpeg", headers={"X-Duration-Seconds": f"{duration:.3f}"})

    async def add_job(self, request: Request) -> Response:
        job = self.work.add_job(await _json_of(request), request.headers[PAGE_HEADER])
        return _Json({"id": job.id})

    async def job(self, request: Request) -> Response:
        found = self.work.find_job(request.path_params["id"])
        if found is None:
            raise HTTPException(404, "the request is not known any more; expected it to be repeated")
        job, queue = found
        known = request.query_params.get("known")
        waited = 0.0
        while (status := _status(job, queue.num_before(job)))["version"] == known and waited < LOOK_SECONDS:
            await asyncio.sleep(LOOK_EVERY_SECONDS)
            waited += LOOK_EVERY_SECONDS
            queue.find(job.id)
        if job.is_over and request.method == "GET":  # HEAD shows nothing, so the result is kept
            status["result"] = job.result
            response = await asyncio.to_thread(_Json, status)
            queue.forget(job)
            return response
        return _Json(status)

    async def cancel_job(self, request: Request) -> Response:
        found = self.work.find_job(request.path_params["id"])
        if found is not None:
            job, queue = found
            queue.cancel(job)
        return _Json({})

    async def results(self, request: Request) -> Response:
        return _Json(await asyncio.to_thread(self.work.tested_videos, dict(request.query_params)))

    async def heard_of(self, request: Request) -> Response:
        self.work.store.heard_of(request.headers[PAGE_HEADER])
        return _Json({})

    async def close_page(self, request: Request) -> Response:
        await asyncio.to_thread(self.work.close_page, request.headers[PAGE_HEADER])
        return _Json({})


def _number(text: str) -> object:
    try:
        return float(text)
    except ValueError:
        return text


def _status(job: Job, num_before: int) -> dict[str, Any]:
    progress = None if job.progress is None else round(job.progress, 3)
    version = f"{job.state}-{num_before}-{progress}"
    return {
        "state": job.state,
        "before": num_before,
        "progress": progress,
        "error": job.error,
        "version": version,
    }


async def _json_of(request: Request) -> dict[str, Any]:
    """Return the JSON object of a request.

    Raises:
        HTTPException: it is too long, or no JSON object.
    """
    length = request.headers.get("content-length", "")
    if not length.isdecimal() or int(length) > MAX_JSON_BYTES:
        raise HTTPException(413, f"expected JSON of at most {MAX_JSON_BYTES} bytes")
    try:
        body = await request.json()
    except (ValueError, RecursionError) as error:
        raise HTTPException(400, "expected JSON") from error
    if not isinstance(body, dict):
        raise HTTPException(400, "expected a JSON object")
    return body


Handler = Callable[[Request, Exception], Awaitable[Response]]


async def _http_error(_: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return _Json({"error": error.detail}, error.status_code)


async def _user_error(_: Request, error: Exception) -> Response:
    status = 503 if isinstance(error, QueueFullError) else error.status if isinstance(error, VideoError) else 400
    return _Json({"error": error_line(error)}, status)
