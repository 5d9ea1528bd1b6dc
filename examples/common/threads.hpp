// SPDX-License-Identifier: MIT
// Work on all threads that may fail: of files, for example.
#pragma once

#include <exception>
#include <mutex>

#include <data2vec/device/cpu/threads.hpp>

namespace demo {

/// work(thread) on all threads of a team. What is thrown there is thrown here, at the end.
template <class Work>
void run_all(data2vec::ThreadTeam& team, Work&& work) {
  std::exception_ptr failure;
  std::mutex mutex;
  team.run([&](int thread) {
    try {
      work(thread);
    } catch (...) {
      const std::lock_guard lock(mutex);
      failure = std::current_exception();
    }
  });
  if (failure) std::rethrow_exception(failure);
}

}  // namespace demo
