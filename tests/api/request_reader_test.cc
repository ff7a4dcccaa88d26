#include "agent/api/request_reader.h"

#include <gtest/gtest.h>

#include <random>
#include <string>
#include <vector>

namespace limpet::api {
namespace {

using Result = RequestReader::Result;

struct Outcome {
  std::vector<std::string> requests;  // "target|body"
  std::optional<ProblemKind> problem;
  friend bool operator==(const Outcome&, const Outcome&) = default;
};

// Feeds `bytes` in pieces of `piece` bytes, keeping what is left over as a connection does.
Outcome feed(const std::string& bytes, std::size_t piece, RequestLimits limits = {}) {
  Request request;
  RequestReader reader(request, limits);
  Outcome outcome;
  std::string buffer;
  for (std::size_t at = 0; at < bytes.size(); at += piece) {
    buffer += bytes.substr(at, piece);
    while (true) {
      std::size_t used = 0;
      const Result result = reader.read(buffer, used);
      buffer.erase(0, used);
      if (result == Result::refused) {
        outcome.problem = reader.problem().kind;
        return outcome;
      }
      if (result == Result::need_more) {
        break;
      }
      outcome.requests.push_back(request.target + "|" + request.body);
    }
  }
  return outcome;
}

// The same however it is cut.
Outcome feed_all_ways(const std::string& bytes, RequestLimits limits = {}) {
  const Outcome whole = feed(bytes, bytes.size(), limits);
  for (std::size_t piece = 1; piece < std::min<std::size_t>(bytes.size(), 80); ++piece) {
    const Outcome cut = feed(bytes, piece, limits);
    EXPECT_EQ(cut.requests, whole.requests) << "in pieces of " << piece << ": " << bytes.substr(0, 300);
    EXPECT_EQ(cut.problem, whole.problem) << "in pieces of " << piece << ": " << bytes.substr(0, 300);
  }
  return whole;
}

const std::string kHost = "Host: x\r\n";

TEST(RequestReader, ReadsRequestsHoweverTheyAreCut) {
  const std::string bytes = "GET /a HTTP/1.1\r\n" + kHost + "\r\n" +                                              //
                            "\r\n\r\nPUT /b HTTP/1.1\r\n" + kHost + "Content-Length: 5\r\n\r\nhello" +            //
                            "PUT /c HTTP/1.1\r\n" + kHost + "Transfer-Encoding: chunked\r\n\r\n" +                //
                            "5\r\nhello\r\n00006;a=b;c=\"d\"\r\n world\r\n0\r\nTrailer: x\r\nOther: y\r\n\r\n" +  //
                            "PUT /d HTTP/1.1\r\n" + kHost + "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n" +       //
                            "GET /e HTTP/1.0\r\n\r\n";
  const Outcome outcome = feed_all_ways(bytes);
  EXPECT_EQ(outcome.problem, std::nullopt);
  EXPECT_EQ(outcome.requests, (std::vector<std::string>{"/a|", "/b|hello", "/c|hello world", "/d|", "/e|"}));
}

struct BadRequest {
  std::string name;
  std::string bytes;
  ProblemKind kind;
};

std::string put(const std::string& headers, const std::string& rest = "") {
  return "PUT /x HTTP/1.1\r\n" + kHost + headers + "\r\n" + rest;
}

const BadRequest kBadRequests[] = {
    {"not http", "hello world\r\n\r\n", ProblemKind::bad_request},
    {"http/2 preface", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", ProblemKind::bad_request},
    {"http/0.9", "GET /\r\n\r\n", ProblemKind::bad_request},
    {"no host", "GET / HTTP/1.1\r\n\r\n", ProblemKind::bad_request},
    {"two hosts", "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", ProblemKind::bad_request},
    {"bare line feeds", "GET / HTTP/1.1\nHost: x\n\n", ProblemKind::bad_request},
    {"space before colon", "GET / HTTP/1.1\r\nHost : x\r\n\r\n", ProblemKind::bad_request},
    {"control in value", "GET / HTTP/1.1\r\nHost: a\x01\r\n\r\n", ProblemKind::bad_request},
    {"NUL in value", std::string("GET / HTTP/1.1\r\nHost: a\0b\r\n\r\n", 29), ProblemKind::bad_request},
    {"two lengths", put("Content-Length: 1\r\nContent-Length: 2\r\n", "xx"), ProblemKind::bad_request},
    {"two same lengths", put("Content-Length: 1\r\nContent-Length: 1\r\n", "x"), ProblemKind::bad_request},
    {"list of lengths", put("Content-Length: 1, 1\r\n", "x"), ProblemKind::bad_request},
    {"negative length", put("Content-Length: -1\r\n"), ProblemKind::bad_request},
    {"signed length", put("Content-Length: +1\r\n", "x"), ProblemKind::bad_request},
    {"hex length", put("Content-Length: 0x1\r\n", "x"), ProblemKind::bad_request},
    {"overflowing length", put("Content-Length: 18446744073709551616\r\n"), ProblemKind::bad_request},
    {"length and chunks", put("Content-Length: 1\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n"),
     ProblemKind::bad_request},
    {"chunks and length", put("Transfer-Encoding: chunked\r\nContent-Length: 1\r\n", "0\r\n\r\n"),
     ProblemKind::bad_request},
    {"chunked twice", put("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n"),
     ProblemKind::bad_request},
    {"compressed body", put("Content-Encoding: gzip\r\nContent-Length: 1\r\n", "x"),
     ProblemKind::unsupported_media_type},
    {"two encodings", put("Content-Encoding: identity\r\nContent-Encoding: br\r\n"),
     ProblemKind::unsupported_media_type},
    {"unknown expectation", put("Expect: 200-ok\r\nContent-Length: 1\r\n", "x"), ProblemKind::expectation_failed},
    {"unknown coding", put("Transfer-Encoding: gzip\r\n"), ProblemKind::bad_request},
    {"coding like chunked", put("Transfer-Encoding: xchunked\r\n"), ProblemKind::bad_request},
    {"chunked not last", put("Transfer-Encoding: chunked, gzip\r\n"), ProblemKind::bad_request},
    {"identity", put("Transfer-Encoding: identity\r\n"), ProblemKind::bad_request},
    {"chunks in http/1.0", "PUT /x HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", ProblemKind::bad_request},
    {"bad chunk size", put("Transfer-Encoding: chunked\r\n", "zz\r\n"), ProblemKind::bad_request},
    {"no chunk size", put("Transfer-Encoding: chunked\r\n", "\r\n"), ProblemKind::bad_request},
    {"negative chunk", put("Transfer-Encoding: chunked\r\n", "-1\r\n"), ProblemKind::bad_request},
    {"chunk size overflow", put("Transfer-Encoding: chunked\r\n", "ffffffffffffffffff\r\n"), ProblemKind::bad_request},
    {"chunk too long", put("Transfer-Encoding: chunked\r\n", "1\r\nxyz"), ProblemKind::bad_request},
    {"chunk with bare lf", put("Transfer-Encoding: chunked\r\n", "1\nx\r\n0\r\n\r\n"), ProblemKind::bad_request},
    {"chunk over the limit", put("Transfer-Encoding: chunked\r\n", "100001\r\n"), ProblemKind::too_large},
    {"body over the limit", put("Content-Length: 1048577\r\n"), ProblemKind::too_large},
    {"huge body", put("Content-Length: 18446744073709551615\r\n"), ProblemKind::too_large},
};

TEST(RequestReader, RefusesWhatTwoReadersCouldReadDifferently) {
  for (const BadRequest& bad : kBadRequests) {
    const Outcome outcome = feed_all_ways(bad.bytes);
    EXPECT_EQ(outcome.problem, bad.kind) << bad.name;
    EXPECT_TRUE(outcome.requests.empty()) << bad.name;
  }
}

TEST(RequestReader, HeadersAreBoundedAsAWhole) {
  RequestLimits limits;
  limits.max_header_bytes = 256;
  const std::string line = "GET /a HTTP/1.1\r\n" + kHost;
  const std::string fits = line + "X: " + std::string(256 - line.size() - 7, 'x') + "\r\n\r\n";
  ASSERT_EQ(fits.size(), 256U);
  EXPECT_EQ(feed_all_ways(fits, limits).requests.size(), 1U);
  EXPECT_EQ(feed_all_ways("GET /a HTTP/1.1\r\n" + kHost + "X: " + std::string(256, 'x') + "\r\n\r\n", limits).problem,
            ProblemKind::headers_too_large);
  std::string many = line;
  for (int i = 0; i < 100; ++i) {
    many += "A: b\r\n";
  }
  EXPECT_EQ(feed_all_ways(many, limits).problem, ProblemKind::headers_too_large);
  EXPECT_EQ(feed_all_ways("GET /" + std::string(300, 'a') + " HTTP/1.1\r\n", limits).problem,
            ProblemKind::headers_too_large);
  EXPECT_EQ(feed_all_ways(std::string(300, 'A'), limits).problem, ProblemKind::headers_too_large);
  std::string trailer = put("Transfer-Encoding: chunked\r\n", "0\r\n");
  for (int i = 0; i < 100; ++i) {
    trailer += "A: b\r\n";
  }
  EXPECT_EQ(feed_all_ways(trailer, limits).problem, ProblemKind::headers_too_large);
}

TEST(RequestReader, ManyPipelinedHeadsCountOneByOne) {
  RequestLimits limits;
  limits.max_header_bytes = 64;
  std::string bytes;
  for (int i = 0; i < 50; ++i) {
    bytes += "GET /a HTTP/1.1\r\n" + kHost + "\r\n";
  }
  EXPECT_EQ(feed_all_ways(bytes, limits).requests.size(), 50U);
}

TEST(RequestReader, ChunksAddUpToTheBodyLimit) {
  RequestLimits limits;
  limits.max_body_bytes = 10;
  const std::string head = put("Transfer-Encoding: chunked\r\n");
  EXPECT_EQ(feed_all_ways(head + "5\r\nhello\r\n5\r\nworld\r\n0\r\n\r\n", limits).requests.size(), 1U);
  EXPECT_EQ(feed_all_ways(head + "5\r\nhello\r\n6\r\nworlds\r\n0\r\n\r\n", limits).problem, ProblemKind::too_large);
}

// Whatever comes, the reader neither crashes nor depends on how it was cut. Seeded: every run is the same.
TEST(RequestReader, SurvivesMutations) {
  const std::string seed_text =
      put("Transfer-Encoding: chunked\r\nConnection: keep-alive\r\n", "5;x=y\r\nhello\r\n0\r\nT: u\r\n\r\n") +
      put("Content-Length: 3\r\nExpect: 100-continue\r\n", "abc") +
      "GET /b?c=d HTTP/1.1\r\nHost: y\r\nX: folded\r\n line\r\n\r\n";
  const std::string kLetters(
      "\r\n:;0 \x01\xFF"
      "a1\0",
      11);
  std::mt19937 random(20'240'611);
  const auto below = [&random](std::size_t n) { return std::uniform_int_distribution<std::size_t>(0, n - 1)(random); };
  for (int round = 0; round < 4'000; ++round) {
    std::string bytes = seed_text;
    for (std::size_t edits = 1 + below(4); edits != 0; --edits) {
      const std::size_t at = below(bytes.size());
      switch (below(4)) {
        case 0:
          bytes[at] = kLetters[below(kLetters.size())];
          break;
        case 1:
          bytes.erase(at, 1 + below(5));
          break;
        case 2:
          bytes.insert(at, 1, kLetters[below(kLetters.size())]);
          break;
        default:
          bytes.insert(at, bytes.substr(below(bytes.size()), below(20)));
          break;
      }
    }
    const Outcome whole = feed(bytes, bytes.size());
    EXPECT_EQ(feed(bytes, 1), whole) << "round " << round;
    EXPECT_EQ(feed(bytes, 1 + below(bytes.size())), whole) << "round " << round;
  }
}

}  // namespace
}  // namespace limpet::api
