// SPDX-License-Identifier: MIT
// Writes what an encoder makes of recordings of any length: every frame of each to a .npy of its own, in the memory of
// one window, or means of a few stretches of all to one file; of wav2vec 2.0 also its codes.
#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <string>
#include <vector>

#include <CLI/CLI.hpp>

#include <data2vec/data/audio.hpp>
#include <data2vec/data2vec.hpp>
#include <data2vec/io/npy.hpp>

#include "examples/common/program.hpp"
#include "examples/speech/data.hpp"
#include "examples/speech/feature_extractor.hpp"

namespace {

namespace d2v = data2vec;

struct Options {
  demo::DataOptions data;
  std::string weights, out, part = "all";
  int layer = demo::depth, segments = 0, margin = demo::margin, threads = 0;
  bool teacher = false, codes = false;
};

/// "a/b.wav" as "a_b.npy".
std::string file_name(std::string path) {
  std::replace(path.begin(), path.end(), '/', '_');
  return path.substr(0, path.rfind('.')) + ".npy";
}

/// All frames of one recording, read twice: for mean and variance, then window by window.
template <class Model>
std::int64_t write_frames(const float* weights, const std::string& recording, const std::string& file,
                          const Options& o) {
  std::vector<float> piece(1 << 16);
  d2v::WaveformMoments moments;
  for (d2v::AudioReader reader(recording, demo::sample_rate);;) {
    const std::size_t n = reader.read(piece);
    if (n == 0) break;
    moments.add(std::span<const float>(piece).first(n));
  }
  d2v::AudioReader reader(recording, demo::sample_rate);
  using First = typename Model::template LengthAt<0>;
  const std::int64_t frames = d2v::LongFeatures<First>::frames(reader.length());
  demo::Windows windows(o.layer, o.margin);
  const auto source = [&](std::span<float> to) {
    const std::size_t n = reader.read(to);
    d2v::normalise(to.first(n), moments);
    return n;
  };
  if constexpr (demo::is_wav2vec2) {
    if (o.codes) {
      d2v::NpyWriter<std::int32_t> writer(file, {frames, First::First::groups});
      windows.codes(weights, reader.length(), source,
                    [&](std::int64_t, std::span<const int> values) { writer.write(values); });
      writer.commit();
      return frames;
    }
  }
  d2v::NpyWriter<float> writer(file, {frames, demo::width});
  windows.run(weights, reader.length(), source,
              [&](std::int64_t, std::span<const float> values) { writer.write(values); });
  writer.commit();
  return frames;
}

void run(const Options& o) {
  const bool pooled = o.segments > 0;
  if (pooled && !o.out.ends_with(".npy"))
    throw demo::UsageError("--out: expected a name that ends in .npy, found " + o.out);
  if (o.codes && !demo::is_wav2vec2)
    throw demo::UsageError("--codes: expected --system wav2vec2, which has a quantiser, found " +
                           std::string(demo::system));
  if (o.codes) demo::expect_checkpoint(o.weights, "--codes: expected a checkpoint, which has the quantiser");
  const demo::Encoder encoder = demo::read_weights<demo::Model>(o.weights, o.teacher);
  demo::expect_rate(encoder.kept, o.weights);
  const demo::SpeechData data = demo::open_data(o.data);
  demo::describe(data, o.data.data);
  d2v::ThreadTeam team(o.threads);
  std::vector<float> all;
  std::int64_t count = 0, frames = 0;
  for (const d2v::Recordings* part : {&data.train, &data.test}) {
    if (o.part == (part == &data.train ? "test" : "train")) continue;
    const auto order = demo::in_order(part->size());
    count += static_cast<std::int64_t>(order.size());
    if (pooled) {
      const demo::Rows rows = demo::rows_of(team, data, *part, order, encoder.weights.data(), o.layer, o.segments);
      all.insert(all.end(), rows.values.begin(), rows.values.end());
      continue;
    }
    std::error_code error;
    std::filesystem::create_directories(o.out, error);
    if (error) throw d2v::FileError(o.out, "cannot make this folder: " + error.message());
    for (std::size_t i = 0; i < part->size() && !demo::interrupted; ++i)
      frames += write_frames<demo::Model>(encoder.weights.data(), part->name(i),
                             o.out + "/" + file_name(part->entry(i).path), o);
  }
  if (demo::interrupted) return;
  if (pooled) {
    d2v::write_npy<float>(o.out, {count, o.segments * demo::width}, all);
    std::printf("features (%lld, %d) of layer %d to %s\n", static_cast<long long>(count), o.segments * demo::width,
                o.layer, o.out.c_str());
  } else if (o.codes) {
    std::printf("codes of %lld frames of %lld recordings to %s/*.npy\n", static_cast<long long>(frames),
                static_cast<long long>(count), o.out.c_str());
  } else {
    std::printf("%lld frames of %d numbers, layer %d, of %lld recordings to %s/*.npy\n", static_cast<long long>(frames),
                demo::width, o.layer, static_cast<long long>(count), o.out.c_str());
  }
}

}  // namespace

int main(int argc, char** argv) {
  Options o;
  CLI::App app{"Writes the features of an encoder for recordings of any length."};
  app.option_defaults()->always_capture_default();
  app.add_option("--weights", o.weights, "weights or checkpoint (.safetensors)")->required();
  app.add_flag("--teacher", o.teacher, "the teacher of a checkpoint instead of the student");
  o.data.add_to(app);
  app.add_option("--part", o.part, "which recordings")->check(CLI::IsMember({"all", "train", "test"}));
  app.add_option("--layer", o.layer, "0: in front of the shared blocks, i: behind block i")
      ->check(CLI::Range(0, demo::depth));
  app.add_option("--segments", o.segments, "means of so many stretches of each recording; 0: all frames")
      ->check(CLI::NonNegativeNumber);
  app.add_flag("--codes", o.codes, "the codes of wav2vec 2.0's quantiser instead: (frames, groups), int32")
      ->excludes("--segments");
  app.add_option("--margin", o.margin, "frames of context on either side within a window, of long recordings")
      ->check(CLI::NonNegativeNumber);
  app.add_option("--out", o.out, "folder for a .npy (frames, width) of each recording; with --segments one .npy")
      ->required();
  app.add_option("--threads", o.threads, "0: all of the machine; the result does not depend on it")
      ->check(CLI::NonNegativeNumber);
  return demo::run_program("extract_features", app, argc, argv, [&] { run(o); });
}
