// SPDX-License-Identifier: MIT
// The published models, field by field against the table of published settings, and their tensors against the
// reference's state dicts.
#include <doctest/doctest.h>

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>
#include <variant>

#include <data2vec/data2vec.hpp>

#if __has_include(<nlohmann/json.hpp>)
#include <nlohmann/json.hpp>
#endif

using namespace data2vec;

namespace {

/// A column of the table of published settings (data2vec 2.0, examples/data2vec/config/v2).
struct Column {
  int D, heads, depth, prenet;
  int image, patch, side;
  int visible, top_k;
  int decoder_dim, decoder_kernel, decoder_layers;
};

template <class Model>
void check_structure(const Column& c) {
  // Encoder, targets, losses: written out in full, so that a new default of Config cannot change a preset unseen.
  const Config expected{.embed_dim = c.D, .depth = c.depth, .num_heads = c.heads, .mlp_ratio = 4, .norm_eps = 1e-6,
                        .norm_affine = true, .layer_norm_first = false, .pre_norm_mlp_residual = false,
                        .encoder_dropout = 0, .post_mlp_drop = 0, .attention_dropout = 0, .activation_dropout = 0,
                        .dropout_input = 0, .layerdrop = 0, .start_drop_path_rate = 0, .end_drop_path_rate = 0,
                        .average_top_k_layers = c.top_k, .end_of_block_targets = false,
                        .batch_norm_target_layer = false, .instance_norm_target_layer = true,
                        .layer_norm_target_layer = false, .layer_norm_targets = true, .instance_norm_targets = false,
                        .ema_encoder_only = false, .clone_batch = 16, .loss_beta = 0,
                        .loss_scale = 0, .d2v_loss = 1, .cls_loss = 0.01, .recon_loss = 0, .mae_init = false};
  CHECK(Model::config == expected);
  using Branch = typename Model::First;
  const ModalityConfig modality{.prenet_depth = c.prenet, .prenet_layerdrop = 0, .prenet_dropout = 0,
                                .start_drop_path_rate = 0, .end_drop_path_rate = 0, .num_extra_tokens = 1,
                                .init_extra_token_zero = false, .mask_noise_std = 0.01, .ema_local_encoder = true,
                                .local_grad_mult = 1, .use_alibi_encoder = false, .alibi_scale = 1,
                                .learned_alibi = false, .alibi_max_pos = 0, .learned_alibi_scale = false,
                                .learned_alibi_scale_per_head = false, .learned_alibi_scale_per_layer = false,
                                .alibi_dims = 1, .alibi_distance = AlibiDistance::manhattan};
  const VisionConfig vision{.input_size = c.image, .patch_size = c.patch, .in_chans = 3, .embed_dim = 0,
                            .fixed_positions = true, .modality = modality};
  CHECK(Branch::M::vision == vision);
  CHECK(Branch::M::grid == Grid(c.side, c.side));
  const DecoderConfig decoder{.decoder_dim = c.decoder_dim, .decoder_groups = 16, .decoder_kernel = c.decoder_kernel,
                              .decoder_layers = c.decoder_layers, .input_dropout = 0, .add_positions_masked = false,
                              .add_positions_all = false, .decoder_residual = true, .projection_layers = 1,
                              .projection_ratio = 2};
  CHECK(Branch::Dec::config == decoder);
  CHECK(Branch::V == c.visible);
  CHECK(Branch::R == c.side * c.side - c.visible);
  CHECK(Branch::loss_scale == doctest::Approx(1 / std::sqrt(c.D)).epsilon(1e-15));
}

template <class Model, MaskConfig masks>
void check_masks(double mask_prob, double mask_prob_adjust, int seeds) {
  CHECK(masks == MaskConfig{.mask_prob = mask_prob, .mask_prob_adjust = mask_prob_adjust, .mask_length = 3,
                            .mask_dropout = 0, .keep_masked_pct = 0, .add_masks = false});
  using Masking = typename Model::First::Masking;
  static_assert(std::is_same_v<Masking, InverseBlockMask<Model::First::M::grid, masks>>);
  CHECK(Masking::seeds == seeds);
}

void check_recipe(const TrainerOptions& options, double lr, std::int64_t max_update, const EmaConfig& ema) {
  const auto* cosine = std::get_if<CosineSchedule>(&options.schedule);
  REQUIRE(cosine);
  CHECK(cosine->lr == lr);
  CHECK(cosine->min_lr == 0);
  CHECK(cosine->warmup_updates == 50'040);
  CHECK(cosine->warmup_init_lr < 0);  // from min_lr
  CHECK(cosine->max_update == max_update);
  CHECK(cosine->t_mult == 1);
  CHECK(cosine->period() == static_cast<double>(max_update - 50'040));
  CHECK(options.optimizer.adam_betas == std::array{0.9, 0.95});
  CHECK(options.optimizer.adam_eps == 1e-8);
  CHECK(options.optimizer.weight_decay == 0.05);
  CHECK(options.optimizer.clip_norm == 4);
  CHECK(options.optimizer.decay_scope == DecayScope::all);
  CHECK(options.ema == ema);
  CHECK(options.loss.d2v_loss == 1);
  CHECK(options.loss.cls_loss == 0.01);
  CHECK(options.loss.recon_loss == 0);
  CHECK(options.mask_noise_std == 0.01);
  const DropoutRates& r = options.rates;
  for (const double rate : {r.encoder_dropout, r.post_mlp_drop, r.attention_dropout, r.activation_dropout,
                            r.dropout_input, r.layerdrop, r.start_drop_path_rate, r.end_drop_path_rate,
                            r.prenet_dropout, r.prenet_layerdrop, r.prenet_start_drop_path_rate,
                            r.prenet_end_drop_path_rate, r.decoder_input_dropout})
    CHECK(rate == 0);
}

template <class Model>
const TensorInfo& tensor(std::string_view name) {
  static const TensorInfo none{};
  for (const TensorInfo& info : tensor_table<typename Model::template Parameters<float>>)
    if (info.name.view() == name) return info;
  FAIL_CHECK("no tensor ", std::string(name));
  return none;
}

std::vector<int> shape(const TensorInfo& info) { return {info.shape.begin(), info.shape.begin() + info.rank}; }

#if __has_include(<nlohmann/json.hpp>)
template <class Model>
void check_state_dict(const nlohmann::json& expected) {
  const auto& table = tensor_table<typename Model::template Parameters<float>>;
  CHECK(expected.at("tensors").size() == table.size());
  CHECK(expected.at("total_elements").get<std::size_t>() == Model::parameter_count);
  CHECK(expected.at("elements_without_decoder").get<std::size_t>() == Model::encoder_parameter_count);
  for (const TensorInfo& info : table) {
    const std::string name(info.name.view());
    INFO(name);
    const auto found = expected.at("tensors").find(name);
    REQUIRE(found != expected.at("tensors").end());
    CHECK(found->at("shape").get<std::vector<int>>() == shape(info));
    CHECK(found->at("trained").get<bool>() == info.trained);
    CHECK(found->at("in_teacher").get<bool>() == Model::in_teacher(name));
  }
}
#endif

}  // namespace

TEST_CASE("structure of the published vision models") {
  check_structure<VisionBase>({.D = 768, .heads = 12, .depth = 10, .prenet = 2, .image = 224, .patch = 16, .side = 14,
                               .visible = 39, .top_k = 10, .decoder_dim = 768, .decoder_kernel = 3,
                               .decoder_layers = 6});
  check_structure<VisionLarge>({.D = 1024, .heads = 16, .depth = 24, .prenet = 0, .image = 224, .patch = 16, .side = 14,
                                .visible = 49, .top_k = 18, .decoder_dim = 1024, .decoder_kernel = 5,
                                .decoder_layers = 3});
  check_structure<VisionHuge>({.D = 1280, .heads = 16, .depth = 32, .prenet = 0, .image = 224, .patch = 16, .side = 14,
                               .visible = 49, .top_k = 24, .decoder_dim = 1024, .decoder_kernel = 5,
                               .decoder_layers = 3});
  check_structure<VisionHuge14>({.D = 1280, .heads = 16, .depth = 32, .prenet = 0, .image = 224, .patch = 14,
                                 .side = 16, .visible = 64, .top_k = 24, .decoder_dim = 1024, .decoder_kernel = 5,
                                 .decoder_layers = 3});
}

TEST_CASE("masks of the published vision models") {
  check_masks<VisionBase, vision_base_masks>(0.8, 0.07, 5);
  check_masks<VisionLarge, vision_large_masks>(0.75, 0.1, 7);
  check_masks<VisionHuge, vision_large_masks>(0.75, 0.1, 7);
  check_masks<VisionHuge14, vision_large_masks>(0.75, 0.1, 9);
}

TEST_CASE("recipes of the published vision models") {
  check_recipe(vision_base_recipe(), 1e-3, 375'300, {0.9998, 0.99999, 100'000});
  check_recipe(vision_large_recipe(), 4e-4, 375'300, {0.9998, 0.99999, 150'000});
  check_recipe(vision_huge_recipe(), 4e-4, 375'300, {0.9998, 0.99995, 150'000});
  check_recipe(vision_huge14_recipe(), 4e-4, 500'000, {0.9998, 1, 300'000});
}

