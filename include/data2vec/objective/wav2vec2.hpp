// SPDX-License-Identifier: MIT
// wav2vec 2.0 (Baevski et al., "wav2vec 2.0: A framework for self-supervised learning of speech representations", 2020)
// as a type: the encoder reads frames some spans of which are hidden, and tells the quantised frame that was there from
// those of other places. There is no teacher.
//
//   struct Mine : Wav2Vec2<wav2vec2_base, Speech<waveforms>, SpanMask<Speech<waveforms>::tokens, masks>, contrast> {};
#pragma once

#include <string_view>

#include <data2vec/core/random.hpp>
#include <data2vec/model/initialise.hpp>
#include <data2vec/objective/counts.hpp>
#include <data2vec/objective/wav2vec2_step.hpp>

namespace data2vec::inline v0 {

/// A wav2vec 2.0 model. Name it (`struct Mine : Wav2Vec2<...> {}`): messages and symbols then say `Mine`.
template <Config C, class ModalityType, class MaskingType, Wav2Vec2Config W>
struct Wav2Vec2 {
  static_assert(check::HeadsDivideEmbedDim<C.num_heads, C.embed_dim>,
                "data2vec: Config::num_heads must divide Config::embed_dim");
  static_assert(check::Equal<MaskingType::tokens, ModalityType::tokens>,
                "data2vec: the masking policy must be over as many tokens as the modality has");
  static constexpr const char *system = "wav2vec2", *recogniser_encoder = "w2v_encoder.w2v_model",
                              *recogniser_head = "w2v_encoder.proj";
  static constexpr Config config = C;
  static constexpr Wav2Vec2Config contrast = W;
  static constexpr bool has_teacher = false;
  static constexpr int branches = 1;
  using First = Wav2Vec2Step<C, ModalityType, MaskingType, W>;
  template <int i>
  using BranchAt = Wav2Vec2Step<C, ModalityType, MaskingType, W>;  // not by First's name: nvcc mixes them up

  static constexpr void describe(auto&& f) {
    f("model", config);
    f("modality", ModalityType::speech);
    f("masks", MaskingType::config);
    f("contrast", contrast);
  }

  /// The encoder alone, under the reference's names, with what stands for hidden frames.
  template <class Enc, class T>
  struct EncoderParameters {
    View<T, C.embed_dim> mask_emb;
    typename Enc::template FrontEnd<T> front_end;
    typename Enc::template Shared<T> blocks;
    typename Enc::template FinalNorm<T> norm;
    const typename Enc::template FrontEnd<T>& front() const { return front_end; }
    static constexpr void visit(auto&& f, auto&... p) {
      f(Field{"mask_emb", init::fixed()}, p.mask_emb...);
      f("feature_extractor.conv_layers", p.front_end.local_encoder.conv_layers...);
      f("layer_norm", p.front_end.local_encoder.norm...);
      f("post_extract_proj", p.front_end.local_encoder.projection...);
      f("encoder.pos_conv", p.front_end.relative_positional_encoder...);
      f("encoder.layers", p.blocks...);
      f("encoder.layer_norm", p.front_end.context_encoder.norm...);
      f("encoder.layer_norm", p.norm...);
    }
  };
  /// All parameters.
  template <class T>
  struct Parameters {
    EncoderParameters<typename First::Enc, T> encoder;
    typename First::Quantiser::template Parameters<T> quantizer;
    typename First::TargetProjection::template Parameters<T> project_q;
    typename First::Projection::template Parameters<T> final_proj;
    static constexpr void visit(auto&& f, auto&... p) {
      f("", p.encoder...);
      f("quantizer", p.quantizer...);
      f("project_q", p.project_q...);
      f("final_proj", p.final_proj...);
    }
  };
  template <int, class T>
  static typename First::template Weights<T> weights(const Parameters<T>& p) {
    return {{p.encoder.front_end, p.encoder.mask_emb, p.quantizer, p.project_q, p.final_proj}, p.encoder.blocks,
            p.encoder.norm};
  }

  static constexpr bool in_decoder(std::string_view name) {
    return name.starts_with("quantizer.") || name.starts_with("project_q.") || name.starts_with("final_proj.");
  }
  static constexpr bool in_teacher(std::string_view) { return false; }
  static constexpr int branch_of(std::string_view) { return -1; }
  static constexpr bool receives_gradient(std::string_view name, int = 0) {
    return ModalityType::config.local_grad_mult != 0 || !name.starts_with("feature_extractor.");
  }

  static constexpr std::size_t parameter_count = element_count<Parameters<float>>;
  static constexpr std::size_t encoder_parameter_count =
      detail::elements_where<Parameters<float>>([](std::string_view name) { return !in_decoder(name); });
  static constexpr std::size_t teacher_parameter_count = 0;

  /// Floating-point operations of one training step per sample; what the quantiser and the contrast take is the decoder's.
  template <int = 0>
  static constexpr StepFlops step_flops = [] {
    using S = First;
    return StepFlops{.local = S::Local::flops_per_sample +
                              (S::M::config.local_grad_mult > 0 ? S::Local::backward_flops_per_sample : 0),
                     .student = 3 * S::Enc::flops(S::T_),
                     .decoder = 3 * S::R * (S::Projection::flops_per_row + S::Quantiser::flops_per_row +
                                            (1 + W.codebook_negatives) * S::TargetProjection::flops_per_row +
                                            2.0 * (1 + S::K) * W.final_dim)};
  }();
  template <int = 0>
  static constexpr double flops_per_sample = step_flops<0>.total();
  template <int B, int G = 1, int = 0>
  static constexpr std::size_t workspace_size = buffer_size<typename First::template Workspace<float, B>>;

  /// Random initial weights, a function of the seed alone. `buffer` holds buffer_size<Parameters<T>> elements.
  template <class T>
  static void initialise(T* buffer, std::uint64_t seed) {
    initialise_tensors<Parameters<T>>(buffer, seed, C.mae_init);
    std::uint32_t row = 0;
    for (const TensorInfo& info : tensor_table<Parameters<T>>) {
      Rng rng({.seed = seed, .sample = row++, .site = Site::initialise});
      if (info.name.view() != "mask_emb" && info.name.view() != "quantizer.vars") continue;
      for (std::size_t i = 0; i < info.size; ++i) buffer[info.offset + i] = static_cast<T>(rng.uniform());
    }
    const auto positions = bind<Parameters<T>>(buffer).encoder.front_end.relative_positional_encoder;
    if constexpr (requires { First::Enc::Relative::start(positions); }) First::Enc::Relative::start(positions);
  }
};

}  // namespace data2vec::inline v0
