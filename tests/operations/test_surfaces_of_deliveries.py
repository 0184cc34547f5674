"""What a person does with deliveries has one result and one audit row from the API, the pages and the command line."""

import json
import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import pytest

from tests.ledger.shop import accept, close, new, write
from tests.operations.surfaces import ACCOUNT, ACTORS, API, PAGES, SHELL, World
from worker.ledger.delivery import find_deliveries
from worker.ledger.intake import inbox
from worker.ledger.schema import State
from worker.ledger.setup import integrations
from worker.operations.person import erasing

HOUR, DAY = 3_600, 86_400
AGES = {"evt_fresh": 60, "evt_late": 2 * HOUR, "evt_stale": 8 * DAY, "evt_offline": 60, "evt_unmapped": 60}
FIELDS = [
    *("id", "integration_id", "ad_account_id", "event_name", "source_name", "event_id", "event_time"),
    *(
        "failed_at",
        "reason_class",
        "reason",
        "warning",
        "test",
        "offline",
        "batch_id",
        "has_payload",
        "may_have_arrived",
    ),
    *("late", "stale"),
]
TIMES = ("event_time", "failed_at")
# The number of no delivery.
GONE = 2**40
KIM = "kim@example.com"
KIMS = {
    "type": "track",
    "event": "Order Completed",
    "messageId": "evt_waiting",
    "context": {"traits": {"email": KIM}},
}
PARKED = {"type": "track", "event": "Signed Up", "messageId": "evt_parked"}

Act = Callable[[World], Any]


@dataclass(frozen=True, slots=True)
class Action:
    """Hold one action: how each surface does it, its result, and its audit row or rows, made before the action."""

    name: str
    by: dict[str, Act]
    result: Any
    audited: Callable[[World], Any] | None = None
    refused: bool = False


def ids(world: World, event_ids: Sequence[str]) -> list[int]:
    """Return the numbers of deliveries; the number of none for "evt_gone"."""
    with world.ledger.read() as connection:
        by_event = {row.event_id: row.id for row in find_deliveries.find_after(connection, 0, 100)}
    return sorted(by_event.get(event_id, GONE) for event_id in event_ids)


def parked(world: World) -> list[int]:
    with world.ledger.read() as connection:
        return inbox.parked_ids(connection, 0, 10)


def moved_by_json(world: World, path: str, body: dict[str, Any], count: str) -> tuple[int, int] | None:
    """Return how many deliveries a call moved, and how many it left alone."""
    answer = world.call("POST", path, body).json
    return None if world.refused else (answer[count], sum(one["count"] for one in answer["left_alone"]))


def moved_by_text(world: World, text: str) -> tuple[int, int] | None:
    """Return the same as a page or a command says it."""
    done = re.search(r"(?:Retried|Discarded|<b>) ?([\d,]+) deliver", text)
    alone = re.findall(r"([\d,]+) skipped", text)
    return None if world.refused or not done else (int(done[1]), sum(map(int, alone)))


def retry(*event_ids: str, force: bool = False) -> dict[str, Act]:
    flags, fields = (["--force"], {"force": "yes"}) if force else ([], {})

    def by_api(world: World) -> Any:
        return moved_by_json(world, "failed/retry", {"ids": ids(world, event_ids), "force": force}, "retried")

    def by_pages(world: World) -> Any:
        return moved_by_text(world, world.send("/failed/retry", ids=ids(world, event_ids), **fields))

    def by_shell(world: World) -> Any:
        arguments = [*map(str, ids(world, event_ids)), *flags]
        return moved_by_text(world, world.shell("failed", "retry", *arguments))

    return {API: by_api, PAGES: by_pages, SHELL: by_shell}


def discard(*event_ids: str, reason: str) -> dict[str, Act]:
    def by_api(world: World) -> Any:
        body = {"ids": ids(world, event_ids), "reason": reason}
        return moved_by_json(world, "failed/discard", body, "discarded")

    def by_pages(world: World) -> Any:
        return moved_by_text(world, world.send("/failed/discard", ids=ids(world, event_ids), reason=reason))

    def by_shell(world: World) -> Any:
        arguments = [*map(str, ids(world, event_ids)), "--reason", reason]
        return moved_by_text(world, world.shell("failed", "discard", *arguments))

    return {API: by_api, PAGES: by_pages, SHELL: by_shell}


