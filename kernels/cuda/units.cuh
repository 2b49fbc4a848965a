// UnICORNN and IndRNN: the units do not see each other, so a thread takes one unit of one sample through all steps.
//
// Neighbouring threads hold neighbouring units: every row is read and written in full sectors. What limits a short
// batch is the latency of memory, hence the rows of the next steps are loaded before the present ones are computed.
#pragma once

#include "arguments.h"
#include "indrnn.h"
#include "launch.cuh"
#include "unicornn.h"

namespace dynlab {

constexpr int unit_threads = 128;
// Blocks a multiprocessor holds: bounds the registers of the backward kernels.
template <class T>
constexpr int unit_blocks = sizeof(T) == 4 ? 4 : 3;

// One unit of one sample of a sequence, from a row on, forwards or backwards in time.
template <class T>
class Track {
   public:
    __device__ Track(const DynlabSequence& sequence, int64_t row, int64_t direction, int64_t sample, int64_t unit)
        : present(sequence.data != nullptr), stride_(direction * sequence.time), here_(static_cast<T*>(sequence.data)) {
        if (present) here_ += row * sequence.time + sample * sequence.batch + unit;
    }

    const bool present;

    __device__ T read() {
        const T value = *here_;
        here_ += stride_;
        return value;
    }

    __device__ void write(T value) {
        if (!present) return;
        *here_ = value;
        here_ += stride_;
    }

    // Also what stands ``apart`` from it.
    __device__ void write(T value, int64_t apart, T other) {
        if (!present) return;
        here_[apart] = other;
        write(value);
    }

   private:
    const int64_t stride_;
    T* here_;
};

// A sequence that is read ahead: ``now`` is in use while ``next`` arrives. 0 where it is absent.
template <class T>
class Ahead {
   public:
    static constexpr int size = 32 / static_cast<int>(sizeof(T));
    T now[size] = {};

    __device__ explicit Ahead(const Track<T>& track) : track_(track) {}

    // Takes what was asked for and asks for the rows after it, of which ``left`` are left.
    __device__ void turn(int64_t left) {
        if (!track_.present) return;
#pragma unroll
        for (int i = 0; i < size; ++i) now[i] = next_[i];
        if (left >= size) {
#pragma unroll
            for (int i = 0; i < size; ++i) next_[i] = track_.read();
        } else {
#pragma unroll
            for (int i = 0; i < size; ++i) {
                if (i < left) next_[i] = track_.read();
            }
        }
    }

