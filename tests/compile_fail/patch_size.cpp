// expect: data2vec: VisionConfig::patch_size must divide VisionConfig::input_size
// SPDX-License-Identifier: MIT
// Patches of three pixels in a width of eight.
#include <data2vec/modality/vision.hpp>

namespace d2v = data2vec;

#ifdef MISTAKE
inline constexpr d2v::VisionConfig config{.input_size = {9, 8}, .patch_size = 3};
#else
inline constexpr d2v::VisionConfig config{.input_size = {9, 6}, .patch_size = 3};
#endif

int main() { return d2v::Vision<config>::tokens == 6 ? 0 : 1; }
