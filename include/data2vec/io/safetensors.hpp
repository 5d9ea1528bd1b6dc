// SPDX-License-Identifier: MIT
// safetensors, the public tensor file format (https://github.com/huggingface/safetensors, "Format"): 8 bytes header
// length (little-endian), a JSON header (name -> dtype, shape, data_offsets), then the raw row-major data.
// The reader refuses everything that the format forbids, each rule with a sentence of its own.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <map>
#include <memory>
#include <new>
#include <numeric>
#include <span>
#include <string>
#include <string_view>
#include <unordered_set>
#include <utility>
#include <vector>

#include <nlohmann/json.hpp>

#include <data2vec/core/error.hpp>
#include <data2vec/io/file.hpp>
#include <data2vec/io/tensor.hpp>

namespace data2vec::inline v0 {

/// Limits of the reader and the writer. The header's is the format's own; names and ranks are bounded by this library.
inline constexpr std::uint64_t safetensors_max_header = 100'000'000;  ///< bytes
inline constexpr std::size_t safetensors_max_name = 512;              ///< bytes
inline constexpr std::size_t safetensors_max_rank = 8;

namespace detail {

inline std::string found(std::uint64_t n) { return ", found " + std::to_string(n); }

/// Text of a file as an error shows it: the beginning, without what would change a terminal or a log.
inline std::string shown(std::string_view text) {
  std::string out;
  for (const char c : text.substr(0, 64)) out += static_cast<unsigned char>(c) < 0x20 || c == 0x7f ? '?' : c;
  return text.size() > 64 ? out + "..." : out;
}

/// Checks the header while it is parsed and hands over each entry of the root as soon as it is complete, so that a
/// hostile header cannot grow in memory.
template <class OnEntry>
class HeaderGuard {
 public:
  HeaderGuard(const std::string& file, OnEntry& on_entry) : file_(file), on_entry_(on_entry) {}

  bool operator()(int depth, nlohmann::json::parse_event_t event, nlohmann::json& value) {
    using Event = nlohmann::json::parse_event_t;
    if ((event == Event::object_start || event == Event::array_start) && depth > 2)
      throw FileError(file_, "nesting: expected a header of at most 3 levels, found more");
    if (event == Event::object_start) keys_.emplace_back();
    if (event == Event::object_end) keys_.pop_back();
    if (event == Event::array_start) elements_ = 0;
    if (event == Event::value && !after_key_ && ++elements_ > safetensors_max_rank)
      throw FileError(file_, "rank: expected lists of at most " + std::to_string(safetensors_max_rank) +
                                 " numbers in the header, found more");
    if (event == Event::key) note_key(depth, value.get_ref<const std::string&>());
    after_key_ = event == Event::key;
    if (depth != 1 || event == Event::key || event == Event::object_start || event == Event::array_start) return true;
    on_entry_(root_key_, value);
    return false;  // not kept: the entry has been taken over
  }

 private:
  void note_key(int depth, const std::string& key) {
    if (key.size() > safetensors_max_name)
      throw FileError(file_, "name too long: expected at most " + std::to_string(safetensors_max_name) + " bytes" +
                                 found(key.size()));
    if (!keys_.back().insert(key).second)
      throw FileError(file_, "duplicate key: expected every name once, found '" + shown(key) + "' twice");
    if (depth == 1) root_key_ = key;
  }

