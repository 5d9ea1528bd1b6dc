// SPDX-License-Identifier: MIT
// Fine-tuning of a classifier on the CPU: the sibling of training/trainer.hpp for labelled samples. Every sample
// counts: a short last chunk is filled up, and what fills it is left out of loss, gradient and metrics.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <data2vec/core/buffer.hpp>
#include <data2vec/core/error.hpp>
#include <data2vec/finetune/classifier.hpp>
#include <data2vec/model/initialise.hpp>
#include <data2vec/training/options.hpp>
#include <data2vec/training/updater.hpp>

namespace data2vec::inline v0 {

/// What can be changed from run to run without recompiling.
struct FineTunerOptions {
  Schedule schedule = CosineSchedule{.lr = 1e-3, .warmup_updates = 0, .max_update = 1};
  OptimizerConfig optimizer = {};
  double layer_decay = 1;                    ///< of the learning rate from block to block (see layer_lr_scale)
  double label_smoothing = 0;                ///< of hard labels, in training
  std::int64_t freeze_finetune_updates = 0;  ///< before that update only fc_norm and head learn
  DropoutRates rates = {};                   ///< those that are zero in the model's configuration have no effect
  std::uint64_t seed = 1;                    ///< of the new weights and of all that is random in training
  int threads = 0;                           ///< 0: as many as the machine has

  /// The dropout rates of a model's configuration, with stochastic depth of `drop_path_rate` (see with_drop_path; it
  /// needs ClassifierConfig::drop_path), the rest as above.
  template <class Model>
  static FineTunerOptions of(double drop_path_rate = 0) {
    FineTunerOptions options;
    options.rates = with_drop_path<Model>(TrainerOptions::of<Model>().rates, drop_path_rate);
    return options;
  }
};

/// What a step of fine-tuning did.
struct FineTuneReport {
  std::int64_t update = 0;  ///< updates before this one
  std::int64_t samples = 0;
  double loss = 0;          ///< mean over the samples
  double accuracy = 0;      ///< of the training pass; soft labels count as their largest class
  double gradient_norm = 0; ///< before clipping; of what is not frozen
  double learning_rate = 0;
  bool frozen = false;      ///< only fc_norm and head learnt
  bool skipped = false;     ///< the gradient was not finite: no parameter was changed
};

/// What an evaluation found.
struct Evaluation {
  std::int64_t samples = 0;
  double loss = 0;      ///< mean cross entropy, without smoothing
  double accuracy = 0;
};

/// Samples per chunk of a classifier: enough that products have some 64 rows or more.
template <class Net>
inline constexpr int default_classifier_chunk = [] {
  int chunk = 1;
  while (chunk < 16 && chunk * Net::S < 64) chunk *= 2;
  return chunk;
}();

template <class Model, ClassifierConfig H, class Device, int chunk = default_classifier_chunk<Classifier<Model, H>>>
class FineTuner;

template <class Model, ClassifierConfig H, class Isa, int chunk>
class FineTuner<Model, H, BasicCpu<Isa>, chunk> {
 public:
  using T = float;
  using Net = Classifier<Model, H>;
  using Parameters = typename Net::template Parameters<T>;
  static constexpr std::size_t size = buffer_size<Parameters>;
  static constexpr int sample_size = Net::M::sample_size, classes = Net::classes;

  /// Samples per unit of work.
  static constexpr int unit_samples = samples_per_unit(
      chunk, size,
      3 * (Net::Enc::Local::flops_per_sample + Net::Enc::Prenet::flops(Net::S) + Net::Enc::Blocks::flops(Net::S)));

