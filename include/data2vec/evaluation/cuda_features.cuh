// SPDX-License-Identifier: MIT
// Features on a GPU: those of evaluation/features.hpp of any number of samples, `batch` at a time, with their tokens
// pooled or not. The encoder's pass is one CUDA graph.
#pragma once

#include <algorithm>
#include <cstddef>
#include <span>
#include <string>
#include <type_traits>
#include <vector>

#include <data2vec/core/error.hpp>
#include <data2vec/device/cuda/all.cuh>
#include <data2vec/device/cuda/graph.cuh>
#include <data2vec/device/cuda/upload.cuh>
#include <data2vec/evaluation/features.hpp>
#include <data2vec/modality/modality.hpp>

namespace data2vec::inline v0 {

namespace detail::gpu {

/// y (rows, C): means of the rows of x that `members` names from first[row] up to first[row + 1]; 0 if it names none.
template <int C, class T>
struct MeansOfRows {
  const T* x;
  const int *first, *members;
  float* y;
  __device__ void operator()(std::size_t i) const {
    const Divided at = divide(i, C);
    const int begin = first[at.quotient], end = first[at.quotient + 1];
    float sum = 0;
    for (int k = begin; k < end; ++k) sum += to_float(x[static_cast<std::size_t>(members[k]) * C + at.rest]);
    y[i] = end > begin ? sum / static_cast<float>(end - begin) : 0;
  }
};

}  // namespace detail::gpu

template <class Model, class Device, int batch>
class FeatureExtractor;

/// `FeatureExtractor<Model, Cuda, 256>` runs the encoder in the device's arithmetic and gives fp32. Like every device,
/// one thread uses it at a time. After two batches of one kind nothing is allocated.
template <class Model, Precision P, int batch>
class FeatureExtractor<Model, BasicCuda<P>, batch> {
 public:
  using F = Features<Model, batch>;
  using Number = typename BasicCuda<P>::Number;
  using Enc = typename F::Enc;
  using Sample = SampleOf<typename F::M, float>;
  using Parameters = typename Model::template Parameters<float>;
  static constexpr int D = F::D, S = F::S, last_layer = F::last_layer, sample_size = F::M::sample_size;
  static_assert(!detail::reads_lengths<typename Enc::Local> ||
                    !(Enc::exact || requires { requires Enc::Local::clears; }),
                "data2vec: on a GPU Padding::exact of speech and SpeechConfig::clear_padding are not supported yet");

  /// `parameters`: a buffer of Model::Parameters<float> on the host, as load_weights fills it.
  explicit FeatureExtractor(std::span<const float> parameters, const CudaOptions& cuda = {})
      : device_(cuda),
        weights_(buffer_size<Parameters>, "weights"),
        workspace_(buffer_size<Workspace>, "workspace"),
        samples_(sample_numbers, "samples"),
        given_(sample_numbers, "samples"),
        indices_(buffer_size<Index>, "indices") {
    set_weights(parameters);
    F::index_tokens(bind<Index>(indices_.host()), nullptr);
  }

  /// Takes other weights. Throws OptionError if they are not as many numbers as the model has.
  void set_weights(std::span<const float> parameters) {
    if (parameters.size() != weights_.size())
      throw OptionError("features: expected " + std::to_string(weights_.size()) + " numbers of weights, found " +
                        std::to_string(parameters.size()));
    DeviceBuffer<float> given(parameters.size(), "weights");
    device_.copy("weights", given.data(), parameters.data(), parameters.size_bytes());
    take(given.data(), parameters.size(), weights_);
    device_.synchronize("weights");
  }

  /// All tokens (n, E + T, D) of samples (n, sample_size); layers are counted as in `features`. `lengths` (n), of a
  /// modality with padding: elements of each sample that are none; empty: all. Throws OptionError for other sizes and
  /// for a layer that is not there. So do the functions below.
  void tokens(std::span<const Sample> samples, std::span<float> out, int layer = last_layer,
              std::span<const int> lengths = {}) {
    run(samples, S, out, layer, lengths, [](int, int row, auto&& use) { use(row); });
  }
  /// One token (n, D): 0 to E - 1 are the extra tokens.
  void token(std::span<const Sample> samples, int position, std::span<float> out, int layer = last_layer,
             std::span<const int> lengths = {}) {
    if (position < 0 || position >= S)
      throw OptionError("features: expected a token between 0 and " + std::to_string(S - 1) + ", found " +
                        std::to_string(position));
    run(samples, 1, out, layer, lengths, [=](int, int, auto&& use) { use(position); });
  }
  /// Means over parts of the grid of tokens (n, parts, D): Features::pool.
  void pool(std::span<const Sample> samples, Grid parts, std::span<float> out, int layer = last_layer,
            std::span<const int> lengths = {}) {
    run(samples, parts.size(), out, layer, lengths, [=](int, int part, auto&& use) {
      F::tokens_of_part(parts, part, [&](int t) { use(F::E + t); });
    });
  }
  /// Means over stretches of a sequence's tokens that are no padding (n, parts, D): Features::pool_stretches; with 1 of
  /// them Features::mean_pool.
  void pool_stretches(std::span<const Sample> samples, int parts, std::span<float> out, int layer = last_layer,
                      std::span<const int> lengths = {}) {
    run(samples, parts, out, layer, lengths, [=](int valid, int part, auto&& use) {
      F::tokens_of_stretch(valid, parts, part, [&](int t) { use(F::E + t); });
    });
  }

  BasicCuda<P>& device() { return device_; }
  std::size_t graph_nodes() const { return graph_.nodes(); }  ///< 0: nothing has been captured

