// SPDX-License-Identifier: MIT
// Log-mel spectrograms: what features of recordings are measured against, and what a report shows of them.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <numbers>
#include <span>
#include <string>
#include <vector>

#include <data2vec/core/error.hpp>

namespace data2vec::inline v0 {

struct LogMelOptions {
  int rate = 16'000;           ///< Hz
  int bands = 40;              ///< triangles on the mel scale, from 0 to half the rate
  double window = 0.025;       ///< seconds, a Hann window
  double hop = 0.010;          ///< seconds
  double pre_emphasis = 0.97;  ///< x(t) - this * x(t - 1)
};

/// Log energies in mel bands (Davis and Mermelstein, 1980, without the cosine transform). Not for training: the Fourier
/// transform is a plain sum.
class LogMel {
 public:
  /// Throws OptionError.
  explicit LogMel(const LogMelOptions& o) : options_(o), size_(round(o.window * o.rate)), hop_(round(o.hop * o.rate)) {
    if (o.rate < 1 || o.bands < 1 || size_ < 2 || hop_ < 1 || o.bands > size_ / 2)
      throw OptionError("LogMelOptions: expected a window of 2 samples or more, a hop of 1 or more, and bands up to "
                        "half the window, found " + std::to_string(size_) + ", " + std::to_string(hop_) + " and " +
                        std::to_string(o.bands));
    const auto n = static_cast<std::size_t>(size_), bins = n / 2 + 1;
    cosine_.resize(n), sine_.resize(n), hann_.resize(n);
    for (std::size_t i = 0; i < n; ++i) {
      const double angle = 2 * std::numbers::pi * static_cast<double>(i) / size_;
      cosine_[i] = std::cos(angle), sine_[i] = std::sin(angle), hann_[i] = 0.5 - 0.5 * std::cos(angle);
    }
    const auto mel = [](double hz) { return 2595 * std::log10(1 + hz / 700); };
    const double step = mel(o.rate / 2.0) / (o.bands + 1);
    weights_.resize(static_cast<std::size_t>(o.bands) * bins);
    for (int band = 0; band < o.bands; ++band)
      for (std::size_t bin = 0; bin < bins; ++bin) {
        const double at = mel(static_cast<double>(bin) * o.rate / size_) / step - band;  // 0 and 2: the band's ends
        weights_[static_cast<std::size_t>(band) * bins + bin] = std::max(0.0, 1 - std::fabs(at - 1));
      }
  }

  int bands() const { return options_.bands; }
  /// Frames of so many samples; the shortest recordings have one, filled up with zeros.
  int frames(std::size_t samples) const {
    return 1 + std::max(0, (static_cast<int>(samples) - size_)) / hop_;
  }

  /// (frames, bands).
  std::vector<float> operator()(std::span<const float> samples) const {
    const auto n = static_cast<std::size_t>(size_), bins = n / 2 + 1;
    const int count = frames(samples.size());
    std::vector<double> x(n), power(bins);
    std::vector<float> out;
    for (int frame = 0; frame < count; ++frame) {
      const std::size_t first = static_cast<std::size_t>(frame) * static_cast<std::size_t>(hop_);
      for (std::size_t i = 0; i < n; ++i) {
        const std::size_t at = first + i;
        const double now = at < samples.size() ? static_cast<double>(samples[at]) : 0;
        const double before = at > 0 && at - 1 < samples.size() ? static_cast<double>(samples[at - 1]) : 0;
        x[i] = hann_[i] * (now - options_.pre_emphasis * before);
      }
      for (std::size_t bin = 0; bin < bins; ++bin) {
        double real = 0, imaginary = 0;
        for (std::size_t i = 0, turn = 0; i < n; ++i, turn = turn + bin < n ? turn + bin : turn + bin - n)
          real += x[i] * cosine_[turn], imaginary += x[i] * sine_[turn];
        power[bin] = real * real + imaginary * imaginary;
      }
      for (int band = 0; band < options_.bands; ++band) {
        double energy = 0;
        for (std::size_t bin = 0; bin < bins; ++bin)
          energy += weights_[static_cast<std::size_t>(band) * bins + bin] * power[bin];
        out.push_back(static_cast<float>(std::log(energy + 1e-10)));
      }
    }
    return out;
  }

  /// What a linear model is given: the spectrogram less its mean by band, averaged over `segments` equal stretches of
  /// time, and the log of the number of frames: segments * bands + 1 numbers.
  std::vector<float> summary(std::span<const float> samples, int segments) const {
    std::vector<float> mel = (*this)(samples);
    const int count = frames(samples.size()), bands = options_.bands;
    std::vector<float> out;
    for (int band = 0; band < bands; ++band) {
      const auto at = [&](int t) -> float& { return mel[static_cast<std::size_t>(t * bands + band)]; };
      double mean = 0;
      for (int t = 0; t < count; ++t) mean += static_cast<double>(at(t)) / count;
      for (int t = 0; t < count; ++t) at(t) -= static_cast<float>(mean);
    }
    for (int segment = 0; segment < segments; ++segment) {
      const int begin = segment * count / segments, end = ((segment + 1) * count + segments - 1) / segments;
      for (int band = 0; band < bands; ++band) {
        double sum = 0;
        for (int t = begin; t < end; ++t) sum += static_cast<double>(mel[static_cast<std::size_t>(t * bands + band)]);
        out.push_back(static_cast<float>(sum / (end - begin)));
      }
    }
    out.push_back(std::log(static_cast<float>(count)));
    return out;
  }

 private:
  static int round(double x) { return static_cast<int>(x + 0.5); }

  LogMelOptions options_;
  int size_, hop_;                                    // of the window, in samples
  std::vector<double> cosine_, sine_, hann_, weights_;  // (window) each; (bands, bins)
};

}  // namespace data2vec::inline v0
