// SPDX-License-Identifier: MIT
// data2vec 1.0 (Baevski et al., "data2vec: A general framework for self-supervised learning in speech, vision and
// language", 2022) as a type: the student reads the whole sequence with a mask token in hidden places and regresses
// what the teacher, who sees everything, makes of them.
//
//   struct Mine : Data2Vec1<config, Branch<Images, BeitBlockMask<Grid{14, 14}, {}>, RegressionHead<1>>> {};
#pragma once

#include <data2vec/objective/data2vec1_step.hpp>
#include <data2vec/model/initialise.hpp>
#include <data2vec/objective/counts.hpp>

namespace data2vec::inline v0 {

namespace detail {

/// The fields that vision has of necessity: pre-norm blocks with both residuals; trained positions, if any.
template <class M>
constexpr Config data2vec1_config(Config c, VisionVariant variant) {
  c.clone_batch = 1;
  if constexpr (requires { M::patch_values; }) {
    c.layer_norm_first = c.pre_norm_mlp_residual = c.relative_position_bias = true;
    c.train_positions = c.extra_token_positions = M::fixed_positions;
    c.block_names = variant == VisionVariant::beit ? BlockNames::beit : BlockNames::beit_sequential;
  } else {
    c.block_names = BlockNames::fairseq;
    c.pre_norm_mlp_residual = c.layer_norm_first;
  }
  return c;
}

template <Config C, class Br, Data2Vec1Config O>
struct Data2Vec1Model {
  static constexpr const char* system = "data2vec1";
  static constexpr Config config = C;
  static constexpr Data2Vec1Config variant = O;
  static constexpr int branches = 1;
  static constexpr bool has_teacher = true;
  template <int i>
  using BranchAt = Data2Vec1Step<C, Br, O>;
  using First = Data2Vec1Step<C, Br, O>;
  static constexpr bool vision = First::vision, text = First::text, speech = !vision && !text;
  static constexpr bool beit = vision && O.vision == VisionVariant::beit;

  /// The encoder alone, under the reference's names.
  template <class Enc, class T>
  struct EncoderParameters {
    typename Enc::template FrontEnd<T> front_end;
    typename Enc::template Shared<T> blocks;
    typename Enc::template FinalNorm<T> norm;
    const typename Enc::template FrontEnd<T>& front() const { return front_end; }
    static constexpr void visit(auto&& f, auto&... p) {
      if constexpr (vision) {
        constexpr Init token = beit ? init::normal(0.02) : init::truncated_normal(1);
        f(Field{beit ? "cls_token" : "cls_emb", token, true, -1, !beit}, p.front_end.extra_tokens.tokens...);
        if constexpr (First::Enc::trains_positions)
          f(Field{"pos_embed", init::normal(0.02), true, -1, false}, p.front_end.fixed_positional_encoder.positions...);
        f(beit ? "patch_embed.proj" : "patch_embed.conv", p.front_end.local_encoder.proj...);
        f(beit ? "rel_pos_bias" : "encoder.rel_pos_bias", p.front_end.alibi...);
        f(beit ? "blocks" : "encoder.blocks", p.blocks...);
        f(beit ? "norm" : "encoder.norm", p.norm...);
      } else if constexpr (text) {
        f("encoder.sentence_encoder", p.front_end.local_encoder...);
        f("encoder.sentence_encoder", p.front_end.alibi...);
        f("encoder.sentence_encoder.layers", p.blocks...);
        f("encoder.sentence_encoder.layer_norm", p.norm...);
      } else {
        f("feature_extractor.conv_layers", p.front_end.local_encoder.conv_layers...);
        f("layer_norm", p.front_end.local_encoder.norm...);
        f("post_extract_proj", p.front_end.local_encoder.projection...);
        f("encoder.pos_conv", p.front_end.relative_positional_encoder.convolutions.layer...);
        if constexpr (C.layer_norm_first) f("encoder.layer_norm", p.norm...);
        else f("encoder.layer_norm", p.front_end.context_encoder.norm...);
        f("encoder", p.front_end.alibi...);
        f("encoder.layers", p.blocks...);
      }
    }
  };
  /// All parameters.
  template <class T>
  struct Parameters {
    EncoderParameters<typename First::Enc, T> encoder;
    typename First::template MaskToken<T> mask;
    typename First::Head::template Parameters<T> head;
    typename First::template Unused<T> unused;
    static constexpr void visit(auto&& f, auto&... p) {
      f("", p.encoder...);
      f(beit ? "mask_token" : "mask_emb", p.mask...);
      f(beit ? "lm_head" : text ? "encoder.regression_head" : "final_proj", p.head...);
      f("final_proj", p.unused...);
    }
  };
  template <int, class T>
  static typename First::template Weights<T> weights(const Parameters<T>& p) {
    return {{p.encoder.front_end, p.mask, p.head}, p.encoder.blocks, p.encoder.norm};
  }

