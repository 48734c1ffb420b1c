"""The web page: its files, and the headers that keep it from loading anything else."""

from collections.abc import Awaitable, Callable
from importlib.resources import files

from fastapi import FastAPI
from fastapi.responses import Response

KINDS = {"html": "text/html", "css": "text/css", "js": "text/javascript"}

FOLDER = files("hypernetworks.serve") / "page"

# Addresses in the files are relative, so that the page works below any path.
PATHS = {
    "/": "index.html",
    "/docs": "docs.html",
    **{f"/{file.name}": file.name for file in FOLDER.iterdir() if not file.name.endswith(".html")},
}

HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-cache",
}


def add_pages(app: FastAPI) -> None:
    """Serve the files of the page."""
    for path, name in PATHS.items():
        app.add_api_route(path, _page(name), methods=["GET", "HEAD"], include_in_schema=False)


def _page(name: str) -> Callable[[], Awaitable[Response]]:
    content = (FOLDER / name).read_bytes()

    async def page() -> Response:
        return Response(content, media_type=KINDS[name.rpartition(".")[2]], headers=HEADERS)

    return page
