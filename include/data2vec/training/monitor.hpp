// SPDX-License-Identifier: MIT
// Is the representation alive? Loss and target variance can look well while a stage of the encoder has collapsed. The
// monitor runs the student on some samples as they are, measures every stage, and names what is wrong and where.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <numeric>
#include <string>
#include <vector>

#include <data2vec/core/buffer.hpp>
#include <data2vec/device/cpu/all.hpp>
#include <data2vec/device/cpu/spectrum.hpp>
#include <data2vec/model/encoder.hpp>

namespace data2vec::inline v0 {

/// How much the output of a stage varies, as mean standard deviation over channels.
struct StageStatistics {
  std::string stage;           ///< "input", "local encoder", "prenet", "block 1", ...
  double over_tokens = 0;      ///< over all tokens of all samples
  double over_samples = 0;     ///< of the samples' mean tokens
};

enum class Collapse {
  none,
  constant_input,      ///< the samples are all the same
  local_encoder,       ///< the local encoder gives the same for every input, positions are all that is left
  block,               ///< from this block on all tokens are the same
  targets,             ///< the teacher's targets do not vary
  prediction,          ///< the decoder predicts a constant
  frozen_teacher,      ///< the targets do not vary, and the teacher does not move
};

struct CollapseAlarm {
  Collapse cause = Collapse::none;
  std::string text;    ///< what, where, what was found and what was expected; empty if there is no alarm
};

/// What the monitor found at one update.
struct HealthReport {
  std::vector<StageStatistics> stages;
  double effective_rank = 0;       ///< of the encoder's output tokens
  double teacher_distance = 0;     ///< |student - teacher| / |student| over the teacher's parameters
  CollapseAlarm alarm;
};

/// Thresholds. Variances are relative to what the stage had at the monitor's first look, where that makes sense.
struct MonitorOptions {
  double least_input = 1e-4;       ///< deviation over samples of the input
  double least_stage = 1e-3;  ///< deviation of a stage as a fraction of its first one (or absolute, if it began there)
  double least_target = 0.1;       ///< the reference's min_target_var
  double least_prediction = 0.01;  ///< the reference's min_pred_var
};

template <class Model, int samples = 8>
class CollapseMonitor {
 public:
  using Branch = typename Model::First;
  using Enc = typename Branch::Enc;
  using Parameters = typename Model::template Parameters<float>;
  using Sample = SampleOf<typename Branch::M, float>;
  static constexpr int D = Enc::D, E = Enc::E, T_ = Enc::T_, S = E + T_, sample_size = Branch::M::sample_size;

  explicit CollapseMonitor(const MonitorOptions& options = {}) : options_(options) {}

  /// Looks at `input` (samples, sample_size), student and teacher buffers, and a step's target and prediction deviation
  /// and EMA decay. Not for every step: it costs a forward pass of a few samples and an eigenvalue problem. Padding is
  /// left out; `lengths` (samples): elements that are none; null: all of them, of texts as they say themselves.
  HealthReport look(const Sample* input, const float* student, const float* teacher, double target_var,
                    double pred_var, double ema_decay, const int* lengths = nullptr) {
    HealthReport report;
    measure(report.stages, "input", input, all(1), 1, sample_size);
    run_student(report, input, student, lengths);
    report.teacher_distance = distance(student, teacher);
    if (first_.empty())
      for (const StageStatistics& s : report.stages) first_.push_back(s.over_tokens);
    report.alarm = judge(report, target_var, pred_var, ema_decay);
    return report;
  }

 private:
  using Valid = std::array<int, samples>;  ///< tokens of each sample that are no padding

  static Valid all(int tokens) {
    Valid valid;
    valid.fill(tokens);
    return valid;
  }

  void run_student(HealthReport& report, const Sample* input, const float* student, const int* lengths) {
    Valid used = all(sample_size), valid = all(T_), behind = all(S);  // `behind` extra tokens
    for (std::size_t n = 0; n < used.size() && Enc::padded; ++n) {
      if (lengths) used[n] = lengths[n];
      else if constexpr (requires { Branch::M::length_of(input); })
        used[n] = std::max(1, Branch::M::length_of(input + n * sample_size));
      valid[n] = Enc::valid_tokens(used[n]);
      behind[n] = E + valid[n];
    }
    const auto memory = bind<Memory>(memory_.data());
    const auto index = bind<Index>(index_.data());
    const auto weights = Model::template weights<0>(bind<typename Model::template Parameters<const float>>(student));
    Cpu device;
    Enc::Rows::index_all(index, Enc::padded ? valid.data() : nullptr);
    Enc::tokens(device, weights.branch.front.local_encoder, View<const Sample, samples, sample_size>{input},
                memory.local, memory.tape, Enc::padded ? used.data() : nullptr);
    measure(report.stages, "local encoder", memory.local.data, valid, T_, D);
    const auto out = Enc::forward(Pass{device}, Pass{device}, weights.branch.front, weights.blocks, weights.norm,
                                  View<const float, samples, T_, D>(memory.local), index, memory.encoder,
                                  [&](int i, const auto&, const auto& output) {
                                    measure(report.stages, "block " + std::to_string(i + 1), output.data, behind, S,
                                            D);
                                  });
    std::vector<float> rows;
    for (int n = 0; n < samples; ++n) {
      const float* const row = out.encoder[n].data;
      rows.insert(rows.end(), row, row + std::ptrdiff_t{behind[static_cast<std::size_t>(n)]} * D);
    }
    report.effective_rank = effective_rank(rows, D);
  }

