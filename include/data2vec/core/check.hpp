// SPDX-License-Identifier: MIT
// Conditions on configurations as concepts over plain numbers: a failing static_assert then prints the numbers.
#pragma once

#include <data2vec/version.hpp>

namespace data2vec::inline v0::check {

template <int num_heads, int embed_dim>
concept HeadsDivideEmbedDim = num_heads > 0 && embed_dim % num_heads == 0;

template <int input, int patch>
concept PatchDividesInput = patch > 0 && input >= patch && input % patch == 0;

template <int groups, int channels>
concept GroupsDivideChannels = groups > 0 && channels % groups == 0;

template <int layers, int depth>
concept TopLayersWithinDepth = layers >= 1 && layers <= depth;

template <int left, int right>
concept Equal = left == right;

template <int value, int least>
concept AtLeast = value >= least;

template <int dim, int divisor>
concept MultipleOf = dim % divisor == 0;

}  // namespace data2vec::inline v0::check
