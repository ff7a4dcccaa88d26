// The API's description against the code that it describes: what the one names, the other knows, and the other way
// round. That real answers are as described is seen by tests/docs.
#include "agent/api/openapi.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <regex>
#include <set>
#include <sstream>

#include "agent/api/check_reader.h"
#include "agent/api/names.h"
#include "agent/api/registration_reader.h"
#include "agent/api/routes.h"
#include "tests/api/harness.h"

namespace limpet::api {
namespace {

using Names = std::set<std::string>;

const Json& description() {
  static const Json document = Json::parse(openapi_document());
  return document;
}

const Json& schema(const std::string& name) {
  return description()["components"]["schemas"].at(name);
}

// Without null, which stands for a field that is left out.
Names names_of(const Json& list) {
  Names names;
  for (const Json& name : list) {
    if (!name.is_null()) {
      names.insert(name.get<std::string>());
    }
  }
  return names;
}

Names keys_of(const Json& object) {
  Names keys;
  for (const auto& [key, value] : object.items()) {
    keys.insert(key);
  }
  return keys;
}

// The words of an enumeration whose values are 0 or `first`, and those that follow, to `last`.
template <typename Enum>
Names words(Enum last, std::string_view (*name)(Enum), int first = 0) {
  Names all;
  for (int value = first; value <= static_cast<int>(last); ++value) {
    all.emplace(name(static_cast<Enum>(value)));
  }
  return all;
}

std::string upper(std::string text) {
  for (char& c : text) {
    c = static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
  }
  return text;
}

const std::regex kParameter(R"(\{[a-z]+\})");

TEST(OpenApi, IsBuiltInAsItStandsInTheFile) {
  std::stringstream content;
  content << std::ifstream(LIMPET_SOURCE_DIR "/agent/api/openapi.json").rdbuf();
  EXPECT_EQ(openapi_document(), content.str());
}

TEST(OpenApi, NamesTheRoutesThatThereAre) {
  Names described;
  for (const auto& [path, methods] : description()["paths"].items()) {
    for (const auto& [method, operation] : methods.items()) {
      if (method != "parameters") {
        described.insert(upper(method) + " " + std::regex_replace(path, kParameter, "*"));
      }
    }
  }
  Names known;
  for (const KnownRoute& route : known_routes()) {
    known.insert(std::string(route.method) + " " + route.path);
  }
  EXPECT_EQ(described, known);
}

TEST(OpenApi, NamesTheWordsThatThereAre) {
  EXPECT_EQ(names_of(schema("State")["enum"]), words(core::State::removing, state_name));
  EXPECT_EQ(names_of(schema("Format")["enum"]), words(Format::nerve, format_name, static_cast<int>(Format::raw)));
  EXPECT_EQ(names_of(schema("Reason")["properties"]["code"]["enum"]), words(core::ReasonCode::storage, reason_name));
  EXPECT_EQ(names_of(schema("Status")["properties"]["zookeeper"]["properties"]["state"]["enum"]),
            words(core::SessionState::auth_failed, session_state_name));
  EXPECT_EQ(names_of(schema("HistoryEntry")["properties"]["what"]["enum"]),
            words(Happening::pruned, happening_name, static_cast<int>(Happening::accepted)));
  for (const char* shown_in : {"Registration", "RegistrationRequest"}) {
    EXPECT_EQ(names_of(schema(shown_in)["properties"]["bind"]["enum"]), (Names{"none", "process", "connection"}));
  }
  EXPECT_EQ(schema("RegistrationRequest")["properties"]["checks"]["maxItems"], kMaxChecks);
  EXPECT_EQ(schema("RegistrationRequest")["properties"]["path"]["oneOf"][0]["$ref"], "#/components/schemas/ZnodePath");
  EXPECT_EQ(schema("ZnodePath")["maxLength"], kMaxPathBytes);
  EXPECT_EQ(schema("Batch")["properties"]["operations"]["maxItems"], kMaxBatchOperations);
  EXPECT_EQ(schema("MaintenanceRequest")["properties"]["reason"]["maxLength"], kMaxReasonBytes);
}

TEST(OpenApi, NamesTheFieldsOfARequest) {
  const Names fields(kRegistrationFields.begin(), kRegistrationFields.end());
  EXPECT_EQ(keys_of(schema("RegistrationRequest")["properties"]), fields);
  Names of_operation = keys_of(schema("Operation")["oneOf"][0]["properties"]);
  for (const char* own : {"op", "service", "instance"}) {
    EXPECT_EQ(of_operation.erase(own), 1u);
  }
  EXPECT_EQ(of_operation, fields);
}

TEST(OpenApi, NamesTheProblemsThatThereAre) {
  Names codes;
  for (int kind = 0; kind <= static_cast<int>(ProblemKind::queue_full); ++kind) {
    const ProblemFacts& facts = problem_facts(static_cast<ProblemKind>(kind));
    codes.emplace(facts.code);
    const Json& answer = description()["components"]["responses"].at(std::to_string(facts.status));
    const Json& said = answer["content"]["application/problem+json"]["schema"]["allOf"][1]["properties"];
    EXPECT_EQ(said["status"]["const"], facts.status);
    EXPECT_TRUE(names_of(said["code"]["enum"]).contains(std::string(facts.code))) << facts.code;
    EXPECT_NE(answer["description"].get<std::string>().find(std::string(facts.code) + ":"), std::string::npos)
        << facts.code;
    EXPECT_EQ(answer.contains("headers") && answer["headers"].contains("Retry-After"), facts.retry_after_s != 0);
  }
  EXPECT_EQ(names_of(schema("Problem")["properties"]["code"]["enum"]), codes);
}

// The handlers say what they take where they read it.
TEST(OpenApi, NamesTheQueryParametersThatTheHandlersRead) {
  Names read;
  const std::regex call(R"(Query::parse\([^;]*\{([^}]*)\}\))");
  const std::regex word(R"re("([a-z_]+)")re");
  for (const auto& file : std::filesystem::directory_iterator(LIMPET_SOURCE_DIR "/agent/api")) {
    std::stringstream content;
    content << std::ifstream(file.path()).rdbuf();
    const std::string text = content.str();
    for (std::sregex_iterator found(text.begin(), text.end(), call), end; found != end; ++found) {
      const std::string list = (*found)[1];
      for (std::sregex_iterator name(list.begin(), list.end(), word); name != end; ++name) {
        read.insert((*name)[1]);
      }
    }
  }
  Names described;
  for (const auto& [path, methods] : description()["paths"].items()) {
    for (const auto& [method, operation] : methods.items()) {
      for (const Json& parameter : operation.is_object() ? operation.value("parameters", Json::array()) : Json()) {
        const Json::json_pointer place(parameter.value("$ref", "#").substr(1));
        const Json& what = parameter.contains("$ref") ? description()[place] : parameter;
        EXPECT_EQ(what["in"], "query") << path;
        described.insert(what["name"]);
      }
    }
  }
  EXPECT_EQ(described, read);
}

class OpenApiServed : public ServerTest {
 protected:
  Answer call(std::string_view method, std::string_view target, std::string_view body = {}) {
    return call_once(socket_path(), method, target, body);
  }
};

TEST_F(OpenApiServed, IsServedAsItIs) {
  start();
  const Answer answer = call("GET", "/v1/openapi.json");
  EXPECT_EQ(answer.status, 200);
  EXPECT_EQ(answer.header("content-type"), "application/json");
  EXPECT_EQ(answer.body, openapi_document());
  EXPECT_EQ(answer.json()["openapi"], "3.1.0");
  EXPECT_EQ(call("PUT", "/v1/openapi.json").status, 405);
}

// Whatever is described is taken: nothing of it is answered by "no such thing".
TEST_F(OpenApiServed, EveryCallThatIsDescribedIsAnswered) {
  start();
  on_server([this] { service_->serve(); });
  ASSERT_LT(call("PUT", "/v1/registrations/web/i-1", R"({"ttl":"1h"})").status, 300);
  for (const auto& [path, methods] : description()["paths"].items()) {
    std::string target = std::regex_replace(path, std::regex(R"(\{service\})"), "web");
    target = std::regex_replace(target, std::regex(R"(\{instance\})"), "i-1");
    for (const char* method : {"get", "put", "post", "delete"}) {
      if (!methods.contains(method) || path == "/v1/events") {
        continue;
      }
      const Answer answer = call(upper(method), target, path == "/v1/batch" ? R"({"operations":[]})" : "");
      EXPECT_NE(answer.status, 404) << method << " " << path;
      EXPECT_NE(answer.status, 405) << method << " " << path;
      EXPECT_TRUE(methods[method]["responses"].contains(std::to_string(answer.status)))
          << method << " " << path << " answers " << answer.status;
      call("PUT", "/v1/registrations/web/i-1", R"({"ttl":"1h"})");
    }
  }
}

}  // namespace
}  // namespace limpet::api
