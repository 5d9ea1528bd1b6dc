// SPDX-License-Identifier: MIT
// A layer of your own, with its gradients checked, in a modality: patches go through a gated linear unit
// (Dauphin et al., 2017) instead of a linear layer: y = a sigmoid(b), (a | b) = x W^T + bias.
#include <cmath>
#include <cstdio>
#include <vector>

#include <data2vec/data2vec.hpp>
#include <data2vec/layers/check_gradients.hpp>

namespace d2v = data2vec;

template <int In, int Out>
struct GatedLinear {
  using Both = d2v::Linear<In, 2 * Out, d2v::LinearInit::fan_in>;
  static constexpr double flops_per_row = Both::flops_per_row;
  template <class T>
  using Parameters = typename Both::template Parameters<T>;
  template <class T, int rows>
  struct Tape {
    d2v::View<T, rows, 2, Out> both, dboth;
    static constexpr void visit(auto&& f, auto&... t) {
      f("both", t.both...);
      f("dboth", t.dboth...);
    }
  };

  /// x (rows, In) -> y (rows, Out).
  template <d2v::Device D, class T, int rows>
  static void forward(D& d, const Parameters<const T>& p, const T* x, T* y, const Tape<T, rows>& tape) {
    Both::forward(d, p, rows, x, tape.both.data);
    for (int r = 0; r < rows; ++r)
      for (int c = 0; c < Out; ++c) y[r * Out + c] = tape.both[r][0][c] * sigmoid(tape.both[r][1][c]);
  }
  /// dx is overwritten, or left alone if null; parameter gradients are added to what is there.
  template <d2v::Device D, class T, int rows>
  static void backward(D& d, const Parameters<const T>& p, const T* x, const T* dy, T* dx,
                       const Parameters<T>& gradient, const Tape<T, rows>& tape) {
    for (int r = 0; r < rows; ++r)
      for (int c = 0; c < Out; ++c) {
        const T a = tape.both[r][0][c], s = sigmoid(tape.both[r][1][c]), g = dy[r * Out + c];
        tape.dboth[r][0][c] = g * s;
        tape.dboth[r][1][c] = g * a * s * (1 - s);
      }
    Both::backward(d, p, rows, x, tape.dboth.data, dx, gradient);
  }

 private:
  template <class T>
  static T sigmoid(T x) { return 1 / (1 + std::exp(-x)); }
};

/// The layer on three rows, as `check_gradients` takes it: numbers in and out, and the two functions.
struct Checked {
  using Layer = GatedLinear<5, 4>;
  static constexpr int input_size = 3 * 5, output_size = 3 * 4;
  template <class T>
  using Parameters = Layer::Parameters<T>;
  template <class T>
  using Tape = Layer::Tape<T, 3>;
  static void forward(auto& d, const auto& p, const auto* x, auto* y, const auto& tape) {
    Layer::forward(d, p, x, y, tape);
  }
  static void backward(auto& d, const auto& p, const auto* x, auto* dy, auto* dx, const auto& g, const auto& tape) {
    Layer::backward(d, p, x, dy, dx, g, tape);
  }
};

/// Images as before, but for the local encoder.
template <d2v::VisionConfig C>
struct GatedImages : d2v::Vision<C> {
  using Base = d2v::Vision<C>;
  template <int D>
  struct LocalEncoder {
    using Embedding = GatedLinear<Base::patch_values, D>;
    static constexpr double flops_per_sample = Base::tokens * Embedding::flops_per_row;
    template <class T>
    using Parameters = typename Embedding::template Parameters<T>;
    template <class T, int B>
    struct Tape {
      d2v::View<T, B, Base::tokens, Base::patch_values> patches;
      typename Embedding::template Tape<T, B * Base::tokens> embedding;
      static constexpr void visit(auto&& f, auto&... t) {
        f("patches", t.patches...);
        f("embedding", t.embedding...);
      }
    };
    template <class T, int B>
    static void forward(auto& d, const Parameters<const T>& p, d2v::View<const T, B, Base::sample_size> images,
                        d2v::View<T, B, Base::tokens, D> out, const Tape<T, B>& tape) {
      d2v::device::patches<C.in_chans, C.input_size, C.patch_size>(d, B, images.data, tape.patches.data);
      Embedding::forward(d, p, static_cast<const T*>(tape.patches.data), out.data, tape.embedding);
    }
    template <class T, int B>
    static void backward(auto& d, const Parameters<const T>& p, d2v::View<const T, B, Base::sample_size>,
                         d2v::View<const T, B, Base::tokens, D> dout, const Parameters<T>& gradient,
                         const Tape<T, B>& tape) {
      Embedding::backward(d, p, static_cast<const T*>(tape.patches.data), dout.data, static_cast<T*>(nullptr), gradient,
                          tape.embedding);
    }
  };
};

using Images = GatedImages<d2v::VisionConfig{.input_size = 16, .patch_size = 4, .in_chans = 1}>;
using Masks = d2v::RandomMask<Images::tokens, d2v::MaskConfig{.mask_prob = 0.6}>;
using Decoder = d2v::Conv2dDecoder<d2v::DecoderConfig{.decoder_dim = 32, .decoder_groups = 4, .decoder_kernel = 3,
                                                      .decoder_layers = 2, .input_dropout = 0}>;
inline constexpr d2v::Config tiny{.embed_dim = 32, .depth = 2, .num_heads = 4, .average_top_k_layers = 2,
                                  .instance_norm_target_layer = true, .layer_norm_targets = true};
struct Model : d2v::Data2Vec2<tiny, d2v::Branch<Images, Masks, Decoder>> {};

int main() {
  const d2v::GradientReport report = d2v::check_gradients<Checked, d2v::Cpu>();
  std::printf("%s\n", report.text().c_str());

  std::vector<float> images(16 * Images::sample_size);
  std::vector<std::uint32_t> ids(16);
  for (std::uint32_t i = 0; i < 16; ++i) ids[i] = i;
  for (std::size_t i = 0; i < images.size(); ++i)
    images[i] = std::sin(0.02f * static_cast<float>(i % 256 * (3 + i / 256)));
  d2v::TrainerOptions options = d2v::TrainerOptions::of<Model>();
  options.schedule = d2v::CosineSchedule{.lr = 2e-3, .warmup_updates = 5, .max_update = 40};
  d2v::Trainer<Model, d2v::Cpu> trainer(options);
  const double first = trainer.step({images, ids}).loss;
  double last = first;
  for (int i = 1; i < 40; ++i) last = trainer.step({images, ids}).loss;
  std::printf("loss %.3f -> %.3f\n", first, last);
  return report.passed && last < first ? 0 : 1;
}
