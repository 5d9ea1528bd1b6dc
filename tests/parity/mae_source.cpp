// SPDX-License-Identifier: MIT
// The programs of cases of masked autoencoders.
#include "options.hpp"

namespace data2vec::parity {
namespace {

/// Encoder, images and their mask: what all kinds of cases share.
std::string model_text(Options& o, const std::string& decoder) {
  const int size = o.integer("img_size"), patch = o.integer("patch_size");
  if (patch == 0 || size % patch != 0) o.unsupported("img_size", "a multiple of patch_size");
  const int tokens = size / patch * (size / patch);
  const double ratio = o.number_or("mask_ratio", 0.75);
  const int visible = static_cast<int>(tokens * (1 - ratio));
  if (visible < 1 || visible >= tokens) o.unsupported("mask_ratio", "one that shows and hides patches");
  const std::string text =
      "inline constexpr data2vec::Config config{.embed_dim = " + std::to_string(o.integer("embed_dim")) +
      ", .depth = " + std::to_string(o.integer("depth")) + ", .num_heads = " + std::to_string(o.integer("num_heads")) +
      ", .mlp_ratio = " + o.number_text("mlp_ratio") + ", .norm_eps = " + o.number_text("layer_norm_eps") +
      "};\nusing Modality = data2vec::Vision<data2vec::VisionConfig{.input_size = " + std::to_string(size) +
      ", .patch_size = " + std::to_string(patch) + ", .in_chans = " + std::to_string(o.integer("in_chans")) +
      ", .modality = {.num_extra_tokens = 1}}>;\nusing Masking = data2vec::parity::GivenMask<" +
      std::to_string(tokens) + ", " + std::to_string(visible) + ", " + std::to_string(tokens - visible) +
      ">;\nstruct Model : data2vec::MaskedAutoencoder<config, data2vec::Branch<Modality, Masking,\n"
      "    data2vec::PixelDecoder<data2vec::PixelDecoderConfig{" + decoder + "}>>> {};\n\n";
  o.ignore({"label_smoothing"});
  return text;
}

}  // namespace

std::string mae_source(const nlohmann::json& json, const SafetensorsFile&) {
  Options o(json);
  const std::string decoder = ".decoder_embed_dim = " + std::to_string(o.integer("decoder_embed_dim")) +
                              ", .decoder_depth = " + std::to_string(o.integer("decoder_depth")) +
                              ", .decoder_num_heads = " + std::to_string(o.integer("decoder_num_heads")) +
                              ", .norm_pix_loss = " + text_of(o.flag("norm_pix_loss"));
  const std::string model = model_text(o, decoder);
  const std::string run = "run_mae<Model, " + std::to_string(o.integer("batch")) + ">";
  o.finish();
  return "#include \"mae.hpp\"\n\n" + model + main_of(run);
}

std::string mae_finetune_source(const nlohmann::json& json, const SafetensorsFile& tensors) {
  Options o(json);
  const std::string model = model_text(o, ".decoder_embed_dim = 16, .decoder_depth = 1, .decoder_num_heads = 1");
  const bool soft = tensors.find("in.soft_target") != nullptr;
  const std::string run = "run_mae_finetune<Model, " + std::to_string(o.integer("num_classes")) + ", " +
                          text_of(o.flag("global_pool")) + ", " + text_of(soft) + ", " +
                          std::to_string(o.integer("batch")) + ">";
  o.finish();
  return "#include \"mae.hpp\"\n\n" + model + main_of(run);
}

std::string mae_linprobe_source(const nlohmann::json& json, const SafetensorsFile&) {
  Options o(json);
  const std::string model = model_text(o, ".decoder_embed_dim = 16, .decoder_depth = 1, .decoder_num_heads = 1");
  const std::string run = "run_mae_linprobe<Model, " + std::to_string(o.integer("num_classes")) + ", " +
                          text_of(o.flag("global_pool")) + ", " + std::to_string(o.integer("batch")) + ">";
  o.finish();
  return "#include \"mae.hpp\"\n\n" + model + main_of(run);
}

}  // namespace data2vec::parity
