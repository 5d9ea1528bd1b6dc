// SPDX-License-Identifier: MIT
// One whole training step, or the features of a batch, of one configuration: the counterpart of
// bench/peer/torch_data2vec2.py with its options and the keys of its report. It is compiled for the configuration,
// the system and the masks per sample of <step_config.hpp>, which CMake writes (D2V_BENCH_CONFIG, D2V_BENCH_SYSTEM,
// D2V_BENCH_MASKS).
#include <algorithm>
#include <cstdio>
#include <functional>
#include <iostream>
#include <memory>
#include <numeric>
#include <span>
#include <string>
#include <vector>

#include <CLI/CLI.hpp>

#include <data2vec/data2vec.hpp>
#include <data2vec/evaluation/features.hpp>
#include <data2vec/io/file.hpp>
#include <data2vec/io/json.hpp>

#include "bench/device_step.hpp"
#include "bench/timing.hpp"

#include <step_config.hpp>  // Setup, Subject, masks, flags

namespace {

using namespace bench;
using d2v::Json;
using Subject = step_config::Subject;
using Setup = step_config::Setup;
using Branch = Subject::First;
using Sample = d2v::SampleOf<Branch::M, float>;
constexpr int sample_size = Branch::M::sample_size;

struct Options {
  std::string modality = Setup::modality, config = Setup::name, system = step_config::system, device = "cpu", dtype = "float32", json, commit;
  int batch = 0, masks = 0, threads = 0, steps = 5, warmup = 2, profile = 0;
  double budget = 0;
  bool infer = false, no_dropout = false;
};

/// Throws OptionError for what the peer can do and this program cannot.
void check(const Options& o) {
  const auto expect = [](const char* option, const std::string& expected, const std::string& found) {
    if (expected != found) throw d2v::OptionError(std::string(option) + ": expected " + expected + ", found " + found);
  };
  expect("--modality", Setup::modality, o.modality);
  expect("--config", Setup::name, o.config);
  expect("--system", step_config::system, o.system);
  expect("--masks", std::to_string(Branch::masks), std::to_string(o.masks ? o.masks : Branch::masks));
  if (o.device != "cpu" && o.device != "cuda")
    throw d2v::OptionError("--device: expected cpu or cuda, found " + o.device);
  expect("--dtype", o.device == "cuda" ? device_dtype() : "float32", o.dtype);
  if (o.device == "cuda" && o.infer) throw d2v::OptionError("--infer: expected --device cpu, found cuda");
  if (o.device == "cpu" && o.profile) throw d2v::OptionError("--profile: expected --device cuda, found cpu");
}

/// Normal numbers, or tokens.
template <class M>
std::vector<Sample> random_samples(std::size_t count) {
  d2v::Rng rng(d2v::DrawKey{.seed = 1});
  std::vector<Sample> samples(count);
  for (Sample& x : samples)
    if constexpr (requires { M::vocab_size; }) x = 4 + static_cast<Sample>(rng.below(M::vocab_size - 4));
    else x = rng.normal();
  return samples;
}

/// The timed unit, and what it leaves behind.
struct Work {
  std::function<void()> run;
  std::shared_ptr<double> last_loss;  ///< null where there is none
  int chunk = 1;                      ///< samples that run together
  std::shared_ptr<DeviceWork> device = {};
};

template <int chunk>
Work training(const Options& o) {
  struct State {
    d2v::Trainer<Subject, d2v::Cpu, chunk> trainer;
    std::vector<Sample> samples;
    std::vector<std::uint32_t> ids;
    double loss = 0;
  };
  d2v::TrainerOptions options = options_of<Subject>(o.threads);
  if (o.no_dropout) options.rates = {};
  const auto n = static_cast<std::size_t>(o.batch);
  const std::shared_ptr<State> state(new State{d2v::Trainer<Subject, d2v::Cpu, chunk>(options),
                                               random_samples<Branch::M>(n * sample_size), std::vector<std::uint32_t>(n)});
  std::iota(state->ids.begin(), state->ids.end(), 0u);
  const auto run = [state] { state->loss = state->trainer.step({state->samples, state->ids}).loss; };
  return {.run = run,
          .last_loss = {state, &state->loss},
          .chunk = chunk};
}

/// Token features (B, T, D) without the extra token: samples are spread over the threads, which share the operations of
/// one sample alone.
Work inference(const Options& o) {
  using F = d2v::Features<Subject>;
  using Parameters = Subject::Parameters<float>;
  constexpr std::size_t kept = std::size_t{Branch::T_} * Branch::D, skipped = std::size_t{F::E} * Branch::D;
  struct State {
    d2v::ThreadTeam team;
    std::vector<Sample> samples;
    std::vector<float> result;
    d2v::Buffer<float> weights{d2v::buffer_size<Parameters>};
    std::vector<d2v::Buffer<float>> workspaces = {};
    std::vector<d2v::Buffer<int>> indices = {};
  };
  const auto n = static_cast<std::size_t>(o.batch);
  const std::shared_ptr<State> state(
      new State{d2v::ThreadTeam(o.threads), random_samples<Branch::M>(n * sample_size), std::vector<float>(n * kept)});
  Subject::initialise(state->weights.data(), 1);
  for (int i = 0; i < state->team.size(); ++i) {
    state->workspaces.emplace_back(d2v::buffer_size<F::Workspace<float>>);
    state->indices.emplace_back(d2v::buffer_size<F::Index>);
  }
  const auto run = [state, batch = o.batch] {
    State& s = *state;
    const auto weights = d2v::bind<Subject::Parameters<const float>>(static_cast<const float*>(s.weights.data()));
    const auto extract = [&](d2v::Cpu device, int thread, int sample) {
      const auto own = static_cast<std::size_t>(thread), i = static_cast<std::size_t>(sample);
      const auto tokens = d2v::features<Subject, 1>(
          device, weights, d2v::View<const Sample, 1, sample_size>{&s.samples[i * sample_size]},
          d2v::bind<F::Workspace<float>>(s.workspaces[own].data()), d2v::bind<F::Index>(s.indices[own].data()));
      d2v::device::copy(device, kept, tokens.data + skipped, &s.result[i * kept]);
    };
    if (batch == 1) extract({&s.team}, 0, 0);
    else s.team.for_each_task(batch, [&](int thread, int sample) { extract({}, thread, sample); });
  };
  return {.run = run, .last_loss = {}};
}

Work training_on_device(const Options& o) {
  const auto samples = random_samples<Branch::M>(static_cast<std::size_t>(o.batch) * sample_size);
  const auto device =
      std::make_shared<DeviceWork>(device_training(std::span<const Sample>(samples), o.batch, o.no_dropout));
  const auto loss = std::make_shared<double>(0);
  return {.run = [device, loss] { *loss = device->run(); }, .last_loss = loss, .chunk = o.batch, .device = device};
}

Work work_of(const Options& o) {
  if (o.device == "cuda") return training_on_device(o);
  if (o.infer) return inference(o);
  constexpr int chunk = d2v::default_chunk<Branch>;
  if constexpr (chunk > 1)
    if (o.batch % chunk != 0) return training<1>(o);
  return training<chunk>(o);
}

Json json(const Spread& s) { return {{"min", s.min}, {"median", s.median}, {"max", s.max}}; }

Json seconds_of(const Measured& measured) {
  Json seconds = json(spread(measured, 0));
  seconds["steps"] = measured.calls.size();
  seconds["first"] = measured.first;
  seconds["process_start_to_first"] = measured.process_start_to_first;
  seconds["cpu"] = json(spread(measured, 1));
  seconds["queue_wait"] = json(spread(measured, 2));
  seconds["all"] = measured.calls;
  return seconds;
}

/// The peer's keys, null where they do not apply, and behind them our own.
Json report_of(const Options& o, const Work& work, const Measured& measured) {
  const Spread wall = spread(measured, 0);
  const Flops f = flops_of<Subject>;
  const double batch = o.batch, flops = batch * (o.infer ? f.infer : f.train), rss = peak_rss_bytes();
  const bool on_device = work.device != nullptr;
  const double peak = on_device ? 0 : fma_peak<d2v::Cpu::isa>(o.threads);
  Json r;
  r["implementation"] = "data2vec";
  r["what"] = o.infer ? "infer" : "train";
  r["modality"] = o.modality;
  r["config"] = o.config;
  r["system"] = o.system;
  r["batch"] = o.batch;
  r["masks"] = Branch::masks;
  r["tokens"] = Branch::T_;
  r["visible"] = Branch::V;
  r["threads"] = o.threads;
  r["device"] = o.device;
  r["dtype"] = o.dtype;
  for (const char* key : {"tf32", "sdpa", "compile", "compile_mode"}) r[key] = nullptr;
  r["dropout"] = !o.no_dropout;
  r["seconds"] = seconds_of(measured);
  r["samples_per_s"] = batch / wall.median;
  const auto whole = [](double x) { return static_cast<std::int64_t>(x); };
  r["flops"] = {{"local", whole(batch * f.local)},     {"student_blocks", whole(batch * f.student_blocks)},
                {"decoder", whole(batch * f.decoder)}, {"teacher", whole(batch * f.teacher)},
                {"infer", whole(batch * f.infer)},     {"train", whole(batch * f.train)}};
  r["flops_per_s"] = flops / wall.median;
  r["flops_per_s_best"] = flops / wall.min;
  r["import_seconds"] = nullptr;
  r["peak_rss_bytes"] = whole(rss);
  r["parameters"] = trained_parameters<Subject>;
  for (const char* key : {"torch", "python"}) r[key] = nullptr;
  r["cpu"] = cpu_name();
  r["last_loss"] = work.last_loss ? Json(*work.last_loss) : Json();
  r["gpu"] = on_device ? Json(work.device->gpu) : Json();
  r["peak_cuda_bytes"] = on_device ? Json(work.device->bytes) : Json();
  r["top_operators"] = nullptr;
  if (o.profile > 0)
    for (const DeviceShare& share : work.device->profile(o.profile))
      r["top_operators"].push_back(
          {{"op", share.operation}, {"ms_per_step", 1e3 * share.seconds}, {"calls", share.calls},
           {"share", share.seconds / wall.median}});
  r["version"] = d2v::version;
  r["commit"] = o.commit.empty() ? Json() : Json(o.commit);
  r["compiler"] = step_config::compiler;
  r["flags"] = step_config::flags;
  r["isa"] = d2v::Cpu::isa::name;
  r["back_end"] = on_device ? "CUDA" : d2v::uses_openblas<d2v::Cpu::isa> ? "OpenBLAS products" : "own kernels";
  r["chunk"] = work.chunk;
  r["fma_peak_flops_per_s"] = on_device ? Json() : Json(peak);  // of this many threads, measured after the steps
  r["mfu"] = on_device ? Json() : Json(flops / wall.min / peak);  // best step over that peak
  r["mfu_data_sheet"] = nullptr;       // the peak of this processor's data sheet is not known here
  return r;
}

void print(const Options& o, const Json& r) {
  const Json& seconds = r["seconds"];
  const auto number = [](const Json& value) { return value.is_null() ? 0 : value.get<double>(); };
  std::printf("%s/%s %s b%d m%d t%d %s %s %s: median %.2f ms min %.2f ms cpu %.2f ms, %.2f samples/s, %.1f GFLOP/s, "
              "MFU %.0f %% of %.0f GFLOP/s measured, RSS %.0f MiB\n",
              o.modality.c_str(), o.config.c_str(), o.infer ? "infer" : "train", o.batch, Branch::masks, o.threads,
              o.device.c_str(), o.dtype.c_str(), d2v::Cpu::isa::name, 1e3 * number(seconds["median"]),
              1e3 * number(seconds["min"]), 1e3 * number(seconds["cpu"]["min"]), number(r["samples_per_s"]),
              number(r["flops_per_s"]) / 1e9, 100 * number(r["mfu"]), number(r["fma_peak_flops_per_s"]) / 1e9,
              number(r["peak_rss_bytes"]) / (1 << 20));
  if (!r["peak_cuda_bytes"].is_null())
    std::printf("  device memory %.0f MiB\n", number(r["peak_cuda_bytes"]) / (1 << 20));
  if (!r["top_operators"].is_null())
    for (const Json& row : r["top_operators"])
      std::printf("  %5.1f %%  %9.3f ms  %6d x  %s\n", 100 * number(row["share"]), number(row["ms_per_step"]),
                  row["calls"].get<int>(), row["op"].get<std::string>().c_str());
}

void write(const std::string& path, const std::string& text) {
  d2v::AtomicFile file(path, text.size());
  file.write(std::as_bytes(std::span(text)));
  file.commit();
}

}  // namespace

