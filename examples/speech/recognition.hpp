// SPDX-License-Identifier: MIT
// Words from recordings: transcripts and their letters in memory, fine-tuning by CTC, error rates on what is judged.
#pragma once

#include <algorithm>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <data2vec/data/letters.hpp>
#include <data2vec/evaluation/edit_distance.hpp>
#include <data2vec/finetune/ctc_decode.hpp>
#include <data2vec/finetune/recogniser_checkpoint.hpp>

#include "examples/speech/data.hpp"

namespace demo {

using Tuner = d2v::RecogniserTuner<Model, most_symbols, d2v::Cpu>;

/// How a recogniser is trained and read.
struct RecognitionOptions {
  std::int64_t updates = 1000, freeze = -1;  ///< freeze -1: by the start
  int batch = 4;        ///< utterances of the longest length in an update, of shorter ones as many samples
  double lr = 0;        ///< 0: by the start
  d2v::TokenMaskOptions mask{.mask_length = 5, .mask_channel_length = 16};  ///< of what is hidden, if any
  int beam = 1;         ///< 1: the best symbol of each frame
  int threads = 0;
  std::uint64_t seed = 1;

  /// With what suits the start where nothing is given, chosen for each by itself (docs/speech.md).
  RecognitionOptions from(bool pretrained) const {
    RecognitionOptions o = *this;
    if (o.lr == 0) o.lr = pretrained ? 1e-3 : 2e-3;
    if (!pretrained) o.freeze = 0;
    else if (o.freeze < 0) o.freeze = std::min<std::int64_t>(100, updates / 8);
    return o;
  }

  d2v::Json json() const {
    return {{"tuning-updates", updates},
            {"tuning-lr", lr},
            {"freeze", freeze},
            {"mask-prob", mask.mask_prob},
            {"mask-length", mask.mask_length},
            {"mask-channel-prob", mask.mask_channel_prob},
            {"mask-channel-length", mask.mask_channel_length}};
  }
};

/// Recordings with their transcripts that fit the longest length, in memory.
struct Utterances {
  std::vector<std::vector<float>> samples;
  std::vector<std::string> names, texts;
  std::vector<std::vector<std::int32_t>> labels;  ///< of the transcripts; empty where they are only compared with
  std::size_t too_long = 0, without = 0;          ///< recordings that are left out

  std::size_t size() const { return samples.size(); }
  double seconds() const {
    std::size_t sum = 0;
    for (const auto& each : samples) sum += each.size();
    return static_cast<double>(sum) / sample_rate;
  }
};

/// The recordings of a part that have a transcript and fit, in its order.
inline Utterances load_utterances(const d2v::Recordings& part) {
  Utterances all;
  for (std::size_t i = 0; i < part.size() && !interrupted; ++i) {
    const d2v::ManifestEntry& entry = part.entry(i);
    if (entry.text_at.empty()) {
      ++all.without;
    } else if (part.lengths()[i] > LengthBuckets::lengths.back()) {
      ++all.too_long;
    } else {
      part.read(i, all.samples.emplace_back());
      all.names.push_back(part.name(i)), all.texts.push_back(entry.text);
    }
  }
  return all;
}

/// Those with the given places.
inline Utterances chosen(const Utterances& from, std::span<const std::size_t> places) {
  Utterances some;
  for (const std::size_t i : places)
    some.samples.push_back(from.samples[i]), some.names.push_back(from.names[i]), some.texts.push_back(from.texts[i]);
  return some;
}

/// The letters of the training transcripts, which must all be there and fit the model.
inline d2v::Letters letters_of(const d2v::Recordings& part) {
  std::vector<d2v::ManifestEntry> entries;
  for (std::size_t i = 0; i < part.size(); ++i)
    if (!part.entry(i).text_at.empty()) entries.push_back(part.entry(i));
  d2v::Letters letters = d2v::Letters::from_transcripts(entries);
  letters.check(entries);
  if (letters.size() > most_symbols)
    throw d2v::MismatchError("transcripts: expected at most " + std::to_string(most_symbols) +
                             " symbols, for which this program was compiled, found " + std::to_string(letters.size()));
  return letters;
}

/// Writes the labels of transcripts. Throws MismatchError, naming the recording, for an unknown letter and for a
/// transcript that its frames have no room for.
inline void encode(Utterances& utterances, const d2v::Letters& letters) {
  utterances.labels.clear();
  for (std::size_t i = 0; i < utterances.size(); ++i) {
    utterances.labels.push_back(letters.encode(utterances.texts[i], utterances.names[i]));
    d2v::check_ctc_target(utterances.names[i], utterances.labels[i],
                          Model::First::Enc::valid_tokens(static_cast<int>(utterances.samples[i].size())),
                          letters.size());
  }
}

/// Batches of utterances, padded to the shortest length that holds them; a function of the number.
class UtteranceBatches {
 public:
  UtteranceBatches(const Utterances& utterances, int batch, std::uint64_t seed, bool shuffle = true)
      : utterances_(utterances),
        plan_(lengths_of(utterances),
              {.fit = d2v::BucketFit::pad,
               .max_samples = std::int64_t{batch} * LengthBuckets::lengths.back(),
               .max_rows = 64,
               .drop_partial = false,
               .shuffle = shuffle},
              seed) {}

