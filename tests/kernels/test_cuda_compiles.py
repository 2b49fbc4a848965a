"""The CUDA sources compile without warnings, keep their registers, and have no float64 in float32 kernels."""

import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from dynlab.native.build import CUDA_FLAGS
from dynlab.native.compilers import BuildError, nvcc

KERNELS = Path(__file__).parents[2] / "kernels"
ENTRY_POINTS = {
    f"dynlab_cuda_{recurrence}_{direction}_{suffix}"
    for recurrence in ("unicornn", "indrnn", "antisymmetric", "incremental")
    for direction in ("forward", "backward")
    for suffix in ("f32", "f64")
} | {"dynlab_cuda_error"}
# A kernel's template arguments, mangled: <float...> or <Shape<float...>...>.
FLOAT = re.compile(r"I(?:NS_5ShapeI)?f")
# Shape<float, 1, true>: up to 128 units.
NARROW = "ShapeIfLi1ELb1E"
DOUBLE_IN_SASS = re.compile(r"\b(D(ADD|MUL|FMA|SETP|MNMX)|[FI]2[FI]\S*F64|MUFU\.\w+64H?)\b")


def kernels(listing: str, start: str) -> Iterator[tuple[str, str]]:
    """Mangled names and bodies of the kernels in a listing."""
    for part in re.split(start, listing)[1:]:
        name = re.match(r"\s*(\w+)", part)
        assert name is not None
        yield name[1], part


@pytest.mark.slow
@pytest.mark.parametrize("architecture", ["80", "90", "120"])
def test_compiles(tmp_path: Path, architecture: str) -> None:
    try:
        program = nvcc()
    except BuildError as error:
        pytest.skip(str(error))
    library = tmp_path / "libdynlab_cuda.so"
    code = ("-gencode", f"arch=compute_{architecture},code=sm_{architecture}")
    checks = ("-Werror", "all-warnings", "-Xptxas", "-v", "--keep", "--keep-dir", str(tmp_path))
    source = KERNELS / "cuda" / "recurrences.cu"
    command = [*program.command, *CUDA_FLAGS, *code, *checks, "-I", str(KERNELS / "include"), str(source)]
    done = subprocess.run([*command, "-o", str(library)], capture_output=True, text=True)
    if done.returncode and "Unsupported gpu architecture" in done.stderr:
        pytest.skip(f"{program.title} does not know sm_{architecture}")
    assert done.returncode == 0, done.stderr
    assert "warning" not in done.stderr

    symbols = subprocess.run(["nm", "-D", "--defined-only", library], capture_output=True, text=True, check=True).stdout
    shown = {line.split()[-1] for line in symbols.splitlines() if " T " in line}
    assert {name for name in shown if not name.startswith("_")} == ENTRY_POINTS

    resources = dict(kernels(done.stderr, "Compiling entry function '"))
    assert sum(NARROW in name for name in resources) == 4
    for name, text in resources.items():
        spilled = re.search(r"(\d+) bytes spill stores", text)
        assert spilled is not None
        # Elsewhere a few, before and after the loop over time.
        assert int(spilled[1]) <= (0 if NARROW in name else 64), name

    ptx = next(tmp_path.glob("*.ptx")).read_text()
    floats = [(name, body) for name, body in kernels(ptx, r"\.entry") if FLOAT.search(name)]
    assert len(floats) > len(resources) / 3
    for name, body in floats:
        assert ".f64" not in body, name

    if shutil.which("cuobjdump"):
        dumped = subprocess.run(["cuobjdump", "-sass", library], capture_output=True, text=True, check=True).stdout
        for name, body in kernels(dumped, r"Function :"):
            found = DOUBLE_IN_SASS.search(body) if FLOAT.search(name) else None
            assert found is None, f"{name}: {found}"
