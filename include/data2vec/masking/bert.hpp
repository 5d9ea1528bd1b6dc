// SPDX-License-Identifier: MIT
// Corrupted tokens (BERT, Devlin et al., 2019, section 3.1; RoBERTa, Liu et al., 2019, section 4.1: drawn anew each
// time a text is read): of the tokens that a model predicts most are replaced by <mask>, some by a random token, some
// stay. No token is removed: the encoder sees the whole row.
#pragma once

#include <cstdint>

#include <data2vec/core/check.hpp>
#include <data2vec/core/macros.hpp>
#include <data2vec/core/random.hpp>
#include <data2vec/core/view.hpp>

namespace data2vec::inline v0 {

/// Field names and defaults are fairseq's (`masked_lm`).
struct TokenMaskConfig {
  double mask_prob = 0.15;            ///< fraction of tokens (or words) that are predicted
  double leave_unmasked_prob = 0.1;   ///< of these: fraction that the encoder sees as they are
  double random_token_prob = 0.1;     ///< of these: fraction that a random token stands for
  int mask_multiple_length = 1;       ///< each drawn start covers so many tokens (or words)
  bool mask_whole_words = false;      ///< words instead of tokens; needs to know which ids begin a word

  friend constexpr bool operator==(const TokenMaskConfig&, const TokenMaskConfig&) = default;
};

/// What becomes of a token. All but `none` are predicted.
enum class TokenAction : std::int8_t { none, mask, keep, random };

/// The ids that a policy has to know.
struct TokenIds {
  std::int32_t mask = 0;                         ///< what stands for hidden tokens
  std::int32_t vocab_size = 0;
  std::int32_t specials = 4;                     ///< ids below are never a random token (<mask>, the last, may be)
  const std::uint8_t* begins_word = nullptr;     ///< (vocab_size), or null: every token is a word
};

namespace check {
template <TokenMaskConfig C>
concept TokenMaskProbInside = C.mask_prob > 0 && C.mask_prob < 1;
template <TokenMaskConfig C>
concept CorruptionInside =
    C.leave_unmasked_prob >= 0 && C.random_token_prob >= 0 && C.leave_unmasked_prob + C.random_token_prob <= 1;
}  // namespace check

/// What `TokenMask` does, for a row length and options that are known at run time: of n tokens, int(mask_prob n / m +
/// U[0, 1)) distinct starts are drawn, m = `mask_multiple_length`, each covering m tokens; special tokens are drawn like
/// others. With whole words all this is of words, a word being a token that begins one and those up to the next.
struct TokenMasking {
  int tokens = 1;
  TokenMaskConfig config;

  /// Starts among `units` tokens or words, for u in [0, 1).
  D2V_HD constexpr int starts_of(int units, double u) const {
    const int starts = static_cast<int>(config.mask_prob * units / config.mask_multiple_length + u);
    return starts < units ? starts : units;
  }
  /// The most tokens of a row that are predicted. Whole words get three times what single tokens need; where that is
  /// not enough, the last words of a row are not predicted.
  D2V_HD constexpr int most() const {
    const int slots = (config.mask_whole_words ? 3 : 1) * config.mask_multiple_length * starts_of(tokens, 0.9999999);
    return slots < 1 ? 1 : slots > tokens ? tokens : slots;
  }

  /// Chooses what becomes of the first `valid` tokens of a row `row` (tokens): writes `actions` (tokens), the row that
  /// the encoder sees to `seen` (tokens; may be `row`), and the predicted positions, ascending, to `positions` (most);
  /// returns their number.
  D2V_HD constexpr int sample(Rng& rng, int valid, const TokenIds& ids, const std::int32_t* row, TokenAction* actions,
                              std::int32_t* seen, int* positions) const {
    const auto begins = [&](int t) {
      return !config.mask_whole_words || t == 0 || !ids.begins_word || ids.begins_word[row[t]] != 0;
    };
    int units = 0;
    for (int t = 0; t < valid; ++t) units += begins(t);
    Starts starts{starts_of(units, static_cast<double>(rng.uniform())), units};
    const int slots = most();
    int count = 0;
    bool full = false;
    TokenAction action = TokenAction::none;
    for (int t = 0; t < tokens; ++t) {
      if (t >= valid) action = TokenAction::none;
      else if (begins(t)) action = act(rng, starts);
      if (full || (action != TokenAction::none && !fits(valid, slots - count, t, begins))) full = true;
      actions[t] = full ? TokenAction::none : action;
      if (actions[t] != TokenAction::none) positions[count++] = t;
    }
    for (int t = 0; t < tokens; ++t)
      seen[t] = actions[t] == TokenAction::mask     ? ids.mask
                : actions[t] == TokenAction::random ? random_token(rng, ids)
                                                    : row[t];
    return count;
  }

 private:
  struct Starts {
    int needed, left, covered = 0;  // covered: units that the last start still reaches over
  };
  /// The action of the next unit: selection sampling of the starts (Knuth, TAOCP 2, algorithm S), ascending.
  D2V_HD constexpr TokenAction act(Rng& rng, Starts& s) const {
    if (s.needed > 0 && static_cast<int>(rng.below(static_cast<std::uint32_t>(s.left))) < s.needed) {
      --s.needed;
      s.covered = config.mask_multiple_length;
    }
    --s.left;
    if (s.covered == 0) return TokenAction::none;
    --s.covered;
    const double corrupted = config.leave_unmasked_prob + config.random_token_prob;
    if (corrupted > 0 && static_cast<double>(rng.uniform()) < corrupted)
      return static_cast<double>(rng.uniform()) < config.leave_unmasked_prob / corrupted ? TokenAction::keep
                                                                                         : TokenAction::random;
    return TokenAction::mask;
  }
  /// Whether `slots` places hold the rest of the word at `t`.
  D2V_HD static constexpr bool fits(int valid, int slots, int t, const auto& begins) {
    int length = 1;
    if (begins(t))
      while (t + length < valid && !begins(t + length)) ++length;
    return length <= slots;
  }
  D2V_HD static constexpr std::int32_t random_token(Rng& rng, const TokenIds& ids) {
    const std::int32_t choices = ids.vocab_size - ids.specials;
    return ids.specials + static_cast<std::int32_t>(rng.below(static_cast<std::uint32_t>(choices)));
  }
};

/// Policy over rows of up to `token_count` tokens (TokenMasking).
template <int token_count, TokenMaskConfig C>
struct TokenMask {
  static_assert(check::AtLeast<token_count, 1>, "data2vec: TokenMask needs at least 1 token");
  static_assert(check::TokenMaskProbInside<C>, "data2vec: TokenMaskConfig::mask_prob must be in (0, 1)");
  static_assert(check::CorruptionInside<C>,
                "data2vec: TokenMaskConfig::leave_unmasked_prob and random_token_prob must be parts of 1");
  static_assert(check::AtLeast<C.mask_multiple_length, 1>,
                "data2vec: TokenMaskConfig::mask_multiple_length must be at least 1");
  static constexpr TokenMaskConfig config = C;
  static constexpr TokenMasking masking{token_count, C};
  static constexpr int tokens = token_count;
  static constexpr int most = masking.most();  ///< tokens of a row that are predicted, at most

  D2V_HD static constexpr int sample(Rng& rng, int valid, const TokenIds& ids, const std::int32_t* row,
                                     TokenAction* actions, std::int32_t* seen, int* positions) {
    constexpr TokenMasking here = masking;  // a static member has no address on a device
    return here.sample(rng, valid, ids, row, actions, seen, positions);
  }
};

}  // namespace data2vec::inline v0
