"""How gunicorn serves the collector."""

import gc
import os
import sys
from typing import Any

from worker import logs

log = logs.of(__name__)


def _whole_number(name: str, default: int, most: int) -> int:
    """Read a whole number from the environment; exit with a message if it is wrong."""
    value = os.environ.get(name, "").strip() or str(default)
    if not (value.isascii() and value.isdigit() and 1 <= int(value) <= most):
        sys.exit(f"{name} must be a whole number from 1 to {most}, not {value!r}.")
    return int(value)


bind = os.environ.get("COLLECTOR_BIND", "").strip() or "127.0.0.1:8080"

# SQLite allows one writer at a time, so threads of one process are as fast as several processes. On PostgreSQL more
# processes use more cores. Rates per key are counted per process.
workers = _whole_number("COLLECTOR_WORKERS", 1, most=64)
threads = _whole_number("COLLECTOR_THREADS", 8, most=64)
worker_class = "worker.web.gunicorn_worker.DeadlineThreadWorker"

# Each worker must open its own database and broker connections; those opened before a fork would be shared.
preload_app = False

# Longer than the pause between two flushes of a page that is being read.
keepalive = 15
timeout = 30
# A write waits at most 10 seconds for the ledger's lock; a stop lets such a request finish.
graceful_timeout = 20

# Each event carries the cookies of the whole site, on some shops more than the default of 8 KB.
limit_request_line = 4094
limit_request_fields = 100
limit_request_field_size = 16384

# An access log would contain addresses, cookies and keys.
accesslog = None
errorlog = "-"
loglevel = "warning"
logconfig_dict = logs.config()
# The app reads X-Forwarded-For, subject to TRUSTED_PROXIES; gunicorn must not trust it.
forwarded_allow_ips = ""
# Two gunicorns on one machine would share the default path.
control_socket_disable = True


def post_worker_init(_worker: Any) -> None:
    """Exclude the objects of the start from garbage collection, and say that a process answers requests now.

    A collection that walks over the whole program would hold up all requests for tens of milliseconds.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000, 20, 20)
    log.info("ready", process="collector")
