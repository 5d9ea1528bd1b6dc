// SPDX-License-Identifier: MIT
// Fine-tuning of a classifier on a GPU: the sibling of finetune/finetuner.hpp, with whole batches of a static size. A
// batch may be shorter: it is filled up, and what fills it is left out of loss, gradient and metrics.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <span>
#include <string>
#include <string_view>

#include <data2vec/core/buffer.hpp>
#include <data2vec/core/error.hpp>
#include <data2vec/device/cuda/all.cuh>
#include <data2vec/device/cuda/graph.cuh>
#include <data2vec/device/cuda/upload.cuh>
#include <data2vec/finetune/copy_encoder.hpp>
#include <data2vec/finetune/options.hpp>
#include <data2vec/model/initialise.hpp>
#include <data2vec/training/cuda_updater.cuh>

namespace data2vec::inline v0 {

template <class Model, ClassifierConfig H, class Device, int batch>
class FineTuner;

/// Operations are launched one by one: a batch may be frozen or not, hard or soft. The numbers are those of the CPU's
/// fine-tuner, in the arithmetic of the device.
template <class Model, ClassifierConfig H, Precision P, int batch>
class FineTuner<Model, H, BasicCuda<P>, batch> {
 public:
  using T = float;  ///< of samples and of what a checkpoint keeps
  using Net = Classifier<Model, H>;
  using ModelType = Net;
  using Number = typename BasicCuda<P>::Number;
  using Parameters = typename Net::template Parameters<T>;
  using Labelled = LabelledBatch<T>;
  static constexpr std::size_t size = buffer_size<Parameters>;
  static constexpr int sample_size = Net::M::sample_size, classes = Net::classes;
  static_assert(!Net::regression && !Net::padded && std::is_same_v<SampleOf<typename Net::M, T>, T>,
                "data2vec: on a GPU fine-tuning is for classes of images so far");
  static_assert(!Net::M::config.use_alibi_encoder,
                "data2vec: on a GPU ModalityConfig::use_alibi_encoder is not supported yet");

  explicit FineTuner(const FineTunerOptions& options, const CudaOptions& cuda = {})
      : options_(options),
        device_(cuda),
        updater_(device_, 2, [&](std::size_t row) { return piece_of(row); }),
        workspace_(buffer_size<Workspace>, "workspace"),
        samples_(sample_numbers, "samples"),
        soft_(label_numbers, "labels"),
        sums_(1, "sums"),
        indices_(buffer_size<Index>, "indices"),
        given_(sample_numbers, "samples"),
        given_soft_(label_numbers, "labels"),
        hard_(batch, "labels"),
        ids_(batch, "ids"),
        logits_(label_numbers, "logits"),
        update_(2, "update"),
        results_(3, "results") {
    options.validate();
    Buffer<T> initial(size), encoder(buffer_size<typename Model::template Parameters<T>>);
    Model::initialise(encoder.data(), options.seed);
    initialise_tensors<Parameters>(initial.data(), options.seed, Model::config.mae_init);
    place(initial, {encoder.data(), encoder.size()});
  }

  /// The encoder is a pre-trained one, head and fc_norm are new: `pretrained` is a buffer of Model::Parameters.
  FineTuner(const FineTunerOptions& options, std::span<const T> pretrained, const CudaOptions& cuda = {})
      : FineTuner(options, cuda) {
    Buffer<T> initial(size);
    initialise_tensors<Parameters>(initial.data(), options.seed, Model::config.mae_init);
    place(initial, pretrained);
  }

