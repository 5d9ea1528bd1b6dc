// SPDX-License-Identifier: MIT
// How the cost of a step grows with masks, tokens, width, visible tokens, batch and threads: measured, with what the
// types say of operations and bytes beside it. bench/table.cpp makes the page and the drawing of what this writes.
#include <cstdio>
#include <cstdlib>
#include <iostream>
#include <span>
#include <string>
#include <vector>

#include <CLI/CLI.hpp>

#include <data2vec/io/file.hpp>
#include <data2vec/io/json.hpp>

#include "bench/machine.hpp"
#include "bench/scaling.hpp"
#include "bench/timing.hpp"

#include <step_config.hpp>  // compiler, flags

namespace {

using namespace bench;
using d2v::Json;

struct Axis {
  const char *name, *title, *x_label;
  std::vector<scaling::Point> points;
};

/// Bytes per second that one thread reads and writes in arrays that no cache holds: a[i] = b[i] + s c[i], the best of
/// some passes.
double memory_bandwidth() {
  constexpr std::size_t n = 1 << 24;
  std::vector<float> a(n, 1), b(n, 2), c(n, 3);
  double best = 0;
  for (int pass = 0; pass < 12; ++pass) {
    const double from = clock_seconds(CLOCK_MONOTONIC);
    const float s = 1e-3f * static_cast<float>(pass);
    for (std::size_t i = 0; i < n; ++i) a[i] = b[i] + s * c[i];
    asm volatile("" : : "r"(a.data()) : "memory");
    best = std::max(best, 3.0 * sizeof(float) * n / (clock_seconds(CLOCK_MONOTONIC) - from));
  }
  return best;
}

/// The machine's load of the last minute, this program's own included.
double load() {
  double minute = 0;
  return getloadavg(&minute, 1) == 1 ? minute : 0;
}

/// Steps of all points in turns, so that a change of the machine's load hits all of them: a warm-up, then `most` rounds
/// or those that begin within `budget` seconds, three at least.
std::vector<Measured> measure_in_turns(std::vector<scaling::Point>& points, int most, double budget) {
  std::vector<Measured> measured(points.size());
  for (scaling::Point& point : points) point.run();
  const double begun = clock_seconds(CLOCK_MONOTONIC);
  for (int round = 0; round < most; ++round) {
    if (round >= 3 && clock_seconds(CLOCK_MONOTONIC) - begun > budget) break;
    for (std::size_t i = 0; i < points.size(); ++i) {
      const Measured one = measure(points[i].run, 0, 1, 0);
      measured[i].calls.push_back(one.calls[0]);
    }
  }
  return measured;
}

Json json_of(const scaling::Point& p, const Measured& measured) {
  const Spread wall = spread(measured, 0);
  const double n = p.batch;
  Json j;
  j["x"] = p.x;
  j["masks"] = p.masks;
  j["tokens"] = p.tokens;
  j["visible"] = p.visible;
  j["width"] = p.width;
  j["batch"] = p.batch;
  j["threads"] = p.threads;
  j["units"] = p.units;
  j["parameters"] = p.parameters;
  j["flops"] = {{"local", n * p.flops.local},
                {"teacher", n * p.flops.teacher},
                {"student", n * p.flops.student},
                {"decoder", n * p.flops.decoder},
                {"total", n * p.flops.total()}};
  j["bytes"] = p.bytes;
  j["seconds"] = {{"min", wall.min}, {"median", wall.median}, {"max", wall.max}};
  j["cpu_min"] = spread(measured, 1).min;
  j["queue_wait_median"] = spread(measured, 2).median;
  j["steps"] = measured.calls.size();
  return j;
}

}  // namespace

int main(int argc, char** argv) {
  std::string json, commit, command;
  int rounds = 15;
  double budget = 20;
  CLI::App app{"The cost of a training step as masks, tokens, width, visible tokens, batch and threads grow."};
  app.add_option("--json", json, "file for the results");
  app.add_option("--rounds", rounds, "steps of each point, at most")->check(CLI::Range(1, 1000));
  app.add_option("--budget", budget, "seconds for an axis, about")->check(CLI::Range(0.0, 1e6));
  app.add_option("--commit", commit, "what the results say of the sources");
  app.add_option("--command", command, "what they say of the call");
  app.option_defaults()->always_capture_default();
  try {
    app.parse(argc, argv);
    const int threads = d2v::ThreadTeam(0).size();
    std::vector<Axis> axes{{"masks", "Masks per sample", "masks", scaling::masks_axis()},
                           {"tokens", "Tokens of a sample", "tokens", scaling::tokens_axis()},
                           {"width", "Width", "embed_dim", scaling::width_axis()},
                           {"visible", "Visible tokens of 49", "visible tokens", scaling::visible_axis()},
                           {"batch", "Samples of a step", "samples", scaling::batch_axis()},
                           {"threads", "Threads", "threads", scaling::threads_axis(threads)}};
    const Machine m = this_machine();
    Json r;
    r["what"] = "one training step of tiny28 with one number changed, float32, seconds";
    r["date"] = today();
    r["machine"] = {{"name", m.name},    {"cpu", m.cpu},     {"family", m.family},
                    {"model", m.model},  {"cores", m.cores}, {"memory_gib", m.memory_gib},
                    {"kernel", m.kernel}};
    r["commit"] = commit;
    r["command"] = command;
    r["compiler"] = step_config::compiler;
    r["flags"] = step_config::flags;
    r["isa"] = d2v::Cpu::isa::name;
    r["fma_peak_flops_per_s"] = fma_peak<d2v::Cpu::isa>(1);
    r["bandwidth_bytes_per_s"] = memory_bandwidth();
    const double load_before = load();
    r["axes"] = Json::array();
    for (Axis& axis : axes) {
      const auto measured = measure_in_turns(axis.points, rounds, budget);
      Json points = Json::array();
      for (std::size_t i = 0; i < measured.size(); ++i) {
        points.push_back(json_of(axis.points[i], measured[i]));
        std::printf("%-8s %4g: best %9.3f ms, median %9.3f ms of %zu steps\n", axis.name, axis.points[i].x,
                    1e3 * spread(measured[i], 0).min, 1e3 * spread(measured[i], 0).median, measured[i].calls.size());
      }
      r["axes"].push_back({{"name", axis.name}, {"title", axis.title}, {"x_label", axis.x_label}, {"points", points}});
      std::fflush(stdout);
      axis.points.clear();  // and their memory
    }
    r["load"] = {load_before, load()};
    if (!json.empty()) {
      const std::string text = r.dump(1) + "\n";
      d2v::AtomicFile file(json, text.size());
      file.write(std::as_bytes(std::span(text)));
      file.commit();
    }
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : 2;
  } catch (const std::exception& error) {
    std::cerr << "scaling: " << error.what() << "\n";
    return 1;
  }
  return 0;
}
