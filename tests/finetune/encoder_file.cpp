// SPDX-License-Identifier: MIT
// Encoders out of the files of a pre-trained model, of an encoder alone, of a classifier and of a recogniser.
#include <doctest/doctest.h>

#include <algorithm>
#include <string>
#include <vector>

#include <data2vec/data2vec.hpp>
#include <data2vec/finetune/classifier.hpp>
#include <data2vec/finetune/encoder_file.hpp>
#include <data2vec/io/weights.hpp>

using namespace data2vec;

namespace {

using Images = Vision<VisionConfig{.input_size = 8, .patch_size = 4, .in_chans = 1}>;
using Masks = RandomMask<Images::tokens, MaskConfig{.mask_prob = 0.5}>;
inline constexpr Config config{.embed_dim = 8, .depth = 1, .num_heads = 2, .average_top_k_layers = 1, .clone_batch = 2};
struct Model : Data2Vec2<config, Branch<Images, Masks, LinearDecoder<DecoderConfig{.input_dropout = 0}>>> {};
using Parameters = Model::Parameters<float>;

SafetensorsFile file_of(const std::vector<Tensor>& tensors) {
  return SafetensorsFile::from_bytes(safetensors_bytes(tensors), "file");
}

struct Language : MaskedLanguageModel<Config{.embed_dim = 8, .depth = 1, .num_heads = 2, .norm_eps = 1e-5,
                                             .block_names = BlockNames::fairseq},
                                      Text<TextConfig{.vocab_size = 12, .tokens = 6, .max_source_positions = 6}>,
                                      TokenMask<6, TokenMaskConfig{}>> {};
using Recordings16 = Speech<SpeechConfig{.input_size = 60, .feature_encoder_spec = {{3, 5, 3}, {4, 3, 2}},
                                         .conv_pos_width = 4, .conv_pos_groups = 2, .conv_pos_depth = 1,
                                         .conv_pos_weight_norm = true}>;
struct Waves : Wav2Vec2<Config{.embed_dim = 8, .depth = 1, .num_heads = 2, .norm_eps = 1e-5,
                               .block_names = BlockNames::fairseq},
                        Recordings16, SpanMask<Recordings16::tokens, MaskConfig{.mask_prob = 0.5, .mask_length = 2}>,
                        Wav2Vec2Config{.final_dim = 4, .latent_vars = 4, .num_negatives = 2}> {};

std::string error_of(const std::vector<Tensor>& tensors) {
  try {
    read_encoder<Model>(file_of(tensors));
  } catch (const MismatchError& error) {
    return error.what();
  }
  return "";
}

}  // namespace

TEST_CASE("encoder files: a whole model, an encoder alone, a classifier, a recogniser") {
  Buffer<float> weights(buffer_size<Parameters>);
  Model::initialise(weights.data(), 3);
  const std::vector<Tensor> whole = named_tensors<Parameters>(weights.data());
  std::vector<Tensor> encoder, classifier, recogniser;
  for (const Tensor& tensor : whole) {
    if (Model::in_decoder(tensor.name)) continue;
    encoder.push_back(tensor);
    classifier.push_back(tensor);
    classifier.back().name = "model." + tensor.name;
    recogniser.push_back(tensor);
    recogniser.back().name = "w2v_model." + tensor.name;
  }
  REQUIRE(encoder.size() < whole.size());
  classifier.push_back({"head.bias", Dtype::f32, {2}, std::as_bytes(std::span(weights.data(), 2))});
  recogniser.push_back({"proj.bias", Dtype::f32, {2}, std::as_bytes(std::span(weights.data(), 2))});
  for (const auto& tensors : {whole, encoder, classifier, recogniser}) {
    const Buffer<float> read = read_encoder<Model>(file_of(tensors));
    for (const TensorInfo& info : tensor_table<Parameters>)
      for (std::size_t i = info.offset; i < info.offset + info.size; ++i)
        REQUIRE(read[i] == (Model::in_decoder(info.name.view()) ? 0 : weights[i]));
  }
}

TEST_CASE("encoder files: what files of the other systems hold besides the encoder") {
  const auto read_back = []<class M>(const M&, const std::string& prefix, std::vector<std::string> besides) {
    using P = typename M::template Parameters<float>;
    Buffer<float> weights(buffer_size<P>);
    M::initialise(weights.data(), 3);
    std::vector<Tensor> tensors = named_tensors<P>(weights.data());
    for (Tensor& tensor : tensors) tensor.name = prefix + tensor.name;
    for (const std::string& name : besides)
      tensors.push_back({name, Dtype::f32, {2}, std::as_bytes(std::span(weights.data(), 2))});
    const Buffer<float> read = read_encoder<M>(file_of(tensors));
    for (const TensorInfo& info : tensor_table<P>)
      for (std::size_t i = info.offset; i < info.offset + info.size; ++i)
        REQUIRE(read[i] == (M::in_decoder(info.name.view()) ? 0 : weights[i]));
  };
  read_back(Language{}, "", {"encoder.sentence_encoder.version", "encoder.lm_head.weight",
                             "classification_heads.sentence_classification_head.dense.bias"});
  read_back(Waves{}, "", {"_ema.layers.0.fc1.bias", "encoder._ema.layers.0.fc1.bias"});
  read_back(Waves{}, "w2v_encoder.w2v_model.", {"w2v_encoder.proj.bias"});
}

