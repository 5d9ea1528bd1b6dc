// SPDX-License-Identifier: MIT
// What is done to samples once they are in memory: mean, deviation and range, normalisation, and the crop or padding
// that brings a recording to the static length of a model.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <span>

#include <data2vec/core/random.hpp>

namespace data2vec::inline v0 {

/// Mean, variance and range of samples that come piece by piece, so that a long recording needs no memory.
class WaveformMoments {
 public:
  void add(std::span<const float> samples) {
    for (const float sample : samples) {
      const auto x = static_cast<double>(sample);
      if (count_ == 0) shift_ = x, least_ = most_ = sample;
      least_ = std::min(least_, sample), most_ = std::max(most_, sample);
      sum_ += x - shift_;  // from the first sample on: a large mean does not cancel the variance
      squares_ += (x - shift_) * (x - shift_);
      ++count_;
    }
  }

  std::int64_t count() const { return count_; }
  double mean() const { return count_ == 0 ? 0 : shift_ + sum_ / static_cast<double>(count_); }
  /// The biased one: divided by the count.
  double variance() const {
    if (count_ == 0) return 0;
    const auto n = static_cast<double>(count_);
    return std::max(0.0, (squares_ - sum_ / n * sum_) / n);
  }
  /// Half of the largest difference between two samples: what a constant offset does not change.
  double amplitude() const { return (static_cast<double>(most_) - static_cast<double>(least_)) / 2; }

 private:
  double shift_ = 0, sum_ = 0, squares_ = 0;
  float least_ = 0, most_ = 0;
  std::int64_t count_ = 0;
};

/// x -> (x - mean) / sqrt(variance + 1e-5): the layer norm over a whole utterance that the reference applies, before
/// any cropping. (fairseq: F.layer_norm(wav, wav.shape) in RawAudioDataset.postprocess)
inline void normalise(std::span<float> samples, const WaveformMoments& moments) {
  const double mean = moments.mean(), scale = 1 / std::sqrt(moments.variance() + 1e-5);
  for (float& x : samples) x = static_cast<float>((static_cast<double>(x) - mean) * scale);
}

/// The same with the samples' own moments.
inline void normalise(std::span<float> samples) {
  WaveformMoments moments;
  moments.add(samples);
  normalise(samples, moments);
}

/// Writes all of `out`: a stretch of `samples` that `rng` chooses where they are longer, all of them and then zeros
/// where they are shorter. Returns the valid length, at most that of `out`.
inline std::size_t crop_or_pad(std::span<const float> samples, Rng rng, std::span<float> out) {
  const std::size_t valid = std::min(samples.size(), out.size());
  const std::size_t choices = samples.size() - valid + 1;
  // Recordings of more than 2^32 samples (74 hours at 16 kHz) are cropped within their first 2^32.
  const auto most = static_cast<std::uint32_t>(std::min<std::size_t>(choices, 0xFFFFFFFFu));
  const auto from = samples.subspan(choices > 1 ? rng.below(most) : 0, valid);
  std::fill(std::copy(from.begin(), from.end(), out.begin()), out.end(), 0.0f);
  return valid;
}

}  // namespace data2vec::inline v0
