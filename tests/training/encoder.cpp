// SPDX-License-Identifier: MIT
// The encoder alone, of a trainer or of a checkpoint: which tensors, whose, to files and bytes and back.
#include <doctest/doctest.h>

#include <filesystem>
#include <string>

#include <unistd.h>

#include <data2vec/finetune/encoder_file.hpp>
#include <data2vec/training/checkpoint.hpp>

#include "support.hpp"

using namespace training_support;

namespace {

namespace fs = std::filesystem;

/// The teacher owns the shared blocks and the prenet, not the local encoder.
inline constexpr ModalityConfig own_front = [] {
  ModalityConfig m = tiny_modality;
  m.ema_local_encoder = false;
  return m;
}();
struct OwnFront : Data2Vec2<tiny_config, Branch<Images<own_front>, Masks, Conv2dDecoder<tiny_decoder>>> {};

struct Folder {
  fs::path path = fs::temp_directory_path() / ("data2vec_encoder_" + std::to_string(::getpid()));
  Folder() { fs::create_directories(path); }
  ~Folder() { fs::remove_all(path); }
  std::string operator/(const char* name) const { return (path / name).string(); }
};

template <class Model>
struct Trained : Trainer<Model, Cpu> {
  Trained() : Trainer<Model, Cpu>(fast_options<Model>()) {
    for (std::uint32_t i = 0; i < 3; ++i) this->step(waves(16, 16 * i).batch());
  }
};

/// Elements of the encoder in which `found` is not what it should be, those of the decoder in which it is not 0.
template <class Model>
int wrong(const Buffer<float>& found, std::span<const float> student, std::span<const float> teacher) {
  int count = 0;
  for (const TensorInfo& info : tensor_table<typename Model::template Parameters<float>>) {
    const auto name = info.name.view();
    const auto& from = !teacher.empty() && Model::in_teacher(name) ? teacher : student;
    for (std::size_t i = info.offset; i < info.offset + info.size; ++i)
      count += found[i] != (Model::in_decoder(name) ? 0 : from[i]);
  }
  return count;
}

std::string error_of(auto&& f) {
  try {
    f();
  } catch (const Error& error) {
    return error.what();
  }
  return "no error";
}

}  // namespace

TEST_CASE_TEMPLATE("save_encoder: the student's or the teacher's tensors, to a file and to bytes", Model, Tiny,
                   OwnFront) {
  const Folder folder;
  const Trained<Model> trainer;
  REQUIRE(!same_bits(trainer.weights(), trainer.teacher()));
  for (const bool teacher : {false, true}) {
    INFO("teacher ", teacher);
    const std::span<const float> second = teacher ? trainer.teacher() : std::span<const float>();
    save_encoder<Model>(folder / "encoder", trainer.weights(), second, {{"origin", "test"}});
    const auto file = SafetensorsFile::open(folder / "encoder");
    CHECK(file.metadata().at("encoder") == (teacher ? "teacher" : "student"));
    CHECK(file.metadata().at("origin") == "test");
    CHECK(parse_json(file.metadata().at("configuration"), "") == describe_model<Model>());
    std::size_t elements = 0;
    for (const Tensor& tensor : file) elements += tensor.data.size() / sizeof(float);
    CHECK(elements == Model::encoder_parameter_count);
    CHECK(wrong<Model>(read_encoder<Model>(file), trainer.weights(), second) == 0);
    const auto bytes = encoder_bytes<Model>(trainer.weights(), second);
    CHECK(wrong<Model>(read_encoder<Model>(SafetensorsFile::from_bytes(bytes)), trainer.weights(), second) == 0);
  }
}

TEST_CASE_TEMPLATE("checkpoint_encoder: the same from a checkpoint", Model, Tiny, OwnFront) {
  const Folder folder;
  Trained<Model> trainer;
  save_checkpoint<Model>(folder / "checkpoint", trainer.state(), {{"batch", 16}});
  const auto file = SafetensorsFile::open(folder / "checkpoint");
  CHECK(checkpoint_extra(file)["batch"] == 16);
  for (const bool teacher : {false, true}) {
    INFO("teacher ", teacher);
    const Buffer<float> found = checkpoint_encoder<Model>(file, teacher);
    int differing = 0;
    for (const TensorInfo& info : tensor_table<typename Model::template Parameters<float>>)
      for (std::size_t i = info.offset; i < info.offset + info.size; ++i)
        differing += found[i] != (teacher && Model::in_teacher(info.name.view()) ? trainer.teacher()[i]
                                                                                 : trainer.weights()[i]);
    CHECK(differing == 0);
  }
}

TEST_CASE("expect_configuration: parts of it, without fields that may differ") {
  const auto file = [](const Json& configuration) {
    return SafetensorsFile::from_bytes(safetensors_bytes({}, {{"configuration", configuration.dump()}}), "file");
  };
  Json other = describe_model<Tiny>();
  other["modality"]["input_size.height"] = 12;
  other["masks"]["visible"] = 1;
  const auto found = [&](std::initializer_list<const char*> parts, std::initializer_list<const char*> free) {
    return error_of([&] { expect_configuration<Tiny>(file(other), parts, free); });
  };
  CHECK(found({"model", "modality"}, {}) == "file: of another configuration:"
                                            "\n  modality.input_size.height: expected 8, found 12");
  CHECK(found({"model", "modality"}, {"input_size.height"}) == "no error");
  CHECK(found({"masks"}, {"input_size.height"}).find("masks.visible: expected") != std::string::npos);
  other["modality"] = 3;
  CHECK(found({"modality"}, {"input_size.height"}).find("modality: expected") != std::string::npos);
}

TEST_CASE("what is not the model's is refused") {
  const Folder folder;
  Trained<Tiny> trainer;
  const std::span<const float> all = trainer.weights();
  const std::string expected = std::to_string(all.size()) + " numbers, found " + std::to_string(all.size() - 1);
  CHECK(error_of([&] { save_encoder<Tiny>(folder / "x", all.first(all.size() - 1)); }).find(expected) !=
        std::string::npos);
  CHECK(error_of([&] { save_encoder<Tiny>(folder / "x", all, all.first(all.size() - 1)); }).find(expected) !=
        std::string::npos);
  CHECK(!fs::exists(folder / "x"));
  save_checkpoint<Tiny>(folder / "checkpoint", trainer.state());
  const auto file = SafetensorsFile::open(folder / "checkpoint");
  CHECK(error_of([&] { checkpoint_encoder<OwnFront>(file); }).find("modality.ema_local_encoder: expected false, found "
                                                                   "true") != std::string::npos);
  save_encoder<Tiny>(folder / "x", all);
  CHECK(error_of([&] { checkpoint_encoder<Tiny>(SafetensorsFile::open(folder / "x")); })
            .find("expected a checkpoint with the metadata entry \"schema\"") != std::string::npos);
}
