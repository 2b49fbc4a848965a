"""``dynlab lab``: JupyterLab on the notebooks, or the comparison alone as a page.

Either server is bound to 127.0.0.1, asks for its token, runs in this process, and ends with Ctrl-C.
"""

from __future__ import annotations

import shutil
import signal
import socket
import tempfile
from pathlib import Path
from typing import Annotated

import typer

from dynlab._folders import folder

HOST = "127.0.0.1"
LAB_PORT, DASHBOARD_PORT = 8888, 8866
"""What Jupyter and voila have by default; where taken, one of the next ``PORTS``."""
PORTS = 50
FIRST = "06_comparison_lab.ipynb"
"""The notebook that JupyterLab shows at the start."""
COMPARISON = """\
import os

os.chdir({folder!r})
from dynlab.widgets import Compare

Compare()
"""


def lab(
    dashboard: Annotated[bool, typer.Option("--dashboard", help="The comparison alone, as a page of its own.")] = False,
    port: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=65535,
            help=f"By default {LAB_PORT}, with --dashboard {DASHBOARD_PORT}, or the next that is free.",
        ),
    ] = None,
    no_browser: Annotated[bool, typer.Option("--no-browser", help="Only print the address.")] = False,
    out: Annotated[
        Path | None,
        typer.Option(
            help="Folder to work in; notebooks that it lacks are copied there. By default the checkout's notebooks/, "
            "without a checkout ./notebooks; with --dashboard the working directory, which gets what is saved."
        ),
    ] = None,
) -> None:
    """Open JupyterLab on the notebooks, or the comparison as a page; Ctrl-C ends it.

    The server can be reached from this machine only, by the address that it prints, which holds its token.
    """
    if dashboard:
        work = out or Path()
        _writable(work)
        port = _free_port(port, DASHBOARD_PORT)
        _serve_page(work.resolve(), port, browser=not no_browser)
    else:
        work = _notebooks(out)
        port = _free_port(port, LAB_PORT)
        _serve_lab(work.resolve(), port, browser=not no_browser)


# ---- JupyterLab ------------------------------------------------------------------------------------------------------


def _notebooks(out: Path | None) -> Path:
    """The folder of notebooks to work in: never one inside an installed package."""
    source = folder("notebooks")
    if out is None and source.name == "notebooks":
        return source
    target = out or Path("notebooks")
    _writable(target)
    for path in sorted(source.rglob("*")):
        relative = path.relative_to(source)
        if path.is_file() and not any(part.startswith((".", "__")) for part in relative.parts):
            _copy(path, target / relative)
    return target


def _copy(source: Path, target: Path) -> None:
    """A copy that its owner may change; what is there already is his."""
    if target.exists():
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)


def lab_arguments(work: Path, port: int, browser: bool) -> list[str]:
    """The arguments of JupyterLab."""
    shown = [f"--LabApp.default_url=/lab/tree/{FIRST}"] if (work / FIRST).is_file() else []
    return [
        f"--ServerApp.ip={HOST}",
        f"--ServerApp.port={port}",
        "--ServerApp.port_retries=0",
        f"--ServerApp.root_dir={work}",
        f"--ServerApp.open_browser={browser}",
        "--ServerApp.allow_root=True",  # in a container one is root
        *shown,
    ]


def _serve_lab(work: Path, port: int, browser: bool) -> None:
    from jupyterlab.labapp import LabApp

    server = LabApp.initialize_server(lab_arguments(work, port, browser))
    # Jupyter asks whether Ctrl-C was meant, and where it has no terminal to ask leaves without ending its kernels.
    signal.signal(signal.SIGINT, signal.getsignal(signal.SIGTERM))
    server.start()


# ---- the comparison as a page ----------------------------------------------------------------------------------------


def page_arguments(notebook: Path, port: int, browser: bool) -> list[str]:
    """The arguments of voila."""
    return [
        str(notebook),
        f"--Voila.ip={HOST}",
        f"--Voila.port={port}",
        "--Voila.port_retries=0",
        f"--Voila.open_browser={browser}",
        "--Voila.auto_token=True",
        # A page that is left tells so with a request that voila 0.5 sends without an XSRF token; refused, its kernel
        # would stay. Such a request must name the kernel's id, which only the page and the server know.
        "--Voila.tornado_settings=disable_check_xsrf=True",
        "--VoilaConfiguration.show_tracebacks=True",
    ]


def write_page(path: Path, work: Path) -> None:
    """Write the notebook of the page; what is saved in it goes to ``work``."""
    import nbformat

    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(COMPARISON.format(folder=str(work)))])
    notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
    notebook.metadata["title"] = "dynlab"
    nbformat.write(notebook, path)


def _serve_page(work: Path, port: int, browser: bool) -> None:
    from dynlab.cli_lab_page import Page

    with tempfile.TemporaryDirectory(prefix="dynlab-lab-") as place:
        notebook = Path(place) / "dynlab.ipynb"
        write_page(notebook, work)
        Page.launch_instance(page_arguments(notebook, port, browser))


# ---- obstacles -------------------------------------------------------------------------------------------------------


def _free_port(wanted: int | None, usual: int) -> int:
    """The port to listen on."""
    for port in [wanted] if wanted is not None else range(usual, usual + PORTS):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as the servers do
            try:
                probe.bind((HOST, port))
                return port
            except OSError as error:
                why = error.strerror
    if wanted is not None:
        raise OSError(f"lab: expected a free --port, got {wanted}: {why}")
    raise OSError(f"lab: expected a free port among {usual} to {usual + PORTS - 1}, found none; name one with --port")


def _writable(out: Path) -> None:
    try:
        out.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=out):
            pass
    except OSError as error:
        raise OSError(f"lab: expected a folder that can be written to at {out}, got: {error.strerror}") from None
