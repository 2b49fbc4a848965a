"""``dynlab kernels``, with a compiler that only pretends."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from dynlab.cli import main
from dynlab.native import build, compilers, library
from dynlab.native.library import Status

COMPILER = """#!/bin/sh
if [ "$1" = --version ]; then echo "fake (Fake) 4.5.6"; exit 0; fi
for word; do
    if [ "$last" = -o ]; then echo made > "$word"; fi
    last=$word
done
"""


@pytest.fixture(autouse=True)
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine with both compilers and no GPU, and an empty cache."""
    for name in ("cpu/recurrences.cpp", "cpu/dispatch.cpp", "cuda/recurrences.cu"):
        (tmp_path / "kernels" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "kernels" / name).write_text("")
    fake = tmp_path / "fake"
    fake.write_text(COMPILER)
    fake.chmod(0o755)
    monkeypatch.setattr(build, "folder", lambda name: tmp_path / name)
    monkeypatch.setenv("DYNLAB_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("CXX", str(fake))
    monkeypatch.setenv("CUDACXX", str(fake))
    monkeypatch.delenv("DYNLAB_BACKEND", raising=False)
    monkeypatch.setattr(build, "_failed", {})
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(library, "status", lambda device: Status(False, f"nothing for {device}"))
    compilers._compiler.cache_clear()


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Callable[..., tuple[str, str]]:
    def command(*arguments: str, expect: int = 0) -> tuple[str, str]:
        monkeypatch.setattr(sys, "argv", ["dynlab", "kernels", *arguments])
        with pytest.raises(SystemExit) as stopped:
            main()
        out, err = capfd.readouterr()
        assert (stopped.value.code or 0) == expect, out + err
        return out, err

    return command


Run = Callable[..., tuple[str, str]]


def parts(text: str) -> tuple[dict[str, str], dict[str, str], dict[str, str]]:
    """What ``status`` says of the CPU, of CUDA and in general."""
    cpu, cuda, general = re.fullmatch(r"CPU\n((?:  .*\n)+)CUDA\n((?:  .*\n)+)((?:\S.*\n)+)", text).groups()  # type: ignore[union-attr]
    first, second, third = (
        dict(re.split(r"\s{2,}", line.strip(), maxsplit=1) for line in part.splitlines())
        for part in (cpu, cuda, general)
    )
    return first, second, third


def test_build(run: Run, tmp_path: Path) -> None:
    out, err = run("build")
    (path,) = (tmp_path / "cache").glob("kernels/*/dynlab_cpu.*")
    assert re.fullmatch(rf"CPU: {re.escape(str(path))}, compiled in \d+\.\d s\n", out)
    assert err == "dynlab: compiling the CPU kernels with fake 4.5.6 (once, about ten seconds) ...\n"
    assert run("build") == (f"CPU: {path}, in the cache (--force compiles again)\n", "")
    out, err = run("build", "--force")
    assert "compiled in" in out and err.startswith("dynlab: compiling")


def test_build_for_cuda(run: Run, tmp_path: Path) -> None:
    out, err = run("build", "--cuda", "--arch", "80, 90,120")
    (path,) = (tmp_path / "cache").glob("kernels/*/dynlab_cuda_80_90_120.*")
    cpu, cuda = out.splitlines()
    assert cpu.startswith("CPU: ") and cuda.startswith(f"CUDA: {path}, compiled in ")
    assert "for sm_80, sm_90, sm_120 with fake 4.5.6" in err
    assert run("build", "--cuda", "--arch", "90")[0].splitlines()[1].startswith(f"CUDA: {path}, in the cache")


def test_verbose(run: Run) -> None:
    assert "-DDYNLAB_ISA=baseline" in run("build", "--verbose")[1]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["build", "--arch", "80"], "expected --arch together with --cuda, got it alone"),
        (["build", "--cuda", "--arch", "80,x"], "expected architectures such as 80, 90, 120; got 'x'"),
        (["build", "--cuda", "--arch", ""], "expected architectures such as 80, 90, 120; got ''"),
        (["build", "--cuda"], "no CUDA device is present to compile for; name what to compile for: dynlab kernels"),
        (["build", "--nonsense"], "--nonsense"),
        (["nonsense"], "nonsense"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(arguments: list[str], says: str, run: Run) -> None:
    run("build")
    err = run(*arguments, expect=2)[1]
    (line,) = err.splitlines()
    assert line.startswith("dynlab: ") and says in line


@pytest.mark.skipif(not Path("/bin/false").exists(), reason="no /bin/false")
def test_a_compiler_that_fails(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CXX", "/bin/false")
    out, err = run("build", expect=2)
    compiling, line = err.splitlines()
    assert out == "" and compiling.startswith("dynlab: compiling")
    assert line.startswith("dynlab: `/bin/false ") and "unset it or name another" in line


def test_a_cache_that_cannot_be_written_to(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DYNLAB_CACHE_DIR", str(tmp_path / "fake"))
    (line,) = run("build", expect=2)[1].splitlines()
    assert line.endswith("set DYNLAB_CACHE_DIR to a folder that can")
    assert parts(run("status")[0])[2]["cache folder"] == str(tmp_path / "fake" / "kernels")


def test_status_before_the_first_use(run: Run, tmp_path: Path) -> None:
    out, err = run("status")
    assert err == "" and not (tmp_path / "cache").exists()
    cpu, cuda, general = parts(out)
    assert cpu == {
        "available": "not compiled yet: at its first use, or now with dynlab kernels build",
        'backend="auto"': "native",
        "compiler": f"fake 4.5.6 ({tmp_path / 'fake'})",
        "instruction sets": ", ".join(build.instruction_sets()),
    }
    assert cuda["available"] == "no: nothing for cuda" and cuda['backend="auto"'] == "reference"
    assert cuda["architectures"] == "no device here; others: dynlab kernels build --cuda --arch 80,90,120"
    assert general == {"cache folder": str(tmp_path / "cache" / "kernels"), "DYNLAB_BACKEND": "not set"}


def test_status_of_what_is_compiled(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run("build")
    cpu = parts(run("status")[0])[0]
    assert cpu["available"] == "no: nothing for cpu" and cpu["how to get it"] == "dynlab kernels build --force"
    assert cpu['backend="auto"'] == "reference"
    path = build.cached_cpu_library()
    monkeypatch.setattr(library, "status", lambda device: Status(True, None, "avx2", path))
    cpu = parts(run("status")[0])[0]
    assert cpu["available"] == "yes" and cpu["library"] == str(path) and cpu['backend="auto"'] == "native"
    assert "how to get it" not in cpu
    assert cpu["instruction sets"].endswith("; this machine uses avx2")


def test_status_without_compilers(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CXX")
    monkeypatch.delenv("CUDACXX")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(build, "device_architectures", lambda: ("90",))
    monkeypatch.setattr(compilers.shutil, "which", lambda name: None)
    cpu, cuda, _ = parts(run("status")[0])
    for part, missing, remedy in ((cpu, "no C++ compiler", "apt install g++"), (cuda, "no CUDA compiler", "cuda-nvcc")):
        assert part["available"].startswith(f"no: {missing}") and remedy in part["available"]
        assert part["compiler"] == "none" and part['backend="auto"'] == "reference"


def test_status_with_a_gpu(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(build, "device_architectures", lambda: ("90",))
    cuda = parts(run("status")[0])[1]
    assert cuda["available"] == "not compiled yet: at its first use, or now with dynlab kernels build --cuda"
    assert cuda["architectures"] == "sm_90" and cuda['backend="auto"'] == "native"
    run("build", "--cuda")
    path = build.cached_cuda_library()
    monkeypatch.setattr(library, "status", lambda device: Status(True, None, None, path))
    cuda = parts(run("status")[0])[1]
    assert cuda["available"] == "yes" and cuda["library"] == str(path)


@pytest.mark.parametrize(("version", "says"), [(None, "has no CUDA; pytorch.org"), ("13.0", "nvidia-smi shows")])
def test_how_to_get_cuda(version: str | None, says: str, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.version, "cuda", version)
    assert says in parts(run("status")[0])[1]["how to get it"]


def test_status_names_the_variable(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DYNLAB_BACKEND", "reference")
    cpu, cuda, general = parts(run("status")[0])
    assert cpu['backend="auto"'] == cuda['backend="auto"'] == "reference, as DYNLAB_BACKEND says"
    assert general["DYNLAB_BACKEND"] == "reference"


def test_a_variable_that_names_no_backend(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DYNLAB_BACKEND", "fast")
    out, err = run("status", expect=2)
    assert out == "" and err.startswith("dynlab: the variable DYNLAB_BACKEND: expected backend to be one of 'auto', ")
