"""The CPU sources under g++'s sanitizers, in a program of their own: no race, nothing out of bounds, nothing undefined.

The program runs every recurrence forward and backward, in float and double, on small odd sizes, on several threads, and
every array that it passes is exactly as long as ``arguments.h`` says. Broken on purpose, it must be caught.
"""

import os
import subprocess
from concurrent.futures import ThreadPoolExecutor

import pytest

from dynlab._folders import folder
from dynlab.native import build

pytestmark = [pytest.mark.usefixtures("native"), pytest.mark.slow]

PROGRAM = r"""
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <thread>
#include <vector>

#include "arguments.h"

extern "C" {
void dynlab_set_runtime(void*, void*, void*, void*, void*);
int64_t dynlab_incremental_scratch(const DynlabIncremental*);
#define BOTH(name, A) int dynlab_##name##_f32(const A*); int dynlab_##name##_f64(const A*);
BOTH(unicornn_forward, DynlabUnicornn) BOTH(unicornn_backward, DynlabUnicornn)
BOTH(indrnn_forward, DynlabIndrnn) BOTH(indrnn_backward, DynlabIndrnn)
BOTH(antisymmetric_forward, DynlabAntisymmetric) BOTH(antisymmetric_backward, DynlabAntisymmetric)
BOTH(incremental_forward, DynlabIncremental) BOTH(incremental_backward, DynlabIncremental)
BOTH(shear_products, DynlabShears)
const char* dynlab_instruction_set();
int dynlab_use_instruction_set(const char*);
}

// ---- what the library borrows ----

uint32_t threads = 1;
using Body = void (*)(int64_t, int64_t, void*);

int32_t parallel_for(int64_t begin, int64_t end, int64_t, Body body, void* context) {
    std::vector<std::thread> running;
    const int64_t count = end - begin < threads ? end - begin : threads;
    for (int64_t i = 0; i < count; ++i) {
        const int64_t from = begin + i * (end - begin) / count, to = begin + (i + 1) * (end - begin) / count;
        running.emplace_back([=] { body(from, to, context); });
#if defined(RACE)
        if (i == 0) running.emplace_back([=] { body(from, to, context); });  // the same work twice
#endif
    }
    for (auto& thread : running) thread.join();
    return 0;
}

int32_t thread_count(uint32_t* count) { return *count = threads, 0; }

// Column-major, as Fortran has it.
template <class T>
void gemm(const char* ta, const char* tb, const int64_t* m, const int64_t* n, const int64_t* k, const T* alpha,
          const T* a, const int64_t* lda, const T* b, const int64_t* ldb, const T* beta, T* c, const int64_t* ldc) {
    for (int64_t j = 0; j < *n; ++j)
        for (int64_t i = 0; i < *m; ++i) {
            T sum = 0;
            for (int64_t l = 0; l < *k; ++l)
                sum += a[*ta == 'N' ? i + l * *lda : l + i * *lda] * b[*tb == 'N' ? l + j * *ldb : j + l * *ldb];
            T& to = c[i + j * *ldc];
            to = *alpha * sum + (*beta == 0 ? 0 : *beta * to);
        }
}

void fail(const char* what, int64_t at) {
    std::printf("%s: entry %ld is not as it must be\n", what, long(at));
    std::exit(3);
}

// ---- arrays that are exactly as long as they must be ----

template <class T>
struct Array {
    T* data;
    int64_t size;
    explicit Array(int64_t size, double scale = 0) : data(static_cast<T*>(std::malloc(size * sizeof(T)))), size(size) {
        static uint64_t state = 1;
        for (int64_t i = 0; i < size; ++i) {
            state = state * 6364136223846793005u + 1442695040888963407u;
            data[i] = scale ? T(scale * ((state >> 33) / 1073741824.0 - 1)) : T(NAN);
        }
    }
    ~Array() { std::free(data); }
    Array(const Array&) = delete;
    // Everything was written, and with a number.
    void check(const char* what) const {
        for (int64_t i = 0; i < size; ++i)
            if (!std::isfinite(double(data[i]))) fail(what, i);
    }
};

// A (t, b, u) sequence, time first or batch first, its rows back to back or with a gap that nobody may touch.
template <class T>
struct Rows : Array<T> {
    DynlabSequence sequence;
    int64_t t, b, u;
    Rows(int64_t t, int64_t b, int64_t u, double scale, int layout)
        : Array<T>(t * b * u + (layout == 2 ? (t * b - 1) * 3 : 0), scale), t(t), b(b), u(u) {
        const int64_t row = layout == 2 ? u + 3 : u;
        sequence = layout == 1 ? DynlabSequence{this->data, u, t * u} : DynlabSequence{this->data, b * row, row};
        if (!scale) return;
        for (int64_t i = 0; layout == 2 && i + u < this->size; i += row)
            for (int64_t j = 0; j < 3; ++j) this->data[i + u + j] = T(NAN);
    }
    // Every number of the sequence was written, and nothing between the rows.
    void check(const char* what) const {
        for (int64_t i = 0; i + u < this->size && sequence.batch == u + 3; i += u + 3)
            for (int64_t j = 0; j < 3; ++j)
                if (!std::isnan(double(this->data[i + u + j]))) fail(what, i + u + j);
        for (int64_t i = 0; i < t * b; ++i)
            for (int64_t k = 0; k < u; ++k) {
                const int64_t at = i / b * sequence.time + i % b * sequence.batch + k;
                if (!std::isfinite(double(this->data[at]))) fail(what, at);
            }
    }
};

#define CALL(name, a) (sizeof(T) == 4 ? dynlab_##name##_f32(&(a)) : dynlab_##name##_f64(&(a)))

struct Options {
    int64_t t, b, d;
    int layout;  // of sequences
    bool keep, gradients, adjoint;  // which optional arrays are there
};

template <class T>
void unicornn(const Options& o, bool stored) {
    const int64_t t = o.t, b = o.b, d = o.d;
    Array<T> w(d, 1), h(d, 0.5), state(b * 2 * d, 1), last(b * 2 * d), grad_last(b * 2 * d, 1);
    Array<T> grad_w(b * d), grad_h(b * d), grad_state(b * 2 * d);
    Rows<T> x(t, b, d, 1, o.layout), y(t, b, d, 0, o.layout), z(t, b, d, 0, o.layout);
    Rows<T> grad_y(t, b, d, 1, o.layout), grad_z(t, b, d, 1, o.layout), grad_x(t, b, d, 0, 0);
    Rows<T> adjoint(t + 1, b, 2 * d, 0, 0);
    DynlabUnicornn a{};
    a.steps = t, a.batch = b, a.units = d, a.alpha = 0.7;
    a.w = w.data, a.h = h.data, a.state = state.data, a.last = last.data, a.x = x.sequence;
    if (stored || o.keep) a.y = y.sequence;
    if (o.keep) a.z = z.sequence;
    CALL(unicornn_forward, a);
    last.check("unicornn last");
    if (a.y.data) y.check("unicornn y");
    if (a.z.data) z.check("unicornn z");
    if (!stored) a.y = {};
    if (o.gradients) a.grad_y = grad_y.sequence, a.grad_z = grad_z.sequence;
    if (o.gradients || !o.keep) a.grad_last = grad_last.data;
    a.grad_x = grad_x.sequence, a.grad_w = grad_w.data, a.grad_h = grad_h.data, a.grad_state = grad_state.data;
    if (o.adjoint) a.adjoint = adjoint.sequence;
    CALL(unicornn_backward, a);
    grad_x.check("unicornn grad_x"), grad_w.check("unicornn grad_w"), grad_h.check("unicornn grad_h");
    grad_state.check("unicornn grad_state");
    if (o.adjoint) adjoint.check("unicornn adjoint");
}

template <class T>
void indrnn(const Options& o, int64_t phi) {
    const int64_t t = o.t, b = o.b, d = o.d;
    Array<T> u(d, 1), state(b * d, 1), last(b * d), grad_last(b * d, 1), grad_u(b * d), grad_state(b * d);
    Rows<T> x(t, b, d, 1, o.layout), hidden(t, b, d, 0, o.layout), grad_h(t, b, d, 1, o.layout), grad_x(t, b, d, 0, 0);
    Rows<T> adjoint(t + 1, b, d, 0, 0);
    DynlabIndrnn a{};
    a.steps = t, a.batch = b, a.units = d, a.phi = phi;
    a.u = u.data, a.state = state.data, a.last = last.data, a.x = x.sequence;
    CALL(indrnn_forward, a);  // the last state only
    a.h = hidden.sequence;
    CALL(indrnn_forward, a);
    last.check("indrnn last"), hidden.check("indrnn h");
    if (o.gradients) a.grad_h = grad_h.sequence;
    if (o.gradients || !o.keep) a.grad_last = grad_last.data;
    a.grad_x = grad_x.sequence, a.grad_u = grad_u.data, a.grad_state = grad_state.data;
    if (o.adjoint) a.adjoint = adjoint.sequence;
    CALL(indrnn_backward, a);
    grad_x.check("indrnn grad_x"), grad_u.check("indrnn grad_u"), grad_state.check("indrnn grad_state");
    if (o.adjoint) adjoint.check("indrnn adjoint");
}

template <class T>
void antisymmetric(const Options& o, int64_t gated) {
    const int64_t t = o.t, b = o.b, d = o.d, g = d * (1 + gated);
    Array<T> matrix(d * d, 1.0 / d), state(b * d, 1), last(b * d), scratch((d + b) * d);
    Array<T> grad_last(b * d, 1), grad_state(b * d);
    Rows<T> x(t, b, g, 1, o.layout), hidden(t, b, d, 0, o.layout), pre(t, b, g, 0, 0);
    Rows<T> grad_h(t, b, d, 1, o.layout), grad_x(t, b, g, 0, 0), delta(t, b, d, 0, 0), adjoint(t + 1, b, d, 0, 0);
    DynlabAntisymmetric a{};
    a.steps = t, a.batch = b, a.units = d, a.gated = gated, a.slices = b < threads ? b : threads, a.epsilon = 0.3;
    a.matrix = matrix.data, a.state = state.data, a.last = last.data, a.scratch = scratch.data, a.x = x.sequence;
    CALL(antisymmetric_forward, a);
    last.check("antisymmetric last");
    a.pre = pre.sequence;
    a.h = hidden.sequence;
    CALL(antisymmetric_forward, a);
    last.check("antisymmetric last"), hidden.check("antisymmetric h"), pre.check("antisymmetric pre");
    if (o.gradients) a.grad_h = grad_h.sequence;
    if (o.gradients || !o.keep) a.grad_last = grad_last.data;
    a.grad_x = grad_x.sequence, a.grad_state = grad_state.data;
    if (gated) a.delta = delta.sequence;
    if (o.adjoint) a.adjoint = adjoint.sequence;
    CALL(antisymmetric_backward, a);
    grad_x.check("antisymmetric grad_x"), grad_state.check("antisymmetric grad_state");
    if (gated) delta.check("antisymmetric delta");
    if (o.adjoint) adjoint.check("antisymmetric adjoint");
}

template <class T>
void incremental(const Options& o, int64_t phi, int64_t rank, int64_t sign, int64_t zero, bool eta_of_each_step) {
    const int64_t t = o.t, b = o.b, d = o.d, k = 3, slices = b < threads ? b : threads;
    const int64_t numbers = rank ? 2 * d * rank : d * d;
    Array<T> weight(rank ? 1 : d * d, 1.0 / d), left(rank ? d * rank : 1, 0.5), right(rank ? rank * d : 1, 0.5);
    Array<T> eta(eta_of_each_step ? t * k : k, 0.3), state(b * d, 1), last(b * d);
    Array<T> grad_last(b * d, 1), grad_state(b * d), pre(t * k * b * d);
    Array<T> grad_weight(slices * numbers), grad_eta(slices * t * k);
    Rows<T> x(t, b, d, 1, o.layout), hidden(t, b, d, 0, o.layout), grad_h(t, b, d, 1, o.layout), grad_x(t, b, d, 0, 0);
    Rows<T> adjoint(t + 1, b, d, 0, 0);
    std::memset(grad_weight.data, 0, grad_weight.size * sizeof(T));
    DynlabIncremental a{};
    a.steps = t, a.batch = b, a.units = d, a.inner = k, a.rank = rank, a.phi = phi, a.sign = sign, a.zero = zero;
    a.slices = slices, a.alpha = 0.8, a.eta = eta.data, a.eta_time = eta_of_each_step ? k : 0;
    if (rank) a.left = left.data, a.right = right.data;
    else a.weight = weight.data;
    a.state = state.data, a.last = last.data, a.x = x.sequence;
    Array<T> forward_scratch(slices * dynlab_incremental_scratch(&a));
    a.scratch = forward_scratch.data;
    CALL(incremental_forward, a);
    last.check("incremental last");
    a.h = hidden.sequence, a.pre = pre.data;
    CALL(incremental_forward, a);
    last.check("incremental last"), hidden.check("incremental h"), pre.check("incremental pre");
    a.chunk = t > 2 ? 2 : 1;
    Array<T> backward_scratch(slices * dynlab_incremental_scratch(&a));
    a.scratch = backward_scratch.data;
    if (o.gradients) a.grad_h = grad_h.sequence;
    if (o.gradients || !o.keep) a.grad_last = grad_last.data;
    a.grad_x = grad_x.sequence, a.grad_weight = grad_weight.data, a.grad_eta = grad_eta.data;
    a.grad_state = grad_state.data;
    if (o.adjoint) a.adjoint = adjoint.sequence;
    CALL(incremental_backward, a);
    grad_x.check("incremental grad_x"), grad_weight.check("incremental grad_weight");
    grad_eta.check("incremental grad_eta"), grad_state.check("incremental grad_state");
    if (o.adjoint) adjoint.check("incremental adjoint");
}

template <class T>
void shears(const Options& o) {
    const int64_t t = o.t, b = o.b, d = o.d, r = 2;
    Array<T> drift(d, 0.5);
    Rows<T> kick(t, b, d, 1, o.layout);
    Array<T> products(2 * (t + 1) * b * r * d);
    for (int64_t channel = 0; channel < 2; ++channel)
        for (int64_t i = 0; i < b * r * d; ++i) products.data[(channel * (t + 1) + t) * b * r * d + i] = T(i % 3);
    DynlabShears a{t, b, r, d, drift.data, kick.sequence, products.data};
    CALL(shear_products, a);
    products.check("shear products");
}

template <class T>
void all(const Options& o) {
    for (const bool stored : {true, false}) unicornn<T>(o, stored);
    for (const int64_t phi : {0, 1, 2}) indrnn<T>(o, phi);
    shears<T>(o);
    if (o.d > 100) return;  // the naive products would take long
    for (const int64_t gated : {0, 1}) antisymmetric<T>(o, gated);
    for (const int64_t phi : {0, 1, 2}) {
        incremental<T>(o, phi, 0, 1, phi == 1, false);
        incremental<T>(o, phi, 2, phi == 0 ? -1 : 1, phi == 2, true);
    }
}

int main() {
    dynlab_set_runtime(reinterpret_cast<void*>(parallel_for), reinterpret_cast<void*>(thread_count),
                       reinterpret_cast<void*>(gemm<float>), reinterpret_cast<void*>(gemm<double>), nullptr);
#if defined(OUT_OF_BOUNDS)
    // One number too few for the last state.
    Array<float> w(5, 1), h(5, 1), state(20, 1), last(19);
    Rows<float> x(3, 2, 5, 1, 0);
    DynlabUnicornn a{};
    a.steps = 3, a.batch = 2, a.units = 5, a.w = w.data, a.h = h.data, a.state = state.data, a.last = last.data;
    a.x = x.sequence;
    dynlab_unicornn_forward_f32(&a);
#endif
    const Options sizes[] = {{1, 1, 1}, {2, 3, 5}, {5, 7, 17}, {3, 2, 33}, {4, 33, 3}, {2, 3, 1050}, {2, 140, 9}};
    for (const char* name : {"baseline", "avx2", "avx512"}) {
        if (dynlab_use_instruction_set(name)) continue;
        for (const uint32_t count : {1, 3}) {
            threads = count;
            int number = 0;
            for (Options o : sizes) {
                o.layout = (number + count) % 3;
                o.keep = number % 2, o.gradients = number % 3 != 1, o.adjoint = (number + count) % 2;
                all<float>(o);
                o.layout = (o.layout + 1) % 3, o.keep = !o.keep, o.adjoint = !o.adjoint;
                all<double>(o);
                ++number;
            }
        }
        std::printf("%s: fine\n", dynlab_instruction_set());
    }
    return 0;
}
"""