TEST_CASE("encoder files: names of other releases of the references") {
  const auto read_back = []<class M>(const M&, std::vector<std::pair<std::string, std::string>> names) {
    using P = typename M::template Parameters<float>;
    Buffer<float> weights(buffer_size<P>);
    M::initialise(weights.data(), 3);
    std::vector<Tensor> tensors = named_tensors<P>(weights.data());
    int renamed = 0;
    for (Tensor& tensor : tensors)
      for (const auto& [ours, theirs] : names)
        if (const auto at = tensor.name.find(ours); at != tensor.name.npos)
          tensor.name.replace(at, ours.size(), theirs), ++renamed;
    CHECK(renamed > static_cast<int>(names.size()) - 1);
    const Buffer<float> read = read_encoder<M>(file_of(tensors));
    for (const TensorInfo& info : tensor_table<P>)
      for (std::size_t i = info.offset; i < info.offset + info.size; ++i)
        REQUIRE(read[i] == (M::in_decoder(info.name.view()) ? 0 : weights[i]));
  };
  read_back(Language{}, {{"layernorm_embedding", "emb_layer_norm"},
                         {"encoder.sentence_encoder", "decoder.sentence_encoder"},
                         {"encoder.lm_head", "decoder.lm_head"}});
  read_back(Waves{}, {{"weight_g", "parametrizations.weight.original0"},
                      {"weight_v", "parametrizations.weight.original1"}});
}

TEST_CASE("encoder files: one tensor under the names of two releases is refused") {
  using P = Language::Parameters<float>;
  Buffer<float> weights(buffer_size<P>);
  std::vector<Tensor> tensors = named_tensors<P>(weights.data());
  tensors.push_back(tensors.front());
  REQUIRE(tensors.back().name == "encoder.sentence_encoder.embed_tokens.weight");
  tensors.back().name = "decoder.sentence_encoder.embed_tokens.weight";
  CHECK_THROWS_WITH_AS(read_encoder<Language>(file_of(tensors)),
                       doctest::Contains("twice: "), MismatchError);
}

TEST_CASE("encoder files: positions are resampled for images of another size") {
  struct Larger : Data2Vec2<config, Branch<Vision<VisionConfig{.input_size = {12, 16}, .patch_size = 4, .in_chans = 1}>,
                                           RandomMask<12, MaskConfig{.mask_prob = 0.5}>,
                                           LinearDecoder<DecoderConfig{.input_dropout = 0}>>> {};
  Buffer<float> weights(buffer_size<Parameters>);
  Model::initialise(weights.data(), 3);
  const SafetensorsFile file = file_of(named_tensors<Parameters>(weights.data()));
  const Buffer<float> read = read_encoder<Larger>(file);
  int others = 0;
  for (const TensorInfo& info : tensor_table<Larger::Parameters<float>>) {
    if (Larger::in_decoder(info.name.view())) continue;
    std::vector<float> expected = file.at(std::string(info.name.view())).copy<float>();
    if (is_position_table(info.name.view())) expected = resample_positions(expected, 0, 2, {3, 4});
    else ++others;
    CHECK(std::equal(expected.begin(), expected.end(), read.data() + info.offset));
  }
  CHECK(others > 10);
}

TEST_CASE("encoder files: every difference is listed") {
  Buffer<float> weights(buffer_size<Parameters>);
  std::vector<Tensor> tensors = named_tensors<Parameters>(weights.data());
  std::erase_if(tensors, [](const Tensor& t) { return t.name == "blocks.0.norm1.bias"; });
  for (Tensor& t : tensors)
    if (t.name == "blocks.0.mlp.fc2.bias") t.shape = {2, 4};
  const std::vector<float> table(5 * 8);
  for (Tensor& t : tensors)
    if (is_position_table(t.name)) t = {t.name, Dtype::f32, {1, 5, 8}, std::as_bytes(std::span(table))};
  tensors.push_back({"blocks.1.norm1.bias", Dtype::f32, {8}, std::as_bytes(std::span(weights.data(), 8))});
  CHECK(error_of(tensors) ==
        "file: the encoder is not the model's:"
        "\n  modality_encoders.IMAGE.fixed_positional_encoder.positions: expected F32 (1, 4, 8), found F32 (1, 5, 8)"
        "\n  missing: blocks.0.norm1.bias (8)"
        "\n  blocks.0.mlp.fc2.bias: expected F32 (8), found F32 (2, 4)"
        "\n  unknown: blocks.1.norm1.bias (8)");
}
