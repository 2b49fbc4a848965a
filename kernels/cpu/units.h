// Recurrences whose units do not see each other: a block of columns goes through all time with its state in the
// first-level cache. Included once per instruction set, in a namespace of its own.

template <class T>
void unicornn_forward(const DynlabUnicornn& a) {
    const Blocks blocks(a.batch, a.units);
    const bool join = joined(blocks, a.x, a.y, a.z);
    const T* const state = static_cast<const T*>(a.state);
    T* const last = static_cast<T*>(a.last);
    const T alpha = static_cast<T>(a.alpha);
    parallel(blocks.count(), [&](int64_t index) {
        const Block b = blocks[index];
        const int64_t rows = join ? 1 : b.rows, width = join ? b.rows * b.width : b.width;
        const int64_t lead = kAhead / (rows * width) + 1;
        alignas(64) T w[kBlock], h[kBlock], y[kBlock], z[kBlock], sink[kBlock];
        tile(w, a.w, b);
        tile(h, a.h, b);
        for (int64_t r = 0; r < b.rows; ++r) {
            const T* const start = state + (b.row + r) * 2 * a.units + b.unit;
            copy(y + r * b.width, start, b.width);
            copy(z + r * b.width, start + a.units, b.width);
        }
        for (int64_t t = 0; t < a.steps; ++t) {
            for (int64_t r = 0; r < rows; ++r) {
                const T* __restrict const x = row<const T>(a.x, t, b.row + r) + b.unit;
                const T* __restrict const ws = w + r * width;
                const T* __restrict const hs = h + r * width;
                T* __restrict const ys = y + r * width;
                T* __restrict const zs = z + r * width;
                T* __restrict const out = a.y.data ? row<T>(a.y, t, b.row + r) + b.unit : sink;
                const int64_t ahead = (t + lead < a.steps ? lead : 0) * a.x.time;
                const int64_t lead_y = (t + lead < a.steps ? lead : 0) * a.y.time;
                strips(width, [&](int64_t begin, auto count) {
                    prefetch(x + ahead + begin, count);
                    if (a.y.data) prefetch_to_write(out + begin + lead_y, count);
#pragma omp simd
                    for (int64_t j = begin; j < begin + count; ++j) {
                        const Unicornn<T> unit{ws[j], hs[j], alpha};
                        T position = ys[j], momentum = zs[j];
                        unit.step(x[j], position, momentum);
                        ys[j] = position;
                        zs[j] = momentum;
                        out[j] = position;
                    }
                });
                if (a.z.data) copy(row<T>(a.z, t, b.row + r) + b.unit, zs, width);
            }
        }
        for (int64_t r = 0; r < b.rows; ++r) {
            T* const end = last + (b.row + r) * 2 * a.units + b.unit;
            copy(end, y + r * b.width, b.width);
            copy(end + a.units, z + r * b.width, b.width);
        }
    });
}

