// SPDX-License-Identifier: MIT
// Fine-tunes an encoder to write what is said, by CTC over letters, beside training from scratch with the same
// transcripts and budget. Writes letters, recognisers, and error rates with aligned examples; --resume goes on.
#include <cstdio>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include <CLI/CLI.hpp>

#include <data2vec/data/audio.hpp>
#include <data2vec/data2vec.hpp>
#include <data2vec/training/loop.hpp>

#include "examples/common/files.hpp"
#include "examples/common/program.hpp"
#include "examples/speech/data.hpp"
#include "examples/speech/recognition.hpp"

namespace {

namespace d2v = data2vec;
using demo::Tuner;

struct Options {
  demo::DataOptions data;
  demo::RecognitionOptions tuning;
  std::string weights, out = "out/finetune-speech", letters, words;
  int seeds = 3;
  double save_every = 60;
  bool teacher = false, from_scratch = false, resume = false;

  d2v::Json described() const {
    d2v::Json all = tuning.json();
    all.update({{"weights", weights}, {"teacher", teacher}, {"data", data.data}, {"seed", tuning.seed},
                {"batch", tuning.batch}});
    return all;
  }
};

void train(Tuner& tuner, const demo::Utterances& utterances, const Options& o, std::uint64_t seed,
           const std::string& name, const std::string& folder) {
  const bool resume = std::filesystem::exists(folder + "/checkpoint.safetensors");
  demo::UtteranceBatches batches(utterances, o.tuning.batch, seed);
  demo::Progress progress(tuner.updates(), o.tuning.updates, o.tuning.batch, "utterances");
  progress.note(name + ":");
  d2v::run_loop(tuner, {.out = folder, .updates = o.tuning.updates, .resume = resume, .save_every = o.save_every},
                [&] { return batches(static_cast<std::uint64_t>(tuner.updates())); }, demo::interrupted,
                {.step = [&](const d2v::RecogniserReport& r) { progress.show(r.update, r.loss); },
                 .note = [&](const std::string& text) { progress.note(text); }});
}

void run(const Options& o) {
  if (o.weights.empty() && !o.from_scratch)
    throw demo::UsageError("expected --weights FILE, --from-scratch, or both, found neither");
  o.tuning.mask.validate();
  demo::Encoder encoder;
  if (!o.weights.empty()) {
    encoder = demo::read_weights<demo::Model>(o.weights, o.teacher);
    demo::expect_rate(encoder.kept, o.weights);
  }
  const demo::SpeechData data = demo::open_data(o.data);
  demo::describe(data, o.data.data);
  const std::string results = o.out + "/results.json";
  d2v::Json runs = d2v::Json::array();
  if (std::filesystem::exists(results)) {
    if (!o.resume) throw d2v::FileError(results, "expected a folder without results, found some: --resume goes on");
    const d2v::Json kept = demo::read_json(results);
    if (kept.value("options", d2v::Json()) != o.described())
      throw demo::UsageError("--resume: expected the options with which " + results + " began, " +
                             kept.value("options", d2v::Json()).dump() + ", found " + o.described().dump());
    runs = kept.at("runs");
  }
  const d2v::Letters letters = o.letters.empty() ? demo::letters_of(data.train) : d2v::Letters::from_file(o.letters);
  demo::Utterances train_set = demo::load_utterances(data.train);
  const demo::Utterances test_set = demo::load_utterances(data.test);
  demo::encode(train_set, letters);
  std::optional<d2v::WordList> list;
  if (!o.words.empty()) list = d2v::WordList::from_file(letters, o.words);
  if (train_set.size() == 0 || test_set.size() == 0)
    throw d2v::MismatchError(o.data.data + ": expected transcribed recordings for training and to judge, found " +
                             std::to_string(train_set.size()) + " and " + std::to_string(test_set.size()));
  std::printf("%zu transcribed utterances (%s) and %zu that are judged, %d letters; left out: %zu without a "
              "transcript, %zu longer than %g s\n", train_set.size(), demo::clock_text(train_set.seconds()).c_str(),
              test_set.size(), letters.size() - d2v::Letters::first, train_set.without, train_set.too_long,
              static_cast<double>(demo::LengthBuckets::lengths.back()) / demo::sample_rate);
  std::error_code error;
  std::filesystem::create_directories(o.out, error);
  if (error) throw d2v::FileError(o.out, "cannot make this folder: " + error.message());
  const d2v::FolderLock lock(o.out);
  letters.write(o.out + "/dict.ltr.txt");
  const auto keep = [&] { demo::write_json(results, {{"options", o.described()}, {"runs", runs}}); };
  keep();
  const auto done = [&](const std::string& start, std::uint64_t seed) {
    for (const d2v::Json& r : runs)
      if (r.at("start") == start && r.at("seed") == seed) return true;
    return false;
  };
  std::vector<std::string> starts;
  if (!o.weights.empty()) starts.push_back("pre-trained");
  if (o.from_scratch) starts.push_back("from scratch");
  for (std::uint64_t seed = o.tuning.seed; seed < o.tuning.seed + static_cast<std::uint64_t>(o.seeds); ++seed)
    for (const std::string& start : starts) {
      if (done(start, seed)) continue;
      const std::string folder =
          o.out + "/" + (start == "pre-trained" ? "recogniser" : "from-scratch") + "-seed" + std::to_string(seed);
      demo::RecognitionOptions tuning = o.tuning.from(start == "pre-trained");
      tuning.seed = seed;
      Tuner tuner(demo::tuner_options(tuning));
      if (start == "pre-trained") tuner.set_encoder({encoder.weights.data(), encoder.weights.size()});
      const std::string name = start + ", seed " + std::to_string(seed);
      train(tuner, train_set, o, seed, name, folder);
      if (demo::interrupted) {
        std::printf("saved; --resume goes on behind %lld of %lld updates\n", static_cast<long long>(tuner.updates()),
                    static_cast<long long>(o.tuning.updates));
        return;
      }
      const d2v::ErrorRates rates = demo::recognise(tuner, test_set, letters, o.tuning.beam, list ? &*list : nullptr);
      std::printf("%s: letters %.2f %% wrong, words %.2f %% wrong, %lld of %lld utterances without an error\n",
                  name.c_str(), 100 * rates.cer(), 100 * rates.wer(), static_cast<long long>(rates.exact()),
                  static_cast<long long>(rates.utterances()));
      for (std::size_t i = 0; i < std::min<std::size_t>(2, rates.worst().size()); ++i)
        std::printf("%s", d2v::aligned_text(rates.worst()[i].reference, rates.worst()[i].hypothesis).c_str());
      d2v::save_weights<Tuner::Parameters>(folder + ".safetensors", tuner.weights().data(),
                                           {{"sample_rate", std::to_string(demo::sample_rate)}});
      d2v::Json result = demo::json_of(rates);
      result["start"] = start, result["seed"] = seed;
      result["tuning-lr"] = tuning.lr, result["freeze"] = tuning.freeze;
      runs.push_back(result);
      keep();
      std::filesystem::remove(folder + "/checkpoint.safetensors", error);
    }
  std::printf("results: %s\n", results.c_str());
}

}  // namespace

