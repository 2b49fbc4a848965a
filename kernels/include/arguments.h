// What a call of a recurrence consists of: the C interface of the CPU and of the CUDA library.
//
// Sizes: T steps, B samples, D units, K inner steps, R rank. Every pointer is to float or to double, as the name of
// the function says; strides count elements; the last axis of everything is contiguous. The caller checks all of it.
#pragma once

#include <cstdint>

extern "C" {

// Element (t, b, u) stands at data + t * time + b * batch + u. Null data: absent.
struct DynlabSequence {
    void* data;
    int64_t time;
    int64_t batch;
};

// UnICORNN. Rows t = 0 .. T - 1 of x belong to step t + 1; row t of y, z is the state after it.
struct DynlabUnicornn {
    int64_t steps, batch, units;
    double alpha;
    const void* w;      // (D,)
    const void* h;      // (D,), dt sigmoid(c)
    const void* state;  // (B, 2 D), [y, z] before the first step
    void* last;         // (B, 2 D), [y, z] after the last: written forward, read backward
    DynlabSequence x;   // (T, B, D)
    DynlabSequence y;   // (T, B, D): written forward where present; read backward, absent to reconstruct by Eq. (7)
    DynlabSequence z;   // (T, B, D): written forward where present
    // Backward only.
    DynlabSequence grad_y, grad_z;  // (T, B, D), may be absent
    const void* grad_last;          // (B, 2 D), may be null
    DynlabSequence grad_x;          // out, (T, B, D)
    void* grad_w;                   // out, (B, D): a row a sample
    void* grad_h;                   // out, (B, D)
    void* grad_state;               // out, (B, 2 D)
    DynlabSequence adjoint;         // out, (T + 1, B, 2 D): dL/d state_t, may be absent
};

// IndRNN. ``phi`` as in DynlabIncremental.
struct DynlabIndrnn {
    int64_t steps, batch, units;
    int64_t phi;
    const void* u;      // (D,)
    const void* state;  // (B, D)
    void* last;         // (B, D), written forward
    DynlabSequence x;   // (T, B, D)
    DynlabSequence h;   // (T, B, D): written forward where present; read backward
    // Backward only.
    DynlabSequence grad_h;   // (T, B, D), may be absent
    const void* grad_last;   // (B, D), may be null
    DynlabSequence grad_x;   // out, (T, B, D)
    void* grad_u;            // out, (B, D): a row a sample
    void* grad_state;        // out, (B, D)
    DynlabSequence adjoint;  // out, (T + 1, B, D), may be absent
};

// AntisymmetricRNN. With a gate, x, pre and grad_x have 2 D columns: the candidate's, then the gate's.
struct DynlabAntisymmetric {
    int64_t steps, batch, units;
    int64_t gated;
    int64_t slices;  // CPU: the batch is cut into so many slices, one a thread
    double epsilon;
    const void* matrix;  // (D, D), M
    const void* state;   // (B, D)
    void* last;          // (B, D), written forward
    void* scratch;       // CPU, forward: (D + B, D)
    DynlabSequence x;    // (T, B, D or 2 D)
    DynlabSequence h;    // (T, B, D): written forward where present
    DynlabSequence pre;  // (T, B, D or 2 D), pre-activations: written forward where present, read backward
    // Backward only.
    DynlabSequence grad_h;   // (T, B, D), may be absent
    const void* grad_last;   // (B, D), may be null
    DynlabSequence grad_x;   // out, (T, B, D or 2 D)
    DynlabSequence delta;    // out, (T, B, D): what goes back through M, with a gate the sum of both parts, else absent
    void* grad_state;        // out, (B, D)
    DynlabSequence adjoint;  // out, (T + 1, B, D), may be absent
};

// iRNN. U is ``weight`` (D, D) or, with R > 0, I + left right.
struct DynlabIncremental {
    int64_t steps, batch, units, inner, rank;
    int64_t phi;      // 0 tanh, 1 relu, 2 sigmoid
    int64_t sign;     // +1 or -1
    int64_t zero;     // 1: g_0 = 0, 0: g_0 = h_{m-1}
    int64_t slices;   // CPU: the batch is cut into so many slices, one a thread
    int64_t chunk;    // CPU, backward: steps whose weight gradients make one matrix product
    double alpha;
    const void* weight;  // (D, D), null with R > 0
    const void* left;    // (D, R)
    const void* right;   // (R, D)
    const void* eta;     // (K,) or (T, K)
    int64_t eta_time;    // stride of eta in time, 0 for (K,)
    const void* state;   // (B, D)
    void* last;          // (B, D), written forward
    void* scratch;       // CPU: slices times dynlab_incremental_scratch() elements
    DynlabSequence x;    // (T, B, D)
    DynlabSequence h;    // (T, B, D): written forward where present; read backward
    void* pre;           // (T, K, B, D), pre-activations: written forward unless null, read backward
    // Backward only.
    DynlabSequence grad_h;   // (T, B, D), may be absent
    const void* grad_last;   // (B, D), may be null
    DynlabSequence grad_x;   // out, (T, B, D)
    void* grad_weight;       // out: CPU (slices, D, D) or (slices, 2, D, R), zero on entry
    void* delta;             // out, CUDA: (T, K, B, D), what goes back through U; scratch until the call is done
    void* sums;              // out, CUDA: (T, K, B, D), what U was applied to
    void* grad_eta;          // out: CPU (slices, T, K), CUDA (B, T, K)
    void* grad_state;        // out, (B, D)
    DynlabSequence adjoint;  // out, (T + 1, B, D), may be absent
};

// Products of UnICORNN's step Jacobians, Eq. (21), from the right: P_{t-1} = P_t J_t, with R rows of P a unit.
// [y; z] -> a kick of the momentum by ``kick``, then a drift of the position by ``drift``. CPU only.
struct DynlabShears {
    int64_t steps, batch, rows, units;
    const void* drift;    // (D,)
    DynlabSequence kick;  // (T, B, D)
    void* products;       // (2, T + 1, B, R, D): the y, then the z column of each row; time T is given, the rest out
};

}  // extern "C"
