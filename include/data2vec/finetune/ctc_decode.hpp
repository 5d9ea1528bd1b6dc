// SPDX-License-Identifier: MIT
// From CTC logits to labels: the best path, and the best label sequences by prefix search with a beam (Graves et al.,
// ICML 2006, section 3.2; Hannun et al., arXiv 1408.2873), optionally within a list of words.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <span>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include <data2vec/core/error.hpp>
#include <data2vec/finetune/word_list.hpp>

namespace data2vec::inline v0 {

/// Labels that were recognised.
struct CtcHypothesis {
  std::vector<std::int32_t> labels;
  double log_probability = 0;  ///< of the sequence (beam) or of the path (greedy)
  double score = 0;            ///< what hypotheses are ranked by: log_probability and the bonus of words
};

struct CtcBeamOptions {
  int beam = 50;          ///< prefixes that are kept after each frame
  double prune = 1e-6;    ///< symbols of a smaller probability at a frame are not tried there
  double word_bonus = 0;  ///< added to the score for each finished word
  int blank = 0;
  int word_end = -1;  ///< the label behind each word; -1: none, and then there is no bonus
};

namespace detail {

inline void check_logits(std::size_t size, int classes) {
  if (classes < 1 || size % static_cast<std::size_t>(classes) != 0)
    throw MismatchError("CTC decoding: expected logits (frames, " + std::to_string(classes) + "), found " +
                        std::to_string(size) + " numbers");
}

/// log p of the symbols of a frame.
template <class T>
void log_softmax(std::span<const T> logits, std::vector<double>& log_p) {
  const auto most = static_cast<double>(*std::max_element(logits.begin(), logits.end()));
  double sum = 0;
  for (const T x : logits) sum += std::exp(static_cast<double>(x) - most);
  log_p.clear();
  for (const T x : logits) log_p.push_back(static_cast<double>(x) - most - std::log(sum));
}

inline double log_add(double a, double b) {
  if (a < b) std::swap(a, b);
  return b == -std::numeric_limits<double>::infinity() ? a : a + std::log1p(std::exp(b - a));
}

/// Prefixes as a tree, and the search frame by frame.
class CtcBeamSearch {
 public:
  CtcBeamSearch(const CtcBeamOptions& options, const WordList* list) : options_(options), list_(list) {
    nodes_.push_back({});
    beam_.push_back({0, 0, never, 0});
  }

  void frame(const std::vector<double>& log_p) {
    std::unordered_map<int, std::size_t> place;  // of a prefix in the beam
    for (std::size_t i = 0; i < beam_.size(); ++i) place[beam_[i].node] = i;
    candidates_.clear();
    for (const Entry& e : beam_) {
      const double repeated = e.node == 0 ? never : e.label_ends + log_p[index(nodes_[index(e.node)].label)];
      candidates_.push_back({e.node, 0, e.total() + log_p[index(options_.blank)], repeated, 0});
    }
    const double least = std::log(options_.prune);
    for (std::size_t i = 0; i < beam_.size(); ++i) {
      const Entry e = beam_[i];
      const Node& node = nodes_[index(e.node)];
      for (int label = 0; label < static_cast<int>(log_p.size()); ++label) {
        if (label == options_.blank || log_p[index(label)] < least) continue;
        const double p = (e.node != 0 && label == node.label ? e.blank_ends : e.total()) + log_p[index(label)];
        if (p == never || (list_ && list_->next(node.state, label) < 0)) continue;
        const auto child = children_.find(key(e.node, label));
        const auto at = child == children_.end() ? place.end() : place.find(child->second);
        if (at != place.end())
          candidates_[at->second].label_ends = log_add(candidates_[at->second].label_ends, p);
        else
          candidates_.push_back({e.node, label, never, p, 0});
      }
    }
    // Candidates from beam_.size() on are new prefixes: (parent, label).
    std::vector<std::size_t> order(candidates_.size());
    for (std::size_t i = 0; i < order.size(); ++i) {
      Candidate& c = candidates_[i];
      const Node& node = nodes_[index(c.node)];
      c.score = log_add(c.blank_ends, c.label_ends) +
                options_.word_bonus * (node.words + (i >= beam_.size() && finishes(node, c.label)));
      order[i] = i;
    }
    const std::size_t kept = std::min(order.size(), index(options_.beam));
    std::partial_sort(
        order.begin(), order.begin() + static_cast<std::ptrdiff_t>(kept), order.end(),
        [&](std::size_t a, std::size_t b) {
          return candidates_[a].score != candidates_[b].score ? candidates_[a].score > candidates_[b].score : a < b;
        });
    std::vector<Entry> next;
    for (std::size_t k = 0; k < kept; ++k) {
      const Candidate& c = candidates_[order[k]];
      next.push_back({order[k] < beam_.size() ? c.node : extend(c.node, c.label), c.blank_ends, c.label_ends, c.score});
    }
    beam_ = std::move(next);
  }

