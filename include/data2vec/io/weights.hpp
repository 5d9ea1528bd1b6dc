// SPDX-License-Identifier: MIT
// A model's parameters as safetensors under the reference's names, to and from a file or memory.
#pragma once

#include <algorithm>
#include <span>
#include <string>
#include <vector>

#include <data2vec/core/parameter.hpp>
#include <data2vec/io/safetensors.hpp>

namespace data2vec::inline v0 {

namespace detail {

inline std::vector<std::int64_t> shape_of(const TensorInfo& info) {
  return {info.shape.begin(), info.shape.begin() + info.rank};
}

inline std::string shape_text(const std::vector<std::int64_t>& shape) {
  std::string text = "(";
  for (const std::int64_t n : shape) text += (text.size() > 1 ? ", " : "") + std::to_string(n);
  return text + ")";
}

}  // namespace detail

/// The tensors of the buffer of a struct `P` of float parameters, as views for a writer. `buffer` must outlive them.
template <class P>
std::vector<Tensor> named_tensors(const float* buffer, const std::string& prefix = "") {
  std::vector<Tensor> tensors;
  for (const TensorInfo& info : tensor_table<P>)
    tensors.push_back({prefix + std::string(info.name.view()), Dtype::f32, detail::shape_of(info),
                       std::as_bytes(std::span(buffer + info.offset, info.size))});
  return tensors;
}

/// Writes the parameters of a struct `P`. An existing file is replaced only once the new one is complete. Throws
/// FileError.
template <class P>
void save_weights(const std::string& path, const float* buffer, const SafetensorsMetadata& metadata = {}) {
  write_safetensors(path, named_tensors<P>(buffer), metadata);
}

/// Fills the buffer of a struct `P` from a file's tensors (prefix + name). The file must hold exactly these tensors;
/// else a MismatchError lists every tensor that is missing, unknown or of another shape, and the buffer stays as it
/// was.
template <class P>
void load_weights(const SafetensorsFile& file, float* buffer, const std::string& prefix = "") {
  std::string differences;
  for (const TensorInfo& info : tensor_table<P>) {
    const std::string name = prefix + std::string(info.name.view());
    const Tensor* tensor = file.find(name);
    if (!tensor) {
      differences += "\n  missing: " + name + " " + detail::shape_text(detail::shape_of(info));
    } else if (tensor->shape != detail::shape_of(info) || tensor->dtype != Dtype::f32) {
      differences += "\n  " + name + ": expected F32 " + detail::shape_text(detail::shape_of(info)) + ", found " +
                     std::string(dtype_name(tensor->dtype)) + " " + detail::shape_text(tensor->shape);
    }
  }
  for (const Tensor& tensor : file) {
    if (!tensor.name.starts_with(prefix)) continue;
    const std::string_view name = std::string_view(tensor.name).substr(prefix.size());
    const auto& table = tensor_table<P>;
    if (std::none_of(table.begin(), table.end(), [&](const TensorInfo& info) { return info.name.view() == name; }))
      differences += "\n  unknown: " + tensor.name + " " + detail::shape_text(tensor.shape);
  }
  if (!differences.empty()) throw MismatchError(file.file() + ": the tensors are not the model's:" + differences);
  for (const TensorInfo& info : tensor_table<P>) {
    const auto values = file.find(prefix + std::string(info.name.view()))->template copy<float>();
    std::copy(values.begin(), values.end(), buffer + info.offset);
  }
}

}  // namespace data2vec::inline v0
