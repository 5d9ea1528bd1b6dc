// SPDX-License-Identifier: MIT
// A pre-training on a GPU in a folder: the sibling of demo::pretrain (common/pretraining.hpp) whose steps are submitted
// ahead of their reports and whose batches are made by several threads.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <filesystem>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include <data2vec/data/loader.hpp>
#include <data2vec/io/lock.hpp>
#include <data2vec/training/loop.hpp>

#include "examples/common/pretraining.hpp"
#include "examples/common/program.hpp"
#include "examples/vision/data.hpp"
#include "examples/vision/device_training.hpp"
#include "examples/vision/recipe.hpp"

namespace demo {

/// A training's state in memory of the host.
struct HostState {
  std::vector<float> weights = std::vector<float>(d2v::buffer_size<Model::Parameters<float>>), m = weights, v = weights,
                     teacher = Model::has_teacher ? weights : std::vector<float>();
  std::int64_t updates = 0;
  d2v::TrainingState buffers() {
    return {weights.data(), Model::has_teacher ? teacher.data() : nullptr, m.data(), v.data(), &updates};
  }
};

class DevicePretraining {
 public:
  /// `settings` are kept in checkpoints as extra["options"]; `encoders` times, evenly spread, the encoder is written to
  /// encoder-UPDATE.safetensors.
  DevicePretraining(PretrainOptions& options, const d2v::ImageDataset& images,
                    const d2v::ChannelStatistics& statistics, int encoders, d2v::Json settings)
      : options_(options), images_(images), statistics_(statistics), encoders_(encoders),
        settings_(std::move(settings)), training_(trainer_options(options)) {
    expect(options.batch == device_batch, "--batch: this program was compiled for", device_batch, options.batch);
    expect(options.accumulation == 1, "--accumulation: on a GPU expected", 1, options.accumulation);
    kept_ = ImageSource(images, statistics).kept();
    const unsigned cores = std::thread::hardware_concurrency();
    threads_ = options.threads > 0 ? options.threads : cores > 2 ? static_cast<int>(cores) - 1 : 1;
  }

  void run() {
    if (!options_.resume && options_.updates == 0) choose_length();
    if (interrupted) return;
    settings_["updates"] = options_.updates;
    training_.set(Recipe::schedule(options_.updates, options_.lr), Recipe::ema(options_.updates));
    std::filesystem::create_directories(options_.out);
    const d2v::FolderLock lock(options_.out);
    if (options_.resume) {
      const d2v::Json extra = d2v::load_checkpoint<Model>(options_.checkpoint(), state_.buffers());
      seconds_before_ = extra.value("seconds", 0.0);
      training_.write_state(state_.buffers());
    }
    const std::int64_t first = training_.updates();
    if (options_.resume) std::printf("going on behind update %lld\n", static_cast<long long>(first));
    d2v::JsonLog log(options_.out + "/log.jsonl", first);
    Progress progress(first, options_.updates, options_.batch);
    auto batches = batches_from(first);
    start_ = saved_ = std::chrono::steady_clock::now();
    std::int64_t begun = first;
    while (training_.updates() < options_.updates && !interrupted) {
      const std::int64_t stop = next_stop(training_.updates());
      const bool saves = seconds_since(saved_) >= options_.save_every;
      while (begun < stop && !saves && begun - training_.updates() < DeviceTraining::depth) {
        submit(*batches);
        ++begun;
      }
      while (training_.updates() < begun) {
        take(training_.fetch(), log, progress);
        if (!saves && begun < stop) break;
      }
      if (training_.updates() == begun && (saves || begun == stop)) {
        if (begun == stop) save_encoder(progress, begun);
        save_checkpoint();
      }
    }
    while (training_.updates() < begun) take(training_.fetch(), log, progress);
    save_checkpoint();
    if (training_.updates() < options_.updates) {
      progress.note(formatted("saved after update %lld of %lld; --resume goes on",
                              static_cast<long long>(training_.updates()), static_cast<long long>(options_.updates)));
      return;
    }
    write_encoder(options_.out + "/weights.safetensors");
    progress.note("weights of the encoder: " + options_.out + "/weights.safetensors");
  }