  /// Adds the deviations of x (samples, tokens, width), of each sample the first `valid` tokens.
  static void measure(std::vector<StageStatistics>& stages, std::string stage, const auto* x, const Valid& valid,
                      int tokens, int width) {
    StageStatistics result{std::move(stage), 0, 0};
    const int count = std::accumulate(valid.begin(), valid.end(), 0);
    for (int c = 0; c < width; ++c) {
      double sum = 0, squares = 0, sum_of_means = 0, squares_of_means = 0;
      for (int n = 0; n < samples; ++n) {
        double mean = 0;
        const int own = valid[static_cast<std::size_t>(n)];
        for (int t = 0; t < own; ++t) {
          const double value = static_cast<double>(x[(static_cast<std::ptrdiff_t>(n) * tokens + t) * width + c]);
          mean += value;
          squares += value * value;
        }
        sum += mean;
        mean /= own;
        sum_of_means += mean;
        squares_of_means += mean * mean;
      }
      result.over_tokens += deviation(sum, squares, count);
      result.over_samples += deviation(sum_of_means, squares_of_means, samples);
    }
    result.over_tokens /= width;
    result.over_samples /= width;
    stages.push_back(std::move(result));
  }
  static double deviation(double sum, double squares, double n) {
    const double variance = squares / n - sum / n * (sum / n);
    return variance > 0 ? std::sqrt(variance) : 0;
  }

  static double distance(const float* student, const float* teacher) {
    double difference = 0, length = 0;
    for (const TensorInfo& info : tensor_table<Parameters>) {
      if (!info.trained || !Model::in_teacher(info.name.view())) continue;
      for (std::size_t i = info.offset; i < info.offset + info.size; ++i) {
        const double s = static_cast<double>(student[i]), d = s - static_cast<double>(teacher[i]);
        difference += d * d;
        length += s * s;
      }
    }
    return length > 0 ? std::sqrt(difference / length) : 0;
  }

  /// The earliest stage that is dead is the cause; what follows from it is not reported.
  CollapseAlarm judge(const HealthReport& report, double target_var, double pred_var, double ema_decay) const {
    const auto found = [](double value, double least) {
      return "found " + std::to_string(value) + ", expected at least " + std::to_string(least);
    };
    const auto& stages = report.stages;
    if (stages[0].over_samples < options_.least_input)
      return {Collapse::constant_input, "the samples are all the same: deviation over samples of the input: " +
                                            found(stages[0].over_samples, options_.least_input)};
    for (std::size_t i = 1; i < stages.size(); ++i) {
      const double least = options_.least_stage * std::max(first_[i], 1.0);
      if (stages[i].over_tokens >= least) continue;
      const bool local = i == 1;
      return {local ? Collapse::local_encoder : Collapse::block,
              (local ? std::string("the local encoder gives the same for every token of every sample: deviation: ")
                     : "all tokens are the same behind " + stages[i].stage + ": deviation: ") +
                  found(stages[i].over_tokens, least)};
    }
    if (target_var < options_.least_target) {
      const bool frozen = ema_decay >= 1;
      return {frozen ? Collapse::frozen_teacher : Collapse::targets,
              (frozen ? std::string("the teacher is frozen (EMA decay 1) and its targets do not vary: ")
                      : std::string("the teacher's targets do not vary: ")) +
                  "deviation of the targets: " + found(target_var, options_.least_target)};
    }
    if (pred_var < options_.least_prediction)
      return {Collapse::prediction, "the decoder predicts the same everywhere: deviation of the prediction: " +
                                        found(pred_var, options_.least_prediction)};
    return {};
  }

  struct Memory {
    View<float, samples, T_, D> local;
    typename Enc::Local::template Tape<float, samples> tape;
    typename Enc::template Memory<float, samples, 1, T_, false> encoder;
    static constexpr void visit(auto&& f, auto&... m) {
      f("local", m.local...);
      f("tape", m.tape...);
      f("encoder", m.encoder...);
    }
  };
  using Index = typename Enc::template Index<samples, T_>;

  MonitorOptions options_;
  std::vector<double> first_;
  Buffer<float> memory_{buffer_size<Memory>};
  Buffer<int> index_{buffer_size<Index>};
};

}  // namespace data2vec::inline v0
