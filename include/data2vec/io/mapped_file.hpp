// SPDX-License-Identifier: MIT
// A file as memory that the system reads when it is touched and may drop again.
#pragma once

#include <cerrno>
#include <cstddef>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <data2vec/core/error.hpp>

namespace data2vec::inline v0 {

/// The bytes of a regular file, mapped for reading. Movable, not copyable. Another process must not shorten the file
/// meanwhile: files that AtomicFile replaces stay whole for those who have them open. Throws FileError.
class MappedFile {
 public:
  MappedFile() = default;

  explicit MappedFile(const std::string& path) {
    std::error_code error;
    const auto status = std::filesystem::status(path, error);
    if (status.type() == std::filesystem::file_type::not_found) throw FileError(path, "expected a file, found none");
    if (!std::filesystem::is_regular_file(status))
      throw FileError(path, "expected a regular file, found something else");
    const int file = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
    if (file < 0) throw FileError(path, "cannot open for reading: " + std::generic_category().message(errno));
    struct stat about {};
    int reason = ::fstat(file, &about) == 0 ? 0 : errno;
    if (reason == 0 && about.st_size > 0) {  // nothing cannot be mapped
      void* const data = ::mmap(nullptr, static_cast<std::size_t>(about.st_size), PROT_READ, MAP_SHARED, file, 0);
      if (data == MAP_FAILED)
        reason = errno;
      else
        bytes_ = {static_cast<const std::byte*>(data), static_cast<std::size_t>(about.st_size)};
    }
    ::close(file);  // the mapping stays
    if (reason != 0) throw FileError(path, "cannot map into memory: " + std::generic_category().message(reason));
  }

  MappedFile(MappedFile&& other) noexcept : bytes_(std::exchange(other.bytes_, {})) {}
  MappedFile& operator=(MappedFile&& other) noexcept {
    std::swap(bytes_, other.bytes_);
    return *this;
  }
  ~MappedFile() {
    if (!bytes_.empty()) ::munmap(const_cast<std::byte*>(bytes_.data()), bytes_.size());
  }

  std::span<const std::byte> bytes() const { return bytes_; }
  std::string_view text() const { return {reinterpret_cast<const char*>(bytes_.data()), bytes_.size()}; }

 private:
  std::span<const std::byte> bytes_;
};

}  // namespace data2vec::inline v0
