// SPDX-License-Identifier: MIT
// The loop around a trainer or a fine-tuner: batches, log, checkpoints, alarms, and an end that loses nothing.
#pragma once

#include <chrono>
#include <csignal>
#include <filesystem>
#include <functional>
#include <string>
#include <type_traits>
#include <utility>

#include <data2vec/io/lock.hpp>
#include <data2vec/io/log.hpp>
#include <data2vec/training/checkpoint.hpp>
#include <data2vec/training/monitor.hpp>
#include <data2vec/training/trainer.hpp>

namespace data2vec::inline v0 {

struct LoopOptions {
  std::string out;                  ///< folder of checkpoint.safetensors, log.jsonl and lock; made if it is not there
  std::int64_t updates = 0;         ///< length of the training
  bool resume = false;              ///< go on from the checkpoint in `out`
  double save_every = 60;           ///< seconds between checkpoints
  std::int64_t monitor_every = 50;  ///< updates between looks of the monitor; 0: none
  int most_skipped = 5;             ///< updates in a row whose gradient is not finite before the loop gives up
  Json extra = Json::object();      ///< kept in every checkpoint (see save_checkpoint)
};

/// What the loop tells. All may be empty.
template <class Report>
struct BasicLoopEvents {
  std::function<void(const Report&)> step = {};
  std::function<void(const HealthReport&)> health = {};  ///< of a training with a teacher
  std::function<void(const std::string&)> note = {};  ///< things to know that stop nothing: an alarm, a failed save
};
using LoopEvents = BasicLoopEvents<StepReport>;

enum class LoopEnd { finished, stopped };

/// A report as a line of the log. What another kind of trainer reports has an overload of its own, found by its
/// namespace.
inline Json log_line(const StepReport& r) {
  Json line = {{"update", r.update},         {"loss", r.loss},
               {"regression", r.regression}, {"cls", r.cls},
               {"recon", r.recon},           {"sample_size", r.sample_size},
               {"target_var", r.target_var}, {"pred_var", r.pred_var},
               {"gradient_norm", r.gradient_norm}, {"learning_rate", r.learning_rate},
               {"ema_decay", r.ema_decay},   {"skipped", r.skipped}};
  for (const ReportTerm& term : r.terms)
    if (term.name) line[term.name] = term.value;
  return line;
}

namespace detail {

/// The ids of a batch's samples with values that are not finite.
template <class AnyBatch>
std::string non_finite_samples(const AnyBatch& batch) {
  std::string ids;
  if constexpr (std::is_floating_point_v<std::remove_cvref_t<decltype(batch.samples[0])>>) {
    const std::size_t width = batch.ids.empty() ? 0 : batch.samples.size() / batch.ids.size();
    for (std::size_t i = 0; i < batch.ids.size(); ++i)
      for (const float x : batch.samples.subspan(i * width, width))
        if (!is_finite(x)) {
          ids += (ids.empty() ? "" : ", ") + std::to_string(batch.ids[i]);
          break;
        }
  }
  return ids;
}

/// What is not finite, by name: samples, then the first tensor of the gradient.
template <class Parameters>
std::string name_non_finite(const std::string& ids, std::span<const float> gradient) {
  const std::string text = ids.empty() ? "" : "samples with values that are not finite: " + ids + "; ";
  for (const TensorInfo& info : tensor_table<Parameters>)
    for (std::size_t i = info.offset; i < info.offset + info.size; ++i)
      if (!is_finite(gradient[i])) return text + "first tensor: gradient of " + std::string(info.name.view());
  return text + "the norm of the gradient overflows";
}

/// Removes what killed processes left of half-written files. Only for the holder of the folder's lock.
inline void remove_leftovers(const std::string& folder) {
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator(folder, error)) {
    const std::string name = entry.path().filename().string();
    if (name.starts_with("checkpoint.safetensors.tmp") || name.starts_with("log.jsonl.tmp"))
      std::filesystem::remove(entry.path(), error);
  }
}

/// Whether the monitor, which knows a model's first length, can look at a batch.
template <class AnyBatch>
bool can_be_monitored(const AnyBatch& batch) {
  if constexpr (requires { batch.bucket; })
    if (batch.bucket != 0) return false;
  return batch.ids.size() >= 8;
}

template <class Trainer, class Next>
using ReportOf = std::remove_cvref_t<decltype(std::declval<Trainer&>().step(std::declval<Next&>()()))>;

}  // namespace detail

