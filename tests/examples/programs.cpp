// SPDX-License-Identifier: MIT
// The example programs as their users meet them: processes, exit statuses, signals, and what they say of what is wrong.
#include <doctest/doctest.h>

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include <data2vec/core/random.hpp>
#include <data2vec/io/json.hpp>
#include <data2vec/io/npy.hpp>
#include <data2vec/io/safetensors.hpp>

#include "tests/examples/small_images.hpp"

namespace {

using namespace data2vec;
using processes::contains;
using processes::Ended;
using processes::lines;
using processes::rewrite;
using processes::Strings;
using processes::text_of;
using processes::write;
namespace fs = std::filesystem;
using Scratch = processes::SmallImages;

Ended run(const Scratch& folder, Strings command, const std::string& until = "", int signal = SIGTERM) {
  command[0] = "vision/" + command[0];
  return processes::run(folder, command, until, signal);
}

Ended pretrain(const Scratch& folder, const std::string& out, Strings more, const std::string& until = "") {
  Strings command{"pretrain", "--data", folder / "data", "--out", folder / out};
  command.insert(command.end(), more.begin(), more.end());
  return run(folder, command, until);
}

}  // namespace

TEST_CASE("programs: pre-trained, features, probe, fine-tuned") {
  const Scratch folder;
  const Ended trained = pretrain(folder, "run", {"--updates", "5"});
  INFO(trained.err);
  REQUIRE(trained.status == 0);
  CHECK(contains(trained.out, "million parameters"));
  CHECK(contains(trained.out, "GFLOP"));
  CHECK(contains(trained.out, "update 5/5"));
  CHECK(lines(text_of(folder / "run/log.jsonl")) == 5);
  const std::string weights = folder / "run/weights.safetensors", checkpoint = folder / "run/checkpoint.safetensors";

  const auto features = [&](const std::string& from, const std::string& out, Strings more) {
    Strings command{"extract_features", "--weights", from, "--data", folder / "data", "--out", folder / out};
    command.insert(command.end(), more.begin(), more.end());
    const Ended ended = run(folder, command);
    INFO(ended.err);
    CHECK(ended.status == 0);
  };
  features(weights, "f.npy", {});
  const auto all = read_npy<float>(folder / "f.npy");
  CHECK(all.shape == std::vector<std::int64_t>{126, 128});
  features(checkpoint, "c.npy", {"--threads", "1"});  // the same student, another number of threads
  CHECK(read_npy<float>(folder / "c.npy").values == all.values);
  features(checkpoint, "t.npy", {"--teacher"});
  CHECK(read_npy<float>(folder / "t.npy").values != all.values);
  features(weights, "f.safetensors", {"--part", "test", "--pool", "none", "--layer", "1"});
  const auto file = SafetensorsFile::open(folder / "f.safetensors");
  CHECK(file.at("features").shape == std::vector<std::int64_t>{30, 17, 128});
  const auto labels = file.at("labels").copy<std::int32_t>();
  REQUIRE(labels.size() == 30);
  for (std::size_t i = 0; i < labels.size(); ++i) CHECK(labels[i] == static_cast<int>(i % 3));

  const Ended probed = run(folder, {"probe", "--weights", weights, "--data", folder / "data", "--labels", "60",
                                    "--json", folder / "probe.json"});
  INFO(probed.err);
  REQUIRE(probed.status == 0);
  CHECK(contains(probed.out, "raw pixels"));
  CHECK(contains(probed.out, "random weights"));
  CHECK(contains(probed.out, "precision"));
  const Json report = parse_json(text_of(folder / "probe.json"), "probe.json");
  CHECK(report["labels"] == 60);
  CHECK(report["results"].size() == 3);
  CHECK(report["results"][0]["probe"]["accuracy"].get<double>() > 0.9);  // ramps are linearly separable
  CHECK(report["encoder"]["probe"]["confusion"].size() == 3);

  const Ended tuned = run(folder, {"finetune", "--weights", weights, "--from-scratch", "--data", folder / "data",
                                   "--labels", "20", "--epochs", "2", "--batch", "8", "--mixup", "0.8", "--cutmix", "1",
                                   "--label-smoothing", "0.1", "--out", folder / "tuned"});
  INFO(tuned.err);
  REQUIRE(tuned.status == 0);
  CHECK(contains(tuned.out, "20 labelled training images and 30 test images"));
  CHECK(contains(tuned.out, "6 updates"));  // the partial batch of each epoch counts
  const Json results = parse_json(text_of(folder / "tuned/results.json"), "results.json");
  REQUIRE(results["runs"].size() == 2);
  CHECK(results["runs"][0]["start"] == "pre-trained");
  CHECK(fs::exists(folder / "tuned/classifier-seed1.safetensors"));
  CHECK(run(folder, {"inspect", folder / "data"}).out == "8 8 1 3\n");
}

