// SPDX-License-Identifier: MIT
// One pre-training case against the reference: the step, its gradients, the update that follows, and the trajectory.
// `Case` gives the tensors of a case by name (spans f32, i32, u8; `value(name, i)` is one element of any numeric type
// as double; has) and the numbers of its JSON by dotted path (number; null is 0); `Report::check(quantity, name,
// expected, found)` and `check_value` compare by the rule of the quantity, `expect(bool, sentence)` is a plain
// condition.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include <data2vec/data2vec.hpp>

#include "device_step.hpp"
#include "given_mask.hpp"
#include "support.hpp"

namespace data2vec::parity {

/// Weights, teacher, gradients and moments of a model in memory, filled from and compared with tensors of a case.
template <class Model>
class CaseModel {
 public:
  using Parameters = typename Model::template Parameters<float>;
  static constexpr std::size_t size = buffer_size<Parameters>;

  Buffer<float> weights{size}, teacher{size}, gradient{size}, m{size}, v{size};

  CaseModel(const Case& c) {
    Model::initialise(weights.data(), 1);
    load(c, "params.", "", weights);
    std::copy(weights.begin(), weights.end(), teacher.begin());
    load(c, "teacher.", Model::config.ema_encoder_only ? "blocks." : "", teacher);
  }

  template <int branch>
  auto weights_of(const Buffer<float>& buffer) const {
    return Model::template weights<branch>(bind<typename Model::template Parameters<const float>>(buffer.data()));
  }
  template <int branch>
  auto gradient_of() {
    return Model::template weights<branch>(bind<Parameters>(gradient.data()));
  }

  /// Copies the tensors `prefix` + name; in the case, names lack `cut`. Every parameter of the model must be there.
  static void load(const Case& c, const std::string& prefix, const std::string& cut, Buffer<float>& buffer) {
    for (const TensorInfo& info : tensor_table<Parameters>) {
      if (!cut.empty() && !info.name.view().starts_with(cut)) continue;
      if (prefix == "teacher." && !Model::in_teacher(info.name.view())) continue;
      const auto values = c.f32(prefix + std::string(info.name.view().substr(cut.size())), info.size);
      std::copy(values.begin(), values.end(), buffer.data() + info.offset);
    }
  }

  /// Compares every tensor `prefix` + name with the buffer; a name that is missing stands for `fallback`'s value.
  void compare(const Case& c, Report& r, Quantity quantity, const std::string& prefix, const Buffer<float>& buffer,
               const std::string& fallback, bool teacher_only = false) const {
    const std::string cut = teacher_only && Model::config.ema_encoder_only ? "blocks." : "";
    for (const TensorInfo& info : tensor_table<Parameters>) {
      if (teacher_only && !Model::in_teacher(info.name.view())) continue;
      const std::string name(info.name.view().substr(cut.size()));
      const std::string wanted = c.has(prefix + name) ? prefix + name : fallback + name;
      if (fallback.empty() && !c.has(wanted)) continue;
      r.check(quantity, prefix + name, c.f32(wanted, info.size), {buffer.data() + info.offset, info.size});
    }
  }
};

inline OptimizerConfig optimizer_of(const Case& c) {
  return {.adam_betas = {c.number("optimizer.adam_betas.0"), c.number("optimizer.adam_betas.1")},
          .adam_eps = c.number("optimizer.adam_eps"),
          .weight_decay = c.number("optimizer.weight_decay"),
          .clip_norm = c.number("optimizer.clip_norm"),
          .decay_scope = DecayScope::all};
}

inline EmaConfig ema_of(const Case& c) {
  return {c.number("model.ema_decay"), c.number("model.ema_end_decay"),
          static_cast<std::int64_t>(c.number("model.ema_anneal_end_step"))};
}

/// Steps of one branch of a model on B samples, on the CPU or a GPU; what follows a step is the CPU's. The branches of a
/// model in memory take steps by turns.
template <class Model, int B, int branch = 0, Where where = Where::cpu>
class PretrainCase {
 public:
  using Branch = typename Model::template BranchAt<branch>;
  using M = typename Branch::M;
  static constexpr int D = Branch::D, N = B * Branch::masks, V = Branch::V, T_ = Branch::T_, R = Branch::R;
  static constexpr bool rough = where == Where::device_in_bfloat16;

