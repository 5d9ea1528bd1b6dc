// SPDX-License-Identifier: MIT
// One training step of a model on the CPU: masks, teacher, student, decoder, losses, backward, clipping, Adam, teacher's
// moving average. Samples run depth first in chunks; threads take units of chunks, whose gradients are added in the order
// of the units, so weights have the same bits for any number of threads.
#pragma once

#include <cmath>
#include <span>
#include <string>
#include <vector>

#include <data2vec/core/buffer.hpp>
#include <data2vec/core/error.hpp>
#include <data2vec/device/cpu/all.hpp>
#include <data2vec/device/cpu/threads.hpp>
#include <data2vec/training/options.hpp>

namespace data2vec::inline v0 {

/// A batch in memory. The ids name the samples for good: all that is random about a sample follows from its id.
template <class T = float>
struct Batch {
  std::span<const T> samples;          ///< (n, sample_size)
  std::span<const std::uint32_t> ids;  ///< (n)
  std::span<const T> targets = {};     ///< (n, sample_size), another view for the teacher; empty: the same
};

/// What a step did.
struct StepReport {
  std::int64_t update = 0;   ///< updates before this one
  double loss = 0;           ///< all terms, per hidden position
  double regression = 0, cls = 0, recon = 0;
  double sample_size = 0;    ///< hidden positions in the batch
  double target_var = 0;     ///< mean over channels of the standard deviation of targets at hidden positions
  double pred_var = 0;       ///< the same of predictions; near zero: collapse
  double gradient_norm = 0;  ///< before clipping
  double learning_rate = 0;
  double ema_decay = 0;      ///< used for the teacher after this update
  bool skipped = false;      ///< the gradient was not finite: no parameter was changed
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

template <class Model, class Device, int chunk = default_chunk<typename Model::First>>
class Trainer;

template <class Model, class Isa, int chunk>
class Trainer<Model, BasicCpu<Isa>, chunk> {
 public:
  using T = float;
  using Branch = typename Model::First;
  using Parameters = typename Model::template Parameters<T>;
  static constexpr std::size_t size = buffer_size<Parameters>;
  static constexpr int sample_size = Branch::M::sample_size;

  /// Samples per unit of work: so many that adding up a unit's gradient (12 bytes of traffic per parameter) costs some
  /// 2 % of computing it. A number of the type, so the order of sums does not depend on the machine.
  static constexpr int unit_samples = [] {
    const double wanted = 3000.0 * static_cast<double>(size) / Model::template flops_per_sample<0>;
    int samples = chunk;
    while (samples < wanted) samples += chunk;
    return samples;
  }();

  explicit Trainer(const TrainerOptions& options) : options_(options), team_(options.threads) {
    threads_.reserve(static_cast<std::size_t>(team_.size()));
    for (int i = 0; i < team_.size(); ++i) threads_.emplace_back();
    set_schedule(options.schedule);
    restart();
    for (const TensorInfo& info : tensor_table<Parameters>)
      for (std::size_t first = 0; first < info.size; first += piece)
        pieces_.push_back({&info, first, std::min(piece, info.size - first), Model::in_teacher(info.name.view())});
    norms_.resize((size + piece - 1) / piece);
  }

  /// Back to the initial weights and update 0.
  void restart() {
    Model::initialise(weights_.data(), options_.seed);
    std::copy(weights_.begin(), weights_.end(), teacher_.begin());
    std::fill(m_.begin(), m_.end(), T(0));
    std::fill(v_.begin(), v_.end(), T(0));
    updates_ = 0;
  }

  /// Throws OptionError, naming the field, if the schedule cannot be run.
  void set_schedule(const Schedule& schedule) {
    validate(schedule);
    options_.schedule = schedule;
  }
  void set_ema(const EmaConfig& ema) { options_.ema = ema; }

  /// One update. Throws OptionError if the batch does not fit the model or the chunk; no other exception.
  StepReport step(const Batch<T>& batch) {
    const int samples = check(batch);
    const int units = (samples + unit_samples - 1) / unit_samples;
    sums_ = {};
    std::fill(moments_.begin(), moments_.end(), 0.0);
    std::fill(gradient_.begin(), gradient_.end(), T(0));
    turns_.restart();
    team_.for_each_task(units, [&](int thread, int unit) { run_unit(threads_[static_cast<std::size_t>(thread)], batch, samples, unit); });
    StepReport report = summarise();
    if (is_finite(report.gradient_norm)) apply(report);
    else report.skipped = true;
    return report;
  }

  std::int64_t updates() const { return updates_; }
  const TrainerOptions& options() const { return options_; }
  std::span<T> weights() { return {weights_.data(), size}; }
  std::span<const T> weights() const { return {weights_.data(), size}; }
  std::span<const T> teacher() const { return {teacher_.data(), size}; }
  std::span<const T> gradient() const { return {gradient_.data(), size}; }

 private:
  static constexpr std::size_t piece = 16 * 1024;  // elements that one task of an update works on
  static constexpr int D = Branch::D;
  using Workspace = typename Branch::template Workspace<T, chunk>;
  using Indices = typename Branch::template Indices<chunk>;

