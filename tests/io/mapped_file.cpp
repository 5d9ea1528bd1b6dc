// SPDX-License-Identifier: MIT
// Files as memory.
#include <doctest/doctest.h>

#include <string>
#include <utility>

#include <data2vec/io/file.hpp>
#include <data2vec/io/mapped_file.hpp>
#include <tests/data/text_files.hpp>

using namespace data2vec;
using text_files::error_of;

TEST_CASE("mapped file: the bytes of a file, and none of an empty one") {
  const text_files::Folder folder("mapped");
  const std::string content = text_files::any_bytes(10'000, 1), path = folder.write("f", content);
  const MappedFile file(path);
  CHECK(file.text() == content);
  CHECK(file.bytes().size() == content.size());
  CHECK(MappedFile(folder.write("empty", "")).text().empty());
  CHECK(MappedFile().bytes().empty());
}

TEST_CASE("mapped file: moves, and stays whole while the file is replaced") {
  const text_files::Folder folder("mapped");
  const std::string path = folder.write("f", "old");
  MappedFile first(path), second = std::move(first);
  AtomicFile replacement(path, 0);
  replacement.commit();
  CHECK(first.text().empty());
  CHECK(second.text() == "old");
  first = std::move(second);
  CHECK(first.text() == "old");
  CHECK(MappedFile(path).text().empty());
}

TEST_CASE("mapped file: what is refused") {
  const text_files::Folder folder("mapped");
  CHECK(error_of([&] { MappedFile(folder.text() + "/none"); }).ends_with("none: expected a file, found none"));
  CHECK(error_of([&] { MappedFile(folder.text()); }).ends_with("expected a regular file, found something else"));
}
