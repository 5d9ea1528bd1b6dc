// SPDX-License-Identifier: MIT
// safetensors: round trips, every rule of the format by its sentence, damaged files, and writing that fails.
#include <doctest/doctest.h>

#include <csignal>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include <sys/resource.h>
#include <unistd.h>

#include <data2vec/io/safetensors.hpp>

namespace d2v = data2vec;
namespace fs = std::filesystem;

namespace {

struct Folder {  // a scratch folder of this process
  fs::path path = fs::temp_directory_path() / ("d2v_safetensors_" + std::to_string(::getpid()));
  Folder() { fs::create_directories(path); }
  ~Folder() { fs::remove_all(path); }
  std::string operator/(const char* name) const { return (path / name).string(); }
  std::size_t entries() const { return static_cast<std::size_t>(std::distance(fs::directory_iterator(path), {})); }
};

std::vector<std::byte> file_of(const std::string& header, std::size_t data_bytes, std::uint64_t header_size) {
  std::vector<std::byte> bytes;
  for (unsigned i = 0; i < 8; ++i) bytes.push_back(static_cast<std::byte>(header_size >> 8 * i & 255));
  for (const char c : header) bytes.push_back(static_cast<std::byte>(c));
  bytes.resize(bytes.size() + data_bytes);
  return bytes;
}

std::vector<std::byte> file_of(const std::string& header, std::size_t data_bytes = 0) {
  return file_of(header, data_bytes, header.size());
}

/// The error's text; empty if there was none.
std::string error_of(const std::vector<std::byte>& bytes) {
  try {
    d2v::SafetensorsFile::from_bytes(bytes);
  } catch (const d2v::FileError& error) {
    return error.what();
  }
  return "";
}

bool contains(const std::string& text, const char* part) { return text.find(part) != std::string::npos; }

std::string read_text(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

const std::vector<float> weights{1.5f, -2.0f, 0.0f, 4.0f, 5.0f, 6.0f};
const std::vector<std::uint8_t> flags{1, 0, 1};
const std::vector<double> scalar{0.1};

std::vector<d2v::Tensor> sample() {
  return {d2v::make_tensor<std::uint8_t>("flags", {3}, flags),
          d2v::make_tensor<float>("block.0.weight", {2, 3}, weights),
          d2v::make_tensor<double>("lr", {}, scalar), d2v::make_tensor<float>("empty", {0, 7}, {})};
}

}  // namespace

TEST_CASE("safetensors: what is written is read back, aligned and with metadata") {
  const auto bytes = d2v::safetensors_bytes(sample(), {{"step", "12"}});
  const auto file = d2v::SafetensorsFile::from_bytes(bytes);
  CHECK(file.size() == 4);
  CHECK(file.metadata() == std::map<std::string, std::string>{{"format", "pt"}, {"step", "12"}});
  const auto read = file.at("block.0.weight").as<float>();
  CHECK(std::vector<float>(read.begin(), read.end()) == weights);
  CHECK(file.at("block.0.weight").shape == std::vector<std::int64_t>{2, 3});
  CHECK(file.at("flags").copy<std::uint8_t>() == flags);
  CHECK(file.at("lr").as<double>()[0] == 0.1);
  CHECK(file.at("lr").shape.empty());
  CHECK(file.at("empty").data.empty());
  CHECK(file.find("absent") == nullptr);
  CHECK(reinterpret_cast<std::uintptr_t>(file.begin()->data.data()) % 64 == 0);
  CHECK(d2v::safetensors_bytes(file.tensors(), file.metadata()) == bytes);  // the order of the file is stable
}

TEST_CASE("safetensors: bytes as another writer lays them out") {
  // The example of the format's description: one tensor, header not padded, so that data are not aligned in the file.
  auto bytes = file_of(R"({"x":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}})", 8);
  bytes[bytes.size() - 1] = std::byte{0x40};  // 2.0f is 00 00 00 40
  const auto file = d2v::SafetensorsFile::from_bytes(bytes);
  CHECK(file.at("x").as<float>()[1] == 2.0f);
  CHECK(file.metadata().empty());
  CHECK(error_of(file_of("{}")) == "");
  CHECK(error_of(file_of("{}      ")) == "");
}

TEST_CASE("safetensors: names in any script, empty tensors, and data at odd places of the file") {
  const std::string name = "\xe5\xb1\x82.\xf0\x9f\x98\x80";
  const std::string header = R"({"b":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},")" + name +
                             R"(":{"dtype":"F32","shape":[1],"data_offsets":[1,5]},)"
                             R"("none":{"dtype":"I64","shape":[3,0],"data_offsets":[1,1]}})";
  auto bytes = file_of(header, 5);
  bytes[bytes.size() - 1] = std::byte{0x40};
  const auto file = d2v::SafetensorsFile::from_bytes(bytes);
  const d2v::Tensor& odd = file.at(name);
  CHECK(file.at("none").as<std::int64_t>().empty());
  CHECK(odd.copy<float>() == std::vector<float>{2.0f});
  std::string text;
  try {
    odd.as<float>();
  } catch (const d2v::MismatchError& error) {
    text = error.what();
  }
  CHECK(contains(text, "expected data aligned to 4 bytes, found other data: use copy<T>()"));
}

