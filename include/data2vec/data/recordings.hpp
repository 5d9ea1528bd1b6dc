// SPDX-License-Identifier: MIT
// Recordings by index: lengths known from the start, samples mono, at one rate and normalised. What cannot be used is
// counted by reason and skipped up to a limit. Part of data2vec::audio.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <data2vec/core/error.hpp>
#include <data2vec/data/audio.hpp>
#include <data2vec/data/manifest.hpp>
#include <data2vec/data/skips.hpp>
#include <data2vec/data/waveform.hpp>

namespace data2vec::inline v0 {

/// How recordings are treated.
struct RecordingOptions {
  int rate = 16'000;             ///< Hz of the samples; what was recorded at another rate is converted
  bool normalise = true;         ///< whole utterances to mean 0 and variance 1, before any cropping
  std::int64_t min_samples = 1;  ///< at `rate`: a shorter recording is "too short"
  double silence = 0x1p-15;      ///< an amplitude up to this (one step of 16 bits) is "silent"
  double max_broken = 0.01;      ///< share of the recordings that may be unusable before that is an error
  /// Read the header of every file at once: lengths are known and files without one are left out. Otherwise the lengths
  /// of the manifest are trusted and taken to be at `rate`.
  bool scan = true;
  /// Where what was read from headers is kept, so that it is read once; empty: nowhere. A file whose size has changed
  /// is read again.
  std::string index = {};
  RateQuality quality = RateQuality::medium;
};

/// Recordings by index with what the manifest says about them. Copies share the data; everything const is thread-safe.
class Recordings {
 public:
  Recordings() = default;  ///< none

  /// Throws FileError where more recordings than allowed are unusable, OptionError.
  explicit Recordings(Manifest manifest, const RecordingOptions& options = {}) : options_(options) {
    if (options.rate < min_sample_rate || options.rate > max_sample_rate)
      throw OptionError("RecordingOptions::rate: expected " + std::to_string(min_sample_rate) + " to " +
                        std::to_string(max_sample_rate) + " Hz, found " + std::to_string(options.rate));
    if (options.min_samples < 1)
      throw OptionError("RecordingOptions::min_samples: expected 1 or more, found " +
                        std::to_string(options.min_samples));
    log_ = std::make_shared<detail::SkipLog>(manifest.file, manifest.entries.size(), options.max_broken,
                                             "RecordingOptions", "recordings that cannot be used");
    scan(manifest);
    manifest_ = std::make_shared<const Manifest>(std::move(manifest));
  }

  std::size_t size() const { return lengths_.size(); }
  int rate() const { return options_.rate; }  ///< Hz
  /// Samples of each recording at rate().
  const std::vector<std::int64_t>& lengths() const { return lengths_; }
  /// Path, transcript and label of a recording.
  const ManifestEntry& entry(std::size_t i) const {
    check_index(i);
    return manifest_->entries[i];
  }
  std::string name(std::size_t i) const {
    check_index(i);
    return manifest_->path(i);
  }

  /// Writes the samples of a recording, all of them. One that cannot be used is counted, and the next good index takes
  /// its place (i + 1, i + 2, ..., from 0 after the last): the same one whoever asks. Returns the index used. Throws
  /// FileError naming the first files where too many are broken.
  std::size_t load(std::size_t i, std::vector<float>& samples) const {
    check_index(i);
    for (std::size_t step = 0; step < size(); ++step) {
      const std::size_t at = (i + step) % size();
      if (log_->broken(at)) continue;
      try {
        read(at, samples);
        return at;
      } catch (const AudioError& error) {
        log_->add(at, error.reason, error.what());
      } catch (const FileError& error) {
        log_->add(at, "unreadable", error.what());
      }
    }
    throw FileError(manifest_->file, "expected a recording that can be used, found none");
  }