 private:
  static void expect(bool good, const char* what, int expected, int found) {
    if (!good) throw UsageError(formatted("%s %d, found %d", what, expected, found));
  }
  static d2v::TrainerOptions trainer_options(const PretrainOptions& options) {
    d2v::TrainerOptions settings = Recipe::trainer_options();
    settings.seed = options.seed;
    return settings;
  }

  std::unique_ptr<d2v::Prefetcher> batches_from(std::int64_t first) const {
    d2v::ImageFeed feed(RandomView(images_, statistics_), options_.batch, options_.seed);
    return std::make_unique<d2v::Prefetcher>(
        options_.batch, feed.sample_size(), feed,
        d2v::PrefetchOptions{.depth = threads_ + 2, .threads = threads_, .first = static_cast<std::uint64_t>(first)});
  }
  void submit(d2v::Prefetcher& batches) {
    const d2v::PrefetchedBatch batch = batches.next();
    training_.submit({batch.samples, batch.ids});
  }

  /// As many updates as fit into the minutes, by timed ones behind some that are not.
  void choose_length() {
    constexpr int timed = 200, before = 20;
    auto batches = batches_from(0);
    auto start = std::chrono::steady_clock::now();
    for (int i = 0; i < before + timed && !interrupted; ++i) {
      if (i == before) start = std::chrono::steady_clock::now();
      submit(*batches);
      if (i > 0) training_.fetch();
    }
    training_.fetch();
    const double seconds = seconds_since(start) / timed;
    training_.restart();
    options_.updates = std::max<std::int64_t>(1, static_cast<std::int64_t>(options_.minutes * 60 / seconds));
    std::printf("%.2f ms a step of %d images (of %d timed), %.0f images/s: %lld updates fit into %g minutes\n",
                1e3 * seconds, options_.batch, timed, options_.batch / seconds,
                static_cast<long long>(options_.updates), options_.minutes);
    std::fflush(stdout);
  }

  /// The next update behind which the encoder is written.
  std::int64_t next_stop(std::int64_t update) const {
    for (int i = 1; i < encoders_; ++i)
      if (const std::int64_t at = options_.updates * i / encoders_; at > update) return at;
    return options_.updates;
  }

  void take(d2v::StepReport report, d2v::JsonLog& log, Progress& progress) {
    d2v::Json line = d2v::log_line(report);
    line["seconds"] = seconds_before_ + seconds_since(start_);
    log.write(line);
    const std::string more = Model::has_teacher ? formatted("target deviation %.3f", report.target_var) : "";
    progress.show(report.update, Model::has_teacher ? report.regression : report.loss, more);
    skipped_ = report.skipped ? skipped_ + 1 : 0;
    if (!report.skipped) return;
    progress.note(formatted("update %lld skipped: its gradient is not finite", static_cast<long long>(report.update)));
    if (skipped_ >= 5) throw d2v::Error(formatted("%d updates in a row without a finite gradient", skipped_));
    if (training_.updates() == report.update) training_.pass_over();
  }

  void save_checkpoint() {
    training_.read_state(state_.buffers());
    d2v::Json extra = {{"options", settings_}, {"seconds", seconds_before_ + seconds_since(start_)}};
    extra.update(kept_);
    d2v::save_checkpoint<Model>(options_.checkpoint(), state_.buffers(), extra);
    saved_ = std::chrono::steady_clock::now();
  }
  void save_encoder(Progress& progress, std::int64_t update) {
    if (encoders_ < 1) return;
    training_.read_state(state_.buffers());
    const std::string path = options_.out + formatted("/encoder-%08lld.safetensors", static_cast<long long>(update));
    write_encoder(path);
    progress.note(formatted("%.1f s: %s", seconds_before_ + seconds_since(start_), path.c_str()));
  }
  void write_encoder(const std::string& path) const {
    d2v::SafetensorsMetadata metadata{{"updates", std::to_string(state_.updates)}};
    for (const auto& [name, value] : kept_.items()) metadata.emplace(name, value.dump());
    d2v::save_encoder<Model>(path, state_.weights, {}, metadata);
  }

  PretrainOptions& options_;
  const d2v::ImageDataset& images_;
  const d2v::ChannelStatistics& statistics_;
  int encoders_, threads_ = 1, skipped_ = 0;
  d2v::Json settings_, kept_;
  DeviceTraining training_;
  HostState state_;
  double seconds_before_ = 0;
  std::chrono::steady_clock::time_point start_{}, saved_{};
};

}  // namespace demo
