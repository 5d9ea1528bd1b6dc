// SPDX-License-Identifier: MIT
// The linear probe of masked autoencoders (He et al., 2022, appendix A.2): batch norm without scale and shift in front
// of a linear classifier, trained in large batches by LARS (You et al., 2017) on features of fresh augmentations.
#pragma once

#include <cmath>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include <data2vec/core/buffer.hpp>
#include <data2vec/core/error.hpp>
#include <data2vec/core/parameter.hpp>
#include <data2vec/device/classify.hpp>
#include <data2vec/device/linear.hpp>
#include <data2vec/model/initialise.hpp>
#include <data2vec/training/schedule.hpp>

namespace data2vec::inline v0 {

struct LarsConfig {
  double momentum = 0.9;
  double trust_coefficient = 0.001;
  double weight_decay = 0;
};

/// What a step of the probe did.
struct ProbeStep {
  double loss = 0;      ///< mean cross entropy
  double accuracy = 0;  ///< on the batch, before the step
};

/// A linear classifier of vectors of width `dim` behind a batch norm with epsilon 1e-6 whose running means follow with
/// `momentum` 0.1. Device is that of the products.
template <int dim, int classes, class Device>
class LarsProbe {
 public:
  static constexpr double eps = 1e-6, bn_momentum = 0.1;

  template <class T>
  struct Parameters {
    View<T, classes, dim> weight;
    View<T, classes> bias;
    View<T, dim> running_mean, running_var;
    static constexpr void visit(auto&& f, auto&... p) {
      f(Field{"1.weight", init::truncated_normal(0.01)}, p.weight...);
      f(Field{"1.bias", init::zeros()}, p.bias...);
      f(Field{"0.running_mean", init::zeros(), false}, p.running_mean...);
      f(Field{"0.running_var", init::constant(1), false}, p.running_var...);
    }
  };
  static constexpr std::size_t size = buffer_size<Parameters<float>>;

  /// `most_rows` is the largest batch.
  explicit LarsProbe(int most_rows, std::uint64_t seed = 1, const LarsConfig& config = {})
      : config_(config),
        most_rows_(most_rows),
        normed_(static_cast<std::size_t>(most_rows) * dim),
        logits_(static_cast<std::size_t>(most_rows) * classes) {
    initialise_tensors<Parameters<float>>(weights_.data(), seed, false);
  }

  std::span<float> weights() { return {weights_.data(), size}; }
  std::span<const float> gradient() const { return {gradient_.data(), size}; }

  /// One update at a learning rate on features (n, dim) and labels (n). Throws OptionError for other sizes.
  ProbeStep step(std::span<const float> features, std::span<const std::int32_t> labels, double lr) {
    const int rows = check(features, static_cast<std::size_t>(labels.size()));
    if (rows < 2) throw OptionError("probe: expected a batch of 2 or more, found " + std::to_string(rows));
    const auto p = bind<Parameters<float>>(weights_.data()), g = bind<Parameters<float>>(gradient_.data());
    for (int c = 0; c < dim; ++c) {
      double sum = 0, squares = 0;
      for (int r = 0; r < rows; ++r) sum += static_cast<double>(features[at(r, c)]);
      const double mean = sum / rows;
      for (int r = 0; r < rows; ++r) {
        const double u = static_cast<double>(features[at(r, c)]) - mean;
        squares += u * u;
      }
      standardise(rows, c, features, mean, squares / rows);
      follow(p.running_mean[c], mean);
      follow(p.running_var[c], squares / (rows - 1));
    }
    device::linear<dim, classes>(device_, rows, normed_.data(), p.weight.data, p.bias.data, logits_.data());
    const ClassificationSums sums = device::cross_entropy<classes>(
        device_, rows, static_cast<const float*>(logits_.data()), labels.data(), 0.0, 1.0 / rows,
        static_cast<float*>(nullptr), logits_.data());
    std::fill(gradient_.begin(), gradient_.end(), 0.0f);
    device::linear_weight_gradient<dim, classes>(device_, rows, logits_.data(), normed_.data(), g.weight.data,
                                                 g.bias.data);
    update(p.weight.data, g.weight.data, momentum_.data(), p.weight.size, lr, true);
    update(p.bias.data, g.bias.data, momentum_.data() + (g.bias.data - gradient_.data()), p.bias.size, lr, false);
    return {sums.loss / rows, sums.correct / rows};
  }

