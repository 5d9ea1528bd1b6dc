// SPDX-License-Identifier: MIT
// Images by index from IDX, CIFAR-10 and files; broken files are counted, replaced and limited.
#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <initializer_list>
#include <map>
#include <string>
#include <thread>
#include <vector>

#include <data2vec/data/dataset.hpp>

#include "tests/data/image_files.hpp"

namespace d2v = data2vec;
namespace fs = std::filesystem;
using namespace image_files;

namespace {

Bytes record(int label, int seed) {  // of CIFAR-10
  Bytes bytes{static_cast<std::uint8_t>(label)};
  for (int i = 0; i < 3072; ++i) bytes.push_back(static_cast<std::uint8_t>(i * 7 + i / 1024 + seed));
  return bytes;
}

d2v::Image colour(int value) { return {2, 2, 3, Bytes(12, static_cast<std::uint8_t>(value))}; }

/// A header that is right and pixels that are not: found when it is loaded.
Bytes broken_later() {
  Bytes file = png(pattern(20, 20, 3));
  file[file.size() / 2] ^= 0xff;
  return file;
}

/// `count` files of one level each, 0.png, 1.png, ...; those of `broken` are broken inside.
std::vector<std::string> numbered(const Folder& folder, int count, const std::vector<int>& broken) {
  std::vector<std::string> names;
  for (int i = 0; i < count; ++i) {
    const bool bad = std::find(broken.begin(), broken.end(), i) != broken.end();
    names.push_back(std::to_string(i) + ".png");
    folder.write(names.back(), bad ? broken_later() : png(colour(i)));
  }
  return names;
}

std::string cifar_mini(const std::string& name) {
  const char* shared = std::getenv("D2V_SHARED");
  for (const fs::path& folder : {fs::path(shared ? shared : ""), fs::path(D2V_SOURCE_DIR) / ".." / "shared",
                                 fs::path(D2V_SOURCE_DIR) / "shared"})
    if (const fs::path file = folder / "data" / "images" / name; !folder.empty() && fs::exists(file))
      return file.string();
  return "";
}

}  // namespace

TEST_CASE("dataset: IDX images in memory") {
  const auto data = d2v::ImageDataset::from_idx({{2, 1, 3, {1, 2, 3, 4, 5, 6}}, {0, 4}}, "train", 3);
  CHECK(data.size() == 2);
  CHECK(data.channels() == 1);
  CHECK(data.height() == 1);
  CHECK(data.width() == 3);
  CHECK(data.classes() == std::vector<std::string>{"0", "1", "2", "3", "4"});
  CHECK(data.label(1) == 4);
  CHECK(data.name(1) == "train #1");
  CHECK(data.load(1) == d2v::Image{1, 3, 1, {4, 5, 6}});
  CHECK(data.skipped().total() == 0);
  CHECK_THROWS_AS(data.load(2), d2v::OptionError);
  CHECK_THROWS_AS(data.name(2), d2v::OptionError);
  CHECK(d2v::ImageDataset().size() == 0);
}

TEST_CASE("dataset: CIFAR-10 planes become pixels, files follow each other") {
  const Folder folder("cifar");
  Bytes two = record(3, 0), second = record(9, 50);
  two.insert(two.end(), second.begin(), second.end());
  const std::vector<std::string> files{folder.write("a.bin", two), folder.write("b.bin", record(0, 99))};
  const auto data = d2v::ImageDataset::from_cifar10(files);
  REQUIRE(data.size() == 3);
  CHECK(data.classes()[9] == "truck");
  CHECK(data.label(0) == 3);
  CHECK(data.label(2) == 0);
  CHECK(data.name(1) == files[0] + " #1");
  CHECK(data.name(2) == files[1] + " #0");
  const auto image = data.load(1);
  CHECK(image.channels == 3);
  for (const int i : {0, 1, 31, 32, 1023})  // pixel i: bytes i, 1024 + i, 2048 + i of the planes
    for (int c = 0; c < 3; ++c) {
      const int at = c * 1024 + i;
      CHECK(int{image.pixels[static_cast<std::size_t>(3 * i + c)]} == ((at * 7 + c + 50) & 255));
    }
}

