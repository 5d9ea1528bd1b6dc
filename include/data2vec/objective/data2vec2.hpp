// SPDX-License-Identifier: MIT
// data2vec 2.0 (Baevski et al., "Efficient self-supervised learning with contextualized target representations for
// vision, speech and language", 2022) as a type: one set of shared blocks and one branch per modality.
//
//   struct VitB : Data2Vec2<vision_base, Branch<Images, Masks, Conv2dDecoder<image_decoder>>> {};
#pragma once

#include <tuple>

#include <data2vec/model/initialise.hpp>
#include <data2vec/objective/branch.hpp>
#include <data2vec/objective/counts.hpp>

namespace data2vec::inline v0 {

namespace detail {

template <Config C, class... Br>
struct Data2Vec2Model {
  static constexpr Config config = C;
  static constexpr int branches = sizeof...(Br);
  static constexpr bool has_teacher = true;
  // Brings a decoder's own conditions to the door.
  static_assert(((sizeof(typename BranchStep<C, Br>::Network) > 0) && ...));
  template <int i>
  using BranchAt = BranchStep<C, std::tuple_element_t<static_cast<std::size_t>(i), std::tuple<Br...>>>;
  using First = BranchAt<0>;
  using Blocks = typename First::Enc::Blocks;

  template <class T>
  struct Modalities {
    std::tuple<typename BranchStep<C, Br>::template Parameters<T>...> branch;
    static constexpr void visit(auto&& f, auto&... p) {
      [&]<std::size_t... i>(std::index_sequence<i...>) {
        (visit_branch<i>(f, p...), ...);
      }(std::make_index_sequence<sizeof...(Br)>{});
    }
    template <std::size_t i>
    static constexpr void visit_branch(auto&& f, auto&... p) {
      f(Field(BranchAt<static_cast<int>(i)>::M::name), std::get<i>(p.branch)...);
    }
  };

  /// All parameters under the reference's names; fixed tables (positions) included.
  template <class T>
  struct Parameters {
    Modalities<T> modality_encoders;
    typename Blocks::template Parameters<T> blocks;
    typename First::Enc::template FinalNorm<T> norm;
    typename First::template Recon<T> recon_proj;
    typename First::template SharedDecoder<T> shared_decoder;
    static constexpr void visit(auto&& f, auto&... p) {
      f("modality_encoders", p.modality_encoders...);
      f("blocks", p.blocks...);
      f("norm", p.norm...);
      f("recon_proj", p.recon_proj...);
      f("shared_decoder", p.shared_decoder...);
    }
  };

  /// The encoder of the first branch alone, for fine-tuning and files; `Enc` is its type, maybe with other dropouts.
  template <class Enc, class T>
  struct EncoderParameters {
    struct Modality {
      typename Enc::template FrontEnd<T> front;
      static constexpr void visit(auto&& f, auto&... p) { f(First::M::name, p.front...); }
    };
    Modality modality_encoders;
    typename Enc::template Shared<T> blocks;
    typename Enc::template FinalNorm<T> norm;
    const typename Enc::template FrontEnd<T>& front() const { return modality_encoders.front; }
    static constexpr void visit(auto&& f, auto&... p) {
      f("modality_encoders", p.modality_encoders...);
      f("blocks", p.blocks...);
      f("norm", p.norm...);
    }
  };

  /// What a step of branch `i` needs of them.
  template <int i, class T>
  static typename BranchAt<i>::template Weights<T> weights(const Parameters<T>& p) {
    using Shared = typename BranchAt<i>::template SharedDecoder<T>;
    return {std::get<static_cast<std::size_t>(i)>(p.modality_encoders.branch), p.blocks, p.norm,
            alike<typename BranchAt<i>::template Recon<T>>(p.recon_proj), alike<Shared>(p.shared_decoder)};
  }

  /// Elements of all tensors, fixed tables included (as the reference's state dict counts them).
  static constexpr std::size_t parameter_count = element_count<Parameters<float>>;

  /// Whether a tensor belongs to pre-training alone: decoders and the projection to pixels.
  static constexpr bool in_decoder(std::string_view name) {
    return name.starts_with("recon_proj.") || name.starts_with("shared_decoder.") || name.find(".decoder.") != std::string_view::npos;
  }

  /// Whether the teacher owns a tensor, that is, follows the student's by a moving average (a copy if not trained).
  static constexpr bool in_teacher(std::string_view name) {
    if (C.ema_encoder_only) return name.starts_with("blocks.");
    if (in_decoder(name)) return false;
    bool owned = true;
    ((owned = owned && (Br::Modality::config.ema_local_encoder || (!belongs_to<Br>(name, ".local_encoder.") &&
                                                                       !belongs_to<Br>(name, ".project_features.")))),
     ...);
    return owned;
  }

