// SPDX-License-Identifier: MIT
// Layer norm and standardisation of channels on the GPU: a warp per row, whose values stay in registers.
#pragma once

#include <data2vec/device/cuda/columns.cuh>
#include <data2vec/device/cuda/element.cuh>
#include <data2vec/device/cuda/gelu_half.cuh>
#include <data2vec/device/norm.hpp>

namespace data2vec::inline v0 {

namespace detail::gpu {

/// How the C channels of a row lie in a warp: `steps` packs of `n` per lane, 32 n channels apart.
template <int C, class T>
struct RowShape {
  static constexpr int n = C % 256 == 0 && sizeof(T) == 2 ? 8 : C % 4 == 0 ? 4 : 1, steps = (C + 32 * n - 1) / (32 * n);
  static constexpr bool whole = C % (32 * n) == 0;
  static_assert(steps * n <= 96, "data2vec: the device's layer norm holds a row of at most 3072 channels in registers");
  D2V_HD static constexpr int channel(int step, int lane) { return (step * 32 + lane) * n; }
  D2V_HD static constexpr bool inside(int step, int lane) { return whole || channel(step, lane) < C; }
};

/// The row's values in this lane, zeros outside of it.
template <int C, class T>
__device__ void load_row(const T* row, float (&x)[RowShape<C, T>::steps][RowShape<C, T>::n]) {
  using S = RowShape<C, T>;
  const int lane = static_cast<int>(threadIdx.x) % 32;
#pragma unroll
  for (int s = 0; s < S::steps; ++s) {
    if (S::inside(s, lane)) {
      load<S::n>(row + S::channel(s, lane), x[s]);
    } else {
#pragma unroll
      for (int k = 0; k < S::n; ++k) x[s][k] = 0;
    }
  }
}

template <int C, class T>
__device__ void store_row(T* row, const float (&x)[RowShape<C, T>::steps][RowShape<C, T>::n]) {
  using S = RowShape<C, T>;
  const int lane = static_cast<int>(threadIdx.x) % 32;
#pragma unroll
  for (int s = 0; s < S::steps; ++s)
    if (S::inside(s, lane)) store<S::n>(row + S::channel(s, lane), x[s]);
}

/// y = f(normed, channel) of a row whose values are in registers; its mean and 1 / deviation to `stats`.
template <int C, class T, class F>
__device__ void norm_values(const float (&x)[RowShape<C, T>::steps][RowShape<C, T>::n], float eps, float* stats, T* y,
                            F f) {
  using S = RowShape<C, T>;
  const int lane = static_cast<int>(threadIdx.x) % 32;
  float sum = 0, squares = 0;
#pragma unroll
  for (int s = 0; s < S::steps; ++s)
#pragma unroll
    for (int k = 0; k < S::n; ++k) sum += x[s][k];
  const float mean = warp_sum(sum) / C;
#pragma unroll
  for (int s = 0; s < S::steps; ++s)
#pragma unroll
    for (int k = 0; k < S::n; ++k)
      if (S::inside(s, lane)) squares = fmaf(x[s][k] - mean, x[s][k] - mean, squares);
  const float scale = 1 / sqrtf(warp_sum(squares) / C + eps);
  if (stats && lane == 0) {
    stats[0] = mean;
    stats[1] = scale;
  }
#pragma unroll
  for (int s = 0; s < S::steps; ++s)
    if (S::inside(s, lane)) {
      float out[S::n];
#pragma unroll
      for (int k = 0; k < S::n; ++k) out[k] = f((x[s][k] - mean) * scale, S::channel(s, lane) + k);
      store<S::n>(y + S::channel(s, lane), out);
    }
}

/// The same of a row in memory.
template <int C, class T, class F>
__device__ void norm_row(const T* row, float eps, float* stats, T* y, F f) {
  float x[RowShape<C, T>::steps][RowShape<C, T>::n];
  load_row<C>(row, x);
  norm_values<C>(x, eps, stats, y, f);
}

struct NoSums {
  __device__ void operator()(int, int, float, float) const {}
};
/// dx of a row, g = f(dy, normed, channel) being the gradient of the normed values; each(step, k, dy, normed) sees them.
template <int C, class T, class F, class Each = NoSums>
__device__ void norm_row_gradient(const T* dy, const T* row, const float* stats, T* dx, F f, Each each = {}) {
  using S = RowShape<C, T>;
  const int lane = static_cast<int>(threadIdx.x) % 32;
  const float mean = stats[0], scale = stats[1];
  float g[S::steps][S::n], u[S::steps][S::n];
  load_row<C>(dy, g);
  load_row<C>(row, u);
  float sum = 0, product = 0;
#pragma unroll
  for (int s = 0; s < S::steps; ++s)
#pragma unroll
    for (int k = 0; k < S::n; ++k)
      if (S::inside(s, lane)) {
        u[s][k] = (u[s][k] - mean) * scale;
        each(s, k, g[s][k], u[s][k]);
        g[s][k] = f(g[s][k], u[s][k], S::channel(s, lane) + k);
        sum += g[s][k];
        product = fmaf(g[s][k], u[s][k], product);
      }
  const float mean_g = warp_sum(sum) / C, mean_gu = warp_sum(product) / C;
#pragma unroll
  for (int s = 0; s < S::steps; ++s)
    if (S::inside(s, lane)) {
      float out[S::n];
#pragma unroll
      for (int k = 0; k < S::n; ++k) out[k] = norm_gradient(g[s][k], u[s][k], scale, mean_g, mean_gu);
      store<S::n>(dx + S::channel(s, lane), out);
    }
}

__device__ inline int warp_row() { return static_cast<int>(blockIdx.x) * 4 + static_cast<int>(threadIdx.x) / 32; }

template <int C, class T>
__global__ void __launch_bounds__(128)
    layer_norm_rows(int rows, const T* x, const T* gamma, const T* beta, float eps, T* y, float* stats) {
  const int row = warp_row();
  if (row >= rows) return;
  const std::size_t at = static_cast<std::size_t>(row) * C;
  norm_row<C>(x + at, eps, stats ? stats + 2 * row : nullptr, y + at,
              [=](float u, int c) { return gamma ? fmaf(u, to_float(gamma[c]), to_float(beta[c])) : u; });
}

template <int C, class T>
__global__ void __launch_bounds__(128) add_layer_norm_rows(int rows, const T* a, const T* b, const T* gamma,
                                                           const T* beta, float eps, T* sum, T* y, float* stats) {
  using S = RowShape<C, T>;
  const int row = warp_row();
  if (row >= rows) return;
  const std::size_t at = static_cast<std::size_t>(row) * C;
  float x[S::steps][S::n], other[S::steps][S::n];
  load_row<C>(a + at, x);
  load_row<C>(b + at, other);
#pragma unroll
  for (int s = 0; s < S::steps; ++s)
#pragma unroll
    for (int k = 0; k < S::n; ++k) x[s][k] = to_float(from_float<T>(x[s][k] + other[s][k]));  // as it is stored
  store_row<C>(sum + at, x);
  norm_values<C>(x, eps, stats ? stats + 2 * row : nullptr, y + at,
                 [=](float u, int c) { return gamma ? fmaf(u, to_float(gamma[c]), to_float(beta[c])) : u; });
}

template <int C, class T>
__global__ void __launch_bounds__(128)
    layer_norm_gradient_rows(int rows, const T* dy, const T* x, const T* gamma, const float* stats, T* dx) {
  const int row = warp_row();
  if (row >= rows) return;
  const std::size_t at = static_cast<std::size_t>(row) * C;
  norm_row_gradient<C>(dy + at, x + at, stats + 2 * row, dx + at,
                       [=](float g, float, int c) { return gamma ? g * to_float(gamma[c]) : g; });
}

/// The same for a chunk of the rows, whose sums of dy u and dy, the gradients of gamma and beta, go to partial (chunks,
/// 2, C). Grid: chunks.
template <int C, class T>
__global__ void __launch_bounds__(128) layer_norm_gradient_chunk(int rows, int chunk_rows, const T* dy, const T* x,
                                                                 const T* gamma, const float* stats, T* dx,
                                                                 float* partial) {
  using S = RowShape<C, T>;
  static __shared__ float part[4][C];
  const int warp = static_cast<int>(threadIdx.x) / 32, lane = static_cast<int>(threadIdx.x) % 32;
  const int first = static_cast<int>(blockIdx.x) * chunk_rows, end = min(rows, first + chunk_rows);
  float sums[2][S::steps][S::n] = {};
  for (int row = first + warp; row < end; row += 4) {
    const std::size_t at = static_cast<std::size_t>(row) * C;
    norm_row_gradient<C>(
        dy + at, x + at, stats + 2 * row, dx + at, [=](float g, float, int c) { return g * to_float(gamma[c]); },
        [&](int s, int k, float g, float u) {
          sums[0][s][k] = fmaf(g, u, sums[0][s][k]);
          sums[1][s][k] += g;
        });
  }
#pragma unroll
  for (int i = 0; i < 2; ++i) {
    if (i > 0) __syncthreads();
#pragma unroll
    for (int s = 0; s < S::steps; ++s)
#pragma unroll
      for (int k = 0; k < S::n; ++k)
        if (S::inside(s, lane)) part[warp][S::channel(s, lane) + k] = sums[i][s][k];
    __syncthreads();
    for (int c = static_cast<int>(threadIdx.x); c < C; c += 128)
      partial[(static_cast<std::size_t>(blockIdx.x) * 2 + i) * C + c] =
          (part[0][c] + part[1][c]) + (part[2][c] + part[3][c]);
  }
}

template <int C, class T>
__global__ void __launch_bounds__(128)
    norm_gelu_rows(int rows, const T* x, float eps, const T* residual, T* y, float* stats) {
  const int row = warp_row();
  if (row >= rows) return;
  const std::size_t at = static_cast<std::size_t>(row) * C;
  norm_row<C>(x + at, eps, stats ? stats + 2 * row : nullptr, y + at,
              [=](float u, int c) { return residual ? gelu_of<T>(u) + to_float(residual[at + c]) : gelu_of<T>(u); });
}

template <int C, class T>
__global__ void __launch_bounds__(128)
    norm_gelu_gradient_rows(int rows, const T* dy, const T* x, const float* stats, T* dx) {
  const int row = warp_row();
  if (row >= rows) return;
  const std::size_t at = static_cast<std::size_t>(row) * C;
  norm_row_gradient<C>(dy + at, x + at, stats + 2 * row, dx + at,
                       [](float g, float u, int) { return g * gelu_derivative_of<T>(u); });
}

/// Gradients of gamma (dy u) and beta (dy).
template <class T>
struct NormSums {
  const T *dy, *x;
  const float* stats;
  int columns;
  __device__ void operator()(int row, int column, float* sum) const {
    const std::size_t at = static_cast<std::size_t>(row) * columns + column;
    const float g = to_float(dy[at]), u = (to_float(x[at]) - stats[2 * row]) * stats[2 * row + 1];
    sum[0] = fmaf(g, u, sum[0]);
    sum[1] += g;
  }
};

/// 32 channels of a group, 8 row lanes: mean, deviation, and the values anew. Sums in double, as on the CPU.
template <int C, class T>
__global__ void __launch_bounds__(256) standardise_group(int rows, double eps, T* x) {
  static __shared__ double part[8][32];
  const int lane = static_cast<int>(threadIdx.x), y = static_cast<int>(threadIdx.y);
  const int c = static_cast<int>(blockIdx.x) * 32 + lane;
  T* const from = x + static_cast<std::size_t>(blockIdx.y) * rows * C + c;
  const auto total = [&](double sum) {
    part[y][lane] = sum;
    __syncthreads();
    double all = 0;
    for (int k = 0; k < 8; ++k) all += part[k][lane];
    __syncthreads();
    return all;
  };
  const auto each = [&](auto f) {
    if (c < C)
      for (int r = y; r < rows; r += 8) f(from[static_cast<std::size_t>(r) * C]);
  };
  double sum = 0, squares = 0;
  each([&](const T& v) { sum += static_cast<double>(to_float(v)); });
  const double mean = total(sum) / rows;
  each([&](const T& v) {
    const double u = static_cast<double>(to_float(v)) - mean;
    squares += u * u;
  });
  const auto centre = static_cast<float>(mean), scale = static_cast<float>(1 / sqrt(total(squares) / rows + eps));
  each([&](T& v) { put(v, (to_float(v) - centre) * scale); });
}

}  // namespace detail::gpu

template <Precision P>
struct kernel::Norm<BasicCuda<P>> {
  using D = BasicCuda<P>;