TEST_CASE("programs: a signal saves, and what is resumed ends with the same bytes") {
  const Scratch folder;
  REQUIRE(pretrain(folder, "whole", {"--updates", "40"}).status == 0);
  const Ended stopped = pretrain(folder, "cut", {"--updates", "40"}, "update 1/40");
  CHECK(stopped.status == 143);
  CHECK(contains(stopped.out, "--resume goes on"));
  const long before = lines(text_of(folder / "cut/log.jsonl"));
  CHECK(before >= 1);
  CHECK(before < 40);
  const Ended refused = pretrain(folder, "cut", {"--updates", "40"});
  CHECK(refused.status == 1);
  CHECK(contains(refused.err, "found one: --resume goes on from it"));
  const Ended other = pretrain(folder, "cut", {"--resume", "--lr", "0.5"});
  CHECK(other.status == 2);
  CHECK(contains(other.err, "--lr: expected 0.003"));
  const Ended resumed = pretrain(folder, "cut", {"--resume", "--threads", "1"});
  INFO(resumed.err);
  REQUIRE(resumed.status == 0);
  CHECK(contains(resumed.out, "going on behind update " + std::to_string(before)));
  CHECK(lines(text_of(folder / "cut/log.jsonl")) == 40);
  for (const char* name : {"weights.safetensors", "checkpoint.safetensors"})
    CHECK(text_of(folder / (std::string("cut/") + name)) == text_of(folder / (std::string("whole/") + name)));
}

TEST_CASE("programs: on a device as on the CPU, with the encoder on its way; stopped and resumed too") {
  const Scratch folder;
  REQUIRE(pretrain(folder, "cpu", {"--updates", "40", "--batch", "8"}).status == 0);
  const Ended whole = pretrain(folder, "whole", {"--updates", "40", "--device", "cuda", "--encoders", "4"});
  INFO(whole.err);
  REQUIRE(whole.status == 0);
  CHECK(text_of(folder / "whole/weights.safetensors") == text_of(folder / "cpu/weights.safetensors"));
  CHECK(lines(text_of(folder / "whole/log.jsonl")) == 40);
  for (const char* update : {"10", "20", "30", "40"}) {
    CAPTURE(update);
    const auto file = SafetensorsFile::open(folder / ("whole/encoder-000000" + std::string(update) + ".safetensors"));
    CHECK(file.metadata().at("updates") == update);
  }
  const Ended stopped = pretrain(folder, "cut", {"--updates", "40", "--device", "cuda"}, "update 1/40");
  CHECK(stopped.status == 143);
  const Ended resumed = pretrain(folder, "cut", {"--resume", "--device", "cuda"});
  INFO(resumed.err);
  REQUIRE(resumed.status == 0);
  CHECK(lines(text_of(folder / "cut/log.jsonl")) == 40);
  CHECK(text_of(folder / "cut/weights.safetensors") == text_of(folder / "cpu/weights.safetensors"));
  const Ended other = pretrain(folder, "other", {"--updates", "1", "--device", "cuda", "--batch", "12"});
  CHECK(other.status == 2);
  CHECK(contains(other.err, "--batch: this program was compiled for 8, found 12"));
}

