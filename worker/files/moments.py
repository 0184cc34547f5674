"""Read a file's times as its writer meant them."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

EXCEL = "excel"
# Excel counts days from here; it holds 1900 for a leap year, which the day before the first makes good.
_EXCEL_BEGAN = datetime(1899, 12, 30)  # noqa: DTZ001 - the zone is the file's own
_EXAMPLE = datetime(2030, 1, 29, 14, 53, 20, tzinfo=UTC)


class MomentError(Exception):
    """Say in a sentence why a text is no time of the form that was told."""


@dataclass(frozen=True, slots=True)
class Moments:
    """Know how a file writes its times, and in which zone where a time does not say.

    ``form`` is one of ``strptime``, or ``excel`` for Excel's bare number of days; None stands for ISO 8601.
    """

    form: str | None = None
    zone: ZoneInfo | None = None

    def __post_init__(self) -> None:
        """Refuse a form that no time can be written in.

        Raises:
            MomentError: saying what a form looks like.
        """
        if self.form in (None, EXCEL):
            return
        try:
            fits = self._parsed(_EXAMPLE.strftime(self.form), self.form).date() == _EXAMPLE.date()
        except ValueError:
            fits = False
        if not fits:
            raise MomentError("must be like '%d.%m.%Y %H:%M', with day, month and year, or excel.")

    def read(self, text: str) -> str:
        """Return the time in ISO 8601; one that is in ISO 8601 already may say its zone itself.

        Raises:
            MomentError: naming the form.
        """
        if self.form is None:
            return text if self.zone is None else self._iso(text)
        try:
            return self._placed(self._parsed(text, self.form))
        except (ValueError, OverflowError):
            raise MomentError(f"must be a time like {self.form}.") from None

    def _parsed(self, text: str, form: str) -> datetime:
        if form == EXCEL:
            return _EXCEL_BEGAN + timedelta(seconds=round(float(text.replace(",", ".")) * 86_400))
        return datetime.strptime(text, form)  # noqa: DTZ007 - the zone is added where there is none

    def _iso(self, text: str) -> str:
        try:
            return self._placed(datetime.fromisoformat(text))
        except ValueError:
            # Seconds since 1970 name no zone; what is no time at all is told of by whoever checks the event.
            return text

    def _placed(self, moment: datetime) -> str:
        return (moment if moment.tzinfo else moment.replace(tzinfo=self.zone or UTC)).isoformat()
