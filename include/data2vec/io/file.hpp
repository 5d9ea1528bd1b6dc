// SPDX-License-Identifier: MIT
// Files as a whole: read one into memory, or replace one so that a reader sees the old bytes or the new ones, never a
// mixture, whatever happens in between (full disk, signal, power).
#pragma once

#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <limits>
#include <span>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <data2vec/core/error.hpp>

namespace data2vec::inline v0 {

/// A regular file open for reading. Throws FileError when it is missing, not a regular file, or cannot be read.
class InputFile {
 public:
  explicit InputFile(std::string path) : path_(std::move(path)) {
    std::error_code error;
    const auto status = std::filesystem::status(path_, error);
    if (status.type() == std::filesystem::file_type::not_found) throw FileError(path_, "expected a file, found none");
    if (!std::filesystem::is_regular_file(status))
      throw FileError(path_, "expected a regular file, found something else");
    size_ = static_cast<std::uint64_t>(std::filesystem::file_size(path_, error));
    if (error) throw FileError(path_, "cannot read its size: " + error.message());
    in_.open(path_, std::ios::binary);
    if (!in_) throw FileError(path_, "cannot open for reading: " + std::generic_category().message(errno));
  }

  std::uint64_t size() const { return size_; }  ///< bytes

  /// The next `to.size()` bytes.
  void read(std::span<std::byte> to) {
    in_.read(reinterpret_cast<char*>(to.data()), static_cast<std::streamsize>(to.size()));
    if (static_cast<std::size_t>(in_.gcount()) != to.size())
      throw FileError(path_, "truncated while reading: expected " + std::to_string(to.size()) + " more bytes, found " +
                                 std::to_string(in_.gcount()));
  }

 private:
  std::string path_;
  std::ifstream in_;
  std::uint64_t size_ = 0;
};

/// All bytes of a regular file.
inline std::vector<std::byte> read_file(const std::string& path) {
  InputFile in(path);
  std::vector<std::byte> bytes(static_cast<std::size_t>(in.size()));
  in.read(bytes);
  return bytes;
}

/// Writes a file under a temporary name in the same folder and renames it at commit(); without commit() the old file
/// stays as it was and the temporary one is removed. What exists and is not a regular file (a device, a pipe) is
/// written directly. A symbolic link is followed: its target is replaced. Errors name the path and the bytes needed.
class AtomicFile {
 public:
  /// `bytes_needed`: the size of the complete new file, for the error text.
  AtomicFile(std::string path, std::uint64_t bytes_needed) : path_(std::move(path)), bytes_needed_(bytes_needed) {
    namespace fs = std::filesystem;
    std::error_code error;
    const fs::path resolved = fs::weakly_canonical(path_, error);
    target_ = error ? path_ : resolved.string();
    const auto status = fs::status(target_, error);
    direct_ = fs::exists(status) && !fs::is_regular_file(status);
    written_ = direct_ ? target_ : target_ + ".tmp" + std::to_string(::getpid());
    int flags = O_WRONLY | O_CLOEXEC;
    if (!direct_) flags |= O_CREAT | O_EXCL;
    file_ = ::open(written_.c_str(), flags, 0666);
    if (file_ < 0 && errno == EEXIST) {  // what a killed process of the same number left
      ::unlink(written_.c_str());
      file_ = ::open(written_.c_str(), flags, 0666);
    }
    if (file_ < 0) fail("open for writing", errno);
    struct stat old {};
    if (!direct_ && ::stat(target_.c_str(), &old) == 0 && ::fchmod(file_, old.st_mode & 07777) != 0)
      abandon("set the mode of", errno);
  }

  AtomicFile(const AtomicFile&) = delete;
  AtomicFile& operator=(const AtomicFile&) = delete;
  ~AtomicFile() { discard(); }

  /// Appends bytes. Throws FileError, with the temporary file already removed.
  void write(std::span<const std::byte> bytes) {
    while (!bytes.empty()) {
      const auto limit = static_cast<std::size_t>(std::numeric_limits<int>::max());
      const ssize_t count = ::write(file_, bytes.data(), bytes.size() < limit ? bytes.size() : limit);
      if (count < 0 && errno == EINTR) continue;
      if (count <= 0) abandon("write", count == 0 ? EIO : errno);
      bytes = bytes.subspan(static_cast<std::size_t>(count));
    }
  }

  /// Makes the new bytes durable and puts them in place of the old file.
  void commit() {
    if (!direct_ && ::fsync(file_) != 0) abandon("flush", errno);
    const int closing = std::exchange(file_, -1);
    if (::close(closing) != 0) abandon("close", errno);
    if (direct_) return;
    if (std::rename(written_.c_str(), target_.c_str()) != 0) abandon("rename", errno);
    written_.clear();
    const std::string folder = std::filesystem::path(target_).parent_path().string();
    const int directory = ::open(folder.empty() ? "." : folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (directory < 0) return;  // a folder that may be entered but not listed: the rename itself is done
    ::fsync(directory);
    ::close(directory);
  }

 private:
  void discard() {
    if (file_ >= 0) ::close(std::exchange(file_, -1));
    if (!direct_ && !written_.empty()) ::unlink(written_.c_str());
    written_.clear();
  }

  [[noreturn]] void fail(const char* action, int code) const {
    throw FileError(path_, std::string("cannot ") + action + " the new file (" + std::to_string(bytes_needed_) +
                               " bytes needed): " + std::generic_category().message(code));
  }

  [[noreturn]] void abandon(const char* action, int code) {
    discard();
    fail(action, code);
  }

  std::string path_, target_, written_;
  std::uint64_t bytes_needed_;
  int file_ = -1;
  bool direct_ = false;
};

}  // namespace data2vec::inline v0
