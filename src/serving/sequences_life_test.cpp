// Sequences while devices fail and come, versions are replaced and removed, and many clients call at once.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <thread>

#include "device/fault.h"
#include "serving/test_sequences.h"

namespace switchyard {
namespace {

using std::chrono::seconds;
using testing::HasSubstr;

const Status kLost = MarkFault(absl::UnavailableError("CL_OUT_OF_RESOURCES"), Fault::kDevice);

class SequencesLifeTest : public SequencesTest {
 protected:
  // Until `condition` holds: what the Manager's thread does takes a moment.
  template <typename Condition>
  static bool Soon(Condition condition) {
    for (int i = 0; i < 5000; ++i) {
      if (condition()) return true;
      std::this_thread::sleep_for(std::chrono::milliseconds(2));
    }
    return false;
  }
  std::string ServedBy() {
    const auto report = *manager_->Placement("dummy", std::nullopt);
    for (const TargetPlacement& target : report.targets) {
      if (target.state == "serving") return target.target;
    }
    return "";
  }
  void OnTwoDevices(const std::string& target) {
    for (const char* name : {"dummy@GPU.0", "dummy@CPU"}) {
      runtime_.Update(name, [](FakeRuntime::Script& script) {
        script.facts.stateful = true;
        script.async = FakeRuntime::Async::kThread;
      });
    }
    ModelSettings settings = Dummy();
    settings.target_device = target;
    Start(settings, {"CPU", "GPU.0"});
  }
};

TEST_F(SequencesLifeTest, ACallIsNotRepeatedOnAnotherDevice) {
  OnTwoDevices("AUTO:GPU,CPU");
  ASSERT_TRUE(Soon([&] { return ServedBy() == "GPU.0"; }));
  ASSERT_EQ(Call(1, kStart), "1");
  ASSERT_EQ(Call(2, kStart), "1");
  const size_t before = runtime_.async_starts() + runtime_.infers();
  runtime_.Update("dummy@GPU.0", [](FakeRuntime::Script& script) { script.infer_error = kLost; });
  runtime_.Update("canary@GPU.0", [](FakeRuntime::Script& script) { script.infer_error = kLost; });
  EXPECT_THAT(Call(1, kNone), HasSubstr("UNAVAILABLE: CL_OUT_OF_RESOURCES; the model keeps state between calls, so that the "
                                        "call is not repeated: begin the sequence anew"));
  ASSERT_TRUE(Soon([&] { return ServedBy() == "CPU"; }));
  EXPECT_THAT(Call(1, kNone), HasSubstr("NOT_FOUND"));
  EXPECT_THAT(Call(2, kNone), HasSubstr("UNAVAILABLE: Sequence 2 of model dummy is lost with its state"));
  EXPECT_THAT(Call(2, kNone), HasSubstr("NOT_FOUND"));
  EXPECT_GE(runtime_.async_starts() + runtime_.infers(), before + 1);
  EXPECT_EQ(Call(1, kStart, 3), "3") << "on the CPU";
  EXPECT_EQ(Call(1, kNone, 3), "6");
}

TEST_F(SequencesLifeTest, ACallThatWaitsDoesNotBeginOnADeviceThatWasLost) {
  OnTwoDevices("AUTO:GPU,CPU");
  ASSERT_TRUE(Soon([&] { return ServedBy() == "GPU.0"; }));
  ASSERT_EQ(Call(1, kStart), "1");
  ASSERT_EQ(Call(2, kStart), "1");
  runtime_.Update("dummy@GPU.0", [](FakeRuntime::Script& script) { script.async = FakeRuntime::Async::kHeld; });
  {
    const SequenceCall runs(1, kNone), waits(2, kNone);
    Run(runs);
    ASSERT_TRUE(runtime_.WaitForHeld(1));
    Run(waits);
    const size_t starts = runtime_.async_starts();
    ASSERT_TRUE(runtime_.CompleteNext(kLost));
    EXPECT_THAT(Result(runs), HasSubstr("CL_OUT_OF_RESOURCES"));
    EXPECT_THAT(Result(waits), HasSubstr("begin it anew"));
    EXPECT_EQ(runtime_.async_starts(), starts);
  }
  EXPECT_TRUE(Soon([&] { return runtime_.live_models() == 1; }))
      << "what was on the lost device is freed by a thread of its own";
}

TEST_F(SequencesLifeTest, SequencesStayOnTheHelperUntilTheyEnd) {
  runtime_.Update("dummy@GPU.0", [](FakeRuntime::Script& script) { script.hold_load = true; });
  OnTwoDevices("AUTO:GPU,CPU");
  ASSERT_EQ(ServedBy(), "CPU");
  ASSERT_EQ(Call(1, kStart, 1), "1");
  runtime_.Update("dummy@GPU.0", [](FakeRuntime::Script& script) { script.hold_load = false; });
  ASSERT_TRUE(Soon([&] { return ServedBy() == "GPU.0"; }));
  const SequenceCall on_gpu(2, kStart);
  Run(on_gpu);
  EXPECT_EQ(Result(on_gpu), "1");
  EXPECT_EQ(*on_gpu.call->device.load(), "GPU.0");
  const SequenceCall on_cpu(1, kNone, 2);
  Run(on_cpu);
  EXPECT_EQ(Result(on_cpu), "3");
  EXPECT_EQ(*on_cpu.call->device.load(), "CPU");
  EXPECT_EQ(Call(1, kEnd, 3), "6");
}

TEST_F(SequencesLifeTest, AllDevicesTakeSequencesAndEachKeepsItsOwn) {
  OnTwoDevices("MULTI:GPU,CPU");
  ASSERT_TRUE(Soon([&] { return manager_->Placement("dummy", std::nullopt)->execution_devices.size() == 2; }));
  for (uint64_t id = 1; id <= 50; ++id) ASSERT_EQ(Call(id, kStart, static_cast<float>(id)), std::to_string(id));
  for (uint64_t id = 1; id <= 50; ++id) ASSERT_EQ(Call(id, kEnd, static_cast<float>(id)), std::to_string(2 * id));
}

TEST_F(SequencesLifeTest, AReplacedVersionLetsItsSequencesEnd) {
  Start(Dummy());
  ASSERT_EQ(Call(1, kStart, 1), "1");
  const size_t models = runtime_.live_models();
  ModelSettings changed = Dummy();
  changed.max_sequence_number = 400;
  Want({changed});
  ASSERT_TRUE(Soon([&] { return (*manager_->Acquire("dummy", std::nullopt))->settings().max_sequence_number == 400; }));
  EXPECT_EQ(Call(2, kStart, 10), "10");
  EXPECT_EQ(Call(1, kNone, 2), "3") << "by the Version that it began on";
  EXPECT_EQ(Call(2, kNone, 10), "20");
  EXPECT_EQ(Call(1, kEnd, 3), "6");
  EXPECT_THAT(Call(1, kNone), HasSubstr("NOT_FOUND"));
  EXPECT_TRUE(Soon([&] { return runtime_.live_models() == models; })) << "the old one goes with its last sequence";
}

TEST_F(SequencesLifeTest, AVersionIsFoundByItsSequencesUnlessAnotherIsAskedFor) {
  ModelSettings settings = repository_.Add("dummy", {1, 2});
  settings.version_policy = {.kind = VersionPolicy::Kind::kSpecific, .latest_count = 1, .versions = {1}};
  Start(settings);
  ASSERT_EQ(Call(1, kStart, 1), "1");
  settings.version_policy.versions = {1, 2};
  Want({settings});
  ASSERT_TRUE(Soon([&] { return (*manager_->Acquire("dummy", std::nullopt))->number() == 2; }));
  EXPECT_EQ(Call(1, kNone, 1), "2");
  const SequenceCall other(1, kNone);
  Run(other, 2);
  EXPECT_THAT(Result(other), HasSubstr("NOT_FOUND"));
}

TEST_F(SequencesLifeTest, WhatBeginsOnANewVersionIsNotTakenForWhatTheOldOneRuns) {
  Start(Dummy());
  const SequenceCall first(0, kStart, 1);
  Run(first);
  ASSERT_EQ(Result(first), "1");
  ASSERT_EQ(Call(7, kStart, 2), "2");
  ModelSettings changed = Dummy();
  changed.max_sequence_number = 400;
  Want({changed});
  ASSERT_TRUE(Soon([&] { return (*manager_->Acquire("dummy", std::nullopt))->settings().max_sequence_number == 400; }));
  const SequenceCall second(0, kStart, 100);
  Run(second);
  ASSERT_EQ(Result(second), "100");
  EXPECT_NE(second.id(), first.id());
  EXPECT_EQ(Call(first.id(), kNone, 1), "2");
  EXPECT_EQ(Call(second.id(), kNone, 1), "101");
  EXPECT_THAT(Call(7, kStart), HasSubstr("ALREADY_EXISTS"));
  EXPECT_EQ(Call(7, kNone, 2), "4");
  const ParameterCall anew({7, ""}, true, false, 50);
  Run(anew);
  EXPECT_EQ(Result(anew), "50");
  EXPECT_EQ(anew.call->version->settings().max_sequence_number, 400u) << "on the new Version";
  EXPECT_EQ(Call(7, kEnd, 1), "51");
  EXPECT_THAT(Call(7, kNone), HasSubstr("NOT_FOUND"));
}

TEST_F(SequencesLifeTest, ARemovedModelDrainsItsSequences) {
  Start(Dummy());
  ASSERT_EQ(Call(1, kStart), "1");
  Want({});
  EXPECT_TRUE(Soon([&] { return runtime_.live_models() == 0; }));
}

TEST_F(SequencesLifeTest, CallsThatWereTakenAreRunBeforeTheModelGoes) {
  SetAsync(FakeRuntime::Async::kHeld);
  Start(Dummy());
  std::vector<SequenceCall> calls;
  calls.emplace_back(1, kStart);
  for (int i = 0; i < 3; ++i) calls.emplace_back(1, kNone);
  for (const SequenceCall& call : calls) Run(call);
  Want({});
  EXPECT_FALSE(manager_->Acquire("dummy", std::nullopt).ok());
  EXPECT_EQ(runtime_.live_models(), 1u);
  const auto answered = [&] { return calls.back().answer->done.HasBeenNotified(); };
  EXPECT_TRUE(Soon([&] {
    runtime_.CompleteAll();
    return answered();
  }));
  for (size_t i = 0; i < calls.size(); ++i) EXPECT_EQ(Result(calls[i]), std::to_string(i + 1));
  calls.clear();  // each holds its Version
  EXPECT_TRUE(Soon([&] { return runtime_.live_models() == 0; }));
}

// As many as may wait; none is ended within the end of another.
TEST_F(SequencesLifeTest, AThousandWaitingCallsEndTogether) {
  SetAsync(FakeRuntime::Async::kHeld);
  ModelSettings settings = Dummy(1);
  Start(settings);
  std::vector<std::unique_ptr<ParameterCall>> calls;
  for (int i = 0; i < 1000; ++i) calls.push_back(std::make_unique<ParameterCall>(SequenceId{1, ""}, true, false));
  for (const auto& call : calls) Run(*call);
  runtime_.Update("dummy", [](FakeRuntime::Script& script) { script.infer_error = absl::InternalError("broken"); });
  EXPECT_TRUE(Soon([&] {
    runtime_.CompleteAll();
    return calls.back()->answer->done.HasBeenNotified();
  }));
  for (const auto& call : calls) EXPECT_THAT(Result(*call), HasSubstr("INTERNAL: broken")) << "each begins the sequence anew";
}

TEST_F(SequencesLifeTest, AReplacedVersionGoesWhenItsSequencesAreIdle) {
  ModelSettings settings = Dummy();
  settings.idle_sequence_cleanup = false;
  Start(settings);
  ASSERT_EQ(Call(1, kStart, 1), "1");
  const size_t models = runtime_.live_models();
  settings.max_sequence_number = 400;
  Want({settings});
  ASSERT_TRUE(Soon([&] { return (*manager_->Acquire("dummy", std::nullopt))->settings().max_sequence_number == 400; }));
  EXPECT_TRUE(Soon([&] {
    timer_.Advance(Sequences::kIdleOfRetired + seconds(1));
    return runtime_.live_models() == models;
  }));
}

TEST_F(SequencesLifeTest, RequestsAreGivenBackAfterAFlood) {
  ModelSettings settings = Dummy();
  settings.max_sequence_number = 5000;
  Start(settings);
  const size_t before = runtime_.live_requests();
  for (uint64_t id = 1; id <= 3000; ++id) ASSERT_EQ(Call(id, kStart), "1");
  EXPECT_EQ(runtime_.live_requests(), before + 3000);
  for (uint64_t id = 1; id <= 3000; ++id) ASSERT_EQ(Call(id, kEnd), "2");
  EXPECT_TRUE(Soon([&] { return runtime_.live_requests() <= before + 64; })) << runtime_.live_requests();
}

// For the thread sanitizer: calls, ends, cancellations, idle cleaning and a replaced version at once.
TEST_F(SequencesLifeTest, ManyClientsWhileVersionsChange) {
  SetAsync(FakeRuntime::Async::kThread);
  runtime_.Update("dummy", [](FakeRuntime::Script& script) { script.facts.optimal_requests = 3; });
  Start(Dummy());
  std::atomic<int> wrong{0};
  std::atomic<bool> stop{false};
  std::vector<std::thread> clients;
  for (uint64_t client = 1; client <= 4; ++client) {
    clients.emplace_back([&, client] {
      for (int round = 0; round < 60; ++round) {
        float sum = 0;
        for (int i = 0; i < 6; ++i) {
          const float value = static_cast<float>(client * 10 + i);
          sum += value;
          const std::string result = Call(client, i == 0 ? kStart : i == 5 ? kEnd : kNone, value);
          if (result != fmt::format("{}", sum)) ++wrong;
        }
      }
    });
  }
  std::thread rude([&] {
    for (uint64_t id = 100; !stop; ++id) {
      const SequenceCall first(id, kStart), second(id, kNone), third(id, kEnd);
      for (const SequenceCall* call : {&first, &second, &third}) Run(*call);
      second.call->Cancel(absl::CancelledError("gone"));
      for (const SequenceCall* call : {&first, &second, &third}) Result(*call);
    }
  });
  for (uint32_t change = 0; change < 10; ++change) {
    ModelSettings settings = Dummy();
    settings.max_sequence_number = 600 + change;
    Want({settings});
    timer_.Advance(seconds(1));
  }
  for (std::thread& client : clients) client.join();
  stop = true;
  rude.join();
  EXPECT_EQ(wrong, 0);
}

}  // namespace
}  // namespace switchyard