  static constexpr bool in_decoder(std::string_view name) {
    return name.starts_with("mask_") || name.starts_with("lm_head.") || name.starts_with("final_proj.") ||
           name.starts_with("encoder.regression_head.");
  }
  static constexpr bool in_teacher(std::string_view name) {
    if (beit) return true;
    if (text) return name.starts_with("encoder.sentence_encoder.");
    return name.starts_with("encoder.");
  }
  /// What the teacher takes over from the student as it is.
  static constexpr bool teacher_copies(std::string_view name) {
    if (!O.ema_layers_only) return false;
    return speech ? name.starts_with("encoder.pos_conv.") : text && name.starts_with("encoder.sentence_encoder.") &&
                                                                name.find("embed") != std::string_view::npos;
  }
  static constexpr int branch_of(std::string_view) { return -1; }
  static constexpr bool receives_gradient(std::string_view name, int = 0) {
    if (vision && !beit && name.starts_with("final_proj.")) return false;
    return First::M::config.local_grad_mult != 0 || !name.starts_with("feature_extractor.");
  }
  static constexpr Config fine_tuning(bool pools_with_norm) {
    Config c = C;
    if (vision && pools_with_norm) c.final_norm = false;
    return c;
  }
  /// What layer-wise learning rates count as the layer below the first block.
  static constexpr bool is_embedding(std::string_view name) {
    return name.starts_with("cls_") || name == "pos_embed" || name.starts_with("patch_embed.");
  }

  static constexpr std::size_t parameter_count = element_count<Parameters<float>>;
  static constexpr std::size_t encoder_parameter_count =
      elements_where<Parameters<float>>([](std::string_view name) { return !in_decoder(name); });
  static constexpr std::size_t teacher_parameter_count = elements_where<Parameters<float>>(in_teacher);

  /// Floating-point operations of one training step per sample.
  template <int = 0>
  static constexpr StepFlops step_flops = [] {
    using Local = typename First::Enc::Local;
    double backward = Local::flops_per_sample;
    if constexpr (requires { Local::backward_flops_per_sample; }) backward = Local::backward_flops_per_sample;
    return StepFlops{.local = Local::flops_per_sample + backward,
                     .teacher = (First::teacher_has_local ? Local::flops_per_sample : 0) + First::Enc::flops(First::S),
                     .student = 3 * First::Enc::flops(First::S),
                     .decoder = 3 * First::R * First::Head::flops_per_row};
  }();
  template <int i = 0>
  static constexpr double flops_per_sample = step_flops<i>.total();
  template <int B, int G = 1, int i = 0>
  static constexpr std::size_t workspace_size = buffer_size<typename First::template Workspace<float, B>>;

  /// Random initial weights, a function of the seed alone. Of vision, what ends a branch of block i is divided by
  /// sqrt(2 (i + 1)).
  template <class T>
  static void initialise(T* buffer, std::uint64_t seed) {
    initialise_tensors<Parameters<T>>(buffer, seed, C.mae_init);
    if constexpr (vision) {
      const auto p = bind<Parameters<T>>(buffer);
      for (std::size_t i = 0; i < p.encoder.blocks.size(); ++i) {
        const auto factor = static_cast<T>(1 / std::sqrt(2.0 * (static_cast<double>(i) + 1)));
        const auto shrink = [&](const auto& w) {
          for (std::size_t k = 0; k < w.size; ++k) w.data[k] *= factor;
        };
        shrink(p.encoder.blocks[i].attn.proj.weight);
        shrink(p.encoder.blocks[i].mlp.fc2.weight);
      }
    }
  }

  static void describe(auto&& f) {
    f("model", C);
    if constexpr (vision) f("modality", First::M::vision);
    else if constexpr (text) f("modality", First::M::text);
    else f("modality", First::M::speech);
    f("masks", Br::Masking::config);
    f("variant", O);
  }
};

}  // namespace detail

/// A model of data2vec 1.0. Vision has pre-norm blocks, layer scale as configured, and a relative position bias,
/// whatever `C` says; with VisionConfig::fixed_positions, which the published models do without, also a table of
/// positions, which is trained. Name it (`struct Mine : Data2Vec1<...> {}`): messages and symbols then say `Mine`.
template <Config C, class Br, Data2Vec1Config O = Data2Vec1Config{}>
struct Data2Vec1 : detail::Data2Vec1Model<detail::data2vec1_config<typename Br::Modality>(C, O.vision), Br, O> {
  static_assert(check::HeadsDivideEmbedDim<C.num_heads, C.embed_dim>,
                "data2vec: Config::num_heads must divide Config::embed_dim");
  static_assert(check::TopLayersWithinDepth<C.average_top_k_layers, C.depth>,
                "data2vec: Config::average_top_k_layers must be between 1 and Config::depth");
  static_assert(check::Equal<Br::Masking::tokens, Br::Modality::tokens>,
                "data2vec: the masking policy must be over as many tokens as the modality has");
  static_assert(O.vision == VisionVariant::beit || !Br::Modality::fixed_positions,
                "data2vec: VisionVariant::fairseq has no table of positions: set VisionConfig::fixed_positions to false");
};

}  // namespace data2vec::inline v0