  PretrainCase(const Case& c, Report& r, CaseModel<Model>& model) : case_(c), report_(r), model_(model) {}

  void run() {
    if constexpr (rough) {
      compared_step();
    } else {
      single_step();
      if (case_.has("traj.loss")) trajectory();
    }
  }

  /// Step `n` of a case over several modalities: the first of this one.
  void one_of_several(int n) {
    prefix_ = "step" + std::to_string(n) + "." + M::name + ".";
    const double norm = compared_step().norm;
    update(case_.number("optimizer.lr"), n + 1, 1, norm, ema_decay(ema_of(case_), n + 1), DecayScope::all);
  }

 private:
  struct Result {
    LossSums sums;
    double norm, pred_var, target_var, shared_pred_var;
  };

  /// One step's forward and backward on tensors `prefix` + "in.*", slice `n` of each where there are several.
  template <class Observer>
  Result step(const std::string& prefix, int n, Observer&& observe) {
    const auto samples = slice(sources(prefix + "in.source"), n, B * M::sample_size);
    const bool two_views = case_.has(prefix + "in.target");
    const auto targets = two_views ? slice(sources(prefix + "in.target"), n, B * M::sample_size) : samples;
    const std::vector<float> noise = given_noise(prefix, n);
    const auto index = bind<typename Branch::template Indices<B>>(indices_.data());
    given_masks(prefix, n, index);
    std::fill(model_.gradient.begin(), model_.gradient.end(), 0.0f);
    std::fill(moments_.begin(), moments_.end(), 0.0);
    const LossWeights loss{case_.number("model.d2v_loss"), case_.number("model.cls_loss"),
                           case_.number("model.recon_loss")};
    Result result{};
    if constexpr (where != Where::cpu) {
      result.sums = device_step(branch, {.weights = model_.weights.data(),
                                         .teacher = model_.teacher.data(),
                                         .gradient = model_.gradient.data(),
                                         .samples = samples.data(),
                                         .targets = targets.data(),
                                         .noise = noise.empty() ? nullptr : noise.data(),
                                         .loss = loss,
                                         .sample_size = N * R,
                                         .indices = indices_.data(),
                                         .moments = moments_.data(),
                                         .observe = observe});
    } else {
      const Pass<Cpu, true> pass{cpu_, {.sample_ids = ids_.data(), .masks = Branch::masks}};
      result.sums = Branch::step(
          pass, model_.template weights_of<branch>(model_.weights), model_.template weights_of<branch>(model_.teacher),
          model_.template gradient_of<branch>(), typename Branch::template Samples<float, B>{samples.data()},
          typename Branch::template Samples<float, B>{targets.data()}, noise.empty() ? nullptr : noise.data(), 0, loss,
          N * R, bind<typename Branch::template Workspace<float, B>>(workspace_.data()), index, moments_.data(),
          observe);
    }
    result.norm =
        std::sqrt(device::sum_of_squares(cpu_, model_.size, static_cast<const float*>(model_.gradient.data())));
    result.pred_var = mean_deviation(&moments_[0], &moments_[D], D, N * R);
    result.target_var = mean_deviation(&moments_[2 * D], &moments_[3 * D], D, N * R);
    if (Branch::has_shared) result.shared_pred_var = mean_deviation(&moments_[4 * D], &moments_[5 * D], D, N * R);
    return result;
  }

  /// Noise for the decoders, the shared one's first; empty if the case has none.
  std::vector<float> given_noise(const std::string& prefix, int n) const {
    std::vector<float> noise;
    for (const char* number : Branch::has_shared ? std::vector{"_0", "_1"} : std::vector{""}) {
      const std::string name = prefix + "in.decoder_noise" + number;
      if (!case_.has(name)) continue;
      const auto part = slice(case_.f32(name), n, N * Branch::filled * D);
      noise.insert(noise.end(), part.begin(), part.end());
    }
    return noise;
  }

  /// The elements of samples, of the modality's type.
  auto sources(const std::string& name) const {
    if constexpr (std::is_same_v<SampleOf<M, float>, float>) return case_.f32(name);
    else return case_.i32(name);
  }

