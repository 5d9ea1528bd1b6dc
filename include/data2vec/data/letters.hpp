// SPDX-License-Identifier: MIT
// The letters that a recogniser writes: built from transcripts or read from a fairseq dictionary (dict.ltr.txt), and
// checked against transcripts before the first step.
#pragma once

#include <algorithm>
#include <cctype>
#include <cstddef>
#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <data2vec/core/error.hpp>
#include <data2vec/data/characters.hpp>
#include <data2vec/data/manifest.hpp>
#include <data2vec/io/file.hpp>

namespace data2vec::inline v0 {

/// Letters and their numbers: 0 `<s>` (CTC's blank), 1 `<pad>`, 2 `</s>`, 3 `<unk>`, then the letters from 4 on, `|`
/// being the end of a word. (fairseq's Dictionary)
class Letters {
 public:
  static constexpr int blank = 0, first = 4;
  static constexpr std::string_view boundary = "|";

  /// Reads lines of `letter count`. Throws FileError with file and line.
  static Letters from_file(const std::string& file) {
    Letters letters;
    const std::vector<std::string> lines = read_lines(file);
    for (std::size_t i = 0; i < lines.size(); ++i) {
      const std::string where = detail::at_line(file, i);
      const std::size_t blank_at = lines[i].rfind(' ');
      const std::string letter = lines[i].substr(0, blank_at);
      std::int64_t count = 0;
      if (blank_at == std::string::npos || letter.empty())
        throw FileError(where, "expected a letter and its count, found '" + lines[i] + "'");
      detail::read_number(std::string_view(lines[i]).substr(blank_at + 1), where, "count", count);
      if (!letters.add(letter, count))
        throw FileError(where, "expected every letter once, found '" + letter + "' again");
    }
    if (!letters.has(boundary)) throw FileError(file, "expected '|', the end of a word, among the letters, found none");
    return letters;
  }

  /// The letters of transcripts by falling count, then by their bytes; `|` counts once for each word. Throws
  /// MismatchError where there is none.
  static Letters from_transcripts(std::span<const ManifestEntry> entries) {
    std::map<std::string, std::int64_t, std::less<>> counts;
    for (const ManifestEntry& entry : entries)
      for (const std::string_view letter : spelled(entry.text)) ++counts[std::string(letter)];
    if (counts.empty()) throw MismatchError("letters: expected transcripts, found none");
    std::vector<std::pair<std::string, std::int64_t>> sorted(counts.begin(), counts.end());
    std::stable_sort(sorted.begin(), sorted.end(), [](const auto& a, const auto& b) { return a.second > b.second; });
    Letters letters;
    for (const auto& [letter, count] : sorted) letters.add(letter, count);
    return letters;
  }

  /// Writes what from_file reads, whole or not at all.
  void write(const std::string& file) const {
    std::string text;
    for (std::size_t i = first; i < symbols_.size(); ++i) text += symbols_[i] + " " + std::to_string(counts_[i]) + "\n";
    AtomicFile out(file, text.size());
    out.write(std::as_bytes(std::span<const char>(text)));
    out.commit();
  }

  int size() const { return static_cast<int>(symbols_.size()); }  ///< classes of a CTC head, the four first included
  const std::string& symbol(int i) const { return symbols_.at(static_cast<std::size_t>(i)); }
  bool has(std::string_view letter) const { return numbers_.find(letter) != numbers_.end(); }
  int number(std::string_view letter) const {  ///< -1: not a letter of this dictionary
    const auto at = numbers_.find(letter);
    return at == numbers_.end() ? -1 : at->second;
  }
  int word_end() const { return number(boundary); }
  friend bool operator==(const Letters& a, const Letters& b) { return a.symbols_ == b.symbols_; }

  /// Words as labels, each word followed by `|`. Throws MismatchError, beginning with `where`, for an unknown letter.
  std::vector<std::int32_t> encode(std::string_view words, const std::string& where) const {
    std::vector<std::int32_t> labels;
    for (const std::string_view letter : spelled(words)) {
      const int label = number(letter);
      if (label < 0) throw MismatchError(where + ": expected letters of the dictionary, found " + described(letter));
      labels.push_back(label);
    }
    return labels;
  }

  /// Labels as words with single blanks between them; the four first symbols and the blank write nothing.
  std::string decode(std::span<const std::int32_t> labels) const {
    std::string text;
    for (const std::int32_t label : labels)
      if (label >= first) text += symbol(label) == boundary ? std::string(" ") : symbol(label);
    return single_blanks(text);
  }

  /// Checks every transcript before anything is trained: entries without a transcript, empty ones and unknown letters
  /// are one MismatchError that names the first five with file and line and counts all.
  void check(std::span<const ManifestEntry> entries) const {
    std::int64_t problems = 0;
    std::string first_ones;
    const auto report = [&](const std::string& what) {
      if (++problems <= 5) first_ones += (problems > 1 ? "; " : "") + what;
    };
    for (const ManifestEntry& entry : entries) {
      if (entry.text_at.empty())
        report(entry.path + ": no transcript");
      else if (entry.text.empty())
        report(entry.text_at + ": an empty transcript");
      else
        for (const std::string_view letter : spelled(entry.text))
          if (!has(letter)) {
            report(entry.text_at + ": " + described(letter));
            break;
          }
    }
    if (problems > 0)
      throw MismatchError("transcripts: expected letters of the dictionary for each recording, found " +
                          std::to_string(problems) + " of " + std::to_string(entries.size()) +
                          " without; the first: " + first_ones);
  }

 private:
  Letters() : symbols_{"<s>", "<pad>", "</s>", "<unk>"}, counts_(4) {
    for (int i = 0; i < first; ++i) numbers_[symbols_[static_cast<std::size_t>(i)]] = i;
  }

  bool add(const std::string& letter, std::int64_t count) {
    if (!numbers_.emplace(letter, size()).second) return false;
    symbols_.push_back(letter);
    counts_.push_back(count);
    return true;
  }

  /// The characters of words with `|` behind each word.
  static std::vector<std::string_view> spelled(std::string_view words) {
    std::vector<std::string_view> letters = split_characters(words);
    for (std::string_view& letter : letters)
      if (letter == " ") letter = boundary;
    if (!letters.empty()) letters.push_back(boundary);
    return letters;
  }

  std::string described(std::string_view letter) const {
    std::string text = "'" + std::string(letter) + "'";
    if (letter.size() != 1) return text;
    const auto c = static_cast<unsigned char>(letter[0]);
    const char other = static_cast<char>(std::isupper(c) ? std::tolower(c) : std::toupper(c));
    if (has(std::string_view(&other, 1))) text += std::string(" (the dictionary has '") + other + "')";
    return text;
  }

  std::vector<std::string> symbols_;
  std::vector<std::int64_t> counts_;
  std::map<std::string, int, std::less<>> numbers_;
};

}  // namespace data2vec::inline v0
