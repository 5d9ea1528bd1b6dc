// SPDX-License-Identifier: MIT
// Targets that CTC cannot learn are named before the first step; a batch of them without allocation.
#include <doctest/doctest.h>

#include <cstdint>
#include <string>
#include <vector>

#include <data2vec/device/cpu/ctc.hpp>
#include <data2vec/finetune/ctc.hpp>

#include "tests/allocation_counter.hpp"

using namespace data2vec;
using Labels = std::vector<std::int32_t>;

TEST_CASE("ctc: what cannot be learnt is named") {
  const auto problem = [](const Labels& labels, std::int64_t frames) -> std::string {
    try {
      check_ctc_target("t.wrd:7", labels, frames, 6);
    } catch (const MismatchError& error) {
      return error.what();
    }
    return "";
  };
  CHECK(problem({4, 5, 4}, 3) == "");
  CHECK(problem({4, 4, 5, 5}, 6) == "");
  CHECK(problem({4, 4, 5, 5}, 5) == "t.wrd:7: transcript of 4 letters: expected 6 frames or more, found 5");
  CHECK(problem({}, 5) == "t.wrd:7: transcript: expected letters, found none");
  CHECK(problem({4, 6}, 5) == "t.wrd:7: label: expected 0 to 5 without the blank 0, found 6");
  CHECK(problem({0}, 5) == "t.wrd:7: label: expected 0 to 5 without the blank 0, found 0");
  CHECK(problem({-1}, 5) == "t.wrd:7: label: expected 0 to 5 without the blank 0, found -1");
}

TEST_CASE("ctc: a batch gives what the operation gives, and allocates nothing") {
  constexpr int C = 3, frames = 4;
  CtcBatch batch(2, frames, 3);
  const Labels first{1, 2}, second{2, 2};
  std::vector<float> logits;
  for (int i = 0; i < 2 * frames * C; ++i) logits.push_back(static_cast<float>(i * 7 % 5));
  std::vector<float> dlogits(logits.size());
  std::vector<double> losses(2);
  CtcSums sums;
  Cpu cpu;
  const auto step = [&] {
    batch.set(0, first, 3);
    batch.set(1, second, 4);
    sums = batch.loss<C>(cpu, 2, logits.data(), {}, 0.5, losses.data(), dlogits.data());
  };
#ifdef D2V_COUNTS_ALLOCATIONS
  CHECK(allocations_of(step) == 0);
#else
  step();
#endif
  CHECK(batch.labels() == 4);
  CHECK(sums.loss == losses[0] + losses[1]);
  CHECK(sums.impossible == 0);
  // Each row alone, from memory of its own.
  for (std::size_t row = 0; row < 2; ++row) {
    const Labels& target = row == 0 ? first : second;
    const std::int32_t length = 2, valid = row == 0 ? 3 : 4;
    std::vector<double> memory(ctc_workspace_size(frames, 2));
    std::vector<float> gradient(frames * C);
    double loss = 0;
    device::ctc<C>(cpu, 1, frames, logits.data() + row * frames * C, &valid, 2, target.data(), &length, {}, 0.5, &loss,
                   gradient.data(), memory.data());
    CHECK(loss == losses[row]);
    for (std::size_t i = 0; i < gradient.size(); ++i) CHECK(gradient[i] == dlogits[row * frames * C + i]);
  }
}

TEST_CASE("ctc: a batch has room for what it was made for") {
  CtcBatch batch(2, 4, 3);
  CHECK_THROWS_WITH_AS(batch.set(2, {}, 1), "CtcBatch: row: expected 0 to 1, found 2", MismatchError);
  CHECK_THROWS_WITH_AS(batch.set(0, Labels{1, 2, 3, 4}, 1), "CtcBatch: labels: expected 0 to 3, found 4",
                       MismatchError);
  CHECK_THROWS_WITH_AS(batch.set(0, {}, 5), "CtcBatch: frames: expected 0 to 4, found 5", MismatchError);
  Cpu cpu;
  const float logits[36] = {};
  CHECK_THROWS_AS(batch.loss<3>(cpu, 3, logits, {}, 1, nullptr, nullptr), MismatchError);
}
