// AntisymmetricRNN: what one unit of one sample does between two matrix products with M.
//
//   h_t = h_{t-1} + eps tanh(a) [sigmoid(c)],   a = M h_{t-1} + x_t,  c = M h_{t-1} + x'_t     Eqs. (12), (13)
#pragma once

#include "math.h"

namespace dynlab {

// The new h from the old one.
template <class T>
DYNLAB_INLINE T antisymmetric_step(T eps, T a, T hidden) {
    return hidden + eps * value_of<Tanh>(a);
}

template <class T>
DYNLAB_INLINE T antisymmetric_step(T eps, T a, T c, T hidden) {
    return hidden + eps * (value_of<Tanh>(a) * value_of<Sigmoid>(c));
}

// dL/da from dL/dh_t.
template <class T>
DYNLAB_INLINE T antisymmetric_back(T eps, T a, T adjoint) {
    T value, slope;
    Tanh::at(a, value, slope);
    return eps * adjoint * slope;
}

// dL/da and dL/dc; their sum goes back through M.
template <class T>
DYNLAB_INLINE void antisymmetric_back(T eps, T a, T c, T adjoint, T& da, T& dc) {
    T candidate, slope, gate, gate_slope;
    Tanh::at(a, candidate, slope);
    Sigmoid::at(c, gate, gate_slope);
    da = eps * adjoint * (gate * slope);
    dc = eps * adjoint * (candidate * gate_slope);
}

}  // namespace dynlab
