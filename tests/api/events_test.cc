// GET /v1/events: the history as it goes on.
#include <gtest/gtest.h>
#include <unistd.h>

#include <list>

#include "tests/api/harness.h"

namespace limpet::api {
namespace {

constexpr std::uint64_t kFirst = 1'000'000;  // an event that nothing of the fake agent's own has

class EventsTest : public ServerTest {
 protected:
  void SetUp() override { start(); }

  // These happen, in one go; every second is about web/i-1.
  void record(std::uint64_t first, std::size_t count, const std::string& why = "") {
    on_server([&] {
      for (std::size_t i = 0; i < count; ++i) {
        HistoryEntry entry;
        entry.event = first + i;
        entry.last_seq = Seq{first + i};
        entry.why = why;
        if (entry.event % 2 == 1) {
          entry.id = RegistrationId{"web", "i-1"};
          entry.seq = entry.last_seq;
        }
        service_->record(std::move(entry));
      }
    });
  }
  // Begins a stream; `query` without the question mark.
  void open(Client& client, const std::string& query) {
    ASSERT_TRUE(client.send(request_text("GET", "/v1/events?" + query)));
    const auto head = client.receive();
    ASSERT_TRUE(head);
    ASSERT_EQ(head->status, 200) << head->body;
    EXPECT_EQ(head->header("content-type"), "application/x-ndjson");
    EXPECT_EQ(head->header("transfer-encoding"), "chunked");
    EXPECT_EQ(head->header("connection"), "close");
  }
  std::uint64_t next_event(Client& client) {
    const auto line = client.next_line();
    return line ? Json::parse(*line).value("event", std::uint64_t{0}) : 0;
  }
  void expect_events(Client& client, std::uint64_t first, std::uint64_t last, std::uint64_t step = 1) {
    for (std::uint64_t event = first; event <= last; event += step) {
      ASSERT_EQ(next_event(client), event);
    }
  }
};

TEST_F(EventsTest, OnlyWhatIsNew) {
  record(kFirst, 5);
  Client client = connect();
  open(client, "");
  record(kFirst + 5, 3);
  expect_events(client, kFirst + 5, kFirst + 7);
}

TEST_F(EventsTest, SayWhatHappenedAndWhoseDoingItWas) {
  Client client = connect();
  open(client, "");
  EXPECT_EQ(call_once(socket_path(), "PUT", "/v1/registrations/web/i-1", "{}").status, 202);
  Json entry;
  do {
    entry = Json::parse(*client.next_line());
  } while (entry["what"] != "accepted");
  EXPECT_EQ(entry["id"], "web/i-1");
  EXPECT_EQ(entry["seq"], 1);
  EXPECT_EQ(entry["who"]["uid"], ::getuid());
  EXPECT_EQ(entry["who"]["program"], "api_tests");
}

TEST_F(EventsTest, FromTheOldestThatIsKept) {
  record(kFirst, 3'000);
  Client client = connect();
  open(client, "since=0");
  while (next_event(client) != kFirst) {  // what the agent did at its start
  }
  expect_events(client, kFirst + 1, kFirst + 2'999);
  record(kFirst + 3'000, 2);
  expect_events(client, kFirst + 3'000, kFirst + 3'001);
}

TEST_F(EventsTest, OfOneService) {
  Client other = connect();
  open(other, "service=other");
  EXPECT_EQ(call_once(socket_path(), "PUT", "/v1/registrations/web/i-1", "{}").status, 202);
  EXPECT_EQ(call_once(socket_path(), "PUT", "/v1/registrations/other/i-1", "{}").status, 202);
  EXPECT_EQ(Json::parse(*other.next_line())["id"], "other/i-1");
}

TEST_F(EventsTest, OnFromWhatIsKnown) {
  record(kFirst, 10);
  Client client = connect();
  open(client, "since=" + std::to_string(kFirst + 6));
  expect_events(client, kFirst + 7, kFirst + 9);
  Client newest = connect();
  open(newest, "since=" + std::to_string(kFirst + 9));
  record(kFirst + 10, 1);
  expect_events(client, kFirst + 10, kFirst + 10);
  expect_events(newest, kFirst + 10, kFirst + 10);
}

TEST_F(EventsTest, OfOneRegistration) {
  record(kFirst, 3'001);
  Client client = connect();
  open(client, "since=" + std::to_string(kFirst) + "&service=web&instance=i-1");
  expect_events(client, kFirst + 1, kFirst + 2'999, 2);
  record(kFirst + 3'001, 4);
  expect_events(client, kFirst + 3'001, kFirst + 3'003, 2);
}

// What happens while the store is being read is neither missed nor told twice.
TEST_F(EventsTest, NothingIsLostBetweenStoreAndLife) {
  record(kFirst, 3);
  on_server([this] { service_->hold_history(); });
  Client client = connect();
  client.send(request_text("GET", "/v1/events?since=" + std::to_string(kFirst)));
  const auto reads = [this](std::size_t count) {
    while (on_server([this] { return service_->history_queries().size(); }) < count) {
    }
  };
  reads(1);
  record(kFirst + 3, 2);
  on_server([this] {
    service_->release_history();
    service_->hold_history();
  });
  EXPECT_EQ(client.receive()->status, 200);
  reads(2);
  record(kFirst + 5, 1'000);  // far more than is remembered meanwhile
  on_server([this] { service_->release_history(); });
  record(kFirst + 1'005, 1);
  expect_events(client, kFirst + 1, kFirst + 1'005);
}

TEST_F(EventsTest, TooOldIsToldAtOnce) {
  record(kFirst, 10);
  on_server([this] { service_->forget_history(kFirst + 4); });
  for (const std::uint64_t since : {std::uint64_t{1}, kFirst, kFirst + 3, kFirst + 10, kFirst * 2}) {
    expect_problem(call_once(socket_path(), "GET", "/v1/events?since=" + std::to_string(since)), 410, "too_old");
  }
  Client client = connect();
  open(client, "since=" + std::to_string(kFirst + 4));
  expect_events(client, kFirst + 5, kFirst + 9);
  Client all = connect();
  open(all, "since=0");
  expect_events(all, kFirst + 5, kFirst + 9);
}

TEST_F(EventsTest, ASlowReaderMissesNothing) {
  Client slow = connect();
  open(slow, "");
  Client quick = connect();
  open(quick, "service=web");
  const std::string why(500, 'x');
  constexpr std::size_t kCount = 4'000;  // 2.5 MB: more than sockets and buffers hold
  for (std::size_t i = 0; i < kCount; i += 100) {
    record(kFirst + i, 100, why);
    expect_events(quick, kFirst + i + 1, kFirst + i + 99, 2);  // nobody is held up
  }
  expect_events(slow, kFirst, kFirst + kCount - 1);
  record(kFirst + kCount, 1);
  expect_events(slow, kFirst + kCount, kFirst + kCount);
}

TEST_F(EventsTest, WhatIsDroppedBeforeItWasReadEndsTheStreamInWords) {
  Client slow = connect();
  open(slow, "");
  record(kFirst, 4'000, std::string(500, 'x'));
  on_server([this] { service_->forget_history(kFirst + 3'900); });
  std::uint64_t expected = kFirst;
  std::optional<std::string> line;
  while ((line = slow.next_line())) {
    const Json json = Json::parse(*line);
    if (json.contains("error")) {
      EXPECT_EQ(json["error"], "too_old");
      EXPECT_FALSE(json["detail"].empty());
      break;
    }
    ASSERT_EQ(json["event"], expected++);
  }
  EXPECT_TRUE(line);
  EXPECT_LT(expected, kFirst + 3'900);
  EXPECT_FALSE(slow.next_line());
  EXPECT_TRUE(slow.at_end());
}

TEST_F(EventsTest, AReaderWhoGoesIsForgotten) {
  {
    Client client = connect();
    open(client, "");
    Client stuck = connect();
    open(stuck, "");
    record(kFirst, 4'000, std::string(500, 'x'));
    EXPECT_EQ(on_server([this] { return service_->listeners(); }), 2U);
  }
  while (on_server([this] { return service_->listeners(); }) != 0) {
  }
  while (on_server([this] { return server_->connections(); }) != 0) {
  }
}

TEST_F(EventsTest, ThereAreOnlySoManyAtATime) {
  std::list<Client> clients;
  for (int i = 0; i < 64; ++i) {
    clients.emplace_back(socket_path());
    open(clients.back(), "");
  }
  const auto refused = call_once(socket_path(), "GET", "/v1/events");
  expect_problem(refused, 503, "too_many_connections");
  EXPECT_FALSE(refused.header("retry-after").empty());
  record(kFirst, 1);
  for (Client& client : clients) {
    expect_events(client, kFirst, kFirst);
  }
  clients.pop_back();
  while (on_server([this] { return service_->listeners(); }) != 63) {
  }
  clients.emplace_back(socket_path());
  open(clients.back(), "");
}

TEST_F(EventsTest, StopEndsThemCleanly) {
  Client client = connect();
  open(client, "");
  record(kFirst, 1);
  auto stopped = std::make_shared<std::promise<void>>();
  auto done = stopped->get_future();
  on_server([&] { server_->stop([stopped] { stopped->set_value(); }); });
  expect_events(client, kFirst, kFirst);
  EXPECT_FALSE(client.next_line());
  EXPECT_TRUE(client.at_end());
  done.get();
  EXPECT_EQ(on_server([this] { return service_->listeners(); }), 0U);
}

TEST_F(EventsTest, OldClientsReadUntilTheEnd) {
  Client client = connect();
  client.send("GET /v1/events HTTP/1.0\r\n\r\n");
  while (on_server([this] { return service_->listeners(); }) != 1) {
  }
  record(kFirst, 1);
  EXPECT_TRUE(client.wait_readable());
  Client head = connect();
  const auto answer = head.call("HEAD", "/v1/events");
  ASSERT_TRUE(answer);
  EXPECT_EQ(answer->status, 200);
  EXPECT_EQ(head.call("GET", "/healthz")->status, 200);
}

TEST_F(EventsTest, IsRefusedInWords) {
  for (const char* const query : {"since=x", "since=-1", "since=", "service=%2F", "limit=5"}) {
    expect_problem(call_once(socket_path(), "GET", "/v1/events?" + std::string(query)), 400, "bad_request");
  }
  expect_problem(call_once(socket_path(), "POST", "/v1/events"), 405, "method_not_allowed");
  on_server([this] { service_->break_disk(); });
  expect_problem(call_once(socket_path(), "GET", "/v1/events?since=1"), 503, "storage_failed");
  Client client = connect();
  open(client, "since=0");
  EXPECT_EQ(Json::parse(*client.next_line())["error"], "storage_failed");
  EXPECT_FALSE(client.next_line());
}

}  // namespace
}  // namespace limpet::api
