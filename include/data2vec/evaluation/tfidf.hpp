// SPDX-License-Identifier: MIT
// A baseline for the classification of text that every encoder must beat: how often each word and pair of words occurs,
// weighted by rarity (Salton and Buckley, 1988), and a linear classifier.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <numeric>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include <data2vec/core/error.hpp>
#include <data2vec/core/random.hpp>

namespace data2vec::inline v0 {

struct TfidfOptions {
  int passes = 8;          ///< over the training texts
  double penalty = 1e-7;   ///< of the squared weights
  double step = 4;         ///< of the first update; at update t it is step / (1 + step * penalty * t)
  std::uint64_t seed = 1;  ///< of the order of the texts
};

/// Softmax regression on weighted counts: (1 + log count) * (1 + log((1 + texts) / (1 + texts with it))), each text to
/// length 1, fitted by stochastic gradient descent. A function of its arguments.
class TfidfClassifier {
 public:
  /// Texts with labels from 0 to classes - 1. Throws MismatchError unless there are as many labels as texts, and
  /// OptionError for a label out of range or without texts.
  void fit(std::span<const std::string> texts, std::span<const int> labels, int classes,
           const TfidfOptions& options = {}) {
    if (texts.size() != labels.size())
      throw MismatchError("tf-idf: expected as many labels as texts, " + std::to_string(texts.size()) + ", found " +
                          std::to_string(labels.size()));
    if (texts.empty() || classes < 1)
      throw OptionError("tf-idf: expected texts and classes, found " + std::to_string(texts.size()) + " and " +
                        std::to_string(classes));
    for (const int label : labels)
      if (label < 0 || label >= classes)
        throw OptionError("tf-idf: expected labels from 0 to " + std::to_string(classes - 1) + ", found " +
                          std::to_string(label));
    learn_features(texts);
    classes_ = static_cast<std::size_t>(classes);
    std::vector<std::vector<Feature>> rows;
    rows.reserve(texts.size());
    for (const std::string& text : texts) rows.push_back(features(text));
    weights_.assign((rarity_.size() + 1) * classes_, 0.0f);  // the last row is the bias
    std::vector<std::uint32_t> order(texts.size());
    std::iota(order.begin(), order.end(), 0u);
    std::vector<double> p(classes_);
    double shrunk = 1, updates = 0;  // weights are shrunk * weights_
    for (int pass = 0; pass < options.passes; ++pass) {
      Rng rng({.seed = options.seed, .update = static_cast<std::uint32_t>(pass), .site = Site::order});
      for (auto i = static_cast<std::uint32_t>(order.size()); i > 1; --i)
        std::swap(order[i - 1], order[rng.below(i)]);
      for (const std::uint32_t i : order) {
        const double step = options.step / (1 + options.step * options.penalty * updates++);
        scores(rows[i], shrunk, p);
        const double most = *std::max_element(p.begin(), p.end());
        double sum = 0;
        for (double& x : p) sum += x = std::exp(x - most);
        for (double& x : p) x /= sum;
        p[static_cast<std::size_t>(labels[i])] -= 1;
        shrunk *= 1 - step * options.penalty;
        for (const auto& [feature, value] : rows[i])
          for (std::size_t c = 0; c < classes_; ++c)
            weights_[feature * classes_ + c] -= static_cast<float>(step * static_cast<double>(value) * p[c] / shrunk);
        for (std::size_t c = 0; c < classes_; ++c)
          weights_[rarity_.size() * classes_ + c] -= static_cast<float>(0.01 * step * p[c]);
      }
    }
    for (std::size_t i = 0; i < rarity_.size() * classes_; ++i)
      weights_[i] = static_cast<float>(shrunk * static_cast<double>(weights_[i]));
  }

  std::size_t feature_count() const { return rarity_.size(); }

  /// The class of a text; what training texts did not have is passed over. Throws OptionError before fit().
  int predict(std::string_view text) const {
    if (classes_ == 0) throw OptionError("tf-idf: expected fit() before predict(), found none");
    std::vector<double> found(classes_);
    scores(features(text), 1, found);
    return static_cast<int>(std::max_element(found.begin(), found.end()) - found.begin());
  }
  std::vector<int> predict(std::span<const std::string> texts) const {
    std::vector<int> found;
    for (const std::string& text : texts) found.push_back(predict(text));
    return found;
  }

 private:
  using Feature = std::pair<std::uint32_t, float>;

  /// Calls f(word or pair of words): runs of at least two letters, digits or bytes above 127, in small ASCII letters.
  template <class F>
  static void for_each_term(std::string_view text, F&& f) {
    std::string word, pair;
    for (std::size_t i = 0; i <= text.size(); ++i) {
      const unsigned char c = i < text.size() ? static_cast<unsigned char>(text[i]) : ' ';
      const bool upper = c >= 'A' && c <= 'Z';
      if (upper || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c >= 128) {
        word += static_cast<char>(upper ? c - 'A' + 'a' : c);
        continue;
      }
      if (word.size() > 1) {
        f(word);
        if (!pair.empty()) f(pair + " " + word);
        pair = word;
      }
      word.clear();
    }
  }

  void learn_features(std::span<const std::string> texts) {
    known_.clear();
    std::vector<std::uint32_t> occurs, last;  // texts with a feature; the last of them + 1
    for (std::uint32_t t = 0; t < texts.size(); ++t)
      for_each_term(texts[t], [&](const std::string& term) {
        const auto [place, is_new] = known_.emplace(term, static_cast<std::uint32_t>(occurs.size()));
        if (is_new) occurs.push_back(0), last.push_back(0);
        if (std::exchange(last[place->second], t + 1) != t + 1) ++occurs[place->second];
      });
    rarity_.clear();
    for (const std::uint32_t n : occurs)
      rarity_.push_back(1 + std::log((1.0 + static_cast<double>(texts.size())) / (1.0 + n)));
  }

  std::vector<Feature> features(std::string_view text) const {
    std::vector<std::uint32_t> found;
    for_each_term(text, [&](const std::string& term) {
      if (const auto place = known_.find(term); place != known_.end()) found.push_back(place->second);
    });
    std::sort(found.begin(), found.end());
    std::vector<Feature> features;
    double squares = 0;
    for (std::size_t begin = 0, end = 0; begin < found.size(); begin = end) {
      while (end < found.size() && found[end] == found[begin]) ++end;
      const double value = (1 + std::log(static_cast<double>(end - begin))) * rarity_[found[begin]];
      features.emplace_back(found[begin], static_cast<float>(value));
      squares += value * value;
    }
    for (auto& [feature, value] : features) value = static_cast<float>(static_cast<double>(value) / std::sqrt(squares));
    return features;
  }

  void scores(const std::vector<Feature>& row, double scale, std::vector<double>& out) const {
    for (std::size_t c = 0; c < classes_; ++c) out[c] = 0;
    for (const auto& [feature, value] : row)
      for (std::size_t c = 0; c < classes_; ++c)
        out[c] += static_cast<double>(value) * static_cast<double>(weights_[feature * classes_ + c]);
    for (std::size_t c = 0; c < classes_; ++c)
      out[c] = scale * out[c] + static_cast<double>(weights_[rarity_.size() * classes_ + c]);
  }

  std::unordered_map<std::string, std::uint32_t> known_;
  std::vector<double> rarity_;
  std::size_t classes_ = 0;
  std::vector<float> weights_;
};

}  // namespace data2vec::inline v0
