// SPDX-License-Identifier: MIT
// The words that a recogniser may write, as a tree of their letters.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include <data2vec/core/error.hpp>
#include <data2vec/data/characters.hpp>
#include <data2vec/data/letters.hpp>
#include <data2vec/data/manifest.hpp>

namespace data2vec::inline v0 {

/// States are prefixes of words: 0 is the start of a word, and the end of a word leads back to it.
class WordList {
 public:
  /// Words in the letters of a dictionary. Throws MismatchError for a letter that it does not have.
  WordList(const Letters& letters, std::span<const std::string> words) : WordList(letters) {
    for (const std::string& word : words) add(letters.encode(word, "word list"));
  }

  /// A file of words, one a line, or a lexicon as fairseq's: a word, then its letters and `|` with blanks between them
  /// (those letters are what counts). Empty lines are left alone. Throws FileError, MismatchError with file and line.
  static WordList from_file(const Letters& letters, const std::string& file) {
    WordList list(letters);
    const std::vector<std::string> lines = read_lines(file);
    for (std::size_t i = 0; i < lines.size(); ++i) {
      const std::vector<std::string_view> fields = split_words(lines[i]);
      if (fields.empty()) continue;
      std::string word(fields[0]);
      if (fields.size() > 1) {
        word.clear();
        for (std::size_t f = 1; f < fields.size(); ++f)
          if (fields[f] != Letters::boundary) word += fields[f];
      }
      list.add(letters.encode(word, detail::at_line(file, i)));
    }
    if (list.words_ == 0) throw FileError(file, "expected words, found none");
    return list;
  }

  std::int64_t size() const { return words_; }  ///< different words

  /// The state after a label; -1: no word goes on like that. Between words the end of a word may come again.
  int next(int state, std::int32_t label) const {
    if (state == 0 && label == end_) return 0;
    const auto at = children_.find(key(state, label));
    return at == children_.end() ? -1 : at->second;
  }

  /// Whether a text may end in a state: between words, or where a word is whole.
  bool complete(int state) const { return state == 0 || children_.count(key(state, end_)) != 0; }

 private:
  explicit WordList(const Letters& letters) : end_(letters.word_end()) {
    if (end_ < 0) throw MismatchError("word list: expected '|', the end of a word, among the letters, found none");
  }

  static std::uint64_t key(int state, std::int32_t label) {
    return static_cast<std::uint64_t>(state) << 32 | static_cast<std::uint32_t>(label);
  }

  void add(std::span<const std::int32_t> labels) {  // ends with end_
    int state = 0;
    for (const std::int32_t label : labels) {
      if (label == end_) {
        if (state != 0 && children_.emplace(key(state, end_), 0).second) ++words_;
        state = 0;
        continue;
      }
      const auto [at, fresh] = children_.emplace(key(state, label), states_);
      states_ += fresh;
      state = at->second;
    }
  }

  std::int32_t end_;
  int states_ = 1;
  std::int64_t words_ = 0;
  std::unordered_map<std::uint64_t, int> children_;
};

}  // namespace data2vec::inline v0
