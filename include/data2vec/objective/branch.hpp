// SPDX-License-Identifier: MIT
// One modality of a data2vec 2.0 model: its parameters, and the forward and backward of a chunk of samples through
// teacher, student, decoder and losses (Baevski et al., 2022, section 3).
#pragma once

#include <data2vec/decoder/decoder.hpp>
#include <data2vec/device/patches.hpp>
#include <data2vec/device/reduce.hpp>
#include <data2vec/masking/index.hpp>
#include <data2vec/masking/policy.hpp>
#include <data2vec/model/encoder.hpp>
#include <data2vec/objective/targets.hpp>

namespace data2vec::inline v0 {

/// Weights of the loss terms at run time. A term whose weight in the configuration is zero does not exist.
struct LossWeights {
  double d2v_loss = 1, cls_loss = 0, recon_loss = 0;
};

/// Sums over the rows of a chunk, a step or a training set; add them up in a fixed order.
struct LossSums {
  double regression = 0;   ///< d2v_loss * scale * sum over hidden positions and channels
  double cls = 0;          ///< cls_loss * scale * sum over rows and channels, without the factor sample_size
  double recon = 0;        ///< recon_loss * scale * sum over hidden positions and channels
  double sample_size = 0;  ///< hidden positions

  LossSums& operator+=(const LossSums& other) {
    regression += other.regression;
    cls += other.cls;
    recon += other.recon;
    sample_size += other.sample_size;
    return *this;
  }
  /// The summed loss as the reference logs it: the CLS term carries the factor sample_size.
  double total() const { return regression + cls * sample_size + recon; }
};

/// Sees intermediate values of a step: `observe("targets", index, pointer, count)`. The default sees nothing.
struct NoObserver {
  template <class T>
  void operator()(const char*, int, const T*, std::size_t) const {}
};

/// A branch under a configuration; that they fit is checked by the model (objective/data2vec2.hpp).
template <Config C, class Br>
struct BranchStep {
  using M = typename Br::Modality;
  using Masking = typename Br::Masking;
  using Dec = typename Br::Decoder;
  using Enc = Encoder<C, M>;
  static constexpr int D = C.embed_dim, E = Enc::E, T_ = Enc::T_, masks = C.clone_batch;
  static constexpr int V = Masking::visible, R = masked_tokens<Masking>, filled = T_ - V;
  static constexpr DecoderShape decoder_shape{D,         M::grid,      V,          R, C.mlp_ratio, norm_order(C),
                                              C.norm_eps, C.norm_affine};
  using Network = typename Dec::template Network<decoder_shape>;
  static constexpr bool has_cls = C.cls_loss > 0, has_recon = C.recon_loss > 0;
  static constexpr bool teacher_has_local = !C.ema_encoder_only && M::config.ema_local_encoder;
  static constexpr bool drops_decoder_input = Dec::config.input_dropout > 0;
  // Names of their own: where padding precedes a double in C, clang misreads it at run time (not in constants).
  static constexpr double loss_beta = C.loss_beta;
  static constexpr double loss_scale = C.loss_scale > 0 ? C.loss_scale : 1 / init::square_root(D);

  template <class T>
  struct Parameters {
    typename Enc::template FrontEnd<T> front;
    typename Network::template Parameters<T> decoder;
    static constexpr void visit(auto&& f, auto&... p) {
      f("", p.front...);
      f("decoder", p.decoder...);
    }
  };
  template <class T>
  struct ReconParameters {
    typename Linear<D, D, LinearInit::fan_in>::template Parameters<T> linear;
    static constexpr void visit(auto&& f, auto&... p) { f("", p.linear...); }
  };
  template <class T>
  using Recon = std::conditional_t<has_recon, ReconParameters<T>, Nothing>;

  /// Everything a step reads or, as gradients, writes.
  template <class T>
  struct Weights {
    Parameters<T> branch;
    typename Enc::template Shared<T> blocks;
    typename Enc::template FinalNorm<T> norm;
    Recon<T> recon_proj;
  };

