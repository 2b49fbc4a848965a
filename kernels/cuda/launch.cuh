// What the host does around a kernel: ask the device for its limits, launch on the caller's stream.
#pragma once

#include <climits>
#include <cstddef>
#include <cstdint>

namespace dynlab {

struct Device {
    int processors = 0;
    int shared = 0;  // bytes of shared memory that one block may ask for
};

// The runtime remembers a failure until it is asked; torch would report ours as its own.
inline cudaError_t forgotten(cudaError_t error) {
    if (error) (void)cudaGetLastError();
    return error;
}

inline cudaError_t current_device(Device& device) {
    int index = 0;
    cudaError_t error = cudaGetDevice(&index);
    if (!error) error = cudaDeviceGetAttribute(&device.processors, cudaDevAttrMultiProcessorCount, index);
    if (!error) error = cudaDeviceGetAttribute(&device.shared, cudaDevAttrMaxSharedMemoryPerBlockOptin, index);
    return forgotten(error);
}

template <class... Parameters, class... Values>
cudaError_t launch(void* stream, void (*kernel)(Parameters...), int64_t blocks, int threads, size_t shared,
                   const Values&... values) {
    constexpr size_t granted = 48 * 1024;  // more than this has to be asked for
    if (blocks > INT_MAX) return cudaErrorInvalidValue;
    if (shared > granted) {
        const cudaError_t error =
            cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, static_cast<int>(shared));
        if (error) return forgotten(error);
    }
    cudaLaunchConfig_t config = {};
    config.gridDim = dim3(static_cast<unsigned>(blocks));
    config.blockDim = dim3(static_cast<unsigned>(threads));
    config.dynamicSmemBytes = shared;
    config.stream = static_cast<cudaStream_t>(stream);
    return forgotten(cudaLaunchKernelEx(&config, kernel, values...));
}

template <class T>
__host__ __device__ constexpr T at_most(T a, T b) {
    return b < a ? b : a;
}

template <class T>
__host__ __device__ constexpr T in_parts(T whole, T part) {
    return (whole + part - 1) / part;
}

}  // namespace dynlab
