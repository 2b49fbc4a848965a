import json
import threading

import numpy as np
import pytest
import torch
import xarray as xr

from dynlab.figures import load, pieces, workspace
from dynlab.figures.cache import Cache, compute, default_folder, read
from dynlab.figures.pieces import Piece, alone, let_others
from dynlab.store import save_dataset


def piece_of(**settings):
    return Piece.of(load("toy_walk").walk, settings)


def change(scripts, old, new):
    path = scripts / "toy_walk.py"
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def test_the_key_is_of_script_function_settings_code_and_versions(scripts, monkeypatch):
    keys = [piece_of(seed=0, steps=3).key]
    keys.append(piece_of(seed=1, steps=3).key)
    keys.append(Piece.of(load("toy_walk").compute, {"seed": 0, "steps": 3}).key)
    (scripts / "toy_other.py").write_text((scripts / "toy_walk.py").read_text())
    keys.append(Piece.of(load("toy_other").walk, {"seed": 0, "steps": 3}).key)
    monkeypatch.setattr(pieces, "versions", lambda: {"torch": "1.0"})
    keys.append(piece_of(seed=0, steps=3).key)
    monkeypatch.undo()
    monkeypatch.setenv("DYNLAB_FIGURES_DIR", str(scripts))
    assert piece_of(steps=3, seed=0).key == keys[0]
    change(scripts, "cumsum(0)", "cumsum(1)")
    keys.append(piece_of(seed=0, steps=3).key)
    assert len(set(keys)) == len(keys)


def test_claims_and_drawing_are_not_in_the_key(scripts):
    before = piece_of(seed=0, steps=3).key
    change(scripts, "It goes far", "It goes very far")
    change(scripts, "figsize=(3.4, 2)", "figsize=(7, 2)")
    change(scripts, "def walk(seed, steps):", "def walk( seed, steps ):  # a comment")
    assert piece_of(seed=0, steps=3).key == before


def test_what_cannot_be_a_piece(scripts):
    script = load("toy_walk")
    with pytest.raises(TypeError, match="expected a function at the top level of a script, got .*lambda"):
        Piece.of(eval("lambda: 0", script.__dict__), {})
    with pytest.raises(TypeError, match="top level of a script, got dynlab.store.save_dataset"):
        Piece.of(save_dataset, {})
    with pytest.raises(TypeError, match="expected JSON values as settings of toy_walk.walk"):
        Piece.of(script.walk, {"seed": np.arange(2)})


def test_computed_once_and_the_same_from_the_store(scripts, tmp_path):
    cache, wanted = Cache(tmp_path / "kept"), piece_of(seed=2, steps=3)
    assert wanted not in cache and cache.find(wanted) is None
    calls = []

    def once():
        calls.append(workspace())
        return compute(wanted)

    first, second = cache.once(wanted, once), cache.once(wanted, once)
    direct = load("toy_walk").walk(seed=2, steps=3)
    assert len(calls) == 1 and wanted in cache
    assert first.dataset.identical(direct) and second.dataset.identical(direct)
    assert direct["h"].values.tobytes() == second.dataset["h"].values.tobytes()
    assert first.origin == second.origin and first.origin["piece"] == "toy_walk: walk(seed=2, steps=3)"
    assert not calls[0].exists()  # the workspace went with the piece


def test_datasets_survive_the_store(tmp_path):
    data = xr.Dataset(
        {
            "complex": (("time", "mode"), np.array([[1 + 2j, complex("nan")]]), {"units": "1"}),
            "flag": ("mode", [True, False]),
            "text": ("mode", ["a", "longer"]),
            "scalar": ((), np.float32(0.1)),
            "count": ("time", np.array([3], dtype=np.int16), {"long_name": "n"}),
        },
        {"mode": ["x", "yy"], "label": ("time", ["one"], {"units": "1"})},
        {"scale": "smoke", "seed": 0, "list": [1, 2.5]},
    )
    found = read(save_dataset(data, tmp_path / "data.zarr"))
    assert found.identical(data)
    assert {name: one.dtype for name, one in found.variables.items() if name != "mode"} == {
        name: one.dtype for name, one in data.variables.items() if name != "mode"
    }
    assert not any(one.encoding for one in found.variables.values())


