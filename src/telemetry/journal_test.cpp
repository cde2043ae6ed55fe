// The access log and traces, from a call's story to the bytes.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <set>
#include <thread>
#include <vector>

#include "telemetry/call_journal.h"

namespace switchyard {
namespace {

using std::chrono::microseconds;
using std::chrono::nanoseconds;
using std::chrono::system_clock;
using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

constexpr char kParent[] = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

TEST(TraceParentTest, IsReadAndHandedOn) {
  TraceContext trace;
  ASSERT_TRUE(ParseTraceParent(kParent, trace));
  EXPECT_TRUE(trace.sampled());
  EXPECT_TRUE(trace.has_parent());
  trace.span_id = {1, 2, 3, 4, 5, 6, 7, 0xff};
  EXPECT_EQ(TraceParentOf(trace), "00-0af7651916cd43dd8448eb211c80319c-01020304050607ff-01");
  ASSERT_TRUE(ParseTraceParent("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-fe", trace));
  EXPECT_FALSE(trace.sampled());
  EXPECT_EQ(trace.flags, 2) << "bits without a meaning are not handed on";
  ASSERT_TRUE(ParseTraceParent("cc-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-later", trace)) << "a later version";
}

TEST(TraceParentTest, WhatTheStandardCallsInvalidIsNotTaken) {
  const std::string good = kParent;
  std::vector<std::string> faulty = {"",
                                     "00",
                                     good.substr(0, 54),
                                     good + "0",
                                     good + "-00",
                                     "cc" + good.substr(2) + "x",
                                     "ff" + good.substr(2),
                                     "00-00000000000000000000000000000000-b7ad6b7169203331-01",
                                     "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
                                     "00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01",
                                     good + "," + good};
  for (const size_t at : {0, 1, 2, 3, 35, 36, 52, 53, 54}) {
    std::string broken = good;
    broken[at] = 'g';
    faulty.push_back(broken);
  }
  for (const std::string& header : faulty) {
    TraceContext trace;
    EXPECT_FALSE(ParseTraceParent(header, trace)) << header;
    EXPECT_FALSE(trace.valid);
  }
}

TEST(TraceStateTest, IsAListOfMembers) {
  std::string many = "k0=v";
  for (int i = 1; i < 32; ++i) many += fmt::format(",k{}=v", i);
  for (const std::string& good : {std::string("a=1"), std::string("rojo=00f067aa0ba902b7, congo=t61rcWkgMzE"),
                                  std::string("t@v/x=a b"), std::string("a=1,,b=2"), many}) {
    EXPECT_TRUE(IsTraceState(good)) << good;
  }
  for (const std::string& bad :
       {std::string(), std::string(" "), std::string("a"), std::string("=1"), std::string("a="), std::string("A=1"),
        std::string("a=1=2"), std::string("a=\x01"), std::string("a=\xc3\xa4"), std::string("a=1\r\nX: y"),
        std::string("\ta=1"), many + ",k32=v", "a=" + std::string(600, 'x')}) {
    EXPECT_FALSE(IsTraceState(bad)) << bad;
  }
}

TEST(EventQueueTest, NothingIsLostOrDoubledWhileThereIsRoom) {
  constexpr int kThreads = 4, kEach = 20000;
  EventQueue<int> queue(kThreads * kEach);
  std::vector<std::thread> threads;
  for (int thread = 0; thread < kThreads; ++thread) {
    threads.emplace_back([&queue, thread] {
      for (int i = 0; i < kEach; ++i) queue.Push([&](int& value) { value = thread * kEach + i; });
    });
  }
  std::vector<int> next(kThreads, 0);
  for (int taken = 0; taken < kThreads * kEach;) {
    if (!queue.Pop([&](const int& value) { EXPECT_EQ(value % kEach, next[static_cast<size_t>(value / kEach)]++); })) {
      queue.Wait(std::chrono::seconds(10));
      continue;
    }
    ++taken;
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(queue.dropped(), 0U);
  EXPECT_FALSE(queue.Pop([](int&) {}));
}

TEST(EventQueueTest, WhatFindsNoRoomIsCounted) {
  EventQueue<int> queue(4);
  for (int i = 0; i < 6; ++i) EXPECT_EQ(queue.Push([&](int& value) { value = i; }), i < 4);
  EXPECT_EQ(queue.dropped(), 2U);
  int taken = -1;
  EXPECT_TRUE(queue.Pop([&](const int& value) { taken = value; }));
  EXPECT_EQ(taken, 0);
  EXPECT_TRUE(queue.Push([](int& value) { value = 9; }));
}

TraceContext Traced() {
  TraceContext trace;
  ParseTraceParent(kParent, trace);
  trace.span_id = {0, 0, 0, 0, 0, 0, 0, 7};
  trace.state = "rojo=1";
  return trace;
}

CallStory Story(const TraceContext* trace = nullptr) {
  return {.endpoint = Endpoint::kTfsRestPredict,
          .code = StatusCode::kOk,
          .request_id = "id \"7\"",
          .model = "dummy",
          .version = "3",
          .device = "GPU.0",
          .trace = trace,
          .decode = nanoseconds(1500),
          .queue = microseconds(2),
          .compute = microseconds(40),
          .encode = microseconds(3),
          .total = nanoseconds(46500),
          .batch = 4,
          .bytes_in = 100,
          .bytes_out = 200};
}

CallEvent Event(const CallStory& story) {
  CallEvent event;
  event.Set(story, system_clock::time_point(std::chrono::seconds(1700000000) + microseconds(123456)));
  return event;
}

TEST(AccessLineTest, TellsEverythingOfAGoodCall) {
  std::string line;
  const TraceContext trace = Traced();
  AppendAccessLine(line, Event(Story(&trace)));
  EXPECT_EQ(line,
            R"({"time":"2023-11-14T22:13:20.123409Z","request_id":"id \"7\"","api":"TensorFlowServing","interface":"REST",)"
            R"("method":"Predict","model":"dummy","version":"3","device":"GPU.0","status":"OK","batch":4,"bytes_in":100,)"
            R"("bytes_out":200,"decode_us":1.500,"queue_us":2.000,"compute_us":40.000,"encode_us":3.000,"total_us":46.500,)"
            R"("trace_id":"0af7651916cd43dd8448eb211c80319c","span_id":"0000000000000007",)"
            R"("parent_span_id":"b7ad6b7169203331"})"
            "\n");
}

TEST(AccessLineTest, WhatIsNotKnownIsNull) {
  std::string line;
  AppendAccessLine(line, Event({.code = StatusCode::kNotFound, .model = std::string(300, 'm'), .total = microseconds(1)}));
  EXPECT_THAT(line, AllOf(HasSubstr(R"("request_id":null,)"), HasSubstr(R"("version":null,"device":null,"status":"NOT_FOUND")"),
                          HasSubstr(R"("queue_us":null,)"), Not(HasSubstr("trace_id")),
                          HasSubstr("\"" + std::string(255, 'm') + "\"")));
}

TEST(AccessLineTest, NothingOfACallersEndsALineOrReachesATerminal) {
  // DEL, CSI as one character, NEL, line and paragraph separators, and a character that is cut.
  const std::string id =
      "a\r\n{\x1b[2J\x7f\xc2\x9b"
      "2J\xc2\x85\xe2\x80\xa8\xe2\x80\xa9\xc3\xa4" +
      std::string(100, 'x') + "\xc3\xa4\xc3\xa4";
  std::string line;
  AppendAccessLine(line, Event({.request_id = id.substr(0, 127), .model = id, .total = microseconds(1)}));
  EXPECT_THAT(line, HasSubstr("\"request_id\":\"a\\r\\n{\\u001b[2J\\u007f\\u009b2J\\u0085\\u2028\\u2029\xc3\xa4xx"));
  EXPECT_EQ(std::count(line.begin(), line.end(), '\n'), 1);
  EXPECT_EQ(line.find("\xc2"), std::string::npos);
  EXPECT_EQ(line.find("\xe2"), std::string::npos);
}

class AccessLogTest : public ::testing::Test {
 protected:
  void SetUp() override {
    std::string pattern = (std::filesystem::temp_directory_path() / "switchyard_log_XXXXXX").string();
    folder_ = mkdtemp(pattern.data());
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }
  static std::string Read(const std::filesystem::path& path) {
    std::ifstream file(path);
    return {std::istreambuf_iterator<char>(file), {}};
  }
  static size_t Lines(const std::string& text) { return static_cast<size_t>(std::count(text.begin(), text.end(), '\n')); }