  /// Logits (n, classes) of features (n, dim) with the running means. Throws OptionError for other sizes.
  void logits(std::span<const float> features, std::span<float> out) {
    const int rows = check(features, out.size() / classes);
    const auto p = bind<Parameters<float>>(weights_.data());
    for (int c = 0; c < dim; ++c)
      standardise(rows, c, features, static_cast<double>(p.running_mean[c]), static_cast<double>(p.running_var[c]));
    device::linear<dim, classes>(device_, rows, normed_.data(), p.weight.data, p.bias.data, out.data());
  }

 private:
  static std::size_t at(int row, int channel) {
    return static_cast<std::size_t>(row) * dim + static_cast<std::size_t>(channel);
  }

  int check(std::span<const float> features, std::size_t rows) const {
    if (rows > static_cast<std::size_t>(most_rows_) || features.size() != rows * dim)
      throw OptionError("probe: expected features (n, " + std::to_string(dim) + ") of up to " +
                        std::to_string(most_rows_) + " samples, found " + std::to_string(features.size()) +
                        " numbers of " + std::to_string(rows) + " samples");
    return static_cast<int>(rows);
  }

  void standardise(int rows, int c, std::span<const float> features, double mean, double variance) {
    const double factor = 1 / std::sqrt(variance + eps);
    for (int r = 0; r < rows; ++r)
      normed_.data()[at(r, c)] = static_cast<float>((static_cast<double>(features[at(r, c)]) - mean) * factor);
  }

  static void follow(float& running, double value) {
    running = static_cast<float>((1 - bn_momentum) * static_cast<double>(running) + bn_momentum * value);
  }

  /// Matrices learn at a rate in proportion to |w| / |g|.
  void update(float* w, const float* g, float* mu, std::size_t count, double lr, bool adapts) const {
    double weight = 0, slope = 0;
    const auto decayed = [&](std::size_t i) {
      return static_cast<double>(g[i]) + (adapts ? config_.weight_decay * static_cast<double>(w[i]) : 0);
    };
    for (std::size_t i = 0; i < count; ++i) {
      weight += static_cast<double>(w[i]) * static_cast<double>(w[i]);
      slope += decayed(i) * decayed(i);
    }
    const double q =
        adapts && weight > 0 && slope > 0 ? config_.trust_coefficient * std::sqrt(weight) / std::sqrt(slope) : 1;
    for (std::size_t i = 0; i < count; ++i) {
      mu[i] = static_cast<float>(config_.momentum * static_cast<double>(mu[i]) + q * decayed(i));
      w[i] = static_cast<float>(static_cast<double>(w[i]) - lr * static_cast<double>(mu[i]));
    }
  }

  LarsConfig config_;
  int most_rows_;
  Device device_;
  Buffer<float> weights_{size}, gradient_{size}, momentum_{size}, normed_, logits_;
};

/// The published schedule: 90 epochs (50 for large and huge models) of batches of 16384, warm-up over 10 of them, base
/// rate 0.1 for 256 samples.
inline CosineSchedule lars_probe_schedule(std::int64_t updates_per_epoch, int batch = 16384, int epochs = 90) {
  return {.lr = 0.1 * batch / 256, .warmup_updates = 10 * updates_per_epoch, .warmup_init_lr = 0,
          .max_update = epochs * updates_per_epoch};
}

}  // namespace data2vec::inline v0
