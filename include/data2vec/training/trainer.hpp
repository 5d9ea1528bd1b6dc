// SPDX-License-Identifier: MIT
// One training step of a model on the CPU: masks, teacher, student, decoder, losses, backward, clipping, Adam, moving
// average of the teacher. Samples run depth first in chunks; threads take units of chunks, whose gradients are added in
// the order of the units, so weights have the same bits for any number of threads.
#pragma once

#include <cmath>
#include <span>
#include <string>
#include <vector>

#include <data2vec/core/buffer.hpp>
#include <data2vec/core/error.hpp>
#include <data2vec/training/options.hpp>
#include <data2vec/training/updater.hpp>

namespace data2vec::inline v0 {

/// A batch in memory. The ids name the samples for good: all that is random about a sample follows from its id.
template <class T = float>
struct Batch {
  std::span<const T> samples;          ///< (n, sample_size)
  std::span<const std::uint32_t> ids;  ///< (n)
  std::span<const T> targets = {};     ///< (n, sample_size), another view for the teacher; empty: the same
};

/// What a step did. With accumulation, losses and deviations are those of the update's micro-batches so far.
struct StepReport {
  std::int64_t update = 0;   ///< updates before this one
  double loss = 0;           ///< all terms, per hidden position
  double regression = 0, cls = 0, recon = 0;
  double sample_size = 0;    ///< hidden positions in the batch
  double target_var = 0;     ///< mean over channels of the standard deviation of targets at hidden positions
  double pred_var = 0;       ///< the same of predictions; near zero: collapse
  double gradient_norm = 0;  ///< before clipping; 0 while micro-batches are to come
  double learning_rate = 0;
  double ema_decay = 0;      ///< used for the teacher after this update
  bool skipped = false;      ///< the gradient was not finite: no parameter was changed
  bool updated = false;      ///< the weights changed; neither this nor `skipped`: more micro-batches are to come
};

/// Mean over channels of sqrt(unbiased variance + 1e-6), from sums and sums of squares of `rows` rows.
inline double mean_deviation(const double* sum, const double* squares, int channels, double rows) {
  double total = 0;
  for (int c = 0; c < channels; ++c) {
    const double variance = (squares[c] - sum[c] * sum[c] / rows) / (rows - 1);
    total += std::sqrt((variance > 0 ? variance : 0) + 1e-6);
  }
  return total / channels;
}

/// Samples per chunk: enough that products have some 64 rows or more.
template <class Branch>
inline constexpr int default_chunk = [] {
  const int rows = Branch::masks * (Branch::E + Branch::V);
  int chunk = 1;
  while (chunk < 16 && chunk * rows < 64) chunk *= 2;
  return chunk;
}();

/// The buffers of a training, of one layout, and what else changes from update to update.
struct TrainingState {
  float *weights, *teacher, *m, *v;
  std::int64_t* updates;
};

template <class Model, class Device, int chunk = default_chunk<typename Model::First>>
class Trainer;

template <class Model, class Isa, int chunk>
class Trainer<Model, BasicCpu<Isa>, chunk> {
 public:
  using T = float;
  using ModelType = Model;
  using Branch = typename Model::First;
  using Parameters = typename Model::template Parameters<T>;
  static constexpr std::size_t size = buffer_size<Parameters>;
  static constexpr int sample_size = Branch::M::sample_size;

  /// Samples per unit of work.
  static constexpr int unit_samples = samples_per_unit(chunk, size, Model::template flops_per_sample<0>);

  explicit Trainer(const TrainerOptions& options) : options_(options), updater_(options.threads) {
    if (options.accumulation < 1)
      throw OptionError("TrainerOptions::accumulation: expected 1 or more, found " +
                        std::to_string(options.accumulation));
    const int threads = updater_.team().size();
    threads_.reserve(static_cast<std::size_t>(threads));
    for (int i = 0; i < threads; ++i) threads_.emplace_back();
    for (const TensorInfo& info : tensor_table<Parameters>) {
      in_teacher_.push_back(Model::in_teacher(info.name.view()));
      receives_gradient_.push_back(Model::receives_gradient(info.name.view()));
    }
    set_schedule(options.schedule);
    restart();
  }

