// SPDX-License-Identifier: MIT
// The files of a byte-level BPE: vocab.bpe (merges by rank) and encoder.json (piece -> id) of GPT-2's release, dict.txt
// (id count, by falling count) of fairseq. Read with every rule checked, and written so that both read them.
#pragma once

#include <algorithm>
#include <array>
#include <charconv>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include <data2vec/core/error.hpp>
#include <data2vec/data/bpe_merges.hpp>
#include <data2vec/data/utf8.hpp>
#include <data2vec/io/file.hpp>
#include <data2vec/io/json.hpp>

namespace data2vec::inline v0 {

/// What the files of a byte-level BPE say.
struct BpeModel {
  /// A line of dict.txt: an id of encoder.json in decimal, or a made-up word that only takes a place.
  struct Entry {
    std::string word;
    std::uint64_t count = 0;
    friend bool operator==(const Entry&, const Entry&) = default;
  };
  std::vector<SymbolPair> merges;    ///< by rank
  std::vector<std::string> pieces;   ///< bytes by symbol: the 256 bytes, then what merges make, each once
  std::vector<std::int32_t> ids;     ///< by symbol: its id in encoder.json
  std::vector<std::string> entries;  ///< bytes by id of encoder.json
  std::vector<Entry> dictionary;     ///< empty: ids are those of encoder.json
};

namespace detail {

/// The characters that stand for bytes in the files: printable ones for themselves, the other 68 in rising order for
/// U+0100, U+0101, ... (bytes_to_unicode of GPT-2's encoder.py).
constexpr std::array<char32_t, 256> byte_characters = [] {
  std::array<char32_t, 256> characters{};
  char32_t next = 256;
  for (char32_t b = 0; b < 256; ++b)
    characters[b] = (b >= 33 && b <= 126) || (b >= 161 && b <= 172) || b >= 174 ? b : next++;
  return characters;
}();
static_assert(byte_characters[' '] == 0x120 && byte_characters['\n'] == 0x10A && byte_characters[173] == 0x143);

inline std::string printable(std::string_view bytes) {
  std::string text;
  for (const char c : bytes) append_utf8(text, byte_characters[static_cast<unsigned char>(c)]);
  return text;
}

/// The bytes of a piece of the files. Throws FileError where a character stands for none.
inline std::string unprintable(const std::string& where, std::string_view piece) {
  static constexpr auto bytes = [] {
    std::array<std::int16_t, 0x144> table{};
    table.fill(-1);
    for (std::size_t b = 0; b < 256; ++b) table[byte_characters[b]] = static_cast<std::int16_t>(b);
    return table;
  }();
  std::string text;
  for (std::string_view rest = piece; !rest.empty();) {
    const CodePoint c = decode_utf8(rest);
    if (!c.valid || c.value >= bytes.size() || bytes[c.value] < 0)
      throw FileError(where, "expected characters that stand for bytes, found '" +
                                 replace_bad_utf8(rest.substr(0, c.size)) + "' in '" + replace_bad_utf8(piece) + "'");
    text += static_cast<char>(static_cast<unsigned char>(bytes[c.value]));
    rest.remove_prefix(c.size);
  }
  return text;
}

/// Calls `line(number, text)` for each line, without its line end; numbers are from 1.
template <class F>
void for_each_line(std::string_view text, F&& line) {
  for (std::size_t number = 1; !text.empty(); ++number) {
    const std::size_t end = std::min(text.find('\n'), text.size());
    std::string_view content = text.substr(0, end);
    if (content.ends_with('\r')) content.remove_suffix(1);
    line(number, content);
    text.remove_prefix(std::min(end + 1, text.size()));
  }
}

inline std::string file_text(const std::string& path) {
  const std::vector<std::byte> bytes = read_file(path);
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

inline void parse_merges(BpeModel& model, const std::string& file, std::string_view text) {
  std::unordered_map<std::string, std::uint32_t> known;
  const auto symbol = [&](const std::string& piece) {
    const auto [place, is_new] = known.emplace(piece, static_cast<std::uint32_t>(model.pieces.size()));
    if (is_new) model.pieces.push_back(piece);
    return place->second;
  };
  model.pieces.clear(), model.merges.clear();
  for (unsigned b = 0; b < 256; ++b) symbol(std::string(1, static_cast<char>(static_cast<unsigned char>(b))));
  std::set<SymbolPair> pairs;
  if (text.empty()) throw FileError(file, "expected merges, found an empty file");
  for_each_line(text, [&](std::size_t number, std::string_view line) {
    const std::string where = file + ":" + std::to_string(number);
    if (number == 1) {
      if (!line.starts_with("#version")) throw FileError(where, "expected a line that starts with #version");
      return;
    }
    const std::size_t blank = line.find(' ');
    if (blank == line.npos || blank == 0 || blank + 1 == line.size() || blank != line.rfind(' '))
      throw FileError(where, "expected two pieces with one blank between them, found '" + std::string(line) + "'");
    SymbolPair pair{};
    for (std::size_t side = 0; side < 2; ++side) {
      const std::string_view piece = side == 0 ? line.substr(0, blank) : line.substr(blank + 1);
      const auto place = known.find(unprintable(where, piece));
      if (place == known.end())
        throw FileError(
            where, "merges out of order: expected pieces that earlier lines make, found '" + std::string(piece) + "'");
      pair[side] = place->second;
    }
    if (!pairs.insert(pair).second) throw FileError(where, "expected every merge once, found it again");
    symbol(model.pieces[pair[0]] + model.pieces[pair[1]]);
    model.merges.push_back(pair);
  });
}

inline void parse_encoder(BpeModel& model, const std::string& file, std::string_view text) {
  std::unordered_map<std::string, std::int32_t> id_of;
  std::string piece;
  using Event = nlohmann::json::parse_event_t;
  // Entries are taken while the file is parsed: a Json of so many keys is slow.
  const auto entry = [&](int depth, Event event, nlohmann::json& value) {
    if (event == Event::key) piece = value.get<std::string>();
    if (event != Event::value && event != Event::object_start && event != Event::array_start) return true;
    if (depth == 0 && event == Event::object_start) return true;
    if (depth != 1 || event != Event::value || !value.is_number_unsigned() || value.get<std::uint64_t>() > 0x7FFFFFFF)
      throw FileError(file, "expected an object of pieces with ids, found something else at '" + piece + "'");
    if (!id_of.emplace(unprintable(file, piece), value.get<std::int32_t>()).second)
      throw FileError(file, "expected every piece once, found '" + piece + "' twice");
    return false;
  };
  try {
    [[maybe_unused]] const auto root = nlohmann::json::parse(text, entry);
  } catch (const nlohmann::json::exception& error) {
    throw FileError(file, std::string("expected JSON: ") + error.what());
  }
  model.entries.assign(id_of.size(), {});
  std::vector<bool> taken(id_of.size());
  for (const auto& [bytes, id] : id_of) {
    const auto i = static_cast<std::size_t>(id);
    if (i >= taken.size() || taken[i])
      throw FileError(file, "ids: expected 0 to " + std::to_string(taken.size() - 1) + ", each once, found " +
                                std::to_string(id) + (i < taken.size() ? " twice" : ""));
    taken[i] = true;
    model.entries[i] = bytes;
  }
  model.ids.clear();
  for (const std::string& bytes : model.pieces) {
    const auto place = id_of.find(bytes);
    if (place == id_of.end())
      throw FileError(file, "expected an id for every piece of the merges, found none for '" + printable(bytes) + "'");
    model.ids.push_back(place->second);
  }
}

inline void parse_dictionary(BpeModel& model, const std::string& file, std::string_view text) {
  std::set<std::string, std::less<>> words;
  model.dictionary.clear();
  for_each_line(text, [&](std::size_t number, std::string_view line) {
    const std::string where = file + ":" + std::to_string(number);
    const std::size_t blank = std::min(line.rfind(' '), line.size());
    const std::string_view digits = line.substr(std::min(blank + 1, line.size()));
    BpeModel::Entry entry{std::string(line.substr(0, blank)), 0};
    const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), entry.count);
    if (entry.word.empty() || digits.empty() || error != std::errc() || end != digits.data() + digits.size())
      throw FileError(where, "expected a word, a blank and a count, found '" + replace_bad_utf8(line) + "'");
    if (!words.insert(entry.word).second)
      throw FileError(where, "expected every word once, found '" + entry.word + "' again");
    model.dictionary.push_back(std::move(entry));
  });
  if (model.dictionary.empty()) throw FileError(file, "expected words with counts, found an empty file");
}

}  // namespace detail

