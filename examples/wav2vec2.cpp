// SPDX-License-Identifier: MIT
// Pre-trains a small wav2vec 2.0 on a folder of recordings (or a manifest): every recording of a second or more, cropped
// at random to one second. SIGINT and SIGTERM save; the same command goes on from there to the same bits.
//
//   wav2vec2 RECORDINGS OUT [UPDATES]
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <filesystem>
#include <string>

#include <data2vec/data/buckets.hpp>
#include <data2vec/data/loader.hpp>
#include <data2vec/data/manifest.hpp>
#include <data2vec/data/recordings.hpp>
#include <data2vec/data/speech_feed.hpp>
#include <data2vec/data2vec.hpp>
#include <data2vec/training/loop.hpp>

namespace {

namespace d2v = data2vec;

constexpr int rate = 8000, batch_size = 16;

inline constexpr d2v::Config encoder{.embed_dim = 128, .depth = 4, .num_heads = 4, .norm_eps = 1e-5,
                                     .block_names = d2v::BlockNames::fairseq};
using Waveforms = d2v::Speech<d2v::SpeechConfig{
    .input_size = rate,
    .sample_rate = rate,
    .feature_encoder_spec = {{64, 10, 5}, {64, 3, 2}, {64, 3, 2}, {64, 3, 2}, {64, 3, 2}, {64, 2, 2}},
    .extractor_mode = d2v::ExtractorMode::default_,
    .conv_pos_width = 16,
    .conv_pos_groups = 8,
    .conv_pos_depth = 1,
    .conv_pos_weight_norm = true,
    .project_equal_width = false,
    .modality = {.local_grad_mult = 0.1}}>;
using Masks = d2v::SpanMask<Waveforms::tokens, d2v::MaskConfig{.mask_prob = 0.65, .mask_length = 5}>;
struct Model : d2v::Wav2Vec2<encoder, Waveforms, Masks,
                             d2v::Wav2Vec2Config{.final_dim = 64, .latent_vars = 64, .num_negatives = 20,
                                                 .latent_temp = {2, 0.5, 0.9995}}> {};
using Trainer = d2v::Trainer<Model, d2v::Cpu>;
using Seconds = d2v::Buckets<rate>;

volatile std::sig_atomic_t stop = 0;

void train(const std::string& data, const std::string& out, std::int64_t updates) {
  const d2v::Recordings recordings(d2v::open_manifest(data), {.rate = rate, .min_samples = rate, .max_broken = 1});
  std::printf("%zu recordings, %.1f million parameters\n", recordings.size(),
              static_cast<double>(Model::parameter_count) / 1e6);
  d2v::TrainerOptions options = d2v::TrainerOptions::of<Model>();
  options.schedule = d2v::PolynomialSchedule{.lr = 1e-3, .warmup_updates = updates / 10, .total_num_update = updates};
  options.optimizer = {.adam_betas = {0.9, 0.98}, .adam_eps = 1e-6, .weight_decay = 0.01, .clip_norm = 0};
  Trainer trainer(options);
  const std::string checkpoint = out + "/checkpoint.safetensors", weights = out + "/weights.safetensors";
  const bool resume = std::filesystem::exists(checkpoint);
  if (resume) d2v::load_checkpoint<Model>(checkpoint, trainer.state());
  d2v::SpeechFeed<Seconds> feed(recordings, {.fit = d2v::BucketFit::crop, .max_samples = batch_size * rate,
                                             .max_rows = batch_size, .row_multiple = batch_size}, options.seed);
  d2v::Prefetcher prefetcher(feed.slots(), feed.sample_size(), feed,
                             {.first = static_cast<std::uint64_t>(trainer.updates())});
  const auto next = [&] {
    const d2v::SpeechBatch batch = feed.view(prefetcher.next());
    return d2v::Batch<float>{batch.samples, batch.ids};
  };
  const auto show = [](const d2v::StepReport& report) {
    if (report.update % 20 != 0) return;
    std::printf("update %lld  loss %.3f", static_cast<long long>(report.update), report.loss);
    for (const d2v::ReportTerm& term : report.terms)
      if (term.name) std::printf("  %s %.3f", term.name, term.value);
    std::printf("\n");
  };
  d2v::run_loop(trainer, {.out = out, .updates = updates, .resume = resume}, next, stop, {.step = show});
  d2v::save_encoder<Model>(weights, trainer.weights());
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 3 || argc > 4) {
    std::fprintf(stderr, "usage: %s RECORDINGS OUT [UPDATES]\n", argv[0]);
    return 2;
  }
  for (const int signal : {SIGINT, SIGTERM}) std::signal(signal, [](int) { stop = 1; });
  try {
    train(argv[1], argv[2], argc > 3 ? std::atoll(argv[3]) : 1000);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
  }
  return 0;
}
