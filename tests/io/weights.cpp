// SPDX-License-Identifier: MIT
// A model's weights to a file and back: round trip to the bit, every difference in one error, nothing touched on error.
#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <limits>
#include <string>
#include <vector>

#include <unistd.h>

#include <data2vec/core/buffer.hpp>
#include <data2vec/core/error.hpp>
#include <data2vec/io/weights.hpp>

using namespace data2vec;
namespace fs = std::filesystem;

namespace {

template <class T>
struct Layer {
  View<T, 3, 5> weight;
  View<T, 3> bias;
  static constexpr void visit(auto&& f, auto&... p) {
    f("weight", p.weight...);
    f("bias", p.bias...);
  }
};
template <class T>
struct Net {
  Layer<T> first;
  std::array<Layer<T>, 2> blocks;
  View<T, 1, 2, 2> scale;
  static constexpr void visit(auto&& f, auto&... p) {
    f("first", p.first...);
    f("blocks", p.blocks...);
    f("scale", p.scale...);
  }
};
using P = Net<float>;
constexpr std::size_t size = buffer_size<P>;
static_assert(size > element_count<P>);  // there are gaps between tensors

/// Numbers that do not survive a rounding: subnormal, negative zero, infinities and NaN among them.
Buffer<float> numbers(float gap) {
  Buffer<float> buffer(size);
  std::fill(buffer.begin(), buffer.end(), gap);
  for (const TensorInfo& info : tensor_table<P>)
    for (std::size_t i = 0; i < info.size; ++i)
      buffer[info.offset + i] = std::sin(static_cast<float>(info.offset + i) * 1.37f);
  buffer[0] = -0.0f;
  buffer[1] = std::numeric_limits<float>::denorm_min();
  buffer[2] = std::numeric_limits<float>::infinity();
  buffer[3] = std::numeric_limits<float>::quiet_NaN();
  buffer[4] = std::numeric_limits<float>::max();
  return buffer;
}

bool same_bits(const Buffer<float>& a, const Buffer<float>& b) {
  return std::memcmp(a.data(), b.data(), size * sizeof(float)) == 0;
}

struct Folder {  // a scratch folder of this process
  fs::path path = fs::temp_directory_path() / ("d2v_weights_" + std::to_string(::getpid()));
  Folder() { fs::create_directories(path); }
  ~Folder() { fs::remove_all(path); }
  std::string operator/(const char* name) const { return (path / name).string(); }
};

SafetensorsFile file_of(const std::vector<Tensor>& tensors) {
  return SafetensorsFile::from_bytes(safetensors_bytes(tensors), "memory");
}

/// The text of the error; the buffer must be as it was.
std::string refused(const std::vector<Tensor>& tensors, const std::string& prefix = "") {
  Buffer<float> buffer = numbers(7), before = numbers(7);
  std::string text = "no error";
  try {
    load_weights<P>(file_of(tensors), buffer.data(), prefix);
  } catch (const MismatchError& error) {
    text = error.what();
  }
  CHECK(same_bits(buffer, before));
  return text;
}

bool contains(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }
long lines(const std::string& text) { return std::count(text.begin(), text.end(), '\n'); }

}  // namespace

TEST_CASE("round trip through a file: every bit of every tensor, nothing else") {
  const Folder folder;
  const std::string path = folder / "weights.safetensors";
  const Buffer<float> saved = numbers(1);
  save_weights<P>(path, saved.data(), {{"updates", "17"}});
  const SafetensorsFile file = SafetensorsFile::open(path);
  CHECK(file.metadata().at("updates") == "17");
  Buffer<float> loaded(size), expected = numbers(-9);
  std::fill(loaded.begin(), loaded.end(), -9.0f);
  load_weights<P>(file, loaded.data());
  CHECK(same_bits(loaded, expected));  // the gaps keep what stood there
  std::size_t tensors = 0, elements = 0;
  for (const Tensor& tensor : file) {
    ++tensors;
    elements += tensor.data.size() / sizeof(float);
  }
  CHECK(tensors == tensor_count<P>);
  CHECK(elements == element_count<P>);
  CHECK(file.find("blocks.1.weight")->shape == std::vector<std::int64_t>{3, 5});
  CHECK(file.find("scale")->shape == std::vector<std::int64_t>{1, 2, 2});
}

TEST_CASE("round trip through memory, under a prefix, beside other tensors") {
  const Buffer<float> a = numbers(0);
  Buffer<float> b(size), c(size);
  std::vector<Tensor> tensors = named_tensors<P>(a.data(), "student.");
  for (std::size_t i = 0; i < size; ++i) b[i] = 2 * static_cast<float>(i);
  for (const Tensor& tensor : named_tensors<P>(b.data(), "teacher.")) tensors.push_back(tensor);
  load_weights<P>(file_of(tensors), c.data(), "student.");
  CHECK(same_bits(c, a));
  load_weights<P>(file_of(tensors), c.data(), "teacher.");
  for (const TensorInfo& info : tensor_table<P>)
    for (std::size_t i = info.offset; i < info.offset + info.size; ++i) CHECK(c[i] == b[i]);
  CHECK(contains(refused(tensors), "unknown: teacher.scale"));  // without a prefix all tensors must be the model's
}

TEST_CASE("every difference is in the one error: missing, unknown, other shapes, other types") {
  const Buffer<float> source = numbers(0);
  std::vector<Tensor> tensors = named_tensors<P>(source.data());
  const auto named = [&](std::string_view name) {
    return std::find_if(tensors.begin(), tensors.end(), [&](const Tensor& t) { return t.name == name; });
  };
  named("first.weight")->shape = {5, 3};
  named("blocks.0.bias")->name = "blocks.0.offset";
  named("scale")->dtype = Dtype::i32;
  tensors.erase(named("blocks.1.weight"));
  const std::string text = refused(tensors);
  CHECK(contains(text, "memory: the tensors are not the model's:"));
  CHECK(contains(text, "\n  first.weight: expected F32 (3, 5), found F32 (5, 3)"));
  CHECK(contains(text, "\n  missing: blocks.0.bias (3)"));
  CHECK(contains(text, "\n  unknown: blocks.0.offset (3)"));
  CHECK(contains(text, "\n  scale: expected F32 (1, 2, 2), found I32 (1, 2, 2)"));
  CHECK(contains(text, "\n  missing: blocks.1.weight (3, 5)"));
  CHECK(lines(text) == 5);
}

TEST_CASE("one tensor too many or too few is an error; so is another rank") {
  const Buffer<float> source = numbers(0);
  const std::vector<Tensor> tensors = named_tensors<P>(source.data());
  for (std::size_t i = 0; i < tensors.size(); ++i) {
    std::vector<Tensor> fewer = tensors, renamed = tensors;
    fewer.erase(fewer.begin() + static_cast<std::ptrdiff_t>(i));
    const std::string text = refused(fewer);
    CHECK(contains(text, "missing: " + tensors[i].name + " "));
    CHECK(lines(text) == 1);
    renamed[i].name += "x";
    CHECK(lines(refused(renamed)) == 2);
  }
  std::vector<Tensor> more = tensors, flat = tensors;
  more.push_back(tensors[0]);
  more.back().name = "head.weight";
  CHECK(contains(refused(more), "unknown: head.weight (3, 5)"));
  flat.back().shape = {4};
  CHECK(contains(refused(flat), "scale: expected F32 (1, 2, 2), found F32 (4)"));
  CHECK(lines(refused({})) == tensor_count<P>);
}
