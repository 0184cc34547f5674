"""How Flower is served: behind a password, on this machine alone, with a memory that is bounded."""

import os
from logging import getLogger

import celeryconfig
from worker import logs
from worker.broker import queues
from worker.settings import settings

_settings = settings()
logs.set_up()

address, _, _port = (os.environ.get("FLOWER_BIND", "").strip() or "127.0.0.1:5555").rpartition(":")
# An IPv6 address stands in brackets before a port, and without them by itself.
address, port = address.strip("[]"), int(_port)

# The pages and the API ask for it; without it Flower would serve both to anybody.
basic_auth = _settings.flower_basic_auth.split(",")
cookie_secret = _settings.flower_cookie_secret

# Restarting keeps what was seen.
persistent = True
db = str(_settings.var / "flower")
state_save_interval = 60_000

# 100,000 tasks, the default, are several hundred megabytes.
max_tasks = 5_000
max_workers = 200
# Workers that are gone for a day are not shown.
purge_offline_workers = 86_400
natural_time = False
inspect_timeout = 2_000.0

# The list of registered tasks is on its pages; the log is for trouble.
logging = "warning"
# It asks the workers while they are still starting; that one of them does not answer is on its pages as well.
getLogger("flower.inspector").setLevel("ERROR")

# RabbitMQ's management plug-in tells more about queues than AMQP does, where there is one.
broker_api = os.environ.get("FLOWER_BROKER_API", "")
queues.show_queues([queue.name for queue in celeryconfig.task_queues], _settings.broker_url, broker_api)
