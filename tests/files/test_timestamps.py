"""A file's times are read as its writer meant them."""

from zoneinfo import ZoneInfo

import pytest

from worker.event.times import parse_time
from worker.files.columns import TimeFormat, TimeFormatError

BERLIN = ZoneInfo("Europe/Berlin")
SECONDS = 1_895_928_800.0  # 2030-01-29T14:53:20Z


@pytest.mark.parametrize(
    ("form", "zone", "text"),
    [
        (None, None, "2030-01-29T14:53:20Z"),
        (None, None, "1895928800"),
        (None, BERLIN, "2030-01-29 15:53:20"),
        # What says its own zone is believed.
        (None, BERLIN, "2030-01-29T14:53:20Z"),
        (None, BERLIN, "1895928800"),
        ("%d.%m.%Y %H:%M:%S", None, "29.01.2030 14:53:20"),
        ("%d.%m.%Y %H:%M:%S", BERLIN, "29.01.2030 15:53:20"),
        ("%m/%d/%Y %I:%M:%S %p", None, "1/29/2030 2:53:20 PM"),
        ("%Y-%m-%d %H:%M:%S %z", BERLIN, "2030-01-29 14:53:20 +0000"),
        # Excel's own number, with the point or the comma of its country.
        ("excel", None, "47512.6203703704"),
        ("excel", BERLIN, "47512,662037037"),
    ],
)
def test_a_time_is_what_its_form_and_zone_make_it(form: str | None, zone: ZoneInfo | None, text: str) -> None:
    assert parse_time(TimeFormat(form, zone).read(text)) == SECONDS


def test_summer_time_is_the_zone_s_own_affair() -> None:
    read = TimeFormat("%d.%m.%Y %H:%M", BERLIN).read
    assert (read("01.07.2030 12:00"), read("01.12.2030 12:00")) == (
        "2030-07-01T12:00:00+02:00",
        "2030-12-01T12:00:00+01:00",
    )


@pytest.mark.parametrize("text", ["2030-01-29", "31.02.2030 10:00", "soon", "nan", "1e400"])
@pytest.mark.parametrize("form", ["%d.%m.%Y %H:%M", "excel"])
def test_a_time_of_another_form_is_told_with_the_form(form: str, text: str) -> None:
    with pytest.raises(TimeFormatError) as refused:
        TimeFormat(form).read(text)
    assert str(refused.value) == f"must be a time like {form}."


@pytest.mark.parametrize("form", ["", "dd.mm.yyyy", "%d.%m.", "%H:%M", "%Q"])
def test_a_form_in_which_no_day_can_be_written_is_refused(form: str) -> None:
    with pytest.raises(TimeFormatError, match=r"^must be like '%d\.%m\.%Y %H:%M', with day, month and year"):
        TimeFormat(form)
