// One visitor for std::visit out of several lambdas (cppreference.com, std::variant: visit). Pure; any thread.
#pragma once

namespace limpet {

template <typename... Visitors>
struct Overloaded : Visitors... {
  using Visitors::operator()...;
};
template <typename... Visitors>
Overloaded(Visitors...) -> Overloaded<Visitors...>;

}  // namespace limpet
