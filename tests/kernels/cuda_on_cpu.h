// Enough of CUDA to compile kernels/cuda as C++ and to run it: one block after another, each of its threads a fiber
// that runs until it waits for others. g++ -include cuda_on_cpu.h -x c++ recurrences.cu
//
// What a GPU leaves open is taken to its ends: threads run in rising order in one block and in falling order in the
// next, asynchronous copies happen at once in one and as late as allowed in the other, shared memory starts as NaN.
// With -fsanitize=thread only barriers and shuffles order the threads, so that a race is reported, not just possible.
#pragma once

#include <ucontext.h>

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <map>
#include <memory>
#include <vector>

#if defined(__SANITIZE_THREAD__)
#include <sanitizer/tsan_interface.h>
#define EMULATED_UNSEEN __attribute__((no_sanitize("thread"), noinline))
#else
#define EMULATED_UNSEEN
#endif
#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#endif

#define __global__
#define __device__
#define __host__
#define __shared__
#define __forceinline__ inline
#define __launch_bounds__(...)
#define __align__(bytes) __attribute__((aligned(bytes)))

struct dim3 {
    unsigned x, y, z;
    dim3(unsigned x_ = 1, unsigned y_ = 1, unsigned z_ = 1) : x(x_), y(y_), z(z_) {}
};
inline dim3 blockIdx, blockDim, gridDim;

enum cudaError_t { cudaSuccess = 0, cudaErrorInvalidValue = 1, cudaErrorInvalidConfiguration = 9 };
enum cudaDeviceAttr { cudaDevAttrMultiProcessorCount, cudaDevAttrMaxSharedMemoryPerBlockOptin };
enum cudaFuncAttribute { cudaFuncAttributeMaxDynamicSharedMemorySize };
using cudaStream_t = struct CUstream_st*;
struct cudaLaunchConfig_t {
    dim3 gridDim, blockDim;
    size_t dynamicSmemBytes;
    cudaStream_t stream;
};

constexpr size_t emulated_memory = 227 * 1024;
namespace dynlab {
__align__(16) unsigned char memory[emulated_memory];  // the kernels' ``extern __shared__`` array
}

namespace emulated {

constexpr unsigned most_threads = 1024;
constexpr size_t stack_bytes = 128 * 1024;

struct Barrier {
    unsigned arrived = 0;
    unsigned long round = 0;
};

struct Copy {
    void* to;
    const void* from;
    size_t bytes;
};

struct Thread {
    ucontext_t context;
    std::unique_ptr<char[]> stack;
    bool done;
    unsigned shuffles;
    std::vector<std::vector<Copy>> copies;  // a group each; the last is not committed
    void* fiber = nullptr;                  // of the thread sanitizer
};

struct Device {
    int processors = 3, shared = emulated_memory, launches = 0;
    std::map<void*, size_t> granted;  // shared memory a kernel may ask for

    // The block that runs.
    Thread threads[most_threads];
    unsigned current = 0, alive = 0;
    bool falling = false;
    Barrier block, warps[32];
    uint64_t exchanged[32][2][32];
    ucontext_t host;
    void* host_fiber;
    std::function<void()> body;
};
inline Device device;

[[noreturn]] inline void fail(const char* what) {
    std::fprintf(stderr, "cuda_on_cpu: %s\n", what);
    std::abort();
}

struct Index {
    unsigned x;
};
EMULATED_UNSEEN inline Index thread_index() { return {device.current}; }
#define threadIdx (emulated::thread_index())

EMULATED_UNSEEN inline void switch_to(ucontext_t& from, ucontext_t& to, [[maybe_unused]] void* fiber) {
#if defined(__SANITIZE_THREAD__)
    __tsan_switch_to_fiber(fiber, __tsan_switch_to_fiber_no_sync);
#endif
    swapcontext(&from, &to);
}

// Lets the next thread run that has not ended, or the host.
EMULATED_UNSEEN inline void yield() {
    Thread& from = device.threads[device.current];
    if (device.alive == 0) return switch_to(from.context, device.host, device.host_fiber);
    const unsigned count = blockDim.x, step = device.falling ? count - 1 : 1;
    do device.current = (device.current + step) % count;
    while (device.threads[device.current].done);
    Thread& to = device.threads[device.current];
    if (&to != &from) switch_to(from.context, to.context, to.fiber);
}

EMULATED_UNSEEN inline void wait(Barrier& barrier, unsigned expected) {
#if defined(__SANITIZE_THREAD__)
    __tsan_release(&barrier);
#endif
    const unsigned long mine = barrier.round;
    if (++barrier.arrived == expected) {
        barrier.arrived = 0;
        ++barrier.round;
    }
    for (int turns = 0; barrier.round == mine; ++turns) {
        if (turns == 100000) fail("a barrier that not all threads reach");
        yield();
    }
#if defined(__SANITIZE_THREAD__)
    __tsan_acquire(&barrier);
#endif
}

template <class T>
EMULATED_UNSEEN T exchange(T value, unsigned mask) {
    static_assert(sizeof(T) <= sizeof(uint64_t));
    const unsigned warp = device.current / 32, lane = device.current % 32;
    // The next exchange must not overwrite what a slower thread still reads.
    auto& slots = device.exchanged[warp][device.threads[device.current].shuffles++ % 2];
    std::memcpy(&slots[lane], &value, sizeof(T));
    wait(device.warps[warp], 32);
    std::memcpy(&value, &slots[lane ^ mask], sizeof(T));
    return value;
}

inline void perform(const Copy& copy) {
    if (reinterpret_cast<uintptr_t>(copy.to) % copy.bytes || reinterpret_cast<uintptr_t>(copy.from) % copy.bytes) {
        fail("an asynchronous copy that is not aligned");
    }
    std::memcpy(copy.to, copy.from, copy.bytes);
}

EMULATED_UNSEEN inline std::vector<std::vector<Copy>>& copies() { return device.threads[device.current].copies; }

inline void thread_main() {
#if defined(__SANITIZE_THREAD__)
    __tsan_acquire(&device);
#endif
    device.body();
#if defined(__SANITIZE_THREAD__)
    __tsan_release(&device);
#endif
    [] EMULATED_UNSEEN {
        device.threads[device.current].done = true;
        --device.alive;
    }();
    yield();
}

inline void prepare(Thread& thread) {
    thread.done = false;
    thread.shuffles = 0;
    thread.copies.assign(1, {});
    if (!thread.stack) thread.stack.reset(new char[stack_bytes]);
    getcontext(&thread.context);
    thread.context.uc_stack.ss_sp = thread.stack.get();
    thread.context.uc_stack.ss_size = stack_bytes;
    makecontext(&thread.context, thread_main, 0);
#if defined(__SANITIZE_THREAD__)
    if (!thread.fiber) thread.fiber = __tsan_create_fiber(0);
#endif
}

inline void run_block(unsigned threads, size_t shared) {
    std::memset(dynlab::memory, 0xff, shared);
#if defined(__SANITIZE_ADDRESS__)
    ASAN_POISON_MEMORY_REGION(dynlab::memory + shared, emulated_memory - shared);
#endif
    device.falling = (blockIdx.x + device.launches) % 2;
    device.alive = threads;
    device.block = {};
    for (Barrier& warp : device.warps) warp = {};
    for (unsigned i = 0; i < threads; ++i) prepare(device.threads[i]);
    device.current = device.falling ? threads - 1 : 0;
#if defined(__SANITIZE_THREAD__)
    device.host_fiber = __tsan_get_current_fiber();
    __tsan_release(&device);
#endif
    switch_to(device.host, device.threads[device.current].context, device.threads[device.current].fiber);
#if defined(__SANITIZE_THREAD__)
    __tsan_acquire(&device);
#endif
#if defined(__SANITIZE_ADDRESS__)
    ASAN_UNPOISON_MEMORY_REGION(dynlab::memory, emulated_memory);
#endif
}

}  // namespace emulated