  template <class T, int B>
  struct TeacherMemory {
    typename Enc::Local::template Tape<T, B> local;
    typename Enc::template Memory<T, B, 1, T_, false> encoder;
    static constexpr void visit(auto&& f, auto&... m) {
      f("local", m.local...);
      f("encoder", m.encoder...);
    }
  };
  template <class T, int B>
  struct StudentMemory {
    static constexpr int N = B * masks, S = E + V, input_tokens = Dec::sees_all ? T_ : V;
    typename Enc::template Memory<T, B, masks, V, true> encoder;
    View<T, N * (S + filled), D> pool;  // the encoder's output after dropout, then noise
    View<T, N, input_tokens, D> decoder_input;
    typename Network::template Tape<T, N> decoder;
    View<T, N, R, D> prediction, dprediction;
    View<T, N, S, D> dencoded;
    View<T, N, D> cls, dcls;
    View<T, has_recon ? N : 1, has_recon ? R : 1, has_recon ? D : 1> pixels, dpixels;
    static constexpr void visit(auto&& f, auto&... m) {
      f("encoder", m.encoder...);
      f("pool", m.pool...);
      f("decoder_input", m.decoder_input...);
      f("decoder", m.decoder...);
      f("prediction", m.prediction...);
      f("dprediction", m.dprediction...);
      f("dencoded", m.dencoded...);
      f("cls", m.cls...);
      f("dcls", m.dcls...);
      f("pixels", m.pixels...);
      f("dpixels", m.dpixels...);
    }
  };
  /// All values of a chunk of B samples. Teacher and student use the same memory one after the other.
  template <class T, int B>
  struct Workspace {
    View<T, B, T_, D> local, teacher_local, layer, targets, dlocal;
    View<T, B, D> target_mean;
    View<T, has_recon ? B : 1, has_recon ? T_ : 1, has_recon ? D : 1> patches;
    typename Enc::Local::template Tape<T, B> local_tape;
    Overlay<T, TeacherMemory<T, B>, StudentMemory<T, B>> passes;
    static constexpr void visit(auto&& f, auto&... w) {
      f("local", w.local...);
      f("teacher_local", w.teacher_local...);
      f("layer", w.layer...);
      f("targets", w.targets...);
      f("dlocal", w.dlocal...);
      f("target_mean", w.target_mean...);
      f("patches", w.patches...);
      f("local_tape", w.local_tape...);
      f("passes", w.passes...);
    }
  };

  /// Indices of a chunk, made from its masks by `index_masks`.
  template <int B>
  struct Indices {
    static constexpr int N = B * masks, S = E + V;
    typename Enc::template Index<N, V> student;
    typename Enc::template Index<B, T_> teacher;
    View<int, N, T_> restore;        // place of each token among the row's visible, then hidden tokens
    View<int, N, V> visible;         // visible positions, ascending (student.keep may have another order)
    View<int, N, R> masked;          // hidden positions, ascending
    View<int, N, R> masked_rows;     // the same as rows of (N, T)
    View<int, N, R> target_rows;     // the same as rows of (B, T)
    View<int, N, T_> pool_rows;      // decoder input as rows of the pool
    View<int, N, S> decoder_rows;    // encoder output as rows of the decoder's input, -1 for extra tokens
    View<int, N> cls_rows, samples;  // the CLS token of each row; the sample of each row
    static constexpr void visit(auto&& f, auto&... i) {
      f("student", i.student...);
      f("teacher", i.teacher...);
      f("restore", i.restore...);
      f("visible", i.visible...);
      f("masked", i.masked...);
      f("masked_rows", i.masked_rows...);
      f("target_rows", i.target_rows...);
      f("pool_rows", i.pool_rows...);
      f("decoder_rows", i.decoder_rows...);
      f("cls_rows", i.cls_rows...);
      f("samples", i.samples...);
    }
  };

  /// Draws the mask of every row from the policy and indexes it.
  template <int B>
  static void draw_masks(const Draws& draws, const Indices<B>& index) {
    for (int n = 0; n < Indices<B>::N; ++n) {
      Mask<T_> mask;
      Rng rng(draws.at(Site::masks, 0, 0).key(n));
      Masking::sample(rng, mask);
      index_mask(mask.hidden, T_, V, index.student.keep[n].data, index.restore[n].data, index.masked[n].data);
    }
    index_masks<B>(index);
  }

