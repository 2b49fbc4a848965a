// Activations and their derivatives, written once for the vectorisers of g++ and clang and for nvcc.
//
// Everything rests on e = exp(-|u|) and e - 1, so that tanh keeps its relative accuracy near 0 and the
// derivatives keep theirs in the tails, where 1 - tanh^2 would be 0. tanh is within 5 ulp; relative error of the
// derivatives in float: 1e-6 with fused multiply-add, 4e-6 without.
#pragma once

#include <cstdint>

#if defined(__CUDACC__)
#define DYNLAB_INLINE __host__ __device__ __forceinline__
#else
#define DYNLAB_INLINE inline __attribute__((always_inline))
#endif

namespace dynlab {

constexpr double log2_e = 1.4426950408889634;

// 2^f - 1 on |f| <= 1 / 2, and the numbers that make 2^n of an integer n.
template <class T>
struct Exponential;

template <>
struct Exponential<float> {
    using Bits = int32_t;
    static constexpr float most = 126.0f;  // 2^-most is still a normal number
    static constexpr float magic = 0x1.8p23f;
    static constexpr int mantissa = 23;
    static constexpr Bits one = 0x3f800000;
    // Minimax in relative error, 1.1e-8; in pairs, since a long chain is what the processor would wait for.
    DYNLAB_INLINE static float expm1(float f) {
        const float f2 = f * f;
        const float low = 0x1.62e43p-1f + 0x1.ebfbdep-3f * f;
        const float middle = 0x1.c6af6ep-5f + 0x1.3b2bap-7f * f;
        const float high = 0x1.5f0804p-10f + 0x1.4308fap-13f * f;
        return f * (low + f2 * (middle + f2 * high));
    }
};

template <>
struct Exponential<double> {
    using Bits = int64_t;
    static constexpr double most = 1021.0;
    static constexpr double magic = 0x1.8p52;
    static constexpr int mantissa = 52;
    static constexpr Bits one = 0x3ff0000000000000;
    // The Taylor series, (ln 2)^k / k! for k = 1 .. 13: relative error 2e-17.
    DYNLAB_INLINE static double expm1(double f) {
        double sum = 0x1.816193166d0f9p-40;
        sum = 0x1.c3bd650fc2986p-36 + f * sum;
        sum = 0x1.e8cac7351bb25p-32 + f * sum;
        sum = 0x1.e4cf5158b8ecap-28 + f * sum;
        sum = 0x1.b5253d395e7c4p-24 + f * sum;
        sum = 0x1.62c0223a5c824p-20 + f * sum;
        sum = 0x1.ffcbfc588b0c7p-17 + f * sum;
        sum = 0x1.430912f86c787p-13 + f * sum;
        sum = 0x1.5d87fe78a6731p-10 + f * sum;
        sum = 0x1.3b2ab6fba4e77p-7 + f * sum;
        sum = 0x1.c6b08d704a0c0p-5 + f * sum;
        sum = 0x1.ebfbdff82c58fp-3 + f * sum;
        sum = 0x1.62e42fefa39efp-1 + f * sum;
        return f * sum;
    }
};

// exp(-x) and exp(-x) - 1 for x >= 0, where ``scale`` is log2(e) times what x is to be multiplied by; NaN stays NaN.
template <class T>
DYNLAB_INLINE void exp_pair(T x, T scale, T& exp, T& expm1) {
    using E = Exponential<T>;
    using Bits = typename E::Bits;
    const T most = E::most / scale;
    x = most < x ? most : x;
    // Subtracting from the magic number rounds to an integer, and leaves it in the low bits.
    const T shifted = E::magic - x * scale;
    const T n = shifted - E::magic;
    const T p = E::expm1(-(x * scale) - n);
    const auto power = static_cast<Bits>(static_cast<uint64_t>(__builtin_bit_cast(Bits, shifted)) << E::mantissa);
    const T two_n = __builtin_bit_cast(T, static_cast<Bits>(power + E::one));
    exp = two_n + two_n * p;
    expm1 = (two_n - T(1)) + two_n * p;
}

// 1 / d for 1 <= d <= 2.
DYNLAB_INLINE double reciprocal(double d) { return 1.0 / d; }

// The minimax parabola, error 1 / 99, and two Newton steps: a vector division takes longer.
DYNLAB_INLINE float reciprocal(float d) {
    float r = (32.0f / 99.0f * d - 144.0f / 99.0f) * d + 210.0f / 99.0f;
    r = r * (2.0f - d * r);
    return r + r * (1.0f - d * r);
}

DYNLAB_INLINE float absolute(float a) { return __builtin_fabsf(a); }
DYNLAB_INLINE double absolute(double a) { return __builtin_fabs(a); }
DYNLAB_INLINE float with_sign(float a, float sign) { return __builtin_copysignf(a, sign); }
DYNLAB_INLINE double with_sign(double a, double sign) { return __builtin_copysign(a, sign); }

struct Tanh {
    template <class T>
    DYNLAB_INLINE static void at(T a, T& value, T& slope) {
        T e, m;
        exp_pair(absolute(a), T(2 * log2_e), e, m);
        const T r = reciprocal(T(2) + m);
        value = with_sign(m * r, a);
        slope = T(4) * e * (r * r);
    }
};

struct Sigmoid {
    template <class T>
    DYNLAB_INLINE static void at(T a, T& value, T& slope) {
        T e, m;
        exp_pair(absolute(a), T(log2_e), e, m);
        const T r = reciprocal(T(2) + m);
        value = a < T(0) ? e * r : r;
        slope = e * (r * r);
    }
};

struct Relu {
    template <class T>
    DYNLAB_INLINE static void at(T a, T& value, T& slope) {
        value = a < T(0) ? T(0) : a;  // NaN stays NaN
        slope = a > T(0) ? T(1) : T(0);
    }
};

template <class Phi, class T>
DYNLAB_INLINE T value_of(T a) {
    T value, slope;
    Phi::at(a, value, slope);
    return value;
}

}  // namespace dynlab
