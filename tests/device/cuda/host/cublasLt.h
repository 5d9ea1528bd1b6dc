// SPDX-License-Identifier: MIT
// The matrix product of the device made of the host: what the library asks of cuBLASLt, as three loops in double.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>

#include <cuda_bf16.h>
#include <cuda_runtime.h>

enum cublasStatus_t { CUBLAS_STATUS_SUCCESS, CUBLAS_STATUS_INVALID_VALUE };
enum cublasComputeType_t { CUBLAS_COMPUTE_32F, CUBLAS_COMPUTE_32F_FAST_TF32 };
enum cublasOperation_t { CUBLAS_OP_N, CUBLAS_OP_T };
enum cublasLtEpilogue_t { CUBLASLT_EPILOGUE_DEFAULT, CUBLASLT_EPILOGUE_BIAS };
enum cublasLtMatmulDescAttributes_t {
  CUBLASLT_MATMUL_DESC_TRANSA,
  CUBLASLT_MATMUL_DESC_TRANSB,
  CUBLASLT_MATMUL_DESC_EPILOGUE,
  CUBLASLT_MATMUL_DESC_BIAS_POINTER,
};
enum cublasLtMatmulPreferenceAttributes_t {
  CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES,
  CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK,
  CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES,
  CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES,
  CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES,
  CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES,
};
enum cublasLtMatrixLayoutAttribute_t {
  CUBLASLT_MATRIX_LAYOUT_BATCH_COUNT,
  CUBLASLT_MATRIX_LAYOUT_STRIDED_BATCH_OFFSET,
};
enum { CUBLASLT_REDUCTION_SCHEME_NONE = 0 };
struct cublasLtMatmulAlgo_t {
  int id = 0;
};
struct cublasLtMatmulHeuristicResult_t {
  cublasLtMatmulAlgo_t algo;
  std::size_t workspaceSize = 0;
};
struct HostProduct {
  cublasOperation_t a = CUBLAS_OP_N, b = CUBLAS_OP_N;
  cublasLtEpilogue_t epilogue = CUBLASLT_EPILOGUE_DEFAULT;
  const void* bias = nullptr;
};
struct HostLayout {
  cudaDataType_t type;
  std::uint64_t rows, columns;
  std::int64_t ld, stride = 0;
  std::int32_t batch = 1;
};
using cublasLtHandle_t = int*;
using cublasLtMatmulDesc_t = HostProduct*;
using cublasLtMatrixLayout_t = HostLayout*;
using cublasLtMatmulPreference_t = int*;