  /// Weights start at random: a classifier from scratch.
  explicit FineTuner(const FineTunerOptions& options) : options_(options), updater_(options.threads) {
    validate(options.schedule);
    expect(options.layer_decay > 0 && options.layer_decay <= 1, "layer_decay: expected above 0, at most 1",
           options.layer_decay);
    expect(options.label_smoothing >= 0 && options.label_smoothing < 1, "label_smoothing: expected 0 or more, below 1",
           options.label_smoothing);
    expect(options.freeze_finetune_updates >= 0, "freeze_finetune_updates: expected 0 or more",
           static_cast<double>(options.freeze_finetune_updates));
    const int threads = updater_.team().size();
    threads_.reserve(static_cast<std::size_t>(threads));
    for (int i = 0; i < threads; ++i) threads_.emplace_back();
    for (const TensorInfo& info : tensor_table<Parameters>)
      lr_scale_.push_back(layer_lr_scale<Model>(info.name.view(), options.layer_decay));
    Buffer<T> encoder(buffer_size<typename Model::template Parameters<T>>);
    Model::initialise(encoder.data(), options.seed);
    initialise_tensors<Parameters>(weights().data(), options.seed, Model::config.mae_init);
    set_encoder({encoder.data(), encoder.size()});
  }

  /// The encoder is a pre-trained one, head and fc_norm are new. `pretrained` is a buffer of Model::Parameters, such as
  /// a trainer's weights() (the usual choice) or teacher().
  FineTuner(const FineTunerOptions& options, std::span<const T> pretrained) : FineTuner(options) {
    set_encoder(pretrained);
  }

  /// Copies what the classifier has of a buffer of Model::Parameters. Moments and update count stay as they are.
  void set_encoder(std::span<const T> pretrained) {
    using Source = typename Model::template Parameters<T>;
    if (pretrained.size() != buffer_size<Source>)
      throw MismatchError("fine-tuning: expected " + std::to_string(buffer_size<Source>) +
                          " pre-trained numbers, found " + std::to_string(pretrained.size()));
    for (const TensorInfo& info : tensor_table<Parameters>) {
      if (!in_encoder(info)) continue;
      const std::string_view name = info.name.view().substr(prefix.size());
      for (const TensorInfo& from : tensor_table<Source>)
        if (from.name.view() == name)
          std::copy_n(pretrained.data() + from.offset, from.size, weights().data() + info.offset);
    }
  }

  /// One update with labels (n) from 0 to classes - 1. All that is random about a sample follows from its id. Throws
  /// OptionError if the batch does not fit the model; no other exception.
  FineTuneReport step(std::span<const T> samples, std::span<const std::int32_t> labels,
                      std::span<const std::uint32_t> ids) {
    if (labels.size() != ids.size())
      throw OptionError("fine-tuning: expected as many labels as ids, " + std::to_string(ids.size()) + ", found " +
                        std::to_string(labels.size()));
    for (const std::int32_t label : labels)
      if (label < 0 || label >= classes)
        throw OptionError("fine-tuning: expected labels from 0 to " + std::to_string(classes - 1) + ", found " +
                          std::to_string(label));
    return step({samples, labels.data(), nullptr, ids});
  }

  /// One update with soft labels (n, classes), for example of mixup(); they are not smoothed.
  FineTuneReport step(std::span<const T> samples, std::span<const T> soft_labels, std::span<const std::uint32_t> ids) {
    if (soft_labels.size() != ids.size() * static_cast<std::size_t>(classes))
      throw OptionError("fine-tuning: expected " + std::to_string(ids.size() * static_cast<std::size_t>(classes)) +
                        " soft labels, found " + std::to_string(soft_labels.size()));
    return step({samples, nullptr, soft_labels.data(), ids});
  }

