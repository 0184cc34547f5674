"""Each surface maps the errors of operations in one place."""

import pytest
from click.testing import CliRunner
from flask import Flask

from worker import cli
from worker.api import errors
from worker.operations.errors import (
    ConflictError,
    DuplicateError,
    InvalidError,
    NotFoundError,
    OperationError,
)

CASES = [
    (NotFoundError("source", "src_1"), 404, "NOT_FOUND", 1, "There is no source src_1."),
    (ConflictError("It is in use."), 409, "CONFLICT", 1, "It is in use."),
    (DuplicateError("It exists."), 409, "DUPLICATE", 1, "It exists."),
    (InvalidError("name", "is too long."), 422, "VALIDATION_FAILED", 2, "name: is too long"),
    (
        InvalidError.of({"a": "is missing.", "b.c": "is no number."}),
        422,
        "VALIDATION_FAILED",
        2,
        "a: is missing; b.c: is no number",
    ),
]


@pytest.mark.parametrize(("error", "status", "code", "exit_code", "message"), CASES)
def test_an_error_of_an_operation_has_one_status_and_one_sentence_on_each_surface(
    error: OperationError,
    status: int,
    code: str,
    exit_code: int,
    message: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise error

    app = Flask("test")
    errors.add_api_error_handlers(app)
    app.add_url_rule("/", view_func=fail)
    answer = app.test_client().get("/")
    assert answer.status_code == status
    assert answer.json == {"error": {"code": code, "message": message}}

    monkeypatch.setattr(cli.books.books_command, "callback", fail)
    done = CliRunner().invoke(cli.cli, ["books"])
    assert done.exit_code == exit_code
    assert done.output.endswith(f"Error: {message}\n")