  /// A step and what the case says of it.
  Result compared_step() {
    const Result result = step(prefix_, 0, [&](const char* name, int i, const float* values, std::size_t count) {
      observed(name, i, {values, count});
    });
    if constexpr (rough) {
      compare_in_bfloat16<typename CaseModel<Model>::Parameters>(
          case_, report_, prefix_ + "out.loss_total", result.sums.total(), prefix_ + "grad.", model_.gradient.data());
      return result;
    }
    scalar(Quantity::loss, prefix_ + "out.loss_total", result.sums.total());
    losses(result.sums);
    scalar(Quantity::exact, prefix_ + "out.sample_size", result.sums.sample_size);
    const std::string mode = Model::branches > 1 ? "_" + std::string(M::name) : "", out = prefix_ + "out.";
    if (Branch::has_shared) scalar(Quantity::variance, out + "pred_var" + mode + "_0", result.shared_pred_var);
    scalar(Quantity::variance, out + "pred_var" + mode + (Branch::has_shared ? "_1" : ""), result.pred_var);
    scalar(Quantity::variance, out + "target_var" + mode, result.target_var);
    padding_masks();
    known_names("params.");
    known_names(prefix_ + "grad.");
    model_.compare(case_, report_, Quantity::gradient, prefix_ + "grad.", model_.gradient, "");
    scalar(Quantity::trajectory, prefix_ + "out.grad_norm", result.norm);
    return result;
  }

  void single_step() {
    const Result result = compared_step();
    const double lr = case_.number("optimizer.lr");
    update(lr, 1, 1, result.norm, ema_decay(ema_of(case_), 1), DecayScope::all);
    model_.compare(case_, report_, Quantity::parameter, "after1.", model_.weights, "params.");
    model_.compare(case_, report_, Quantity::teacher, "teacher_after1.", model_.teacher, "teacher.", true);
    // The same update under the rule that the reference intends: only exempt tensors differ.
    CaseModel<Model> intended(case_);
    std::swap(intended.gradient, model_.gradient);
    std::swap(intended, model_);
    update(lr, 1, 1, result.norm, 1, DecayScope::matrices);
    model_.compare(case_, report_, Quantity::parameter, "after1_no_decay.", model_.weights, "");
  }

  /// Which tokens are padding, of the samples and among the visible ones.
  void padding_masks() {
    if constexpr (Branch::padded) {
      const auto index = bind<typename Branch::template Indices<B>>(indices_.data());
      const auto compare = [&](const std::string& key, const auto& padding, std::size_t count) {
        const std::string name = prefix_ + key;
        const auto expected = case_.u8(name);
        report_.expect(expected.size() == count && std::equal(expected.begin(), expected.end(), padding.key_hidden(),
                                                              [](std::uint8_t a, bool b) { return (a != 0) == b; }),
                       name + ": the same tokens are padding");
      };
      constexpr std::size_t extra = Branch::E;
      std::vector<std::uint8_t> teacher;  // the reference's has no extra tokens
      for (std::size_t b = 0; b < B; ++b)
        for (std::size_t t = 0; t < T_; ++t)
          teacher.push_back(index.teacher.padding.key_hidden()[b * (extra + T_) + extra + t]);
      const auto expected = case_.u8(prefix_ + "out.padding_mask");
      report_.expect(std::equal(expected.begin(), expected.end(), teacher.begin(), teacher.end()),
                     "out.padding_mask: the same tokens are padding");
      if (case_.has(prefix_ + "out.masked_padding_mask"))
        compare("out.masked_padding_mask", index.student.padding, N * (extra + V));
    }
  }

  /// Every tensor of the case under `prefix` is one of the model's.
  void known_names(const std::string& prefix) {
    const auto& table = tensor_table<typename CaseModel<Model>::Parameters>;
    for (const std::string& name : case_.names(prefix))
      report_.expect(
          std::any_of(table.begin(), table.end(),
                      [&](const TensorInfo& info) { return prefix + std::string(info.name.view()) == name; }),
          name + ": the model has no such tensor");
  }

  /// Every loss term of the case, by name: one that the model does not know fails.
  void losses(const LossSums& sums) {
    const std::string start = prefix_ + "out.loss_";
    for (const std::string& name : case_.names(start)) {
      if (name == start + "total") continue;
      const std::string own = start + M::name + "_regression";
      const bool shared = Branch::has_shared && name == own + "_0";
      const bool regression = name == own + (Branch::has_shared ? "_1" : "");
      const bool cls = Branch::has_cls && name == start + "cls", recon = Branch::has_recon && name == start + "recon";
      report_.expect(regression || shared || cls || recon, name + ": the model has no such term");
      scalar(Quantity::loss, name, regression ? sums.regression : shared ? sums.shared : cls ? sums.cls * sums.sample_size : sums.recon);
    }
  }

