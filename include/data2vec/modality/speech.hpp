// SPDX-License-Identifier: MIT
// Speech: strided convolutions turn a waveform into frames, which are normed and projected (wav2vec 2.0, Baevski et
// al., 2020, section 2; data2vec 2.0, appendix A), and grouped convolutions give them relative positions.
#pragma once

#include <tuple>
#include <utility>

#include <data2vec/core/check.hpp>
#include <data2vec/device/elementwise.hpp>
#include <data2vec/device/gelu.hpp>
#include <data2vec/device/strided_conv.hpp>
#include <data2vec/device/time_norm.hpp>
#include <data2vec/layers/conv_positions.hpp>
#include <data2vec/layers/linear.hpp>
#include <data2vec/layers/norm.hpp>
#include <data2vec/layers/weight_norm_positions.hpp>
#include <data2vec/modality/modality.hpp>

namespace data2vec::inline v0 {

namespace check {
template <int samples, int frames>
concept SamplesGiveFrames = frames >= 1;
}

/// Gradients of a loss on the extractor's output that does not come through the tokens.
template <class T>
struct FeatureGradients {
  const T* normed = nullptr;  ///< (B, T, width): of the normed frames, added to what comes through the projection
  double penalty = 0;         ///< of the frames before the norm: so many times these themselves
};

/// Waveforms of `input_size` samples, already normalised, as a sequence of frames.
template <SpeechConfig C>
struct Speech {
  static_assert(check::AtLeast<C.feature_encoder_spec.size, 1>,
                "data2vec: SpeechConfig::feature_encoder_spec must have at least one layer");
  static constexpr const char* name = "AUDIO";
  static constexpr SpeechConfig speech = C;
  static constexpr ModalityConfig config = C.modality;
  static constexpr ConvLayers spec = C.feature_encoder_spec;
  static constexpr int sample_size = C.input_size, tokens = spec.frames(sample_size);
  static_assert(check::SamplesGiveFrames<sample_size, tokens>,
                "data2vec: SpeechConfig::input_size is too short for one frame of feature_encoder_spec");
  static constexpr Grid grid{1, tokens};
  static constexpr bool fixed_positions = false, padded = config.padding == Padding::exact;

  /// Frames that depend on the first `samples` samples alone.
  static constexpr int valid_tokens(int samples) { return spec.frames(samples); }

  static constexpr double embedding_dropout = C.dropout;

  template <int D>
  using RelativePositions =
      std::conditional_t<C.conv_pos_weight_norm,
                         WeightNormPositions<D, tokens, C.conv_pos_groups, C.conv_pos_kernel(), padded>,
                         ConvPositions<D, tokens, C.conv_pos_groups, C.conv_pos_kernel(), C.conv_pos_depth,
                                       C.conv_pos_pre_ln, padded>>;

  /// Extractor, norm and, unless there is none, projection: (B, samples) -> (B, T, D).
  template <int D>
  struct LocalEncoder {
    static constexpr const char* prefix = "";   // names of its own: local_encoder and project_features
    static constexpr bool applies_grad_mult = true;  // to the extractor; the projection learns all the same
    static constexpr bool reads_lengths = true;
    static constexpr int layers = spec.size, width = spec[layers - 1].channels;
    static constexpr double eps = 1e-5;
    static constexpr double grad_mult = config.local_grad_mult;
    using Norm = LayerNorm<width>;
    using Projection = Linear<width, D, LinearInit::fan_in>;
    static constexpr bool projects = C.project_equal_width || width != D;
    static constexpr bool clears = C.clear_padding && config.padding == Padding::reference;

    static constexpr int channels(int i) { return i < 0 ? 1 : spec[i].channels; }
    static constexpr StridedConvShape shape(int i) {
      return {channels(i - 1), channels(i), spec[i].kernel, spec[i].stride, spec.frames(sample_size, i)};
    }
    static constexpr bool layer_norms = C.extractor_mode == ExtractorMode::layer_norm;
    static constexpr bool norms(int i) { return layer_norms || i == 0; }

