// Level Zero's entry points for queues, fences, events and command lists.
#include <utility>

#include "testing/npusim/execution.h"
#include "testing/npusim/level_zero.h"
#include "testing/npusim/settings.h"

namespace npusim {
namespace {

uint32_t Append(Handle list, Operation operation, Handle signal, uint32_t count = 0, Handle* waits = nullptr) {
  if (!list) return kInvalidArgument;
  operation.signal = FromHandle<Signal>(signal);
  for (uint32_t i = 0; i < count; ++i) operation.waits.push_back(FromHandle<Signal>(waits[i]));
  return FromHandle<List>(list)->Append(std::move(operation));
}

Operation Of(Operation::Kind kind) {
  Operation operation;
  operation.kind = kind;
  return operation;
}

}  // namespace
}  // namespace npusim

using namespace npusim;  // NOLINT: what follows has C's names
using Kind = Operation::Kind;

NPUSIM_API zeCommandQueueCreate(Handle, Handle, void*, Handle* queue) {
  Trace("zeCommandQueueCreate");
  *queue = MakeHandle(std::make_shared<Queue>());
  return kSuccess;
}
NPUSIM_API zeCommandQueueDestroy(Handle queue) {
  Trace("zeCommandQueueDestroy");
  DropHandle<Queue>(queue);
  return kSuccess;
}
NPUSIM_API zeCommandQueueExecuteCommandLists(Handle queue, uint32_t count, Handle* lists, Handle fence) {
  Trace("zeCommandQueueExecuteCommandLists: %u", count);
  std::vector<Operation> operations;
  for (uint32_t i = 0; i < count; ++i) {
    const auto& more = FromHandle<List>(lists[i])->operations();
    operations.insert(operations.end(), more.begin(), more.end());
  }
  return FromHandle<Queue>(queue)->Submit(std::move(operations), FromHandle<Signal>(fence));
}
NPUSIM_API zeCommandQueueSynchronize(Handle queue, uint64_t nanoseconds) {
  return FromHandle<Queue>(queue)->Synchronize(nanoseconds);
}

NPUSIM_API zeFenceCreate(Handle, void*, Handle* fence) {
  *fence = MakeHandle(std::make_shared<Signal>());
  return kSuccess;
}
NPUSIM_API zeFenceDestroy(Handle fence) {
  DropHandle<Signal>(fence);
  return kSuccess;
}
NPUSIM_API zeFenceHostSynchronize(Handle fence, uint64_t nanoseconds) { return FromHandle<Signal>(fence)->Wait(nanoseconds); }
NPUSIM_API zeFenceQueryStatus(Handle fence) { return FromHandle<Signal>(fence)->Wait(0); }
NPUSIM_API zeFenceReset(Handle fence) {
  FromHandle<Signal>(fence)->Reset();
  return kSuccess;
}

NPUSIM_API zeEventPoolCreate(Handle, void*, uint32_t, Handle*, Handle* pool) {
  *pool = new int(0);
  return kSuccess;
}
NPUSIM_API zeEventPoolDestroy(Handle pool) {
  delete static_cast<int*>(pool);
  return kSuccess;
}
NPUSIM_API zeEventCreate(Handle, void*, Handle* event) {
  *event = MakeHandle(std::make_shared<Signal>());
  return kSuccess;
}
NPUSIM_API zeEventDestroy(Handle event) {
  DropHandle<Signal>(event);
  return kSuccess;
}
NPUSIM_API zeEventHostSignal(Handle event) {
  FromHandle<Signal>(event)->Set();
  return kSuccess;
}
NPUSIM_API zeEventHostReset(Handle event) {
  FromHandle<Signal>(event)->Reset();
  return kSuccess;
}
NPUSIM_API zeEventHostSynchronize(Handle event, uint64_t nanoseconds) { return FromHandle<Signal>(event)->Wait(nanoseconds); }
NPUSIM_API zeEventQueryStatus(Handle event) { return FromHandle<Signal>(event)->Wait(0); }

