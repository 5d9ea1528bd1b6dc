// SPDX-License-Identifier: MIT
// The run-time settings that the published models were trained with.
#pragma once

#include <data2vec/objective/models.hpp>
#include <data2vec/training/options.hpp>

namespace data2vec::inline v0 {

namespace detail {
/// The run-time settings that all published vision models share.
template <class Model>
TrainerOptions vision_recipe(double lr, std::int64_t max_update, const EmaConfig& ema) {
  TrainerOptions options = TrainerOptions::of<Model>();
  options.schedule = CosineSchedule{.lr = lr, .warmup_updates = 50'040, .max_update = max_update};
  options.optimizer = {.adam_betas = {0.9, 0.95}, .adam_eps = 1e-8, .weight_decay = 0.05, .clip_norm = 4,
                       .decay_scope = DecayScope::all};
  options.ema = ema;
  return options;
}
}  // namespace detail

/// The published recipes: learning rate, schedule, optimizer, teacher. Weight decay acts on all parameters, as the
/// published code runs; set `optimizer.decay_scope` to `matrices` for what it means to do. The published batches are
/// 256 (base), 128 (large), 128 (huge) and 256 (huge14) images.
inline TrainerOptions vision_base_recipe() {
  return detail::vision_recipe<VisionBase>(1e-3, 375'300, {0.9998, 0.99999, 100'000});
}
inline TrainerOptions vision_large_recipe() {
  return detail::vision_recipe<VisionLarge>(4e-4, 375'300, {0.9998, 0.99999, 150'000});
}
inline TrainerOptions vision_huge_recipe() {
  return detail::vision_recipe<VisionHuge>(4e-4, 375'300, {0.9998, 0.99995, 150'000});
}
inline TrainerOptions vision_huge14_recipe() {
  return detail::vision_recipe<VisionHuge14>(4e-4, 500'000, {0.9998, 1, 300'000});
}

namespace detail {
/// The run-time settings that both published speech models share.
template <class Model>
TrainerOptions speech_recipe(const CosineSchedule& schedule, double clip_norm, const EmaConfig& ema) {
  TrainerOptions options = TrainerOptions::of<Model>();
  options.schedule = schedule;
  options.optimizer = {.adam_betas = {0.9, 0.98}, .adam_eps = 1e-6, .weight_decay = 0.01, .clip_norm = clip_norm,
                       .decay_scope = DecayScope::all};
  options.ema = ema;
  return options;
}
}  // namespace detail