/// Trains `trainer`, a Trainer or (with finetune/checkpoint.hpp) a FineTuner, up to `options.updates`. `next()` returns
/// the batch of update trainer.updates(), with accumulation its micro-batch trainer.pending(); it must be a function of
/// these. `stop` becomes non-zero when the training shall end early (a signal): it is saved, then the loop returns;
/// micro-batches of an unfinished update are done again on resume. A checkpoint that cannot be written is a note, and
/// the one before stays; at the end it is a FileError. Throws FileError for the folder, MismatchError for a checkpoint
/// of another model, OptionError for a trainer with an accumulation that was never applied, Error after too many
/// updates in a row without a finite gradient.
template <class Trainer, class Next>
LoopEnd run_loop(Trainer& trainer, const LoopOptions& options, Next&& next, const volatile std::sig_atomic_t& stop,
                 const BasicLoopEvents<detail::ReportOf<Trainer, Next>>& events = {}) {
  using Model = typename Trainer::ModelType;
  using Clock = std::chrono::steady_clock;
  constexpr bool has_teacher = requires { trainer.teacher(); };
  trainer.state();  // refuses a trainer between the micro-batches of an update
  std::error_code error;
  std::filesystem::create_directories(options.out, error);
  if (error) throw FileError(options.out, "cannot make this folder: " + error.message());
  const FolderLock lock(options.out);
  detail::remove_leftovers(options.out);
  const std::string checkpoint = options.out + "/checkpoint.safetensors";
  if (options.resume) load_checkpoint<Model>(checkpoint, trainer.state());
  else if (std::filesystem::exists(checkpoint))
    throw FileError(checkpoint,
                    "expected a folder without a checkpoint, found one: resume it, or choose another folder");
  JsonLog log(options.out + "/log.jsonl", trainer.updates());
  const auto tell = [&](const std::string& text) {
    if (events.note) events.note(text);
  };
  Json extra = options.extra;
  extra["updates_planned"] = options.updates;
  const auto save = [&] { save_checkpoint<Model>(checkpoint, trainer.state(), extra); };

  std::conditional_t<has_teacher, CollapseMonitor<Model>, Nothing> monitor;
  [[maybe_unused]] Collapse alarmed = Collapse::none;
  auto saved = Clock::now();
  int skipped = 0;
  std::string bad_samples;  // of the update's micro-batches
  while (trainer.updates() < options.updates && !stop) {
    const auto batch = next();
    const auto report = trainer.step(batch);
    if (!is_finite(report.loss) || report.skipped) {
      const std::string ids = detail::non_finite_samples(batch);
      bad_samples += (bad_samples.empty() || ids.empty() ? "" : ", ") + ids;
    }
    if (!report.updated && !report.skipped) continue;
    log.write(log_line(report));
    if (events.step) events.step(report);
    if (report.skipped) {
      const std::string what = "update " + std::to_string(report.update) + " skipped: " +
                               detail::name_non_finite<typename Trainer::Parameters>(bad_samples, trainer.gradient());
      bad_samples.clear();
      tell(what);
      if (++skipped >= options.most_skipped)
        throw Error(what + "; " + std::to_string(skipped) + " updates in a row, expected fewer than " +
                    std::to_string(options.most_skipped));
      trainer.pass_over();
      continue;
    }
    skipped = 0;
    if constexpr (has_teacher)
      if (options.monitor_every > 0 && report.update % options.monitor_every == 0 && detail::can_be_monitored(batch)) {
        const HealthReport health =
            monitor.look(batch.samples.data(), trainer.weights().data(), trainer.teacher().data(), report.target_var,
                         report.pred_var, report.ema_decay, batch.lengths.empty() ? nullptr : batch.lengths.data());
        if (events.health) events.health(health);
        if (health.alarm.cause != alarmed && health.alarm.cause != Collapse::none)
          tell("collapse at update " + std::to_string(report.update) + ": " + health.alarm.text);
        alarmed = health.alarm.cause;
      }
    if (std::chrono::duration<double>(Clock::now() - saved).count() >= options.save_every) {
      try {
        save();
      } catch (const FileError& failure) {
        tell(std::string("checkpoint not written, training goes on: ") + failure.what());
      }
      saved = Clock::now();
    }
  }
  if constexpr (requires { trainer.drop_pending(); }) trainer.drop_pending();
  save();
  return trainer.updates() >= options.updates ? LoopEnd::finished : LoopEnd::stopped;
}

}  // namespace data2vec::inline v0
