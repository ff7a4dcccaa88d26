// Answers that are made piece by piece, as their reader takes them.
#include "agent/api/pages.h"

#include <gtest/gtest.h>

#include <list>
#include <thread>

#include "tests/api/harness.h"

namespace limpet::api {
namespace {

constexpr std::size_t kMegabyte = 1'000'000;

class PagesTest : public ServerTest {
 protected:
  // Registers services/i-0 and so on with so much data each.
  void put_many(int count, const std::string& data) {
    Client client = connect();
    const std::string body = Json({{"data", data}}).dump();
    for (int i = 0; i < count; ++i) {
      ASSERT_EQ(client.call("PUT", "/v1/registrations/web/i-" + std::to_string(i), body)->status, 202);
    }
  }
  std::size_t output_bytes() {
    return on_server([this] { return server_->output_bytes(); });
  }
  // Until what is made of the answers comes to rest.
  std::size_t settled_output_bytes() {
    std::size_t before = output_bytes() + 1;
    while (true) {
      std::this_thread::sleep_for(std::chrono::milliseconds(50));
      const std::size_t now = output_bytes();
      if (now == before && now != 0) {
        return now;
      }
      before = now;
    }
  }
};

TEST_F(PagesTest, ShortOnesHaveTheirLength) {
  start();
  put_many(100, "x");
  const auto page = call_once(socket_path(), "GET", "/v1/registrations");
  EXPECT_EQ(page.header("transfer-encoding"), "");
  EXPECT_EQ(page.json()["registrations"].size(), 100U);
}

TEST_F(PagesTest, LongOnesComeInChunksAndTheConnectionGoesOn) {
  start();
  put_many(8, std::string(kMegabyte, 'x'));
  Client client = connect();
  for (int i = 0; i < 2; ++i) {
    const auto page = client.call("GET", "/v1/registrations?limit=5");
    ASSERT_TRUE(page);
    EXPECT_EQ(page->header("transfer-encoding"), "chunked");
    const Json json = page->json();
    EXPECT_EQ(json["registrations"].size(), 5U);
    EXPECT_EQ(json["registrations"][4]["data"], std::string(kMegabyte, 'x'));
    EXPECT_EQ(json["next"], "web/i-4");
  }
  const auto head = client.call("HEAD", "/v1/registrations");
  EXPECT_EQ(head->status, 200);
  const auto rest = client.call("GET", "/v1/registrations?after=web/i-4");
  EXPECT_EQ(rest->json()["registrations"].size(), 3U);
  EXPECT_TRUE(rest->json()["next"].is_null());
}

TEST_F(PagesTest, OldClientsReadLongOnesUntilTheEnd) {
  start();
  put_many(4, std::string(kMegabyte, 'x'));
  Client client = connect();
  client.send("GET /v1/registrations HTTP/1.0\r\n\r\n");
  const auto head = client.receive(true);
  ASSERT_TRUE(head);
  EXPECT_EQ(head->header("transfer-encoding"), "");
  EXPECT_EQ(head->header("connection"), "close");
  std::string body;
  while (auto some = client.receive_some()) {
    body += *some;
  }
  EXPECT_EQ(Json::parse(body)["registrations"].size(), 4U);
}

TEST_F(PagesTest, WhatIsNotReadIsNotMade) {
  start();
  put_many(30, std::string(kMegabyte, 'x'));
  Client client = connect();
  client.send(request_text("GET", "/v1/registrations") + request_text("GET", "/v1/registrations"));
  EXPECT_LT(settled_output_bytes(), 4 * kMegabyte);
  for (int i = 0; i < 2; ++i) {
    const auto page = client.receive();
    ASSERT_TRUE(page);
    EXPECT_EQ(page->json()["registrations"].size(), 30U);
  }
  while (output_bytes() != 0) {
  }
}

// All at once, when what they waited for has come.
TEST_F(PagesTest, AnswersThatWaitedAreMadeInPiecesToo) {
  start();
  std::string data;
  for (std::size_t i = 0; i < 100'000; ++i) {
    data += "\x01ä\"";  // takes more room as JSON
  }
  put_many(1, data);
  constexpr std::size_t kCallers = 60;
  std::list<Client> clients;
  for (std::size_t i = 0; i < kCallers; ++i) {
    clients.emplace_back(socket_path());
    clients.back().send(request_text("PUT", "/v1/registrations/web/i-0?wait=24h", Json({{"data", data}}).dump()));
  }
  while (on_server([this] { return service_->waits(); }) != kCallers) {
  }
  on_server([this] { service_->serve(); });
  while (on_server([this] { return service_->waits(); }) != 0) {
  }
  EXPECT_LT(settled_output_bytes(), kCallers * (kMegabyte + kMegabyte / 4));
  for (Client& client : clients) {
    const auto answer = client.receive();
    ASSERT_TRUE(answer);
    EXPECT_EQ(answer->status, 200);
    EXPECT_EQ(answer->json()["data"], data);
  }
}

TEST_F(PagesTest, BinaryDataIsShownAsInOnePiece) {
  start();
  std::string text;
  for (std::size_t i = 0; i < 50'000; ++i) {
    text += "//79";  // bytes that are no text
  }
  ASSERT_EQ(call_once(socket_path(), "PUT", "/v1/registrations/web/i-1", R"({"data_base64":")" + text + "\"}").status,
            202);
  const auto shown = call_once(socket_path(), "GET", "/v1/registrations/web/i-1").json();
  EXPECT_TRUE(shown["data"].is_null());
  EXPECT_EQ(shown["data_base64"], text);
}

TEST_F(PagesTest, BulkRequestsGetAllTheirResults) {
  start();
  std::string operations;
  for (int i = 0; i < 9'000; ++i) {
    operations +=
        (i == 0 ? "" : ",") + Json({{"op", "register"}, {"service", "s"}, {"instance", std::to_string(i)}}).dump();
  }
  const auto answer = call_once(socket_path(), "POST", "/v1/batch", R"({"operations":[)" + operations + "]}");
  EXPECT_EQ(answer.status, 202);
  const Json results = answer.json()["results"];
  ASSERT_EQ(results.size(), 9'000U);
  EXPECT_EQ(results[8'999]["id"], "s/8999");
  EXPECT_EQ(results[8'999]["seq"], 9'000);
  const auto queue = call_once(socket_path(), "GET", "/v1/queue?limit=8000").json();
  EXPECT_EQ(queue["operations"].size(), 8'000U);
  EXPECT_EQ(queue["next"], 8'000);
  const auto rest = call_once(socket_path(), "GET", "/v1/queue?after=8000").json();
  EXPECT_EQ(rest["operations"].size(), 1'000U);
  EXPECT_TRUE(rest["next"].is_null());
}

TEST_F(PagesTest, HistoryThatCannotBeReadFurtherCutsTheConnection) {
  start();
  on_server([this] {
    for (std::uint64_t event = 1'000'000; event < 1'010'000; ++event) {
      HistoryEntry entry;
      entry.event = event;
      entry.why = std::string(900, 'x');
      service_->record(std::move(entry));
    }
  });
  const auto whole = call_once(socket_path(), "GET", "/v1/history?limit=10000");
  EXPECT_EQ(whole.json()["entries"].size(), 10'000U);
  Client client = connect();
  client.send(request_text("GET", "/v1/history?limit=10000"));
  EXPECT_GT(settled_output_bytes(), kMegabyte);
  on_server([this] { service_->break_disk(); });
  EXPECT_FALSE(client.receive()) << "an answer that is not whole";
  expect_problem(call_once(socket_path(), "GET", "/v1/history"), 503, "storage_failed");
}

// Who takes something, but little, is cut off as well.
TEST_F(PagesTest, SlowReaderIsCutOff) {
  ServerOptions options;
  options.limits.write_timeout = std::chrono::milliseconds(400);
  options.limits.write_bytes = 16 * kMegabyte;
  start(std::move(options));
  put_many(30, std::string(kMegabyte, 'x'));
  Client client = connect();
  client.send(request_text("GET", "/v1/registrations"));
  std::size_t received = 0;
  while (auto some = client.receive_some()) {
    received += some->size();
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  }
  EXPECT_LT(received, 30 * kMegabyte);
}

}  // namespace
}  // namespace limpet::api