NPUSIM_API zeCommandListCreate(Handle, Handle, void*, Handle* list) {
  *list = MakeHandle(std::make_shared<List>(false));
  return kSuccess;
}
NPUSIM_API zeCommandListCreateImmediate(Handle, Handle, void*, Handle* list) {
  Trace("zeCommandListCreateImmediate");
  *list = MakeHandle(std::make_shared<List>(true));
  return kSuccess;
}
NPUSIM_API zeCommandListDestroy(Handle list) {
  DropHandle<List>(list);
  return kSuccess;
}
NPUSIM_API zeCommandListClose(Handle) { return kSuccess; }
NPUSIM_API zeCommandListReset(Handle list) {
  FromHandle<List>(list)->Reset();
  return kSuccess;
}
NPUSIM_API zeCommandListHostSynchronize(Handle list, uint64_t nanoseconds) {
  return FromHandle<List>(list)->Synchronize(nanoseconds);
}
NPUSIM_API zeCommandListAppendBarrier(Handle list, Handle signal, uint32_t count, Handle* waits) {
  return Append(list, Operation{}, signal, count, waits);
}
NPUSIM_API zeCommandListAppendSignalEvent(Handle list, Handle event) { return Append(list, Operation{}, event); }
NPUSIM_API zeCommandListAppendEventReset(Handle list, Handle event) { return Append(list, Of(Kind::kReset), event); }
NPUSIM_API zeCommandListAppendWaitOnEvents(Handle list, uint32_t count, Handle* events) {
  return Append(list, Of(Kind::kWait), nullptr, count, events);
}
NPUSIM_API zeCommandListAppendMemoryCopy(Handle list, void* destination, const void* source, size_t size, Handle signal,
                                         uint32_t count, Handle* waits) {
  Operation operation = Of(Kind::kCopy);
  operation.destination = destination;
  operation.source = source;
  operation.size = size;
  return Append(list, std::move(operation), signal, count, waits);
}
NPUSIM_API zeCommandListAppendWriteGlobalTimestamp(Handle list, uint64_t* destination, Handle signal, uint32_t count,
                                                   Handle* waits) {
  Operation operation = Of(Kind::kTimestamp);
  operation.destination = destination;
  return Append(list, std::move(operation), signal, count, waits);
}

// The mutable command list extension: other arguments for an execution that was appended before.
NPUSIM_API zeCommandListGetNextCommandIdExp(Handle list, void*, uint64_t* id) {
  *id = FromHandle<List>(list)->next_command();
  return kSuccess;
}
NPUSIM_API zeCommandListUpdateMutableCommandsExp(Handle list, const Head* description) {
  constexpr uint32_t kGraphArgument = 0x7, kGraphArgumentOfNewer = 0x00020020;
  for (auto* next = static_cast<const Head*>(description->next); next; next = static_cast<const Head*>(next->next)) {
    if (next->type_of_structure != kGraphArgument && next->type_of_structure != kGraphArgumentOfNewer)
      return kUnsupportedFeature;
    auto* argument = static_cast<const MutableGraphArgument*>(next);
    Result result = FromHandle<List>(list)->SetValue(argument->command_id, argument->index, argument->value);
    if (result != kSuccess) return result;
  }
  return kSuccess;
}

NPUSIM_API zeGetCommandQueueProcAddrTable(uint32_t version, void* table) {
  return FillTable(version, table,
                   {{0, Entry(zeCommandQueueCreate)},
                    {1, Entry(zeCommandQueueDestroy)},
                    {2, Entry(zeCommandQueueExecuteCommandLists)},
                    {3, Entry(zeCommandQueueSynchronize)}});
}
NPUSIM_API zeGetCommandListProcAddrTable(uint32_t version, void* table) {
  return FillTable(version, table,
                   {{0, Entry(zeCommandListCreate)},
                    {1, Entry(zeCommandListCreateImmediate)},
                    {2, Entry(zeCommandListDestroy)},
                    {3, Entry(zeCommandListClose)},
                    {4, Entry(zeCommandListReset)},
                    {5, Entry(zeCommandListAppendWriteGlobalTimestamp)},
                    {6, Entry(zeCommandListAppendBarrier)},
                    {8, Entry(zeCommandListAppendMemoryCopy)},
                    {18, Entry(zeCommandListAppendSignalEvent)},
                    {19, Entry(zeCommandListAppendWaitOnEvents)},
                    {20, Entry(zeCommandListAppendEventReset)},
                    {28, Entry(zeCommandListHostSynchronize), MakeVersion(1, 9)}});
}
NPUSIM_API zeGetCommandListExpProcAddrTable(uint32_t version, void* table) {
  return FillTable(version, table,
                   {{2, Entry(zeCommandListGetNextCommandIdExp), MakeVersion(1, 9)},
                    {3, Entry(zeCommandListUpdateMutableCommandsExp), MakeVersion(1, 9)}});
}
NPUSIM_API zeGetEventPoolProcAddrTable(uint32_t version, void* table) {
  return FillTable(version, table, {{0, Entry(zeEventPoolCreate)}, {1, Entry(zeEventPoolDestroy)}});
}
NPUSIM_API zeGetEventProcAddrTable(uint32_t version, void* table) {
  return FillTable(version, table,
                   {{0, Entry(zeEventCreate)},
                    {1, Entry(zeEventDestroy)},
                    {2, Entry(zeEventHostSignal)},
                    {3, Entry(zeEventHostSynchronize)},
                    {4, Entry(zeEventQueryStatus)},
                    {5, Entry(zeEventHostReset)}});
}
NPUSIM_API zeGetFenceProcAddrTable(uint32_t version, void* table) {
  return FillTable(version, table,
                   {{0, Entry(zeFenceCreate)},
                    {1, Entry(zeFenceDestroy)},
                    {2, Entry(zeFenceHostSynchronize)},
                    {3, Entry(zeFenceQueryStatus)},
                    {4, Entry(zeFenceReset)}});
}