 private:
  using Workspace = typename F::template Workspace<Number>;
  using Index = typename F::Index;
  using Value = SampleOf<typename F::M, Number>;  ///< a sample's, as the encoder reads it
  static constexpr std::size_t sample_numbers = std::size_t{batch} * sample_size;

  /// n samples, whose `parts` vectors are means of the tokens that each(valid tokens of the sample, part, use) names.
  template <class Each>
  void run(std::span<const Sample> samples, int parts, std::span<float> out, int layer, std::span<const int> lengths,
           Each&& each) {
    F::expect_layer(layer);
    if (parts < 1) throw OptionError("features: expected one part or more, found " + std::to_string(parts));
    const std::size_t n = samples.size() / sample_size, width = static_cast<std::size_t>(parts) * D;
    if (samples.size() != n * sample_size || out.size() != n * width || (!lengths.empty() && lengths.size() != n))
      throw OptionError("features: expected samples x " + std::to_string(sample_size) + " numbers, as many x " +
                        std::to_string(width) + " features and as many lengths or none, found " +
                        std::to_string(samples.size()) + ", " + std::to_string(out.size()) + " and " +
                        std::to_string(lengths.size()));
    if (Enc::padded)
      for (const int length : lengths)
        if (length < 1 || length > Enc::full_length)
          throw OptionError("features: expected lengths from 1 to " + std::to_string(Enc::full_length) + ", found " +
                            std::to_string(length));
    make_room(parts);
    for (std::size_t first = 0; first < n; first += batch) {
      const std::size_t count = std::min<std::size_t>(batch, n - first);
      fill(samples.subspan(first * sample_size, count * sample_size),
           Enc::padded && !lengths.empty() ? lengths.subspan(first, count) : std::span<const int>(), parts, each);
      given_.send(device_, "samples");
      members_.send(device_, "features");
      indices_.send(device_, "indices");
      encode(layer);
      device_.for_each("features", batch * width,
                       detail::gpu::MeansOfRows<D, Number>{encoded_, members_.device(),
                                                           members_.device() + first_numbers(parts), means_.data()});
      device_.copy("features", pooled_.data(), means_.data(), count * width * sizeof(float));
      device_.synchronize("features");
      std::copy_n(pooled_.data(), count * width, out.begin() + static_cast<std::ptrdiff_t>(first * width));
    }
  }

  static std::size_t first_numbers(int parts) { return std::size_t{batch} * static_cast<std::size_t>(parts) + 1; }

  /// Stretches may share a token where one ends and the next begins.
  void make_room(int parts) {
    if (parts <= room_) return;
    device_.synchronize("features");
    const std::size_t numbers = std::size_t{batch} * static_cast<std::size_t>(parts) * D;
    members_ = Upload<int>(first_numbers(parts) + std::size_t{batch} * static_cast<std::size_t>(S + 2 * parts),
                           "features");
    means_ = DeviceBuffer<float>(numbers, "features");
    pooled_ = PinnedBuffer<float>(numbers, "features");
    room_ = parts;
  }

  /// The host's part of a batch; the last sample fills it up.
  template <class Each>
  void fill(std::span<const Sample> samples, std::span<const int> lengths, int parts, Each&& each) {
    const std::size_t n = samples.size() / sample_size;
    std::copy(samples.begin(), samples.end(), given_.host());
    for (std::size_t b = n; b < batch; ++b)
      std::copy_n(samples.end() - sample_size, sample_size, given_.host() + b * sample_size);
    int own[batch];
    for (std::size_t b = 0; b < batch; ++b) own[b] = lengths.empty() ? Enc::full_length : lengths[std::min(b, n - 1)];
    if constexpr (Enc::padded) F::index_tokens(bind<Index>(indices_.host()), own);
    int* const begins = members_.host();
    int* const members = begins + first_numbers(parts);
    int at = 0;
    for (int b = 0, row = 0; b < batch; ++b)
      for (int part = 0; part < parts; ++part, ++row) {
        begins[row] = at;
        each(Enc::valid_tokens(own[b]), part, [&](int token) { members[at++] = b * S + token; });
      }
    begins[first_numbers(parts) - 1] = at;
  }

  /// Samples on the device -> encoded_ (batch, E + T, D). The first time as it is: algorithms are chosen, scratch grows.
  /// Then captured, anew if another layer is asked for.
  void encode(int layer) {
    const auto launch = [&] {
      take(given_.device(), sample_numbers, samples_);
      using Weights = typename Model::template Parameters<const Number>;
      encoded_ = F::encode(device_, Model::template weights<0>(bind<Weights>(weights_.data())),
                           View<const Value, batch, sample_size>{samples_.data()}, bind<Workspace>(workspace_.data()),
                           bind<Index>(const_cast<int*>(indices_.device())), layer, nullptr)
                     .data;
    };
    if (layer != layer_) graph_.reset();
    if (warm_ && !graph_ && !device_.options().time_each) graph_.capture(device_, launch);
    if (graph_) graph_.launch(device_);
    else launch();
    warm_ = true;
    layer_ = layer;
  }

  template <class From, class To>
  void take(const From* from, std::size_t count, DeviceBuffer<To>& to) {
    if constexpr (std::is_same_v<From, To>) device_.copy("features", to.data(), from, count * sizeof(To));
    else detail::gpu::cast(device_, from, count, to.data());
  }

  BasicCuda<P> device_;
  DeviceBuffer<Number> weights_, workspace_;
  DeviceBuffer<Value> samples_;
  Upload<Sample> given_;
  Upload<int> indices_, members_;  // members: where each vector's tokens begin, and these
  DeviceBuffer<float> means_;
  PinnedBuffer<float> pooled_;
  const Number* encoded_ = nullptr;  // in the workspace
  CapturedWork graph_;
  bool warm_ = false;
  int layer_ = -1, room_ = 0;
};

}  // namespace data2vec::inline v0
