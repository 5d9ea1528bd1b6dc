// SPDX-License-Identifier: MIT
// Windows over long recordings: every frame once, with its context, from the samples that it is made of.
#include <doctest/doctest.h>

#include <algorithm>
#include <cstdint>
#include <span>
#include <utility>
#include <vector>

#include <data2vec/data/windows.hpp>

#include "tests/allocation_counter.hpp"

namespace d2v = data2vec;

namespace {

constexpr std::pair<int, int> standard[] = {{10, 5}, {3, 2}, {3, 2}, {3, 2}, {3, 2}, {2, 2}, {2, 2}};
constexpr d2v::FrameGeometry geometries[] = {{400, 320}, {5, 3}, {3, 5}, {1, 1}, {7, 7}};

/// Sample i of a recording: no two are the same.
float sample(std::int64_t i) { return static_cast<float>(i + 1); }

}  // namespace

TEST_CASE("windows: the geometry of convolutions is that of their layers, one after the other") {
  static_assert(d2v::frame_geometry(standard) == d2v::FrameGeometry{400, 320});
  static_assert(d2v::FrameGeometry{}.frames(16'000) == 49);
  static_assert(d2v::FrameGeometry{}.samples(49) == 15'760);
  constexpr std::pair<int, int> odd[] = {{7, 3}, {2, 5}, {4, 1}};
  for (const std::span<const std::pair<int, int>> layers : {std::span<const std::pair<int, int>>(standard), {odd}}) {
    const d2v::FrameGeometry g = d2v::frame_geometry(layers);
    for (std::int64_t n = 0; n < 3000; ++n) {
      std::int64_t frames = n;
      for (const auto& [kernel, stride] : layers) frames = frames < kernel ? 0 : (frames - kernel) / stride + 1;
      REQUIRE(g.frames(n) == frames);
    }
    for (std::int64_t t = 1; t < 9; ++t) {
      CHECK(g.frames(g.samples(t)) == t);
      CHECK(g.frames(g.samples(t) - 1) == t - 1);
    }
  }
}

TEST_CASE("windows: every frame exactly once, in order, with its context, out of samples that are there") {
  for (const d2v::FrameGeometry& g : geometries)
    for (std::int64_t window_frames = 1; window_frames < 9; ++window_frames)
      for (std::int64_t margin = 0; 2 * margin < window_frames; ++margin)
        for (std::int64_t total = 1; total < 40; ++total)
          for (const std::int64_t extra : {std::int64_t{0}, std::int64_t{g.hop} - 1}) {
            const std::int64_t window = g.samples(window_frames) + extra,
                               samples = g.samples(total) + g.hop - 1 - extra;
            const d2v::WindowPlan plan(samples, window, margin, g);
            REQUIRE(plan.frames() == total);
            std::int64_t next = 0;
            for (std::int64_t i = 0; i < plan.size(); ++i) {
              const d2v::Window w = plan[i];
              REQUIRE(w.begin == w.first_frame * g.hop);
              REQUIRE(w.keep_begin == next);
              REQUIRE(w.keep_end > w.keep_begin);
              REQUIRE((w.keep_begin - w.first_frame >= margin || w.first_frame == 0));
              REQUIRE((w.first_frame + window_frames - w.keep_end >= margin || w.keep_end == total));
              REQUIRE(w.begin + g.samples(w.keep_end - w.first_frame) <= w.begin + w.valid);  // no frame sees padding
              REQUIRE(w.begin + w.valid <= samples);
              REQUIRE(w.valid <= window);
              next = w.keep_end;
            }
            REQUIRE(next == total);
          }
}

TEST_CASE("windows: read one after the other, each sample once, in memory of one window") {
  for (const d2v::FrameGeometry& g : geometries)
    for (const std::int64_t window_frames : {1, 3, 8})
      for (const std::int64_t total : {1, 2, 8, 9, 30}) {
        const d2v::WindowPlan plan(g.samples(total) + 1, g.samples(window_frames) + 1, (window_frames - 1) / 3, g);
        d2v::WindowReader reader(plan);
        std::int64_t given = 0;
        const auto source = [&](std::span<float> out) {
          for (float& x : out) x = sample(given++);
          return out.size();
        };
        for (std::int64_t i = 0; i < plan.size(); ++i) {
          CHECK(reader.next() == i);
          const auto [w, samples] = reader.read(source);
          REQUIRE(w == plan[i]);
          REQUIRE(static_cast<std::int64_t>(samples.size()) == plan.window());
          for (std::int64_t k = 0; k < plan.window(); ++k)
            REQUIRE(samples[static_cast<std::size_t>(k)] == (k < w.valid ? sample(w.begin + k) : 0));
        }
        CHECK(reader.done());
        CHECK(given <= plan.samples());
        CHECK_THROWS_AS(reader.read(source), d2v::OptionError);
      }
}

TEST_CASE("windows: hours take no more memory than seconds") {
  const std::int64_t hours = 3 * 3600 * 16'000ll;
  const d2v::WindowPlan plan(hours, 16'000, 5);
  CHECK(plan.frames() == d2v::FrameGeometry{}.frames(hours));
  d2v::WindowReader reader(plan);
  std::int64_t frames = 0;
  const auto all = [&] {
    while (!reader.done()) {
      const auto [w, samples] = reader.read([](std::span<float> out) {
        std::fill(out.begin(), out.end(), 0.5f);
        return out.size();
      });
      frames += w.keep_end - w.keep_begin;
    }
  };
#ifdef D2V_COUNTS_ALLOCATIONS
  CHECK(allocations_of(all) == 0);
#else
  all();
#endif
  CHECK(frames == plan.frames());
}

TEST_CASE("windows: what is refused") {
  CHECK_THROWS_WITH_AS(d2v::WindowPlan(399, 16'000, 5),
                       "WindowPlan: expected a recording of 400 samples or more, found 399", d2v::MismatchError);
  CHECK_THROWS_WITH_AS(
      d2v::WindowPlan(16'000, 16'000, 25),
      "WindowPlan: margin: expected 0 or more, and less than half of the 49 frames of a window, found 25",
      d2v::OptionError);
  CHECK_THROWS_AS(d2v::WindowPlan(16'000, 399, 0), d2v::OptionError);
  CHECK_THROWS_AS(d2v::WindowPlan(16'000, 16'000, 0, {0, 1}), d2v::OptionError);
  d2v::WindowReader reader(d2v::WindowPlan(20'000, 16'000, 0));
  CHECK_THROWS_WITH_AS(reader.read([](std::span<float>) { return std::size_t{77}; }),
                       "WindowReader: expected a recording of 20000 samples, found 77", d2v::MismatchError);
}
