// SPDX-License-Identifier: MIT
// data2vec 2.0 on real recordings, from scratch, in minutes on two cores: pre-trains without transcripts, judges the
// frozen features beside log-mel spectrograms and random weights, and fine-tunes to letters by CTC beside training from
// scratch with the same transcripts and budget. Writes a report. Stopped at any moment, it goes on from there.
#include <algorithm>
#include <cstdio>
#include <numeric>
#include <string>
#include <vector>

#include <CLI/CLI.hpp>

#include <data2vec/data/audio.hpp>
#include <data2vec/data2vec.hpp>
#include <data2vec/evaluation/report.hpp>

#include "examples/common/parts.hpp"
#include "examples/common/demo.hpp"
#include "examples/common/pretraining.hpp"
#include "examples/common/program.hpp"
#include "examples/speech/data.hpp"
#include "examples/speech/feature_extractor.hpp"
#include "examples/speech/recognition.hpp"
#include "examples/speech/report.hpp"

namespace {

namespace d2v = data2vec;

struct Options {
  demo::DataOptions data;
  demo::PretrainOptions training{
      .out = "out/demo-speech", .minutes = 4, .lr = demo::learning_rate, .batch = demo::batch_size};
  demo::RecognitionOptions tuning;
  int seeds = 3;
  std::string commit;

