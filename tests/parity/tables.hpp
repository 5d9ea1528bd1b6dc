// SPDX-License-Identifier: MIT
// Checks of the fixtures' tables through the library's run-time functions: each entry is one test case.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "support.hpp"

namespace data2vec::parity {

/// What became of a test case.
struct CaseResult {
  enum class Status { passed, failed, skipped };
  std::string name;
  Status status = Status::failed;
  std::string summary;                    ///< errors beside bounds, or why it was skipped
  std::vector<std::string> details;       ///< what is wrong
};

/// The result of a report, or of the exception that ended it.
template <class Run>
CaseResult run_case(std::string name, Run&& run) {
  Report report;
  try {
    run(report);
  } catch (const std::exception& error) {
    report.expect(false, error.what());
  }
  const auto status = report.passed() ? CaseResult::Status::passed : CaseResult::Status::failed;
  return {std::move(name), status, report.summary(), report.details()};
}

std::vector<CaseResult> check_schedules(const Case& c);
std::vector<CaseResult> check_mask_statistics(const Case& c);
std::vector<CaseResult> check_baseline_masks(const Case& c);
std::vector<CaseResult> check_standalone(const Case& c);
std::vector<CaseResult> check_state_dicts(const Case& c);

}  // namespace data2vec::parity