  /// Logits (n, classes) of samples (n, sample_size), in evaluation mode. Throws OptionError for other sizes.
  void logits(std::span<const T> samples, std::span<T> out) {
    const std::size_t n = out.size() / static_cast<std::size_t>(classes);
    if (out.size() % static_cast<std::size_t>(classes) != 0 ||
        samples.size() != n * static_cast<std::size_t>(sample_size))
      throw OptionError("fine-tuning: expected samples x " + std::to_string(sample_size) + " numbers and samples x " +
                        std::to_string(classes) + " logits, found " + std::to_string(samples.size()) + " and " +
                        std::to_string(out.size()));
    updater_.team().for_each_task(chunks(n), [&](int number, int task) {
      const std::size_t first = static_cast<std::size_t>(task) * chunk, count = std::min<std::size_t>(chunk, n - first);
      const T* const found = infer(number, padded(threads_[static_cast<std::size_t>(number)], samples, first, count));
      std::copy_n(found, count * static_cast<std::size_t>(classes),
                  out.data() + first * static_cast<std::size_t>(classes));
    });
  }

  /// Loss and accuracy over samples 0 .. n - 1. `fill(i, sample)` writes sample i (sample_size) and returns its label;
  /// it is called once for each i, from several threads at a time, and must not throw. `seen(i, label, logits)`, with
  /// logits (classes), is called in the order of the samples, one at a time.
  template <class Fill, class Seen>
  Evaluation evaluate(std::int64_t n, Fill&& fill, Seen&& seen) {
    if (n < 1) throw OptionError("fine-tuning: expected at least 1 sample to evaluate, found " + std::to_string(n));
    ClassificationSums sums;
    turns_.restart();
    updater_.team().for_each_task(chunks(static_cast<std::size_t>(n)), [&](int number, int task) {
      Thread& thread = threads_[static_cast<std::size_t>(number)];
      const std::int64_t first = std::int64_t{task} * chunk;
      const int count = static_cast<int>(std::min<std::int64_t>(chunk, n - first));
      std::fill(thread.labels.begin(), thread.labels.end(), -1);
      for (int b = 0; b < count; ++b)
        thread.labels[static_cast<std::size_t>(b)] = static_cast<std::int32_t>(fill(first + b, sample_of(thread, b)));
      repeat_last(thread, count);
      const T* const found = infer(number, thread.samples.data());
      const ClassificationSums part = Net::loss(updater_.device(number), chunk, found, {.hard = thread.labels.data()},
                                                0, static_cast<T*>(nullptr), static_cast<T*>(nullptr));
      turns_.wait_for(task);
      sums.loss += part.loss;
      sums.correct += part.correct;
      for (int b = 0; b < count; ++b)
        seen(first + b, thread.labels[static_cast<std::size_t>(b)],
             std::span<const T>(found + b * classes, static_cast<std::size_t>(classes)));
      turns_.done(task);
    });
    return {n, sums.loss / static_cast<double>(n), sums.correct / static_cast<double>(n)};
  }
  template <class Fill>
  Evaluation evaluate(std::int64_t n, Fill&& fill) {
    return evaluate(n, fill, [](auto&&...) {});
  }

  std::int64_t updates() const { return updates_; }
  const FineTunerOptions& options() const { return options_; }
  /// All parameters, a buffer of `Parameters`.
  std::span<T> weights() { return updater_.weights(); }
  std::span<const T> weights() const { return updater_.weights(); }
  std::span<const T> gradient() const { return updater_.gradient(); }

 private:
  static constexpr std::string_view prefix = "model.";
  static constexpr std::size_t workspace_size =
      std::max(buffer_size<typename Net::template Workspace<T, chunk>>,
               buffer_size<typename Net::template Workspace<T, chunk, false>>);
  using Index = typename Net::template Index<chunk>;

  struct Thread {
    Buffer<T> workspace{workspace_size};
    Buffer<int> indices{buffer_size<Index>};
    Buffer<T> samples{static_cast<std::size_t>(chunk) * sample_size};  // of a chunk that is filled up
    Buffer<T> soft{static_cast<std::size_t>(chunk) * classes};
    Buffer<std::int32_t> labels{chunk};
    Buffer<std::uint32_t> ids{chunk};
    ClassificationSums sums;
  };
  struct Labelled {
    std::span<const T> samples;
    const std::int32_t* labels;  // or
    const T* soft;
    std::span<const std::uint32_t> ids;
  };