  const std::string& file_;
  OnEntry& on_entry_;
  std::string root_key_;
  std::vector<std::unordered_set<std::string>> keys_;
  std::size_t elements_ = 0;
  bool after_key_ = false;
};

/// Calls `on_entry(name, value)` for each entry of the header.
template <class OnEntry>
void parse_header(const std::string& file, std::string_view header, OnEntry on_entry) {
  if (header.empty() || header.front() != '{')
    throw FileError(file, "header start: expected '{', found " +
                              (header.empty() ? "an empty header"
                                              : "byte " + std::to_string(static_cast<unsigned char>(header.front()))));
  if (const auto zero = header.find('\0'); zero != header.npos)  // the parser would take it for the end
    throw FileError(file, "header JSON: expected text, found a zero byte at byte " + std::to_string(zero));
  try {
    const HeaderGuard<OnEntry> guard(file, on_entry);
    const auto root = nlohmann::json::parse(header, guard);
  } catch (const nlohmann::json::parse_error& error) {
    if (std::string_view(error.what()).find("ill-formed UTF-8") != std::string_view::npos)
      throw FileError(file, "header text: expected UTF-8, found other bytes at byte " + std::to_string(error.byte));
    throw FileError(file, "header JSON: expected one valid JSON object, found an error at byte " +
                              std::to_string(error.byte));
  } catch (const nlohmann::json::exception&) {
    throw FileError(file, "header JSON: expected one valid JSON object, found a number out of range");
  }
}

/// A list of non-negative whole numbers below 2^63.
inline std::vector<std::int64_t> natural_numbers(const std::string& file, const std::string& what,
                                                 const nlohmann::json& list) {
  if (!list.is_array()) throw FileError(file, what + ": expected a list, found " + list.type_name());
  std::vector<std::int64_t> numbers;
  for (const auto& entry : list) {
    if (!entry.is_number_unsigned() ||
        entry.get<std::uint64_t>() > static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max()))
      throw FileError(file, what + ": expected whole numbers from 0 to 2^63 - 1, found " + shown(entry.dump()));
    numbers.push_back(entry.get<std::int64_t>());
  }
  return numbers;
}

/// One tensor of the header and the offset where its data begin; `data` is set later.
inline std::pair<Tensor, std::uint64_t> parse_tensor(const std::string& file, const std::string& name,
                                                     const nlohmann::json& entry, std::uint64_t data_size) {
  const std::string where = "tensor '" + shown(name) + "': ";
  if (!entry.is_object()) throw FileError(file, where + "expected an object, found " + entry.type_name());
  for (const char* key : {"dtype", "shape", "data_offsets"})
    if (!entry.contains(key)) throw FileError(file, where + "expected the key '" + key + "', found none");
  if (entry.size() != 3)
    throw FileError(file, where + "expected the keys dtype, shape, data_offsets and no other" + found(entry.size()));
  Tensor tensor;
  tensor.name = name;
  if (!entry["dtype"].is_string())
    throw FileError(file, where + "dtype: expected a string, found " + entry["dtype"].type_name());
  const auto& dtype_text = entry["dtype"].get_ref<const std::string&>();
  const auto dtype = dtype_named(dtype_text);
  if (!dtype)
    throw FileError(file, where + "unknown dtype: expected F32, I32, U8, ..., found '" + shown(dtype_text) + "'");
  tensor.dtype = *dtype;
  tensor.shape = natural_numbers(file, where + "shape", entry["shape"]);
  const auto offsets = natural_numbers(file, where + "data_offsets", entry["data_offsets"]);
  if (offsets.size() != 2) throw FileError(file, where + "data_offsets: expected 2 numbers" + found(offsets.size()));
  const auto begin = static_cast<std::uint64_t>(offsets[0]), end = static_cast<std::uint64_t>(offsets[1]);
  if (begin > end)
    throw FileError(file, where + "data_offsets: expected begin <= end, found " + entry["data_offsets"].dump());
  if (end > data_size)
    throw FileError(file, where + "data_offsets: expected an end within the " + std::to_string(data_size) +
                              " bytes of data (is the file truncated?)" + found(end));
  const auto bytes = byte_size(tensor.dtype, tensor.shape);
  if (!bytes)
    throw FileError(file, where + "shape overflow: expected fewer than 2^64 bytes, found " + entry["shape"].dump());
  if (*bytes != end - begin)
    throw FileError(file, where + "size: expected " + std::to_string(*bytes) + " bytes from dtype and shape" +
                              found(end - begin));
  return {std::move(tensor), begin};
}

}  // namespace detail

/// A safetensors file in memory. It owns the bytes; the tensors are views that live as long as it does. Data begin at
/// a 64-byte boundary. Movable, not copyable. Every broken rule of the format throws FileError.
class SafetensorsFile {
 public:
  /// Reads the whole file at `path`.
  static SafetensorsFile open(const std::string& path) {
    InputFile in(path);
    return SafetensorsFile(path, in.size(), [&](std::span<std::byte> to) { in.read(to); });
  }

  /// The same from memory (the bytes are copied); `file` is what error texts call it.
  static SafetensorsFile from_bytes(std::span<const std::byte> bytes, const std::string& file = "memory") {
    return SafetensorsFile(file, bytes.size(), [&](std::span<std::byte> to) {
      std::copy_n(bytes.begin(), to.size(), to.begin());
      bytes = bytes.subspan(to.size());
    });
  }

  const std::string& file() const { return file_; }
  const std::vector<Tensor>& tensors() const { return tensors_; }                    ///< in the order of their data
  const std::map<std::string, std::string>& metadata() const { return metadata_; }
  auto begin() const { return tensors_.begin(); }
  auto end() const { return tensors_.end(); }
  std::size_t size() const { return tensors_.size(); }

