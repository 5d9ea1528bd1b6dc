// SPDX-License-Identifier: MIT
// Attention against double and finite differences; hidden keys, bias, dropout, long sequences, bits.
#include <doctest/doctest.h>

#include <memory>

#include <data2vec/device/cpu/attention.hpp>

#include "support.hpp"

using namespace data2vec;
using support::numbers;

namespace {

constexpr int H = 2, Dh = 6;
const std::uint32_t ids[] = {5, 9, 11, 2};

std::size_t size(int a, int b, int c = 1, int d = 1) {
  return static_cast<std::size_t>(a) * static_cast<std::size_t>(b) * static_cast<std::size_t>(c) *
         static_cast<std::size_t>(d);
}

// Everything in double, one number after the other.
template <bool with_dropout, class T>
std::vector<double> reference(int rows, int S, const std::vector<T>& qkv, const AttentionExtras<T>& extras,
                              std::vector<double>* probabilities = nullptr) {
  std::vector<double> out(size(rows, S, H, Dh));
  const auto at = [&](int r, int s, int part, int h, int d) {
    return static_cast<double>(qkv[static_cast<std::size_t>((((r * S + s) * 3 + part) * H + h) * Dh + d)]);
  };
  for (int r = 0; r < rows; ++r)
    for (int h = 0; h < H; ++h)
      for (int i = 0; i < S; ++i) {
        std::vector<double> p(static_cast<std::size_t>(S));
        double sum = 0;
        for (int j = 0; j < S; ++j) {
          double logit = 0;
          for (int d = 0; d < Dh; ++d) logit += at(r, i, 0, h, d) * at(r, j, 1, h, d);
          logit /= std::sqrt(double(Dh));
          const int place = ((r * H + h) * S + i) * S + j;
          if (extras.bias) logit += static_cast<double>(extras.bias[place]);
          const bool hidden = extras.key_hidden && extras.key_hidden[r * S + j];
          sum += p[static_cast<std::size_t>(j)] = hidden ? 0 : std::exp(logit);
        }
        for (int j = 0; j < S; ++j) {
          double& weight = p[static_cast<std::size_t>(j)];
          weight = sum > 0 ? weight / sum : 0;
          if (probabilities) probabilities->push_back(weight);
          if constexpr (with_dropout) {
            const auto e = static_cast<std::uint32_t>((h * S + i) * S + j);
            const bool keep = kept(draw(extras.dropout.key(r), e / 4), e, extras.dropout.rate);
            weight = keep ? weight / (1 - extras.dropout.rate) : 0;
          }
          for (int d = 0; d < Dh; ++d)
            out[static_cast<std::size_t>(((r * S + i) * H + h) * Dh + d)] += weight * at(r, j, 2, h, d);
        }
      }
  return out;
}

template <class T>
struct Case {
  int rows, S;
  std::vector<T> qkv, bias;
  std::unique_ptr<bool[]> hidden;

  Case(int rows_, int S_) : rows(rows_), S(S_) {
    qkv = numbers<T>(size(rows, S, 3, H * Dh), 1);
    bias = numbers<T>(size(rows, H, S, S), 2);
    hidden = std::make_unique<bool[]>(size(rows, S));
    for (int i = 0; i < rows * S; ++i) hidden[static_cast<std::size_t>(i)] = i % 5 == 3;
  }
  AttentionExtras<T> extras() const {
    return {bias.data(), hidden.get(), {.seed = 3, .update = 1, .sample_ids = ids, .masks = 1, .rate = 0.3}};
  }
};

}  // namespace

