"""Serves the built portal; every address that is no file is a page of its own inside it."""

from __future__ import annotations

from pathlib import Path

from fastapi import APIRouter
from fastapi.responses import FileResponse, HTMLResponse, Response

from control_plane.errors import NotFoundError

_FOREVER = "public, max-age=31536000, immutable"
_NOT_BUILT = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>MT5 Farm</title></head>
<body><h1>The portal is not built yet</h1>
<p>The farm runs, but the pages of its portal have not been built on this machine.
Run <code>make portal</code> in the project's folder, then load this page again.</p></body></html>
"""


def portal_router(dist: Path) -> APIRouter:
    """Must be included last: it answers whatever nothing else does."""
    router = APIRouter(include_in_schema=False)

    @router.api_route("/{path:path}", methods=["GET", "HEAD"])
    def portal(path: str) -> Response:
        if path == "api" or path.startswith("api/"):
            raise NotFoundError("There is no such address in the API.")
        file = _file_at(dist, path)
        if file is not None:
            headers = {"Cache-Control": _FOREVER if path.startswith("assets/") else "no-cache"}
            return FileResponse(file, headers=headers)
        if path.startswith("assets/"):
            raise NotFoundError("There is no such file.")
        index = dist / "index.html"
        if not index.is_file():
            return HTMLResponse(_NOT_BUILT, status_code=503)
        return FileResponse(index, headers={"Cache-Control": "no-cache"})

    return router


def _file_at(dist: Path, path: str) -> Path | None:
    """A file of the portal; nothing outside its folder, and no hidden file."""
    if not path or "\0" in path or any(part.startswith(".") for part in path.split("/")):
        return None
    try:
        file = (dist / path).resolve()
        return file if file.is_relative_to(dist.resolve()) and file.is_file() else None
    except OSError:  # a name that no file can have
        return None