  /// The tensor of that name, or null.
  const Tensor* find(std::string_view name) const {
    const auto it = index_.find(name);
    return it == index_.end() ? nullptr : &tensors_[it->second];
  }

  /// The tensor of that name. Throws FileError that lists the names nearest to it.
  const Tensor& at(std::string_view name) const {
    if (const Tensor* tensor = find(name)) return *tensor;
    std::vector<std::string> names;
    for (const Tensor& tensor : tensors_) names.push_back(tensor.name);
    std::string text = "expected a tensor '" + std::string(name) + "', found none among " +
                       std::to_string(tensors_.size()) + " tensors";
    const auto near = nearest_names(name, std::move(names), 3);
    for (std::size_t i = 0; i < near.size(); ++i) text += (i ? ", '" : "; near: '") + near[i] + "'";
    throw FileError(file_, text);
  }

 private:
  struct Free {
    void operator()(std::byte* p) const { ::operator delete[](p, std::align_val_t{64}); }
  };

  /// `read(span)` gives the next bytes of `size` in all.
  template <class Read>
  SafetensorsFile(const std::string& file, std::uint64_t size, Read read) : file_(file) {
    if (size < 8) throw FileError(file, "header length: expected at least 8 bytes" + detail::found(size));
    std::byte length[8];
    read(std::span<std::byte>(length));
    std::uint64_t header_size = 0;
    for (std::size_t i = 8; i-- > 0;) header_size = header_size << 8 | std::to_integer<std::uint64_t>(length[i]);
    if (header_size > safetensors_max_header)
      throw FileError(file, "header too large: expected at most " + std::to_string(safetensors_max_header) + " bytes" +
                                detail::found(header_size));
    if (header_size > size - 8)
      throw FileError(file, "header truncated: expected " + std::to_string(header_size) + " bytes of header" +
                                detail::found(size - 8));
    std::string header(static_cast<std::size_t>(header_size), '\0');
    read(std::as_writable_bytes(std::span(header)));
    const std::uint64_t data_size = size - 8 - header_size;
    read_header(header, data_size);
    const auto bytes = static_cast<std::size_t>(data_size);
    data_.reset(static_cast<std::byte*>(::operator new[](bytes + 1, std::align_val_t{64})));
    read(std::span(data_.get(), bytes));
    std::size_t offset = 0;
    for (Tensor& tensor : tensors_) {
      const auto tensor_bytes = static_cast<std::size_t>(*byte_size(tensor.dtype, tensor.shape));
      tensor.data = {data_.get() + offset, tensor_bytes};
      offset += tensor_bytes;
    }
  }

  void read_header(std::string_view header, std::uint64_t data_size) {
    std::vector<std::pair<Tensor, std::uint64_t>> entries;
    detail::parse_header(file_, header, [&](const std::string& name, const nlohmann::json& entry) {
      if (name == "__metadata__") {
        read_metadata(entry);
      } else {
        entries.push_back(detail::parse_tensor(file_, name, entry, data_size));
      }
    });
    const auto end_of = [](const auto& e) { return e.second + *byte_size(e.first.dtype, e.first.shape); };
    std::sort(entries.begin(), entries.end(), [&](const auto& a, const auto& b) {
      return std::pair(a.second, end_of(a)) < std::pair(b.second, end_of(b));
    });
    std::uint64_t expected = 0;
    for (auto& entry : entries) {
      if (entry.second != expected)
        throw FileError(file_, "tensor '" + detail::shown(entry.first.name) + "': " +
                                   (entry.second < expected ? "data overlap" : "hole in the data") +
                                   ": expected data from offset " + std::to_string(expected) +
                                   detail::found(entry.second));
      expected = end_of(entry);
      index_.emplace(entry.first.name, tensors_.size());
      tensors_.push_back(std::move(entry.first));
    }
    if (expected != data_size)
      throw FileError(file_, "trailing bytes: expected " + std::to_string(expected) + " bytes of data" +
                                 detail::found(data_size));
  }

  void read_metadata(const nlohmann::json& entry) {
    if (!entry.is_object())
      throw FileError(file_, std::string("__metadata__: expected an object, found ") + entry.type_name());
    for (const auto& [key, value] : entry.items()) {
      if (!value.is_string())
        throw FileError(file_, "__metadata__: expected a string under '" + detail::shown(key) + "', found " +
                                   value.type_name());
      metadata_.emplace(key, value.get<std::string>());
    }
  }

  std::string file_;
  std::unique_ptr<std::byte[], Free> data_;
  std::vector<Tensor> tensors_;
  std::map<std::string, std::size_t, std::less<>> index_;
  std::map<std::string, std::string> metadata_;
};

