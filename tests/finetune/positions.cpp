// SPDX-License-Identifier: MIT
// Tables of positions resampled, against PyTorch 2.15: interpolate(mode="bicubic", align_corners=False).
#include <doctest/doctest.h>

#include <vector>

#include <data2vec/finetune/positions.hpp>

using namespace data2vec;

namespace {

/// (side x side, 2): a table that can be written down in one line of Python too.
std::vector<float> table(int side) {
  std::vector<float> values;
  for (int r = 0; r < side; ++r)
    for (int c = 0; c < side; ++c)
      for (int d = 0; d < 2; ++d) values.push_back(static_cast<float>((7 * r + 3 * c + 5 * d) % 11) / 4);
  return values;
}

void check_equal(const std::vector<float>& found, const std::vector<float>& expected) {
  REQUIRE(found.size() == expected.size());
  for (std::size_t i = 0; i < found.size(); ++i) CHECK(found[i] == doctest::Approx(expected[i]).epsilon(1e-5));
}

}  // namespace

TEST_CASE("positions: PyTorch's numbers for a larger and for a smaller grid") {
  check_equal(resample_positions(table(3), 0, 3, 4),
              {-0.1794434f, 1.267944f, 0.2500429f, 2.042926f, 1.04818f, 1.362343f, 1.639778f, -0.283333f,
               1.175415f, 0.3425722f, 1.853032f, 1.117554f, 1.589168f, 1.498972f, 0.5739794f, 1.211952f,
               1.528076f, 0.7880479f, 2.205694f, 0.5010281f, 1.941829f, 0.8824463f, 0.9266406f, 1.657428f,
               0.6243896f, 2.283333f, 1.053876f, 0.6376573f, 1.852013f, -0.04292589f, 2.443611f, 0.7320557f});
  check_equal(resample_positions(table(4), 0, 4, 2), {1.426514f, 1.148438f, 1.25708f, 1.285156f, 1.124268f, 1.152344f,
                                                      1.567139f, 1.289062f});
}

TEST_CASE("positions: the same grid stays, rows of extra tokens too") {
  std::vector<float> with_class = {7, 8};
  const std::vector<float> patches = table(3);
  with_class.insert(with_class.end(), patches.begin(), patches.end());
  check_equal(resample_positions(with_class, 1, 3, 3), with_class);
  const std::vector<float> larger = resample_positions(with_class, 1, 3, {5, 4});
  CHECK(larger.size() == 2 * (1 + 20));
  CHECK(larger[0] == 7);
  CHECK(larger[1] == 8);
}

TEST_CASE("positions: grids and names") {
  CHECK(square_grid(49) == Grid(7));
  CHECK(!square_grid(50));
  CHECK(!square_grid(0));
  CHECK(!square_grid(-4));
  CHECK(is_position_table("pos_embed"));
  CHECK(is_position_table("modality_encoders.IMAGE.fixed_positional_encoder.positions"));
  CHECK(!is_position_table("decoder_pos_embed"));
}
