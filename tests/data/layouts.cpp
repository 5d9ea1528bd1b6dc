// SPDX-License-Identifier: MIT
// Which layout a folder has: IDX, CIFAR-10, folders of images; and those that have none, or two.
#include <doctest/doctest.h>

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include <data2vec/data/layouts.hpp>

#include "tests/data/image_files.hpp"

namespace d2v = data2vec;
namespace fs = std::filesystem;
using namespace image_files;

namespace {

Bytes idx_images(int count) {
  Bytes bytes{0, 0, 8, 3, 0, 0, 0, static_cast<std::uint8_t>(count), 0, 0, 0, 2, 0, 0, 0, 3};
  bytes.resize(bytes.size() + static_cast<std::size_t>(count) * 6, 7);
  return bytes;
}

Bytes idx_labels(const Bytes& labels) {
  Bytes bytes{0, 0, 8, 1, 0, 0, 0, static_cast<std::uint8_t>(labels.size())};
  for (const std::uint8_t label : labels) bytes.push_back(label);
  return bytes;
}

Bytes one(int value) { return png({1, 1, 1, {static_cast<std::uint8_t>(value)}}); }

int level(const d2v::ImageDataset& data, std::size_t i) { return data.load(i).pixels[0]; }

std::string error(const Folder& folder) {
  return error_of<d2v::FileError>([&] { d2v::open_images(folder.text()); });
}

void write_idx(const Folder& folder) {
  folder.write("train-images-idx3-ubyte", idx_images(3));
  folder.write("train-labels-idx1-ubyte", idx_labels({0, 1, 2}));
  folder.write("t10k-images-idx3-ubyte", idx_images(1));
  folder.write("t10k-labels-idx1-ubyte", idx_labels({5}));
}

}  // namespace

TEST_CASE("layouts: IDX") {
  const Folder folder("layout_idx");
  write_idx(folder);
  const auto sets = d2v::open_images(folder.text());
  CHECK(sets.train.size() == 3);
  CHECK(sets.test.size() == 1);
  CHECK(sets.train.classes().size() == 6);  // of both sets
  CHECK(sets.test.classes() == sets.train.classes());
  CHECK(sets.test.label(0) == 5);
  folder.write("data_batch_1.bin", Bytes(3073));
  CHECK(has(error(folder), "layout: expected one, found IDX (train-images-idx3-ubyte) and CIFAR-10"));
}

TEST_CASE("layouts: CIFAR-10") {
  const Folder folder("layout_cifar");
  folder.write("data_batch_2.bin", Bytes(3073, 2));
  CHECK(has(error(folder), "test_batch.bin"));
  folder.write("data_batch_1.bin", Bytes(2 * 3073, 1));
  folder.write("test_batch.bin", Bytes(3073, 3));
  folder.write("readme.html", {'x'});
  const auto sets = d2v::open_images(folder.text());
  REQUIRE(sets.train.size() == 3);
  CHECK(sets.train.label(1) == 1);
  CHECK(sets.train.label(2) == 2);
  CHECK(sets.test.label(0) == 3);
  folder.write("train/a/0.png", one(0));
  CHECK(has(error(folder), "and folders (train/)"));
}

TEST_CASE("layouts: train and test with classes, files at any depth, by sorted name") {
  const Folder folder("layout_classes");
  folder.write("train/cat/2.png", one(2));
  folder.write("train/cat/1.jpg", one(1));
  folder.write("train/cat/.hidden", {'x'});
  folder.write("train/ape/deep/er/9.png", one(9));
  folder.write("train/dog/3", one(3));
  folder.write("train/list.txt", {'x'});
  folder.write("test/dog/4.png", one(4));
  folder.write("LICENSE", {'x'});
  auto sets = d2v::open_images(folder.text());
  CHECK(sets.train.classes() == std::vector<std::string>{"ape", "cat", "dog"});
  REQUIRE(sets.train.size() == 4);
  const int levels[] = {9, 1, 2, 3}, labels[] = {0, 1, 1, 2};
  for (std::size_t i = 0; i < 4; ++i) {
    CHECK(level(sets.train, i) == levels[i]);
    CHECK(sets.train.label(i) == labels[i]);
  }
  CHECK(sets.train.name(0) == (folder.path / "train/ape/deep/er/9.png").string());
  REQUIRE(sets.test.size() == 1);
  CHECK(sets.test.label(0) == 2);  // of the training classes, though it is the only one here
  CHECK(sets.test.classes() == sets.train.classes());

  fs::rename(folder.path / "test", folder.path / "val");
  CHECK(d2v::open_images(folder.text()).test.size() == 1);
  folder.write("val/eel/1.png", one(1));
  CHECK(has(error(folder), "found eel"));
  fs::remove_all(folder.path / "val");
  folder.write("test/1.png", one(1));
  CHECK(has(error(folder), "expected folders of classes as in"));
  fs::remove_all(folder.path / "train");
  CHECK(has(error(folder), "expected train/ beside test/"));
}

