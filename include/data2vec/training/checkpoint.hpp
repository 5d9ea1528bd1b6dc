// SPDX-License-Identifier: MIT
// Checkpoints: everything that a training needs to go on to the bit, in one safetensors file that describes itself.
// Tensors are "student.", "teacher.", "adam_m." and "adam_v." with the reference's names; the metadata hold the model's
// configuration and the training's progress as JSON.
#pragma once

#include <charconv>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include <data2vec/io/json.hpp>
#include <data2vec/io/weights.hpp>
#include <data2vec/model/fields.hpp>
#include <data2vec/training/trainer.hpp>

namespace data2vec::inline v0 {

/// Raised by one with every change of what a checkpoint holds. A reader takes its own schema and those below.
inline constexpr int checkpoint_schema = 1;

namespace detail {

template <class C>
Json fields_of(const C& config) {
  Json json = Json::object();
  for_each_field(config, [&](const char* name, const auto& value) { json[name] = value; });
  return json;
}

/// Every line in which two descriptions differ, by path.
inline void list_differences(const Json& expected, const Json& found, const std::string& path, std::string& out) {
  if (expected.is_object() && found.is_object()) {
    for (const auto& [key, value] : expected.items())
      if (!found.contains(key)) out += "\n  " + path + key + ": expected " + value.dump() + ", found nothing";
      else list_differences(value, found[key], path + key + ".", out);
    for (const auto& [key, value] : found.items())
      if (!expected.contains(key)) out += "\n  " + path + key + ": expected nothing, found " + value.dump();
  } else if (expected != found) {
    out += "\n  " + path.substr(0, path.size() - 1) + ": expected " + expected.dump() + ", found " + found.dump();
  }
}

}  // namespace detail

/// The configuration of a model as JSON: encoder, modality, masks, decoder.
template <class Model>
Json describe_model() {
  using B = typename Model::First;
  Json json = {{"model", detail::fields_of(Model::config)}, {"modality", {{"name", B::M::name}}}};
  if constexpr (requires { B::M::vision; }) json["modality"].update(detail::fields_of(B::M::vision));
  else json["modality"].update(detail::fields_of(B::M::config));
  json["masks"] = {{"tokens", B::T_}, {"visible", B::V}, {"masked", B::R}};
  if constexpr (requires { B::Masking::config; }) json["masks"].update(detail::fields_of(B::Masking::config));
  json["decoder"] = detail::fields_of(B::Dec::config);
  json["decoder"]["sees_all"] = B::Dec::sees_all;
  return json;
}

/// Writes a checkpoint; an existing file is replaced only once the new one is complete and on disk. `extra` is kept
/// with it (options, progress of the caller). Throws FileError; the old file then stays.
template <class Model>
void save_checkpoint(const std::string& path, const TrainingState& state, const Json& extra = Json::object()) {
  using P = typename Model::template Parameters<float>;
  std::vector<Tensor> tensors;
  for (const auto& [prefix, buffer] : {std::pair{"student.", state.weights}, std::pair{"teacher.", state.teacher},
                                       std::pair{"adam_m.", state.m}, std::pair{"adam_v.", state.v}})
    for (Tensor& tensor : named_tensors<P>(buffer, prefix)) tensors.push_back(std::move(tensor));
  write_safetensors(path, tensors,
                    {{"schema", std::to_string(checkpoint_schema)},
                     {"data2vec", version},
                     {"instruction_set", isa::Native::name},
                     {"updates", std::to_string(*state.updates)},
                     {"configuration", describe_model<Model>().dump()},
                     {"extra", extra.dump()}});
}

/// Reads a checkpoint into `state` and returns what was kept as `extra`. Throws FileError for a file that is not a
/// checkpoint, and MismatchError, listing every difference of configuration, names and shapes, for one of another
/// model; `state` then stays as it was.
template <class Model>
Json load_checkpoint(const std::string& path, const TrainingState& state) {
  using P = typename Model::template Parameters<float>;
  const SafetensorsFile file = SafetensorsFile::open(path);
  const auto entry = [&](const char* key) -> const std::string& {
    const auto found = file.metadata().find(key);
    if (found == file.metadata().end())
      throw FileError(path, std::string("expected a checkpoint with the metadata entry \"") + key + "\", found none");
    return found->second;
  };
  const std::string& schema = entry("schema");
  if (schema != std::to_string(checkpoint_schema))
    throw FileError(path, "expected a checkpoint of schema " + std::to_string(checkpoint_schema) + ", found " + schema);
  std::string differences;
  detail::list_differences(describe_model<Model>(), parse_json(entry("configuration"), path), "", differences);
  if (!differences.empty()) throw MismatchError(path + ": a checkpoint of another configuration:" + differences);
  const Json extra = parse_json(entry("extra"), path);
  std::int64_t updates = 0;
  const std::string& count = entry("updates");
  if (std::from_chars(count.data(), count.data() + count.size(), updates).ptr != count.data() + count.size())
    throw FileError(path, "expected the number of updates, found \"" + count + "\"");
  // All or nothing: into buffers of our own first.
  const auto read = [&](const char* prefix) {
    Buffer<float> buffer(buffer_size<P>);
    load_weights<P>(file, buffer.data(), prefix);
    return buffer;
  };
  const Buffer<float> weights = read("student."), teacher = read("teacher."), m = read("adam_m."), v = read("adam_v.");
  std::copy(weights.begin(), weights.end(), state.weights);
  std::copy(teacher.begin(), teacher.end(), state.teacher);
  std::copy(m.begin(), m.end(), state.m);
  std::copy(v.begin(), v.end(), state.v);
  *state.updates = updates;
  return extra;
}

}  // namespace data2vec::inline v0
