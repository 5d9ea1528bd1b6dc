// SPDX-License-Identifier: MIT
// Nearest neighbours and the linear probe on a GPU: what takes a pass over all rows, in fp32 whatever the device's
// precision, and the sums of losses in double. Arguments and results are on the host. The rest of a fit, work that does
// not grow with the rows, is the CPU's: `knn_predict(CudaKnnSearch(device), ...)` and `LinearProbe::fit(sums, ...)`, in
// a file that need not be nvcc's.
#pragma once

#include <algorithm>
#include <cstddef>
#include <span>
#include <utility>
#include <vector>

#include <data2vec/device/cuda/columns.cuh>
#include <data2vec/device/cuda/product.cuh>
#include <data2vec/device/cuda/reduce.cuh>
#include <data2vec/evaluation/neighbours.hpp>
#include <data2vec/evaluation/softmax_layout.hpp>

namespace data2vec::inline v0 {

namespace detail::gpu {

/// The k first of each row of similarities (queries, rows), the greatest first, equal ones by place: a warp per query.
/// What is no number is less than all numbers.
template <class T>
__global__ void __launch_bounds__(128)
    nearest_of_rows(int queries, int rows, int k, const T* similarities, T* similarity, int* found) {
  const int query = static_cast<int>(blockIdx.x) * 4 + static_cast<int>(threadIdx.x) / 32;
  if (query >= queries) return;
  const T* const all = similarities + static_cast<std::size_t>(query) * rows;
  T last = INFINITY;
  int place = -1;
  for (int i = 0; i < k; ++i) {
    place = first_largest(rows, [=](int r) {
      const T s = all[r];
      return s < last || (s == last && r > place) ? s : -INFINITY;
    });
    last = all[place];
    if (threadIdx.x % 32 == 0) {
      similarity[static_cast<std::size_t>(query) * k + i] = last;
      found[static_cast<std::size_t>(query) * k + i] = place;
    }
  }
}

/// Logits without their biases, z (rows, width) -> softmax - one hot, in place; the padding becomes zero. A warp per
/// row; losses (rows): cross entropies.
template <class T>
__global__ void __launch_bounds__(128)
    softmax_residuals(int rows, SoftmaxLayout layout, const T* theta, const int* labels, T* z, double* losses) {
  const int row = static_cast<int>(blockIdx.x) * 4 + static_cast<int>(threadIdx.x) / 32;
  if (row >= rows) return;
  const int lane = static_cast<int>(threadIdx.x) % 32, width = layout.width(), label = labels[row];
  T* const own = z + static_cast<std::size_t>(row) * width;
  const auto logit = [=](int c) { return own[c] + theta[layout.at(layout.dim, c)]; };
  const double lse = row_log_sum(layout.classes, logit);
  if (lane == 0) losses[row] = lse - static_cast<double>(logit(label));
  __syncwarp();
  for (int c = lane; c < width; c += 32)
    own[c] = c < layout.classes ? static_cast<T>(exp(static_cast<double>(logit(c)) - lse) - (c == label ? 1 : 0)) : 0;
}

/// Room for `size` elements at least.
template <class T>
void grow(const char* operation, std::size_t size, DeviceBuffer<T>& buffer) {
  if (buffer.size() >= size) return;
  buffer = {};  // first, lest both be there at once
  buffer = DeviceBuffer<T>(size, operation);
}

/// Numbers of the host on the device.
template <class T>
void bring(CudaContext& d, const char* operation, std::span<const T> from, DeviceBuffer<T>& to) {
  grow(operation, from.size(), to);
  d.copy(operation, to.data(), from.data(), from.size_bytes());
}

}  // namespace detail::gpu

/// The `search` of knn_predict on a GPU. A query's neighbours are those of the CPU's search as far as similarities that
/// differ by no more than the rounding of a sum of `dim` products are ordered alike.
class CudaKnnSearch {
 public:
  explicit CudaKnnSearch(CudaContext& device) : device_(device) {}

