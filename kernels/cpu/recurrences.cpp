// The CPU build of every recurrence, for one instruction set: compiled several times, DYNLAB_ISA names the namespace.
// Nothing here may be shared with the other builds, or the linker could pick a copy that this machine cannot run;
// so no standard library, and everything has internal linkage.

#include "table.h"

#include "antisymmetric.h"
#include "incremental.h"
#include "indrnn.h"
#include "unicornn.h"

#define DYNLAB_TEXT_(name) #name
#define DYNLAB_TEXT(name) DYNLAB_TEXT_(name)

namespace dynlab {
namespace DYNLAB_ISA {
namespace {

template <class Body>
void with_phi(int64_t phi, Body body) {
    if (phi == 0)
        body(Tanh());
    else if (phi == 1)
        body(Relu());
    else
        body(Sigmoid());
}

#include "loops.h"

#include "matrix.h"
#include "shears.h"
#include "units.h"

template <class T>
constexpr Functions<T> functions() {
    return {unicornn_forward<T>,      unicornn_backward<T>,      indrnn_forward<T>,
            indrnn_backward<T>,       antisymmetric_forward<T>,  antisymmetric_backward<T>,
            incremental_forward<T>,   incremental_backward<T>,   shear_products<T>,
            IncrementalScratch<T>::size};
}

}  // namespace

extern const Table table;
const Table table = {DYNLAB_TEXT(DYNLAB_ISA), functions<float>(), functions<double>()};

}  // namespace DYNLAB_ISA
}  // namespace dynlab
