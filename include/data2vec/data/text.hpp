// SPDX-License-Identifier: MIT
// Text for pre-training: files and folders, cut into tokens once and kept as token shards.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <system_error>
#include <vector>

#include <data2vec/core/error.hpp>
#include <data2vec/data/shards.hpp>
#include <data2vec/data/tokenizer.hpp>
#include <data2vec/data/utf8.hpp>
#include <data2vec/io/file.hpp>
#include <data2vec/io/lock.hpp>
#include <data2vec/io/mapped_file.hpp>

namespace data2vec::inline v0 {

/// Where a document ends: after every line, at an empty line, or with its file.
enum class DocumentEnd { line, empty_line, file };

/// How text becomes tokens.
struct TextOptions {
  BadUtf8 bad_utf8 = BadUtf8::refuse;
  DocumentEnd document_end = DocumentEnd::empty_line;
  std::uint64_t ids_per_shard = std::uint64_t{1} << 25;
};

/// The files of a path: itself, or of a folder every `*.txt` in it and in its folders, sorted by name. Throws FileError
/// if there is none.
inline std::vector<std::string> list_text(const std::string& path) {
  namespace fs = std::filesystem;
  std::error_code error;
  if (!fs::is_directory(path, error)) {
    if (!fs::exists(path, error)) throw FileError(path, "expected a text file or a folder of *.txt, found none");
    return {path};
  }
  std::vector<std::string> files;
  for (const auto& entry : fs::recursive_directory_iterator(path, error))
    if (entry.is_regular_file() && entry.path().extension() == ".txt") files.push_back(entry.path().string());
  if (error) throw FileError(path, "cannot list the folder: " + error.message());
  if (files.empty()) throw FileError(path, "expected *.txt in this folder, found none");
  std::sort(files.begin(), files.end());
  return files;
}

namespace detail {

/// Without ASCII white space at both ends.
inline std::string_view stripped(std::string_view line) {
  constexpr std::string_view blanks = " \t\r\n\v\f";
  const std::size_t begin = std::min(line.find_first_not_of(blanks), line.size());
  line.remove_prefix(begin);
  return line.substr(0, line.find_last_not_of(blanks) + 1);
}

/// What token shards of these files are a function of, but for the content of the files, for which size and time stand.
inline std::uint64_t text_fingerprint(const std::vector<std::string>& files, std::uint64_t tokenizer,
                                      const TextOptions& options) {
  std::uint64_t hash = fnv1a(tokenizer, fnv1a("data2vec text 1"));
  hash = fnv1a(static_cast<std::uint64_t>(options.bad_utf8), hash);
  hash = fnv1a(static_cast<std::uint64_t>(options.document_end), hash);
  hash = fnv1a(options.ids_per_shard, hash);
  for (const std::string& file : files) {
    std::error_code error;
    hash = fnv1a(std::filesystem::file_size(file, error), fnv1a(file, hash));
    const auto time = std::filesystem::last_write_time(file, error).time_since_epoch().count();
    if (error) throw FileError(file, "cannot read its size and time: " + error.message());
    hash = fnv1a(static_cast<std::uint64_t>(time), hash);
  }
  return hash;
}

}  // namespace detail

/// Appends the tokens of a text: every line without the white space at its ends, each followed by `</s>` (as in the
/// data of RoBERTa and data2vec 2.0); empty lines are left out. A byte order mark at the start is no text. `file` is
/// for error texts.
template <Tokenizer T>
void tokenize_text(const std::string& file, std::string_view text, const T& tokenizer, auto& encoder,
                   const TextOptions& options, TokenWriter& to) {
  std::string repaired;
  if (check_utf8(file, text, options.bad_utf8)) text = repaired = replace_bad_utf8(text);
  if (text.starts_with("\xEF\xBB\xBF")) text.remove_prefix(3);
  const std::int32_t eos = tokenizer.special().eos;
  std::vector<std::int32_t> ids;
  while (!text.empty()) {
    const std::size_t end = std::min(text.find('\n'), text.size());
    const std::string_view line = detail::stripped(text.substr(0, end));
    text.remove_prefix(std::min(end + 1, text.size()));
    if (!line.empty()) {
      ids.clear();
      encoder.encode(line, ids);
      if (eos >= 0) ids.push_back(eos);
      to.add(ids);
    }
    if (options.document_end == DocumentEnd::line || (options.document_end == DocumentEnd::empty_line && line.empty()))
      to.end_document();
  }
  to.end_document();
}

/// Opens the token shards of a text file or folder, kept in `folder`; makes them first if they are not there or are of
/// other files (by name, size and time), another tokenizer or other options. One process at a time makes them. Throws
/// FileError, for a byte that is not UTF-8 with the file and its offset; broken shards are an error, not made anew.
template <Tokenizer T>
TokenShards open_text(const std::string& path, const T& tokenizer, const std::string& folder,
                      const TextOptions& options = {}) {
  const std::vector<std::string> files = list_text(path);
  const std::uint64_t fingerprint = detail::text_fingerprint(files, tokenizer.fingerprint(), options);
  const auto known = [&] { return std::filesystem::exists(detail::index_path(folder)); };
  if (known()) {
    TokenShards shards = TokenShards::open(folder);
    if (shards.fingerprint() == fingerprint) return shards;
  }
  std::error_code error;
  std::filesystem::create_directories(folder, error);
  if (error) throw FileError(folder, "cannot make the folder: " + error.message());
  const FolderLock lock(folder);
  TokenWriter writer(folder, tokenizer.vocab_size(), fingerprint, options.ids_per_shard);
  auto encoder = tokenizer.encoder();
  for (const std::string& file : files) {
    const MappedFile content(file);
    tokenize_text(file, content.text(), tokenizer, encoder, options, writer);
  }
  if (writer.ids() == 0) throw FileError(path, "expected text, found none");
  writer.finish();
  return TokenShards::open(folder);
}

}  // namespace data2vec::inline v0
