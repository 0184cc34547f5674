"""The same shop traffic delivered the usual way: a task, a row and a request for every event.

The collector is ``gunicorn benchmarks.usual_way:web``, the worker ``celery -A benchmarks.usual_way worker``. It is
written and tuned as Celery's and SQLAlchemy's documentation advise: tasks carry ids, acknowledge late, ignore
results; publishes are confirmed where the broker can, on a pooled connection; one commit for a request's rows;
sessions to the database and to Pinterest are kept open, one for each thread.
"""

import os
import threading
from typing import Any

import requests
from celery import Celery
from flask import Flask, Response, request
from kombu import Queue
from sqlalchemy import JSON, BigInteger, Integer, String, create_engine, event
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from benchmarks.traffic import payload

BROKER_URL = os.environ.get("USUAL_BROKER_URL", "memory://")
DATABASE_URL = os.environ.get("USUAL_DATABASE_URL", "sqlite:///usual.db")
EVENTS_URL = os.environ.get("USUAL_EVENTS_URL", "")
ACCESS_TOKEN, PIPELINE_KEY = "a-token-of-the-benchmarks", "dk_live_of_the_benchmarks"
QUEUE = "usual"
ANSWER_SECONDS = 20

_is_amqp = BROKER_URL.startswith("amqp")
app = Celery("usual", broker=BROKER_URL)
app.conf.update(
    task_queues=[Queue(QUEUE, queue_arguments={"x-queue-type": "quorum"} if _is_amqp else None)],
    task_default_queue=QUEUE,
    task_acks_late=True,
    task_ignore_result=True,
    # Many short tasks: more of them at hand than the usual four for each process.
    worker_prefetch_multiplier=16,
    worker_send_task_events=True,
    broker_pool_limit=16,
    broker_transport_options={"confirm_publish": True} if _is_amqp else {"visibility_timeout": 3600},
    worker_detect_quorum_queues=True,
    worker_hijack_root_logger=False,
)


class Base(DeclarativeBase):
    pass


class Event(Base):
    __tablename__ = "event"
    id: Mapped[int] = mapped_column(BigInteger().with_variant(Integer, "sqlite"), primary_key=True)
    event_id: Mapped[str] = mapped_column(String, unique=True)
    body: Mapped[dict[str, Any]] = mapped_column(JSON)
    state: Mapped[str] = mapped_column(String, default="accepted")


engine = create_engine(
    DATABASE_URL,
    pool_size=20,
    max_overflow=20,
    connect_args={"timeout": 30} if "sqlite" in DATABASE_URL else {},
)
if engine.dialect.name == "sqlite":

    @event.listens_for(engine, "connect")
    def _as_durable_as_the_ledger(connection: Any, _record: Any) -> None:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=FULL")


web = Flask(__name__)
_local = threading.local()


@web.get("/healthz")
def healthz() -> dict[str, str]:
    return {"status": "ok"}


@web.post("/v1/batch")
def batch() -> dict[str, Any] | tuple[dict[str, Any], int] | Response:
    if request.headers.get("Authorization") != f"Bearer {PIPELINE_KEY}":
        return {"success": False}, 401
    body = request.get_json()
    rows = [Event(event_id=entry["messageId"], body=entry) for entry in body["batch"]]
    with Session(engine) as session:
        session.add_all(rows)
        session.flush()
        ids = [row.id for row in rows]
        session.commit()
    for id_ in ids:
        deliver.apply_async((id_,))
    return {"success": True, "accepted": len(ids)}


@app.task(acks_late=True, autoretry_for=(requests.RequestException,), retry_backoff=True)
def deliver(id_: int) -> None:
    """Deliver one event, unless it was delivered before."""
    with Session(engine) as session:
        row = session.get_one(Event, id_)
        if row.state == "delivered":
            return
        answer = _pinterest().post(EVENTS_URL, json={"data": [payload(row.body)]}, timeout=ANSWER_SECONDS)
        answer.raise_for_status()
        row.state = "delivered" if answer.json()["num_events_processed"] == 1 else "failed"
        session.commit()


def _pinterest() -> requests.Session:
    if not hasattr(_local, "session"):
        _local.session = requests.Session()
        _local.session.headers["Authorization"] = f"Bearer {ACCESS_TOKEN}"
    session: requests.Session = _local.session
    return session


if __name__ == "__main__":
    Base.metadata.create_all(engine)