TEST_CASE("programs: --minutes fixes the number of updates, --updates repeats the run") {
  const Scratch folder;
  const Ended timed = pretrain(folder, "timed", {"--minutes", "0.01"});
  INFO(timed.err);
  REQUIRE(timed.status == 0);
  const std::string mark = "--updates ";
  REQUIRE(contains(timed.out, mark));
  const std::string count = std::to_string(std::stol(timed.out.substr(timed.out.find(mark) + mark.size())));
  CHECK(std::to_string(lines(text_of(folder / "timed/log.jsonl"))) == count);
  REQUIRE(pretrain(folder, "again", {"--updates", count}).status == 0);
  CHECK(text_of(folder / "timed/weights.safetensors") == text_of(folder / "again/weights.safetensors"));
}

TEST_CASE("programs: fine-tuning goes on behind its complete runs") {
  const Scratch folder;
  const auto tune = [&](const std::string& out, Strings more, const std::string& until = "") {
    Strings command{"finetune", "--from-scratch", "--data", folder / "data", "--labels", "30", "--epochs", "10",
                    "--seeds", "2", "--out", folder / out};
    command.insert(command.end(), more.begin(), more.end());
    return run(folder, command, until);
  };
  REQUIRE(tune("whole", {}).status == 0);
  const Ended stopped = tune("cut", {}, "from scratch, seed 2:");
  CHECK(stopped.status == 143);
  CHECK(contains(stopped.out, "1 complete runs are saved"));
  CHECK(tune("cut", {}).status == 1);
  CHECK(tune("cut", {"--resume", "--lr", "0.1"}).status == 2);
  REQUIRE(tune("cut", {"--resume"}).status == 0);
  Json a = parse_json(text_of(folder / "whole/results.json"), "whole");
  Json b = parse_json(text_of(folder / "cut/results.json"), "cut");
  for (Json* json : {&a, &b})
    for (Json& r : (*json)["runs"]) r.erase("classifier");  // a path
  CHECK(a == b);
  const std::string classifier = "/from-scratch-seed2.safetensors";
  CHECK(text_of(folder / ("whole" + classifier)) == text_of(folder / ("cut" + classifier)));
}

TEST_CASE("programs: the demo judges, tunes and reports; stopped between its parts it goes on to the same results") {
  const Scratch folder;
  const auto demo = [&](const std::string& out, Strings more, const std::string& until = "") {
    Strings command{"demo", "--data", folder / "data", "--out", folder / out};
    command.insert(command.end(), more.begin(), more.end());
    return run(folder, command, until);
  };
  const Strings options{"--updates", "20", "--seeds", "2", "--tuning-updates", "5"};
  const Ended whole = demo("whole", options);
  INFO(whole.err);
  REQUIRE(whole.status == 0);
  const std::string page = text_of(folder / "whole/report.html");
  for (const char* part : {"How good the features are", "With few labels", "Learning curves", "What the student sees",
                           "Nearest neighbours", "What is taken for what", "The run", "</html>"})
    CHECK_MESSAGE(contains(page, part), part);
  Json a = parse_json(text_of(folder / "whole/report.json"), "whole");
  CHECK(a["accuracy"].size() == 6);  // neighbours and probe of pixels, of random weights, of the pre-trained encoder
  CHECK(a["few_labels"]["rows"].size() == 2);
  CHECK(a["curve"].size() == 20);
  CHECK(a["confusion"]["counts"].size() == 3);

  const Ended stopped = demo("cut", options, "encoder, random weights");
  CHECK(stopped.status == 143);
  CHECK(contains(stopped.out, "--resume goes on"));
  CHECK_FALSE(fs::exists(folder / "cut/report.json"));
  REQUIRE(demo("cut", {"--resume"}).status == 0);
  Json b = parse_json(text_of(folder / "cut/report.json"), "cut");
  for (const char* key : {"accuracy", "few_labels", "confusion", "neighbours"}) CHECK_MESSAGE(a[key] == b[key], key);
}

