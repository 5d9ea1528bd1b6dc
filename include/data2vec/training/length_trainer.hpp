// SPDX-License-Identifier: MIT
// Training of a model of several static lengths (objective/lengths.hpp): every batch has one of them, chosen by whoever
// made it.
#pragma once

#include <algorithm>
#include <string>
#include <utility>

#include <data2vec/core/error.hpp>
#include <data2vec/objective/lengths.hpp>
#include <data2vec/training/trainer.hpp>

namespace data2vec::inline v0 {

/// A batch of samples of length `bucket` of a model, counted from 0.
template <class T = float>
struct LengthBatch : Batch<T> {
  int bucket = 0;
};

/// A trainer whose step takes a batch of any of the model's lengths. All of them move the same weights.
template <class Model, class Device>
class LengthTrainer : public Trainer<Model, Device> {
 public:
  using Base = Trainer<Model, Device>;
  using Base::Base;
  using Base::step;

  /// What the number of samples of a batch must be a multiple of, whatever its length.
  static constexpr int chunk = []<int... i>(std::integer_sequence<int, i...>) {
    return std::max({Base::template chunk_of<i>...});
  }(std::make_integer_sequence<int, Model::branches>{});

  /// One update, as Trainer::step(); with accumulation all micro-batches of an update have one length.
  StepReport step(const LengthBatch<typename Base::T>& batch) {
    if (batch.bucket < 0 || batch.bucket >= Model::branches)
      throw OptionError("batch: expected a length from 0 to " + std::to_string(Model::branches - 1) + ", found " +
                        std::to_string(batch.bucket));
    StepReport report;
    Base& base = *this;
    Model::visit(batch.bucket, [&]<int i>() { report = base.template step<i>(batch); });
    return report;
  }
};

}  // namespace data2vec::inline v0