/// Speech: the published batches are some 500 (base) and 960 (large) seconds of 16 kHz.
inline TrainerOptions speech_base_recipe() {
  return detail::speech_recipe<SpeechBase>({.lr = 7.5e-4, .warmup_updates = 8'000, .max_update = 400'000}, 0,
                                           {0.999, 0.99999, 75'000});
}
inline TrainerOptions speech_large_recipe() {
  return detail::speech_recipe<SpeechLarge>({.lr = 4e-4, .warmup_updates = 10'000, .max_update = 600'000}, 1,
                                            {0.9997, 1, 300'000});
}

namespace detail {
/// The run-time settings that all published text models share.
template <class Model>
TrainerOptions text_recipe(double lr, std::int64_t max_update) {
  TrainerOptions options = TrainerOptions::of<Model>();
  options.schedule = CosineSchedule{.lr = lr, .warmup_updates = 4'000, .max_update = max_update};
  options.optimizer = {.adam_betas = {0.9, 0.98}, .adam_eps = 1e-6, .weight_decay = 0.01, .clip_norm = 1,
                       .decay_scope = DecayScope::all};
  options.ema = {0.9999, 0.99999, 100'000};
  return options;
}
}  // namespace detail

/// Text: the published batches are 64 sequences of 512 tokens.
inline TrainerOptions text_base_recipe() { return detail::text_recipe<TextBase>(2e-4, 1'000'000); }
inline TrainerOptions text_large_recipe() { return detail::text_recipe<TextLarge>(1e-4, 600'000); }
inline TrainerOptions text_large_1m_recipe() { return detail::text_recipe<TextLarge1M>(1e-4, 1'000'000); }

namespace detail {
/// The run-time settings that the published RoBERTa models share.
template <class Model>
TrainerOptions roberta_recipe(const PolynomialSchedule& schedule) {
  TrainerOptions options = TrainerOptions::of<Model>();
  options.schedule = schedule;
  options.optimizer = {.adam_betas = {0.9, 0.98}, .adam_eps = 1e-6, .weight_decay = 0.01, .clip_norm = 0,
                       .decay_scope = DecayScope::all};
  return options;
}
}  // namespace detail

/// RoBERTa: batches of 2048 sequences of 512 tokens (base, the repository's configuration), 8192 (large, the paper).
inline TrainerOptions roberta_base_recipe() {
  return detail::roberta_recipe<RobertaBase>(
      {.lr = 5e-4, .warmup_updates = 10'000, .total_num_update = 125'000});
}
inline TrainerOptions roberta_large_recipe() {
  return detail::roberta_recipe<RobertaLarge>(
      {.lr = 4e-4, .warmup_updates = 30'000, .total_num_update = 500'000});
}

namespace detail {
/// The run-time settings that all published masked autoencoders share: batches of 4096 images, 312 an epoch, 800 epochs.
template <class Model>
TrainerOptions mae_recipe() {
  TrainerOptions options = TrainerOptions::of<Model>();
  options.schedule = CosineSchedule{.lr = 1.5e-4 * 4096 / 256, .warmup_updates = 40 * 312, .warmup_init_lr = 0,
                                    .max_update = 800 * 312};
  options.optimizer = {.adam_betas = {0.9, 0.95}, .adam_eps = 1e-8, .weight_decay = 0.05, .clip_norm = 0,
                       .decay_scope = DecayScope::matrices, .corrected_eps = true};
  return options;
}
}  // namespace detail

/// Masked autoencoders: base rate 1.5e-4 for 256 images; the released models trained for 1600 epochs.
inline TrainerOptions mae_base_recipe() { return detail::mae_recipe<MaeBase>(); }
inline TrainerOptions mae_large_recipe() { return detail::mae_recipe<MaeLarge>(); }
inline TrainerOptions mae_huge_recipe() { return detail::mae_recipe<MaeHuge>(); }

namespace detail {
/// The run-time settings that both published wav2vec 2.0 models share.
template <class Model>
TrainerOptions wav2vec2_recipe(const PolynomialSchedule& schedule) {
  TrainerOptions options = TrainerOptions::of<Model>();
  options.schedule = schedule;
  options.optimizer = {.adam_betas = {0.9, 0.98}, .adam_eps = 1e-6, .weight_decay = 0.01, .clip_norm = 0,
                       .decay_scope = DecayScope::all};
  return options;
}
}  // namespace detail

/// wav2vec 2.0: batches of some 1.6 (base) and 2.7 (large) hours of 16 kHz. Waveforms are as they are (base), or have
/// mean 0 and variance 1 each (large).
inline TrainerOptions wav2vec2_base_recipe() {
  return detail::wav2vec2_recipe<Wav2Vec2Base>(
      {.lr = 5e-4, .warmup_updates = 32'000, .total_num_update = 400'000});
}
inline TrainerOptions wav2vec2_large_recipe() {
  return detail::wav2vec2_recipe<Wav2Vec2Large>(
      {.lr = 5e-3, .warmup_updates = 32'000, .total_num_update = 1'000'000});
}

/// data2vec 1.0 of images: batches of 2048, 625 an epoch, 800 epochs, constant decay of the teacher.
inline TrainerOptions data2vec1_vision_base_recipe() {
  TrainerOptions options = TrainerOptions::of<Data2Vec1VisionBase>();
  options.schedule =
      CosineSchedule{.lr = 2e-3, .warmup_updates = 10 * 625, .warmup_init_lr = 0, .max_update = 800 * 625};
  options.optimizer = {.adam_betas = {0.9, 0.999}, .adam_eps = 1e-8, .weight_decay = 0.05, .clip_norm = 3,
                       .decay_scope = DecayScope::matrices, .corrected_eps = true};
  options.ema = {0.9998, 0.9998, 1};
  return options;
}
/// As fairseq has it.
inline TrainerOptions data2vec1_vision_base_fairseq_recipe() {
  TrainerOptions options = TrainerOptions::of<Data2Vec1VisionBaseFairseq>();
  options.schedule = CosineSchedule{.lr = 5e-4, .warmup_updates = 12'510, .max_update = 375'300};
  options.optimizer = {.adam_betas = {0.9, 0.999}, .adam_eps = 1e-8, .weight_decay = 0.05, .clip_norm = 3,
                       .decay_scope = DecayScope::all};
  options.ema = {0.999, 0.9998, 375'300};
  return options;
}
/// Of speech: batches of some 3,800 seconds of 16 kHz.
inline TrainerOptions data2vec1_speech_base_recipe() {
  TrainerOptions options = TrainerOptions::of<Data2Vec1SpeechBase>();
  options.schedule =
      TriStageSchedule{.lr = 5e-4, .phase_ratio = std::array<double, 3>{0.03, 0.9, 0.07}, .max_update = 400'000};
  options.optimizer = {.adam_betas = {0.9, 0.98}, .adam_eps = 1e-6, .weight_decay = 0.01, .clip_norm = 0,
                       .decay_scope = DecayScope::all};
  options.ema = {0.999, 0.9999, 30'000};
  return options;
}
/// Of text: batches of 256 sequences of 512 tokens.
inline TrainerOptions data2vec1_text_base_recipe() {
  TrainerOptions options = TrainerOptions::of<Data2Vec1TextBase>();
  options.schedule = CosineSchedule{.lr = 2e-4, .warmup_updates = 10'000, .max_update = 1'000'000};
  options.optimizer = {.adam_betas = {0.9, 0.98}, .adam_eps = 1e-6, .weight_decay = 0.01, .clip_norm = 5,
                       .decay_scope = DecayScope::all};
  options.ema = {0.999, 0.9999, 300'000};
  return options;
}

}  // namespace data2vec::inline v0