    template <class T, int i>
    struct Layer {
      static constexpr StridedConvShape S = shape(i);
      struct Bias {
        View<T, S.out_channels> bias;
        static constexpr void visit(auto&& f, auto&... p) { f(Field{"0.bias", init::fan_in(S.window())}, p.bias...); }
      };
      View<T, S.out_channels, S.in_channels, S.kernel> weight;
      std::conditional_t<C.conv_bias, Bias, Nothing> conv;
      std::conditional_t<norms(i), typename LayerNorm<S.out_channels>::template Parameters<T>, Nothing> norm;
      static constexpr void visit(auto&& f, auto&... p) {
        f(Field{"0.weight", init::normal(init::square_root(2.0 / S.window()))}, p.weight...);
        f("", p.conv...);
        f(layer_norms ? "2.1" : "2", p.norm...);
      }
    };
    template <template <class, int> class Item, class T>
    struct Stack {
      template <class>
      struct Tuple;
      template <int... i>
      struct Tuple<std::integer_sequence<int, i...>> {
        using type = std::tuple<Item<T, i>...>;
      };
      typename Tuple<std::make_integer_sequence<int, layers>>::type item;
      static constexpr void visit(auto&& f, auto&... p) {
        [&]<std::size_t... i>(std::index_sequence<i...>) {
          (visit_one<i>(f, p...), ...);
        }(std::make_index_sequence<layers>{});
      }
      template <std::size_t i>
      static constexpr void visit_one(auto&& f, auto&... p) {
        const IndexName index(static_cast<int>(i));
        f(Field(index.text), std::get<i>(p.item)...);
      }
    };
    template <class T>
    struct Parameters {
      Stack<Layer, T> conv_layers;
      typename Norm::template Parameters<T> norm;
      std::conditional_t<projects, typename Projection::template Parameters<T>, Nothing> projection;
      static constexpr void visit(auto&& f, auto&... p) {
        f("local_encoder.conv_layers", p.conv_layers...);
        f("project_features.1", p.norm...);
        f("project_features.2", p.projection...);
      }
    };

    // Gradients of the layers' outputs stand in two blocks by turns; the first layer of each kind is the longest.
    static constexpr int gradient_size(int first) {
      int most = 0;
      for (int i = first; i < layers; i += 2)
        most = shape(i).out_length() * shape(i).out_channels > most ? shape(i).out_length() * shape(i).out_channels
                                                                    : most;
      return most;
    }

    template <class T, int B>
    struct Tape {
      /// Values of a layer, and its weights in the order of the products.
      template <class U, int i>
      struct Values {
        static constexpr StridedConvShape S = shape(i);
        View<U, S.out_channels, S.kernel, S.in_channels> ordered;
        View<U, B, S.out_length(), S.out_channels> convolved, activated;
        View<U, norms(i) ? B : 1, layer_norms ? S.out_length() : norms(i) ? S.out_channels : 1,
             kept_numbers<U>(2)>
            stats;
        static constexpr void visit(auto&& f, auto&... t) {
          f("ordered", t.ordered...);
          f("convolved", t.convolved...);
          f("activated", t.activated...);
          f("stats", t.stats...);
        }
      };
      Stack<Values, T> layer;
      View<T, B, tokens, width> normed;
      View<T, B, tokens, kept_numbers<T>(2)> stats;
      std::array<View<T, B, gradient_size(0)>, 1> even;
      std::array<View<T, B, gradient_size(1)>, layers == 1 ? 0 : 1> odd;
      View<T, clears ? B : 1, clears ? tokens : 1, clears ? D : 1> dtokens;
      static constexpr void visit(auto&& f, auto&... t) {
        f("layer", t.layer...);
        f("normed", t.normed...);
        f("stats", t.stats...);
        f("even", t.even...);
        f("odd", t.odd...);
        f("dtokens", t.dtokens...);
      }
    };

