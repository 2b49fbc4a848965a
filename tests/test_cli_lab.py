"""``dynlab lab`` without a browser; ``tests/browser`` looks at what it serves."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urljoin, urlsplit

import nbformat
import pytest

from dynlab import cli_lab
from dynlab.cli import main

ROOT = Path(__file__).resolve().parents[1]
_direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., int]:
    def command(*arguments: str) -> int:
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr(sys, "argv", ["dynlab", "lab", *arguments])
        with pytest.raises(SystemExit) as stopped:
            main()
        return int(stopped.value.code or 0)

    return command


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, str]]:
    """The arguments of the servers, which are not started."""
    found: list[dict[str, str]] = []

    def instead(arguments: list[str]) -> None:
        options = [one for one in arguments if one.startswith("--")]
        found.append(dict(one[2:].split("=", 1) for one in options))
        for path in set(arguments) - set(options):
            found[-1]["path"] = path
            found[-1]["code"] = nbformat.read(path, as_version=4).cells[0].source

    class Server:
        def start(self) -> None:
            pass

    monkeypatch.setattr("jupyterlab.labapp.LabApp.initialize_server", lambda arguments: instead(arguments) or Server())
    monkeypatch.setattr("dynlab.cli_lab_page.Page.launch_instance", instead)
    monkeypatch.setattr("signal.signal", lambda number, handler: None)
    return found


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The notebooks as a wheel carries them."""
    carried = tmp_path / "site-packages" / "dynlab" / "_notebooks"
    (carried / "images").mkdir(parents=True)
    (carried / "01_first.ipynb").write_text("first")
    (carried / cli_lab.FIRST).write_text("lab")
    (carried / "images" / "plot.png").write_text("plot")
    (carried / "__pycache__").mkdir()
    (carried / "__pycache__" / "made.pyc").write_text("")
    (carried / "01_first.ipynb").chmod(0o444)
    monkeypatch.setattr(cli_lab, "folder", lambda name: carried)
    return carried