def mark(state: str) -> dict[str, Act]:
    """Change the state of the group; return it."""
    key = {"ad_account_id": ACCOUNT, "event_name": "checkout", "reason_class": "refused"}

    def shown(world: World) -> str | None:
        (group,) = world.api.get("/v1/admin/failed/summary")["groups"]
        return None if world.refused else str(group["state"])

    def by_api(world: World) -> Any:
        world.call("POST", "failed/mark", key | {"state": state})
        return shown(world)

    def by_pages(world: World) -> Any:
        world.send("/failed/mark", **key, state=state)
        return shown(world)

    def by_shell(world: World) -> Any:
        options = ["--ad-account", ACCOUNT, "--event-name", "checkout", "--class", "refused"]
        world.shell("failed", "mark", state, *options)
        return shown(world)

    return {API: by_api, PAGES: by_pages, SHELL: by_shell}


def retry_all() -> dict[str, Act]:
    chosen = {"event_name": "checkout"}
    return {
        API: lambda world: moved_by_json(world, "failed/retry", {"filter": chosen}, "retried"),
        PAGES: lambda world: moved_by_text(world, world.send("/failed/retry", everything="yes", **chosen)),
        SHELL: lambda world: moved_by_text(
            world, world.shell("failed", "retry", "--all", "--event-name", "checkout")
        ),
    }


def export(query: str, *arguments: str) -> dict[str, Act]:
    def read(text: str) -> list[dict[str, Any]]:
        return [json.loads(line) for line in text.splitlines()]

    return {
        API: lambda world: read(world.call("GET", f"failed/export{query}").text),
        PAGES: lambda world: read(world.pages.get(f"/failed/export{query}")),
        SHELL: lambda world: read(world.shell("failed", "export", *arguments)),
        "list": lambda world: read(world.shell("failed", "list", "--json-lines", *arguments)),
    }


def find_id(text: str) -> dict[str, Act]:
    """Return which of the known event ids a surface names."""

    def named(text: str) -> list[str]:
        return [name for name in (*AGES, "evt_waiting", "evt_parked") if re.search(rf"\b{name}\b", text)]

    def by_shell(world: World) -> Any:
        names = named(world.shell("find", text))
        # The command fails if it finds nothing, which is no refusal.
        assert world.refused is not bool(names)
        world.refused = False
        return names

    return {
        API: lambda world: named(world.call("GET", f"deliveries?find={text}").text),
        PAGES: lambda world: named(world.pages.get(f"/search?q={text}").partition("</h1>")[2]),
        SHELL: by_shell,
    }


def explain_personal() -> dict[str, Act]:
    consent = {"context": {"consent": {"advertising": True}}}
    event = {"type": "track", "event": "Signed Up"} | consent

    def by_api(world: World) -> Any:
        text = world.call("POST", "explain", {"event": event, "show_personal": True}).text
        return "203.0.113.50" in text

    def by_shell(world: World) -> Any:
        return "203.0.113.50" in world.shell("explain", "--show-personal", stdin=json.dumps(event))

    return {API: by_api, SHELL: by_shell}


def erased_by_text(world: World, text: str) -> Any:
    counts = re.findall(r"([\d,]+) (?:waiting events?|visitors?|deliver(?:y|ies))", text)
    return None if world.refused else tuple(map(int, counts[:3]))


def erase(email: str, action: str = "erase") -> dict[str, Act]:
    path = {"erase": "erasures", "suppress": "person/suppressions"}[action]

    def by_api(world: World) -> Any:
        answer = world.call("POST", path, {"emails": [email]}).json
        if world.refused:
            return None
        return answer["events"], answer["visitors"], sum(answer["deliveries"].values())

    def by_pages(world: World) -> Any:
        page = world.send("/people", emails=email, action=action, confirmed="yes")
        return erased_by_text(world, page.partition("Requests")[0])

    def by_shell(world: World) -> Any:
        return erased_by_text(world, world.shell("person", action, "--email", email, "--yes"))

    return {API: by_api, PAGES: by_pages, SHELL: by_shell}


def export_person(email: str) -> dict[str, Act]:
    """Return the ids of the waiting events that an export has."""

    def ids_in(world: World, text: str) -> Any:
        if world.refused:
            return None
        kept = json.loads(text)
        return [one["data"]["event"]["messageId"] for one in kept["events"]], kept["deliveries"]

    return {
        API: lambda world: ids_in(world, world.call("POST", "person/exports", {"emails": [email]}).text),
        PAGES: lambda world: ids_in(world, world.send("/people", emails=email, action="export")),
        SHELL: lambda world: ids_in(world, world.shell("person", "export", "--email", email)),
    }