  static void expect(bool fulfilled, const char* sentence, double found) {
    if (!fulfilled)
      throw OptionError(std::string("FineTunerOptions::") + sentence + ", found " + std::to_string(found));
  }
  static bool in_encoder(const TensorInfo& info) { return info.name.view().starts_with(prefix); }
  static int chunks(std::size_t samples) { return static_cast<int>((samples + chunk - 1) / chunk); }
  static T* sample_of(Thread& thread, int b) { return thread.samples.data() + std::ptrdiff_t{b} * sample_size; }

  /// Rows behind `count` repeat the last one: numbers as ordinary as any.
  static void repeat_last(Thread& thread, int count) {
    for (int b = count; b < chunk; ++b) std::copy_n(sample_of(thread, count - 1), sample_size, sample_of(thread, b));
  }

  /// A whole chunk of samples, `count` of which are the batch's from `first` on.
  static const T* padded(Thread& thread, std::span<const T> samples, std::size_t first, std::size_t count) {
    const T* const from = samples.data() + first * sample_size;
    if (count == static_cast<std::size_t>(chunk)) return from;
    std::copy_n(from, count * sample_size, thread.samples.data());
    repeat_last(thread, static_cast<int>(count));
    return thread.samples.data();
  }

  const T* infer(int number, const T* samples) {
    Thread& thread = threads_[static_cast<std::size_t>(number)];
    const auto w = bind<typename Net::template Workspace<T, chunk, false>>(thread.workspace.data());
    Net::forward(Pass{updater_.device(number)}, read(), View<const T, chunk, sample_size>{samples}, w,
                 bind<Index>(thread.indices.data()));
    return w.logits.data;
  }

  auto read() const {
    return bind<typename Net::template Parameters<const T>>(static_cast<const T*>(updater_.weights().data()));
  }

  FineTuneReport step(const Labelled& batch) {
    const std::size_t n = batch.ids.size();
    if (n == 0 || batch.samples.size() != n * static_cast<std::size_t>(sample_size))
      throw OptionError("fine-tuning: expected at least one id and " + std::to_string(sample_size) +
                        " numbers for each, found " + std::to_string(n) + " ids and " +
                        std::to_string(batch.samples.size()) + " numbers");
    FineTuneReport report{.update = updates_, .samples = static_cast<std::int64_t>(n)};
    report.frozen = updates_ < options_.freeze_finetune_updates;
    report.learning_rate = learning_rate(options_.schedule, updates_);
    sums_ = {};
    updater_.accumulate(
        static_cast<int>((n + unit_samples - 1) / unit_samples),
        [&](int number, int unit, T* gradient) {
          threads_[static_cast<std::size_t>(number)].sums = {};
          const std::size_t begin = static_cast<std::size_t>(unit) * unit_samples,
                            end = std::min(n, begin + unit_samples);
          for (std::size_t first = begin; first < end; first += chunk)
            run_chunk(number, gradient, batch, first, std::min<std::size_t>(chunk, n - first), report.frozen);
        },
        [&](int number, int) {
          sums_.loss += threads_[static_cast<std::size_t>(number)].sums.loss;
          sums_.correct += threads_[static_cast<std::size_t>(number)].sums.correct;
        });
    report.loss = sums_.loss / static_cast<double>(n);
    report.accuracy = sums_.correct / static_cast<double>(n);
    report.gradient_norm = updater_.gradient_norm();
    if (is_finite(report.gradient_norm)) apply(report);
    else report.skipped = true;
    return report;
  }

