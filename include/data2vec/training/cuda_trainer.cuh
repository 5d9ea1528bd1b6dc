// SPDX-License-Identifier: MIT
// One training step of a model on the GPU: the step of the CPU's trainer with all masks of the batch at once. Forward
// and backward are captured as one graph; masks are drawn on the host while the step before runs; the report is read
// back behind the step. After its first two steps a trainer allocates nothing and waits for nothing but reports.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <optional>
#include <string>
#include <type_traits>

#include <data2vec/core/buffer.hpp>
#include <data2vec/core/error.hpp>
#include <data2vec/device/cuda/all.cuh>
#include <data2vec/device/cuda/graph.cuh>
#include <data2vec/device/cuda/upload.cuh>
#include <data2vec/modality/modality.hpp>
#include <data2vec/training/check_batch.hpp>
#include <data2vec/training/cuda_updater.cuh>
#include <data2vec/training/options.hpp>
#include <data2vec/training/step_report.hpp>

namespace data2vec::inline v0 {

/// What keeps a branch from training on a GPU: operations that work on the host's memory between kernels.
template <class Branch>
struct DeviceReady {
  static constexpr bool padding = [] {
    if constexpr (requires { Branch::Enc::Local::clears; })
      if (Branch::Enc::Local::clears) return false;
    return Branch::M::config.padding != Padding::exact || requires { requires Branch::exact_on_device; };
  }();
  static constexpr bool sees_all = [] {
    if constexpr (requires { Branch::Dec::sees_all; }) return Branch::Dec::sees_all;
    else return true;
  }();
};

template <class Model, Precision P, int batch>
class Trainer<Model, BasicCuda<P>, batch> {
 public:
  using T = float;                                      ///< of what a checkpoint keeps
  using Number = typename BasicCuda<P>::Number;         ///< of a step's values and gradients
  using ModelType = Model;
  using Branch = typename Model::First;
  using Sample = SampleOf<typename Branch::M, T>;       ///< of samples: float, or a token
  using Parameters = typename Model::template Parameters<T>;
  static constexpr std::size_t size = buffer_size<Parameters>;
  static constexpr int sample_size = Branch::M::sample_size, masks = Branch::masks;
  static constexpr int depth = 2;  ///< steps that may be submitted before the first report is fetched
  static_assert(requires { Branch::loss_terms; },
                "data2vec: this system of pre-training is not supported on a GPU yet");
  static_assert(Model::branches == 1, "data2vec: on a GPU models of several branches are not supported yet");
  static_assert(DeviceReady<Branch>::sees_all, "data2vec: on a GPU the cross-attention decoder is not supported yet");
  static_assert(DeviceReady<Branch>::padding,
                "data2vec: on a GPU Padding::exact and SpeechConfig::clear_padding are not supported yet");

  /// Whether the teacher may be given another view of the samples.
  static constexpr bool two_views = [] {
    if constexpr (requires { Branch::teacher_has_local; }) return Branch::teacher_has_local;
    else return false;
  }();
  /// Layer drop decides on the host which blocks run: then every step is launched anew.
  static constexpr bool captured = Model::config.layerdrop == 0 && Branch::M::config.prenet_layerdrop == 0;

  using Value = SampleOf<typename Branch::M, Number>;  ///< a sample's, as the step reads it
  /// Bytes of device memory, without the scratch of single operations and the library's own.
  static constexpr std::size_t device_bytes =
      CudaUpdater<Parameters, P, Model::has_teacher>::device_bytes +
      sizeof(Number) * buffer_size<typename Branch::template Workspace<Number, batch>> +
      (sizeof(Value) + depth * sizeof(Sample)) * (two_views ? 2 : 1) * std::size_t{batch} * sample_size +
      sizeof(int) * buffer_size<typename Branch::template Indices<batch>>;

  explicit Trainer(const TrainerOptions& options, const CudaOptions& cuda = {})
      : options_(options), branch_options_(options.of_branch(0)), device_(cuda) {
    if (options.accumulation < 1)
      throw OptionError("TrainerOptions::accumulation: expected 1 or more, found " +
                        std::to_string(options.accumulation));
    std::size_t free = 0, total = 0;
    detail::gpu::check(cudaMemGetInfo(&free, &total), "trainer");
    if (device_bytes > free)
      throw DeviceError("trainer: a batch of " + std::to_string(batch) + " samples: expected " +
                        detail::gpu::mebibytes(device_bytes) + " of device memory, found " +
                        detail::gpu::mebibytes(free) + " free of " + detail::gpu::mebibytes(total));
    updater_.emplace(device_, 1, [&](std::size_t row) { return piece_of(row); });
    workspace_ = DeviceBuffer<Number>(buffer_size<Workspace>, "workspace");
    samples_ = DeviceBuffer<Value>(sample_numbers, "samples");
    if (two_views) targets_ = DeviceBuffer<Value>(sample_numbers, "targets");
    indices_ = DeviceBuffer<int>(buffer_size<Indices>, "indices");
    ids_ = DeviceBuffer<std::uint32_t>(batch, "ids");
    results_ = DeviceBuffer<double>(results, "results");
    for (Slot& slot : slots_) slot.allocate();
    set_schedule(options.schedule);
    restart();
  }

