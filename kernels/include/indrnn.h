// IndRNN: one step and its adjoint for one unit of one sample, h_t = phi(u h_{t-1} + x_t) with x_t = V u_t + b.
#pragma once

#include "math.h"

namespace dynlab {

template <class Phi, class T>
DYNLAB_INLINE T indrnn_step(T u, T x, T hidden) {
    return value_of<Phi>(u * hidden + x);
}

// Turns dL/dh_t into dL/dh_{t-1}, adds to dL/du, returns dL/dx_t; ``before`` is h_{t-1}.
template <class Phi, class T>
DYNLAB_INLINE T indrnn_back(T u, T x, T before, T& adjoint, T& du) {
    T value, slope;
    Phi::at(u * before + x, value, slope);
    const T dx = adjoint * slope;
    du += dx * before;
    adjoint = dx * u;
    return dx;
}

}  // namespace dynlab
