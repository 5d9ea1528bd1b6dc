// SPDX-License-Identifier: MIT
// Look-up of token ids, its gradient and the sinusoids, against plain loops.
#include <data2vec/device/cpu/embedding.hpp>

#include <doctest/doctest.h>

#include <vector>

#include <data2vec/layers/position.hpp>

#include <tests/device/support.hpp>

using namespace data2vec;
using namespace support;

namespace {

constexpr int samples = 3, tokens = 7, pad = 1, vocab = 9, places = pad + 1 + tokens;

/// Ids with padding behind, between (which takes no position) and nowhere.
const std::vector<std::int32_t> ids{4, 0, 8, 4, 4, 1, 1,  //
                                    2, 1, 3, 1, 5, 6, 7,  //
                                    8, 8, 8, 8, 8, 8, 8};

/// fairseq's `make_positions`: pad + the number of tokens so far that are not pad; pad for these.
std::vector<int> positions() {
  std::vector<int> all;
  for (int b = 0; b < samples; ++b)
    for (int t = 0, count = 0; t < tokens; ++t) {
      const bool is_pad = ids[static_cast<std::size_t>(b * tokens + t)] == pad;
      count += !is_pad;
      all.push_back(is_pad ? pad : pad + count);
    }
  return all;
}

template <class T, int C>
void check_embedding() {
  const auto table = numbers<T>(vocab * C, 1), positional = numbers<T>(places * C, 2), dy = numbers<T>(ids.size() * C, 3);
  const auto where = positions();
  Cpu cpu;
  for (const bool placed : {true, false}) {
    std::vector<T> y(dy.size()), expected(dy.size());
    std::vector<T> dtable = numbers<T>(table.size(), 4), dplaces = numbers<T>(positional.size(), 5);
    std::vector<double> wanted(dtable.begin(), dtable.end()), wanted_places(dplaces.begin(), dplaces.end());
    for (std::size_t i = 0; i < ids.size(); ++i)
      for (std::size_t c = 0; c < C; ++c) {
        const std::size_t at = i * C + c, id = static_cast<std::size_t>(ids[i]) * C + c;
        const std::size_t place = static_cast<std::size_t>(where[i]) * C + c;
        expected[at] = static_cast<T>(1.5 * static_cast<double>(table[id]) +
                                      (placed ? static_cast<double>(positional[place]) : 0));
        if (ids[i] == pad) continue;
        wanted[id] += 1.5 * static_cast<double>(dy[at]);
        if (placed) wanted_places[place] += static_cast<double>(dy[at]);
      }
    const EmbeddingShape shape{samples, tokens, pad};
    device::embed<C>(cpu, shape, ids.data(), table.data(), 1.5, placed ? positional.data() : nullptr, y.data());
    device::embed_gradient<C>(cpu, shape, ids.data(), dy.data(), 1.5, dtable.data(), placed ? dplaces.data() : nullptr);
    CHECK(largest_difference(y, expected) <= tolerance<T>(2, 2.5));
    CHECK(largest_difference(dtable, wanted) <= tolerance<T>(9, 12));
    CHECK(largest_difference(dplaces, wanted_places) <= tolerance<T>(4, 4));
  }
}

}  // namespace

TEST_CASE_TEMPLATE("embedding: look-up and gradient are the plain loops; pad tokens get no gradient", T, float, double) {
  check_embedding<T, 5>();
  check_embedding<T, 64>();
}

TEST_CASE("embedding: the same bits with a team of threads") {
  constexpr int C = 192, many = 60;
  std::vector<std::int32_t> texts(many * tokens);
  Rng rng(DrawKey{.seed = 5});
  for (auto& id : texts) id = static_cast<std::int32_t>(rng.below(vocab));
  const auto table = numbers<float>(vocab * C, 1), dy = numbers<float>(texts.size() * C, 3);
  std::vector<float> one(dy.size()), several(dy.size()), done(table.size()), dseveral(table.size());
  Cpu alone;
  ThreadTeam team(3);
  Cpu together{&team};
  const EmbeddingShape shape{many, tokens, pad};
  const auto run = [&](Cpu& cpu, std::vector<float>& y, std::vector<float>& dtable) {
    device::embed<C>(cpu, shape, texts.data(), table.data(), 1, nullptr, y.data());
    device::embed_gradient<C>(cpu, shape, texts.data(), dy.data(), 1, dtable.data(), nullptr);
  };
  run(alone, one, done);
  run(together, several, dseveral);
  CHECK(same_bits(one.data(), several.data(), one.size()));
  CHECK(same_bits(done.data(), dseveral.data(), done.size()));
}

TEST_CASE_TEMPLATE("sinusoids: those of the formula", T, float, double) {
  constexpr int C = 30, rows = 515;
  std::vector<T> found(rows * C, T(7)), expected(rows * C);
  Cpu cpu;
  device::sinusoids<C>(cpu, rows, pad, found.data());
  sinusoid_positions(rows, C, pad, expected.data());
  // Each turn rounds once or twice; angles of the formula reach 515 rad, with an error of that much more.
  CHECK(largest_difference(found, expected) <=
        (sizeof(T) == 4 ? tolerance<T>(1) : tolerance<T>(rows, 0)) + 515 * tolerance<double>(1));
  constexpr int odd = 5;
  std::vector<double> five(3 * odd, 7.0);
  device::sinusoids<odd>(cpu, 3, -1, five.data());
  CHECK(five[4] == 0);
  CHECK(five[odd + 4] == 0);
}
