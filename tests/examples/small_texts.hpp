// SPDX-License-Identifier: MIT
// Texts for the example programs in their tests.
#pragma once

#include <string>

#include "tests/examples/processes.hpp"

namespace processes {

/// A scratch folder with text files in corpus/, and 120 lines about one of three places as train, dev and test in
/// labelled/.
struct SmallTexts : Folder {
  explicit SmallTexts(const char* name) : Folder(name) {
    std::string text;
    for (int i = 0; i < 120; ++i) text += sentence(i) + "\n";
    write(*this / "corpus/a.txt", text);
    write(*this / "corpus/more/b.txt", "a second file\n");
    write_table("train.tsv", 0, 90);
    write_table("dev.tsv", 90, 105);
    write_table("test.tsv", 105, 120);
  }

 private:
  static std::string place(int i) { return Strings{"north", "south", "river"}[static_cast<std::size_t>(i) % 3]; }

  /// A line about a place, for each number another.
  static std::string sentence(int i) {
    const Strings words{"the", "old", "road", "leads", "to", "green", "hills", "and", "quiet", "towns"};
    std::string text;
    for (int k = 0; k < 4; ++k) text += words[static_cast<std::size_t>(i * (2 * k + 3) + k) % words.size()] + " ";
    return text + place(i) + " " + std::to_string(i % 7);
  }
  void write_table(const std::string& name, int begin, int end) const {
    std::string table = "sentence\tlabel\n";
    for (int i = begin; i < end; ++i) table += sentence(i) + "\t" + place(i) + "\n";
    write(*this / ("labelled/" + name), table);
  }
};

}  // namespace processes
