// A matrix times the vector of each sample of a block, again and again, with the matrix kept on the chip.
//
// Eight lanes share a few rows: each multiplies its columns of them with the vectors in shared memory, and an
// exchange adds up the lanes' parts and leaves each lane with one result. So much of the matrix as fits is kept in
// registers, then in shared memory; the rest is read every time.
#pragma once

#include "launch.cuh"

namespace dynlab {

constexpr int lanes = 8;  // that share rows, and results they have together

// How a kernel is compiled. ``narrow``: for so few units that the registers hold the whole matrix.
template <class T, int samples_, bool narrow_>
struct Shape {
    using Real = T;
    static constexpr int samples = samples_, rows = lanes / samples;
    static constexpr bool narrow = narrow_;
    static constexpr int warp_rows = 32 / lanes * rows;
    static constexpr int threads = narrow ? 128 : 256;  // at most
    static constexpr int blocks = narrow ? 2 : 1;       // a multiprocessor: one computes while the other waits
    static constexpr int tiles = 4 * samples * 4 / static_cast<int>(sizeof(T));  // in registers
};

// What one access of a thread to shared memory moves.
template <class T>
struct alignas(16) Pack {
    static constexpr int size = 16 / static_cast<int>(sizeof(T));
    T at[size];
};

// Columns of a tile.
template <class T>
constexpr int tile_columns = lanes * Pack<T>::size;

// Any matrix or, with the strides exchanged, its transpose; 0 beyond its edges.
template <class T>
struct Matrix {
    const T* data;
    int rows, columns;
    int64_t down, right;

    __device__ T at(int row, int column) const {
        return row < rows && column < columns ? data[row * down + column * right] : T(0);
    }
};

// From (height, width) in memory.
template <class T>
__device__ Matrix<T> matrix(const void* data, int64_t height, int64_t width, bool transposed) {
    const int rows = static_cast<int>(height), columns = static_cast<int>(width);
    if (transposed) return {static_cast<const T*>(data), columns, rows, 1, width};
    return {static_cast<const T*>(data), rows, columns, width, 1};
}

// Where the result of a thread belongs.
struct Place {
    int sample;  // of the block's
    int row;
    bool valid;
};

// How a block of ``threads`` takes a matrix to pieces: passes from top to bottom, tiles from left to right.
template <class Shape>
struct Tiling {
    using T = typename Shape::Real;
    static constexpr size_t thread_bytes = Shape::rows * sizeof(Pack<T>);  // of a tile, a thread's part
    int passes, tiles;

    __host__ __device__ Tiling(int height, int width, int threads)
        : passes(in_parts(height, threads / lanes * Shape::rows)), tiles(in_parts(width, tile_columns<T>)) {}

    // Those that registers do not hold.
    __host__ __device__ int others(int in_registers) const { return passes * tiles - at_most(tiles, in_registers); }
};

template <class Shape, int in_registers = Shape::tiles>
class Product {
   public:
    using T = typename Shape::Real;
    static constexpr int samples = Shape::samples, rows = Shape::rows, size = Pack<T>::size;

    // ``kept`` of the other tiles go to ``memory``.
    __device__ Product(const Matrix<T>& matrix, unsigned char* memory, int kept)
        : matrix_(matrix), memory_(reinterpret_cast<Pack<T>*>(memory)), kept_(kept),
          tiling_(matrix.rows, matrix.columns, blockDim.x) {
        // Neighbouring lanes have the same columns, so that one access to shared memory serves both.
        const int lane = threadIdx.x % 32;
        lane_ = lane / 2 % lanes;
        group_ = threadIdx.x / 32 * 4 + lane / 16 * 2 + lane % 2;
        // Column by column: the first tiles into registers, ``kept`` others into shared memory.
#pragma unroll 1
        for (int n = 0; n < (in_registers + kept_) * size; ++n) {
            const int other_tile = n / size - in_registers;
            const int number = other_tile < 0 ? n / size : other_tile + at_most(tiling_.tiles, in_registers);
            const int pass = other_tile < 0 ? 0 : number / tiling_.tiles;
#pragma unroll
            for (int r = 0; r < rows; ++r) {
                const T weight = at(pass, number - pass * tiling_.tiles, r, n % size);
                if (other_tile >= 0) {
                    other(other_tile, r).at[n % size] = weight;
                } else {
                    push(r, weight);
                }
            }
        }
    }

