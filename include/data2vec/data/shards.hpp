// SPDX-License-Identifier: MIT
// Token shards: a corpus as ids on disk, made once, mapped into memory. A folder of `index.tok` and `tokens-00000.tok`,
// `tokens-00001.tok`, ... All numbers little-endian. Every file is a header of 64 bytes, then its payload:
//    0  8 bytes  "data2vec"                       32  u64  documents of the corpus
//    8  u32      1: index, 2: tokens              40  u64  fingerprint of tokenizer, sources and options
//   12  u32      version, 1                       48  u64  index: number of shards; tokens: number of this shard
//   16  u32      bytes of an id, 2 or 4           56  u32  CRC-32 (zlib's) of the payload
//   20  u32      size of the vocabulary           60  u32  CRC-32 of bytes 0 to 59
//   24  u64      ids: of the corpus (index) or of this shard
// Payload of the index: the number of ids of each shard (u64), then the end of each document (u64, as an offset into
// the ids of the whole corpus, rising, the last one is the number of ids). Payload of a shard: its ids.
// The index is removed before, and written after, all else: a folder with an index is complete.
#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <limits>
#include <span>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include <zlib.h>

#include <data2vec/core/error.hpp>
#include <data2vec/data/tokenizer.hpp>
#include <data2vec/io/file.hpp>
#include <data2vec/io/mapped_file.hpp>

namespace data2vec::inline v0 {

namespace detail {

static_assert(std::endian::native == std::endian::little, "data2vec: token shards are mapped: little-endian machines");

enum class TokenFileKind : std::uint32_t { index = 1, tokens = 2 };

struct TokenFileHeader {
  std::array<char, 8> magic{'d', 'a', 't', 'a', '2', 'v', 'e', 'c'};
  std::uint32_t kind = 0, version = 1, width = 0, vocab_size = 0;
  std::uint64_t ids = 0, documents = 0, fingerprint = 0, number = 0;
  std::uint32_t payload_crc = 0, header_crc = 0;

  std::uint32_t own_crc() const;
};
static_assert(sizeof(TokenFileHeader) == 64 && std::has_unique_object_representations_v<TokenFileHeader>);

inline std::uint32_t crc32_of(std::span<const std::byte> bytes) {
  return static_cast<std::uint32_t>(::crc32_z(0, reinterpret_cast<const unsigned char*>(bytes.data()), bytes.size()));
}

inline std::uint32_t TokenFileHeader::own_crc() const {
  return crc32_of(std::as_bytes(std::span(this, 1)).first(offsetof(TokenFileHeader, header_crc)));
}

inline std::string token_path(const std::string& folder, std::uint64_t shard) {
  std::string number = std::to_string(shard);
  if (number.size() < 5) number.insert(0, 5 - number.size(), '0');
  return (std::filesystem::path(folder) / ("tokens-" + number + ".tok")).string();
}
inline std::string index_path(const std::string& folder) {
  return (std::filesystem::path(folder) / "index.tok").string();
}

inline void write_token_file(const std::string& path, TokenFileHeader header, std::span<const std::byte> payload) {
  header.payload_crc = crc32_of(payload);
  header.header_crc = header.own_crc();
  AtomicFile file(path, sizeof header + payload.size());
  file.write(std::as_bytes(std::span(&header, 1)));
  file.write(payload);
  file.commit();
}

/// A file with its header and payload checked, but for what the payload means.
struct TokenFile {
  MappedFile file;
  TokenFileHeader header;

  TokenFile(const std::string& path, TokenFileKind kind) : file(path) {
    const auto expect = [&](bool good, const std::string& what, const auto& expected, const auto& found) {
      if (!good) throw FileError(path, what + ": expected " + text(expected) + ", found " + text(found));
    };
    const std::size_t size = file.bytes().size();
    expect(size >= sizeof header, "header", "64 bytes", size);
    std::memcpy(&header, file.bytes().data(), sizeof header);
    expect(header.magic == TokenFileHeader{}.magic, "magic number", "\"data2vec\"", "another one");
    expect(header.version == 1, "version", 1u, header.version);
    expect(header.header_crc == header.own_crc(), "checksum of the header", header.header_crc, header.own_crc());
    expect(header.kind == static_cast<std::uint32_t>(kind), "kind", static_cast<std::uint32_t>(kind), header.kind);
    expect(header.width == 2 || header.width == 4, "bytes of an id", "2 or 4", header.width);
    const bool is_index = kind == TokenFileKind::index;
    const std::uint64_t unit = is_index ? 8 : header.width, most = std::numeric_limits<std::uint64_t>::max() / 32;
    const std::uint64_t count = is_index ? header.number + header.documents : header.ids;
    expect(header.number < most && header.documents < most && header.ids < most, "counts", "less than 2^59", "more");
    expect(size - sizeof header == count * unit, "payload", count * unit, size - sizeof header);
    const std::uint32_t crc = crc32_of(payload());
    expect(header.payload_crc == crc, "checksum of the payload", header.payload_crc, crc);
  }

