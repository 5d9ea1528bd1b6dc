// SPDX-License-Identifier: MIT
// Text: token ids are looked up in a table, positions are added, and a norm follows (BERT, Devlin et al., 2019, in
// RoBERTa's form; data2vec 2.0, section 4.3).
#pragma once

#include <cstdint>

#include <data2vec/core/check.hpp>
#include <data2vec/device/embedding.hpp>
#include <data2vec/layers/norm.hpp>
#include <data2vec/modality/modality.hpp>

namespace data2vec::inline v0 {

namespace check {
template <int pad, int vocab_size>
concept PadInVocabulary = pad >= 0 && pad < vocab_size;
template <int tokens, int max_source_positions>
concept TokensWithinPositions = tokens <= max_source_positions;
}  // namespace check

/// Texts of `tokens` token ids below `vocab_size`, filled up with `pad` at the end.
template <TextConfig C>
struct Text {
  static constexpr bool has_learned_positions = C.learned_pos && !C.no_token_positional_embeddings;
  static constexpr bool has_sinusoids = !C.learned_pos && !C.no_token_positional_embeddings;
  static_assert(check::AtLeast<C.tokens, 1>, "data2vec: TextConfig::tokens must be at least 1");
  static_assert(check::PadInVocabulary<C.pad, C.vocab_size>,
                "data2vec: TextConfig::pad must be a token below TextConfig::vocab_size");
  static_assert(!has_learned_positions || check::TokensWithinPositions<C.tokens, C.max_source_positions>,
                "data2vec: learned positions need TextConfig::max_source_positions of at least TextConfig::tokens");
  static constexpr const char* name = "TEXT";
  using Sample = std::int32_t;
  static constexpr TextConfig text = C;
  static constexpr ModalityConfig config = C.modality;
  static constexpr int tokens = C.tokens, sample_size = C.tokens;
  static constexpr Grid grid{1, tokens};
  static constexpr bool fixed_positions = false, norm_needs_prenet = true;
  static constexpr double embedding_dropout = C.dropout;
  static constexpr int vocab_size = C.vocab_size;

  static constexpr int valid_tokens(int length) { return length; }

  /// Tokens in front of the padding at the end of a sample (T).
  static constexpr int length_of(const std::int32_t* ids) {
    int length = tokens;
    while (length > 0 && ids[length - 1] == C.pad) --length;
    return length;
  }

  /// Embedding, positions (unless there are none) and norm: (B, T) -> (B, T, D).
  template <int D>
  struct LocalEncoder {
    static constexpr double eps = 1e-5;
    static constexpr double scale = C.no_scale_embedding ? 1 : init::square_root(D);
    static constexpr int positions = C.pad + 1 + (C.learned_pos ? C.max_source_positions : tokens);
    static constexpr bool norms = C.layernorm_embedding;
    using Norm = LayerNorm<D>;

    /// A table of vectors whose row `pad` starts at zero and stays there.
    template <class T, int rows>
    struct Table {
      View<T, rows, D> weight;
      static constexpr void visit(auto&& f, auto&... p) {
        f(Field{"weight", init::normal(0.02, C.pad)}, p.weight...);
      }
    };
    template <class T>
    struct Parameters {
      Table<T, C.vocab_size> embed_tokens;
      std::conditional_t<has_learned_positions, Table<T, positions>, Nothing> embed_positions;
      std::conditional_t<norms, typename Norm::template Parameters<T>, Nothing> layernorm_embedding;
      static constexpr void visit(auto&& f, auto&... p) {
        f("embed_tokens", p.embed_tokens...);
        f("embed_positions", p.embed_positions...);
        f("layernorm_embedding", p.layernorm_embedding...);
      }
    };

    template <class T, int B>
    struct Tape {
      View<T, has_sinusoids ? positions : 1, has_sinusoids ? D : 1> sinusoids;
      View<T, norms ? B : 1, norms ? tokens : 1, norms ? D : 1> embedded, dembedded;
      View<T, norms ? B : 1, norms ? tokens : 1, kept_numbers<T>(2)> stats;
      static constexpr void visit(auto&& f, auto&... t) {
        f("sinusoids", t.sinusoids...);
        f("embedded", t.embedded...);
        f("dembedded", t.dembedded...);
        f("stats", t.stats...);
      }
    };

    static constexpr double flops_per_sample = 0, backward_flops_per_sample = 0;  // no products

    template <Device Dev, class T, int B>
    static void forward(Dev& d, const Parameters<const T>& p, View<const std::int32_t, B, tokens> ids,
                        View<T, B, tokens, D> out, const Tape<T, B>& tape) {
      const T* table = nullptr;
      if constexpr (has_learned_positions) table = p.embed_positions.weight.data;
      if constexpr (has_sinusoids) {
        device::sinusoids<D>(d, positions, C.pad, tape.sinusoids.data);
        table = tape.sinusoids.data;
      }
      T* const embedded = norms ? tape.embedded.data : out.data;
      device::embed<D>(d, {B, tokens, C.pad}, ids.data, p.embed_tokens.weight.data, scale, table, embedded);
      if constexpr (norms)
        Norm::forward(d, p.layernorm_embedding, B * tokens, eps, embedded, out.data, tape.stats.data);  // (B, T, D)
    }

    template <Device Dev, class T, int B>
    static void backward(Dev& d, const Parameters<const T>& p, View<const std::int32_t, B, tokens> ids,
                         View<const T, B, tokens, D> dout, const Parameters<T>& gradient, const Tape<T, B>& tape) {
      const T* dy = dout.data;
      if constexpr (norms) {
        Norm::backward(d, p.layernorm_embedding, B * tokens, tape.embedded.data, tape.stats.data, dy,
                       tape.dembedded.data, gradient.layernorm_embedding);
        dy = tape.dembedded.data;
      }
      T* dpositions = nullptr;
      if constexpr (has_learned_positions) dpositions = gradient.embed_positions.weight.data;
      device::embed_gradient<D>(d, {B, tokens, C.pad}, ids.data, dy, scale, gradient.embed_tokens.weight.data,
                                dpositions);
    }
  };
};

}  // namespace data2vec::inline v0