TEST_CASE_TEMPLATE("forward agrees with double", T, float, double) {
  Cpu cpu;
  for (const int S : {1, 3, 16, 19, 40, 65}) {
    INFO("S ", S);
    const Case<T> c(2, S);
    std::vector<T> out(size(2, S, H, Dh)), p(size(2, H, S, S));
    // Logits are sums of Dh + 1 terms and enter through exp; then S terms of both sums.
    const double tolerance = support::tolerance<T>(Dh + S + 8);
    device::attention<H, Dh, false>(cpu, 2, S, c.qkv.data(), {}, p.data(), out.data());
    CHECK(support::largest_difference(out, reference<false, T>(2, S, c.qkv, {})) < tolerance);
    std::vector<double> exact;
    const auto extras = c.extras();
    const auto expected = reference<true, T>(2, S, c.qkv, extras, &exact);
    device::attention<H, Dh, true>(cpu, 2, S, c.qkv.data(), extras, p.data(), out.data());
    CHECK(support::largest_difference(out, expected) < 2 * tolerance);
    CHECK(support::largest_difference(p, exact) < tolerance);
    std::vector<T> again(out.size());
    device::attention<H, Dh, true>(cpu, 2, S, c.qkv.data(), extras, nullptr, again.data());
    CHECK(again == out);
  }
}

TEST_CASE("backward agrees with central differences, every element") {
  Cpu cpu;
  for (const int S : {1, 5, 9}) {
    Case<double> c(2, S);
    const auto weights = numbers<double>(size(2, S, H, Dh), 4);
    std::vector<double> p(size(2, H, S, S)), out(weights.size()), dqkv(c.qkv.size(), NAN), dbias(p.size(), NAN);
    const auto extras = c.extras();
    device::attention<H, Dh, true>(cpu, 2, S, c.qkv.data(), extras, p.data(), out.data());
    device::attention_backward<H, Dh, true>(cpu, 2, S, weights.data(), c.qkv.data(), p.data(), extras, dqkv.data(),
                                            dbias.data());
    const auto loss = [&] {
      device::attention<H, Dh, true>(cpu, 2, S, c.qkv.data(), extras, nullptr, out.data());
      return support::dot(out, weights);
    };
    // Differences of step 1e-6: truncation 1e-12, rounding 1e-16 / 1e-6 times the loss.
    for (std::size_t i = 0; i < c.qkv.size(); ++i)
      CHECK(std::abs(support::central_difference(loss, c.qkv[i]) - dqkv[i]) < 1e-8);
    for (std::size_t i = 0; i < c.bias.size(); ++i)
      CHECK(std::abs(support::central_difference(loss, c.bias[i]) - dbias[i]) < 1e-8);
  }
}

TEST_CASE("backward in float agrees with double, over several blocks of queries") {
  Cpu cpu;
  const int S = 577;
  const Case<float> c(1, S);
  const Case<double> e(1, S);
  const auto d = numbers<float>(size(1, S, H, Dh), 4);
  const auto de = numbers<double>(size(1, S, H, Dh), 4);
  std::vector<float> p(size(1, H, S, S)), out(d.size()), dqkv(c.qkv.size());
  std::vector<double> pe(p.size()), oute(d.size()), dqkve(c.qkv.size());
  device::attention<H, Dh, true>(cpu, 1, S, c.qkv.data(), c.extras(), p.data(), out.data());
  device::attention<H, Dh, true>(cpu, 1, S, e.qkv.data(), e.extras(), pe.data(), oute.data());
  CHECK(support::largest_difference(out, oute) < support::tolerance<float>(S));
  CHECK(support::largest_difference(oute, reference<true>(1, S, e.qkv, e.extras())) < support::tolerance<double>(S));
  device::attention_backward<H, Dh, true>(cpu, 1, S, d.data(), c.qkv.data(), p.data(), c.extras(), dqkv.data(),
                                          nullptr);
  device::attention_backward<H, Dh, true>(cpu, 1, S, de.data(), e.qkv.data(), pe.data(), e.extras(), dqkve.data(),
                                          nullptr);
  CHECK(support::largest_difference(dqkv, dqkve) < support::tolerance<float>(S));
}

