// SPDX-License-Identifier: MIT
// An encoder with a linear layer from every frame to symbols, trained by CTC: the reference's fine-tuning of speech to
// letters. The decoder and the teacher are gone; frames and channels are hidden in training, none is left out.
#pragma once

#include <data2vec/finetune/ctc.hpp>
#include <data2vec/finetune/token_masks.hpp>
#include <data2vec/layers/linear.hpp>
#include <data2vec/model/encoder.hpp>

namespace data2vec::inline v0 {

/// `Model` is the encoder's pre-training type; `symbols` the classes of its letters, CTC's blank among them.
template <class Model, int num_symbols>
struct Recogniser {
  static_assert(check::AtLeast<num_symbols, 2>, "data2vec: Recogniser needs at least 2 symbols, the blank included");
  static constexpr Config config = Model::config;
  using M = typename Model::First::M;
  using Enc = Encoder<config, M>;
  static constexpr int D = Enc::D, E = Enc::E, T_ = Enc::T_, S = E + T_, symbols = num_symbols;
  static constexpr bool padded = Enc::padded;
  using Head = Linear<D, symbols, LinearInit::xavier>;
  static constexpr const char* encoder_prefix = [] {
    if constexpr (requires { Model::recogniser_encoder; }) return Model::recogniser_encoder;
    else return "w2v_model";
  }();
  static constexpr const char* head_prefix = [] {
    if constexpr (requires { Model::recogniser_head; }) return Model::recogniser_head;
    else return "proj";
  }();
  template <class T, int B>
  using Samples = View<const SampleOf<M, T>, B, M::sample_size>;

  /// Under the reference's names: the model's prefix (of data2vec 2.0 "w2v_model") and the encoder's, and "proj".
  template <class T>
  struct Parameters {
    typename Model::template EncoderParameters<Enc, T> w2v_model;
    typename Head::template Parameters<T> proj;
    static constexpr void visit(auto&& f, auto&... p) {
      f(encoder_prefix, p.w2v_model...);
      f(head_prefix, p.proj...);
    }
  };
  /// Whether the encoder has learned what stands for hidden frames, as that of wav2vec 2.0.
  static constexpr bool has_mask_emb = requires(const Parameters<float>& p) { p.w2v_model.mask_emb; };

  template <class T, int B, bool training = true>
  struct Workspace {
    View<T, B, T_, D> local, dlocal;
    typename Enc::Local::template Tape<T, B> local_tape;
    typename Enc::template Memory<T, B, 1, T_, training> encoder;
    View<T, B, T_, symbols> logits, dlogits;
    View<T, training ? B : 1, training ? S : 1, training ? D : 1> dencoded;
    static constexpr void visit(auto&& f, auto&... w) {
      f("local", w.local...);
      f("dlocal", w.dlocal...);
      f("local_tape", w.local_tape...);
      f("encoder", w.encoder...);
      f("logits", w.logits...);
      f("dlogits", w.dlogits...);
      f("dencoded", w.dencoded...);
    }
  };
  template <int B>
  struct Index {
    typename Enc::template Index<B, T_> tokens;
    TokenMasks<B, T_, D> masks;
    static constexpr void visit(auto&& f, auto&... i) {
      f("tokens", i.tokens...);
      f("masks", i.masks...);
    }
  };

  /// How the frames that index.masks hides are filled in training, unless the encoder has learned what stands for them;
  /// `noise`, if given, holds their rows one after the other, else they are drawn.
  template <class T>
  struct Hiding {
    bool zero = false;
    double noise_std = 0;
    const T* noise = nullptr;
  };

  /// Frames of each row that are no padding; `lengths` (B) in samples, null: all.
  template <int B>
  static void valid_frames(const int* lengths, int* valid) {
    for (int b = 0; b < B; ++b) valid[b] = lengths ? Enc::valid_tokens(lengths[b]) : T_;
  }

