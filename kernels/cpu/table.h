// What the instruction-set independent part and the part compiled once per instruction set know of each other.
#pragma once

#include "arguments.h"

namespace dynlab {

// What the process that loads the library lends it: torch's threads and the BLAS that torch carries.
struct Runtime {
    using Body = void (*)(int64_t begin, int64_t end, void* context);
    int32_t (*parallel_for)(int64_t begin, int64_t end, int64_t grain, Body body, void* context) = nullptr;
    int32_t (*thread_count)(uint32_t* count) = nullptr;
    void* sgemm = nullptr;
    void* dgemm = nullptr;
    int (*blas_threads)(int count) = nullptr;  // for calls from this thread; returns what was set before
};

extern Runtime runtime;

template <class T>
struct Functions {
    void (*unicornn_forward)(const DynlabUnicornn&);
    void (*unicornn_backward)(const DynlabUnicornn&);
    void (*indrnn_forward)(const DynlabIndrnn&);
    void (*indrnn_backward)(const DynlabIndrnn&);
    void (*antisymmetric_forward)(const DynlabAntisymmetric&);
    void (*antisymmetric_backward)(const DynlabAntisymmetric&);
    void (*incremental_forward)(const DynlabIncremental&);
    void (*incremental_backward)(const DynlabIncremental&);
    void (*shear_products)(const DynlabShears&);
    int64_t (*incremental_scratch)(const DynlabIncremental&);
};

struct Table {
    const char* name;
    Functions<float> f32;
    Functions<double> f64;
};

}  // namespace dynlab
