// SPDX-License-Identifier: MIT
// The recordings of --data for the example programs on speech: which are for training and which are judged, their
// classes and transcripts, and what a pre-training feeds on.
#pragma once

#include <algorithm>
#include <cctype>
#include <cstdint>
#include <filesystem>
#include <map>
#include <numeric>
#include <string>
#include <utility>
#include <vector>

#include <data2vec/data/idx.hpp>
#include <data2vec/data/manifest.hpp>
#include <data2vec/data/recordings.hpp>
#include <data2vec/data/speech_feed.hpp>

#include "examples/common/encoder.hpp"
#include "examples/common/pretraining.hpp"
#include "examples/common/program.hpp"
#include "examples/speech/model.hpp"

namespace demo {

inline constexpr const char* default_data = "/usr/share/asterisk/sounds/en_US_f_Allison";
inline constexpr const char* default_transcripts = "/usr/share/doc/asterisk-core-sounds-en/core-sounds-en.txt.gz";

/// What says which recordings.
struct DataOptions {
  std::string data = default_data, test;
  double max_broken = 0.01;
  bool validation = false;  ///< every fifth of the recordings for training is judged instead, to choose settings

  void add_to(CLI::App& app) {
    app.add_option("--data", data, "recordings: a folder (of train/ and test/, or of any depth), or a manifest: TSV as "
                                   "fairseq's, or JSON lines");
    app.add_option("--test", test, "recordings that are judged, as --data; without: DATA/test, or every fifth");
    app.add_option("--max-broken", max_broken, "share of the recordings that may be unusable")
        ->check(CLI::Range(0.0, 1.0));
  }
};

/// Letters a to z and the apostrophe of a text in lower case, with single blanks between words.
inline std::string spoken(std::string_view text) {
  std::string out;
  for (const char c : text) {
    const auto lower = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
    out += (lower >= 'a' && lower <= 'z') || lower == '\'' ? lower : ' ';
  }
  return d2v::single_blanks(out);
}

/// The prompts of the Debian package: `key: text` a line, where key is a path without its ending; texts in brackets are
/// tones, and those with figures are not spelled out, so they have no transcript here.
inline void add_prompts(d2v::Manifest& manifest, const std::string& transcripts) {
  std::map<std::string, std::pair<std::string, std::string>> texts;
  if (std::filesystem::exists(transcripts)) {
    d2v::detail::IdxSource source(transcripts);
    std::vector<std::uint8_t> bytes(std::size_t{1} << 20);
    bytes.resize(source.read_some(bytes));
    std::string line;
    int number = 1;
    for (const std::uint8_t byte : bytes) {
      if (byte != '\n') {
        line += static_cast<char>(byte);
        continue;
      }
      const std::size_t colon = line.find(": ");
      if (!line.starts_with(';') && colon != std::string::npos)
        texts[line.substr(0, colon)] = {line.substr(colon + 2), transcripts + ":" + std::to_string(number)};
      line.clear(), ++number;
    }
  }
  std::erase_if(manifest.entries, [](const d2v::ManifestEntry& e) { return e.path.starts_with("silence/"); });
  for (d2v::ManifestEntry& entry : manifest.entries) {
    const std::size_t slash = entry.path.find('/');
    const std::string folder = entry.path.substr(0, slash == std::string::npos ? 0 : slash);
    entry.label = folder == "digits" || folder == "letters" || folder == "phonetic" ? folder : "prompts";
    const auto found = texts.find(entry.path.substr(0, entry.path.rfind('.')));
    if (found == texts.end()) continue;
    const auto& [text, at] = found->second;
    if (text.find_first_of("0123456789") != std::string::npos || spoken(text).empty()) continue;
    entry.text = spoken(text), entry.text_at = at;
  }
  std::erase_if(manifest.entries, [&](const d2v::ManifestEntry& e) {  // tones
    const auto found = texts.find(e.path.substr(0, e.path.rfind('.')));
    return found != texts.end() && found->second.first.starts_with('[');
  });
}

/// Recordings for training and those that are judged, at the model's rate.
struct SpeechData {
  d2v::Recordings train, test;
  std::vector<std::string> classes;  ///< names of the labels of both parts, sorted

