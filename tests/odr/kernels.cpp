// SPDX-License-Identifier: MIT
// Compiled twice, for two instruction sets: D2V_ODR_FUNCTION is the name of the one function that each object exports.
#include <cstddef>

#include <data2vec/data2vec.hpp>

float D2V_ODR_FUNCTION() {
  using namespace data2vec;
  constexpr int rows = 3, in = 5, out = 7;
  float x[rows * in], weight[out * in], bias[out], y[rows * out];
  for (int i = 0; i < rows * in; ++i) x[i] = static_cast<float>(i % 4);
  for (int i = 0; i < out * in; ++i) weight[i] = static_cast<float>(i % 3);
  for (int i = 0; i < out; ++i) bias[i] = static_cast<float>(i);
  Cpu cpu;
  device::linear<in, out>(cpu, rows, x, weight, bias, y);
  device::moving_average(cpu, std::size_t{rows * out}, 0.5, y, y);
  float sum = 0;  // of small integers: exact, so the same on both
  for (const float value : y) sum += value;
  return sum;
}
