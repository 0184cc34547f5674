"""Datafly.js is small, typed, and kept by browsers and proxies for as long as it may be."""

import gzip
import re
from pathlib import Path

import pytest

from tests.collector.conftest import Collector
from worker.collector import datafly_script

SOURCE = (Path(__file__).parents[2] / "packages/datafly-js/src/tag.js").read_text("utf-8")
BUDGET_BYTES = 8 * 1024
CALLS = {"track", "page", "identify", "group", "consent", "reset"}
HASHED_PATH = f"/d.{datafly_script._HASH}.js"


def test_it_is_under_8_kb_compressed() -> None:
    assert len(datafly_script._COMPRESSED) < BUDGET_BYTES


def test_it_needs_nothing_else() -> None:
    forbidden = r"\b(import|require|eval|document\.cookie|XMLHttpRequest)\b|new Function|innerHTML"
    assert not re.search(forbidden, datafly_script._SCRIPT.decode())


def test_the_types_name_every_call_and_no_other() -> None:
    declared = set(re.findall(r"^  (\w+)\(", datafly_script._TYPES.decode(), re.MULTILINE))
    assert declared == CALLS
    made = re.search(r"const NAMES = \[(.+?)\]", SOURCE)
    assert made is not None
    assert set(re.findall(r'"(\w+)"', made[1])) == CALLS


def test_its_own_address_is_kept_for_minutes(collector: Collector) -> None:
    response = collector.client.get("/d.js")
    assert (response.status_code, response.data) == (200, datafly_script._SCRIPT)
    assert response.headers["Content-Type"] == "text/javascript; charset=utf-8"
    assert response.headers["Cache-Control"] == "public, max-age=300, stale-while-revalidate=86400"
    assert response.headers["X-Content-Type-Options"] == "nosniff"
    # Pages that ask for isolation take it from another host only so.
    assert response.headers["Cross-Origin-Resource-Policy"] == "cross-origin"
    assert "Access-Control-Allow-Origin" not in response.headers
    assert "Set-Cookie" not in response.headers


def test_the_address_with_its_hash_is_kept_for_ever(collector: Collector) -> None:
    response = collector.client.get(HASHED_PATH)
    assert (response.status_code, response.data) == (200, datafly_script._SCRIPT)
    assert response.headers["Cache-Control"] == "public, max-age=31536000, immutable"


def test_an_older_hash_leads_to_what_there_is_now_and_is_not_kept(collector: Collector) -> None:
    response = collector.client.get("/d.0123456789ab.js")
    assert (response.status_code, response.headers["Location"]) == (302, "d.js")
    assert response.headers["Cache-Control"] == "no-store"


@pytest.mark.parametrize("path", ["/d.0.js", "/d.js/", "/d.map"])
def test_other_addresses_hold_nothing(collector: Collector, path: str) -> None:
    assert collector.client.get(path).status_code == 404


@pytest.mark.parametrize(
    ("accepted", "encoding"),
    [
        ("gzip, deflate, br", "gzip"),
        ("*", "gzip"),
        ("gzip;q=0", None),
        ("br", None),
        (None, None),
    ],
)
def test_it_is_compressed_for_who_takes_that(
    collector: Collector, accepted: str | None, encoding: str | None
) -> None:
    headers = {"Accept-Encoding": accepted} if accepted else {}
    response = collector.client.get("/d.js", headers=headers)
    assert response.headers.get("Content-Encoding") == encoding
    assert (gzip.decompress(response.data) if encoding else response.data) == datafly_script._SCRIPT
    assert "Accept-Encoding" in response.headers["Vary"]


@pytest.mark.parametrize("path", ["/d.js", HASHED_PATH, "/d.d.ts"])
@pytest.mark.parametrize("accepted", ["gzip", "identity"])
def test_who_has_it_is_told_so(collector: Collector, path: str, accepted: str) -> None:
    headers = {"Accept-Encoding": accepted}
    etag = collector.client.get(path, headers=headers).headers["ETag"]
    response = collector.client.get(path, headers=headers | {"If-None-Match": etag})
    assert (response.status_code, response.data) == (304, b"")
    assert response.headers["ETag"] == etag
    assert "Cache-Control" in response.headers


def test_both_forms_have_a_tag_of_their_own(collector: Collector) -> None:
    tags = [
        collector.client.get("/d.js", headers={"Accept-Encoding": accepted}).headers["ETag"]
        for accepted in ("gzip", "identity")
    ]
    assert tags == [f'"{datafly_script._HASH}-gzip"', f'"{datafly_script._HASH}"']


def test_the_types_are_there_to_be_read(collector: Collector) -> None:
    response = collector.client.get("/d.d.ts")
    assert (response.status_code, response.data) == (200, datafly_script._TYPES)
    assert response.headers["Content-Type"] == "text/plain; charset=utf-8"


def test_a_look_without_the_body(collector: Collector) -> None:
    response = collector.client.head("/d.js")
    assert (response.status_code, response.data) == (200, b"")


@pytest.mark.parametrize("path", ["/d.js", HASHED_PATH, "/d.d.ts"])
def test_nothing_can_be_sent_to_it(collector: Collector, path: str) -> None:
    assert collector.client.post(path).status_code == 405