  struct Thread {
    BasicCpu<Isa> device;
    Buffer<T> gradient{size};
    Buffer<T> workspace{buffer_size<Workspace>};
    Buffer<int> indices{buffer_size<Indices>};
    Buffer<double> moments{4 * D};
  };
  struct Piece {
    const TensorInfo* tensor;
    std::size_t first, count;
    bool in_teacher;
  };

  static int check(const Batch<T>& batch) {
    const auto n = static_cast<long>(batch.ids.size());
    if (n == 0 || n % chunk != 0)
      throw OptionError("batch: expected a multiple of " + std::to_string(chunk) + " samples, found " + std::to_string(n));
    for (const auto part : {batch.samples, batch.targets.empty() ? batch.samples : batch.targets})
      if (part.size() != static_cast<std::size_t>(n) * sample_size)
        throw OptionError("batch of " + std::to_string(n) + " samples: expected " + std::to_string(n * sample_size) +
                          " numbers, found " + std::to_string(part.size()));
    return static_cast<int>(n);
  }

  void run_unit(Thread& thread, const Batch<T>& batch, int samples, int unit) {
    std::fill(thread.gradient.begin(), thread.gradient.end(), T(0));
    std::fill(thread.moments.begin(), thread.moments.end(), 0.0);
    LossSums sums;
    const int end = std::min(samples, (unit + 1) * unit_samples);
    for (int first = unit * unit_samples; first < end; first += chunk) sums += run_chunk(thread, batch, samples, first);
    turns_.wait_for(unit);
    device::add(thread.device, size, gradient_.data(), thread.gradient.data(), gradient_.data());
    for (std::size_t i = 0; i < moments_.size(); ++i) moments_[i] += thread.moments[i];
    sums_ += sums;
    turns_.done(unit);
  }

  LossSums run_chunk(Thread& thread, const Batch<T>& batch, int samples, int first) {
    using Input = View<const T, chunk, sample_size>;
    const Pass<BasicCpu<Isa>, true> pass{
        thread.device,
        {options_.seed, static_cast<std::uint32_t>(updates_), batch.ids.data() + first, Branch::masks},
        options_.rates};
    const auto index = bind<Indices>(thread.indices.data());
    Branch::template draw_masks<chunk>(pass.draws, index);
    const std::size_t offset = static_cast<std::size_t>(first) * sample_size;
    const Input input{batch.samples.data() + offset};
    const Input target{batch.targets.empty() ? input.data : batch.targets.data() + offset};
    const double hidden = static_cast<double>(samples) * Branch::masks * Branch::R;
    return Branch::step(pass, read(weights_), read(teacher_), Model::template weights<0>(bind<Parameters>(thread.gradient.data())),
                        input, target, static_cast<const T*>(nullptr), options_.mask_noise_std, options_.loss, hidden,
                        bind<Workspace>(thread.workspace.data()), index, thread.moments.data());
  }

  static auto read(const Buffer<T>& buffer) {
    return Model::template weights<0>(bind<typename Model::template Parameters<const T>>(buffer.data()));
  }

  StepReport summarise() {
    team_.for_each_task(static_cast<int>(norms_.size()), [&](int thread, int i) {
      const std::size_t first = static_cast<std::size_t>(i) * piece;
      norms_[static_cast<std::size_t>(i)] =
          device::sum_of_squares(threads_[static_cast<std::size_t>(thread)].device, std::min(piece, size - first),
                                 static_cast<const T*>(gradient_.data()) + first);
    });
    double squares = 0;
    for (const double part : norms_) squares += part;
    const double n = sums_.sample_size;
    StepReport report{.update = updates_,
                      .loss = sums_.total() / n,
                      .regression = sums_.regression / n,
                      .cls = sums_.cls,
                      .recon = sums_.recon / n,
                      .sample_size = n,
                      .gradient_norm = std::sqrt(squares)};
    report.pred_var = mean_deviation(&moments_[0], &moments_[D], D, n);
    report.target_var = mean_deviation(&moments_[2 * D], &moments_[3 * D], D, n);
    report.learning_rate = learning_rate(options_.schedule, updates_);
    report.ema_decay = ema_decay(options_.ema, updates_ + 1);
    return report;
  }

  void apply(const StepReport& report) {
    const TensorUpdate update{report.learning_rate, updates_ + 1,
                              clip_factor(report.gradient_norm, options_.optimizer.clip_norm)};
    const OptimizerState<T> state{weights_.data(), gradient_.data(), m_.data(), v_.data()};
    team_.for_each_task(static_cast<int>(pieces_.size()), [&](int thread, int i) {
      auto& d = threads_[static_cast<std::size_t>(thread)].device;
      const Piece& p = pieces_[static_cast<std::size_t>(i)];
      update_tensor(d, options_.optimizer, *p.tensor, update, state, p.first, p.count);
      if (p.in_teacher)
        follow_tensor(d, *p.tensor, report.ema_decay, static_cast<const T*>(weights_.data()), teacher_.data(), p.first,
                      p.count);
    });
    ++updates_;
  }

  TrainerOptions options_;
  ThreadTeam team_;
  std::vector<Thread> threads_;
  std::vector<Piece> pieces_;
  std::vector<double> norms_;
  Buffer<T> weights_{size}, gradient_{size}, m_{size}, v_{size}, teacher_{size};
  Buffer<double> moments_{4 * D};
  LossSums sums_;
  Turns turns_;
  std::int64_t updates_ = 0;
};

}  // namespace data2vec::inline v0