  void trajectory() {
    CaseModel<Model> fresh(case_);
    std::swap(fresh, model_);
    const auto steps = static_cast<int>(case_.f32("traj.loss").size());
    const CosineSchedule schedule{.lr = case_.number("optimizer.lr"),
                                  .min_lr = case_.number("optimizer.min_lr"),
                                  .warmup_updates = static_cast<std::int64_t>(case_.number("optimizer.warmup_updates")),
                                  .max_update = static_cast<std::int64_t>(case_.number("optimizer.max_update"))};
    for (int n = 0; n < steps; ++n) {
      const Result result = step("traj.", n, NoObserver{});
      element("traj.loss", n, Quantity::trajectory, result.sums.total());
      element("traj.loss_per_sample", n, Quantity::trajectory, result.sums.total() / result.sums.sample_size);
      element("traj.sample_size", n, Quantity::exact, result.sums.sample_size);
      element("traj.grad_norm", n, Quantity::trajectory, result.norm);
      element("traj.pred_var", n, Quantity::trajectory, result.pred_var);
      element("traj.target_var", n, Quantity::trajectory, result.target_var);
      element("traj.lr", n, Quantity::loss, schedule(n));
      if (n > 0) element("traj.ema_decay", n, Quantity::loss, ema_decay(ema_of(case_), n));
      update(schedule(n), n + 1, n + 1, result.norm, ema_decay(ema_of(case_), n + 1), DecayScope::all);
    }
    model_.compare(case_, report_, Quantity::parameter, "traj.final.", model_.weights, "params.");
    model_.compare(case_, report_, Quantity::teacher, "traj.teacher_final.", model_.teacher, "teacher.", true);
  }

  /// Update `count` of the model, `own` of this branch.
  void update(double lr, std::int64_t count, std::int64_t own, double norm, double decay, DecayScope scope) {
    OptimizerConfig config = optimizer_of(case_);
    config.decay_scope = scope;
    const double clip = clip_factor(norm, config.clip_norm);
    const OptimizerState<float> state{model_.weights.data(), model_.gradient.data(), model_.m.data(), model_.v.data()};
    for (const TensorInfo& info : tensor_table<typename CaseModel<Model>::Parameters>) {
      const TensorUpdate how{lr, Model::branch_of(info.name.view()) < 0 ? count : own, clip};
      if (Model::receives_gradient(info.name.view(), branch)) update_tensor(cpu_, config, info, how, state, 0, info.size);
      if (Model::in_teacher(info.name.view()))
        follow_tensor(cpu_, info, decay, static_cast<const float*>(model_.weights.data()), model_.teacher.data(), 0,
                      info.size);
    }
  }

  /// Intermediate values under the names of the fixtures. Rows of extra tokens are cut from layer results.
  void observed(const std::string& name, int i, std::span<const float> values) {
    const std::string number = name == "layer_results"                           ? "." + std::to_string(i)
                               : name == "prediction" && Branch::has_shared ? "_" + std::to_string(i)
                                                                                 : "";
    const std::string key = prefix_ + "out." + name + number;
    if (name == "layer_results") {
      std::vector<float> tokens;
      constexpr int S = Branch::E + T_;
      for (int b = 0; b < B; ++b)
        tokens.insert(tokens.end(), values.begin() + (b * S + Branch::E) * D, values.begin() + (b + 1) * S * D);
      report_.check(Quantity::activation, key, case_.f32(key, tokens.size()), tokens);
    } else {
      report_.check(name == "targets" ? Quantity::targets : Quantity::activation, key, case_.f32(key, values.size()),
                    values);
    }
  }