  /// Back to the initial weights and update 0.
  void restart() {
    const auto weights = updater_.weights();
    Model::initialise(weights.data(), options_.seed);
    std::copy(weights.begin(), weights.end(), teacher_.begin());
    updater_.restart();
    updates_ = 0;
    pending_ = 0;
  }

  /// Throws OptionError, naming the field, if the schedule cannot be run.
  void set_schedule(const Schedule& schedule) {
    validate(schedule);
    options_.schedule = schedule;
  }
  void set_ema(const EmaConfig& ema) { options_.ema = ema; }

  /// One update, or with options().accumulation = k one of its k micro-batches: all of one size, the update comes with
  /// the last. It is that of the k micro-batches as one batch: the same bits where the size of a micro-batch is a
  /// multiple of unit_samples, otherwise sums in another order. Throws OptionError if the batch does not fit the model,
  /// the chunk or the micro-batches before; no other exception.
  StepReport step(const Batch<T>& batch) {
    const int samples = check(batch);
    const int units = (samples + unit_samples - 1) / unit_samples;
    if (pending_ == 0) {
      sums_ = {};
      std::fill(moments_.begin(), moments_.end(), 0.0);
      micro_batch_ = samples;
    }
    updater_.accumulate(
        units, [&](int thread, int unit, T* gradient) { run_unit(thread, gradient, batch, samples, unit); },
        [&](int thread, int) { merge(threads_[static_cast<std::size_t>(thread)]); }, pending_ > 0);
    pending_ = (pending_ + 1) % options_.accumulation;
    StepReport report = summarise();
    if (pending_ > 0) return report;
    report.gradient_norm = updater_.gradient_norm();
    report.updated = is_finite(report.gradient_norm);
    report.skipped = !report.updated;
    if (report.updated) apply(report);
    return report;
  }

  /// Counts an update whose step was skipped, so that the next one has other samples and other draws.
  void pass_over() { ++updates_; }

  /// Micro-batches whose update has not come yet, and a way to forget them.
  int pending() const { return pending_; }
  void drop_pending() { pending_ = 0; }

  std::int64_t updates() const { return updates_; }
  const TrainerOptions& options() const { return options_; }
  std::span<T> weights() { return updater_.weights(); }
  std::span<const T> weights() const { return updater_.weights(); }
  std::span<const T> teacher() const { return {teacher_.data(), size}; }
  std::span<const T> gradient() const { return updater_.gradient(); }

  /// Everything that a checkpoint keeps; whoever writes to it takes the training elsewhere. Throws OptionError between
  /// the micro-batches of an update, which would be lost without a word.
  TrainingState state() {
    if (pending_ != 0)
      throw OptionError("accumulation: expected all " + std::to_string(options_.accumulation) +
                        " micro-batches of an update, found " + std::to_string(pending_) + " that were never applied");
    return {updater_.weights().data(), teacher_.data(), updater_.m().data(), updater_.v().data(), &updates_};
  }

 private:
  static constexpr int D = Branch::D;
  using Workspace = typename Branch::template Workspace<T, chunk>;
  using Indices = typename Branch::template Indices<chunk>;

  struct Thread {
    Buffer<T> workspace{buffer_size<Workspace>};
    Buffer<int> indices{buffer_size<Indices>};
    Buffer<double> moments{4 * D};
    LossSums sums;
  };

  int check(const Batch<T>& batch) const {
    const auto n = static_cast<long>(batch.ids.size());
    if (n == 0 || n % chunk != 0)
      throw OptionError("batch: expected a multiple of " + std::to_string(chunk) + " samples, found " +
                        std::to_string(n));
    for (const auto part : {batch.samples, batch.targets.empty() ? batch.samples : batch.targets})
      if (part.size() != static_cast<std::size_t>(n) * sample_size)
        throw OptionError("batch of " + std::to_string(n) + " samples: expected " + std::to_string(n * sample_size) +
                          " numbers, found " + std::to_string(part.size()));
    if (pending_ > 0 && n != micro_batch_)
      throw OptionError("batch: expected " + std::to_string(micro_batch_) +
                        " samples as in the micro-batch before, found " + std::to_string(n));
    return static_cast<int>(n);
  }

