// SPDX-License-Identifier: MIT
// The objective of the linear probe: mean cross entropy of softmax(W x + b) with an L2 penalty, and its gradient, over
// run-time widths. What takes a pass over all rows is asked of `Sums`: SoftmaxSums, whose blocks of rows are added in
// their order, whichever threads compute them, or CudaSoftmaxSums (cuda_probe.cuh).
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <span>
#include <utility>
#include <vector>

#include <data2vec/device/cpu/threads.hpp>
#include <data2vec/device/cpu/vec.hpp>
#include <data2vec/evaluation/softmax_layout.hpp>

namespace data2vec::inline v0::detail {

/// Products of a few rows with panels of classes, which are one or two vectors wide.
template <class Isa>
struct SoftmaxKernel {
  using L = Lanes<float, Isa>;
  using V = typename L::V;
  using Layout = SoftmaxLayout;
  static constexpr int group = 6;  // rows at a time: with two vectors each, sums fill the registers of AVX2

  static Layout layout(int dim, int classes) { return {dim, classes, classes <= L::size ? L::size : 2 * L::size}; }

  /// z (rows, width) = W x + b of rows x (rows, dim). A row's bits depend on that row alone.
  static void logits(const Layout& layout, const float* x, int rows, const float* theta, float* z) {
    if (layout.panel == L::size) logits_of<1>(layout, x, rows, theta, z);
    else logits_of<2>(layout, x, rows, theta, z);
  }

  /// gradient += sum over rows of r (rows, width) times (x, 1).
  static void accumulate(const Layout& layout, const float* x, int rows, const float* r, float* gradient) {
    if (layout.panel == L::size) accumulate_of<1>(layout, x, rows, r, gradient);
    else accumulate_of<2>(layout, x, rows, r, gradient);
  }

 private:
  /// Groups of rows; the last one repeats the last row, which is then `valid` rows short.
  template <class F>
  static void groups(const Layout& layout, const float* x, int rows, F&& f) {
    for (int first = 0; first < rows; first += group) {
      const float* row[group];
      for (int i = 0; i < group; ++i)
        row[i] = x + static_cast<std::ptrdiff_t>(std::min(first + i, rows - 1)) * layout.dim;
      f(row, first, std::min(group, rows - first));
    }
  }

  template <int vectors>
  static void logits_of(const Layout& layout, const float* x, int rows, const float* theta, float* z) {
    const int width = layout.width();
    for (int p = 0; p < layout.panels(); ++p, theta += layout.panel_size())
      groups(layout, x, rows, [&](const float* const (&row)[group], int first, int valid) {
        V sum[group][vectors];
        for (int v = 0; v < vectors; ++v)
          for (int i = 0; i < group; ++i)
            sum[i][v] = L::load(theta + layout.dim * vectors * L::size + v * L::size);
        for (int d = 0; d < layout.dim; ++d) {
          V w[vectors];
          for (int v = 0; v < vectors; ++v) w[v] = L::load(theta + (d * vectors + v) * L::size);
          for (int i = 0; i < group; ++i) {
            const V value = L::all(row[i][d]);
            for (int v = 0; v < vectors; ++v) sum[i][v] = L::fma(value, w[v], sum[i][v]);
          }
        }
        for (int i = 0; i < valid; ++i)
          for (int v = 0; v < vectors; ++v)
            L::store(z + (first + i) * width + (p * vectors + v) * L::size, sum[i][v]);
      });
  }

  template <int vectors>
  static void accumulate_of(const Layout& layout, const float* x, int rows, const float* r, float* gradient) {
    const int width = layout.width();
    for (int p = 0; p < layout.panels(); ++p, gradient += layout.panel_size())
      groups(layout, x, rows, [&](const float* const (&row)[group], int first, int valid) {
        V residual[group][vectors] = {};
        for (int i = 0; i < valid; ++i)
          for (int v = 0; v < vectors; ++v)
            residual[i][v] = L::load(r + (first + i) * width + (p * vectors + v) * L::size);
        for (int d = 0; d < layout.dim; ++d) {
          V sum[vectors];
          for (int v = 0; v < vectors; ++v) sum[v] = L::load(gradient + (d * vectors + v) * L::size);
          for (int i = 0; i < group; ++i) {
            const V value = L::all(row[i][d]);
            for (int v = 0; v < vectors; ++v) sum[v] = L::fma(value, residual[i][v], sum[v]);
          }
          for (int v = 0; v < vectors; ++v) L::store(gradient + (d * vectors + v) * L::size, sum[v]);
        }
        float* const bias = gradient + layout.dim * vectors * L::size;
        for (int v = 0; v < vectors; ++v) {
          V sum = L::load(bias + v * L::size);
          for (int i = 0; i < group; ++i) sum += residual[i][v];
          L::store(bias + v * L::size, sum);
        }
      });
  }
};

/// Sums over standardised rows on the threads of a team.
template <class Isa>
class SoftmaxSums {
 public:
  using Kernel = SoftmaxKernel<Isa>;
  using Layout = SoftmaxLayout;

  explicit SoftmaxSums(ThreadTeam& team) : team_(team), threads_(static_cast<std::size_t>(team.size())) {}

