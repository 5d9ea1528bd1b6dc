// SPDX-License-Identifier: MIT
// The example programs on text as their users meet them: processes, exit statuses, signals, errors.
#include <doctest/doctest.h>

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include <data2vec/io/json.hpp>
#include <data2vec/io/npy.hpp>
#include <data2vec/io/safetensors.hpp>

#include "tests/examples/small_texts.hpp"

namespace {

using namespace data2vec;
using namespace processes;

struct Scratch : SmallTexts {
  Scratch() : SmallTexts("text_programs") {}
};

Ended pretrain(const Scratch& folder, const std::string& out, Strings more, const std::string& until = "") {
  Strings command{"text/pretrain", "--data", folder / "corpus", "--out", folder / out};
  command.insert(command.end(), more.begin(), more.end());
  return run(folder, command, until);
}

void expect(const Scratch& folder, int status, const Strings& command, const Strings& parts) {
  const Ended ended = run(folder, command);
  INFO(command[0], ": ", ended.err);
  CHECK(ended.status == status);
  for (const std::string& part : parts) {
    INFO("expected: ", part);
    CHECK(contains(ended.err, part));
  }
}

}  // namespace

TEST_CASE("text programs: a signal saves, and what is resumed ends with the same bytes") {
  const Scratch folder;
  const Ended whole = pretrain(folder, "whole", {"--updates", "30"});
  INFO(whole.err);
  REQUIRE(whole.status == 0);
  CHECK(contains(whole.out, "of 121 documents"));
  CHECK(contains(whole.out, "million parameters"));
  for (const char* file : {"vocab/vocab.bpe", "vocab/encoder.json", "vocab/dict.txt", "tokens/index.tok"})
    CHECK(fs::exists(folder / (std::string("whole/") + file)));
  const Ended stopped = pretrain(folder, "cut", {"--updates", "30"}, "update 1/30");
  CHECK(stopped.status == 143);
  const long before = lines(text_of(folder / "cut/log.jsonl"));
  CHECK(before < 30);
  const Ended resumed = pretrain(folder, "cut", {"--resume", "--threads", "1"});
  INFO(resumed.err);
  REQUIRE(resumed.status == 0);
  CHECK(contains(resumed.out, "going on behind update " + std::to_string(before)));
  for (const char* name : {"weights.safetensors", "checkpoint.safetensors", "vocab/vocab.bpe"})
    CHECK(text_of(folder / (std::string("cut/") + name)) == text_of(folder / (std::string("whole/") + name)));
  const Ended other = pretrain(folder, "cut", {"--resume", "--blocks", "across"});
  CHECK(other.status == 2);
  CHECK(contains(other.err, "--blocks: expected \"sentences\""));
  write(folder / "corpus/c.txt", "a third file, which the training did not see from the beginning\n");
  const Ended grown = pretrain(folder, "cut", {"--resume"});
  CHECK(grown.status == 1);
  CHECK(contains(grown.err, "with which this training began"));
}

TEST_CASE("text programs: a vocabulary that is given is used, one that does not fit is refused") {
  const Scratch folder;
  REQUIRE(pretrain(folder, "first", {"--updates", "1"}).status == 0);
  const Ended given = pretrain(folder, "second", {"--updates", "1", "--vocab", folder / "first/vocab"});
  INFO(given.err);
  CHECK(given.status == 0);
  CHECK(text_of(folder / "second/weights.safetensors") == text_of(folder / "first/weights.safetensors"));
  const Strings command{"text/pretrain", "--data",  folder / "corpus", "--out", folder / "x",
                        "--updates",     "1",       "--vocab",         folder / "broken"};
  const std::string dictionary = text_of(folder / "first/vocab/dict.txt");
  fs::copy(folder / "first/vocab", folder / "broken");
  write(folder / "broken/dict.txt", dictionary + "madeupword9999 0\n");
  expect(folder, 1, command, {folder / "broken", "expected 300 tokens, the model's, found 301"});
  write(folder / "broken/dict.txt", dictionary);
  write(folder / "broken/vocab.bpe", "#version: 0.2\nto wn\n");
  expect(folder, 1, command, {"vocab.bpe:2: merges out of order", "found 'to'"});
}

