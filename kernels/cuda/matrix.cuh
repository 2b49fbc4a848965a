// The loop of a recurrence with a dense matrix: a block takes a few samples through all steps in one launch.
//
// A round is one product with the matrix and what each unit makes of it, the vector of the next round. The thread
// that has a result of the product also has the unit's state, so that a round needs one barrier.
//
// With float32 and up to 128 units all weights are in registers; with 256 half of them are, and the other half in
// shared memory, where a device has that much. Beyond, the rest is read in every round: right, but slow. The vectors
// must fit the shared memory: several thousand units.
#pragma once

#include "arguments.h"
#include "product.cuh"

#if defined(__CUDACC__)
#include <cuda_pipeline_primitives.h>
#endif

namespace dynlab {

constexpr int slots = 4;  // rows of a sequence in shared memory: one in use, the others on their way

// What stands where in shared memory, in bytes; made by the host, which knows the limits.
struct Plan {
    int threads;
    bool ahead;  // whether there is room to read sequences ahead
    int pitch, middle_pitch;
    int kept, kept_outer;
    size_t own, middle, queues, tiles, tiles_outer, end;
};

// ``own``: numbers a unit keeps between rounds. ``queues``: sequences that are read ahead. ``rank``: 0 without one.
template <class Shape>
cudaError_t make_plan(int units, int rank, int own, int queues, const Device& device, Plan& plan) {
    using T = typename Shape::Real;
    const auto padded = [](int length, int tiles) {
        const int needed = in_parts(length, tile_columns<T>);
        return (needed < tiles ? tiles : needed) * tile_columns<T>;
    };
    const auto aligned = [](size_t bytes) { return (bytes + 15) / 16 * 16; };
    const size_t limit = device.shared, row = sizeof(T) * Shape::samples * units;

    plan.threads = at_most(32 * in_parts(units, Shape::warp_rows), Shape::threads);
    plan.pitch = padded(units, Shape::tiles);
    plan.middle_pitch = rank ? padded(rank, 1) : 0;
    plan.own = sizeof(T) * 2 * Shape::samples * plan.pitch;
    plan.middle = plan.own + aligned(own * row);
    plan.queues = plan.middle + sizeof(T) * Shape::samples * plan.middle_pitch;
    plan.tiles = plan.queues + aligned(slots * queues * row);
    plan.ahead = plan.tiles <= limit;
    if (!plan.ahead) plan.tiles = plan.queues;
    if (plan.tiles > limit || (Shape::narrow && !plan.ahead)) return cudaErrorInvalidValue;

    const size_t tile = Tiling<Shape>::thread_bytes * plan.threads;
    const auto keep = [&](int height, int width, int in_registers, size_t from) {
        const int others = Tiling<Shape>(height, width, plan.threads).others(in_registers);
        return static_cast<int>(at_most<size_t>(others, (limit - from) / tile));
    };
    plan.kept = rank ? keep(rank, units, 1, plan.tiles) : keep(units, units, Shape::tiles, plan.tiles);
    plan.tiles_outer = plan.tiles + plan.kept * tile;
    plan.kept_outer = rank ? keep(units, rank, 1, plan.tiles_outer) : 0;
    plan.end = plan.tiles_outer + plan.kept_outer * tile;
    return cudaSuccess;
}

// One row after another of a sequence, or of its columns from one on, as the samples of a block have it.
template <class T>
class Rows {
   public:
    __device__ Rows(const DynlabSequence& sequence, int64_t first_sample, int64_t column, int64_t row, int direction)
        : present_(sequence.data != nullptr), step_(present_ ? direction * sequence.time : 0), batch_(sequence.batch),
          here_(static_cast<T*>(sequence.data)) {
        if (present_) here_ += row * sequence.time + first_sample * batch_ + column;
    }

    __device__ void move() { here_ += step_; }
    __device__ bool present() const { return present_; }
    __device__ T* at(const Place& place) const { return here_ + place.sample * batch_ + place.row; }
    __device__ T get(const Place& place) const { return present() ? *at(place) : T(0); }
    __device__ void put(const Place& place, T value) const {
        if (present()) *at(place) = value;
    }

