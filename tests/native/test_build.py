"""The build, its cache and its compilers; with sources of the tests' own and, mostly, a compiler that only pretends."""

from __future__ import annotations

import contextlib
import ctypes
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from dynlab.native import build, cache, compilers
from dynlab.native.build import BuildError, cached_cpu_library, cached_cuda_library, cpu_library, cuda_library

ROOT = Path(__file__).resolve().parents[2]
COMPILES = len(build.instruction_sets()) + 1
FAKE = """#!/bin/sh
here=$(dirname "$0")
if [ "$1" = --version ]; then cat "$here/version"; exit 0; fi
echo "$*" >> "$here/log"
if [ -f "$here/message" ]; then cat "$here/message"; exit 3; fi
if [ -f "$here/sleep" ]; then sleep $(cat "$here/sleep"); fi
for word; do
    if [ "$last" = -o ]; then echo made > "$word"; fi
    last=$word
done
"""
FIRST_USE = """
import signal, sys
from pathlib import Path
from dynlab.native import build
signal.signal(signal.SIGINT, signal.default_int_handler)  # a background job of a shell starts without it
build.folder = lambda name: Path(sys.argv[1])
print("ready", flush=True)
sys.stdin.readline()
print(build.cpu_library())
"""
RECURRENCES = """
#include "value.h"
#define JOIN(a, b) a##b
#define NAME(isa) JOIN(value_, isa)
extern "C" int NAME(DYNLAB_ISA)() { return VALUE; }
"""
DISPATCH = """
extern "C" int value_baseline();
#ifdef DYNLAB_X86
extern "C" int value_avx2();
extern "C" int value_avx512();
#endif
extern "C" __attribute__((visibility("default"))) int value() {
#ifdef DYNLAB_X86
    return value_baseline() + value_avx2() + value_avx512();
#else
    return value_baseline();
#endif
}
"""
CUDA = """
#include "value.h"
__global__ void fill(int* to) { *to = VALUE; }
extern "C" __attribute__((visibility("default"))) int value(int* to) {
    if (to) fill<<<1, 1>>>(to);
    return VALUE;
}
"""


class Fake:
    """A compiler that logs its calls and writes something at ``-o``."""

    def __init__(self, folder: Path, version: str) -> None:
        folder.mkdir()
        self.folder, self.path = folder, folder / "fake"
        self.path.write_text(FAKE)
        self.path.chmod(0o755)
        self.set(version=version)

    def set(self, **files: str) -> None:
        for name, text in files.items():
            (self.folder / name).write_text(text)

    @property
    def calls(self) -> list[str]:
        log = self.folder / "log"
        return log.read_text().splitlines() if log.exists() else []


@pytest.fixture(autouse=True)
def fresh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("DYNLAB_CACHE_DIR", str(tmp_path / "cache"))
    for name in ("CXX", "CUDACXX", "CUDA_HOME", "CUDA_PATH"):
        monkeypatch.delenv(name, raising=False)
    forget()
    yield
    forget()


def forget() -> None:
    """What a new process does not know."""
    compilers._compiler.cache_clear()
    build._failed.clear()


