// How the CPU build goes over samples and units. Included once per instruction set, in a namespace of its own.

// Number of columns (sample, unit) whose state a thread keeps in its first-level cache.
constexpr int64_t kBlock = 1024;
// Fewer columns than this are not worth a thread.
constexpr int64_t kLeastBlock = 64;
// How far ahead the input is fetched, in columns.
constexpr int64_t kAhead = 2048;

// While it lives, numbers below the normal range count as zero on this thread: vanishing gradients pass through that
// range, and there one operation takes as long as a hundred others.
class FlushToZero {
   public:
#if defined(__SSE2__)
    FlushToZero() : before_(__builtin_ia32_stmxcsr()) { __builtin_ia32_ldmxcsr(before_ | 0x8040); }
    ~FlushToZero() { __builtin_ia32_ldmxcsr(before_); }

   private:
    const unsigned before_;
#elif defined(__aarch64__)
    FlushToZero() {
        __asm__ volatile("mrs %0, fpcr" : "=r"(before_));
        __asm__ volatile("msr fpcr, %0" : : "r"(before_ | (uint64_t(1) << 24)));
    }
    ~FlushToZero() { __asm__ volatile("msr fpcr, %0" : : "r"(before_)); }

   private:
    uint64_t before_;
#else
    FlushToZero() {}
#endif
    FlushToZero(const FlushToZero&) = delete;
};

template <class Body>
void parallel(int64_t count, Body body) {
    const auto range = [](int64_t begin, int64_t end, void* context) {
        const FlushToZero flush;
        for (int64_t i = begin; i < end; ++i) (*static_cast<Body*>(context))(i);
    };
    if (count > 1 && runtime.parallel_for)
        runtime.parallel_for(0, count, 1, range, &body);
    else
        range(0, count, &body);
}

int64_t thread_count() {
    uint32_t count = 1;
    if (runtime.thread_count) runtime.thread_count(&count);
    return count;
}

// ``rows`` samples from ``row`` on, ``width`` units from ``unit`` on; rows * width <= kBlock.
struct Block {
    int64_t row, rows, unit, width;
};

// Columns are independent of each other: how they are cut does not change a bit of the result.
struct Blocks {
    int64_t batch, units, rows, width;

    Blocks(int64_t batch, int64_t units) : batch(batch), units(units) {
        const int64_t threads = thread_count(), most = (batch * units + threads - 1) / threads;
        const int64_t columns = most < kLeastBlock ? kLeastBlock : most > kBlock ? kBlock : most;
        width = units < columns ? units : columns;
        rows = columns / width;
    }
    int64_t across() const { return (units + width - 1) / width; }
    int64_t count() const { return (batch + rows - 1) / rows * across(); }
    Block operator[](int64_t i) const {
        Block b{i / across() * rows, rows, i % across() * width, width};
        if (b.row + b.rows > batch) b.rows = batch - b.row;
        if (b.unit + b.width > units) b.width = units - b.unit;
        return b;
    }
};

template <class T>
void copy(T* to, const T* from, int64_t count) {
#pragma omp simd
    for (int64_t j = 0; j < count; ++j) to[j] = from[j];
}

// Whether the rows of a block follow each other in memory in all of these sequences, so that they are one long row.
template <class... Sequences>
bool joined(const Blocks& blocks, const Sequences&... sequences) {
    return blocks.width == blocks.units && ((!sequences.data || sequences.batch == blocks.units) && ...);
}

// The numbers of units, once for each row of a block.
template <class T>
void tile(T* to, const void* from, const Block& b) {
    for (int64_t r = 0; r < b.rows; ++r) copy(to + r * b.width, static_cast<const T*>(from) + b.unit, b.width);
}

template <class T>
T* row(const DynlabSequence& s, int64_t t, int64_t b) {
    return static_cast<T*>(s.data) + t * s.time + b * s.batch;
}

// The first lines of what the next step reads: pages change at every step, which the hardware does not foresee.
template <class T>
void prefetch(const T* data, int64_t count) {
    for (int64_t j = 0; j < count; j += 64 / static_cast<int64_t>(sizeof(T))) __builtin_prefetch(data + j);
}

template <class T>
void add(T* to, const T* more, int64_t count) {
#pragma omp simd
    for (int64_t j = 0; j < count; ++j) to[j] += more[j];
}

template <class T>
void fill(T* to, T value, int64_t count) {
#pragma omp simd
    for (int64_t j = 0; j < count; ++j) to[j] = value;
}

template <class T>
void prefetch_to_write(T* data, int64_t count) {
    for (int64_t j = 0; j < count; j += 64 / static_cast<int64_t>(sizeof(T))) __builtin_prefetch(data + j, 1);
}

// Columns that a loop body takes at a time; a constant, so that the compiler unrolls.
struct Strip {
    static constexpr int64_t size = 64;
    constexpr operator int64_t() const { return size; }
};

// Goes over ``width`` columns in strips: body(begin, count).
template <class Body>
__attribute__((always_inline)) inline void strips(int64_t width, const Body& body) {
    int64_t begin = 0;
    for (; begin + Strip::size <= width; begin += Strip::size) body(begin, Strip());
    if (begin < width) body(begin, width - begin);
}
