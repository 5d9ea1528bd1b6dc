// SPDX-License-Identifier: MIT
// The concept Device. Operations are declared in device/<op>.hpp and implemented as specialisations of
// `kernel::Op<Device>` (device/cpu/, device/cuda/): a qualified call finds a specialisation whatever the order of
// includes. Kernels see numbers, never configurations: sizes that shape the code are template arguments, row counts
// are arguments. All arrays are row-major; pointers of one call do not overlap unless the contract says so.
#pragma once

#include <concepts>
#include <cstddef>
#include <type_traits>

#include <data2vec/version.hpp>

namespace data2vec::inline v0 {

/// A place where kernels run. A device owns what its kernels need besides their arguments (queue, handles); every
/// operation takes it first.
template <class D>
concept Device = requires {
  { D::is_device } -> std::convertible_to<bool>;
} && D::is_device;

/// What a gradient does to what was there.
enum class Grad { overwrite, accumulate };

/// A read-only argument that does not take part in deduction: `T` comes from the output.
template <class T>
using In = const std::type_identity_t<T>*;
/// A second output, likewise.
template <class T>
using Out = std::type_identity_t<T>*;

/// Elements of T that hold `n` numbers of single precision or better: kernels on half-precision arrays keep their
/// statistics in fp32 there.
template <class T>
constexpr int kept_numbers(int n) {
  return sizeof(T) >= sizeof(float) ? n : n * static_cast<int>(sizeof(float) / sizeof(T));
}

}  // namespace data2vec::inline v0
