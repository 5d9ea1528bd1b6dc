// SPDX-License-Identifier: MIT
// Checkpoints: everything that a training needs to go on to the bit, in one safetensors file that describes itself.
// Tensors are "student.", "teacher.", "adam_m." and "adam_v." with the reference's names (without a teacher "weights."
// and the moments); the metadata hold the model's configuration and the training's progress as JSON.
#pragma once

#include <algorithm>
#include <charconv>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <span>
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

/// What makes a model the one that it is, as JSON: what its `describe(f)` calls f(name, configuration) with, or, of a
/// model without that, encoder, modalities, masks and decoders. Specialise it for what has checkpoints and is no model
/// of the library's, as finetune/checkpoint.hpp does for classifiers.
template <class Model>
struct Description {
  static Json json() {
    if constexpr (requires { Model::lengths; Model::FirstModel::system; }) {
      Json json = Description<typename Model::FirstModel>::json();
      json["lengths"] = Model::lengths;
      return json;
    } else if constexpr (requires { Model::system; }) {
      Json json = {{"system", Model::system}};
      Model::describe([&](const char* name, const auto& config) { json[name] = detail::fields_of(config); });
      return json;
    } else {
      return of_branches();
    }
  }

 private:
  static Json of_branches() {
    Json json = of<0>();
    json["model"] = detail::fields_of(Model::config);
    using SharedDec = typename Model::First::SharedDec;
    if constexpr (Model::First::has_shared) json["shared_decoder"] = detail::fields_of(SharedDec::config);
    if constexpr (requires { Model::lengths; }) {  // what else its branches are made of is the same
      json["lengths"] = Model::lengths;
      return json;
    }
    [&]<int... i>(std::integer_sequence<int, i...>) {
      ((json["further"][Model::template BranchAt<i + 1>::M::name] = of<i + 1>()), ...);
    }(std::make_integer_sequence<int, Model::branches - 1>{});
    return json;
  }

  /// Modality, masks and decoder of branch `i`.
  template <int i>
  static Json of() {
    using B = typename Model::template BranchAt<i>;
    Json json = {{"modality", {{"name", B::M::name}}}};
    if constexpr (requires { B::M::vision; }) json["modality"].update(detail::fields_of(B::M::vision));
    else if constexpr (requires { B::M::speech; }) json["modality"].update(detail::fields_of(B::M::speech));
    else if constexpr (requires { B::M::text; }) json["modality"].update(detail::fields_of(B::M::text));
    else json["modality"].update(detail::fields_of(B::M::config));
    json["masks"] = {{"tokens", B::T_}, {"visible", B::V}, {"masked", B::R}};
    if constexpr (requires { B::Masking::config; }) json["masks"].update(detail::fields_of(B::Masking::config));
    json["decoder"] = detail::fields_of(B::Dec::config);
    json["decoder"]["sees_all"] = B::Dec::sees_all;
    return json;
  }
};

/// The configuration of a model as JSON: encoder, modality, masks, decoder, those of further branches; of a classifier: encoder, modality, head.
template <class Model>
Json describe_model() {
  return Description<Model>::json();
}

namespace detail {

struct CheckpointPart {
  const char* prefix;
  float* buffer;
};

/// The buffers of a training, with what stands before the names of their tensors.
inline std::vector<CheckpointPart> checkpoint_parts(const TrainingState& state) {
  if (!state.teacher) return {{"weights.", state.weights}, {"adam_m.", state.m}, {"adam_v.", state.v}};
  return {{"student.", state.weights}, {"teacher.", state.teacher}, {"adam_m.", state.m}, {"adam_v.", state.v}};
}

}  // namespace detail

