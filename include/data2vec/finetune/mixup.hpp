// SPDX-License-Identifier: MIT
// mixup (Zhang et al., "mixup: beyond empirical risk minimization", 2018) and CutMix (Yun et al., 2019) of a batch of
// images, with one draw per batch, as timm's Mixup does in its mode "batch", which the reference uses.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

#include <data2vec/core/error.hpp>
#include <data2vec/core/random.hpp>
#include <data2vec/core/view.hpp>

namespace data2vec::inline v0 {

/// The reference's field names and defaults (all off). The published fine-tuning of vision models: mixup 0.7 or 0.8,
/// cutmix 1, mixup_prob 0.9, label_smoothing 0.1.
struct MixupConfig {
  double mixup = 0;              ///< alpha: the mixing weight is drawn from Beta(alpha, alpha); 0: no mixup
  double cutmix = 0;             ///< alpha of the kept area; 0: no CutMix
  double mixup_prob = 1;         ///< of a batch being mixed at all
  double mixup_switch_prob = 0;  ///< of CutMix rather than mixup, where both are on
  double label_smoothing = 0;

  /// Throws OptionError if a field is out of range.
  void validate() const {
    const auto expect = [](bool fulfilled, const char* sentence, double found) {
      if (!fulfilled) throw OptionError(std::string(sentence) + ", found " + std::to_string(found));
    };
    expect(mixup >= 0, "MixupConfig::mixup: expected 0 or more", mixup);
    expect(cutmix >= 0, "MixupConfig::cutmix: expected 0 or more", cutmix);
    expect(mixup_prob >= 0 && mixup_prob <= 1, "MixupConfig::mixup_prob: expected 0 to 1", mixup_prob);
    expect(mixup_switch_prob >= 0 && mixup_switch_prob <= 1, "MixupConfig::mixup_switch_prob: expected 0 to 1",
           mixup_switch_prob);
    expect(label_smoothing >= 0 && label_smoothing < 1, "MixupConfig::label_smoothing: expected 0 or more, below 1",
           label_smoothing);
  }
};

namespace detail {

/// The logarithm of a draw from Gamma(shape, 1): Marsaglia and Tsang, "A simple method for generating gamma variables",
/// 2000; for shapes below 1 by their section 6, Gamma(a) = Gamma(a + 1) U^(1 / a), here a sum of logarithms, so that
/// small shapes do not underflow. The number of words taken from the stream varies.
inline double log_gamma_draw(Rng& rng, double shape) {
  const auto positive = [&] { return (static_cast<double>(rng.next() >> 8) + 1) * 0x1p-24; };  // in (0, 1]
  if (shape < 1) {
    const double boost = std::log(positive()) / shape;
    return log_gamma_draw(rng, shape + 1) + boost;
  }
  const double d = shape - 1.0 / 3, c = 1 / std::sqrt(9 * d);
  for (;;) {
    const auto x = static_cast<double>(rng.normal());
    const double root = 1 + c * x, v = root * root * root;
    if (root <= 0) continue;
    if (std::log(positive()) < 0.5 * x * x + d - d * v + d * std::log(v)) return std::log(d) + std::log(v);
  }
}

}  // namespace detail

/// A draw from Beta(a, b) as G_a / (G_a + G_b) of two gamma draws; a and b above 0. A function of the stream alone.
inline double beta_draw(Rng& rng, double a, double b) {
  const double first = detail::log_gamma_draw(rng, a), second = detail::log_gamma_draw(rng, b);
  return 1 / (1 + std::exp(second - first));
}

/// What is done to a batch: sample i becomes lambda of itself and 1 - lambda of sample n - 1 - i. For CutMix that is
/// the part of the image outside of the box [top, bottom) x [left, right).
struct Mix {
  double lambda = 1;  ///< 1: nothing is mixed
  bool cutmix = false;
  int top = 0, bottom = 0, left = 0, right = 0;
};

/// Draws for the batch of an update. The box has (1 - lambda) of the area around a uniform centre and is cut at the
/// borders; lambda is then the area that is left (Yun et al., 2019, section 3.1). Keyed by (seed, update,
/// Site::augment, layer 1); draws of single images at the same site use layer 0.
inline Mix draw_mix(const MixupConfig& config, Extent size, std::uint64_t seed, std::uint32_t update) {
  Mix mix;
  Rng rng({.seed = seed, .update = update, .site = Site::augment, .layer = 1});
  if (config.mixup <= 0 && config.cutmix <= 0) return mix;
  if (static_cast<double>(rng.uniform()) >= config.mixup_prob) return mix;
  mix.cutmix = config.mixup <= 0 ||
               (config.cutmix > 0 && static_cast<double>(rng.uniform()) < config.mixup_switch_prob);
  const double alpha = mix.cutmix ? config.cutmix : config.mixup;
  mix.lambda = beta_draw(rng, alpha, alpha);
  if (!mix.cutmix) return mix;
  const double side = std::sqrt(1 - mix.lambda);
  const int height = static_cast<int>(size.height * side), width = static_cast<int>(size.width * side);
  const int y = static_cast<int>(rng.below(static_cast<std::uint32_t>(size.height)));
  const int x = static_cast<int>(rng.below(static_cast<std::uint32_t>(size.width)));
  mix.top = std::clamp(y - height / 2, 0, size.height);
  mix.bottom = std::clamp(y + height / 2, 0, size.height);
  mix.left = std::clamp(x - width / 2, 0, size.width);
  mix.right = std::clamp(x + width / 2, 0, size.width);
  mix.lambda = 1 - static_cast<double>((mix.bottom - mix.top) * (mix.right - mix.left)) / size.size();
  return mix;
}

/// Mixes samples (n, channels, height, width) in place. The middle one of an odd number is its own partner and stays.
template <class T>
void mix_samples(const Mix& mix, int channels, Extent size, std::span<T> samples) {
  const std::size_t plane = static_cast<std::size_t>(size.size()), count = static_cast<std::size_t>(channels) * plane;
  if (count == 0 || samples.size() % count != 0)
    throw MismatchError("mixup: expected a multiple of " + std::to_string(count) +
                        " numbers (channels x height x width), found " + std::to_string(samples.size()));
  if (mix.lambda >= 1) return;
  const std::size_t n = samples.size() / count;
  for (std::size_t i = 0; i < n / 2; ++i) {
    T *a = samples.data() + i * count, *b = samples.data() + (n - 1 - i) * count;
    if (!mix.cutmix) {
      const T own = static_cast<T>(mix.lambda), other = static_cast<T>(1 - mix.lambda);
      for (std::size_t j = 0; j < count; ++j) {
        const T x = a[j], y = b[j];
        a[j] = x * own + y * other;
        b[j] = y * own + x * other;
      }
      continue;
    }
    const auto row = static_cast<std::size_t>(mix.left);
    for (std::size_t c = 0; c < static_cast<std::size_t>(channels); ++c)
      for (int y = mix.top; y < mix.bottom; ++y) {
        const std::size_t first = c * plane + static_cast<std::size_t>(y) * static_cast<std::size_t>(size.width) + row;
        std::swap_ranges(a + first, a + first + (mix.right - mix.left), b + first);
      }
  }
}

/// Soft labels (n, classes) of a mixed batch, overwritten: lambda of sample i's label and 1 - lambda of its partner's,
/// each smoothed: smoothing / classes everywhere, and 1 - smoothing more at the label. Rows sum to 1.
template <class T>
void mix_labels(const Mix& mix, std::span<const std::int32_t> labels, int classes, double smoothing,
                std::span<T> soft) {
  const std::size_t n = labels.size(), width = static_cast<std::size_t>(classes);
  if (soft.size() != n * width)
    throw MismatchError("mixup: expected room for " + std::to_string(n * width) + " soft labels, found " +
                        std::to_string(soft.size()));
  for (const std::int32_t label : labels)
    if (label < 0 || label >= classes)
      throw OptionError("mixup: expected labels from 0 to " + std::to_string(classes - 1) + ", found " +
                        std::to_string(label));
  const double off = smoothing / classes;
  for (std::size_t i = 0; i < n; ++i) {
    const std::int32_t own = labels[i], other = labels[n - 1 - i];
    for (std::int32_t k = 0; k < classes; ++k) {
      const double at = (k == own ? mix.lambda : 0) + (k == other ? 1 - mix.lambda : 0);
      soft[i * width + static_cast<std::size_t>(k)] = static_cast<T>(off + (1 - smoothing) * at);
    }
  }
}

/// All of it for the batch of an update: samples are mixed in place, `soft` (n, classes) is overwritten. Returns what
/// was drawn.
template <class T>
Mix mixup(const MixupConfig& config, int channels, Extent size, std::uint64_t seed, std::uint32_t update,
          std::span<T> samples, std::span<const std::int32_t> labels, int classes, std::span<T> soft) {
  config.validate();
  const Mix mix = draw_mix(config, size, seed, update);
  mix_labels(mix, labels, classes, config.label_smoothing, soft);
  mix_samples(mix, channels, size, samples);
  return mix;
}

}  // namespace data2vec::inline v0
