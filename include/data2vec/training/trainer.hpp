// SPDX-License-Identifier: MIT
// One training step of a model on the CPU: masks, teacher, student, decoder, losses, backward, clipping, Adam, moving
// average of the teacher. Samples run depth first in chunks, one teacher pass each, then one group of masks after the
// other. Gradients are added in the order of the chunks, so weights have the same bits for any number of threads.
#pragma once

#include <algorithm>
#include <array>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <data2vec/core/buffer.hpp>
#include <data2vec/core/error.hpp>
#include <data2vec/modality/modality.hpp>
#include <data2vec/objective/objective.hpp>
#include <data2vec/training/check_batch.hpp>
#include <data2vec/training/options.hpp>
#include <data2vec/training/step_report.hpp>
#include <data2vec/training/updater.hpp>

namespace data2vec::inline v0 {

/// Masks of a sample that pass through the student at a time: as many as keep to 384 rows, which share one packing of
/// the weights; more would cost memory and gain nothing.
template <class Branch, int chunk>
inline constexpr int masks_at_a_time = [] {
  int masks = Branch::masks;
  while (masks > 1 && (Branch::masks % masks != 0 || chunk * masks * (Branch::E + Branch::V) > 384)) --masks;
  return chunk > 1 ? Branch::masks : masks;
}();

template <class Model, class Isa, int chunk>
class Trainer<Model, BasicCpu<Isa>, chunk> {
 public:
  using T = float;
  using ModelType = Model;
  using Branch = typename Model::First;
  using Parameters = typename Model::template Parameters<T>;
  template <int i>
  using BranchAt = typename Model::template BranchAt<i>;
  template <int i>
  using BatchOf = Batch<SampleOf<typename BranchAt<i>::M, T>>;
  static_assert(Objective<Model>, "data2vec: not an Objective (objective/objective.hpp lists its members)");
  static constexpr int branches = Model::branches;
  static constexpr std::size_t size = buffer_size<Parameters>;
  static constexpr int sample_size = Branch::M::sample_size;

  /// Samples per chunk and per unit of work of branch `i`.
  template <int i>
  static constexpr int chunk_of = i == 0 ? chunk : default_chunk<BranchAt<i>>;
  template <int i>
  static constexpr int unit_samples_of = samples_per_unit(chunk_of<i>, size, Model::template flops_per_sample<i>);
  static constexpr int unit_samples = unit_samples_of<0>;

  /// How threads share the work: large models have one workspace and one gradient whatever the number of threads.
  static constexpr Sharing sharing = []<int... i>(std::integer_sequence<int, i...>) {
    return sharing_of(std::max({chunk_of<i> * Model::template flops_per_sample<i>...}));
  }(std::make_integer_sequence<int, branches>{});

  /// Bytes of weights, gradient, both moments and teacher; and of what each worker adds (`workers` of them for so many
  /// threads): indices, values of a chunk and, where units are shared, a gradient of its own. No batch changes them.
  static constexpr std::size_t state_bytes = (Model::has_teacher ? 5 : 4) * size * sizeof(T);
  template <int i>
  using WorkspaceOf = typename BranchAt<i>::template Workspace<T, chunk_of<i>, masks_at_a_time<BranchAt<i>, chunk_of<i>>>;
  template <int i>
  using IndicesOf = typename BranchAt<i>::template Indices<chunk_of<i>, masks_at_a_time<BranchAt<i>, chunk_of<i>>>;
  struct WorkerSizes {
    std::size_t workspace, indices, moments;
  };
  static constexpr WorkerSizes worker_sizes = []<int... i>(std::integer_sequence<int, i...>) {
    return WorkerSizes{std::max({buffer_size<WorkspaceOf<i>>...}), std::max({buffer_size<IndicesOf<i>>...}),
                       std::max({static_cast<std::size_t>(BranchAt<i>::moment_rows * BranchAt<i>::moment_width)...})};
  }(std::make_integer_sequence<int, branches>{});
  static constexpr std::size_t worker_bytes =
      sizeof(T) * (worker_sizes.workspace + (sharing == Sharing::units ? size : 0)) + sizeof(int) * worker_sizes.indices;
  static constexpr int workers(int threads) { return sharing == Sharing::units ? threads : 1; }