TEST_CASE("dataset: CIFAR-10 files that are not: file, offset, expected and found") {
  const Folder folder("cifar_bad");
  const auto error = [&](const Bytes& bytes) {
    const std::vector<std::string> files{folder.write("f.bin", bytes)};
    return error_of<d2v::FileError>([&] { d2v::ImageDataset::from_cifar10(files); });
  };
  Bytes bytes = record(1, 0), more = record(77, 0);
  bytes.insert(bytes.end(), more.begin(), more.end());
  CHECK(has(error(bytes), "f.bin: label at offset 3073: expected 0 to 9, found 77"));
  bytes.resize(5000);
  CHECK(has(error(bytes), "truncated at offset 5000: expected one or more records of 3073 bytes, found 1 and 1927 "
                          "bytes"));
  CHECK(has(error({}), "truncated at offset 0"));
}

TEST_CASE("dataset: real CIFAR-10 records") {
  const std::string train = cifar_mini("cifar10-mini-train.bin"), test = cifar_mini("cifar10-mini-test.bin");
  if (train.empty() || test.empty()) {
    std::printf("SKIPPED: dataset: real CIFAR-10 records: set D2V_SHARED to the folder that holds data/images\n");
    return;
  }
  const std::vector<std::string> files{train, test};
  const auto data = d2v::ImageDataset::from_cifar10(files);
  REQUIRE(data.size() == 1200);
  std::vector<int> counts(10);
  for (std::size_t i = 0; i < 1000; ++i) ++counts[static_cast<std::size_t>(data.label(i))];
  for (const int count : counts) CHECK(count == 100);  // class-balanced, as its description says
  // Known means of CIFAR-10 are 0.491, 0.482, 0.447 with deviations about 0.25: 1,200 images of strongly correlated
  // pixels have an error of about 0.12 (deviation of image means) / sqrt(1200) = 0.0035; 8 of these.
  const auto statistics = d2v::channel_statistics(data);
  const float means[] = {0.491f, 0.482f, 0.447f};
  for (std::size_t c = 0; c < 3; ++c) {
    CHECK(std::abs(statistics.mean[c] - means[c]) < 8 * 0.0035f);
    CHECK(std::abs(statistics.deviation[c] - 0.25f) < 8 * 0.0035f);
  }
}

TEST_CASE("dataset: files of mixed kinds and sizes") {
  const Folder folder("files");
  folder.write("a/grey.png", png(pattern(4, 5, 1)));
  folder.write("b/colour.png", png(pattern(4, 5, 3)));
  folder.write("b/other.png", png(pattern(6, 5, 1)));
  const auto open = [&](std::vector<std::string> names, d2v::FileOptions options = {}) {
    return d2v::ImageDataset::from_files(folder.text(), std::move(names), {}, {}, options);
  };
  auto data = open({"a/grey.png"});
  CHECK(data.channels() == 1);
  CHECK(data.height() == 4);
  CHECK(data.label(0) == -1);
  CHECK(data.load(0) == pattern(4, 5, 1));
  data = open({"a/grey.png", "b/colour.png"});
  CHECK(data.channels() == 3);
  CHECK(data.width() == 5);
  CHECK(data.load(0) == d2v::with_channels(pattern(4, 5, 1), 3));
  CHECK(data.load(1) == pattern(4, 5, 3));
  CHECK(data.name(1) == (folder.path / "b/colour.png").string());
  data = open({"a/grey.png", "b/other.png", "a/grey.png"});
  CHECK(data.height() == 0);
  CHECK(data.width() == 0);
  CHECK(data.load(1).height == 6);
  data = open({"a/grey.png"}, {.scan = false});
  CHECK(data.height() == 0);
  CHECK(data.load(0).channels == 3);
  CHECK_THROWS_AS(d2v::ImageDataset::from_files(folder.text(), {"a/grey.png"}, {0, 1}, {}), d2v::OptionError);
}

TEST_CASE("dataset: what has no header is left out and counted by reason") {
  const Folder folder("scan");
  auto names = numbered(folder, 6, {});
  folder.write("2.png", {'n', 'o'});
  const Bytes whole = png(colour(4));
  folder.write("4.png", Bytes(whole.begin(), whole.begin() + 20));
  names.push_back("gone.png");
  const std::vector<int> labels{0, 1, 2, 3, 4, 5, 6};
  const auto data = d2v::ImageDataset::from_files(folder.text(), names, labels, {}, {.max_broken = 0.5});
  REQUIRE(data.size() == 4);
  CHECK(data.label(2) == 3);  // labels and names stay together
  CHECK(data.load(2) == colour(3));
  const auto report = data.skipped();
  CHECK(report.reasons == std::map<std::string, int>{{"not an image", 1}, {"truncated", 1}, {"unreadable", 1}});
  CHECK(report.total() == 3);
  CHECK(report.first.size() == 3);
  const auto text = error_of<d2v::FileError>([&] { d2v::ImageDataset::from_files(folder.text(), names, labels, {}); });
  CHECK(has(text, "expected at most 0 of 7, found 3 (1 not an image, 1 truncated, 1 unreadable); the first: "));
  CHECK(has(text, "2.png"));
  CHECK(has(text, "gone.png"));
  CHECK_THROWS_AS(d2v::ImageDataset::from_files(folder.text(), names, {}, {}, {.max_broken = 2}), d2v::OptionError);
}

