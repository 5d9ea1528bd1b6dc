// SPDX-License-Identifier: MIT
// Configurations: constexpr aggregates used as template arguments. Field names and defaults are those of the public
// reference implementation (fairseq, examples/data2vec). A configuration fixes structure and shapes; learning rate,
// decays, dropout rates that are not zero and loss weights that are not zero can be changed at run time
// (training/options.hpp) without recompiling: the values here are then their defaults.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <initializer_list>

#include <data2vec/core/view.hpp>

namespace data2vec::inline v0 {

/// The names of a block's parameters, and with them the layout of queries, keys and values.
enum class BlockNames {
  vit,      ///< attn.{qkv, proj}, norm1, norm2, mlp.{fc1, fc2}
  fairseq,  ///< self_attn.{q_proj, k_proj, v_proj, out_proj}, self_attn_layer_norm, fc1, fc2, final_layer_norm
  beit,     ///< as vit, but keys without bias: attn.{qkv.weight, q_bias, v_bias, proj}
  beit_sequential,  ///< the same with mlp.{0, 2}
};

/// The encoder, the targets and the losses: what all modalities of a model share.
struct Config {
  // Encoder: `depth` shared transformer blocks.
  int embed_dim = 768;                      ///< D, the width of a token
  int depth = 12;                           ///< number of shared blocks
  int num_heads = 12;                       ///< H; must divide embed_dim
  double mlp_ratio = 4;                     ///< hidden width of the MLP = int(embed_dim * mlp_ratio)
  double norm_eps = 1e-6;                   ///< epsilon of the norms in and before the blocks
  bool norm_affine = true;                  ///< scale and shift in those norms
  bool layer_norm_first = false;            ///< pre-norm blocks as the reference runs them (no residual around the MLP)
  bool pre_norm_mlp_residual = false;       ///< with layer_norm_first: the corrected pre-norm block, MLP with residual
  bool final_norm = true;                   ///< pre-norm: a norm behind the last block
  bool extra_token_positions = false;       ///< the table of fixed positions has rows for the extra tokens, in front
  bool train_positions = false;             ///< it is trained, from where it starts
  double layer_scale = 0;                   ///< initial factor per channel on both branches of a block; 0: none
  bool relative_position_bias = false;      ///< learned attention bias by the offset of patches, of all blocks together
  BlockNames block_names = BlockNames::vit;

  // Dropout. A rate of zero here leaves no code behind; others are defaults of `DropoutRates`.
  double encoder_dropout = 0;               ///< after the attention's output projection
  double post_mlp_drop = 0;                 ///< after the MLP
  double attention_dropout = 0;             ///< on attention probabilities
  double activation_dropout = 0;            ///< inside the MLP, after GELU and after fc2
  double dropout_input = 0;                 ///< on the input of the shared blocks
  double layerdrop = 0;                     ///< probability of skipping a shared block (student only)
  double start_drop_path_rate = 0;          ///< stochastic depth of the first shared block
  double end_drop_path_rate = 0;            ///< stochastic depth of the last shared block

  // Teacher and targets (data2vec 2.0, section 3).
  int average_top_k_layers = 8;             ///< K: the target is the mean over the last K blocks
  std::uint64_t target_layers = 0;          ///< bit i: block i is one of those averaged; 0: the last K are
  bool end_of_block_targets = false;        ///< targets from the block's output instead of its MLP's
  bool batch_norm_target_layer = false;     ///< per layer: normalise each channel over batch and tokens
  bool instance_norm_target_layer = false;  ///< per layer: normalise each sample's channel over tokens
  bool layer_norm_target_layer = false;     ///< per layer: normalise each token over channels
  bool layer_norm_targets = false;          ///< the mean: normalise each token over channels
  bool instance_norm_targets = false;       ///< the mean: normalise each sample's channel over tokens
  bool ema_encoder_only = false;            ///< the teacher owns the shared blocks only

