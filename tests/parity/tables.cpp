// SPDX-License-Identifier: MIT
// Schedules, position tables, ALiBi and Adam against the reference's values; see tables.hpp.
#include "tables.hpp"

#include <array>
#include <cmath>
#include <functional>

#include <data2vec/device/cpu/adam.hpp>
#include <data2vec/device/cpu/alibi.hpp>
#include <data2vec/layers/alibi.hpp>
#include <data2vec/layers/position.hpp>
#include <data2vec/training/ema.hpp>
#include <data2vec/training/schedule.hpp>

namespace data2vec::parity {
namespace {

std::int64_t whole(const Case& c, const std::string& path) { return static_cast<std::int64_t>(c.number(path)); }

/// Holds `values`, a list of [update, value], against a function of the update.
void check_values(const Case& c, Report& r, const std::string& path, const std::function<double(std::int64_t)>& found) {
  std::vector<double> expected, ours;
  for (std::size_t i = 0; i < c.size(path + ".values"); ++i) {
    const std::string at = path + ".values." + std::to_string(i);
    expected.push_back(c.number(at + ".1"));
    ours.push_back(found(whole(c, at + ".0")));
  }
  r.check(Quantity::table, path, expected, ours);
}

/// The number behind `key` in a name such as "bias1d_heads12_T6".
int number_in(const std::string& name, const std::string& key) {
  const auto at = name.find(key);
  if (at == name.npos) throw std::runtime_error(name + ": expected '" + key + "' and a number in the name, found none");
  return std::stoi(name.substr(at + key.size()));
}

void check_sincos(const Case& c, Report& r, const std::string& name) {
  const int side = number_in(name, "grid"), dim = number_in(name, "_dim");
  std::vector<float> table(static_cast<std::size_t>(side * side * dim)), rows;
  sincos_positions(Grid(side), dim, table.data());
  const auto selection = name.find("_rows_");
  if (selection == name.npos) {
    rows = table;
  } else {
    for (std::size_t at = selection + 5; at < name.size(); at = std::min(name.find('_', at + 1), name.size())) {
      const auto begin = table.begin() + std::stoi(name.substr(at + 1)) * dim;
      rows.insert(rows.end(), begin, begin + dim);
    }
  }
  r.check(Quantity::table, name, c.f32(name), rows);
}

void check_sinusoid(const Case& c, Report& r, const std::string& name) {
  const int rows = number_in(name, "rows"), dim = number_in(name, "_dim");
  std::vector<float> table(static_cast<std::size_t>(rows * dim));
  sinusoid_positions(rows, dim, number_in(name, "_pad"), table.data());
  r.check(Quantity::activation, name, c.f32(name), table);  // the reference computes the angles in float
}

void check_alibi(const Case& c, Report& r, const std::string& name) {
  std::vector<float> found(c.f32(name).size());
  const std::string what = name.substr(6);
  if (what.starts_with("slopes_")) {
    std::vector<double> slopes(found.size());
    alibi_slopes(number_in(name, "_heads"), slopes.data());
    for (std::size_t i = 0; i < slopes.size(); ++i) found[i] = static_cast<float>(slopes[i]);
  } else if (what.starts_with("bias1d_")) {
    alibi_bias(number_in(name, "_heads"), number_in(name, "_T"), found.data());
  } else if (what.starts_with("bias2d_")) {
    const auto distance = what.find("euclidean") != what.npos ? AlibiDistance::euclidean : AlibiDistance::manhattan;
    alibi_bias_2d(number_in(name, "_heads"), Grid(number_in(name, "_n")), distance, found.data());
  } else if (what.starts_with("learned_T")) {
    const auto tables = c.names("alibi.learned_table");
    const std::string table = tables.empty() ? "alibi.learned_table" : tables.front();
    Cpu cpu;
    device::learned_bias(cpu, number_in(table, "_heads"), number_in(table, "_max"), c.f32(table).data(),
                         number_in(name, "_T"), found.data());
  } else {
    throw std::runtime_error(name + ": a table that is not known");
  }
  r.check(Quantity::table, name, c.f32(name), found);
}

/// Some steps of clipping and Adam on eight numbers.
void check_adam(const Case& c, Report& r, const std::string& tag) {
  const std::string tensors = "adam." + tag + ".";
  const auto start = c.f32(tensors + "p0"), gradients = c.f32(tensors + "grads");
  const std::size_t n = start.size(), steps = static_cast<std::size_t>(c.number(tag + ".steps"));
  std::vector<float> p(start.begin(), start.end()), m(n), v(n), after, norms;
  const double lr = c.number(tag + ".lr"), clip = c.number(tag + ".clip_norm");
  const double beta1 = c.number(tag + ".betas.0"), beta2 = c.number(tag + ".betas.1");
  Cpu cpu;
  for (std::size_t t = 0; t < steps; ++t) {
    const float* g = gradients.data() + t * n;
    double squares = 0;
    for (std::size_t i = 0; i < n; ++i) squares += static_cast<double>(g[i]) * static_cast<double>(g[i]);
    const double norm = std::sqrt(squares), count = static_cast<double>(t + 1);
    norms.push_back(static_cast<float>(norm));
    const double size = lr * std::sqrt(1 - std::pow(beta2, count)) / (1 - std::pow(beta1, count));
    const AdamStep step{.gradient_scale = clip > 0 ? std::min(1.0, clip / (norm + 1e-6)) : 1, .beta1 = beta1,
                        .beta2 = beta2, .eps = c.number(tag + ".eps"), .step = size,
                        .decay = lr * c.number(tag + ".weight_decay")};
    device::adam(cpu, n, step, g, m.data(), v.data(), p.data());
    after.insert(after.end(), p.begin(), p.end());
  }
  r.check(Quantity::parameter, tensors + "params_after_each_step", c.f32(tensors + "params_after_each_step"), after);
  r.check(Quantity::table, tensors + "m_final", c.f32(tensors + "m_final"), m);
  r.check(Quantity::table, tensors + "v_final", c.f32(tensors + "v_final"), v);
  r.check(Quantity::table, tensors + "grad_norms_before_clip", c.f32(tensors + "grad_norms_before_clip"), norms);
}

}  // namespace

std::vector<CaseResult> check_schedules(const Case& c) {
  std::vector<CaseResult> results;
  for (const std::string& kind : c.keys(""))
    for (std::size_t i = 0; i < c.size(kind); ++i) {
      const std::string path = kind + "." + std::to_string(i), name = c.name() + "/" + path;
      const auto number = [&](const char* key) { return c.number(path + "." + key); };
      const auto updates = [&](const char* key) { return whole(c, path + "." + key); };
      results.push_back(run_case(name, [&](Report& r) {
        if (kind == "cosine") {
          check_values(c, r, path, CosineSchedule{
              .lr = number("lr"), .min_lr = number("min_lr"), .warmup_updates = updates("warmup_updates"),
              .warmup_init_lr = number("warmup_init_lr"), .max_update = updates("max_update"),
              .t_mult = number("t_mult"), .lr_period_updates = number("lr_period_updates"),
              .lr_shrink = number("lr_shrink")});
        } else if (kind == "tri_stage") {
          TriStageSchedule schedule{.lr = number("lr"), .warmup_steps = updates("warmup_steps"),
                                    .hold_steps = updates("hold_steps"), .decay_steps = updates("decay_steps"),
                                    .init_lr_scale = number("init_lr_scale"),
                                    .final_lr_scale = number("final_lr_scale"), .max_update = updates("max_update")};
          if (const auto ratio = c.numbers(path + ".phase_ratio"); ratio.size() == 3)
            schedule.phase_ratio = {{ratio[0], ratio[1], ratio[2]}};
          check_values(c, r, path, schedule);
        } else if (kind == "polynomial_decay") {
          check_values(c, r, path, PolynomialSchedule{
              .lr = number("lr"), .warmup_updates = updates("warmup_updates"),
              .total_num_update = updates("total_num_update"), .power = number("power"),
              .end_learning_rate = number("end_learning_rate")});
        } else if (kind == "ema_decay") {
          const EmaConfig ema{number("start"), number("end"), updates("anneal_end_step")};
          check_values(c, r, path, [&](std::int64_t n) { return ema_decay(ema, n); });
        } else {
          r.expect(false, "a schedule that is not known: " + kind);
        }
      }));
    }
  return results;
}

std::vector<CaseResult> check_standalone(const Case& c) {
  std::vector<CaseResult> results;
  for (const std::string& name : c.names()) {
    const auto add = [&](void (*check)(const Case&, Report&, const std::string&)) {
      results.push_back(run_case(c.name() + "/" + name, [&](Report& r) { check(c, r, name); }));
    };
    if (name.starts_with("sincos2d.")) add(check_sincos);
    else if (name.starts_with("sinusoid1d.")) add(check_sinusoid);
    else if (name.starts_with("alibi.learned_table")) continue;  // the input of the others
    else if (name.starts_with("alibi.")) add(check_alibi);
    else if (!name.starts_with("adam."))
      add([](const Case&, Report& r, const std::string&) { r.expect(false, "a table that is not known"); });
  }
  for (const std::string& tag : c.keys(""))
    results.push_back(run_case(c.name() + "/adam." + tag, [&](Report& r) { check_adam(c, r, tag); }));
  return results;
}

}  // namespace data2vec::parity
