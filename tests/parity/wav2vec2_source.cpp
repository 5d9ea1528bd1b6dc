// SPDX-License-Identifier: MIT
// Sources of wav2vec 2.0's cases.
#include <algorithm>

#include "options.hpp"

namespace data2vec::parity {
namespace {

struct Wav2Vec2 {
  int batch, masked, tokens;
  std::string source;

  Wav2Vec2(Options& options, const SafetensorsFile& tensors) {
    const auto extent = [&](const char* name, std::size_t axis) {
      const Tensor& tensor = tensors.at(name);
      if (tensor.shape.size() != 2)
        throw UnsupportedOption(std::string(name) + ": expected rank 2, found " + shape_text(tensor.shape));
      return static_cast<int>(tensor.shape[axis]);
    };
    batch = extent("in.source", 0);
    options.expect("batch", batch, "as in.source");
    options.expect("samples", extent("in.source", 1), "as in.source");
    options.ignore({"pad_samples", "temperature"});
    tokens = extent("in.mask_indices", 1);
    const auto marks = tensors.at("in.mask_indices").as<std::uint8_t>();
    masked = static_cast<int>(
        std::count_if(marks.begin(), marks.begin() + tokens, [](std::uint8_t m) { return m != 0; }));
    Options model = options.within("model");
    const int dim = model.integer("encoder_embed_dim");
    const bool pre = model.flag("layer_norm_first");
    const bool normed = model.word("extractor_mode", {"default", "layer_norm"}) == "layer_norm";
    const bool padded = tensors.find("in.padding_mask") != nullptr;
    for (const char* rate : {"dropout", "attention_dropout", "activation_dropout", "dropout_input", "dropout_features",
                             "encoder_layerdrop"})
      model.expect(rate, 0, "a case with dropout cannot be repeated");
    model.expect("quantize_targets", 1, "targets are quantised");
    model.expect("pos_conv_depth", 1, "one convolution gives positions");
    model.ignore({"mask_prob", "mask_length", "mask_channel_prob", "mask_channel_length", "latent_temp",
                  "required_seq_len_multiple"});  // masks are given; a frame that nobody sees changes nothing
    std::string weights;
    if (options.has("loss_weights")) {
      const nlohmann::json& each = options.json("loss_weights");
      if (!each.is_array() || each.size() != 2) options.unsupported("loss_weights", "two numbers");
      weights = ", .diversity_weight = " + text_of(each[0].get<double>()) +
                ", .features_pen_weight = " + text_of(each[1].get<double>());
    }
    options.expect("infonce", 1, "the loss is contrastive");
    const auto integer = [&](const char* key) { return std::to_string(model.integer(key)); };
    source = "#include \"wav2vec2.hpp\"\n\n"
        "inline constexpr data2vec::Config config{.embed_dim = " + std::to_string(dim) +
        ", .depth = " + integer("encoder_layers") + ", .num_heads = " + integer("encoder_attention_heads") +
        ", .mlp_ratio = " + text_of((model.integer("encoder_ffn_embed_dim") + 0.5) / dim) +
        ", .norm_eps = 1e-5, .layer_norm_first = " + text_of(pre) + ", .pre_norm_mlp_residual = " + text_of(pre) +
        ",\n    .block_names = data2vec::BlockNames::fairseq};\n"
        "inline constexpr data2vec::SpeechConfig waveforms{.input_size = " +  // by name: nvcc writes types down
        std::to_string(extent("in.source", 1)) + ", .feature_encoder_spec = " + model.convolutions("conv_feature_layers") +
        ",\n    .extractor_mode = data2vec::ExtractorMode::" + (normed ? "layer_norm" : "default_") +
        ", .conv_pos_width = " + integer("conv_pos") + ", .conv_pos_groups = " + integer("conv_pos_groups") +
        ", .conv_pos_depth = 1,\n    .conv_pos_weight_norm = true, .conv_bias = " + text_of(model.flag("conv_bias")) +
        ", .project_equal_width = false, .clear_padding = " + text_of(padded) + ",\n    .modality = {.local_grad_mult = " +
        model.number_text("feature_grad_mult") +
        (padded ? ", .padding = data2vec::Padding::reference" : "") + "}};\n"
        "inline constexpr data2vec::Wav2Vec2Config contrast{.final_dim = " + integer("final_dim") +
        ", .latent_vars = " + integer("latent_vars") + ", .latent_groups = " + integer("latent_groups") +
        ", .latent_dim = " + integer("latent_dim") + ", .num_negatives = " + integer("num_negatives") +
        ",\n    .cross_sample_negatives = " + integer("cross_sample_negatives") + ", .codebook_negatives = " +
        integer("codebook_negatives") + ", .dropout_features = 0, .logit_temp = " + model.number_text("logit_temp") +
        weights + "};\n"
        "struct Model : data2vec::Wav2Vec2<config, data2vec::Speech<waveforms>, data2vec::parity::GivenFrames<" +
        std::to_string(tokens) + ", " + std::to_string(masked) + ">,\n    contrast> {};\n\n";
    model.finish();
  }
};

}  // namespace

std::string wav2vec2_source(const nlohmann::json& json, const SafetensorsFile& tensors) {
  Options options(json);
  const Wav2Vec2 model(options, tensors);
  options.finish();
  return model.source + main_of("run_wav2vec2<Model, " + std::to_string(model.batch) + ">");
}

std::string wav2vec2_ctc_source(const nlohmann::json& json, const SafetensorsFile& tensors) {
  Options options(json);
  const Wav2Vec2 model(options, tensors);
  options.expect("blank", 0, "the blank is the first symbol");
  options.expect("zero_infinity", 1, "impossible targets cost nothing");
  options.ignore({"target_lengths", "sentence_avg", "letters"});
  options.finish();
  const Tensor& logits = tensors.at("out.logits");
  if (logits.shape.size() != 3)
    throw UnsupportedOption("out.logits: expected rank 3, found " + shape_text(logits.shape));
  return model.source + main_of("run_wav2vec2_ctc<Model, " + std::to_string(logits.shape[2]) + ", " +
                                std::to_string(model.batch) + ">");
}

}  // namespace data2vec::parity
