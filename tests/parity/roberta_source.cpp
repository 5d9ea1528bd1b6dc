// SPDX-License-Identifier: MIT
// Sources of RoBERTa's cases.
#include <algorithm>

#include "options.hpp"

namespace data2vec::parity {
namespace {

/// Modality and encoder of a case whose tensor `name` (B, T) holds its tokens.
struct Roberta {
  int batch, tokens;
  bool tied;
  std::string source;

  Roberta(Options& options, const SafetensorsFile& tensors) {
    const Tensor& ids = tensors.at("in.src_tokens");
    if (ids.shape.size() != 2) throw UnsupportedOption("in.src_tokens: expected rank 2, found " + shape_text(ids.shape));
    batch = static_cast<int>(ids.shape[0]);
    tokens = static_cast<int>(ids.shape[1]);
    options.expect("batch", batch, "as in.src_tokens");
    options.expect("tokens", tokens, "as in.src_tokens");
    options.ignore({"pad_tokens"});
    Options specials = options.within("specials");
    for (const auto& [key, id] : {std::pair{"bos", 0}, {"pad", 1}, {"eos", 2}, {"unk", 3}})
      specials.expect(key, id, "the dictionary's order");
    specials.word("mask", {"vocab-1"});
    specials.finish();
    Options model = options.within("model");
    const int dim = model.integer("encoder_embed_dim");
    const bool pre = model.flag("encoder_normalize_before");
    model.word("activation_fn", {"gelu"});
    tied = !model.flag_or("untie_weights_roberta", false);
    source = "#include \"roberta.hpp\"\n\n"
        "inline constexpr data2vec::Config config{.embed_dim = " + std::to_string(dim) +
        ", .depth = " + std::to_string(model.integer("encoder_layers")) +
        ", .num_heads = " + std::to_string(model.integer("encoder_attention_heads")) +
        ", .mlp_ratio = " + text_of((model.integer("encoder_ffn_embed_dim") + 0.5) / dim) +
        ", .norm_eps = 1e-5, .layer_norm_first = " + text_of(pre) + ", .pre_norm_mlp_residual = " + text_of(pre) +
        ",\n    .block_names = data2vec::BlockNames::fairseq};\n"
        "using Modality = data2vec::Text<data2vec::TextConfig{.vocab_size = " +
        std::to_string(options.integer("vocab")) + ", .tokens = " + std::to_string(tokens) +
        ", .max_source_positions = " + std::to_string(model.integer("max_positions")) +
        ", .layernorm_embedding = " + text_of(model.flag("layernorm_embedding")) + ", .dropout = 0}>;\n";
    for (const char* rate : {"dropout", "attention_dropout", "activation_dropout", "encoder_layerdrop",
                             "pooler_dropout"})
      model.expect(rate, 0, "a case with dropout cannot be repeated");
    model.finish();
  }

  std::string program(int most, const std::string& run) const {
    return source + "struct Model : data2vec::MaskedLanguageModel<config, Modality, data2vec::parity::GivenTokens<" +
           std::to_string(tokens) + ", " + std::to_string(most) + ">, " + text_of(tied) + "> {};\n\n" + main_of(run);
  }
};

}  // namespace

std::string roberta_source(const nlohmann::json& json, const SafetensorsFile& tensors) {
  Options options(json);
  const Roberta roberta(options, tensors);
  options.finish();
  const auto targets = tensors.at("in.target").as<std::int64_t>();
  std::ptrdiff_t most = 1;
  for (auto row = targets.begin(); row != targets.end(); row += roberta.tokens)
    most = std::max(most, std::count_if(row, row + roberta.tokens, [](std::int64_t id) { return id != 1; }));
  return roberta.program(static_cast<int>(most), "run_roberta<Model, " + std::to_string(roberta.batch) + ">");
}

std::string roberta_sentences_source(const nlohmann::json& json, const SafetensorsFile& tensors) {
  Options options(json);
  const Roberta roberta(options, tensors);
  const int classes = options.integer("num_classes");
  const bool regression = options.flag_or("regression", false);
  options.finish();
  return roberta.program(1, "run_roberta_sentences<Model, " + std::to_string(classes) + ", " + text_of(regression) +
                                ", " + std::to_string(roberta.batch) + ">");
}

}  // namespace data2vec::parity
