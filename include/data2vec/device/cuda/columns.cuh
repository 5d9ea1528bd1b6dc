// SPDX-License-Identifier: MIT
// Sums over the rows of an array, column by column: bias gradients, gradients of norms, moments of channels. Rows are
// cut into chunks by their number alone; chunks are added in order, so the bits are those of every run and device.
#pragma once

#include <type_traits>

#include <data2vec/device/cuda/cuda.cuh>
#include <data2vec/device/cuda/element.cuh>
#include <data2vec/device/cuda/tiles.hpp>

namespace data2vec::inline v0::detail::gpu {

/// partial (chunks, sums, columns): block (column tile, chunk), 32 lanes of n columns x 8 row lanes. f(row, column,
/// sums) adds to sums[s n + k] what belongs to sum s of column + k.
template <int sums, int n, class A, class F>
__global__ void __launch_bounds__(256) column_chunks(int rows, int columns, int chunk_rows, F f, A* partial) {
  static __shared__ A part[sums * n][8][32];
  const int x = static_cast<int>(threadIdx.x), y = static_cast<int>(threadIdx.y);
  const int column = (static_cast<int>(blockIdx.x) * 32 + x) * n, first = static_cast<int>(blockIdx.y) * chunk_rows;
  const int end = min(rows, first + chunk_rows);
  A sum[sums * n] = {};
  if (column < columns)
    for (int r = first + y; r < end; r += 8) f(r, column, sum);
#pragma unroll
  for (int i = 0; i < sums * n; ++i) part[i][y][x] = sum[i];
  __syncthreads();
  if (column < columns)
    for (int i = y; i < sums * n; i += 8) {
      A total = part[i][0][x];
      for (int k = 1; k < 8; ++k) total += part[i][k][x];
      partial[(static_cast<std::size_t>(blockIdx.y) * sums + i / n) * columns + column + i % n] = total;
    }
}

/// to[s][c] += sum over chunks.
template <int sums, class A, class T>
struct AddChunks {
  const A* partial;
  int chunks, columns;
  T* to[sums];
  __device__ void operator()(std::size_t i) const {
    const Divided place = divide(i, columns);
    const int s = static_cast<int>(place.quotient), c = place.rest;
    A total = 0;
    for (int k = 0; k < chunks; ++k) total += partial[(static_cast<std::size_t>(k) * sums + s) * columns + c];
    put_total(s, c, total);
  }
  __device__ void put_total(int s, int c, A total) const {
    T* const target = to[s] + c;
    if constexpr (std::is_same_v<A, T>)
      *target += total;
    else
      put(*target, to_float(*target) + static_cast<float>(total));
  }
};

/// The same with 16 threads for each sum of a column, which take every 16th chunk: for few columns and many chunks.
template <int sums, class A, class T>
__global__ void __launch_bounds__(512) add_chunks(AddChunks<sums, A, T> add) {
  static __shared__ A part[16][32];
  const int x = static_cast<int>(threadIdx.x), y = static_cast<int>(threadIdx.y);
  const int i = static_cast<int>(blockIdx.x) * 32 + x, width = sums * add.columns;
  A total = 0;
  if (i < width)
#pragma unroll 4
    for (int k = y; k < add.chunks; k += 16) total += add.partial[static_cast<std::size_t>(k) * width + i];
  part[y][x] = total;
  __syncthreads();
  if (y > 0 || i >= width) return;
  for (int k = 1; k < 16; ++k) total += part[k][x];
  add.put_total(i / add.columns, i % add.columns, total);
}
template <int sums, class A, class T>
void run_add_chunks(CudaContext& d, const char* operation, const AddChunks<sums, A, T>& add) {
  d.launch(operation, static_cast<unsigned>(ceil_div(sums * add.columns, 32)), dim3(32, 16), 0,
           &add_chunks<sums, A, T>, add);
}

/// to[s][c] += sum over r of what f(r, c, sum) adds to sum[s], in A; f takes n columns at a time. At most 8 sums.
template <int sums, class A, int n = 1, class F, class T>
void column_sums(CudaContext& d, const char* operation, int rows, int columns, F f, AddChunks<sums, A, T> add) {
  static_assert(sums <= 8);
  const ColumnPlan plan(rows);
  if (plan.chunks == 0) return;
  add.partial = d.scratch<A>(operation, static_cast<std::size_t>(plan.chunks) * sums * columns);
  add.chunks = plan.chunks;
  add.columns = columns;
  d.launch(operation, dim3(static_cast<unsigned>(ceil_div(columns, 32 * n)), static_cast<unsigned>(plan.chunks)),
           dim3(32, 8), 0, &column_chunks<sums, n, A, F>, rows, columns, plan.chunk_rows, f,
           const_cast<A*>(add.partial));
  run_add_chunks(d, operation, add);
}

/// totals (groups, width) = sum over the chunks of partial (groups, chunks, width).
template <class A>
struct SumChunks {
  const A* partial;
  int chunks, width;
  A* totals;
  __device__ void operator()(std::size_t i) const {
    const Divided place = divide(i, width);
    const A* from = partial + place.quotient * chunks * width + place.rest;
    A total = 0;
    for (int k = 0; k < chunks; ++k, from += width) total += *from;
    totals[i] = total;
  }
};

/// Rows of all groups as one array whose chunks end with their groups: f(group, row, column, sums).
template <class F>
struct Grouped {
  F f;
  int rows, padded;  // of a group
  template <class A>
  __device__ void operator()(int r, int column, A* sums) const {
    const int group = r / padded, row = r - group * padded;
    if (row < rows) f(group, row, column, sums);
  }
};

/// Sums over the rows of every group: totals (groups, sums, columns), in memory of the caller's.
template <int sums, class A>
class GroupSums {
 public:
  GroupSums(int groups, int rows, int columns) : plan_(rows, 64), groups_(groups), rows_(rows), columns_(columns) {
    static_assert(sums <= 8);
  }
  /// Elements of memory for the totals and, behind them, what they are made from.
  std::size_t size() const { return totals() * static_cast<std::size_t>(1 + plan_.chunks); }
  std::size_t totals() const { return static_cast<std::size_t>(groups_) * sums * static_cast<std::size_t>(columns_); }