  /// Completes the indices once `student.keep`, `restore` and `masked` are there.
  template <int B>
  static void index_masks(const Indices<B>& index) {
    constexpr int N = Indices<B>::N, S = E + V;
    Enc::index_rows(masks, index.student);
    Enc::index_all(index.teacher);
    for (int n = 0; n < N; ++n) {
      for (int r = 0; r < R; ++r) {
        index.masked_rows[n][r] = n * T_ + index.masked[n][r];
        index.target_rows[n][r] = n / masks * T_ + index.masked[n][r];
      }
      for (int t = 0, v = 0; t < T_; ++t) {
        const int place = index.restore[n][t];
        if (place < V) index.visible[n][v++] = t;
        index.pool_rows[n][t] = place < V ? n * S + E + place : N * S + n * filled + place - V;
      }
      for (int e = 0; e < E; ++e) index.decoder_rows[n][e] = -1;
      for (int v = 0; v < V; ++v)
        index.decoder_rows[n][E + v] = Dec::sees_all ? n * T_ + index.student.keep[n][v] : n * V + v;
      index.cls_rows[n] = n * S + E - 1;
      index.samples[n] = n / masks;
    }
  }

  static constexpr int teacher_layer_offset = 2048;  // keeps the draws of a training-mode front end apart

  /// Forward and backward of one chunk. `samples` and `teacher_samples` (B, sample_size) may be the same; `noise`
  /// (N, T - V, D) is drawn if null. Gradients of the summed loss divided by `sample_size` (that of the whole batch)
  /// are accumulated into `gradient`. `moments` receives sums and sums of squares per channel of predictions, then of
  /// targets, at hidden positions (4, D).
  template <class Dev, class T, int B, class Observer = NoObserver>
  static LossSums step(const Pass<Dev, true>& pass, const Weights<const T>& student, const Weights<const T>& teacher,
                       const Weights<T>& gradient, View<const T, B, M::sample_size> samples,
                       View<const T, B, M::sample_size> teacher_samples, const T* noise, double noise_deviation,
                       const LossWeights& weights, double sample_size, const Workspace<T, B>& w,
                       const Indices<B>& index, double* moments, Observer&& observe = {}) {
    constexpr int N = B * masks, S = E + V;
    auto& d = pass.device;
    const double scale = loss_scale;
    Enc::Local::forward(d, student.branch.front.local_encoder, samples, w.local, w.local_tape);   // (B, T, D)
    observe("local_features", 0, w.local.data, w.local.size);
    make_targets(pass, student, teacher, teacher_samples, w, index, observe);                     // (B, T, D)

    const auto m = w.passes.template as<StudentMemory<T, B>>();
    const auto encoded = Enc::forward(pass, pass, student.branch.front, student.blocks, student.norm,
                                      View<const T, B, T_, D>(w.local), index.student, m.encoder, [](auto&&...) {});
    observe("prenet", 0, encoded.prenet.data, encoded.prenet.size);
    observe("encoder", 0, encoded.encoder.data, encoded.encoder.size);
    device::copy(d, encoded.encoder.size, encoded.encoder.data, m.pool.data);
    drop_input(pass, N, S * D, m.pool.data);
    const DecoderInput<T> input = decoder_input<B>(pass, student, noise, noise_deviation, m, index);
    Network::forward(pass, student.branch.decoder, input, m.prediction, m.decoder);               // (N, R, D)
    observe("prediction", 0, m.prediction.data, m.prediction.size);

    LossSums sums;
    sums.sample_size = N * R;
    sums.regression = weights.d2v_loss * scale *
                      device::regression_loss<D>(d, N * R, m.prediction.data, w.targets.data, index.target_rows.data,
                                                 loss_beta, weights.d2v_loss * scale / sample_size, m.dprediction.data);
    device::channel_moments<D>(d, N * R, m.prediction.data, nullptr, moments, moments + D);
    device::channel_moments<D>(d, N * R, w.targets.data, index.target_rows.data, moments + 2 * D, moments + 3 * D);
    if constexpr (has_recon)
      sums.recon = reconstruct<B>(pass, student, gradient, samples, weights, sample_size, w, m, index);
    if constexpr (has_cls) {
      mean_targets<B>(d, w);
      device::gather_rows<D>(d, N, m.pool.data, index.cls_rows.data, m.cls.data);                 // (N, D)
      sums.cls = weights.cls_loss * scale *
                 device::regression_loss<D>(d, N, m.cls.data, w.target_mean.data, index.samples.data, loss_beta,
                                            weights.cls_loss * scale, m.dcls.data);
    }

    using Input = View<T, N, StudentMemory<T, B>::input_tokens, D>;
    const Input dinput{m.decoder_input.data};  // the decoder's input is read before its gradient is written
    backward_decoder<B>(pass, student, gradient, input, dinput, m);
    device::gather_rows<D>(d, N * S, dinput.data, index.decoder_rows.data, m.dencoded.data);      // (N, S, D)
    if constexpr (has_cls) device::scatter_add_rows<D>(d, N, m.dcls.data, index.cls_rows.data, m.dencoded.data);
    drop_input(pass, N, S * D, m.dencoded.data);
    Enc::backward(pass, student.branch.front, student.blocks, student.norm, index.student, m.dencoded, w.dlocal,
                  gradient.branch.front, gradient.blocks, gradient.norm, m.encoder);
    if constexpr (M::config.local_grad_mult > 0) {
      if constexpr (M::config.local_grad_mult != 1)
        device::scale(d, w.dlocal.size, M::config.local_grad_mult, w.dlocal.data);
      Enc::Local::backward(d, student.branch.front.local_encoder, samples, View<const T, B, T_, D>(w.dlocal),
                           gradient.branch.front.local_encoder, w.local_tape);
    }
    return sums;
  }

