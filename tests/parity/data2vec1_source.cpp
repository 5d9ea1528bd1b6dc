// SPDX-License-Identifier: MIT
// The programs of cases of data2vec 1.0.
#include <algorithm>
#include <vector>

#include "options.hpp"

namespace data2vec::parity {
namespace {

using Json = nlohmann::json;

int extent(const SafetensorsFile& tensors, const std::string& name, std::size_t axis) {
  const Tensor& tensor = tensors.at(name);
  if (axis >= tensor.shape.size() || tensor.shape[axis] > 1'000'000)
    throw UnsupportedOption(name + ": expected more axes of up to 1000000, found " + shape_text(tensor.shape));
  return static_cast<int>(tensor.shape[axis]);
}

/// The most marks in a row of `width`.
int most_of(const std::vector<int>& marks, int width) {
  int most = 1;
  for (std::size_t first = 0; first < marks.size(); first += static_cast<std::size_t>(width))
    most = std::max(most, static_cast<int>(std::count(marks.begin() + static_cast<std::ptrdiff_t>(first),
                                                      marks.begin() + static_cast<std::ptrdiff_t>(first) + width, 1)));
  return most;
}

std::vector<int> marks_of(const SafetensorsFile& tensors, const std::string& name) {
  const Tensor& tensor = tensors.at(name);
  std::vector<int> marks;
  const auto take = [&](const auto& values) {
    for (const auto v : values) marks.push_back(v != 0);
  };
  if (tensor.dtype == Dtype::i64) take(tensor.as<std::int64_t>());
  else if (tensor.dtype == Dtype::i32) take(tensor.as<std::int32_t>());
  else take(tensor.as<std::uint8_t>());
  return marks;
}

/// The targets' options, which all senses of fairseq's code have.
std::string targets_text(Options& model) {
  std::string text = ", .average_top_k_layers = " + std::to_string(model.integer("average_top_k_layers")) +
                     ", .end_of_block_targets = " + text_of(model.flag_or("end_of_block_targets", false));
  for (const char* flag : {"batch_norm_target_layer", "instance_norm_target_layer", "layer_norm_target_layer",
                           "layer_norm_targets", "instance_norm_targets"})
    text += std::string(", .") + flag + " = " + text_of(model.flag_or(flag, false));
  const double scale = model.number_or("loss_scale", 0);
  text += ", .loss_beta = " + text_of(model.number_or("loss_beta", 0));
  if (scale > 0) text += ", .loss_scale = " + text_of(scale);
  model.expect("group_norm_target_layer", 0, "fairseq's models read it nowhere");
  model.ignore({"ema_decay", "ema_end_decay", "ema_anneal_end_step"});
  for (const char* rate : {"dropout", "attention_dropout", "activation_dropout", "dropout_input", "dropout_features",
                           "encoder_layerdrop", "layerdrop", "drop_path", "drop_path_rate"})
    model.expect(rate, 0, "a case with dropout cannot be repeated");
  return text;
}

std::string mlp_ratio(int width, int hidden) {
  return text_of((hidden + 0.5) / width);  // the product is rounded down
}

/// The whole program. `o` is the case, `model` its object of that name.
std::string program(Options& o, Options& model, const std::string& config, const std::string& modality, int tokens,
                    int most, const std::string& head, const std::string& variant, int batch) {
  o.ignore({"batch", "num_updates", "ema_decay_now", "model"});
  model.finish();
  o.finish();
  return "#include \"data2vec1.hpp\"\n\ninline constexpr data2vec::Config config{" + config + "};\nusing Modality = " +
         modality + ";\nusing Masking = data2vec::parity::GivenPositions<" + std::to_string(tokens) + ", " +
         std::to_string(most) + ">;\nstruct Model : data2vec::Data2Vec1<config, data2vec::Branch<Modality, Masking,\n"
         "    data2vec::RegressionHead<" + head + ">>, data2vec::Data2Vec1Config{" + variant + "}> {};\n\n" +
         main_of("run_data2vec1<Model, " + std::to_string(batch) + ">");
}

/// What both codes of vision share.
std::string vision_program(Options& o, Options& model, std::string config, const std::string& targets,
                           bool positions, const SafetensorsFile& tensors, const std::string& head,
                           const std::string& variant) {
  const int size = model.integer("image_size"), patch = model.integer("patch_size");
  if (patch == 0 || size % patch != 0) model.unsupported("image_size", "a multiple of patch_size");
  const int side = size / patch;
  config = ".embed_dim = " + std::to_string(model.integer("embed_dim")) + ", .depth = " +
           std::to_string(model.integer("depth")) + ", .num_heads = " + std::to_string(model.integer("num_heads")) + config;
  if (const double scale = model.number_or("layer_scale_init_value", 0); scale > 0)
    config += ", .layer_scale = " + text_of(scale);
  config += targets;
  model.expect("shared_rel_pos_bias", 1, "the reference runs with one bias for all blocks");
  model.ignore({"num_mask_patches", "min_mask_patches_per_block", "max_mask_patches_per_block"});
  const std::string modality = "data2vec::Vision<data2vec::VisionConfig{.input_size = " + std::to_string(size) +
                               ", .patch_size = " + std::to_string(patch) +
                               ", .in_chans = " + std::to_string(model.integer("in_channels")) +
                               ", .fixed_positions = " + text_of(positions) + ", .modality = {.num_extra_tokens = 1}}>";
  return program(o, model, config, modality, side * side, most_of(marks_of(tensors, "in.mask"), side * side), head,
                 variant, extent(tensors, "in.source", 0));
}

}  // namespace

std::string data2vec1_fairseq_vision_source(const Json& json, const SafetensorsFile& tensors) {
  Options o(json), model = o.within("model");
  const std::string config = ", .mlp_ratio = 4, .norm_eps = 1e-5";  // the reference passes no ratio on
  const std::string targets = targets_text(model);
  model.ignore({"mlp_ratio"});
  model.expect("ema_transformer_only", 1, "the teacher owns the encoder alone");
  return vision_program(o, model, config, targets, false, tensors, "0", ".vision = data2vec::VisionVariant::fairseq");
}

std::string data2vec1_beit_source(const Json& json, const SafetensorsFile& tensors) {
  Options o(json), model = o.within("model");
  const int depth = model.integer("depth"), width = model.integer("embed_dim");
  std::uint64_t layers = 0;
  const Json& list = model.json("target_layers");
  for (const Json& layer : list) {
    if (!layer.is_number_integer() || layer.get<int>() < 0 || layer.get<int>() >= depth)
      model.unsupported("target_layers", "numbers of blocks");
    layers |= std::uint64_t{1} << layer.get<int>();
  }
  if (layers == 0) model.unsupported("target_layers", "numbers of blocks");
  const bool l2 = model.flag_or("l2_loss", false);
  const double beta = model.number_or("l1_beta", 0), scale = model.number_or("loss_scale", -1);
  const std::string results = model.word("layer_results", {"end", "fc"});
  const std::string config = ", .mlp_ratio = " + model.number_text("mlp_ratio") + ", .norm_eps = " +
                             model.number_text("layer_norm_eps");
  const std::string targets = ", .average_top_k_layers = 1, .target_layers = " + std::to_string(layers) +
                              "u, .end_of_block_targets = " + text_of(results == "end") +
                              ", .batch_norm_target_layer = " + text_of(model.flag_or("target_batch_norm", false)) +
                              ", .instance_norm_target_layer = " + text_of(model.flag_or("target_instance_norm", false)) +
                              ", .layer_norm_target_layer = " + text_of(model.flag_or("target_layer_norm_last", true)) +
                              ", .layer_norm_targets = " + text_of(model.flag_or("post_target_layer_norm", false)) +
                              ", .loss_beta = " + text_of(l2 ? 0.0 : beta) +
                              ", .loss_scale = " + text_of((scale == -1 ? 1 : scale) / width);
  model.expect("post_target_instance_norm", 0, "fairseq's order of these two norms is another");
  for (const char* rate : {"drop_path", "attn_drop_rate", "drop_rate"})
    model.expect(rate, 0, "a case with dropout cannot be repeated");
  const bool positions = model.flag_or("abs_pos_emb", false);
  return vision_program(o, model, config, targets, positions, tensors, "1", "");
}

std::string data2vec1_audio_source(const Json& json, const SafetensorsFile& tensors) {
  Options o(json), model = o.within("model");
  const int width = model.integer("encoder_embed_dim");
  const bool pre = model.flag_or("layer_norm_first", false);
  const std::string config = ".embed_dim = " + std::to_string(width) + ", .depth = " +
                             std::to_string(model.integer("encoder_layers")) + ", .num_heads = " +
                             std::to_string(model.integer("encoder_attention_heads")) + ", .mlp_ratio = " +
                             mlp_ratio(width, model.integer("encoder_ffn_embed_dim")) +
                             ", .norm_eps = 1e-5, .layer_norm_first = " + text_of(pre) + targets_text(model);
  const bool padded = tensors.find("in.padding_mask") != nullptr;
  const std::string mode = model.word("extractor_mode", {"default", "layer_norm"});
  const int depth = model.integer_or("pos_conv_depth", 1);
  const std::string modality =
      "data2vec::Speech<data2vec::SpeechConfig{.input_size = " + std::to_string(extent(tensors, "in.source", 1)) +
      ", .feature_encoder_spec = " + model.convolutions("conv_feature_layers") +
      ", .extractor_mode = data2vec::ExtractorMode::" + (mode == "default" ? "default_" : mode) +
      ", .conv_pos_width = " + std::to_string(model.integer("conv_pos")) +
      ", .conv_pos_groups = " + std::to_string(model.integer("conv_pos_groups")) +
      ", .conv_pos_depth = " + std::to_string(depth) + ", .conv_bias = " + text_of(model.flag_or("conv_bias", false)) +
      ", .modality = {.local_grad_mult = " + text_of(model.number_or("feature_grad_mult", 1)) +
      (padded ? ", .padding = data2vec::Padding::reference" : "") + "}}>";
  if (depth < 2) model.unsupported("pos_conv_depth", "2 or more: the reference cannot copy one with weight norm");
  model.expect("ema_transformer_only", 1, "the teacher owns the encoder alone");
  const bool layers_only = model.flag_or("ema_layers_only", false);
  model.ignore({"mask_prob", "mask_length", "required_seq_len_multiple"});
  o.ignore({"samples", "pad_samples"});
  const int tokens = extent(tensors, "in.mask_indices", 1);
  return program(o, model, config, modality, tokens, most_of(marks_of(tensors, "in.mask_indices"), tokens), "1",
                 ".ema_layers_only = " + text_of(layers_only), extent(tensors, "in.source", 0));
}

std::string data2vec1_text_source(const Json& json, const SafetensorsFile& tensors) {
  Options o(json), model = o.within("model");
  const int width = model.integer("encoder_embed_dim"), vocab = o.integer("vocab");
  const int batch = extent(tensors, "in.src_tokens", 0), tokens = extent(tensors, "in.src_tokens", 1);
  const bool masked_only = o.word("teacher_input", {"full", "masked_only"}) == "masked_only";
  std::vector<int> marks;
  bool padded = masked_only;
  for (const std::int64_t id : tensors.at("in.src_tokens").as<std::int64_t>()) {
    marks.push_back(id == vocab - 1);
    padded = padded || id == 1;
  }
  const std::string config = ".embed_dim = " + std::to_string(width) + ", .depth = " +
                             std::to_string(model.integer("encoder_layers")) + ", .num_heads = " +
                             std::to_string(model.integer("encoder_attention_heads")) + ", .mlp_ratio = " +
                             mlp_ratio(width, model.integer("encoder_ffn_embed_dim")) +
                             ", .norm_eps = 1e-5, .layer_norm_first = " +
                             text_of(model.flag_or("encoder_normalize_before", false)) + targets_text(model);
  const std::string modality =
      "data2vec::Text<data2vec::TextConfig{.vocab_size = " + std::to_string(vocab) +
      ", .tokens = " + std::to_string(tokens) +
      ", .max_source_positions = " + std::to_string(model.integer("max_positions")) +
      ", .layernorm_embedding = " + text_of(model.flag_or("layernorm_embedding", true)) +
      ", .dropout = 0, .modality = {.padding = data2vec::Padding::" + (padded ? "reference" : "none") + "}}>";
  const std::string head = std::to_string(model.integer_or("head_layers", 1)) + ", true";
  const bool layers_only = model.flag_or("ema_transformer_layers_only", true);
  o.ignore({"specials", "tokens", "pad_tokens"});
  return program(o, model, config, modality, tokens, most_of(marks, tokens), head,
                 ".ema_layers_only = " + text_of(layers_only) +
                     ", .masked_only_teacher = " + text_of(masked_only), batch);
}

}  // namespace data2vec::parity