/// Where the files of a BPE lie. Without `dictionary`, ids are those of encoder.json, as GPT-2's.
struct BpeFiles {
  std::string merges, encoder, dictionary;

  /// vocab.bpe, encoder.json and, if it is there, dict.txt of a folder.
  static BpeFiles in(const std::string& folder) {
    const auto path = [&](const char* name) { return (std::filesystem::path(folder) / name).string(); };
    const std::string dictionary = path("dict.txt");
    return {path("vocab.bpe"), path("encoder.json"), std::filesystem::exists(dictionary) ? dictionary : ""};
  }
};

/// Reads the files. Throws FileError: with the line for merges and the dictionary, with the piece for encoder.json.
inline BpeModel read_bpe(const BpeFiles& files) {
  BpeModel model;
  detail::parse_merges(model, files.merges, detail::file_text(files.merges));
  detail::parse_encoder(model, files.encoder, detail::file_text(files.encoder));
  if (!files.dictionary.empty()) detail::parse_dictionary(model, files.dictionary, detail::file_text(files.dictionary));
  return model;
}

/// Writes vocab.bpe, encoder.json and, unless it is empty, dict.txt into an existing folder. Throws FileError.
inline void write_bpe(const std::string& folder, const BpeModel& model) {
  const auto write = [&](const char* name, const std::string& text) {
    AtomicFile file((std::filesystem::path(folder) / name).string(), text.size());
    file.write(std::as_bytes(std::span(text)));
    file.commit();
  };
  std::string merges = "#version: 0.2\n", encoder = "{", dictionary;
  for (const auto& [left, right] : model.merges)
    merges += detail::printable(model.pieces[left]) + " " + detail::printable(model.pieces[right]) + "\n";
  for (std::size_t id = 0; id < model.entries.size(); ++id) {
    const std::string piece = Json(detail::printable(model.entries[id])).dump(-1, ' ', /*ensure_ascii=*/true);
    encoder += (id > 0 ? ", " : "") + piece + ": " + std::to_string(id);
  }
  for (const auto& [word, count] : model.dictionary) dictionary += word + " " + std::to_string(count) + "\n";
  write("vocab.bpe", merges);
  write("encoder.json", encoder + "}\n");
  if (!dictionary.empty()) write("dict.txt", dictionary);
}

}  // namespace data2vec::inline v0
