// SPDX-License-Identifier: MIT
// Byte-level BPE exactly as GPT-2 and RoBERTa: text -> words -> bytes -> merged pieces -> ids. Part of data2vec::text.
#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <charconv>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include <data2vec/core/error.hpp>
#include <data2vec/data/bpe_files.hpp>
#include <data2vec/data/bpe_merges.hpp>
#include <data2vec/data/bpe_words.hpp>
#include <data2vec/data/tokenizer.hpp>
#include <data2vec/data/unicode.hpp>

namespace data2vec::inline v0 {

namespace detail {

/// What a tokenizer knows and its encoders share.
struct BpeTables {
  CharClasses classes;
  MergeTable merges;
  std::vector<std::int32_t> ids;    ///< by symbol
  std::vector<std::string> pieces;  ///< bytes by id; empty for what is no text
  SpecialIds special;
  std::uint64_t fingerprint = 0;

  explicit BpeTables(const BpeModel& model) : merges(model.merges.size()) {
    fingerprint = fnv1a("data2vec bpe 1");
    std::vector<std::uint32_t> symbol_of(model.entries.size(), MergeTable::none);
    for (std::size_t s = 0; s < model.ids.size(); ++s)
      symbol_of[static_cast<std::size_t>(model.ids[s])] = static_cast<std::uint32_t>(s);
    add_merges(model);
    if (model.dictionary.empty()) {
      ids = model.ids;
      pieces = model.entries;
    } else {
      use_dictionary(model, symbol_of);
    }
    for (const std::int32_t id : ids) fingerprint = fnv1a(static_cast<std::uint64_t>(id), fingerprint);
    fingerprint = fnv1a(pieces.size(), fingerprint);
  }

 private:
  /// Pieces are numbered as they are first made (BpeModel::pieces), so the table knows a merge's piece by its bytes.
  void add_merges(const BpeModel& model) {
    std::unordered_map<std::string, std::uint32_t> known;
    for (std::size_t s = 0; s < model.pieces.size(); ++s) known.emplace(model.pieces[s], static_cast<std::uint32_t>(s));
    for (std::size_t rank = 0; rank < model.merges.size(); ++rank) {
      const auto [left, right] = model.merges[rank];
      const std::uint32_t piece = known.at(model.pieces[left] + model.pieces[right]);
      merges.add({left, right}, {static_cast<std::uint32_t>(rank), piece});
      fingerprint = fnv1a(pair_key(left, right), fingerprint);
    }
  }

  /// fairseq's order: `<s>`, `<pad>`, `</s>`, `<unk>`, the lines of dict.txt, `<mask>`.
  void use_dictionary(const BpeModel& model, const std::vector<std::uint32_t>& symbol_of) {
    constexpr std::int32_t first = 4;
    special = {.bos = 0, .pad = 1, .eos = 2, .unk = 3};
    ids.assign(model.ids.size(), special.unk);
    pieces.resize(first);
    for (const BpeModel::Entry& entry : model.dictionary) {
      std::size_t number = 0;
      const char* const end = entry.word.data() + entry.word.size();
      const auto [stop, error] = std::from_chars(entry.word.data(), end, number);
      const bool is_id = error == std::errc() && stop == end && number < model.entries.size();
      if (is_id && symbol_of[number] != MergeTable::none)
        ids[symbol_of[number]] = static_cast<std::int32_t>(pieces.size());
      pieces.push_back(is_id ? model.entries[number] : "");
    }
    special.mask = static_cast<std::int32_t>(pieces.size());
    pieces.emplace_back();
  }
};

/// Ids of words seen before: one cache line for each, found by hash of the word; a newer word takes the place of an
/// older one.
class WordCache {
 public:
  static constexpr std::size_t longest = 32, most = 7;  ///< bytes and ids of a word
  struct alignas(64) Slot {
    std::array<std::uint64_t, 4> key{};
    std::array<std::int32_t, most> ids{};
    std::uint8_t size = 0, count = 0;  ///< count 0: an empty slot
  };

  explicit WordCache(int bits) : slots_(bits < 0 ? 0 : std::size_t{1} << bits) {}

  bool empty() const { return slots_.empty(); }

  /// The slot for a word and whether it holds that word; `readable` bytes may be read from its start.
  std::pair<Slot*, bool> find(std::string_view word, std::size_t readable) {
    std::array<std::uint64_t, 4> key{};
    if (readable >= longest) {
      std::memcpy(key.data(), word.data(), longest);
      for (std::size_t i = 0; i < 4; ++i) {
        const std::size_t used = word.size() > 8 * i ? word.size() - 8 * i : 0;
        key[i] &= used >= 8 ? ~std::uint64_t{0} : keep[used];
      }
    } else {
      std::memcpy(key.data(), word.data(), word.size());
    }
    const std::uint64_t mixed = key[0] ^ std::rotl(key[1], 23) * 0xA0761D6478BD642Fu ^
                                std::rotl(key[2], 41) * 0xE7037ED1A0B428DBu ^ key[3] * 0x8EBC6AF09C88C6E3u;
    Slot& slot = slots_[static_cast<std::size_t>(spread(mixed + word.size()) >> 32) & (slots_.size() - 1)];
    const bool known = slot.count > 0 && slot.size == word.size() && slot.key == key;
    if (!known) pending_ = key;
    return {&slot, known};
  }