  explicit Trainer(const TrainerOptions& options) : options_(options), updater_(options.threads, sharing) {
    if (options.accumulation < 1)
      throw OptionError("TrainerOptions::accumulation: expected 1 or more, found " +
                        std::to_string(options.accumulation));
    workers_.reserve(static_cast<std::size_t>(updater_.workers()));
    for (int i = 0; i < updater_.workers(); ++i) workers_.emplace_back();
    if (options.accumulation > 1 && !accumulates)
      throw OptionError("accumulation: expected 1 for a model with a CLS loss and the exact rule of padding, found " +
                        std::to_string(options.accumulation));
    for (const TensorInfo& info : tensor_table<Parameters>) {
      const int owner = Model::branch_of(info.name.view());
      in_teacher_.push_back(Model::in_teacher(info.name.view()));
      owner_.push_back(owner);
      copies_.push_back(false);
      if constexpr (requires { Model::teacher_copies(info.name.view()); })
        copies_.back() = Model::teacher_copies(info.name.view());
      receives_gradient_.push_back(Model::receives_gradient(info.name.view(), owner < 0 ? 0 : owner));
    }
    for (int i = 0; i < branches; ++i) branch_options_.push_back(options.of_branch(i));
    set_schedule(options.schedule);
    restart();
  }