SANITIZERS = {
    "thread": ("-fsanitize=thread",),
    "memory": ("-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-fno-omit-frame-pointer"),
}
FLAGS = [flag for flag in build.CPU_FLAGS if flag not in ("-O3", "-fPIC", "-fvisibility=hidden")]


@pytest.fixture(scope="module", params=SANITIZERS)
def sanitized(request, tmp_path_factory):
    """(the sanitizer's name, a function from macros to the program built with them)."""
    place, sources = tmp_path_factory.mktemp(request.param), folder("kernels")
    options = [*FLAGS, "-O1", "-g", *SANITIZERS[request.param], "-pthread"]
    options += [f"-I{sources / 'include'}", f"-I{sources / 'cpu'}"]

    def compiled(name, source, *flags):
        command = [*build.compiler().command, *options, *flags, "-c", str(source), "-o", str(place / f"{name}.o")]
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return str(place / f"{name}.o")

    with ThreadPoolExecutor(2) as pool:
        objects = [
            pool.submit(compiled, name, sources / "cpu" / source, *flags)
            for name, (source, flags) in build._objects().items()
        ]
        objects = [done.result() for done in objects]
    (place / "program.cpp").write_text(PROGRAM)

    def program(*macros):
        name = "_".join(("program", *macros))
        main = compiled(name, place / "program.cpp", *(f"-D{macro}" for macro in macros))
        command = [*build.compiler().command, *options, *objects, main, "-o", str(place / name)]
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return place / name

    return request.param, program


def run(path):
    settings = {
        "TSAN_OPTIONS": "halt_on_error=1",
        "ASAN_OPTIONS": "detect_leaks=1",
        "UBSAN_OPTIONS": "print_stacktrace=1",
    }
    return subprocess.run([str(path)], capture_output=True, text=True, env={**os.environ, **settings}, timeout=600)


def test_nothing_is_reported(sanitized, native):
    done = run(sanitized[1]())
    assert done.returncode == 0 and done.stderr == "", done.stdout + done.stderr[:8000]
    names = [name for name in build.instruction_sets() if not native.dynlab_use_instruction_set(name.encode())]
    native.dynlab_use_instruction_set(names[0].encode())
    assert sorted(done.stdout.splitlines()) == sorted(f"{name}: fine" for name in names)


def test_what_is_broken_is_reported(sanitized):
    """Otherwise the test above would say nothing."""
    name, program = sanitized
    done = run(program({"thread": "RACE", "memory": "OUT_OF_BOUNDS"}[name]))
    assert done.returncode != 0
    assert {"thread": "data race", "memory": "heap-buffer-overflow"}[name] in done.stderr
    assert {"thread": "unicornn", "memory": "unicornn_forward"}[name] in done.stderr