  // Masks and losses.
  int clone_batch = 1;                      ///< M: masks per sample, all served by one teacher pass
  double loss_beta = 0;                     ///< 0: squared error; else smooth L1 with this beta
  double loss_scale = 0;                    ///< 0: 1 / sqrt(embed_dim)
  double d2v_loss = 1;                      ///< weight of the regression
  double cls_loss = 0;                      ///< weight of the CLS term; 0: there is none
  double recon_loss = 0;                    ///< weight of the pixel reconstruction; 0: there is none

  bool mae_init = false;                    ///< Xavier-uniform linears instead of N(0, 0.02^2)

  constexpr int mlp_dim() const { return static_cast<int>(embed_dim * mlp_ratio); }
  friend constexpr bool operator==(const Config&, const Config&) = default;
};

enum class AlibiDistance { manhattan, euclidean };

/// What becomes of the tokens that only fill up a sample to the length of its type; they stand at its end.
enum class Padding {
  none,       ///< samples are full: nothing is kept or computed for padding
  reference,  ///< as the reference runs it: not seen by attention, but hidden, predicted, convolved, in target norms
  exact,      ///< no number depends on it: as if the type had the sample's own length
};

/// What every modality brings besides its local encoder: extra tokens, prenet, ALiBi.
struct ModalityConfig {
  int prenet_depth = 0;                     ///< P: blocks of this modality before the shared ones
  double prenet_layerdrop = 0;
  double prenet_dropout = 0;                ///< on the input of the prenet
  double start_drop_path_rate = 0;
  double end_drop_path_rate = 0;

  int num_extra_tokens = 0;                 ///< E: learned tokens in front of the sequence; the last is the CLS token
  bool init_extra_token_zero = true;        ///< the first extra token starts at zero, the others at N(0, 1)

  double mask_noise_std = 0.01;             ///< standard deviation of the noise that stands for hidden tokens
  bool ema_local_encoder = false;           ///< the teacher owns a local encoder too
  double local_grad_mult = 1;               ///< factor on the gradient that enters the local encoder

  bool use_alibi_encoder = false;           ///< attention bias by distance of tokens (Press et al., 2022)
  double alibi_scale = 1;                   ///< initial scale of that bias
  bool learned_alibi = false;               ///< the bias table itself is a parameter
  int alibi_max_pos = 0;                    ///< side of the learned table; 0: the number of tokens
  bool learned_alibi_scale = false;
  bool learned_alibi_scale_per_head = false;
  bool learned_alibi_scale_per_layer = false;
  int alibi_dims = 1;                       ///< 2: distance on the grid of patches
  AlibiDistance alibi_distance = AlibiDistance::manhattan;
  Padding padding = Padding::none;          ///< whether samples may be shorter than the type

  friend constexpr bool operator==(const ModalityConfig&, const ModalityConfig&) = default;
};

/// Images cut into patches.
struct VisionConfig {
  Extent input_size = 224;                  ///< pixels; one int or {height, width}
  Extent patch_size = 16;                   ///< pixels; must divide input_size
  int in_chans = 3;
  int embed_dim = 0;                        ///< width of the patch embedding; 0: the model's (others: a projection)
  bool fixed_positions = true;              ///< 2-D sin-cos positions on every token
  ModalityConfig modality = {};

  friend constexpr bool operator==(const VisionConfig&, const VisionConfig&) = default;
};

/// One strided convolution of the extractor of speech features.
struct ConvLayer {
  int channels = 512, kernel = 3, stride = 2;
  friend constexpr bool operator==(const ConvLayer&, const ConvLayer&) = default;
};

/// Up to 16 of them, in order: `{{512, 10, 5}, {512, 3, 2}}`.
struct ConvLayers {
  std::array<ConvLayer, 16> layer{};
  int size = 0;
  constexpr ConvLayers(std::initializer_list<ConvLayer> layers) {
    for (const ConvLayer& l : layers) layer[static_cast<std::size_t>(size++)] = l;
  }
  constexpr const ConvLayer& operator[](int i) const { return layer[static_cast<std::size_t>(i)]; }
  friend constexpr bool operator==(const ConvLayers&, const ConvLayers&) = default;

