// SPDX-License-Identifier: MIT
// An encoder from a file, for programs that use one.
#pragma once

#include <string>

#include <data2vec/core/buffer.hpp>
#include <data2vec/finetune/encoder_file.hpp>
#include <data2vec/training/checkpoint.hpp>

namespace demo {

namespace d2v = data2vec;

/// A buffer of the model's parameters, and what else the file keeps: of the data, for example.
struct Encoder {
  d2v::Buffer<float> weights;
  d2v::Json kept = d2v::Json::object();
};

/// Throws FileError for a file that is no checkpoint: `expected` says what one has that an encoder alone has not.
inline void expect_checkpoint(const std::string& path, const std::string& expected) {
  if (!d2v::SafetensorsFile::open(path).metadata().contains("schema"))
    throw d2v::FileError(path, expected + ", found an encoder alone");
}

/// Reads weights or a checkpoint; `teacher`: the teacher's. Weights may be of images of another size. Throws FileError
/// (also for weights that are not finite) and MismatchError.
template <class Model>
Encoder read_weights(const std::string& path, bool teacher) {
  const auto file = d2v::SafetensorsFile::open(path);
  const auto& metadata = file.metadata();
  Encoder encoder;
  if (metadata.contains("schema")) {
    encoder.weights = d2v::checkpoint_encoder<Model>(file, teacher);
    encoder.kept = d2v::checkpoint_extra(file);
  } else {
    if (teacher && !(metadata.contains("encoder") && metadata.at("encoder") == "teacher"))
      throw d2v::FileError(path, "--teacher: expected a checkpoint or the weights of a teacher, found other weights");
    if (metadata.contains("configuration"))
      d2v::expect_configuration<Model>(file, {"model", "modality"}, {"input_size.height", "input_size.width"});
    encoder.weights = d2v::read_encoder<Model>(file);
    for (const auto& [name, text] : metadata)
      if (name != "configuration" && name != "encoder" && d2v::Json::accept(text))
        encoder.kept[name] = d2v::Json::parse(text);
  }
  for (const d2v::TensorInfo& info : d2v::tensor_table<typename Model::template Parameters<float>>)
    for (std::size_t i = info.offset; i < info.offset + info.size; ++i)
      if (!d2v::is_finite(encoder.weights[i]))
        throw d2v::FileError(path, "tensor '" + std::string(info.name.view()) +
                                       "': expected finite weights, found others at element " +
                                       std::to_string(i - info.offset));
  return encoder;
}

}  // namespace demo
