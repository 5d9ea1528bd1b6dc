// SPDX-License-Identifier: MIT
// A fixed team of threads for the CPU: one fork and join per parallel region, no allocation in it. What runs where
// never changes results: work is cut into units whose sums are taken in the order of the units.
#pragma once

#include <atomic>
#include <thread>
#include <type_traits>
#include <vector>

#include <data2vec/version.hpp>

namespace data2vec::inline v0 {

namespace detail {
/// Tells the processor that the thread only waits.
inline void pause() {
#if defined(__x86_64__) || defined(__i386__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}
}  // namespace detail

class ThreadTeam {
 public:
  /// `threads` >= 1, the caller's included; 0: as many as the machine has.
  explicit ThreadTeam(int threads) {
    if (threads <= 0) threads = static_cast<int>(std::thread::hardware_concurrency());
    size_ = threads < 1 ? 1 : threads;
    workers_.reserve(static_cast<std::size_t>(size_ - 1));
    try {
      for (int i = 1; i < size_; ++i) workers_.emplace_back([this, i] { work(i); });
    } catch (...) {
      stop();
      throw;
    }
  }
  ThreadTeam(const ThreadTeam&) = delete;
  ThreadTeam& operator=(const ThreadTeam&) = delete;
  ~ThreadTeam() { stop(); }

  int size() const { return size_; }

  /// Calls f(thread) on every thread, 0 <= thread < size(), and waits for all. f must not throw.
  template <class F>
  void run(F&& f) {
    if (size_ == 1) return f(0);
    call_ = [](void* context, int thread) { (*static_cast<std::remove_reference_t<F>*>(context))(thread); };
    context_ = &f;
    busy_.store(size_ - 1, std::memory_order_relaxed);
    round_.fetch_add(1, std::memory_order_release);
    round_.notify_all();
    f(0);
    await(busy_, [](int left) { return left == 0; });
  }

  /// Calls f(thread, task) for tasks 0 .. count - 1; every thread takes the next task that is left.
  template <class F>
  void for_each_task(int count, F&& f) {
    std::atomic<int> next{0};
    run([&](int thread) {
      for (int task = next.fetch_add(1); task < count; task = next.fetch_add(1)) f(thread, task);
    });
  }

 private:
  /// Looks for some microseconds before it sleeps: operations of one image follow each other that fast.
  template <class T, class F>
  static T await(const std::atomic<T>& value, F&& done) {
    T now = value.load(std::memory_order_acquire);
    for (int i = 0; i < spins && !done(now); ++i) {
      detail::pause();
      now = value.load(std::memory_order_acquire);
    }
    for (; !done(now); now = value.load(std::memory_order_acquire)) value.wait(now, std::memory_order_acquire);
    return now;
  }
  static constexpr int spins = 400;

  void work(int thread) {
    for (unsigned seen = 0;;) {
      seen = await(round_, [seen](unsigned round) { return round != seen; });
      if (stopping_.load(std::memory_order_acquire)) return;
      call_(context_, thread);
      if (busy_.fetch_sub(1, std::memory_order_acq_rel) == 1) busy_.notify_all();
    }
  }
  void stop() {
    stopping_.store(true, std::memory_order_release);
    round_.fetch_add(1, std::memory_order_release);
    round_.notify_all();
    for (auto& worker : workers_) worker.join();
  }

  int size_ = 1;
  std::vector<std::thread> workers_;
  std::atomic<unsigned> round_{0};
  std::atomic<int> busy_{0};
  std::atomic<bool> stopping_{false};
  void (*call_)(void*, int) = nullptr;
  void* context_ = nullptr;
};

/// Lets units take their turn: 0 first, then 1, and so on, whichever thread they run on.
class Turns {
 public:
  void restart() { turn_.store(0, std::memory_order_release); }
  void wait_for(int unit) {
    for (int now = turn_.load(std::memory_order_acquire); now != unit; now = turn_.load(std::memory_order_acquire))
      turn_.wait(now, std::memory_order_acquire);
  }
  void done(int unit) {
    turn_.store(unit + 1, std::memory_order_release);
    turn_.notify_all();
  }

 private:
  std::atomic<int> turn_{0};
};

}  // namespace data2vec::inline v0
