"""What the audit log tells."""

from pathlib import Path
from typing import Any

import pytest
from freezegun import freeze_time

from tests.api.conftest import Api
from tests.api.test_integrations import BODY, body
from worker.ledger.setup import audit_log

AUDIT = "/v1/admin/audit"


def newest(api: Api) -> dict[str, Any]:
    entry: dict[str, Any] = api.get(AUDIT)["data"][0]
    return entry


def test_an_entry_says_who_changed_what_from_what_to_what_and_when(api: Api, source: dict[str, Any]) -> None:
    with freeze_time("2030-01-01T00:00:00Z"):
        api.change("/v1/admin/sources/src_abc123", {"name": "Store", "cookies": {"epik": False}})

    assert newest(api) == {
        "id": 2,
        "at": "2030-01-01T00:00:00.000Z",
        "actor": "admin",
        "action": "source.change",
        "object": "src_abc123",
        "changes": {"name": ["Shop", "Store"], "cookies.epik": [True, False]},
    }


def test_every_change_leaves_one_entry(api: Api) -> None:
    source = api.make("/v1/admin/sources", {"id": "src_abc123", "name": "Shop"})
    api.change(f"/v1/admin/sources/{source['id']}", {"name": "Store"})
    api.call("POST", "/v1/admin/sources/src_abc123/pipeline-key")
    api.call("POST", "/v1/admin/sources/src_abc123/server-secret")
    made = api.make("/v1/admin/integrations", BODY)
    api.change(f"/v1/admin/integrations/{made['id']}", {"enabled": False})
    api.call("DELETE", f"/v1/admin/integrations/{made['id']}")
    api.call("DELETE", "/v1/admin/sources/src_abc123")
    api.get("/v1/admin/sources")
    api.error("POST", "/v1/admin/sources", {})

    assert [
        ("source.create", "src_abc123"),
        ("source.change", "src_abc123"),
        ("source.rotate_key", "src_abc123"),
        ("source.rotate_secret", "src_abc123"),
        ("integration.create", made["id"]),
        ("integration.change", made["id"]),
        ("integration.delete", made["id"]),
        ("source.delete", "src_abc123"),
    ] == [(entry["action"], entry["object"]) for entry in reversed(api.get(AUDIT)["data"])]


def test_secrets_are_masked_in_every_entry(api: Api, source: dict[str, Any], tmp_path: Path) -> None:
    made = api.make("/v1/admin/integrations", BODY)
    api.change(f"/v1/admin/integrations/{made['id']}", {"config": {"access_token": "another_token"}})
    changed = newest(api)["changes"]
    rotated = api.call("POST", "/v1/admin/sources/src_abc123/server-secret").json
    api.call("DELETE", f"/v1/admin/integrations/{made['id']}")
    log = api.call("GET", AUDIT).text

    assert changed == {"config.access_token": ["***", "***"]}
    for secret in ("your_access_token", "another_token", source["server_secret"], rotated["server_secret"]):
        assert secret not in log
    created = {entry["action"]: entry["changes"] for entry in api.get(AUDIT)["data"]}
    assert created["integration.create"]["config.access_token"] == [None, "***"]
    assert created["source.create"]["server_secret"] == [None, "***"]


def test_a_change_that_cannot_be_told_does_not_happen(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as broken:
        broken.setattr(audit_log, "append_audit_entry", _fail)
        assert api.call("POST", "/v1/admin/sources", {"name": "Shop"}).status_code == 500

    assert api.get("/v1/admin/sources")["data"] == []


@pytest.mark.parametrize("path", ["/v1/admin/sources", "/v1/admin/integrations", AUDIT])
def test_lists_are_read_page_by_page_each_thing_once(api: Api, path: str) -> None:
    for number in range(5):
        source = api.make("/v1/admin/sources", {"id": f"src_{number}", "name": "Shop"})
        api.make("/v1/admin/integrations", body(source_id=source["id"]))
    whole = api.get(path)
    pages = [api.get(f"{path}?limit=2")]
    while pages[-1]["has_more"]:
        pages.append(api.get(f"{path}?limit=2&cursor={pages[-1]['next_cursor']}"))

    assert whole["data"] == [one for page in pages for one in page["data"]]
    assert (whole["has_more"], whole["next_cursor"]) == (False, None)
    assert pages[-1]["next_cursor"] is None
    assert {2} == {len(page["data"]) for page in pages[:-1]}


def _fail(*_: object, **__: object) -> None:
    raise RuntimeError("no audit")
