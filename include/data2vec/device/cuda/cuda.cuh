// SPDX-License-Identifier: MIT
// The GPU as a device: one stream, a cuBLASLt handle with its workspace, scratch memory of the kernels. Pointers given
// to its operations are device memory. Operations are asynchronous; they allocate only while their scratch grows.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <tuple>
#include <type_traits>
#include <vector>

#include <cublasLt.h>
#include <cuda_bf16.h>
#include <cuda_runtime.h>

#include <data2vec/core/macros.hpp>
#include <data2vec/device/cuda/algorithms.cuh>
#include <data2vec/device/cuda/error.cuh>
#include <data2vec/device/cuda/stopwatch.cuh>
#include <data2vec/device/device.hpp>

namespace data2vec::inline v0 {

/// What a step's arrays are, and how matrix products are computed. Everything else is computed in fp32 whatever the
/// type of the arrays; weights, their moments and the teacher are kept in fp32 too.
enum class Precision {
  fp32,  ///< float, as they are
  tf32,  ///< float, factors rounded to 10 bits of mantissa, sums in fp32
  bf16,  ///< bfloat16 values, gradients and copies of the weights, sums in fp32
};

struct CudaOptions {
  int device = 0;
  bool deterministic = false;  ///< matrix products: no timing, no split sums, one algorithm whatever the rows
  bool check_each = false;     ///< wait behind every operation, so that a failure is named by the one that caused it
  bool time_each = false;      ///< keep the time of every operation (`operation_times`); steps are not captured then
  std::size_t workspace_bytes = std::size_t{32} << 20;  ///< of cuBLASLt
};

namespace detail::gpu {

template <class F>
__global__ void for_each_kernel(std::size_t count, F f) {
  const std::size_t step = std::size_t{gridDim.x} * blockDim.x;
  for (std::size_t i = std::size_t{blockIdx.x} * blockDim.x + threadIdx.x; i < count; i += step) f(i);
}

inline void check(cublasStatus_t status, const char* operation) {
  if (status != CUBLAS_STATUS_SUCCESS)
    throw DeviceError(std::string(operation) + ": cuBLASLt: " + cublasLtGetStatusString(status));
}

}  // namespace detail::gpu

/// What all precisions share. Not copied, not moved; one thread uses it at a time.
class CudaContext {
 public:
  explicit CudaContext(const CudaOptions& options = {}) : options_(options) {
    using detail::gpu::check;
    int count = 0;
    check(cudaGetDeviceCount(&count), "cuda");
    if (options.device < 0 || options.device >= count)
      throw DeviceError("cuda: expected a device below " + std::to_string(count) + ", found " +
                        std::to_string(options.device));
    check(cudaSetDevice(options.device), "cuda");
    cudaDeviceProp properties;
    check(cudaGetDeviceProperties(&properties, options.device), "cuda");
    if (properties.major < 8)
      throw DeviceError("cuda: " + std::string(properties.name) + ": expected compute capability 8.0 or later, found " +
                        std::to_string(properties.major) + "." + std::to_string(properties.minor));
    multiprocessors_ = properties.multiProcessorCount;
    shared_limit_ = properties.sharedMemPerBlockOptin;
    check(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking), "cuda");
    check(cudaStreamCreateWithFlags(&copies_, cudaStreamNonBlocking), "cuda");
    check(cublasLtCreate(&blas_), "cuda");
    workspace_ = DeviceBuffer<std::byte>(options.workspace_bytes, "cuda: workspace of cuBLASLt");
    sums_ = DeviceBuffer<double>(most_sums, "cuda: sums");
    clock_ = DeviceBuffer<std::uint32_t>(1, "cuda: clock");
    returned_ = PinnedBuffer<double>(most_sums, "cuda: sums");
  }
  CudaContext(const CudaContext&) = delete;
  CudaContext& operator=(const CudaContext&) = delete;
  ~CudaContext() {
    cudaStreamSynchronize(stream_);
    cublasLtDestroy(blas_);
    cudaStreamSynchronize(copies_);
    cudaStreamDestroy(stream_);
    cudaStreamDestroy(copies_);
  }

  cudaStream_t stream() const { return stream_; }
  cudaStream_t copies() const { return copies_; }  ///< for copies from the host that run beside the kernels
  const CudaOptions& options() const { return options_; }
  int multiprocessors() const { return multiprocessors_; }
  std::size_t shared_limit() const { return shared_limit_; }  ///< bytes of shared memory of a block

  /// Waits for everything before. Throws DeviceError naming `operation` if any of it failed.
  void synchronize(const char* operation) {
    const cudaError_t status = cudaStreamSynchronize(stream_);
    if (status != cudaSuccess)
      throw DeviceError(
          std::string(operation) + ": " + detail::gpu::explain(status) +
          (options_.check_each ? "" : " (in it or in an operation before: CudaOptions::check_each names it)"));
  }

  /// Runs a kernel; an empty grid runs nothing.
  template <class... P, class... A>
  void launch(const char* operation, dim3 grid, dim3 block, std::size_t shared, void (*kernel)(P...), A... arguments) {
    if (grid.x == 0 || grid.y == 0 || grid.z == 0) return;
    if (shared > 48 * 1024) {
      if (shared > shared_limit_)
        throw DeviceError(std::string(operation) + ": expected " + std::to_string(shared) +
                          " bytes of shared memory for a block, found " + std::to_string(shared_limit_));
      detail::gpu::check(cudaFuncSetAttribute(reinterpret_cast<const void*>(kernel),
                                              cudaFuncAttributeMaxDynamicSharedMemorySize, static_cast<int>(shared)),
                         operation);
    }
    std::tuple<P...> values(static_cast<P>(arguments)...);
    std::apply(
        [&](P&... value) {
          void* pointers[] = {&value...};
          detail::gpu::check(cudaLaunchKernel(kernel, grid, block, pointers, shared, stream_), operation);
        },
        values);
    done(operation);
  }

