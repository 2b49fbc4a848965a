// Recurrences with a matrix product a step: the batch is cut into slices, one a thread, which never wait for each
// other. The products are the BLAS's. Included once per instruction set, in a namespace of its own.

// C = op(A) op(B) + beta C for row-major matrices, op(A) (m, k), op(B) (k, n).
template <class T>
void multiply(bool transpose_a, bool transpose_b, int64_t m, int64_t n, int64_t k, const T* a, int64_t a_row,
              const T* b, int64_t b_row, T beta, T* c, int64_t c_row) {
    using Gemm = void (*)(const char*, const char*, const int64_t*, const int64_t*, const int64_t*, const T*, const T*,
                          const int64_t*, const T*, const int64_t*, const T*, T*, const int64_t*);
    const auto gemm = reinterpret_cast<Gemm>(sizeof(T) == 4 ? runtime.sgemm : runtime.dgemm);
    const T one = 1;
    // Fortran's order makes it the transposed product. 64-bit sizes are read rightly by a 32-bit BLAS too: they are
    // small, and the machines are little-endian.
    gemm(transpose_b ? "T" : "N", transpose_a ? "T" : "N", &n, &m, &k, &one, b, &b_row, a, &a_row, &beta, c, &c_row);
}

// While it lives, the BLAS uses the calling thread alone. MKL looks for more within a parallel region, too, and for
// small products that takes longer than the product.
class OneBlasThread {
   public:
    OneBlasThread() : before_(runtime.blas_threads ? runtime.blas_threads(1) : 0) {}
    ~OneBlasThread() {
        if (runtime.blas_threads) runtime.blas_threads(before_);
    }
    OneBlasThread(const OneBlasThread&) = delete;

   private:
    const int before_;
};

template <class Body>
void parallel_slices(int64_t slices, Body body) {
    parallel(slices, [&](int64_t index) {
        const OneBlasThread one;
        body(index);
    });
}

// ``to`` (columns, rows) becomes the transpose of ``from``. A transposed operand the BLAS packs again at every step.
template <class T>
void transpose(const T* from, int64_t rows, int64_t columns, T* to) {
    for (int64_t j = 0; j < columns; ++j)
        for (int64_t i = 0; i < rows; ++i) to[j * rows + i] = from[i * columns + j];
}

// The rows of the batch that belong to a slice.
struct Slice {
    int64_t first, rows;
    Slice(int64_t index, int64_t slices, int64_t batch)
        : first(index * batch / slices), rows((index + 1) * batch / slices - first) {}
};

template <class T>
struct Rows {
    T* data;
    int64_t stride;
    T* operator[](int64_t r) const { return data + r * stride; }
};

template <class T>
Rows<T> rows_of(const DynlabSequence& s, int64_t t, int64_t first) {
    return {row<T>(s, t, first), s.batch};
}

template <class T>
void antisymmetric_forward(const DynlabAntisymmetric& a) {
    const int64_t d = a.units;
    const T eps = static_cast<T>(a.epsilon);
    T* const transposed = static_cast<T*>(a.scratch);
    transpose(static_cast<const T*>(a.matrix), d, d, transposed);
    parallel_slices(a.slices, [&](int64_t index) {
        const Slice slice(index, a.slices, a.batch);
        T* const product = transposed + (d + slice.first) * d;
        const Rows<T> last{static_cast<T*>(a.last) + slice.first * d, d};
        Rows<const T> hidden{static_cast<const T*>(a.state) + slice.first * d, d};
        for (int64_t t = 0; t < a.steps; ++t) {
            multiply<T>(false, false, slice.rows, d, d, hidden.data, hidden.stride, transposed, d, T(0), product, d);
            const Rows<T> next = a.h.data ? rows_of<T>(a.h, t, slice.first) : last;
            for (int64_t r = 0; r < slice.rows; ++r) {
                const T* __restrict const mh = product + r * d;
                const T* __restrict const x = row<const T>(a.x, t, slice.first + r);
                const T* const old = hidden[r];
                T* const out = next[r];
                if (a.pre.data) {
                    T* __restrict const pre = row<T>(a.pre, t, slice.first + r);
#pragma omp simd
                    for (int64_t j = 0; j < d; ++j) pre[j] = mh[j] + x[j];
                    if (a.gated) {
#pragma omp simd
                        for (int64_t j = 0; j < d; ++j) pre[d + j] = mh[j] + x[d + j];
                    }
                }
                if (a.gated) {
#pragma omp simd
                    for (int64_t j = 0; j < d; ++j)
                        out[j] = antisymmetric_step(eps, mh[j] + x[j], mh[j] + x[d + j], old[j]);
                } else {
#pragma omp simd
                    for (int64_t j = 0; j < d; ++j) out[j] = antisymmetric_step(eps, mh[j] + x[j], old[j]);
                }
            }
            hidden = {next.data, next.stride};
        }
        if (a.h.data)
            for (int64_t r = 0; r < slice.rows; ++r) copy(last[r], hidden[r], d);
    });
}

