// SPDX-License-Identifier: MIT
// The example programs for systems beside data2vec 2.0: the same command lines.
#include <doctest/doctest.h>

#include <string>

#include <data2vec/io/json.hpp>

#include "tests/examples/small_images.hpp"
#include "tests/examples/small_recordings.hpp"

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

}  // namespace

TEST_CASE("text programs for RoBERTa: trained, stopped and resumed to the same bytes, an encoder of its names") {
  const Folder folder("roberta_programs");
  std::string text;
  for (int i = 0; i < 90; ++i)
    text += "line " + std::to_string(i % 7) + (i % 2 == 0 ? " of the first kind\n" : " of another kind\n");
  write(folder / "corpus/a.txt", text);
  CHECK(contains(stop_and_resume(folder, "text-roberta/pretrain", folder / "corpus").out, "accuracy"));
  const auto weights = SafetensorsFile::open(folder / "whole/weights.safetensors");
  CHECK(weights.find("encoder.sentence_encoder.embed_tokens.weight"));
  CHECK_FALSE(weights.find("encoder.lm_head.bias"));
  const std::string log = text_of(folder / "whole/log.jsonl");
  CHECK(Json::parse(log.substr(0, log.find('\n'))).contains("accuracy"));
}

TEST_CASE("vision programs for MAE: trained, stopped and resumed to the same bytes, an encoder of its names") {
  const SmallImages folder("mae_programs");
  stop_and_resume(folder, "vision-mae/pretrain", folder / "data");
  const auto weights = SafetensorsFile::open(folder / "whole/weights.safetensors");
  CHECK(weights.find("pos_embed"));
  CHECK_FALSE(weights.find("decoder_pred.weight"));
}

TEST_CASE("speech programs for wav2vec 2.0: trained, stopped and resumed to the same bytes, an encoder of its names") {
  const Folder folder("wav2vec2_programs");
  for (std::uint32_t i = 0; i < 32; ++i)
    write(folder / ("data/" + std::to_string(100 + i) + ".wav"),
          wav(i / 2 % 2 == 0 ? 1600 : 2400, i % 2 == 0 ? 300 : 1500, i));
  stop_and_resume(folder, "speech-wav2vec2/pretrain", folder / "data");
  const auto weights = SafetensorsFile::open(folder / "whole/weights.safetensors");
  CHECK(weights.find("mask_emb"));
  CHECK_FALSE(weights.find("quantizer.vars"));
}
