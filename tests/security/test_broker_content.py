"""Only JSON is read from the broker."""

import pickle
from pathlib import Path
from typing import Any

import pytest
from kombu.exceptions import ContentDisallowed
from kombu.message import Message
from kombu.serialization import prepare_accept_content

from worker.app import app

# Celery warns that a later version renames one of its settings.
pytestmark = pytest.mark.filterwarnings("ignore::celery.exceptions.CPendingDeprecationWarning")


class Burglar:
    """Write a file when unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> Any:
        return (self.mark.write_text, ("was here",))


def message(content_type: str, body: bytes) -> Message:
    accepted = prepare_accept_content(app.conf.accept_content)
    return Message(body, content_type=content_type, content_encoding="binary", accept=accepted)


@pytest.mark.parametrize(
    "content_type", ["application/x-python-serialize", "application/x-yaml", "application/x-msgpack"]
)
def test_a_pickled_message_is_refused_before_it_is_read(tmp_path: Path, content_type: str) -> None:
    mark = tmp_path / "mark"
    with pytest.raises(ContentDisallowed):
        message(content_type, pickle.dumps(Burglar(mark))).decode()
    assert not mark.exists()


def test_json_is_read() -> None:
    assert message("application/json", b"[1]").decode() == [1]


def test_every_setting_allows_only_json() -> None:
    assert app.conf.accept_content == ["json"]
    assert app.conf.task_serializer == "json"
    # None means that results and events follow accept_content.
    assert app.conf.result_accept_content is None
    assert app.conf.event_serializer == "json"