    static constexpr double flops_per_sample = [] {
      double flops = projects ? tokens * Projection::flops_per_row : 0;
      for (int i = 0; i < layers; ++i) flops += 2.0 * shape(i).out_length() * shape(i).weight_size();
      return flops;
    }();
    static constexpr double backward_flops_per_sample =
        2 * flops_per_sample - 2.0 * shape(0).out_length() * shape(0).weight_size();

    /// `lengths` (B), read under the exact rule of padding: samples of each row that are no padding.
    template <Device Dev, class T, int B>
    static void forward(Dev& d, const Parameters<const T>& p, View<const T, B, sample_size> samples,
                        View<T, B, tokens, D> out, const Tape<T, B>& tape, const int* lengths = nullptr) {
      extract<0>(d, p, samples.data, tape, lengths);
      const T* frames = std::get<layers - 1>(tape.layer.item).activated.data;
      Norm::forward(d, p.norm, B * tokens, eps, frames, tape.normed.data, tape.stats.data);
      if constexpr (projects) Projection::forward(d, p.projection, B * tokens, tape.normed.data, out.data);
      else device::copy(d, out.size, tape.normed.data, out.data);                                 // (B, T, D)
      clear<B>(d, lengths, out.data);
    }

    /// Waveforms need no gradient. Uses up the tape. Parameter gradients are accumulated, those of the extractor times
    /// `local_grad_mult`.
    template <Device Dev, class T, int B>
    static void backward(Dev& d, const Parameters<const T>& p, View<const T, B, sample_size> samples,
                         View<const T, B, tokens, D> dout, const Parameters<T>& gradient, const Tape<T, B>& tape,
                         const int* lengths = nullptr, const FeatureGradients<T>& more = {}) {
      const auto& last = std::get<layers - 1>(tape.layer.item);
      T* const dframes = gradient_of<layers - 1>(tape);
      const T* dtokens = dout.data;
      if constexpr (clears) {
        device::copy(d, dout.size, dout.data, tape.dtokens.data);
        clear<B>(d, lengths, tape.dtokens.data);
        dtokens = tape.dtokens.data;
      }
      if constexpr (projects)
        Projection::backward(d, p.projection, B * tokens, tape.normed.data, dtokens, dframes, gradient.projection);
      else device::copy(d, dout.size, dtokens, dframes);
      if (more.normed) device::add(d, last.activated.size, dframes, more.normed, dframes);
      Norm::backward(d, p.norm, B * tokens, last.activated.data, tape.stats.data, dframes, dframes, gradient.norm);
      if (more.penalty != 0) device::add_scaled(d, last.activated.size, more.penalty, last.activated.data, dframes);
      if constexpr (grad_mult > 0) {
        if constexpr (grad_mult != 1) device::scale(d, last.activated.size, grad_mult, dframes);
        backward_layer<layers - 1>(d, p, samples.data, gradient, tape, lengths);
      }
    }

   private:
    template <int i, class T, int B>
    static T* gradient_of(const Tape<T, B>& tape) {
      if constexpr (i % 2 == 0) return tape.even[0].data;
      else return tape.odd[0].data;
    }

    template <int B, class Dev, class T>
    static void clear(Dev& d, const int* lengths, T* x) {
      if constexpr (clears) {
        int frames[B];
        for (int b = 0; lengths && b < B; ++b) frames[b] = spec.frames(lengths[b]);
        if (lengths) clear_padding<tokens, D>(d, B, frames, x);
      }
    }

