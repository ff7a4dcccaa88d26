// The addresses of servers by name, before and after look-ups that succeed and fail.
#include "agent/zk/address_book.h"

#include <gtest/gtest.h>

#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <chrono>

namespace limpet::zk {
namespace {

class AddressBookTest : public ::testing::Test {
 protected:
  // Runs the event loop until no look-up is under way.
  void finish() {
    for (int i = 0; i < 600 && book_.looking_up(); ++i) {
      io_.run_one_for(std::chrono::milliseconds(100));
    }
    ASSERT_FALSE(book_.looking_up()) << "a minute has passed";
  }
  static Hosts hosts(const std::string& text) { return parse_hosts(text).value(); }

  boost::asio::io_context io_;
  boost::asio::executor_work_guard<boost::asio::io_context::executor_type> work_{io_.get_executor()};
  int answers_ = 0;
  AddressBook book_{io_, [this] { ++answers_; }};
};

TEST_F(AddressBookTest, NumericAddressesAreKnownAtOnceAndNeverLookedUp) {
  book_.use(hosts("127.0.0.1:1,[::1]:2"));
  EXPECT_FALSE(book_.has_names());
  book_.look_up();
  EXPECT_FALSE(book_.looking_up());
  ASSERT_EQ(book_.servers().size(), 2U);
  EXPECT_EQ(book_.servers()[1].label, "[::1]:2");
}

TEST_F(AddressBookTest, NamesThatResolveAreKnownBesideOneThatFails) {
  book_.use(hosts("localhost:1,nowhere.invalid:2,localhost:3"));
  EXPECT_TRUE(book_.servers().empty());
  book_.look_up();
  finish();
  EXPECT_EQ(answers_, 2) << "a name that stands twice is looked up once";
  const auto names = book_.names();
  ASSERT_EQ(names.size(), 3U);
  EXPECT_FALSE(names[0].addresses.empty());
  EXPECT_TRUE(names[0].addresses[0].ends_with(":1"));
  EXPECT_TRUE(names[2].addresses[0].ends_with(":3"));
  EXPECT_EQ(names[1].name, "nowhere.invalid:2");
  EXPECT_TRUE(names[1].addresses.empty());
  EXPECT_EQ(names[1].error.find("cannot resolve nowhere.invalid: "), 0U) << names[1].error;
  EXPECT_EQ(book_.failures(), std::vector<std::string>{names[1].error});
}

TEST_F(AddressBookTest, AnotherListKeepsTheAddressesOfNamesThatStay) {
  book_.use(hosts("localhost:1"));
  book_.look_up();
  finish();
  book_.use(hosts("nowhere.invalid:1,localhost:2"));
  ASSERT_FALSE(book_.servers().empty());
  EXPECT_EQ(book_.servers()[0].endpoint.port(), 2);
  book_.use(hosts("127.0.0.9:1"));
  ASSERT_EQ(book_.servers().size(), 1U);
}

TEST(AddressBookThatGoes, DropsWhatIsLookedUpLater) {
  boost::asio::io_context io;
  bool answered = false;
  {
    AddressBook book(io, [&] { answered = true; });
    book.use(parse_hosts("localhost:1,nowhere.invalid:2").value());
    book.look_up();
  }
  io.run_for(std::chrono::milliseconds(200));
  EXPECT_FALSE(answered);
}

}  // namespace
}  // namespace limpet::zk