def names(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def test_in_a_checkout_its_notebooks_are_opened(
    run: Callable[..., int], served: list[dict[str, str]], tmp_path: Path
) -> None:
    assert run() == 0
    (options,) = served
    assert options["ServerApp.ip"] == "127.0.0.1"
    assert options["ServerApp.root_dir"] == str(ROOT / "notebooks")
    assert options["ServerApp.open_browser"] == "True"
    assert int(options["ServerApp.port"]) in range(8888, 8938)
    assert not any("token" in name or "password" in name for name in options)  # Jupyter's own default is a token
    assert list(tmp_path.iterdir()) == []


def test_a_wheel_is_never_written_to(
    run: Callable[..., int], served: list[dict[str, str]], installed: Path, tmp_path: Path
) -> None:
    before = names(installed)
    assert run("--no-browser") == 0
    assert served[0]["ServerApp.root_dir"] == str(tmp_path / "notebooks")
    assert served[0]["ServerApp.open_browser"] == "False"
    assert served[0]["LabApp.default_url"] == f"/lab/tree/{cli_lab.FIRST}"
    assert names(tmp_path / "notebooks") == ["01_first.ipynb", cli_lab.FIRST, "images/plot.png"]
    (tmp_path / "notebooks" / "01_first.ipynb").write_text("mine")  # which the carried one's mode forbids
    (tmp_path / "notebooks" / "images" / "plot.png").unlink()
    assert run() == 0
    assert (tmp_path / "notebooks" / "01_first.ipynb").read_text() == "mine"
    assert (tmp_path / "notebooks" / "images" / "plot.png").read_text() == "plot"
    assert names(installed) == before


def test_out_is_worked_in(run: Callable[..., int], served: list[dict[str, str]], tmp_path: Path) -> None:
    assert run("--out", "mine/here") == 0
    assert served[0]["ServerApp.root_dir"] == str(tmp_path / "mine" / "here")
    assert names(tmp_path / "mine" / "here") == names(ROOT / "notebooks")


@pytest.mark.parametrize("out", [None, "a 'quoted' folder"])
def test_the_page(run: Callable[..., int], served: list[dict[str, str]], tmp_path: Path, out: str | None) -> None:
    assert run("--dashboard", "--no-browser", *(["--out", out] if out else [])) == 0
    (options,) = served
    assert options["Voila.ip"] == "127.0.0.1"
    assert options["Voila.auto_token"] == "True"
    assert options["Voila.open_browser"] == "False"
    assert int(options["Voila.port"]) in range(8866, 8916)
    # What the page's code does, up to the widget.
    chdir, widget = options["code"].split("from dynlab.widgets import Compare")
    before = Path.cwd()
    exec(chdir, {})
    assert Path.cwd() == (tmp_path / out if out else tmp_path)
    os.chdir(before)
    assert widget.split() == ["Compare()"]
    assert not Path(options["path"]).parent.exists()


def test_the_browser_gets_the_token(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from dynlab.cli_lab_page import Page

    opened: list[str] = []
    monkeypatch.setattr("webbrowser.open", opened.append)
    monkeypatch.setattr(Page, "display_url", "http://127.0.0.1:1/?token=a&b")
    page = Page(root_dir=str(tmp_path))
    page.launch_browser()
    while not opened:
        time.sleep(0.01)
    assert opened == [(tmp_path / "open.html").as_uri()]
    assert "url=http://127.0.0.1:1/?token=a&amp;b" in (tmp_path / "open.html").read_text()


@pytest.mark.parametrize("options", [[], ["--dashboard"]])
def test_a_taken_port(
    run: Callable[..., int], served: list[dict[str, str]], capsys: pytest.CaptureFixture[str], options: list[str]
) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert run(*options, "--port", str(port)) == 2
        assert re.fullmatch(rf"dynlab: lab: expected a free --port, got {port}: .+\n", capsys.readouterr().err)
    assert served == []
    assert run(*options, "--port", str(port)) == 0
    assert str(port) in (served[0].get("ServerApp.port"), served[0].get("Voila.port"))


def test_a_usual_port_that_is_taken_is_passed_over(run: Callable[..., int], served: list[dict[str, str]]) -> None:
    run()
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", first := int(served[0]["ServerApp.port"])))
        taken.listen()
        assert run() == 0
    assert int(served[1]["ServerApp.port"]) > first


@pytest.mark.parametrize(
    "options", [["--out", "file"], ["--dashboard", "--out", "file"], ["--port", "0"], ["--port", "x"]]
)
def test_refusals(
    run: Callable[..., int],
    served: list[dict[str, str]],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    options: list[str],
) -> None:
    (tmp_path / "file").write_text("")
    assert run(*options) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1
    assert served == []


# ---- with a server ---------------------------------------------------------------------------------------------------


@contextmanager
def started(arguments: list[str], cwd: Path) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """The command, and the address that it printed."""
    log = cwd / "log.txt"
    own = {
        name: str(cwd / name) for name in ("JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR", "TMPDIR")
    }
    (cwd / "TMPDIR").mkdir()
    with log.open("w") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "dynlab.cli", "lab", "--no-browser", *arguments],
            cwd=cwd,
            env={**os.environ, **own},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
            # A shell's background job starts with the signal ignored, and hands that on.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )
    try:
        give_up = time.monotonic() + 120
        while not (found := re.search(r"http://127\.0\.0\.1:\d+/\S*\?token=\w+", log.read_text())):
            assert process.poll() is None and time.monotonic() < give_up, log.read_text()
            time.sleep(0.2)
        yield process, found[0]
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def fetch(url: str) -> tuple[int, str]:
    """The status, and the address after redirections."""
    try:
        with _direct.open(url, timeout=120) as answer:
            answer.read()
            return answer.status, answer.url
    except urllib.error.HTTPError as error:
        error.close()
        return error.code, error.url


def kernels(folder: Path) -> list[int]:
    """The processes of kernels whose connection file lies below a folder."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            command = (process / "cmdline").read_bytes().decode(errors="replace")
        except OSError:
            continue  # it ended meanwhile
        if "ipykernel_launcher" in command and str(folder) in command:
            found.append(int(process.name))
    return found


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/cmdline").exists(), reason="looks for processes in /proc")
@pytest.mark.parametrize("options", [["--out", "work"], ["--dashboard"]], ids=["lab", "dashboard"])
def test_the_server_asks_for_its_token_and_ends_with_ctrl_c(tmp_path: Path, options: list[str]) -> None:
    (tmp_path / "work").mkdir()
    nbformat.write(nbformat.v4.new_notebook(), tmp_path / "work" / cli_lab.FIRST)
    with started(options, tmp_path) as (process, address):
        without, token = address.split("?token=")
        assert urlsplit(address).path == ("/" if "--dashboard" in options else f"/lab/tree/{cli_lab.FIRST}")
        assert "/login" in fetch(without)[1]
        assert "/login" in fetch(f"{without}?token={'0' * len(token)}")[1]
        status, url = fetch(address)
        assert status == 200 and "/login" not in url
        if "--dashboard" not in options:
            kernel = urljoin(address, f"/api/kernels?token={token}")
            request = urllib.request.Request(kernel, method="POST", data=b"{}")
            with _direct.open(request, timeout=60) as answer:
                assert answer.status == 201
        assert len(kernels(tmp_path)) == 1
        with socket.socket() as other:  # free at the machine's other addresses
            other.bind(("127.0.0.2", urlsplit(address).port))
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 0
    assert kernels(tmp_path) == []
    assert [path.name for path in (tmp_path / "TMPDIR").iterdir() if path.name.startswith(("dynlab", "voila"))] == []
