// SPDX-License-Identifier: MIT
// The parity program's reading of cases: made-up files, good and bad, and the rules of the report.
#include <doctest/doctest.h>

#include <cmath>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <limits>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>
#include <unistd.h>

#include <data2vec/io/safetensors.hpp>

#include "cases.hpp"
#include "support.hpp"

namespace fs = std::filesystem;
using namespace data2vec::parity;
using Json = nlohmann::json;

namespace {

struct Folder {
  fs::path path = fs::temp_directory_path() / ("d2v_parity_" + std::to_string(::getpid()));
  Folder() { fs::create_directories(path / "headers"); write("headers/pretrain.hpp", ""); }
  ~Folder() { fs::remove_all(path); }
  std::string write(const std::string& name, const std::string& text) const {
    std::ofstream(path / name) << text;
    return (path / name).string();
  }
  FoundCase classify(const Json& json) const {
    return data2vec::parity::classify(write("case.json", json.dump()), "case", (path / "headers").string());
  }
};

Json small_case() {
  return Json::parse(R"({"name": "x", "batch": 1, "optimizer": {"lr": 0.001}, "tensors": {},
    "model": {"embed_dim": 8, "depth": 1, "num_heads": 2, "mlp_ratio": 0.1, "loss_scale": null, "clone_batch": 2,
      "encoder_dropout": 0.0, "seed": 1, "shared_decoder": null,
      "modalities": {"image": {"type": "IMAGE", "input_size": [8, 4], "patch_size": 2, "in_chans": 3, "embed_dim": 8,
        "num_alibi_heads": 2, "mask_prob": 0.8, "alibi_distance": "euclidean", "use_alibi_encoder": true,
        "transformer_decoder": false, "decoder": {"decoder_dim": 8, "input_dropout": 0.0}}}}})");
}

/// The twin of that case: one image of 8 x 4 pixels, 8 tokens, two rows that show 3 and hide 5.
void write_twin(const Folder& folder, std::vector<std::uint8_t> mask = {1, 1, 1, 1, 1, 0, 0, 0,
                                                                        0, 1, 0, 1, 1, 1, 0, 1}) {
  const std::vector<float> source(3 * 8 * 4);
  const std::vector<std::int32_t> keep(6);
  const std::vector tensors{
      data2vec::make_tensor<float>("in.source", {1, 3, 8, 4}, source),
      data2vec::make_tensor<std::int32_t>("in.ids_keep", {2, 3}, keep),
      data2vec::make_tensor<std::uint8_t>("in.mask", {2, 8}, mask),
  };
  data2vec::write_safetensors((folder.path / "case.safetensors").string(), tensors);
}

}  // namespace

TEST_CASE("parity: a case becomes a type") {
  const Folder folder;
  write_twin(folder);
  Json json = small_case();
  FoundCase c = folder.classify(json);
  CAPTURE(c.text);
  REQUIRE(c.kind == CaseKind::pretrain);
  for (const char* part : {".embed_dim = 8, .depth = 1, .num_heads = 2, .mlp_ratio = 0.10000000000000001, .clone_batch",
                           ".input_size = {8, 4}, .patch_size = {2, 2}, .in_chans = 3, .embed_dim = 8",
                           ".alibi_distance = data2vec::AlibiDistance::euclidean", "Conv2dDecoder<",
                           "GivenMask<8, 3, 5>", "run_pretrain<Model, 1>"})
    CHECK_MESSAGE(c.source.find(part) != std::string::npos, part);
  CHECK(c.source.find("loss_scale") == std::string::npos);  // null is the default
  json["model"]["modalities"]["image"]["transformer_decoder"] = true;
  CHECK(folder.classify(json).source.find("data2vec::TransformerDecoder<") != std::string::npos);
  json["model"]["modalities"]["image"]["enc_dec_transformer"] = true;
  CHECK(folder.classify(json).source.find("data2vec::CrossAttentionDecoder<") != std::string::npos);
}

TEST_CASE("parity: an option that is not supported fails the case by its name") {
  const Folder folder;
  write_twin(folder);
  struct Change { const char* pointer; Json value; const char* sentence; };
  const Change changes[] = {
      {"/model/new_option", 1, "option model.new_option: not known, value 1"},
      {"/model/modalities/image/new_option", "a", "option model.modalities.image.new_option: not known"},
      {"/model/modalities/image/decoder/new_option", 1, "option model.modalities.image.decoder.new_option: not known"},
      {"/model/shared_decoder", 7, "option model.shared_decoder: expected an object, found 7"},
      {"/model/shared_decoder", {{"new_option", 1}}, "option model.shared_decoder.new_option: not known"},
      {"/model/encoder_dropout", 0.1, "option model.encoder_dropout: expected 0, false or null"},
      {"/model/modalities/image/mask_channel_prob", 0.1, "mask_channel_prob: expected 0, false or null"},
      {"/model/depth", 1.5, "option model.depth: expected a whole number"},
      {"/model/depth", -1, "option model.depth: expected a whole number"},
      {"/model/mlp_ratio", "x; int y", "option model.mlp_ratio: expected a number"},
      {"/model/norm_affine", 3, "option model.norm_affine: expected true or false"},
      {"/model/clone_batch", 3, "option model.clone_batch: expected 2 rows of in.mask"},
      {"/model/modalities/image/num_alibi_heads", 4, "num_alibi_heads: expected the value of num_heads, found 4"},
      {"/model/modalities/image/alibi_distance", "chebyshev", "alibi_distance: expected \"manhattan\""},
      {"/model/modalities/image/input_size", 8, "input_size: expected 8 x 4 as in in.source, found 8"},
      {"/model/modalities/image/decoder", nullptr, "decoder: expected an object, found null"},
      {"/model/modalities/image/decoder/input_dropout", 0.1, "decoder.input_dropout: expected 0"},
      {"/optimizer/amsgrad", true, "option optimizer.amsgrad: not known"},
  };
  for (const Change& change : changes) {
    Json json = small_case();
    json[Json::json_pointer(change.pointer)] = change.value;
    const FoundCase c = folder.classify(json);
    CAPTURE(change.pointer);
    CAPTURE(c.text);
    CHECK(c.kind == CaseKind::broken);
    CHECK(c.text.find(change.sentence) != std::string::npos);
  }
  write_twin(folder, {1, 1, 1, 1, 1, 0, 0, 0, 0, 1, 0, 1, 1, 0, 0, 1});
  CHECK(folder.classify(small_case()).text == "in.mask: expected 5 hidden tokens in every row, found 4 in row 1");
}

