// SPDX-License-Identifier: MIT
// What every training on the CPU shares: threads that take units of work, gradients added in the order of the units,
// the global norm, and Adam over the whole of the parameters. So bits do not depend on the number of threads.
#pragma once

#include <algorithm>
#include <cmath>
#include <span>
#include <vector>

#include <data2vec/core/buffer.hpp>
#include <data2vec/device/cpu/all.hpp>
#include <data2vec/device/cpu/threads.hpp>
#include <data2vec/training/optimizer.hpp>

namespace data2vec::inline v0 {

/// Samples per unit of work: so many that adding up a unit's gradient (12 bytes of traffic per parameter) costs some
/// 2 % of computing it. A number of the type, so the order of sums does not depend on the machine.
constexpr int samples_per_unit(int chunk, std::size_t parameters, double flops_per_sample) {
  const double wanted = 3000.0 * static_cast<double>(parameters) / flops_per_sample;
  int samples = chunk;
  while (samples < wanted) samples += chunk;
  return samples;
}

/// How threads share a step. A number of the type decides, so the order of sums does not depend on the machine.
enum class Sharing {
  units,       ///< every thread takes whole units: one fork and join a step, a gradient for each thread
  operations,  ///< all threads share each operation of one unit after the other: one gradient and one workspace in all
};

/// Units from some 20 GFLOP on are shared by operations, each of which is then long beside the fork and join.
constexpr Sharing sharing_of(double flops_per_unit) {
  return flops_per_unit > 2e10 ? Sharing::operations : Sharing::units;
}

/// Weights, gradient and moments of a struct of parameters, and the threads that work on them. Nothing is allocated
/// after construction.
template <class Parameters, class Isa>
class Updater {
 public:
  using T = float;
  using Device = BasicCpu<Isa>;
  static constexpr std::size_t size = buffer_size<Parameters>;

  /// `threads` 0: as many as the machine has.
  explicit Updater(int threads, Sharing sharing = Sharing::units) : sharing_(sharing), team_(threads) {
    threads_.reserve(static_cast<std::size_t>(team_.size()));
    for (int i = 0; i < team_.size(); ++i) threads_.emplace_back(sharing == Sharing::units ? size : 0);
    for (std::size_t row = 0; row < tensor_table<Parameters>.size(); ++row)
      for (std::size_t first = 0; first < tensor_table<Parameters>[row].size; first += piece)
        pieces_.push_back({row, first, std::min(piece, tensor_table<Parameters>[row].size - first)});
    norms_.resize((size + piece - 1) / piece);
  }

  ThreadTeam& team() { return team_; }
  /// Units that are worked on at a time.
  int workers() const { return sharing_ == Sharing::units ? team_.size() : 1; }
  /// The device of a worker.
  Device& device(int worker) { return sharing_ == Sharing::units ? own_device(worker) : whole_; }

  /// Forgets the moments.
  void restart() {
    std::fill(m_.begin(), m_.end(), T(0));
    std::fill(v_.begin(), v_.end(), T(0));
  }

  /// The gradient of `units` units: `work(worker, unit, gradient)` accumulates a unit's into the buffer it is given,
  /// and `merge(worker, unit)` is called for one unit after the other in their order. With `more`, onto the gradient of
  /// the call before: the bits are those of one call with all units.
  template <class Work, class Merge>
  void accumulate(int units, Work&& work, Merge&& merge, bool more = false) {
    if (!more)
      team_.for_each_task(static_cast<int>(norms_.size()), [&](int, int i) {
        const std::size_t first = static_cast<std::size_t>(i) * piece;
        std::fill_n(gradient_.data() + first, std::min(piece, size - first), T(0));
      });
    if (sharing_ == Sharing::operations) {
      for (int unit = 0; unit < units; ++unit) {
        work(0, unit, gradient_.data());
        merge(0, unit);
      }
      return;
    }
    turns_.restart();
    team_.for_each_task(units, [&](int thread, int unit) {
      Thread& own = threads_[static_cast<std::size_t>(thread)];
      std::fill(own.gradient.begin(), own.gradient.end(), T(0));
      work(thread, unit, own.gradient.data());
      turns_.wait_for(unit);
      device::add(own.device, size, gradient_.data(), own.gradient.data(), gradient_.data());
      merge(thread, unit);
      turns_.done(unit);
    });
  }

  /// The norm of the whole gradient.
  double gradient_norm() {
    team_.for_each_task(static_cast<int>(norms_.size()), [&](int thread, int i) {
      const std::size_t first = static_cast<std::size_t>(i) * piece;
      norms_[static_cast<std::size_t>(i)] = device::sum_of_squares(
          own_device(thread), std::min(piece, size - first), static_cast<const T*>(gradient_.data()) + first);
    });
    double squares = 0;
    for (const double part : norms_) squares += part;
    return std::sqrt(squares);
  }

  /// One Adam update. `update_of(row)` gives the TensorUpdate of a row of the table; with a `count` below 1 the tensor
  /// stays. `then(device, row, first, count)` is called after each updated or untouched stretch of a tensor.
  template <class UpdateOf, class Then>
  void apply(const OptimizerConfig& config, UpdateOf&& update_of, Then&& then) {
    const OptimizerState<T> state{weights_.data(), gradient_.data(), m_.data(), v_.data()};
    team_.for_each_task(static_cast<int>(pieces_.size()), [&](int thread, int i) {
      const Piece& p = pieces_[static_cast<std::size_t>(i)];
      const TensorUpdate update = update_of(p.row);
      if (update.count >= 1)
        update_tensor(own_device(thread), config, tensor_table<Parameters>[p.row], update, state, p.first, p.count);
      then(own_device(thread), p.row, p.first, p.count);
    });
  }

  std::span<T> weights() { return {weights_.data(), size}; }
  std::span<const T> weights() const { return {weights_.data(), size}; }
  std::span<const T> gradient() const { return {gradient_.data(), size}; }
  std::span<T> m() { return {m_.data(), size}; }  ///< Adam's first moments
  std::span<T> v() { return {v_.data(), size}; }  ///< Adam's second moments

 private:
  static constexpr std::size_t piece = 16 * 1024;  // elements that one task of an update works on

  struct Thread {
    explicit Thread(std::size_t gradient_size) : gradient(gradient_size) {}
    Device device;
    Buffer<T> gradient;  // of the unit it works on
  };
  struct Piece {
    std::size_t row, first, count;
  };

  Device& own_device(int thread) { return threads_[static_cast<std::size_t>(thread)].device; }

  Sharing sharing_;
  ThreadTeam team_;
  Device whole_{&team_};
  std::vector<Thread> threads_;
  std::vector<Piece> pieces_;
  std::vector<double> norms_;
  Buffer<T> weights_{size}, gradient_{size}, m_{size}, v_{size};
  Turns turns_;
};

}  // namespace data2vec::inline v0