  /// Frames that `samples` samples give after the first `layers` layers; every layer rounds down.
  constexpr int frames(int samples, int layers) const {
    for (int i = 0; i < layers; ++i) {
      const ConvLayer& l = layer[static_cast<std::size_t>(i)];
      samples = samples < l.kernel ? 0 : (samples - l.kernel) / l.stride + 1;
    }
    return samples;
  }
  constexpr int frames(int samples) const { return frames(samples, size); }
};

/// Norms in the extractor of speech features.
enum class ExtractorMode {
  default_,    ///< the first layer normalises each channel over time, the others nothing
  layer_norm,  ///< every layer normalises each frame over channels
};

/// Waveforms, by strided convolutions (wav2vec 2.0, section 2).
struct SpeechConfig {
  int input_size = 320'000;                 ///< samples
  int sample_rate = 16'000;                 ///< Hz of the waveforms: part of what a checkpoint must agree in
  ConvLayers feature_encoder_spec{{512, 10, 5}, {512, 3, 2}, {512, 3, 2}, {512, 3, 2},
                                  {512, 3, 2},  {512, 2, 2}, {512, 2, 2}};
  ExtractorMode extractor_mode = ExtractorMode::layer_norm;
  int conv_pos_width = 95;                  ///< tokens that all positional convolutions together reach over
  int conv_pos_groups = 16;
  int conv_pos_depth = 5;                   ///< number of positional convolutions
  bool conv_pos_pre_ln = false;             ///< a norm in front of them
  bool conv_pos_weight_norm = false;        ///< one convolution with normalised weights instead (wav2vec 2.0)
  bool conv_bias = false;                   ///< the extractor's convolutions have biases
  bool project_equal_width = true;          ///< a projection also where the extractor is as wide as the model
  double dropout = 0;                       ///< on the frames, after the projection
  bool clear_padding = false;               ///< Padding::reference: frames of padding become zero (wav2vec 2.0)
  ModalityConfig modality = {};

  /// Kernel of each positional convolution.
  constexpr int conv_pos_kernel() const {
    if (conv_pos_weight_norm) return conv_pos_width;
    const int kernel = conv_pos_width / (conv_pos_depth > 0 ? conv_pos_depth : 1);
    return kernel > 3 ? kernel : 3;
  }
  friend constexpr bool operator==(const SpeechConfig&, const SpeechConfig&) = default;
};

/// What wav2vec 2.0 has besides an encoder of speech: quantised targets, and what they are told apart from.
struct Wav2Vec2Config {
  int final_dim = 256;                      ///< width in which predictions and targets are compared
  int latent_vars = 320;                    ///< V, entries of a codebook
  int latent_groups = 2;                    ///< G, codebooks
  int latent_dim = 0;                       ///< width of a quantised vector; 0: final_dim
  int num_negatives = 100;                  ///< distractors from the same utterance
  int cross_sample_negatives = 0;           ///< from all utterances of a chunk
  int codebook_negatives = 0;               ///< random vectors of the codebooks
  double dropout_features = 0.1;            ///< on the frames that are quantised
  double logit_temp = 0.1;                  ///< temperature of the cosines
  std::array<double, 3> latent_temp{2, 0.5, 0.999995};  ///< of the quantiser: first, last, factor per update
  double diversity_weight = 0.1;            ///< weight of the codebooks' perplexity in the loss
  double features_pen_weight = 10;          ///< of the squares of the extractor's frames

