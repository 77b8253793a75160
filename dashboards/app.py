"""The dashboard: a web application over one workspace's published snapshot, which it can only read.

Pages are rendered here, on the server; the browser gets markup, one style sheet and one small script, all from this
program. Nothing from another host is ever loaded, and what a request says never becomes a path or SQL.
"""

from __future__ import annotations

import hashlib
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from importlib import import_module
from ipaddress import ip_address
from pkgutil import iter_modules

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, PlainTextResponse, RedirectResponse
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from dashboards import pages
from dashboards.comparing import Comparer
from dashboards.connections import Connections
from dashboards.environment import TEMPLATES, make_environment
from dashboards.links import link
from labeling.errors import FeatlasError, UsageError
from labeling.run_progress import read_progress
from labeling.workspace import Workspace

logger = logging.getLogger(__name__)

STATIC = {"pages.css": "text/css", "pages.js": "text/javascript"}
LOCAL_NAMES = ("127.0.0.1", "localhost", "[::1]")
POLICY = (
    "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors {ancestors}"
)
HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cache-Control": "no-store",
}
MISSING_STATUS, MISTAKE_STATUS = 503, 400
Handler = Callable[[Request], Awaitable[Response]]


def create_app(workspace: Workspace, *, hosts: Sequence[str] = (), comparer: Comparer | None = None) -> FastAPI:
    """Make the application. `hosts` are names besides this machine's own that requests may be addressed to.

    Without a `comparer`, rows of the scoreboard can't be compared.
    """
    connections = Connections(workspace)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        connections.close()

    app = FastAPI(title="Featlas", docs_url=None, redoc_url=None, openapi_url=None, lifespan=lifespan)
    files = {name: (TEMPLATES / name).read_bytes() for name in STATIC}
    files["pages.css"] = (TEMPLATES / "report.css").read_bytes() + files["pages.css"]
    templates = make_environment()
    templates.globals |= {
        "link": link,
        "running": lambda: read_progress(workspace),
        "version_of": {name: hashlib.sha256(content).hexdigest()[:12] for name, content in files.items()},
    }
    app.state.connections = connections
    app.state.templates, app.state.comparer = templates, comparer
    for module in sorted(iter_modules(pages.__path__), key=lambda found: found.name):
        if not module.name.startswith("_"):
            app.include_router(import_module(f"{pages.__name__}.{module.name}").router)

    @app.get("/static/{name}")
    def static(name: str) -> Response:
        if name not in files:
            raise HTTPException(404)
        return Response(files[name], media_type=STATIC[name], headers={"Cache-Control": "max-age=31536000, immutable"})

    @app.get("/favicon.ico")
    def icon() -> Response:
        return RedirectResponse("data:,", status_code=301)

    _guard(app, {*LOCAL_NAMES, *hosts})
    _tell_errors(app)
    return app


def _guard(app: FastAPI, hosts: set[str]) -> None:
    """Refuse requests that are addressed to somebody else (DNS rebinding) or that want to change something."""

    app.add_middleware(_HeadAsGet)

    @app.middleware("http")
    async def guard(request: Request, call_next: Handler) -> Response:
        started, used = time.perf_counter(), time.process_time()
        response = _refusal(request, hosts) or await _answer(request, call_next)
        taken, cpu = time.perf_counter() - started, time.process_time() - used
        response.headers["Server-Timing"] = f"total;dur={1000 * taken:.1f}, cpu;dur={1000 * cpu:.1f}"
        for name, value in HEADERS.items():
            response.headers.setdefault(name, value)
        ancestors = "*" if request.url.path.startswith("/embed/") else "'none'"
        response.headers["Content-Security-Policy"] = POLICY.format(ancestors=ancestors)
        return response


def _refusal(request: Request, hosts: set[str]) -> Response | None:
    if "*" not in hosts and _host_name(request.headers.get("host", "")) not in hosts:
        return PlainTextResponse("This server answers to its own name only: see `featlas serve --help`.", 421)
    if request.method not in ("GET", "HEAD"):
        return PlainTextResponse("Pages can be read only.", 405, headers={"Allow": "GET, HEAD"})
    return None


async def _answer(request: Request, call_next: Handler) -> Response:
    """What the page says. One that fails is told here: outside, the answer would get none of the headers."""
    try:
        return await call_next(request)
    except Exception as error:
        logger.error("a page failed: %s", request.url.path, exc_info=error)
        said = "A mistake in this program. What happened stands in the terminal where `featlas serve` runs."
        return _error_page(request, 500, "This page failed", said)


class _HeadAsGet:
    """Answer HEAD as GET without the body: routes know GET only."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_no_body(message: Message) -> None:
            await send({**message, "body": b""} if message["type"] == "http.response.body" else message)

        if scope["type"] == "http" and scope["method"] == "HEAD":
            await self.app({**scope, "method": "GET"}, receive, send_no_body)  # a copy: the server reads its own
        else:
            await self.app(scope, receive, send)


def _host_name(header: str) -> str:
    """A Host header without its port; an IPv6 address keeps its brackets."""
    name, colon, port = header.rpartition(":")
    return (name if colon and port.isdigit() and (not name.count(":") or name.endswith("]")) else header).lower()


def is_loopback(host: str) -> bool:
    """Whether only programs of this machine can reach the address."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _tell_errors(app: FastAPI) -> None:
    """Say what is wrong on a page with the right status code, never with a traceback."""

    @app.exception_handler(UsageError)
    def usage(request: Request, error: UsageError) -> Response:
        return _error_page(request, MISTAKE_STATUS, "That can't be shown", str(error))

    @app.exception_handler(FeatlasError)
    def missing(request: Request, error: FeatlasError) -> Response:
        return _error_page(request, MISSING_STATUS, "The workspace can't be read", str(error))

    @app.exception_handler(RequestValidationError)
    def malformed(request: Request, error: RequestValidationError) -> Response:
        said = [f"{'.'.join(map(str, e['loc'][1:])) or 'address'}: {e['msg']}" for e in error.errors()]
        return _error_page(request, MISTAKE_STATUS, "The address has a mistake", "; ".join(said))

    @app.exception_handler(HTTPException)
    def not_found(request: Request, error: HTTPException) -> Response:
        known = "There is no such page. " if error.status_code == 404 and error.detail == "Not Found" else error.detail
        return _error_page(request, error.status_code, "Nothing here", known)


def _error_page(request: Request, status: int, title: str, message: str) -> Response:
    template = request.app.state.templates.get_template("error.html.j2")
    page = template.render(title=title, message=message, status=status, path=request.url.path, feature_set=None)
    return HTMLResponse(page, status)
