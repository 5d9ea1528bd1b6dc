// SPDX-License-Identifier: MIT
// What a tokenizer is, and the smallest one: a token for every byte, without any file.
#pragma once

#include <concepts>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <data2vec/core/error.hpp>

namespace data2vec::inline v0 {

/// Ids that are no text, in fairseq's order; -1 where a tokenizer has none.
struct SpecialIds {
  std::int32_t bos = -1;  ///< `<s>`, before a sample
  std::int32_t pad = -1;  ///< fills up what is too short
  std::int32_t eos = -1;  ///< `</s>`, after a sentence
  std::int32_t unk = -1;  ///< a piece that the dictionary lacks
  std::int32_t mask = -1;
  friend constexpr bool operator==(const SpecialIds&, const SpecialIds&) = default;
};

/// Cuts text into tokens of a fixed vocabulary. A tokenizer is immutable and may be shared by threads; `encoder()`
/// gives each of them an object with scratch memory of its own, whose encode(text, ids) appends. Special ids are never
/// made from text, and decode to nothing. `fingerprint()` differs between tokenizers that give other ids.
template <class T>
concept Tokenizer = requires(const T& t, std::string_view text, std::vector<std::int32_t>& ids,
                             std::span<const std::int32_t> known) {
  { t.vocab_size() } -> std::convertible_to<int>;
  { t.special() } -> std::convertible_to<SpecialIds>;
  { t.fingerprint() } -> std::convertible_to<std::uint64_t>;
  { t.decode(known) } -> std::convertible_to<std::string>;
  t.encoder().encode(text, ids);
};

namespace detail {

/// FNV-1a (Fowler, Noll, Vo; 64 bits), continued from `hash`: tells files apart, protects against nothing.
constexpr std::uint64_t fnv1a(std::string_view bytes, std::uint64_t hash = 0xCBF29CE484222325u) {
  for (const char c : bytes) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001B3u;
  return hash;
}

/// The same for a number.
constexpr std::uint64_t fnv1a(std::uint64_t number, std::uint64_t hash) {
  for (int i = 0; i < 8; ++i) hash = (hash ^ (number >> 8 * i & 0xFF)) * 0x100000001B3u;
  return hash;
}

[[noreturn]] inline void id_out_of_range(std::int64_t id, int vocab_size) {
  throw OptionError("token id: expected 0 to " + std::to_string(vocab_size - 1) + ", found " + std::to_string(id));
}

}  // namespace detail

/// Throws MismatchError unless a model's embedding table has a row for each token.
template <Tokenizer T>
void expect_vocab_size(const T& tokenizer, int model_vocab_size) {
  if (tokenizer.vocab_size() != model_vocab_size)
    throw MismatchError("vocabulary: expected " + std::to_string(model_vocab_size) + " tokens, the model's, found " +
                        std::to_string(tokenizer.vocab_size()) + ", the tokenizer's");
}

/// `<s>` 0, `<pad>` 1, `</s>` 2, `<unk>` 3, byte b is 4 + b, `<mask>` is last: 261 tokens. Any bytes come back.
class ByteTokenizer {
 public:
  static constexpr int first_byte = 4, size = first_byte + 256 + 1;

  struct Encoder {
    void encode(std::string_view text, std::vector<std::int32_t>& ids) {
      for (const char c : text) ids.push_back(first_byte + static_cast<unsigned char>(c));
    }
  };

  static constexpr int vocab_size() { return size; }
  static constexpr SpecialIds special() { return {.bos = 0, .pad = 1, .eos = 2, .unk = 3, .mask = size - 1}; }
  static constexpr std::uint64_t fingerprint() { return detail::fnv1a("data2vec bytes 1"); }
  static Encoder encoder() { return {}; }

  static std::vector<std::int32_t> encode(std::string_view text) {
    std::vector<std::int32_t> ids;
    ids.reserve(text.size());
    Encoder().encode(text, ids);
    return ids;
  }

  /// Throws OptionError for an id out of range.
  static std::string decode(std::span<const std::int32_t> ids) {
    std::string text;
    for (const std::int32_t id : ids) {
      if (id < 0 || id >= size) detail::id_out_of_range(id, size);
      if (id >= first_byte && id < first_byte + 256) text += static_cast<char>(static_cast<unsigned char>(id - 4));
    }
    return text;
  }
};

static_assert(Tokenizer<ByteTokenizer>);

}  // namespace data2vec::inline v0
