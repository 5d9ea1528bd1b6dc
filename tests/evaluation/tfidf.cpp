// SPDX-License-Identifier: MIT
// The words' baseline: it learns what words say, not how often they come, and is a function of its arguments.
#include <data2vec/evaluation/tfidf.hpp>

#include <doctest/doctest.h>

#include <string>
#include <vector>

using namespace data2vec;

namespace {

struct Corpus {
  std::vector<std::string> texts;
  std::vector<int> labels;
};

/// Class 0 speaks of fish, class 1 of birds, class 2 says "not" in front of fish; the same fillers in all.
Corpus corpus(int n, std::uint64_t seed) {
  const std::vector<std::string> filler{"the", "a", "old", "and", "of", "Quiet"};
  Corpus c;
  for (int i = 0; i < n; ++i) {
    Rng rng({.seed = seed, .sample = static_cast<std::uint32_t>(i)});
    std::string text;
    for (int k = 0; k < 6; ++k) text += filler[rng.below(6)] + " ";
    text += i % 3 == 0 ? "FISH swim" : i % 3 == 1 ? "birds, swim!" : "not fish swim";
    for (int k = 0; k < 6; ++k) text += " " + filler[rng.below(6)];
    c.texts.push_back(text);
    c.labels.push_back(i % 3);
  }
  return c;
}

double accuracy(const TfidfClassifier& classifier, const Corpus& c) {
  const std::vector<int> found = classifier.predict(c.texts);
  int right = 0;
  for (std::size_t i = 0; i < found.size(); ++i) right += found[i] == c.labels[i];
  return static_cast<double>(right) / static_cast<double>(found.size());
}

}  // namespace

TEST_CASE("tf-idf: words and pairs tell classes apart, in other texts too") {
  const Corpus train = corpus(300, 1), other = corpus(90, 2);
  TfidfClassifier classifier;
  classifier.fit(train.texts, train.labels, 3);
  CHECK(accuracy(classifier, train) == 1);
  CHECK(accuracy(classifier, other) == 1);
  CHECK(classifier.feature_count() > 20);
  TfidfClassifier again;
  again.fit(train.texts, train.labels, 3);
  CHECK(again.predict(other.texts) == classifier.predict(other.texts));
}

TEST_CASE("tf-idf: a text of unknown words goes to the most frequent class") {
  Corpus train = corpus(60, 1);
  for (int i = 0; i < 200; ++i) train.texts.emplace_back("birds fly"), train.labels.push_back(1);
  TfidfClassifier classifier;
  classifier.fit(train.texts, train.labels, 3);
  CHECK(classifier.predict("zebra") == 1);
  CHECK(classifier.predict("") == 1);
}

TEST_CASE("tf-idf: refusals") {
  TfidfClassifier classifier;
  CHECK_THROWS_WITH_AS(classifier.predict("x"), "tf-idf: expected fit() before predict(), found none", OptionError);
  const std::vector<std::string> texts{"a b"};
  CHECK_THROWS_WITH_AS(classifier.fit(texts, std::vector<int>{}, 2),
                       "tf-idf: expected as many labels as texts, 1, found 0", MismatchError);
  CHECK_THROWS_WITH_AS(classifier.fit(texts, std::vector<int>{2}, 2), "tf-idf: expected labels from 0 to 1, found 2",
                       OptionError);
  CHECK_THROWS_AS(classifier.fit({}, {}, 2), OptionError);
}
