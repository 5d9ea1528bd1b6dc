// SPDX-License-Identifier: MIT
// For a file of kernels on the device made of the host that is compiled as it is: the shared memory of its blocks.
#pragma once

#include <cuda_runtime.h>

float4 data2vec::detail::gpu::shared[shared_elements];