template <class T>
void antisymmetric_backward(const DynlabAntisymmetric& a) {
    const int64_t d = a.units;
    const T eps = static_cast<T>(a.epsilon);
    parallel_slices(a.slices, [&](int64_t index) {
        const Slice slice(index, a.slices, a.batch);
        // The adjoint of the state lives where that of the first one is wanted.
        const Rows<T> adjoint{static_cast<T*>(a.grad_state) + slice.first * d, d};
        for (int64_t r = 0; r < slice.rows; ++r) {
            if (a.grad_last)
                copy(adjoint[r], static_cast<const T*>(a.grad_last) + (slice.first + r) * d, d);
            else
                fill(adjoint[r], T(0), d);
        }
        for (int64_t t = a.steps - 1; t >= 0; --t) {
            for (int64_t r = 0; r < slice.rows; ++r) {
                const int64_t sample = slice.first + r;
                T* __restrict const lambda = adjoint[r];
                if (a.grad_h.data) add(lambda, row<const T>(a.grad_h, t, sample), d);
                if (a.adjoint.data) copy(row<T>(a.adjoint, t + 1, sample), lambda, d);
                const T* __restrict const pre = row<const T>(a.pre, t, sample);
                T* __restrict const dx = row<T>(a.grad_x, t, sample);
                if (a.gated) {
                    T* __restrict const delta = row<T>(a.delta, t, sample);
#pragma omp simd
                    for (int64_t j = 0; j < d; ++j) {
                        T da, dc;
                        antisymmetric_back(eps, pre[j], pre[d + j], lambda[j], da, dc);
                        dx[j] = da;
                        dx[d + j] = dc;
                        delta[j] = da + dc;
                    }
                } else {
#pragma omp simd
                    for (int64_t j = 0; j < d; ++j) dx[j] = antisymmetric_back(eps, pre[j], lambda[j]);
                }
            }
            const Rows<const T> delta = rows_of<const T>(a.gated ? a.delta : a.grad_x, t, slice.first);
            multiply<T>(false, false, slice.rows, d, d, delta.data, delta.stride, static_cast<const T*>(a.matrix), d,
                        T(1), adjoint.data, d);
        }
        if (a.adjoint.data)
            for (int64_t r = 0; r < slice.rows; ++r) copy(row<T>(a.adjoint, 0, slice.first + r), adjoint[r], d);
    });
}

// U and U^T as iRNN's rows see them: rows (m, d) -> rows (m, d), and what the weight's gradient needs.
template <class T>
struct Weight {
    int64_t d, rank;
    const T *dense, *left, *right;

    explicit Weight(const DynlabIncremental& a)
        : d(a.units),
          rank(a.rank),
          dense(static_cast<const T*>(a.weight)),
          left(static_cast<const T*>(a.left)),
          right(static_cast<const T*>(a.right)) {}