  /// Samples (B, sample_size) -> logits (B, T, symbols) in the workspace; those of padding mean nothing. In training
  /// frames and channels are hidden by index.masks. Returns the encoder's output (B, E + T, D).
  template <class P, class T, int B, bool training>
  static View<const T, B, S, D> forward(const P& pass, const Parameters<const T>& p, Samples<T, B> samples,
                                        const Workspace<T, B, training>& w, const Index<B>& index,
                                        const Hiding<T>& hiding = {}, const int* lengths = nullptr) {
    auto& d = pass.device;
    const auto& front = p.w2v_model.front();
    int valid[B];
    valid_frames<B>(lengths, valid);
    Enc::Rows::index_all(index.tokens, padded ? valid : nullptr);
    Enc::tokens(d, front.local_encoder, samples, w.local, w.local_tape, lengths);
    drop_tokens<M, B>(pass, w.local);
    if constexpr (P::training) {
      if constexpr (has_mask_emb) index.masks.apply(d, w.local, p.w2v_model.mask_emb.data);
      else index.masks.apply(d, w.local, hiding.zero, pass.draws, hiding.noise_std, hiding.noise);
    }
    const auto out = Enc::forward(pass, pass, front, p.w2v_model.blocks, p.w2v_model.norm,
                                  View<const T, B, T_, D>(w.local), index.tokens, w.encoder, [](auto&&...) {});
    each<B>([&](int b, int rows) {
      Head::forward(d, p.proj, rows * T_, out.encoder[b][E].data, w.logits[b].data);                // (B, T, symbols)
    });
    return out.encoder;
  }

  /// Forward, CTC loss and backward of the first `rows` rows, whose targets are in `targets`; the other rows have no
  /// part in it. Gradients, of the summed loss divided by `sample_size`, are accumulated; with `frozen` those of the
  /// head alone. `losses` (rows), unless null, receives the loss of each row.
  template <class Dev, class T, int B>
  static CtcSums step(const Pass<Dev, true>& pass, const Parameters<const T>& p, const Parameters<T>& gradient,
                      Samples<T, B> samples, int rows, CtcBatch& targets, double sample_size, const Workspace<T, B>& w,
                      const Index<B>& index, const Hiding<T>& hiding, const int* lengths = nullptr, bool frozen = false,
                      double* losses = nullptr) {
    auto& d = pass.device;
    const auto encoded = forward(pass, p, samples, w, index, hiding, lengths);
    device::fill(d, w.dlogits.size, 0, w.dlogits.data);
    const CtcSums sums =
        targets.template loss<symbols>(d, rows, w.logits.data, CtcOptions{}, 1 / sample_size, losses, w.dlogits.data);
    if constexpr (E > 0) device::fill(d, w.dencoded.size, 0, w.dencoded.data);
    each<B>([&](int b, int count) {
      Head::backward(d, p.proj, count * T_, encoded[b][E].data, w.dlogits[b].data,
                     frozen ? nullptr : w.dencoded[b][E].data, gradient.proj);
    });
    if (frozen) return sums;
    const auto& front = p.w2v_model.front();
    const auto& dfront = gradient.w2v_model.front();
    Enc::backward(pass, front, p.w2v_model.blocks, p.w2v_model.norm, index.tokens, w.dencoded, w.dlocal, dfront,
                  gradient.w2v_model.blocks, gradient.w2v_model.norm, w.encoder);
    T* dmask_emb = nullptr;
    if constexpr (has_mask_emb) dmask_emb = gradient.w2v_model.mask_emb.data;
    index.masks.apply_backward(d, w.dlocal, dmask_emb);
    drop_tokens<M, B>(pass, w.dlocal);
    const View<const T, B, T_, D> dlocal = w.dlocal;
    if constexpr (detail::reads_lengths<typename Enc::Local>)
      Enc::Local::backward(d, front.local_encoder, samples, dlocal, dfront.local_encoder, w.local_tape, lengths);
    else Enc::Local::backward(d, front.local_encoder, samples, dlocal, dfront.local_encoder, w.local_tape);
    return sums;
  }

 private:
  /// f(row, rows): all rows at once where no extra tokens stand between them.
  template <int B, class F>
  static void each(F&& f) {
    if constexpr (E == 0) return f(0, B);
    else
      for (int b = 0; b < B; ++b) f(b, 1);
  }
};

}  // namespace data2vec::inline v0
