// SPDX-License-Identifier: MIT
// Tables: quoted fields, odd line ends, and errors with their line.
#include <doctest/doctest.h>

#include <cstdio>
#include <string>
#include <vector>

#include <data2vec/data/table.hpp>
#include <tests/data/text_files.hpp>

using namespace data2vec;
using text_files::error_of;
using Rows = std::vector<std::vector<std::string>>;

namespace {

constexpr TableOptions csv{.format = TableFormat::csv}, tsv{.format = TableFormat::tsv},
    json{.format = TableFormat::json_lines}, no_header{.format = TableFormat::tsv, .header = false};

Rows rows(std::string_view text, const TableOptions& options) {
  const Table table = Table::from_text(text, options);
  Rows found(table.rows());
  for (std::size_t r = 0; r < table.rows(); ++r)
    for (std::size_t c = 0; c < table.columns(); ++c) found[r].push_back(table.at(r, c));
  return found;
}

std::string error(std::string_view text, const TableOptions& options) {
  return error_of([&] { Table::from_text(text, options, "f"); });
}

}  // namespace

TEST_CASE("table: line ends of any kind, and none at the end") {
  const Rows expected{{"1", "2"}, {"3", "4"}};
  for (const char* text : {"a,b\n1,2\n3,4\n", "a,b\n1,2\n3,4", "a,b\r\n1,2\r\n3,4\r\n", "a,b\r1,2\r3,4\r",
                           "a,b\r1,2\n3,4\r\n", "\n\na,b\n\n1,2\r\n\r\n3,4\n\n", "\xEF\xBB\xBF" "a,b\n1,2\n3,4"})
    CHECK(rows(text, csv) == expected);
  CHECK(rows("1\t2\n3\t4", no_header) == expected);
  CHECK(Table::from_text("a,b\n1,2\n", csv).names() == std::vector<std::string>{"a", "b"});
  CHECK(Table::from_text("1\t2\n", no_header).names().empty());
}

TEST_CASE("table: quoted fields hold separators, line ends and quotation marks") {
  CHECK(rows("a,b\n\"x,y\",\"say \"\"hi\"\"\"\n\"two\r\nlines\",\"\"\n,\n", csv) ==
        Rows{{"x,y", "say \"hi\""}, {"two\r\nlines", ""}, {"", ""}});
  CHECK(rows("\"a\",\"b\"\r\n\"1\",\"2\"", csv) == Rows{{"1", "2"}});
}

TEST_CASE("table: in TSV a quotation mark is text, unless asked otherwise") {
  CHECK(rows("a\tb\n\"x\t5\" wide\n", tsv) == Rows{{"\"x", "5\" wide"}});
  CHECK(rows("a\tb\n\"x\ty\"\tz\n", {.format = TableFormat::tsv, .quotes = Quotes::double_quotes}) ==
        Rows{{"x\ty", "z"}});
}

TEST_CASE("table: rows know their line") {
  const Table table = Table::from_text("a,b\n\n1,\"two\nlines\rand\r\nmore\"\n3,4\n", csv, "f");
  REQUIRE(table.rows() == 2);
  CHECK(table.line(0) == 3);
  CHECK(table.where(1) == "f:7");
}

TEST_CASE("table: columns by name and by index") {
  const Table table = Table::from_text("\nid,label\n1,2\n", csv, "f");
  CHECK(table.column("label") == 1);
  CHECK(table.column(0) == 0);
  CHECK(error_of([&] { table.column("text"); }) == "f:2: column: expected 'text', found id, label");
  CHECK(error_of([&] { table.column(2); }) == "f:2: column: expected 0 to 1, found 2");
  CHECK(error_of([&] { table.column(-1); }) == "f:2: column: expected 0 to 1, found -1");
  CHECK(error_of([&] { Table::from_text("1\n", no_header, "f").column("text"); }) ==
        "f:1: column: expected 'text', found no names of columns");
}