    // Numbers in U^T, or in right^T and left^T after it.
    static int64_t transposed_size(int64_t d, int64_t rank) { return rank ? 2 * d * rank : d * d; }
    void make_transposed(T* to) const {
        if (!rank) return transpose(dense, d, d, to);
        transpose(right, rank, d, to);
        transpose(left, d, rank, to + d * rank);
    }

    // U s, without s itself where U = I + left right. ``through`` (m, rank) gets right s.
    void apply(int64_t m, const T* transposed, const T* s, T* through, T* out) const {
        if (!rank) return multiply<T>(false, false, m, d, d, s, d, transposed, d, T(0), out, d);
        multiply<T>(false, false, m, rank, d, s, d, transposed, rank, T(0), through, rank);
        multiply<T>(false, false, m, d, rank, through, rank, transposed + d * rank, d, T(0), out, d);
    }

    // U^T delta likewise; ``through`` (m, rank) gets left^T delta.
    void apply_transposed(int64_t m, const T* delta, T* through, T* out) const {
        if (!rank) return multiply<T>(false, false, m, d, d, delta, d, dense, d, T(0), out, d);
        multiply<T>(false, false, m, rank, d, delta, d, left, rank, T(0), through, rank);
        multiply<T>(false, false, m, d, rank, through, rank, right, d, T(0), out, d);
    }

    // Adds delta^T s (n rows of each) to the gradient of U, or of left and right.
    void add_gradient(int64_t n, const T* delta, const T* s, const T* through, T* scratch, T* gradient) const {
        if (!rank) return multiply<T>(true, false, d, d, n, delta, d, s, d, T(1), gradient, d);
        multiply<T>(false, true, n, rank, d, s, d, right, d, T(0), scratch, rank);
        multiply<T>(true, false, d, rank, n, delta, d, scratch, rank, T(1), gradient, rank);
        multiply<T>(true, false, rank, d, n, through, rank, s, d, T(1), gradient + d * rank, d);
    }
};

// The memory a slice works in, cut from DynlabIncremental::scratch.
template <class T>
struct IncrementalScratch {
    T *g, *product, *through, *gamma, *held, *lambda, *parts, *transposed, *s, *delta, *chunk_through, *chunk_scratch;

    static int64_t most_rows(const DynlabIncremental& a) { return (a.batch + a.slices - 1) / a.slices; }
    static int64_t size(const DynlabIncremental& a) {
        IncrementalScratch scratch;
        return scratch.cut(a, static_cast<T*>(nullptr));
    }
    int64_t cut(const DynlabIncremental& a, T* base) {
        const int64_t rows = most_rows(a), wide = rows * a.units, chunk = a.chunk * a.inner;
        int64_t used = 0;
        const auto take = [&](T*& piece, int64_t count) {
            piece = base + used;
            used += (count + 15) / 16 * 16;
        };
        take(g, wide);
        take(product, wide);
        take(through, rows * a.rank);
        take(s, wide * (chunk ? chunk : 1));
        take(gamma, chunk ? wide : 0);
        take(held, chunk ? wide : 0);
        take(lambda, chunk ? wide : 0);
        take(parts, chunk ? a.units : 0);
        take(transposed, chunk ? 0 : Weight<T>::transposed_size(a.units, a.rank));
        take(delta, wide * chunk);
        take(chunk_through, rows * a.rank * chunk);
        take(chunk_scratch, rows * a.rank * chunk);
        return used;
    }
    IncrementalScratch() = default;
    IncrementalScratch(const DynlabIncremental& a, int64_t slice) {
        cut(a, static_cast<T*>(a.scratch) + slice * size(a));
    }
};

template <class T>
const T* eta_of(const DynlabIncremental& a, int64_t t) {
    return static_cast<const T*>(a.eta) + t * a.eta_time;
}

// g_0 from h_{m-1}.
template <class T>
void start_inner(const DynlabIncremental& a, const T* hidden, T* g) {
    a.zero ? fill(g, T(0), a.units) : copy(g, hidden, a.units);
}

// s = g + sign h_{m-1}.
template <class T>
void sum_inner(T sign, const T* __restrict g, const T* __restrict hidden, T* __restrict s, int64_t d) {
#pragma omp simd
    for (int64_t j = 0; j < d; ++j) s[j] = g[j] + sign * hidden[j];
}