  /// Puts a word into the slot that find() has just given.
  void put(Slot& slot, std::size_t size, std::span<const std::uint32_t> symbols, const std::vector<std::int32_t>& ids) {
    slot.key = pending_;
    slot.size = static_cast<std::uint8_t>(size);
    slot.count = static_cast<std::uint8_t>(symbols.size());
    for (std::size_t i = 0; i < symbols.size(); ++i) slot.ids[i] = ids[symbols[i]];
  }

 private:
  /// Masks of the first n bytes of a word of 8 in memory.
  static constexpr std::array<std::uint64_t, 8> keep = [] {
    std::array<std::uint64_t, 8> masks{};
    for (std::size_t n = 0; n < 8; ++n) {
      std::array<unsigned char, 8> bytes{};
      for (std::size_t i = 0; i < n; ++i) bytes[i] = 0xFF;
      masks[n] = std::bit_cast<std::uint64_t>(bytes);
    }
    return masks;
  }();

  std::vector<Slot> slots_;
  std::array<std::uint64_t, 4> pending_{};
};

}  // namespace detail

/// Encodes with one tokenizer: scratch memory and a cache of words. One for each thread; outlives the tokenizer.
class BpeEncoder {
 public:
  /// A cache of 2^cache_bits words of 64 bytes; a negative number: no cache.
  explicit BpeEncoder(std::shared_ptr<const detail::BpeTables> tables, int cache_bits)
      : tables_(std::move(tables)), cache_(cache_bits) {}

  /// Appends the ids of a text. Allocates only where `ids` or the scratch memory must grow.
  void encode(std::string_view text, std::vector<std::int32_t>& ids) {
    const char* const end = text.data() + text.size();
    std::size_t used = ids.size();
    const std::size_t step = std::min<std::size_t>(text.size() + detail::WordCache::most, 4096);
    const auto room = [&](std::size_t count) {
      if (ids.size() - used < count) ids.resize(used + std::max(count, step));
    };
    for_each_word(tables_->classes, text, [&](std::string_view word) {
      detail::WordCache::Slot* slot = nullptr;
      if (word.size() <= detail::WordCache::longest && !cache_.empty()) {
        const auto [place, known] = cache_.find(word, static_cast<std::size_t>(end - word.data()));
        if (known) {
          room(detail::WordCache::most);
          std::memcpy(ids.data() + used, place->ids.data(), sizeof place->ids);  // all of them: no branch on the count
          used += place->count;
          return;
        }
        slot = place;
      }
      const auto symbols = merger_.merge(tables_->merges, word);
      room(symbols.size());
      for (const std::uint32_t s : symbols) ids[used++] = tables_->ids[s];
      if (slot && symbols.size() <= detail::WordCache::most) cache_.put(*slot, word.size(), symbols, tables_->ids);
    });
    ids.resize(used);
  }

 private:
  std::shared_ptr<const detail::BpeTables> tables_;
  detail::WordCache cache_;
  WordMerger merger_;
};

/// Byte-level BPE of a model or its files. Every text has ids, and decode() gives its bytes back, UTF-8 or not, unless
/// a dictionary lacks one of its pieces. With dict.txt, ids are fairseq's: `<s>` 0, `<pad>` 1, `</s>` 2, `<unk>` 3,
/// line n (from 0) is n + 4, `<mask>` is last. Special tokens in a text are ordinary characters. Cheap to copy.
class BpeTokenizer {
 public:
  using Encoder = BpeEncoder;

  explicit BpeTokenizer(const BpeModel& model) : tables_(std::make_shared<const detail::BpeTables>(model)) {}

  /// Reads the files. Throws FileError.
  static BpeTokenizer open(const BpeFiles& files) { return BpeTokenizer(read_bpe(files)); }

  int vocab_size() const { return static_cast<int>(tables_->pieces.size()); }
  SpecialIds special() const { return tables_->special; }
  std::uint64_t fingerprint() const { return tables_->fingerprint; }

  /// An encoder with a cache of 2^cache_bits words (64 bytes each).
  BpeEncoder encoder(int cache_bits = 15) const { return BpeEncoder(tables_, cache_bits); }

  /// The ids of one text. Many texts are faster through one encoder().
  std::vector<std::int32_t> encode(std::string_view text) const {
    std::vector<std::int32_t> ids;
    encoder(-1).encode(text, ids);
    return ids;
  }

  /// The bytes of one id; none for special ids and made-up words. Throws OptionError for an id out of range.
  std::string_view piece(std::int32_t id) const {
    if (id < 0 || id >= vocab_size()) detail::id_out_of_range(id, vocab_size());
    return tables_->pieces[static_cast<std::size_t>(id)];
  }

  /// The bytes of ids, joined. Throws OptionError for an id out of range.
  std::string decode(std::span<const std::int32_t> ids) const {
    std::string text;
    for (const std::int32_t id : ids) text += piece(id);
    return text;
  }

 private:
  std::shared_ptr<const detail::BpeTables> tables_;
};

static_assert(Tokenizer<BpeTokenizer>);

}  // namespace data2vec::inline v0