  /// f(i) for i in [0, count), f a functor for the device.
  template <class F>
  void for_each(const char* operation, std::size_t count, F f) {
    const std::size_t blocks = (count + 255) / 256, most = static_cast<std::size_t>(multiprocessors_) * 32;
    launch(operation, static_cast<unsigned>(blocks < most ? blocks : most), 256, 0, &detail::gpu::for_each_kernel<F>,
           count, f);
  }

  void copy(const char* operation, void* to, const void* from, std::size_t bytes) {
    detail::gpu::check(cudaMemcpyAsync(to, from, bytes, cudaMemcpyDefault, stream_), operation);
    done(operation);
  }
  void zero(const char* operation, void* memory, std::size_t bytes) {
    detail::gpu::check(cudaMemsetAsync(memory, 0, bytes, stream_), operation);
    done(operation);
  }

  /// For operations that put work into the stream by themselves, behind it.
  void done(const char* operation) {
    if (options_.check_each) synchronize(operation);
    if (options_.time_each) stopwatch_.mark(stream_, operation);
  }
  /// Where the stream has waited for the host: with `time_each` that time is no operation's.
  void begin() {
    if (options_.time_each) stopwatch_.mark(stream_, nullptr);
  }
  /// With `time_each`: seconds and calls by operation since the last call of this, the longest first. It waits.
  std::vector<OperationTime> operation_times() {
    synchronize("operation_times");
    return stopwatch_.times();
  }

  bool capturing() const {
    cudaStreamCaptureStatus status = cudaStreamCaptureStatusNone;
    detail::gpu::check(cudaStreamIsCapturing(stream_, &status), "cuda");
    return status != cudaStreamCaptureStatusNone;
  }

  /// Memory of the operation that asks for it, until the next one asks. It grows outside of captures.
  template <class T>
  T* scratch(const char* operation, std::size_t count) {
    const std::size_t bytes = count * sizeof(T);
    if (bytes > scratch_.size()) {
      if (capturing())
        throw DeviceError(std::string(operation) + ": scratch memory would grow by " + detail::gpu::mebibytes(bytes) +
                          " during a capture: run the step once before it is captured");
      synchronize(operation);
      scratch_ = {};
      scratch_ = DeviceBuffer<std::byte>((bytes + 255) / 256 * 256, operation);
    }
    return reinterpret_cast<T*>(scratch_.data());
  }

  /// Operations that return sums wait for them. Between `defer_sums` and `return_sums` they return 0 and add to the
  /// slots of `deferred_sums()` instead, one after the other from slot 0, so that nothing waits and steps can be
  /// captured.
  void defer_sums() { deferred_ = true, next_sum_ = 0; }
  void return_sums() { deferred_ = false; }
  double* deferred_sums() { return sums_.data() + 1; }
  static constexpr int most_sums = 64;

  /// For operations: where their `n` sums go, and whether they are added there.
  double* sum_slots(int n) {
    if (!deferred_) return sums_.data();
    if (next_sum_ + n > most_sums - 1) throw DeviceError("cuda: more sums than slots between two steps");
    next_sum_ += n;
    return sums_.data() + 1 + next_sum_ - n;
  }
  bool adds_sums() const { return deferred_; }
  /// For operations: the sums in `slots` on the host, zeros if they are deferred.
  const double* returned_sums(const char* operation, const double* slots, int n) {
    if (deferred_) {
      for (int i = 0; i < n; ++i) returned_[static_cast<std::size_t>(i)] = 0;
    } else {
      copy(operation, returned_.data(), slots, static_cast<std::size_t>(n) * sizeof(double));
      synchronize(operation);
    }
    return returned_.data();
  }

  /// Added to the update of every draw when kernels run, so that a captured step draws anew: device memory, 0 at first.
  std::uint32_t* clock() { return clock_.data(); }

  cublasLtHandle_t blas() const { return blas_; }
  Algorithms& algorithms() { return algorithms_; }
  DeviceBuffer<std::byte>& workspace() { return workspace_; }

 private:
  CudaOptions options_;
  int multiprocessors_ = 0, next_sum_ = 0;
  std::size_t shared_limit_ = 0;
  bool deferred_ = false;
  cudaStream_t stream_ = nullptr, copies_ = nullptr;
  cublasLtHandle_t blas_ = nullptr;
  Algorithms algorithms_;
  detail::gpu::Stopwatch stopwatch_;
  DeviceBuffer<std::byte> workspace_, scratch_;
  DeviceBuffer<double> sums_;
  DeviceBuffer<std::uint32_t> clock_;
  PinnedBuffer<double> returned_;
};

/// The device of kernels and layers: `Trainer<Model, Cuda, batch>`.
template <Precision P>
class BasicCuda : public CudaContext {
 public:
  static constexpr bool is_device = true;
  static constexpr Precision precision = P;
  using Number = std::conditional_t<P == Precision::bf16, __nv_bfloat16, float>;  ///< of a step's arrays
  using CudaContext::CudaContext;
};

using Cuda = BasicCuda<Precision::bf16>;

}  // namespace data2vec::inline v0
