// iRNN: a round is an inner step, (t, k).
//
// Backward, only the chain from gamma to gamma goes through the rounds, and leaves gamma where delta will be. What the
// weights and eta get needs the sums s_k too; a second kernel makes all of it, for all steps at once.
#pragma once

#include "incremental.h"
#include "matrix.cuh"

namespace dynlab {

template <class Use>
__device__ __forceinline__ auto with_phi(int64_t phi, Use use) {
    return phi == 0 ? use(Tanh()) : phi == 1 ? use(Relu()) : use(Sigmoid());
}

// An inner step. ``forwards`` and ``backwards`` go on to the next one of either direction.
struct Inner {
    int64_t t;
    int k;

    __device__ void forwards(int inner) {
        if (++k < inner) return;
        k = 0;
        ++t;
    }

    __device__ void backwards(int inner) {
        if (--k >= 0) return;
        k = inner - 1;
        --t;
    }
};

// The eta of this round, of the next one, and of that after it, which is on its way.
template <class T>
struct Etas {
    T now = 0, next = 0, later = 0;

    __device__ void push(const DynlabIncremental& a, const Inner& at) {
        now = next;
        next = later;
        if (at.t >= 0 && at.t < a.steps) later = static_cast<const T*>(a.eta)[at.t * a.eta_time + at.k];
    }
};

template <class Shape>
struct IncrementalForward {
    using T = typename Shape::Real;
    struct Kept {
        T x, h, g, s, a;
    };
    static constexpr int own = 2, queues = 1;

    const DynlabIncremental& a;
    const T alpha, sign;
    const int inner;
    const Block<Shape>& block;
    Queue<Shape> x;
    Rows<T> h, pre;
    Inner round{0, 0}, fetching{0, 0}, eta_at{0, 0};
    Etas<T> eta;

    __device__ IncrementalForward(const Block<Shape>& block_, const DynlabIncremental& a_, T alpha_, T sign_)
        : a(a_), alpha(alpha_), sign(sign_), inner(static_cast<int>(a_.inner)), block(block_),
          x(block.queue(0, block.rows(a.x, 0, 1))), h(block.rows(a.h, 0, 1)),
          pre(block.rows({a.pre, a.batch * a.units, a.units}, 0, 1)) {
        for (int i = 0; i < 3; ++i) push_eta();
    }

    __device__ void push_eta() {
        eta.push(a, eta_at);
        eta_at.forwards(inner);
    }

    // s_1 of a step that starts from h.
    __device__ T begin(const Place& place, T hidden) const {
        const T g = a.zero ? T(0) : hidden;
        block.own(0, place) = hidden;
        block.own(1, place) = g;
        return g + sign * hidden;
    }

    __device__ T start(const Place& place) const { return begin(place, block.row(a.state).get(place)); }

    __device__ void fetch(const Place& place) const {
        if (fetching.k == 0 && fetching.t < a.steps) x.fetch(place);
    }

    __device__ void fetched() {
        if (fetching.k == 0) x.fetched();
        fetching.forwards(inner);
    }

    __device__ Kept before(const Place& place, T s) const {
        return {x.take(place), block.own(0, place), block.own(1, place), s, 0};
    }

    __device__ T after(const Place& place, Kept& kept, T sum) const {
        kept.a = sum + kept.x;
        kept.g = with_phi(a.phi, [&](auto phi) {
            return incremental_step<decltype(phi)>(eta.now, alpha, kept.a, kept.s, kept.g);
        });
        if (round.k == inner - 1) return begin(place, kept.g);
        block.own(1, place) = kept.g;
        return kept.g + sign * kept.h;
    }

    __device__ void write(const Place& place, const Kept& kept) const {
        pre.put(place, kept.a);
        if (round.k == inner - 1) h.put(place, kept.g);
    }

    __device__ void next() {
        pre.move();
        if (round.k == inner - 1) {
            h.move();
            x.taken();
        }
        round.forwards(inner);
        push_eta();
    }

    __device__ void finish(const Place& place, T) const { block.row(a.last).put(place, block.own(0, place)); }
};

template <class Shape>
struct IncrementalBackward {
    using T = typename Shape::Real;
    // ``held``: what has come back to h_{m-1} by way of the sums of its step.
    struct Kept {
        T gamma, held, grad, da;
    };
    static constexpr int own = 2, queues = 2;

    const DynlabIncremental& a;
    const T alpha, sign;
    const int inner;
    const Block<Shape>& block;
    Queue<Shape> grad, pre;
    Rows<T> gamma, adjoint;
    Inner round, fetching, eta_at;
    Etas<T> eta;

