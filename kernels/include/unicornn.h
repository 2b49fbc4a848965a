// UnICORNN: one step, its inverse and its adjoint for one unit of one sample.
//
//   z_n = z_{n-1} - h [tanh(w y_{n-1} + x_n) + alpha y_{n-1}],   y_n = y_{n-1} + h z_n        Eq. (6)
//
// with x_n = V u_n + b and h = dt sigmoid(c).
#pragma once

#include "math.h"

namespace dynlab {

template <class T>
struct Unicornn {
    T w, h, alpha;

    DYNLAB_INLINE void step(T x, T& y, T& z) const {
        const T force = value_of<Tanh>(w * y + x) + alpha * y;
        z = z - h * force;
        y = y + h * z;
    }

    // y_{n-1} from y_n and z_n, Eq. (7).
    DYNLAB_INLINE T y_before(T y, T z) const { return y - h * z; }

    // What flows back: dL/dy_n, dL/dz_n, and the sums dL/dw, dL/dh so far.
    struct Adjoint {
        T y, z, w, h;
    };

    // Appendix B, Eqs. (3)-(5). Takes y = y_{n-1}, turns z_n into z_{n-1} (Eq. 7) and the adjoint of the state
    // n into that of the state n - 1; returns dL/dx_n.
    DYNLAB_INLINE T back(T x, T y, T& z, Adjoint& adjoint) const {
        T value, slope;
        Tanh::at(w * y + x, value, slope);
        const T force = value + alpha * y;
        const T momentum = adjoint.z + h * adjoint.y;
        const T pull = -h * momentum;
        const T dx = pull * slope;
        adjoint.h += adjoint.y * z - momentum * force;
        adjoint.w += dx * y;
        adjoint.y += w * dx + alpha * pull;
        adjoint.z = momentum;
        z = z + h * force;
        return dx;
    }
};

}  // namespace dynlab