inline const char* cublasLtGetStatusString(cublasStatus_t) { return "a status"; }
inline cublasStatus_t cublasLtCreate(cublasLtHandle_t* h) { return *h = new int, CUBLAS_STATUS_SUCCESS; }
inline cublasStatus_t cublasLtDestroy(cublasLtHandle_t h) { return delete h, CUBLAS_STATUS_SUCCESS; }
inline cublasStatus_t cublasLtMatmulDescCreate(cublasLtMatmulDesc_t* d, cublasComputeType_t, cudaDataType_t) {
  return *d = new HostProduct, CUBLAS_STATUS_SUCCESS;
}
inline cublasStatus_t cublasLtMatmulDescDestroy(cublasLtMatmulDesc_t d) { return delete d, CUBLAS_STATUS_SUCCESS; }
inline cublasStatus_t cublasLtMatmulDescSetAttribute(cublasLtMatmulDesc_t d, cublasLtMatmulDescAttributes_t what,
                                                     const void* value, std::size_t size) {
  void* const to = what == CUBLASLT_MATMUL_DESC_TRANSA     ? static_cast<void*>(&d->a)
                   : what == CUBLASLT_MATMUL_DESC_TRANSB   ? static_cast<void*>(&d->b)
                   : what == CUBLASLT_MATMUL_DESC_EPILOGUE ? static_cast<void*>(&d->epilogue)
                                                           : static_cast<void*>(&d->bias);
  return std::memcpy(to, value, size), CUBLAS_STATUS_SUCCESS;
}
inline cublasStatus_t cublasLtMatrixLayoutCreate(cublasLtMatrixLayout_t* l, cudaDataType_t type, std::uint64_t rows,
                                                 std::uint64_t columns, std::int64_t ld) {
  return *l = new HostLayout{type, rows, columns, ld}, CUBLAS_STATUS_SUCCESS;
}
inline cublasStatus_t cublasLtMatrixLayoutSetAttribute(cublasLtMatrixLayout_t l, cublasLtMatrixLayoutAttribute_t what,
                                                       const void* value, std::size_t size) {
  void* const to = what == CUBLASLT_MATRIX_LAYOUT_BATCH_COUNT ? static_cast<void*>(&l->batch) : &l->stride;
  return std::memcpy(to, value, size), CUBLAS_STATUS_SUCCESS;
}
inline cublasStatus_t cublasLtMatrixLayoutDestroy(cublasLtMatrixLayout_t l) { return delete l, CUBLAS_STATUS_SUCCESS; }
inline cublasStatus_t cublasLtMatmulPreferenceCreate(cublasLtMatmulPreference_t* p) {
  return *p = new int, CUBLAS_STATUS_SUCCESS;
}
inline cublasStatus_t cublasLtMatmulPreferenceDestroy(cublasLtMatmulPreference_t p) {
  return delete p, CUBLAS_STATUS_SUCCESS;
}
inline cublasStatus_t cublasLtMatmulPreferenceSetAttribute(cublasLtMatmulPreference_t,
                                                           cublasLtMatmulPreferenceAttributes_t, const void*,
                                                           std::size_t) {
  return CUBLAS_STATUS_SUCCESS;
}
/// As the library: the dimensions of the operands must fit.
inline bool host_product_fits(const HostProduct& d, const HostLayout& a, const HostLayout& b, const HostLayout& c) {
  const bool at = d.a == CUBLAS_OP_T, bt = d.b == CUBLAS_OP_T;
  const auto leading = [](const HostLayout& l) { return l.ld >= static_cast<std::int64_t>(l.rows); };
  return (at ? a.columns : a.rows) == c.rows && (bt ? b.rows : b.columns) == c.columns &&
         (at ? a.rows : a.columns) == (bt ? b.columns : b.rows) && leading(a) && leading(b) && leading(c) &&
         a.batch == c.batch && b.batch == c.batch;
}
inline cublasStatus_t cublasLtMatmulAlgoGetHeuristic(cublasLtHandle_t, cublasLtMatmulDesc_t d, cublasLtMatrixLayout_t a,
                                                     cublasLtMatrixLayout_t b, cublasLtMatrixLayout_t c,
                                                     cublasLtMatrixLayout_t, cublasLtMatmulPreference_t, int,
                                                     cublasLtMatmulHeuristicResult_t* found, int* count) {
  if (!host_product_fits(*d, *a, *b, *c)) return CUBLAS_STATUS_INVALID_VALUE;
  found[0] = {};
  return *count = 1, CUBLAS_STATUS_SUCCESS;
}
inline cublasStatus_t cublasLtMatmulAlgoCheck(cublasLtHandle_t, cublasLtMatmulDesc_t d, cublasLtMatrixLayout_t a,
                                              cublasLtMatrixLayout_t b, cublasLtMatrixLayout_t c,
                                              cublasLtMatrixLayout_t, const cublasLtMatmulAlgo_t*,
                                              cublasLtMatmulHeuristicResult_t* result) {
  result->workspaceSize = 0;
  return host_product_fits(*d, *a, *b, *c) ? CUBLAS_STATUS_SUCCESS : CUBLAS_STATUS_INVALID_VALUE;
}
inline cublasStatus_t cublasLtMatmul(cublasLtHandle_t, cublasLtMatmulDesc_t d, const void* alpha, const void* a,
                                     cublasLtMatrixLayout_t al, const void* b, cublasLtMatrixLayout_t bl,
                                     const void* beta, const void*, cublasLtMatrixLayout_t cl, void* c,
                                     cublasLtMatrixLayout_t, const cublasLtMatmulAlgo_t*, void*, std::size_t,
                                     cudaStream_t stream) {
  if (!host_product_fits(*d, *al, *bl, *cl)) return CUBLAS_STATUS_INVALID_VALUE;
  const double scale = static_cast<double>(*static_cast<const float*>(alpha)),
               keep = static_cast<double>(*static_cast<const float*>(beta));
  host_device::put(stream, [=, task = *d, x = *al, y = *bl, z = *cl] {
    const auto get = [](cudaDataType_t type, const void* p, std::int64_t i) {
      return static_cast<double>(type == CUDA_R_16BF ? __bfloat162float(static_cast<const __nv_bfloat16*>(p)[i])
                                                     : static_cast<const float*>(p)[i]);
    };
    const auto k = static_cast<std::int64_t>(task.a == CUBLAS_OP_T ? x.rows : x.columns);
    for (std::int64_t r = 0; r < z.batch; ++r)
      for (std::int64_t j = 0; j < static_cast<std::int64_t>(z.columns); ++j)
        for (std::int64_t i = 0; i < static_cast<std::int64_t>(z.rows); ++i) {
          double sum = 0;
          for (std::int64_t p = 0; p < k; ++p)
            sum += get(x.type, a, r * x.stride + (task.a == CUBLAS_OP_T ? p + i * x.ld : i + p * x.ld)) *
                   get(y.type, b, r * y.stride + (task.b == CUBLAS_OP_T ? j + p * y.ld : p + j * y.ld));
          const std::int64_t at = r * z.stride + i + j * z.ld;
          sum = scale * sum + (keep == 0 ? 0 : keep * get(z.type, c, at));
          if (task.epilogue == CUBLASLT_EPILOGUE_BIAS) sum += get(x.type, task.bias, i);
          if (z.type == CUDA_R_16BF)
            static_cast<__nv_bfloat16*>(c)[at] = __float2bfloat16(static_cast<float>(sum));
          else
            static_cast<float*>(c)[at] = static_cast<float>(sum);
        }
  });
  return CUBLAS_STATUS_SUCCESS;
}