template <class T, class Phi>
void incremental_forward_slices(const DynlabIncremental& a) {
    const int64_t d = a.units;
    const T alpha = static_cast<T>(a.alpha), sign = static_cast<T>(a.sign), own = a.rank ? T(1) : T(0);
    const Weight<T> weight(a);
    parallel_slices(a.slices, [&](int64_t index) {
        const Slice slice(index, a.slices, a.batch);
        const IncrementalScratch<T> memory(a, index);
        weight.make_transposed(memory.transposed);
        const Rows<T> last{static_cast<T*>(a.last) + slice.first * d, d};
        Rows<const T> hidden{static_cast<const T*>(a.state) + slice.first * d, d};
        for (int64_t t = 0; t < a.steps; ++t) {
            const T* const eta = eta_of<T>(a, t);
            for (int64_t r = 0; r < slice.rows; ++r) {
                start_inner(a, hidden[r], memory.g + r * d);
                sum_inner(sign, memory.g + r * d, hidden[r], memory.s + r * d, d);
            }
            for (int64_t k = 0; k < a.inner; ++k) {
                weight.apply(slice.rows, memory.transposed, memory.s, memory.through, memory.product);
                const T step = eta[k];
                T* const pre_rows = a.pre ? static_cast<T*>(a.pre) + ((t * a.inner + k) * a.batch + slice.first) * d
                                          : memory.product;
                for (int64_t r = 0; r < slice.rows; ++r) {
                    const T* __restrict const x = row<const T>(a.x, t, slice.first + r);
                    const T* __restrict const old = hidden[r];
                    const T* const us = memory.product + r * d;
                    T* const pre = pre_rows + r * d;
                    T* __restrict const s = memory.s + r * d;
                    T* __restrict const g = memory.g + r * d;
#pragma omp simd
                    for (int64_t j = 0; j < d; ++j) {
                        const T at = us[j] + own * s[j] + x[j];
                        const T next = incremental_step<Phi>(step, alpha, at, s[j], g[j]);
                        pre[j] = at;
                        g[j] = next;
                        s[j] = next + sign * old[j];
                    }
                }
            }
            const Rows<T> next = a.h.data ? rows_of<T>(a.h, t, slice.first) : last;
            for (int64_t r = 0; r < slice.rows; ++r) copy(next[r], memory.g + r * d, d);
            hidden = {next.data, next.stride};
        }
        if (a.h.data)
            for (int64_t r = 0; r < slice.rows; ++r) copy(last[r], hidden[r], d);
    });
}

