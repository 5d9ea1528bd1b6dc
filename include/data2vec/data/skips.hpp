// SPDX-License-Identifier: MIT
// Files that were skipped: named, counted by reason, and an error above a limit. What data sets of files share.
#pragma once

#include <cstddef>
#include <map>
#include <mutex>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include <data2vec/core/error.hpp>

namespace data2vec::inline v0 {

/// Files that were skipped: how many for each reason (those of ImageError or AudioError, and "unreadable"), and what
/// the first were.
struct SkipReport {
  std::map<std::string, int> reasons;
  std::vector<std::string> first;  ///< at most 5 messages

  int total() const {
    int sum = 0;
    for (const auto& entry : reasons) sum += entry.second;
    return sum;
  }
};

namespace detail {

/// Which files turned out to be broken. Shared by the copies of a data set and locked: loads come from many threads.
class SkipLog {
 public:
  /// At most the share `max_broken` of the `listed` files may be broken. `options` and `what` ("FileOptions", "broken
  /// images") name both in the texts. Throws OptionError.
  SkipLog(std::string root, std::size_t listed, double max_broken, const std::string& options, std::string what)
      : root_(std::move(root)), what_(std::move(what)), listed_(listed) {
    if (!(max_broken >= 0 && max_broken <= 1))
      throw OptionError(options + "::max_broken: expected 0 to 1, found " + std::to_string(max_broken));
    allowed_ = static_cast<std::size_t>(max_broken * static_cast<double>(listed));
  }

  void count(const std::string& reason, const std::string& what) {
    ++report_.reasons[reason];
    if (report_.first.size() < 5) report_.first.push_back(what);
  }

  /// Throws FileError above the limit.
  void check() const {
    const auto found = static_cast<std::size_t>(report_.total());
    if (found <= allowed_) return;
    std::string text = what_ + ": expected at most " + std::to_string(allowed_) + " of " + std::to_string(listed_) +
                       ", found " + std::to_string(found) + " (";
    for (const auto& [reason, number] : report_.reasons)
      text += (text.back() == '(' ? "" : ", ") + std::to_string(number) + " " + reason;
    text += "); the first: ";
    for (const std::string& what : report_.first) text += (&what == &report_.first[0] ? "" : "; ") + what;
    throw FileError(root_, text);
  }

  bool broken(std::size_t i) {
    const std::lock_guard lock(mutex_);
    return broken_.count(i) != 0;
  }

  /// Counts a file once, however often it is asked for. Throws FileError above the limit.
  void add(std::size_t i, const std::string& reason, const std::string& what) {
    const std::lock_guard lock(mutex_);
    if (broken_.insert(i).second) count(reason, what);
    check();
  }

  SkipReport report() {
    const std::lock_guard lock(mutex_);
    return report_;
  }

 private:
  std::string root_, what_;
  std::size_t listed_, allowed_ = 0;
  std::mutex mutex_;
  std::set<std::size_t> broken_;
  SkipReport report_;
};

}  // namespace detail
}  // namespace data2vec::inline v0
