// SPDX-License-Identifier: MIT
// What a training run has to say, as plain data, and as JSON with fixed keys. evaluation/report.hpp makes the page.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include <data2vec/core/error.hpp>
#include <data2vec/core/view.hpp>
#include <data2vec/data/pixels.hpp>
#include <data2vec/evaluation/metrics.hpp>
#include <data2vec/io/json.hpp>

namespace data2vec::inline v0 {

/// What a number is where it was not measured: null in JSON, "n/a" or a gap on the page.
inline constexpr double not_measured = std::numeric_limits<double>::quiet_NaN();

/// Something known about data, model or training: `{"parameters", 2'310'144}`, `{"folder", "/data"}`.
struct Fact {
  std::string name = {};
  Json value = {};  ///< text, number or bool
};

/// One point of the learning curve; fields as in StepReport. `seconds` since the training began.
struct CurvePoint {
  std::int64_t update = 0;
  double seconds = not_measured, loss = not_measured, target_var = not_measured, pred_var = not_measured;
  double gradient_norm = not_measured, learning_rate = not_measured;
};

/// A score from 0 to 1, the mean over seeds where there are several, and their spread.
struct Score {
  double value = not_measured, spread = not_measured;
};

/// Mean and standard deviation (n - 1) over seeds; of one score there is no spread, of none no value either.
inline Score score_of(std::span<const double> scores) {
  if (scores.empty()) return {};
  const double n = static_cast<double>(scores.size());
  double sum = 0, squares = 0;
  for (const double x : scores) sum += x;
  for (const double x : scores) squares += (x - sum / n) * (x - sum / n);
  return {sum / n, scores.size() > 1 ? std::sqrt(squares / (n - 1)) : not_measured};
}

/// A row of the table of accuracies: `value` and `spread` from 0 to 1. Rows of one name, by several methods ("nearest
/// neighbours", "linear probe"), are a group of bars.
struct AccuracyRow {
  std::string name = {};
  double value = not_measured, spread = not_measured;
  std::string note = {}, method = {};
};

/// Accuracies with few labels: a score for every method at every number of labels.
struct FewLabels {
  struct Row {
    std::int64_t labels = 0;
    std::vector<Score> scores = {};  ///< one for each of `methods`
  };
  std::string what = "labels";  ///< what `labels` counts: "labels per class"
  std::vector<std::string> methods = {};
  std::vector<Row> rows = {};
};

/// An image and what a student sees of it under each of its masks (visible_patches makes those).
struct MaskedImage {
  std::string caption = {};
  Image original = {};
  std::vector<Image> visible = {};
};

/// A query and the images that the encoder places nearest to it, nearest first. A neighbour is right where its label is
/// the query's; images without labels have empty ones.
struct NeighbourRow {
  struct Neighbour {
    Image image = {};
    std::string label = {};
    double similarity = not_measured;
  };
  Image query = {};
  std::string label = {};
  std::vector<Neighbour> nearest = {};
  std::string by = {};  ///< whose features, where several are compared: "pre-trained encoder"
};

/// A part of the page that is a run's own: each of its members is left out where it is empty.
struct ReportSection {
  struct Picture {
    std::string caption = {};
    Image image = {};
  };
  std::string title = {}, paragraph = {};
  std::vector<std::string> header = {};             ///< of the table
  std::vector<std::vector<std::string>> rows = {};  ///< as wide as the header
  std::string text = {};                            ///< kept as it is, line by line
  std::vector<Picture> pictures = {};
};

/// All that a report tells. What is empty has no section on the page; `json` has every key all the same.
struct RunReport {
  std::string title = {}, command = {};                       ///< command: what repeats the run
  std::string machine = {}, cpu = {}, threads = {}, isa = {}, commit = {}, date = {};
  std::vector<Fact> dataset = {}, model = {}, training = {};  ///< names are unique in each
  std::vector<CurvePoint> curve = {};                         ///< rising updates
  std::vector<AccuracyRow> accuracy = {};
  std::string accuracy_of = "accuracy";                       ///< how: "by 10 of 10,000 labelled images"
  FewLabels few_labels = {};
  std::vector<ReportSection> sections = {};
  std::vector<MaskedImage> masks = {};
  std::vector<NeighbourRow> neighbours = {};
  std::optional<Confusion> confusion = {};
  std::vector<std::string> class_names = {};                  ///< empty, or one for each class of `confusion`
  Json configuration = {};                                    ///< of the model, as describe_model() gives it; or null
  std::vector<Fact> seconds = {};                             ///< that each part of the run took
  std::vector<std::string> notes = {}, alarms = {};
};

/// The image with its hidden patches covered by a checked grey: what the student sees. `hidden` is true at the hidden
/// tokens of `grid`, which must divide the image (else MismatchError).
inline Image visible_patches(Image image, Grid grid, std::span<const bool> hidden) {
  if (grid.height < 1 || grid.width < 1 || hidden.size() != static_cast<std::size_t>(grid.size()) ||
      image.height % grid.height != 0 || image.width % grid.width != 0)
    throw MismatchError("visible_patches: expected a grid that divides " + std::to_string(image.height) + " x " +
                        std::to_string(image.width) + " pixels and a mask of as many tokens, found " +
                        std::to_string(grid.height) + " x " + std::to_string(grid.width) + " and " +
                        std::to_string(hidden.size()));
  const int tall = image.height / grid.height, wide = image.width / grid.width;
  const int check = std::max(1, std::min(tall, wide) / 4);  // pixels of a square
  for (int y = 0; y < image.height; ++y)
    for (int x = 0; x < image.width; ++x) {
      if (!hidden[static_cast<std::size_t>(y / tall * grid.width + x / wide)]) continue;
      const auto at = static_cast<std::size_t>((y * image.width + x) * image.channels);
      for (std::size_t c = 0; c < static_cast<std::size_t>(image.channels); ++c)
        image.pixels[at + c] = (x / check + y / check) % 2 == 0 ? 150 : 120;
    }
  return image;
}

/// The name of class c: that of `class_names`, or its number.
inline std::string class_name(const RunReport& report, int c) {
  const auto i = static_cast<std::size_t>(c);
  return i < report.class_names.size() ? report.class_names[i] : std::to_string(c);
}

namespace detail {

inline Json json_of_facts(const std::vector<Fact>& facts, const char* what) {
  Json out = Json::object();
  for (const Fact& fact : facts) {
    if (out.contains(fact.name))
      throw OptionError(std::string("report, ") + what + ": expected names once, found \"" + fact.name + "\" twice");
    out[fact.name] = fact.value;
  }
  return out;
}

inline Json json_of_confusion(const RunReport& report) {
  if (!report.confusion) return nullptr;
  const Confusion& confusion = *report.confusion;
  Json classes = Json::array(), counts = Json::array();
  for (int t = 0; t < confusion.classes(); ++t) {
    classes.push_back(class_name(report, t));
    Json row = Json::array();
    for (int p = 0; p < confusion.classes(); ++p) row.push_back(confusion.count(t, p));
    counts.push_back(std::move(row));
  }
  Json per_class = Json::array();
  for (int c = 0; c < confusion.classes(); ++c)
    per_class.push_back({{"class", class_name(report, c)}, {"precision", confusion.precision(c)},
                         {"recall", confusion.recall(c)}, {"f1", confusion.f1(c)}, {"samples", confusion.support(c)}});
  return {{"classes", std::move(classes)}, {"counts", std::move(counts)}, {"accuracy", confusion.accuracy()},
          {"macro_f1", confusion.macro_f1()}, {"per_class", std::move(per_class)}};
}

inline Json json_of_neighbours(const std::vector<NeighbourRow>& rows) {
  Json out = Json::array();
  for (const NeighbourRow& row : rows) {
    Json nearest = Json::array();
    for (const auto& n : row.nearest)
      nearest.push_back({{"label", n.label}, {"similarity", n.similarity},
                         {"right", row.label.empty() ? Json() : Json(n.label == row.label)}});
    out.push_back({{"label", row.label}, {"by", row.by}, {"nearest", std::move(nearest)}});
  }
  return out;
}

}  // namespace detail

/// The report without its images. Keys, always all of them (docs/report.md says more):
/// `format`, `version`, `title`, `command`, `machine` {`name`, `cpu`, `threads`, `isa`}, `commit`, `date`;
/// `dataset`, `model`, `training`: an object of facts each; `curve`: a list of {`update`, `seconds`, `loss`,
/// `target_var`, `pred_var`, `gradient_norm`, `learning_rate`}; `accuracy_of`, `accuracy`: a list of {`name`, `method`,
/// `value`, `spread`, `note`}; `few_labels` {`what`, `methods`, `rows`: [{`labels`, `scores`: [{`value`, `spread`}]}]};
/// `sections`: [{`title`, `paragraph`, `header`, `rows`, `text`, `pictures` (captions)}]; `masks`: [{`caption`,
/// `count`}]; `neighbours`: [{`label`, `by`, `nearest`: [{`label`, `similarity`, `right`}]}];
/// `confusion` {`classes`, `counts`, `accuracy`, `macro_f1`, `per_class`: [{`class`, `precision`, `recall`, `f1`,
/// `samples`}]} or null; `configuration` as given, or null; `seconds`: an object; `notes`, `alarms`.
/// Scores are from 0 to 1; what is not finite is written as null. Throws OptionError for a fact that occurs twice.
inline Json json(const RunReport& report) {
  Json curve = Json::array(), accuracy = Json::array(), few = Json::array(), masks = Json::array();
  for (const CurvePoint& p : report.curve)
    curve.push_back({{"update", p.update}, {"seconds", p.seconds}, {"loss", p.loss}, {"target_var", p.target_var},
                     {"pred_var", p.pred_var}, {"gradient_norm", p.gradient_norm},
                     {"learning_rate", p.learning_rate}});
  for (const AccuracyRow& row : report.accuracy)
    accuracy.push_back({{"name", row.name}, {"method", row.method}, {"value", row.value}, {"spread", row.spread},
                        {"note", row.note}});
  for (const FewLabels::Row& row : report.few_labels.rows) {
    Json scores = Json::array();
    for (const Score& score : row.scores) scores.push_back({{"value", score.value}, {"spread", score.spread}});
    few.push_back({{"labels", row.labels}, {"scores", std::move(scores)}});
  }
  Json sections = Json::array();
  for (const ReportSection& s : report.sections) {
    Json captions = Json::array();
    for (const auto& picture : s.pictures) captions.push_back(picture.caption);
    sections.push_back({{"title", s.title}, {"paragraph", s.paragraph}, {"header", s.header}, {"rows", s.rows},
                        {"text", s.text}, {"pictures", std::move(captions)}});
  }
  for (const MaskedImage& image : report.masks)
    masks.push_back({{"caption", image.caption}, {"count", image.visible.size()}});
  Json out;
  out["format"] = "data2vec run report";
  out["version"] = 1;
  out["title"] = report.title;
  out["command"] = report.command;
  out["machine"] = {{"name", report.machine}, {"cpu", report.cpu}, {"threads", report.threads}, {"isa", report.isa}};
  out["commit"] = report.commit;
  out["date"] = report.date;
  out["dataset"] = detail::json_of_facts(report.dataset, "dataset");
  out["model"] = detail::json_of_facts(report.model, "model");
  out["training"] = detail::json_of_facts(report.training, "training");
  out["curve"] = std::move(curve);
  out["accuracy_of"] = report.accuracy_of;
  out["accuracy"] = std::move(accuracy);
  out["few_labels"] = {{"what", report.few_labels.what}, {"methods", report.few_labels.methods},
                       {"rows", std::move(few)}};
  out["sections"] = std::move(sections);
  out["masks"] = std::move(masks);
  out["neighbours"] = detail::json_of_neighbours(report.neighbours);
  out["confusion"] = detail::json_of_confusion(report);
  out["configuration"] = report.configuration;
  out["seconds"] = detail::json_of_facts(report.seconds, "seconds");
  out["notes"] = report.notes;
  out["alarms"] = report.alarms;
  return out;
}

}  // namespace data2vec::inline v0