TEST_CASE("safetensors: a tensor of another type or a missing name is an error that helps") {
  const auto file = d2v::SafetensorsFile::from_bytes(d2v::safetensors_bytes(sample()), "some.safetensors");
  CHECK_THROWS_WITH_AS(file.at("lr").as<float>(), "tensor 'lr': expected dtype F32, found F64", d2v::MismatchError);
  CHECK_THROWS_WITH_AS(file.at("block.1.weight"),
                       "some.safetensors: expected a tensor 'block.1.weight', found none among 4 tensors; near: "
                       "'block.0.weight', 'flags', 'empty'", d2v::FileError);
  alignas(8) std::byte raw[9] = {};
  d2v::Tensor odd;
  odd.dtype = d2v::Dtype::f32;
  odd.shape = {2};
  odd.data = std::span<const std::byte>(raw + 1, 8);
  CHECK_THROWS_AS(odd.as<float>(), d2v::MismatchError);
  CHECK(odd.copy<float>() == std::vector<float>{0, 0});
}

TEST_CASE("safetensors: every rule of the format has its own sentence") {
  const std::string good = R"({"dtype":"F32","shape":[2],"data_offsets":[0,8]})";
  const auto one = [](const std::string& entry) { return "{\"x\":" + entry + "}"; };
  const auto x = [&](const std::string& dtype, const std::string& shape, const std::string& offsets) {
    return one("{\"dtype\":\"" + dtype + "\",\"shape\":" + shape + ",\"data_offsets\":" + offsets + "}");
  };
  const std::string empty = R"("y":{"dtype":"U8","shape":[0],"data_offsets":)";
  const std::string deep(100'000, '['), long_dtype = "found '" + std::string(64, 'F') + "...'";
  struct Attack { std::string header; std::size_t data; const char* sentence; };
  const Attack attacks[] = {
      {"", 0, "header start: expected '{', found an empty header"},
      {" {}", 0, "header start: expected '{', found byte 32"},
      {"[]", 0, "header start"},
      {"{", 0, "header JSON: expected one valid JSON object, found an error at byte"},
      {"{}{}", 0, "header JSON"},
      {std::string("{}\0", 3), 0, "header JSON: expected text, found a zero byte at byte 2"},
      {"{\"\xff\":1}", 0, "header text: expected UTF-8, found other bytes at byte 3"},
      {"{\"\xc0\xaf\":1}", 0, "header text: expected UTF-8"},          // '/', longer than need be
      {"{\"\xe0\x80\xaf\":1}", 0, "header text: expected UTF-8"},      // the same
      {"{\"\xed\xa0\x80\":1}", 0, "header text: expected UTF-8"},      // a surrogate
      {"{\"\xf4\x90\x80\x80\":1}", 0, "header text: expected UTF-8"},  // above U+10FFFF
      {"{\"\xe4\xb8\":1}", 0, "header text: expected UTF-8"},          // cut short
      {"{\"\x1f\":1}", 0, "header JSON"},
      {"{} \xc3", 0, "header JSON"},
      {R"({"\ud800":1})", 0, "header JSON: expected one valid JSON object, found an error at byte"},
      {"\xef\xbb\xbf{}", 0, "header start: expected '{', found byte 239"},
      {"{}//", 0, "header JSON"},
      {"{} x", 0, "header JSON"},
      {one("NaN"), 0, "header JSON"},
      {one("1e999"), 0, "header JSON: expected one valid JSON object, found a number out of range"},
      {"{\"x\":" + deep, 0, "nesting: expected a header of at most 3 levels"},
      {x("F32", "[[2]]", "[0,8]"), 8, "nesting"},
      {"{\"x\":" + good + ",\"x\":" + good + "}", 8, "duplicate key: expected every name once, found 'x' twice"},
      {one(R"({"dtype":"F32","dtype":"F32","shape":[2],"data_offsets":[0,8]})"), 8, "duplicate key"},
      {R"({"__metadata__":{"a":"1","a":"2"}})", 0, "duplicate key"},
      {R"({"__metadata__":[]})", 0, "__metadata__: expected an object, found array"},
      {R"({"__metadata__":{"a":1}})", 0, "__metadata__: expected a string under 'a', found number"},
      {R"({"__metadata__":{"a":{}}})", 0, "__metadata__: expected a string under 'a', found object"},
      {"{\"" + std::string(513, 'n') + "\":" + good + "}", 8, "name too long: expected at most 512 bytes, found 513"},
      {one("3"), 0, "tensor 'x': expected an object, found number"},
      {one(R"({"shape":[2],"data_offsets":[0,8]})"), 8, "tensor 'x': expected the key 'dtype', found none"},
      {one(R"({"dtype":"F32","data_offsets":[0,8]})"), 8, "expected the key 'shape'"},
      {one(R"({"dtype":"F32","shape":[2]})"), 8, "expected the key 'data_offsets'"},
      {one(R"({"dtype":"F32","shape":[2],"data_offsets":[0,8],"z":0})"), 8, "and no other, found 4"},
      {one(R"({"dtype":7,"shape":[2],"data_offsets":[0,8]})"), 8, "dtype: expected a string"},
      {x("F31", "[2]", "[0,8]"), 8, "unknown dtype: expected F32, I32, U8, ..., found 'F31'"},
      {x("f32", "[2]", "[0,8]"), 8, "unknown dtype: expected F32, I32, U8, ..., found 'f32'"},
      {x("", "[2]", "[0,8]"), 8, "unknown dtype: expected F32, I32, U8, ..., found ''"},
      {x("F\xc2\xb3\xc2\xb2", "[2]", "[0,8]"), 8, "U8, ..., found 'F\xc2\xb3\xc2\xb2'"},
      {x("\\u001b[2J", "[2]", "[0,8]"), 8, "found '?[2J'"},  // must not reach a terminal
      {x(std::string(5000, 'F'), "[2]", "[0,8]"), 8, long_dtype.c_str()},
      {x("F4", "[2]", "[0,1]"), 1, "unknown dtype"},  // less than a byte: not ours
      {x("F32", "[02]", "[0,8]"), 8, "header JSON"},
      {x("F32", "[-0]", "[0,0]"), 0, "shape: expected whole numbers from 0 to 2^63 - 1"},
      {x("F32", "[2e0]", "[0,8]"), 8, "shape: expected whole numbers"},
      {x("F32", "[null]", "[0,8]"), 8, "shape: expected whole numbers from 0 to 2^63 - 1, found null"},
      {x("F32", "2", "[0,8]"), 8, "shape: expected a list"},
      {x("F32", "[-2]", "[0,8]"), 8, "shape: expected whole numbers from 0 to 2^63 - 1, found -2"},
      {x("F32", "[2.0]", "[0,8]"), 8, "shape: expected whole numbers"},
      {one(R"({"dtype":"F32","shape":["2"],"data_offsets":[0,8]})"), 8, "shape: expected whole numbers"},
      {x("F32", "[18446744073709551615]", "[0,8]"), 8, "shape: expected whole numbers"},
      {x("F32", "[1,1,1,1,1,1,1,1,2]", "[0,8]"), 8, "rank: expected lists of at most 8"},
      {x("F32", "[4294967296,4294967296]", "[0,8]"), 8, "shape overflow"},
      {x("F32", "[4611686018427387905]", "[0,4]"), 4, "shape overflow"},
      {x("F32", "[4294967296,4294967296,0]", "[0,0]"), 0, "shape overflow"},
      {x("F32", "[2]", "[0]"), 8, "data_offsets: expected 2 numbers, found 1"},
      {x("F32", "[2]", "[0,4,8]"), 8, "data_offsets: expected 2 numbers, found 3"},
      {x("F32", "[2]", "8"), 8, "data_offsets: expected a list, found number"},
      {x("F32", "[2]", "[-8,0]"), 8, "data_offsets: expected whole numbers from 0 to 2^63 - 1, found -8"},
      {x("F32", "[2]", "[0,9223372036854775808]"), 8, "data_offsets: expected whole numbers"},
      {x("F32", "[2]", "[9223372036854775800,9223372036854775807]"), 8, "expected an end within the 8 bytes"},
      {x("F32", "[2]", "[8,0]"), 8, "data_offsets: expected begin <= end, found [8,0]"},
      {x("F32", "[2]", "[0,8]"), 7, "(is the file truncated?), found 8"},
      {x("F32", "[2]", "[0,9]"), 9, "size: expected 8 bytes from dtype and shape, found 9"},
      {x("F32", "[2]", "[4,12]"), 12, "hole in the data: expected data from offset 0, found 4"},
      {x("F32", "[2]", "[0,8]"), 9, "trailing bytes: expected 8 bytes of data, found 9"},
      {"{}", 1, "trailing bytes: expected 0 bytes of data, found 1"},
      {"{\"x\":" + good + R"(,"y":{"dtype":"U8","shape":[4],"data_offsets":[4,8]}})", 8,
       "tensor 'y': data overlap: expected data from offset 8, found 4"},
      {"{\"x\":" + good + ",\"y\":" + good + "}", 8, "data overlap"},
      {"{\"x\":" + good + "," + empty + "[4,4]}}", 8, "data overlap"},
      {"{\"x\":" + good + "," + empty + "[9,9]}}", 9, "tensor 'y': hole in the data"},
      {R"({"\u0078":)" + good + ",\"x\":" + good + "}", 8, "duplicate key: expected every name once, found 'x' twice"},
      {"{\"__metadata__\":{},\"__metadata__\":{}}", 0, "duplicate key"},
      {"{\"x\":" + good + R"(,"y":{"dtype":"U8","shape":[1],"data_offsets":[9,10]}})", 10,
       "tensor 'y': hole in the data"},
  };
  for (const Attack& attack : attacks) {
    CAPTURE(attack.header.substr(0, 100));
    const std::string text = error_of(file_of(attack.header, attack.data));
    CAPTURE(text);
    CHECK(contains(text, attack.sentence));
    CHECK(text.rfind("memory: ", 0) == 0);
  }
  CHECK(contains(error_of(file_of("{}", 0, 100'000'001)), "header too large: expected at most 100000000 bytes"));
  CHECK(contains(error_of(file_of("{}", 0, ~std::uint64_t{0})), "header too large"));
  CHECK(contains(error_of(file_of("{}", 0, 3)), "header truncated: expected 3 bytes of header, found 2"));
}

TEST_CASE("safetensors: a file cut at any byte is refused") {
  const auto bytes = d2v::safetensors_bytes(sample());
  for (std::size_t size = 0; size < bytes.size(); ++size) {
    CAPTURE(size);
    CHECK(error_of({bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(size)}) != "");
  }
}

TEST_CASE("safetensors: flipped bits are refused or read as other data, never a crash") {
  const auto bytes = d2v::safetensors_bytes(sample());
  std::size_t header_size = std::to_integer<std::size_t>(bytes[0]) + 256 * std::to_integer<std::size_t>(bytes[1]);
  int refused = 0;
  for (std::size_t i = 0; i < 8 + header_size; ++i)
    for (const unsigned bit : {1u, 2u, 16u, 128u}) {
      auto damaged = bytes;
      damaged[i] ^= static_cast<std::byte>(bit);
      const std::string text = error_of(damaged);
      refused += text != "";
      if (i < 8 || bit == 128) CHECK_MESSAGE(text != "", "byte " << i);  // the length; a lone byte is not UTF-8
    }
  CHECK(refused > 0);
}

TEST_CASE("safetensors: the writer refuses what the reader would") {
  const auto bad = [](d2v::Tensor tensor) { return d2v::safetensors_bytes(std::vector{tensor, tensor}); };
  CHECK_THROWS_WITH_AS(bad(sample()[0]), "safetensors: tensor 'flags': expected every name once, found it twice",
                       d2v::MismatchError);
  auto tensor = sample()[0];
  tensor.shape = {4};
  CHECK_THROWS_WITH_AS(bad(tensor), "safetensors: tensor 'flags': expected 4 bytes, found 3", d2v::MismatchError);
  tensor = sample()[0];
  for (const std::string& name : {std::string("__metadata__"), std::string(513, 'a'), std::string("\xff")}) {
    tensor.name = name;
    CHECK_THROWS_AS(d2v::safetensors_bytes(std::vector{tensor}), d2v::MismatchError);
  }
}

TEST_CASE("safetensors: a file is replaced as a whole, through links, keeping its mode") {
  const Folder folder;
  const std::string path = folder / "a.safetensors", link = folder / "link.safetensors";
  d2v::write_safetensors(path, sample());
  fs::permissions(path, fs::perms::owner_read | fs::perms::owner_write);
  fs::create_symlink("a.safetensors", link);
  d2v::write_safetensors(link, std::vector{sample()[0]});
  CHECK(fs::is_symlink(link));
  CHECK(d2v::SafetensorsFile::open(path).size() == 1);
  CHECK(fs::status(path).permissions() == (fs::perms::owner_read | fs::perms::owner_write));
  CHECK(folder.entries() == 2);  // nothing temporary is left
  CHECK_THROWS_AS(d2v::SafetensorsFile::open(folder / "absent"), d2v::FileError);
  CHECK_THROWS_AS(d2v::SafetensorsFile::open(folder.path.string()), d2v::FileError);
  CHECK_THROWS_AS(d2v::write_safetensors(folder / "no/such/folder", sample()), d2v::FileError);
}

TEST_CASE("safetensors: when the disk is full the old file stays and the error names path and bytes") {
  const std::vector<float> big(100'000, 1.0f);
  const std::vector tensors{d2v::make_tensor<float>("big", {100'000}, big)};
  const auto size = d2v::SafetensorsWriter(tensors).size();
  const std::string needed = std::to_string(size) + " bytes needed";
  const auto text_of = [&](const std::string& path) -> std::string {
    try {
      d2v::write_safetensors(path, tensors);
    } catch (const d2v::FileError& error) {
      return error.what();
    }
    return "";
  };
  if (fs::exists("/dev/full")) {
    const std::string text = text_of("/dev/full");
    CHECK(contains(text, "/dev/full: cannot write the new file"));
    CHECK(contains(text, needed.c_str()));
    CHECK(fs::is_character_file("/dev/full"));
  }
  const Folder folder;
  const std::string path = folder / "old.safetensors";
  d2v::write_safetensors(path, sample());
  const std::string before = read_text(path);
  rlimit old{};
  REQUIRE(getrlimit(RLIMIT_FSIZE, &old) == 0);
  std::signal(SIGXFSZ, SIG_IGN);
  const rlimit small{200'000, old.rlim_max};  // a write beyond this fails half way through, as on a full disk
  REQUIRE(setrlimit(RLIMIT_FSIZE, &small) == 0);
  const std::string text = text_of(path);
  setrlimit(RLIMIT_FSIZE, &old);
  CHECK(contains(text, (path + ": cannot write the new file (" + needed).c_str()));
  CHECK(read_text(path) == before);
  CHECK(folder.entries() == 1);
}