// ``stored``: y comes from a.y; otherwise it is unwound like z, Eq. (7).
template <class T, bool stored>
void unicornn_backward_blocks(const DynlabUnicornn& a) {
    const Blocks blocks(a.batch, a.units);
    const bool join = joined(blocks, a.x, a.y, a.grad_y, a.grad_z, a.grad_x) && !a.adjoint.data;
    const T* const state = static_cast<const T*>(a.state);
    const T* const last = static_cast<const T*>(a.last);
    const T* const grad_last = static_cast<const T*>(a.grad_last);
    const T alpha = static_cast<T>(a.alpha);
    parallel(blocks.count(), [&](int64_t index) {
        const Block b = blocks[index];
        const int64_t rows = join ? 1 : b.rows, width = join ? b.rows * b.width : b.width;
        const int64_t lead = kAhead / (rows * width) + 1;
        alignas(64) T w[kBlock], h[kBlock], y0[kBlock];
        alignas(64) T y[kBlock], z[kBlock], dy[kBlock], dz[kBlock], dw[kBlock] = {}, dh[kBlock] = {};
        tile(w, a.w, b);
        tile(h, a.h, b);
        alignas(64) const T zeros[kBlock] = {};  // what an absent gradient is
        for (int64_t r = 0; r < b.rows; ++r) {
            const int64_t at = (b.row + r) * 2 * a.units + b.unit, local = r * b.width;
            copy(y0 + local, state + at, b.width);
            copy(y + local, last + at, b.width);
            copy(z + local, last + at + a.units, b.width);
            copy(dy + local, grad_last ? grad_last + at : zeros, b.width);
            copy(dz + local, grad_last ? grad_last + at + a.units : zeros, b.width);
        }
        for (int64_t t = a.steps - 1; t >= 0; --t) {
            for (int64_t r = 0; r < rows; ++r) {
                const int64_t sample = b.row + r, local = r * width;
                const T* __restrict const x = row<const T>(a.x, t, sample) + b.unit;
                const T* gy = a.grad_y.data ? row<const T>(a.grad_y, t, sample) + b.unit : zeros;
                const T* __restrict const before = t ? row<const T>(a.y, t - 1, sample) + b.unit : y0 + local;
                T* __restrict const dx = row<T>(a.grad_x, t, sample) + b.unit;
                const T* __restrict const ws = w + local;
                const T* __restrict const hs = h + local;
                T* __restrict const ys = y + local;
                T* __restrict const zs = z + local;
                T* __restrict const dys = dy + local;
                T* __restrict const dzs = dz + local;
                T* __restrict const dws = dw + local;
                T* __restrict const dhs = dh + local;
                const int64_t ahead = t > lead ? lead : 0;
                const T* const next_x = x - ahead * a.x.time;
                T* const next_dx = dx - ahead * a.grad_x.time;
                const T* const next_before = stored && t ? before - ahead * a.y.time : x;
                const T* const next_gy = a.grad_y.data ? gy - ahead * a.grad_y.time : x;
                if (a.grad_z.data) add(dzs, row<const T>(a.grad_z, t, sample) + b.unit, width);
                if (a.adjoint.data) {
                    T* const to = row<T>(a.adjoint, t + 1, sample) + b.unit;
                    add(dys, gy, width);
                    copy(to, dys, width);
                    copy(to + a.units, dzs, width);
                    gy = zeros;
                }
                const T* __restrict const more = gy;
                strips(width, [&](int64_t begin, auto count) {
                    prefetch(next_x + begin, count);
                    prefetch(next_before + begin, count);
                    prefetch(next_gy + begin, count);
                    prefetch_to_write(next_dx + begin, count);
#pragma omp simd
                    for (int64_t j = begin; j < begin + count; ++j) {
                        const Unicornn<T> unit{ws[j], hs[j], alpha};
                        T momentum = zs[j], position;
                        if constexpr (stored)
                            position = before[j];
                        else
                            ys[j] = position = unit.y_before(ys[j], momentum);
                        typename Unicornn<T>::Adjoint adjoint{dys[j] + more[j], dzs[j], dws[j], dhs[j]};
                        dx[j] = unit.back(x[j], position, momentum, adjoint);
                        zs[j] = momentum;
                        dys[j] = adjoint.y;
                        dzs[j] = adjoint.z;
                        dws[j] = adjoint.w;
                        dhs[j] = adjoint.h;
                    }
                });
            }
        }
        for (int64_t r = 0; r < b.rows; ++r) {
            const int64_t sample = b.row + r, local = r * b.width;
            T* const start = static_cast<T*>(a.grad_state) + sample * 2 * a.units + b.unit;
            copy(start, dy + local, b.width);
            copy(start + a.units, dz + local, b.width);
            if (a.adjoint.data) {
                T* const to = row<T>(a.adjoint, 0, sample) + b.unit;
                copy(to, dy + local, b.width);
                copy(to + a.units, dz + local, b.width);
            }
            copy(static_cast<T*>(a.grad_w) + sample * a.units + b.unit, dw + local, b.width);
            copy(static_cast<T*>(a.grad_h) + sample * a.units + b.unit, dh + local, b.width);
        }
    });
}

template <class T>
void unicornn_backward(const DynlabUnicornn& a) {
    a.y.data ? unicornn_backward_blocks<T, true>(a) : unicornn_backward_blocks<T, false>(a);
}

