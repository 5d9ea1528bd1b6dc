// SPDX-License-Identifier: MIT
// A modality of your own: recordings of several electrodes (EEG), cut into segments of time. A token is one segment of
// one channel; the grid is channels x segments, so masks over blocks of it hide neighbours in space and time.
#include <cmath>
#include <cstdio>
#include <vector>

#include <data2vec/data2vec.hpp>

namespace d2v = data2vec;

struct EegConfig {
  int channels = 8, samples = 128, segment = 16;
  d2v::ModalityConfig modality = {};
};

template <EegConfig C>
struct Eeg {
  static_assert(C.samples % C.segment == 0, "Eeg: EegConfig::segment must divide EegConfig::samples");
  static constexpr const char* name = "EEG";             // in the names of parameters
  static constexpr d2v::ModalityConfig config = C.modality;
  static constexpr d2v::Grid grid{C.channels, C.samples / C.segment};
  static constexpr int sample_size = C.channels * C.samples;
  static constexpr bool fixed_positions = true;          // 2-D sin-cos of (channel, segment)

  /// A segment -> a linear layer -> layer norm. Both are layers of the library; shapes behind the lines.
  template <int D>
  struct LocalEncoder {
    using Embedding = d2v::Linear<C.segment, D, d2v::LinearInit::fan_in>;
    using Norm = d2v::LayerNorm<D>;
    static constexpr int tokens = grid.size();
    static constexpr double flops_per_sample = tokens * Embedding::flops_per_row;

    template <class T>
    struct Parameters {
      typename Embedding::template Parameters<T> embedding;
      typename Norm::template Parameters<T> norm;
      static constexpr void visit(auto&& f, auto&... p) {
        f("embedding", p.embedding...);
        f("norm", p.norm...);
      }
    };
    /// Kept from forward to backward.
    template <class T, int B>
    struct Tape {
      d2v::View<T, B, tokens, D> embedded, dembedded;
      d2v::View<T, B, tokens, 2> stats;
      static constexpr void visit(auto&& f, auto&... t) {
        f("embedded", t.embedded...);
        f("dembedded", t.dembedded...);
        f("stats", t.stats...);
      }
    };

    template <d2v::Device Dev, class T, int B>
    static void forward(Dev& d, const Parameters<const T>& p, d2v::View<const T, B, sample_size> recordings,
                        d2v::View<T, B, tokens, D> out, const Tape<T, B>& tape) {
      // (B, channels, samples) is (B, tokens, segment) already: the rows of a linear layer.
      Embedding::forward(d, p.embedding, B * tokens, recordings.data, tape.embedded.data);          // (B, T, D)
      Norm::forward(d, p.norm, B * tokens, 1e-6, tape.embedded.data, out.data, tape.stats.data);    // (B, T, D)
    }
    /// Parameter gradients are added to what is there; recordings need none.
    template <d2v::Device Dev, class T, int B>
    static void backward(Dev& d, const Parameters<const T>& p, d2v::View<const T, B, sample_size> recordings,
                         d2v::View<const T, B, tokens, D> dout, const Parameters<T>& gradient, const Tape<T, B>& tape) {
      Norm::backward(d, p.norm, B * tokens, tape.embedded.data, tape.stats.data, dout.data, tape.dembedded.data,
                     gradient.norm);
      Embedding::backward(d, p.embedding, B * tokens, recordings.data, tape.dembedded.data, static_cast<T*>(nullptr),
                          gradient.embedding);
    }
  };
};

using Recordings = Eeg<EegConfig{}>;
static_assert(d2v::Modality<Recordings> && Recordings::grid == d2v::Grid{8, 8});

inline constexpr d2v::Config tiny{.embed_dim = 32, .depth = 2, .num_heads = 4, .average_top_k_layers = 2,
                                   .instance_norm_target_layer = true, .layer_norm_targets = true, .clone_batch = 2};
using Masks = d2v::InverseBlockMask<Recordings::grid, d2v::MaskConfig{.mask_prob = 0.75, .mask_length = 2}>;
using Decoder = d2v::Conv2dDecoder<d2v::DecoderConfig{.decoder_dim = 32, .decoder_groups = 4, .decoder_kernel = 3,
                                                      .decoder_layers = 2, .input_dropout = 0}>;
struct EegModel : d2v::Data2Vec2<tiny, d2v::Branch<Recordings, Masks, Decoder>> {};

int main() {
  constexpr int count = 16, steps = 40;
  std::vector<float> recordings(count * Recordings::sample_size);  // a wave that travels over the head
  std::vector<std::uint32_t> ids(count);
  for (int n = 0; n < count; ++n) {
    ids[static_cast<std::size_t>(n)] = static_cast<std::uint32_t>(n);
    for (int c = 0; c < 8; ++c)
      for (int t = 0; t < 128; ++t)
        recordings[static_cast<std::size_t>((n * 8 + c) * 128 + t)] =
            std::sin(0.05f * static_cast<float>((n + 1) * t) + 0.7f * static_cast<float>(c));
  }
  d2v::TrainerOptions options = d2v::TrainerOptions::of<EegModel>();
  options.schedule = d2v::CosineSchedule{.lr = 2e-3, .warmup_updates = 5, .max_update = steps};
  d2v::Trainer<EegModel, d2v::Cpu> trainer(options);
  double first = 0, last = 0;
  for (int i = 0; i < steps; ++i) {
    last = trainer.step({recordings, ids}).loss;
    if (i == 0) first = last;
  }
  std::printf("%d x %d tokens, %d visible; loss %.3f -> %.3f\n", Recordings::grid.height, Recordings::grid.width,
              EegModel::First::V, first, last);
  return last < first ? 0 : 1;
}
