// SPDX-License-Identifier: MIT
// .npy: the bytes of the format, round trips, streaming, damaged files, and writing that does not end.
#include <doctest/doctest.h>

#include <cstdint>
#include <cstring>
#include <filesystem>
#include <string>
#include <vector>

#include <unistd.h>

#include <data2vec/io/npy.hpp>

using namespace data2vec;
namespace fs = std::filesystem;

namespace {

struct Folder {  // a scratch folder of this process
  fs::path path = fs::temp_directory_path() / ("d2v_npy_" + std::to_string(::getpid()));
  Folder() { fs::create_directories(path); }
  ~Folder() { fs::remove_all(path); }
  std::string operator/(const char* name) const { return (path / name).string(); }
  std::size_t entries() const { return static_cast<std::size_t>(std::distance(fs::directory_iterator(path), {})); }
};

std::string text_of(const std::string& path) {
  const auto bytes = read_file(path);
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

template <class T>
std::string error_of(const std::string& bytes) {
  try {
    parse_npy<T>(std::as_bytes(std::span(bytes)));
  } catch (const FileError& error) {
    return error.what();
  }
  return "";
}

const std::vector<float> six{1, -2, 0.5f, 4, 5, 6};

}  // namespace

TEST_CASE("npy: the bytes of a file") {
  const Folder folder;
  write_npy<float>(folder / "a.npy", {2, 3}, six);
  const std::string text = text_of(folder / "a.npy");
  // NEP 1: magic, version, length of the header, dictionary, blanks, line feed; the data begin at a multiple of 64.
  const std::string dictionary = "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }";
  const std::string expected =
      std::string("\x93NUMPY\x01\x00\x76\x00", 10) + dictionary + std::string(117 - dictionary.size(), ' ') + "\n";
  REQUIRE(text.size() == 128 + 24);
  CHECK(text.substr(0, 128) == expected);
  CHECK(std::memcmp(text.data() + 128, six.data(), 24) == 0);
  CHECK(folder.entries() == 1);
}

TEST_CASE("npy: every shape and type comes back") {
  const Folder folder;
  const std::string path = folder / "b.npy";
  for (const std::vector<std::int64_t>& shape :
       {std::vector<std::int64_t>{6}, {6, 1}, {1, 2, 3}, {}, {0, 7}, {1, 1, 1, 1, 1, 1, 2, 1, 3}}) {
    std::int64_t count = 1;
    for (const std::int64_t n : shape) count *= n;
    const std::vector<float> values(six.begin(), six.begin() + count);
    write_npy<float>(path, shape, values);
    const auto back = read_npy<float>(path);
    CHECK(back.shape == shape);
    CHECK(back.values == values);
  }
  const std::vector<std::int32_t> whole{-1, 1 << 30, 7};
  write_npy<std::int32_t>(path, {3}, whole);
  CHECK(read_npy<std::int32_t>(path).values == whole);
  CHECK(text_of(path).find("'<i4'") != std::string::npos);
  CHECK_THROWS_WITH_AS(read_npy<float>(path), (path + ": descr: expected '<f4', found '<i4'").c_str(), FileError);
}

TEST_CASE("npy: pieces are the whole, and nothing is replaced before it is complete") {
  const Folder folder;
  const std::string path = folder / "c.npy";
  write_npy<float>(path, {2, 3}, six);
  const std::string before = text_of(path);
  {
    NpyWriter<float> writer(path, {3, 2});
    writer.write(std::span(six).first(1));
    CHECK_THROWS_WITH_AS(writer.commit(),
                         (path + ": expected an array of shape (3, 2), found 5 elements too few").c_str(),
                         MismatchError);
    CHECK(text_of(path) == before);
    CHECK_THROWS_WITH_AS(writer.write(six), (path + ": expected 5 more elements of shape (3, 2), found 6").c_str(),
                         MismatchError);
    writer.write(std::span(six).subspan(1, 3));
  }
  CHECK(text_of(path) == before);
  CHECK(folder.entries() == 1);  // no temporary file is left
  NpyWriter<float> writer(path, {2, 3});
  writer.write(std::span(six).first(4));
  writer.write(std::span(six).subspan(4));
  writer.commit();
  CHECK(text_of(path) == before);
}

TEST_CASE("npy: shapes that cannot be") {
  const Folder folder;
  CHECK_THROWS_AS(NpyWriter<float>(folder / "d.npy", {-1}), MismatchError);
  CHECK_THROWS_AS(NpyWriter<float>(folder / "d.npy", {std::int64_t{1} << 40, std::int64_t{1} << 40}), MismatchError);
  CHECK_THROWS_AS(NpyWriter<float>(folder / "d.npy", std::vector<std::int64_t>(33, 1)), MismatchError);
  CHECK_THROWS_AS(NpyWriter<float>(folder / "no/folder/d.npy", {1}), FileError);
  CHECK(folder.entries() == 0);
}

TEST_CASE("npy: damaged files") {
  const Folder folder;
  write_npy<float>(folder / "e.npy", {2, 3}, six);
  const std::string good = text_of(folder / "e.npy");
  REQUIRE(error_of<float>(good) == "");
  const auto with = [&](const std::string& old, const std::string& text) {
    std::string bytes = good;
    return bytes.replace(bytes.find(old), old.size(), text);
  };
  CHECK(error_of<float>("") == "memory: start: expected the magic bytes of .npy, found others");
  CHECK(error_of<float>(with("NUMPY", "NUMPZ")).find("magic") != std::string::npos);
  CHECK(error_of<float>(with("NUMPY\x01", "NUMPY\x02")) == "memory: version: expected 1.0, found 2.0");
  for (const std::size_t length : {std::size_t{6}, std::size_t{9}, std::size_t{100}})
    CHECK(error_of<float>(good.substr(0, length)).find("truncated") != std::string::npos);
  CHECK(error_of<float>(good.substr(0, 150)) == "memory: data: expected the bytes of shape (2, 3), found 22 bytes");
  CHECK(error_of<float>(good + "x").find("25 bytes") != std::string::npos);
  CHECK(error_of<float>(with("False", "True ")).find("fortran_order") != std::string::npos);
  CHECK(error_of<float>(with("descr", "dexcr")).find("key 'descr'") != std::string::npos);
  for (const char* shape : {"2, 3)}", "(2; 3)", "(-2, 3", "(2, 3 ", "(9999999999999999999999, 3)"})
    CHECK(error_of<float>(with("(2, 3)", shape)) != "");
  CHECK(error_of<float>(with("(2, 3), }", "(99999999999, 99999999999)")).find("data:") != std::string::npos);
}