template <class T, class Phi>
void indrnn_forward_blocks(const DynlabIndrnn& a) {
    const Blocks blocks(a.batch, a.units);
    parallel(blocks.count(), [&](int64_t index) {
        const Block b = blocks[index];
        const T* const u = static_cast<const T*>(a.u) + b.unit;
        alignas(64) T h[kBlock], sink[kBlock];
        for (int64_t r = 0; r < b.rows; ++r)
            copy(h + r * b.width, static_cast<const T*>(a.state) + (b.row + r) * a.units + b.unit, b.width);
        for (int64_t t = 0; t < a.steps; ++t) {
            for (int64_t r = 0; r < b.rows; ++r) {
                const T* __restrict const x = row<const T>(a.x, t, b.row + r) + b.unit;
                T* __restrict const hs = h + r * b.width;
                T* __restrict const out = a.h.data ? row<T>(a.h, t, b.row + r) + b.unit : sink;
                if (t + 1 < a.steps) prefetch(x + a.x.time, b.width);
#pragma omp simd
                for (int64_t j = 0; j < b.width; ++j) out[j] = hs[j] = indrnn_step<Phi>(u[j], x[j], hs[j]);
            }
        }
        for (int64_t r = 0; r < b.rows; ++r)
            copy(static_cast<T*>(a.last) + (b.row + r) * a.units + b.unit, h + r * b.width, b.width);
    });
}

template <class T, class Phi>
void indrnn_backward_blocks(const DynlabIndrnn& a) {
    const Blocks blocks(a.batch, a.units);
    const T* const state = static_cast<const T*>(a.state);
    const T* const grad_last = static_cast<const T*>(a.grad_last);
    parallel(blocks.count(), [&](int64_t index) {
        const Block b = blocks[index];
        const T* const u = static_cast<const T*>(a.u) + b.unit;
        alignas(64) T dh[kBlock], du[kBlock] = {};
        alignas(64) const T zeros[kBlock] = {};  // what an absent gradient is
        for (int64_t r = 0; r < b.rows; ++r)
            copy(dh + r * b.width, grad_last ? grad_last + (b.row + r) * a.units + b.unit : zeros, b.width);
        for (int64_t t = a.steps - 1; t >= 0; --t) {
            for (int64_t r = 0; r < b.rows; ++r) {
                const int64_t sample = b.row + r;
                const T* __restrict const x = row<const T>(a.x, t, sample) + b.unit;
                const T* __restrict const before =
                    t ? row<const T>(a.h, t - 1, sample) + b.unit : state + sample * a.units + b.unit;
                T* __restrict const dx = row<T>(a.grad_x, t, sample) + b.unit;
                T* __restrict const dhs = dh + r * b.width;
                T* __restrict const dus = du + r * b.width;
                if (a.grad_h.data) add(dhs, row<const T>(a.grad_h, t, sample) + b.unit, b.width);
                if (a.adjoint.data) copy(row<T>(a.adjoint, t + 1, sample) + b.unit, dhs, b.width);
                if (t) prefetch(x - a.x.time, b.width);
#pragma omp simd
                for (int64_t j = 0; j < b.width; ++j) {
                    T adjoint = dhs[j], sum = dus[j];
                    dx[j] = indrnn_back<Phi>(u[j], x[j], before[j], adjoint, sum);
                    dhs[j] = adjoint;
                    dus[j] = sum;
                }
            }
        }
        for (int64_t r = 0; r < b.rows; ++r) {
            const int64_t at = (b.row + r) * a.units + b.unit;
            copy(static_cast<T*>(a.grad_state) + at, dh + r * b.width, b.width);
            copy(static_cast<T*>(a.grad_u) + at, du + r * b.width, b.width);
            if (a.adjoint.data) copy(row<T>(a.adjoint, 0, b.row + r) + b.unit, dh + r * b.width, b.width);
        }
    });
}

template <class T>
void indrnn_forward(const DynlabIndrnn& a) {
    with_phi(a.phi, [&](auto phi) { indrnn_forward_blocks<T, decltype(phi)>(a); });
}

template <class T>
void indrnn_backward(const DynlabIndrnn& a) {
    with_phi(a.phi, [&](auto phi) { indrnn_backward_blocks<T, decltype(phi)>(a); });
}
