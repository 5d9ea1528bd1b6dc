// SPDX-License-Identifier: MIT
// Fine-tuning of a classifier on the CPU: the sibling of training/trainer.hpp for labelled samples. Every sample
// counts: a short last chunk is filled up, and what fills it is left out of loss, gradient and metrics.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

#include <data2vec/core/buffer.hpp>
#include <data2vec/core/error.hpp>
#include <data2vec/finetune/classifier.hpp>
#include <data2vec/finetune/copy_encoder.hpp>
#include <data2vec/finetune/options.hpp>
#include <data2vec/model/initialise.hpp>
#include <data2vec/training/trainer.hpp>
#include <data2vec/training/updater.hpp>

namespace data2vec::inline v0 {

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
  using ModelType = Net;  ///< what a checkpoint describes (see finetune/checkpoint.hpp)
  using Sample = SampleOf<typename Net::M, T>;
  using Batch = LabelledBatch<T, Sample>;
  using Label = std::conditional_t<H.regression, T, std::int32_t>;  ///< a class or, of a regression, a value
  using Parameters = typename Net::template Parameters<T>;
  static constexpr std::size_t size = buffer_size<Parameters>;
  static constexpr int sample_size = Net::M::sample_size, classes = Net::classes;

  /// Samples per unit of work.
  static constexpr int unit_samples = samples_per_unit(
      chunk, size,
      3 * (Net::Enc::Local::flops_per_sample + Net::Enc::flops(Net::S)));

  /// Weights start at random: a classifier from scratch.
  explicit FineTuner(const FineTunerOptions& options) : options_(options), updater_(options.threads) {
    options.validate();
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
    copy_encoder<Parameters, typename Model::template Parameters<T>>(pretrained, prefix, weights().data());
  }

  /// One update. All that is random about a sample follows from its id. Throws OptionError if the batch does not fit
  /// the model; no other exception.
  FineTuneReport step(const Batch& batch) {
    check(batch);
    return train(batch);
  }

  /// One update with labels (n) from 0 to classes - 1.
  FineTuneReport step(std::span<const Sample> samples, std::span<const std::int32_t> labels,
                      std::span<const std::uint32_t> ids) {
    return step(Batch{samples, ids, labels, {}});
  }

  /// One update with soft labels (n, classes), for example of mixup(); they are not smoothed.
  FineTuneReport step(std::span<const Sample> samples, std::span<const T> soft_labels, std::span<const std::uint32_t> ids) {
    return step(Batch{samples, ids, {}, soft_labels});
  }

  /// Counts an update whose step was skipped, so that the next one has other samples and other draws.
  void pass_over() { ++updates_; }

  /// Logits (n, classes) of samples (n, sample_size), in evaluation mode; `lengths` (n) as of LabelledBatch, or none.
  /// Throws OptionError for other sizes.
  void logits(std::span<const Sample> samples, std::span<T> out, std::span<const int> lengths = {}) {
    const std::size_t n = out.size() / static_cast<std::size_t>(classes);
    if (out.size() % static_cast<std::size_t>(classes) != 0 ||
        samples.size() != n * static_cast<std::size_t>(sample_size))
      throw OptionError("fine-tuning: expected samples x " + std::to_string(sample_size) + " numbers and samples x " +
                        std::to_string(classes) + " logits, found " + std::to_string(samples.size()) + " and " +
                        std::to_string(out.size()));
    check_lengths(n, lengths);
    updater_.team().for_each_task(chunks(n), [&](int number, int task) {
      const std::size_t first = static_cast<std::size_t>(task) * chunk, count = std::min<std::size_t>(chunk, n - first);
      const T* const found = infer(number, padded(threads_[static_cast<std::size_t>(number)], samples, first, count),
                                   lengths.empty() ? nullptr : lengths.data() + first, static_cast<int>(count));
      std::copy_n(found, count * static_cast<std::size_t>(classes),
                  out.data() + first * static_cast<std::size_t>(classes));
    });
  }

