"""Set the headers that keep answers out of caches, frames and guesses."""

from flask import Flask, Response

NOTHING = "default-src 'none'; frame-ancestors 'none'"


def protect(app: Flask) -> None:
    """Set them on every answer; a page that needs more than nothing says so in its own policy."""

    def add(response: Response) -> Response:
        response.headers.setdefault("Content-Security-Policy", NOTHING)
        response.headers.setdefault("Cache-Control", "no-store")
        response.headers["X-Content-Type-Options"] = "nosniff"
        response.headers["X-Frame-Options"] = "DENY"
        response.headers["Referrer-Policy"] = "no-referrer"
        return response

    app.after_request(add)