  /// Throws DeviceError, also where the training rows do not fit.
  void operator()(const KnnQuestion& q, std::span<Neighbours> result) {
    using namespace detail::gpu;
    constexpr const char* name = "knn";
    const std::size_t rows = q.offset.size(), width = static_cast<std::size_t>(q.dim);
    const std::size_t group = std::clamp<std::size_t>((std::size_t{1} << 26) / rows, 1, 1024);  // queries at a time
    bring(device_, name, q.train, train_);
    bring(device_, name, q.offset, offset_);
    grow(name, group * rows, similarities_);
    grow(name, group * q.k, near_);
    grow(name, group * q.k, places_);
    std::vector<float> near(group * q.k);
    std::vector<int> places(group * q.k);
    for (std::size_t first = 0; first < q.queries(); first += group) {
      const std::size_t n = std::min(group, q.queries() - first);
      bring(device_, name, q.test.subspan(first * width, n * width), test_);
      ProductKey key{};
      key.m = static_cast<int>(rows), key.n = static_cast<int>(n), key.k = q.dim;
      key.transposes_a = key.rows_are_n = true;
      product<Precision::fp32>(device_, name, key, std::as_const(train_).data(), q.dim, std::as_const(test_).data(),
                               q.dim, std::as_const(offset_).data(), similarities_.data(), key.m);
      const int k = static_cast<int>(q.k);
      device_.launch(name, static_cast<unsigned>((n + 3) / 4), 128, 0, &nearest_of_rows<float>, key.n, key.m, k,
                     similarities_.data(), near_.data(), places_.data());
      device_.copy(name, near.data(), near_.data(), n * q.k * sizeof(float));
      device_.copy(name, places.data(), places_.data(), n * q.k * sizeof(int));
      device_.synchronize(name);
      for (std::size_t i = 0; i < n; ++i)
        for (std::size_t j = 0; j < q.k; ++j)
          result[first + i].found.emplace_back(near[i * q.k + j], places[i * q.k + j]);
    }
  }

 private:
  CudaContext& device_;
  DeviceBuffer<float> train_, offset_, test_, similarities_, near_;
  DeviceBuffer<int> places_;
};

/// The `sums` of LinearProbe::fit on a GPU, which holds all training rows.
class CudaSoftmaxSums {
 public:
  explicit CudaSoftmaxSums(CudaContext& device) : device_(device), loss_(1, "probe") {}

  /// Rows x (n, dim) of labels (n) from now on. Throws DeviceError, also where they do not fit.
  void take(const SoftmaxLayout& layout, std::span<const float> x, std::span<const int> labels) {
    using detail::gpu::bring;
    layout_ = layout, rows_ = labels.size();
    bring(device_, name, x, x_);
    bring(device_, name, labels, labels_);
    const std::size_t chunk = std::min(rows_, most), width = static_cast<std::size_t>(layout.width());
    detail::gpu::grow(name, chunk * width, z_);
    detail::gpu::grow(name, chunk, losses_);
    detail::gpu::grow(name, layout.size(), gradient_);
    detail::gpu::grow(name, width, bias_);
    theta_.resize(layout.size()), biases_.resize(width);
    device_.synchronize(name);
  }

