// bench_micro: what the steps of one registration cost by themselves.
#include <benchmark/benchmark.h>

#include <string>

#include "agent/api/json.h"
#include "agent/core/core.h"
#include "storage/record.h"

namespace limpet {
namespace {

std::string body_of(std::uint64_t number) {
  return R"({"data":")" + std::to_string(number) + std::string(230, 'x') + R"("})";
}

Registration sample() {
  Registration registration;
  registration.id = {"bench", "i-1"};
  registration.path = "/services/bench/i-1";
  registration.data = std::string(240, 'x');
  registration.seq = Seq{17};
  registration.accepted_at = 1'760'000'000'000;
  return registration;
}

void ParseRegistration(benchmark::State& state) {
  const std::string body = body_of(1);
  for (auto _ : state) {
    benchmark::DoNotOptimize(api::parse_registration({"bench", "i-1"}, body));
  }
}
BENCHMARK(ParseRegistration);

void ParseBatchOf16(benchmark::State& state) {
  std::string body = R"({"operations":[)";
  for (int i = 0; i < 16; ++i) {
    body += std::string(i == 0 ? "" : ",") + R"({"op":"register","service":"bench","instance":"i-)" +
            std::to_string(i) + R"(","data":")" + std::string(240, 'x') + R"("})";
  }
  body += "]}";
  for (auto _ : state) {
    benchmark::DoNotOptimize(api::parse_batch(body));
  }
}
BENCHMARK(ParseBatchOf16);

void RenderRegistration(benchmark::State& state) {
  core::RegistrationView view;
  view.registration = sample();
  std::string out;
  for (auto _ : state) {
    out.clear();
    api::render_registration(out, view);
    benchmark::DoNotOptimize(out.data());
  }
}
BENCHMARK(RenderRegistration);

void EncodeRegistration(benchmark::State& state) {
  const Registration registration = sample();
  std::string room;
  for (auto _ : state) {
    room = encode(registration, std::move(room));
    benchmark::DoNotOptimize(room.data());
  }
}
BENCHMARK(EncodeRegistration);

void DecodeRegistration(benchmark::State& state) {
  const std::string bytes = encode(sample());
  for (auto _ : state) {
    benchmark::DoNotOptimize(decode_registration(bytes));
  }
}
BENCHMARK(DecodeRegistration);

// A change of one of so many registrations, from the request to the answer, without disk and socket.
void CoreStepChange(benchmark::State& state) {
  core::Options options;
  core::Core core(options, StoredState{});
  core::Actions actions;
  core::Now now{1'000, 1'760'000'000'000, 0};
  core.step(core::Started{}, now, actions);
  actions.clear();
  core::Caller caller;
  caller.privileged = true;
  std::uint64_t number = 0;
  const auto names = static_cast<std::uint64_t>(state.range(0));
  for (auto _ : state) {
    ++number;
    core::RegisterRequest request;
    request.id = {"bench", "i-" + std::to_string(number % names)};
    request.data = std::to_string(number) + std::string(230, 'x');
    std::vector<core::ChangeRequest> changes;
    changes.emplace_back(std::move(request));
    core.step(core::Submit{core::Token{number}, caller, std::move(changes)}, now, actions);
    std::uint64_t ticket = 0;
    for (const core::Action& action : actions) {
      if (const auto* persist = std::get_if<core::Persist>(&action)) {
        ticket = persist->ticket;
      }
    }
    actions.clear();
    core.step(core::Persisted{ticket, Status()}, now, actions);
    benchmark::DoNotOptimize(actions.data());
    actions.clear();
  }
}
BENCHMARK(CoreStepChange)->Arg(100)->Arg(5'000);

}  // namespace
}  // namespace limpet

BENCHMARK_MAIN();
