"""Run PgBouncer for a test."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from psycopg import OperationalError, connect
from sqlalchemy import make_url

from tests.integration.services import free_port, missing
from tests.integration.waiting import until


@contextmanager
def pgbouncer(server_url: str, mode: str, connections: int, ignored: str) -> Iterator[str]:
    """Yield the address of a database behind PgBouncer with this many connections to its server."""
    program = shutil.which("pgbouncer", path=f"{os.environ['PATH']}:/usr/sbin")
    if program is None:
        missing("pgbouncer is not installed")
    server, port = make_url(server_url), free_port()
    folder = Path(tempfile.mkdtemp(prefix="pgbouncer-"))
    folder.chmod(0o755)
    login = f"user={server.username} " + (f"password={server.password}" if server.password else "")
    settings = folder / "settings.ini"
    settings.write_text(
        f"[databases]\n{server.database} = host={server.host} port={server.port} {login}\n"
        f"[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\nauth_type = any\n"
        f"pool_mode = {mode}\ndefault_pool_size = {connections}\nignore_startup_parameters = {ignored}\n"
    )
    # It refuses to be run by root. Another user must read its settings, whatever umask an earlier test has set.
    settings.chmod(0o644)
    user = {"user": "postgres", "group": "postgres", "extra_groups": []} if os.geteuid() == 0 else {}
    running = subprocess.Popen(  # type: ignore[call-overload]
        [program, "-q", str(settings)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        **user,
    )
    try:
        url = server.set(host="127.0.0.1", port=port, password=None)
        plain = url.set(drivername="postgresql").render_as_string(hide_password=False)
        until("pgbouncer answers", lambda: _answers(plain), 10)
        yield url.render_as_string(hide_password=False)
    finally:
        running.terminate()
        running.wait(10)
        shutil.rmtree(folder)


def _answers(url: str) -> bool:
    try:
        connect(url, connect_timeout=2).close()
    except OperationalError:
        return False
    return True