    // The last inner step is start's, the rounds have those before it and the initial state.
    __device__ IncrementalBackward(const Block<Shape>& block_, const DynlabIncremental& a_, T alpha_, T sign_)
        : a(a_), alpha(alpha_), sign(sign_), inner(static_cast<int>(a_.inner)), block(block_),
          grad(block.queue(0, block.rows(a.grad_h, a.steps - 2, -1))),
          pre(block.queue(1, inner_rows(a.pre, a.steps * a.inner - 2))),
          gamma(inner_rows(a.delta, a.steps * a.inner - 2)), adjoint(block.rows(a.adjoint, a.steps - 1, -1)),
          round{a.steps - 1, inner - 1}, fetching(round), eta_at(round) {
        for (int i = 0; i < 3; ++i) push_eta();
    }

    __device__ Rows<T> inner_rows(void* data, int64_t row) const {
        return block.rows({data, a.batch * a.units, a.units}, row, -1);
    }

    __device__ void push_eta() {
        eta.push(a, eta_at);
        eta_at.backwards(inner);
    }

    __device__ bool initial(const Inner& at) const { return at.t == 0 && at.k == 0; }

    // dL/da for a gamma of 1: the step is linear in it, so this does not wait for the product.
    __device__ T slope(T eta_k, T pre_a) const {
        return with_phi(a.phi, [&](auto phi) {
            T deta = 0;
            return incremental_back<decltype(phi)>(eta_k, alpha, pre_a, T(0), T(1), deta);
        });
    }

    __device__ T start(const Place& place) const {
        const int64_t end = a.steps - 1, inner_end = a.steps * a.inner - 1;
        const T value = block.row(a.grad_last).get(place) + block.rows(a.grad_h, end, 0).get(place);
        block.own(0, place) = value;
        block.own(1, place) = T(0);
        block.rows(a.adjoint, end + 1, 0).put(place, value);
        inner_rows(a.delta, inner_end).put(place, value);
        return value * slope(eta.now, inner_rows(a.pre, inner_end).get(place));
    }

    __device__ void fetch(const Place& place) const {
        if (fetching.t < 0 || initial(fetching)) return;
        pre.fetch(place);
        if (fetching.k == 0) grad.fetch(place);
    }

    __device__ void fetched() {
        pre.fetched();
        if (fetching.k == 0) grad.fetched();
        fetching.backwards(inner);
    }

    __device__ Kept before(const Place& place, T) const {
        Kept kept{block.own(0, place), block.own(1, place), 0, 0};
        if (initial(round)) return kept;
        kept.da = slope(eta.next, pre.take(place));
        if (round.k == 0) kept.grad = grad.take(place);
        return kept;
    }

    __device__ T after(const Place& place, Kept& kept, T sum) const {
        const T ds = sum - eta.now * alpha * kept.gamma;
        kept.gamma += ds;
        kept.held += sign * ds;
        if (round.k == 0) {
            kept.gamma = kept.held + (a.zero ? T(0) : kept.gamma) + kept.grad;
            kept.held = 0;
        }
        block.own(0, place) = kept.gamma;
        block.own(1, place) = kept.held;
        return kept.gamma * kept.da;
    }

    __device__ void write(const Place& place, const Kept& kept) const {
        if (round.k == 0) adjoint.put(place, kept.gamma);
        if (!initial(round)) gamma.put(place, kept.gamma);
    }

    __device__ void next() {
        pre.taken();
        gamma.move();
        if (round.k == 0) {
            grad.taken();
            adjoint.move();
        }
        round.backwards(inner);
        push_eta();
    }