TEST_CASE("parity: what is no case, not built yet, or cannot be read") {
  const Folder folder;
  Json json = small_case();
  CHECK(folder.classify(json).kind == CaseKind::broken);  // no twin
  write_twin(folder);
  json["model"]["modalities"]["text"] = Json::object();
  CHECK(folder.classify(json).text == "option model.modalities: expected one, found 2");
  json["model"]["modalities"]["video"] = Json::object();
  CHECK(folder.classify(json).text ==
        "option model.modalities: expected image, audio or text, nothing else");
  CHECK(folder.classify({{"kind", "mae"}, {"system", "mae"}}).text == "mae (mae) is not built yet");
  json = small_case();
  json["kind"] = "image classification fine-tuning";  // without its header: not built yet
  CHECK(folder.classify(json).text == "fine-tuning is not built yet");
  CHECK(folder.classify({{"the", 1}}).kind == CaseKind::broken);  // has a twin, so it should be a case
  fs::remove(folder.path / "case.safetensors");
  CHECK(folder.classify({{"the", 1}}).kind == CaseKind::other);
  CHECK(folder.classify({{"cosine", Json::array()}}).kind == CaseKind::schedules);
  CHECK(folder.classify({{"a", {{"draws", 1}, {"mask_prob", 0.5}}}, {"tolerance", ""}}).kind ==
        CaseKind::mask_statistics);
  folder.write("case.json", "{broken");
  CHECK(classify((folder.path / "case.json").string(), "case", "").kind == CaseKind::broken);
  const auto found = find_cases(folder.path.string(), "");
  REQUIRE(found.size() == 1);
  CHECK(found[0].name == "case");
}

TEST_CASE("parity: errors are measured as the tolerance table says") {
  const std::vector<float> expected{1, -4}, off{1, -4.00001f};
  const auto one = [](auto check) {
    Report r;
    check(r);
    return r.passed();
  };
  CHECK_FALSE(one([](Report&) {}));  // nothing compared is not a pass
  CHECK(one([&](Report& r) { r.check(Quantity::activation, "a", expected, off); }));        // 1e-5 / 4
  CHECK_FALSE(one([&](Report& r) { r.check(Quantity::table, "a", expected, off); }));
  CHECK_FALSE(one([&](Report& r) { r.check(Quantity::exact, "a", expected, off); }));
  CHECK(one([&](Report& r) { r.check_value(Quantity::loss, "a", 100, 100.00019); }));
  CHECK_FALSE(one([&](Report& r) { r.check_value(Quantity::loss, "a", 100, 100.00021); }));
  CHECK_FALSE(one([&](Report& r) { r.check_value(Quantity::loss, "a", 0, 1e-30); }));
  CHECK(one([&](Report& r) { r.check_value(Quantity::parameter, "a", 0, 2.9e-5); }));
  CHECK_FALSE(one([&](Report& r) { r.check_value(Quantity::parameter, "a", 0, 3.1e-5); }));
  // A gradient's divisor is at least 1e-3 of the largest gradient, whichever comes first.
  CHECK(one([](Report& r) {
    r.check_value(Quantity::gradient, "small", 0, 2.9e-8);
    r.check_value(Quantity::gradient, "large", 1, 1);
  }));
  CHECK_FALSE(one([](Report& r) {
    r.check_value(Quantity::gradient, "small", 0, 3.1e-8);
    r.check_value(Quantity::gradient, "large", 1, 1);
  }));
  const float nan = std::nanf(""), infinity = std::numeric_limits<float>::infinity();
  const std::vector<float> special{-infinity, nan}, wrong{infinity, nan}, finite{1, 1}, mixed{1, nan};
  CHECK(one([&](Report& r) { r.check(Quantity::activation, "a", special, special); }));
  CHECK_FALSE(one([&](Report& r) { r.check(Quantity::activation, "a", special, wrong); }));
  CHECK_FALSE(one([&](Report& r) { r.check(Quantity::activation, "a", finite, mixed); }));
  CHECK_FALSE(one([&](Report& r) { r.check(Quantity::activation, "a", expected, std::span(off).first(1)); }));
  CHECK_FALSE(one([](Report& r) { r.expect(false, "it holds"); }));
  Report r;
  r.check(Quantity::exact, "name", expected, off);
  CHECK(r.details() == std::vector<std::string>{
      "name: exact error 1e-05, bound 0e+00: element 1 expected -4, found -4.00001001"});
}