  /// The same for one recording and no other: an unusable one is thrown, not counted. For evaluation, where every
  /// recording matters. Throws AudioError, FileError.
  void read(std::size_t i, std::vector<float>& samples) const {
    const ManifestEntry& known = entry(i);
    const std::string file = name(i);
    AudioReader reader(file, options_.rate, options_.quality);
    const AudioInfo& info = reader.info();
    const int rate = known.rate > 0 ? known.rate : options_.rate;
    if (info.frames != known.frames || info.rate != rate)
      throw AudioError(file, "changed",
                       "expected " + std::to_string(known.frames) + " frames at " + std::to_string(rate) +
                           " Hz as in the manifest or its index, found " + std::to_string(info.frames) + " at " +
                           std::to_string(info.rate) + " Hz");
    samples.resize(static_cast<std::size_t>(reader.length()));
    reader.read(samples);
    WaveformMoments moments;
    moments.add(samples);
    if (moments.amplitude() <= options_.silence)
      throw AudioError(file, "silent",
                       "amplitude: expected more than " + std::to_string(options_.silence) + ", found " +
                           std::to_string(moments.amplitude()));
    if (options_.normalise) normalise(samples, moments);
  }

  /// What was skipped so far.
  SkipReport skipped() const { return log_ ? log_->report() : SkipReport{}; }

 private:
  void check_index(std::size_t i) const {
    if (i >= size())
      throw OptionError("index of a recording: expected less than " + std::to_string(size()) + ", found " +
                        std::to_string(i));
  }

  /// Leaves out what has no valid header or is too short, and learns the lengths of the rest.
  void scan(Manifest& manifest) {
    const std::map<std::string, ManifestEntry> index = read_index(manifest);
    std::size_t kept = 0;
    bool news = false;
    for (std::size_t i = 0; i < manifest.entries.size(); ++i) {
      ManifestEntry& entry = manifest.entries[i];
      const std::string file = manifest.path(i);
      try {
        if (options_.scan) {
          const auto known = index.find(entry.path);
          AudioInfo info;
          if (known != index.end() && known->second.bytes == InputFile(file).size())
            info = {known->second.rate, 1, known->second.frames, known->second.bytes};
          else
            info = audio_info(file), news = true;
          if ((entry.frames > 0 && entry.frames != info.frames) || (entry.rate > 0 && entry.rate != info.rate))
            throw AudioError(file, "changed",
                             "expected the manifest's " + std::to_string(entry.frames) + " frames at " +
                                 std::to_string(entry.rate > 0 ? entry.rate : info.rate) + " Hz, found " +
                                 std::to_string(info.frames) + " at " + std::to_string(info.rate) + " Hz");
          entry.frames = info.frames, entry.rate = info.rate, entry.bytes = info.bytes;
        }
        if (entry.frames < 1)
          throw AudioError(file, "changed",
                           "frames: expected them in the manifest where headers are not read, found none");
        const int rate = entry.rate > 0 ? entry.rate : options_.rate;
        const std::int64_t length = resampled_length(entry.frames, rate, options_.rate);
        if (length < options_.min_samples)
          throw AudioError(file, "too short",
                           "expected " + std::to_string(options_.min_samples) + " samples at " +
                               std::to_string(options_.rate) + " Hz, found " + std::to_string(length));
        lengths_.push_back(length);
        if (kept != i) manifest.entries[kept] = std::move(entry);
        ++kept;
      } catch (const AudioError& error) {
        log_->count(error.reason, error.what());
      } catch (const FileError& error) {
        log_->count("unreadable", error.what());
      }
    }
    manifest.entries.resize(kept);
    log_->check();
    if (news && !options_.index.empty()) write_tsv_manifest(options_.index, manifest);
  }

  /// What an earlier run has found below the same root.
  std::map<std::string, ManifestEntry> read_index(const Manifest& manifest) const {
    std::map<std::string, ManifestEntry> known;
    if (!options_.scan || options_.index.empty() || !std::filesystem::exists(options_.index)) return known;
    Manifest index = read_tsv_manifest(options_.index);
    std::error_code error;
    if (!std::filesystem::equivalent(index.root, manifest.root.empty() ? "." : manifest.root, error)) return known;
    for (ManifestEntry& entry : index.entries)
      if (entry.rate > 0) known.emplace(entry.path, std::move(entry));
    return known;
  }

  RecordingOptions options_;
  std::shared_ptr<const Manifest> manifest_;
  std::vector<std::int64_t> lengths_;
  std::shared_ptr<detail::SkipLog> log_;
};

}  // namespace data2vec::inline v0
