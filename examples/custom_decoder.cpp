// SPDX-License-Identifier: MIT
// A decoder of your own. This one knows the mean of what the student saw and the position it is asked for:
// prediction = MLP(mean of the visible tokens + position) W^T + b. It is a few products per hidden token.
#include <cmath>
#include <cstdio>
#include <vector>

#include <data2vec/data2vec.hpp>

namespace d2v = data2vec;

template <d2v::DecoderConfig C>
struct MeanDecoder {
  static constexpr d2v::DecoderConfig config = C;
  static constexpr bool sees_all = false;  // the visible tokens (N, V, D) alone; true: all tokens, noise where hidden

  /// The network for the numbers of a model: D wide, V tokens visible and R hidden in each of N rows.
  template <d2v::DecoderShape S>
  struct Network {
    static constexpr int D = S.dim, V = S.visible, R = S.masked;
    using Mlp = d2v::FeedForward<D, C.decoder_dim>;
    using Projection = d2v::Linear<D, D>;
    static constexpr double flops_per_row = Mlp::flops(R) + R * Projection::flops_per_row;

    template <class T>
    struct Parameters {
      typename Mlp::template Parameters<T> mlp;
      typename Projection::template Parameters<T> proj;
      static constexpr void visit(auto&& f, auto&... p) {
        f("mlp", p.mlp...);
        f("proj", p.proj...);
      }
    };
    template <class T, int N>
    struct Tape {
      d2v::View<T, N, R, D> query, mixed, dmixed, dquery;
      typename Mlp::template Tape<T, N, R> mlp;
      d2v::View<T, N, R, C.decoder_dim> hidden, dhidden;
      static constexpr void visit(auto&& f, auto&... t) {
        f("query", t.query...);
        f("mixed", t.mixed...);
        f("dmixed", t.dmixed...);
        f("dquery", t.dquery...);
        f("mlp", t.mlp...);
        f("hidden", t.hidden...);
        f("dhidden", t.dhidden...);
      }
    };

    template <class P, class T, int N>
    static void forward(const P& pass, const Parameters<const T>& p, const d2v::DecoderInput<T>& in,
                        d2v::View<T, N, R, D> prediction, const Tape<T, N>& tape) {
      auto& d = pass.device;
      d2v::device::gather_rows<D>(d, N * R, in.positions, in.masked, tape.query.data);            // (N, R, D)
      for (int n = 0; n < N; ++n)
        for (int r = 0; r < R; ++r)
          for (int v = 0; v < V; ++v)
            d2v::device::add_scaled(d, D, 1.0 / V, in.tokens + (n * V + v) * D, tape.query[n][r].data);
      Mlp::template forward<P, T, N, R>(pass, p.mlp, 0, tape.query, tape.mixed, tape.mlp, tape.hidden);  // (N, R, D)
      Projection::forward(d, p.proj, N * R, tape.mixed.data, prediction.data);                    // (N, R, D)
    }
    /// dtokens is overwritten, parameter gradients are added to what is there.
    template <class P, class T, int N>
    static void backward(const P& pass, const Parameters<const T>& p, const d2v::DecoderInput<T>&,
                         d2v::View<T, N, R, D> dprediction, d2v::View<T, N, V, D> dtokens,
                         const Parameters<T>& gradient, const Tape<T, N>& tape) {
      auto& d = pass.device;
      Projection::backward(d, p.proj, N * R, tape.mixed.data, dprediction.data, tape.dmixed.data, gradient.proj);
      Mlp::template backward<d2v::Grad::overwrite, P, T, N, R>(pass, p.mlp, 0, tape.query, tape.dmixed, tape.dquery,
                                                               gradient.mlp, tape.mlp, tape.hidden, tape.dhidden);
      d2v::device::fill(d, dtokens.size, 0, dtokens.data);
      for (int n = 0; n < N; ++n)
        for (int v = 0; v < V; ++v)
          for (int r = 0; r < R; ++r)
            d2v::device::add_scaled(d, D, 1.0 / V, tape.dquery[n][r].data, dtokens[n][v].data);
    }
  };
};

using Images = d2v::Vision<d2v::VisionConfig{.input_size = 16, .patch_size = 4, .in_chans = 1}>;
using Masks = d2v::RandomMask<Images::tokens, d2v::MaskConfig{.mask_prob = 0.6}>;
using Decoder = MeanDecoder<d2v::DecoderConfig{.decoder_dim = 64, .input_dropout = 0}>;
static_assert(d2v::Decoder<Decoder>);

inline constexpr d2v::Config tiny{.embed_dim = 32, .depth = 2, .num_heads = 4, .average_top_k_layers = 2,
                                  .instance_norm_target_layer = true, .layer_norm_targets = true, .clone_batch = 2};
struct Model : d2v::Data2Vec2<tiny, d2v::Branch<Images, Masks, Decoder>> {};

int main() {
  constexpr int samples = 16, steps = 60;
  std::vector<float> images(samples * Images::sample_size);
  std::vector<std::uint32_t> ids(samples);
  for (std::uint32_t i = 0; i < samples; ++i) ids[i] = i;
  for (std::size_t i = 0; i < images.size(); ++i)
    images[i] = std::sin(0.02f * static_cast<float>(i % 256 * (3 + i / 256)));
  d2v::TrainerOptions options = d2v::TrainerOptions::of<Model>();
  options.schedule = d2v::CosineSchedule{.lr = 2e-3, .warmup_updates = 5, .max_update = steps};
  d2v::Trainer<Model, d2v::Cpu> trainer(options);
  double first = 0, last = 0;
  for (int i = 0; i < steps; ++i) {
    last = trainer.step({images, ids}).loss;
    if (i == 0) first = last;
  }
  std::printf("loss %.3f -> %.3f\n", first, last);
  return last < first ? 0 : 1;
}
