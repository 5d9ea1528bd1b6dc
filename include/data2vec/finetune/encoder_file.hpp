// SPDX-License-Identifier: MIT
// The encoder for a fine-tuning from a file: of a pre-trained model, of an encoder alone, or of a fine-tuned classifier
// or recogniser.
#pragma once

#include <algorithm>
#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <data2vec/core/buffer.hpp>
#include <data2vec/core/parameter.hpp>
#include <data2vec/finetune/positions.hpp>
#include <data2vec/io/weights.hpp>

namespace data2vec::inline v0 {

namespace detail {

/// The table of positions of a model, resampled from that of another grid in `tensor`; empty where it cannot be.
template <class Model>
std::vector<float> positions_from([[maybe_unused]] const TensorInfo& info, [[maybe_unused]] const Tensor& tensor) {
  if constexpr (Model::branches == 1 && Model::First::M::fixed_positions) {
    constexpr Grid grid = Model::First::M::grid;
    if (!is_position_table(info.name.view()) || tensor.dtype != Dtype::f32 || tensor.shape.size() != 3) return {};
    const int extra = info.shape[1] - grid.size();
    const auto from = square_grid(tensor.shape[1] - extra);
    if (!from || tensor.shape[0] != 1 || tensor.shape[2] != info.shape[2]) return {};
    return resample_positions(tensor.template copy<float>(), extra, *from, grid);
  }
  return {};
}

/// The name that a model has for a tensor which other releases of the references call otherwise: fairseq before 2020,
/// PyTorch's weight norm since 2.0.
inline std::string present_name(std::string_view name) {
  constexpr std::pair<std::string_view, std::string_view> names[] = {
      {"decoder.sentence_encoder.", "encoder.sentence_encoder."},
      {"decoder.lm_head.", "encoder.lm_head."},
      {"emb_layer_norm.", "layernorm_embedding."},
      {"parametrizations.weight.original0", "weight_g"},
      {"parametrizations.weight.original1", "weight_v"}};
  std::string present(name);
  for (const auto& [theirs, ours] : names)
    if (const auto at = present.find(theirs); at != present.npos) present.replace(at, theirs.size(), ours);
  return present;
}

}  // namespace detail

/// A buffer of Model::Parameters with the encoder of a file, for FineTuner; decoders are zero. Tensors are looked for
/// under the model's names or, if the file has such ones, under "model.", "w2v_model." or "w2v_encoder.w2v_model." and
/// these (as a classifier and a recogniser name them). Positions of a square grid of patches are resampled for the
/// model's (finetune/positions.hpp), so that an encoder serves images of another size. Decoders in the file, a head,
/// fairseq's teacher ("_ema") and what a model says it passes over, are passed over; any other difference is listed in
/// a MismatchError.
template <class Model>
Buffer<float> read_encoder(const SafetensorsFile& file) {
  using Parameters = typename Model::template Parameters<float>;
  std::string prefix;
  for (const char* const other : {"model.", "w2v_model.", "w2v_encoder.w2v_model."})
    if (std::any_of(file.begin(), file.end(), [&](const Tensor& tensor) { return tensor.name.starts_with(other); }))
      prefix = other;
  std::map<std::string, const Tensor*, std::less<>> tensors;  // by the model's names; those that are left are unknown
  std::string differences;
  for (const Tensor& tensor : file) {
    if (!tensor.name.starts_with(prefix)) continue;
    const auto [first, is_new] =
        tensors.emplace(detail::present_name(std::string_view(tensor.name).substr(prefix.size())), &tensor);
    if (!is_new) differences += "\n  twice: " + first->second->name + " and " + tensor.name;
  }
  Buffer<float> buffer(buffer_size<Parameters>);
  for (const TensorInfo& info : tensor_table<Parameters>) {
    if (Model::in_decoder(info.name.view())) continue;
    const std::string name = prefix + std::string(info.name.view());
    const auto shape = detail::shape_of(info);
    const auto found = tensors.find(info.name.view());
    if (found == tensors.end()) {
      differences += "\n  missing: " + name + " " + detail::shape_text(shape);
      continue;
    }
    const Tensor* const tensor = found->second;
    tensors.erase(found);
    if (tensor->dtype == Dtype::f32 && tensor->shape == shape) {
      const auto values = tensor->template copy<float>();
      std::copy(values.begin(), values.end(), buffer.data() + info.offset);
    } else if (const auto positions = detail::positions_from<Model>(info, *tensor); !positions.empty()) {
      std::copy(positions.begin(), positions.end(), buffer.data() + info.offset);
    } else {
      differences += "\n  " + name + ": expected F32 " + detail::shape_text(shape) + ", found " +
                     std::string(dtype_name(tensor->dtype)) + " " + detail::shape_text(tensor->shape);
    }
  }
  for (const auto& [present, tensor] : tensors) {
    const std::string_view name = present;
    if constexpr (requires { Model::passes_over(name); })
      if (Model::passes_over(name)) continue;
    if (name.starts_with("_ema.") || name.starts_with("encoder._ema.") || Model::in_decoder(name)) continue;
    differences += "\n  unknown: " + tensor->name + " " + detail::shape_text(tensor->shape);
  }
  if (!differences.empty()) throw MismatchError(file.file() + ": the encoder is not the model's:" + differences);
  return buffer;
}

}  // namespace data2vec::inline v0
