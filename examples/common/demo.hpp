// SPDX-License-Identifier: MIT
// What every demo does behind its pre-training: the parts that judge the encoder, then the report.
#pragma once

#include <cstdio>
#include <string>

#include <data2vec/evaluation/report.hpp>
#include <data2vec/io/lock.hpp>

#include "examples/common/parts.hpp"
#include "examples/common/pretraining.hpp"
#include "examples/common/program.hpp"

namespace demo {

/// judge(parts), then report(parts), unless the pre-training was not finished or a signal comes in between.
template <class Judge, class Report>
void run_parts(const PretrainOptions& training, const Pretrained& trained, Judge&& judge, Report&& report) {
  if (training.updates == 0) return;  // a signal before the length was known
  const d2v::FolderLock lock(training.out);
  Parts parts(training.out, training.resume);
  parts.add_alarms(trained.alarms);
  parts.add_seconds("pre-training", trained.seconds);
  if (!trained.finished) return;
  std::printf("%-46s %lld updates  [%.1f s]\n", "pre-training", static_cast<long long>(trained.updates),
              parts.seconds("pre-training"));
  try {
    judge(parts);
    if (interrupted) throw Stopped{};
  } catch (const Stopped&) {
    std::printf("the parts above are saved; --resume goes on behind them\n");
    return;
  }
  report(parts);
}

/// The last lines of a demo.
inline void print_end(const d2v::RunReport& report, const std::string& out) {
  double seconds = 0;
  for (const d2v::Fact& fact : report.seconds) seconds += fact.value.get<double>();
  std::printf("%s in all\nreport: %s/report.html and report.json\n", clock_text(seconds).c_str(), out.c_str());
}

}  // namespace demo
