// SPDX-License-Identifier: MIT
// Micro-benchmarks of the processor's kernels, one thread, at the shapes of tiny28 (dim 96), small32 (192) and ViT-B
// (768). Counters: FLOP/s (a multiply-add is two) for products, bytes/s read and written at least once for the rest.
#include <benchmark/benchmark.h>

#include <vector>

#include <data2vec/core/random.hpp>
#include <data2vec/device/cpu/all.hpp>

namespace {

using namespace data2vec;
using benchmark::State;
using Floats = std::vector<float>;

Floats numbers(std::size_t n) {
  Rng rng(DrawKey{.seed = 1});
  Floats v(n);
  for (float& x : v) x = 2 * rng.uniform() - 1;
  return v;
}
std::size_t product(auto... n) { return (static_cast<std::size_t>(n) * ...); }

void flops(State& state, double per_iteration) {
  state.counters["FLOP/s"] = benchmark::Counter(per_iteration, benchmark::Counter::kIsIterationInvariantRate);
}
void bytes(State& state, double per_iteration) {
  state.counters["B/s"] = benchmark::Counter(per_iteration, benchmark::Counter::kIsIterationInvariantRate);
}

enum Pass { forward, input_gradient, weight_gradient };

template <int In_, int Out_, Pass pass>
void linear(State& state) {
  Cpu cpu;
  const int rows = static_cast<int>(state.range(0));
  Floats x = numbers(product(rows, In_)), w = numbers(product(Out_, In_)), b = numbers(Out_);
  Floats y = numbers(product(rows, Out_));
  for (auto _ : state) {
    if constexpr (pass == forward) device::linear<In_, Out_>(cpu, rows, x.data(), w.data(), b.data(), y.data());
    if constexpr (pass == input_gradient)
      device::linear_input_gradient<In_, Out_>(cpu, rows, y.data(), w.data(), x.data());
    if constexpr (pass == weight_gradient)
      device::linear_weight_gradient<In_, Out_>(cpu, rows, y.data(), x.data(), w.data(), b.data());
    benchmark::ClobberMemory();
  }
  flops(state, 2.0 * rows * In_ * Out_);
}
#define LINEAR(in, out, ...)                                    \
  BENCHMARK(linear<in, out, forward>) __VA_ARGS__;              \
  BENCHMARK(linear<in, out, input_gradient>) __VA_ARGS__;       \
  BENCHMARK(linear<in, out, weight_gradient>) __VA_ARGS__
LINEAR(96, 288, ->Arg(10)->Arg(80)->Arg(400));
LINEAR(96, 384, ->Arg(80)->Arg(400));
LINEAR(384, 96, ->Arg(80)->Arg(400));
LINEAR(192, 768, ->Arg(320));
LINEAR(768, 2304, ->Arg(40)->Arg(640));
LINEAR(768, 3072, ->Arg(640));
LINEAR(3072, 768, ->Arg(640));

template <int H, int Dh, bool with_dropout, bool backward>
void attention(State& state) {
  Cpu cpu;
  const int rows = static_cast<int>(state.range(0)), S = static_cast<int>(state.range(1));
  const std::vector<std::uint32_t> ids(static_cast<std::size_t>(rows));
  AttentionExtras<float> extras;
  extras.dropout = {.seed = 1, .sample_ids = ids.data(), .rate = 0.1};
  const Floats qkv = numbers(product(rows, S, 3, H, Dh));
  Floats out(product(rows, S, H, Dh)), p(product(rows, H, S, S)), dqkv(qkv.size());
  device::attention<H, Dh, with_dropout>(cpu, rows, S, qkv.data(), extras, p.data(), out.data());
  for (auto _ : state) {
    if constexpr (backward)
      device::attention_backward<H, Dh, with_dropout>(cpu, rows, S, out.data(), qkv.data(), p.data(), extras,
                                                      dqkv.data(), nullptr);
    else device::attention<H, Dh, with_dropout>(cpu, rows, S, qkv.data(), extras, p.data(), out.data());
    benchmark::ClobberMemory();
  }
  flops(state, (backward ? 8.0 : 4.0) * rows * H * S * S * Dh);
}
BENCHMARK(attention<3, 32, false, false>)->Args({8, 10})->Args({8, 50});
BENCHMARK(attention<3, 32, false, true>)->Args({8, 10})->Args({8, 50});
BENCHMARK(attention<12, 64, false, false>)->Args({4, 40})->Args({1, 197});
BENCHMARK(attention<12, 64, false, true>)->Args({4, 40})->Args({1, 197});
BENCHMARK(attention<12, 64, true, false>)->Args({4, 40});
BENCHMARK(attention<12, 64, true, true>)->Args({4, 40});

template <ConvShape S, Pass pass>
void conv(State& state) {
  Cpu cpu;
  const int rows = static_cast<int>(state.range(0));
  const std::size_t pixels = product(rows, S.height, S.width);
  Floats x = numbers(pixels * S.in_channels), y = numbers(pixels * S.out_channels), b = numbers(S.out_channels);
  Floats w = numbers(product(S.out_channels, S.in_channels / S.groups, S.kernel_height, S.kernel_width));
  for (auto _ : state) {
    if constexpr (pass == forward) device::grouped_conv<S>(cpu, rows, x.data(), w.data(), b.data(), y.data());
    if constexpr (pass == input_gradient)
      device::grouped_conv_input_gradient<S>(cpu, rows, y.data(), w.data(), x.data());
    if constexpr (pass == weight_gradient)
      device::grouped_conv_weight_gradient<S>(cpu, rows, y.data(), x.data(), w.data(), b.data());
    benchmark::ClobberMemory();
  }
  flops(state, 2.0 * static_cast<double>(pixels) * static_cast<double>(w.size()));
}
constexpr ConvShape tiny28{96, 96, 8, 3, 3, 7, 7}, small32{192, 192, 8, 3, 3, 8, 8},
    vit_b{768, 768, 16, 3, 3, 14, 14}, speech{384, 384, 16, 1, 7, 1, 500};
#define CONV(shape, rows)                                \
  BENCHMARK(conv<shape, forward>)->Arg(rows);            \
  BENCHMARK(conv<shape, input_gradient>)->Arg(rows);     \
  BENCHMARK(conv<shape, weight_gradient>)->Arg(rows)
CONV(tiny28, 8);
CONV(small32, 8);
CONV(vit_b, 2);
CONV(speech, 1);

// n elements; `per_element` floats read or written for each of them.
template <class F>
void elementwise(State& state, double per_element, F f) {
  Cpu cpu;
  const auto n = static_cast<std::size_t>(state.range(0));
  const Floats x = numbers(n);
  Floats y(n), z(n), u(n);
  for (auto _ : state) {
    f(cpu, n, x.data(), y.data(), z.data(), u.data());
    benchmark::ClobberMemory();
  }
  bytes(state, static_cast<double>(n) * per_element * 4);
  state.SetItemsProcessed(state.iterations() * state.range(0));
}
#define ELEMENTWISE(name, per_element, ...)                                                                     \
  void name(State& state) {                                                                                     \
    elementwise(state, per_element, []([[maybe_unused]] Cpu& cpu, [[maybe_unused]] std::size_t n,               \
                                       [[maybe_unused]] const float* x, [[maybe_unused]] float* y,              \
                                       [[maybe_unused]] float* z, [[maybe_unused]] float* u) { __VA_ARGS__; }); \
  }                                                                                                             \
  BENCHMARK(name)->Arg(96 * 320)->Arg(768 * 6400)

constexpr std::uint32_t ids[8192] = {};
DropoutDraws draws() { return {.seed = 1, .sample_ids = ids, .rate = 0.1}; }
int rows_of(std::size_t n, int width) { return static_cast<int>(n) / width; }

ELEMENTWISE(gelu, 2, device::gelu(cpu, n, x, y));
ELEMENTWISE(gelu_backward, 3, device::gelu_backward(cpu, n, y, x, z));
ELEMENTWISE(dropout, 2, device::dropout(cpu, 1, static_cast<int>(n), draws(), x, y));
ELEMENTWISE(normal_noise, 1, device::normal_noise(cpu, 1, static_cast<int>(n), draws(), y));
ELEMENTWISE(add, 3, device::add(cpu, n, x, y, z));
ELEMENTWISE(adam, 7, device::adam(cpu, n, AdamStep{.step = 1e-3}, x, y, z, u));
ELEMENTWISE(moving_average, 3, device::moving_average(cpu, n, 0.999, x, y));
ELEMENTWISE(sum_of_squares, 1, benchmark::DoNotOptimize(device::sum_of_squares(cpu, n, x)));

template <int C>
void layer_norm(State& state) {
  elementwise(state, 2, [](Cpu& cpu, std::size_t n, const float* x, float* y, float* z, float*) {
    device::layer_norm<C>(cpu, rows_of(n, C), x, x, x, 1e-5, y, z);
  });
}
template <int C>
void layer_norm_backward(State& state) {
  elementwise(state, 3, [](Cpu& cpu, std::size_t n, const float* x, float* y, float* z, float* u) {
    float dgamma[C] = {}, dbeta[C] = {};
    device::layer_norm_backward<C>(cpu, rows_of(n, C), y, x, x, z, u, dgamma, dbeta);
    benchmark::DoNotOptimize(dgamma);
  });
}
template <int C>
void regression_loss(State& state) {
  std::vector<int> index(static_cast<std::size_t>(state.range(0)) / C);
  for (std::size_t i = 0; i < index.size(); ++i) index[i] = static_cast<int>(i);
  elementwise(state, 3, [&](Cpu& cpu, std::size_t n, const float* x, float* y, float* z, float*) {
    benchmark::DoNotOptimize(device::regression_loss<C>(cpu, rows_of(n, C), x, y, index.data(), 0, 1, z));
  });
}
template <int C>
void standardise(State& state) {
  elementwise(state, 2, [](Cpu& cpu, std::size_t n, const float*, float* y, float*, float*) {
    device::standardise_channels<C>(cpu, rows_of(n, C) / 40, 40, 1e-5, y);
  });
}
#define NORM(name)                                       \
  BENCHMARK(name<96>)->Arg(96 * 320)->Arg(96 * 51200);   \
  BENCHMARK(name<768>)->Arg(768 * 40)->Arg(768 * 6400)
NORM(layer_norm);
NORM(layer_norm_backward);
NORM(regression_loss);
NORM(standardise);

}  // namespace