  /// The sum of the rows' cross entropies at theta, in the order of the layout, and its gradient, overwritten.
  double operator()(std::span<const double> theta, std::span<double> gradient) {
    using namespace detail::gpu;
    std::copy(theta.begin(), theta.end(), theta_.begin());
    bring(device_, name, std::span<const float>(theta_), weights_);
    device_.zero(name, gradient_.data(), theta_.size() * sizeof(float));
    device_.zero(name, bias_.data(), biases_.size() * sizeof(float));
    device_.zero(name, loss_.data(), sizeof(double));
    for (std::size_t first = 0; first < rows_; first += most)
      add(first, static_cast<int>(std::min(most, rows_ - first)));
    double loss = 0;
    device_.copy(name, theta_.data(), gradient_.data(), theta_.size() * sizeof(float));
    device_.copy(name, biases_.data(), bias_.data(), biases_.size() * sizeof(float));
    device_.copy(name, &loss, loss_.data(), sizeof(double));
    device_.synchronize(name);
    std::copy(theta_.begin(), theta_.end(), gradient.begin());
    for (int c = 0; c < layout_.width(); ++c)
      gradient[layout_.at(layout_.dim, c)] = static_cast<double>(biases_[static_cast<std::size_t>(c)]);
    return loss;
  }

  /// The mean of x x^T over the first of rows x (n, dim), as a lower triangle.
  std::vector<double> covariance(int dim, std::span<const float> x) {
    using namespace detail::gpu;
    const auto width = static_cast<std::size_t>(dim);
    const std::size_t rows = detail::covariance_rows(x.size() / width, width);
    DeviceBuffer<float> square(width * width, name);
    bring(device_, name, x.first(rows * width), x_);
    ProductKey key{};
    key.m = key.n = dim, key.k = static_cast<int>(rows);
    key.transposes_b = true;
    product<Precision::fp32>(device_, name, key, std::as_const(x_).data(), dim, std::as_const(x_).data(), dim,
                             static_cast<const float*>(nullptr), square.data(), dim);
    std::vector<float> whole(width * width);
    device_.copy(name, whole.data(), square.data(), whole.size() * sizeof(float));
    device_.synchronize(name);
    std::vector<double> result;
    for (std::size_t i = 0; i < width; ++i)
      for (std::size_t j = 0; j <= i; ++j)
        result.push_back(static_cast<double>(whole[i * width + j]) / static_cast<double>(rows));
    return result;
  }

 private:
  static constexpr const char* name = "probe";
  static constexpr std::size_t most = 65'536;  // rows at a time

  /// What some rows add to gradient and loss. Panels are a batch of products.
  void add(std::size_t first, int rows) {
    using namespace detail::gpu;
    const float *const x = x_.data() + first * static_cast<std::size_t>(layout_.dim), *const theta = weights_.data();
    const auto panel_size = static_cast<std::ptrdiff_t>(layout_.panel_size());
    ProductKey key{};
    key.m = layout_.panel, key.n = rows, key.k = layout_.dim;
    key.batch = layout_.panels();
    key.rows_are_n = true;
    BatchStrides strides{panel_size, 0, layout_.panel};
    product<Precision::fp32>(device_, name, key, theta, layout_.panel, x, layout_.dim,
                             static_cast<const float*>(nullptr), z_.data(), layout_.width(), strides);
    device_.launch(name, static_cast<unsigned>((rows + 3) / 4), 128, 0, &softmax_residuals<float>, rows, layout_, theta,
                   labels_.data() + first, z_.data(), losses_.data());
    device_.launch(name, 1, 256, 0, &add_partials<1>, rows, losses_.data(), true, loss_.data());
    key.n = layout_.dim, key.k = rows;
    key.transposes_b = key.adds = true, key.rows_are_n = false;
    strides = {layout_.panel, 0, panel_size};
    product<Precision::fp32>(device_, name, key, std::as_const(z_).data(), layout_.width(), x, layout_.dim,
                             static_cast<const float*>(nullptr), gradient_.data(), layout_.panel, strides);
    add_column_sums(device_, name, rows, layout_.width(), std::as_const(z_).data(), bias_.data());
  }

  CudaContext& device_;
  SoftmaxLayout layout_;
  std::size_t rows_ = 0;
  std::vector<float> theta_, biases_;
  DeviceBuffer<float> x_, weights_, z_, gradient_, bias_;
  DeviceBuffer<int> labels_;
  DeviceBuffer<double> losses_, loss_;
};

}  // namespace data2vec::inline v0
