// SPDX-License-Identifier: MIT
// A stretch of work on a device's stream, captured once and replayed.
#pragma once

#include <data2vec/device/cuda/cuda.cuh>

namespace data2vec::inline v0 {

class CapturedWork {
 public:
  CapturedWork() = default;
  CapturedWork(const CapturedWork&) = delete;
  CapturedWork& operator=(const CapturedWork&) = delete;
  ~CapturedWork() { reset(); }

  explicit operator bool() const { return executable_ != nullptr; }
  std::size_t nodes() const { return nodes_; }

  /// Captures what `work` puts on the stream of `d`; nothing of it runs yet. What it throws ends the capture.
  template <class F>
  void capture(CudaContext& d, F&& work) {
    reset();
    detail::gpu::check(cudaStreamBeginCapture(d.stream(), cudaStreamCaptureModeThreadLocal), "capture");
    cudaGraph_t graph = nullptr;
    try {
      work();
    } catch (...) {
      cudaStreamEndCapture(d.stream(), &graph);
      cudaGraphDestroy(graph);
      cudaGetLastError();
      throw;
    }
    detail::gpu::check(cudaStreamEndCapture(d.stream(), &graph), "capture");
    cudaGraphGetNodes(graph, nullptr, &nodes_);
    const cudaError_t status = cudaGraphInstantiate(&executable_, graph, 0);
    cudaGraphDestroy(graph);
    detail::gpu::check(status, "capture");
  }

  void launch(CudaContext& d) { detail::gpu::check(cudaGraphLaunch(executable_, d.stream()), "captured step"); }

  void reset() {
    if (executable_) cudaGraphExecDestroy(executable_);
    executable_ = nullptr;
  }

 private:
  cudaGraphExec_t executable_ = nullptr;
  std::size_t nodes_ = 0;
};

/// A place in a stream that the host, or another stream, can wait for.
class StreamEvent {
 public:
  StreamEvent() { detail::gpu::check(cudaEventCreateWithFlags(&event_, cudaEventDisableTiming), "event"); }
  StreamEvent(StreamEvent&& other) noexcept : event_(std::exchange(other.event_, nullptr)) {}
  StreamEvent& operator=(StreamEvent&& other) noexcept {
    std::swap(event_, other.event_);
    return *this;
  }
  ~StreamEvent() {
    if (event_) cudaEventDestroy(event_);
  }
  void record(cudaStream_t stream) { detail::gpu::check(cudaEventRecord(event_, stream), "event"); }
  /// What is put into `stream` from now on runs behind it.
  void hold(cudaStream_t stream) { detail::gpu::check(cudaStreamWaitEvent(stream, event_, 0), "event"); }
  /// Throws DeviceError naming `operation` if what came before failed.
  void wait(const char* operation) { detail::gpu::check(cudaEventSynchronize(event_), operation); }

 private:
  cudaEvent_t event_ = nullptr;
};

}  // namespace data2vec::inline v0
