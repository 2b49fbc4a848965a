"""JupyterLab and voila servers for the browser tests, with settings, data and notebooks of their own."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nbformat

START = 120
"""Seconds for a server to start."""

_direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))


@dataclass(frozen=True)
class Server:
    """A server on a folder of notebooks.

    Attributes:
        url: without a slash at the end. folder: what it serves.
    """

    url: str
    folder: Path

    def write(self, name: str, *cells: str) -> str:
        """A new notebook of these code cells; returns its file name."""
        notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(code) for code in cells])
        notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
        nbformat.write(notebook, self.folder / f"{name}.ipynb")
        return f"{name}.ipynb"

    def copy(self, path: Path) -> str:
        """A copy of a notebook; returns its file name."""
        (self.folder / path.name).write_bytes(path.read_bytes())
        return path.name

    def request(self, path: str, method: str = "GET") -> bytes:
        with _direct.open(urllib.request.Request(self.url + path, method=method), timeout=30) as answer:
            return answer.read()

    def end_kernels(self) -> None:
        """End every kernel of the server."""
        for kernel in json.loads(self.request("/api/kernels")):
            self.request(f"/api/kernels/{kernel['id']}", "DELETE")


@contextmanager
def jupyterlab_server(folder: Path) -> Iterator[Server]:
    """JupyterLab, open to this machine without a token: for tests only."""
    options = [
        "--ServerApp.ip=127.0.0.1",
        "--ServerApp.port_retries=0",
        "--ServerApp.open_browser=False",
        "--ServerApp.allow_root=True",
        "--ServerApp.disable_check_xsrf=True",
        "--IdentityProvider.token=",
        "--LabApp.expose_app_in_browser=True",
        "--LabApp.extension_manager=readonly",
    ]
    extension, nobody_asks = "@jupyterlab/{}-extension", {"fetchNews": "false", "checkForUpdates": False}
    settings = {
        extension.format("apputils") + "/notification": {**nobody_asks, "doNotDisturbMode": True},
        # Cells out of sight are in the page too.
        extension.format("notebook") + "/tracker": {"windowingMode": "none"},
    }
    for name, content in settings.items():
        path = folder / "settings" / f"{name}.jupyterlab-settings"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(content))
    with _server("jupyterlab", folder, lambda port: [*options, f"--ServerApp.port={port}"], "/api") as server:
        yield server


@contextmanager
def voila_server(folder: Path) -> Iterator[Server]:
    """voila on a folder, without a token: for tests only."""
    options = [
        "--no-browser",
        "--Voila.ip=127.0.0.1",
        "--Voila.port_retries=0",
        "--Voila.tornado_settings=disable_check_xsrf=True",  # see dynlab/cli_lab.py
        "--VoilaConfiguration.show_tracebacks=True",
    ]
    with _server("voila", folder, lambda port: [*options, f"--port={port}", "."], "/voila/tree") as server:
        yield server


@contextmanager
def _server(module: str, folder: Path, options: Any, ready: str) -> Iterator[Server]:
    server = Server(f"http://127.0.0.1:{(port := free_port())}", folder / "notebooks")
    server.folder.mkdir()
    log = folder / "log.txt"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", module, *options(port)],
            cwd=server.folder,
            env=environment(folder),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        _await(server, ready, process, log)
        yield server
    finally:
        end(process)


def environment(folder: Path) -> dict[str, str]:
    """Variables for a server that reads and writes no settings of whoever runs the tests."""
    places = {
        "JUPYTER_CONFIG_DIR": "config",
        "JUPYTER_DATA_DIR": "data",
        "JUPYTER_RUNTIME_DIR": "runtime",
        "JUPYTERLAB_SETTINGS_DIR": "settings",
        "JUPYTERLAB_WORKSPACES_DIR": "workspaces",
        "IPYTHONDIR": "ipython",
    }
    kept = {name: value for name, value in os.environ.items() if name not in {"JUPYTER_TOKEN", "PYTHONWARNINGS"}}
    own = {name: str(folder / place) for name, place in places.items()}
    return {**kept, **own, "DYNLAB_SMOKE": "1", "OMP_NUM_THREADS": "1"}


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _await(server: Server, path: str, process: subprocess.Popen[bytes], log: Path) -> None:
    give_up = time.monotonic() + START
    while True:
        try:
            server.request(path)
            return
        except OSError as error:
            if process.poll() is not None or time.monotonic() > give_up:
                text = log.read_text(errors="replace")
                raise RuntimeError(f"the server did not start: {error}\n{text[-4000:]}") from None
        time.sleep(0.2)


def end(process: subprocess.Popen[Any]) -> None:
    """End a server with its kernels, which end themselves once it is gone."""
    process.terminate()
    try:
        process.wait(20)
    except subprocess.TimeoutExpired:
        pass
    finally:
        try:
            os.killpg(process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        process.wait()