  /// Elements of the tensors that are not a decoder's, and of those that the teacher owns.
  static constexpr std::size_t encoder_parameter_count =
      elements_where<Parameters<float>>([](std::string_view name) { return !in_decoder(name); });
  static constexpr std::size_t teacher_parameter_count =
      elements_where<Parameters<float>>([](std::string_view name) { return in_teacher(name); });

  /// The branch that a tensor belongs to, or -1 if all share it.
  static constexpr int branch_of(std::string_view name) {
    int found = -1, i = 0;
    ((found = belongs_to<Br>(name, ".") ? i : found, ++i), ...);
    return found;
  }

  /// Whether a gradient reaches a tensor in a step of branch `i`. What none reaches is left alone by the optimizer: no
  /// decay, no moments.
  static constexpr bool receives_gradient(std::string_view name, int i = 0) {
    if (const int owner = branch_of(name); owner >= 0 && owner != i) return false;
    return ((Br::Modality::config.local_grad_mult != 0 || !belongs_to<Br>(name, ".local_encoder.")) && ...);
  }

  /// Floating-point operations of one training step per sample of branch `i`. The backward of a product costs two;
  /// parts whose input needs no gradient say what theirs costs by `backward_flops_per_sample` (local encoders) or
  /// `backward_flops_per_row` (decoders).
  /// With `ema_encoder_only` it is the student's prenet that the teacher's tokens go through: as many operations.
  template <int i = 0>
  static constexpr StepFlops step_flops = [] {
    using B = BranchAt<i>;
    const double local = B::Enc::Local::flops_per_sample;
    double local_backward = local, decoder = 3 * B::Network::flops_per_row;
    if constexpr (requires { B::Enc::Local::backward_flops_per_sample; })
      local_backward = B::Enc::Local::backward_flops_per_sample;
    if constexpr (requires { B::Network::backward_flops_per_row; })
      decoder = B::Network::flops_per_row + B::Network::backward_flops_per_row;
    if constexpr (B::has_shared) decoder += 3 * B::Common::Network::flops_per_row;
    if (B::has_recon) decoder += 3 * B::R * 2.0 * B::D * B::D;
    return StepFlops{.local = local + (B::M::config.local_grad_mult > 0 ? local_backward : 0),
                     .teacher = (B::teacher_has_local ? local : 0) + B::Enc::flops(B::E + B::T_),
                     .student = 3 * B::masks * B::Enc::flops(B::E + B::V),
                     .decoder = B::masks * decoder};
  }();
  template <int i = 0>
  static constexpr double flops_per_sample = step_flops<i>.total();

  /// Elements of the workspace of a chunk of B samples with G masks of each at a time.
  template <int B, int G = C.clone_batch, int i = 0>
  static constexpr std::size_t workspace_size = buffer_size<typename BranchAt<i>::template Workspace<float, B, G>>;

  /// Random initial weights (spec of the reference: BERT initialisation and the defaults of its layers), a function of
  /// the seed alone. `buffer` holds buffer_size<Parameters<T>> elements, the gaps between tensors are zeroed.
  template <class T>
  static void initialise(T* buffer, std::uint64_t seed) {
    initialise_tensors<Parameters<T>>(buffer, seed, C.mae_init);
    auto p = bind<Parameters<T>>(buffer);
    [&]<std::size_t... i>(std::index_sequence<i...>) {
      (fill_fixed_tables<BranchAt<static_cast<int>(i)>>(std::get<i>(p.modality_encoders.branch).front), ...);
    }(std::make_index_sequence<sizeof...(Br)>{});
  }

