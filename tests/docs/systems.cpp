// SPDX-License-Identifier: MIT
// The code and the table of docs/systems.md.
#include <doctest/doctest.h>

#include <filesystem>
#include <fstream>
#include <regex>
#include <string>

#include <data2vec/data2vec.hpp>

namespace d2v = data2vec;

namespace {

using Images = d2v::Vision<d2v::VisionConfig{
    .input_size = 32, .patch_size = 4, .in_chans = 3, .modality = {.num_extra_tokens = 1}}>;
using Masks = d2v::RandomMask<Images::tokens, d2v::MaskConfig{.mask_prob = 0.75}>;
using Decoder = d2v::PixelDecoder<d2v::PixelDecoderConfig{
    .decoder_embed_dim = 64, .decoder_depth = 2, .decoder_num_heads = 4}>;
inline constexpr d2v::Config small{.embed_dim = 128, .depth = 4, .num_heads = 4};
struct SmallMae : d2v::MaskedAutoencoder<small, d2v::Branch<Images, Masks, Decoder>> {};

/// Lines of a file that are neither blank nor comment.
int lines_of_code(const std::filesystem::path& file) {
  std::ifstream in(file);
  REQUIRE_MESSAGE(in, file.string());
  int count = 0;
  for (std::string line; std::getline(in, line);) {
    const auto first = line.find_first_not_of(" \t");
    count += first != std::string::npos && line.compare(first, 2, "//") != 0;
  }
  return count;
}

}  // namespace

TEST_CASE("systems: a model of one's own") {
  static_assert(d2v::Objective<SmallMae>);
  static_assert(SmallMae::First::V == 16);
  CHECK(d2v::TrainerOptions::of<SmallMae>().rates.layerdrop == 0);
}

TEST_CASE("systems: the lines that each costs, to a tenth") {
  const std::filesystem::path root = D2V_SOURCE_DIR;
  std::ifstream page(root / "docs/systems.md");
  const std::regex row(R"(^\| ([^|]+) \| (`.*`) \| (\d+) \|$)"), file("`([^`]+)`");
  int rows = 0;
  for (std::string line; std::getline(page, line);) {
    std::smatch match;
    if (!std::regex_match(line, match, row)) continue;
    ++rows;
    const std::string files = match[2];
    int count = 0;
    for (std::sregex_iterator i(files.begin(), files.end(), file), end; i != end; ++i)
      count += lines_of_code(root / "include/data2vec" / (*i)[1].str());
    CAPTURE(match[1].str());
    CHECK(count == doctest::Approx(std::stoi(match[3])).epsilon(0.1));
  }
  CHECK(rows == 5);
}