TEST_CASE("layouts: without a test folder every tenth file by sorted name, with or without classes") {
  for (const std::string prefix : {"train/", "", "train/a/", "a/"}) {
    CAPTURE(prefix);
    const Folder folder("layout_tenth");
    for (int i = 0; i < 25; ++i) folder.write(prefix + static_cast<char>('a' + i) + ".png", one(i));
    const auto sets = d2v::open_images(folder.text());
    REQUIRE(sets.train.size() == 23);
    REQUIRE(sets.test.size() == 2);
    CHECK(level(sets.test, 0) == 9);
    CHECK(level(sets.test, 1) == 19);
    const int expected[] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 10, 11, 12, 13, 14, 15, 16, 17, 18, 20, 21, 22, 23, 24};
    for (std::size_t i = 0; i < 23; ++i) CHECK(level(sets.train, i) == expected[i]);
    const bool labelled = has(prefix, "a/");
    CHECK(sets.train.label(0) == (labelled ? 0 : -1));
    CHECK(sets.train.classes().size() == (labelled ? 1 : 0));
    CHECK(sets.test.label(0) == sets.train.label(0));
  }
}

TEST_CASE("layouts: labels stay with their files in the split") {
  const Folder folder("layout_split");
  for (int i = 0; i < 30; ++i) folder.write((i < 15 ? "a/" : "b/") + std::to_string(100 + i), one(i));
  const auto sets = d2v::open_images(folder.text());
  for (const auto* set : {&sets.train, &sets.test})
    for (std::size_t i = 0; i < set->size(); ++i) CHECK(set->label(i) == (level(*set, i) < 15 ? 0 : 1));
}

TEST_CASE("layouts: empty, mixed and unknown folders") {
  {
    const Folder folder("layout_empty");
    CHECK(has(error(folder), "expected images, found an empty folder"));
    folder.write(".hidden", {'x'});
    CHECK(has(error(folder), "found an empty folder"));
    const std::string none = folder.text() + "/none";
    CHECK(has(error_of<d2v::FileError>([&] { d2v::open_images(none); }), "expected a folder, found none"));
    folder.write("notes.txt", {'x'});
    CHECK(has(error(folder), "found 1 files, none of them PNG or JPEG"));
    folder.write("a/notes.txt", {'x'});
    CHECK(has(error(folder), "none of them PNG or JPEG"));
    folder.write("a/1.png", one(1));
    fs::create_directories(folder.path / "b");
    CHECK(has(error(folder), "expected images, found no file"));
  }
  const Folder folder("layout_mixed");
  folder.write("a/1.png", one(1));
  folder.write("2.png", one(2));
  CHECK(has(error(folder), "expected images or folders of classes, found both: 2.png beside a/"));
}

TEST_CASE("layouts: broken files within the limit") {
  const Folder folder("layout_broken");
  for (int i = 0; i < 20; ++i) folder.write("train/" + std::to_string(100 + i), one(i));
  folder.write("train/109", {'x'});
  folder.write("train/111", {'x'});
  const auto sets = d2v::open_images(folder.text(), {.max_broken = 0.5});
  CHECK(sets.test.size() == 1);  // the split is made of the names: 109 is of the test
  CHECK(sets.test.skipped().total() == 1);
  CHECK(sets.train.skipped().total() == 1);
  CHECK(sets.train.size() == 17);
}
