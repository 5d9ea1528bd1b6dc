// SPDX-License-Identifier: MIT
// Pages: escaping everywhere, tags that balance, base64 by its RFC.
#include <doctest/doctest.h>

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <data2vec/evaluation/html.hpp>
#include <tests/evaluation/markup.hpp>

using namespace data2vec;

namespace {

std::string encoded(std::string_view text) { return base64(std::as_bytes(std::span(text))); }

}  // namespace

TEST_CASE("markup: the checker sees what is wrong") {
  CHECK(markup::parse("<p class=\"a\">1 &lt; 2<br/></p>").error.empty());
  for (const char* wrong : {"<p>", "</p>", "<p><b></p></b>", "<p>1 < 2</p>", "<p>a & b</p>", "<p>a > b</p>", "<p",
                            "<p class=a></p>", "<p a=\"1\" a=\"2\"></p>", "<p a=\"<\"></p>", "<p a=\"&x\"></p>"}) {
    CAPTURE(wrong);
    CHECK(!markup::parse(wrong).error.empty());
  }
}

TEST_CASE("html: escaping") {
  CHECK(html_escape("<b a=\"1\" c='2'>&amp;") == "&lt;b a=&quot;1&quot; c=&#39;2&#39;&gt;&amp;amp;");
  CHECK(html_escape("a\tb\nc \xC3\xA9") == "a\tb\nc \xC3\xA9");
  CHECK(html_escape(std::string("a\0b\x1b", 4)) == "a\xEF\xBF\xBD" "b\xEF\xBF\xBD");
}

TEST_CASE("base64: the vectors of RFC 4648, section 10") {
  CHECK(encoded("") == "");
  CHECK(encoded("f") == "Zg==");
  CHECK(encoded("fo") == "Zm8=");
  CHECK(encoded("foo") == "Zm9v");
  CHECK(encoded("foob") == "Zm9vYg==");
  CHECK(encoded("fooba") == "Zm9vYmE=");
  CHECK(encoded("foobar") == "Zm9vYmFy");
  CHECK(encoded("\xfb\xff\xbf") == "+/+/");  // the last two digits, and bytes above 127
}

TEST_CASE("html: a page of everything is well-formed, and no text is markup") {
  const std::string bad = "<i>&\"'";
  HtmlPage page(bad);
  for (int i = 0; i < 3; ++i) page.heading(2, bad);
  page.heading(3, bad);
  page.paragraph(bad);
  page.preformatted(bad);
  page.box(bad, {bad, bad}, true);
  page.box(bad, {}, false);
  page.table({bad, bad}, {{bad, "1"}, {bad, "2"}}, bad);
  page.table({}, {});
  page.figure(html_image(std::as_bytes(std::span(bad)), "image/png", 3, 4, bad), bad);
  page.row("");
  const std::string text = page.str();
  const auto document = markup::parse(text);
  CHECK(document.error == "");
  CHECK(document.all("i").empty());
  std::size_t escaped = 0;
  for (std::size_t at = 0; (at = text.find(html_escape(bad), at)) != std::string::npos; ++at) ++escaped;
  // title and h1; 3 headings with 3 entries of the contents, one of level 3, paragraph, preformatted; boxes 3 + 1;
  // table 2 + 2 + 1; alt, caption
  CHECK(escaped == 2 + 6 + 3 + 4 + 5 + 2);
  CHECK(text.find("default-src 'none'") != std::string::npos);
  CHECK(document.all("script").empty());
  const auto images = document.all("img");
  REQUIRE(images.size() == 1);
  CHECK(images[0].attributes.at("src") == "data:image/png;base64," + encoded(bad));
  CHECK(images[0].attributes.at("height") == "3");
  CHECK(images[0].attributes.at("width") == "4");
}

TEST_CASE("html: every link of the contents has its heading") {
  HtmlPage page("t");
  for (const char* name : {"a", "b", "c"}) page.heading(2, name);
  const auto document = markup::parse(page.str());
  const auto links = document.all("a"), headings = document.all("h2");
  REQUIRE(links.size() == 3);
  REQUIRE(headings.size() == 3);
  for (std::size_t i = 0; i < 3; ++i) {
    CHECK(links[i].attributes.at("href") == "#" + headings[i].attributes.at("id"));
    CHECK(links[i].text == headings[i].text);
  }
}

TEST_CASE("html: columns of numbers stand to the right, others do not") {
  HtmlPage page("t");
  page.table({"name", "score", "what"}, {{"x", "12.5 \xC2\xB1 0.1", "3 of"}, {"y", "n/a", "words"}, {"z", "-1", ""}});
  for (const auto& cell : markup::parse(page.str()).all("td"))
    CHECK((cell.attributes.count("class") == 1) == (cell.text == "n/a" || cell.text == "-1" || cell.text[0] == '1'));
}

TEST_CASE("html: a row of another length is an error that says which") {
  HtmlPage page("t");
  CHECK_THROWS_WITH_AS(page.table({"a", "b"}, {{"1", "2"}, {"3"}}, "scores"),
                       "table \"scores\", row 1: expected 2 cells, found 1", MismatchError);
}
