// SPDX-License-Identifier: MIT
// Pictures of what a masked autoencoder makes of images: each as it is, what the encoder sees of it, and completed by
// the decoder. ./run reconstruct --weights out/mae/checkpoint.safetensors --out completed.png
#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <string>
#include <string_view>
#include <vector>

#include <CLI/CLI.hpp>

#include <data2vec/data/encode.hpp>
#include <data2vec/data2vec.hpp>
#include <data2vec/evaluation/reconstruction.hpp>

#include "examples/common/program.hpp"
#include "examples/vision/data.hpp"

namespace {

namespace d2v = data2vec;

struct Options {
  demo::DataOptions data;
  std::string weights, out = "completed.png";
  int count = 8, zoom = 0;
  std::uint64_t seed = 1;
};

/// Tiles side by side, row by row, on white.
class Sheet {
 public:
  Sheet(std::size_t rows, int columns, int zoom, const d2v::ChannelStatistics& statistics)
      : zoom_(zoom), statistics_(statistics) {
    image_.height = static_cast<int>(rows) * (demo::height * zoom + gap) + gap;
    image_.width = columns * (demo::width * zoom + gap) + gap;
    image_.channels = demo::channels;
    image_.pixels.assign(
        static_cast<std::size_t>(image_.height) * static_cast<std::size_t>(image_.width) * demo::channels, 255);
  }

  /// A normalised image (C, H, W).
  void put(std::size_t row, int column, const float* sample) {
    const int top = gap + static_cast<int>(row) * (demo::height * zoom_ + gap);
    const int left = gap + column * (demo::width * zoom_ + gap);
    for (int y = 0; y < demo::height * zoom_; ++y)
      for (int x = 0; x < demo::width * zoom_; ++x)
        for (int c = 0; c < demo::channels; ++c) {
          const float value = sample[(c * demo::height + y / zoom_) * demo::width + x / zoom_];
          const auto channel = static_cast<std::size_t>(c);
          const float level = 255 * (value * statistics_.deviation[channel] + statistics_.mean[channel]);
          image_.pixels[(static_cast<std::size_t>(top + y) * static_cast<std::size_t>(image_.width) +
                         static_cast<std::size_t>(left + x)) *
                            demo::channels +
                        channel] = static_cast<std::uint8_t>(std::lround(std::clamp(level, 0.0f, 255.0f)));
        }
  }
  const d2v::Image& image() const { return image_; }

 private:
  static constexpr int gap = 4;
  d2v::Image image_;
  int zoom_;
  d2v::ChannelStatistics statistics_;
};

template <class Model>
void run(const Options& o) {
  if constexpr (std::string_view(demo::system) != "mae") {
    throw demo::UsageError("--system: expected mae, which predicts pixels, found " + std::string(demo::system));
  } else {
    using Completes = d2v::Reconstruction<Model>;
    demo::expect_checkpoint(o.weights, "expected a checkpoint, which has the decoder");
    const demo::Encoder model = demo::read_weights<Model>(o.weights, false);
    const d2v::ImageSets images = demo::open_data(o.data);
    const d2v::ImageDataset& set = images.test.size() > 0 ? images.test : images.train;
    const auto statistics = demo::statistics_of(model).value_or(d2v::channel_statistics(images.train));
    d2v::EpochOrder order(static_cast<std::uint32_t>(set.size()), o.seed);
    std::vector<std::size_t> chosen(order.of(0).begin(), order.of(0).end());
    chosen.resize(std::min(chosen.size(), static_cast<std::size_t>(o.count)));
    const demo::Views views(set, statistics, chosen);
    d2v::ThreadTeam team(1);
    std::vector<float> sample(demo::sample_size), completed(demo::sample_size);
    d2v::Buffer<float> memory(d2v::buffer_size<typename Completes::Workspace>);
    d2v::Buffer<int> numbers(d2v::buffer_size<typename Completes::Indices>);
    const auto index = d2v::bind<typename Completes::Indices>(numbers.data());
    const auto parameters = d2v::bind<typename Model::template Parameters<const float>>(model.weights.data());
    const int zoom = o.zoom > 0 ? o.zoom : std::max(1, 112 / demo::width);
    Sheet sheet(views.size(), 3, zoom, statistics);
    d2v::Cpu device;
    double error = 0;
    for (std::size_t i = 0; i < views.size(); ++i) {
      views.load(team, i, 1, sample.data());
      const auto id = static_cast<std::uint32_t>(chosen[i]);
      Completes::run(device, parameters, typename Completes::Samples{sample.data()}, {o.seed, 0, &id, 1},
                     d2v::bind<typename Completes::Workspace>(memory.data()), index, completed.data());
      for (std::size_t k = 0; k < sample.size(); ++k) {
        const double miss = static_cast<double>(sample[k]) - static_cast<double>(completed[k]);
        error += miss * miss;
      }
      sheet.put(i, 0, sample.data());
      for (int r = 0; r < Completes::hidden; ++r)
        Completes::each_pixel(sample.data(), index.mask.masked[0][r], [](float& x, int) { x = 0; });  // the mean
      sheet.put(i, 1, sample.data());
      sheet.put(i, 2, completed.data());
    }
    d2v::write_png(o.out, sheet.image());
    const double hidden = static_cast<double>(views.size()) * Completes::hidden * Completes::Branch::values;
    std::printf(
        "%zu images, %d of %d patches hidden, mean squared error of their pixels %.4f (1: as the mean of all "
        "images): %s\n",
        views.size(), Completes::hidden, Completes::M::tokens, error / hidden, o.out.c_str());
  }
}

}  // namespace

int main(int argc, char** argv) {
  Options o;
  CLI::App app{"Pictures of images, what a masked autoencoder sees of them, and how it completes them."};
  app.option_defaults()->always_capture_default();
  app.add_option("--weights", o.weights, "checkpoint (.safetensors)")->required();
  o.data.add_to(app);
  app.add_option("--count", o.count, "images, of the test images if there are some")->check(CLI::Range(1, 64));
  app.add_option("--zoom", o.zoom, "pixels of a picture for each of an image; 0: small images larger")
      ->check(CLI::Range(0, 16));
  app.add_option("--seed", o.seed, "of images and masks");
  app.add_option("--out", o.out, "PNG file");
  return demo::run_program("reconstruct", app, argc, argv, [&] { run<demo::Model>(o); });
}
