// expect: data2vec: reshape must keep the number of elements
// SPDX-License-Identifier: MIT
// A reshape to another number of elements.
#include <data2vec/core/view.hpp>

namespace d2v = data2vec;

int main() {
  float numbers[12] = {};
  const d2v::View<float, 3, 4> matrix{numbers};
#ifdef MISTAKE
  const auto other = matrix.reshape<5, 2>();
#else
  const auto other = matrix.reshape<6, 2>();
#endif
  return other.data == numbers ? 0 : 1;
}
