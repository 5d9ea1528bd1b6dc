// SPDX-License-Identifier: MIT
// Which recordings there are, with their lengths, transcripts and labels where something says them: a folder, the TSV
// files of fairseq, or JSON lines. Nothing is decoded here.
#pragma once

#include <algorithm>
#include <array>
#include <cctype>
#include <charconv>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include <data2vec/core/error.hpp>
#include <data2vec/data/characters.hpp>
#include <data2vec/io/file.hpp>
#include <data2vec/io/json.hpp>

namespace data2vec::inline v0 {

/// One recording of a manifest.
struct ManifestEntry {
  std::string path = {};     ///< relative to the root of the manifest, or absolute
  std::int64_t frames = 0;   ///< samples of each channel in the file; 0: not known yet
  int rate = 0;              ///< Hz; 0: not known yet
  std::uint64_t bytes = 0;   ///< size of the file; 0: not known yet
  std::string text = {};     ///< words with single blanks between them
  std::string text_at = {};  ///< "file:line" of the transcript; empty: there is none
  std::string label = {};    ///< class of the whole recording; empty: there is none
};

/// Recordings below a root.
struct Manifest {
  std::string file;  ///< what it was read from
  std::string root;
  std::vector<ManifestEntry> entries;

  std::string path(std::size_t i) const { return (std::filesystem::path(root) / entries.at(i).path).string(); }
};

/// Lines of a text file without their ends (LF or CR LF); a last line without an end counts.
inline std::vector<std::string> read_lines(const std::string& file) {
  const std::vector<std::byte> bytes = read_file(file);
  std::string_view text(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  if (text.substr(0, 3) == "\xEF\xBB\xBF") text.remove_prefix(3);
  std::vector<std::string> lines;
  while (!text.empty()) {
    const std::size_t end = std::min(text.find('\n'), text.size());
    std::string_view line = text.substr(0, end);
    if (!line.empty() && line.back() == '\r') line.remove_suffix(1);
    lines.emplace_back(line);
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return lines;
}

namespace detail {

inline std::string at_line(const std::string& file, std::size_t index) {
  return file + ":" + std::to_string(index + 1);
}

/// "H I | Y O U |" as "HI YOU": letters apart from each other, `|` behind each word, as fairseq's *.ltr files.
inline std::string words_of_letters(std::string_view line) {
  std::string words;
  for (const char c : line) {
    if (c == '|')
      words += ' ';
    else if (c != ' ' && c != '\t')
      words += c;
  }
  return single_blanks(words);
}

inline std::vector<std::string_view> tab_fields(std::string_view line) {
  std::vector<std::string_view> fields;
  for (std::size_t end = 0; end != std::string_view::npos;) {
    end = line.find('\t');
    fields.push_back(line.substr(0, end));
    line.remove_prefix(end == std::string_view::npos ? 0 : end + 1);
  }
  return fields;
}

template <class T>
void read_number(std::string_view field, const std::string& where, const char* what, T& to) {
  const auto [end, problem] = std::from_chars(field.data(), field.data() + field.size(), to);
  if (problem != std::errc{} || end != field.data() + field.size() || to < T{})
    throw FileError(where, std::string(what) + ": expected a whole number, found '" + std::string(field) + "'");
}

/// Transcripts in a file beside a manifest, line by line: *.wrd (words) or *.ltr (letters).
inline void add_transcripts(Manifest& manifest) {
  for (const char* ending : {".wrd", ".ltr"}) {
    const std::string file = std::filesystem::path(manifest.file).replace_extension(ending).string();
    if (file == manifest.file || !std::filesystem::exists(file)) continue;
    const std::vector<std::string> lines = read_lines(file);
    if (lines.size() != manifest.entries.size())
      throw FileError(file, "expected a transcript for each of the " + std::to_string(manifest.entries.size()) +
                                " recordings of " + manifest.file + ", found " + std::to_string(lines.size()));
    for (std::size_t i = 0; i < lines.size(); ++i) {
      manifest.entries[i].text = ending == std::string(".ltr") ? words_of_letters(lines[i]) : single_blanks(lines[i]);
      manifest.entries[i].text_at = at_line(file, i);
    }
    return;
  }
}

inline bool is_sound_name(const std::filesystem::path& path) {
  std::string ending = path.extension().string();
  for (char& c : ending) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  constexpr std::array<std::string_view, 12> known{".wav", ".flac", ".ogg", ".oga", ".opus", ".mp3",
                                                   ".aif", ".aiff", ".au",  ".caf", ".w64",  ".sph"};
  return std::find(known.begin(), known.end(), ending) != known.end();
}

}  // namespace detail

/// A TSV file as fairseq's wav2vec_manifest.py writes it: the root on the first line (relative: to the folder of the
/// file), then `path<TAB>frames`; further fields, rate in Hz and bytes of the file, are those of an index. Transcripts
/// come from a *.wrd or *.ltr file of the same name. Throws FileError with file and line.
inline Manifest read_tsv_manifest(const std::string& file) {
  const std::vector<std::string> lines = read_lines(file);
  if (lines.empty() || lines[0].empty())
    throw FileError(file + ":1", "expected the root of the recordings, found nothing");
  Manifest manifest{file, (std::filesystem::path(file).parent_path() / lines[0]).string(), {}};
  for (std::size_t i = 1; i < lines.size(); ++i) {
    const std::string where = detail::at_line(file, i);
    const std::vector<std::string_view> fields = detail::tab_fields(lines[i]);
    if ((fields.size() != 2 && fields.size() != 4) || fields[0].empty())
      throw FileError(where, "expected path<TAB>frames, found " + std::to_string(fields.size()) + " fields");
    ManifestEntry& entry = manifest.entries.emplace_back();
    entry.path = fields[0];
    detail::read_number(fields[1], where, "frames", entry.frames);
    if (fields.size() == 2) continue;
    detail::read_number(fields[2], where, "rate", entry.rate);
    detail::read_number(fields[3], where, "bytes", entry.bytes);
  }
  detail::add_transcripts(manifest);
  return manifest;
}

/// One JSON object a line: `path` (or `audio_filepath`, `audio`), and where there are any `text` (or `transcript`),
/// `label`, `frames` and `rate`; other keys are left alone. Paths are relative to the folder of the file. Throws
/// FileError with file and line.
inline Manifest read_json_manifest(const std::string& file) {
  Manifest manifest{file, std::filesystem::path(file).parent_path().string(), {}};
  const std::vector<std::string> lines = read_lines(file);
  for (std::size_t i = 0; i < lines.size(); ++i) {
    if (single_blanks(lines[i]).empty()) continue;
    const std::string where = detail::at_line(file, i);
    const Json json = parse_json(lines[i], where);
    if (!json.is_object()) throw FileError(where, "expected an object, found " + std::string(json.type_name()));
    const auto find = [&](std::initializer_list<const char*> names) -> const Json* {
      for (const char* name : names)
        if (const auto at = json.find(name); at != json.end() && !at->is_null()) return &*at;
      return nullptr;
    };
    const auto string = [&](const Json& value, const char* what) {
      if (!value.is_string())
        throw FileError(where, std::string(what) + ": expected a string, found " + value.type_name());
      return value.get<std::string>();
    };
    ManifestEntry& entry = manifest.entries.emplace_back();
    const Json* path = find({"path", "audio_filepath", "audio"});
    if (path) entry.path = string(*path, "path");
    if (entry.path.empty()) throw FileError(where, "expected a path of a recording, found none");
    if (const Json* text = find({"text", "transcript"}))
      entry.text = single_blanks(string(*text, "text")), entry.text_at = where;
    if (const Json* label = find({"label"}))
      entry.label = label->is_string() ? label->get<std::string>() : label->dump();
    for (const char* name : {"frames", "rate"}) {
      const Json* number = find({name});
      if (!number) continue;
      const std::int64_t value = number->is_number_integer() ? number->get<std::int64_t>() : -1;
      if (value < 1 || value > std::int64_t{1} << (*name == 'r' ? 30 : 48))
        throw FileError(where, std::string(name) + ": expected a whole number above 0, found " + number->dump());
      *name == 'f' ? entry.frames = value : entry.rate = static_cast<int>(value);
    }
  }
  return manifest;
}

/// Recordings below a folder by sorted path (names that end like sound files do; hidden ones are left alone). The
/// transcript of `a/b.wav` is the text of `a/b.txt`, or the line `b words ...` of a file `*.trans.txt` (LibriSpeech) in
/// its folder. The label is the first folder of the path.
inline Manifest read_folder_manifest(const std::string& folder) {
  namespace fs = std::filesystem;
  std::error_code error;
  if (!fs::is_directory(folder, error)) throw FileError(folder, "expected a folder, found none");
  Manifest manifest{folder, folder, {}};
  std::vector<std::pair<fs::path, std::pair<std::string, std::string>>>
      listed;  // recording without ending: text, where
  fs::recursive_directory_iterator entries(folder, fs::directory_options::follow_directory_symlink, error);
  for (; !error && entries != fs::recursive_directory_iterator(); entries.increment(error)) {
    const fs::path path = entries->path();
    if (path.filename().string()[0] == '.') {
      if (entries->is_directory(error)) entries.disable_recursion_pending();
      continue;
    }
    if (!entries->is_regular_file(error)) continue;
    if (path.string().ends_with(".trans.txt")) {
      const std::vector<std::string> lines = read_lines(path.string());
      for (std::size_t i = 0; i < lines.size(); ++i) {
        const std::string words = single_blanks(lines[i]);
        const std::size_t end = std::min(words.find(' '), words.size());
        if (end > 0)
          listed.push_back({path.parent_path() / words.substr(0, end),
                            {words.substr(std::min(end + 1, words.size())), detail::at_line(path.string(), i)}});
      }
    }
    if (detail::is_sound_name(path))
      manifest.entries.emplace_back().path = path.lexically_relative(folder).generic_string();
  }
  if (error) throw FileError(folder, "cannot read the folder: " + error.message());
  if (manifest.entries.empty())
    throw FileError(folder, "expected recordings (*.wav, *.flac, *.ogg, *.mp3), found none");
  const auto by_path = [](const auto& a, const auto& b) { return a.first < b.first; };
  std::sort(listed.begin(), listed.end(), by_path);
  std::sort(manifest.entries.begin(), manifest.entries.end(),
            [](const ManifestEntry& a, const ManifestEntry& b) { return a.path < b.path; });
  for (ManifestEntry& entry : manifest.entries) {
    const fs::path path = fs::path(folder) / entry.path;
    if (const fs::path beside = fs::path(path).replace_extension(".txt"); fs::is_regular_file(beside, error)) {
      for (const std::string& line : read_lines(beside.string())) entry.text += line + ' ';
      entry.text = single_blanks(entry.text), entry.text_at = detail::at_line(beside.string(), 0);
    } else {
      const auto at = std::lower_bound(listed.begin(), listed.end(),
                                       decltype(listed)::value_type{fs::path(path).replace_extension(), {}}, by_path);
      if (at != listed.end() && at->first == fs::path(path).replace_extension())
        entry.text = at->second.first, entry.text_at = at->second.second;
    }
    if (const std::size_t slash = entry.path.find('/'); slash != std::string::npos)
      entry.label = entry.path.substr(0, slash);
  }
  return manifest;
}

/// A folder, or a file of one of the two kinds: JSON lines begin with `{`. Throws FileError.
inline Manifest open_manifest(const std::string& path) {
  std::error_code error;
  if (std::filesystem::is_directory(path, error)) return read_folder_manifest(path);
  for (const std::string& line : read_lines(path)) {
    const std::string words = single_blanks(line);
    if (!words.empty()) return words[0] == '{' ? read_json_manifest(path) : read_tsv_manifest(path);
  }
  throw FileError(path, "expected recordings, found an empty file");
}

/// Writes a TSV manifest whose entries know what read_tsv_manifest reads, whole or not at all.
inline void write_tsv_manifest(const std::string& file, const Manifest& manifest) {
  std::string text = std::filesystem::absolute(manifest.root).string() + "\n";
  for (const ManifestEntry& entry : manifest.entries) {
    if (entry.path.find_first_of("\t\n") != std::string::npos)
      throw FileError(file, "expected a path without tabs and line ends, found '" + entry.path + "'");
    text += entry.path + "\t" + std::to_string(entry.frames);
    if (entry.rate > 0) text += "\t" + std::to_string(entry.rate) + "\t" + std::to_string(entry.bytes);
    text += "\n";
  }
  AtomicFile out(file, text.size());
  out.write(std::as_bytes(std::span<const char>(text)));
  out.commit();
}

}  // namespace data2vec::inline v0