@pytest.fixture
def sources(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    root = tmp_path / "kernels"
    for name, text in {
        "include/value.h": "#define VALUE 7\n",
        "cpu/recurrences.cpp": RECURRENCES,
        "cpu/dispatch.cpp": DISPATCH,
        "cuda/recurrences.cu": CUDA,
    }.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    monkeypatch.setattr(build, "folder", lambda name: root)
    return root


@pytest.fixture
def fake(tmp_path: Path, sources: Path, monkeypatch: pytest.MonkeyPatch) -> Fake:
    made = Fake(tmp_path / "bin", "fake++ (Fake 4.5.6) 4.5.6\n")
    monkeypatch.setenv("CXX", str(made.path))
    return made


@pytest.fixture
def fake_nvcc(tmp_path: Path, sources: Path, monkeypatch: pytest.MonkeyPatch) -> Fake:
    made = Fake(tmp_path / "nvcc", "nvcc: NVIDIA\nCuda compilation tools, release 13.0, V13.0.88\n")
    monkeypatch.setenv("CUDACXX", str(made.path))
    return made


def refused(call: Callable[[], object]) -> str:
    """The message, which is one line."""
    with pytest.raises(BuildError) as caught:
        call()
    message = str(caught.value)
    assert message and "\n" not in message
    return message


def left(folder: Path) -> list[str]:
    """The names of all files and folders beneath, without the folders of keys."""
    return sorted(path.name for path in folder.glob("kernels/*/**/*"))


# ---- compiling -------------------------------------------------------------------------------------------------


@pytest.mark.skipif(not any(map(shutil.which, ("c++", "g++", "clang++"))), reason="no C++ compiler")
def test_a_library_that_loads(sources: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert cached_cpu_library() is None
    path = cpu_library()
    assert ctypes.CDLL(str(path)).value() == 7 * (COMPILES - 1)
    out, err = capfd.readouterr()
    (line,) = err.splitlines()
    assert line == f"dynlab: compiling the CPU kernels with {build.compiler().title} (once, about ten seconds) ..."
    assert any(character.isdigit() for character in build.compiler().title)
    assert cpu_library() == cached_cpu_library() == path
    assert capfd.readouterr() == ("", "") and out == ""

    (sources / "include" / "value.h").write_text("#define VALUE 8\n")
    assert cached_cpu_library() is None
    assert ctypes.CDLL(str(cpu_library())).value() == 8 * (COMPILES - 1)

    (sources / "cpu" / "dispatch.cpp").write_text("#warning first\nint ok;\nint broken = nothing;\n")
    message = refused(cpu_library)
    assert "-c dispatch.cpp` failed with exit status 1: " in message
    assert "dispatch.cpp:3:" in message and "nothing" in message
    assert message.endswith("; set CXX to another compiler; all of its output: dynlab kernels build --verbose")


def test_the_commands(fake: Fake, sources: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path = cpu_library()
    assert path.parents[2] == tmp_path / "cache" and path.parents[1].name == "kernels"
    assert path.stem == "dynlab_cpu" and path.read_text() == "made\n"
    assert capfd.readouterr().err == "dynlab: compiling the CPU kernels with fake 4.5.6 (once, about ten seconds) ...\n"
    *compiles, link = fake.calls
    assert len(compiles) == COMPILES
    for name, flags in build.instruction_sets().items():
        (command,) = (call for call in compiles if call.find(f"-DDYNLAB_ISA={name} ") > 0)
        words = command.split()
        assert set(flags) <= set(words) and str(sources / "cpu" / "recurrences.cpp") in words
        assert words[words.index("-I") + 1] == str(sources / "include")
        assert {"-std=c++17", "-O3", "-fPIC", "-fvisibility=hidden"} <= set(words)
    (dispatch,) = (call for call in compiles if "dispatch.cpp" in call)
    assert not any(word.startswith("-m") for word in dispatch.split())
    assert link.count(".o ") == COMPILES
    assert not any(flag in call for call in fake.calls for flag in ("-march", "-ffast-math", "-fopenmp ", "torch"))


def test_without_the_x86_sets_elsewhere(fake: Fake, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(build.platform, "machine", lambda: "aarch64")
    cpu_library()
    assert len(fake.calls) == 3 and "-DDYNLAB_ISA=baseline" in "".join(fake.calls)
    assert not any("avx" in call or "DYNLAB_X86" in call for call in fake.calls)


def test_the_second_call_compiles_nothing(fake: Fake, capfd: pytest.CaptureFixture[str]) -> None:
    path = cpu_library()
    calls = len(fake.calls)
    capfd.readouterr()
    forget()
    assert cpu_library() == path and len(fake.calls) == calls
    assert capfd.readouterr() == ("", "")
    assert cpu_library(force=True) == path and len(fake.calls) == 2 * calls
    assert left(path.parents[2]) == ["dynlab_cpu" + path.suffix, "lock"]


def test_verbose(fake: Fake, capfd: pytest.CaptureFixture[str]) -> None:
    fake.set(message="note: one\nx.cpp:1: error: two\n")
    message = refused(lambda: cpu_library(verbose=True))
    assert "failed with exit status 3: x.cpp:1: error: two; " in message
    err = capfd.readouterr().err
    assert f"{fake.path} -std=c++17" in err and "note: one\n" in err


def test_the_key(fake: Fake, sources: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def key() -> str:
        compilers._compiler.cache_clear()
        return build._cpu_target(build.compiler()).parent.name

    keys = [key()]
    assert key() == keys[0]
    (sources / "README.md").write_text("no source")
    assert key() == keys[0]
    for name in ("cpu/dispatch.cpp", "include/new.h"):
        (sources / name).write_text("// changed")
        keys.append(key())
    (sources / "cpu" / "moved.h").write_text("// changed")
    (sources / "include" / "new.h").unlink()
    keys.append(key())
    fake.set(version="fake++ (Fake 4.5.7) 4.5.7\n")
    keys.append(key())
    monkeypatch.setenv("CXX", str(Fake(tmp_path / "other", "fake++ (Fake 4.5.7) 4.5.7\n").path))
    keys.append(key())
    monkeypatch.setenv("CXX", f"{fake.path} -m64")
    keys.append(key())
    monkeypatch.setattr(build, "CPU_FLAGS", (*build.CPU_FLAGS, "-g"))
    keys.append(key())
    monkeypatch.setitem(build.X86_INSTRUCTION_SETS, "baseline", ("-msse3",))
    if build._is_x86():
        keys.append(key())
    monkeypatch.setattr(torch, "__version__", "2.99.0")
    keys.append(key())
    monkeypatch.setattr(build.platform, "machine", lambda: "riscv64")
    keys.append(key())
    assert len(set(keys)) == len(keys)


def test_where_the_cache_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DYNLAB_CACHE_DIR", "~/somewhere")
    assert cache.cache_folder() == Path.home() / "somewhere" / "kernels"
    monkeypatch.setenv("DYNLAB_CACHE_DIR", "")
    monkeypatch.setenv("XDG_CACHE_HOME", "/elsewhere")
    if sys.platform == "linux":
        assert cache.cache_folder() == Path("/elsewhere/dynlab/kernels")


# ---- several at once, and interruptions ------------------------------------------------------------------------


def first_uses(sources: Path, count: int = 1) -> list[subprocess.Popen[str]]:
    """Processes that have imported everything and now, all at once, want the library."""
    processes = [first_use(sources) for _ in range(count)]
    for process in processes:
        assert process.stdout is not None and process.stdout.readline() == "ready\n"
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    return processes


def first_use(sources: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", FIRST_USE, str(sources)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        start_new_session=True,
    )


def end(process: subprocess.Popen[str]) -> None:
    """Kill what ``first_use`` started, compilers and all."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)


def until(condition: Callable[[], object]) -> None:
    for _ in range(1200):
        if condition():
            return
        time.sleep(0.05)
    pytest.fail("waited in vain")


def test_two_processes_compile_once(fake: Fake, sources: Path) -> None:
    fake.set(sleep="0.5")
    results = [process.communicate(timeout=120) for process in first_uses(sources, 2)]
    assert [out for out, _ in results] == [f"{cpu_library()}\n"] * 2
    assert len(fake.calls) == COMPILES + 1
    lines = "".join(err for _, err in results).splitlines()
    assert sum(line.startswith("dynlab: compiling the CPU kernels") for line in lines) == 1
    waiting = [line for line in lines if line.startswith("dynlab: waiting for another process, which is compiling")]
    assert len(waiting) == len(lines) - 1 <= 1


def test_waiting_for_the_lock(fake: Fake, capfd: pytest.CaptureFixture[str]) -> None:
    target = build._cpu_target(build.compiler())
    target.parent.mkdir(parents=True)
    found: list[Path] = []
    other = threading.Thread(target=lambda: found.append(cpu_library()))
    with cache._locked(target.parent / "lock", ""):
        other.start()
        time.sleep(0.2)
        assert other.is_alive() and fake.calls == []
        target.write_text("by another")
    other.join(timeout=60)
    assert found == [target] and fake.calls == [] and target.read_text() == "by another"
    (line,) = capfd.readouterr().err.splitlines()
    assert line.startswith("dynlab: waiting for another process, which is compiling the CPU kernels with fake 4.5.6")


@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
def test_a_killed_builder_blocks_nobody(fake: Fake, sources: Path, tmp_path: Path) -> None:
    fake.set(sleep="60")
    (killed,) = first_uses(sources)
    until(lambda: fake.calls)
    killed.kill()
    killed.wait()
    try:
        # Its compilers are still at work: they must not hold the lock either.
        (fake.folder / "sleep").unlink()
        assert "making-" in "".join(left(tmp_path / "cache"))
        started = time.monotonic()
        path = cpu_library()
        assert time.monotonic() - started < 30
    finally:
        end(killed)
        killed.communicate()
    assert left(tmp_path / "cache") == ["dynlab_cpu" + path.suffix, "lock"]


@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
def test_an_interrupted_build_leaves_nothing(fake: Fake, sources: Path, tmp_path: Path) -> None:
    fake.set(sleep="60")
    (builder,) = first_uses(sources)
    until(lambda: fake.calls)
    builder.send_signal(signal.SIGINT)
    builder.wait(timeout=60)
    end(builder)
    assert "KeyboardInterrupt" in builder.communicate()[1]
    assert builder.returncode and left(tmp_path / "cache") == ["lock"]


def test_sources_that_change_under_the_compiler(
    fake: Fake, sources: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    compile_all, first = build.run_all, build._cpu_target(build.compiler())

    def edited(*arguments: Any) -> None:
        compile_all(*arguments)
        (sources / "include" / "value.h").write_text("// saved while the compiler was reading")

    monkeypatch.setattr(build, "run_all", edited)
    path = cpu_library()
    assert path == cached_cpu_library() != first and not first.exists()
    assert len(fake.calls) == 2 * (COMPILES + 1)


# ---- what goes wrong -------------------------------------------------------------------------------------------


@pytest.mark.skipif(not Path("/bin/false").exists(), reason="no /bin/false")
def test_a_compiler_that_fails(sources: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CXX", "/bin/false")
    message = refused(cpu_library)
    assert message.startswith("`/bin/false ") and "failed with exit status 1 and no message" in message
    assert "$CXX names this compiler: unset it or name another" in message
    assert left(tmp_path / "cache") == ["lock"] and cached_cpu_library() is None


def test_a_failure_is_remembered_by_the_process_only(fake: Fake, capfd: pytest.CaptureFixture[str]) -> None:
    fake.set(message="fatal: on the first day\n")
    message = refused(cpu_library)
    tried = len(fake.calls)
    capfd.readouterr()
    assert refused(cpu_library) == message and len(fake.calls) == tried
    assert capfd.readouterr().err == ""
    (fake.folder / "message").unlink()
    assert refused(cpu_library) == message
    assert cpu_library(force=True).is_file()

    fake.set(message="fatal: another day\n")
    assert "another day" in refused(lambda: cpu_library(force=True))
    assert cpu_library() == cached_cpu_library()  # the one before is still there


def test_of_several_threads_one_tries(fake: Fake, capfd: pytest.CaptureFixture[str]) -> None:
    fake.set(message="error: no\n")
    messages: list[str] = []
    threads = [threading.Thread(target=lambda: messages.append(refused(cpu_library))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    assert len(messages) == 4 and len(set(messages)) == 1
    assert capfd.readouterr().err.count("dynlab: compiling") == 1


def test_a_new_process_tries_again(fake: Fake) -> None:
    fake.set(message="error: no\n")
    refused(cpu_library)
    forget()
    (fake.folder / "message").unlink()
    assert cpu_library().is_file()


def test_no_compiler(sources: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    message = refused(cpu_library)
    assert message.startswith("no C++ compiler: none of $CXX, c++, g++, clang++ found; install one (Debian: apt")
    assert cached_cpu_library() is None
    monkeypatch.setenv("CXX", "nowhere++")
    assert "$CXX names 'nowhere++', which is no program here" in refused(cpu_library)


def test_a_compiler_that_cannot_start(fake: Fake) -> None:
    fake.path.write_bytes(b"\x7fELF, of another machine")
    assert "could not be started: Exec format error; $CXX names this compiler" in refused(cpu_library)


def test_a_compiler_that_makes_nothing(fake: Fake, tmp_path: Path) -> None:
    fake.path.write_text("#!/bin/sh\n")
    assert "ended without an error and without a library" in refused(cpu_library)
    assert left(tmp_path / "cache") == ["lock"]


def test_a_compiler_that_is_killed(fake: Fake) -> None:
    fake.path.write_text("#!/bin/sh\nkill -9 $$\n")
    assert "was stopped by signal 9 and no message" in refused(cpu_library)


def test_a_full_disk(fake: Fake) -> None:
    fake.set(message="In file included from x.cpp\n/tmp/cc.s: Fatal error: can't write: No space left on device\n")
    assert "exit status 3: /tmp/cc.s: Fatal error: can't write: No space left on device" in refused(cpu_library)


def test_a_cache_that_cannot_be_written_to(fake: Fake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("DYNLAB_CACHE_DIR", str(tmp_path / "file" / "below"))
    message = refused(cpu_library)
    assert f"cache folder {tmp_path / 'file' / 'below' / 'kernels'}" in message
    assert "cannot be written to (Not a directory); set DYNLAB_CACHE_DIR to a folder that can" in message
    assert fake.calls == [] and cached_cpu_library() is None


def test_a_read_only_cache_that_holds_the_library(fake: Fake, monkeypatch: pytest.MonkeyPatch) -> None:
    def denied(*_: object, **__: object) -> None:
        raise PermissionError(30, "Read-only file system")

    path = cpu_library()
    monkeypatch.setattr(cache, "_locked", denied)
    monkeypatch.setattr(Path, "mkdir", denied)
    assert cpu_library() == cached_cpu_library() == path
    assert "(Read-only file system); set DYNLAB_CACHE_DIR" in refused(lambda: cpu_library(force=True))


def test_missing_sources(fake: Fake, sources: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (sources / "cpu" / "dispatch.cpp").unlink()
    assert "dispatch.cpp is missing; reinstall dynlab" in refused(cpu_library)
    assert cached_cpu_library() is None

    def nowhere(name: str) -> Path:
        raise FileNotFoundError("dynlab's kernels are missing")

    monkeypatch.setattr(build, "folder", nowhere)
    assert refused(cpu_library) == "dynlab's kernels are missing"


# ---- compilers -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("g++ (Debian 12.2.0-14+deb12u1) 12.2.0\nCopyright", "12.2.0"),
        ("x86_64-conda-linux-gnu-c++ (conda-forge gcc 13.3.0-1) 13.3.0", "13.3.0"),
        ("Debian clang version 14.0.6\nTarget: x86_64", "14.0.6"),
        ("Apple clang version 15.0.0 (clang-1500.3.9.4)", "15.0.0"),
        ("Cuda compilation tools, release 13.0, V13.0.88", "13.0"),
    ],
)
def test_titles(text: str, number: str) -> None:
    assert build.Compiler(Path("/usr/bin/cc"), text).title == f"cc {number}"
    assert build.Compiler(Path("/usr/bin/cc"), "").title == "cc"


def test_which_compiler(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = Fake(tmp_path / "bin", "fake (fake) 1.2.3")
    on_path: dict[str, str] = {}
    monkeypatch.setattr(compilers.shutil, "which", on_path.get)
    for name in ("clang++", "g++", "c++", "fake"):
        on_path[name] = str(made.folder / name)
        if name != "fake":
            made.path.with_name(name).symlink_to(made.path)
            assert build.compiler() == build.Compiler(made.folder / name, "fake (fake) 1.2.3")
    monkeypatch.setenv("CXX", "fake -m64")
    assert build.compiler().command == (str(made.path), "-m64")


def test_which_nvcc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    homes = {}
    for name in ("CUDA_PATH", "CUDA_HOME"):
        made = Fake(tmp_path / name, "release 13.0, V13.0.88")
        homes[name] = made.folder / "bin" / "nvcc"
        homes[name].parent.mkdir()
        homes[name].symlink_to(made.path)
        monkeypatch.setenv(name, str(made.folder))
        assert build.nvcc().path == homes[name]  # CUDA_HOME comes before CUDA_PATH
    monkeypatch.setenv("CUDACXX", str(homes["CUDA_PATH"]))
    assert build.nvcc().path == homes["CUDA_PATH"]
    monkeypatch.setenv("CUDACXX", "nowhere")
    assert "$CUDACXX names 'nowhere'" in refused(build.nvcc)


def test_no_nvcc(sources: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compilers.shutil, "which", lambda name: None)
    assert refused(lambda: cuda_library(["90"])).startswith("no CUDA compiler: no nvcc in $CUDACXX, $CUDA_HOME/bin")
    assert cached_cuda_library() is None


# ---- CUDA ------------------------------------------------------------------------------------------------------


def test_the_command_of_nvcc(fake_nvcc: Fake, sources: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path = cuda_library(["120", "80", "90", "80"])
    assert path.stem == "dynlab_cuda_80_90_120"
    (call,) = fake_nvcc.calls
    codes = [word for word in call.split() if word.startswith("arch=")]
    assert codes == [
        *(f"arch=compute_{number},code=sm_{number}" for number in (80, 90, 120)),
        "arch=compute_120,code=compute_120",
    ]
    assert call.count("-gencode arch=") == 4
    assert "-shared -Xcompiler -fPIC,-fvisibility=hidden" in call and "-lineinfo" in call and "torch" not in call
    assert f"-I {sources / 'include'} {sources / 'cuda' / 'recurrences.cu'} -o " in call
    (line,) = capfd.readouterr().err.splitlines()
    assert line == (
        "dynlab: compiling the CUDA kernels for sm_80, sm_90, sm_120 with fake 13.0 (once, about a minute) ..."
    )


def test_a_library_for_several_serves_each(fake_nvcc: Fake, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(build, "device_architectures", lambda: ("90",))
    assert cached_cuda_library() is None
    several = cuda_library(["80", "90"])
    assert cached_cuda_library() == cuda_library() == cuda_library(["90"]) == several
    other = cuda_library(["90", "100"])
    assert other != several and len(fake_nvcc.calls) == 2
    one = cuda_library(force=True)
    assert one.stem == "dynlab_cuda_90" and cached_cuda_library() == one
    monkeypatch.setattr(build, "device_architectures", lambda: ("75",))
    assert cached_cuda_library() is None


def test_without_a_device_architectures_are_named(fake_nvcc: Fake, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(build, "device_architectures", lambda: ())
    message = refused(cuda_library)
    assert message == (
        "no CUDA device is present to compile for; name what to compile for: dynlab kernels build --cuda --arch "
        "80,90,120"
    )
    for wrong in ("", "8.0", "sm_80", "eighty", "80 "):
        with pytest.raises(ValueError, match="expected architectures such as 80, 90, 120; got"):
            cuda_library(["80", wrong])
    assert fake_nvcc.calls == []


def test_the_devices_of_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 3)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda index: [(12, 0), (9, 0), (9, 0)][index])
    assert build.device_architectures() == ("90", "120")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert build.device_architectures() == ()


def test_an_nvcc_that_fails(fake_nvcc: Fake) -> None:
    fake_nvcc.set(message="nvcc fatal   : Unsupported gpu architecture 'compute_20'\n")
    message = refused(lambda: cuda_library(["20"]))
    assert "exit status 3: nvcc fatal : Unsupported gpu architecture 'compute_20'; $CUDACXX names" in message
    assert message.endswith("dynlab kernels build --cuda --arch 20 --verbose")


def test_a_real_nvcc(sources: Path) -> None:
    try:
        program = build.nvcc()
    except BuildError as error:
        pytest.skip(str(error))
    path = cuda_library(["90"])
    assert ctypes.CDLL(str(path)).value(None) == 7
    assert "nvcc" in program.title and any(character.isdigit() for character in program.title)
