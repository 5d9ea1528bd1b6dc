// SPDX-License-Identifier: MIT
// wav2vec 2.0's training on the device made of the host (host/), against the CPU's trainer.
#include <doctest/doctest.h>

#include "tests/device/cuda/compare_traces.hpp"
#include "tests/device/cuda/systems.hpp"
#include "tests/device/cuda/trace.hpp"

using namespace models;

float4 data2vec::detail::gpu::shared[shared_elements];

TEST_CASE("training by wav2vec 2.0 agrees with the CPU, with micro-batches too; in bfloat16 as far as that goes") {
  compare(train_system_on_cpu("telling", 4, 1), trace<Telling>(4, 1), 1, systems_key_biases);
  compare(train_system_on_cpu("telling", 4, 2), trace<Telling>(4, 2), 2, systems_key_biases);
  compare_roughly(train_system_on_cpu("telling", 4, 1), trace<Telling, Precision::bf16>(4, 1));
}