    __device__ int passes() const { return Shape::narrow ? 1 : tiling_.passes; }

    __device__ Place place(int pass) const {
        const int row = first_row(pass, group_) + lane_ % rows;
        return {samples == 1 ? 0 : lane_ / rows, row, row < matrix_.rows};
    }

    // This thread's result. ``vectors``: ``pitch`` apart, with zeros from their ends to the end of the last tile, and
    // of the last one in registers.
    __device__ __forceinline__ T operator()(int pass, const T* vectors, int pitch) const {
        if (first_row(pass, group_ / 4 * 4) >= matrix_.rows) return T(0);  // the whole warp
        T all[lanes] = {};
        if (pass == 0) {
#pragma unroll
            for (int i = 0; i < in_registers; ++i) add(held_[i], vectors, pitch, i, all);
        }
        if constexpr (!Shape::narrow) {
            Pack<T> tile[rows];
            int i = pass == 0 ? in_registers : 0;
            int n = pass * tiling_.tiles + i - at_most(tiling_.tiles, in_registers);
#pragma unroll 1
            for (; i < tiling_.tiles && n < kept_; ++i, ++n) {
#pragma unroll
                for (int r = 0; r < rows; ++r) tile[r] = other(n, r);
                add(tile, vectors, pitch, i, all);
            }
#pragma unroll 1
            for (; i < tiling_.tiles; ++i) {
#pragma unroll
                for (int r = 0; r < rows; ++r) {
#pragma unroll
                    for (int j = 0; j < size; ++j) tile[r].at[j] = at(pass, i, r, j);
                }
                add(tile, vectors, pitch, i, all);
            }
        }
        return gathered<lanes>(all);
    }

   private:
    const Matrix<T> matrix_;
    Pack<T>* const memory_;
    const int kept_;
    const Tiling<Shape> tiling_;
    int lane_, group_;
    Pack<T> held_[in_registers][rows] = {};

    __device__ int first_row(int pass, int group) const {
        return (pass * static_cast<int>(blockDim.x / lanes) + group) * rows;
    }

    __device__ Pack<T>& other(int n, int r) const { return memory_[(n * rows + r) * blockDim.x + threadIdx.x]; }

    __device__ T at(int pass, int tile, int r, int i) const {
        return matrix_.at(first_row(pass, group_) + r, (tile * lanes + lane_) * size + i);
    }

    // Registers have no addresses: each weight pushes those before it on.
    __device__ __forceinline__ void push(int r, T weight) {
#pragma unroll
        for (int i = 1; i < in_registers * size; ++i) {
            held_[(i - 1) / size][r].at[(i - 1) % size] = held_[i / size][r].at[i % size];
        }
        held_[in_registers - 1][r].at[size - 1] = weight;
    }

    // all[s * rows + r]: this lane's part of row r of sample s.
    __device__ __forceinline__ void add(const Pack<T> (&weights)[rows], const T* vectors, int pitch, int tile,
                                        T (&all)[lanes]) const {
#pragma unroll
        for (int s = 0; s < samples; ++s) {
            const T* vector = vectors + s * pitch + (tile * lanes + lane_) * size;
            const auto x = *reinterpret_cast<const Pack<T>*>(vector);
#pragma unroll
            for (int i = 0; i < size; ++i) {
#pragma unroll
                for (int r = 0; r < rows; ++r) all[s * rows + r] += weights[r].at[i] * x.at[i];
            }
        }
    }

    // The sum over the lanes of the one that is this lane's: with each exchange, a lane sends the half that the other
    // one goes on with and adds what it gets to its own half.
    template <int count>
    __device__ __forceinline__ static T gathered(T (&all)[lanes]) {
        if constexpr (count == 1) {
            return all[0];
        } else {
            constexpr int half = count / 2;
            const bool upper = threadIdx.x & count;  // lane_ & half
#pragma unroll
            for (int i = 0; i < half; ++i) {
                const T mine = upper ? all[i + half] : all[i], others = upper ? all[i] : all[i + half];
                all[i] = mine + __shfl_xor_sync(0xffffffff, others, count);
            }
            return gathered<half>(all);
        }
    }
};

}  // namespace dynlab
