// SPDX-License-Identifier: MIT
// Samples of a fixed number of tokens from token shards (as fairseq's TokenBlockDataset, whose break modes `none`,
// `complete` and `complete_doc` are `across`, `sentences` and `document_sentences` here).
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <data2vec/core/error.hpp>
#include <data2vec/data/shards.hpp>
#include <data2vec/data/tokenizer.hpp>

namespace data2vec::inline v0 {

/// across: the corpus is one stream, cut where a block is full (data2vec 2.0's text pre-training). document: a block
/// holds tokens of one document; a longer document is cut, the rest of a shorter one is padding. sentences: a block
/// holds as many whole sentences as fit, the rest is padding (RoBERTa's pre-training); a sentence ends with `</s>` or
/// its document, and what is longer than a block is cut. document_sentences: the same, of one document.
enum class BlockMode { across, document, sentences, document_sentences };

/// Blocks of T tokens: `<s>`, T - 1 tokens of the corpus, `<pad>` where there are fewer. Const, for many threads.
class TokenBlocks {
 public:
  /// `shards` must outlive this. Throws OptionError unless T >= 2 and the ids are of the vocabulary, MismatchError if
  /// the vocabulary is another one than that of the shards.
  template <Tokenizer K>
  TokenBlocks(const TokenShards& shards, const K& tokenizer, int T, BlockMode mode = BlockMode::across)
      : shards_(&shards), bos_(tokenizer.special().bos), pad_(tokenizer.special().pad), mode_(mode) {
    if (T < 2) throw OptionError("TokenBlocks: expected at least 2 tokens in a block, found " + std::to_string(T));
    if (bos_ < 0 || pad_ < 0) throw OptionError("TokenBlocks: expected a tokenizer with <s> and <pad>, found none");
    if (tokenizer.vocab_size() != shards.vocab_size())
      throw MismatchError("TokenBlocks: expected the vocabulary of the shards, " + std::to_string(shards.vocab_size()) +
                          " tokens, found " + std::to_string(tokenizer.vocab_size()));
    T_ = static_cast<std::size_t>(T);
    if (mode == BlockMode::across) {
      size_ = (shards.size() + T_ - 2) / (T_ - 1);
      return;
    }
    if (mode == BlockMode::sentences || mode == BlockMode::document_sentences) {
      pack_sentences(tokenizer.special().eos);
      return;
    }
    first_.reserve(static_cast<std::size_t>(shards.documents()));
    for (std::uint64_t d = 0; d < shards.documents(); ++d) {
      first_.push_back(size_);
      size_ += (shards.document_end(d) - shards.document_begin(d) + T_ - 2) / (T_ - 1);
    }
  }

  std::uint64_t size() const { return size_; }  ///< blocks
  int tokens() const { return static_cast<int>(T_); }

  /// Writes block `i` to (T) and returns how many of it are not padding. Throws OptionError for another size of `to` or
  /// an index out of range.
  int read(std::uint64_t i, std::span<std::int32_t> to) const {
    if (i >= size_ || to.size() != T_)
      throw OptionError("TokenBlocks: expected a block below " + std::to_string(size_) + " and room for " +
                        std::to_string(T_) + " tokens, found " + std::to_string(i) + " and " +
                        std::to_string(to.size()));
    const auto [begin, end] = range(i);
    const auto count = static_cast<std::size_t>(end - begin);
    to[0] = bos_;
    shards_->read(begin, to.subspan(1, count));
    std::fill(to.begin() + static_cast<std::ptrdiff_t>(count) + 1, to.end(), pad_);
    return static_cast<int>(count) + 1;
  }

 private:
  /// One pass over the corpus: where blocks of whole sentences begin.
  void pack_sentences(std::int32_t eos) {
    const std::uint64_t room = T_ - 1;
    std::vector<std::int32_t> ids(std::size_t{1} << 16);
    std::uint64_t begin = 0, end = 0;  // of the block, as far as its sentences are known
    const auto close = [&](std::uint64_t sentence_end, bool document_end) {
      if (sentence_end - begin > room && end > begin) first_.push_back(std::exchange(begin, end));
      while (sentence_end - begin > room) first_.push_back(std::exchange(begin, begin + room));
      end = sentence_end;
      if (document_end && mode_ == BlockMode::document_sentences && end > begin)
        first_.push_back(std::exchange(begin, end));
    };
    for (std::uint64_t d = 0; d < shards_->documents(); ++d) {
      const std::uint64_t document_end = shards_->document_end(d);
      for (std::uint64_t at = shards_->document_begin(d); at < document_end;) {
        const std::size_t count = static_cast<std::size_t>(std::min<std::uint64_t>(ids.size(), document_end - at));
        shards_->read(at, std::span(ids.data(), count));
        for (std::size_t i = 0; i < count; ++i)
          if (ids[i] == eos && at + i + 1 < document_end) close(at + i + 1, false);
        at += count;
      }
      close(document_end, true);
    }
    if (end > begin) first_.push_back(begin);
    size_ = first_.size();
  }

  std::pair<std::uint64_t, std::uint64_t> range(std::uint64_t i) const {
    const std::uint64_t step = T_ - 1;
    if (mode_ == BlockMode::across) return {i * step, std::min((i + 1) * step, shards_->size())};
    if (mode_ != BlockMode::document) {
      const auto at = static_cast<std::size_t>(i);
      return {first_[at], at + 1 < first_.size() ? first_[at + 1] : shards_->size()};
    }
    const auto document =
        static_cast<std::uint64_t>(std::upper_bound(first_.begin(), first_.end(), i) - first_.begin() - 1);
    const std::uint64_t begin =
        shards_->document_begin(document) + (i - first_[static_cast<std::size_t>(document)]) * step;
    return {begin, std::min(begin + step, shards_->document_end(document))};
  }

  const TokenShards* shards_;
  std::int32_t bos_, pad_;
  BlockMode mode_;
  std::size_t T_ = 0;
  std::uint64_t size_ = 0;
  std::vector<std::uint64_t> first_;  // block of each document; of sentences: token of each block
};

}  // namespace data2vec::inline v0
