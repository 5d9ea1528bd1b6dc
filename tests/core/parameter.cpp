// SPDX-License-Identifier: MIT
// Where the tensors of a struct lie.
#include <doctest/doctest.h>

#include <string>

#include <data2vec/core/parameter.hpp>

using namespace data2vec;

namespace {

template <class T>
struct Joined {
  View<T, 5> first;
  View<T, 3, 5> second;
  View<T, 5> behind, apart;
  static constexpr void visit(auto&& f, auto&... p) {
    f("first", p.first...);
    f("second", p.second...);
    f(Field{"behind", init::zeros(), true, 0}, p.behind...);
    f(Field{"apart", init::zeros(), true, 4}, p.apart...);
  }
};

}  // namespace

TEST_CASE("parameter: tensors begin at multiples of 16 unless their field says how far behind the last") {
  constexpr auto& table = tensor_table<Joined<float>>;
  static_assert(table[0].offset == 0 && table[1].offset == 16 && table[2].offset == 31 && table[3].offset == 40);
  static_assert(buffer_size<Joined<float>> == 48);
  static_assert(element_count<Joined<float>> == 30);
  float buffer[48] = {};
  const auto bound = bind<Joined<float>>(buffer);
  CHECK(bound.second.data == buffer + 16);
  CHECK(bound.behind.data == bound.second.data + 15);
  CHECK(bound.apart.data == bound.behind.data + 9);
}
