"""Secrets are compared only in constant time."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

WORKER = Path(__file__).parents[2] / "worker"
_SECRET = re.compile(r"token|secret|signature|password|csrf|hmac|cookie|_key$", re.IGNORECASE)
# Ends of comparisons that are harmless, with the reason.
HARMLESS = {
    '["access_token"] == MASK': "distinguishes the mask from a token",
    '["access_token"] == TO_BE_MADE': "distinguishes the word for a token that is still to be made",
    "self._script.app_secret or secret)": "the sandbox",
    "self.content_key == other.content_key": "keyed hashes of two stored events",
    "item.content_key == memory.content_key": "keyed hashes of two stored events",
    "report.system_key == stored.system_key": "keyed hashes of two reports of an order",
    "report.amount_key == stored.amount_key": "amounts of two reports of an order",
    "secret != MASK": "distinguishes the mask from a secret",
    "password == user": "a check of the operator's own settings at the start",
}


def _comparisons() -> Iterator[tuple[str, ast.Compare]]:
    for path in sorted(WORKER.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Compare) and isinstance(node.ops[0], ast.Eq | ast.NotEq):
                yield str(path.relative_to(WORKER)), node


def _names(side: ast.expr) -> str | None:
    """Return the last name of a compared value; None for a constant."""
    if isinstance(side, ast.Name):
        return side.id
    if isinstance(side, ast.Attribute):
        return side.attr
    if isinstance(side, ast.Subscript) and isinstance(side.slice, ast.Constant):
        return str(side.slice.value)
    return None


def _is_of_the_ledger(side: ast.expr) -> bool:
    """Return whether this is a column: the database compares keyed hashes or public keys with an index."""
    return (
        isinstance(side, ast.Attribute) and isinstance(side.value, ast.Attribute) and side.value.attr == "c"
    )


def _suspicious() -> list[str]:
    texts = []
    for where, node in _comparisons():
        sides = (node.left, *node.comparators)
        if any(_is_of_the_ledger(side) or isinstance(side, ast.Constant) for side in sides):
            continue
        if any(_SECRET.search(name) for side in sides if (name := _names(side)) and not name.isupper()):
            text = ast.unparse(node).replace("'", '"')
            if not text.endswith(tuple(HARMLESS)):
                texts.append(f"{where}: {text}")
    return texts


def test_no_secret_is_compared_with_an_equals_sign() -> None:
    assert _suspicious() == []


def test_a_comparison_of_a_secret_would_be_found() -> None:
    node = ast.parse("token == settings.admin_token").body[0]
    assert isinstance(node, ast.Expr)
    assert isinstance(node.value, ast.Compare)
    assert _SECRET.search(_names(node.value.comparators[0]) or "")
