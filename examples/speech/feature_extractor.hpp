// SPDX-License-Identifier: MIT
// Features of recordings of any length on all threads: each in the shortest length that holds it, longer ones through
// windows of the longest.
#pragma once

#include <algorithm>
#include <memory>
#include <numeric>
#include <span>
#include <tuple>
#include <utility>
#include <vector>

#include <data2vec/evaluation/log_mel.hpp>
#include <data2vec/evaluation/long_features.hpp>

#include "examples/common/judging.hpp"
#include "examples/common/threads.hpp"
#include "examples/speech/data.hpp"

namespace demo {

inline constexpr int margin = 25;  ///< frames of context on either side of a window

/// One thread's way through an encoder.
class Windows {
 public:
  explicit Windows(int layer, int frames_of_context = margin) : layer_(layer), margin_(frames_of_context) {}

  /// Calls sink(first frame, values (frames, width)) for a recording of `samples` samples that `source` yields.
  template <class Source, class Sink>
  void run(const float* weights, std::int64_t samples, Source&& source, Sink&& sink) {
    with_extractor(weights, samples, [&](auto& extractor, const auto& parameters) {
      extractor.run(parameters, samples, source, sink);
    });
  }
  /// The same of the codes (frames, groups) of wav2vec 2.0's quantiser.
  template <class Source, class Sink>
  void codes(const float* weights, std::int64_t samples, Source&& source, Sink&& sink) {
    with_extractor(weights, samples, [&](auto& extractor, const auto& parameters) {
      extractor.codes(parameters, samples, source, sink);
    });
  }

  /// All frames of a recording in memory: (frames, width).
  std::vector<float> frames(const float* weights, std::span<const float> samples) {
    std::vector<float> all;
    std::size_t at = 0;
    run(weights, static_cast<std::int64_t>(samples.size()),
        [&](std::span<float> to) {
          const std::size_t n = std::min(to.size(), samples.size() - at);
          std::copy_n(samples.begin() + static_cast<std::ptrdiff_t>(at), n, to.begin());
          at += n;
          return n;
        },
        [&](std::int64_t, std::span<const float> values) { all.insert(all.end(), values.begin(), values.end()); });
    return all;
  }

 private:
  template <int i>
  using Of = d2v::LongFeatures<typename Model::template LengthAt<i>>;
  template <class>
  struct Each;
  template <int... i>
  struct Each<std::integer_sequence<int, i...>> {
    using type = std::tuple<std::unique_ptr<Of<i>>...>;
  };
  template <class Use>
  void with_extractor(const float* weights, std::int64_t samples, Use&& use) {
    int bucket = LengthBuckets::choose(samples, d2v::BucketFit::pad);
    if (bucket < 0) bucket = LengthBuckets::count - 1;
    Model::visit(bucket, [&]<int i>() {
      auto& extractor = std::get<static_cast<std::size_t>(i)>(extractors_);
      if (!extractor) extractor = std::make_unique<Of<i>>(margin_of<i>(), layer_);
      use(*extractor, d2v::bind<typename Model::template LengthAt<i>::template Parameters<const float>>(weights));
    });
  }
  /// Recordings of one window need no context, and a short window has no room for it.
  template <int i>
  int margin_of() const {
    return i + 1 < LengthBuckets::count ? 0 : std::min(margin_, (Model::template BranchAt<i>::T_ - 1) / 2);
  }

  int layer_, margin_;
  typename Each<std::make_integer_sequence<int, LengthBuckets::count>>::type extractors_;
};

/// Calls f(thread, i, samples) for recordings `chosen`, on all threads. What is thrown is thrown here.
template <class F>
void for_each_recording(d2v::ThreadTeam& team, const d2v::Recordings& recordings, std::span<const std::size_t> chosen,
                        F&& f) {
  run_all(team, [&](int thread) {
    std::vector<float> samples;
    for (auto i = static_cast<std::size_t>(thread); i < chosen.size() && !interrupted;
         i += static_cast<std::size_t>(team.size())) {
      recordings.read(chosen[i], samples);
      f(thread, i, samples);
    }
  });
}

/// Features of recordings for neighbours and probe: those of an encoder, or log-mel where there are no weights.
inline Rows rows_of(d2v::ThreadTeam& team, const SpeechData& data, const d2v::Recordings& part,
                    std::span<const std::size_t> chosen, const float* weights, int layer, int segments) {
  constexpr int mel_segments = 16;
  const d2v::LogMel mel({.rate = sample_rate});
  const std::size_t columns =
      static_cast<std::size_t>(weights ? segments * width : mel_segments * mel.bands() + 1);
  Rows rows{std::vector<float>(chosen.size() * columns), {}};
  for (const std::size_t i : chosen) rows.labels.push_back(data.classes.empty() ? 0 : data.label(part, i));
  std::vector<Windows> windows;
  for (int i = 0; i < team.size(); ++i) windows.emplace_back(layer);
  for_each_recording(team, part, chosen, [&](int thread, std::size_t i, std::span<const float> samples) {
    float* const to = rows.values.data() + i * columns;
    if (!weights) {
      const std::vector<float> summary = mel.summary(samples, mel_segments);
      std::copy(summary.begin(), summary.end(), to);
    } else {
      d2v::pool_frames(windows[static_cast<std::size_t>(thread)].frames(weights, samples), width, segments, to);
    }
  });
  return rows;
}

/// 0 to n - 1.
inline std::vector<std::size_t> in_order(std::size_t n) {
  std::vector<std::size_t> order(n);
  std::iota(order.begin(), order.end(), std::size_t{0});
  return order;
}

/// The same in an order that the seed chooses.
inline std::vector<std::size_t> shuffled(std::size_t n, std::uint64_t seed) {
  std::vector<std::size_t> order = in_order(n);
  d2v::Rng rng({.seed = seed, .site = d2v::Site::order});
  for (std::size_t i = n; i > 1; --i) std::swap(order[i - 1], order[rng.below(static_cast<std::uint32_t>(i))]);
  return order;
}

/// Whose features are judged, in the order of the tables.
inline constexpr const char* feature_names[] = {"log-mel", "encoder, random weights", "encoder, pre-trained"};

/// Neighbours and probe of a kind of features.
inline Judgement judge_speech(const char* name, d2v::ThreadTeam& team, const SpeechData& data, const float* weights,
                              int layer, int segments, const JudgeOptions& options) {
  const auto train = shuffled(data.train.size(), options.seed), test = in_order(data.test.size());
  const Rows a = rows_of(team, data, data.train, train, weights, layer, segments);
  const Rows b = rows_of(team, data, data.test, test, weights, layer, segments);
  if (interrupted) return {name, 0, 0, 0, 0, d2v::Confusion(2), d2v::Confusion(2)};
  return judge(name, a, b, a.values.size() / a.labels.size(), d2v::Metric::cosine,
               static_cast<int>(data.classes.size()), options);
}

}  // namespace demo
