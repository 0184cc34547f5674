"""Row "ten-million": what an event costs in PostgreSQL with ten million others kept there."""

from benchmarks.growth import run_ten_million as run

__all__ = ["run"]