int main(int argc, char** argv) {
  Options o;
  CLI::App app{"Fine-tunes an encoder to letters by CTC."};
  app.option_defaults()->always_capture_default();
  app.add_option("--weights", o.weights, "pre-trained weights or checkpoint (.safetensors)");
  app.add_flag("--teacher", o.teacher, "the teacher of a checkpoint instead of the student");
  app.add_flag("--from-scratch", o.from_scratch, "also, or only, from random weights with the same budget");
  o.data.add_to(app);
  app.add_option("--out", o.out, "folder of results.json, dict.ltr.txt, the recognisers and their logs");
  app.add_option("--letters", o.letters, "dictionary of letters, a line each: letter and count; without: of the "
                                         "training transcripts");
  app.add_option("--words", o.words, "words that may be written, one a line (with a beam)");
  app.add_option("--beam", o.tuning.beam, "prefixes that are kept; 1: the best symbol of each frame")
      ->check(CLI::PositiveNumber);
  app.add_option("--seeds", o.seeds, "runs")->check(CLI::PositiveNumber);
  app.add_option("--seed", o.tuning.seed, "the first seed");
  app.add_option("--updates", o.tuning.updates, "length in updates")->check(CLI::PositiveNumber);
  app.add_option("--batch", o.tuning.batch, "utterances of the longest length in an update")
      ->check(CLI::PositiveNumber);
  app.add_option("--lr", o.tuning.lr, "highest learning rate of the three stages; 0: 1e-3 pre-trained, 2e-3 from scratch")
      ->check(CLI::NonNegativeNumber);
  app.add_option("--freeze", o.tuning.freeze, "updates in which only the head learns, pre-trained only; -1: an eighth, "
                                              "at most 100")
      ->check(CLI::Range(-1, 1'000'000));
  app.add_option("--mask-prob", o.tuning.mask.mask_prob, "of a frame being hidden")->check(CLI::Range(0.0, 0.99));
  app.add_option("--mask-length", o.tuning.mask.mask_length, "frames of a span")->check(CLI::PositiveNumber);
  app.add_option("--mask-channel-prob", o.tuning.mask.mask_channel_prob, "of a channel being zero")
      ->check(CLI::Range(0.0, 0.99));
  app.add_option("--mask-channel-length", o.tuning.mask.mask_channel_length, "channels of a span")
      ->check(CLI::PositiveNumber);
  app.add_option("--threads", o.tuning.threads, "0: all of the machine; results do not depend on it")
      ->check(CLI::NonNegativeNumber);
  app.add_option("--save-every", o.save_every, "seconds between checkpoints")->check(CLI::NonNegativeNumber);
  app.add_flag("--resume", o.resume, "go on from where the runs in --out were stopped, with the same options");
  return demo::run_program("finetune", app, argc, argv, [&] { run(o); });
}