   private:
    const bool present_;
    const int64_t step_, batch_;
    T* here_;
};

// Rows that the thread of each unit reads ahead, or when it takes them where there is no room for that.
template <class Shape>
class Queue {
   public:
    using T = typename Shape::Real;

    __device__ Queue(const Rows<T>& rows, T* memory, int units) : rows_(rows), memory_(memory), units_(units) {}

    // Starts to bring the row.
    __device__ void fetch(const Place& place) const {
        if (ahead() && rows_.present()) __pipeline_memcpy_async(slot(in_, place), rows_.at(place), sizeof(T));
    }

    __device__ void fetched() {
        if (ahead()) rows_.move();
        in_ = (in_ + 1) % slots;
    }

    // What was fetched ``slots`` - 1 rounds ago.
    __device__ T take(const Place& place) const {
        return ahead() && rows_.present() ? *slot(out_, place) : rows_.get(place);
    }

    __device__ void taken() {
        if (!ahead()) rows_.move();
        out_ = (out_ + 1) % slots;
    }

   private:
    Rows<T> rows_;  // at the next row to fetch, or to take where nothing is fetched
    T* const memory_;
    const int units_;
    unsigned in_ = 0, out_ = 0;

    __device__ bool ahead() const { return Shape::narrow || memory_ != nullptr; }
    __device__ T* slot(unsigned number, const Place& place) const {
        return memory_ + (static_cast<int>(number) * Shape::samples + place.sample) * units_ + place.row;
    }
};

// The samples of this block and its shared memory.
template <class Shape>
class Block {
   public:
    using T = typename Shape::Real;
    const Plan& plan;
    unsigned char* const memory;
    const int64_t first;  // sample
    const int samples, units;

    __device__ Block(const Plan& plan_, unsigned char* memory_, int64_t batch, int64_t units_)
        : plan(plan_), memory(memory_), first(int64_t(blockIdx.x) * Shape::samples),
          samples(static_cast<int>(at_most<int64_t>(Shape::samples, batch - first))), units(static_cast<int>(units_)) {}

    __device__ T* vectors(int64_t round) const {
        return reinterpret_cast<T*>(memory) + (round & 1) * Shape::samples * plan.pitch;
    }

    // What the unit keeps between rounds.
    __device__ T& own(int number, const Place& place) const {
        return reinterpret_cast<T*>(memory + plan.own)[(number * Shape::samples + place.sample) * units + place.row];
    }

    // From ``row`` on, the columns of ``part`` (1: those of the gate).
    __device__ Rows<T> rows(const DynlabSequence& sequence, int64_t row, int direction, int part = 0) const {
        return {sequence, first, int64_t(part) * units, row, direction};
    }

    // (B, D)
    __device__ Rows<T> row(const void* data) const { return rows({const_cast<void*>(data), 0, units}, 0, 0); }

    __device__ Queue<Shape> queue(int number, const Rows<T>& rows) const {
        T* queues = reinterpret_cast<T*>(memory + plan.queues);
        return {rows, plan.ahead ? queues + number * slots * Shape::samples * units : nullptr, units};
    }