TEST_CASE("table: JSON lines") {
  const Table table = Table::from_text("{\"text\": \"a \\u00e9\\n\", \"label\": 1}\r\n\n"
                                       "{\"label\": 2.5, \"text\": null}\n{\"label\": true, \"text\": \"\"}",
                                       json, "f");
  CHECK(table.names() == std::vector<std::string>{"text", "label"});
  CHECK(table.at(0, 0) == "a \xC3\xA9\n");
  CHECK(table.at(0, 1) == "1");
  CHECK(table.at(1, 1) == "2.5");
  CHECK(table.at(1, 0) == "");
  CHECK(table.at(2, 1) == "true");
  CHECK(table.line(1) == 3);
  const auto second = [](const std::string& line) { return error("{\"a\": 1}\n" + line, json); };
  CHECK(second("{\"b\": 1}") == "f:2: column: expected 'a', found none");
  CHECK(second("{\"a\": 1, \"b\": 2}") == "f:2: expected 1 columns, found 2");
  CHECK(second("{\"a\": [1]}") == "f:2: 'a': expected text or a number, found array");
  CHECK(second("[1]") == "f:2: expected an object with columns, found array");
  CHECK(second("{\"a\": 1").starts_with("f:2: expected JSON: "));
  CHECK(second("{\"a\": 1, \"a\": 2}") == "f:2: expected every key once, found \"a\" twice");
}

TEST_CASE("table: what is wrong, with its line") {
  CHECK(error("a,b\n1,2\n3\n", csv) == "f:3: expected 2 columns, found 1");
  CHECK(error("a,b\n1,2,3\n", csv) == "f:2: expected 2 columns, found 3");
  CHECK(error("a,a\n1,2\n", csv) == "f:1: expected every column once, found 'a' twice");
  CHECK(error("a\n1\n\"x\ny\n", csv) == "f:3: expected a closing quotation mark, found the end of file");
  CHECK(error("a\n\"x\ny\" z\n", csv) == "f:3: expected a separator behind a closing quotation mark, found ' '");
  CHECK(error("a\n5\" wide\n", csv) ==
        "f:2: expected quotation marks round a whole field, found one inside of 5\" wide");
  CHECK(error("", csv) == "f: expected rows, found none");
  CHECK(error("a,b\n", csv) == "f: expected rows, found none");
  CHECK(error("a\nx\xFF\n", csv).find("byte 0xFF at offset 3") != std::string::npos);
  CHECK(rows("a\nx\xFF\n", {.format = TableFormat::csv, .bad_utf8 = BadUtf8::replace}) == Rows{{"x\xEF\xBF\xBD"}});
}

TEST_CASE("table: files, by their names") {
  const text_files::Folder folder("table");
  CHECK(Table::open(folder.write("a.csv", "a\n\"x\"\n")).at(0, 0) == "x");
  CHECK(Table::open(folder.write("a.tsv", "a\n\"x\"\n")).at(0, 0) == "\"x\"");
  CHECK(Table::open(folder.write("a.jsonl", "{\"a\": \"x\"}")).at(0, 0) == "x");
  CHECK(error_of([&] { Table::open(folder.write("a.txt", "a\n1\n")); })
            .ends_with("a.txt: expected a name that ends in .csv, .tsv, .jsonl or .json, found another one"));
  CHECK(error_of([&] { Table::open(folder.text() + "/none.csv"); }).ends_with("expected a file, found none"));
}

TEST_CASE("table: SST-2 and CoLA as they are") {
  const std::string from = text_files::shared("data/text");
  if (from.empty()) {
    std::printf("SKIPPED: table: SST-2 and CoLA: set D2V_SHARED to the folder that holds data/text\n");
    return;
  }
  const Table sst = Table::open(from + "/sst-2/test.tsv");
  CHECK(sst.rows() == 872);
  CHECK(sst.column("label") == 1);
  CHECK(Table::open(from + "/sst-2/train.tsv").rows() == 60'614);
  TableOptions options{.header = false};
  const Table cola = Table::open(from + "/cola/out_of_domain_dev.tsv", options);  // the last line has no end
  CHECK(cola.rows() == 516);
  CHECK(cola.columns() == 4);
  CHECK(Table::open(from + "/cola/in_domain_train.tsv", options).rows() == 8551);
}
