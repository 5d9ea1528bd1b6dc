// SPDX-License-Identifier: MIT
// What a masked language model takes for hidden tokens (RoBERTa's `fill_mask`).
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <numeric>
#include <span>
#include <string>
#include <vector>

#include <data2vec/core/buffer.hpp>
#include <data2vec/core/error.hpp>
#include <data2vec/device/cpu/all.hpp>
#include <data2vec/evaluation/features.hpp>
#include <data2vec/objective/roberta.hpp>

namespace data2vec::inline v0 {

struct TokenGuess {
  std::int32_t token = 0;
  double probability = 0;
};

/// Says of the hidden tokens of a text, one text at a time, what they are most likely. One for each thread.
template <class Model>
class MaskFiller {
  using Branch = typename Model::First;
  using F = Features<Model>;

 public:
  static constexpr int tokens = F::S, vocab = Branch::vocab;
  static constexpr std::int32_t mask = Branch::mask_token;  ///< what stands for a hidden token

  /// `parameters`: a buffer of Model::Parameters with the head, as checkpoint_encoder() reads it; it must stay.
  explicit MaskFiller(const float* parameters)
      : parameters_(bind<typename Model::template Parameters<const float>>(parameters)) {}

  /// For each `mask` of a text, in its order, the `count` most likely tokens, the best first; where two are as likely,
  /// the lower one. Throws OptionError for other than 1 to `tokens` tokens (without padding in the model: other than
  /// `tokens`), for one that is not in the vocabulary, or for a count that is not from 1 to `vocab`.
  std::vector<std::vector<TokenGuess>> operator()(std::span<const std::int32_t> text, int count) {
    const auto size = static_cast<int>(text.size());
    if (text.empty() || text.size() > static_cast<std::size_t>(tokens) || (!Branch::padded && size < tokens))
      throw OptionError("fill_mask: expected a text of " + std::string(Branch::padded ? "1 to " : "") +
                        std::to_string(tokens) + " tokens, found " + std::to_string(text.size()));
    if (count < 1 || count > vocab)
      throw OptionError("fill_mask: expected a count from 1 to " + std::to_string(vocab) + ", found " +
                        std::to_string(count));
    std::int32_t sample[tokens];
    std::fill(std::copy(text.begin(), text.end(), sample), sample + tokens, 1);  // <pad>
    int rows[tokens], masks = 0;
    for (int t = 0; t < size; ++t) {
      if (sample[t] < 0 || sample[t] >= vocab)
        throw OptionError("fill_mask: expected tokens from 0 to " + std::to_string(vocab - 1) + ", found " +
                          std::to_string(sample[t]));
      if (sample[t] == mask) rows[masks++] = t;
    }
    std::vector<std::vector<TokenGuess>> guesses;
    if (masks == 0) return guesses;
    Cpu device;
    const auto w = bind<Workspace>(memory_.data());
    const auto weights = Model::template weights<0>(parameters_);
    const auto encoded =
        F::run(device, weights, View<const std::int32_t, 1, tokens>{sample}, w.features,
               bind<typename F::Index>(index_.data()), F::last_layer, Branch::padded ? &size : nullptr);
    device::gather_rows<F::D>(device, masks, encoded.data, rows, w.hidden.data);
    Branch::Head::forward(device, weights.branch.head, weights.branch.front.local_encoder.embed_tokens.weight.data,
                          masks, w.hidden.data, w.head);
    for (int i = 0; i < masks; ++i) guesses.push_back(most_likely(w.head.logits[i].data, count));
    return guesses;
  }

 private:
  struct Workspace {
    typename F::template Workspace<float> features;
    View<float, tokens, F::D> hidden;
    typename Branch::Head::template Tape<float, tokens> head;
    static constexpr void visit(auto&& f, auto&... w) {
      f("features", w.features...);
      f("hidden", w.hidden...);
      f("head", w.head...);
    }
  };

  static std::vector<TokenGuess> most_likely(const float* logits, int count) {
    std::vector<std::int32_t> order(static_cast<std::size_t>(vocab));
    std::iota(order.begin(), order.end(), 0);
    std::partial_sort(order.begin(), order.begin() + count, order.end(), [&](std::int32_t a, std::int32_t b) {
      return logits[a] != logits[b] ? logits[a] > logits[b] : a < b;
    });
    const double best = static_cast<double>(logits[order[0]]);
    double sum = 0;
    for (int v = 0; v < vocab; ++v) sum += std::exp(static_cast<double>(logits[v]) - best);
    std::vector<TokenGuess> guesses;
    for (int i = 0; i < count; ++i) {
      const std::int32_t token = order[static_cast<std::size_t>(i)];
      guesses.push_back({token, std::exp(static_cast<double>(logits[token]) - best) / sum});
    }
    return guesses;
  }

  typename Model::template Parameters<const float> parameters_;
  Buffer<float> memory_{buffer_size<Workspace>};
  Buffer<int> index_{buffer_size<typename F::Index>};
};

}  // namespace data2vec::inline v0
