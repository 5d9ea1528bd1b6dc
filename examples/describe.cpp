// SPDX-License-Identifier: MIT
// What is known of a model before anything runs: parameters, operations of a step, memory, the table of its tensors.
// All numbers are constants of the types: no weight is allocated and no kernel runs.
#include <array>
#include <cstdio>
#include <string>
#include <vector>

#include <CLI/CLI.hpp>

#include <data2vec/data2vec.hpp>

#include "examples/vision/model.hpp"

namespace d2v = data2vec;

namespace {

struct Description {
  const char* name;
  int tokens, visible, masks, embed_dim, depth, heads, prenet;
  std::size_t parameters, without_decoder, teacher;
  d2v::StepFlops flops;  // per sample
  int chunk, group;      // samples, masks of each at a time
  std::size_t state_bytes, worker_bytes;
  int (*workers)(int threads);
  bool mae_init;
  std::vector<d2v::TensorInfo> (*tensors)();
  bool (*in_teacher)(std::string_view);

  /// Resident on the CPU with `threads` threads, whatever the batch.
  double resident_bytes(int threads) const {
    return static_cast<double>(state_bytes) + workers(threads) * static_cast<double>(worker_bytes);
  }
};

template <class Model>
Description describe(const char* name) {
  using Branch = typename Model::First;
  using Parameters = typename Model::template Parameters<float>;
  using Trainer = d2v::Trainer<Model, d2v::Cpu>;
  constexpr int chunk = d2v::default_chunk<Branch>;
  return {.name = name,
          .tokens = Branch::T_,
          .visible = Branch::V,
          .masks = Branch::masks,
          .embed_dim = Model::config.embed_dim,
          .depth = Model::config.depth,
          .heads = Model::config.num_heads,
          .prenet = Branch::Enc::prenet_depth,
          .parameters = Model::parameter_count,
          .without_decoder = Model::encoder_parameter_count,
          .teacher = Model::teacher_parameter_count,
          .flops = Model::template step_flops<0>,
          .chunk = chunk,
          .group = d2v::masks_at_a_time<Branch, chunk>,
          .state_bytes = Trainer::state_bytes,
          .worker_bytes = Trainer::worker_bytes,
          .workers = [](int threads) { return Trainer::workers(threads); },
          .mae_init = Model::config.mae_init,
          .tensors =
              [] {
                const auto& table = d2v::tensor_table<Parameters>;
                return std::vector(table.begin(), table.end());
              },
          .in_teacher = [](std::string_view tensor) { return Model::in_teacher(tensor); }};
}

std::string formatted(const char* format, double value) {
  std::array<char, 64> text;
  std::snprintf(text.data(), text.size(), format, value);
  return text.data();
}

/// 88383744 as "88,383,744".
std::string grouped(std::size_t value) {
  std::string text = std::to_string(value);
  for (std::size_t i = text.size(); i > 3; i -= 3) text.insert(i - 3, ",");
  return text;
}

void print_table(const std::vector<Description>& models, int threads) {
  const auto row = [&](const std::string& what, auto&& cell) {
    std::printf("%-34s", what.c_str());
    for (const Description& m : models) std::printf(" %19s", std::string(cell(m)).c_str());
    std::printf("\n");
  };
  const auto number = [&](const char* what, int Description::*member) {
    row(what, [=](const Description& m) { return std::to_string(m.*member); });
  };
  const auto count = [&](const char* what, std::size_t Description::*member) {
    row(what, [=](const Description& m) { return grouped(m.*member); });
  };
  const auto gflop = [&](const char* what, double d2v::StepFlops::*part) {
    row(what, [=](const Description& m) { return formatted("%.3f", m.flops.*part / 1e9); });
  };
  const auto megabytes = [](double bytes) { return formatted("%.1f", bytes / 1e6); };
  row("", [](const Description& m) { return m.name; });
  number("tokens", &Description::tokens);
  number("visible tokens", &Description::visible);
  number("masks of a sample", &Description::masks);
  number("embed_dim", &Description::embed_dim);
  number("depth", &Description::depth);
  number("num_heads", &Description::heads);
  number("prenet_depth", &Description::prenet);
  count("parameters", &Description::parameters);
  count("  without the decoder", &Description::without_decoder);
  count("  owned by the teacher", &Description::teacher);
  row("GFLOP of a step, per sample", [](const Description& m) { return formatted("%.3f", m.flops.total() / 1e9); });
  gflop("  student", &d2v::StepFlops::student);
  gflop("  teacher", &d2v::StepFlops::teacher);
  gflop("  decoder", &d2v::StepFlops::decoder);
  gflop("  local encoder", &d2v::StepFlops::local);
  number("samples of a chunk", &Description::chunk);
  number("masks at a time", &Description::group);
  row("MB of a worker: workspace, gradient",
      [&](const Description& m) { return megabytes(static_cast<double>(m.worker_bytes)); });
  row("MB resident, threads: " + std::to_string(threads),
      [&](const Description& m) { return megabytes(m.resident_bytes(threads)); });
}

std::string initialiser(const d2v::TensorInfo& info, bool mae_init) {
  const d2v::Init init = d2v::detail::effective_init(info, mae_init);
  const std::string rest = init.zero_row < 0 ? "" : ", row " + std::to_string(init.zero_row) + " zero";
  switch (init.kind) {
    case d2v::Distribution::zeros: return "0";
    case d2v::Distribution::constant: return formatted("%g", init.scale);
    case d2v::Distribution::normal: return formatted("normal %g", init.scale) + rest;
    case d2v::Distribution::truncated_normal: return formatted("truncated normal %g", init.scale);
    case d2v::Distribution::uniform: return formatted("uniform +-%.6f", init.scale);
    case d2v::Distribution::fixed: break;
  }
  return "table";
}

void print_tensors(const Description& model) {
  std::printf("%-64s %-18s %-24s %-7s %-7s %s\n", "name", "shape", "starts as", "trained", "teacher", "decays");
  const auto yes = [](bool value) { return value ? "yes" : "no"; };
  for (const d2v::TensorInfo& info : model.tensors()) {
    std::string shape;
    for (int i = 0; i < info.rank; ++i)
      shape += (i > 0 ? "x" : "") + std::to_string(info.shape[static_cast<std::size_t>(i)]);
    const std::string name(info.name.view()), start = initialiser(info, model.mae_init);
    std::printf("%-64s %-18s %-24s %-7s %-7s %s\n", name.c_str(), shape.c_str(), start.c_str(), yes(info.trained),
                yes(model.in_teacher(name)), yes(info.trained && !info.exempt_from_decay()));
  }
}

}  // namespace

