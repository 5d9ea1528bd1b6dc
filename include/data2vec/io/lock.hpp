// SPDX-License-Identifier: MIT
// One writer per folder: a lock that the system takes back when its holder dies, however it dies.
#pragma once

#include <cerrno>
#include <string>
#include <system_error>

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <data2vec/core/error.hpp>

namespace data2vec::inline v0 {

/// Holds the file `lock` of a folder. Throws FileError if another process holds it, naming that process and its host.
class FolderLock {
 public:
  explicit FolderLock(const std::string& folder) : path_(folder + "/lock") {
    file_ = ::open(path_.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0666);
    if (file_ < 0) throw FileError(path_, "cannot open: " + std::generic_category().message(errno));
    if (::flock(file_, LOCK_EX | LOCK_NB) != 0) {
      const int reason = errno;
      char holder[256] = {};
      const auto length = ::read(file_, holder, sizeof holder - 1);
      ::close(file_);
      if (reason != EWOULDBLOCK) throw FileError(path_, "cannot lock: " + std::generic_category().message(reason));
      throw FileError(path_, "expected nobody else at work in this folder, found " +
                                 (length > 0 ? std::string(holder) : std::string("another process")));
    }
    char host[200] = "this host";
    ::gethostname(host, sizeof host - 1);
    const std::string text = "process " + std::to_string(::getpid()) + " on " + host;
    // The text only helps to find the holder: the lock holds without it.
    if (::ftruncate(file_, 0) != 0 || ::pwrite(file_, text.data(), text.size(), 0) < 0) return;
  }
  FolderLock(const FolderLock&) = delete;
  FolderLock& operator=(const FolderLock&) = delete;
  ~FolderLock() { ::close(file_); }

 private:
  std::string path_;
  int file_ = -1;
};

}  // namespace data2vec::inline v0