  void run_unit(int number, T* gradient, const Batch<T>& batch, int samples, int unit) {
    Thread& thread = threads_[static_cast<std::size_t>(number)];
    std::fill(thread.moments.begin(), thread.moments.end(), 0.0);
    thread.sums = {};
    const int end = std::min(samples, (unit + 1) * unit_samples);
    for (int first = unit * unit_samples; first < end; first += chunk)
      thread.sums += run_chunk(thread, updater_.device(number), gradient, batch, samples, first);
  }

  void merge(const Thread& thread) {
    for (std::size_t i = 0; i < moments_.size(); ++i) moments_[i] += thread.moments[i];
    sums_ += thread.sums;
  }

  LossSums run_chunk(Thread& thread, BasicCpu<Isa>& device, T* gradient, const Batch<T>& batch, int samples,
                     int first) {
    using Input = View<const T, chunk, sample_size>;
    const Pass<BasicCpu<Isa>, true> pass{
        device,
        {options_.seed, static_cast<std::uint32_t>(updates_), batch.ids.data() + first, Branch::masks},
        options_.rates};
    const auto index = bind<Indices>(thread.indices.data());
    Branch::template draw_masks<chunk>(pass.draws, index);
    const std::size_t offset = static_cast<std::size_t>(first) * sample_size;
    const Input input{batch.samples.data() + offset};
    const Input target{batch.targets.empty() ? input.data : batch.targets.data() + offset};
    const double hidden = static_cast<double>(samples) * options_.accumulation * Branch::masks * Branch::R;
    return Branch::step(pass, read(weights().data()), read(teacher_.data()),
                        Model::template weights<0>(bind<Parameters>(gradient)), input, target,
                        static_cast<const T*>(nullptr), options_.mask_noise_std, options_.loss, hidden,
                        bind<Workspace>(thread.workspace.data()), index, thread.moments.data());
  }

  static auto read(const T* buffer) {
    return Model::template weights<0>(bind<typename Model::template Parameters<const T>>(buffer));
  }

  StepReport summarise() {
    const double n = sums_.sample_size;
    StepReport report{.update = updates_,
                      .loss = sums_.total() / n,
                      .regression = sums_.regression / n,
                      .cls = sums_.cls,
                      .recon = sums_.recon / n,
                      .sample_size = n};
    report.pred_var = mean_deviation(&moments_[0], &moments_[D], D, n);
    report.target_var = mean_deviation(&moments_[2 * D], &moments_[3 * D], D, n);
    report.learning_rate = learning_rate(options_.schedule, updates_);
    report.ema_decay = ema_decay(options_.ema, updates_ + 1);
    return report;
  }

  void apply(const StepReport& report) {
    const TensorUpdate update{report.learning_rate, updates_ + 1,
                              clip_factor(report.gradient_norm, options_.optimizer.clip_norm)};
    const T* const student = weights().data();
    updater_.apply(
        options_.optimizer,
        [&](std::size_t row) { return receives_gradient_[row] ? update : TensorUpdate{.count = 0}; },
        [&](BasicCpu<Isa>& device, std::size_t row, std::size_t first, std::size_t count) {
          if (in_teacher_[row])
            follow_tensor(device, tensor_table<Parameters>[row], report.ema_decay, student, teacher_.data(), first,
                          count);
        });
    ++updates_;
  }

  TrainerOptions options_;
  Updater<Parameters, Isa> updater_;
  std::vector<Thread> threads_;
  std::vector<bool> in_teacher_, receives_gradient_;  // by row of the table
  Buffer<T> teacher_{size};
  Buffer<double> moments_{4 * D};
  LossSums sums_;
  std::int64_t updates_ = 0;
  int pending_ = 0, micro_batch_ = 0;  // micro-batches so far, and their size
};

}  // namespace data2vec::inline v0
