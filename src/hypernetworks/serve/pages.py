"""The web pages: their files, and the headers that keep them from loading anything else."""

from collections.abc import Awaitable, Callable, Mapping
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import Final

from fastapi import FastAPI
from fastapi.responses import Response

__all__ = ["FOLDER", "KINDS", "STROKES_FOLDER", "STROKES_PAGE", "TEXT_PAGE", "add_pages"]

KINDS: Final = {"html": "text/html", "css": "text/css", "js": "text/javascript"}

FOLDER, STROKES_FOLDER = (files("hypernetworks.serve") / name for name in ("page", "strokes_page"))


def _parts(folder: Traversable) -> dict[str, Traversable]:
    return {f"/{file.name}": file for file in folder.iterdir() if not file.name.endswith(".html")}


# Addresses in the files are relative, so that the pages work below any path.
TEXT_PAGE: Final = {"/": FOLDER / "index.html", "/docs": FOLDER / "docs.html", **_parts(FOLDER)}
"""The files of the page of `text serve` by their paths."""

_SHARED: Final = ("language.js", "requests.js", "docs.js", "page.css")
STROKES_PAGE: Final = {
    "/": STROKES_FOLDER / "index.html",
    "/docs": FOLDER / "docs.html",
    **_parts(STROKES_FOLDER),
    **{f"/{name}": FOLDER / name for name in _SHARED},
}
"""The files of the page of `strokes serve`."""

HEADERS: Final = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-cache",
}


def add_pages(app: FastAPI, pages: Mapping[str, Traversable]) -> None:
    """Serve the files of a page."""
    for path, file in pages.items():
        app.add_api_route(path, _page(file), methods=["GET", "HEAD"], include_in_schema=False)


def _page(file: Traversable) -> Callable[[], Awaitable[Response]]:
    content = file.read_bytes()

    async def page() -> Response:
        return Response(content, media_type=KINDS[file.name.rpartition(".")[2]], headers=HEADERS)

    return page
