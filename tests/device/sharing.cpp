// SPDX-License-Identifier: MIT
// Operations by the threads of a team, and operations that do two things at once: the same bits as by one thread, one
// after the other.
#include <doctest/doctest.h>

#include <numeric>

#include <data2vec/device/cpu/all.hpp>

#include "support.hpp"

using namespace data2vec;
using support::numbers;

namespace {

using Floats = std::vector<float>;

/// What `f(device)` returns alone and with teams of several sizes.
template <class F>
void check_teams(F&& f) {
  Cpu alone;
  const Floats expected = f(alone);
  for (const int threads : {1, 2, 3, 5}) {
    ThreadTeam team(threads);
    Cpu shared{&team};
    INFO(threads, " threads");
    CHECK(support::same_bits(f(shared).data(), expected.data(), expected.size()));
  }
}

Floats joined(std::initializer_list<Floats> parts) {
  Floats all;
  for (const Floats& part : parts) all.insert(all.end(), part.begin(), part.end());
  return all;
}

}  // namespace

TEST_CASE("products have the same bits for any number of threads") {
  constexpr int In = 200, Out = 136, rows = 301;
  const Floats x = numbers<float>(rows * In, 1), w = numbers<float>(Out * In, 2), b = numbers<float>(Out, 3),
               dy = numbers<float>(rows * Out, 4);
  check_teams([&](Cpu& d) {
    Floats y(rows * Out), activated(y), dx(rows * In, 1), dw(Out * In, 1), db(Out, 1);
    device::linear_gelu<In, Out>(d, rows, x.data(), w.data(), b.data(), y.data(), activated.data());
    device::linear_input_gradient<In, Out, Grad::accumulate>(d, rows, dy.data(), w.data(), dx.data());
    device::linear_weight_gradient<In, Out>(d, rows, dy.data(), x.data(), dw.data(), db.data());
    return joined({y, activated, dx, dw, db});
  });
  check_teams([&](Cpu& d) {  // few columns: rows are shared
    Floats y(rows * 5);
    device::linear<In, 5>(d, rows, x.data(), w.data(), b.data(), y.data());
    return y;
  });
}

TEST_CASE("a linear layer with GELU behind it has the bits of both; so have the gradients") {
  Cpu d;
  constexpr int rows = 21;
  const auto check = [&]<int In, int Out>() {
    const Floats x = numbers<float>(rows * In, 1), w = numbers<float>(Out * In, 2), b = numbers<float>(Out, 3);
    Floats y(rows * Out), activated(y), plain(y), expected(y);
    device::linear<In, Out>(d, rows, x.data(), w.data(), b.data(), plain.data());
    device::gelu(d, plain.size(), plain.data(), expected.data());
    device::linear_gelu<In, Out>(d, rows, x.data(), w.data(), b.data(), y.data(), activated.data());
    CHECK(support::same_bits(y.data(), plain.data(), y.size()));
    CHECK(support::same_bits(activated.data(), expected.data(), y.size()));
    device::linear_gelu<In, Out>(d, rows, x.data(), w.data(), b.data(), y.data(), y.data());  // in place
    CHECK(support::same_bits(y.data(), expected.data(), y.size()));

    const Floats dy = numbers<float>(rows * Out, 4);
    Floats dx(dy), again(dy), dplain(dy);
    device::gelu_backward(d, dy.size(), dy.data(), plain.data(), dplain.data());
    device::gelu_backward(d, dy.size(), dy.data(), plain.data(), dx.data(), again.data());
    CHECK(support::same_bits(dx.data(), dplain.data(), dx.size()));
    CHECK(support::same_bits(again.data(), expected.data(), dx.size()));
  };
  check.operator()<40, 37>();
  check.operator()<800, 9>();  // several blocks of terms
}

TEST_CASE("norm, GELU and residual at once have the bits of each alone") {
  constexpr int C = 44, rows = 300;
  Cpu d;
  const Floats x = numbers<float>(rows * C, 1), residual = numbers<float>(rows * C, 2),
               dy = numbers<float>(rows * C, 3);
  Floats normed(x), stats(rows * 2), expected(x), y(x), found_stats(stats), dx(x), dexpected(x);
  device::layer_norm<C>(d, rows, x.data(), nullptr, nullptr, 1e-5, normed.data(), stats.data());
  device::gelu(d, x.size(), normed.data(), expected.data());
  device::norm_gelu<C>(d, rows, x.data(), 1e-5, nullptr, y.data(), found_stats.data());
  CHECK(support::same_bits(y.data(), expected.data(), y.size()));
  CHECK(support::same_bits(found_stats.data(), stats.data(), stats.size()));
  device::add(d, x.size(), expected.data(), residual.data(), expected.data());
  device::norm_gelu<C>(d, rows, x.data(), 1e-5, residual.data(), y.data(), found_stats.data());
  CHECK(support::same_bits(y.data(), expected.data(), y.size()));
  device::gelu_backward(d, x.size(), dy.data(), normed.data(), dexpected.data());
  device::layer_norm_backward<C>(d, rows, dexpected.data(), x.data(), nullptr, stats.data(), dexpected.data(), nullptr,
                                 nullptr);
  device::norm_gelu_backward<C>(d, rows, dy.data(), x.data(), stats.data(), dx.data());
  CHECK(support::same_bits(dx.data(), dexpected.data(), dx.size()));
}

