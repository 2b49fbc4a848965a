// The C interface of the CUDA library: 0 or a cudaError_t; ``stream`` is a cudaStream_t of the current device.
//
// Nothing here allocates, waits or changes the device, so that every call can be captured in a CUDA graph.
#include "antisymmetric.cuh"
#include "incremental.cuh"
#include "units.cuh"

#define DYNLAB_EXPORT extern "C" __attribute__((visibility("default")))

#define DYNLAB_ENTRIES(recurrence, Arguments)                                                             \
    DYNLAB_EXPORT int dynlab_cuda_##recurrence##_forward_f32(const Arguments* arguments, void* stream) {  \
        return dynlab::recurrence<float>(*arguments, false, stream);                                      \
    }                                                                                                     \
    DYNLAB_EXPORT int dynlab_cuda_##recurrence##_forward_f64(const Arguments* arguments, void* stream) {  \
        return dynlab::recurrence<double>(*arguments, false, stream);                                     \
    }                                                                                                     \
    DYNLAB_EXPORT int dynlab_cuda_##recurrence##_backward_f32(const Arguments* arguments, void* stream) { \
        return dynlab::recurrence<float>(*arguments, true, stream);                                       \
    }                                                                                                     \
    DYNLAB_EXPORT int dynlab_cuda_##recurrence##_backward_f64(const Arguments* arguments, void* stream) { \
        return dynlab::recurrence<double>(*arguments, true, stream);                                      \
    }

DYNLAB_ENTRIES(unicornn, DynlabUnicornn)
DYNLAB_ENTRIES(indrnn, DynlabIndrnn)
DYNLAB_ENTRIES(antisymmetric, DynlabAntisymmetric)
DYNLAB_ENTRIES(incremental, DynlabIncremental)

DYNLAB_EXPORT const char* dynlab_cuda_error(int error) { return cudaGetErrorString(static_cast<cudaError_t>(error)); }
