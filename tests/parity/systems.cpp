// SPDX-License-Identifier: MIT
// The table of systems; each has a file NAME_source.cpp.
#include "generate.hpp"

namespace data2vec::parity {

std::string roberta_source(const nlohmann::json&, const SafetensorsFile&);
std::string roberta_sentences_source(const nlohmann::json&, const SafetensorsFile&);

const System* system_of(const std::string& kind) {
  static constexpr System systems[] = {
      {"roberta_mlm", "roberta.hpp", &roberta_source},
      {"roberta_cls", "roberta.hpp", &roberta_sentences_source},
  };
  for (const System& system : systems)
    if (kind == system.kind) return &system;
  return nullptr;
}

}  // namespace data2vec::parity
