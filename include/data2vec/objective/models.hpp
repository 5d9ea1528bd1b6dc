// SPDX-License-Identifier: MIT
// The published vision models of data2vec 2.0 as types.
#pragma once

#include <data2vec/decoder/conv2d.hpp>
#include <data2vec/masking/block.hpp>
#include <data2vec/modality/vision.hpp>
#include <data2vec/model/presets.hpp>
#include <data2vec/objective/data2vec2.hpp>

namespace data2vec::inline v0 {

namespace detail {
template <VisionConfig images, MaskConfig masks, DecoderConfig decoder>
using VisionBranch =
    Branch<Vision<images>, InverseBlockMask<Vision<images>::grid, masks>, Conv2dDecoder<decoder>>;
}

/// 86 million parameters in the encoder, 39 of 196 patches visible.
struct VisionBase
    : Data2Vec2<vision_base, detail::VisionBranch<vision_base_images, vision_base_masks, vision_base_decoder>> {};
/// 303 million, 49 of 196.
struct VisionLarge
    : Data2Vec2<vision_large, detail::VisionBranch<vision_large_images, vision_large_masks, vision_large_decoder>> {};
/// Width 1280, patches of 16 pixels, 49 of 196.
struct VisionHuge
    : Data2Vec2<vision_huge, detail::VisionBranch<vision_large_images, vision_large_masks, vision_large_decoder>> {};
/// 631 million, 64 of 256.
struct VisionHuge14
    : Data2Vec2<vision_huge14, detail::VisionBranch<vision_huge14_images, vision_large_masks, vision_large_decoder>> {};

}  // namespace data2vec::inline v0