  /// Rows x (n, dim) of labels (n) from now on; they stay the caller's.
  void take(const Layout& layout, std::span<const float> x, std::span<const int> labels) {
    layout_ = layout, x_ = x, labels_ = labels;
    theta_.resize(layout.size());
    const int fitting = 64 * 1024 / layout.dim / Kernel::group * Kernel::group;  // a block of rows stays in cache
    block_ = std::clamp(fitting, 4 * Kernel::group, 40 * Kernel::group);
    for (Thread& thread : threads_) {
      thread.gradient.resize(layout.size());
      thread.logits.resize(static_cast<std::size_t>(block_) * static_cast<std::size_t>(layout.width()));
    }
  }

  /// The sum of the rows' cross entropies at theta, in the order of the layout, and its gradient, overwritten.
  double operator()(std::span<const double> theta, std::span<double> gradient) {
    std::copy(theta.begin(), theta.end(), theta_.begin());
    std::fill(gradient.begin(), gradient.end(), 0.0);
    double sum = 0;
    turns_.restart();
    const int rows = static_cast<int>(labels_.size()), blocks = (rows + block_ - 1) / block_;
    team_.for_each_task(blocks, [&](int number, int block) {
      Thread& thread = threads_[static_cast<std::size_t>(number)];
      const double loss = run(thread, block * block_, std::min(rows, (block + 1) * block_));
      turns_.wait_for(block);
      for (std::size_t i = 0; i < gradient.size(); ++i) gradient[i] += static_cast<double>(thread.gradient[i]);
      sum += loss;
      turns_.done(block);
    });
    return sum;
  }

  /// The mean of x x^T over the first of rows x (n, dim), as a lower triangle: covariance_rows, triangle_at.
  std::vector<double> covariance(int dim, std::span<const float> x) {
    const auto columns_of_x = static_cast<std::size_t>(dim);
    const int rows = static_cast<int>(covariance_rows(x.size() / columns_of_x, columns_of_x));
    const Layout stripe = Kernel::layout(dim, std::min(dim, 2 * Kernel::L::size));  // some columns of the matrix
    std::vector<double> result(columns_of_x * (columns_of_x + 1) / 2);
    const int width = stripe.width(), stripes = (dim + width - 1) / width;
    const std::size_t own = stripe.size() + part * static_cast<std::size_t>(width);
    std::vector<float> memory(threads_.size() * own);
    team_.for_each_task(stripes, [&](int thread, int task) {
      float *const sums = memory.data() + static_cast<std::size_t>(thread) * own, *const columns = sums + stripe.size();
      const int left = task * width, used = std::min(width, dim - left);
      std::fill(sums, sums + own, 0.0f);
      for (int first = 0; first < rows; first += static_cast<int>(part)) {
        const int count = std::min(static_cast<int>(part), rows - first);
        const float* const block = x.data() + static_cast<std::ptrdiff_t>(first) * dim;
        for (int i = 0; i < count; ++i)
          std::copy_n(block + static_cast<std::ptrdiff_t>(i) * dim + left, used, columns + i * width);
        Kernel::accumulate(stripe, block, count, columns, sums);
      }
      for (int j = 0; j < used; ++j)
        for (int i = left + j; i < dim; ++i)
          result[triangle_at(i, left + j)] = static_cast<double>(sums[stripe.at(i, j)]) / rows;
    });
    return result;
  }

 private:
  static constexpr std::size_t part = 96;  // rows whose columns are copied at a time
  struct Thread {
    std::vector<float> gradient, logits;
  };

  double run(Thread& thread, int first, int end) {
    const int width = layout_.width(), rows = end - first;
    const float* const x = x_.data() + static_cast<std::ptrdiff_t>(first) * layout_.dim;
    std::fill(thread.gradient.begin(), thread.gradient.end(), 0.0f);
    Kernel::logits(layout_, x, rows, theta_.data(), thread.logits.data());
    double loss = 0;
    for (int i = 0; i < rows; ++i)
      loss += residual(thread.logits.data() + i * width, labels_[static_cast<std::size_t>(first + i)]);
    Kernel::accumulate(layout_, x, rows, thread.logits.data(), thread.gradient.data());
    return loss;
  }

  /// Logits -> softmax - one hot, in place; returns the cross entropy. The padding becomes zero.
  double residual(float* z, int label) const {
    const int classes = layout_.classes;
    const auto most = static_cast<double>(*std::max_element(z, z + classes)), own = static_cast<double>(z[label]);
    double sum = 0;
    for (int c = 0; c < classes; ++c) sum += std::exp(static_cast<double>(z[c]) - most);
    for (int c = 0; c < classes; ++c)
      z[c] = static_cast<float>(std::exp(static_cast<double>(z[c]) - most) / sum - (c == label ? 1 : 0));
    std::fill(z + classes, z + layout_.width(), 0.0f);
    return most + std::log(sum) - own;
  }

