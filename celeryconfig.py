"""Every Celery setting, each with its reason."""

from typing import Any

from kombu import Exchange, Queue

from worker.settings import Settings, SettingsError, settings


def _checked() -> Settings:
    try:
        return settings()
    except SettingsError as error:
        # Celery would print forty lines of traceback around the one sentence that helps.
        raise SystemExit(str(error)) from None


_settings = _checked()
_amqp = _settings.broker_url.startswith("amqp")

EVENTS, BATCHING, DELIVERY, UPKEEP = "events", "batching", "delivery", "upkeep"

broker_url = _settings.broker_url
imports = ("tasks.ingest", "tasks.batching", "tasks.delivery", "tasks.upkeep")

# Nothing but JSON is read from the broker: a pickled message would be somebody else's code.
accept_content = ["json"]
task_serializer = "json"
enable_utc = True

# Outcomes live in the ledger. A result backend would store them twice and slow every task.
task_ignore_result = True
task_store_errors_even_if_ignored = False

# A message leaves the broker when its work is done; one whose process died is handed out again.
task_acks_late = True
task_reject_on_worker_lost = False
# The row is what retries, so a message that failed has no more to say.
task_acks_on_failure = task_acks_on_timeout = True

# A late message is a hint, not an event: few per process, so that they spread over all workers.
worker_prefetch_multiplier = 1
# worker_eta_task_limit stays unset: it shrinks the prefetch for good.

# A broker that is away for an hour must find its workers waiting.
broker_connection_retry_on_startup = True
broker_connection_max_retries = None
# A Redis that became a replica answers READONLY, which kombu calls a channel error: reconnect, don't die.
broker_channel_error_retry = True
broker_connection_timeout = 4

# Logs are our own lines; Celery must not redirect prints into them nor take the root logger.
worker_hijack_root_logger = False
worker_redirect_stdouts = False

# Flower wants to see each task sent and started; the arguments are ids, so nothing personal shows there.
worker_send_task_events = True
task_send_sent_event = False
task_track_started = False
worker_consumer = "worker.broker.celery_internals:RateLimitedConsumer"

if _amqp:
    # Without confirms a publish into a full or dying RabbitMQ is lost in silence.
    broker_transport_options: dict[str, Any] = {"confirm_publish": True}
    # A connection that is half-open is found out within twice this; RabbitMQ's own minute would be two.
    broker_heartbeat = 10
    _arguments = {"x-queue-type": "quorum"}
    # Celery delays a retry in RabbitMQ itself, given a topic exchange; with a direct one it would wait in a
    # worker, and hold one of the few messages that a quorum queue lets that worker have.
    _exchange = Exchange("signal", type="topic")
    _events_without_ack = False
    # RabbitMQ counts unacknowledged messages per consumer; quorum queues refuse the global form.
    worker_detect_quorum_queues = True
else:
    broker_transport_options = {
        # What a dead worker held is handed out again after five minutes, not after an hour.
        "visibility_timeout": 300,
        "unacked_restore_interval": 10,
        "unacked_mutex_expire": 30,
        # A half-open connection must end in an error, not in a publisher that hangs for ever.
        "socket_timeout": 10,
        "socket_connect_timeout": 4,
        "socket_keepalive": True,
        "health_check_interval": 20,
    }
    _arguments = {}
    # The default exchange: a named one costs a lookup for every message published.
    _exchange = Exchange("")
    # Two round trips less per event. What a killed worker held is lost, as with acknowledgements some of it
    # is (it is popped first and noted second); the inbox has the events, and the sweeper hints again.
    _events_without_ack = True
    # Without acknowledgements nothing else keeps a busy worker from pulling the whole queue into memory.
    worker_disable_prefetch = True


def _queue(name: str, no_ack: bool = False) -> Queue:
    return Queue(name, _exchange, routing_key=name, durable=True, queue_arguments=_arguments, no_ack=no_ack)


task_queues = [_queue(EVENTS, _events_without_ack), *map(_queue, (BATCHING, DELIVERY, UPKEEP))]
task_default_queue = UPKEEP
task_default_exchange = ""
task_create_missing_queues = False
task_routes = {
    "tasks.ingest.*": {"queue": EVENTS},
    "tasks.batching.*": {"queue": BATCHING},
    "tasks.delivery.*": {"queue": DELIVERY},
    "tasks.upkeep.*": {"queue": UPKEEP},
}

# A tick that waited behind an outage says nothing new. The bound is generous, because it compares two clocks.
_TICK = {"expires": 60}
beat_schedule = {
    "group-pending": {"task": "tasks.batching.group_pending", "schedule": 0.25, "options": _TICK},
    "sweep": {"task": "tasks.upkeep.sweep", "schedule": 2.0, "options": _TICK},
    "fold-tallies": {"task": "tasks.upkeep.fold_tallies", "schedule": 60.0, "options": _TICK},
    "retry-outages": {"task": "tasks.upkeep.retry_outages", "schedule": 300.0, "options": _TICK},
    "watch": {"task": "tasks.upkeep.watch", "schedule": 30.0, "options": _TICK},
    "watch-volume": {"task": "tasks.upkeep.watch_volume", "schedule": 600.0, "options": _TICK},
    "tell-alerts": {"task": "tasks.upkeep.tell_alerts", "schedule": 10.0, "options": _TICK},
    # A purge works for a third of a minute at most: this often it keeps up with some 1,500 events a second.
    "purge": {"task": "tasks.upkeep.purge", "schedule": 60.0, "options": _TICK},
}
beat_schedule_filename = str(_settings.var / "beat")