    __device__ void finish(const Place& place, T) const { block.row(a.grad_state).put(place, block.own(0, place)); }
};

template <class Shape, template <class> class Element>
__global__ void __launch_bounds__(Shape::threads, Shape::blocks)
    incremental_full(DynlabIncremental a, typename Shape::Real alpha, typename Shape::Real sign, bool transposed,
                     Plan plan) {
    extern __shared__ __align__(16) unsigned char memory[];
    const Block<Shape> block(plan, memory, a.batch, a.units);
    const Dense<Shape> multiply(matrix<typename Shape::Real>(a.weight, a.units, a.units, transposed), block);
    Element<Shape> element(block, a, alpha, sign);
    block.run(multiply, element, a.steps * a.inner);
}

template <class Shape, template <class> class Element>
__global__ void __launch_bounds__(Shape::threads, Shape::blocks)
    incremental_low_rank(DynlabIncremental a, typename Shape::Real alpha, typename Shape::Real sign, bool transposed,
                         Plan plan) {
    extern __shared__ __align__(16) unsigned char memory[];
    const Block<Shape> block(plan, memory, a.batch, a.units);
    using T = typename Shape::Real;
    // U^T = I + right^T left^T. Copies, for a choice between two addresses would put both into memory.
    const auto left = matrix<T>(a.left, a.units, a.rank, transposed);
    const auto right = matrix<T>(a.right, a.rank, a.units, transposed);
    const LowRank<Shape> multiply(transposed ? Matrix<T>(right) : Matrix<T>(left),
                                  transposed ? Matrix<T>(left) : Matrix<T>(right), block);
    Element<Shape> element(block, a, alpha, sign);
    block.run(multiply, element, a.steps * a.inner);
}

// A warp a sample and step. From gamma in ``delta`` makes delta, and the sums, grad_x and grad_eta.
template <class T>
__global__ void __launch_bounds__(256) incremental_sums(DynlabIncremental a, T alpha, T sign) {
    const int lane = threadIdx.x % 32;
    const int64_t warps = int64_t(gridDim.x) * (blockDim.x / 32);
    const auto* eta = static_cast<const T*>(a.eta);
    for (int64_t i = (int64_t(blockIdx.x) * blockDim.x + threadIdx.x) / 32; i < a.steps * a.batch; i += warps) {
        const int64_t t = i / a.batch, sample = i % a.batch;
        T* grad_eta = a.grad_eta ? static_cast<T*>(a.grad_eta) + (sample * a.steps + t) * a.inner : nullptr;
        for (int64_t from = 0; from < a.units; from += 32) {
            const int64_t unit = from + lane;
            const bool valid = unit < a.units;
            T h = 0, dx = 0;
            if (valid) {
                h = t == 0 ? static_cast<const T*>(a.state)[sample * a.units + unit]
                           : static_cast<const T*>(a.h.data)[(t - 1) * a.h.time + sample * a.h.batch + unit];
            }
            T g = a.zero ? T(0) : h;
            for (int64_t k = 0; k < a.inner; ++k) {
                T deta = 0;
                if (valid) {
                    const int64_t at = ((t * a.inner + k) * a.batch + sample) * a.units + unit;
                    const T eta_k = eta[t * a.eta_time + k], pre = static_cast<const T*>(a.pre)[at], s = g + sign * h;
                    T* delta = static_cast<T*>(a.delta) + at;
                    with_phi(a.phi, [&](auto phi) {
                        *delta = incremental_back<decltype(phi)>(eta_k, alpha, pre, s, *delta, deta);
                        g = incremental_step<decltype(phi)>(eta_k, alpha, pre, s, g);
                    });
                    static_cast<T*>(a.sums)[at] = s;
                    dx += *delta;
                }
                if (!grad_eta) continue;
#pragma unroll
                for (int mask = 16; mask; mask /= 2) deta += __shfl_xor_sync(0xffffffff, deta, mask);
                if (lane == 0) grad_eta[k] = from == 0 ? deta : grad_eta[k] + deta;
            }
            if (valid && a.grad_x.data) {
                static_cast<T*>(a.grad_x.data)[t * a.grad_x.time + sample * a.grad_x.batch + unit] = dx;
            }
        }
    }
}

template <class T>
cudaError_t incremental(const DynlabIncremental& a, bool back, void* stream) {
    if (a.steps < 1 || a.batch < 1 || a.units < 1 || a.inner < 1 || a.inner > INT_MAX || a.rank < 0 ||
        a.rank > INT_MAX / 64 || a.phi < 0 || a.phi > 2) {
        return cudaErrorInvalidValue;
    }
    const T alpha = static_cast<T>(a.alpha), sign = static_cast<T>(a.sign);
    Device device;
    if (const cudaError_t error = current_device(device)) return error;
    const auto run = [&](auto shape, auto* forward, auto* backward) {
        using S = decltype(shape);
        const int own = back ? IncrementalBackward<S>::own : IncrementalForward<S>::own;
        const int queues = back ? IncrementalBackward<S>::queues : IncrementalForward<S>::queues;
        Plan plan;
        const cudaError_t error =
            make_plan<S>(static_cast<int>(a.units), static_cast<int>(a.rank), own, queues, device, plan);
        if (error) return error;
        return launch(stream, back ? backward : forward, in_parts<int64_t>(a.batch, S::samples), plan.threads, plan.end,
                      a, alpha, sign, back, plan);
    };
    cudaError_t error;
    if (a.rank > 0) {
        if (a.units > INT_MAX / 64) return cudaErrorInvalidValue;
        using S = Shape<T, 1, false>;
        error = run(S(), incremental_low_rank<S, IncrementalForward>, incremental_low_rank<S, IncrementalBackward>);
    } else {
        error = with_shape<T>(a.batch, a.units, device, [&](auto shape) {
            using S = decltype(shape);
            return run(shape, incremental_full<S, IncrementalForward>, incremental_full<S, IncrementalBackward>);
        });
    }
    if (error || !back) return error;
    constexpr int threads = 256;
    const int64_t needed = in_parts<int64_t>(a.steps * a.batch, threads / 32);
    return launch(stream, incremental_sums<T>, at_most<int64_t>(needed, 32 * device.processors), threads, 0, a, alpha,
                  sign);
}

}  // namespace dynlab
