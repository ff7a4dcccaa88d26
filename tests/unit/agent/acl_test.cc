#include "agent/zk/acl.h"

#include <gtest/gtest.h>

namespace limpet::zk {
namespace {

TEST(Acl, TheTwoThatHaveNames) {
  EXPECT_EQ(*parse_acl("open"), open_acl());
  EXPECT_EQ(*parse_acl("creator"), creator_acl());
  EXPECT_FALSE(needs_credentials(open_acl()));
  EXPECT_TRUE(needs_credentials(creator_acl()));
  EXPECT_EQ(to_string(open_acl()), "open");
  EXPECT_EQ(to_string(creator_acl()), "creator");
}

TEST(Acl, AListOfEntries) {
  const std::string text = "digest:ops:9V4UXk5dOIq0ZvlQlvyzdk2bV6Q=:cdrwa,world:anyone:r,ip:10.0.0.0/8:rw";
  const auto acl = parse_acl(text);
  ASSERT_TRUE(acl.ok()) << acl.status().message();
  EXPECT_EQ(*acl,
            (Acl{{"digest", "ops:9V4UXk5dOIq0ZvlQlvyzdk2bV6Q=", 31}, {"world", "anyone", 1}, {"ip", "10.0.0.0/8", 3}}));
  EXPECT_EQ(to_string(*acl), text);
  EXPECT_FALSE(needs_credentials(*acl));
  EXPECT_TRUE(needs_credentials(*parse_acl("auth::cdrwa")));
}

TEST(Acl, WhatIsWrongIsNamed) {
  for (const char* wrong :
       {"", "closed", "world:anyone", "world:anyone:", "world:anyone:x", "world:everyone:r", "world:anyone:r,",
        "digest:ops:secret:cdrwa", "digest:ops:cdrwa", "auth:me:r", "ip::r", ":anyone:r"}) {
    EXPECT_FALSE(parse_acl(wrong).ok()) << wrong;
  }
  EXPECT_NE(parse_acl("world:anyone:x").status().message().find("\"world:anyone:x\" has a permission"),
            std::string::npos);
}

TEST(Acl, ASharedOneLetsEverybodyCreateAndRead) {
  EXPECT_EQ(shared_acl(open_acl()), open_acl());
  EXPECT_EQ(to_string(shared_acl(creator_acl())), "auth::cdrwa,world:anyone:cr");
  EXPECT_EQ(to_string(shared_acl(*parse_acl("ip:10.0.0.0/8:cdrwa"))), "ip:10.0.0.0/8:cdrwa,world:anyone:cr");
  EXPECT_EQ((Access{"u:p", creator_acl()}.acl_of_parents()), shared_acl(creator_acl()));
  EXPECT_EQ((Access{"u:p", creator_acl(), open_acl()}.acl_of_parents()), open_acl());
}

}  // namespace
}  // namespace limpet::zk
