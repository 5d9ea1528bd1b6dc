// SPDX-License-Identifier: MIT
// Finding the cases of a folder, and telling by their content what they are.
#pragma once

#include <string>
#include <vector>

namespace data2vec::parity {

enum class CaseKind {
  pretrain, finetune,                                          ///< a generated program each
  schedules, mask_statistics, baseline_masks, standalone, state_dicts,  ///< tables of many cases
  skipped,                                                     ///< a system that is not built yet
  broken,                                                      ///< cannot be read, or its twin is missing
  other,                                                       ///< not a case
};

/// One JSON file.
struct FoundCase {
  std::string path;
  std::string name;        ///< path below the folder without ".json"
  CaseKind kind = CaseKind::other;
  std::string text;        ///< why it is skipped, broken or no case
  std::string source;      ///< of the generated program
  std::string device_source;  ///< of its half for a GPU; empty: it runs on the CPU
};

/// All *.json below `folder`, sorted by path. `sources` is the folder of the headers that generated programs include:
/// a kind of case without its header there is not built yet.
std::vector<FoundCase> find_cases(const std::string& folder, const std::string& sources);

/// Makes the program of a pre-training case one whose steps run on a GPU, in fp32 or in bfloat16, or skips it by what a
/// GPU lacks.
void use_device(FoundCase& found, bool in_bfloat16);

/// One file.
FoundCase classify(const std::string& path, const std::string& name, const std::string& sources);

}  // namespace data2vec::parity