  /// Back to the initial weights and update 0; forgets what was submitted.
  void restart() {
    device_.synchronize("restart");
    Buffer<T> initial(size);
    Model::initialise(initial.data(), options_.seed);
    std::int64_t none = 0;
    Buffer<T> zeros(size);
    write_state({initial.data(), initial.data(), zeros.data(), zeros.data(), &none});
  }

  /// Throws OptionError, naming the field, if the schedule cannot be run.
  void set_schedule(const Schedule& schedule) {
    validate(schedule);
    options_.schedule = schedule;
  }
  void set_ema(const EmaConfig& ema) { options_.ema = ema; }

  /// One update, or with options().accumulation = k one of its k micro-batches, as on the CPU; waits for its report.
  StepReport step(const Batch<Sample>& samples) {
    submit(samples);
    StepReport report;
    while (submitted_ > 0) report = fetch();
    return report;
  }

  /// The same without waiting: the batch is copied. Throws OptionError if the batch does not fit or `depth` steps wait
  /// for their reports to be fetched.
  void submit(const Batch<Sample>& samples) {
    check(samples);
    Slot& slot = slots_[static_cast<std::size_t>(next_)];
    const bool first = pending_ == 0, last = pending_ + 1 == options_.accumulation;
    const std::int64_t update = updates_ + started_;
    positions_ = (first ? 0 : positions_) + fill(slot, samples, update);
    slot.positions = positions_;
    if constexpr (Branch::positions_vary) slot.update[0].gradient_scale = divisor() / std::max(positions_, 1.0);
    upload(slot, !samples.targets.empty());
    if (first) {
      updater_->zero_gradient(device_);
      device_.zero("results", results_.data(), results * sizeof(double));
      device_.zero("results", device_.deferred_sums(), terms * sizeof(double));
    }
    run(static_cast<std::uint32_t>(update));
    if (last) updater_->apply(device_, slot.update.data(), results_.data() + moments);
    device_.copy("report", slot.results.data(), results_.data(), results * sizeof(double));
    device_.copy("report", slot.results.data() + results, device_.deferred_sums(), terms * sizeof(double));
    slot.done.record(device_.stream());
    pending_ = last ? 0 : pending_ + 1;
    slot.last = last;
    if (last) ++started_;
    next_ = (next_ + 1) % depth;
    ++submitted_;
  }

  /// Waits for the oldest submitted step. If its gradient was not finite, nothing has changed; if more steps had been
  /// submitted behind it, its update is passed over, for they have the draws of the next one.
  StepReport fetch() {
    if (submitted_ == 0) throw OptionError("trainer: no step is submitted whose report could be fetched");
    Slot& slot = slots_[static_cast<std::size_t>((next_ + depth - submitted_) % depth)];
    slot.done.wait("step");
    --submitted_;
    StepReport report = summarise(slot);
    if (slot.last) {
      report.gradient_norm = std::sqrt(slot.results[moments]) * slot.update[0].gradient_scale;
      report.updated = is_finite(report.gradient_norm);
      report.skipped = !report.updated;
      --started_;
      if (report.updated || submitted_ > 0) ++updates_;
    }
    return report;
  }

  /// Counts an update whose step was skipped, so that the next one has other samples and other draws.
  void pass_over() { ++updates_; }

  int pending() const { return pending_; }
  void drop_pending() { pending_ = 0; }
  std::int64_t updates() const { return updates_; }
  const TrainerOptions& options() const { return options_; }
  BasicCuda<P>& device() { return device_; }
  std::size_t graph_nodes() const { return graph_.nodes(); }  ///< 0: no step has been captured

  /// Copies everything that a checkpoint keeps to the host's buffers, after all that was submitted.
  void read_state(const TrainingState& to) {
    expect_whole();
    updater_->read_state(device_, to);
    *to.updates = updates_;
  }
  /// Takes the training elsewhere.
  void write_state(const TrainingState& from) {
    updater_->write_state(device_, from);
    updates_ = *from.updates;
    pending_ = submitted_ = started_ = 0;
  }

