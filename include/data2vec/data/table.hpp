// SPDX-License-Identifier: MIT
// Tables in text: comma-separated values (RFC 4180), tab-separated values, JSON lines. Lines may end in LF, CR LF or
// CR, the last one in nothing. Every error names the file and the line.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include <data2vec/core/error.hpp>
#include <data2vec/data/utf8.hpp>
#include <data2vec/io/json.hpp>
#include <data2vec/io/mapped_file.hpp>

namespace data2vec::inline v0 {

/// by_name: .csv, .tsv, .jsonl or .json (JSON lines); every other name is an error.
enum class TableFormat { by_name, csv, tsv, json_lines };

/// Whether a field may stand in double quotes, with "" for one of them inside, and then hold separators and line ends.
/// by_format: in CSV only. GLUE's TSV files hold quotation marks that are text.
enum class Quotes { by_format, none, double_quotes };

/// How a table is read.
struct TableOptions {
  TableFormat format = TableFormat::by_name;
  Quotes quotes = Quotes::by_format;
  bool header = true;  ///< the first line holds the names of the columns (JSON lines have their keys)
  BadUtf8 bad_utf8 = BadUtf8::refuse;
};

/// A column by its name or its index from 0.
using Column = std::variant<std::string, int>;

/// Rows of text fields, in memory. Every row has as many fields as the first one, of JSON lines the same keys; empty
/// lines are left out.
class Table {
 public:
  /// Throws FileError with file:line.
  static Table open(const std::string& path, const TableOptions& options = {}) {
    const MappedFile file(path);
    return Table(path, file.text(), options);
  }
  /// The same from memory; `file` is what error texts call it.
  static Table from_text(std::string_view text, const TableOptions& options, const std::string& file = "memory") {
    return Table(file, text, options);
  }

  const std::string& file() const { return file_; }
  std::size_t rows() const { return lines_.size(); }
  std::size_t columns() const { return columns_; }
  const std::vector<std::string>& names() const { return names_; }  ///< of the columns; empty without a header
  const std::string& at(std::size_t row, std::size_t column) const { return fields_[row * columns_ + column]; }
  std::size_t line(std::size_t row) const { return lines_[row]; }  ///< where the row begins, from 1
  std::string where(std::size_t row) const { return file_ + ":" + std::to_string(lines_[row]); }

  /// The index of a column. Throws FileError with the line of the header and the names that are there.
  std::size_t column(const Column& wanted) const {
    const std::string header = here(header_line_);
    if (const int* const index = std::get_if<int>(&wanted)) {
      if (*index >= 0 && static_cast<std::size_t>(*index) < columns_) return static_cast<std::size_t>(*index);
      throw FileError(header,
                      "column: expected 0 to " + std::to_string(columns_ - 1) + ", found " + std::to_string(*index));
    }
    const std::string& name = std::get<std::string>(wanted);
    const auto place = std::find(names_.begin(), names_.end(), name);
    if (place != names_.end()) return static_cast<std::size_t>(place - names_.begin());
    std::string all;
    for (const std::string& other : names_) all += (all.empty() ? "" : ", ") + other;
    throw FileError(header, "column: expected '" + name + "', found " + (all.empty() ? "no names of columns" : all));
  }

 private:
  Table(const std::string& file, std::string_view text, TableOptions options) : file_(file) {
    std::string repaired;
    if (check_utf8(file, text, options.bad_utf8)) text = repaired = replace_bad_utf8(text);
    if (text.starts_with("\xEF\xBB\xBF")) text.remove_prefix(3);
    const std::string extension = std::filesystem::path(file).extension().string();
    if (options.format == TableFormat::by_name) {
      if (extension == ".csv")
        options.format = TableFormat::csv;
      else if (extension == ".tsv")
        options.format = TableFormat::tsv;
      else if (extension == ".jsonl" || extension == ".json")
        options.format = TableFormat::json_lines;
      else
        throw FileError(file, "expected a name that ends in .csv, .tsv, .jsonl or .json, found another one");
    }
    if (options.quotes == Quotes::by_format)
      options.quotes = options.format == TableFormat::csv ? Quotes::double_quotes : Quotes::none;
    if (options.format == TableFormat::json_lines) {
      read_json(text);
    } else {
      read_fields(text, options.format == TableFormat::csv ? ',' : '\t', options.quotes == Quotes::double_quotes,
                  options.header);
    }
    if (rows() == 0) throw FileError(file, "expected rows, found none");
  }

  std::string here(std::size_t line) const { return file_ + ":" + std::to_string(line); }

  /// Cuts off a line end at the front; false if there is none.
  static bool cut_line_end(std::string_view& text) {
    if (text.empty() || (text[0] != '\n' && text[0] != '\r')) return false;
    text.remove_prefix(text.starts_with("\r\n") ? 2 : 1);
    return true;
  }

