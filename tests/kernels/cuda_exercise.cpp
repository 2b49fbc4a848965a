// Runs every CUDA recurrence under cuda_on_cpu.h, for the sanitizers: buffers of exactly the size that the interface
// names, and each call twice, with the threads in opposite order, which must not change a bit.
#include <cmath>
#include <random>
#include <string>
#include <utility>

#include "recurrences.cu"

namespace {

std::mt19937 generator(1);

template <class T>
std::vector<T> drawn(int64_t size) {
    std::vector<T> values(size);
    for (T& value : values) value = std::uniform_real_distribution<T>(T(-0.5), T(0.5))(generator);
    return values;
}

template <class T>
struct Run {
    int64_t batch;

    std::vector<T> out(int64_t size) const { return std::vector<T>(size, T(NAN)); }
    DynlabSequence whole(std::vector<T>& values, int64_t columns) const {
        return {values.data(), batch * columns, columns};
    }

    template <class Arguments>
    void twice(const char* name, int (*entry)(const Arguments*, void*), const Arguments& arguments,
               std::vector<std::vector<T>*> outputs) {
        std::vector<std::vector<T>> first;
        for (int turn = 0; turn < 2; ++turn) {
            for (auto* output : outputs) std::fill(output->begin(), output->end(), T(NAN));
            emulated::device.launches = turn;
            const int error = entry(&arguments, nullptr);
            if (error) emulated::fail((std::string(name) + " failed").c_str());
            for (auto* output : outputs) {
                for (T value : *output) {
                    if (!std::isfinite(value)) emulated::fail((std::string(name) + ": not all was written").c_str());
                }
            }
            if (turn == 0) {
                for (auto* output : outputs) first.push_back(*output);
                continue;
            }
            for (size_t i = 0; i < outputs.size(); ++i) {
                if (*outputs[i] != first[i]) emulated::fail((std::string(name) + ": depends on the order").c_str());
            }
        }
    }
};

#define ENTRY(recurrence, direction)                                                    \
    (sizeof(T) == 4 ? dynlab_cuda_##recurrence##_##direction##_f32 : dynlab_cuda_##recurrence##_##direction##_f64)

template <class T>
void units(int64_t T_, int64_t B, int64_t D) {
    Run<T> run{B};
    const int64_t N = T_ * B * D;
    auto x = drawn<T>(N), w = drawn<T>(D), h = drawn<T>(D), state = drawn<T>(2 * B * D), grad = drawn<T>(N);
    auto last = run.out(2 * B * D), y = run.out(N), z = run.out(N), grad_x = run.out(N);
    auto grad_state = run.out(2 * B * D), grad_w = run.out(B * D), grad_h = run.out(B * D);
    auto adjoint = run.out((T_ + 1) * B * 2 * D);
    for (bool stored : {true, false}) {
        DynlabUnicornn a{};
        a.steps = T_, a.batch = B, a.units = D, a.alpha = 0.9;
        a.w = w.data(), a.h = h.data(), a.state = state.data(), a.last = last.data();
        a.x = run.whole(x, D), a.y = run.whole(y, D), a.z = run.whole(z, D);
        run.twice("unicornn forward", ENTRY(unicornn, forward), a, {&last, &y, &z});
        if (!stored) a.y.data = nullptr;
        a.grad_y = run.whole(grad, D), a.grad_last = state.data(), a.grad_x = run.whole(grad_x, D);
        a.grad_w = grad_w.data(), a.grad_h = grad_h.data(), a.grad_state = grad_state.data();
        a.adjoint = run.whole(adjoint, 2 * D);
        run.twice("unicornn backward", ENTRY(unicornn, backward), a,
                  {&grad_x, &grad_w, &grad_h, &grad_state, &adjoint});
    }
    auto rest = run.out(B * D), final = run.out(B * D), small = run.out((T_ + 1) * B * D);
    for (int64_t phi = 0; phi < 3; ++phi) {
        DynlabIndrnn a{};
        a.steps = T_, a.batch = B, a.units = D, a.phi = phi;
        a.u = w.data(), a.state = state.data(), a.last = final.data(), a.x = run.whole(x, D), a.h = run.whole(y, D);
        run.twice("indrnn forward", ENTRY(indrnn, forward), a, {&final, &y});
        a.grad_h = run.whole(grad, D), a.grad_x = run.whole(grad_x, D), a.grad_u = grad_w.data();
        a.grad_state = rest.data(), a.adjoint = run.whole(small, D);
        run.twice("indrnn backward", ENTRY(indrnn, backward), a, {&grad_x, &grad_w, &rest, &small});
    }
}

template <class T>
void antisymmetric(int64_t T_, int64_t B, int64_t D, bool gated) {
    Run<T> run{B};
    const int64_t W = gated ? 2 * D : D, N = T_ * B;
    auto x = drawn<T>(N * W), matrix = drawn<T>(D * D), state = drawn<T>(B * D), grad = drawn<T>(N * D);
    auto last = run.out(B * D), h = run.out(N * D), pre = run.out(N * W), grad_x = run.out(N * W);
    auto delta = run.out(N * D), grad_state = run.out(B * D), adjoint = run.out((T_ + 1) * B * D);
    DynlabAntisymmetric a{};
    a.steps = T_, a.batch = B, a.units = D, a.gated = gated, a.epsilon = 0.3;
    a.matrix = matrix.data(), a.state = state.data(), a.last = last.data();
    a.x = run.whole(x, W), a.h = run.whole(h, D), a.pre = run.whole(pre, W);
    run.twice("antisymmetric forward", ENTRY(antisymmetric, forward), a, {&last, &h, &pre});
    a.grad_h = run.whole(grad, D), a.grad_last = state.data(), a.grad_x = run.whole(grad_x, W);
    a.delta = run.whole(delta, D), a.grad_state = grad_state.data(), a.adjoint = run.whole(adjoint, D);
    run.twice("antisymmetric backward", ENTRY(antisymmetric, backward), a, {&grad_x, &delta, &grad_state, &adjoint});
}

template <class T>
void incremental(int64_t T_, int64_t B, int64_t D, int64_t K, int64_t R) {
    Run<T> run{B};
    const int64_t N = T_ * B * D;
    auto x = drawn<T>(N), weight = drawn<T>(R ? 0 : D * D), left = drawn<T>(D * R), right = drawn<T>(R * D);
    auto eta = drawn<T>(T_ * K), state = drawn<T>(B * D), grad = drawn<T>(N), last = run.out(B * D), h = run.out(N);
    auto pre = run.out(N * K), grad_x = run.out(N), delta = run.out(N * K), sums = run.out(N * K);
    auto grad_eta = run.out(B * T_ * K), grad_state = run.out(B * D), adjoint = run.out((T_ + 1) * B * D);
    DynlabIncremental a{};
    a.steps = T_, a.batch = B, a.units = D, a.inner = K, a.rank = R;
    a.phi = K % 3, a.sign = R ? 1 : -1, a.zero = R != 0;
    a.alpha = 0.8, a.weight = weight.data(), a.left = left.data(), a.right = right.data(), a.eta = eta.data();
    a.eta_time = K, a.state = state.data(), a.last = last.data();
    a.x = run.whole(x, D), a.h = run.whole(h, D), a.pre = pre.data();
    run.twice("incremental forward", ENTRY(incremental, forward), a, {&last, &h, &pre});
    a.grad_h = run.whole(grad, D), a.grad_last = state.data(), a.grad_x = run.whole(grad_x, D), a.delta = delta.data();
    a.sums = sums.data(), a.grad_eta = grad_eta.data(), a.grad_state = grad_state.data();
    a.adjoint = run.whole(adjoint, D);
    run.twice("incremental backward", ENTRY(incremental, backward), a,
              {&grad_x, &delta, &sums, &grad_eta, &grad_state, &adjoint});
}

template <class T>
void all(int64_t T_, int64_t B, int64_t D) {
    units<T>(T_, B, D);
    for (bool gated : {false, true}) antisymmetric<T>(T_, B, D, gated);
    incremental<T>(T_, B, D, 1, 0);
    incremental<T>(T_, B, D, 3, 0);
    incremental<T>(T_, B, D, 2, 5);
}

}  // namespace

int main() {
    emulated_device(3, 227 * 1024);
    all<float>(5, 2, 33);
    all<double>(5, 2, 33);
    all<float>(3, 2, 140);
    emulated_device(1, 40 * 1024);  // weights do not fit, and two samples share a block
    all<float>(3, 3, 140);
    all<double>(1, 2, 130);
    all<float>(9, 1, 1);
}