    /// Norm of a layer, if it has one: what GELU is applied to, in y; else where it stands already.
    template <int i, class Dev, class T, int B>
    static const T* norm(Dev& d, const Parameters<const T>& p, const Tape<T, B>& tape, const int* lengths, T* y) {
      constexpr StridedConvShape S = shape(i);
      const auto& values = std::get<i>(tape.layer.item);
      const T* const x = values.convolved.data;
      if constexpr (!norms(i)) {
        return x;
      } else {
        const auto& parameters = std::get<i>(p.conv_layers.item).norm;
        if constexpr (layer_norms) {
          LayerNorm<S.out_channels>::forward(d, parameters, B * S.out_length(), eps, x, y, values.stats.data);
        } else {
          int frames[B];
          device::time_norm<S.out_channels>(d, B, S.out_length(), valid<B>(lengths, frames), x, parameters.weight.data,
                                            parameters.bias.data, eps, y, values.stats.data);
        }
        return y;
      }
    }

    /// Frames of the first layer that are no padding, or null.
    template <int B>
    static const int* valid(const int* lengths, int* frames) {
      if constexpr (!padded) return nullptr;
      if (!lengths) return nullptr;
      for (int b = 0; b < B; ++b) frames[b] = spec.frames(lengths[b], 1);
      return frames;
    }

    template <int i, class Dev, class T, int B>
    static void extract(Dev& d, const Parameters<const T>& p, const T* x, const Tape<T, B>& tape, const int* lengths) {
      constexpr StridedConvShape S = shape(i);
      const auto& values = std::get<i>(tape.layer.item);
      device::strided_conv_order<S>(d, std::get<i>(p.conv_layers.item).weight.data, values.ordered.data);
      const T* bias = nullptr;
      if constexpr (C.conv_bias) bias = std::get<i>(p.conv_layers.item).conv.bias.data;
      device::strided_conv<S>(d, B, x, values.ordered.data, values.convolved.data, bias);         // (B, frames, c)
      T* const y = values.activated.data;
      device::gelu(d, values.activated.size, norm<i>(d, p, tape, lengths, y), y);
      if constexpr (i + 1 < layers) extract<i + 1>(d, p, y, tape, lengths);
    }

    template <int i, class Dev, class T, int B>
    static void backward_layer(Dev& d, const Parameters<const T>& p, const T* samples, const Parameters<T>& gradient,
                               const Tape<T, B>& tape, const int* lengths) {
      constexpr StridedConvShape S = shape(i);
      const auto& values = std::get<i>(tape.layer.item);
      T* const dy = gradient_of<i>(tape);
      // Nothing reads the layer's output any more: GELU's argument, made once more, takes its place.
      const T* const argument = norm<i>(d, p, tape, lengths, values.activated.data);
      device::gelu_backward(d, values.activated.size, dy, argument, dy);
      if constexpr (norms(i)) {
        const auto& parameters = std::get<i>(p.conv_layers.item).norm;
        const auto& dnorm = std::get<i>(gradient.conv_layers.item).norm;
        if constexpr (layer_norms) {
          LayerNorm<S.out_channels>::backward(d, parameters, B * S.out_length(), values.convolved.data,
                                              values.stats.data, dy, dy, dnorm);
        } else {
          int frames[B];
          device::time_norm_backward<S.out_channels>(d, B, S.out_length(), valid<B>(lengths, frames), dy,
                                                     values.convolved.data, parameters.weight.data, values.stats.data,
                                                     dy, dnorm.weight.data, dnorm.bias.data);
        }
      }
      const T* x = samples;
      if constexpr (i > 0) {
        x = std::get<i - 1>(tape.layer.item).activated.data;
        device::strided_conv_input_gradient<S>(d, B, dy, values.ordered.data, gradient_of<i - 1>(tape));
      }
      T* dbias = nullptr;
      if constexpr (C.conv_bias) dbias = std::get<i>(gradient.conv_layers.item).conv.bias.data;
      device::strided_conv_weight_gradient<S>(d, B, dy, x, std::get<i>(gradient.conv_layers.item).weight.data,
                                              values.ordered.data, dbias);
      if constexpr (i > 0) backward_layer<i - 1>(d, p, samples, gradient, tape, lengths);
    }
  };
};

}  // namespace data2vec::inline v0