  void run_chunk(int number, T* gradient, const Labelled& batch, std::size_t first, std::size_t count, bool frozen) {
    Thread& thread = threads_[static_cast<std::size_t>(number)];
    const View<const T, chunk, sample_size> input{padded(thread, batch.samples, first, count)};
    typename Net::template Labels<T> labels{.smoothing = options_.label_smoothing};
    if (batch.labels) labels.hard = batch.labels + first;
    else labels.soft = batch.soft + first * static_cast<std::size_t>(classes);
    const std::uint32_t* ids = batch.ids.data() + first;
    if (count < static_cast<std::size_t>(chunk)) {  // no label: no loss and no gradient
      std::fill(thread.labels.begin(), thread.labels.end(), -1);
      std::fill(thread.soft.begin(), thread.soft.end(), T(0));
      if (labels.hard) std::copy_n(labels.hard, count, thread.labels.data());
      if (labels.soft) std::copy_n(labels.soft, count * static_cast<std::size_t>(classes), thread.soft.data());
      if (labels.hard) labels.hard = thread.labels.data();
      if (labels.soft) labels.soft = thread.soft.data();
      std::fill(std::copy_n(ids, count, thread.ids.data()), thread.ids.end(), ids[count - 1]);
      ids = thread.ids.data();
    }
    const Pass<BasicCpu<Isa>, true> pass{
        updater_.device(number), {options_.seed, static_cast<std::uint32_t>(updates_), ids, 1}, options_.rates};
    const auto w = bind<typename Net::template Workspace<T, chunk>>(thread.workspace.data());
    const auto index = bind<Index>(thread.indices.data());
    const auto target = bind<Parameters>(gradient);
    const auto samples = static_cast<double>(batch.ids.size());
    ClassificationSums sums = frozen ? step_head(pass, target, input, labels, samples, w, index)
                                     : Net::step(pass, read(), target, input, labels, samples, w, index);
    if (labels.soft) sums.correct = correct(w.logits.data, labels.soft, count);
    thread.sums.loss += sums.loss;
    thread.sums.correct += sums.correct;
  }

  /// Gradients of fc_norm and head alone: the encoder has no backward pass.
  template <class P, class W>
  ClassificationSums step_head(const P& pass, const Parameters& gradient, View<const T, chunk, sample_size> input,
                               const typename Net::template Labels<T>& labels, double samples, const W& w,
                               const Index& index) {
    auto& d = pass.device;
    const auto p = read();
    Net::forward(pass, p, input, w, index);
    const auto sums = Net::loss(d, chunk, w.logits.data, labels, 1 / samples, static_cast<T*>(nullptr), w.dlogits.data);
    Net::Head::backward(d, p.head, chunk, H.use_fc_norm ? w.normed.data : w.pooled.data, w.dlogits.data, w.dpooled.data,
                        gradient.head);
    if constexpr (H.use_fc_norm)
      Net::FcNorm::backward(d, p.fc_norm, chunk, w.pooled.data, w.stats.data, w.dpooled.data, w.dpooled.data,
                            gradient.fc_norm);
    return sums;
  }

  static double correct(const T* found, const T* soft, std::size_t count) {
    double right = 0;
    for (std::size_t b = 0; b < count; ++b, found += classes, soft += classes)
      right += std::max_element(found, found + classes) - found == std::max_element(soft, soft + classes) - soft;
    return right;
  }

  void apply(const FineTuneReport& report) {
    const double factor = clip_factor(report.gradient_norm, options_.optimizer.clip_norm);
    updater_.apply(
        options_.optimizer,
        [&](std::size_t row) {  // a frozen tensor's own updates are yet to begin: its count is below 1
          const bool waits = in_encoder(tensor_table<Parameters>[row]);
          return TensorUpdate{report.learning_rate * lr_scale_[row],
                              updates_ + 1 - (waits ? options_.freeze_finetune_updates : 0), factor};
        },
        [](auto&&...) {});
    ++updates_;
  }

  FineTunerOptions options_;
  Updater<Parameters, Isa> updater_;
  std::vector<Thread> threads_;
  std::vector<double> lr_scale_;  // by row of the table
  ClassificationSums sums_;
  Turns turns_;
  std::int64_t updates_ = 0;
};

}  // namespace data2vec::inline v0
