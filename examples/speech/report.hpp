// SPDX-License-Identifier: MIT
// The report of the demo on speech: results from the parts, waveforms and spectrograms from the recordings.
#pragma once

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include <data2vec/evaluation/run_report.hpp>

#include "examples/common/parts.hpp"
#include "examples/common/report.hpp"
#include "examples/speech/feature_extractor.hpp"
#include "examples/speech/recognition.hpp"

namespace demo {

inline constexpr const char* starts[] = {"pre-trained", "from scratch"};
inline std::string tuning_name(const char* start, std::uint64_t seed) {
  return formatted("letters, %s, seed %llu", start, static_cast<unsigned long long>(seed));
}
inline constexpr const char* overfit_name = "ten utterances by heart";

/// A recording as a picture: its waveform above its log-mel spectrogram, `frame_pixels` for each frame of the model.
inline d2v::Image picture_of(std::span<const float> samples, int frames) {
  constexpr int frame_pixels = 4, wave = 60, band_pixels = 2;
  const d2v::LogMel mel({.rate = sample_rate});
  const std::vector<float> energy = mel(samples);
  const int times = mel.frames(samples.size());
  d2v::Image image{wave + band_pixels * mel.bands(), frames * frame_pixels, 1, {}};
  image.pixels.assign(static_cast<std::size_t>(image.height * image.width), 255);
  const auto [least, most] = std::minmax_element(energy.begin(), energy.end());
  float loudest = 1e-6f;
  for (const float x : samples) loudest = std::max(loudest, std::fabs(x));
  for (int x = 0; x < image.width; ++x) {
    const auto from = samples.size() * static_cast<std::size_t>(x) / static_cast<std::size_t>(image.width);
    const auto to = samples.size() * static_cast<std::size_t>(x + 1) / static_cast<std::size_t>(image.width);
    float high = 0, low = 0;
    for (std::size_t i = from; i < to; ++i) high = std::max(high, samples[i]), low = std::min(low, samples[i]);
    const auto row = [&](float value) { return static_cast<int>((1 - value / loudest) * (wave / 2 - 1)); };
    for (int y = row(high); y <= row(low); ++y) image.pixels[static_cast<std::size_t>(y * image.width + x)] = 40;
    const int t = std::min(times - 1, x * times / image.width);
    for (int y = wave; y < image.height; ++y) {
      const int band = mel.bands() - 1 - (y - wave) / band_pixels;
      const float value = energy[static_cast<std::size_t>(t * mel.bands() + band)];
      image.pixels[static_cast<std::size_t>(y * image.width + x)] =
          static_cast<std::uint8_t>(255 - 235 * (value - *least) / std::max(*most - *least, 1e-6f));
    }
  }
  return image;
}

/// A recording of the first training ones with two masks that it would get in the first update.
inline d2v::ReportSection masks_section(const SpeechData& data, std::uint64_t seed) {
  d2v::ReportSection section{
      .title = "What the student sees",
      .paragraph = "Waveform and log-mel spectrogram. The student gets the frames that are not covered (checked grey: "
                   "hidden) and predicts what the teacher, who hears everything, makes of the hidden ones."};
  std::size_t shown = 0;
  std::vector<float> samples;
  for (std::size_t i = 0; i < data.train.size() && shown < 3; ++i) {
    if (data.train.lengths()[i] < LengthBuckets::lengths[1]) continue;
    data.train.read(i, samples);
    Model::visit(1, [&]<int length>() {
      using Branch = Model::BranchAt<length>;
      samples.resize(static_cast<std::size_t>(Branch::M::sample_size));
      const d2v::Image image = picture_of(samples, Branch::T_);
      section.pictures.push_back({data.train.entry(i).path, image});
      const auto id = static_cast<std::uint32_t>(i);
      const d2v::Draws draws{seed, 0, &id, Branch::masks};
      for (int m = 0; m < 2; ++m) {
        d2v::Mask<Branch::T_> mask;
        d2v::Rng rng(draws.at(d2v::Site::masks, 0, 0).key(m));
        Branch::Masking::sample(rng, mask);
        section.pictures.push_back({formatted("mask %d", m + 1),
                                    d2v::visible_patches(image, {1, Branch::T_}, mask.hidden)});
      }
    });
    ++shown;
  }
  return section;
}

/// A rate ("cer" or "wer") of a start over its seeds, in per cent: the mean, and the standard deviation of several.
inline std::string rate_over_seeds(const Parts& parts, const char* start, std::uint64_t first_seed, int seeds,
                                   const char* rate) {
  std::vector<double> rates;
  for (int i = 0; i < seeds; ++i)
    if (const std::string name = tuning_name(start, first_seed + static_cast<std::uint64_t>(i));
        parts.results().contains(name))
      rates.push_back(parts.results()[name][rate]);
  const d2v::Score score = d2v::score_of(rates);
  return formatted("%.2f", 100 * score.value) +
         (std::isfinite(score.spread) ? formatted(" \xC2\xB1 %.2f", 100 * score.spread) : "");
}

/// Error rates by start and seed with their means, and aligned examples of the first seed.
inline d2v::ReportSection recognition_section(const Parts& parts, std::uint64_t first_seed, int seeds,
                                              const std::string& how) {
  d2v::ReportSection section{.title = "From recordings to words", .paragraph = how,
                             .header = {"start", "seed", "letters wrong, %", "words wrong, %", "without an error"}};
  for (const char* start : starts) {
    for (int i = 0; i < seeds; ++i) {
      const std::string name = tuning_name(start, first_seed + static_cast<std::uint64_t>(i));
      if (!parts.results().contains(name)) continue;
      const d2v::Json& r = parts.results()[name];
      section.rows.push_back({start, std::to_string(first_seed + static_cast<std::uint64_t>(i)),
                              formatted("%.2f", 100 * r["cer"].get<double>()),
                              formatted("%.2f", 100 * r["wer"].get<double>()),
                              r["exact"].dump() + " of " + r["utterances"].dump()});
      if (i > 0) continue;
      section.text += std::string(start) + ", the worst of seed " + std::to_string(first_seed) + ":\n";
      for (std::size_t k = 0; k < std::min<std::size_t>(4, r["examples"].size()); ++k)
        section.text += r["examples"][k]["aligned"].get<std::string>() + "\n";
    }
    if (seeds > 1)
      section.rows.push_back({start, formatted("mean of %d", seeds),
                              rate_over_seeds(parts, start, first_seed, seeds, "cer"),
                              rate_over_seeds(parts, start, first_seed, seeds, "wer"), ""});
  }
  if (parts.results().contains(overfit_name)) {
    const d2v::Json& r = parts.results()[overfit_name];
    section.rows.push_back({overfit_name, "", formatted("%.2f", 100 * r["cer"].get<double>()),
                            formatted("%.2f", 100 * r["wer"].get<double>()),
                            r["exact"].dump() + " of " + r["utterances"].dump()});
  }
  return section;
}

}  // namespace demo
