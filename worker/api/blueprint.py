"""Blueprints that read JSON strictly."""

import json
import math
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NoReturn, TypeVar

import flask
import flask_smorest
import marshmallow
from webargs.flaskparser import FlaskParser

from worker.api.errors import ApiError, invalid_field_error, validation_error
from worker.event.text import shown_key

View = TypeVar("View", bound=Callable[..., Any])

# PostgreSQL stores no null byte, and a lone surrogate has no UTF-8.
_UNSTORABLE = re.compile("[\0\ud800-\udfff]")


class _Parser(FlaskParser):
    """Read a request's body and query, and say in a sentence what is wrong with them."""

    # A misspelt parameter that is passed over would look like one that was heeded.
    DEFAULT_UNKNOWN_BY_LOCATION = {  # noqa: RUF012 - as webargs declares it.
        **FlaskParser.DEFAULT_UNKNOWN_BY_LOCATION,
        "query": marshmallow.RAISE,
    }

    def load_json(self, req: flask.Request, schema: marshmallow.Schema) -> Any:
        """Return the parsed body; where every field has a default, there may be none."""
        if not req.get_data() and not any(field.required for field in schema.fields.values()):
            return {}
        if not req.is_json:
            raise ApiError(415, "The body must be JSON, with Content-Type: application/json.")
        return _read_json(req.get_data())

    def handle_error(
        self,
        error: marshmallow.ValidationError,
        req: flask.Request,  # noqa: ARG002 - webargs passes these four by name.
        schema: marshmallow.Schema,  # noqa: ARG002
        *,
        error_status_code: int | None,  # noqa: ARG002
        error_headers: Mapping[str, str] | None,  # noqa: ARG002
    ) -> NoReturn:
        """End the request; webargs puts the messages under the place that they are about."""
        (messages,) = error.messages_dict.values()
        raise validation_error(marshmallow.ValidationError(messages))


def _read_json(body: bytes) -> Any:
    """Parse JSON as its standard has it.

    Raises:
        ApiError: 400 for what is no JSON, 422 for texts that cannot be kept.
    """
    try:
        value = json.loads(body, parse_constant=_refuse_constant, parse_float=_finite)
        for path in _unstorable(value, ""):
            raise invalid_field_error(path or "body", "must not hold null bytes or lone surrogates")
    except RecursionError:
        raise ApiError(400, "The body is nested too deeply.") from None
    except json.JSONDecodeError as error:
        place = f"line {error.lineno}, column {error.colno}"
        raise ApiError(400, f"The body is not JSON: {error.msg} at {place}.") from None
    except ValueError as error:
        raise ApiError(400, f"The body is not JSON: {error}.") from None
    return value


class Blueprint(flask_smorest.Blueprint):  # type: ignore[misc]  # flask-smorest ships no types.
    """Give flask-smorest's decorators their types, and our parser."""

    ARGUMENTS_PARSER = _Parser()

    def route(self, rule: str, **options: Any) -> Callable[[View], View]:
        """Serve an address. A view is private to its module; the endpoint has its name without the underscore."""

        def decorate(view: View) -> View:
            endpoint = view.__name__.removeprefix("_")
            decorated: View = super(Blueprint, self).route(rule, endpoint=endpoint, **options)(view)
            return decorated

        return decorate

    def arguments(self, schema: Any, **options: Any) -> Callable[[View], View]:
        """Give the view the request's body, or its query, checked."""
        decorate: Callable[[View], View] = super().arguments(schema, **options)
        return decorate

    def response(self, status_code: int, schema: Any = None, **options: Any) -> Callable[[View], View]:
        """Answer in a shape."""
        decorate: Callable[[View], View] = super().response(status_code, schema, **options)
        return decorate


def _refuse_constant(word: str) -> NoReturn:
    raise ValueError(f"{word} is not a number")


def _finite(digits: str) -> float:
    number = float(digits)
    if math.isinf(number):
        raise ValueError(f"{digits} is too large a number")
    return number


def _unstorable(value: Any, path: str) -> Iterator[str]:
    if isinstance(value, str):
        if _UNSTORABLE.search(value):
            yield path
    elif isinstance(value, dict):
        for key, inner in value.items():
            # The key itself is not repeated: it cannot be written into an answer.
            yield from (
                [path]
                if _UNSTORABLE.search(key)
                else _unstorable(inner, f"{path}.{shown_key(key)}".lstrip("."))
            )
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from _unstorable(inner, f"{path}.{index}".lstrip("."))
