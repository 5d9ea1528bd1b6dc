// SPDX-License-Identifier: MIT
// The example programs on speech as their users meet them: processes, exit statuses, signals, errors.
#include <doctest/doctest.h>

#include <cstdint>
#include <filesystem>
#include <string>

#include <data2vec/io/json.hpp>
#include <data2vec/io/npy.hpp>

#include "tests/examples/small_recordings.hpp"

namespace {

using namespace data2vec;
using namespace processes;

struct Scratch : SmallRecordings {
  Scratch() : SmallRecordings("speech_programs") {}
};

Ended pretrain(const Scratch& folder, const std::string& out, Strings more, const std::string& until = "") {
  Strings command{"speech/pretrain", "--data", folder / "data", "--out", folder / out};
  command.insert(command.end(), more.begin(), more.end());
  return run(folder, command, until);
}

Ended expect(const Scratch& folder, int status, const Strings& command, const Strings& parts = {}) {
  const Ended ended = run(folder, command);
  INFO(command[0], ": ", ended.err);
  CHECK(ended.status == status);
  for (const std::string& part : parts) {
    INFO("expected: ", part);
    CHECK(contains(status == 0 ? ended.out : ended.err, part));
  }
  return ended;
}

}  // namespace

TEST_CASE("speech programs: pre-trained, resumed to the byte, probed, its features written") {
  const Scratch folder;
  const Ended whole = pretrain(folder, "whole", {"--updates", "30"});
  INFO(whole.err);
  REQUIRE(whole.status == 0);
  CHECK(contains(whole.out, "32 recordings"));
  CHECK(pretrain(folder, "cut", {"--updates", "30"}, "update 1/30").status == 143);
  REQUIRE(pretrain(folder, "cut", {"--resume", "--threads", "1"}).status == 0);
  for (const char* name : {"weights.safetensors", "checkpoint.safetensors"})
    CHECK(text_of(folder / (std::string("cut/") + name)) == text_of(folder / (std::string("whole/") + name)));
  const std::string weights = folder / "whole/weights.safetensors";

  expect(folder, 0,
         {"speech/probe", "--weights", weights, "--data", folder / "data", "--json", folder / "probe.json"},
         {"log-mel", "encoder, random weights", "encoder, pre-trained", "2 classes"});
  const Json probe = Json::parse(text_of(folder / "probe.json"));
  CHECK(probe["results"].size() == 3);
  CHECK(probe["results"][2]["features"] == "encoder, pre-trained");
  CHECK(probe["confusion"].size() == 2);

  write(folder / "long/a.wav", wav(30'000, 500, 77));
  write(folder / "long/b.wav", wav(900, 500, 78));
  const Strings features{"speech/extract_features", "--weights", weights, "--data", folder / "long", "--test",
                         folder / "data/test", "--part", "train"};
  Strings frames = features, pooled = features;
  frames.insert(frames.end(), {"--out", folder / "frames", "--margin", "3"});
  pooled.insert(pooled.end(), {"--out", folder / "pooled.npy", "--segments", "3"});
  expect(folder, 0, frames, {"of 2 recordings"});
  expect(folder, 0, pooled, {"features (2, 48)"});
  CHECK(read_npy<float>(folder / "frames/a.npy").shape == std::vector<std::int64_t>{(30'000 - 240) / 160 + 1, 16});
  CHECK(read_npy<float>(folder / "frames/b.npy").shape == std::vector<std::int64_t>{5, 16});
  CHECK(read_npy<float>(folder / "pooled.npy").shape == std::vector<std::int64_t>{2, 48});
}

TEST_CASE("speech programs: fine-tuned to letters beside training from scratch; the demo writes its report") {
  const Scratch folder;
  REQUIRE(pretrain(folder, "run", {"--updates", "2"}).status == 0);
  const Strings tune{"speech/finetune", "--weights", folder / "run/weights.safetensors", "--from-scratch", "--data",
                     folder / "data", "--out", folder / "tuned", "--seeds", "1", "--updates", "3", "--freeze", "1"};
  expect(folder, 0, tune, {"32 transcribed utterances", "4 letters", "pre-trained, seed 1: letters", "from scratch"});
  const Json results = Json::parse(text_of(folder / "tuned/results.json"));
  CHECK(results["runs"].size() == 2);
  CHECK(results["runs"][0]["utterances"] == 8);
  CHECK(results["runs"][0]["tuning-lr"] == 1e-3);  // what each start took where none was given
  CHECK(results["runs"][0]["freeze"] == 1);
  CHECK(results["runs"][1]["tuning-lr"] == 2e-3);
  CHECK(results["runs"][1]["freeze"] == 0);
  CHECK(fs::exists(folder / "tuned/recogniser-seed1.safetensors"));
  CHECK(contains(text_of(folder / "tuned/dict.ltr.txt"), "| 32"));
  expect(folder, 1, tune, {"expected a folder without results"});
  Strings again = tune;
  again.push_back("--resume");
  expect(folder, 0, again);
  again.insert(again.end(), {"--lr", "0.5"});
  expect(folder, 2, again, {"--resume: expected the options"});

  expect(folder, 0,
         {"speech/demo", "--data", folder / "data", "--out", folder / "demo", "--updates", "3", "--seeds", "2",
          "--tuning-updates", "2"},
         {"encoder, pre-trained", "ten utterances by heart", "letters, from scratch, seed 2",
          "letters, pre-trained, 2 seeds", "report.html"});
  const Json report = Json::parse(text_of(folder / "demo/report.json"));
  CHECK(report["accuracy"].size() == 6);
  CHECK(report["curve"].size() == 3);
  CHECK(report["sections"].size() == 2);
  const Json& rows = report["sections"][0]["rows"];
  REQUIRE(rows.size() == 7);  // two seeds and their mean for each start, and the ten utterances
  CHECK(rows[5][0] == "from scratch");
  CHECK(rows[5][1] == "mean of 2");
  CHECK(contains(rows[5][2].get<std::string>(), " \xC2\xB1 "));
  CHECK(contains(report["sections"][0]["text"].get<std::string>(), "REF:"));
  CHECK(contains(text_of(folder / "demo/report.html"), "data:image/png"));
}

TEST_CASE("speech programs: what is wrong is named, with the exit status that fits") {
  const Scratch folder;
  CHECK(contains(expect(folder, 0, {"speech/pretrain", "--help"}).out, "--resume"));
  expect(folder, 2, {"speech/pretrain", "--no-such-flag"}, {"--no-such-flag"});
  expect(folder, 3, {"speech/pretrain", "--data", folder / "nowhere"}, {"nowhere", "asterisk-core-sounds-en-wav"});
  const auto train = [&](const std::string& data, Strings more = {}) {
    Strings command{"speech/pretrain", "--data", data, "--out", folder / "x", "--updates", "1"};
    command.insert(command.end(), more.begin(), more.end());
    return command;
  };
  expect(folder, 2, train(folder / "data", {"--batch", "3"}), {"--batch: expected a multiple of"});
  write(folder / "data/train/low/bad.wav", "no sound at all");
  expect(folder, 1, train(folder / "data"), {"bad.wav"});
  expect(folder, 0, train(folder / "data", {"--max-broken", "0.1"}), {"32 recordings"});
  const std::string weights = folder / "x/weights.safetensors";
  fs::remove(folder / "data/train/low/bad.wav");

  rewrite(weights, folder / "other.safetensors", [](auto&, auto& metadata) { metadata["sample_rate"] = "16000"; });
  expect(folder, 1, {"speech/probe", "--weights", folder / "other.safetensors", "--data", folder / "data"},
         {"expected an encoder for 8000 Hz", "found 16000"});
  expect(folder, 2, {"speech/finetune", "--data", folder / "data"}, {"expected --weights FILE, --from-scratch"});
  const auto tune = [&](Strings more = {}) {
    Strings command{"speech/finetune", "--from-scratch", "--data", folder / "data", "--out", folder / "t", "--updates",
                    "1"};
    command.insert(command.end(), more.begin(), more.end());
    return command;
  };
  write(folder / "few.txt", "| 1\no 1\nh 1\n");
  expect(folder, 1, tune({"--letters", folder / "few.txt"}), {"expected letters of the dictionary, found 'e'"});
  write(folder / "data/train/low/100.txt", "oh oh oh oh oh oh");
  expect(folder, 1, tune(), {"100.wav: transcript of 18 letters: expected 18 frames or more, found 9"});
  write(folder / "data/train/low/100.txt", "...");
  expect(folder, 1, tune(), {"100.txt", "an empty transcript"});
}