/// Writes a checkpoint of Trainer::state() or FineTuner::state(); `Model` is their ModelType. An existing file is
/// replaced only once the new one is complete and on disk. `extra` is kept with it (options, progress of the caller).
/// Throws FileError; the old file then stays.
template <class Model>
void save_checkpoint(const std::string& path, const TrainingState& state, const Json& extra = Json::object()) {
  using P = typename Model::template Parameters<float>;
  std::vector<Tensor> tensors;
  for (const auto& [prefix, buffer] : detail::checkpoint_parts(state))
    for (Tensor& tensor : named_tensors<P>(buffer, prefix)) tensors.push_back(std::move(tensor));
  SafetensorsMetadata metadata{{"schema", std::to_string(checkpoint_schema)},
                               {"data2vec", version},
                               {"instruction_set", isa::Native::name},
                               {"updates", std::to_string(*state.updates)},
                               {"configuration", describe_model<Model>().dump()},
                               {"extra", extra.dump()}};
  if (!state.branch_updates.empty())
    metadata.emplace("branch_updates",
                     Json(std::vector<std::int64_t>(state.branch_updates.begin(), state.branch_updates.end())).dump());
  write_safetensors(path, tensors, metadata);
}

namespace detail {

inline const std::string& checkpoint_entry(const SafetensorsFile& file, const char* key) {
  const auto found = file.metadata().find(key);
  if (found == file.metadata().end())
    throw FileError(file.file(), std::string("expected a checkpoint with the metadata entry \"") + key +
                                     "\", found none");
  return found->second;
}

}  // namespace detail

/// Compares a model's configuration with the one that a checkpoint or an encoder holds: all of it, or only `parts`
/// ("model", "modality", "masks", "decoder"), and of these all fields but `free`. Throws MismatchError with every
/// difference, FileError where the file holds none.
template <class Model>
void expect_configuration(const SafetensorsFile& file, std::initializer_list<const char*> parts = {},
                          std::initializer_list<const char*> free = {}) {
  Json expected = describe_model<Model>();
  Json found = parse_json(detail::checkpoint_entry(file, "configuration"), file.file());
  if (parts.size() > 0) {
    Json some = Json::object(), others = Json::object();
    for (const char* part : parts) {
      some[part] = expected[part];
      if (found.contains(part)) others[part] = found[part];
      for (const char* field : free) {
        some[part].erase(field);
        if (others.contains(part) && others[part].is_object()) others[part].erase(field);
      }
    }
    expected = std::move(some), found = std::move(others);
  }
  std::string differences;
  detail::list_differences(expected, found, "", differences);
  if (!differences.empty()) throw MismatchError(file.file() + ": of another configuration:" + differences);
}

namespace detail {

template <class Model>
void expect_checkpoint(const SafetensorsFile& file) {
  const std::string& schema = checkpoint_entry(file, "schema");
  if (schema != std::to_string(checkpoint_schema))
    throw FileError(file.file(), "expected a checkpoint of schema " + std::to_string(checkpoint_schema) + ", found " +
                                     schema);
  expect_configuration<Model>(file);
}

}  // namespace detail

/// What was kept with a checkpoint as `extra`. Throws FileError for a file that is not a checkpoint.
inline Json checkpoint_extra(const SafetensorsFile& file) {
  return parse_json(detail::checkpoint_entry(file, "extra"), file.file());
}

/// Reads a checkpoint into `state` and returns what was kept as `extra`. Throws FileError for a file that is not a
/// checkpoint, and MismatchError, listing every difference of configuration, names and shapes, for one of another
/// model; `state` then stays as it was.
template <class Model>
Json load_checkpoint(const std::string& path, const TrainingState& state) {
  using P = typename Model::template Parameters<float>;
  const SafetensorsFile file = SafetensorsFile::open(path);
  detail::expect_checkpoint<Model>(file);
  const Json extra = checkpoint_extra(file);
  std::int64_t updates = 0;
  const std::string& count = detail::checkpoint_entry(file, "updates");
  if (std::from_chars(count.data(), count.data() + count.size(), updates).ptr != count.data() + count.size())
    throw FileError(path, "expected the number of updates, found \"" + count + "\"");
  std::vector<std::int64_t> branch_updates;
  if (!state.branch_updates.empty()) {
    const std::string& counts = detail::checkpoint_entry(file, "branch_updates");
    const Json json = parse_json(counts, path);
    for (const Json& each : json.is_array() ? json : Json::array())
      branch_updates.push_back(each.is_number_integer() ? each.template get<std::int64_t>() : -1);
    if (branch_updates.size() != state.branch_updates.size() ||
        std::any_of(branch_updates.begin(), branch_updates.end(), [](std::int64_t n) { return n < 0; }))
      throw FileError(path, "expected the numbers of updates of " + std::to_string(state.branch_updates.size()) +
                                " branches, found \"" + counts + "\"");
  }
  const auto parts = detail::checkpoint_parts(state);
  std::vector<Buffer<float>> read;  // all or nothing: into buffers of our own first
  for (const auto& part : parts) load_weights<P>(file, read.emplace_back(buffer_size<P>).data(), part.prefix);
  for (std::size_t i = 0; i < parts.size(); ++i) std::copy(read[i].begin(), read[i].end(), parts[i].buffer);
  *state.updates = updates;
  std::copy(branch_updates.begin(), branch_updates.end(), state.branch_updates.begin());
  return extra;
}

