// Sequences of calls to a model that keeps state: who they are, their order, and how they end.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "serving/test_sequences.h"

namespace switchyard {
namespace {

using std::chrono::seconds;
using testing::AllOf;
using testing::HasSubstr;
using testing::Not;

TEST_F(SequencesTest, EachSequenceHasAStateOfItsOwn) {
  Start(Dummy());
  EXPECT_EQ(Call(7, kStart, 1), "1");
  EXPECT_EQ(Call(8, kStart, 10), "10");
  EXPECT_EQ(Call(7, kNone, 2), "3");
  EXPECT_EQ(Call(8, kNone, 20), "30");
  EXPECT_EQ(Call(7, kEnd, 4), "7");
  EXPECT_EQ(Call(8, kEnd, 40), "70");
  EXPECT_EQ(Table().running(), 0u);
  EXPECT_EQ(Call(7, kStart, 5), "5") << "the request that another sequence used begins afresh";
}

TEST_F(SequencesTest, TheServerGivesNumbersAndSaysThem) {
  Start(Dummy());
  EXPECT_EQ(Call(1, kStart), "1");
  const SequenceCall first(0, kStart), second(0, kStart);
  Run(first);
  Run(second);
  ASSERT_EQ(Result(first), "1");
  ASSERT_EQ(Result(second), "1");
  EXPECT_EQ(first.call->outputs.back().spec->name, "sequence_id");
  EXPECT_NE(first.id(), 1u) << "taken";
  EXPECT_NE(first.id(), second.id());
  EXPECT_EQ(Call(first.id(), kNone, 5), "6");
}

TEST_F(SequencesTest, WhatIsWrongIsSaidWithOvmsCodes) {
  ModelSettings settings = Dummy();
  settings.max_sequence_number = 2;
  Start(settings);
  EXPECT_THAT(Call(7, kNone), HasSubstr("NOT_FOUND: Sequence with provided ID does not exist"));
  EXPECT_THAT(Call(0, kNone), HasSubstr("INVALID_ARGUMENT: Sequence ID has not been provided in request inputs"));
  EXPECT_THAT(Call(0, kEnd), HasSubstr("INVALID_ARGUMENT: Sequence ID has not been provided in request inputs"));
  EXPECT_THAT(Call(7, 3), HasSubstr("INVALID_ARGUMENT: Unexpected value of sequence control input"));
  EXPECT_EQ(Call(7, kStart), "1");
  EXPECT_THAT(Call(7, kStart), HasSubstr("ALREADY_EXISTS: Sequence with provided ID already exists"));
  EXPECT_EQ(Call(8, kStart), "1");
  EXPECT_THAT(Call(9, kStart), HasSubstr("UNAVAILABLE: Max sequence number has been reached"));
  TestCall without;
  Run(without);
  EXPECT_THAT(Result(without), HasSubstr("INVALID_ARGUMENT: Sequence ID has not been provided"));
  SequenceCall wrong_type(7, kNone);
  wrong_type.call->request.inputs[1].tensor.type = ElementType::kInt64;
  Run(wrong_type);
  EXPECT_THAT(Result(wrong_type), HasSubstr("INVALID_ARGUMENT: Could not find sequence id"));
  SequenceCall wrong_shape(7, kNone);
  wrong_shape.call->request.inputs[1].tensor.shape = {};
  Run(wrong_shape);
  EXPECT_THAT(Result(wrong_shape), HasSubstr("INVALID_ARGUMENT: Special input sequence_id"));
  SequenceCall invalid(7, kEnd);
  invalid.call->request.inputs[0].tensor.shape = {2, 5};
  Run(invalid);
  EXPECT_THAT(Result(invalid), HasSubstr("INVALID_ARGUMENT"));
  EXPECT_EQ(Call(7, kNone), "2") << "a call that was refused changes nothing";
}

TEST_F(SequencesTest, ParametersBeginAnewWhatRunsAndTakeNames) {
  Start(Dummy());
  const auto result = [&](const ParameterCall& call) {
    Run(call);
    return Result(call);
  };
  const SequenceId named{.number = 0, .name = "seven"};
  EXPECT_EQ(result(ParameterCall(named, true, false, 3)), "3");
  EXPECT_EQ(result(ParameterCall(named, false, false, 3)), "6");
  EXPECT_EQ(result(ParameterCall(named, true, false, 4)), "4");
  EXPECT_EQ(result(ParameterCall(named, false, true, 4)), "8");
  EXPECT_THAT(result(ParameterCall(named, false, false)), HasSubstr("NOT_FOUND"));
  EXPECT_EQ(result(ParameterCall(named, true, true, 9)), "9");
  EXPECT_EQ(Table().running(), 0u);
  const ParameterCall last({.number = 7, .name = ""}, true, false, 1);
  EXPECT_EQ(result(last), "1");
  EXPECT_EQ(last.call->outputs.size(), 1u) << "the answer says the id as a parameter";
  SequenceCall both(7, kNone);
  both.call->request.sequence =
      std::make_unique<SequenceRequest>(SequenceRequest{.id = {}, .start = false, .end = false, .by_parameters = true});
  Run(both);
  EXPECT_THAT(Result(both), HasSubstr("given twice"));
}

TEST_F(SequencesTest, WithoutStateBetweenCallsEachOneFindsAFreshOne) {
  ModelSettings settings = Dummy();
  settings.stateful = false;
  Start(settings);
  for (int i = 0; i < 3; ++i) {
    const TestCall call(5);
    Run(call);
    EXPECT_EQ(Result(call), "5");
  }
}

TEST_F(SequencesTest, CallsOfOneSequenceRunInOrderAndThoseOfOthersBeside) {
  SetAsync(FakeRuntime::Async::kHeld);
  runtime_.Update("dummy", [](FakeRuntime::Script& script) { script.facts.optimal_requests = 4; });
  Start(Dummy());
  const SequenceCall a1(1, kStart, 1), a2(1, kNone, 2), a3(1, kEnd, 4), b1(2, kStart, 10);
  for (const SequenceCall* call : {&a1, &a2, &a3, &b1}) Run(*call);
  EXPECT_EQ(runtime_.held(), 2u) << "one of each sequence";
  EXPECT_EQ(Table().waiting(), 2u);
  const SequenceCall late(1, kNone), again(1, kStart);
  Run(late);
  Run(again);
  EXPECT_THAT(Result(late), HasSubstr("NOT_FOUND")) << "its end was asked for";
  EXPECT_THAT(Result(again), HasSubstr("FAILED_PRECONDITION: Sequence last request is being processed"));
  runtime_.CompleteAll();
  EXPECT_EQ(Result(a1), "1");
  EXPECT_EQ(Result(a2), "3");
  EXPECT_EQ(Result(a3), "7");
  EXPECT_EQ(Result(b1), "10");
  EXPECT_EQ(Table().running(), 1u);
}

TEST_F(SequencesTest, MoreSequencesThanRequestsTakeTurns) {
  SetAsync(FakeRuntime::Async::kHeld);
  Start(Dummy());
  std::vector<std::unique_ptr<SequenceCall>> calls;
  for (uint64_t id = 1; id <= 20; ++id) {
    Run(*calls.emplace_back(std::make_unique<SequenceCall>(id, kStart, static_cast<float>(id))));
    Run(*calls.emplace_back(std::make_unique<SequenceCall>(id, kNone, static_cast<float>(id))));
  }
  EXPECT_EQ(runtime_.held(), 1u);
  runtime_.CompleteAll();
  for (uint64_t id = 1; id <= 20; ++id) {
    EXPECT_EQ(Result(*calls[2 * id - 2]), std::to_string(id));
    EXPECT_EQ(Result(*calls[2 * id - 1]), std::to_string(2 * id));
  }
}

TEST_F(SequencesTest, ACallThatNeverBeganLeavesTheStateAsItWas) {
  SetAsync(FakeRuntime::Async::kHeld);
  Start(Dummy());
  const SequenceCall first(1, kStart, 1), late(1, kNone, 100, timer_.Now() + seconds(1)), ending(1, kEnd, 100),
      next(1, kNone, 2);
  for (const SequenceCall* call : {&first, &late, &ending}) Run(*call);
  timer_.Advance(seconds(2));
  EXPECT_THAT(Result(late), HasSubstr("DEADLINE_EXCEEDED"));
  ending.call->Cancel(absl::CancelledError("gone"));
  runtime_.CompleteAll();
  EXPECT_EQ(Result(first), "1");
  Run(next);
  runtime_.CompleteAll();
  EXPECT_EQ(Result(next), "3");
}

TEST_F(SequencesTest, WhatWasAnsweredWhileItWaitedTakesNoPlace) {
  max_queue_ = 2;
  SetAsync(FakeRuntime::Async::kHeld);
  Start(Dummy(2));
  const SequenceCall slow(1, kStart), other(2, kStart), late1(1, kNone, 1, timer_.Now() + seconds(1)),
      late2(1, kNone, 1, timer_.Now() + seconds(1)), refused(2, kNone), taken(2, kNone, 4);
  for (const SequenceCall* call : {&slow, &other, &late1, &late2, &refused}) Run(*call);
  EXPECT_THAT(Result(refused), HasSubstr("RESOURCE_EXHAUSTED: The queue of model dummy is full"));
  EXPECT_TRUE(Table().oldest_waiting().has_value());
  timer_.Advance(seconds(2));
  EXPECT_THAT(Result(late2), HasSubstr("DEADLINE_EXCEEDED"));
  EXPECT_FALSE(Table().oldest_waiting().has_value()) << "nobody waits";
  Run(taken);
  EXPECT_EQ(Table().waiting(), 1u);
  runtime_.CompleteAll();
  EXPECT_EQ(Result(taken), "5");
}

TEST_F(SequencesTest, AnIdIsShortAndCannotForgeALineOfTheLog) {
  Start(Dummy());
  ParameterCall longest(SequenceId{.number = 0, .name = std::string(257, 'x')}, true, false);
  Run(longest);
  EXPECT_THAT(Result(longest), HasSubstr("INVALID_ARGUMENT: Invalid parameter sequence_id - Expected: at most 256 bytes"));
  ParameterCall forged(SequenceId{.number = 0, .name = "a\n[error] all is lost"}, false, false);
  Run(forged);
  EXPECT_THAT(Result(forged), AllOf(HasSubstr("NOT_FOUND"), Not(HasSubstr("\n"))));
}

TEST_F(SequencesTest, WithoutItsFirstCallThereIsNoSequence) {
  SetAsync(FakeRuntime::Async::kHeld);
  Start(Dummy());
  const SequenceCall other(2, kStart), first(1, kStart), second(1, kNone);
  Run(other);
  Run(first);  // waits for the only request
  Run(second);
  first.call->Cancel(absl::CancelledError("gone"));
  EXPECT_THAT(Result(second), HasSubstr("UNAVAILABLE: Sequence 1 of model dummy has ended with the call before this one"));
  runtime_.CompleteAll();
  EXPECT_EQ(Result(other), "1");
  EXPECT_THAT(Call(1, kNone), HasSubstr("NOT_FOUND"));
}

TEST_F(SequencesTest, AnInferenceThatFailsEndsTheSequence) {
  SetAsync(FakeRuntime::Async::kHeld);
  Start(Dummy());
  const SequenceCall first(1, kStart), second(1, kNone);
  const ParameterCall third({.number = 1, .name = ""}, true, false, 4);
  Run(first);
  Run(second);
  Run(third);
  runtime_.CompleteNext(absl::InternalError("broke"));
  EXPECT_THAT(Result(first), HasSubstr("broke; the sequence has ended with it"));
  EXPECT_THAT(Result(second), HasSubstr("UNAVAILABLE"));
  runtime_.CompleteAll();
  EXPECT_EQ(Result(third), "4") << "it began the sequence anew";
}

TEST_F(SequencesTest, IdleSequencesEnd) {
  ModelSettings settings = Dummy();
  settings.sequence_idle_seconds = 10;
  Start(settings);
  EXPECT_EQ(Call(1, kStart), "1");
  timer_.Advance(seconds(6));
  EXPECT_EQ(Call(2, kStart), "1");
  timer_.Advance(seconds(6));
  EXPECT_EQ(Table().running(), 1u);
  EXPECT_THAT(Call(1, kNone), HasSubstr("NOT_FOUND"));
  EXPECT_EQ(Call(2, kNone), "2");
  timer_.Advance(seconds(9));
  EXPECT_EQ(Table().running(), 1u) << "its last call counts";
  timer_.Advance(seconds(2));
  EXPECT_EQ(Table().running(), 0u);
}

TEST_F(SequencesTest, IdleSequencesStayWhereCleanupIsOff) {
  ModelSettings settings = Dummy();
  settings.idle_sequence_cleanup = false;
  Start(settings);
  EXPECT_EQ(Call(1, kStart), "1");
  timer_.Advance(std::chrono::hours(100));
  EXPECT_EQ(Call(1, kNone), "2");
}

TEST_F(SequencesTest, TheServersIntervalCountsWhereTheModelSaysNone) {
  Start(Dummy());
  EXPECT_EQ(Call(1, kStart), "1");
  timer_.Advance(seconds(299));
  EXPECT_EQ(Table().running(), 1u);
  timer_.Advance(seconds(2));
  EXPECT_EQ(Table().running(), 0u);
}

}  // namespace
}  // namespace switchyard