  void read_fields(std::string_view text, char separator, bool quotes, bool header) {
    std::vector<std::string> row;
    for (std::size_t line = 1; !text.empty();) {
      const std::size_t begin = line;
      if (cut_line_end(text)) {
        ++line;
        continue;
      }
      row.clear();
      do {
        row.emplace_back();
        if (quotes && text.starts_with('"'))
          read_quoted(text, line, begin, separator, row.back());
        else
          read_plain(text, separator, quotes, line, row.back());
      } while (cut_separator(text, separator));
      if (cut_line_end(text)) ++line;
      take(row, begin, header);
    }
  }

  static bool cut_separator(std::string_view& text, char separator) {
    if (!text.starts_with(separator)) return false;
    text.remove_prefix(1);
    return true;
  }

  void read_plain(std::string_view& text, char separator, bool quotes, std::size_t line, std::string& field) const {
    const char ends[] = {separator, '\n', '\r'};
    const std::size_t end = std::min(text.find_first_of(std::string_view(ends, 3)), text.size());
    field = text.substr(0, end);
    if (quotes && field.find('"') != field.npos)
      throw FileError(here(line), "expected quotation marks round a whole field, found one inside of " + field);
    text.remove_prefix(end);
  }

  void read_quoted(std::string_view& text, std::size_t& line, std::size_t begin, char separator,
                   std::string& field) const {
    for (text.remove_prefix(1);;) {
      const std::size_t end = text.find('"');
      if (end == text.npos) throw FileError(here(begin), "expected a closing quotation mark, found the end of file");
      for (std::size_t i = 0; i < end; ++i)  // CR LF is one line end
        line += text[i] == '\n' || (text[i] == '\r' && text[i + 1] != '\n');
      field += text.substr(0, end);
      text.remove_prefix(end + 1);
      if (!text.starts_with('"')) break;
      field += '"';
      text.remove_prefix(1);
    }
    if (!text.empty() && text[0] != separator && text[0] != '\n' && text[0] != '\r')
      throw FileError(here(line), "expected a separator behind a closing quotation mark, found '" +
                                      std::string(text.substr(0, decode_utf8(text).size)) + "'");
  }

  /// A row of fields, or the header.
  void take(std::vector<std::string>& row, std::size_t line, bool header) {
    if (columns_ == 0) {
      columns_ = row.size();
      header_line_ = line;
      if (header) {
        for (std::size_t i = 0; i < row.size(); ++i)
          if (std::find(row.begin(), row.begin() + static_cast<std::ptrdiff_t>(i), row[i]) !=
              row.begin() + static_cast<std::ptrdiff_t>(i))
            throw FileError(here(line), "expected every column once, found '" + row[i] + "' twice");
        names_ = row;
        return;
      }
    }
    if (row.size() != columns_)
      throw FileError(here(line),
                      "expected " + std::to_string(columns_) + " columns, found " + std::to_string(row.size()));
    for (std::string& field : row) fields_.push_back(std::move(field));
    lines_.push_back(line);
  }

  void read_json(std::string_view text) {
    std::vector<std::string> row;
    for (std::size_t line = 1; !text.empty(); ++line) {
      const std::size_t end = std::min(text.find_first_of("\n\r"), text.size());
      const std::string_view content = text.substr(0, end);
      text.remove_prefix(end);
      cut_line_end(text);
      if (content.find_first_not_of(" \t") == content.npos) continue;
      const Json object = parse_json(content, here(line));
      if (!object.is_object() || object.empty())
        throw FileError(here(line), std::string("expected an object with columns, found ") + object.type_name());
      if (names_.empty()) {
        for (const auto& [key, value] : object.items()) names_.push_back(key);
        columns_ = names_.size(), header_line_ = line;
      }
      row.clear();
      for (const std::string& name : names_) {
        if (!object.contains(name)) throw FileError(here(line), "column: expected '" + name + "', found none");
        const Json& value = object[name];
        if (value.is_structured())
          throw FileError(here(line), "'" + name + "': expected text or a number, found " + value.type_name());
        row.push_back(value.is_string() ? value.get<std::string>() : value.is_null() ? "" : value.dump());
      }
      if (object.size() != columns_)
        throw FileError(here(line),
                        "expected " + std::to_string(columns_) + " columns, found " + std::to_string(object.size()));
      take(row, line, false);
    }
  }

  std::string file_;
  std::size_t columns_ = 0, header_line_ = 1;
  std::vector<std::string> names_, fields_;
  std::vector<std::size_t> lines_;
};

}  // namespace data2vec::inline v0