TEST_CASE("norms, attention, convolutions, noise and moves have the same bits for any number of threads") {
  SUBCASE("norms") {
    constexpr int C = 136, rows = 601;
    const Floats x = numbers<float>(rows * C, 1), gamma = numbers<float>(C, 2), beta = numbers<float>(C, 3),
                 dy = numbers<float>(rows * C, 4);
    check_teams([&](Cpu& d) {
      Floats y(x), stats(rows * 2), dx(dy), dgamma(C, 1), dbeta(C, 2), z(x), dz(x), zstats(stats), standard(x);
      device::layer_norm<C>(d, rows, x.data(), gamma.data(), beta.data(), 1e-5, y.data(), stats.data());
      device::layer_norm_backward<C>(d, rows, dx.data(), x.data(), gamma.data(), stats.data(), dx.data(), dgamma.data(),
                                     dbeta.data());
      device::norm_gelu<C>(d, rows, x.data(), 1e-5, dy.data(), z.data(), zstats.data());
      device::norm_gelu_backward<C>(d, rows, dy.data(), x.data(), zstats.data(), dz.data());
      device::standardise_channels<C>(d, 1, rows, 1e-5, standard.data());
      return joined({y, stats, dx, dgamma, dbeta, z, dz, standard});
    });
  }
  SUBCASE("attention") {
    constexpr int H = 3, Dh = 20, rows = 5, S = 50, step = 3 * H * Dh;
    const Floats qkv = numbers<float>(rows * S * step, 1), dout = numbers<float>(rows * S * H * Dh, 2);
    check_teams([&](Cpu& d) {
      Floats p(rows * H * S * S), out(rows * S * H * Dh), dqkv(qkv), dbias(p);
      device::attention<H, Dh, false>(d, rows, S, qkv.data(), {}, p.data(), out.data());
      device::attention_backward<H, Dh, false>(d, rows, S, dout.data(), qkv.data(), p.data(), {}, dqkv.data(),
                                               dbias.data());
      return joined({p, out, dqkv, dbias});
    });
  }
  SUBCASE("convolutions") {
    const auto check_shape = []<ConvShape shape>(std::integral_constant<ConvShape, shape>) {
      constexpr int rows = 4, pixels = rows * shape.height * shape.width, in = shape.in_channels,
                    out = shape.out_channels;
      const Floats x = numbers<float>(pixels * in, 1), w = numbers<float>(out * (in / shape.groups) * 9, 2),
                   b = numbers<float>(out, 3), dy = numbers<float>(pixels * out, 4);
      check_teams([&](Cpu& d) {
        Floats y(pixels * out), dx(pixels * in), sum(pixels * in, 1), dw(w.size()), db(out);
        device::grouped_conv<shape>(d, rows, x.data(), w.data(), b.data(), y.data());
        device::grouped_conv_input_gradient<shape>(d, rows, dy.data(), w.data(), dx.data());
        device::grouped_conv_input_gradient<shape, Grad::accumulate>(d, rows, dy.data(), w.data(), sum.data());
        device::grouped_conv_weight_gradient<shape>(d, rows, dy.data(), x.data(), dw.data(), db.data());
        Floats expected(dx);
        for (float& e : expected) e += 1;
        if (out <= 64)  // else several blocks of channels are added one after the other
          CHECK(support::same_bits(sum.data(), expected.data(), sum.size()));
        return joined({y, dx, dw, db});
      });
    };
    check_shape(std::integral_constant<ConvShape, ConvShape{24, 40, 4, 3, 3, 7, 6}>());     // groups
    check_shape(std::integral_constant<ConvShape, ConvShape{70, 300, 1, 1, 9, 1, 11}>());   // output channels of one
    check_shape(std::integral_constant<ConvShape, ConvShape{24, 40, 2, 3, 3, 7, 6}>());     // tiles
  }
  SUBCASE("noise, dropout and moves") {
    constexpr int C = 600, rows = 90;
    const Floats x = numbers<float>(rows * C, 1);
    std::vector<int> index(rows);
    std::iota(index.begin(), index.end(), -1);
    index[7] = 3;
    std::vector<std::uint32_t> ids(rows);
    std::iota(ids.begin(), ids.end(), 5u);
    const DropoutDraws draws{.seed = 3, .update = 2, .sample_ids = ids.data(), .rate = 0.3};
    check_teams([&](Cpu& d) {
      Floats noise(x), dropped(x), gathered(x), scattered(x), sum(x), scaled(x), copied(x.size()), filled(x);
      device::normal_noise(d, rows, C, draws, noise.data());
      device::dropout(d, rows, C, draws, x.data(), dropped.data());
      device::gather_rows<C>(d, rows, x.data(), index.data(), gathered.data());
      device::scatter_add_rows<C>(d, rows, x.data(), index.data(), scattered.data());
      device::add(d, sum.size(), sum.data(), noise.data(), sum.data());
      device::scale(d, scaled.size(), 0.7, scaled.data());
      device::add_scaled(d, scaled.size(), 0.3, x.data(), scaled.data());
      device::copy(d, x.size(), x.data(), copied.data());
      device::fill(d, filled.size(), 0.5, filled.data());
      return joined({noise, dropped, gathered, scattered, sum, scaled, copied, filled});
    });
  }
}
