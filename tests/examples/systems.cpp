// SPDX-License-Identifier: MIT
// The example programs for systems beside data2vec 2.0: the same command lines.
#include <doctest/doctest.h>

#include <string>

#include <data2vec/data/decode.hpp>
#include <data2vec/io/json.hpp>
#include <data2vec/io/npy.hpp>

#include "tests/examples/small_images.hpp"
#include "tests/examples/small_recordings.hpp"
#include "tests/examples/small_texts.hpp"

using namespace data2vec;
using namespace processes;

namespace {

/// A program that pre-trains a system: a whole run, and one that was stopped and resumed, whose files are the same.
/// Returns the whole one, with its files in folder/whole.
Ended stop_and_resume(const Folder& folder, const std::string& program, const std::string& data) {
  const auto pretrain = [&](const std::string& out, Strings more, const std::string& until = "") {
    Strings command{program, "--data", data, "--out", folder / out};
    command.insert(command.end(), more.begin(), more.end());
    return run(folder, command, until);
  };
  const Ended whole = pretrain("whole", {"--updates", "30"});
  INFO(whole.err);
  REQUIRE(whole.status == 0);
  CHECK(pretrain("cut", {"--updates", "30"}, "update 1/30").status == 143);
  REQUIRE(pretrain("cut", {"--resume", "--threads", "1"}).status == 0);
  for (const char* name : {"weights.safetensors", "checkpoint.safetensors"})
    CHECK(text_of(folder / (std::string("cut/") + name)) == text_of(folder / (std::string("whole/") + name)));
  return whole;
}

/// What a program says, which must end well.
std::string expect(const Folder& folder, const Strings& command) {
  const Ended ended = run(folder, command);
  INFO(command[0], ": ", ended.err);
  REQUIRE(ended.status == 0);
  return ended.out;
}

}  // namespace

TEST_CASE("text programs for RoBERTa: trained, resumed to the same bytes, adapted") {
  const SmallTexts folder("roberta_programs");
  CHECK(contains(stop_and_resume(folder, "text-roberta/pretrain", folder / "corpus").out, "accuracy"));
  const auto weights = SafetensorsFile::open(folder / "whole/weights.safetensors");
  CHECK(weights.find("encoder.sentence_encoder.embed_tokens.weight"));
  CHECK_FALSE(weights.find("encoder.lm_head.bias"));
  const std::string log = text_of(folder / "whole/log.jsonl");
  CHECK(Json::parse(log.substr(0, log.find('\n'))).contains("accuracy"));

  const std::string encoder = folder / "whole/weights.safetensors";
  expect(folder, {"text-roberta/finetune", "--weights", encoder, "--data", folder / "labelled", "--updates", "3",
                  "--out", folder / "tuned"});
  CHECK(Json::parse(text_of(folder / "tuned/results.json"))["runs"].size() == 1);
  Strings fill{"text-roberta/fill_mask", "--weights", folder / "whole/checkpoint.safetensors", "--count", "3",
               "the old <mask> leads to <mask>"};
  const std::string filled = expect(folder, fill);
  CHECK(contains(filled, "<mask> 2 of 2"));
  CHECK(lines(filled) == 1 + 2 * (1 + 3));
  fill[2] = encoder;
  CHECK(contains(run(folder, fill).err, "expected a checkpoint, which has the head that names tokens"));
}

TEST_CASE("vision programs for MAE: trained, resumed to the same bytes, adapted") {
  const SmallImages folder("mae_programs");
  stop_and_resume(folder, "vision-mae/pretrain", folder / "data");
  const auto weights = SafetensorsFile::open(folder / "whole/weights.safetensors");
  CHECK(weights.find("pos_embed"));
  CHECK_FALSE(weights.find("decoder_pred.weight"));

  expect(folder, {"vision-mae/probe", "--weights", folder / "whole/weights.safetensors", "--data", folder / "data",
                  "--alone", "--lars", "30", "--lars-batch", "32", "--lars-lr", "20", "--json", folder / "probe.json"});
  const Json lars = Json::parse(text_of(folder / "probe.json"))["encoder"]["lars"];
  CHECK(lars["epochs"] == 30);
  CHECK(lars["confusion"].size() == 3);
  CHECK(lars["accuracy"].get<double>() > 0.9);  // ramps are linearly separable

  const Strings complete{"vision-mae/reconstruct", "--weights", folder / "whole/checkpoint.safetensors", "--data",
                         folder / "data", "--count", "2", "--zoom", "3", "--out", folder / "completed.png"};
  CHECK(contains(expect(folder, complete), "2 images, 12 of 16 patches hidden"));
  const Image picture = decode_image(folder / "completed.png");
  CHECK(picture.height == 2 * (8 * 3 + 4) + 4);
  CHECK(picture.width == 3 * (8 * 3 + 4) + 4);
}

TEST_CASE("speech programs for wav2vec 2.0: trained, resumed to the same bytes, adapted") {
  const SmallRecordings folder("wav2vec2_programs");
  stop_and_resume(folder, "speech-wav2vec2/pretrain", folder / "data");
  const auto weights = SafetensorsFile::open(folder / "whole/weights.safetensors");
  CHECK(weights.find("mask_emb"));
  CHECK_FALSE(weights.find("quantizer.vars"));

  expect(folder, {"speech-wav2vec2/finetune", "--weights", folder / "whole/weights.safetensors", "--data",
                  folder / "data", "--seeds", "1", "--updates", "3", "--out", folder / "tuned"});
  CHECK(Json::parse(text_of(folder / "tuned/results.json"))["runs"].size() == 1);

  Strings codes{"speech-wav2vec2/extract_features", "--weights", folder / "whole/checkpoint.safetensors", "--data",
                folder / "data", "--codes", "--part", "test", "--out", folder / "codes"};
  CHECK(contains(expect(folder, codes), "of 8 recordings"));
  int files = 0;
  for (const auto& entry : fs::directory_iterator(folder / "codes")) {
    const auto found = read_npy<std::int32_t>(entry.path().string());
    ++files;
    CHECK(found.shape == std::vector<std::int64_t>{found.shape[0], 2});
    CHECK(found.shape[0] > 8);
    for (const std::int32_t code : found.values) CHECK((code >= 0 && code < 64));
  }
  CHECK(files == 8);
  codes[2] = folder / "whole/weights.safetensors";
  CHECK(contains(run(folder, codes).err, "expected a checkpoint, which has the quantiser"));
}
