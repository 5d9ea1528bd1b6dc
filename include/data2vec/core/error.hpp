// SPDX-License-Identifier: MIT
// Exceptions of the border (files, options, devices). A step itself throws nothing: it reports.
#pragma once

#include <stdexcept>
#include <string>

#include <data2vec/version.hpp>

namespace data2vec::inline v0 {

/// What every exception of the library derives from. The text says what, where, what was expected and what was found.
struct Error : std::runtime_error {
  using std::runtime_error::runtime_error;
};

/// A file that cannot be read or written, or whose content breaks its format.
struct FileError : Error {
  FileError(const std::string& file, const std::string& what) : Error(file + ": " + what) {}
};

/// An option or argument outside of what it may be.
struct OptionError : Error {
  using Error::Error;
};

/// Data of a shape, count or name other than the model's.
struct MismatchError : Error {
  using Error::Error;
};

}  // namespace data2vec::inline v0
