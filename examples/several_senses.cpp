// SPDX-License-Identifier: MIT
// One model of two senses: images and texts have their own ways in and out and share the transformer blocks. Each update
// has a batch of one sense; they take turns.
//
//   several_senses [UPDATES]
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <numeric>
#include <vector>

#include <data2vec/data2vec.hpp>

namespace d2v = data2vec;

inline constexpr d2v::Config shared{.embed_dim = 64, .depth = 2, .num_heads = 4, .average_top_k_layers = 2,
                                    .instance_norm_target_layer = true, .layer_norm_targets = true, .clone_batch = 4};

using Images = d2v::Vision<d2v::VisionConfig{.input_size = 28, .patch_size = 7, .in_chans = 1}>;
using Texts = d2v::Text<d2v::TextConfig{.vocab_size = 300, .tokens = 16, .max_source_positions = 16}>;

// Images get squares of patches to see, texts single tokens; decoders fit a grid and a line.
using ImageBranch =
    d2v::Branch<Images, d2v::InverseBlockMask<Images::grid, d2v::MaskConfig{.mask_prob = 0.6, .mask_length = 2}>,
                d2v::Conv2dDecoder<d2v::DecoderConfig{.decoder_dim = 32, .decoder_groups = 8, .decoder_layers = 2}>>;
using TextBranch =
    d2v::Branch<Texts, d2v::RandomMask<Texts::tokens, d2v::MaskConfig{.mask_prob = 0.5, .mask_length = 1}>,
                d2v::Conv1dDecoder<d2v::DecoderConfig{.decoder_dim = 32, .decoder_groups = 8, .decoder_layers = 2}>>;

struct Senses : d2v::Data2Vec2<shared, ImageBranch, TextBranch> {};

int main(int argc, char** argv) {
  const std::int64_t updates = argc > 1 ? std::atoll(argv[1]) : 20;
  d2v::TrainerOptions options = d2v::TrainerOptions::of<Senses>();
  options.schedule = d2v::CosineSchedule{.lr = 1e-3, .warmup_updates = updates / 10, .max_update = updates};
  d2v::Trainer<Senses, d2v::Cpu> trainer(options);

  constexpr int batch = 16;
  std::vector<float> images(batch * Images::sample_size);         // yours: (16, 1, 28, 28), normalised
  std::vector<std::int32_t> texts(batch * Texts::sample_size);    // yours: (16, 16), token ids
  for (std::size_t i = 0; i < images.size(); ++i) images[i] = static_cast<float>(i % 29 < 14) - 0.5f;
  for (std::size_t i = 0; i < texts.size(); ++i) texts[i] = static_cast<std::int32_t>(4 + i * i % 290);
  std::vector<std::uint32_t> ids(batch);                          // which ones they are
  std::iota(ids.begin(), ids.end(), 0u);

  for (std::int64_t i = 0; i < updates; ++i) {
    const bool see = i % 2 == 0;
    const d2v::StepReport report = see ? trainer.step<Images>({images, ids}) : trainer.step<Texts>({texts, ids});
    std::printf("update %lld, %s: loss %.3f\n", static_cast<long long>(i), see ? "images" : "texts", report.loss);
  }
  std::printf("%.2f million parameters; %lld updates by images, %lld by texts\n",
              static_cast<double>(Senses::parameter_count) / 1e6, static_cast<long long>(trainer.updates(0)),
              static_cast<long long>(trainer.updates(1)));
}