  /// By falling score. Within a word list, prefixes that end inside a word are left out unless there are no others.
  std::vector<CtcHypothesis> result() const {
    std::vector<CtcHypothesis> found;
    for (const bool anything : {false, true})
      for (const Entry& e : beam_) {
        if (!found.empty() && anything) break;
        if (!anything && list_ && !list_->complete(nodes_[index(e.node)].state)) continue;
        CtcHypothesis& h = found.emplace_back();
        h.log_probability = e.total(), h.score = e.score;
        for (int node = e.node; node != 0; node = nodes_[index(node)].parent)
          h.labels.push_back(nodes_[index(node)].label);
        std::reverse(h.labels.begin(), h.labels.end());
      }
    return found;
  }

 private:
  static constexpr double never = -std::numeric_limits<double>::infinity();

  struct Node {
    int parent = 0, label = 0, state = 0, words = 0;  // state: in the word list
  };
  struct Entry {
    int node;
    double blank_ends, label_ends, score;  // log p of the prefix's paths by their last symbol
    double total() const { return log_add(blank_ends, label_ends); }
  };
  struct Candidate {
    int node, label;
    double blank_ends, label_ends, score;
  };

  static std::size_t index(int i) { return static_cast<std::size_t>(i); }
  static std::uint64_t key(int node, int label) {
    return static_cast<std::uint64_t>(node) << 32 | static_cast<std::uint32_t>(label);
  }
  bool finishes(const Node& node, int label) const {
    return label == options_.word_end && &node != &nodes_[0] && node.label != options_.word_end;
  }
  int extend(int parent, int label) {
    const auto [at, fresh] = children_.emplace(key(parent, label), static_cast<int>(nodes_.size()));
    if (fresh) {
      const Node from = nodes_[index(parent)];
      nodes_.push_back({parent, label, list_ ? list_->next(from.state, label) : 0,
                        from.words + finishes(nodes_[index(parent)], label)});
    }
    return at->second;
  }

  CtcBeamOptions options_;
  const WordList* list_;
  std::vector<Node> nodes_;
  std::unordered_map<std::uint64_t, int> children_;
  std::vector<Entry> beam_;
  std::vector<Candidate> candidates_;
};

}  // namespace detail

/// The most probable symbol of each frame of logits (frames, classes), repetitions merged, blanks left out.
template <class T>
CtcHypothesis ctc_greedy(std::span<const T> logits, int classes, int blank = 0) {
  detail::check_logits(logits.size(), classes);
  CtcHypothesis found;
  std::vector<double> log_p;
  for (std::int32_t last = blank; !logits.empty(); logits = logits.subspan(static_cast<std::size_t>(classes))) {
    detail::log_softmax(logits.first(static_cast<std::size_t>(classes)), log_p);
    const auto best = std::max_element(log_p.begin(), log_p.end());
    const auto label = static_cast<std::int32_t>(best - log_p.begin());
    found.log_probability += *best;
    if (label != blank && label != last) found.labels.push_back(label);
    last = label;
  }
  found.score = found.log_probability;
  return found;
}

/// Label sequences of logits (frames, classes) by falling score, at most `beam` of them. Within a word list, if given,
/// whose labels are those of the classes. Throws OptionError, MismatchError.
template <class T>
std::vector<CtcHypothesis> ctc_beam(std::span<const T> logits, int classes, const CtcBeamOptions& options = {},
                                    const WordList* list = nullptr) {
  detail::check_logits(logits.size(), classes);
  if (options.beam < 1 || !(options.prune >= 0 && options.prune < 1) || options.blank < 0 || options.blank >= classes)
    throw OptionError("CtcBeamOptions: expected beam of 1 or more, prune from 0 to 1, blank from 0 to " +
                      std::to_string(classes - 1) + ", found " + std::to_string(options.beam) + ", " +
                      std::to_string(options.prune) + " and " + std::to_string(options.blank));
  detail::CtcBeamSearch search(options, list);
  std::vector<double> log_p;
  for (; !logits.empty(); logits = logits.subspan(static_cast<std::size_t>(classes))) {
    detail::log_softmax(logits.first(static_cast<std::size_t>(classes)), log_p);
    search.frame(log_p);
  }
  return search.result();
}

}  // namespace data2vec::inline v0