    // An Element is what the units do:
    //   start   returns the first vector,
    //   before  loads what belongs to this round while the product is under way,
    //   after   returns the next vector; the other threads wait for it,
    //   write   puts out the rest,
    //   next    goes on to the next round,
    //   finish  puts out what remains, with the last vector,
    //   fetch   starts to bring what ``before`` will take some rounds later, ``fetched`` goes on to the next round.
    template <class Multiply, class Element>
    __device__ void run(const Multiply& multiply, Element& element, int64_t rounds) const {
        const int passes = multiply.product.passes();
        const auto place_of = [&](int pass) {
            Place place = multiply.product.place(pass);
            place.valid = place.valid && place.sample < samples;
            return place;
        };
        const auto each = [&](auto action) {
            for (int pass = 0; pass < passes; ++pass) {
                const Place place = place_of(pass);
                if (place.valid) action(place);
            }
        };
        const auto index = [&](const Place& place) { return place.sample * plan.pitch + place.row; };

        for (int i = threadIdx.x; i < 2 * Shape::samples * plan.pitch; i += blockDim.x) vectors(0)[i] = T(0);
        __syncthreads();
        each([&](const Place& place) { vectors(0)[index(place)] = element.start(place); });
        for (int i = 0; i < slots - 1 && plan.ahead; ++i) {
            each([&](const Place& place) { element.fetch(place); });
            __pipeline_commit();
            element.fetched();
        }
        __syncthreads();

        for (int64_t round = 0; round < rounds; ++round) {
            const T* now = vectors(round);
            T* coming = vectors(round + 1);
            __pipeline_wait_prior(slots - 2);
            multiply.prepare(now, plan.pitch);
            for (int pass = 0; pass < passes; ++pass) {
                const Place place = place_of(pass);
                typename Element::Kept kept{};
                T self = 0;
                if (place.valid) {
                    self = now[index(place)];
                    kept = element.before(place, self);
                    element.fetch(place);
                }
                T sum = multiply(pass, now, plan.pitch);
                if (Multiply::plus_identity) sum += self;
                if (place.valid) {
                    coming[index(place)] = element.after(place, kept, sum);
                    element.write(place, kept);
                }
            }
            __pipeline_commit();
            element.fetched();
            element.next();
            __syncthreads();
        }
        each([&](const Place& place) { element.finish(place, vectors(rounds)[index(place)]); });
    }
};

// A full matrix.
template <class Shape>
struct Dense {
    using T = typename Shape::Real;
    static constexpr bool plus_identity = false;
    Product<Shape> product;

    __device__ Dense(const Matrix<T>& matrix, const Block<Shape>& block)
        : product(matrix, block.memory + block.plan.tiles, block.plan.kept) {}

    __device__ void prepare(const T*, int) const {}
    __device__ __forceinline__ T operator()(int pass, const T* vectors, int pitch) const {
        return product(pass, vectors, pitch);
    }
};

// I + outer inner, of which ``run`` adds the I.
template <class Shape>
struct LowRank {
    using T = typename Shape::Real;
    static constexpr bool plus_identity = true;
    Product<Shape, 1> inner, product;
    T* const middle;
    const int middle_pitch;

    __device__ LowRank(const Matrix<T>& outer, const Matrix<T>& inner_, const Block<Shape>& block)
        : inner(inner_, block.memory + block.plan.tiles, block.plan.kept),
          product(outer, block.memory + block.plan.tiles_outer, block.plan.kept_outer),
          middle(reinterpret_cast<T*>(block.memory + block.plan.middle)), middle_pitch(block.plan.middle_pitch) {
        for (int i = threadIdx.x; i < Shape::samples * middle_pitch; i += blockDim.x) middle[i] = T(0);
    }

    __device__ void prepare(const T* vectors, int pitch) const {
        for (int pass = 0; pass < inner.passes(); ++pass) {
            const T sum = inner(pass, vectors, pitch);
            const Place place = inner.place(pass);
            if (place.valid) middle[place.sample * middle_pitch + place.row] = sum;
        }
        __syncthreads();
    }

    __device__ __forceinline__ T operator()(int pass, const T*, int) const {
        return product(pass, middle, middle_pitch);
    }
};

// Calls launch(Shape) with the shape for so many units and samples.
template <class T, class Launch>
cudaError_t with_shape(int64_t batch, int64_t units, const Device& device, Launch launch) {
    if (units > INT_MAX / 64) return cudaErrorInvalidValue;
    using Narrow = Shape<float, 1, true>;
    if constexpr (sizeof(T) == 8) {
        return launch(Shape<T, 1, false>());
    } else if (units <= Narrow::tiles * tile_columns<T>) {
        return launch(Narrow());
    } else {
        // What does not fit the registers is read for all samples of a block at once.
        return batch <= device.processors ? launch(Shape<T, 1, false>()) : launch(Shape<T, 2, false>());
    }
}

}  // namespace dynlab
