// SPDX-License-Identifier: MIT
// A training step: what it reports, what it changes, what it refuses.
#include <doctest/doctest.h>

#include <algorithm>
#include <limits>
#include <string>

#include "support.hpp"

using namespace training_support;

namespace {

template <class F>
std::string message_of(F&& f) {
  try {
    f();
  } catch (const OptionError& error) {
    return error.what();
  }
  return "no error";
}

bool contains(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

double norm(std::span<const float> x) {
  double squares = 0;
  for (const float v : x) squares += static_cast<double>(v) * static_cast<double>(v);
  return std::sqrt(squares);
}

/// The elements of tensors, one call of f(info, element) for each.
template <class Model, class F>
void for_each_element(F&& f) {
  for (const TensorInfo& info : tensor_table<typename Model::template Parameters<float>>)
    for (std::size_t i = 0; i < info.size; ++i) f(info, info.offset + i);
}

constexpr std::size_t n = 16;
constexpr double epsilon = std::numeric_limits<float>::epsilon();

}  // namespace

TEST_CASE("the loss falls below that of the best constant on samples that can be learned") {
  TrainerOptions options = fast_options<Tiny>(2);
  options.schedule = ConstantSchedule{.lr = 3e-3};
  options.ema = {.ema_decay = 1, .ema_end_decay = 1};  // targets are then a fixed function of the samples
  Trainer<Tiny, Cpu> trainer(options);
  constexpr int updates = 400;
  double first = 0, last = 0;
  StepReport report;
  for (int i = 0; i < updates; ++i) {
    report = trainer.step(waves(32, static_cast<std::uint32_t>(32 * (i % 8))).batch());
    if (i < 8) first += report.regression / 8;
    if (i >= updates - 8) last += report.regression / 8;
  }
  INFO("regression ", first, " -> ", last, ", deviation of targets ", report.target_var, ", of predictions ",
       report.pred_var);
  // Predicting each channel's mean costs scale * sum of the variances of the D channels of the targets.
  const double constant = Tiny::First::loss_scale * 16 * report.target_var * report.target_var;
  CHECK(last < 0.7 * constant);
  CHECK(last < 0.5 * first);
  CHECK(report.pred_var > 0.3 * report.target_var);
}

TEST_CASE("the report: terms, schedule, teacher, numbers of the batch") {
  TrainerOptions options = TrainerOptions::of<Tiny>();
  options.schedule = CosineSchedule{.lr = 1e-2, .warmup_updates = 2, .max_update = 10};
  options.ema = {.ema_decay = 0.5, .ema_end_decay = 0.9, .ema_anneal_end_step = 4};
  options.threads = 1;
  Trainer<Tiny, Cpu> trainer(options);
  const double rates[] = {0, 5e-3, 1e-2};          // linear warm-up from 0: update 0 has learning rate 0
  const double decays[] = {0.6, 0.7, 0.8, 0.9, 0.9};  // of the teacher's step after update i + 1 of 4
  for (int i = 0; i < 5; ++i) {
    INFO("update ", i);
    const StepReport r = trainer.step(waves(n).batch());
    CHECK(r.update == i);
    CHECK(trainer.updates() == i + 1);
    CHECK(!r.skipped);
    CHECK(r.sample_size == n * 2 * 10);  // masks, hidden of 16 tokens: int(16 * 0.4) = 6 are visible
    CHECK(r.loss == doctest::Approx(r.regression + r.cls + r.recon).epsilon(1e-12));
    CHECK(r.regression > 0);
    CHECK(r.cls > 0);
    CHECK(r.recon == 0);
    CHECK(r.gradient_norm == doctest::Approx(norm(trainer.gradient())).epsilon(1e-12));
    if (i < 3) CHECK(r.learning_rate == doctest::Approx(rates[i]));
    CHECK(r.learning_rate == learning_rate(options.schedule, i));
    CHECK(r.ema_decay == doctest::Approx(decays[i]).epsilon(1e-12));
    CHECK(r.target_var == doctest::Approx(1).epsilon(0.2));  // targets are normalised over the channels of a token
  }
}

TEST_CASE("the report's loss weights are those of the options") {
  TrainerOptions options = fast_options<Tiny>();
  const StepReport one = Trainer<Tiny, Cpu>(options).step(waves(n).batch());
  options.loss = {.d2v_loss = 2, .cls_loss = 0.03, .recon_loss = 0};
  const StepReport two = Trainer<Tiny, Cpu>(options).step(waves(n).batch());
  CHECK(two.regression == doctest::Approx(2 * one.regression).epsilon(1e-12));
  CHECK(two.cls == doctest::Approx(3 * one.cls).epsilon(1e-12));
}

TEST_CASE("the teacher is the moving average of the students") {
  Trainer<Tiny, Cpu> trainer(fast_options<Tiny>(2));
  const std::vector<float> start = copy(trainer.teacher());
  CHECK(same_bits(start, trainer.weights()));  // an exact copy at first
  std::vector<float> before = start;
  for (int i = 0; i < 4; ++i) {
    const StepReport r = trainer.step(waves(n, static_cast<std::uint32_t>(i) * n).batch());
    const auto student = std::as_const(trainer).weights(), teacher = trainer.teacher();
    int wrong = 0, moved = 0;
    for_each_element<Tiny>([&](const TensorInfo& info, std::size_t at) {
      if (!Tiny::in_teacher(info.name.view())) {
        wrong += teacher[at] != start[at];
        return;
      }
      const double t = static_cast<double>(before[at]), s = static_cast<double>(student[at]);
      const double expected = info.trained ? r.ema_decay * t + (1 - r.ema_decay) * s : s;
      // Two products, a sum, and the two factors are rounded.
      const double allowed = 3 * epsilon * (std::fabs(t) + std::fabs(s));
      wrong += !(std::fabs(static_cast<double>(teacher[at]) - expected) <= allowed);
      moved += teacher[at] != before[at];
    });
    CHECK(wrong == 0);
    CHECK(moved > 1000);
    before = copy(teacher);
  }
}

TEST_CASE("a decay of 1 freezes the teacher") {
  TrainerOptions options = fast_options<Tiny>();
  options.ema = {.ema_decay = 1, .ema_end_decay = 1};
  Trainer<Tiny, Cpu> trainer(options);
  const std::vector<float> start = copy(trainer.teacher());
  trainer.step(waves(n).batch());
  trainer.step(waves(n).batch());
  CHECK(same_bits(trainer.teacher(), start));
  CHECK(!same_bits(trainer.weights(), start));
}

TEST_CASE("positions are no parameters: no update moves them") {
  Trainer<Tiny, Cpu> trainer(fast_options<Tiny>());
  const std::vector<float> start = copy(trainer.teacher());
  for (int i = 0; i < 3; ++i) trainer.step(waves(n).batch());
  int fixed = 0, wrong = 0;
  for_each_element<Tiny>([&](const TensorInfo& info, std::size_t at) {
    if (info.trained) return;
    ++fixed;
    wrong += trainer.weights()[at] != start[at] || trainer.teacher()[at] != start[at];
  });
  CHECK(fixed == 16 * 16);
  CHECK(wrong == 0);
}

TEST_CASE("clipping: an update uses the gradient scaled to the norm asked for") {
  // With betas of 0 and an epsilon that is as large as the learning rate and far above any gradient, Adam's first
  // update is p - g (1 - |g| / eps + ...).
  constexpr double eps = 1e6;
  TrainerOptions options = fast_options<Tiny>();
  options.schedule = ConstantSchedule{.lr = eps};
  options.optimizer = {.adam_betas = {0, 0}, .adam_eps = eps, .weight_decay = 0, .clip_norm = 0};
  const double unclipped = Trainer<Tiny, Cpu>(options).step(waves(n).batch()).gradient_norm;
  for (const double limit : {0.0, 0.5 * unclipped, 0.01 * unclipped, 2 * unclipped}) {
    INFO("clip_norm ", limit, " norm ", unclipped);
    options.optimizer.clip_norm = limit;
    Trainer<Tiny, Cpu> trainer(options);
    const std::vector<float> start = copy(trainer.weights());
    const StepReport r = trainer.step(waves(n).batch());
    CHECK(r.gradient_norm == unclipped);  // reported before clipping
    const double factor = limit > 0 ? std::min(1.0, limit / (unclipped + 1e-6)) : 1;
    int wrong = 0;
    for_each_element<Tiny>([&](const TensorInfo& info, std::size_t at) {
      if (!info.trained) return;
      const double g = factor * static_cast<double>(trainer.gradient()[at]);
      const double change = static_cast<double>(trainer.weights()[at]) - static_cast<double>(start[at]);
      wrong += !(std::fabs(change + g) <= 8 * epsilon * (std::fabs(static_cast<double>(start[at])) + std::fabs(g)) +
                                              g * g / eps);
    });
    CHECK(wrong == 0);
  }
}

TEST_CASE("a step that is not finite changes nothing, and the training goes on as if it had not been") {
  const float nan = std::numeric_limits<float>::quiet_NaN(), infinity = std::numeric_limits<float>::infinity();
  Trainer<Tiny, Cpu> trainer(fast_options<Tiny>(2)), clean(fast_options<Tiny>(2));
  const auto both = [&](std::uint32_t first) {
    trainer.step(waves(n, first).batch());
    clean.step(waves(n, first).batch());
  };
  both(0);
  for (const float bad : {nan, infinity, -infinity, std::numeric_limits<float>::max()}) {
    INFO("sample with ", bad);
    const std::vector<float> weights = copy(trainer.weights()), teacher = copy(trainer.teacher());
    Samples broken = waves(n, 50);
    broken.values[5 * pixels + 17] = bad;
    const StepReport r = trainer.step(broken.batch());
    CHECK(r.skipped);
    CHECK(!is_finite(r.gradient_norm));
    CHECK(r.update == 1);
    CHECK(trainer.updates() == 1);
    CHECK(same_bits(trainer.weights(), weights));
    CHECK(same_bits(trainer.teacher(), teacher));
  }
  both(100);  // both moments are as they were, too: else these updates would differ
  both(200);
  CHECK(same_bits(trainer.weights(), clean.weights()));
  CHECK(same_bits(trainer.teacher(), clean.teacher()));
}

TEST_CASE("batches that do not fit are refused with both numbers") {
  Trainer<Tiny, Cpu> trainer(fast_options<Tiny>());
  const std::vector<float> start = copy(trainer.weights());
  constexpr int chunk = default_chunk<Tiny::First>;
  static_assert(chunk == 8);
  const Samples s = waves(n);
  const auto refused = [&](const Batch<float>& batch) { return message_of([&] { trainer.step(batch); }); };
  const std::string none = refused({});
  CHECK(contains(none, "multiple of 8"));
  CHECK(contains(none, "found 0"));
  const std::string odd = refused(waves(13).batch());
  CHECK(contains(odd, "multiple of 8"));
  CHECK(contains(odd, "found 13"));
  const std::string short_values = refused({std::span(s.values).first(1000), s.ids});
  CHECK(contains(short_values, "expected 1024"));
  CHECK(contains(short_values, "found 1000"));
  const std::string wrong_targets = refused({s.values, s.ids, std::span(s.values).first(64)});
  CHECK(contains(wrong_targets, "expected 1024"));
  CHECK(contains(wrong_targets, "found 64"));
  CHECK(trainer.updates() == 0);
  CHECK(same_bits(trainer.weights(), start));
}

TEST_CASE("schedules that cannot be run are refused by name") {
  TrainerOptions options = fast_options<Tiny>();
  options.schedule = CosineSchedule{.lr = 1, .warmup_updates = 5, .max_update = 5};
  CHECK(contains(message_of([&] { Trainer<Tiny, Cpu> trainer(options); }), "CosineSchedule::max_update"));
  Trainer<Tiny, Cpu> trainer(fast_options<Tiny>());
  CHECK(contains(message_of([&] { trainer.set_schedule(ConstantSchedule{.lr = -1}); }), "ConstantSchedule::lr"));
  CHECK(trainer.step(waves(n).batch()).learning_rate == 2e-3);  // the one before stays
  trainer.set_schedule(ConstantSchedule{.lr = 4e-3});
  CHECK(trainer.step(waves(n).batch()).learning_rate == 4e-3);
}

TEST_CASE("a second view is what the teacher sees, and the teacher alone") {
  const Samples s = waves(n), view = waves(n, 500);
  const auto first = [](const Batch<float>& batch) { return Trainer<Tiny, Cpu>(fast_options<Tiny>()).step(batch); };
  const StepReport plain = first(s.batch()), same = first({s.values, s.ids, s.values});
  const StepReport two = first({s.values, s.ids, view.values}), only_view = first({view.values, s.ids});
  CHECK(same.loss == plain.loss);
  CHECK(same.gradient_norm == plain.gradient_norm);
  CHECK(two.pred_var == plain.pred_var);             // predictions come from the samples
  CHECK(two.target_var == only_view.target_var);     // targets from the second view
  CHECK(two.target_var != plain.target_var);
  CHECK(two.pred_var != only_view.pred_var);
}

TEST_CASE("the chunk decides about memory, not about the result") {
  Trainer<Tiny, Cpu, 2> small(fast_options<Tiny>());
  Trainer<Tiny, Cpu, 16> large(fast_options<Tiny>());
  const Samples s = waves(n);
  const StepReport a = small.step(s.batch()), b = large.step(s.batch());
  CHECK(a.sample_size == b.sample_size);
  CHECK(a.loss == doctest::Approx(b.loss).epsilon(1e-6));
  double apart = 0, largest = 0;
  for (std::size_t i = 0; i < small.gradient().size(); ++i) {
    const auto x = static_cast<double>(small.gradient()[i]), y = static_cast<double>(large.gradient()[i]);
    apart = std::max(apart, std::fabs(x - y));
    largest = std::max(largest, std::fabs(x));
  }
  // Sums over n * masks * tokens rows in another order.
  CHECK(apart < 8 * epsilon * std::sqrt(16.0 * n * 2) * largest);
}