 private:
  template <class Branch>
  static constexpr bool belongs_to(std::string_view name, std::string_view part) {
    const std::string_view prefix = "modality_encoders.";
    const std::string_view modality = Branch::Modality::name;
    return name.starts_with(prefix) && name.substr(prefix.size()).starts_with(modality) &&
           name.substr(prefix.size() + modality.size()).starts_with(part);
  }
  template <class B>
  static void fill_fixed_tables(auto& front) {
    if constexpr (B::M::fixed_positions)
      sincos_positions(B::M::grid, C.embed_dim, front.fixed_positional_encoder.of_tokens());
    if constexpr (B::M::config.use_alibi_encoder && B::M::config.learned_alibi)
      B::Enc::Bias::fixed_table(B::Enc::Bias::table_side, front.alibi.bias.table.data);
  }
};

template <class Br>
inline constexpr bool has_parts =
    Modality<typename Br::Modality> && MaskingPolicy<typename Br::Masking> && Decoder<typename Br::Decoder>;

/// What is judged of a branch. If one of its parts is not what it should be, that alone is reported: these numbers are
/// then such that nothing else is.
struct BranchNumbers {
  int mask_tokens = 0, grid_tokens = 0, extra_tokens = 1;
  int patch_values = 0;            ///< -1: the modality has no patches
  bool fixed_positions = false, needs_positions = false;
};
template <Config C, class Br>
inline constexpr BranchNumbers numbers_of = [] {
  BranchNumbers n{.patch_values = C.embed_dim};
  if constexpr (has_parts<Br>) {
    using M = typename Br::Modality;
    constexpr Grid grid = M::grid;
    constexpr ModalityConfig modality = M::config;
    constexpr DecoderConfig decoder = Br::Decoder::config;
    n = {.mask_tokens = Br::Masking::tokens,
         .grid_tokens = grid.size(),
         .extra_tokens = modality.num_extra_tokens,
         .patch_values = -1,
         .fixed_positions = M::fixed_positions,
         .needs_positions = decoder.add_positions_all || decoder.add_positions_masked || !Br::Decoder::sees_all};
    if constexpr (requires { M::patch_values; }) n.patch_values = M::patch_values;
  }
  return n;
}();

/// The conditions that are checked at the door; what fails here is not instantiated further.
template <Config C, class... Br>
inline constexpr bool model_is_valid = sizeof...(Br) > 0 && (has_parts<Br> && ...) &&
    check::HeadsDivideEmbedDim<C.num_heads, C.embed_dim> &&
    check::TopLayersWithinDepth<C.average_top_k_layers, C.depth> && check::AtLeast<C.clone_batch, 1> &&
    ((numbers_of<C, Br>.mask_tokens == numbers_of<C, Br>.grid_tokens) && ...) &&
    ((C.cls_loss == 0 || numbers_of<C, Br>.extra_tokens >= 1) && ...) &&
    ((C.recon_loss == 0 || numbers_of<C, Br>.patch_values == C.embed_dim) && ...) &&
    ((!numbers_of<C, Br>.fixed_positions || C.embed_dim % 4 == 0) && ...) &&
    ((numbers_of<C, Br>.fixed_positions || !numbers_of<C, Br>.needs_positions) && ...);

template <bool valid, Config C, class... Br>
struct ModelIf : Data2Vec2Model<C, Br...> {};
template <Config C, class... Br>
struct ModelIf<false, C, Br...> {};

}  // namespace detail

/// A data2vec 2.0 model. Name it (`struct Mine : Data2Vec2<...> {}`): messages and symbols then say `Mine`.
template <Config C, class... Branches>
struct Data2Vec2 : detail::ModelIf<detail::model_is_valid<C, Branches...>, C, Branches...> {
  static_assert(sizeof...(Branches) > 0, "data2vec: a model needs at least one Branch<Modality, Masking, Decoder>");
  static_assert(check::HeadsDivideEmbedDim<C.num_heads, C.embed_dim>,
                "data2vec: Config::num_heads must divide Config::embed_dim");
  static_assert(check::TopLayersWithinDepth<C.average_top_k_layers, C.depth>,
                "data2vec: Config::average_top_k_layers must be between 1 and Config::depth");
  static_assert(check::AtLeast<C.clone_batch, 1>, "data2vec: Config::clone_batch must be at least 1");
  static_assert((Modality<typename Branches::Modality> && ...),
                "data2vec: the branch's first part is not a Modality (modality/modality.hpp lists its members)");
  static_assert((MaskingPolicy<typename Branches::Masking> && ...),
                "data2vec: the branch's second part is not a MaskingPolicy (tokens, visible, sample)");
  static_assert((Decoder<typename Branches::Decoder> && ...),
                "data2vec: the branch's third part is not a Decoder (decoder/decoder.hpp lists its members)");
  static_assert((check::Equal<detail::numbers_of<C, Branches>.mask_tokens,
                              detail::numbers_of<C, Branches>.grid_tokens> && ...),
                "data2vec: the masking policy must be over as many tokens as the modality has");
  static_assert(C.cls_loss == 0 || (check::AtLeast<detail::numbers_of<C, Branches>.extra_tokens, 1> && ...),
                "data2vec: Config::cls_loss needs ModalityConfig::num_extra_tokens of at least 1");
  static_assert(C.recon_loss == 0 || (check::AtLeast<detail::numbers_of<C, Branches>.patch_values, 0> && ...),
                "data2vec: Config::recon_loss needs a modality of patches (Vision)");
  static_assert(C.recon_loss == 0 || ((detail::numbers_of<C, Branches>.patch_values < 0 ||
                                       check::Equal<detail::numbers_of<C, Branches>.patch_values, C.embed_dim>) && ...),
                "data2vec: Config::recon_loss needs patches of as many values as Config::embed_dim");
  static_assert(((!detail::numbers_of<C, Branches>.fixed_positions || check::MultipleOf<C.embed_dim, 4>) && ...),
                "data2vec: fixed positions need a Config::embed_dim that is a multiple of 4");
  static_assert(((detail::numbers_of<C, Branches>.fixed_positions ||
                  !detail::numbers_of<C, Branches>.needs_positions) && ...),
                "data2vec: this decoder uses fixed positions, which the modality does not have");
};

}  // namespace data2vec::inline v0