TEST_CASE("names and shapes of tensors of the published vision models") {
  const std::string image = "modality_encoders.IMAGE.";
  using Shape = std::vector<int>;
  CHECK(tensor_count<VisionBase::Parameters<float>> == 164);
  CHECK(tensor_count<VisionLarge::Parameters<float>> == 302);
  CHECK(tensor_count<VisionHuge14::Parameters<float>> == 398);
  CHECK(shape(tensor<VisionBase>(image + "extra_tokens")) == Shape{1, 1, 768});
  CHECK(shape(tensor<VisionBase>(image + "local_encoder.proj.weight")) == Shape{768, 3, 16, 16});
  CHECK(shape(tensor<VisionBase>(image + "local_encoder.proj.bias")) == Shape{768});
  CHECK(shape(tensor<VisionBase>(image + "fixed_positional_encoder.positions")) == Shape{1, 196, 768});
  CHECK(!tensor<VisionBase>(image + "fixed_positional_encoder.positions").trained);
  CHECK(shape(tensor<VisionBase>(image + "context_encoder.norm.weight")) == Shape{768});
  CHECK(shape(tensor<VisionBase>(image + "context_encoder.blocks.1.attn.qkv.weight")) == Shape{2304, 768});
  CHECK(shape(tensor<VisionBase>(image + "decoder.blocks.5.0.weight")) == Shape{768, 48, 3, 3});
  CHECK(shape(tensor<VisionBase>(image + "decoder.proj.bias")) == Shape{768});
  CHECK(shape(tensor<VisionBase>("blocks.9.mlp.fc2.weight")) == Shape{768, 3072});
  CHECK(shape(tensor<VisionLarge>("blocks.23.mlp.fc1.weight")) == Shape{4096, 1024});
  CHECK(shape(tensor<VisionLarge>(image + "decoder.blocks.2.0.weight")) == Shape{1024, 64, 5, 5});
  CHECK(shape(tensor<VisionHuge>(image + "fixed_positional_encoder.positions")) == Shape{1, 196, 1280});
  CHECK(shape(tensor<VisionHuge14>(image + "local_encoder.proj.weight")) == Shape{1280, 3, 14, 14});
  CHECK(shape(tensor<VisionHuge14>(image + "decoder.blocks.0.0.weight")) == Shape{1024, 80, 5, 5});
  CHECK(shape(tensor<VisionHuge14>(image + "decoder.proj.weight")) == Shape{1280, 1024});
  CHECK(shape(tensor<VisionHuge14>("blocks.31.norm2.bias")) == Shape{1280});
}

