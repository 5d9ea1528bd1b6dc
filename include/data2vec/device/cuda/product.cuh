// SPDX-License-Identifier: MIT
// Matrix products of cuBLASLt: one, or a batch of equal ones.
#pragma once

#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <string>

#include <data2vec/device/cuda/cuda.cuh>

namespace data2vec::inline v0 {

namespace detail::gpu {

/// What cuBLASLt is asked, freed in the end.
template <class Handle, cublasStatus_t (*destroy)(Handle)>
struct Owned {
  Handle handle = nullptr;
  Owned() = default;
  Owned(const Owned&) = delete;
  Owned& operator=(const Owned&) = delete;
  ~Owned() {
    if (handle) destroy(handle);
  }
};

/// Elements from one matrix of a batch to the next.
struct BatchStrides {
  std::ptrdiff_t a = 0, b = 0, c = 0;
};

class Product {
 public:
  Product(CudaContext& d, const char* operation, const ProductKey& key, const void* a, int lda, const void* b, int ldb,
          const void* bias, void* c, int ldc, const BatchStrides& strides)
      : d_(d), operation_(operation), key_(key), a_(a), b_(b), c_(c) {
    const cudaDataType_t type = key.half ? CUDA_R_16BF : CUDA_R_32F;
    elements_ = static_cast<std::size_t>(strides.c) * (key.batch - 1) + static_cast<std::size_t>(ldc) * (key.n - 1) +
                static_cast<std::size_t>(key.m);
    check(cublasLtMatmulDescCreate(&task_.handle, key.tf32 ? CUBLAS_COMPUTE_32F_FAST_TF32 : CUBLAS_COMPUTE_32F,
                                   CUDA_R_32F),
          operation);
    set(CUBLASLT_MATMUL_DESC_TRANSA, key.transposes_a ? CUBLAS_OP_T : CUBLAS_OP_N);
    set(CUBLASLT_MATMUL_DESC_TRANSB, key.transposes_b ? CUBLAS_OP_T : CUBLAS_OP_N);
    if (key.has_bias) {
      set(CUBLASLT_MATMUL_DESC_EPILOGUE, CUBLASLT_EPILOGUE_BIAS);
      set(CUBLASLT_MATMUL_DESC_BIAS_POINTER, bias);
    }
    const auto layout = [&](auto& owned, cudaDataType_t of, int rows, int columns, int ld, std::int64_t stride) {
      check(cublasLtMatrixLayoutCreate(&owned.handle, of, static_cast<std::uint64_t>(rows),
                                       static_cast<std::uint64_t>(columns), ld),
            operation);
      if (key.batch == 1) return;
      const std::int32_t batch = key.batch;
      check(cublasLtMatrixLayoutSetAttribute(owned.handle, CUBLASLT_MATRIX_LAYOUT_BATCH_COUNT, &batch, sizeof batch),
            operation);
      check(cublasLtMatrixLayoutSetAttribute(owned.handle, CUBLASLT_MATRIX_LAYOUT_STRIDED_BATCH_OFFSET, &stride,
                                             sizeof stride),
            operation);
    };
    layout(a_layout_, type, key.transposes_a ? key.k : key.m, key.transposes_a ? key.m : key.k, lda, strides.a);
    layout(b_layout_, type, key.transposes_b ? key.n : key.k, key.transposes_b ? key.k : key.n, ldb, strides.b);
    layout(c_layout_, key.wide ? CUDA_R_32F : type, key.m, key.n, ldc, strides.c);
  }

  void run(const cublasLtMatmulAlgo_t& algorithm, void* c) {
    const float one = 1, zero = 0;
    check(cublasLtMatmul(d_.blas(), task_.handle, &one, a_, a_layout_.handle, b_, b_layout_.handle,
                         key_.adds ? &one : &zero, c, c_layout_.handle, c, c_layout_.handle, &algorithm,
                         d_.workspace().data(), d_.workspace().size(), d_.stream()),
          operation_);
  }

  /// The library's candidates, best guess first.
  int candidates(std::array<cublasLtMatmulHeuristicResult_t, 8>& found, bool splits_sums) {
    Owned<cublasLtMatmulPreference_t, cublasLtMatmulPreferenceDestroy> preference;
    check(cublasLtMatmulPreferenceCreate(&preference.handle), operation_);
    const auto want = [&](cublasLtMatmulPreferenceAttributes_t what, auto value) {
      check(cublasLtMatmulPreferenceSetAttribute(preference.handle, what, &value, sizeof value), operation_);
    };
    want(CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, std::uint64_t{d_.workspace().size()});
    if (!splits_sums)
      want(CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK, static_cast<std::uint32_t>(CUBLASLT_REDUCTION_SCHEME_NONE));
    for (const auto what : {CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES,
                            CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES})
      want(what, std::uint32_t{key_.alignment});
    int count = 0;
    const cublasStatus_t status = cublasLtMatmulAlgoGetHeuristic(
        d_.blas(), task_.handle, a_layout_.handle, b_layout_.handle, c_layout_.handle, c_layout_.handle,
        preference.handle, static_cast<int>(found.size()), found.data(), &count);
    if (status != CUBLAS_STATUS_SUCCESS || count == 0)
      throw DeviceError(std::string(operation_) + ": cuBLASLt has no algorithm for a product of " +
                        std::to_string(key_.m) + " x " + std::to_string(key_.k) + " x " + std::to_string(key_.n));
    return count;
  }