 private:
  using Device = BasicCuda<P>;
  using Workspace = typename Branch::template Workspace<Number, batch>;
  using Indices = typename Branch::template Indices<batch>;
  static constexpr std::size_t sample_numbers = std::size_t{batch} * sample_size;
  using Gradient = typename Model::template Parameters<Number>;
  static constexpr int width = Branch::moment_width;
  static constexpr std::size_t moments = std::size_t{Branch::moment_rows} * width;
  static constexpr std::size_t results = moments + 1;          // and the gradient's squares
  static constexpr std::size_t terms = Branch::loss_terms;  // sums of losses, in the order of the step

  /// What travels with one step; page-locked.
  struct Slot {
    Upload<Sample> samples, targets;
    PinnedBuffer<int> indices;
    PinnedBuffer<std::uint32_t> ids;  // and the update
    PinnedBuffer<FusedUpdate> update;
    PinnedBuffer<double> results;  // and the sums of losses
    StreamEvent done;
    StepReport report;
    double positions = 0;  // that carry the loss, of the update's micro-batches up to this one
    bool last = true;

    void allocate() {
      samples = Upload<Sample>(sample_numbers, "samples");
      if (two_views) targets = Upload<Sample>(sample_numbers, "targets");
      indices = PinnedBuffer<int>(buffer_size<Indices>);
      ids = PinnedBuffer<std::uint32_t>(batch + 1);
      update = PinnedBuffer<FusedUpdate>(1);
      results = PinnedBuffer<double>(Trainer::results + terms);
    }
  };

  void check(const Batch<Sample>& samples) const {
    if (submitted_ == depth)
      throw OptionError("trainer: expected at most " + std::to_string(depth) +
                        " submitted steps whose reports were not fetched");
    if (samples.ids.size() != static_cast<std::size_t>(batch))
      throw OptionError("batch: expected " + std::to_string(batch) + " samples, found " +
                        std::to_string(samples.ids.size()));
    check_batch<Branch>(samples);
  }
  void expect_whole() const {
    if (pending_ != 0 || submitted_ != 0)
      throw OptionError("trainer: expected whole updates whose reports were fetched, found " +
                        std::to_string(submitted_) + " submitted steps and " + std::to_string(pending_) + " of " +
                        std::to_string(options_.accumulation) + " micro-batches");
  }

  /// What gradients are divided by: known before masks are drawn.
  double divisor() const {
    return static_cast<double>(batch) * options_.accumulation * Branch::positions_per_sample;
  }

  /// The host's part of a step. Returns the positions that carry the loss.
  double fill(Slot& slot, const Batch<Sample>& samples, std::int64_t update) {
    std::memcpy(slot.samples.host(), samples.samples.data(), samples.samples.size_bytes());
    if (two_views && !samples.targets.empty())
      std::memcpy(slot.targets.host(), samples.targets.data(), samples.targets.size_bytes());
    std::memcpy(slot.ids.data(), samples.ids.data(), samples.ids.size_bytes());
    slot.ids[batch] = captured ? static_cast<std::uint32_t>(update) : 0;  // the clock: see run()
    const double positions =
        draw(samples, {options_.seed, static_cast<std::uint32_t>(update), samples.ids.data(), masks},
             bind<Indices>(slot.indices.data()));
    const OptimizerConfig& o = options_.optimizer;
    const double lr = learning_rate(options_.schedule, update), decay = ema_decay(options_.ema, update + 1);
    slot.update[0] = FusedUpdate::of(adam_step(o, lr, update + 1, 1, true), o.clip_norm, decay);
    slot.report = {};
    slot.report.update = update;  // one by one: nvcc 13.0 drops the names of a braced list that a template assigns
    slot.report.learning_rate = lr;
    slot.report.ema_decay = Model::has_teacher ? decay : 0;
    return positions;
  }

  double draw(const Batch<Sample>& samples, const Draws& draws, const Indices& index) const {
    int lengths[batch];
    if constexpr (Branch::padded)
      for (std::size_t b = 0; b < batch; ++b) lengths[b] = sample_length<Branch>(samples, b);
    const typename Branch::template Samples<T, batch> given{samples.samples.data()};
    if constexpr (requires { Branch::template draw<batch>(draws, given, lengths, branch_options_, index); }) {
      return Branch::template draw<batch>(draws, given, Branch::padded ? lengths : nullptr, branch_options_, index);
    } else {
      if constexpr (Branch::padded) index.set_lengths(lengths);
      index.draw(draws);
      return static_cast<double>(batch) * Branch::positions_per_sample;
    }
  }