  /// Back to the initial weights and update 0.
  void restart() {
    const auto weights = updater_.weights();
    Model::initialise(weights.data(), options_.seed);
    if constexpr (Model::has_teacher) std::copy(weights.begin(), weights.end(), teacher_.begin());
    updater_.restart();
    updates_ = 0;
    branch_updates_.fill(0);
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
  /// A model of several branches learns from a batch of one of them in each step; what belongs to the others alone stays
  /// as it is, but for their teachers, which go on following.
  template <int i = 0>
  StepReport step(const BatchOf<i>& batch) {
    const int samples = check<i>(batch);
    const int units = (samples + unit_samples_of<i> - 1) / unit_samples_of<i>;
    if (pending_ == 0) {
      sums_ = {};
      std::fill(moments_.begin(), moments_.end(), 0.0);
      micro_batch_ = samples;
      branch_ = i;
    }
    const double divisor = divisor_of<i>(batch, samples);
    updater_.accumulate(
        units, [&](int worker, int unit, T* gradient) { run_unit<i>(worker, gradient, batch, samples, unit, divisor); },
        [&](int worker, int) { merge(workers_[static_cast<std::size_t>(worker)]); }, pending_ > 0);
    pending_ = (pending_ + 1) % options_.accumulation;
    StepReport report = summarise<i>();
    if (pending_ > 0) return report;
    // Where samples differ, the number of hidden positions may be known only now.
    const double correction =
        BranchAt<i>::positions_vary && !known_before<i>() ? divisor / std::max(sums_.sample_size, 1.0) : 1;
    report.gradient_norm = updater_.gradient_norm() * correction;
    report.updated = is_finite(report.gradient_norm);
    report.skipped = !report.updated;
    if (report.updated) apply(report, correction);
    return report;
  }

  /// The same for the branch of a modality: `step<Images>(batch)`.
  template <class M>
  StepReport step(const Batch<SampleOf<M, T>>& batch) {
    constexpr int i = []<int... k>(std::integer_sequence<int, k...>) {
      int found = -1;
      ((found = std::is_same_v<M, typename BranchAt<k>::M> ? k : found), ...);
      return found;
    }(std::make_integer_sequence<int, branches>{});
    static_assert(i >= 0, "data2vec: the model has no branch of this modality");
    return step<i>(batch);
  }

  /// Counts an update whose step was skipped, so that the next one has other samples and other draws.
  void pass_over() { ++updates_; }

  /// Micro-batches whose update has not come yet, and a way to forget them.
  int pending() const { return pending_; }
  void drop_pending() { pending_ = 0; }

  std::int64_t updates() const { return updates_; }
  /// Updates from batches of branch `i`.
  std::int64_t updates(int i) const { return branches == 1 ? updates_ : branch_updates_.at(static_cast<std::size_t>(i)); }
  const TrainerOptions& options() const { return options_; }
  std::span<T> weights() { return updater_.weights(); }
  std::span<const T> weights() const { return updater_.weights(); }
  std::span<const T> teacher() const requires Model::has_teacher { return {teacher_.data(), size}; }
  std::span<const T> gradient() const { return updater_.gradient(); }

  /// Everything that a checkpoint keeps; whoever writes to it takes the training elsewhere. Throws OptionError between
  /// the micro-batches of an update, which would be lost without a word.
  TrainingState state() {
    if (pending_ != 0)
      throw OptionError("accumulation: expected all " + std::to_string(options_.accumulation) +
                        " micro-batches of an update, found " + std::to_string(pending_) + " that were never applied");
    TrainingState state{updater_.weights().data(), Model::has_teacher ? teacher_.data() : nullptr, updater_.m().data(),
                        updater_.v().data(), &updates_};
    if constexpr (branches > 1) state.branch_updates = branch_updates_;
    return state;
  }

 private:
  static constexpr bool accumulates = []<int... i>(std::integer_sequence<int, i...>) {
    return (BranchAt<i>::accumulates && ...);
  }(std::make_integer_sequence<int, branches>{});
  using Sums = typename Branch::Sums;

  struct Worker {
    Buffer<T> workspace{worker_sizes.workspace};
    Buffer<int> indices{worker_sizes.indices};
    Buffer<double> moments{worker_sizes.moments};
    Sums sums;
  };

  template <int i>
  int check(const BatchOf<i>& batch) const {
    using B = BranchAt<i>;
    const auto n = static_cast<long>(batch.ids.size());
    if (n == 0 || n % chunk_of<i> != 0)
      throw OptionError("batch: expected a multiple of " + std::to_string(chunk_of<i>) + " samples, found " +
                        std::to_string(n));
    check_batch<B>(batch);
    if (pending_ > 0 && branch_ != i)
      throw OptionError("batch: expected branch " + std::to_string(branch_) + " as in the micro-batch before, found " +
                        std::to_string(i));
    if (pending_ > 0 && n != micro_batch_)
      throw OptionError("batch: expected " + std::to_string(micro_batch_) +
                        " samples as in the micro-batch before, found " + std::to_string(n));
    return static_cast<int>(n);
  }

  /// What gradients are divided by: the hidden positions of the update, or, where these are not known yet, of as many
  /// full samples.
  template <int i>
  double divisor_of(const BatchOf<i>& batch, int samples) const {
    using B = BranchAt<i>;
    if constexpr (B::positions_vary && requires { B::positions_of(1); }) {
      if (known_before<i>()) {
        std::int64_t hidden = 0;
        for (std::size_t at = 0; at < batch.ids.size(); ++at) hidden += B::positions_of(sample_length<B>(batch, at));
        return static_cast<double>(std::max<std::int64_t>(hidden, 1));
      }
    }
    return static_cast<double>(samples) * options_.accumulation * B::positions_per_sample;
  }

  /// Whether the lengths of a batch tell how many positions an update hides.
  template <int i>
  bool known_before() const {
    return requires { BranchAt<i>::positions_of(1); } && options_.accumulation == 1;
  }

  template <int i>
  void run_unit(int number, T* gradient, const BatchOf<i>& batch, int samples, int unit, double divisor) {
    Worker& worker = workers_[static_cast<std::size_t>(number)];
    std::fill(worker.moments.begin(), worker.moments.end(), 0.0);
    worker.sums = {};
    const int end = std::min(samples, (unit + 1) * unit_samples_of<i>);
    for (int first = unit * unit_samples_of<i>; first < end; first += chunk_of<i>)
      worker.sums += run_chunk<i>(worker, updater_.device(number), gradient, batch, first, divisor);
  }

  void merge(const Worker& worker) {
    for (std::size_t i = 0; i < moments_.size(); ++i) moments_[i] += worker.moments[i];
    sums_ += worker.sums;
  }

  template <int i>
  Sums run_chunk(Worker& worker, BasicCpu<Isa>& device, T* gradient, const BatchOf<i>& batch, int first,
                     double divisor) {
    using B = BranchAt<i>;
    const BranchOptions& options = branch_options_[i];
    const Pass<BasicCpu<Isa>, true> pass{
        device,
        {options_.seed, static_cast<std::uint32_t>(updates_), batch.ids.data() + first, B::masks},
        options.rates};
    const std::size_t offset = static_cast<std::size_t>(first) * B::M::sample_size;
    const typename B::template Samples<T, chunk_of<i>> input{batch.samples.data() + offset};
    const typename B::template Samples<T, chunk_of<i>> target{
        batch.targets.empty() ? input.data : batch.targets.data() + offset};
    int lengths[chunk_of<i>];
    if constexpr (B::padded)
      for (int b = 0; b < chunk_of<i>; ++b) lengths[b] = sample_length<B>(batch, static_cast<std::size_t>(first + b));
    return B::step_by_masks(pass, read<i>(weights().data()),
                            read<i>(Model::has_teacher ? teacher_.data() : weights().data()),
                            Model::template weights<i>(bind<Parameters>(gradient)), input, target, options, divisor,
                            bind<WorkspaceOf<i>>(worker.workspace.data()), bind<IndicesOf<i>>(worker.indices.data()),
                            worker.moments.data(), B::padded ? lengths : nullptr);
  }

  template <int i>
  static auto read(const T* buffer) {
    return Model::template weights<i>(bind<typename Model::template Parameters<const T>>(buffer));
  }

  template <int i>
  StepReport summarise() {
    using B = BranchAt<i>;
    constexpr int W = B::moment_width;
    const double n = sums_.sample_size;
    StepReport report{.update = updates_, .sample_size = n};
    sums_.report(report);
    report.branch = i;
    if constexpr (B::moment_rows >= 4) {
      report.pred_var = mean_deviation(&moments_[0], &moments_[W], W, n);
      report.target_var = mean_deviation(&moments_[2 * W], &moments_[3 * W], W, n);
    }
    if constexpr (B::moment_rows >= 6)
      report.shared_pred_var = mean_deviation(&moments_[4 * W], &moments_[5 * W], W, n);
    report.learning_rate = learning_rate(options_.schedule, updates_);
    if constexpr (Model::has_teacher) report.ema_decay = ema_decay(options_.ema, updates_ + 1);
    return report;
  }

  void apply(const StepReport& report, double correction) {
    TensorUpdate update{report.learning_rate, updates_ + 1,
                        correction * clip_factor(report.gradient_norm, options_.optimizer.clip_norm)};
    TensorUpdate own = update;  // of what belongs to the branch alone
    own.count = ++branch_updates_[static_cast<std::size_t>(branch_)];
    if constexpr (branches == 1) own.count = update.count;
    const T* const student = weights().data();
    updater_.apply(
        options_.optimizer,
        [&](std::size_t row) {
          const bool stays = !receives_gradient_[row] || (owner_[row] >= 0 && owner_[row] != branch_);
          return stays ? TensorUpdate{.count = 0} : owner_[row] < 0 ? update : own;
        },
        [&](BasicCpu<Isa>& device, std::size_t row, std::size_t first, std::size_t count) {
          if constexpr (Model::has_teacher)
            if (in_teacher_[row])
              follow_tensor(device, tensor_table<Parameters>[row], report.ema_decay, student, teacher_.data(), first,
                            count, copies_[row]);
        });
    ++updates_;
  }

  TrainerOptions options_;
  Updater<Parameters, Isa> updater_;
  std::vector<Worker> workers_;
  std::vector<bool> in_teacher_, copies_, receives_gradient_;  // by row of the table
  std::vector<int> owner_;                            // likewise: its branch, -1: all
  std::vector<BranchOptions> branch_options_;
  Buffer<T> teacher_{Model::has_teacher ? size : 0};
  Buffer<double> moments_{worker_sizes.moments};
  Sums sums_;
  std::int64_t updates_ = 0;
  std::array<std::int64_t, branches> branch_updates_{};
  int pending_ = 0, micro_batch_ = 0, branch_ = 0;  // micro-batches so far, their size and branch
};

}  // namespace data2vec::inline v0
