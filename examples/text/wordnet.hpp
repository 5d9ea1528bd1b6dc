// SPDX-License-Identifier: MIT
// The glosses of WordNet (Debian: wordnet-base) as labelled sentences: what each sense means, and which of WordNet's 45
// lexicographer files it stands in (noun.animal, verb.motion, ...).
#pragma once

#include <array>
#include <charconv>
#include <cstddef>
#include <filesystem>
#include <string>
#include <string_view>

#include <data2vec/core/error.hpp>
#include <data2vec/data/labelled.hpp>
#include <data2vec/io/mapped_file.hpp>

namespace demo {

namespace d2v = data2vec;

/// Parts of a labelled corpus; the parts that a corpus lacks are empty.
struct LabelledSets {
  d2v::LabelledText train, dev, test;
};

/// The names of the lexicographer files, by number (man 5wn lexnames).
inline constexpr std::array<const char*, 45> lexicographer_files{
    "adj.all",           "adj.pert",           "adv.all",           "noun.Tops",        "noun.act",
    "noun.animal",       "noun.artifact",      "noun.attribute",    "noun.body",        "noun.cognition",
    "noun.communication", "noun.event",        "noun.feeling",      "noun.food",        "noun.group",
    "noun.location",     "noun.motive",        "noun.object",       "noun.person",      "noun.phenomenon",
    "noun.plant",        "noun.possession",    "noun.process",      "noun.quantity",    "noun.relation",
    "noun.shape",        "noun.state",         "noun.substance",    "noun.time",        "verb.body",
    "verb.change",       "verb.cognition",     "verb.communication", "verb.competition", "verb.consumption",
    "verb.contact",      "verb.creation",      "verb.emotion",      "verb.motion",      "verb.perception",
    "verb.possession",   "verb.social",        "verb.stative",      "verb.weather",     "adj.ppl"};

inline bool is_wordnet(const std::string& folder) {
  return std::filesystem::exists(std::filesystem::path(folder) / "data.noun");
}

/// Calls `gloss(offset, label, text)` for each sense of data.noun, data.verb, data.adj and data.adv: the definition,
/// without the examples behind it. Throws FileError with file and line.
template <class F>
void for_each_gloss(const std::string& folder, F&& gloss) {
  for (const char* name : {"data.noun", "data.verb", "data.adj", "data.adv"}) {
    const std::string path = (std::filesystem::path(folder) / name).string();
    const d2v::MappedFile file(path);
    std::string_view rest = file.text();
    for (std::size_t line = 1; !rest.empty(); ++line) {
      std::string_view text = rest.substr(0, rest.find('\n'));
      rest.remove_prefix(std::min(text.size() + 1, rest.size()));
      if (text.starts_with("  ")) continue;  // the licence
      const std::size_t bar = text.find(" | ");
      unsigned long offset = 0;
      unsigned label = 0;
      const char* const begin = text.data();
      const bool good = bar != text.npos && bar > 11 &&
                        std::from_chars(begin, begin + 8, offset).ptr == begin + 8 && text[8] == ' ' &&
                        std::from_chars(begin + 9, begin + 11, label).ptr == begin + 11 &&
                        label < lexicographer_files.size();
      if (!good)
        throw d2v::FileError(path + ":" + std::to_string(line),
                             "expected \"offset file ... | gloss\" as in WordNet's data files, found \"" +
                                 std::string(text.substr(0, 40)) + "\"");
      text.remove_prefix(bar + 3);
      text = text.substr(0, text.find("; \""));
      text = text.substr(0, text.find_last_not_of(' ') + 1);
      gloss(offset, static_cast<int>(label), text);
    }
  }
}

/// All glosses with their labels; by the last digit of a sense's offset 9 is test, 8 validation, the rest training.
inline LabelledSets read_wordnet(const std::string& folder) {
  LabelledSets sets;
  for (d2v::LabelledText* set : {&sets.train, &sets.dev, &sets.test})
    set->classes.assign(lexicographer_files.begin(), lexicographer_files.end());
  for_each_gloss(folder, [&](unsigned long offset, int label, std::string_view text) {
    d2v::LabelledText& set = offset % 10 == 9 ? sets.test : offset % 10 == 8 ? sets.dev : sets.train;
    set.text.emplace_back(text);
    set.labels.push_back(label);
  });
  return sets;
}

}  // namespace demo
