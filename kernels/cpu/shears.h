// Products of 2x2 blocks, one a unit, for the adjoint sweeps. Included once per instruction set, in a namespace of
// its own.

template <class T>
void shear_products(const DynlabShears& a) {
    const Blocks blocks(a.batch, a.units);
    const int64_t row_size = a.units, time_size = a.batch * a.rows * a.units, channel = (a.steps + 1) * time_size;
    parallel(blocks.count(), [&](int64_t index) {
        const Block b = blocks[index];
        const T* __restrict const drift = static_cast<const T*>(a.drift) + b.unit;
        for (int64_t t = a.steps - 1; t >= 0; --t) {
            for (int64_t r = 0; r < b.rows; ++r) {
                const T* __restrict const kick = row<const T>(a.kick, t, b.row + r) + b.unit;
                for (int64_t i = 0; i < a.rows; ++i) {
                    T* __restrict const y = static_cast<T*>(a.products) + t * time_size +
                                            ((b.row + r) * a.rows + i) * row_size + b.unit;
                    T* __restrict const z = y + channel;
                    const T* __restrict const later_y = y + time_size;
                    const T* __restrict const later_z = z + time_size;
#pragma omp simd
                    for (int64_t j = 0; j < b.width; ++j) {
                        const T momentum = later_z[j] + later_y[j] * drift[j];
                        z[j] = momentum;
                        y[j] = later_y[j] - momentum * kick[j];
                    }
                }
            }
        }
    });
}