TEST_CASE("programs: what is wrong is said, with its exit status") {
  const Scratch folder;
  REQUIRE(pretrain(folder, "run", {"--updates", "2"}).status == 0);
  const std::string weights = folder / "run/weights.safetensors", checkpoint = folder / "run/checkpoint.safetensors";
  const auto expect = [&](int status, const Strings& command, const Strings& parts) {
    const Ended ended = run(folder, command);
    INFO(command[0], ": ", ended.err);
    CHECK(ended.status == status);
    for (const std::string& part : parts) {
      INFO("expected: ", part);
      CHECK(contains(ended.err, part));
    }
  };
  for (Strings command : {Strings{"pretrain"}, Strings{"extract_features", "--weights", weights, "--out", "x.npy"},
                          Strings{"probe", "--weights", weights}, Strings{"finetune"}, Strings{"inspect", "x"}}) {
    const Ended help = run(folder, {command[0], "--help"});
    CHECK(help.status == 0);
    CHECK(contains(help.out, "Usage:"));
    CHECK(contains(help.out, "--resume") == (command[0] == "pretrain" || command[0] == "finetune"));
    command.push_back("--no-such-flag");
    expect(2, command, {"--no-such-flag"});
  }
  expect(2, {"probe", "--data", folder / "data"}, {"--weights is required"});
  expect(2, {"pretrain", "--data", folder / "data", "--out", folder / "x", "--batch", "33", "--updates", "1"},
         {"--batch: expected a multiple of", "found 33"});
  expect(1, {"pretrain", "--data", folder / "data", "--out", folder / "x", "--batch", "128", "--updates", "1"},
         {"--batch: expected at most", "96", "found 128"});
  expect(3, {"pretrain", "--data", folder / "nowhere"}, {folder / "nowhere", "apt-get install dataset-fashion-mnist"});
  expect(1, {"pretrain", "--data", folder / "data", "--out", "/proc/d2v", "--updates", "1"}, {"/proc/d2v"});
  expect(1, {"extract_features", "--weights", weights, "--data", folder / "data", "--out", "/proc/d2v.npy"},
         {"/proc/d2v.npy"});
  expect(2, {"extract_features", "--weights", weights, "--data", folder / "data", "--out", folder / "x.txt"}, {".npy"});
  expect(1, {"probe", "--weights", folder / "none", "--data", folder / "data"}, {folder / "none", "found none"});

  const std::string images = folder / "data/train-images-idx3-ubyte", labels = folder / "data/train-labels-idx1-ubyte";
  const std::string good = text_of(images), good_labels = text_of(labels);
  const Strings train{"pretrain", "--data", folder / "data", "--out", folder / "x", "--updates", "1"};
  write(images, good.substr(0, good.size() - 7));
  expect(1, train, {images, "truncated at offset " + std::to_string(good.size() - 7)});
  write(images, "????" + good.substr(4));
  expect(1, train, {images, "magic number at offset 0: expected 0x00000803"});
  write(images, good);
  fs::remove(labels);
  expect(1, train, {"train-labels-idx1-ubyte", "found neither"});
  write(labels, good_labels.substr(0, 7) + static_cast<char>(95) + good_labels.substr(8, 95));
  expect(1, train, {labels, "expected 96", "found 95"});
  write(labels, good_labels);

  rewrite(checkpoint, folder / "run/other.safetensors", [](auto&, auto& metadata) {
    std::string& text = metadata["configuration"];
    const std::string depth = "\"depth\":4";
    REQUIRE(contains(text, depth));
    text.replace(text.find(depth), depth.size(), "\"depth\":5");
  });
  expect(1, {"probe", "--weights", folder / "run/other.safetensors", "--data", folder / "data"},
         {"other.safetensors: of another configuration", "model.depth: expected 4, found 5"});
  fs::create_directories(folder / "moved");
  fs::copy_file(folder / "run/other.safetensors", folder / "moved/checkpoint.safetensors");
  expect(1, {"pretrain", "--data", folder / "data", "--out", folder / "moved", "--resume"},
         {"model.depth: expected 4, found 5"});
  rewrite(weights, folder / "nan.safetensors", [](auto& data, auto&) {
    for (std::size_t i = 0; i < 4; ++i) data[0][i] = std::byte{0xff};  // a NaN
  });
  const Strings broken{"--weights", folder / "nan.safetensors", "--data", folder / "data"};
  for (Strings command : {Strings{"probe"}, Strings{"finetune", "--out", folder / "x"},
                          Strings{"extract_features", "--out", folder / "x.npy"}}) {
    command.insert(command.end(), broken.begin(), broken.end());
    expect(1, command, {"nan.safetensors: tensor '", "expected finite weights", "at element 0"});
  }
  CHECK(!fs::exists(folder / "x.npy"));
}