  std::span<const std::byte> payload() const { return file.bytes().subspan(sizeof header); }
  template <class T>
  std::span<const T> payload_as() const {  // a mapping starts at a page, the payload 64 bytes further
    return {reinterpret_cast<const T*>(payload().data()), payload().size() / sizeof(T)};
  }

 private:
  static std::string text(const char* s) { return s; }
  static std::string text(std::uint64_t n) { return std::to_string(n); }
};

}  // namespace detail

/// Writes shards, one after the other, each at once or not at all (AtomicFile). Nothing is complete before finish().
class TokenWriter {
 public:
  /// Into `folder`, which is made if it is not there; the index of what was there before is removed. A shard is held in
  /// memory until it is full. Throws FileError and OptionError.
  TokenWriter(std::string folder, int vocab_size, std::uint64_t fingerprint,
              std::uint64_t ids_per_shard = std::uint64_t{1} << 25)
      : folder_(std::move(folder)), vocab_size_(vocab_size), ids_per_shard_(ids_per_shard) {
    if (vocab_size < 1 || ids_per_shard < 1)
      throw OptionError("TokenWriter: expected vocab_size and ids_per_shard of at least 1, found " +
                        std::to_string(vocab_size) + " and " + std::to_string(ids_per_shard));
    header_.width = vocab_size <= 65536 ? 2 : 4;
    header_.vocab_size = static_cast<std::uint32_t>(vocab_size);
    header_.fingerprint = fingerprint;
    std::error_code error;
    std::filesystem::create_directories(folder_, error);
    if (error) throw FileError(folder_, "cannot make the folder: " + error.message());
    std::filesystem::remove(detail::index_path(folder_), error);
    if (error) throw FileError(detail::index_path(folder_), "cannot remove: " + error.message());
  }

  /// Appends ids. Throws OptionError for one out of range.
  void add(std::span<const std::int32_t> ids) {
    for (const std::int32_t id : ids) {
      if (id < 0 || id >= vocab_size_) detail::id_out_of_range(id, vocab_size_);
      if (held_ == ids_per_shard_) write_shard();
      for (unsigned i = 0; i < header_.width; ++i)
        bytes_.push_back(static_cast<std::byte>(static_cast<std::uint32_t>(id) >> 8 * i & 0xFF));
      ++held_;
    }
    ids_ += ids.size();
  }

  /// Ends a document. One without ids is none.
  void end_document() {
    if (ids_ > (ends_.empty() ? 0 : ends_.back())) ends_.push_back(ids_);
  }

  std::uint64_t ids() const { return ids_; }

  /// Ends the last document, writes the last shard and the index, and removes shards of an earlier, longer corpus.
  /// Throws FileError if there is no id at all.
  void finish() {
    end_document();
    if (ids_ == 0) throw FileError(folder_, "expected text, found none");
    write_shard();
    std::vector<std::uint64_t> payload = shards_;
    payload.insert(payload.end(), ends_.begin(), ends_.end());
    header_.kind = static_cast<std::uint32_t>(detail::TokenFileKind::index);
    header_.ids = ids_, header_.documents = ends_.size(), header_.number = shards_.size();
    detail::write_token_file(detail::index_path(folder_), header_, std::as_bytes(std::span(payload)));
    std::error_code error;
    for (std::uint64_t n = shards_.size(); std::filesystem::remove(detail::token_path(folder_, n), error);) ++n;
  }

 private:
  void write_shard() {
    header_.kind = static_cast<std::uint32_t>(detail::TokenFileKind::tokens);
    header_.ids = held_, header_.number = shards_.size();
    detail::write_token_file(detail::token_path(folder_, shards_.size()), header_, bytes_);
    shards_.push_back(held_);
    bytes_.clear(), held_ = 0;
  }

  std::string folder_;
  int vocab_size_;
  std::uint64_t ids_per_shard_, held_ = 0, ids_ = 0;
  detail::TokenFileHeader header_;
  std::vector<std::byte> bytes_;
  std::vector<std::uint64_t> shards_, ends_;
};

/// A corpus of ids, mapped. Every byte of its files is checked when it is opened; reading is const and may be done by
/// many threads. Movable.
class TokenShards {
 public:
  /// Throws FileError that names the file and the rule it breaks.
  static TokenShards open(const std::string& folder) { return TokenShards(folder); }