  constexpr int vq_dim() const { return latent_dim > 0 ? latent_dim : final_dim; }
  friend constexpr bool operator==(const Wav2Vec2Config&, const Wav2Vec2Config&) = default;
};

/// Tokens of text by number.
struct TextConfig {
  int vocab_size = 50'265;
  int tokens = 512;                         ///< T
  int pad = 1;                              ///< the token that fills up
  int max_source_positions = 512;           ///< the longest text that learned positions reach over
  bool learned_pos = true;                  ///< learned positions; else sinusoids
  bool no_token_positional_embeddings = false;  ///< neither: order comes from ALiBi alone
  bool no_scale_embedding = true;           ///< false: embeddings times sqrt(embed_dim)
  bool layernorm_embedding = true;
  double dropout = 0.1;                     ///< on the embeddings, once per sample for all masks and the teacher
  /// Texts are of all lengths: whoever sets other fields of it chooses the rule of padding too.
  ModalityConfig modality = {.padding = Padding::exact};

  friend constexpr bool operator==(const TextConfig&, const TextConfig&) = default;
};

/// The decoder that predicts the teacher's targets at hidden positions.
struct DecoderConfig {
  int decoder_dim = 384;
  int decoder_groups = 16;                  ///< groups of the convolutions
  int decoder_kernel = 5;
  int decoder_layers = 5;
  double input_dropout = 0.1;
  bool add_positions_masked = false;        ///< add the fixed positions at hidden tokens
  bool add_positions_all = false;           ///< add the fixed positions at every token
  bool decoder_residual = true;
  int projection_layers = 1;
  double projection_ratio = 2;

  friend constexpr bool operator==(const DecoderConfig&, const DecoderConfig&) = default;
};

/// The decoder of a masked autoencoder, and what it predicts.
struct PixelDecoderConfig {
  int decoder_embed_dim = 512;
  int decoder_depth = 8;
  int decoder_num_heads = 16;
  bool norm_pix_loss = true;                ///< pixels normalised by the mean and variance of their patch

  friend constexpr bool operator==(const PixelDecoderConfig&, const PixelDecoderConfig&) = default;
};

/// The two codes of data2vec 1.0's vision.
enum class VisionVariant {
  beit,     ///< that of the published models: the teacher owns the whole model, a linear head predicts
  fairseq,  ///< the teacher owns blocks, bias and norm; the encoder's output is the prediction
};

/// How a model of data2vec 1.0 is put together.
struct Data2Vec1Config {
  VisionVariant vision = VisionVariant::beit;
  /// Speech: the teacher copies the positional convolutions; text: it copies the embeddings.
  bool ema_layers_only = true;
  /// Text: the teacher reads the hidden tokens alone, as the released code runs it, instead of the whole text.
  bool masked_only_teacher = false;

  friend constexpr bool operator==(const Data2Vec1Config&, const Data2Vec1Config&) = default;
};

/// How tokens are hidden; see masking/.
struct MaskConfig {
  double mask_prob = 0.7;                   ///< fraction of hidden tokens
  double mask_prob_adjust = 0;              ///< blocks: added to mask_prob when the number of seeds is computed
  int mask_length = 5;                      ///< side of a block, length of a span
  double mask_dropout = 0;                  ///< blocks: more seeds by this fraction; spans: hidden tokens shown again
  double keep_masked_pct = 0;               ///< fraction of hidden tokens that the student sees all the same
  bool add_masks = false;                   ///< spans: equalise rows by hiding more tokens rather than fewer

  friend constexpr bool operator==(const MaskConfig&, const MaskConfig&) = default;
};

/// No decoder: a branch without a shared one.
struct NoDecoder {
  static constexpr bool sees_all = true;
};

/// One modality of a model with its masks and its decoder. A shared decoder is a further one, of one type and one set
/// of parameters in all branches; its predictions have a regression of their own.
template <class ModalityType, class MaskingType, class DecoderType, class SharedDecoderType = NoDecoder>
struct Branch {
  using Modality = ModalityType;
  using Masking = MaskingType;
  using Decoder = DecoderType;
  using SharedDecoder = SharedDecoderType;
};

}  // namespace data2vec::inline v0
