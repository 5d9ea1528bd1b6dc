// SPDX-License-Identifier: MIT
// Labelled sentences and pairs, and label sets that do not agree.
#include <doctest/doctest.h>

#include <string>
#include <vector>

#include <data2vec/data/labelled.hpp>
#include <tests/data/text_files.hpp>

using namespace data2vec;
using text_files::error_of;
using Strings = std::vector<std::string>;

namespace {

Table table(std::string_view text) { return Table::from_text(text, {.format = TableFormat::csv}, "f"); }

}  // namespace

TEST_CASE("labelled: sentences and pairs with classes") {
  const LabelledText one = labelled_text(table("sentence,label\nfine,good\nawful,bad\nnice,good\n"));
  CHECK(one.text == Strings{"fine", "awful", "nice"});
  CHECK(one.second.empty());
  CHECK(one.classes == Strings{"bad", "good"});
  CHECK(one.labels == std::vector<int>{1, 0, 1});
  CHECK(one.size() == 3);
  const LabelledText pair =
      labelled_text(table("y,a,b\n1,p,q\n0,r,s\n"), {.text = "a", .second = Column(2), .label = 0});
  CHECK(pair.text == Strings{"p", "r"});
  CHECK(pair.second == Strings{"q", "s"});
  CHECK(pair.labels == std::vector<int>{1, 0});
}

TEST_CASE("labelled: classes are sorted, numbers by value") {
  CHECK(labelled_text(table("sentence,label\na,10\nb,9\nc,-1\n")).classes == Strings{"-1", "9", "10"});
  CHECK(labelled_text(table("sentence,label\na,10\nb,9\nc,x\n")).classes == Strings{"10", "9", "x"});
}

TEST_CASE("labelled: validation has the classes of training") {
  const LabelledText train = labelled_text(table("sentence,label\na,x\nb,y\nc,z\n"));
  CHECK(labelled_text(table("sentence,label\na,z\nb,x\n"), {}, train.classes).labels == std::vector<int>{2, 0});
  CHECK(error_of([&] { labelled_text(table("sentence,label\na,x\n\nb,w\n"), {}, train.classes); }) ==
        "f:4: label: expected one of the training set (x, y, z), found 'w'");
}

TEST_CASE("labelled: numbers for regression") {
  const LabelledText samples = labelled_values(table("sentence,label\na,4.25\nb,-1e1\n"));
  CHECK(samples.values == std::vector<float>{4.25f, -10.0f});
  CHECK(samples.labels.empty());
  CHECK(samples.classes.empty());
  for (const char* bad : {"x", "1x", "inf", "nan", "1e99"})
    CHECK(error_of([&] { labelled_values(table("sentence,label\na,1\nb," + std::string(bad) + "\n")); }) ==
          "f:3: label: expected a finite number, found '" + std::string(bad) + "'");
}

TEST_CASE("labelled: what is missing, with its line") {
  CHECK(error_of([] { labelled_text(table("sentence,class\na,1\n")); }) ==
        "f:1: column: expected 'label', found sentence, class");
  CHECK(error_of([] { labelled_text(table("sentence,label\na,1\n,1\n")); }) ==
        "f:3: expected text, found an empty field");
  CHECK(error_of([] { labelled_text(table("sentence,label\na,1\nb,\n")); }) ==
        "f:3: expected a label, found an empty field");
}