int main(int argc, char** argv) {
  bool demo = false;
  int threads = 1;
  std::string tensors;
  CLI::App app{"Parameters, operations and memory of the published models, as their types know them."};
  app.add_flag("--demo", demo, "also the demo's model");
  app.add_option("--threads", threads, "threads that memory is computed for")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  app.add_option("--tensors", tensors, "instead: the tensors of one model; weight decay as DecayScope::matrices has it")
      ->check(CLI::IsMember({"VisionBase", "VisionLarge", "VisionHuge", "VisionHuge14", "MaeBase", "Data2Vec1VisionBase",
                             "demo"}));
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : 2;
  }
  std::vector<Description> models{describe<d2v::VisionBase>("VisionBase"), describe<d2v::VisionLarge>("VisionLarge"),
                                  describe<d2v::VisionHuge>("VisionHuge"), describe<d2v::VisionHuge14>("VisionHuge14"),
                                  describe<d2v::MaeBase>("MaeBase"),
                                  describe<d2v::Data2Vec1VisionBase>("Data2Vec1VisionBase")};
  if (demo || tensors == "demo") models.push_back(describe<demo::Model>("demo"));
  if (tensors.empty()) print_table(models, threads);
  for (const Description& model : models)
    if (tensors == model.name) print_tensors(model);
  return 0;
}