  /// The fastest of some runs each; the result of a product that adds goes to memory of its own.
  cublasLtMatmulAlgo_t fastest() {
    std::array<cublasLtMatmulHeuristicResult_t, 8> found;
    const int count = candidates(found, true);
    const std::size_t bytes = (key_.half && !key_.wide ? 2 : 4) * elements_;
    DeviceBuffer<std::byte> own(key_.adds ? bytes : 0, operation_);
    void* const c = key_.adds ? static_cast<void*>(own.data()) : c_;
    struct Event {
      cudaEvent_t event = nullptr;
      Event() { check(cudaEventCreate(&event), "linear"); }
      Event(const Event&) = delete;
      Event& operator=(const Event&) = delete;
      ~Event() { cudaEventDestroy(event); }
    } start, stop;
    int best = 0;
    float best_time = INFINITY;
    for (int i = 0; i < count; ++i) {
      const auto& algorithm = found[static_cast<std::size_t>(i)].algo;
      run(algorithm, c);
      check(cudaEventRecord(start.event, d_.stream()), operation_);
      for (int k = 0; k < 3; ++k) run(algorithm, c);
      check(cudaEventRecord(stop.event, d_.stream()), operation_);
      d_.synchronize(operation_);
      float time = 0;
      check(cudaEventElapsedTime(&time, start.event, stop.event), operation_);
      if (time < best_time) best_time = time, best = i;
    }
    return found[static_cast<std::size_t>(best)].algo;
  }

  /// Whether an algorithm that was chosen for other rows does for these.
  bool runs_by(const cublasLtMatmulAlgo_t& algorithm) {
    cublasLtMatmulHeuristicResult_t result;
    return cublasLtMatmulAlgoCheck(d_.blas(), task_.handle, a_layout_.handle, b_layout_.handle, c_layout_.handle,
                                   c_layout_.handle, &algorithm, &result) == CUBLAS_STATUS_SUCCESS &&
           result.workspaceSize <= d_.workspace().size();
  }

  cublasLtMatmulAlgo_t first_without_split() {
    std::array<cublasLtMatmulHeuristicResult_t, 8> found;
    candidates(found, false);
    return found[0].algo;
  }

 private:
  template <class V>
  void set(cublasLtMatmulDescAttributes_t what, V value) {
    check(cublasLtMatmulDescSetAttribute(task_.handle, what, &value, sizeof value), operation_);
  }

  CudaContext& d_;
  const char* operation_;
  ProductKey key_;
  const void *a_, *b_;
  void* c_;
  std::size_t elements_ = 0;  // of c, from its first to its last
  Owned<cublasLtMatmulDesc_t, cublasLtMatmulDescDestroy> task_;
  Owned<cublasLtMatrixLayout_t, cublasLtMatrixLayoutDestroy> a_layout_, b_layout_, c_layout_;
};

/// The largest power of two, at most 16, that divides all numbers: more brings nothing, and would choose by the place
/// of a row.
template <class... N>
constexpr unsigned common_alignment(N... bytes) {
  const auto bits = (static_cast<std::uintptr_t>(bytes) | ... | 16u);
  return static_cast<unsigned>(bits & (~bits + 1));
}

/// c = a b (+ bias by rows of c, + c), column-major; `bias` may be null. c may be fp32 where a and b are half.
template <Precision P, class T, class U>
void product(CudaContext& d, const char* operation, ProductKey key, const T* a, int lda, const T* b, int ldb,
             const T* bias, U* c, int ldc, const BatchStrides& strides = {}) {
  if (key.m == 0 || key.n == 0 || key.batch == 0 || (key.k == 0 && key.adds)) return;
  constexpr auto in = static_cast<int>(sizeof(T)), out = static_cast<int>(sizeof(U));
  const auto address = [](const void* p) { return reinterpret_cast<std::uintptr_t>(p); };
  key.has_bias = bias != nullptr;
  key.half = in == 2;
  key.wide = out > in;
  key.tf32 = P == Precision::tf32 && !key.half;
  key.alignment = common_alignment(address(a), address(b), address(c), address(bias), in * lda, in * ldb, out * ldc,
                                   in * strides.a, in * strides.b, out * strides.c);
  ProductKey asked = key;
  constexpr int typical_rows = 4096;
  if (d.options().deterministic) asked.batch = 1;
  if (d.options().deterministic && key.rows_are_n) asked.n = typical_rows;
  Product task(d, operation, key, a, lda, b, ldb, bias, c, ldc, strides);
  auto& known = d.algorithms();
  const auto choose = [&](const ProductKey& wanted) {
    if (d.capturing())
      throw DeviceError(std::string(operation) +
                        ": a product that was not run before is captured: run the step once before it is captured");
    if (!d.options().deterministic) return known.add(wanted, task.fastest());
    Product one(d, operation, wanted, a, lda, b, ldb, bias, c, ldc, strides);
    return known.add(wanted, one.first_without_split());
  };
  auto found = known.find(asked);
  if (!found) found = choose(asked);
  if (asked != key && !task.runs_by(*found)) {
    found = known.find(key);
    if (!found) found = choose(key);
  }
  task.run(*found, c);
  d.done(operation);
}

}  // namespace detail::gpu
}  // namespace data2vec::inline v0