/// Metadata of a file; the writer adds "format": "pt" where it is missing, which other readers ask for.
using SafetensorsMetadata = std::map<std::string, std::string>;

/// Writes tensors to any sink: `size(total bytes)` once, then `write(span)` in order. Tensors of larger elements come
/// first, so that each one is aligned; otherwise the given order is kept. Throws MismatchError for a name that occurs
/// twice, is reserved, too long or not UTF-8, and for data of another size than dtype and shape say.
class SafetensorsWriter {
 public:
  SafetensorsWriter(std::span<const Tensor> tensors, SafetensorsMetadata metadata = {}) : order_(tensors.size()) {
    std::iota(order_.begin(), order_.end(), std::size_t{0});
    std::stable_sort(order_.begin(), order_.end(), [&](std::size_t a, std::size_t b) {
      return element_size(tensors[a].dtype) > element_size(tensors[b].dtype);
    });
    metadata.emplace("format", "pt");
    nlohmann::ordered_json root;
    root["__metadata__"] = metadata;
    std::unordered_set<std::string_view> names;
    std::uint64_t offset = 0;
    for (const std::size_t i : order_) {
      const Tensor& tensor = tensors[i];
      const std::string where = "safetensors: tensor '" + tensor.name + "': ";
      if (tensor.name == "__metadata__" || tensor.name.size() > safetensors_max_name)
        throw MismatchError(where + "expected a name of at most 512 bytes other than __metadata__, found this one");
      if (!names.insert(tensor.name).second) throw MismatchError(where + "expected every name once, found it twice");
      const auto bytes = byte_size(tensor.dtype, tensor.shape);
      if (tensor.shape.size() > safetensors_max_rank || !bytes)
        throw MismatchError(where + "expected a rank of at most 8 and fewer than 2^64 bytes, found more");
      if (*bytes != tensor.data.size())
        throw MismatchError(where + "expected " + std::to_string(*bytes) + " bytes" +
                            detail::found(tensor.data.size()));
      root.push_back({tensor.name, nlohmann::ordered_json{{"dtype", std::string(dtype_name(tensor.dtype))},
                                                          {"shape", tensor.shape},
                                                          {"data_offsets", {offset, offset + *bytes}}}});
      offset += *bytes;
    }
    try {
      header_ = root.dump();
    } catch (const nlohmann::json::exception&) {
      throw MismatchError("safetensors: expected names and metadata in UTF-8, found other bytes");
    }
    header_.resize((header_.size() + 7) / 8 * 8, ' ');  // keeps the data aligned, as the reference writer does
    if (header_.size() > safetensors_max_header)
      throw MismatchError("safetensors: expected a header of at most 100000000 bytes" + detail::found(header_.size()));
    size_ = 8 + header_.size() + offset;
    tensors_ = tensors;
  }

  std::uint64_t size() const { return size_; }  ///< bytes of the whole file

  /// Calls `sink(std::span<const std::byte>)` with the file's bytes, piece by piece; tensors are not copied.
  template <class Sink>
  void write(Sink&& sink) const {
    std::byte length[8];
    for (unsigned i = 0; i < 8; ++i) length[i] = static_cast<std::byte>(std::uint64_t{header_.size()} >> 8 * i & 255);
    sink(std::span<const std::byte>(length));
    sink(std::as_bytes(std::span(header_)));
    for (const std::size_t i : order_) sink(tensors_[i].data);
  }

 private:
  std::vector<std::size_t> order_;
  std::span<const Tensor> tensors_;
  std::string header_;
  std::uint64_t size_ = 0;
};

/// Writes a safetensors file at once or not at all (see AtomicFile). Throws FileError or MismatchError.
inline void write_safetensors(const std::string& path, std::span<const Tensor> tensors,
                              SafetensorsMetadata metadata = {}) {
  const SafetensorsWriter writer(tensors, std::move(metadata));
  AtomicFile file(path, writer.size());
  writer.write([&](std::span<const std::byte> bytes) { file.write(bytes); });
  file.commit();
}

/// The same into memory.
inline std::vector<std::byte> safetensors_bytes(std::span<const Tensor> tensors, SafetensorsMetadata metadata = {}) {
  const SafetensorsWriter writer(tensors, std::move(metadata));
  std::vector<std::byte> bytes;
  bytes.reserve(static_cast<std::size_t>(writer.size()));
  writer.write([&](std::span<const std::byte> piece) { bytes.insert(bytes.end(), piece.begin(), piece.end()); });
  return bytes;
}

}  // namespace data2vec::inline v0
