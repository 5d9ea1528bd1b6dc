// SPDX-License-Identifier: MIT
// Batches made ahead by threads. What a batch holds is a function of its number alone, so nothing depends on how many
// are made ahead, by how many threads, or when.
#pragma once

#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <functional>
#include <limits>
#include <mutex>
#include <span>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <data2vec/core/buffer.hpp>
#include <data2vec/core/error.hpp>

namespace data2vec::inline v0 {

/// How batches are made ahead.
struct PrefetchOptions {
  int depth = 2;            ///< batches ahead of the one in use; 0: made when asked for, without a thread
  int threads = 1;          ///< no more than `depth` are started
  std::uint64_t first = 0;  ///< number of the first batch: where an interrupted run goes on
  std::uint64_t end = std::numeric_limits<std::uint64_t>::max();  ///< one past the last batch
  int beside = 1;           ///< numbers beside each sample: its id, and what else `fill` writes
};

/// A batch, valid until the next call of Prefetcher::next().
template <class T>
struct BasicPrefetchedBatch {
  std::uint64_t index = 0;
  std::span<const T> samples;          ///< (n, sample_size)
  std::span<const std::uint32_t> ids;  ///< (n) or, with more beside the samples, (beside, n)
};
using PrefetchedBatch = BasicPrefetchedBatch<float>;

/// A ring of depth + 1 batches, filled by threads and read in order. Nothing is allocated after the constructor.
template <class T>
class BasicPrefetcher {
 public:
  /// Writes batch `index`: (n, sample_size) elements and n ids. Every thread has a copy of its own, so it may hold
  /// scratch memory; what it writes must be a function of `index`.
  using Fill = std::function<void(std::uint64_t index, T* samples, std::uint32_t* ids)>;

  /// `count` samples of `sample_size` numbers in a batch. Throws OptionError.
  BasicPrefetcher(int count, std::size_t sample_size, Fill fill, const PrefetchOptions& options = {})
      : fill_(std::move(fill)), end_(options.end), wanted_(options.first), claimed_(wanted_), in_use_(wanted_) {
    const auto expect = [](bool good, const char* what, const char* expected, std::int64_t found) {
      if (!good)
        throw OptionError(std::string("Prefetcher: ") + what + ": expected " + expected + ", found " +
                          std::to_string(found));
    };
    expect(count >= 1, "samples in a batch", "1 or more", count);
    expect(sample_size >= 1, "sample_size", "1 or more", static_cast<std::int64_t>(sample_size));
    expect(options.depth >= 0, "PrefetchOptions::depth", "0 or more", options.depth);
    expect(options.threads >= 1, "PrefetchOptions::threads", "1 or more", options.threads);
    expect(options.beside >= 1, "PrefetchOptions::beside", "1 or more", options.beside);
    expect(static_cast<bool>(fill_), "fill", "a function", 0);
    const auto n = static_cast<std::size_t>(count), beside = n * static_cast<std::size_t>(options.beside);
    ring_.resize(static_cast<std::size_t>(options.depth) + 1);
    for (Slot& slot : ring_) slot.samples = Buffer<T>(n * sample_size), slot.ids = Buffer<std::uint32_t>(beside);
    const int threads = options.threads < options.depth ? options.threads : options.depth;
    threads_.reserve(static_cast<std::size_t>(threads));
    try {
      for (int i = 0; i < threads; ++i) threads_.emplace_back([this, own = fill_] { work(own); });
    } catch (...) {
      stop();
      throw;
    }
  }

  BasicPrefetcher(const BasicPrefetcher&) = delete;
  BasicPrefetcher& operator=(const BasicPrefetcher&) = delete;
  ~BasicPrefetcher() { stop(); }

  /// The next batch, in order. What `fill` throws for a batch is thrown here when that batch is due, and again by every
  /// later call. Throws OptionError at the end. For one thread at a time.
  BasicPrefetchedBatch<T> next() {
    if (failure_) std::rethrow_exception(failure_);
    if (wanted_ >= end_)
      throw OptionError("Prefetcher: expected at most " + std::to_string(end_) + " batches, found a request for more");
    Slot& slot = ring_[wanted_ % ring_.size()];
    if (threads_.empty()) {
      make(fill_, wanted_, slot);
    } else {
      std::unique_lock lock(mutex_);
      in_use_ = wanted_;  // the slot of the batch before is free from here on
      room_.notify_all();
      ready_.wait(lock, [&] { return slot.done && slot.index == wanted_; });
    }
    if (slot.failure) {
      failure_ = slot.failure;
      stop();
      std::rethrow_exception(failure_);
    }
    return {wanted_++, {slot.samples.data(), slot.samples.size()}, {slot.ids.data(), slot.ids.size()}};
  }

 private:
  struct Slot {
    Buffer<T> samples;
    Buffer<std::uint32_t> ids;
    std::uint64_t index = 0;
    bool done = false;
    std::exception_ptr failure;
  };

  static void make(const Fill& fill, std::uint64_t index, Slot& slot) {
    try {
      fill(index, slot.samples.data(), slot.ids.data());
    } catch (...) {
      slot.failure = std::current_exception();
    }
  }

  void work(const Fill& fill) {
    std::unique_lock lock(mutex_);
    for (;;) {
      // A batch shares its slot with the one a whole ring before it, which must no longer be in use.
      room_.wait(lock, [&] { return stopped_ || (claimed_ < end_ && claimed_ - in_use_ < ring_.size()); });
      if (stopped_) return;
      const std::uint64_t index = claimed_++;
      Slot& slot = ring_[index % ring_.size()];
      slot.done = false;
      lock.unlock();
      make(fill, index, slot);
      lock.lock();
      slot.index = index;
      slot.done = true;
      ready_.notify_all();
    }
  }

  void stop() {
    {
      const std::lock_guard lock(mutex_);
      stopped_ = true;
    }
    room_.notify_all();
    for (std::thread& thread : threads_)
      if (thread.joinable()) thread.join();
  }

  Fill fill_;
  std::uint64_t end_, wanted_, claimed_, in_use_;  // numbers of batches
  std::vector<Slot> ring_;
  std::vector<std::thread> threads_;
  std::mutex mutex_;
  std::condition_variable room_, ready_;
  std::exception_ptr failure_;
  bool stopped_ = false;
};
using Prefetcher = BasicPrefetcher<float>;

}  // namespace data2vec::inline v0