  void take(const Upload<Sample>& from, DeviceBuffer<Value>& to) {
    if constexpr (std::is_same_v<Sample, Value>)
      device_.copy("samples", to.data(), from.device(), sample_numbers * sizeof(Value));
    else
      detail::gpu::cast(device_, from.device(), sample_numbers, to.data());
  }
  void upload(Slot& slot, bool has_targets) {
    slot.samples.send(device_, "samples");
    device_.begin();
    take(slot.samples, samples_);
    if constexpr (two_views) {
      if (has_targets) slot.targets.send(device_, "targets");
      take(has_targets ? slot.targets : slot.samples, targets_);
    }
    device_.copy("ids", ids_.data(), slot.ids.data(), batch * sizeof(std::uint32_t));
    device_.copy("clock", device_.clock(), slot.ids.data() + batch, sizeof(std::uint32_t));
    device_.copy("indices", indices_.data(), slot.indices.data(), buffer_size<Indices> * sizeof(int));
  }

  /// Forward and backward. The first time as they are: algorithms are chosen, scratch grows. Then captured: kernels
  /// read the update from the device's clock.
  void run(std::uint32_t update) {
    if constexpr (!captured) {
      launch(update);
    } else {
      if (warm_ && !graph_ && !device_.options().time_each) graph_.capture(device_, [&] { launch(0); });
      if (graph_)
        graph_.launch(device_);
      else
        launch(0);
      warm_ = true;
    }
  }

  void launch(std::uint32_t update) {
    using Input = typename Branch::template Samples<Number, batch>;
    const Pass<Device, true> pass{device_, {options_.seed, update, ids_.data(), masks}, options_.rates};
    const Value* const targets = two_views ? targets_.data() : samples_.data();
    device_.defer_sums();
    Branch::step_drawn(pass, read(updater_->weights()),
                       read(Model::has_teacher ? updater_->teacher() : updater_->weights()),
                       Model::template weights<0>(bind<Gradient>(updater_->gradient())), Input{samples_.data()},
                       Input{targets}, branch_options_, divisor(), bind<Workspace>(workspace_.data()),
                       bind<Indices>(indices_.data()), results_.data());
    device_.return_sums();
  }

  static auto read(const Number* weights) {
    return Model::template weights<0>(bind<typename Model::template Parameters<const Number>>(weights));
  }

  StepReport summarise(const Slot& slot) const {
    const double n = slot.positions;
    StepReport report = slot.report;
    const double *const sums = slot.results.data(), *const losses = sums + results;
    if constexpr (requires { Branch::template sums_of<batch>(losses, branch_options_, n, report.update); })
      Branch::template sums_of<batch>(losses, branch_options_, n, report.update).report(report);
    else Branch::sums_of(losses, branch_options_, n).report(report);
    report.sample_size = n;
    if constexpr (Branch::moment_rows >= 4) {
      report.pred_var = mean_deviation(sums, sums + width, width, n);
      report.target_var = mean_deviation(sums + 2 * width, sums + 3 * width, width, n);
    }
    if constexpr (Branch::moment_rows >= 6)
      report.shared_pred_var = mean_deviation(sums + 4 * width, sums + 5 * width, width, n);
    return report;
  }

  /// What an update does to a tensor.
  UpdatePiece piece_of(std::size_t row) const {
    const TensorInfo& info = tensor_table<Parameters>[row];
    UpdatePiece piece;
    piece.trained = info.trained && Model::receives_gradient(info.name.view());
    piece.decays = options_.optimizer.decay_scope == DecayScope::all || !info.exempt_from_decay();
    piece.follows = Model::in_teacher(info.name.view());
    piece.follows_by_copy = !info.trained;
    if constexpr (requires { Model::teacher_copies(info.name.view()); })
      piece.follows_by_copy |= Model::teacher_copies(info.name.view());
    return piece;
  }

  TrainerOptions options_;
  BranchOptions branch_options_;
  Device device_;
  std::optional<CudaUpdater<Parameters, P, Model::has_teacher>> updater_;
  DeviceBuffer<Number> workspace_;
  DeviceBuffer<Value> samples_, targets_;
  DeviceBuffer<int> indices_;
  DeviceBuffer<std::uint32_t> ids_;
  DeviceBuffer<double> results_;
  std::array<Slot, depth> slots_;
  CapturedWork graph_;
  bool warm_ = false;
  std::int64_t updates_ = 0;
  double positions_ = 0;  // that carry the loss, of the micro-batches since the last update
  int started_ = 0;    // updates that were submitted and are not in updates_
  int pending_ = 0;    // micro-batches since the last update
  int submitted_ = 0;  // steps whose reports were not fetched
  int next_ = 0;       // slot
};

}  // namespace data2vec::inline v0