/// The encoder of a checkpoint as a buffer of Model::Parameters: the student's weights or, with `teacher`, the teacher's
/// where it owns a tensor. Throws as load_checkpoint.
template <class Model>
Buffer<float> checkpoint_encoder(const SafetensorsFile& file, bool teacher = false) {
  using P = typename Model::template Parameters<float>;
  detail::expect_checkpoint<Model>(file);
  Buffer<float> weights(buffer_size<P>), owned(buffer_size<P>);
  load_weights<P>(file, weights.data(), Model::has_teacher ? "student." : "weights.");
  if (!teacher) return weights;
  if (!Model::has_teacher) throw FileError(file.file(), "expected a checkpoint with a teacher, found one without");
  load_weights<P>(file, owned.data(), "teacher.");
  for (const TensorInfo& info : tensor_table<P>)
    if (Model::in_teacher(info.name.view()))
      std::copy_n(owned.data() + info.offset, info.size, weights.data() + info.offset);
  return weights;
}

namespace detail {

template <class Model, class Write>
auto with_encoder(std::span<const float> student, std::span<const float> teacher, SafetensorsMetadata metadata,
                  Write&& write) {
  using P = typename Model::template Parameters<float>;
  for (const auto part : {student, teacher.empty() ? student : teacher})
    if (part.size() != buffer_size<P>)
      throw MismatchError("save_encoder: expected a buffer of the model's parameters, " +
                          std::to_string(buffer_size<P>) + " numbers, found " + std::to_string(part.size()));
  std::vector<Tensor> tensors;
  const std::vector<Tensor> own = named_tensors<P>(student.data()),
                            moved = named_tensors<P>((teacher.empty() ? student : teacher).data());
  for (std::size_t i = 0; i < own.size(); ++i)
    if (!Model::in_decoder(own[i].name)) tensors.push_back(Model::in_teacher(own[i].name) ? moved[i] : own[i]);
  metadata.emplace("data2vec", version);
  metadata.emplace("encoder", teacher.empty() ? "student" : "teacher");
  metadata.emplace("configuration", describe_model<Model>().dump());
  return write(tensors, metadata);
}

}  // namespace detail

/// Writes the encoder alone, without decoders, under the reference's names. `student` is a buffer of Model::Parameters
/// (a trainer's weights()); with `teacher` (its teacher()) those tensors that the teacher owns are the teacher's.
/// read_encoder (finetune/encoder_file.hpp) reads it for FineTuner and Features. Throws FileError and MismatchError.
template <class Model>
void save_encoder(const std::string& path, std::span<const float> student, std::span<const float> teacher = {},
                  const SafetensorsMetadata& metadata = {}) {
  detail::with_encoder<Model>(student, teacher, metadata, [&](const auto& tensors, const auto& entries) {
    write_safetensors(path, tensors, entries);
  });
}

/// The same bytes in memory (SafetensorsFile::from_bytes reads them).
template <class Model>
std::vector<std::byte> encoder_bytes(std::span<const float> student, std::span<const float> teacher = {},
                                     const SafetensorsMetadata& metadata = {}) {
  return detail::with_encoder<Model>(student, teacher, metadata, [](const auto& tensors, const auto& entries) {
    return safetensors_bytes(tensors, entries);
  });
}

}  // namespace data2vec::inline v0