TEST_CASE("the published speech models") {
  // Written out in full, so that a new default cannot change a preset unseen.
  Config expected{.embed_dim = 768, .depth = 12, .num_heads = 12, .mlp_ratio = 4, .norm_eps = 1e-5, .norm_affine = true,
                  .layer_norm_first = false, .pre_norm_mlp_residual = false, .encoder_dropout = 0.1,
                  .post_mlp_drop = 0.1, .attention_dropout = 0.1, .activation_dropout = 0, .dropout_input = 0,
                  .layerdrop = 0.05, .start_drop_path_rate = 0, .end_drop_path_rate = 0, .average_top_k_layers = 8,
                  .end_of_block_targets = false, .batch_norm_target_layer = false, .instance_norm_target_layer = true,
                  .layer_norm_target_layer = false, .layer_norm_targets = false, .instance_norm_targets = false,
                  .ema_encoder_only = false, .clone_batch = 8, .loss_beta = 0, .loss_scale = 0, .d2v_loss = 1,
                  .cls_loss = 0, .recon_loss = 0, .mae_init = false};
  CHECK(SpeechBase::config == expected);
  expected.embed_dim = 1024, expected.depth = 16, expected.num_heads = 16, expected.average_top_k_layers = 16;
  expected.layerdrop = 0, expected.clone_batch = 12;
  CHECK(SpeechLarge::config == expected);
  SpeechConfig speech{.input_size = 320'000,
                      .feature_encoder_spec = {{512, 10, 5}, {512, 3, 2}, {512, 3, 2}, {512, 3, 2}, {512, 3, 2},
                                               {512, 2, 2}, {512, 2, 2}},
                      .extractor_mode = ExtractorMode::layer_norm, .conv_pos_width = 95, .conv_pos_groups = 16,
                      .conv_pos_depth = 5, .conv_pos_pre_ln = false,
                      .modality = {.prenet_depth = 0, .prenet_layerdrop = 0.05, .prenet_dropout = 0.1,
                                   .num_extra_tokens = 0, .mask_noise_std = 0.01, .ema_local_encoder = false,
                                   .local_grad_mult = 1, .use_alibi_encoder = true, .alibi_scale = 1,
                                   .learned_alibi = false, .learned_alibi_scale = true,
                                   .learned_alibi_scale_per_head = true, .learned_alibi_scale_per_layer = false,
                                   .alibi_dims = 1, .padding = Padding::none}};
  CHECK(SpeechBase::First::M::speech == speech);
  speech.modality.prenet_depth = 8, speech.modality.prenet_layerdrop = 0;
  CHECK(SpeechLarge::First::M::speech == speech);
  DecoderConfig decoder{.decoder_dim = 384, .decoder_groups = 16, .decoder_kernel = 7, .decoder_layers = 4,
                        .input_dropout = 0.1, .add_positions_masked = false, .add_positions_all = false,
                        .decoder_residual = true, .projection_layers = 1, .projection_ratio = 2};
  CHECK(SpeechBase::First::Dec::config == decoder);
  decoder.decoder_dim = 768;
  CHECK(SpeechLarge::First::Dec::config == decoder);
  CHECK(SpeechBase::First::T_ == 999);
  CHECK(SpeechBase::First::R == 499);
  CHECK(SpeechLarge::First::R == 549);
  using Masks = BlockMask1d<499, speech_base_masks>;
  CHECK(Masks::masked == 249);  // 10 seconds
  CHECK(SpeechBase::First::Masking::seeds == static_cast<int>(999 * ((0.5 + 0.05) / 5)));
  const auto check = [](const TrainerOptions& options, double lr, std::int64_t warmup, std::int64_t max_update,
                        double clip_norm, const EmaConfig& ema, double layerdrop) {
    const auto* cosine = std::get_if<CosineSchedule>(&options.schedule);
    REQUIRE(cosine);
    CHECK(cosine->lr == lr);
    CHECK(cosine->warmup_updates == warmup);
    CHECK(cosine->max_update == max_update);
    CHECK(options.optimizer.adam_betas == std::array{0.9, 0.98});
    CHECK(options.optimizer.adam_eps == 1e-6);
    CHECK(options.optimizer.weight_decay == 0.01);
    CHECK(options.optimizer.clip_norm == clip_norm);
    CHECK(options.optimizer.decay_scope == DecayScope::all);
    CHECK(options.ema == ema);
    CHECK(options.rates.encoder_dropout == 0.1);
    CHECK(options.rates.layerdrop == layerdrop);
    CHECK(options.rates.prenet_dropout == 0.1);
    CHECK(options.rates.decoder_input_dropout == 0.1);
  };
  check(speech_base_recipe(), 7.5e-4, 8'000, 400'000, 0, {0.999, 0.99999, 75'000}, 0.05);
  check(speech_large_recipe(), 4e-4, 10'000, 600'000, 1, {0.9997, 1, 300'000}, 0);
}

TEST_CASE("the published text models") {
  // Written out in full, so that a new default cannot change a preset unseen.
  Config expected{.embed_dim = 768, .depth = 12, .num_heads = 12, .mlp_ratio = 4, .norm_eps = 1e-5, .norm_affine = true,
                  .layer_norm_first = false, .pre_norm_mlp_residual = false, .encoder_dropout = 0.1,
                  .post_mlp_drop = 0.1, .attention_dropout = 0.1, .activation_dropout = 0, .dropout_input = 0,
                  .layerdrop = 0, .start_drop_path_rate = 0, .end_drop_path_rate = 0, .average_top_k_layers = 12,
                  .end_of_block_targets = false, .batch_norm_target_layer = false, .instance_norm_target_layer = true,
                  .layer_norm_target_layer = false, .layer_norm_targets = false, .instance_norm_targets = false,
                  .ema_encoder_only = true, .clone_batch = 8, .loss_beta = 0, .loss_scale = 1, .d2v_loss = 1,
                  .cls_loss = 0, .recon_loss = 0, .mae_init = false};
  CHECK(TextBase::config == expected);
  expected.embed_dim = 1024, expected.depth = 24, expected.num_heads = 16, expected.average_top_k_layers = 24;
  expected.instance_norm_target_layer = false, expected.layer_norm_target_layer = true;
  expected.instance_norm_targets = true;
  CHECK(TextLarge::config == expected);
  expected.loss_beta = 4;
  CHECK(TextLarge1M::config == expected);
  const TextConfig text{.vocab_size = 50'265, .tokens = 512, .pad = 1, .max_source_positions = 512, .learned_pos = true,
                        .no_scale_embedding = true, .layernorm_embedding = true, .dropout = 0.1,
                        .modality = {.mask_noise_std = 0.01, .padding = Padding::reference}};
  const DecoderConfig decoder{.decoder_dim = 768, .decoder_groups = 1, .decoder_kernel = 9, .decoder_layers = 5,
                              .input_dropout = 0.1, .add_positions_masked = false, .add_positions_all = false,
                              .decoder_residual = false, .projection_layers = 2, .projection_ratio = 2};
  CHECK(TextBase::First::M::text == text);
  CHECK(TextLarge::First::M::text == text);
  CHECK(TextBase::First::Dec::config == decoder);
  CHECK(TextLarge1M::First::Dec::config == decoder);
  CHECK(TextBase::First::R == 246);
  CHECK(TextLarge::First::R == 256);
  CHECK(TextBase::First::loss_scale == 1);
  const auto check = [](const TrainerOptions& options, double lr, std::int64_t max_update) {
    const auto* cosine = std::get_if<CosineSchedule>(&options.schedule);
    REQUIRE(cosine);
    CHECK(cosine->lr == lr);
    CHECK(cosine->warmup_updates == 4'000);
    CHECK(cosine->max_update == max_update);
    CHECK(options.optimizer.adam_betas == std::array{0.9, 0.98});
    CHECK(options.optimizer.adam_eps == 1e-6);
    CHECK(options.optimizer.weight_decay == 0.01);
    CHECK(options.optimizer.clip_norm == 1);
    CHECK(options.ema == EmaConfig{0.9999, 0.99999, 100'000});
    CHECK(options.rates.embedding_dropout == 0.1);
    CHECK(options.rates.decoder_input_dropout == 0.1);
  };
  check(text_base_recipe(), 2e-4, 1'000'000);
  check(text_large_recipe(), 1e-4, 600'000);
  check(text_large_1m_recipe(), 1e-4, 1'000'000);
  CHECK(tensor<TextBase>("modality_encoders.TEXT.decoder.proj.0.weight").init.kind == Distribution::normal);
}

TEST_CASE("the published RoBERTa models") {
  Config expected{.embed_dim = 768, .depth = 12, .num_heads = 12, .mlp_ratio = 4, .norm_eps = 1e-5, .norm_affine = true,
                  .layer_norm_first = false, .block_names = BlockNames::fairseq, .encoder_dropout = 0.1,
                  .post_mlp_drop = 0.1, .attention_dropout = 0.1, .activation_dropout = 0, .dropout_input = 0,
                  .layerdrop = 0};
  CHECK(RobertaBase::config == expected);
  expected.embed_dim = 1024, expected.depth = 24, expected.num_heads = 16;
  CHECK(RobertaLarge::config == expected);
  CHECK(RobertaBase::First::M::text == TextConfig{.vocab_size = 50'265, .tokens = 512, .pad = 1,
                                                  .max_source_positions = 512, .layernorm_embedding = true,
                                                  .dropout = 0.1, .modality = {.padding = Padding::exact}});
  CHECK(RobertaBase::First::Masking::config == TokenMaskConfig{.mask_prob = 0.15, .leave_unmasked_prob = 0.1,
                                                               .random_token_prob = 0.1, .mask_multiple_length = 1,
                                                               .mask_whole_words = false});
  // Tokens, positions and norm; twelve blocks; dense layer, norm and bias of the head.
  CHECK(RobertaBase::parameter_count ==
        (50'265 + 514 + 2) * 768 + 12 * (4 * 768 * 768 + 2 * 768 * 3072 + 4 * 768 + 3072 + 768 + 4 * 768) +
            768 * 768 + 3 * 768 + 50'265);
  const auto check = [](const TrainerOptions& options, double lr, std::int64_t warmup, std::int64_t total) {
    const auto* schedule = std::get_if<PolynomialSchedule>(&options.schedule);
    REQUIRE(schedule);
    CHECK(schedule->lr == lr);
    CHECK(schedule->warmup_updates == warmup);
    CHECK(schedule->total_num_update == total);
    CHECK(schedule->power == 1);
    CHECK(options.optimizer.adam_betas == std::array{0.9, 0.98});
    CHECK(options.optimizer.adam_eps == 1e-6);
    CHECK(options.optimizer.weight_decay == 0.01);
    CHECK(options.optimizer.clip_norm == 0);
    CHECK(options.optimizer.decay_scope == DecayScope::all);
    CHECK(options.rates.embedding_dropout == 0.1);
  };
  check(roberta_base_recipe(), 5e-4, 10'000, 125'000);
  check(roberta_large_recipe(), 4e-4, 30'000, 500'000);
}

TEST_CASE("the published wav2vec 2.0 models") {
  Config expected{.embed_dim = 768, .depth = 12, .num_heads = 12, .mlp_ratio = 4, .norm_eps = 1e-5, .norm_affine = true,
                  .layer_norm_first = false, .block_names = BlockNames::fairseq, .encoder_dropout = 0.1,
                  .post_mlp_drop = 0.1, .attention_dropout = 0.1, .activation_dropout = 0, .dropout_input = 0.1,
                  .layerdrop = 0.05};
  CHECK(Wav2Vec2Base::config == expected);
  expected = {.embed_dim = 1024, .depth = 24, .num_heads = 16, .mlp_ratio = 4, .norm_eps = 1e-5,
              .layer_norm_first = true, .pre_norm_mlp_residual = true, .block_names = BlockNames::fairseq};
  CHECK(Wav2Vec2Large::config == expected);
  using Base = Wav2Vec2Base::First;
  using Large = Wav2Vec2Large::First;
  CHECK(Base::T_ == 781);
  CHECK(Large::T_ == 999);
  CHECK(Base::M::config.local_grad_mult == 0.1);
  CHECK(Large::M::config.local_grad_mult == 1);
  CHECK(Base::K == 100);
  CHECK(Base::codebooks == CodebookShape{2, 320, 128});
  CHECK(Large::codebooks == CodebookShape{2, 320, 384});
  CHECK(std::abs(Base::R - 383) <= 1);  // the mean of the reference's masks over 781 frames
  // The extractor, its norm and projection; mask and positions; norm and twelve blocks; quantiser and projections.
  constexpr std::size_t extractor = 512 * 10 + 4 * 512 * 512 * 3 + 2 * 512 * 512 * 2 + 2 * 512,
                        positions = 768 * 48 * 128 + 128 + 768,
                        blocks = 12 * (4 * 768 * 768 + 2 * 768 * 3072 + 4 * 768 + 3072 + 768 + 4 * 768),
                        quantiser = 640 * 128 + 512 * 640 + 640 + 256 * 256 + 256 + 768 * 256 + 256;
  CHECK(Wav2Vec2Base::parameter_count ==
        extractor + 2 * 512 + 512 * 768 + 768 + 768 + positions + 2 * 768 + blocks + quantiser);
  const auto check = [](const TrainerOptions& options, double lr, std::int64_t total, const ContrastOptions& contrast) {
    const auto* schedule = std::get_if<PolynomialSchedule>(&options.schedule);
    REQUIRE(schedule);
    CHECK(schedule->lr == lr);
    CHECK(schedule->warmup_updates == 32'000);
    CHECK(schedule->total_num_update == total);
    CHECK(options.optimizer.adam_betas == std::array{0.9, 0.98});
    CHECK(options.optimizer.adam_eps == 1e-6);
    CHECK(options.optimizer.weight_decay == 0.01);
    CHECK(options.optimizer.decay_scope == DecayScope::all);
    CHECK(options.contrast.logit_temp == contrast.logit_temp);
    CHECK(options.contrast.latent_temp == contrast.latent_temp);
    CHECK(options.contrast.diversity_weight == contrast.diversity_weight);
    CHECK(options.contrast.features_pen_weight == contrast.features_pen_weight);
    CHECK(options.contrast.dropout_features == contrast.dropout_features);
  };
  check(wav2vec2_base_recipe(), 5e-4, 400'000, {0.1, {2, 0.5, 0.999995}, 0.1, 10, 0.1});
  check(wav2vec2_large_recipe(), 5e-3, 1'000'000, {0.1, {2, 0.1, 0.999995}, 0.1, 0, 0});
}

TEST_CASE("all tensors of the published models against the reference's state dicts") {
  const char* const name = "model/presets, state dicts";
#if __has_include(<nlohmann/json.hpp>)
  const char* const given = std::getenv("D2V_SHARED");
  const std::filesystem::path shared = given ? std::filesystem::path(given)
                                             : std::filesystem::path(D2V_SOURCE_DIR).parent_path() / "shared";
  const auto file = shared / "fixtures" / "data2vec2" / "state_dict_shapes.json";
  std::ifstream in(file);
  if (!in) {
    std::printf("SKIPPED: %s: no fixtures (%s)\n", name, file.c_str());
    return;
  }
  const nlohmann::json json = nlohmann::json::parse(in);
  check_state_dict<VisionBase>(json.at("base_images_only_task"));
  check_state_dict<VisionLarge>(json.at("large_images_only_task"));
  check_state_dict<VisionHuge14>(json.at("huge_images14_only_task"));
  check_state_dict<SpeechBase>(json.at("base_audio_only_task"));
  check_state_dict<SpeechLarge>(json.at("large_audio_only_task"));
  check_state_dict<TextBase>(json.at("base_text_only_task"));
  check_state_dict<TextLarge>(json.at("large_text_only_task"));
#else
  std::printf("SKIPPED: %s: built without nlohmann/json\n", name);
#endif
}