  std::filesystem::path folder_;
};

TEST_F(AccessLogTest, EveryLineIsThereAtTheEnd) {
  const std::string path = folder_ / "access.log";
  auto log = AccessLog::Open(path);
  ASSERT_TRUE(log.ok()) << log.status();
  for (int i = 0; i < 1000; ++i) (*log)->Add(Story(), system_clock::now());
  log->reset();
  EXPECT_EQ(Lines(Read(path)), 1000U);
}

TEST_F(AccessLogTest, AMovedFileIsOpenedAgain) {
  const std::filesystem::path path = folder_ / "access.log", old = folder_ / "old";
  auto log = AccessLog::Open(path);
  ASSERT_TRUE(log.ok());
  (*log)->Add(Story(), system_clock::now());
  while ((*log)->written() < 1) std::this_thread::yield();
  std::filesystem::rename(path, old);
  (*log)->Reopen();
  while (!std::filesystem::exists(path)) std::this_thread::yield();
  (*log)->Add(Story(), system_clock::now());
  log->reset();
  EXPECT_EQ(Lines(Read(old)), 1U);
  EXPECT_EQ(Lines(Read(path)), 1U);
}

TEST_F(AccessLogTest, AFullDiskDropsAndCounts) {
  auto log = AccessLog::Open("/dev/full");
  ASSERT_TRUE(log.ok());
  for (int i = 0; i < 10; ++i) (*log)->Add(Story(), system_clock::now());
  while ((*log)->dropped() < 10) std::this_thread::yield();
  EXPECT_EQ((*log)->written(), 0U);
}

TEST_F(AccessLogTest, AFileThatCannotBeOpenedIsNamed) {
  EXPECT_THAT(Message(AccessLog::Open(folder_ / "none" / "x").status()), AllOf(HasSubstr("access_log"), HasSubstr("none/x")));
}

TEST(OtlpTest, ARequestIsASpanWithItsStagesBelow) {
  const TraceContext trace = Traced();
  std::string spans;
  CallStory story = Story(&trace);
  AppendOtlpSpans(spans, Event(story));
  EXPECT_THAT(spans, AllOf(HasSubstr(R"({"traceId":"0af7651916cd43dd8448eb211c80319c","spanId":"0000000000000007",)"
                                     R"("parentSpanId":"b7ad6b7169203331","name":"TensorFlowServing/Predict","kind":2,)"
                                     R"("startTimeUnixNano":"1700000000123409500","endTimeUnixNano":"1700000000123456000")"),
                           HasSubstr(R"("traceState":"rojo=1")"), Not(HasSubstr("\"status\":{"))));
  EXPECT_THAT(spans, HasSubstr(R"("parentSpanId":"0000000000000007","name":"compute","kind":1,)"
                               R"("startTimeUnixNano":"1700000000123413000","endTimeUnixNano":"1700000000123453000"})"));
  spans.clear();
  story.code = StatusCode::kUnavailable;
  story.queue = story.compute = story.encode = std::nullopt;
  AppendOtlpSpans(spans, Event(story));
  EXPECT_THAT(spans, AllOf(HasSubstr(R"("status":{"code":2,"message":"UNAVAILABLE"})"), Not(HasSubstr("\"compute\""))));
}

TEST(OtlpTest, EndpointsAreUrls) {
  for (const char* good : {"http://localhost:4318", "https://collector/v1/traces"}) EXPECT_TRUE(CheckOtlpEndpoint(good).ok());
  for (const char* bad : {"", "localhost:4318", "file:///etc/passwd", "http://", "http:///x", "http://a b"}) {
    EXPECT_THAT(Message(CheckOtlpEndpoint(bad)), HasSubstr("http://localhost:4318")) << bad;
  }
}

TEST(OtlpTest, EndpointsAreShownWithoutWhatIsSecret) {
  EXPECT_EQ(ShownEndpoint("http://localhost:4318/v1/traces"), "http://localhost:4318/v1/traces");
  EXPECT_EQ(ShownEndpoint("https://user:se@cret@collector:4318/v1/traces?key=secret#secret"),
            "https://collector:4318/v1/traces");
  EXPECT_EQ(ShownEndpoint("https://user:sec/ret@collector"), "https://collector");
  EXPECT_EQ(ShownEndpoint("user:secret@collector"), "collector");
  EXPECT_THAT(Message(CheckOtlpEndpoint("http://user:secret@a b")), Not(HasSubstr("secret")));
}

std::unique_ptr<SpanExporter> Nowhere() {
  // Nobody listens on port 1; what is to be sent is given up when the exporter goes.
  auto exporter = SpanExporter::Start({.endpoint = "http://127.0.0.1:1"});
  return exporter.ok() ? *std::move(exporter) : nullptr;
}

TEST(CallJournalTest, WithoutSinksTracesAreHandedOnAndNothingIsWanted) {
  const CallJournal journal;
  const TraceContext trace = journal.Trace(kParent, "rojo=1");
  EXPECT_TRUE(trace.valid);
  EXPECT_EQ(trace.state, "rojo=1");
  EXPECT_NE(trace.span_id, trace.parent_id);
  EXPECT_FALSE(journal.Wants(trace));
  EXPECT_FALSE(journal.Trace("", "rojo=1").valid);
  EXPECT_TRUE(journal.Trace("nonsense", "rojo=1").state.empty());
  EXPECT_TRUE(journal.Trace(kParent, "no members").state.empty());
}

TEST(CallJournalTest, TheCallersDecisionCountsAndOtherwiseTheRate) {
  for (const double rate : {0.0, 0.25, 1.0}) {
    const CallJournal journal(nullptr, Nowhere(), rate);
    EXPECT_TRUE(journal.Wants(journal.Trace(kParent, "")));
    EXPECT_FALSE(journal.Wants(journal.Trace("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00", "")));
    int traced = 0;
    std::set<std::array<uint8_t, 16>> ids;
    for (int i = 0; i < 10000; ++i) {
      const TraceContext trace = journal.Trace("", "");
      traced += journal.Wants(trace);
      if (trace.valid) ids.insert(trace.trace_id);
    }
    EXPECT_NEAR(traced, 10000 * rate, rate == 0.25 ? 400 : 0);
    EXPECT_EQ(ids.size(), static_cast<size_t>(traced));
  }
}

TEST(CallJournalTest, ACollectorThatIsAwayCostsSpansAndNothingElse) {
  auto exporter = SpanExporter::Start({.endpoint = "http://127.0.0.1:1", .delay = Duration(0), .first_pause = Duration(0)});
  ASSERT_TRUE(exporter.ok());
  const TraceContext trace = Traced();
  (*exporter)->Add(Story(&trace), system_clock::now());
  while ((*exporter)->failed() < 1) std::this_thread::yield();
  EXPECT_EQ((*exporter)->exported(), 0U);
}

}  // namespace
}  // namespace switchyard
