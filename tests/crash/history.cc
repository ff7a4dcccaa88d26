#include "tests/crash/history.h"

#include <algorithm>

namespace limpet::test {

std::optional<Listing> list_all(UnixHttp& http) {
  Listing listing;
  std::string after;
  do {
    const HttpAnswer answer = http.get("/v1/registrations?limit=5000" + after);
    if (answer.status != 200) {
      return std::nullopt;
    }
    const nlohmann::json body = answer.json();
    for (const auto& one : body["registrations"]) {
      if (one["state"] != "removing") {
        listing[one["id"]] = Shown{one["data"], one["seq"]};
      }
    }
    after = body["next"].is_string() ? "&after=" + body["next"].get<std::string>() : "";
  } while (!after.empty());
  return listing;
}

History::History(const std::string& socket, std::string service, std::uint64_t seed, int names)
    : http_(socket), service_(std::move(service)), names_count_(names), rng_(seed) {
  for (int i = 0; i < names; ++i) {
    names_["i-" + std::to_string(i)];
  }
}

std::string History::fresh_data() {
  // Mostly small; sometimes large enough that write buffers fill up.
  const std::size_t filling = rng_.chance(0.05) ? 20'000 : rng_.below(200);
  return service_ + " " + std::to_string(next_++) + " " + std::string(filling, 'x');
}

History::Outcome History::change() {
  const std::string instance = "i-" + std::to_string(rng_.below(static_cast<std::uint64_t>(names_count_)));
  const std::uint64_t die = rng_.below(10);
  return die < 6 ? put(instance) : die < 8 ? remove(instance) : batch();
}

History::Outcome History::put(const std::string& instance, std::size_t filling) {
  const Effect effect{instance, fresh_data() + std::string(filling, 'y')};
  const std::string body = nlohmann::json{{"data", *effect.data}}.dump();
  return settle(http_.put(target(instance), body), {effect});
}

History::Outcome History::remove(const std::string& instance) {
  const HttpAnswer answer = http_.del(target(instance));
  Name& name = names_[instance];
  if (answer.status == 404) {
    last_status_ = 404;
    const bool may_be_gone = !name.known || std::any_of(name.maybe.begin(), name.maybe.end(),
                                                        [](const auto& maybe) { return !maybe.second; });
    if (!may_be_gone) {
      violated(instance + " was acknowledged and is not found");
    }
    name = Name{};
    return Outcome::refused;
  }
  return settle(answer, {{instance, std::nullopt}});
}

History::Outcome History::batch() {
  std::vector<Effect> effects;
  const auto first = rng_.below(static_cast<std::uint64_t>(names_count_));
  nlohmann::json operations = nlohmann::json::array();
  for (std::uint64_t i = 0; i < 2; ++i) {
    const std::string instance = "i-" + std::to_string((first + i) % static_cast<std::uint64_t>(names_count_));
    effects.push_back({instance, fresh_data()});
    operations.push_back(
        {{"op", "register"}, {"service", service_}, {"instance", instance}, {"data", *effects.back().data}});
  }
  for (const auto& [instance, name] : names_) {
    const bool taken = std::any_of(effects.begin(), effects.end(), [&instance = instance](const Effect& effect) {
      return effect.instance == instance;
    });
    if (!taken && name.known && name.maybe.empty()) {
      operations.push_back({{"op", "deregister"}, {"service", service_}, {"instance", instance}});
      effects.push_back({instance, std::nullopt});
      break;
    }
  }
  return settle(http_.post("/v1/batch", nlohmann::json{{"operations", operations}}.dump()), effects);
}

History::Outcome History::settle(const HttpAnswer& answer, const std::vector<Effect>& effects) {
  last_status_ = answer.status;
  if (answer.status == 200 || answer.status == 202) {
    const nlohmann::json body = answer.json();
    for (std::size_t i = 0; i < effects.size(); ++i) {
      const nlohmann::json& one = body.contains("results") ? body["results"][i] : body;
      acknowledge(effects[i], one["seq"]);
    }
    ++acknowledged_;
    return Outcome::acknowledged;
  }
  if (answer.status >= 400 && answer.status < 500) {
    return Outcome::refused;
  }
  ++unknown_;
  const std::uint64_t number = next_++;
  for (const Effect& effect : effects) {
    names_[effect.instance].maybe.emplace_back(number, effect.data);
    accepted_.push_back({id(effect.instance), effect.data, std::nullopt});
  }
  if (effects.size() > 1) {
    unknown_batches_[number] = effects;
  }
  return Outcome::unknown;
}

void History::acknowledge(const Effect& effect, std::uint64_t seq) {
  Name& name = names_[effect.instance];
  // Deregistering what is already being removed repeats what stands, and keeps its seq.
  const bool repeats = !effect.data && (!name.known || !name.maybe.empty());
  if (seq <= highest_seq_ && !repeats) {
    violated(effect.instance + ": seq " + std::to_string(seq) + " after " + std::to_string(highest_seq_));
  }
  highest_seq_ = std::max(highest_seq_, seq);
  accepted_.push_back({id(effect.instance), effect.data, seq});
  name.maybe.clear();
  name.known = effect.data ? std::optional<Shown>(Shown{*effect.data, seq}) : std::nullopt;
}

bool History::shows(const Effect& effect, const Listing& all) const {
  const auto it = all.find(id(effect.instance));
  return effect.data ? it != all.end() && it->second.data == *effect.data : it == all.end();
}

void History::check_whole(const Listing& all) {
  for (const auto& [number, effects] : unknown_batches_) {
    int shown = 0;
    int hidden = 0;
    for (const Effect& effect : effects) {
      const Name& name = names_[effect.instance];
      // Only where this batch is the last word on the name, and a deregistration has something to take away.
      const bool telling = !name.maybe.empty() && name.maybe.back().first == number &&
                           (effect.data || (name.known && name.maybe.size() == 1));
      shown += telling && shows(effect, all) ? 1 : 0;
      hidden += telling && !shows(effect, all) ? 1 : 0;
    }
    if (shown > 0 && hidden > 0) {
      violated("an unknown batch stands in part");
    }
  }
  unknown_batches_.clear();
}

void History::check_name(const std::string& instance, const Listing& all) {
  Name& name = names_[instance];
  const auto it = all.find(id(instance));
  const std::optional<Shown> shown = it == all.end() ? std::nullopt : std::optional<Shown>(it->second);
  bool fits = shown == name.known;
  for (const auto& [number, data] : name.maybe) {
    fits = fits || (shown ? data == shown->data && shown->seq > (name.known ? name.known->seq : 0) : !data);
  }
  if (!fits) {
    violated(instance + " shows " +
             (shown ? shown->data.substr(0, 20) + " seq " + std::to_string(shown->seq) : "nothing") +
             ", acknowledged was " +
             (name.known ? name.known->data.substr(0, 20) + " seq " + std::to_string(name.known->seq) : "nothing") +
             ", unknown since: " + std::to_string(name.maybe.size()));
  }
  name.known = shown;
  name.maybe.clear();
  if (shown) {
    highest_seq_ = std::max(highest_seq_, shown->seq);
    accepted_.push_back({id(instance), shown->data, shown->seq});
  }
}

void History::check(const Listing& all) {
  http_.close();  // the agent may be another by now
  check_whole(all);
  for (const auto& [id, shown] : all) {
    if (id.starts_with(service_ + "/") && !names_.contains(id.substr(service_.size() + 1))) {
      violated(id + " was never asked for");
    }
  }
  for (auto& entry : names_) {
    check_name(entry.first, all);
  }
}

Listing History::expected() const {
  Listing listing;
  for (const auto& [instance, name] : names_) {
    if (name.known) {
      listing[id(instance)] = *name.known;
    }
  }
  return listing;
}

}  // namespace limpet::test
