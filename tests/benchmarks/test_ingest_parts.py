"""The parts of an event's processor time are all measured, each without the others."""

from pathlib import Path

from benchmarks import history, ingest_parts


def test_each_part_has_its_time(tmp_path: Path) -> None:
    with history.sqlite(tmp_path) as ledger:
        used = ingest_parts.measure(ledger, bulks=1)
    assert used.keys() == {part for part, _, _ in ingest_parts.PARTS} | {ingest_parts.REST}
    assert all(spent > 0 for spent in used.values())
