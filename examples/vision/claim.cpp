// SPDX-License-Identifier: MIT
// One run of the comparison of systems on images: pre-trains the system that this program is compiled for and judges it
// at growing times, by its frozen features and by fine-tuning with few labels. `./run bench claim` runs it for every
// system and seed, and `--table` makes the table and the figures of what the runs kept.
#include <algorithm>
#include <cstddef>
#include <span>
#include <string>
#include <vector>

#include <CLI/CLI.hpp>

#include <data2vec/data/layouts.hpp>
#include <data2vec/data2vec.hpp>

#include "examples/common/claim.hpp"
#include "examples/common/judging.hpp"
#include "examples/common/program.hpp"
#include "examples/vision/data.hpp"
#include "examples/vision/feature_extractor.hpp"
#include "examples/vision/few_labels.hpp"
#include "examples/vision/recipe.hpp"

namespace {

namespace d2v = data2vec;

class ImageClaim {
 public:
  ImageClaim(const demo::DataOptions& data, const demo::ClaimOptions& options)
      : o_(options), sets_(demo::open_data(data)), statistics_(d2v::channel_statistics(sets_.train)),
        class_count_(static_cast<int>(demo::expect_classes(sets_.train, data.directory).size())),
        source_(sets_.train, statistics_), extract_(options.threads) {
    std::vector<std::size_t> held_out;
    for (const std::size_t i : demo::choose_labelled(sets_.train, 0, o_.seed))
      (o_.validation && i % 10 == 9 ? held_out : labelled_).push_back(i);
    judged_ = o_.validation ? demo::Views(sets_.train, statistics_, held_out) : demo::Views(sets_.test, statistics_);
  }

  const demo::ImageSource& source() const { return source_; }

  d2v::Json judge(std::span<const float> weights) {
    const auto rows_of = [&](const demo::Views& views) {
      demo::Rows rows{std::vector<float>(views.size() * width), std::vector<int>(views.size())};
      extract_(weights.data(), views, 0, views.size(), demo::judged_pool, demo::judged_layer, rows.values.data(),
               rows.labels.data());
      return rows;
    };
    const demo::Rows train = rows_of({sets_.train, statistics_, first(o_.labels)}), judged = rows_of(judged_);
    if (demo::interrupted) return {};
    const demo::Judgement j = demo::judge(demo::System::title, train, judged, width, d2v::Metric::cosine, class_count_,
                                          {.seed = o_.seed, .threads = o_.threads});
    d2v::Json row{{"knn", j.knn.accuracy()}, {"probe", j.linear.accuracy()}};
    if (o_.tuning_updates > 0) {
      const demo::Tuning tuning{sets_.train, statistics_, first(o_.tuning_labels), o_.tuning_updates, o_.seed,
                                o_.threads};
      row["finetune"] = demo::tune(tuning, weights, judged_, class_count_).accuracy();
    }
    return row;
  }

 private:
  static constexpr std::size_t width = demo::FeatureExtractor::width(demo::judged_pool);

  /// The first labelled images, which are balanced; 0: all.
  std::vector<std::size_t> first(std::size_t count) const {
    const std::size_t n = count == 0 ? labelled_.size() : std::min(count, labelled_.size());
    return {labelled_.begin(), labelled_.begin() + static_cast<std::ptrdiff_t>(n)};
  }

  const demo::ClaimOptions& o_;
  d2v::ImageSets sets_;
  d2v::ChannelStatistics statistics_;
  int class_count_;
  demo::ImageSource source_;
  std::vector<std::size_t> labelled_;
  demo::Views judged_{sets_.test, statistics_};
  demo::FeatureExtractor extract_;
};

}  // namespace

int main(int argc, char** argv) {
  demo::DataOptions data;
  demo::ClaimOptions o{.lr = demo::learning_rate, .batch = demo::batch_size};
  CLI::App app{"Pre-trains one system on images and judges it at growing times; --table compares what runs kept."};
  app.option_defaults()->always_capture_default();
  data.add_to(app);
  o.add_to(app);
  return demo::run_program("claim", app, argc, argv, [&] {
    if (o.table) demo::write_claim(o.out);
    else
      demo::run_claim<demo::Recipe>(o, demo::system, demo::System::title,
                                    [&](const auto& options, const std::string&) { return ImageClaim(data, options); });
  });
}