template <class T, class Phi>
void incremental_backward_slices(const DynlabIncremental& a) {
    const int64_t d = a.units, K = a.inner;
    const T alpha = static_cast<T>(a.alpha), sign = static_cast<T>(a.sign), own = a.rank ? T(1) : T(0);
    const T* const state = static_cast<const T*>(a.state);
    const T* const grad_last = static_cast<const T*>(a.grad_last);
    const Weight<T> weight(a);
    parallel_slices(a.slices, [&](int64_t index) {
        const Slice slice(index, a.slices, a.batch);
        const IncrementalScratch<T> memory(a, index);
        const int64_t rows = slice.rows, wide = rows * d;
        T* const gradient = static_cast<T*>(a.grad_weight) + index * (a.rank ? 2 * d * a.rank : d * d);
        T* const deta = static_cast<T*>(a.grad_eta) + index * a.steps * K;
        if (grad_last)
            copy(memory.lambda, grad_last + slice.first * d, wide);
        else
            fill(memory.lambda, T(0), wide);
        int64_t filled = 0;  // inner steps in the chunk whose weight gradient is still to be taken
        for (int64_t t = a.steps - 1; t >= 0; --t) {
            const T* const eta = eta_of<T>(a, t);
            T* const s = memory.s + filled * wide;
            T* const delta = memory.delta + filled * wide;
            T* const through = memory.chunk_through + filled * rows * a.rank;
            const auto pre_of = [&](int64_t k, int64_t r) {
                return static_cast<const T*>(a.pre) + ((t * K + k) * a.batch + slice.first + r) * d;
            };
            for (int64_t r = 0; r < rows; ++r) {
                const int64_t sample = slice.first + r;
                T* const lambda = memory.lambda + r * d;
                if (a.grad_h.data) add(lambda, row<const T>(a.grad_h, t, sample), d);
                if (a.adjoint.data) copy(row<T>(a.adjoint, t + 1, sample), lambda, d);
                // The inner states again, as the forward pass had them.
                const T* __restrict const old = t ? row<const T>(a.h, t - 1, sample) : state + sample * d;
                T* __restrict const g = memory.g + r * d;
                start_inner(a, old, g);
                for (int64_t k = 0; k + 1 < K; ++k) {
                    const T* __restrict const pre = pre_of(k, r);
                    T* __restrict const sum = s + k * wide + r * d;
                    const T step = eta[k];
#pragma omp simd
                    for (int64_t j = 0; j < d; ++j) {
                        sum[j] = g[j] + sign * old[j];
                        g[j] = incremental_step<Phi>(step, alpha, pre[j], sum[j], g[j]);
                    }
                }
                sum_inner(sign, g, old, s + (K - 1) * wide + r * d, d);
            }
            copy(memory.gamma, memory.lambda, wide);
            fill(memory.held, T(0), wide);
            for (int64_t k = K - 1; k >= 0; --k) {
                const T step = eta[k];
                fill(memory.parts, T(0), d);
                for (int64_t r = 0; r < rows; ++r) {
                    const T* __restrict const pre = pre_of(k, r);
                    const T* __restrict const sum = s + k * wide + r * d;
                    const T* __restrict const gamma = memory.gamma + r * d;
                    T* __restrict const da = delta + k * wide + r * d;
                    T* __restrict const dx = row<T>(a.grad_x, t, slice.first + r);
                    T* __restrict const parts = memory.parts;
#pragma omp simd
                    for (int64_t j = 0; j < d; ++j)
                        da[j] = incremental_back<Phi>(step, alpha, pre[j], sum[j], gamma[j], parts[j]);
                    k == K - 1 ? copy(dx, da, d) : add(dx, da, d);
                }
                T total = 0;
                for (int64_t j = 0; j < d; ++j) total += memory.parts[j];
                deta[t * K + k] = total;
                weight.apply_transposed(rows, delta + k * wide, through + k * rows * a.rank, memory.product);
                const T* __restrict const da = delta + k * wide;
                const T* __restrict const back = memory.product;
                T* __restrict const gamma = memory.gamma;
                T* __restrict const held = memory.held;
#pragma omp simd
                for (int64_t j = 0; j < wide; ++j) {
                    const T ds = back[j] + own * da[j] - step * alpha * gamma[j];
                    gamma[j] += ds;
                    held[j] += sign * ds;
                }
            }
            copy(memory.lambda, memory.held, wide);
            if (!a.zero) add(memory.lambda, memory.gamma, wide);
            filled += K;
            if (filled == a.chunk * K || t == 0) {
                weight.add_gradient(filled * rows, memory.delta, memory.s, memory.chunk_through, memory.chunk_scratch,
                                    gradient);
                filled = 0;
            }
        }
        copy(static_cast<T*>(a.grad_state) + slice.first * d, memory.lambda, wide);
        if (a.adjoint.data)
            for (int64_t r = 0; r < rows; ++r)
                copy(row<T>(a.adjoint, 0, slice.first + r), memory.lambda + r * d, d);
    });
}

template <class T>
void incremental_forward(const DynlabIncremental& a) {
    with_phi(a.phi, [&](auto phi) { incremental_forward_slices<T, decltype(phi)>(a); });
}

template <class T>
void incremental_backward(const DynlabIncremental& a) {
    with_phi(a.phi, [&](auto phi) { incremental_backward_slices<T, decltype(phi)>(a); });
}
