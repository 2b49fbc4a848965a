// AntisymmetricRNN: a round is a time step.
#pragma once

#include "antisymmetric.h"
#include "matrix.cuh"

namespace dynlab {

// The gate's columns, absent without a gate.
inline __device__ DynlabSequence if_gated(const DynlabAntisymmetric& a, const DynlabSequence& sequence) {
    return a.gated ? sequence : DynlabSequence{nullptr, 0, 0};
}

template <class Shape>
struct AntisymmetricForward {
    using T = typename Shape::Real;
    struct Kept {
        T hidden, a, c;
    };
    static constexpr int own = 0, queues = 2;

    const DynlabAntisymmetric& a;
    const T epsilon;
    const Block<Shape>& block;
    Queue<Shape> x, x_gate;
    Rows<T> h, pre, pre_gate;
    int64_t left;  // rows to fetch

    __device__ AntisymmetricForward(const Block<Shape>& block_, const DynlabAntisymmetric& a_, T epsilon_)
        : a(a_), epsilon(epsilon_), block(block_), x(block.queue(0, block.rows(a.x, 0, 1))),
          x_gate(block.queue(1, block.rows(if_gated(a, a.x), 0, 1, 1))), h(block.rows(a.h, 0, 1)),
          pre(block.rows(a.pre, 0, 1)), pre_gate(block.rows(if_gated(a, a.pre), 0, 1, 1)), left(a.steps) {}

    __device__ T start(const Place& place) const { return block.row(a.state).get(place); }

    __device__ void fetch(const Place& place) const {
        if (left <= 0) return;
        x.fetch(place);
        x_gate.fetch(place);
    }

    __device__ void fetched() {
        --left;
        x.fetched();
        x_gate.fetched();
    }

    __device__ Kept before(const Place& place, T hidden) const { return {hidden, x.take(place), x_gate.take(place)}; }

    __device__ T after(const Place&, Kept& kept, T sum) const {
        kept.a += sum;
        kept.c += sum;
        kept.hidden = a.gated ? antisymmetric_step(epsilon, kept.a, kept.c, kept.hidden)
                              : antisymmetric_step(epsilon, kept.a, kept.hidden);
        return kept.hidden;
    }

    __device__ void write(const Place& place, const Kept& kept) const {
        h.put(place, kept.hidden);
        pre.put(place, kept.a);
        pre_gate.put(place, kept.c);
    }

    __device__ void next() {
        x.taken();
        x_gate.taken();
        h.move();
        pre.move();
        pre_gate.move();
    }

    __device__ void finish(const Place& place, T hidden) const { block.row(a.last).put(place, hidden); }
};

template <class Shape>
struct AntisymmetricBackward {
    using T = typename Shape::Real;
    struct Kept {
        T adjoint, da, dc;
    };
    static constexpr int own = 1, queues = 3;

    const DynlabAntisymmetric& a;
    const T epsilon;
    const Block<Shape>& block;
    Queue<Shape> grad, pre, pre_gate;
    Rows<T> grad_x, grad_x_gate, delta, adjoint;
    int64_t left, rows;  // to fetch and, of delta, to write

    // The last step is start's, the rounds have those before it and the initial state.
    __device__ AntisymmetricBackward(const Block<Shape>& block_, const DynlabAntisymmetric& a_, T epsilon_)
        : a(a_), epsilon(epsilon_), block(block_), grad(block.queue(0, block.rows(a.grad_h, a.steps - 2, -1))),
          pre(block.queue(1, block.rows(a.pre, a.steps - 2, -1))),
          pre_gate(block.queue(2, block.rows(if_gated(a, a.pre), a.steps - 2, -1, 1))),
          grad_x(block.rows(a.grad_x, a.steps - 2, -1)),
          grad_x_gate(block.rows(if_gated(a, a.grad_x), a.steps - 2, -1, 1)),
          delta(block.rows(a.delta, a.steps - 2, -1)), adjoint(block.rows(a.adjoint, a.steps - 1, -1)),
          left(a.steps - 1), rows(a.steps - 1) {}

