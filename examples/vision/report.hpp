// SPDX-License-Identifier: MIT
// The report of the demo: results from the parts, pictures from the data.
#pragma once

#include <algorithm>
#include <array>
#include <cstdio>
#include <string>
#include <utility>
#include <vector>

#include "examples/common/report.hpp"
#include "examples/vision/parts.hpp"

namespace demo {

/// The names of the classes; Fashion-MNIST's files have numbers only.
inline std::vector<std::string> class_names(const d2v::ImageDataset& data, const std::string& directory) {
  constexpr std::array<const char*, 10> fashion{"T-shirt",  "trousers", "pullover", "dress", "coat",
                                                "sandal",   "shirt",    "sneaker",  "bag",   "ankle boot"};
  if (directory == default_data && data.classes().size() == fashion.size()) return {fashion.begin(), fashion.end()};
  return data.classes();
}

class DemoReport {
 public:
  DemoReport(const Parts& parts, const d2v::Json& results, const DemoImages& images, const DemoOptions& options,
             std::vector<std::string> names)
      : parts_(parts), results_(results), images_(images), options_(options), names_(std::move(names)) {}

  void fill(d2v::RunReport& report, std::uint64_t seed) const {
    report.class_names = names_;
    report.configuration = d2v::describe_model<Model>();
    for (const auto& [name, seconds] : parts_.all_seconds().items()) report.seconds.push_back({name, seconds});
    for (const auto& alarm : parts_.alarms()) report.alarms.push_back(alarm.get<std::string>());
    add_accuracy(report);
    add_few_labels(report, seed);
    add_masks(report, seed);
    add_neighbours(report);
    if (const d2v::Json& r = result(feature_names[2]); r.contains("confusion"))
      report.confusion = confusion_of(r["confusion"]);
    report.notes.push_back(images_.validation ? "Judged by every tenth training image, which was held out; the test "
                                                "images were not used."
                                              : "Neighbours k and the penalty of the probe were chosen on a part of "
                                                "the training images, the test images were used once.");
    if (names_.empty()) report.notes.push_back("The images have no labels: nothing was judged by labels.");
  }

 private:
  const d2v::Json& result(const std::string& name) const {
    static const d2v::Json none = d2v::Json::object();
    return results_.contains(name) ? results_[name] : none;
  }
  std::string name_of_label(int label) const {
    return label >= 0 && static_cast<std::size_t>(label) < names_.size() ? names_[static_cast<std::size_t>(label)] : "";
  }

  void add_accuracy(d2v::RunReport& report) const {
    report.accuracy_of = formatted("accuracy on %zu images with %zu labelled ones", images_.judged.size(),
                                   images_.labelled.size());
    for (const char* name : feature_names) {
      const d2v::Json& r = result(name);
      if (!r.contains("knn")) continue;
      report.accuracy.push_back({.name = name, .value = r["knn"]["accuracy"],
                                 .note = formatted("k %d", r["knn"]["k"].get<int>()), .method = "nearest neighbours"});
      report.accuracy.push_back({.name = name, .value = r["probe"]["accuracy"],
                                 .note = formatted("penalty %g", r["probe"]["penalty"].get<double>()),
                                 .method = "linear probe"});
    }
  }

  void add_few_labels(d2v::RunReport& report, std::uint64_t first_seed) const {
    if (options_.seeds == 0 || names_.empty()) return;
    report.few_labels.what = "labelled images";
    for (const char* start : starts) report.few_labels.methods.push_back(start);
    for (const std::size_t labels : few_counts(images_)) {
      d2v::FewLabels::Row row{static_cast<std::int64_t>(labels), {}};
      for (const char* start : starts) {
        std::vector<double> scores;
        for (int i = 0; i < options_.seeds; ++i)
          if (const d2v::Json& r = result(tuning_name(labels, start, first_seed + static_cast<std::uint64_t>(i)));
              r.is_number())
            scores.push_back(r.get<double>());
        row.scores.push_back(d2v::score_of(scores));
      }
      report.few_labels.rows.push_back(std::move(row));
    }
  }

  /// An image of the model's size, as evaluation cuts it.
  static d2v::Image shown(const d2v::ImageDataset& data, std::size_t i) {
    const d2v::Image image = d2v::with_channels(data.load(i), channels);
    if (image.height == height && image.width == width) return image;
    const auto geometry = d2v::evaluation_geometry({.size = image_size}, {image.height, image.width});
    d2v::Resampler resample;
    d2v::Image out;
    resample(image, {0, 0, image.height, image.width}, geometry.resized, geometry.window, out);
    return out;
  }

  /// Training images with the masks that they would get in the first update.
  void add_masks(d2v::RunReport& report, std::uint64_t seed) const {
    using Branch = Model::First;
    for (std::size_t i = 0; i < std::min<std::size_t>(4, images_.labelled.size()); ++i) {
      const std::size_t at = images_.labelled[i];
      const auto id = static_cast<std::uint32_t>(at);
      const d2v::Draws draws{seed, 0, &id, Branch::masks};
      d2v::MaskedImage row{name_of_label(images_.sets.train.label(at)), shown(images_.sets.train, at), {}};
      for (int m = 0; m < Branch::masks; ++m) {
        d2v::Mask<Branch::T_> mask;
        d2v::Rng rng(draws.at(d2v::Site::masks, 0, 0).key(m));
        Masks::sample(rng, mask);
        row.visible.push_back(d2v::visible_patches(row.original, Images::grid, mask.hidden));
      }
      report.masks.push_back(std::move(row));
    }
  }

  /// Each query with the neighbours of the pre-trained encoder, then with those of the random one.
  void add_neighbours(d2v::RunReport& report) const {
    const auto queries = images_.queries();
    for (std::size_t q = 0; q < queries.size(); ++q)
      for (const char* name : {feature_names[2], feature_names[1]}) {
        const d2v::Json& r = result(name);
        if (!r.contains("neighbours") || q >= r["neighbours"].size()) continue;
        const std::size_t at = images_.judged[queries[q]];
        d2v::NeighbourRow row{.query = shown(images_.judged_set(), at),
                              .label = name_of_label(images_.judged_set().label(at)),
                              .by = name == feature_names[2] ? "pre-trained" : "random weights"};
        for (const d2v::Json& found : r["neighbours"][q]) {
          const std::size_t index = images_.labelled.at(found.at(0).get<std::size_t>());
          row.nearest.push_back({shown(images_.sets.train, index), name_of_label(images_.sets.train.label(index)),
                                 found.at(1).get<double>()});
        }
        report.neighbours.push_back(std::move(row));
      }
  }

  const Parts& parts_;
  const d2v::Json& results_;
  const DemoImages& images_;
  const DemoOptions& options_;
  std::vector<std::string> names_;
};

}  // namespace demo
