"""Show the API's description in Swagger UI, with nothing from elsewhere."""

from base64 import b64encode
from hashlib import sha256
from importlib.resources import files

from flask import Blueprint, Response, request, send_from_directory

_PREFIX = "/v1/admin/docs"
_ASSETS = f"{_PREFIX}/assets/"

# The configuration of flask-smorest.
CONFIG = {
    "API_TITLE": "Signal Management API",
    "API_VERSION": "v1",
    "OPENAPI_VERSION": "3.0.3",
    "OPENAPI_URL_PREFIX": _PREFIX,
    "OPENAPI_JSON_PATH": "openapi.json",
    "OPENAPI_SWAGGER_UI_PATH": "/",
    "OPENAPI_SWAGGER_UI_URL": _ASSETS,
    # The validator's badge would be fetched from elsewhere.
    "OPENAPI_SWAGGER_UI_CONFIG": {"validatorUrl": None},
    "API_SPEC_OPTIONS": {
        "components": {"securitySchemes": {"token": {"type": "http", "scheme": "bearer"}}},
        "security": [{"token": []}],
    },
}

blueprint = Blueprint("swagger-assets", __name__)


def is_docs(path: str) -> bool:
    """Tell whether an address belongs to the description."""
    return f"{path}/".startswith(f"{_PREFIX}/")


@blueprint.get(f"{_ASSETS}<path:name>", endpoint="get_docs_file")
def _get_docs_file(name: str) -> Response:
    """Serve a file of Swagger UI."""
    return send_from_directory(str(files("flask_swagger_ui") / "dist"), name)


@blueprint.after_app_request
def _allow_its_own_script(response: Response) -> Response:
    """Let the page run its own scripts and style sheets: those that it names, and the one written in it."""
    if is_docs(request.path) and response.mimetype == "text/html":
        scripts = (part.partition(b"</script>")[0] for part in response.get_data().split(b"<script>")[1:])
        digests = (sha256(script).digest() for script in scripts)
        inline = " ".join(f"'sha256-{b64encode(digest).decode()}'" for digest in digests)
        # Swagger UI writes style attributes into its markup.
        response.headers["Content-Security-Policy"] = (
            f"default-src 'none'; script-src 'self' {inline}; style-src 'self' 'unsafe-inline'; "
            "img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; "
            "frame-ancestors 'none'"
        )
    return response