  /// The case's masks; the indices that ours computes from them must be the case's.
  void given_masks(const std::string& prefix, int n, const typename Branch::template Indices<B>& index) {
    const auto mask = slice(case_.u8(prefix + "in.mask"), n, N * T_);
    const auto keep = slice(case_.i32(prefix + "in.ids_keep"), n, N * V);
    const auto restore = slice(case_.i32(prefix + "in.ids_restore"), n, N * T_);
    for (int row = 0; row < N; ++row) {
      bool hidden[T_];
      for (int t = 0; t < T_; ++t) hidden[t] = mask[static_cast<std::size_t>(row * T_ + t)] != 0;
      int ours_keep[T_] = {}, ours_restore[T_] = {}, masked[T_] = {};
      const int count = index_mask(hidden, T_, V, ours_keep, ours_restore, masked);
      report_.expect(count == R, prefix + "in.mask: every row hides as many tokens");
      for (int r = 0; r < R; ++r) index.masked[row][r] = masked[r];
      for (int t = 0; t < T_; ++t) index.restore[row][t] = restore[static_cast<std::size_t>(row * T_ + t)];
      for (int v = 0; v < V; ++v) index.student.keep[row][v] = keep[static_cast<std::size_t>(row * V + v)];
    }
    if constexpr (Branch::padded) {
      const auto padding = slice(case_.u8(prefix + "in.padding_mask"), n, B * M::sample_size);
      int lengths[B];
      for (int b = 0; b < B; ++b) {
        const auto row = padding.subspan(static_cast<std::size_t>(b) * M::sample_size, M::sample_size);
        lengths[b] = static_cast<int>(std::count(row.begin(), row.end(), std::uint8_t{0}));
        report_.expect(std::is_sorted(row.begin(), row.end()), prefix + "in.padding_mask: padding stands at the end");
      }
      index.set_lengths(lengths);
    }
    index.complete();
  }

  void scalar(Quantity quantity, const std::string& name, double found) {
    report_.check_value(quantity, name, case_.value(name, 0), found);
  }
  void element(const std::string& name, int n, Quantity quantity, double found) {
    report_.check_value(quantity, name + "[" + std::to_string(n) + "]", case_.value(name, static_cast<std::size_t>(n)),
                        found);
  }
  template <class X>
  static std::span<const X> slice(std::span<const X> all, int n, int count) {
    return all.subspan(static_cast<std::size_t>(n) * static_cast<std::size_t>(count), static_cast<std::size_t>(count));
  }

  const Case& case_;
  Report& report_;
  CaseModel<Model>& model_;
  std::string prefix_;  // of the case's step
  Cpu cpu_;
  std::array<std::uint32_t, B> ids_{};
  Buffer<float> workspace_{buffer_size<typename Branch::template Workspace<float, B>>};
  Buffer<int> indices_{buffer_size<typename Branch::template Indices<B>>};
  Buffer<double> moments_{Branch::moment_rows * D};
};

/// Runs a pre-training case of B samples as `Model`.
template <class Model, int B, Where where = Where::cpu>
void run_pretrain(const Case& c, Report& report) {
  CaseModel<Model> model(c);
  PretrainCase<Model, B, 0, where>(c, report, model).run();
}

/// Runs a case over several modalities: one step of each, B samples of the first, ...
template <Where where, class Model, int... B>
void run_branches(const Case& c, Report& report) {
  CaseModel<Model> model(c);
  [&]<int... i>(std::integer_sequence<int, i...>) {
    (PretrainCase<Model, B, i, where>(c, report, model).one_of_several(i), ...);
  }(std::make_integer_sequence<int, sizeof...(B)>{});
  if (where == Where::device_in_bfloat16) return;
  const std::string end = "after" + std::to_string(sizeof...(B)) + ".";
  model.compare(c, report, Quantity::parameter, end, model.weights, "params.");
  model.compare(c, report, Quantity::teacher, "teacher_" + end, model.teacher, "teacher.", true);
}
template <class Model, int... B>
void run_multimodal(const Case& c, Report& report) {
  run_branches<Where::cpu, Model, B...>(c, report);
}

/// The same with steps on a GPU.
template <class Model, int B>
void run_pretrain_on_device(const Case& c, Report& report) {
  run_pretrain<Model, B, Where::device>(c, report);
}
template <class Model, int B>
void run_pretrain_in_bfloat16(const Case& c, Report& report) {
  run_pretrain<Model, B, Where::device_in_bfloat16>(c, report);
}
template <class Model, int... B>
void run_multimodal_on_device(const Case& c, Report& report) {
  run_branches<Where::device, Model, B...>(c, report);
}
template <class Model, int... B>
void run_multimodal_in_bfloat16(const Case& c, Report& report) {
  run_branches<Where::device_in_bfloat16, Model, B...>(c, report);
}

}  // namespace data2vec::parity
