// SPDX-License-Identifier: MIT
// From a case of the fixtures to the C++ source of the program that runs it: the case's configuration becomes a type.
#pragma once

#include <stdexcept>
#include <string>
#include <vector>

#include <nlohmann/json_fwd.hpp>

#include <data2vec/io/safetensors.hpp>

namespace data2vec::parity {

/// The shapes of a case's tensors that are part of its type.
struct CaseShapes {
  int batch = 0;                                 ///< B
  int channels = 0, height = 0, width = 0;       ///< of in.source (B, C, H, W); of (B, S): 0, 1, S
  int rows = 0, visible = 0, tokens = 0;         ///< N, K, T of in.ids_keep (N, K) and in.mask (N, T)
  int masked = 0;                                ///< R, the marks in each row of in.mask
  bool padded = false;                           ///< there is an in.padding_mask
};

/// An option of a case that this library does not know, or not with that value. The text names it.
struct UnsupportedOption : std::runtime_error {
  using std::runtime_error::runtime_error;
};

/// A system beside data2vec 2.0: its cases by their `kind`, the header that runs them, and what writes their source.
struct System {
  const char* kind;
  const char* header;
  std::string (*source)(const nlohmann::json& json, const SafetensorsFile& tensors);
};
/// The system of a kind of case, null if there is none.
const System* system_of(const std::string& kind);

/// Source of a data2vec 2.0 pre-training case of one modality. Throws UnsupportedOption.
std::string pretrain_source(const nlohmann::json& json, const CaseShapes& shapes);

/// The same of several, in the order of the JSON's top-level `modalities`: a step of each.
std::string multimodal_source(const nlohmann::json& json, const std::vector<CaseShapes>& shapes);

/// Source of an image classification fine-tuning case; of `shapes` only batch, channels, height and width are read.
std::string finetune_source(const nlohmann::json& json, const CaseShapes& shapes);

/// Source of a fine-tuning case of texts: classification or regression of sentences.
std::string sentences_source(const nlohmann::json& json, const CaseShapes& shapes);

/// The same for fine-tuning of speech to letters.
std::string recogniser_source(const nlohmann::json& json, const CaseShapes& shapes);

/// The same for the CTC loss on its own; the shapes are those of in.logits (height, batch, width).
std::string ctc_source(const nlohmann::json& json, const CaseShapes& shapes);

}  // namespace data2vec::parity
