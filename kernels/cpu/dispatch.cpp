// The C entry points of the CPU library: which instruction set runs, and whose threads and BLAS it uses.

#include <cstring>

#include "table.h"

#define DYNLAB_EXPORT extern "C" __attribute__((visibility("default")))

namespace dynlab {

Runtime runtime;

namespace baseline {
extern const Table table;
}
#if defined(DYNLAB_X86)
namespace avx2 {
extern const Table table;
}
namespace avx512 {
extern const Table table;
}
#endif

namespace {

// Best first.
struct Choice {
    const Table* table;
    bool (*runs)();
};

const Choice choices[] = {
#if defined(DYNLAB_X86)
    {&avx512::table,
     [] {
         return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
                __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512bw") &&
                __builtin_cpu_supports("fma");
     }},
    {&avx2::table, [] { return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"); }},
#endif
    {&baseline::table, [] { return true; }},
};

const Table* chosen = [] {
    for (const Choice& choice : choices)
        if (choice.runs()) return choice.table;
    return &baseline::table;
}();

}  // namespace
}  // namespace dynlab

using dynlab::chosen;
using dynlab::runtime;

// ``parallel_for``, ``thread_count``: torch_parallel_for and torch_get_num_threads as torch/csrc/stable/c/shim.h
// declares them, null to run on the calling thread; ``sgemm``, ``dgemm``: Fortran's BLAS; ``blas_threads``:
// MKL_Set_Num_Threads_Local where that BLAS is MKL, else null.
DYNLAB_EXPORT void dynlab_set_runtime(void* parallel_for, void* thread_count, void* sgemm, void* dgemm,
                                      void* blas_threads) {
    runtime.parallel_for = reinterpret_cast<decltype(runtime.parallel_for)>(parallel_for);
    runtime.thread_count = reinterpret_cast<decltype(runtime.thread_count)>(thread_count);
    runtime.sgemm = sgemm;
    runtime.dgemm = dgemm;
    runtime.blas_threads = reinterpret_cast<decltype(runtime.blas_threads)>(blas_threads);
}

DYNLAB_EXPORT const char* dynlab_instruction_set() { return chosen->name; }

// Takes another instruction set than the best one; 0 if this build has it and this machine runs it.
DYNLAB_EXPORT int dynlab_use_instruction_set(const char* name) {
    for (const dynlab::Choice& choice : dynlab::choices) {
        if (std::strcmp(choice.table->name, name) == 0 && choice.runs()) {
            chosen = choice.table;
            return 0;
        }
    }
    return 1;
}

#define DYNLAB_ENTRY(name, Arguments)                                                                 \
    DYNLAB_EXPORT int dynlab_##name##_f32(const Arguments* a) { return chosen->f32.name(*a), 0; } \
    DYNLAB_EXPORT int dynlab_##name##_f64(const Arguments* a) { return chosen->f64.name(*a), 0; }

DYNLAB_ENTRY(unicornn_forward, DynlabUnicornn)
DYNLAB_ENTRY(unicornn_backward, DynlabUnicornn)
DYNLAB_ENTRY(indrnn_forward, DynlabIndrnn)
DYNLAB_ENTRY(indrnn_backward, DynlabIndrnn)
DYNLAB_ENTRY(antisymmetric_forward, DynlabAntisymmetric)
DYNLAB_ENTRY(antisymmetric_backward, DynlabAntisymmetric)
DYNLAB_ENTRY(incremental_forward, DynlabIncremental)
DYNLAB_ENTRY(incremental_backward, DynlabIncremental)
DYNLAB_ENTRY(shear_products, DynlabShears)

// Elements of scratch memory a slice of iRNN works in.
DYNLAB_EXPORT int64_t dynlab_incremental_scratch(const DynlabIncremental* a) {
    return chosen->f32.incremental_scratch(*a);
}
