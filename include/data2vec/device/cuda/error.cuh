// SPDX-License-Identifier: MIT
// Failures of the device as exceptions that name the operation, and owned memory on the device and beside it.
#pragma once

#include <cstddef>
#include <string>
#include <utility>

#include <cuda_runtime.h>

#include <data2vec/core/error.hpp>

namespace data2vec::inline v0 {

/// A device that is absent, too old or out of memory, or an operation that failed on it.
struct DeviceError : Error {
  using Error::Error;
};

namespace detail::gpu {

inline std::string mebibytes(std::size_t bytes) { return std::to_string((bytes + (1u << 20) - 1) >> 20) + " MiB"; }

inline std::string version_text(int version) {
  return std::to_string(version / 1000) + "." + std::to_string(version % 1000 / 10);
}

/// What is wrong, in words, where CUDA's own text leaves the reader alone.
inline std::string explain(cudaError_t status) {
  std::string text = cudaGetErrorString(status);
  if (status == cudaErrorInsufficientDriver) {
    int driver = 0, runtime = 0;
    cudaDriverGetVersion(&driver);
    cudaRuntimeGetVersion(&runtime);
    text += driver == 0 ? " (no driver was found)"
                        : " (expected a driver for CUDA " + version_text(runtime) + ", found one for CUDA " +
                              version_text(driver) + ")";
  } else if (status == cudaErrorNoKernelImageForDevice) {
    text += " (this program holds no code for the device: build it with its architecture in CMAKE_CUDA_ARCHITECTURES)";
  }
  return text;
}

/// Throws DeviceError naming the operation unless all is well.
inline void check(cudaError_t status, const char* operation) {
  if (status != cudaSuccess) throw DeviceError(std::string(operation) + ": " + explain(status));
}

/// Memory of the device. Throws DeviceError with what was asked for and what is free.
inline void* allocate_device(std::size_t bytes, const char* what) {
  void* memory = nullptr;
  const cudaError_t status = cudaMalloc(&memory, bytes);
  if (status == cudaErrorMemoryAllocation) {
    cudaGetLastError();  // the failure is answered here
    std::size_t free = 0, total = 0;
    cudaMemGetInfo(&free, &total);
    throw DeviceError(std::string(what) + ": out of device memory: expected " + mebibytes(bytes) + ", found " +
                      mebibytes(free) + " free of " + mebibytes(total));
  }
  check(status, what);
  return memory;
}

}  // namespace detail::gpu

/// `size` elements of device memory, zero at first; `what` names it in errors.
template <class T>
class DeviceBuffer {
 public:
  DeviceBuffer() = default;
  explicit DeviceBuffer(std::size_t size, const char* what = "device buffer") : size_(size) {
    if (size == 0) return;
    data_ = static_cast<T*>(detail::gpu::allocate_device(size * sizeof(T), what));
    detail::gpu::check(cudaMemset(data_, 0, size * sizeof(T)), what);
    detail::gpu::check(cudaStreamSynchronize(nullptr), what);  // the device's own stream does not wait for this one
  }
  DeviceBuffer(DeviceBuffer&& other) noexcept { swap(other); }
  DeviceBuffer& operator=(DeviceBuffer&& other) noexcept {
    swap(other);
    return *this;
  }
  ~DeviceBuffer() { cudaFree(data_); }

  T* data() { return data_; }
  const T* data() const { return data_; }
  std::size_t size() const { return size_; }

 private:
  void swap(DeviceBuffer& other) {
    std::swap(data_, other.data_);
    std::swap(size_, other.size_);
  }
  T* data_ = nullptr;
  std::size_t size_ = 0;
};

/// `size` elements of page-locked host memory, zero at first, which the device can read at the same address.
template <class T>
class PinnedBuffer {
 public:
  PinnedBuffer() = default;
  explicit PinnedBuffer(std::size_t size, const char* what = "pinned buffer") : size_(size) {
    void* memory = nullptr;
    detail::gpu::check(cudaHostAlloc(&memory, size * sizeof(T), cudaHostAllocMapped | cudaHostAllocPortable), what);
    data_ = static_cast<T*>(memory);
    for (std::size_t i = 0; i < size; ++i) data_[i] = T{};
  }
  PinnedBuffer(PinnedBuffer&& other) noexcept : data_(std::exchange(other.data_, nullptr)), size_(other.size_) {}
  PinnedBuffer& operator=(PinnedBuffer&& other) noexcept {
    std::swap(data_, other.data_);
    std::swap(size_, other.size_);
    return *this;
  }
  ~PinnedBuffer() { cudaFreeHost(data_); }

  T* data() { return data_; }
  const T* data() const { return data_; }
  std::size_t size() const { return size_; }
  T& operator[](std::size_t i) { return data_[i]; }
  const T& operator[](std::size_t i) const { return data_[i]; }

 private:
  T* data_ = nullptr;
  std::size_t size_ = 0;
};

/// Why no device can be used, or an empty string: what tests and programs print when they go without.
inline std::string why_no_device() {
  int count = 0;
  const cudaError_t status = cudaGetDeviceCount(&count);
  cudaGetLastError();
  if (status != cudaSuccess) return detail::gpu::explain(status);
  return count > 0 ? "" : "no CUDA device was found";
}

}  // namespace data2vec::inline v0
