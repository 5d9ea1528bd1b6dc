// SPDX-License-Identifier: MIT
// How the example programs pre-train their model on the CPU.
#pragma once

#include <data2vec/data2vec.hpp>

#include "examples/vision/model.hpp"

namespace demo {

/// The pre-training of a system.
template <class S>
struct RecipeOf : S {
  using Trainer = d2v::Trainer<typename S::Model, d2v::Cpu, chunk>;
  static d2v::Schedule schedule(std::int64_t updates, double lr) {
    return d2v::CosineSchedule{.lr = lr, .warmup_updates = updates / 20, .max_update = updates};
  }
};
using Recipe = RecipeOf<System>;

}  // namespace demo
