// SPDX-License-Identifier: MIT
// Learning rates and EMA decays against values of the reference's own schedules, in double. An expression of about ten
// operations on values up to the peak agrees to about ten roundings of the peak.
#include <data2vec/training/ema.hpp>
#include <data2vec/training/schedule.hpp>

#include <doctest/doctest.h>

#include <array>
#include <cmath>
#include <limits>
#include <vector>

using namespace data2vec;

namespace {

struct Point { std::int64_t update; double value; };

void check_values(const Schedule& schedule, double peak, const std::vector<Point>& points) {
  validate(schedule);
  for (const Point& p : points) {
    CAPTURE(p.update);
    CHECK(std::abs(learning_rate(schedule, p.update) - p.value) <= 10 * std::numeric_limits<double>::epsilon() * peak);
  }
}

}  // namespace

TEST_CASE("cosine: ImageNet base, with the restart at the end") {
  check_values(CosineSchedule{.lr = 1e-3, .warmup_updates = 50040, .max_update = 375300}, 1e-3,
               {{0, 0.0}, {1, 1.9984012789768186e-08}, {25020, 0.0005}, {50039, 0.0009999800159872102},
                {50040, 0.001}, {50041, 0.0009999999999766773}, {200000, 0.000561035330981018},
                {375299, 2.332267712290559e-14}, {375300, 0.0001}, {400000, 9.858384262528572e-05}});
}

TEST_CASE("cosine: a lowest value other than zero is where the warm-up starts") {
  check_values(CosineSchedule{.lr = 1e-3, .min_lr = 1e-6, .warmup_updates = 16000, .max_update = 250200}, 1e-3,
               {{0, 1e-06}, {8000, 0.0005005000000000001}, {100000, 0.0007150664415628434},
                {250199, 1.0000000449398088e-06}, {250200, 0.0001}});
  check_values(CosineSchedule{.lr = 5e-4, .min_lr = 1e-5, .max_update = 100}, 5e-4,
               {{0, 0.0005}, {50, 0.000255}, {99, 1.0120892710395758e-05}, {150, 2.5500000000000003e-05},
                {250, 2.5500000000000006e-06}});
}

TEST_CASE("cosine: growing periods") {
  check_values(CosineSchedule{.lr = 1e-3, .min_lr = 1e-5, .warmup_updates = 10, .warmup_init_lr = 1e-7,
                              .max_update = 70, .t_mult = 2, .lr_period_updates = 20, .lr_shrink = 0.5}, 1e-3,
               {{0, 1e-07}, {5, 0.0005000499999999999}, {10, 0.001}, {20, 0.000505}, {30, 0.0005},
                {31, 0.0004992370400989493}, {60, 7.74910716563295e-05}, {69, 5.7629599010508294e-06},
                {70, 0.00025}});
}

TEST_CASE("cosine: min_lr above lr counts as lr") {
  const CosineSchedule flat{.lr = 1e-3, .min_lr = 1e-2, .warmup_updates = 4, .max_update = 10};
  for (std::int64_t n = 0; n < 10; ++n) CHECK(flat(n) == doctest::Approx(1e-3));
}

TEST_CASE("tri-stage: warm-up, hold, decay, end") {
  check_values(TriStageSchedule{.lr = 3e-5, .phase_ratio = std::array{0.1, 0.4, 0.5}, .final_lr_scale = 0.05,
                                .max_update = 80000}, 3e-5,
               {{0, 3.0000000000000004e-07}, {4000, 1.515e-05}, {7999, 2.9996287500000002e-05}, {8000, 3e-05},
                {39999, 3e-05}, {40000, 3e-05}, {60000, 6.70820393249937e-06}, {80000, 1.5e-06}, {90000, 1.5e-06}});
  // Lengths given directly: 10, 20, 40 updates, down to a hundredth.
  check_values(TriStageSchedule{.lr = 1, .warmup_steps = 10, .hold_steps = 20, .decay_steps = 40}, 1,
               {{0, 0.01}, {5, 0.505}, {10, 1}, {30, 1}, {50, 0.1}, {70, 0.01}, {1000, 0.01}});
  check_values(TriStageSchedule{.lr = 1, .warmup_steps = 0, .hold_steps = 0, .decay_steps = 0}, 1,
               {{0, 1}, {1, 0.01}});
}

TEST_CASE("polynomial: linear and quadratic, before and after its range") {
  check_values(PolynomialSchedule{.lr = 2e-5, .warmup_updates = 320, .total_num_update = 5336}, 2e-5,
               {{0, 0.0}, {1, 6.250000000000001e-08}, {320, 2e-05}, {321, 1.9996012759170656e-05},
                {2000, 1.3301435406698567e-05}, {5335, 3.987240829346206e-09}, {5336, 0.0}, {6000, 0.0}});
  check_values(PolynomialSchedule{.lr = 1e-5, .warmup_updates = 10, .total_num_update = 100, .power = 2,
                                  .end_learning_rate = 1e-7}, 1e-5,
               {{5, 5e-06}, {11, 9.781222222222223e-06}, {55, 2.575e-06}, {99, 1.012222222222222e-07}, {100, 1e-07}});
  check_values(PolynomialSchedule{.lr = 1, .total_num_update = 4}, 1, {{0, 1}, {1, 0.75}});
}

TEST_CASE("constant") { check_values(ConstantSchedule{.lr = 0.25}, 0.25, {{0, 0.25}, {1'000'000, 0.25}}); }

TEST_CASE("a schedule that cannot be run is refused by the name of its field") {
  CHECK_THROWS_WITH_AS(validate(CosineSchedule{.warmup_updates = 10, .max_update = 10}),
                       "CosineSchedule::max_update: expected more than warmup_updates, found 10.000000", OptionError);
  CHECK_THROWS_AS(validate(CosineSchedule{.max_update = 10, .t_mult = 0.5}), OptionError);
  CHECK_THROWS_AS(validate(TriStageSchedule{.final_lr_scale = 0}), OptionError);
  CHECK_THROWS_AS(validate(TriStageSchedule{.phase_ratio = std::array{0.1, 0.4, 0.5}}), OptionError);
  CHECK_THROWS_AS(validate(PolynomialSchedule{.total_num_update = 0}), OptionError);
  CHECK_THROWS_AS(validate(ConstantSchedule{.lr = -1}), OptionError);
}

TEST_CASE("EMA decay: the published configurations") {
  struct Row { EmaConfig config; std::vector<Point> points; };
  const std::vector<Row> rows{
      {{0.9998, 0.99999, 100000},
       {{1, 0.9998000019000001}, {1000, 0.9998019}, {50000, 0.999895}, {99999, 0.9999899981}, {100000, 0.99999},
        {200000, 0.99999}}},
      {{0.9998, 1.0, 300000}, {{1, 0.9998000006666667}, {150000, 0.9999}, {299999, 0.9999999993333333}, {300000, 1}}},
      {{0.999, 0.99999, 75000}, {{1, 0.9990000132}, {10, 0.999000132}, {37500, 0.999495}, {75000, 0.99999}}}};
  for (const Row& row : rows)
    for (const Point& p : row.points)
      CHECK(std::abs(ema_decay(row.config, p.update) - p.value) <= 4 * std::numeric_limits<double>::epsilon());
  static_assert(ema_decay({0.99, 0.99, 100}, 50) == 0.99);         // equal ends: constant
  static_assert(ema_decay({0.5, 0.75, 0}, 0) == 0.75);             // no annealing: the end value from the start
}