def allow(email: str) -> dict[str, Act]:
    """Suppress a person and allow them again; return whether they were suppressed."""
    path, kept = "person/suppressions", "New events of this person are stored again."

    def by_api(world: World) -> Any:
        world.call("POST", path, {"emails": [KIM]})
        return bool(world.call("POST", f"{path}/lift", {"emails": [email]}).json["suppressed_keys"])

    def by_pages(world: World) -> Any:
        world.send("/people", emails=KIM, action="suppress", confirmed="yes")
        return kept in world.send("/people", emails=email, action="allow")

    def by_shell(world: World) -> Any:
        world.shell("person", "suppress", "--email", KIM, "--yes")
        return kept in world.shell("person", "allow", "--email", email)

    return {API: by_api, PAGES: by_pages, SHELL: by_shell}


def show_payload(event_id: str) -> dict[str, Act]:
    def by_api(world: World) -> Any:
        (number,) = ids(world, [event_id])
        answer = world.call("GET", f"failed/{number}?payload=true").json
        return None if world.refused else answer["payload"]

    def by_shell(world: World) -> Any:
        (number,) = ids(world, [event_id])
        last = world.shell("failed", "show", str(number), "--payload").splitlines()[-1:]
        return json.loads(last[0]) if last and last[0].startswith("{") else None

    return {API: by_api, SHELL: by_shell}


UNPARK = {
    API: lambda world: world.call("POST", "parked/retry").json["unparked"],
    PAGES: lambda world: world.send("/failed/parked").count("done=unparked") // 2,
    SHELL: lambda world: int(world.shell("failed", "unpark").split()[0]),
}
DISCARDED = {"reason": "A test order"}
EXPORTED = {name: [None, 0] for name in ("visitors", "deliveries", "debugged", "unreadable")} | {
    "events": [None, 1]
}
ERASED = {"events": [None, 1], "visitors": [None, 0], "being_sent": [None, 0], "debugged": [None, 0]}

ACTIONS = [
    Action(
        "retry deliveries of which some cannot be sent",
        retry("evt_fresh", "evt_late", "evt_stale", "evt_unmapped"),
        (2, 2),
        lambda world: ("failed.retry", "2 deliveries", {"ids": ids(world, ["evt_fresh", "evt_late"])}),
    ),
    Action(
        "retry a stale delivery by force",
        retry("evt_stale", force=True),
        (1, 0),
        lambda world: ("failed.retry", "1 delivery", {"ids": ids(world, ["evt_stale"])}),
    ),
    Action("retry what cannot be sent", retry("evt_unmapped"), (0, 1)),
    Action("retry what has not failed", retry("evt_gone"), (0, 1)),
    Action(
        "retry all of a filter",
        retry_all(),
        (3, 2),
        lambda world: (
            "failed.retry",
            "3 deliveries",
            {"ids": ids(world, ["evt_fresh", "evt_late", "evt_offline"])},
        ),
    ),
    Action(
        "ignore a group",
        mark("ignored"),
        "ignored",
        lambda world: ("failed.mark", f"{ACCOUNT}/checkout/refused", {"state": ["open", "ignored"]}),
    ),
    Action("mark a group with an unknown state", mark("gone"), None, refused=True),
    Action(
        "discard",
        discard("evt_fresh", "evt_gone", reason=" A test order "),
        (1, 1),
        lambda world: ("failed.discard", "1 delivery", DISCARDED | {"ids": ids(world, ["evt_fresh"])}),
    ),
    Action("discard what has not failed", discard("evt_gone", reason="A test order"), (0, 1)),
    Action("discard without a reason", discard("evt_fresh", reason=" "), None, refused=True),
    Action(
        "discard for a reason that is too long", discard("evt_fresh", reason="x" * 301), None, refused=True
    ),
    Action(
        "show a payload",
        show_payload("evt_fresh"),
        {"event_id": "evt_fresh", "event_name": "checkout"},
        lambda world: ("failed.show_payload", str(*ids(world, ["evt_fresh"])), {}),
    ),
    Action("show a payload that was never made", show_payload("evt_unmapped"), None),
    Action("show the payload of no delivery", show_payload("evt_gone"), None, refused=True),
    Action(
        "let parked events go on",
        UNPARK,
        1,
        lambda world: ("parked.retry", "1 event", {"ids": parked(world)}),
    ),
    Action("find a delivery", find_id("evt_late"), ["evt_late"]),
    Action("find a waiting event", find_id("evt_waiting"), ["evt_waiting"]),
    Action("find an order", find_id("ORD-1"), ["evt_offline"]),
    Action("find what never came", find_id("nothing"), []),
    Action(
        "explain with personal data",
        explain_personal(),
        True,
        lambda _: ("explain.show_personal", "no source", {"events": [None, 1]}),
    ),
    Action(
        "erase a person",
        erase(KIM),
        (1, 0, 0),
        lambda _: [("person.erase", "emails", ERASED)],
    ),
    Action("erase nobody", erase("kim"), None, refused=True),
    Action(
        "export a person",
        export_person(KIM),
        (["evt_waiting"], []),
        lambda _: [("person.export", "emails", EXPORTED)],
    ),
    Action("export nobody", export_person("kim"), None, refused=True),
    Action(
        "suppress a person",
        erase(KIM, "suppress"),
        (1, 0, 0),
        lambda _: [("person.suppress", "emails", ERASED)],
    ),
    Action("suppress nobody", erase("kim", "suppress"), None, refused=True),
    Action(
        "allow a suppressed person",
        allow(KIM),
        True,
        lambda _: [
            ("person.suppress", "emails", ERASED),
            ("person.allow", "emails", {"suppressed_keys": [1, 0]}),
        ],
    ),
    Action(
        "allow another person",
        allow("lee@example.com"),
        False,
        lambda _: [("person.suppress", "emails", ERASED)],
    ),
]


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(erasing, "_SETTLING_SECONDS", 0.0)


