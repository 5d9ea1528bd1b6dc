// SPDX-License-Identifier: MIT
// A folder as a training and a test set of images. Which layout it has is recognised: IDX (MNIST and its kin),
// CIFAR-10's binary files, or image files in folders. Part of data2vec::images.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <filesystem>
#include <fstream>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include <data2vec/core/error.hpp>
#include <data2vec/data/dataset.hpp>
#include <data2vec/data/idx.hpp>

namespace data2vec::inline v0 {

/// Training and test images of one origin, with the same classes.
struct ImageSets {
  ImageDataset train, test;

  /// The standard names `train-images-idx3-ubyte`, `train-labels-idx1-ubyte`, `t10k-...`, gzip or not.
  static ImageSets from_idx(const std::string& directory);

  /// `data_batch_1.bin` and so on, as many as there are, and `test_batch.bin`.
  static ImageSets from_cifar10(const std::string& directory);

  /// `train/<class>/*` and `test/<class>/*` (or `val/`), files at any depth, classes and files by sorted name. Without
  /// class folders there are no labels; without a test folder every tenth file is for the test; without `train/` the
  /// folder itself is taken for it. Hidden files are left alone; what is no image counts as broken.
  static ImageSets from_folder(const std::string& directory, const FileOptions& options = {});
};

namespace detail {

namespace fs = std::filesystem;

inline bool has_image_magic(const fs::path& path) {
  std::array<char, 3> head{};
  std::ifstream(path, std::ios::binary).read(head.data(), 3);
  return std::string_view(head.data(), 3) == "\xff\xd8\xff" || std::string_view(head.data(), 3) == "\x89PN";
}

/// Folders and regular files in a folder, by sorted name, without the hidden ones.
struct FolderEntries {
  std::vector<std::string> folders, files;

  explicit FolderEntries(const fs::path& directory) {
    std::error_code error;
    if (!fs::is_directory(directory, error)) throw FileError(directory.string(), "expected a folder, found none");
    fs::directory_iterator entries(directory, error);
    if (error) throw FileError(directory.string(), "cannot read the folder: " + error.message());
    for (const fs::directory_entry& entry : entries) {
      const std::string name = entry.path().filename().string();
      if (name[0] == '.') continue;
      if (entry.is_directory(error)) folders.push_back(name);
      if (entry.is_regular_file(error)) files.push_back(name);
    }
    std::sort(folders.begin(), folders.end());
    std::sort(files.begin(), files.end());
  }
};

/// Image files below a folder, by sorted name relative to it, with a label where it has folders of classes.
struct ImageListing {
  std::string root;
  std::vector<std::string> names, classes;
  std::vector<int> labels;

  explicit ImageListing(const fs::path& directory) : root(directory.string()) {
    FolderEntries entries(directory);
    if (entries.folders.empty()) {
      names = std::move(entries.files);
      expect_images();
      return;
    }
    for (const std::string& file : entries.files)
      if (has_image_magic(directory / file))
        throw FileError(root, "layout: expected images or folders of classes, found both: " + file + " beside " +
                                  entries.folders[0] + "/");
    classes = entries.folders;
    for (const std::string& name : classes) {
      const std::size_t before = names.size();
      add(directory, name);
      if (names.size() == before) throw FileError((directory / name).string(), "expected images, found no file");
      labels.resize(names.size(), static_cast<int>(&name - classes.data()));
    }
    expect_images();
  }

 private:
  void add(const fs::path& directory, const std::string& below) {
    const FolderEntries entries(directory / below);
    for (const std::string& file : entries.files) names.push_back(below + "/" + file);
    for (const std::string& folder : entries.folders) add(directory, below + "/" + folder);
  }

