#include "runtime/openvino/isolated_compile.h"

#include "base/log.h"
#include "device/fault.h"
#include "runtime/openvino/child_protocol.h"
#include "runtime/openvino/model_cache.h"

namespace switchyard {
namespace {

constexpr std::chrono::milliseconds kForEver = std::chrono::hours(24 * 365);

}  // namespace

Status CompileInChild(const OpenVinoOptions& options, const LoadRequest& request) {
  const std::string what =
      fmt::format("compiling model {} for {} in a process of its own", request.settings.name, request.target);
  if (request.cache_dir.empty()) {
    return InvalidArgument("isolated_compile needs a cache folder, through which the compiled model comes: give --cache_dir");
  }
  LogDebug("{}", what);
  const std::chrono::milliseconds limit(request.settings.load_timeout_ms);
  const ChildAnswer answer = AskChild(options.child_program, "compile-once", ToJson(CompileRequest{options, request}),
                                      limit == limit.zero() ? kForEver : limit);
  if (answer.status.ok()) return answer.status;
  if (answer.kind == ChildAnswer::Kind::kEnded) RemoveAbandoned(request.cache_dir);
  if (answer.kind == ChildAnswer::Kind::kAnswered) {
    return MarkFault(Annotate(answer.status, what), FaultOf(answer.status));
  }
  // Without a child nothing is compiled: the user asked for it not to happen here.
  return MarkFault(Annotate(answer.status, what), answer.kind == ChildAnswer::Kind::kEnded ? Fault::kModel : Fault::kNone);
}

}  // namespace switchyard
