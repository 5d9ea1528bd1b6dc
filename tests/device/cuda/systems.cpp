// SPDX-License-Identifier: MIT
// RoBERTa's and data2vec 1.0's training on the device made of the host (host/), against the CPU's trainer.
#include <doctest/doctest.h>

#include "tests/device/cuda/compare_traces.hpp"
#include "tests/device/cuda/systems.hpp"
#include "tests/device/cuda/trace.hpp"

using namespace models;

float4 data2vec::detail::gpu::shared[shared_elements];

TEST_CASE("RoBERTa's training agrees with the CPU, with micro-batches too; in bfloat16 as far as that goes") {
  compare(train_system_on_cpu("guessing", 4, 1), trace<Guessing>(4, 1), 1, systems_key_biases);
  compare(train_system_on_cpu("guessing", 4, 2), trace<Guessing>(4, 2), 2, systems_key_biases);
  compare_roughly(train_system_on_cpu("guessing", 4, 1), trace<Guessing, Precision::bf16>(4, 1));
}
TEST_CASE("training of speech by data2vec 1.0 agrees with the CPU") {
  compare(train_system_on_cpu("listening", 4, 1), trace<Listening>(4, 1), 1, systems_key_biases);
}
TEST_CASE("training of text by data2vec 1.0 agrees with the CPU, with micro-batches too") {
  compare(train_system_on_cpu("reading", 4, 1), trace<Reading>(4, 1), 1, systems_key_biases);
  compare(train_system_on_cpu("reading", 4, 2), trace<Reading>(4, 2), 2, systems_key_biases);
}
TEST_CASE("training of images by data2vec 1.0 agrees with the CPU, with micro-batches too") {
  compare(train_system_on_cpu("looking", 4, 1), trace<Looking>(4, 1), 1, systems_key_biases);
  compare(train_system_on_cpu("looking", 4, 2), trace<Looking>(4, 2), 2, systems_key_biases);
}