  std::uint64_t size() const { return plan_.batches_per_epoch(); }
  std::span<const std::uint32_t> ids() const { return ids_; }

  d2v::UtteranceBatch<> operator()(std::uint64_t number) {
    const d2v::BucketBatch batch = plan_.batch(number);
    ids_ = batch.ids;
    const auto row_size = static_cast<std::size_t>(batch.length);
    samples_.assign(batch.ids.size() * row_size, 0);
    lengths_.clear(), labels_.clear();
    for (std::size_t row = 0; row < batch.ids.size(); ++row) {
      const auto& from = utterances_.samples[batch.ids[row]];
      std::copy(from.begin(), from.end(), samples_.begin() + static_cast<std::ptrdiff_t>(row * row_size));
      lengths_.push_back(static_cast<int>(from.size()));
      if (!utterances_.labels.empty()) labels_.emplace_back(utterances_.labels[batch.ids[row]]);
    }
    return {samples_, ids_, labels_, lengths_, batch.bucket};
  }

 private:
  static std::vector<std::int64_t> lengths_of(const Utterances& utterances) {
    std::vector<std::int64_t> lengths;
    for (const auto& samples : utterances.samples) lengths.push_back(static_cast<std::int64_t>(samples.size()));
    return lengths;
  }

  const Utterances& utterances_;
  d2v::BucketPlan<LengthBuckets> plan_;
  std::span<const std::uint32_t> ids_;
  std::vector<float> samples_;
  std::vector<int> lengths_;
  std::vector<std::span<const std::int32_t>> labels_;
};

inline d2v::RecogniserOptions tuner_options(const RecognitionOptions& o) {
  d2v::RecogniserOptions options = d2v::RecogniserOptions::of<Model>();
  options.schedule = d2v::RecogniserOptions::tri_stage(o.lr, o.updates);
  options.optimizer.clip_norm = 5;
  options.mask = o.mask;
  options.freeze_finetune_updates = o.freeze;
  options.seed = o.seed;
  options.threads = o.threads;
  return options;
}

/// Symbols that the dictionary has, of each frame; the model has room for more.
inline std::vector<float> narrowed(std::span<const float> logits, int symbols) {
  std::vector<float> some;
  for (std::size_t t = 0; t < logits.size(); t += most_symbols)
    some.insert(some.end(), logits.begin() + static_cast<std::ptrdiff_t>(t),
                logits.begin() + static_cast<std::ptrdiff_t>(t) + symbols);
  return some;
}

/// Error rates of a recogniser on utterances; `list`, if given, are the words that it may write.
inline d2v::ErrorRates recognise(Tuner& tuner, const Utterances& utterances, const d2v::Letters& letters, int beam,
                                 const d2v::WordList* list = nullptr) {
  Utterances plain = utterances;
  plain.labels.clear();
  std::vector<std::string> found(plain.size());
  UtteranceBatches batches(plain, 4, 0, false);
  for (std::uint64_t b = 0; b < batches.size() && !interrupted; ++b) {
    const auto batch = batches(b);
    tuner.logits(batch, [&](std::size_t row, std::span<const float> logits) {
      const std::vector<float> some = narrowed(logits, letters.size());
      const std::span<const float> values(some);
      const d2v::CtcHypothesis best =
          beam > 1 || list ? d2v::ctc_beam(values, letters.size(), {.beam = beam, .word_end = letters.word_end()}, list)
                                 .front()
                           : d2v::ctc_greedy(values, letters.size());
      found[batches.ids()[row]] = letters.decode(best.labels);
    });
  }
  d2v::ErrorRates rates;
  for (std::size_t i = 0; i < plain.size(); ++i) rates.add(plain.names[i], plain.texts[i], found[i]);
  return rates;
}

/// Error rates as JSON, with some aligned examples.
inline d2v::Json json_of(const d2v::ErrorRates& rates) {
  d2v::Json examples = d2v::Json::array();
  for (const auto& example : rates.worst())
    examples.push_back({{"name", example.name}, {"aligned", d2v::aligned_text(example.reference, example.hypothesis)}});
  return {{"cer", rates.cer()}, {"wer", rates.wer()}, {"utterances", rates.utterances()}, {"exact", rates.exact()},
          {"examples", examples}};
}

/// Trains without files: `updates` updates, or until a signal.
inline void tune(Tuner& tuner, const Utterances& utterances, const RecognitionOptions& o) {
  UtteranceBatches batches(utterances, o.batch, o.seed);
  while (tuner.updates() < o.updates && !interrupted)
    if (const d2v::RecogniserReport r = tuner.step(batches(static_cast<std::uint64_t>(tuner.updates()))); r.skipped)
      tuner.pass_over();
}

}  // namespace demo
