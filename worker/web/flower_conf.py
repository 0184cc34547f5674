"""Flower's configuration: password, loopback address, bounded memory."""

import os
from logging import getLogger

import celeryconfig
from worker import logs
from worker.settings import settings
from worker.web import flower_guard, flower_queues

_settings = settings()
logs.set_up()

address, _, _port = (os.environ.get("FLOWER_BIND", "").strip() or "127.0.0.1:5555").rpartition(":")
# An IPv6 address has brackets only before a port.
address, port = address.strip("[]"), int(_port)

# Without it Flower would serve its pages and API to anyone.
basic_auth = _settings.flower_basic_auth.split(",")
flower_guard.guard_flower(basic_auth)
cookie_secret = _settings.flower_cookie_secret

# Keep tasks and workers over a restart.
persistent = True
db = str(_settings.var / "flower")
state_save_interval = 60_000

# 100,000 tasks, the default, are several hundred megabytes.
max_tasks = 5_000
max_workers = 200
# Hide workers after a day of absence.
purge_offline_workers = 86_400
natural_time = False
inspect_timeout = 2_000.0

# Its pages list the registered tasks; the log is for problems.
logging = "warning"
# It queries workers that are still starting; its pages show too which do not answer.
getLogger("flower.inspector").setLevel("ERROR")

# RabbitMQ's management plug-in, if enabled, knows more about queues than AMQP.
broker_api = os.environ.get("FLOWER_BROKER_API", "")
flower_queues.show_queues(
    [queue.name for queue in celeryconfig.task_queues],
    _settings.unused_event_queues,
    _settings.broker_url,
    broker_api,
    _settings.broker.tls,
)