  d2v::Json json() const {
    d2v::Json all = training.json();
    all.update({{"seeds", seeds}, {"tuning-updates", tuning.updates}});
    return all;
  }
  void take(const d2v::Json& kept) {
    training.take(kept);
    seeds = kept["seeds"], tuning.updates = kept["tuning-updates"];
  }
  std::string command() const {
    std::string text = "./run demo speech --updates " + std::to_string(training.updates);
    if (data.data != demo::default_data) text += " --data " + data.data;
    if (!data.test.empty()) text += " --test " + data.test;
    return text + " --seeds " + std::to_string(seeds) + " --tuning-updates " + std::to_string(tuning.updates) +
           " --seed " + std::to_string(training.seed);
  }
};

void judge_features(demo::Parts& parts, const demo::SpeechData& data, std::span<const float> pretrained,
                    const Options& o) {
  std::printf("\n%-46s %-18s %s\n", "accuracy on the recordings that are judged", "nearest neighbours", "linear probe");
  d2v::ThreadTeam team(o.training.threads);
  d2v::Buffer<float> random(d2v::buffer_size<demo::Model::Parameters<float>>);
  demo::Model::initialise(random.data(), o.training.seed);
  const float* const weights[] = {nullptr, random.data(), pretrained.data()};
  for (std::size_t i = 0; i < std::size(weights); ++i)
    parts(demo::feature_names[i],
          [&] {
            const demo::Judgement found = demo::judge_speech(
                demo::feature_names[i], team, data, weights[i], demo::judged_layer, demo::judged_segments,
                {.seed = o.training.seed, .threads = o.training.threads});
            d2v::Json result = demo::json_of(found);
            result["confusion"] = demo::counts_of(found.linear);
            return result;
          },
          [](const d2v::Json& r) {
            return demo::formatted("%6.2f %% (k %2d)   %6.2f %% (penalty %g)", 100 * r["knn"]["accuracy"].get<double>(),
                                   r["knn"]["k"].get<int>(), 100 * r["probe"]["accuracy"].get<double>(),
                                   r["probe"]["penalty"].get<double>());
          });
}

/// What the recognisers learn from and are judged by.
struct Words {
  demo::Utterances train, test;
  std::string how;
};

/// Fine-tuning to letters; SKIPPED, with the reason, where there are no transcripts.
Words recognise_words(demo::Parts& parts, const demo::SpeechData& data, std::span<const float> pretrained,
                      const Options& o) {
  Words words{demo::load_utterances(data.train), demo::load_utterances(data.test), ""};
  if (words.train.size() < 10 || words.test.size() == 0) {
    std::printf("SKIPPED: letters: %zu and %zu recordings have a transcript and fit\n", words.train.size(),
                words.test.size());
    return {};
  }
  const d2v::Letters letters = demo::letters_of(data.train);
  demo::encode(words.train, letters);
  words.how = demo::formatted("CTC over %d letters: %zu utterances (%s) with transcripts, %lld updates for "
                              "both starts, each with the learning rate that suits it; judged by %zu others, the best symbol of each frame. Left out: %zu longer "
                              "than the longest length.",
                              letters.size() - d2v::Letters::first, words.train.size(),
                              demo::clock_text(words.train.seconds()).c_str(),
                              static_cast<long long>(o.tuning.updates), words.test.size(),
                              words.train.too_long + words.test.too_long);
  std::printf("\n%s\n", words.how.c_str());
  const auto text = [](const d2v::Json& r) {
    return demo::formatted("letters %6.2f %% wrong, words %6.2f %%", 100 * r["cer"].get<double>(),
                           100 * r["wer"].get<double>());
  };
  const auto train = [&](const demo::Utterances& from, const demo::Utterances& judged, demo::RecognitionOptions tuning,
                         bool from_pretrained) {
    tuning.threads = o.training.threads;
    demo::Tuner tuner(demo::tuner_options(tuning));
    if (from_pretrained) tuner.set_encoder(pretrained);
    demo::tune(tuner, from, tuning);
    return demo::json_of(demo::recognise(tuner, judged, letters, 1));
  };
  parts(demo::overfit_name,
        [&] {
          std::vector<std::size_t> ten(10);
          for (std::size_t i = 0; i < ten.size(); ++i) ten[i] = i * words.train.size() / ten.size();
          demo::Utterances few = demo::chosen(words.train, ten);
          demo::encode(few, letters);
          demo::RecognitionOptions tuning = o.tuning;
          tuning.mask = {};
          tuning.seed = o.training.seed;
          tuning.lr = 2e-3, tuning.freeze = 0;
          return train(few, few, tuning, true);
        },
        text);
  for (std::uint64_t seed = o.training.seed; seed < o.training.seed + static_cast<std::uint64_t>(o.seeds); ++seed)
    for (const char* start : demo::starts)
      parts(demo::tuning_name(start, seed),
            [&] {
              const bool pretrained_start = start == demo::starts[0];
              demo::RecognitionOptions tuning = o.tuning.from(pretrained_start);
              tuning.seed = seed;
              return train(words.train, words.test, tuning, pretrained_start);
            },
            text);
  for (const char* start : demo::starts)
    std::printf("%-46s letters %s %% wrong, words %s %%\n",
                demo::formatted("letters, %s, %d seeds", start, o.seeds).c_str(),
                demo::rate_over_seeds(parts, start, o.training.seed, o.seeds, "cer").c_str(),
                demo::rate_over_seeds(parts, start, o.training.seed, o.seeds, "wer").c_str());
  return words;
}

void report(const Options& o, const demo::Parts& parts, const demo::SpeechData& data, const Words& words,
            std::int64_t updates) {
  d2v::RunReport report;
  report.title = "data2vec 2.0 on " + std::to_string(data.train.size()) + " recordings";
  report.command = o.command();
  demo::describe_machine(report, d2v::ThreadTeam(o.training.threads).size(), o.commit);
  report.dataset = {{"recordings", o.data.data},
                    {"for training", data.train.size()},
                    {"minutes of them", demo::seconds_of(data.train) / 60},
                    {"judged", data.test.size()},
                    {"rate, Hz", demo::sample_rate},
                    {"classes", data.classes.size()},
                    {"with transcripts that fit", words.train.size()}};
  using Branch = demo::Model::BranchAt<demo::LengthBuckets::count - 1>;
  std::string lengths;
  for (const int length : demo::LengthBuckets::lengths)
    lengths += (lengths.empty() ? "" : ", ") + demo::formatted("%g s", static_cast<double>(length) / demo::sample_rate);
  report.model = {{"parameters", static_cast<std::int64_t>(demo::Model::parameter_count)},
                  {"parameters of the encoder", static_cast<std::int64_t>(demo::Model::encoder_parameter_count)},
                  {"width", demo::width},
                  {"blocks", demo::depth},
                  {"lengths", lengths},
                  {"frames of the longest", Branch::T_},
                  {"visible frames of it", Branch::V},
                  {"masks of a recording", Branch::masks},
                  {"features", demo::formatted("layer %d, means of %d stretches", demo::judged_layer,
                                               demo::judged_segments)}};
  report.training = {{"updates", updates},
                     {"recordings of the longest length in an update", o.training.batch},
                     {"highest learning rate", o.training.lr},
                     {"seed", o.training.seed},
                     {"updates of a fine-tuning", o.tuning.updates}};
  report.curve = demo::curve_of(o.training.out + "/log.jsonl");
  report.configuration = d2v::describe_model<demo::Model>();
  report.class_names = data.classes;
  for (const auto& [name, seconds] : parts.all_seconds().items()) report.seconds.push_back({name, seconds});
  for (const auto& alarm : parts.alarms()) report.alarms.push_back(alarm.get<std::string>());
  report.accuracy_of = demo::formatted("accuracy on %zu recordings, with %zu labelled ones", data.test.size(),
                                       data.train.size());
  for (const char* name : demo::feature_names) {
    if (!parts.results().contains(name)) continue;
    const d2v::Json& r = parts.results()[name];
    report.accuracy.push_back({.name = name, .value = r["knn"]["accuracy"],
                               .note = demo::formatted("k %d", r["knn"]["k"].get<int>()),
                               .method = "nearest neighbours"});
    report.accuracy.push_back({.name = name, .value = r["probe"]["accuracy"],
                               .note = demo::formatted("penalty %g", r["probe"]["penalty"].get<double>()),
                               .method = "linear probe"});
    if (name == demo::feature_names[2]) report.confusion = demo::confusion_of(r["confusion"]);
  }
  if (!words.how.empty())
    report.sections.push_back(demo::recognition_section(parts, o.training.seed, o.seeds, words.how));
  report.sections.push_back(demo::masks_section(data, o.training.seed));
  report.notes.push_back("Neighbours k and the penalty of the probe were chosen on a part of the training recordings; "
                         "what is judged was used once.");
  for (const d2v::Recordings* part : {&data.train, &data.test})
    if (const int broken = part->skipped().total(); broken > 0)
      report.notes.push_back(std::to_string(broken) + " recordings could not be used, the first: " +
                             part->skipped().first.at(0));
  d2v::write_report(o.training.out, report);
  demo::print_end(report, o.training.out);
}

void run(Options o, const CLI::App& app) {
  const d2v::Json extra = demo::open_run(o.training, app, o.json());
  if (o.training.resume) o.take(extra["options"]);
  const demo::SpeechData data = demo::open_data(o.data);
  demo::expect_recordings(extra, data, o.data.data);
  demo::describe(data, o.data.data);
  const demo::Pretrained trained =
      demo::pretrain<demo::Recipe>(o.training, demo::SpeechSource(data.train), o.json());
  Words words;
  const auto judge = [&](demo::Parts& parts) {
    if (!data.classes.empty() && data.test.size() > 0) judge_features(parts, data, trained.weights, o);
    else std::printf("SKIPPED: neighbours and linear probe: %s has no classes\n", o.data.data.c_str());
    if (o.seeds > 0) words = recognise_words(parts, data, trained.weights, o);
  };
  demo::run_parts(o.training, trained, judge,
                  [&](demo::Parts& parts) { report(o, parts, data, words, trained.updates); });
}

}  // namespace

int main(int argc, char** argv) {
  Options o;
  CLI::App app{"data2vec 2.0 pre-trained on recordings in minutes, judged, fine-tuned to letters, with a report."};
  app.option_defaults()->always_capture_default();
  o.data.add_to(app);
  o.training.add_to(app);
  app.add_option("--seeds", o.seeds, "fine-tunings to letters of each start; 0: none")->check(CLI::NonNegativeNumber);
  app.add_option("--tuning-updates", o.tuning.updates, "length of each fine-tuning, also from scratch")
      ->check(CLI::PositiveNumber);
  app.add_option("--commit", o.commit, "what the report says of the program's sources");
  return demo::run_program("demo", app, argc, argv, [&] { run(o, app); });
}
