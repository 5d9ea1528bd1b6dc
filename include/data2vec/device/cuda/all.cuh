// SPDX-License-Identifier: MIT
// Every kernel of the GPU.
#pragma once

#include <data2vec/device/cuda/adam.cuh>
#include <data2vec/device/cuda/alibi.cuh>
#include <data2vec/device/cuda/attention.cuh>
#include <data2vec/device/cuda/classify.cuh>
#include <data2vec/device/cuda/contrast.cuh>
#include <data2vec/device/cuda/conv.cuh>
#include <data2vec/device/cuda/ctc.cuh>
#include <data2vec/device/cuda/cuda.cuh>
#include <data2vec/device/cuda/dropout.cuh>
#include <data2vec/device/cuda/elementwise.cuh>
#include <data2vec/device/cuda/embedding.cuh>
#include <data2vec/device/cuda/gelu.cuh>
#include <data2vec/device/cuda/linear.cuh>
#include <data2vec/device/cuda/norm.cuh>
#include <data2vec/device/cuda/patches.cuh>
#include <data2vec/device/cuda/quantise.cuh>
#include <data2vec/device/cuda/reduce.cuh>
#include <data2vec/device/cuda/strided_conv.cuh>
#include <data2vec/device/cuda/time_norm.cuh>
#include <data2vec/device/cuda/weight_norm.cuh>
