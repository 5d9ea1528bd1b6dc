// SPDX-License-Identifier: MIT
// The version of the library: the one place where it is written.
#pragma once

#define DATA2VEC_VERSION_MAJOR 0
#define DATA2VEC_VERSION_MINOR 1
#define DATA2VEC_VERSION_PATCH 0

/// Everything public lives in `data2vec`; the inline namespace keeps two major versions apart in one program.
namespace data2vec::inline v0 {

/// "major.minor.patch" of these headers.
inline constexpr const char version[] = "0.1.0";
static_assert(DATA2VEC_VERSION_MAJOR == 0 && DATA2VEC_VERSION_MINOR == 1 && DATA2VEC_VERSION_PATCH == 0);

}  // namespace data2vec::inline v0
