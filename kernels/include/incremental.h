// iRNN: what one unit of one sample does between two matrix products with U.
//
//   s = g_{k-1} + sign h_{m-1},   a = U s + x_m,   g_k = g_{k-1} + eta_k [phi(a) - alpha s]          Eq. (5)
//
// with x_m = W x_m + b, and U, x projected beforehand for Eq. (9).
#pragma once

#include "math.h"

namespace dynlab {

// g_k from g_{k-1}.
template <class Phi, class T>
DYNLAB_INLINE T incremental_step(T eta, T alpha, T a, T s, T g) {
    return g + eta * (value_of<Phi>(a) - alpha * s);
}

// From gamma = dL/dg_k: returns dL/da, adds to dL/d eta_k. What reaches s is U^T (dL/da) - eta alpha gamma.
template <class Phi, class T>
DYNLAB_INLINE T incremental_back(T eta, T alpha, T a, T s, T gamma, T& deta) {
    T value, slope;
    Phi::at(a, value, slope);
    deta += gamma * (value - alpha * s);
    return eta * gamma * slope;
}

}  // namespace dynlab
