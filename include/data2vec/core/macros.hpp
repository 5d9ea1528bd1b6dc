// SPDX-License-Identifier: MIT
// D2V_HD marks a function that runs on the host and, under nvcc, on the device too. It is the library's one macro.
#pragma once

#if defined(__CUDACC__)
#define D2V_HD __host__ __device__
#else
#define D2V_HD
#endif

#if defined(__FAST_MATH__) || (defined(__FINITE_MATH_ONLY__) && __FINITE_MATH_ONLY__)
#error "data2vec: -ffast-math removes the checks for NaN and infinity and changes results: build without it"
#endif