@pytest.fixture
def make_shop(make_world: Callable[[], World]) -> Callable[[], World]:
    """Make a world with failed deliveries, an event that waits and an event that is parked."""

    def make() -> World:
        world = make_world()
        fail(world)
        event_ids = accept(world.ledger, [KIMS, PARKED], received_at=time.time())
        with world.ledger.write() as connection:
            inbox.park_event(connection, event_ids[1], "its key is missing")
        return world

    return make


def fail(world: World) -> None:
    """Write a failed delivery for each of `AGES`."""
    now = time.time()
    with world.ledger.read() as connection:
        shop = integrations.load_integration(connection, world.integrations["shop"])
    assert shop
    given = {"state": State.FAILED, "reason_class": "refused", "reason": "HTTP 400"}
    order = {"offline": True, "order_key": world.ledger.vault.keyed_hash("order", "src_shop", "ORD-1")}
    special: dict[str, dict[str, Any]] = {"evt_offline": order, "evt_unmapped": {"payload": None}}
    rows = [
        new(world.ledger, shop, name, event_time=int(now) - age, **given, **special.get(name, {}))
        for name, age in AGES.items()
    ]
    write(world.ledger, rows, now)


def state(world: World) -> Any:
    """Return the state of every delivery and event."""
    with world.ledger.read() as connection:
        deliveries = {row.event_id: row.state for row in find_deliveries.find_after(connection, 0, 100)}
        reasons = [(group.events, group.reason) for group in inbox.parked_by_reason(connection)]
    return deliveries, reasons, close(world.ledger).events


@pytest.mark.parametrize("action", ACTIONS, ids=[action.name for action in ACTIONS])
def test_an_action_has_one_result_and_one_audit_row_from_every_surface(
    make_shop: Callable[[], World], action: Action
) -> None:
    states = []
    for surface, act in action.by.items():
        world = make_shop()
        audited = action.audited(world) if action.audited else []
        rows = [(ACTORS[surface], *row) for row in ([audited] if isinstance(audited, tuple) else audited)]
        before = len(world.audited())
        assert (surface, act(world), world.refused) == (surface, action.result, action.refused)
        assert (surface, world.audited()[before:]) == (surface, rows)
        states.append(state(world))
    assert all(one == states[0] for one in states)


@pytest.mark.parametrize(
    ("query", "arguments", "event_ids"),
    [
        ("", (), list(AGES)),
        (
            "?event_name=checkout&reason_class=refused",
            ("--event-name", "checkout", "--class", "refused"),
            list(AGES),
        ),
        ("?event_name=lead", ("--event-name", "lead"), []),
    ],
)
def test_an_export_has_one_shape_on_every_surface(
    make_shop: Callable[[], World], query: str, arguments: tuple[str, ...], event_ids: list[str]
) -> None:
    world = make_shop()
    shown = {surface: read(world) for surface, read in export(query, *arguments).items()}

    assert [line["event_id"] for line in shown[API]] == event_ids
    assert [shown[API]] * 4 == list(shown.values())
    for line in shown[API]:
        assert list(line) == FIELDS
        assert all(re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", line[name]) for name in TIMES)
    assert not event_ids or shown[API] == world.api.get("/v1/admin/failed")["data"]


def test_every_surface_counts_the_same_failed_deliveries_by_reason(make_shop: Callable[[], World]) -> None:
    world = make_shop()
    (group,) = world.api.get("/v1/admin/failed/summary")["groups"]

    assert (group["count"], group["reason"]) == (5, "HTTP 400")
    assert '<td data-of="Count" class="number">5</td>' in world.pages.get("/failed")
    assert re.search(r"^ +5  refused +checkout ", world.shell("failed", "list"), re.MULTILINE)
