"""Write spans of time and numbers as people read them."""

_UNITS = ((86_400.0, "day"), (3_600.0, "hour"), (60.0, "minute"))


def format_duration(seconds: float) -> str:
    """Write a span in whole days, hours, minutes or seconds, whichever says it best."""
    for size, unit in _UNITS:
        if seconds >= size:
            n = int(seconds // size)
            return f"{n} {unit}{'s' * (n != 1)}"
    return f"{int(seconds)} seconds"


def capped_count(n: int, most: int) -> str:
    """Write a number that counting stopped at, as such."""
    return f"{n:,}" + " or more" * (n >= most)
