// SPDX-License-Identifier: MIT
// The example of one model of several senses, run for a few updates.
#include <doctest/doctest.h>

#include <string>

#include "tests/examples/processes.hpp"

using namespace processes;

TEST_CASE("several senses: batches of images and texts take turns, and both losses fall") {
  const Folder folder("several_senses");
  const Ended ended = run(folder, {"several_senses", "40"});
  INFO(ended.err);
  REQUIRE(ended.status == 0);
  CHECK(lines(ended.out) == 41);
  CHECK(contains(ended.out, "20 updates by images, 20 by texts"));
  const auto loss = [&](const std::string& update) {
    const std::size_t at = ended.out.find("update " + update + ": loss ");
    REQUIRE(at != ended.out.npos);
    return std::stod(ended.out.substr(at + update.size() + 14));
  };
  CHECK(loss("38, images") < 0.95 * loss("0, images"));
  CHECK(loss("39, texts") < 0.98 * loss("1, texts"));
}
