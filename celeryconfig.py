"""Every Celery setting, each with its reason."""

from typing import Any

from kombu import Exchange, Queue

from worker.settings import Settings, SettingsError, settings


def _checked() -> Settings:
    try:
        return settings()
    except SettingsError as error:
        # Celery would print a long traceback around the message.
        raise SystemExit(str(error)) from None


_settings = _checked()
_amqp = _settings.broker_url.startswith("amqp")

# Hints for events are spread over all queues of events; this is the first.
EVENTS, BATCHING, DELIVERY, UPKEEP = _settings.event_queues[0], "batching", "delivery", "upkeep"

broker_url = _settings.broker_url
# With rediss:// alone kombu would check nothing. The host name is added in worker/broker/kombu_internals.py.
broker_use_ssl = dict(_settings.broker.tls) if _settings.broker.tls else None
imports = ("tasks.ingest", "tasks.batching", "tasks.delivery", "tasks.upkeep")

# Only JSON is read from the broker: a pickled message could run foreign code.
accept_content = ["json"]
task_serializer = "json"
enable_utc = True

# Outcomes are in the ledger. A result backend would store them twice and slow every task.
task_ignore_result = True
task_store_errors_even_if_ignored = False

# A message leaves the broker when its work is done; if its process dies, it is redelivered.
task_acks_late = True
task_reject_on_worker_lost = False
# Retries come from the row, so a failed message is not needed any more.
task_acks_on_failure = task_acks_on_timeout = True

# Few messages per process, so that they spread over all workers.
worker_prefetch_multiplier = 1
# worker_eta_task_limit stays unset: it reduces the prefetch count permanently.

# After a long outage of the broker its workers must still wait for it.
broker_connection_retry_on_startup = True
broker_connection_max_retries = None
# A Redis that became a replica answers READONLY, a channel error in kombu: reconnect instead of exiting.
broker_channel_error_retry = True
broker_connection_timeout = 4

# Logging is set up in worker/logs.py; Celery must neither redirect prints nor take the root logger.
worker_hijack_root_logger = False
worker_redirect_stdouts = False

# Flower shows each task; its arguments are ids, so it shows no personal data.
worker_send_task_events = True
task_send_sent_event = False
task_track_started = False
worker_consumer = "worker.broker.celery_internals:RateLimitedConsumer"

if _amqp:
    # Without confirms a message to a full or dying RabbitMQ is lost silently.
    broker_transport_options: dict[str, Any] = {"confirm_publish": True}
    # Seconds; a half-open connection is detected within twice this. RabbitMQ's default is 60.
    broker_heartbeat = 10
    _arguments = {"x-queue-type": "quorum"}
    # With a topic exchange Celery delays a retry in RabbitMQ itself. With a direct one it would wait in a worker and
    # use up one of the worker's few prefetched messages.
    _exchange = Exchange("signal", type="topic")
    _events_without_ack = False
    # RabbitMQ limits unacknowledged messages per consumer; quorum queues refuse the global limit.
    worker_detect_quorum_queues = True
else:
    broker_transport_options = {
        # Redeliver the messages of a dead worker after five minutes, not after an hour.
        "visibility_timeout": 300,
        "unacked_restore_interval": 10,
        "unacked_mutex_expire": 30,
        # A half-open connection must raise an error, not block a publisher for ever.
        "socket_timeout": 10,
        "socket_connect_timeout": 4,
        "socket_keepalive": True,
        "health_check_interval": 20,
        **_settings.broker.options,
    }
    _arguments = {}
    # The default exchange: a named one costs a lookup per published message.
    _exchange = Exchange("")
    # Saves two round trips per event. A killed worker loses its messages; with acknowledgements it would lose some,
    # because kombu pops first and notes second. The inbox has the events, and the sweeper publishes them again.
    _events_without_ack = True
    # Without acknowledgements only this keeps a busy worker from loading the whole queue into memory.
    worker_disable_prefetch = True


def _queue(name: str, no_ack: bool = False) -> Queue:
    return Queue(name, _exchange, routing_key=name, durable=True, queue_arguments=_arguments, no_ack=no_ack)


task_queues = [
    *(_queue(name, _events_without_ack) for name in _settings.event_queues),
    *map(_queue, (BATCHING, DELIVERY, UPKEEP)),
]
# A larger number of queues may have left hints in these; worker/app.py lets workers empty them. They may be deleted at
# any time, so no process declares them.
unused_event_queues = [
    Queue(name, _exchange, routing_key=name, no_ack=_events_without_ack, no_declare=True)
    for name in _settings.unused_event_queues
]
task_default_queue = UPKEEP
task_default_exchange = ""
task_create_missing_queues = False
task_routes = {
    "tasks.ingest.*": {"queue": EVENTS},
    "tasks.batching.*": {"queue": BATCHING},
    "tasks.delivery.*": {"queue": DELIVERY},
    "tasks.upkeep.*": {"queue": UPKEEP},
}

# A tick that waited through an outage is useless. The limit is generous because it compares two clocks.
_TICK = {"expires": 60}
beat_schedule = {
    "group-pending": {"task": "tasks.batching.group_pending", "schedule": 0.25, "options": _TICK},
    "sweep": {"task": "tasks.upkeep.sweep", "schedule": 2.0, "options": _TICK},
    "fold-tallies": {"task": "tasks.upkeep.fold_tallies", "schedule": 60.0, "options": _TICK},
    "retry-outages": {"task": "tasks.upkeep.retry_outages", "schedule": 300.0, "options": _TICK},
    "read-pinterest": {"task": "tasks.upkeep.read_pinterest", "schedule": 60.0, "options": _TICK},
    "watch": {"task": "tasks.upkeep.watch", "schedule": 30.0, "options": _TICK},
    "watch-volume": {"task": "tasks.upkeep.watch_volume", "schedule": 600.0, "options": _TICK},
    "tell-alerts": {"task": "tasks.upkeep.tell_alerts", "schedule": 10.0, "options": _TICK},
    # A purge runs for at most 20 seconds: every minute, it keeps up with about 1,500 events per second.
    "purge": {"task": "tasks.upkeep.purge", "schedule": 60.0, "options": _TICK},
}
beat_schedule_filename = str(_settings.var / "beat")