  /// One update on at most `batch` samples; waits for its report. Throws OptionError if they do not fit the model.
  FineTuneReport step(const Labelled& given) {
    const std::size_t n = given.ids.size();
    const bool soft = given.labels.empty();
    check(given);
    fill(given.samples, n);
    for (std::size_t b = 0; b < batch; ++b) {
      ids_.host()[b] = given.ids[std::min(b, n - 1)];
      if (!soft) hard_.host()[b] = b < n ? given.labels[b] : -1;
    }
    if (soft)
      std::fill(std::copy(given.soft_labels.begin(), given.soft_labels.end(), given_soft_.host()),
                given_soft_.host() + label_numbers, 0.0f);
    FineTuneReport report;
    report.update = updates_;
    report.samples = static_cast<std::int64_t>(n);
    report.frozen = updates_ < options_.freeze_finetune_updates;
    report.learning_rate = learning_rate(options_.schedule, updates_);
    run(n, soft, report.frozen, report.learning_rate);
    report.loss = results_[1] / static_cast<double>(n);
    const double hits =
        soft ? detail::soft_hits(logits_host_.data(), given.soft_labels.data(), n, classes) : results_[2];
    report.accuracy = hits / static_cast<double>(n);
    report.gradient_norm = std::sqrt(results_[0]);
    report.updated = is_finite(report.gradient_norm);
    report.skipped = !report.updated;
    if (report.updated) ++updates_;
    return report;
  }

  /// Logits (n, classes) of samples (n, sample_size), in evaluation mode; `batch` at a time. Throws OptionError for
  /// other sizes.
  void logits(std::span<const T> samples, std::span<T> out) {
    const std::size_t n = out.size() / static_cast<std::size_t>(classes);
    if (out.size() % static_cast<std::size_t>(classes) != 0 ||
        samples.size() != n * static_cast<std::size_t>(sample_size))
      throw OptionError("fine-tuning: expected samples x " + std::to_string(sample_size) + " numbers and samples x " +
                        std::to_string(classes) + " logits, found " + std::to_string(samples.size()) + " and " +
                        std::to_string(out.size()));
    for (std::size_t first = 0; first < n; first += batch) {
      const std::size_t count = std::min<std::size_t>(batch, n - first);
      fill(samples.subspan(first * sample_size, count * sample_size), count);
      upload_samples();
      const auto w = bind<Workspace>(workspace_.data());
      Net::forward(Pass{device_}, weights(), View<const Number, batch, sample_size>{samples_.data()}, w,
                   bind<Index>(indices_.data()));
      read_logits(w);
      std::copy_n(logits_host_.begin(), count * static_cast<std::size_t>(classes),
                  out.begin() + static_cast<std::ptrdiff_t>(first * static_cast<std::size_t>(classes)));
    }
  }

  void pass_over() { ++updates_; }
  std::int64_t updates() const { return updates_; }
  const FineTunerOptions& options() const { return options_; }
  BasicCuda<P>& device() { return device_; }

  /// Everything that a checkpoint keeps, to and from buffers of the host; there is no teacher.
  void read_state(const TrainingState& to) {
    updater_.read_state(device_, to);
    *to.updates = updates_;
  }
  void write_state(const TrainingState& from) {
    updater_.write_state(device_, from);
    updates_ = *from.updates;
  }

 private:
  static constexpr std::string_view prefix = encoder_prefix<Model>;
  static constexpr std::size_t sample_numbers = std::size_t{batch} * sample_size;
  static constexpr std::size_t label_numbers = std::size_t{batch} * static_cast<std::size_t>(classes);
  using Workspace = typename Net::template Workspace<Number, batch>;
  using Index = typename Net::template Index<batch>;

  void place(Buffer<T>& initial, std::span<const T> encoder) {
    copy_encoder<Parameters, typename Model::template Parameters<T>>(encoder, prefix, initial.data());
    Buffer<T> zeros(size);
    std::int64_t none = 0;
    write_state({initial.data(), nullptr, zeros.data(), zeros.data(), &none});
  }

  /// Group 1 is the encoder, which may be frozen at first.
  UpdatePiece piece_of(std::size_t row) const {
    const TensorInfo& info = tensor_table<Parameters>[row];
    UpdatePiece piece;
    piece.trained = info.trained;
    piece.decays = options_.optimizer.decay_scope == DecayScope::all || !info.exempt_from_decay();
    piece.group = is_of_encoder<typename Model::template Parameters<T>>(info.name.view(), prefix);
    piece.lr_scale = layer_lr_scale<Model>(info.name.view(), options_.layer_decay);
    return piece;
  }

