"""A message that people read writes a count with its noun by `worker.formats.count_text`: "1 order", "2 orders"."""

import ast
import re
from collections.abc import Iterator
from itertools import pairwise

from docs import product

_PLURAL = re.compile(r" (\w+ ){0,2}(\w{3,}s|are|were|have|wait|entries)\b")
# Counts that are large where the message is written, and a size.
EXCEPTIONS = {
    ("worker/alerts/source_rules.py", "usual"),
    ("worker/alerts/source_rules.py", "expected"),
    ("worker/cli/backup.py", "file.stat().st_size"),
}


def _counts(tree: ast.Module) -> Iterator[str]:
    """Yield what f-strings write with separators of thousands, and a word in the plural after it."""
    for node in ast.walk(tree):
        parts = node.values if isinstance(node, ast.JoinedStr) else []
        for value, after in pairwise(parts):
            if (
                isinstance(value, ast.FormattedValue)
                and value.format_spec is not None
                and "," in ast.unparse(value.format_spec)
                and isinstance(after, ast.Constant)
                and _PLURAL.match(str(after.value))
                and not _is_constant(value.value)
            ):
                yield ast.unparse(value.value)


def _is_constant(value: ast.expr) -> bool:
    return ast.unparse(value).rpartition(".")[2].isupper()


def test_no_message_counts_one_thing_in_the_plural() -> None:
    found = {(str(path), count) for path in product.files() for count in _counts(product.tree(path))}
    assert found == EXCEPTIONS


def test_the_check_sees_a_count_before_a_plural() -> None:
    seen = ast.parse(
        """f"Recorded {done.new:,} new orders; {done.known:,} were known, {LIMIT:,} lines, {n} rows." """
    )
    assert list(_counts(seen)) == ["done.new", "done.known"]