TEST_CASE("text programs: features, probe, fine-tuned for classes") {
  const Scratch folder;
  REQUIRE(pretrain(folder, "run", {"--updates", "5"}).status == 0);
  const std::string weights = folder / "run/weights.safetensors", checkpoint = folder / "run/checkpoint.safetensors";
  const auto features = [&](const std::string& from, const std::string& out, Strings more) {
    Strings command{"text/extract_features",  "--weights", from,        "--data",
                    folder / "corpus/a.txt", "--out",     folder / out};
    command.insert(command.end(), more.begin(), more.end());
    const Ended ended = run(folder, command);
    INFO(ended.err);
    CHECK(ended.status == 0);
  };
  features(weights, "f.npy", {});
  const auto all = read_npy<float>(folder / "f.npy");
  CHECK(all.shape == std::vector<std::int64_t>{120, 64});
  features(checkpoint, "c.npy", {"--threads", "1"});  // the same student, another number of threads
  CHECK(read_npy<float>(folder / "c.npy").values == all.values);
  features(checkpoint, "t.npy", {"--teacher"});
  CHECK(read_npy<float>(folder / "t.npy").values != all.values);
  features(weights, "f.safetensors", {"--pool", "none", "--layer", "1"});
  const auto file = SafetensorsFile::open(folder / "f.safetensors");
  CHECK(file.at("features").shape == std::vector<std::int64_t>{120, 16, 64});
  CHECK(file.at("tokens").shape == std::vector<std::int64_t>{120, 16});

  const std::string data = folder / "labelled";
  const Ended probed =
      run(folder, {"text/probe", "--weights", weights, "--data", data, "--json", folder / "probe.json"});
  INFO(probed.err);
  REQUIRE(probed.status == 0);
  CHECK(contains(probed.out, "90 labelled training samples and 15 that are judged"));
  CHECK(contains(probed.out, "random weights"));
  const Json report = parse_json(text_of(folder / "probe.json"), "probe.json");
  CHECK(report["tfidf"] == 1.0);  // a word says the class
  CHECK(report["results"].size() == 2);

  const auto finetune = [&](const std::string& out, Strings more, const std::string& until = "") {
    Strings command{"text/finetune", "--weights", weights, "--data", data, "--labels", "40", "--epochs", "3",
                    "--batch", "8", "--out", folder / out};
    command.insert(command.end(), more.begin(), more.end());
    return run(folder, command, until);
  };
  const Ended tuned = finetune("tuned", {"--from-scratch"});
  INFO(tuned.err);
  REQUIRE(tuned.status == 0);
  CHECK(contains(tuned.out, "40 labelled training samples and 15 that are judged"));
  CHECK(contains(tuned.out, "15 updates of 8 samples"));
  const Json results = parse_json(text_of(folder / "tuned/results.json"), "results.json");
  REQUIRE(results["runs"].size() == 2);
  CHECK(results["runs"][0]["start"] == "pre-trained");
  CHECK(results["runs"][0].contains("matthews"));
  CHECK(results["classes"] == Json({"north", "river", "south"}));  // in the order of their bytes
  CHECK(fs::exists(folder / "tuned/classifier-seed1.safetensors"));
  CHECK(finetune("cut", {"--from-scratch"}, "update 1/15").status == 143);
  CHECK(finetune("cut", {"--from-scratch", "--resume"}).status == 0);
  CHECK(text_of(folder / "cut/from-scratch-seed1.safetensors") ==
        text_of(folder / "tuned/from-scratch-seed1.safetensors"));
  CHECK(run(folder, {"text/inspect", "--weights", weights, "--data", data, "--labelled"}).out == "300 16 3\n");
}

TEST_CASE("text programs: the demo judges, fine-tunes with few labels and reports, and resumed says the same") {
  const Scratch folder;
  const auto demo = [&](Strings more) {
    Strings command{"text/demo", "--data", folder / "labelled", "--out", folder / "demo"};
    command.insert(command.end(), more.begin(), more.end());
    return run(folder, command);
  };
  const Ended ended = demo({"--updates", "3", "--batch", "16", "--seeds", "2", "--tuning-updates", "3"});
  INFO(ended.err);
  REQUIRE(ended.status == 0);
  for (const char* part : {"90 training texts and 15 that are judged", "6 labels, TF-IDF, seed 1",
                           "9 labels, pre-trained, seed 2", "9 labels, from scratch, seed 2", "report.html"}) {
    INFO(part);
    CHECK(contains(ended.out, part));
  }
  const std::string text = text_of(folder / "demo/report.json");
  const Json report = parse_json(text, "report.json");
  CHECK(report["curve"].size() == 3);
  CHECK(report["accuracy"].size() == 4);
  CHECK(report["few_labels"]["rows"].size() == 2);
  CHECK(report["few_labels"]["rows"][0]["labels"] == 6);
  REQUIRE(report["sections"].size() == 2);
  CHECK(contains(report["sections"][0]["text"].get<std::string>(), "%]"));  // a hidden token and what was predicted
  CHECK(report["sections"][1]["rows"].size() == 3 * 2 * 5);                  // a query of each label, two encoders
  CHECK(contains(text_of(folder / "demo/report.html"), "Hidden tokens"));
  CHECK(demo({"--updates", "3"}).status == 1);
  const Ended again = demo({"--resume"});
  CHECK(again.status == 0);
  CHECK(parse_json(text_of(folder / "demo/report.json"), "report.json")["few_labels"] == report["few_labels"]);
}