TEST_CASE_TEMPLATE("all keys hidden gives zeros, no NaN; NaN stays NaN", T, float, double) {
  Cpu cpu;
  const int S = 7;
  Case<T> c(2, S);
  for (std::size_t i = 0; i < 7; ++i) c.hidden[7 + i] = true;
  AttentionExtras<T> extras{nullptr, c.hidden.get(), {}};
  std::vector<T> out(size(2, S, H, Dh)), p(size(2, H, S, S)), dqkv(c.qkv.size());
  device::attention<H, Dh, false>(cpu, 2, S, c.qkv.data(), extras, p.data(), out.data());
  for (std::size_t i = out.size() / 2; i < out.size(); ++i) CHECK(out[i] == 0);
  device::attention_backward<H, Dh, false>(cpu, 2, S, out.data(), c.qkv.data(), p.data(), extras, dqkv.data(), nullptr);
  for (std::size_t i = dqkv.size() / 2; i < dqkv.size(); ++i) CHECK(dqkv[i] == 0);

  std::vector<T> broken = c.qkv;
  std::fill(broken.begin(), broken.begin() + 3 * H * Dh * S, T(NAN));
  device::attention<H, Dh, false>(cpu, 1, S, broken.data(), {}, nullptr, out.data());
  for (std::size_t i = 0; i < out.size() / 2; ++i) CHECK(std::isnan(out[i]));
  broken = c.qkv;
  broken[H * Dh] = T(NAN);  // the first key of the first head
  device::attention<H, Dh, false>(cpu, 1, S, broken.data(), {}, nullptr, out.data());
  for (int s = 0; s < S; ++s) {
    CHECK(std::isnan(out[size(s, H, Dh)]));
    CHECK(std::isfinite(out[size(s, H, Dh) + Dh]));
  }
}

TEST_CASE_TEMPLATE("a row has the same bits alone, in any batch, at any alignment", T, float, double) {
  Cpu cpu;
  const int S = 13, rows = 3;
  const Case<T> c(rows, S);
  const auto d = numbers<T>(size(rows, S, H, Dh), 4);
  std::vector<T> out(d.size()), p(size(rows, H, S, S)), dqkv(c.qkv.size()), dbias(p.size());
  const AttentionExtras<T> extras{c.bias.data(), c.hidden.get(), {}};
  device::attention<H, Dh, false>(cpu, rows, S, c.qkv.data(), extras, p.data(), out.data());
  device::attention_backward<H, Dh, false>(cpu, rows, S, d.data(), c.qkv.data(), p.data(), extras, dqkv.data(),
                                           dbias.data());
  const std::size_t in_size = size(S, 3, H, Dh), out_size = size(S, H, Dh), p_size = size(H, S, S);
  std::vector<T> one(out_size), done(in_size);
  for (std::size_t r = 0; r < rows; ++r) {
    const AttentionExtras<T> own{c.bias.data() + r * p_size, c.hidden.get() + r * std::size_t{S}, {}};
    device::attention<H, Dh, false>(cpu, 1, S, c.qkv.data() + r * in_size, own, nullptr, one.data());
    CHECK(support::same_bits(one.data(), out.data() + r * out_size, out_size));
    device::attention_backward<H, Dh, false>(cpu, 1, S, d.data() + r * out_size, c.qkv.data() + r * in_size,
                                             p.data() + r * p_size, own, done.data(), nullptr);
    CHECK(support::same_bits(done.data(), dqkv.data() + r * in_size, in_size));
  }
  for (std::size_t offset = 0; offset < 8; ++offset) {
    support::Shifted<T> q(c.qkv, offset), b(c.bias, 7 - offset), y(out, offset), pp(p, offset / 2);
    std::fill(y.data(), y.data() + out.size(), T(0));
    device::attention<H, Dh, false>(cpu, rows, S, q.data(), {b.data(), c.hidden.get(), {}}, pp.data(), y.data());
    CHECK((y == out));
    CHECK((pp == p));
  }
}

TEST_CASE("a sequence that does not fit is refused") {
  Cpu cpu;
  CHECK_THROWS_AS((device::attention<1, 1, false>(cpu, 1, 40'000, nullptr, {}, nullptr, static_cast<float*>(nullptr))),
                  OptionError);
}
