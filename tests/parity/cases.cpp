// SPDX-License-Identifier: MIT
// Classification of the files of a folder; see cases.hpp.
#include "cases.hpp"

#include <algorithm>
#include <filesystem>
#include <stdexcept>

#include <nlohmann/json.hpp>

#include <data2vec/io/safetensors.hpp>

#include "generate.hpp"

namespace data2vec::parity {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::json;

constexpr const char* speech_kind = "speech CTC fine-tuning";
constexpr const char* ctc_kind = "CTC loss on its own";

bool every_value(const Json& json, const char* key) {
  return !json.empty() && std::all_of(json.begin(), json.end(),
                                      [key](const Json& value) { return value.is_object() && value.contains(key); });
}

bool some_value(const Json& json, const char* key) {
  return std::any_of(json.begin(), json.end(),
                     [key](const Json& value) { return value.is_object() && value.contains(key); });
}

/// The shapes that are part of a case's type. Throws FileError or UnsupportedOption.
CaseShapes shapes_of(const SafetensorsFile& tensors, bool masks, const std::string& prefix = "") {
  const auto extent = [&](const char* key, std::size_t rank, std::size_t axis) {
    const std::string name = prefix + key;
    const Tensor& tensor = tensors.at(name);
    if (tensor.shape.size() != rank || tensor.shape[axis] > 1'000'000)
      throw UnsupportedOption(name + ": expected rank " + std::to_string(rank) +
                              " and extents up to 1000000, found " + shape_text(tensor.shape));
    return static_cast<int>(tensor.shape[axis]);
  };
  CaseShapes s{.padded = tensors.find(prefix + "in.padding_mask") != nullptr};
  if (tensors.at(prefix + "in.source").shape.size() == 2) {
    s.batch = extent("in.source", 2, 0);
    s.height = 1;
    s.width = extent("in.source", 2, 1);
  } else {
    s = {.batch = extent("in.source", 4, 0), .channels = extent("in.source", 4, 1),
         .height = extent("in.source", 4, 2), .width = extent("in.source", 4, 3)};
  }
  if (!masks) return s;
  s.rows = extent("in.ids_keep", 2, 0);
  s.visible = extent("in.ids_keep", 2, 1);
  s.tokens = extent("in.mask", 2, 1);
  const auto mask = tensors.at(prefix + "in.mask").as<std::uint8_t>();
  for (std::size_t row = 0; row < mask.size() / static_cast<std::size_t>(s.tokens); ++row) {
    const auto begin = mask.begin() + static_cast<std::ptrdiff_t>(row) * s.tokens;
    const int count = static_cast<int>(std::count_if(begin, begin + s.tokens, [](std::uint8_t m) { return m != 0; }));
    if (row == 0) s.masked = count;
    if (count != s.masked)
      throw UnsupportedOption("in.mask: expected " + std::to_string(s.masked) + " hidden tokens in every row, found " +
                              std::to_string(count) + " in row " + std::to_string(row));
  }
  return s;
}

bool has_twin(const std::string& path) {
  return fs::exists(fs::path(path).replace_extension(".safetensors"));
}

void generate(FoundCase& c, const Json& json, const std::string& sources) {
  const bool pretrain = c.kind == CaseKind::pretrain;
  const std::string kind = pretrain ? "" : json["kind"].get<std::string>();
  const bool sentences = kind.starts_with("text"), letters = kind == speech_kind, ctc = kind == ctc_kind;
  const fs::path header = fs::path(sources) / (pretrain         ? "pretrain.hpp"
                                               : sentences      ? "sentences.hpp"
                                               : letters || ctc ? "recogniser.hpp"
                                                                : "finetune.hpp");
  if (!fs::exists(header)) {
    c.kind = CaseKind::skipped;
    c.text = std::string(pretrain ? "pre-training" : "fine-tuning") + " is not built yet";
    return;
  }
  const auto tensors = SafetensorsFile::open(fs::path(c.path).replace_extension(".safetensors").string());
  if (const Json order = json.value("modalities", Json::array()); pretrain && order.size() > 1) {
    std::vector<CaseShapes> shapes;
    for (std::size_t i = 0; i < order.size(); ++i)
      shapes.push_back(shapes_of(tensors, true, "step" + std::to_string(i) + "." + order[i].get<std::string>() + "."));
    c.source = multimodal_source(json, shapes);
    return;
  }
  if (ctc) {
    const Tensor& logits = tensors.at("in.logits");
    if (logits.shape.size() != 3) throw UnsupportedOption("in.logits: expected rank 3");
    const auto extent = [&](std::size_t axis) { return static_cast<int>(logits.shape[axis]); };
    c.source = ctc_source(json, {.batch = extent(1), .height = extent(0), .width = extent(2)});
    return;
  }
  const CaseShapes shapes = shapes_of(tensors, pretrain);
  c.source = pretrain    ? pretrain_source(json, shapes)
             : sentences ? sentences_source(json, shapes)
             : letters   ? recogniser_source(json, shapes)
                         : finetune_source(json, shapes);
}

void skip(FoundCase& c, const std::string& system) {
  c.kind = CaseKind::skipped;
  c.text = system + " is not built yet";
}

void classify_json(FoundCase& c, const Json& json, const std::string& sources) {
  const bool twin = has_twin(c.path);
  const auto need_twin = [&] {
    if (!twin) throw std::runtime_error("expected a safetensors file of the same name, found none");
  };
  if (!json.is_object()) {
    c.text = "not a case";
  } else if (json.contains("kind") && json["kind"].is_string()) {
    const std::string kind = json["kind"];
    need_twin();
    const bool sentences = kind.starts_with("text classification fine-tuning");
    if (const System* const system = system_of(kind); system && fs::exists(fs::path(sources) / system->header)) {
      c.kind = CaseKind::pretrain;
      c.source = system->source(json, SafetensorsFile::open(fs::path(c.path).replace_extension(".safetensors").string()));
      return;
    }
    const bool speech = kind == speech_kind || kind == ctc_kind;
    if (kind != "image classification fine-tuning" && !((sentences || speech) && !json.contains("system"))) {
      const Json system = json.value("system", Json());
      return skip(c, system.is_string() ? system.get<std::string>() + " (" + kind + ")" : kind);
    }
    c.kind = CaseKind::finetune;
    generate(c, json, sources);
  } else if (json.contains("model") && json.contains("tensors")) {
    need_twin();
    c.kind = CaseKind::pretrain;
    generate(c, json, sources);
  } else if (json.contains("cosine") || json.contains("tri_stage") || json.contains("polynomial_decay") ||
             json.contains("ema_decay")) {
    c.kind = CaseKind::schedules;
  } else if (some_value(json, "draws") && some_value(json, "mask_prob")) {
    c.kind = CaseKind::mask_statistics;
  } else if (every_value(json, "tensors") && every_value(json, "total_elements")) {
    c.kind = CaseKind::state_dicts;
  } else if (every_value(json, "betas") && every_value(json, "steps")) {
    need_twin();
    c.kind = CaseKind::standalone;
  } else if (some_value(json, "samples") && some_value(json, "mean_masked")) {
    c.kind = CaseKind::baseline_masks;
  } else if (twin) {
    throw std::runtime_error("expected a case or a table (kind, model and tensors, ...), found neither");
  } else {
    c.text = "not a case";
  }
}

}  // namespace