def test_a_piece_that_fails_leaves_its_workspace_and_nothing_else(scripts, tmp_path, monkeypatch):
    monkeypatch.setenv("TOY_FAILS", "1")
    cache, wanted = Cache(tmp_path / "kept"), piece_of(seed=1, steps=3)
    with pytest.raises(RuntimeError):
        cache.once(wanted, lambda: compute(wanted))
    assert wanted not in cache
    (work,) = (cache.folder / "work" / "toy_walk").iterdir()
    assert sorted(path.name for path in work.iterdir()) == ["0", "1", "2"]


def test_what_is_half_written_does_not_count(scripts, tmp_path, monkeypatch):
    cache, wanted = Cache(tmp_path / "kept"), piece_of(seed=1, steps=3)
    whole = cache.once(wanted, lambda: compute(wanted)).dataset
    place = cache.place(wanted)
    # As a kill while storing leaves it: a part of the files, beside the place.
    partial = tmp_path / "kept/partial" / f"{wanted.key}-0"
    place.rename(partial)
    for path in [path for path in partial.rglob("*") if path.is_file()][::2]:
        path.unlink()
    assert cache.find(wanted) is None
    assert cache.once(wanted, lambda: compute(wanted)).dataset.identical(whole)
    assert list((tmp_path / "kept/partial").iterdir()) == []
    # Damage that no kill makes is said.
    (place / "dataset.zarr/zarr.json").write_text("{")
    with pytest.raises(OSError, match=f"{wanted.key} is damaged .*; remove that folder, it is computed again"):
        cache.find(wanted)


def test_two_that_want_a_piece_at_once(scripts, tmp_path):
    """As two processes: the lock is on an open file, so that it keeps threads apart, too."""
    cache, wanted = Cache(tmp_path / "kept"), piece_of(seed=1, steps=3)
    calls, found, start = [], [], threading.Barrier(4)

    def want():
        start.wait()
        found.append(cache.once(wanted, lambda: (calls.append(0), compute(wanted))[1]))

    threads = [threading.Thread(target=want) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(calls) == 1 and len(found) == 4
    assert all(one.dataset.identical(found[0].dataset) for one in found)


def test_workspace_in_threads(tmp_path):
    from dynlab.figures.workspaces import working_in

    seen = {}

    def ask(name):
        with working_in(tmp_path / name):
            seen[name] = (workspace(), workspace())

    threads = [threading.Thread(target=ask, args=(name,)) for name in "abc"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert seen == {name: (tmp_path / name, tmp_path / name) for name in "abc"}
    outside = workspace()
    assert outside.is_dir() and outside != workspace() and tmp_path not in outside.parents


def test_alone_is_the_same_whatever_was_drawn_before(scripts):
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    np.random.seed(7)
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    with alone():
        assert torch.get_num_threads() == 1
        first = torch.rand(1), np.random.rand()
    assert torch.get_num_threads() == 2
    torch.set_num_threads(before)
    assert torch.equal(torch.rand(3), expected)  # the generator outside went on as if nothing had been
    with alone():
        assert (torch.rand(1), np.random.rand()) == first


def test_while_one_waits_another_may_compute(scripts):
    order, waiting, done = [], threading.Event(), threading.Event()

    def first():
        with alone():
            drawn = torch.rand(1)
            with let_others():
                waiting.set()
                assert done.wait(30)
            order.append("first")
            values["first"] = drawn, torch.rand(1)

    def second():
        assert waiting.wait(30)
        with alone():
            order.append("second")
            values["second"] = torch.rand(1), torch.rand(1)
        done.set()

    values = {}
    threads = [threading.Thread(target=one) for one in (first, second)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert order == ["second", "first"]
    assert values["first"] == values["second"]  # as if each had been alone


def test_default_folder(monkeypatch, tmp_path):
    monkeypatch.setenv("DYNLAB_CACHE_DIR", str(tmp_path))
    assert default_folder() == tmp_path / "figures"


def test_origin_is_json(scripts, tmp_path):
    cache, wanted = Cache(tmp_path / "kept"), piece_of(seed=2, steps=3)
    cache.once(wanted, lambda: compute(wanted))
    origin = json.loads((cache.place(wanted) / "origin.json").read_text())
    assert set(origin) == {"piece", "hardware", "seconds", "finished"}
    assert f"torch {torch.__version__}" in origin["hardware"]
