// expect: data2vec: MaskConfig::mask_prob must be in (0, 1)
// SPDX-License-Identifier: MIT
// A mask of everything, written in per cent.
#include <data2vec/masking/random.hpp>

namespace d2v = data2vec;

#ifdef MISTAKE
inline constexpr d2v::MaskConfig config{.mask_prob = 75};
#else
inline constexpr d2v::MaskConfig config{.mask_prob = 0.75};
#endif

int main() { return d2v::RandomMask<16, config>::visible == 4 ? 0 : 1; }