  /// Loss and accuracy over samples 0 .. n - 1. `fill(i, sample)` writes sample i (sample_size) and returns its Label; it
  /// is called once for each i, from several threads at a time, and must not throw. `seen(i, label, logits)`, with
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
      std::fill(thread.labels.begin(), thread.labels.end(), no_label);
      for (int b = 0; b < count; ++b)
        thread.labels[static_cast<std::size_t>(b)] = static_cast<Label>(fill(first + b, sample_of(thread, b)));
      repeat_last(thread, count);
      const T* const found = infer(number, thread.samples.data());
      const ClassificationSums part = Net::loss(updater_.device(number), chunk, found, labels_at(thread.labels.data()), 0,
                                                static_cast<T*>(nullptr), static_cast<T*>(nullptr));
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

  /// Everything that a checkpoint keeps, as Trainer::state(); there is no teacher. Whoever writes to it takes the
  /// training elsewhere.
  TrainingState state() {
    return {updater_.weights().data(), nullptr, updater_.m().data(), updater_.v().data(), &updates_};
  }

 private:
  static constexpr std::string_view prefix = encoder_prefix<Model>;
  static constexpr std::size_t workspace_size =
      std::max(buffer_size<typename Net::template Workspace<T, chunk>>,
               buffer_size<typename Net::template Workspace<T, chunk, false>>);
  using Index = typename Net::template Index<chunk>;

  struct Thread {
    Buffer<T> workspace{workspace_size};
    Buffer<int> indices{buffer_size<Index>};
    Buffer<Sample> samples{static_cast<std::size_t>(chunk) * sample_size};  // of a chunk that is filled up
    Buffer<T> soft{static_cast<std::size_t>(chunk) * classes};
    Buffer<Label> labels{chunk};
    Buffer<std::uint32_t> ids{chunk};
    ClassificationSums sums;
  };

  static bool in_encoder(const TensorInfo& info) {
    return is_of_encoder<typename Model::template Parameters<T>>(info.name.view(), prefix);
  }
  static int chunks(std::size_t samples) { return static_cast<int>((samples + chunk - 1) / chunk); }
  static Sample* sample_of(Thread& thread, int b) { return thread.samples.data() + std::ptrdiff_t{b} * sample_size; }

  /// Rows behind `count` repeat the last one: numbers as ordinary as any.
  static void repeat_last(Thread& thread, int count) {
    for (int b = count; b < chunk; ++b) std::copy_n(sample_of(thread, count - 1), sample_size, sample_of(thread, b));
  }

  /// A whole chunk of samples, `count` of which are the batch's from `first` on.
  static const Sample* padded(Thread& thread, std::span<const Sample> samples, std::size_t first, std::size_t count) {
    const Sample* const from = samples.data() + first * sample_size;
    if (count == static_cast<std::size_t>(chunk)) return from;
    std::copy_n(from, count * sample_size, thread.samples.data());
    repeat_last(thread, static_cast<int>(count));
    return thread.samples.data();
  }

  /// A label that does not count.
  static constexpr Label no_label = H.regression ? std::numeric_limits<Label>::quiet_NaN() : static_cast<Label>(-1);
  static typename Net::template Labels<T> labels_at(const Label* labels) {
    typename Net::template Labels<T> found;
    if constexpr (H.regression) found.values = labels;
    else found.hard = labels;
    return found;
  }

  /// How much of each sample of a chunk is no padding: as the batch says (`count` of them, the last for the rest), or of
  /// texts as they say themselves.
  static void set_lengths(const Sample* samples, const int* given, int count, int* lengths) {
    for (int b = 0; b < chunk; ++b) {
      lengths[b] = sample_size;
      if (given) lengths[b] = given[std::min(b, count - 1)];
      else if constexpr (requires { Net::M::length_of(samples); })
        lengths[b] = std::max(1, Net::M::length_of(samples + std::ptrdiff_t{b} * sample_size));
    }
  }

  const T* infer(int number, const Sample* samples, const int* given = nullptr, int count = chunk) {
    Thread& thread = threads_[static_cast<std::size_t>(number)];
    const auto w = bind<typename Net::template Workspace<T, chunk, false>>(thread.workspace.data());
    int lengths[chunk];
    set_lengths(samples, given, count, lengths);
    Net::forward(Pass{updater_.device(number)}, read(), View<const Sample, chunk, sample_size>{samples}, w,
                 bind<Index>(thread.indices.data()), Net::padded ? lengths : nullptr);
    return w.logits.data;
  }

  auto read() const {
    return bind<typename Net::template Parameters<const T>>(static_cast<const T*>(updater_.weights().data()));
  }

