// SPDX-License-Identifier: MIT
// How long each operation of a stream took: an event behind every one of them.
#pragma once

#include <algorithm>
#include <cstddef>
#include <string>
#include <vector>

#include <cuda_runtime.h>

#include <data2vec/device/cuda/error.cuh>

namespace data2vec::inline v0 {

/// All calls of one operation.
struct OperationTime {
  std::string operation;
  int calls = 0;
  double seconds = 0;  ///< on the device, with the gap before it
};

namespace detail::gpu {

class Stopwatch {
 public:
  Stopwatch() = default;
  Stopwatch(const Stopwatch&) = delete;
  Stopwatch& operator=(const Stopwatch&) = delete;
  ~Stopwatch() {
    for (const Mark& mark : marks_) cudaEventDestroy(mark.event);
  }

  /// The end of `operation`, a literal: it began where the one before it ended. Null: no operation, what was before is
  /// nobody's.
  void mark(cudaStream_t stream, const char* operation) {
    if (used_ == marks_.size()) {
      marks_.push_back({});
      check(cudaEventCreate(&marks_.back().event), "stopwatch");
    }
    marks_[used_].operation = operation;
    check(cudaEventRecord(marks_[used_++].event, stream), "stopwatch");
  }

  /// The longest first; forgets them. The stream must be idle.
  std::vector<OperationTime> times() {
    std::vector<OperationTime> all;
    for (std::size_t i = 1; i < used_; ++i) {
      if (!marks_[i].operation) continue;
      float milliseconds = 0;
      check(cudaEventElapsedTime(&milliseconds, marks_[i - 1].event, marks_[i].event), "stopwatch");
      auto found = std::find_if(all.begin(), all.end(),
                                [&](const OperationTime& t) { return t.operation == marks_[i].operation; });
      if (found == all.end()) found = all.insert(found, {marks_[i].operation});
      found->calls += 1;
      found->seconds += 1e-3 * static_cast<double>(milliseconds);
    }
    std::sort(all.begin(), all.end(), [](const auto& a, const auto& b) { return a.seconds > b.seconds; });
    used_ = 0;
    return all;
  }

 private:
  struct Mark {
    cudaEvent_t event = nullptr;
    const char* operation = nullptr;
  };
  std::vector<Mark> marks_;
  std::size_t used_ = 0;
};

}  // namespace detail::gpu
}  // namespace data2vec::inline v0
