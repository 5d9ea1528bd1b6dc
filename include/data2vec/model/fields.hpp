// SPDX-License-Identifier: MIT
// The fields of configurations by name: for checkpoints, comparisons and printing.
#pragma once

#include <data2vec/core/parameter.hpp>
#include <data2vec/masking/bert.hpp>
#include <data2vec/model/config.hpp>

namespace data2vec::inline v0 {

/// Calls `f(name, value)` for every field.
template <class F>
constexpr void for_each_field(const ModalityConfig& c, F&& f) {
  f("prenet_depth", c.prenet_depth);
  f("prenet_layerdrop", c.prenet_layerdrop);
  f("prenet_dropout", c.prenet_dropout);
  f("start_drop_path_rate", c.start_drop_path_rate);
  f("end_drop_path_rate", c.end_drop_path_rate);
  f("num_extra_tokens", c.num_extra_tokens);
  f("init_extra_token_zero", c.init_extra_token_zero);
  f("mask_noise_std", c.mask_noise_std);
  f("ema_local_encoder", c.ema_local_encoder);
  f("local_grad_mult", c.local_grad_mult);
  f("use_alibi_encoder", c.use_alibi_encoder);
  f("alibi_scale", c.alibi_scale);
  f("learned_alibi", c.learned_alibi);
  f("alibi_max_pos", c.alibi_max_pos);
  f("learned_alibi_scale", c.learned_alibi_scale);
  f("learned_alibi_scale_per_head", c.learned_alibi_scale_per_head);
  f("learned_alibi_scale_per_layer", c.learned_alibi_scale_per_layer);
  f("alibi_dims", c.alibi_dims);
  f("alibi_distance", static_cast<int>(c.alibi_distance));
  if (c.padding != Padding::none) f("padding", static_cast<int>(c.padding));  // absent in files written before
}

/// Calls `f(name, value)` for every field.
template <class F>
constexpr void for_each_field(const Config& c, F&& f) {
  f("embed_dim", c.embed_dim);
  f("depth", c.depth);
  f("num_heads", c.num_heads);
  f("mlp_ratio", c.mlp_ratio);
  f("norm_eps", c.norm_eps);
  f("norm_affine", c.norm_affine);
  f("layer_norm_first", c.layer_norm_first);
  f("pre_norm_mlp_residual", c.pre_norm_mlp_residual);
  // Absent in files written before there were others:
  if (!c.final_norm) f("final_norm", c.final_norm);
  if (c.extra_token_positions) f("extra_token_positions", c.extra_token_positions);
  if (c.train_positions) f("train_positions", c.train_positions);
  if (c.layer_scale != 0) f("layer_scale", c.layer_scale);
  if (c.target_layers != 0) f("target_layers", c.target_layers);
  if (c.relative_position_bias) f("relative_position_bias", c.relative_position_bias);
  if (c.block_names != BlockNames::vit) f("block_names", static_cast<int>(c.block_names));
  f("encoder_dropout", c.encoder_dropout);
  f("post_mlp_drop", c.post_mlp_drop);
  f("attention_dropout", c.attention_dropout);
  f("activation_dropout", c.activation_dropout);
  f("dropout_input", c.dropout_input);
  f("layerdrop", c.layerdrop);
  f("start_drop_path_rate", c.start_drop_path_rate);
  f("end_drop_path_rate", c.end_drop_path_rate);
  f("average_top_k_layers", c.average_top_k_layers);
  f("end_of_block_targets", c.end_of_block_targets);
  f("batch_norm_target_layer", c.batch_norm_target_layer);
  f("instance_norm_target_layer", c.instance_norm_target_layer);
  f("layer_norm_target_layer", c.layer_norm_target_layer);
  f("layer_norm_targets", c.layer_norm_targets);
  f("instance_norm_targets", c.instance_norm_targets);
  f("ema_encoder_only", c.ema_encoder_only);
  f("clone_batch", c.clone_batch);
  f("loss_beta", c.loss_beta);
  f("loss_scale", c.loss_scale);
  f("d2v_loss", c.d2v_loss);
  f("cls_loss", c.cls_loss);
  f("recon_loss", c.recon_loss);
  f("mae_init", c.mae_init);
}

/// Calls `f(name, value)` for every field.
template <class F>
constexpr void for_each_field(const VisionConfig& c, F&& f) {
  f("input_size.height", c.input_size.height);
  f("input_size.width", c.input_size.width);
  f("patch_size.height", c.patch_size.height);
  f("patch_size.width", c.patch_size.width);
  f("in_chans", c.in_chans);
  f("embed_dim", c.embed_dim);
  f("fixed_positions", c.fixed_positions);
  for_each_field(c.modality, f);
}

/// Calls `f(name, value)` for every field.
template <class F>
constexpr void for_each_field(const SpeechConfig& c, F&& f) {
  f("input_size", c.input_size);
  f("sample_rate", c.sample_rate);
  for (int i = 0; i < c.feature_encoder_spec.size; ++i) {
    const auto field = [&](const char* part, int value) {
      TensorName name;  // "feature_encoder_spec.0.channels"
      name.append("feature_encoder_spec");
      name.append(IndexName(i).text);
      name.append(part);
      f(static_cast<const char*>(name.text), value);
    };
    field("channels", c.feature_encoder_spec[i].channels);
    field("kernel", c.feature_encoder_spec[i].kernel);
    field("stride", c.feature_encoder_spec[i].stride);
  }
  f("extractor_mode", static_cast<int>(c.extractor_mode));
  f("conv_pos_width", c.conv_pos_width);
  f("conv_pos_groups", c.conv_pos_groups);
  f("conv_pos_depth", c.conv_pos_depth);
  f("conv_pos_pre_ln", c.conv_pos_pre_ln);
  if (c.conv_pos_weight_norm) f("conv_pos_weight_norm", true);  // these are absent in files written before
  if (c.conv_bias) f("conv_bias", true);
  if (!c.project_equal_width) f("project_equal_width", false);
  if (c.dropout > 0) f("dropout", c.dropout);
  if (c.clear_padding) f("clear_padding", true);
  for_each_field(c.modality, f);
}

/// Calls `f(name, value)` for every field.
template <class F>
constexpr void for_each_field(const Wav2Vec2Config& c, F&& f) {
  f("final_dim", c.final_dim);
  f("latent_vars", c.latent_vars);
  f("latent_groups", c.latent_groups);
  f("latent_dim", c.latent_dim);
  f("num_negatives", c.num_negatives);
  f("cross_sample_negatives", c.cross_sample_negatives);
  f("codebook_negatives", c.codebook_negatives);
  f("dropout_features", c.dropout_features);
  f("logit_temp", c.logit_temp);
  f("latent_temp.first", c.latent_temp[0]);
  f("latent_temp.last", c.latent_temp[1]);
  f("latent_temp.factor", c.latent_temp[2]);
  f("diversity_weight", c.diversity_weight);
  f("features_pen_weight", c.features_pen_weight);
}

/// Calls `f(name, value)` for every field.
template <class F>
constexpr void for_each_field(const TextConfig& c, F&& f) {
  f("vocab_size", c.vocab_size);
  f("tokens", c.tokens);
  f("pad", c.pad);
  f("max_source_positions", c.max_source_positions);
  f("learned_pos", c.learned_pos);
  f("no_token_positional_embeddings", c.no_token_positional_embeddings);
  f("no_scale_embedding", c.no_scale_embedding);
  f("layernorm_embedding", c.layernorm_embedding);
  f("dropout", c.dropout);
  for_each_field(c.modality, f);
}

/// Calls `f(name, value)` for every field.
template <class F>
constexpr void for_each_field(const DecoderConfig& c, F&& f) {
  f("decoder_dim", c.decoder_dim);
  f("decoder_groups", c.decoder_groups);
  f("decoder_kernel", c.decoder_kernel);
  f("decoder_layers", c.decoder_layers);
  f("input_dropout", c.input_dropout);
  f("add_positions_masked", c.add_positions_masked);
  f("add_positions_all", c.add_positions_all);
  f("decoder_residual", c.decoder_residual);
  f("projection_layers", c.projection_layers);
  f("projection_ratio", c.projection_ratio);
}

/// Calls `f(name, value)` for every field.
template <class F>
constexpr void for_each_field(const TokenMaskConfig& c, F&& f) {
  f("mask_prob", c.mask_prob);
  f("leave_unmasked_prob", c.leave_unmasked_prob);
  f("random_token_prob", c.random_token_prob);
  f("mask_multiple_length", c.mask_multiple_length);
  f("mask_whole_words", c.mask_whole_words);
}

/// Calls `f(name, value)` for every field.
template <class F>
constexpr void for_each_field(const MaskConfig& c, F&& f) {
  f("mask_prob", c.mask_prob);
  f("mask_prob_adjust", c.mask_prob_adjust);
  f("mask_length", c.mask_length);
  f("mask_dropout", c.mask_dropout);
  f("keep_masked_pct", c.keep_masked_pct);
  f("add_masks", c.add_masks);
}

/// Calls `f(name, value)` for every field.
template <class F>
constexpr void for_each_field(const PixelDecoderConfig& c, F&& f) {
  f("decoder_embed_dim", c.decoder_embed_dim);
  f("decoder_depth", c.decoder_depth);
  f("decoder_num_heads", c.decoder_num_heads);
  f("norm_pix_loss", c.norm_pix_loss);
}

/// Calls `f(name, value)` for every field.
template <class F>
constexpr void for_each_field(const Data2Vec1Config& c, F&& f) {
  f("vision", static_cast<int>(c.vision));
  f("ema_layers_only", c.ema_layers_only);
  f("masked_only_teacher", c.masked_only_teacher);
}

}  // namespace data2vec::inline v0
