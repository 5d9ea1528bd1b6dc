// SPDX-License-Identifier: MIT
// Gradients of the whole step over every parameter of the student, the targets being constants.
#include <data2vec/objective/branch.hpp>

#include <doctest/doctest.h>

#include <tests/objective/step_layer.hpp>

using namespace data2vec;
using namespace data2vec::testing;

TEST_CASE("step: gradients of the published kind of model: post-norm, CLS, squared error, two masks") {
  expect_gradients<StepLayer<published, Published>>({.quadratic = 0});
}

TEST_CASE("step: gradients with pre-norm, dropouts, smooth L1, reconstruction, three masks, the student's front end") {
  expect_gradients<StepLayer<everything, Everything>>({.quadratic = 0});
}

TEST_CASE("step: gradients with a decoder that sees visible tokens only") {
  expect_gradients<StepLayer<bare, Bare>>({.quadratic = 0});
}
