// SPDX-License-Identifier: MIT
// The part of a pre-trained model that is fine-tuned, copied from one buffer to another by its names.
#pragma once

#include <algorithm>
#include <span>
#include <string>
#include <string_view>

#include <data2vec/core/error.hpp>
#include <data2vec/core/parameter.hpp>

namespace data2vec::inline v0 {

/// Copies into `weights`, a buffer of `Parameters`, the tensors named `prefix` and one of Source's names, from a buffer
/// of Source (Model::Parameters). Throws MismatchError for a buffer of another size.
template <class Parameters, class Source, class T>
void copy_encoder(std::span<const T> pretrained, std::string_view prefix, T* weights) {
  if (pretrained.size() != buffer_size<Source>)
    throw MismatchError("fine-tuning: expected " + std::to_string(buffer_size<Source>) +
                        " pre-trained numbers, found " + std::to_string(pretrained.size()));
  for (const TensorInfo& info : tensor_table<Parameters>) {
    if (!info.name.view().starts_with(prefix)) continue;
    const std::string_view name = info.name.view().substr(prefix.size());
    for (const TensorInfo& from : tensor_table<Source>)
      if (from.name.view() == name) std::copy_n(pretrained.data() + from.offset, from.size, weights + info.offset);
  }
}

}  // namespace data2vec::inline v0