 private:
  template <class Dev, class T, int B, class Observer>
  static void make_targets(const Pass<Dev, true>& pass, const Weights<const T>& student,
                           const Weights<const T>& teacher, View<const T, B, M::sample_size> samples,
                           const Workspace<T, B>& w, const Indices<B>& index, Observer&& observe) {
    auto& d = pass.device;
    using Layers = Targets<C, B, T_, E>;
    const auto m = w.passes.template as<TeacherMemory<T, B>>();
    const Pass<Dev, false> evaluate{d};
    View<const T, B, T_, D> local = w.local;
    if constexpr (teacher_has_local) {
      Enc::Local::forward(d, teacher.branch.front.local_encoder, samples, w.teacher_local, m.local);
      local = w.teacher_local;
    }
    Layers::start(d, w.targets);
    const auto tap = [&](int layer, const auto& mlp_output, const auto& block_output) {
      if (!Layers::takes(layer)) return;
      Layers::add(d, C.end_of_block_targets ? block_output : mlp_output, w.layer, w.targets);
    };
    const auto observed = [&](int layer, const auto& mlp_output, const auto& block_output) {
      const auto& result = C.end_of_block_targets ? block_output : mlp_output;
      observe("layer_results", layer, result.data, result.size);
      tap(layer, mlp_output, block_output);
    };
    if constexpr (C.ema_encoder_only) {
      // The student's own front end, in training mode, feeds the teacher's blocks (the reference's rule).
      Pass<Dev, true> early = pass;
      early.draws.masks = 1;
      early.draws.first_layer += teacher_layer_offset;
      const auto out = Enc::forward(early, evaluate, student.branch.front, teacher.blocks, teacher.norm, local,
                                    index.teacher, m.encoder, observed);
      observe("teacher_input", 0, out.prenet.data, out.prenet.size);
    } else {
      const auto out = Enc::forward(evaluate, evaluate, teacher.branch.front, teacher.blocks, teacher.norm, local,
                                    index.teacher, m.encoder, observed);
      observe("teacher_input", 0, out.prenet.data, out.prenet.size);
    }
    Layers::finish(d, w.targets);
    observe("targets", 0, w.targets.data, w.targets.size);
  }

  template <class P, class T>
  static void drop_input(const P& pass, int rows, int width, T* x) {
    if constexpr (drops_decoder_input)
      device::dropout(pass.device, rows, width,
                      pass.draws.at(Site::input_dropout, 0, pass.rates.decoder_input_dropout), x, x);
  }

