// SPDX-License-Identifier: MIT
// The CUDA device of the library: kernels, trainers and features. Needs nvcc (-std=c++20 --expt-relaxed-constexpr) and
// cuBLASLt: the CMake target data2vec::cuda. A file that nvcc compiles may include the parts that models are made of, but
// not data2vec.hpp: the CPU's vector code is beyond nvcc. Both devices work in one program, from files of their own.
#pragma once

#include <data2vec/device/cuda/all.cuh>
#include <data2vec/evaluation/cuda_features.cuh>
#include <data2vec/evaluation/cuda_probe.cuh>
#include <data2vec/finetune/cuda_finetuner.cuh>
#include <data2vec/training/cuda_trainer.cuh>
