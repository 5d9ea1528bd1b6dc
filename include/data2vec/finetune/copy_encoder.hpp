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

/// `name` without "prefix." in front; empty if it does not begin so.
constexpr std::string_view without_prefix(std::string_view name, std::string_view prefix) {
  if (prefix.empty()) return name;
  if (!name.starts_with(prefix) || name.size() <= prefix.size() || name[prefix.size()] != '.') return {};
  return name.substr(prefix.size() + 1);
}

/// Whether a tensor of a fine-tuned model is one of Source's (Model::Parameters) behind `prefix`: not a head's.
template <class Source>
bool is_of_encoder(std::string_view name, std::string_view prefix) {
  const auto& table = tensor_table<Source>;
  const std::string_view own = without_prefix(name, prefix);
  return std::any_of(table.begin(), table.end(), [&](const TensorInfo& info) { return info.name.view() == own; });
}

/// Copies into `weights`, a buffer of `Parameters`, tensors named "prefix." and one of Source's names, from a buffer
/// of Source (Model::Parameters). Throws MismatchError for a buffer of another size.
template <class Parameters, class Source, class T>
void copy_encoder(std::span<const T> pretrained, std::string_view prefix, T* weights) {
  if (pretrained.size() != buffer_size<Source>)
    throw MismatchError("fine-tuning: expected " + std::to_string(buffer_size<Source>) +
                        " pre-trained numbers, found " + std::to_string(pretrained.size()));
  for (const TensorInfo& info : tensor_table<Parameters>) {
    const std::string_view name = without_prefix(info.name.view(), prefix);
    for (const TensorInfo& from : tensor_table<Source>)
      if (from.name.view() == name) std::copy_n(pretrained.data() + from.offset, from.size, weights + info.offset);
  }
}

}  // namespace data2vec::inline v0