  /// Noise for the hidden tokens, everything in its place, positions where asked for.
  template <int B, class P, class T>
  static DecoderInput<T> decoder_input(const P& pass, const Weights<const T>& student, const T* noise,
                                       double noise_deviation, const StudentMemory<T, B>& m, const Indices<B>& index) {
    constexpr int N = B * masks, S = E + V;
    auto& d = pass.device;
    const T* positions = nullptr;
    if constexpr (M::fixed_positions) positions = student.branch.front.fixed_positional_encoder.positions.data;
    if constexpr (!Dec::sees_all) {
      device::copy_strided(d, N, V * D, m.pool.data + E * D, S * D, m.decoder_input.data, V * D);
    } else {
      T* drawn = m.pool.data + static_cast<std::ptrdiff_t>(N) * S * D;
      if (noise) device::copy(d, static_cast<std::size_t>(N) * filled * D, noise, drawn);
      else device::normal_noise(d, N, filled * D, pass.draws.at(Site::noise, 0, noise_deviation), drawn);
      device::gather_rows<D>(d, N * T_, m.pool.data, index.pool_rows.data, m.decoder_input.data);  // (N, T, D)
      if constexpr (Dec::config.add_positions_masked)
        for (int n = 0; n < N; ++n)
          for (int r = 0; r < R; ++r) {
            const int t = index.masked[n][r];
            T* token = m.decoder_input[n][t].data;
            device::add(d, D, token, positions + static_cast<std::ptrdiff_t>(t) * D, token);
          }
      if constexpr (Dec::config.add_positions_all)
        for (int n = 0; n < N; ++n)
          device::add(d, static_cast<std::size_t>(T_) * D, m.decoder_input[n].data, positions, m.decoder_input[n].data);
    }
    return {m.decoder_input.data, positions, index.visible.data, index.masked.data, index.masked_rows.data};
  }

  /// The decoder's backward needs its input, so the gradient goes to scratch first and then takes the input's place.
  template <int B, class P, class T, class Input>
  static void backward_decoder(const P& pass, const Weights<const T>& student, const Weights<T>& gradient,
                               const DecoderInput<T>& input, Input dinput, const StudentMemory<T, B>& m) {
    const Input scratch{m.pool.data};  // the encoder's output has been read
    static_assert(Input::size <= decltype(m.pool)::size);
    Network::backward(pass, student.branch.decoder, input, m.dprediction, scratch, gradient.branch.decoder, m.decoder);
    device::copy(pass.device, Input::size, scratch.data, dinput.data);
  }

  /// Mean over the tokens of each sample's targets: (B, D), the target of the CLS token.
  template <int B, class Dev, class T>
  static void mean_targets(Dev& d, const Workspace<T, B>& w) {
    device::fill(d, w.target_mean.size, 0, w.target_mean.data);
    for (int b = 0; b < B; ++b)
      for (int t = 0; t < T_; ++t)
        device::add(d, D, w.target_mean[b].data, w.targets[b][t].data, w.target_mean[b].data);
    device::scale(d, w.target_mean.size, 1.0 / T_, w.target_mean.data);
  }

  /// Pixel reconstruction from the decoder's output; its gradient is added to that of the prediction.
  template <int B, class P, class T>
  static double reconstruct(const P& pass, const Weights<const T>& student, const Weights<T>& gradient,
                            View<const T, B, M::sample_size> samples, const LossWeights& weights, double sample_size,
                            const Workspace<T, B>& w, const StudentMemory<T, B>& m, const Indices<B>& index) {
    constexpr int N = B * masks;
    using Projection = Linear<D, D, LinearInit::fan_in>;
    auto& d = pass.device;
    device::normalised_patches<M::vision.in_chans, M::vision.input_size, M::vision.patch_size>(d, B, samples.data,
                                                                                               w.patches.data);
    Projection::forward(d, student.recon_proj.linear, N * R, m.prediction.data, m.pixels.data);   // (N, R, D)
    const double sum = device::regression_loss<D>(d, N * R, m.pixels.data, w.patches.data, index.target_rows.data,
                                                  loss_beta, weights.recon_loss * loss_scale / sample_size,
                                                  m.dpixels.data);
    Projection::template backward<Grad::accumulate>(d, student.recon_proj.linear, N * R, m.prediction.data,
                                                    m.dpixels.data, m.dprediction.data, gradient.recon_proj.linear);
    return weights.recon_loss * loss_scale * sum;
  }
};

}  // namespace data2vec::inline v0
