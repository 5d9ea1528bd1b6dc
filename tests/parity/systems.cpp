// SPDX-License-Identifier: MIT
// The table of systems; each has a file NAME_source.cpp.
#include "generate.hpp"

namespace data2vec::parity {

std::string data2vec1_audio_source(const nlohmann::json&, const SafetensorsFile&);
std::string data2vec1_beit_source(const nlohmann::json&, const SafetensorsFile&);
std::string data2vec1_fairseq_vision_source(const nlohmann::json&, const SafetensorsFile&);
std::string data2vec1_text_source(const nlohmann::json&, const SafetensorsFile&);
std::string mae_source(const nlohmann::json&, const SafetensorsFile&);
std::string mae_finetune_source(const nlohmann::json&, const SafetensorsFile&);
std::string mae_linprobe_source(const nlohmann::json&, const SafetensorsFile&);
std::string roberta_source(const nlohmann::json&, const SafetensorsFile&);
std::string roberta_sentences_source(const nlohmann::json&, const SafetensorsFile&);
std::string wav2vec2_source(const nlohmann::json&, const SafetensorsFile&);
std::string wav2vec2_ctc_source(const nlohmann::json&, const SafetensorsFile&);

const System* system_of(const std::string& kind) {
  static constexpr System systems[] = {
      {"d2v_audio", "data2vec1.hpp", &data2vec1_audio_source},
      {"d2v_text", "data2vec1.hpp", &data2vec1_text_source},
      {"d2v_vision_beit", "data2vec1.hpp", &data2vec1_beit_source},
      {"d2v_vision_fairseq", "data2vec1.hpp", &data2vec1_fairseq_vision_source},
      {"mae", "mae.hpp", &mae_source},
      {"mae_finetune", "mae.hpp", &mae_finetune_source},
      {"mae_linprobe", "mae.hpp", &mae_linprobe_source},
      {"roberta_mlm", "roberta.hpp", &roberta_source},
      {"roberta_cls", "roberta.hpp", &roberta_sentences_source},
      {"w2v_pretrain", "wav2vec2.hpp", &wav2vec2_source},
      {"w2v_ctc", "wav2vec2.hpp", &wav2vec2_ctc_source},
  };
  for (const System& system : systems)
    if (kind == system.kind) return &system;
  return nullptr;
}

}  // namespace data2vec::parity
