#include "tools/infer_options.h"

#include <gtest/gtest.h>

namespace switchyard {
namespace {

std::variant<InferOptions, InferUsage> Parse(std::vector<const char*> arguments) {
  arguments.insert(arguments.begin(), {"switchyard", "infer"});
  return ParseInferOptions(static_cast<int>(arguments.size()), arguments.data());
}

InferUsage Refused(std::vector<const char*> arguments) {
  auto parsed = Parse(std::move(arguments));
  EXPECT_TRUE(std::holds_alternative<InferUsage>(parsed));
  return std::holds_alternative<InferUsage>(parsed) ? std::get<InferUsage>(parsed) : InferUsage{};
}

TEST(InferOptions, TakesEveryFlag) {
  const auto parsed = Parse({"--url",   "localhost:9000", "--protocol", "tfs-rest",     "--model",       "m",       "--version",
                             "3",       "--input",        "a=[1,2]",    "--input",      "b=@x=y.npy",    "--shape", "a=2,1",
                             "--shape", "b=scalar",       "--repeat",   "10",           "--concurrency", "4",       "--top_k",
                             "3",       "--labels",       "l.txt",      "--timeout_ms", "250",           "--json"});
  ASSERT_TRUE(std::holds_alternative<InferOptions>(parsed)) << std::get<InferUsage>(parsed).text;
  const auto& options = std::get<InferOptions>(parsed);
  EXPECT_EQ(options.protocol, InferProtocol::kTfsRest);
  EXPECT_EQ(options.model, "m");
  EXPECT_EQ(options.version, "3");
  ASSERT_EQ(options.inputs.size(), 2u);
  EXPECT_EQ(options.inputs[0], std::make_pair(std::string("a"), std::string("[1,2]")));
  EXPECT_EQ(options.inputs[1], std::make_pair(std::string("b"), std::string("@x=y.npy")));
  ASSERT_EQ(options.shapes.size(), 2u);
  EXPECT_EQ(options.shapes[0].second, (Shape{2, 1}));
  EXPECT_EQ(options.shapes[1].second, Shape{});
  EXPECT_EQ(options.repeat, 10u);
  EXPECT_EQ(options.concurrency, 4u);
  EXPECT_EQ(options.timeout.count(), 250);
  EXPECT_TRUE(options.json);
}

TEST(InferOptions, EachConnectionCallsOnceUnlessToldOtherwise) {
  const std::vector<const char*> wanted = {"--url", "h:1", "--protocol", "tfs-rest", "--model", "m"};
  const auto repeat = [&](std::vector<const char*> more) {
    more.insert(more.begin(), wanted.begin(), wanted.end());
    const auto parsed = Parse(more);
    return std::holds_alternative<InferOptions>(parsed) ? std::get<InferOptions>(parsed).repeat : 0;
  };
  EXPECT_EQ(repeat({}), 1u);
  EXPECT_EQ(repeat({"--concurrency", "3"}), 3u);
  EXPECT_EQ(repeat({"--concurrency", "3", "--repeat", "2"}), 2u);
}

TEST(InferOptions, HelpIsNoError) {
  const InferUsage usage = Refused({"--help"});
  EXPECT_EQ(usage.exit_code, 0);
  EXPECT_NE(usage.text.find("--concurrency"), std::string::npos);
}

TEST(InferOptions, HelpSaysWhatIsRequiredAndHasAnExample) {
  const std::string text = Refused({"--help"}).text;
  const size_t required = text.find("\nRequired:\n"), others = text.find("\nOptions:\n");
  ASSERT_NE(required, std::string::npos) << text;
  ASSERT_NE(others, std::string::npos) << text;
  const size_t length = others > required ? others - required : std::string::npos;
  for (const char* flag : {"  --url ", "  --protocol ", "  --model "}) {
    EXPECT_NE(text.substr(required, length).find(flag), std::string::npos) << text;
  }
  EXPECT_EQ(text.substr(required, length).find("--input"), std::string::npos) << text;
  EXPECT_NE(text.find("switchyard infer --url localhost:9000 --protocol kserve-grpc --model dummy --input b=random\n"),
            std::string::npos);
}

TEST(InferOptions, AProtocolThatIsNoneNamesThoseThatAre) {
  const InferUsage usage = Refused({"--url", "h:1", "--protocol", "foo", "--model", "m"});
  EXPECT_EQ(usage.exit_code, 64);
  EXPECT_EQ(usage.text.substr(0, usage.text.find('\n')),
            "--protocol foo: expected kserve-grpc, kserve-rest, tfs-grpc or tfs-rest");
}

TEST(InferOptions, RefusesWhatItDoesNotUnderstand) {
  const std::vector<std::vector<const char*>> faults = {
      {"--model", "m", "--protocol", "tfs-rest"},
      {"--url", "h:1", "--protocol", "soap", "--model", "m"},
      {"--url", "h:1", "--protocol", "tfs-rest", "--model", "m", "--input", "a"},
      {"--url", "h:1", "--protocol", "tfs-rest", "--model", "m", "--input", "a=1", "--input", "a=2"},
      {"--url", "h:1", "--protocol", "tfs-rest", "--model", "m", "--shape", "a=1,x"},
      {"--url", "h:1", "--protocol", "tfs-rest", "--model", "m", "--repeat", "0"},
      {"--url", "h:0", "--protocol", "tfs-rest", "--model", "m"},
      {"--url", "h:1", "--protocol", "tfs-rest", "--model", "m", "--no_such_flag"},
  };
  for (const auto& fault : faults) {
    const InferUsage usage = Refused(fault);
    EXPECT_EQ(usage.exit_code, 64) << usage.text;
    EXPECT_NE(usage.text.find("--help"), std::string::npos);
  }
}

TEST(ParseAddress, TakesTheFourForms) {
  EXPECT_EQ(ParseAddress("localhost:9000")->host, "localhost");
  EXPECT_EQ(ParseAddress("http://10.0.0.1:8000/")->port, "8000");
  EXPECT_EQ(ParseAddress("[::1]:8000")->host, "::1");
  EXPECT_EQ(ParseAddress("unix:/tmp/a b.sock")->unix_path, "/tmp/a b.sock");
}

TEST(ParseAddress, SaysWhatWasExpected) {
  for (const char* url : {"", "localhost", ":9000", "h:", "h:99999", "h:-1", "https://h:1", "unix:", "ftp://h:1"}) {
    const auto address = ParseAddress(url);
    ASSERT_FALSE(address.ok()) << url;
    EXPECT_NE(Message(address.status()).find("--url"), std::string_view::npos);
  }
}

}  // namespace
}  // namespace switchyard