int main(int argc, char** argv) {
  Options o;
  constexpr int most = 1'000'000;
  CLI::App app{"One training step (masks, student, teacher, decoder, losses, backward, clipping, AdamW, moving "
               "average) on data in memory, timed. Compiled for one configuration and number of masks."};
  app.add_option("--modality", o.modality);
  app.add_option("--config", o.config);
  app.add_option("--system", o.system, "data2vec2, or one with the same encoder: data2vec1, mae, wav2vec2, roberta");
  app.add_option("--batch", o.batch, "samples per step; 0: the configuration's")->check(CLI::Range(0, most));
  app.add_option("--masks", o.masks, "masked copies per sample; 0: as compiled")->check(CLI::Range(0, most));
  app.add_option("--threads", o.threads, "0: all of the machine")->check(CLI::Range(0, 4096));
  app.add_option("--device", o.device, "cpu, or cuda in a build with it");
  app.add_option("--dtype", o.dtype, "float32; on a GPU what it was compiled for: float32, tf32 or bfloat16");
  app.add_option("--profile", o.profile, "time the operations of so many further steps on a GPU")
      ->check(CLI::Range(0, most));
  app.add_option("--steps", o.steps, "timed calls, at most")->check(CLI::Range(1, most));
  app.add_option("--warmup", o.warmup, "calls before them")->check(CLI::Range(0, most));
  app.add_option("--budget", o.budget, "stop repeating after this many seconds; 0: never")
      ->check(CLI::Range(0.0, 1e9));
  app.add_option("--json", o.json, "file for the report");
  app.add_option("--commit", o.commit, "what the report says of the sources");
  app.add_flag("--infer", o.infer, "time the features of a batch, without masks, instead of a step");
  app.add_flag("--no-dropout", o.no_dropout, "all dropout rates of the configuration zero");
  app.option_defaults()->always_capture_default();
  try {
    app.parse(argc, argv);
    check(o);
    if (o.batch == 0) o.batch = o.device == "cuda" ? step_config::batch : Setup::batch;
    if (o.threads == 0) o.threads = d2v::ThreadTeam(0).size();
    const Work work = work_of(o);
    const Measured measured = measure(work.run, o.warmup, o.steps, o.budget);
    const Json report = report_of(o, work, measured);
    print(o, report);
    if (!o.json.empty()) write(o.json, report.dump(1) + "\n");
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : 2;
  } catch (const d2v::OptionError& error) {
    std::cerr << "step: " << error.what() << "\n";
    return 2;
  } catch (const std::exception& error) {
    std::cerr << "step: " << error.what() << "\n";
    return 1;
  }
  return 0;
}
