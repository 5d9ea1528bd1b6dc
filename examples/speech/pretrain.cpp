// SPDX-License-Identifier: MIT
// Pre-trains the model of model.hpp on recordings, without transcripts: a folder with checkpoint, log and the weights
// of the encoder. Stopped at any moment, it goes on from there to the same bits.
#include <cstdio>
#include <string>

#include <CLI/CLI.hpp>

#include <data2vec/data/audio.hpp>
#include <data2vec/data2vec.hpp>

#include "examples/common/pretraining.hpp"
#include "examples/common/program.hpp"
#include "examples/speech/data.hpp"
#include "examples/speech/model.hpp"

namespace {

namespace d2v = data2vec;

struct Options {
  demo::DataOptions data;
  demo::PretrainOptions training{.out = "out/pretrain-speech", .lr = demo::learning_rate, .batch = demo::batch_size};
};

void run(Options o, const CLI::App& app) {
  const d2v::Json extra = demo::open_run(o.training, app, o.training.json());
  if (o.training.resume) o.training.take(extra["options"]);
  const demo::SpeechData data = demo::open_data(o.data);
  demo::expect_recordings(extra, data, o.data.data);
  demo::describe(data, o.data.data);
  demo::pretrain<demo::Recipe>(o.training, demo::SpeechSource(data.train), o.training.json());
}

}  // namespace

int main(int argc, char** argv) {
  Options o;
  CLI::App app{"data2vec 2.0: pre-trains an encoder on recordings without transcripts."};
  app.option_defaults()->always_capture_default();
  o.data.add_to(app);
  o.training.add_to(app);
  app.add_option("--batch", o.training.batch,
                 "recordings of the longest length in an update; of shorter ones as many samples")
      ->check(CLI::PositiveNumber);
  app.add_option("--lr", o.training.lr, "highest learning rate of the cosine schedule")->check(CLI::PositiveNumber);
  return demo::run_program("pretrain", app, argc, argv, [&] { run(o, app); });
}
