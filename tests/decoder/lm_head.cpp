// SPDX-License-Identifier: MIT
// The head of masked language models: gradients with weights of its own and with those of the embedding, the loss.
#include <data2vec/decoder/lm_head.hpp>

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include <tests/layers/adaptors.hpp>

using namespace data2vec;
using namespace data2vec::testing;

namespace {

constexpr int rows = 3, D = 5, vocab = 7;
constexpr std::int32_t labels[rows] = {6, 0, 6};

/// From vectors to the loss; the table is a parameter.
template <bool tied>
struct HeadLayer {
  using Head = LanguageModelHead<D, vocab, tied>;
  static constexpr int input_size = rows * D, output_size = 1;
  template <class T>
  struct Table {
    View<T, vocab, D> table;
    static constexpr void visit(auto&& f, auto&... p) { f("embed_tokens", p.table...); }
  };
  template <class T>
  struct Parameters {
    std::conditional_t<tied, Table<T>, Nothing> embedding;
    typename Head::template Parameters<T> head;
    static constexpr void visit(auto&& f, auto&... p) {
      f("", p.embedding...);
      f("lm_head", p.head...);
    }
  };
  template <class T>
  using Tape = typename Head::template Tape<T, rows + 1>;

  template <class P>
  static auto table(const P& p) {
    if constexpr (tied) return p.embedding.table.data;
    else return decltype(p.head.bias.data)(nullptr);
  }
  static void forward(Cpu& d, const Parameters<const double>& p, const double* x, double* y, const Tape<double>& tape) {
    Head::forward(d, p.head, table(p), rows, x, tape);
    *y = Head::loss(d, rows, labels, 1, tape).loss;
  }
  static void backward(Cpu& d, const Parameters<const double>& p, const double* x, double* dy, double* dx,
                       const Parameters<double>& gradient, const Tape<double>& tape) {
    device::scale(d, static_cast<std::size_t>(rows) * vocab, *dy, tape.logits.data);
    Head::backward(d, p.head, table(p), rows, x, dx, gradient.head, table(gradient), tape);
  }
};

}  // namespace

TEST_CASE("language model head: gradients, tied to the embedding and not") {
  expect_gradients<HeadLayer<true>>();
  expect_gradients<HeadLayer<false>>();
}

TEST_CASE("language model head: names of the reference, the tied weight is not one of them") {
  const auto names = [](const auto& table) {
    std::vector<std::string> found;
    for (const TensorInfo& info : table) found.emplace_back(info.name.view());
    return found;
  };
  CHECK(names(tensor_table<LanguageModelHead<D, vocab>::Parameters<float>>) ==
        std::vector<std::string>{"bias", "dense.weight", "dense.bias", "layer_norm.weight", "layer_norm.bias"});
  CHECK(names(tensor_table<LanguageModelHead<D, vocab, false>::Parameters<float>>).front() == "weight");
}

TEST_CASE("language model head: loss and right answers are counted where the gradient replaces the logits") {
  using Layer = HeadLayer<true>;
  Cpu d;
  Rng rng({.seed = 9});
  std::vector<double> weights(buffer_size<Layer::Parameters<double>>), x(Layer::input_size),
      memory(buffer_size<Layer::Tape<double>>);
  for (double& w : weights) w = static_cast<double>(rng.normal());
  for (double& v : x) v = static_cast<double>(rng.normal());
  const auto p = bind<Layer::Parameters<const double>>(weights.data());
  const auto tape = bind<Layer::Tape<double>>(memory.data());
  Layer::Head::forward(d, p.head, p.embedding.table.data, rows, x.data(), tape);
  double loss = 0;
  int correct = 0;
  for (int r = 0; r < rows; ++r) {
    const double* const logits = tape.logits[r].data;
    double sum = 0;
    for (int k = 0; k < vocab; ++k) sum += std::exp(logits[k]);
    loss += std::log(sum) - logits[labels[r]];
    correct += std::max_element(logits, logits + vocab) - logits == labels[r];
  }
  const ClassificationSums sums = Layer::Head::loss(d, rows, labels, 1, tape);
  CHECK(std::fabs(sums.loss - loss) < 8 * std::numeric_limits<double>::epsilon() * vocab * loss);
  CHECK(sums.correct == correct);
}
