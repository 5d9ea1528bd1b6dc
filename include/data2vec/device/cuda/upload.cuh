// SPDX-License-Identifier: MIT
// Numbers on their way to the device, copied on a stream of their own while kernels run.
#pragma once

#include <cstddef>

#include <data2vec/device/cuda/graph.cuh>

namespace data2vec::inline v0 {

/// `size` numbers in page-locked memory and on the device. `host` may be written while no copy is under way.
template <class T>
class Upload {
 public:
  Upload() = default;
  Upload(std::size_t size, const char* what) : host_(size, what), device_(size, what) {}

  T* host() { return host_.data(); }
  const T* device() const { return device_.data(); }

  /// Copies them without waiting; the device's kernels that are launched from now on wait for the copy.
  void send(CudaContext& d, const char* operation) {
    detail::gpu::check(
        cudaMemcpyAsync(device_.data(), host_.data(), host_.size() * sizeof(T), cudaMemcpyDefault, d.copies()),
        operation);
    sent_.record(d.copies());
    sent_.hold(d.stream());
  }

 private:
  PinnedBuffer<T> host_;
  DeviceBuffer<T> device_;
  StreamEvent sent_;
};

}  // namespace data2vec::inline v0
