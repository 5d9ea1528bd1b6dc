// SPDX-License-Identifier: MIT
// The published models as types.
#pragma once

#include <data2vec/decoder/conv1d.hpp>
#include <data2vec/decoder/conv2d.hpp>
#include <data2vec/masking/block.hpp>
#include <data2vec/masking/random.hpp>
#include <data2vec/masking/span.hpp>
#include <data2vec/modality/speech.hpp>
#include <data2vec/modality/text.hpp>
#include <data2vec/modality/vision.hpp>
#include <data2vec/model/presets.hpp>
#include <data2vec/objective/data2vec1.hpp>
#include <data2vec/objective/data2vec2.hpp>
#include <data2vec/objective/mae.hpp>
#include <data2vec/objective/roberta.hpp>
#include <data2vec/objective/wav2vec2.hpp>

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

namespace detail {
template <SpeechConfig waveforms, MaskConfig masks, DecoderConfig decoder>
using SpeechBranch =
    Branch<Speech<waveforms>, BlockMask1d<Speech<waveforms>::tokens, masks>, Conv1dDecoder<decoder>>;
}

/// 93 million parameters in the encoder, 500 of 999 frames visible.
struct SpeechBase
    : Data2Vec2<speech_base, detail::SpeechBranch<speech_base_waveforms, speech_base_masks, speech_base_decoder>> {};
/// 313 million, 450 of 999.
struct SpeechLarge
    : Data2Vec2<speech_large, detail::SpeechBranch<speech_large_waveforms, speech_large_masks, speech_large_decoder>> {
};

namespace detail {
template <MaskConfig masks>
using TextBranch = Branch<Text<text_tokens>, RandomMask<text_tokens.tokens, masks>,
                          Conv1dDecoder<text_decoder, LinearInit::bert>>;
}

/// 124 million parameters in the encoder, 39 of them of tokens; 266 of 512 tokens visible.
struct TextBase : Data2Vec2<text_base, detail::TextBranch<text_base_masks>> {};
/// 354 million, 256 of 512.
struct TextLarge : Data2Vec2<text_large, detail::TextBranch<text_large_masks>> {};
/// The same with a smooth L1 loss.
struct TextLarge1M : Data2Vec2<text_large_1m, detail::TextBranch<text_large_masks>> {};

/// RoBERTa: 124 million parameters, of which 39 in the vectors of tokens, which the output layer shares.
struct RobertaBase : MaskedLanguageModel<roberta_base, Text<roberta_tokens>, TokenMask<512, TokenMaskConfig{}>> {};
/// 355 million.
struct RobertaLarge : MaskedLanguageModel<roberta_large, Text<roberta_tokens>, TokenMask<512, TokenMaskConfig{}>> {};

namespace detail {
template <VisionConfig images>
using MaeBranch = Branch<Vision<images>, RandomMask<Vision<images>::tokens, mae_masks>, PixelDecoder<PixelDecoderConfig{}>>;
}

/// Masked autoencoders: 86 million parameters in the encoder, 26 in the decoder, 49 of 196 patches visible.
struct MaeBase : MaskedAutoencoder<mae_base, detail::MaeBranch<mae_images>> {};
/// 303 million.
struct MaeLarge : MaskedAutoencoder<mae_large, detail::MaeBranch<mae_images>> {};
/// 630 million; patches of 14 pixels, 64 of 256 visible.
struct MaeHuge : MaskedAutoencoder<mae_huge, detail::MaeBranch<mae_huge_images>> {};

namespace detail {
template <Config encoder, SpeechConfig waveforms, Wav2Vec2Config contrast>
using PublishedWav2Vec2 =
    Wav2Vec2<encoder, Speech<waveforms>, SpanMask<Speech<waveforms>::tokens, wav2vec2_masks>, contrast>;
}

/// wav2vec 2.0: 95 million parameters, 781 frames.
struct Wav2Vec2Base : detail::PublishedWav2Vec2<wav2vec2_base, wav2vec2_base_waveforms, wav2vec2_base_contrast> {};
/// 317 million, 999 frames.
struct Wav2Vec2Large : detail::PublishedWav2Vec2<wav2vec2_large, wav2vec2_large_waveforms, wav2vec2_large_contrast> {};

/// data2vec 1.0 of images: 86 million parameters, up to 120 of 196 patches hidden; as the published models have it.
struct Data2Vec1VisionBase
    : Data2Vec1<data2vec1_vision_base,
                Branch<Vision<data2vec1_images>, BeitBlockMask<Vision<data2vec1_images>::grid, data2vec1_image_masks>,
                       RegressionHead<1>>> {};
/// As fairseq has it: no head, up to 75 patches hidden.
struct Data2Vec1VisionBaseFairseq
    : Data2Vec1<data2vec1_vision_base_fairseq,
                Branch<Vision<data2vec1_images>,
                       BeitBlockMask<Vision<data2vec1_images>::grid, data2vec1_image_masks_fairseq>, RegressionHead<0>>,
                Data2Vec1Config{.vision = VisionVariant::fairseq}> {};
/// Of speech: 93 million parameters in the encoder.
struct Data2Vec1SpeechBase
    : Data2Vec1<data2vec1_speech_base,
                Branch<Speech<SpeechConfig{}>, SpanMask<Speech<SpeechConfig{}>::tokens, data2vec1_speech_masks>,
                       RegressionHead<1>>> {};
/// Of text: 124 million parameters in the encoder, 39 of them of tokens.
struct Data2Vec1TextBase
    : Data2Vec1<data2vec1_text_base, Branch<Text<data2vec1_tokens>, TokenMask<data2vec1_tokens.tokens, data2vec1_text_masks>,
                                            RegressionHead<2, true>>> {};

}  // namespace data2vec::inline v0
