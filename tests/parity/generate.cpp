// SPDX-License-Identifier: MIT
// Writes the source of a case; see generate.hpp. Every option of the JSON is in exactly one of the tables below, or the
// case fails by the option's name.
#include "generate.hpp"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <limits>
#include <set>
#include <span>
#include <string_view>
#include <vector>

#include <nlohmann/json.hpp>

#include "options.hpp"

namespace data2vec::parity {
namespace {

using Json = nlohmann::json;

enum class Kind { integer, number, flag, extent, distance, extractor, convolutions };

/// An option that is a field of the configuration under the same name. Tables are in the order of the fields.
struct Field {
  const char* name;
  Kind kind;
};

constexpr Field config_fields[] = {
    {"embed_dim", Kind::integer}, {"depth", Kind::integer}, {"num_heads", Kind::integer}, {"mlp_ratio", Kind::number},
    {"norm_eps", Kind::number}, {"norm_affine", Kind::flag}, {"layer_norm_first", Kind::flag},
    {"average_top_k_layers", Kind::integer}, {"end_of_block_targets", Kind::flag},
    {"batch_norm_target_layer", Kind::flag}, {"instance_norm_target_layer", Kind::flag},
    {"layer_norm_target_layer", Kind::flag}, {"layer_norm_targets", Kind::flag}, {"instance_norm_targets", Kind::flag},
    {"ema_encoder_only", Kind::flag}, {"clone_batch", Kind::integer}, {"loss_beta", Kind::number},
    {"loss_scale", Kind::number}, {"d2v_loss", Kind::number}, {"cls_loss", Kind::number}, {"recon_loss", Kind::number},
    {"mae_init", Kind::flag},
};
constexpr Field vision_fields[] = {
    {"input_size", Kind::extent}, {"patch_size", Kind::extent}, {"in_chans", Kind::integer},
    {"embed_dim", Kind::integer}, {"fixed_positions", Kind::flag},
};
constexpr Field speech_fields[] = {
    {"feature_encoder_spec", Kind::convolutions}, {"extractor_mode", Kind::extractor},
    {"conv_pos_width", Kind::integer}, {"conv_pos_groups", Kind::integer}, {"conv_pos_depth", Kind::integer},
    {"conv_pos_pre_ln", Kind::flag},
};
constexpr Field text_fields[] = {
    {"max_source_positions", Kind::integer}, {"learned_pos", Kind::flag},
    {"no_token_positional_embeddings", Kind::flag}, {"no_scale_embedding", Kind::flag},
    {"layernorm_embedding", Kind::flag}, {"dropout", Kind::number},
};
constexpr Field modality_fields[] = {
    {"prenet_depth", Kind::integer}, {"num_extra_tokens", Kind::integer}, {"init_extra_token_zero", Kind::flag},
    {"mask_noise_std", Kind::number}, {"ema_local_encoder", Kind::flag}, {"local_grad_mult", Kind::number},
    {"use_alibi_encoder", Kind::flag}, {"alibi_scale", Kind::number}, {"learned_alibi", Kind::flag},
    {"alibi_max_pos", Kind::integer}, {"learned_alibi_scale", Kind::flag},
    {"learned_alibi_scale_per_head", Kind::flag}, {"learned_alibi_scale_per_layer", Kind::flag},
    {"alibi_dims", Kind::integer}, {"alibi_distance", Kind::distance},
};
constexpr Field decoder_fields[] = {
    {"decoder_dim", Kind::integer}, {"decoder_groups", Kind::integer}, {"decoder_kernel", Kind::integer},
    {"decoder_layers", Kind::integer}, {"input_dropout", Kind::number}, {"add_positions_masked", Kind::flag},
    {"add_positions_all", Kind::flag}, {"decoder_residual", Kind::flag}, {"projection_layers", Kind::integer},
    {"projection_ratio", Kind::number},
};

/// Options that cannot change a number of a case.
struct Irrelevant {
  const char* name;
  const char* reason;
};
constexpr Irrelevant irrelevant[] = {
    {"_name", "a label"},
    {"type", "read by the program that finds the case"},
    {"modalities", "read by the program that finds the case"},
    {"supported_modality", "a filter of the reference's data loader"},
    {"seed", "all randomness of a case is given"},
    {"log_norms", "adds log output"},
    {"ema_same_dtype", "everything is float"},
    {"ema_decay", "read when the case runs"},
    {"ema_end_decay", "read when the case runs"},
    {"ema_anneal_end_step", "read when the case runs"},
    {"max_update", "the schedule's is read from the optimizer when the case runs"},
    {"min_target_var", "a limit for the reference's collapse check"},
    {"min_pred_var", "a limit for the reference's collapse check"},
    {"mask_prob", "masks are given"},
    {"mask_prob_min", "masks are given"},
    {"mask_prob_adjust", "masks are given"},
    {"mask_length", "masks are given"},
    {"inverse_mask", "masks are given"},
    {"keep_masked_pct", "masks are given, with the visible tokens"},
    {"add_masks", "masks are given"},
    {"mask_dropout", "masks are given"},
    {"mask_channel_length", "no channels are masked"},
    {"encoder_zero_mask", "concerns the positional convolution of speech"},
    {"decoder", "read with the options of the decoder"},
    {"shared_decoder", "read with the options of the decoder"},
    {"transformer_decoder", "chooses the decoder's type"},
    {"enc_dec_transformer", "chooses the decoder's type"},
};

/// Options that are supported with one value only.
struct Fixed {
  const char* name;
  double value;        ///< false and null count as 0
  const char* reason;
};
constexpr Fixed fixed[] = {
    {"encoder_dropout", 0, "a case with dropout cannot be repeated"},
    {"post_mlp_drop", 0, "a case with dropout cannot be repeated"},
    {"attention_dropout", 0, "a case with dropout cannot be repeated"},
    {"activation_dropout", 0, "a case with dropout cannot be repeated"},
    {"dropout_input", 0, "a case with dropout cannot be repeated"},
    {"layerdrop", 0, "a case with dropped layers cannot be repeated"},
    {"prenet_layerdrop", 0, "a case with dropped layers cannot be repeated"},
    {"prenet_dropout", 0, "a case with dropout cannot be repeated"},
    {"start_drop_path_rate", 0, "a case with stochastic depth cannot be repeated"},
    {"end_drop_path_rate", 0, "a case with stochastic depth cannot be repeated"},
    {"decoder_group", 0, "there are no optimizer groups by decoder"},
    {"skip_ema", 0, "there is always a teacher"},
    {"remove_masks", 0, "there are no masks to remove"},
    {"mask_channel_prob", 0, "pre-training hides no channels"},
    {"dropout", 0, "a case with dropout cannot be repeated"},
};

[[noreturn]] void unsupported(const std::string& option, const std::string& expected, const Json& found) {
  throw UnsupportedOption("option " + option + ": expected " + expected + ", found " + found.dump());
}

int integer_of(const std::string& option, const Json& value) {
  if (!value.is_number_integer() || value.get<double>() < 0 || value.get<double>() > std::numeric_limits<int>::max())
    unsupported(option, "a whole number from 0 to 2^31 - 1", value);
  return value.get<int>();
}

std::string number_text(const std::string& option, const Json& value) {
  if (!value.is_number() || !std::isfinite(value.get<double>())) unsupported(option, "a number", value);
  char text[40];
  std::snprintf(text, sizeof text, "%.17g", value.get<double>());
  return text;
}

struct Size {
  int height, width;
};

Size extent_of(const std::string& option, const Json& value) {
  if (value.is_array() && value.size() == 2) return {integer_of(option, value[0]), integer_of(option, value[1])};
  if (!value.is_number()) unsupported(option, "a number or [height, width]", value);
  return {integer_of(option, value), integer_of(option, value)};
}

/// "[(512, 10, 5), (512, 3, 2)]" as initialisers. The reference evaluates it as Python; a plain list is all there is here.
std::string convolutions_text(const std::string& option, const Json& value) {
  std::string text = value.is_string() ? value.get<std::string>() : "";
  std::erase(text, ' ');
  if (!text.starts_with("[(") || !text.ends_with(")]") || text.find_first_not_of("[]()0123456789,") != text.npos)
    unsupported(option, "a list of (channels, kernel, stride)", value);
  for (char& c : text) c = c == '[' || c == '(' ? '{' : c == ']' || c == ')' ? '}' : c;
  return text;
}

std::string field_text(const std::string& option, Kind kind, const Json& value) {
  switch (kind) {
    case Kind::integer: return std::to_string(integer_of(option, value));
    case Kind::number: return number_text(option, value);
    case Kind::flag:
      if (!value.is_boolean()) unsupported(option, "true or false", value);
      return value.get<bool>() ? "true" : "false";
    case Kind::extent: {
      const Size size = extent_of(option, value);
      return std::string("{") + std::to_string(size.height) + ", " + std::to_string(size.width) + "}";
    }
    case Kind::extractor:
      if (value != "default" && value != "layer_norm") unsupported(option, "\"default\" or \"layer_norm\"", value);
      return value == "default" ? "data2vec::ExtractorMode::default_" : "data2vec::ExtractorMode::layer_norm";
    case Kind::convolutions: return convolutions_text(option, value);
    case Kind::distance:
      if (value != "manhattan" && value != "euclidean") unsupported(option, "\"manhattan\" or \"euclidean\"", value);
      return "data2vec::AlibiDistance::" + value.get<std::string>();
  }
  return "";
}

/// "`.a = 1, .b = 2`" for the fields that are in the JSON; null and absent ones keep the library's default, which is
/// the reference's.
std::string initialisers(const Json& options, const std::string& path, std::span<const Field> fields) {
  std::string text;
  for (const Field& field : fields) {
    const auto it = options.find(field.name);
    if (it == options.end() || it->is_null()) continue;
    text += (text.empty() ? "." : ", .") + std::string(field.name) + " = " +
            field_text(path + field.name, field.kind, *it);
  }
  return text;
}

/// Every key must be a field, an irrelevant option, or one with its one value.
void expect_known(const Json& options, const std::string& path, std::initializer_list<std::span<const Field>> tables) {
  std::set<std::string_view> known;
  for (const auto& table : tables)
    for (const Field& field : table) known.insert(field.name);
  for (const Irrelevant& option : irrelevant) known.insert(option.name);
  for (const auto& [key, value] : options.items()) {
    for (const Fixed& option : fixed) {
      if (key != option.name) continue;
      known.insert(option.name);
      const bool number = value.is_number() || value.is_boolean() || value.is_null();
      const double found = value.is_number() ? value.get<double>() : value.is_boolean() && value.get<bool>() ? 1 : 0;
      if (!number || found != option.value)
        unsupported(path + key, "0, false or null (" + std::string(option.reason) + ")", value);
    }
    if (!known.contains(key)) throw UnsupportedOption("option " + path + key + ": not known, value " + value.dump());
  }
}

bool flag(const Json& options, const char* key) { return options.contains(key) && options[key] == true; }

void expect_equal(const Json& options, const std::string& path, const char* key, const Json& model, const char* other) {
  if (options.contains(key) && !options[key].is_null() && options[key] != model.value(other, Json()))
    unsupported(path + key, std::string("the value of ") + other, options[key]);
}

/// The reference's name of a modality: "IMAGE".
std::string mode_of(std::string key) {
  for (char& c : key) c = static_cast<char>(c - 'a' + 'A');
  return key;
}

/// A modality of a case: its key ("image", "audio", "text") and its options.
struct ModalityOptions {
  std::string key;
  const Json& options;
};
std::vector<ModalityOptions> modalities_of(const Json& json) {
  if (!json.contains("model") || !json["model"].is_object())
    throw UnsupportedOption("option model: expected an object");
  const Json& model = json["model"];
  std::vector<ModalityOptions> found;
  if (json.contains("modality")) {  // fine-tuning of text and speech
    const Json type = json["modality"].is_object() ? json["modality"].value("type", Json()) : Json();
    for (const char* key : {"image", "audio", "text"})
      if (type == mode_of(key)) found.push_back({key, json["modality"]});
  } else if (model.contains("modalities")) {
    for (const char* key : {"image", "audio", "text"})
      if (model["modalities"].contains(key)) found.push_back({key, model["modalities"][key]});
    if (found.size() != model["modalities"].size()) found.clear();
  }
  if (found.empty()) throw UnsupportedOption("option model.modalities: expected image, audio or text, nothing else");
  return found;
}

void expect_options(const Json& options, const std::string& path, std::initializer_list<const char*> keys) {
  for (const char* key : keys)
    if (!options.contains(key)) throw UnsupportedOption("option " + path + key + ": expected a value, found none");
}

std::string image_text(const Json& image, const std::string& path, const CaseShapes& shapes) {
  expect_options(image, path, {"embed_dim", "input_size", "patch_size"});
  const Size input = extent_of(path + "input_size", image["input_size"]);
  if (input.height != shapes.height || input.width != shapes.width)
    unsupported(path + "input_size", std::to_string(shapes.height) + " x " + std::to_string(shapes.width) +
                                         " as in in.source", image["input_size"]);
  return initialisers(image, path, vision_fields);
}

std::string audio_text(const Json& audio, const std::string& path, const CaseShapes& shapes, bool pretrain) {
  expect_options(audio, path, {"feature_encoder_spec", "extractor_mode"});
  if (pretrain && !flag(audio, "encoder_zero_mask"))
    unsupported(path + "encoder_zero_mask", "true: noise in the positional convolutions is not supported",
                audio.value("encoder_zero_mask", Json()));
  return ".input_size = " + std::to_string(shapes.width) + ", " + initialisers(audio, path, speech_fields);
}

std::string text_text(const Json& text, const std::string& path, const Json& json, const CaseShapes& shapes) {
  return ".vocab_size = " + std::to_string(integer_of("vocab_size", json.value("vocab_size", Json()))) +
         ", .tokens = " + std::to_string(shapes.width) + ", " + initialisers(text, path, text_fields);
}

std::string decoder_text(const Json& decoder, const std::string& path, const std::string& type,
                         const std::string& how) {
  if (!decoder.is_object()) unsupported(path, "an object", decoder);
  expect_known(decoder, path + ".", {decoder_fields});
  if (decoder.value("input_dropout", 0.0) != 0)
    unsupported(path + ".input_dropout", "0: a case with dropout cannot be repeated", decoder["input_dropout"]);
  return "data2vec::" + type + "<data2vec::DecoderConfig{\n    " +
         initialisers(decoder, path + ".", decoder_fields) + "}" + how + ">";
}

/// "using Modality = ...; using Decoder = ...;" with `number` behind the names.
std::string branch_text(const Json& json, const ModalityOptions& modality, const CaseShapes& shapes,
                        const std::string& number) {
  const auto& [key, options] = modality;
  const Json& model = json.at("model");
  const bool image = key == "image", audio = key == "audio";
  const std::string path = json.contains("modality") ? "modality." : "model.modalities." + key + ".";
  static constexpr Field depends[] = {{"num_alibi_heads", Kind::integer}, {"model_depth", Kind::integer}};
  if (image) expect_known(options, path, {vision_fields, modality_fields, depends});
  else if (audio) {
    Json known = options;
    if (json.contains("modality")) known.erase("mask_channel_prob");  // fine-tuning hides channels: masks are given
    expect_known(known, path, {speech_fields, modality_fields, depends});
  }
  else expect_known(options, path, {text_fields, modality_fields, depends});
  expect_equal(options, path, "num_alibi_heads", model, "num_heads");
  expect_equal(options, path, "model_depth", model, "depth");
  const bool transformer = flag(options, "transformer_decoder"), cross = flag(options, "enc_dec_transformer");
  const char* type = transformer ? (cross ? "CrossAttentionDecoder" : "TransformerDecoder")
                     : image     ? "Conv2dDecoder"
                                 : "Conv1dDecoder";
  const std::string kind = image ? "Vision" : audio ? "Speech" : "Text", config = "modality_config" + number;
  return "inline constexpr data2vec::" + kind + "Config " + config + "{\n    " +  // by name: nvcc writes types down
         (image   ? image_text(options, path, shapes)
          : audio ? audio_text(options, path, shapes, !json.contains("modality"))
                  : text_text(options, path, json, shapes)) +
         ",\n    .modality = {" + initialisers(options, path, modality_fields) +
         (shapes.padded ? ", .padding = data2vec::Padding::reference" : "") + "}};\nusing Modality" + number +
         " = data2vec::" + kind + "<" + config + ">;\n" +
         "using Decoder" + number + " = " +
         decoder_text(options.value("decoder", Json()), path + "decoder", type,
                      image || audio ? "" : ", data2vec::LinearInit::bert") + ";\n";
}

/// Configuration, modality and decoder: what pre-training and fine-tuning share.
std::string config_text(const Json& json) {
  const Json& model = json.at("model");
  expect_known(model, "model.", {config_fields});
  std::string text = "inline constexpr data2vec::Config config{\n    " +
                     initialisers(model, "model.", config_fields) + "};\n";
  if (const Json& shared = model.value("shared_decoder", Json()); !shared.is_null())
    text += "using SharedDecoder = " + decoder_text(shared, "model.shared_decoder", "Conv1dDecoder",
                                                    ", data2vec::LinearInit::xavier") + ";\n";
  return text;
}

std::string model_text(const Json& json, const CaseShapes& shapes) {
  const auto modalities = modalities_of(json);
  if (modalities.size() != 1)
    throw UnsupportedOption("option model.modalities: expected one, found " + std::to_string(modalities.size()));
  return config_text(json) + branch_text(json, modalities.front(), shapes, "");
}

std::string program(const char* header, const std::string& model, const std::string& masking, const std::string& run) {
  const char* shared = model.find("using SharedDecoder") == model.npos ? "" : ", SharedDecoder";
  return std::string("#include \"") + header + "\"\n\n" + model + "using Masking = " + masking + ";\n" +
         "struct Model : data2vec::Data2Vec2<config, data2vec::Branch<Modality, Masking, Decoder" + shared + ">> {};\n\n" +
         main_of(run);
}

std::string masking_text(const Json& json, const CaseShapes& shapes) {
  const Json& clones = json["model"].value("clone_batch", Json(1));
  if (shapes.rows != shapes.batch * integer_of("model.clone_batch", clones))
    unsupported("model.clone_batch", std::to_string(shapes.rows) + " rows of in.mask over " +
                                         std::to_string(shapes.batch) + " samples", clones);
  return "data2vec::parity::GivenMask<" + std::to_string(shapes.tokens) + ", " + std::to_string(shapes.visible) + ", " +
         std::to_string(shapes.masked) + ">";
}

void expect_optimizer(const Json& json) {
  static constexpr Field fields[] = {{"lr", Kind::number}, {"adam_betas", Kind::number}, {"adam_eps", Kind::number},
      {"weight_decay", Kind::number}, {"clip_norm", Kind::number}, {"warmup_updates", Kind::integer},
      {"min_lr", Kind::number}};
  if (json.contains("optimizer")) expect_known(json["optimizer"], "optimizer.", {fields});
}

void expect_ctc(const Json& json) {
  if (json.value("blank", Json()) != 0) unsupported("blank", "0", json.value("blank", Json()));
  if (!flag(json, "zero_infinity")) unsupported("zero_infinity", "true", json.value("zero_infinity", Json()));
}

}  // namespace

std::string pretrain_source(const Json& json, const CaseShapes& shapes) {
  const std::string model = model_text(json, shapes);
  expect_optimizer(json);
  return program("pretrain.hpp", model, masking_text(json, shapes),
                 "run_pretrain<Model, " + std::to_string(shapes.batch) + ">");
}

std::string multimodal_source(const Json& json, const std::vector<CaseShapes>& shapes) {
  const auto modalities = modalities_of(json);
  expect_optimizer(json);
  std::string text = config_text(json), branches, batches;
  const char* shared = text.find("using SharedDecoder") == text.npos ? "" : ", SharedDecoder";
  for (std::size_t i = 0; i < shapes.size(); ++i) {
    const std::string number = std::to_string(i);
    const auto modality = std::find_if(modalities.begin(), modalities.end(), [&](const ModalityOptions& m) {
      return json["modalities"][i] == mode_of(m.key);
    });
    if (modality == modalities.end() || shapes.size() != modalities.size())
      unsupported("modalities", "the names of those of the model", json["modalities"]);
    text += branch_text(json, *modality, shapes[i], number) + "using Masking" + number + " = " +
            masking_text(json, shapes[i]) + ";\n";
    branches += ",\n    data2vec::Branch<Modality" + number + ", Masking" + number + ", Decoder" + number + shared + ">";
    batches += ", " + std::to_string(shapes[i].batch);
  }
  return "#include \"pretrain.hpp\"\n\n" + text + "struct Model : data2vec::Data2Vec2<config" + branches + "> {};\n\n" +
         main_of("run_multimodal<Model" + batches + ">");
}

std::string finetune_source(const Json& json, const CaseShapes& shapes) {
  const std::string model = model_text(json, shapes);
  const std::string mode = json.value("prediction_mode", "");
  const char* pooling = mode == "MEAN_POOLING" ? "mean_pooling" : mode == "CLS_TOKEN" ? "cls_token" :
                        mode == "LIN_SOFTMAX" ? "lin_softmax" : nullptr;
  if (!pooling)
    unsupported("prediction_mode", "MEAN_POOLING, CLS_TOKEN or LIN_SOFTMAX", json.value("prediction_mode", Json()));
  const auto text = [&](const char* key) { return std::string(flag(json, key) ? "true" : "false"); };
  const int classes = integer_of("num_classes", json.value("num_classes", Json()));
  // Fine-tuning hides nothing; the type of a model needs a policy all the same.
  const std::string masking = "data2vec::parity::GivenMask<Modality::tokens, 1, Modality::tokens - 1>";
  return program("finetune.hpp", model, masking,
                 "run_finetune<Model, " + std::to_string(classes) + ", data2vec::Pooling::" + pooling + ", " +
                     text("use_fc_norm") + ", " + text("soft_labels") + ", " + std::to_string(shapes.batch) + ">");
}

std::string sentences_source(const Json& json, const CaseShapes& shapes) {
  static constexpr const char* head = "features[:,0] -> dense -> tanh -> out_proj";
  if (json.value("head", Json()) != head) unsupported("head", head, json.value("head", Json()));
  const std::string model = model_text(json, shapes);
  const int classes = integer_of("num_classes", json.value("num_classes", Json()));
  const bool regression = json.value("kind", "").ends_with("(regression)");
  const std::string masking = "data2vec::parity::GivenMask<Modality::tokens, 1, Modality::tokens - 1>";
  return program("sentences.hpp", model, masking,
                 "run_sentences<Model, " + std::to_string(classes) + ", " + (regression ? "true" : "false") + ", " +
                     std::to_string(shapes.batch) + ">");
}

std::string recogniser_source(const Json& json, const CaseShapes& shapes) {
  const std::string model = model_text(json, shapes);
  expect_ctc(json);
  const int symbols = integer_of("num_symbols", json.value("num_symbols", Json()));
  const std::string masking = "data2vec::parity::GivenMask<Modality::tokens, 1, Modality::tokens - 1>";
  return program("recogniser.hpp", model, masking,
                 "run_recogniser<Model, " + std::to_string(symbols) + ", " + std::to_string(shapes.batch) + ">");
}

std::string ctc_source(const Json& json, const CaseShapes& shapes) {
  expect_ctc(json);
  return "#include \"recogniser.hpp\"\n\n" + main_of("run_ctc<" + std::to_string(shapes.width) + ", " +
                                                      std::to_string(shapes.height) + ", " +
                                                      std::to_string(shapes.batch) + ">");
}

}  // namespace data2vec::parity