TEST_CASE("text programs: what is wrong with labels and vocabularies is named") {
  const Scratch folder;
  REQUIRE(pretrain(folder, "run", {"--updates", "1"}).status == 0);
  std::string text;
  for (int i = 0; i < 60; ++i) text += "many another word in line " + std::to_string(i) + "\n";
  write(folder / "words/a.txt", text);
  REQUIRE(run(folder, {"text/pretrain", "--data", folder / "words", "--out", folder / "other", "--updates", "1"})
              .status == 0);
  const std::string weights = folder / "run/weights.safetensors";
  const auto tune = [&](const std::string& data, Strings more = {}) {
    Strings command{"text/finetune", "--weights", weights, "--data", folder / data, "--out", folder / "x", "--updates",
                    "1"};
    command.insert(command.end(), more.begin(), more.end());
    return command;
  };
  expect(folder, 2, {"text/finetune", "--data", folder / "labelled"},
         {"expected --weights FILE, --from-scratch, or both"});
  expect(folder, 2, tune("labelled", {"--task", "sst"}), {"--task: expected one of cola, mnli", "found 'sst'"});
  expect(folder, 1, tune("labelled", {"--vocab", folder / "other/vocab"}), {"expected the vocabulary", "was trained"});
  expect(folder, 1, tune("labelled", {"--text", "text"}),
         {"train.tsv:1: column: expected 'text', found sentence, label"});
  expect(folder, 1, tune("labelled", {"--regression"}), {"train.tsv:2: label: expected a finite number", "'north'"});
  fs::copy(folder / "labelled", folder / "strange");
  write(folder / "strange/dev.tsv", "sentence\tlabel\na road\tnorth\nanother\twest\n");
  expect(folder, 1, tune("strange"),
         {"dev.tsv:3: label: expected one of the training set (north, river, south)", "'west'"});
  fs::copy(folder / "labelled", folder / "more");
  write(folder / "more/train.tsv", "sentence\tlabel\na\t1\nb\t2\nc\t3\nd\t4\n");
  write(folder / "more/dev.tsv", "sentence\tlabel\na\t1\n");
  write(folder / "more/test.tsv", "sentence\tlabel\na\t1\n");
  expect(folder, 1, tune("more"), {"expected 3 labels, for which this program was compiled, found 4"});
  fs::copy(folder / "labelled", folder / "empty");
  write(folder / "empty/train.tsv", "");
  expect(folder, 1, tune("empty"), {"empty/train.tsv", "expected rows, found none"});
  fs::create_directories(folder / "none");
  expect(folder, 1, tune("none"), {"none: expected train.tsv, train.csv or train.jsonl"});
  expect(folder, 2, {"text/extract_features", "--weights", weights, "--data", folder / "corpus/a.txt", "--out",
                     folder / "x.txt"}, {".npy"});
}

TEST_CASE("text programs: what is wrong is named, with the exit status that fits") {
  const Scratch folder;
  const Ended help = run(folder, {"text/pretrain", "--help"});
  CHECK(help.status == 0);
  CHECK(contains(help.out, "--resume"));
  expect(folder, 2, {"text/pretrain", "--no-such-flag"}, {"--no-such-flag"});
  expect(folder, 3, {"text/pretrain", "--data", folder / "nowhere"},
         {folder / "nowhere", "apt-get install wordnet-base"});
  const auto train = [&](const std::string& data, Strings more = {}) {
    Strings command{"text/pretrain", "--data", data, "--out", folder / "x", "--updates", "1"};
    command.insert(command.end(), more.begin(), more.end());
    return command;
  };
  expect(folder, 1, train(folder / "corpus", {"--batch", "4096"}), {"--batch: expected at most", "found 4096"});
  fs::create_directories(folder / "none");
  expect(folder, 1, train(folder / "none"), {"none: expected *.txt in this folder, found none"});
  write(folder / "empty/a.txt", "");
  expect(folder, 1, train(folder / "empty"), {"empty/a.txt", "expected text, found none"});
  write(folder / "bytes/a.txt", "good \xff bad\n");
  expect(folder, 1, train(folder / "bytes"), {"bytes/a.txt", "offset 5"});
  write(folder / "wordnet/data.noun", "  1 licence\n00001740 99 n | label 99\n");
  expect(folder, 1, train(folder / "wordnet"), {"data.noun:2", "expected \"offset file"});
}