  std::uint64_t size() const { return index_.header.ids; }  ///< ids
  std::uint64_t documents() const { return index_.header.documents; }
  std::uint64_t shards() const { return index_.header.number; }
  int vocab_size() const { return static_cast<int>(index_.header.vocab_size); }
  std::uint64_t fingerprint() const { return index_.header.fingerprint; }

  /// One past the last id of document `i`, i < documents(); document i begins at the end of document i - 1, or at 0.
  std::uint64_t document_end(std::uint64_t i) const {
    return index_.payload_as<std::uint64_t>()[static_cast<std::size_t>(shards() + i)];
  }
  std::uint64_t document_begin(std::uint64_t i) const { return i == 0 ? 0 : document_end(i - 1); }

  /// Copies ids [begin, begin + to.size()). Throws OptionError if they are not all there.
  void read(std::uint64_t begin, std::span<std::int32_t> to) const {
    if (begin > size() || to.size() > size() - begin)
      throw OptionError("TokenShards: expected ids within " + std::to_string(size()) + ", found " +
                        std::to_string(begin) + " to " + std::to_string(begin + to.size()));
    while (!to.empty()) {
      const auto shard =
          static_cast<std::size_t>(std::upper_bound(begins_.begin(), begins_.end(), begin) - begins_.begin() - 1);
      const auto at = static_cast<std::size_t>(begin - begins_[shard]);
      const std::size_t count = std::min(to.size(), static_cast<std::size_t>(tokens_[shard].header.ids) - at);
      if (index_.header.width == 2)
        copy<std::uint16_t>(shard, at, to.first(count));
      else
        copy<std::uint32_t>(shard, at, to.first(count));
      to = to.subspan(count), begin += count;
    }
  }

 private:
  explicit TokenShards(const std::string& folder) : index_(detail::index_path(folder), detail::TokenFileKind::index) {
    const std::string path = detail::index_path(folder);
    const auto numbers = index_.payload_as<std::uint64_t>();
    const auto shard_count = static_cast<std::size_t>(shards());
    std::uint64_t total = 0;
    for (std::size_t n = 0; n < shard_count; ++n) {
      const std::string shard_path = detail::token_path(folder, n);
      tokens_.emplace_back(shard_path, detail::TokenFileKind::tokens);
      const auto &own = tokens_.back().header, &all = index_.header;
      if (own.fingerprint != all.fingerprint || own.number != n || own.width != all.width || own.ids != numbers[n] ||
          own.vocab_size != all.vocab_size)
        throw FileError(shard_path, "expected shard " + std::to_string(n) + " of " + std::to_string(numbers[n]) +
                                        " ids of the corpus of " + path + ", found another one");
      begins_.push_back(total);
      total += own.ids;
      check_ids(shard_path, tokens_.back());
    }
    std::uint64_t last = 0;
    for (const std::uint64_t end : numbers.subspan(shard_count)) {
      if (end <= last) throw FileError(path, "ends of documents: expected rising ones, found " + std::to_string(end));
      last = end;
    }
    if (total != size() || last != size() || total == 0)
      throw FileError(path, "ids: expected " + std::to_string(size()) + ", found " + std::to_string(total) +
                                " in the shards and " + std::to_string(last) + " in the documents");
  }

  void check_ids(const std::string& path, const detail::TokenFile& shard) const {
    const auto largest = [](const auto& ids) { return ids.empty() ? 0u : *std::max_element(ids.begin(), ids.end()); };
    const std::uint32_t found = shard.header.width == 2 ? largest(shard.payload_as<std::uint16_t>())
                                                        : largest(shard.payload_as<std::uint32_t>());
    if (found >= shard.header.vocab_size)
      throw FileError(path, "token id: expected 0 to " + std::to_string(shard.header.vocab_size - 1) + ", found " +
                                std::to_string(found));
  }

  template <class T>
  void copy(std::size_t shard, std::size_t at, std::span<std::int32_t> to) const {
    const auto ids = tokens_[shard].template payload_as<T>().subspan(at, to.size());
    std::transform(ids.begin(), ids.end(), to.begin(), [](T id) { return static_cast<std::int32_t>(id); });
  }

  detail::TokenFile index_;
  std::vector<detail::TokenFile> tokens_;
  std::vector<std::uint64_t> begins_;
};

}  // namespace data2vec::inline v0
