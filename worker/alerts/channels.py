"""Send notices to people: by e-mail, and to a chat service's incoming webhook."""

import json
import smtplib
import ssl
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.message import EmailMessage
from email.utils import formatdate, make_msgid
from html import escape
from typing import Any, Protocol
from urllib.parse import unquote, urlsplit

from worker.http import guard
from worker.http.signature import sign
from worker.ledger.upkeep.alerts import Change

_SMTP_SECONDS = 20.0
_LONGEST_SUBJECT = 150


class Channel(Protocol):
    """Send a notice; return None on success, else the error. A notice may be sent twice."""

    @property
    def name(self) -> str: ...
    def send(self, notice_id: int, content: Mapping[str, Any]) -> str | None: ...


@dataclass(frozen=True, slots=True)
class ChatChannel:
    """Post to an incoming webhook of Slack, or of a service that takes the same body."""

    url: str
    private_hosts: tuple[str, ...] = ()
    pages_url: str = ""
    name: str = "chat"

    def send(self, _notice_id: int, content: Mapping[str, Any]) -> str | None:
        """Post a notice as text."""
        # Slack reads these as mentions and links; a summary may contain the name of any event.
        text = escape(_with_link(content, self.pages_url)["text"], quote=False)
        body = json.dumps({"text": text}, ensure_ascii=False).encode()
        headers = {"Content-Type": "application/json", "User-Agent": "signal-worker"}
        try:
            status = guard.post(self.url, body, headers, self.private_hosts)
        except guard.PrivateHostError:
            return "its host's address is not public, and ALERT_WEBHOOK_PRIVATE_HOSTS does not name the host"
        except guard.PostFailedError as error:
            return str(error)
        return None if 200 <= status < 300 else f"HTTP {status}"


@dataclass(frozen=True, slots=True)
class MailChannel:
    """Send by SMTP. ``smtps`` is encrypted from the start, ``smtp`` by STARTTLS unless the server is on this host."""

    url: str
    sender: str
    recipients: tuple[str, ...]
    pages_url: str = ""
    name: str = "mail"

    def send(self, _notice_id: int, content: Mapping[str, Any]) -> str | None:
        """Send a notice to all recipients."""
        message = EmailMessage()
        message["From"], message["To"] = self.sender, ", ".join(self.recipients)
        message["Subject"] = content["headline"][:_LONGEST_SUBJECT]
        message["Date"], message["Message-ID"] = formatdate(), make_msgid(domain="signal-worker.invalid")
        about = f"Rule {content['rule']}, {content['subject']}."
        page = _with_link(content, self.pages_url)["page"]
        parts = (content["summary"], content["what_to_do"], page, f"{_time_text(content)} {about}")
        message.set_content("\n\n".join(part for part in parts if part))
        try:
            self._deliver(message)
        except smtplib.SMTPAuthenticationError:
            return "the mail server refuses the user or password of SMTP_URL"
        except (OSError, smtplib.SMTPException) as error:
            # An SMTP error may quote addresses.
            return type(error).__name__
        return None

    def _deliver(self, message: EmailMessage) -> None:
        parts, context = urlsplit(self.url), ssl.create_default_context()
        host, is_local = parts.hostname or "", parts.hostname in ("localhost", "127.0.0.1", "::1")
        if parts.scheme == "smtps":
            server: smtplib.SMTP = smtplib.SMTP_SSL(
                host, parts.port or 465, timeout=_SMTP_SECONDS, context=context
            )
        else:
            server = smtplib.SMTP(host, parts.port or (25 if is_local else 587), timeout=_SMTP_SECONDS)
        with server:
            if parts.scheme == "smtp" and not is_local:
                server.starttls(context=context)
            if parts.username:
                server.login(unquote(parts.username), unquote(parts.password or ""))
            server.send_message(message)


@dataclass(frozen=True, slots=True)
class WebhookChannel:
    """Post signed notices as JSON to one URL. ``private_hosts`` may have addresses that are not public."""

    url: str
    secret: str
    private_hosts: tuple[str, ...] = ()
    pages_url: str = ""
    clock: Callable[[], float] = time.time

    def send(self, notice_id: int, content: Mapping[str, Any]) -> str | None:
        """Post a notice; return None on success, else the error.

        The receiver may get a notice twice, with the same X-Alert-Id.
        """
        body = json.dumps(_with_link(content, self.pages_url), ensure_ascii=False).encode()
        stamp = str(int(self.clock() * 1000))
        headers = {
            "Content-Type": "application/json",
            "User-Agent": "signal-worker",
            "X-Alert-Id": str(notice_id),
            "X-Timestamp": stamp,
            "X-Signature": sign(self.secret, stamp, body),
        }
        try:
            status = guard.post(self.url, body, headers, self.private_hosts)
        except guard.PrivateHostError:
            return "its host's address is not public, and ALERT_WEBHOOK_PRIVATE_HOSTS does not name the host"
        except guard.PostFailedError as error:
            return str(error)
        return None if 200 <= status < 300 else f"HTTP {status}"


def _with_link(content: Mapping[str, Any], pages_url: str) -> dict[str, Any]:
    """Complete the path of the page that shows the problem, and end the text with the time and the link."""
    if "page" not in content:
        return dict(content)
    page = pages_url.rstrip("/") + content["page"] if pages_url else ""
    return {**content, "page": page, "text": f"{content['text']} {_time_text(content)} {page}".strip()}


def _time_text(content: Mapping[str, Any]) -> str:
    word = "Ended" if content["change"] == Change.RESOLVED else "Reported"
    return f"{word} {datetime.fromtimestamp(content['at'], UTC):%Y-%m-%d %H:%M} UTC."