   private:
    Track<T> track_;
    T next_[size] = {};
};

// Calls turn(left) once and again before each ``size`` steps; step(i, last) for each of the steps.
template <int size, class Turn, class Step>
__device__ __forceinline__ void in_batches(int64_t steps, Turn turn, Step step) {
    turn(steps);
    for (; steps >= size; steps -= size) {
        turn(steps - size);
#pragma unroll
        for (int i = 0; i < size; ++i) step(i, i == size - 1 && steps == size);
    }
    if (steps == 0) return;
    turn(0);
#pragma unroll
    for (int i = 0; i < size; ++i) {
        if (i < steps) step(i, i == steps - 1);
    }
}

template <class T>
__global__ void __launch_bounds__(unit_threads, unit_blocks<T>) unicornn_forward(DynlabUnicornn a, T alpha) {
    const int64_t column = int64_t(blockIdx.x) * blockDim.x + threadIdx.x;
    if (column >= a.batch * a.units) return;
    const int64_t sample = column / a.units, unit = column % a.units, row = sample * 2 * a.units + unit;
    const Unicornn<T> cell{static_cast<const T*>(a.w)[unit], static_cast<const T*>(a.h)[unit], alpha};
    const T* state = static_cast<const T*>(a.state) + row;
    T y = state[0], z = state[a.units];

    Ahead<T> x({a.x, 0, 1, sample, unit});
    Track<T> out_y(a.y, 0, 1, sample, unit), out_z(a.z, 0, 1, sample, unit);
    in_batches<Ahead<T>::size>(
        a.steps, [&](int64_t left) { x.turn(left); },
        [&](int i, bool) {
            cell.step(x.now[i], y, z);
            out_y.write(y);
            out_z.write(z);
        });

    T* last = static_cast<T*>(a.last) + row;
    last[0] = y;
    last[a.units] = z;
}

// ``stored``: y_{t-1} is read, otherwise it is reconstructed.
template <class T, bool stored>
__global__ void __launch_bounds__(unit_threads, unit_blocks<T>) unicornn_backward(DynlabUnicornn a, T alpha) {
    const int64_t column = int64_t(blockIdx.x) * blockDim.x + threadIdx.x;
    if (column >= a.batch * a.units) return;
    const int64_t sample = column / a.units, unit = column % a.units, row = sample * 2 * a.units + unit;
    const Unicornn<T> cell{static_cast<const T*>(a.w)[unit], static_cast<const T*>(a.h)[unit], alpha};
    const T* last = static_cast<const T*>(a.last) + row;
    T y = last[0], z = last[a.units];
    typename Unicornn<T>::Adjoint adjoint{0, 0, 0, 0};
    if (a.grad_last) {
        adjoint.y = static_cast<const T*>(a.grad_last)[row];
        adjoint.z = static_cast<const T*>(a.grad_last)[row + a.units];
    }

    const int64_t end = a.steps - 1;
    Ahead<T> x({a.x, end, -1, sample, unit});
    Ahead<T> in_y({a.grad_y, end, -1, sample, unit}), in_z({a.grad_z, end, -1, sample, unit});
    // Row t - 2 is the state before step t; before the first step that is the initial one.
    Ahead<T> before({stored ? a.y : DynlabSequence{nullptr, 0, 0}, end - 1, -1, sample, unit});
    const T first = static_cast<const T*>(a.state)[row];
    Track<T> out_x(a.grad_x, end, -1, sample, unit), out(a.adjoint, a.steps, -1, sample, unit);
    in_batches<Ahead<T>::size>(
        a.steps,
        [&](int64_t left) {
            x.turn(left);
            in_y.turn(left);
            in_z.turn(left);
            before.turn(left - 1);
        },
        [&](int i, bool last_one) {
            adjoint.y += in_y.now[i];
            adjoint.z += in_z.now[i];
            out.write(adjoint.y, a.units, adjoint.z);
            if (stored) {
                y = last_one ? first : before.now[i];
            } else {
                y = cell.y_before(y, z);
            }
            out_x.write(cell.back(x.now[i], y, z, adjoint));
        });

    out.write(adjoint.y, a.units, adjoint.z);
    T* grad_state = static_cast<T*>(a.grad_state) + row;
    grad_state[0] = adjoint.y;
    grad_state[a.units] = adjoint.z;
    static_cast<T*>(a.grad_w)[column] = adjoint.w;
    static_cast<T*>(a.grad_h)[column] = adjoint.h;
}

template <class T, class Phi>
__global__ void __launch_bounds__(unit_threads, unit_blocks<T>) indrnn_forward(DynlabIndrnn a) {
    const int64_t column = int64_t(blockIdx.x) * blockDim.x + threadIdx.x;
    if (column >= a.batch * a.units) return;
    const int64_t sample = column / a.units, unit = column % a.units;
    const T u = static_cast<const T*>(a.u)[unit];
    T hidden = static_cast<const T*>(a.state)[column];

    Ahead<T> x({a.x, 0, 1, sample, unit});
    Track<T> out(a.h, 0, 1, sample, unit);
    in_batches<Ahead<T>::size>(
        a.steps, [&](int64_t left) { x.turn(left); },
        [&](int i, bool) {
            hidden = indrnn_step<Phi>(u, x.now[i], hidden);
            out.write(hidden);
        });
    static_cast<T*>(a.last)[column] = hidden;
}

template <class T, class Phi>
__global__ void __launch_bounds__(unit_threads, unit_blocks<T>) indrnn_backward(DynlabIndrnn a) {
    const int64_t column = int64_t(blockIdx.x) * blockDim.x + threadIdx.x;
    if (column >= a.batch * a.units) return;
    const int64_t sample = column / a.units, unit = column % a.units;
    const T u = static_cast<const T*>(a.u)[unit];
    T adjoint = a.grad_last ? static_cast<const T*>(a.grad_last)[column] : T(0), du = 0;

    const int64_t end = a.steps - 1;
    Ahead<T> x({a.x, end, -1, sample, unit}), in({a.grad_h, end, -1, sample, unit});
    Ahead<T> before({a.h, end - 1, -1, sample, unit});
    const T first = static_cast<const T*>(a.state)[column];
    Track<T> out_x(a.grad_x, end, -1, sample, unit), out(a.adjoint, a.steps, -1, sample, unit);
    in_batches<Ahead<T>::size>(
        a.steps,
        [&](int64_t left) {
            x.turn(left);
            in.turn(left);
            before.turn(left - 1);
        },
        [&](int i, bool last_one) {
            adjoint += in.now[i];
            out.write(adjoint);
            out_x.write(indrnn_back<Phi>(u, x.now[i], last_one ? first : before.now[i], adjoint, du));
        });
    out.write(adjoint);
    static_cast<T*>(a.grad_state)[column] = adjoint;
    static_cast<T*>(a.grad_u)[column] = du;
}

// Blocks get smaller until every multiprocessor has one.
template <class... Parameters, class... Values>
cudaError_t launch_units(void* stream, int64_t columns, void (*kernel)(Parameters...), const Values&... values) {
    Device device;
    if (const cudaError_t error = current_device(device)) return error;
    int threads = unit_threads;
    while (threads > 32 && in_parts<int64_t>(columns, threads) < device.processors) threads /= 2;
    return launch(stream, kernel, in_parts<int64_t>(columns, threads), threads, 0, values...);
}

template <class T>
cudaError_t unicornn(const DynlabUnicornn& a, bool back, void* stream) {
    if (a.steps < 1 || a.batch < 1 || a.units < 1) return cudaErrorInvalidValue;
    auto* kernel = !back ? unicornn_forward<T> : a.y.data ? unicornn_backward<T, true> : unicornn_backward<T, false>;
    return launch_units(stream, a.batch * a.units, kernel, a, static_cast<T>(a.alpha));
}

template <class T>
cudaError_t indrnn(const DynlabIndrnn& a, bool back, void* stream) {
    if (a.steps < 1 || a.batch < 1 || a.units < 1 || a.phi < 0 || a.phi > 2) return cudaErrorInvalidValue;
    using Kernel = void (*)(DynlabIndrnn);
    constexpr Kernel forward[] = {indrnn_forward<T, Tanh>, indrnn_forward<T, Relu>, indrnn_forward<T, Sigmoid>};
    constexpr Kernel backward[] = {indrnn_backward<T, Tanh>, indrnn_backward<T, Relu>, indrnn_backward<T, Sigmoid>};
    return launch_units(stream, a.batch * a.units, (back ? backward : forward)[a.phi], a);
}

}  // namespace dynlab