  /// Somewhere among the files must be an image: otherwise this is a folder of something else.
  void expect_images() const {
    for (const std::string& name : names)
      if (has_image_magic(fs::path(root) / name)) return;
    throw FileError(root,
                    "layout: expected IDX files (train-images-idx3-ubyte, ...), CIFAR-10's (data_batch_1.bin, ...), "
                    "train/<class>/* or images, found " +
                        std::to_string(names.size()) + " files, none of them PNG or JPEG");
  }
};

/// Labels of the test set in the classes of the training set.
inline void relabel(ImageListing& test, const ImageListing& train) {
  if (test.classes.empty() != train.classes.empty())
    throw FileError(test.root, std::string("layout: expected ") + (train.classes.empty() ? "no " : "") +
                                   "folders of classes as in " + train.root + ", found " +
                                   (test.classes.empty() ? "none" : test.classes[0] + "/"));
  std::vector<int> number;
  for (const std::string& name : test.classes) {
    const auto place = std::lower_bound(train.classes.begin(), train.classes.end(), name);
    if (place == train.classes.end() || *place != name)
      throw FileError(test.root, "class: expected those of " + train.root + ", found " + name);
    number.push_back(static_cast<int>(place - train.classes.begin()));
  }
  for (int& label : test.labels) label = number[static_cast<std::size_t>(label)];
  test.classes = train.classes;
}

/// Moves every tenth file into a listing of its own.
inline ImageListing split_tenth(ImageListing& train) {
  ImageListing test = train;
  const auto keep = [](auto& list, bool tenth) {
    std::size_t kept = 0;
    for (std::size_t i = 0; i < list.size(); ++i)
      if ((i % 10 == 9) == tenth) std::swap(list[kept++], list[i]);
    list.resize(kept);
  };
  keep(train.names, false), keep(train.labels, false);
  keep(test.names, true), keep(test.labels, true);
  return test;
}

inline std::vector<std::string> cifar10_batches(const std::string& directory) {
  std::vector<std::string> files;
  for (const char* number : {"1", "2", "3", "4", "5"}) {
    const fs::path path = fs::path(directory) / (std::string("data_batch_") + number + ".bin");
    if (fs::exists(path)) files.push_back(path.string());
  }
  return files;
}

}  // namespace detail

inline ImageSets ImageSets::from_idx(const std::string& directory) {
  IdxDataset sets = read_idx_dataset(directory);
  int classes = 0;
  for (const IdxSet* set : {&sets.train, &sets.test})
    for (const std::uint8_t label : set->labels) classes = std::max(classes, label + 1);
  return {ImageDataset::from_idx(std::move(sets.train), "train-images-idx3-ubyte", classes),
          ImageDataset::from_idx(std::move(sets.test), "t10k-images-idx3-ubyte", classes)};
}

inline ImageSets ImageSets::from_cifar10(const std::string& directory) {
  const std::vector<std::string> train = detail::cifar10_batches(directory);
  const std::vector<std::string> test{(std::filesystem::path(directory) / "test_batch.bin").string()};
  if (train.empty()) throw FileError(directory, "expected data_batch_1.bin to data_batch_5.bin, found none of them");
  return {ImageDataset::from_cifar10(train), ImageDataset::from_cifar10(test)};
}

inline ImageSets ImageSets::from_folder(const std::string& directory, const FileOptions& options) {
  const std::filesystem::path folder = directory;
  const detail::FolderEntries entries(folder);
  const auto has = [&](const char* name) {
    return std::binary_search(entries.folders.begin(), entries.folders.end(), std::string(name));
  };
  const char* test_name = has("test") ? "test" : "val";
  if (!has("train") && has("test"))
    throw FileError(directory, "layout: expected train/ beside test/, found none");
  detail::ImageListing train(has("train") ? folder / "train" : folder);
  const bool own_test = has("train") && has(test_name);
  detail::ImageListing test = own_test ? detail::ImageListing(folder / test_name) : detail::split_tenth(train);
  if (own_test) detail::relabel(test, train);
  const auto open = [&](detail::ImageListing& list) {
    return ImageDataset::from_files(list.root, std::move(list.names), std::move(list.labels), list.classes, options);
  };
  return {open(train), open(test)};
}

/// Opens a folder of any of the three layouts. Throws FileError for an empty folder, for files of several layouts and
/// for something else, saying what would have been recognised.
inline ImageSets open_images(const std::string& directory, const FileOptions& options = {}) {
  const detail::FolderEntries entries(directory);
  if (entries.files.empty() && entries.folders.empty())
    throw FileError(directory, "expected images, found an empty folder");
  const auto has_file = [&](const std::string& name) {
    return std::binary_search(entries.files.begin(), entries.files.end(), name);
  };
  std::vector<std::string> found;
  for (const std::string part : {"train", "t10k"})
    for (const std::string& name : {part + "-images-idx3-ubyte", part + "-labels-idx1-ubyte"})
      if (found.empty() && (has_file(name) || has_file(name + ".gz"))) found.push_back("IDX (" + name + ")");
  const bool idx = !found.empty(), cifar10 = has_file("test_batch.bin") || !detail::cifar10_batches(directory).empty();
  if (cifar10) found.push_back("CIFAR-10 (*_batch*.bin)");
  if (std::binary_search(entries.folders.begin(), entries.folders.end(), std::string("train")))
    found.push_back("folders (train/)");
  if (found.size() > 1) throw FileError(directory, "layout: expected one, found " + found[0] + " and " + found[1]);
  if (idx) return ImageSets::from_idx(directory);
  return cifar10 ? ImageSets::from_cifar10(directory) : ImageSets::from_folder(directory, options);
}

}  // namespace data2vec::inline v0