  static void check_lengths(std::size_t n, std::span<const int> lengths) {
    if (!lengths.empty() && lengths.size() != n)
      throw OptionError("fine-tuning: expected " + std::to_string(n) + " lengths, found " +
                        std::to_string(lengths.size()));
    for (const int length : lengths)
      if (length < (Net::padded ? 1 : sample_size) || length > sample_size || Net::Enc::valid_tokens(length) < 1)
        throw OptionError("fine-tuning: expected lengths of a token or more, up to " + std::to_string(sample_size) +
                          ", found " + std::to_string(length));
  }

  static void check(const Batch& batch) {
    const std::size_t n = batch.ids.size();
    if (n == 0) throw OptionError("fine-tuning: expected at least one sample, found none");
    detail::expect_in_batch(n * static_cast<std::size_t>(sample_size), "numbers in the samples", batch.samples.size());
    if constexpr (requires { Net::M::vocab_size; })
      for (const Sample id : batch.samples)
        if (id < 0 || id >= Net::M::vocab_size)
          throw OptionError("fine-tuning: expected token ids below " + std::to_string(Net::M::vocab_size) + ", found " +
                            std::to_string(id));
    check_lengths(n, batch.lengths);
    if constexpr (H.regression) return detail::expect_in_batch(n, "values", batch.values.size());
    detail::expect_in_batch(0, "values for a classification", batch.values.size());
    detail::check_classes(batch, classes);
  }

  FineTuneReport train(const Batch& batch) {
    const std::size_t n = batch.ids.size();
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
    report.updated = is_finite(report.gradient_norm);
    report.skipped = !report.updated;
    if (report.updated) apply(report);
    return report;
  }

  void run_chunk(int number, T* gradient, const Batch& batch, std::size_t first, std::size_t count, bool frozen) {
    Thread& thread = threads_[static_cast<std::size_t>(number)];
    const View<const Sample, chunk, sample_size> input{padded(thread, batch.samples, first, count)};
    int lengths[chunk];
    set_lengths(input.data, batch.lengths.empty() ? nullptr : batch.lengths.data() + first, static_cast<int>(count),
                lengths);
    const Label* hard = nullptr;
    if constexpr (H.regression) hard = batch.values.data() + first;
    else if (batch.soft_labels.empty()) hard = batch.labels.data() + first;
    const T* soft = batch.soft_labels.data() + (hard ? 0 : first * static_cast<std::size_t>(classes));
    const std::uint32_t* ids = batch.ids.data() + first;
    if (count < static_cast<std::size_t>(chunk)) {  // no label: no loss and no gradient
      std::fill(thread.labels.begin(), thread.labels.end(), no_label);
      std::fill(thread.soft.begin(), thread.soft.end(), T(0));
      if (hard) std::copy_n(hard, count, thread.labels.data());
      else std::copy_n(soft, count * static_cast<std::size_t>(classes), thread.soft.data());
      if (hard) hard = thread.labels.data();
      soft = thread.soft.data();
      std::fill(std::copy_n(ids, count, thread.ids.data()), thread.ids.end(), ids[count - 1]);
      ids = thread.ids.data();
    }
    auto labels = hard ? labels_at(hard) : typename Net::template Labels<T>{.soft = soft};
    labels.smoothing = options_.label_smoothing;
    const Pass<BasicCpu<Isa>, true> pass{
        updater_.device(number), {options_.seed, static_cast<std::uint32_t>(updates_), ids, 1}, options_.rates};
    const auto w = bind<typename Net::template Workspace<T, chunk>>(thread.workspace.data());
    const auto index = bind<Index>(thread.indices.data());
    const auto target = bind<Parameters>(gradient);
    const auto samples = static_cast<double>(batch.ids.size());
    const int* const used = Net::padded ? lengths : nullptr;
    T* const no_losses = nullptr;
    ClassificationSums sums =
        frozen ? Net::head_step(pass, read(), target, input, labels, samples, w, index, no_losses, used)
               : Net::step(pass, read(), target, input, labels, samples, w, index, no_losses, used);
    if (labels.soft) sums.correct = detail::soft_hits(w.logits.data, labels.soft, count, classes);
    thread.sums.loss += sums.loss;
    thread.sums.correct += sums.correct;
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