  ThreadTeam& team_;
  Layout layout_;
  std::span<const float> x_;
  std::span<const int> labels_;
  std::vector<float> theta_;
  std::vector<Thread> threads_;
  int block_ = 0;
  Turns turns_;
};

/// The objective on the rows (n, dim), standardised, of labels (n), that `sums` takes.
template <class Sums>
class SoftmaxObjective {
 public:
  SoftmaxObjective(Sums& sums, const SoftmaxLayout& layout, std::span<const float> x, std::span<const int> labels)
      : sums_(sums), layout_(layout), rows_(static_cast<double>(labels.size())) {
    sums.take(layout, x, labels);
  }

  /// Mean cross entropy + penalty / 2 |W|^2 at theta, in the order of the layout; its gradient is overwritten.
  double operator()(const std::vector<double>& theta, double penalty, std::vector<double>& gradient) {
    loss_ = sums_(std::span<const double>(theta), std::span<double>(gradient)) / rows_;
    for (double& g : gradient) g /= rows_;
    double squares = 0;
    for (int c = 0; c < layout_.classes; ++c)
      for (int d = 0; d < layout_.dim; ++d) {
        const std::size_t at = layout_.at(d, c);
        squares += theta[at] * theta[at];
        gradient[at] += penalty * theta[at];
      }
    return loss_ + 0.5 * penalty * squares;
  }

  double cross_entropy() const { return loss_; }  ///< mean over the rows, at the last theta

 private:
  Sums& sums_;
  SoftmaxLayout layout_;
  double rows_, loss_ = 0;
};

/// Coordinates in which the objective is round: u = L^T W for each class, with L L^T = curvature C + penalty I, C being
/// the mean of x x^T over some rows. The Hessian is at most (C + penalty I) / 2 (Boehning, "Multinomial logistic
/// regression algorithm", 1992); well fitted rows have less, hence the smaller factor.
class SoftmaxCoordinates {
 public:
  static constexpr double curvature = 0.1;

  /// `covariance`: the lower triangle of C.
  SoftmaxCoordinates(const SoftmaxLayout& layout, std::vector<double> covariance)
      : layout_(layout), covariance_(std::move(covariance)) {}

  /// L for a penalty, by Cholesky's method. Rounding may spoil C: what would be the root of less than the penalty is
  /// the root of the penalty.
  void set_penalty(double penalty) {
    factor_ = covariance_;
    for (int i = 0; i < layout_.dim; ++i) {
      double* const row = &factor_[triangle_at(i, 0)];
      for (int j = 0; j <= i; ++j) row[j] = curvature * row[j] + (i == j ? penalty : 0);
      for (int j = 0; j < i; ++j) {
        const double* const other = &factor_[triangle_at(j, 0)];
        double sum = row[j];
        for (int k = 0; k < j; ++k) sum -= row[k] * other[k];
        row[j] = sum / other[j];
        row[i] -= row[j] * row[j];
      }
      row[i] = std::sqrt(std::max(row[i], penalty));
    }
  }

  /// W -> u = L^T W, in place.
  void into(std::vector<double>& w) const {
    each_panel(w, [&](double* x, int panel) {
      for (int i = 0; i < layout_.dim; ++i) {
        scale(x + i * panel, panel, factor_[triangle_at(i, i)]);
        for (int k = i + 1; k < layout_.dim; ++k) subtract(x + i * panel, panel, -factor_[triangle_at(k, i)], x + k * panel);
      }
      scale(x + layout_.dim * panel, panel, std::sqrt(curvature));
    });
  }
  /// u -> W, in place.
  void from(std::vector<double>& u) const {
    each_panel(u, [&](double* x, int panel) {
      for (int i = layout_.dim; i-- > 0;) {
        scale(x + i * panel, panel, 1 / factor_[triangle_at(i, i)]);
        for (int j = 0; j < i; ++j) subtract(x + j * panel, panel, factor_[triangle_at(i, j)], x + i * panel);
      }
      scale(x + layout_.dim * panel, panel, 1 / std::sqrt(curvature));
    });
  }
  /// The gradient by W -> the gradient by u, L^-1 g, in place.
  void gradient(std::vector<double>& g) const {
    each_panel(g, [&](double* x, int panel) {
      for (int i = 0; i < layout_.dim; ++i) {
        for (int j = 0; j < i; ++j) subtract(x + i * panel, panel, factor_[triangle_at(i, j)], x + j * panel);
        scale(x + i * panel, panel, 1 / factor_[triangle_at(i, i)]);
      }
      scale(x + layout_.dim * panel, panel, 1 / std::sqrt(curvature));
    });
  }

 private:
  static void scale(double* x, int panel, double factor) {
    for (int c = 0; c < panel; ++c) x[c] *= factor;
  }
  static void subtract(double* x, int panel, double factor, const double* y) {
    for (int c = 0; c < panel; ++c) x[c] -= factor * y[c];
  }
  template <class F>
  void each_panel(std::vector<double>& x, F&& f) const {
    for (int p = 0; p < layout_.panels(); ++p)
      f(x.data() + static_cast<std::size_t>(p) * layout_.panel_size(), layout_.panel);
  }

  SoftmaxLayout layout_;
  std::vector<double> covariance_, factor_;  // lower triangles
};

}  // namespace data2vec::inline v0::detail