inline void __syncthreads() { emulated::wait(emulated::device.block, emulated::device.alive); }

template <class T>
T __shfl_xor_sync(unsigned members, T value, unsigned mask) {
    if (members != 0xffffffffu) emulated::fail("a shuffle among some lanes only");
    return emulated::exchange(value, mask);
}

inline void __pipeline_memcpy_async(void* to, const void* from, size_t bytes) {
    const emulated::Copy copy{to, from, bytes};
    if (emulated::device.falling) {
        emulated::copies().back().push_back(copy);
    } else {
        emulated::perform(copy);
    }
}

inline void __pipeline_commit() { emulated::copies().emplace_back(); }

inline void __pipeline_wait_prior(size_t groups) {
    auto& copies = emulated::copies();
    while (copies.size() - 1 > groups) {
        for (const auto& copy : copies.front()) emulated::perform(copy);
        copies.erase(copies.begin());
    }
}

inline cudaError_t cudaGetDevice(int* index) {
    *index = 0;
    return cudaSuccess;
}

inline cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr attribute, int) {
    *value = attribute == cudaDevAttrMultiProcessorCount ? emulated::device.processors : emulated::device.shared;
    return cudaSuccess;
}

template <class Kernel>
cudaError_t cudaFuncSetAttribute(Kernel* kernel, cudaFuncAttribute, int bytes) {
    if (bytes > emulated::device.shared) return cudaErrorInvalidValue;
    emulated::device.granted[reinterpret_cast<void*>(kernel)] = bytes;
    return cudaSuccess;
}

template <class... Parameters, class... Values>
cudaError_t cudaLaunchKernelEx(const cudaLaunchConfig_t* config, void (*kernel)(Parameters...),
                               const Values&... values) {
    const size_t shared = config->dynamicSmemBytes;
    if (shared > 48 * 1024 && shared > emulated::device.granted[reinterpret_cast<void*>(kernel)]) {
        return cudaErrorInvalidValue;
    }
    gridDim = config->gridDim;
    blockDim = config->blockDim;
    if (gridDim.x < 1 || blockDim.x < 1 || blockDim.x > emulated::most_threads) return cudaErrorInvalidConfiguration;
    emulated::device.body = [&] { kernel(values...); };
    for (blockIdx.x = 0; blockIdx.x < gridDim.x; ++blockIdx.x) emulated::run_block(blockDim.x, shared);
    ++emulated::device.launches;
    return cudaSuccess;
}

inline cudaError_t cudaGetLastError() { return cudaSuccess; }
inline const char* cudaGetErrorString(cudaError_t error) { return error ? "an emulated failure" : "no error"; }

// For the tests: how many multiprocessors and how much shared memory there seem to be.
extern "C" __attribute__((visibility("default"))) void emulated_device(int processors, int shared) {
    emulated::device.processors = processors;
    emulated::device.shared = shared;
}
