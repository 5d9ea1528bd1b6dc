// SPDX-License-Identifier: MIT
// Pairs of WordNet's glosses as a task on two sentences: do both meanings stand in the same lexicographer file
// (noun.animal, verb.motion, ...)? Writes train.tsv, dev.tsv and test.tsv with the columns first, second and label.
//
// The rule: within a part of the glosses (train, dev, test) every gloss comes first once. Odd ones are paired with the
// next gloss of their own file (the last one with the first), even ones with a gloss drawn at random among those of other
// files. So the two labels are as frequent, and no gloss of one part is in another.
#include <cstdio>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include <CLI/CLI.hpp>

#include <data2vec/core/random.hpp>

#include "examples/text/data.hpp"

namespace {

namespace d2v = data2vec;

std::string pairs_of(const d2v::LabelledText& glosses, std::uint64_t seed) {
  const std::size_t n = glosses.size();
  std::vector<std::size_t> next(n);  // gloss of the same file
  std::map<int, std::pair<std::size_t, std::size_t>> first_and_last;
  for (std::size_t i = 0; i < n; ++i) {
    const auto [at, is_new] = first_and_last.try_emplace(glosses.labels[i], i, i);
    if (!is_new) next[std::exchange(at->second.second, i)] = i;
  }
  for (const auto& [label, ends] : first_and_last) next[ends.second] = ends.first;
  d2v::Rng rng({.seed = seed, .site = d2v::Site::order});
  std::string table = "first\tsecond\tlabel\n";
  for (std::size_t i = 0; i < n; ++i) {
    const bool same = i % 2 == 1;
    std::size_t other = next[i];
    while (!same && glosses.labels[other] == glosses.labels[i]) other = rng.below(static_cast<std::uint32_t>(n));
    table += glosses.text[i] + "\t" + glosses.text[other] + (same ? "\tsame\n" : "\tother\n");
  }
  return table;
}

}  // namespace

int main(int argc, char** argv) {
  std::string data = demo::default_data, out = "out/gloss-pairs";
  std::uint64_t seed = 1;
  CLI::App app{"Writes pairs of WordNet's glosses, of the same lexicographer file or of two, as a labelled task."};
  app.option_defaults()->always_capture_default();
  app.add_option("--data", data, "WordNet's folder");
  app.add_option("--out", out, "folder for train.tsv, dev.tsv and test.tsv");
  app.add_option("--seed", seed, "of the pairs of two files");
  return demo::run_program("gloss_pairs", app, argc, argv, [&] {
    demo::expect_data(data);
    const demo::LabelledSets sets = demo::read_wordnet(data);
    for (const auto& [name, part] : {std::pair("train", &sets.train), std::pair("dev", &sets.dev),
                                     std::pair("test", &sets.test)}) {
      demo::write_text(out + "/" + name + ".tsv", pairs_of(*part, seed));
      std::printf("%s/%s.tsv: %zu pairs\n", out.c_str(), name, part->size());
    }
  });
}
