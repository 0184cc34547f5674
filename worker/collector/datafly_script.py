"""Serve Datafly.js."""

import gzip
from hashlib import sha256
from pathlib import Path

from flask import Flask, Response, redirect, request
from werkzeug.wrappers import Response as AnyResponse

_STATIC = Path(__file__).parent / "static"
_JAVASCRIPT = "text/javascript; charset=utf-8"
_SHORT = "public, max-age=300, stale-while-revalidate=86400"
_FOR_EVER = "public, max-age=31536000, immutable"


# Built from packages/datafly-js; the built file is part of the package, so that serving it needs no Node.
_SCRIPT = (_STATIC / "datafly.js").read_bytes()
# Without a time in its header the compressed script is the same in every process.
_COMPRESSED = gzip.compress(_SCRIPT, 9, mtime=0)
_TYPES = (_STATIC / "datafly.d.ts").read_bytes()

_HASH = sha256(_SCRIPT).hexdigest()[:12]
_PATH = "/d.js"
_TYPES_PATH = "/d.d.ts"


def add_script_routes(app: Flask) -> None:
    """Add the routes of the script to an app."""
    app.add_url_rule(_PATH, "script", _current, provide_automatic_options=False)
    app.add_url_rule("/d.<string(length=12):digest>.js", "script_by_hash", _hashed)
    app.add_url_rule(_TYPES_PATH, "script_types", _types, provide_automatic_options=False)


def _current() -> AnyResponse:
    return _script(_SHORT)


def _hashed(digest: str) -> AnyResponse:
    """Serve the script by its hash. An older hash redirects to the current script."""
    if digest != _HASH:
        response = redirect(_PATH.lstrip("/"))
        response.headers["Cache-Control"] = "no-store"
        return response
    return _script(_FOR_EVER)


def _script(cache_control: str) -> Response:
    compressed = request.accept_encodings.quality("gzip") > 0
    response = Response(_COMPRESSED if compressed else _SCRIPT, content_type=_JAVASCRIPT)
    if compressed:
        response.headers["Content-Encoding"] = "gzip"
    response.set_etag(f"{_HASH}-gzip" if compressed else _HASH)
    return _cacheable(response, cache_control)


def _types() -> Response:
    response = Response(_TYPES, content_type="text/plain; charset=utf-8")
    response.set_etag(sha256(_TYPES).hexdigest()[:12])
    return _cacheable(response, _SHORT)


def _cacheable(response: Response, cache_control: str) -> Response:
    response.headers["Cache-Control"] = cache_control
    response.headers["Cross-Origin-Resource-Policy"] = "cross-origin"
    response.vary.add("Accept-Encoding")
    response.make_conditional(request)
    return response
