// SPDX-License-Identifier: MIT
// Dropout and stochastic depth. Masks are functions of their place (core/random.hpp), so the backward pass draws them
// again instead of storing them.
#pragma once

#include <cstddef>

#include <data2vec/device/device.hpp>
#include <cstdint>

#include <data2vec/core/random.hpp>

namespace data2vec::inline v0 {

namespace kernel {
template <class D>
struct Dropout;
}

/// Which draws a dropout uses: row r belongs to sample `sample_ids[r / masks]`, mask
/// first_mask + r % masks.
struct DropoutDraws {
  std::uint64_t seed = 0;
  std::uint32_t update = 0;
  const std::uint32_t* sample_ids = nullptr;
  int masks = 1;
  Site site = Site::user;
  std::uint32_t layer = 0;
  double rate = 0;
  int first_mask = 0;

  D2V_HD constexpr DrawKey key(int row) const {
    return {seed, update, sample_ids[row / masks], static_cast<std::uint32_t>(first_mask + row % masks), site, layer};
  }
};

/// Element e of a row is kept iff unit_float of word e % 4 of block e / 4 of its stream is at least `rate`.
D2V_HD constexpr bool kept(const std::array<std::uint32_t, 4>& block, std::uint32_t element, double rate) {
  return unit_float(block[element % 4]) >= rate;
}

namespace device {

/// y = x where kept, scaled by 1 / (1 - rate), else 0. x, y (rows, width); y may be x. Its own gradient.
template <Device D, class T>
void dropout(D& d, int rows, int width, const DropoutDraws& draws, In<T> x, T* y) {
  kernel::Dropout<D>::template elements<T>(d, rows, width, draws, x, y);
}

/// Stochastic depth (Huang et al., 2016): whole rows are kept (and scaled) or zeroed by element 0 of their stream.
/// x, y (rows, width); y may be x. Its own gradient.
template <Device D, class T>
void drop_path(D& d, int rows, int width, const DropoutDraws& draws, In<T> x, T* y) {
  kernel::Dropout<D>::template rows<T>(d, rows, width, draws, x, y);
}

/// y (rows, elements_per_row) = rate * N(0, 1): here the rate is the standard deviation. Elements 2i and 2i + 1 of a
/// row come from words 2i and 2i + 1 of its stream by `normal_pair`.
template <Device D, class T>
void normal_noise(D& d, int rows, int elements_per_row, const DropoutDraws& draws, T* y) {
  kernel::Dropout<D>::template noise<T>(d, rows, elements_per_row, draws, y);
}

}  // namespace device
}  // namespace data2vec::inline v0