  void check(const Labelled& given) const {
    const std::size_t n = given.ids.size();
    if (n == 0 || n > batch)
      throw OptionError("fine-tuning: expected 1 to " + std::to_string(batch) + " samples, found " + std::to_string(n));
    detail::expect_in_batch(n * static_cast<std::size_t>(sample_size), "numbers in the samples", given.samples.size());
    detail::check_classes(given, classes);
  }

  /// Samples to the page-locked memory; the last one also fills the rest.
  void fill(std::span<const T> samples, std::size_t n) {
    std::copy(samples.begin(), samples.end(), given_.host());
    for (std::size_t b = n; b < batch; ++b)
      std::copy_n(given_.host() + (n - 1) * sample_size, sample_size, given_.host() + b * sample_size);
  }
  void upload_samples() {
    given_.send(device_, "samples");
    detail::gpu::cast(device_, given_.device(), sample_numbers, samples_.data());
  }
  auto weights() const { return bind<typename Net::template Parameters<const Number>>(updater_.weights()); }

  void run(std::size_t n, bool soft, bool frozen, double lr) {
    upload_samples();
    ids_.send(device_, "ids");
    typename Net::template Labels<Number> labels;
    if (soft) {
      given_soft_.send(device_, "labels");
      detail::gpu::cast(device_, given_soft_.device(), label_numbers, soft_.data());
      labels.soft = soft_.data();
    } else {
      hard_.send(device_, "labels");
      labels.hard = hard_.device();
    }
    labels.smoothing = options_.label_smoothing;
    updater_.zero_gradient(device_);
    device_.zero("sums", device_.deferred_sums(), 2 * sizeof(double));
    const Pass<BasicCuda<P>, true> pass{
        device_, {options_.seed, static_cast<std::uint32_t>(updates_), ids_.device(), 1}, options_.rates};
    const auto w = bind<Workspace>(workspace_.data());
    const auto index = bind<Index>(indices_.data());
    const auto gradient = bind<typename Net::template Parameters<Number>>(updater_.gradient());
    const View<const Number, batch, sample_size> input{samples_.data()};
    device_.defer_sums();
    if (frozen) Net::head_step(pass, weights(), gradient, input, labels, static_cast<double>(n), w, index);
    else Net::step(pass, weights(), gradient, input, labels, static_cast<double>(n), w, index);
    device_.return_sums();
    const OptimizerConfig& o = options_.optimizer;
    for (std::size_t group = 0; group < 2; ++group) {
      const std::int64_t count = updates_ + 1 - (group == 1 ? options_.freeze_finetune_updates : 0);
      const AdamStep step = adam_step(o, lr, std::max<std::int64_t>(1, count), 1, true);
      update_[group] = FusedUpdate::of(step, o.clip_norm, 1, count >= 1);
    }
    updater_.apply(device_, update_.data(), sums_.data());
    device_.copy("report", results_.data(), sums_.data(), sizeof(double));
    device_.copy("report", results_.data() + 1, device_.deferred_sums(), 2 * sizeof(double));
    if (soft) read_logits(w);
    device_.synchronize("fine-tuning");
  }

  void read_logits(const Workspace& w) {
    detail::gpu::cast(device_, static_cast<const Number*>(w.logits.data), label_numbers, logits_.data());
    device_.copy("logits", logits_host_.data(), logits_.data(), label_numbers * sizeof(T));
    device_.synchronize("logits");
  }

  FineTunerOptions options_;
  BasicCuda<P> device_;
  CudaUpdater<Parameters, P, false> updater_;
  DeviceBuffer<Number> workspace_, samples_, soft_;
  DeviceBuffer<double> sums_;
  PinnedBuffer<int> indices_;  // written on the host, by every forward pass with the same numbers, read by kernels
  Upload<T> given_, given_soft_;
  Upload<std::int32_t> hard_;
  Upload<std::uint32_t> ids_;
  DeviceBuffer<T> logits_;
  PinnedBuffer<FusedUpdate> update_;
  PinnedBuffer<double> results_;  // the gradient's squares, loss, correct
  std::vector<T> logits_host_ = std::vector<T>(label_numbers);
  std::int64_t updates_ = 0;
};

}  // namespace data2vec::inline v0