  int label(const d2v::Recordings& part, std::size_t i) const {
    const auto at = std::lower_bound(classes.begin(), classes.end(), part.entry(i).label);
    return static_cast<int>(at - classes.begin());
  }
};

/// Every fifth entry of `train` becomes `test`.
inline void hold_out(d2v::Manifest& train, d2v::Manifest& test) {
  test = {train.file, train.root, {}};
  std::vector<d2v::ManifestEntry> rest;
  for (std::size_t i = 0; i < train.entries.size(); ++i)
    (i % 5 == 4 ? test.entries : rest).push_back(std::move(train.entries[i]));
  train.entries = std::move(rest);
}

/// Opens --data. Throws MissingData and the library's errors.
inline SpeechData open_data(const DataOptions& o) {
  namespace fs = std::filesystem;
  if (!fs::exists(o.data))
    throw MissingData(o.data + ": expected recordings, found none. Prompts in English: sudo apt-get install " +
                      "asterisk-core-sounds-en-wav asterisk-core-sounds-en, then without --data");
  const bool parts = o.test.empty() && fs::is_directory(o.data + "/train") && fs::is_directory(o.data + "/test");
  d2v::Manifest train = d2v::open_manifest(parts ? o.data + "/train" : o.data), test;
  if (o.data == default_data) add_prompts(train, default_transcripts);
  if (parts || !o.test.empty()) {
    test = d2v::open_manifest(parts ? o.data + "/test" : o.test);
  } else {
    hold_out(train, test);
  }
  if (o.validation) hold_out(train, test);
  for (d2v::Manifest* part : {&train, &test})
    for (d2v::ManifestEntry& entry : part->entries)
      if (!entry.text_at.empty()) entry.text = spoken(entry.text);
  const d2v::RecordingOptions options{
      .rate = sample_rate, .min_samples = shortest, .max_broken = o.max_broken, .scan = true};
  SpeechData data{d2v::Recordings(std::move(train), options), d2v::Recordings(std::move(test), options), {}};
  for (const d2v::Recordings* part : {&data.train, &data.test})
    for (std::size_t i = 0; i < part->size(); ++i) data.classes.push_back(part->entry(i).label);
  std::sort(data.classes.begin(), data.classes.end());
  data.classes.erase(std::unique(data.classes.begin(), data.classes.end()), data.classes.end());
  if (data.classes.size() < 2) data.classes.clear();  // one class says nothing
  if (data.train.size() == 0) throw d2v::MismatchError(o.data + ": expected recordings for training, found none");
  return data;
}

inline void expect_classes(const SpeechData& data, const std::string& from) {
  if (data.classes.empty() || data.test.size() == 0)
    throw d2v::MismatchError(from + ": expected recordings of two classes or more (folders, or \"label\" in a "
                                    "manifest) and some that are judged, found " +
                             std::to_string(data.classes.size()) + " classes and " + std::to_string(data.test.size()) +
                             " of those");
}

/// Throws MismatchError where an encoder was trained at another rate. (A checkpoint's configuration says the same.)
inline void expect_rate(const d2v::Json& kept, const std::string& file) {
  if (kept.contains("sample_rate") && kept["sample_rate"] != sample_rate)
    throw d2v::MismatchError(file + ": expected an encoder for " + std::to_string(sample_rate) +
                             " Hz, for which this program was compiled, found " + kept["sample_rate"].dump());
}

/// What a pre-training on recordings feeds on (see common/pretraining.hpp).
class SpeechSource {
 public:
  static constexpr const char* unit = "recordings";
  explicit SpeechSource(const d2v::Recordings& recordings) : recordings_(recordings) {}

  struct Stream {
    d2v::SpeechFeed<LengthBuckets> feed;
    d2v::Prefetcher prefetcher;
    std::vector<int> lengths;

    Stream(const d2v::Recordings& recordings, const PretrainOptions& o, std::int64_t first)
        : feed(recordings, bucket_options(o.batch), o.seed),
          prefetcher(feed.slots(), feed.sample_size(), feed, {.first = static_cast<std::uint64_t>(first)}) {}

    d2v::LengthBatch<> next() {
      const d2v::SpeechBatch batch = feed.view(prefetcher.next());
      lengths.assign(batch.valid.begin(), batch.valid.end());
      return {{batch.samples, batch.ids, {}, lengths}, batch.bucket};
    }
  };
  Stream batches(const PretrainOptions& o, std::int64_t first) const { return Stream(recordings_, o, first); }
  double bytes(int batch) const { return 3.0 * batch * LengthBuckets::lengths.back() * sizeof(float); }
  d2v::Json kept() const { return {{"recordings", recordings_.size()}, {"sample_rate", sample_rate}}; }

  /// Every batch has the samples of `batch` recordings of the longest length.
  static d2v::BucketOptions bucket_options(int batch) {
    return {.fit = d2v::BucketFit::crop,
            .max_samples = std::int64_t{batch} * LengthBuckets::lengths.back(),
            .max_rows = 1024,
            .row_multiple = Recipe::Trainer::chunk};
  }

 private:
  const d2v::Recordings& recordings_;
};

/// Throws MismatchError where a resumed training had another number of recordings.
inline void expect_recordings(const d2v::Json& extra, const SpeechData& data, const std::string& from) {
  if (!extra.empty() && extra["recordings"] != data.train.size())
    throw d2v::MismatchError(from + ": expected the " + extra["recordings"].dump() +
                             " recordings with which this training began, found " + std::to_string(data.train.size()));
}

/// Seconds of recordings.
inline double seconds_of(const d2v::Recordings& recordings) {
  const auto& lengths = recordings.lengths();
  return static_cast<double>(std::accumulate(lengths.begin(), lengths.end(), std::int64_t{0})) / sample_rate;
}

inline void describe(const SpeechData& data, const std::string& from) {
  std::printf("%zu recordings (%s) and %zu that are judged (%s) of %s at %d Hz\n", data.train.size(),
              clock_text(seconds_of(data.train)).c_str(), data.test.size(), clock_text(seconds_of(data.test)).c_str(),
              from.c_str(), sample_rate);
}

}  // namespace demo