TEST_CASE("dataset: a broken image is replaced by the next good one, the same for every caller, and counted once") {
  const Folder folder("broken");
  const auto names = numbered(folder, 10, {3, 4, 9});
  const auto data = d2v::ImageDataset::from_files(folder.text(), names, {}, {}, {.max_broken = 0.3});
  const auto copy = data;
  const std::size_t expected[] = {0, 1, 2, 5, 5, 5, 6, 7, 8, 0};
  std::vector<int> wrong(4);
  std::vector<std::thread> threads;
  for (std::size_t t = 0; t < 4; ++t)
    threads.emplace_back([&, t] {
      for (std::size_t k = 0; k < 40; ++k) {
        const std::size_t i = (k * 3 + t) % 10;
        std::size_t used = 99;
        const auto image = (t % 2 ? data : copy).load(i, &used);
        if (used != expected[i] || image != colour(static_cast<int>(used))) ++wrong[t];
      }
    });
  for (std::thread& thread : threads) thread.join();
  CHECK(wrong == std::vector<int>(4));
  CHECK(data.skipped().reasons == std::map<std::string, int>{{"corrupt", 3}});
  CHECK(copy.skipped().total() == 3);

  const auto strict = d2v::ImageDataset::from_files(folder.text(), names, {}, {}, {.max_broken = 0.2});
  CHECK(strict.load(4) == colour(5));
  CHECK(strict.load(9) == colour(0));
  const auto text = error_of<d2v::FileError>([&] { strict.load(3); });
  CHECK(has(text, "broken images: expected at most 2 of 10, found 3 (3 corrupt); the first: "));
  CHECK(has(text, "4.png"));
  CHECK(has(text, "9.png"));
  CHECK(has(text, "3.png"));
}

TEST_CASE("dataset: every reason why an image cannot be used has a count of its own") {
  const Folder folder("reasons");
  auto names = numbered(folder, 8, {});
  const Bytes whole = png(colour(9)), photograph = jpeg(8, 8, Bytes(64, 99), JCS_GRAYSCALE);
  const std::array<std::uint8_t, 2> sof{0xff, 0xc0};
  const auto patched = [&](std::size_t at, std::initializer_list<std::uint8_t> bytes) {
    Bytes file = photograph;
    std::copy(bytes.begin(), bytes.end(), std::search(file.begin(), file.end(), sof.begin(), sof.end()) +
                                              static_cast<std::ptrdiff_t>(at));
    return file;
  };
  folder.write("1.png", {});
  folder.write("2.png", {'G', 'I', 'F', '8', '9', 'a'});
  folder.write("3.png", Bytes(whole.begin(), whole.end() - 20));
  folder.write("4.png", [&] {
    Bytes file = whole;
    file[file.size() - 20] ^= 0xff;
    return file;
  }());
  folder.write("5.png", patched(1, {0xc1, 0, 11, 12}));         // 12 bits a sample
  folder.write("6.png", patched(5, {0x9c, 0x40, 0x00, 0x08}));  // 40000 x 8
  fs::remove(folder.path / "7.png");
  const auto data =
      d2v::ImageDataset::from_files(folder.text(), names, {}, {}, {.max_broken = 1, .scan = false});
  for (std::size_t i = 0; i < 8; ++i) CHECK(data.load(i) == colour(0));
  CHECK(data.skipped().reasons == std::map<std::string, int>{{"not an image", 2}, {"truncated", 1}, {"corrupt", 1},
                                                             {"unsupported", 1}, {"too large", 1}, {"unreadable", 1}});
  CHECK(data.skipped().total() == 7);
}

TEST_CASE("dataset: nothing but broken images is an error, not an endless search") {
  const Folder folder("all_broken");
  const auto data =
      d2v::ImageDataset::from_files(folder.text(), numbered(folder, 3, {0, 1, 2}), {}, {}, {.max_broken = 1});
  CHECK(has(error_of<d2v::FileError>([&] { data.load(1); }), "expected an image that can be decoded, found none"));
}