  template <int C, class T>
  static void layer_norm(D& d, int rows, const T* x, const T* gamma, const T* beta, double eps, T* y, T* stats) {
    d.launch("layer_norm", blocks(rows), 128, 0, &detail::gpu::layer_norm_rows<C, T>, rows, x, gamma, beta,
             static_cast<float>(eps), y, detail::gpu::numbers(stats));
  }

  template <int C, class T>
  static void add_layer_norm(D& d, int rows, const T* a, const T* b, const T* gamma, const T* beta, double eps, T* sum,
                             T* y, T* stats) {
    d.launch("add_layer_norm", blocks(rows), 128, 0, &detail::gpu::add_layer_norm_rows<C, T>, rows, a, b, gamma, beta,
             static_cast<float>(eps), sum, y, detail::gpu::numbers(stats));
  }

  template <int C, class T>
  static void layer_norm_backward(D& d, int rows, const T* dy, const T* x, const T* gamma, const T* stats, T* dx,
                                  T* dgamma, T* dbeta) {
    constexpr const char* name = "layer_norm_backward";
    const float* const numbers = detail::gpu::numbers(stats);
    detail::gpu::AddChunks<2, float, T> add{nullptr, 0, C, {dgamma, dbeta}};
    if constexpr (detail::gpu::RowShape<C, T>::steps * detail::gpu::RowShape<C, T>::n <= 32) {
      if (dgamma && rows > 0) {
        const detail::gpu::ColumnPlan plan(rows);
        auto* const partial = d.template scratch<float>(name, static_cast<std::size_t>(plan.chunks) * 2 * C);
        d.launch(name, static_cast<unsigned>(plan.chunks), 128, 0, &detail::gpu::layer_norm_gradient_chunk<C, T>, rows,
                 plan.chunk_rows, dy, x, gamma, numbers, dx, partial);
        add.partial = partial;
        add.chunks = plan.chunks;
        return detail::gpu::run_add_chunks(d, name, add);
      }
    }
    // Sums first: dx may take the place of dy.
    if (dgamma)
      detail::gpu::column_sums<2, float>(d, name, rows, C, detail::gpu::NormSums<T>{dy, x, numbers, C}, add);
    d.launch(name, blocks(rows), 128, 0, &detail::gpu::layer_norm_gradient_rows<C, T>, rows, dy, x, gamma, numbers, dx);
  }

  template <int C, class T>
  static void norm_gelu(D& d, int rows, const T* x, double eps, const T* residual, T* y, T* stats) {
    d.launch("norm_gelu", blocks(rows), 128, 0, &detail::gpu::norm_gelu_rows<C, T>, rows, x, static_cast<float>(eps),
             residual, y, detail::gpu::numbers(stats));
  }

  template <int C, class T>
  static void norm_gelu_backward(D& d, int rows, const T* dy, const T* x, const T* stats, T* dx) {
    d.launch("norm_gelu_backward", blocks(rows), 128, 0, &detail::gpu::norm_gelu_gradient_rows<C, T>, rows, dy, x,
             detail::gpu::numbers(stats), dx);
  }

  template <int C, class T>
  static void standardise_channels(D& d, int groups, int rows, double eps, T* x) {
    d.launch("standardise_channels", dim3((C + 31) / 32, static_cast<unsigned>(groups)), dim3(32, 8), 0,
             &detail::gpu::standardise_group<C, T>, rows, eps, x);
  }

 private:
  static unsigned blocks(int rows) { return static_cast<unsigned>((rows + 3) / 4); }
};

}  // namespace data2vec::inline v0
