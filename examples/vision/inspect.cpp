// SPDX-License-Identifier: MIT
// Prints what programs must be compiled for to work with the images of a folder: "height width channels classes".
#include <cstdio>
#include <filesystem>
#include <string>

#include <CLI/CLI.hpp>

#include <data2vec/data/layouts.hpp>

#include "examples/common/program.hpp"

namespace {

namespace d2v = data2vec;

void run(const std::string& directory, int size, double max_broken) {
  std::error_code error;
  if (!std::filesystem::is_directory(directory, error))
    throw demo::MissingData(directory + ": expected a folder of images, found none");
  const d2v::ImageDataset data = d2v::open_images(directory, {.max_broken = max_broken}).train;
  if (data.height() == 0 && size == 0)
    throw demo::UsageError(directory + ": images of mixed sizes: expected --size N, to which they are resized");
  std::printf("%d %d %d %zu\n", size > 0 ? size : data.height(), size > 0 ? size : data.width(), data.channels(),
              data.classes().size());
}

}  // namespace

int main(int argc, char** argv) {
  std::string directory;
  int size = 0;
  double max_broken = 0.01;
  CLI::App app{"Height, width, channels and classes of the images in a folder."};
  app.option_defaults()->always_capture_default();
  app.add_option("directory", directory, "folder of IDX files, CIFAR-10's, or train/<class>/*")->required();
  app.add_option("--size", size, "side of square images to which others are resized; 0: as they are")
      ->check(CLI::NonNegativeNumber);
  app.add_option("--max-broken", max_broken, "share of the image files that may be broken")
      ->check(CLI::Range(0.0, 1.0));
  return demo::run_program("inspect", app, argc, argv, [&] { run(directory, size, max_broken); });
}
