import errno
import hashlib
import http.server
import threading

import pooch
import pytest

from dynlab.tasks import DataError, DataMissingError
from dynlab.tasks.data import local, locate

CONTENT = b"the data" * 10_000
SHA256 = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """An empty cache, and no DYNLAB_DATA_DIR."""
    monkeypatch.delenv("DYNLAB_DATA_DIR", raising=False)
    monkeypatch.setattr(pooch, "os_cache", lambda project: tmp_path / "cache" / project)
    return tmp_path / "cache" / "dynlab"


@pytest.fixture
def server():
    """A server on this machine that has /good and /bad and counts what it is asked for."""
    asked = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.path)
            body = {"/good": CONTENT, "/bad": CONTENT[:-1]}.get(self.path)
            self.send_response(404 if body is None else 200)
            self.send_header("Content-Length", str(len(body or b"")))
            self.end_headers()
            self.wfile.write(body or b"")

        def log_message(self, *arguments):
            pass

    running = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=running.serve_forever, args=(0.01,))
    thread.start()
    running.url, running.asked = f"http://127.0.0.1:{running.server_port}", asked
    yield running
    running.shutdown()
    thread.join()
    running.server_close()


def test_data_dir_comes_first(tmp_path, monkeypatch, server):
    monkeypatch.setenv("DYNLAB_DATA_DIR", str(tmp_path / "mine"))
    path = tmp_path / "mine" / "set" / "file"
    path.parent.mkdir(parents=True)
    path.write_bytes(CONTENT)
    assert locate("set", "file", SHA256, [f"{server.url}/good"]) == path
    assert server.asked == []


def test_another_file_in_the_data_dir_is_refused(tmp_path, monkeypatch, server):
    monkeypatch.setenv("DYNLAB_DATA_DIR", str(tmp_path))
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "file").write_bytes(CONTENT[:-1])
    with pytest.raises(DataError, match=f"set/file: expected the original set file, sha256 {SHA256[:12]}"):
        locate("set", "file", SHA256, [f"{server.url}/good"])
    assert server.asked == []


def test_a_file_at_the_top_of_the_data_dir(tmp_path, monkeypatch):
    monkeypatch.setenv("DYNLAB_DATA_DIR", str(tmp_path))
    (tmp_path / "file").write_bytes(CONTENT)
    assert locate("", "file", SHA256, []) == tmp_path / "file" == local("", "file")
    with pytest.raises(DataError, match="expected the original file file, sha256 000000000000"):
        locate("", "file", "0" * 64, [])
    with pytest.raises(DataMissingError, match=r"^other is missing.* at \$DYNLAB_DATA_DIR/other$"):
        locate("", "other", SHA256, [])


def test_without_a_published_checksum(tmp_path, monkeypatch, cache, server):
    assert locate("set", "file", None, [f"{server.url}/good"]) == cache / "set" / "file"
    assert server.asked == ["/good"]
    monkeypatch.setenv("DYNLAB_DATA_DIR", str(tmp_path))
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "file").write_bytes(b"mine")
    assert locate("set", "file", None, []).read_bytes() == b"mine"


def test_local(tmp_path, monkeypatch):
    assert local("set", "file") is None
    monkeypatch.setenv("DYNLAB_DATA_DIR", str(tmp_path))
    assert local("set", "file") is None


def test_a_full_disk_leaves_nothing(cache, server, monkeypatch):
    def full(*arguments, **options):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(pooch.HTTPDownloader, "__call__", full)
    with pytest.raises(DataMissingError, match=r"good: OSError \(No space left on device\)"):
        locate("set", "file", SHA256, [f"{server.url}/good"])
    assert list((cache / "set").iterdir()) == []


def test_downloads_once(tmp_path, monkeypatch, cache, server):
    monkeypatch.setenv("DYNLAB_DATA_DIR", str(tmp_path / "lacks it"))
    for _ in range(2):
        path = locate("set", "file", SHA256, [f"{server.url}/good"])
        assert path == cache / "set" / "file" and path.read_bytes() == CONTENT
    assert server.asked == ["/good"]


def test_goes_on_to_the_next_mirror(server):
    path = locate("set", "file", SHA256, [f"{server.url}/{name}" for name in ("none", "bad", "good")])
    assert path.read_bytes() == CONTENT
    assert server.asked == ["/none", "/bad", "/good"]


def test_progress_goes_to_standard_error(server, capsys):
    assert locate("set", "file", SHA256, [f"{server.url}/good"], progress=True).read_bytes() == CONTENT
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "file" in captured.err


def test_no_progress_unless_a_terminal(server, capsys):
    locate("set", "file", SHA256, [f"{server.url}/good"])
    assert "100%" not in capsys.readouterr().err


def test_missing_everywhere_says_what_to_do(cache, server):
    with pytest.raises(DataMissingError) as caught:
        locate("set", "file", SHA256, [f"{server.url}/none", f"{server.url}/bad"])
    message = str(caught.value)
    assert isinstance(caught.value, FileNotFoundError)
    assert "\n" not in message
    for part in ("set/file is missing", "DYNLAB_DATA_DIR (not set)", str(cache), "none: HTTPError", "bad: ValueError"):
        assert part in message
    assert message.endswith("Put the file at $DYNLAB_DATA_DIR/set/file")
    assert not (cache / "set" / "file").exists()


def test_no_network():
    with pytest.raises(DataMissingError, match="127.0.0.1:9/file: ConnectionError"):
        locate("set", "file", SHA256, ["http://127.0.0.1:9/file"])
