// SPDX-License-Identifier: MIT
// One run of the comparison of systems on recordings: pre-trains the system that this program is compiled for and
// judges it at growing times, by its frozen features and by fine-tuning to letters. `./run bench claim --modality
// speech` runs it for every system and seed, and `--table` makes the table and the figures of what the runs kept.
#include <algorithm>
#include <cstddef>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include <CLI/CLI.hpp>

#include <data2vec/data/audio.hpp>
#include <data2vec/data2vec.hpp>

#include "examples/common/claim.hpp"
#include "examples/common/program.hpp"
#include "examples/speech/data.hpp"
#include "examples/speech/feature_extractor.hpp"
#include "examples/speech/recognition.hpp"

namespace {

namespace d2v = data2vec;

class SpeechClaim {
 public:
  SpeechClaim(const demo::DataOptions& data, const demo::ClaimOptions& options)
      : o_(options), data_(demo::open_data(data)), source_(data_.train), team_(options.threads) {
    demo::expect_classes(data_, data.data);
    if (o_.tuning_updates == 0) return;
    const demo::Utterances all = demo::load_utterances(data_.train);
    std::vector<std::size_t> places = demo::shuffled(all.size(), o_.seed);
    places.resize(std::min(places.size(), o_.tuning_labels));
    letters_ = demo::letters_of(data_.train);
    transcribed_ = demo::chosen(all, places);
    demo::encode(transcribed_, *letters_);
    judged_ = demo::load_utterances(data_.test);
  }

  const demo::SpeechSource& source() const { return source_; }

  d2v::Json judge(std::span<const float> weights) {
    const demo::Judgement j = demo::judge_speech(demo::title, team_, data_, weights.data(), demo::judged_layer,
                                                 demo::judged_segments, {.seed = o_.seed, .threads = o_.threads});
    d2v::Json row{{"knn", j.knn.accuracy()}, {"probe", j.linear.accuracy()}};
    if (o_.tuning_updates > 0 && !demo::interrupted) {
      demo::RecognitionOptions tuning;
      tuning.updates = o_.tuning_updates, tuning.seed = o_.seed, tuning.threads = o_.threads;
      tuning = tuning.from(true);
      demo::Tuner tuner(demo::tuner_options(tuning));
      tuner.set_encoder(weights);
      demo::tune(tuner, transcribed_, tuning);
      row["letters"] = 1 - demo::recognise(tuner, judged_, *letters_, 1).cer();
    }
    return row;
  }

 private:
  const demo::ClaimOptions& o_;
  demo::SpeechData data_;
  demo::SpeechSource source_;
  d2v::ThreadTeam team_;
  std::optional<d2v::Letters> letters_;  ///< none without fine-tuning
  demo::Utterances transcribed_, judged_;
};

}  // namespace

int main(int argc, char** argv) {
  demo::DataOptions data;
  demo::ClaimOptions o{
      .lr = demo::learning_rate, .tuning_updates = 800, .batch = demo::batch_size, .tuning_labels = 400};
  CLI::App app{"Pre-trains one system on recordings and judges it at growing times; --table compares what runs kept."};
  app.option_defaults()->always_capture_default();
  data.add_to(app);
  o.add_to(app);
  return demo::run_program("claim", app, argc, argv, [&] {
    if (o.table) return demo::write_claim(o.out);
    demo::run_claim<demo::Recipe>(o, demo::system, demo::title, [&](const auto& options, const std::string&) {
      data.validation = options.validation;
      return SpeechClaim(data, options);
    });
  });
}