    // dL/da and dL/dc for an adjoint of 1: the step is linear in it, so they do not wait for the product.
    __device__ Kept slopes(T adjoint_before, T pre_a, T pre_c) const {
        Kept kept{adjoint_before, 0, 0};
        if (a.gated) {
            antisymmetric_back(epsilon, pre_a, pre_c, T(1), kept.da, kept.dc);
        } else {
            kept.da = antisymmetric_back(epsilon, pre_a, T(1));
        }
        return kept;
    }

    __device__ T start(const Place& place) const {
        const int64_t end = a.steps - 1;
        Kept kept = slopes(block.rows(a.grad_h, end, 0).get(place), block.rows(a.pre, end, 0).get(place),
                           block.rows(if_gated(a, a.pre), end, 0, 1).get(place));
        const T delta_end = after(place, kept, block.row(a.grad_last).get(place));
        block.rows(a.adjoint, end + 1, 0).put(place, kept.adjoint);
        block.rows(a.grad_x, end, 0).put(place, kept.da);
        block.rows(if_gated(a, a.grad_x), end, 0, 1).put(place, kept.dc);
        block.rows(a.delta, end, 0).put(place, delta_end);
        return delta_end;
    }

    __device__ void fetch(const Place& place) const {
        if (left <= 0) return;
        grad.fetch(place);
        pre.fetch(place);
        pre_gate.fetch(place);
    }

    __device__ void fetched() {
        --left;
        grad.fetched();
        pre.fetched();
        pre_gate.fetched();
    }

    __device__ Kept before(const Place& place, T) const {
        const T later = block.own(0, place);
        if (rows == 0) return {later, 0, 0};
        return slopes(later + grad.take(place), pre.take(place), pre_gate.take(place));
    }

    __device__ T after(const Place& place, Kept& kept, T sum) const {
        kept.adjoint += sum;
        kept.da *= kept.adjoint;
        kept.dc *= kept.adjoint;
        block.own(0, place) = kept.adjoint;
        return kept.da + kept.dc;
    }

    __device__ void write(const Place& place, const Kept& kept) const {
        adjoint.put(place, kept.adjoint);
        if (rows == 0) return;
        grad_x.put(place, kept.da);
        grad_x_gate.put(place, kept.dc);
        delta.put(place, kept.da + kept.dc);
    }

    __device__ void next() {
        --rows;
        grad.taken();
        pre.taken();
        pre_gate.taken();
        grad_x.move();
        grad_x_gate.move();
        delta.move();
        adjoint.move();
    }

    __device__ void finish(const Place& place, T) const { block.row(a.grad_state).put(place, block.own(0, place)); }
};

template <class Shape, template <class> class Element>
__global__ void __launch_bounds__(Shape::threads, Shape::blocks)
    antisymmetric_kernel(DynlabAntisymmetric a, typename Shape::Real epsilon, bool transposed, Plan plan) {
    extern __shared__ __align__(16) unsigned char memory[];
    const Block<Shape> block(plan, memory, a.batch, a.units);
    const Dense<Shape> multiply(matrix<typename Shape::Real>(a.matrix, a.units, a.units, transposed), block);
    Element<Shape> element(block, a, epsilon);
    block.run(multiply, element, a.steps);
}

template <class T>
cudaError_t antisymmetric(const DynlabAntisymmetric& a, bool back, void* stream) {
    if (a.steps < 1 || a.batch < 1 || a.units < 1) return cudaErrorInvalidValue;
    Device device;
    if (const cudaError_t error = current_device(device)) return error;
    return with_shape<T>(a.batch, a.units, device, [&](auto shape) {
        using S = decltype(shape);
        using Forward = AntisymmetricForward<S>;
        using Backward = AntisymmetricBackward<S>;
        auto* kernel =
            back ? antisymmetric_kernel<S, AntisymmetricBackward> : antisymmetric_kernel<S, AntisymmetricForward>;
        Plan plan;
        const cudaError_t error =
            make_plan<S>(static_cast<int>(a.units), 0, back ? Backward::own : Forward::own,
                         (back ? Backward::queues : Forward::queues) - (a.gated ? 0 : 1), device, plan);
        if (error) return error;
        return launch(stream, kernel, in_parts<int64_t>(a.batch, S::samples), plan.threads, plan.end, a,
                      static_cast<T>(a.epsilon), back, plan);
    });
}

}  // namespace dynlab