  /// f(group, row, column, sum) adds to sum[0], ....
  template <class F>
  void run(CudaContext& d, const char* operation, F f, A* memory) const {
    A* const partial = memory + totals();
    const int padded = plan_.chunks * plan_.chunk_rows, all = groups_ * padded;
    d.launch(operation,
             dim3(static_cast<unsigned>((columns_ + 31) / 32), static_cast<unsigned>(groups_ * plan_.chunks)),
             dim3(32, 8), 0, &column_chunks<sums, 1, A, Grouped<F>>, all, columns_, plan_.chunk_rows,
             Grouped<F>{f, rows_, padded}, partial);
    d.for_each(operation, totals(), SumChunks<A>{partial, plan_.chunks, sums * columns_, memory});
  }

 private:
  ColumnPlan plan_;
  int groups_, rows_, columns_;
};

/// Adds n elements of x (rows, columns).
template <int n, class T>
struct ColumnsOf {
  const T* x;
  int columns;
  __device__ void operator()(int row, int column, float* sum) const {
    float values[n];
    load<n>(x + static_cast<std::size_t>(row) * columns + column, values);
#pragma unroll
    for (int k = 0; k < n; ++k) sum[k] += values[k];
  }
};

/// to[c] += sum over r of x (rows, columns).
template <class T>
void add_column_sums(CudaContext& d, const char* operation, int rows, int columns, const T* x, T* to) {
  constexpr int n = pack_size<T>;
  const AddChunks<1, float, T> add{nullptr, 0, 0, {to}};
  if (columns % n == 0 && aligned_to<n>(x))
    column_sums<1, float, n>(d, operation, rows, columns, ColumnsOf<n, T>{x, columns}, add);
  else
    column_sums<1, float>(d, operation, rows, columns, ColumnsOf<1, T>{x, columns}, add);
}

}  // namespace data2vec::inline v0::detail::gpu
