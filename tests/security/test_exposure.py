"""By default nothing is open to the network."""

import subprocess
import sys

import pytest

SHOW = {
    "collector": "from worker.web import collector_conf as conf; print(conf.bind)",
    "management": "from worker.web import management_conf as conf; print(conf.bind)",
    "flower": "from worker.web import flower_conf as conf; print(f'{conf.address}:{conf.port}')",
}


@pytest.mark.parametrize("name", SHOW)
def test_by_itself_everything_listens_on_this_machine_alone(
    name: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    environ = {"SIGNAL_VAR": str(tmp_path_factory.mktemp("v")), "PATH": ""}
    done = subprocess.run(
        [sys.executable, "-c", SHOW[name]],
        env=environ,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert done.stdout.startswith("127.0.0.1:")


@pytest.mark.parametrize("conf", ["worker.web.collector_conf", "worker.web.management_conf"])
def test_requests_are_bounded_in_size_and_time(conf: str) -> None:
    code = (
        f"import {conf} as c, gunicorn.config as g; d = g.Config().settings; "
        "get = lambda name: getattr(c, name, d[name].value); "
        "print(get('limit_request_line'), get('limit_request_fields'), get('limit_request_field_size'), get('timeout'))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    line, fields, size, timeout = map(int, done.stdout.split())
    assert 0 < line <= 4094
    assert 0 < fields <= 100
    assert 0 < size <= 16_384
    assert 0 < timeout <= 60