FoundCase classify(const std::string& path, const std::string& name, const std::string& sources) {
  FoundCase c{path, name, CaseKind::other, "", "", ""};
  try {
    const auto bytes = read_file(path);
    const char* text = reinterpret_cast<const char*>(bytes.data());
    classify_json(c, Json::parse(text, text + bytes.size()), sources);
  } catch (const std::exception& error) {
    c.kind = CaseKind::broken;
    c.text = error.what();
  }
  return c;
}

std::vector<FoundCase> find_cases(const std::string& folder, const std::string& sources) {
  std::vector<fs::path> paths;
  const auto options = fs::directory_options::follow_directory_symlink | fs::directory_options::skip_permission_denied;
  for (const auto& entry : fs::recursive_directory_iterator(folder, options))
    if (entry.path().extension() == ".json" && entry.is_regular_file()) paths.push_back(entry.path());
  std::sort(paths.begin(), paths.end());
  std::vector<FoundCase> cases;
  for (const fs::path& path : paths) {
    const std::string name = path.lexically_relative(folder).replace_extension().string();
    cases.push_back(classify(path.string(), name, sources));
  }
  return cases;
}

void use_device(FoundCase& found, bool in_bfloat16) {
  static constexpr std::pair<const char*, const char*> lacks[] = {
      {"CrossAttentionDecoder", "the cross-attention decoder"},
      {".clear_padding = true", "padding of wav2vec 2.0"},
  };
  for (const auto& [mark, what] : lacks)
    if (found.source.find(mark) != std::string::npos) {
      found.kind = CaseKind::skipped;
      found.text = std::string(what) + " on a GPU";
      return;
    }
  // #include "HEADER", types, and a main() that runs run_KIND<Model, ...>.
  const std::string how = in_bfloat16 ? "_in_bfloat16" : "_on_device";
  std::string& host = found.source;
  const std::size_t types = host.find("\n\n") + 2, main = host.find("int main("), run = host.find("run_", main);
  const std::size_t arguments = host.find('<', run), end = host.find(')', arguments);
  found.device_source = "#include \"device_step.cuh\"\n\n" + host.substr(types, main - types) +
                        "data2vec::LossSums data2vec::parity::device_step(int branch, const DeviceStep& step) {\n"
                        "  return steps" + how + host.substr(arguments, end - arguments) + "(branch, step);\n}\n";
  host.insert(arguments, how);
}

}  // namespace data2vec::parity
