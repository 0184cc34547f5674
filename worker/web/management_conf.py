"""How gunicorn serves the Management API."""

import os
from typing import Any

from worker import logs

log = logs.of(__name__)

bind = os.environ.get("MANAGEMENT_BIND", "").strip() or "127.0.0.1:8084"
# A few people and scripts call it at a time; rates per token are counted per process.
workers = 1
threads = 8
worker_class = "worker.web.gunicorn_worker.DeadlineThreadWorker"
preload_app = False
keepalive = 15
timeout = 60
graceful_timeout = 20
accesslog = None
errorlog = "-"
loglevel = "warning"
logconfig_dict = logs.config()
forwarded_allow_ips = ""
# Two gunicorns on one machine would share the default path.
control_socket_disable = True


def post_worker_init(_worker: Any) -> None:
    """Start the alerts thread in the serving process, because beat cannot report its own silence, and log the start."""
    from worker.web import alerts_thread

    alerts_thread.start_alerts_thread()
    log.info("ready", process="management")
