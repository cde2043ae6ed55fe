#include "runtime/openvino/child_main.h"

#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include <array>
#include <string>
#include <utility>

#include "base/status.h"
#include "runtime/openvino/canary.h"
#include "runtime/openvino/child_protocol.h"
#include "runtime/openvino/convert.h"
#include "runtime/openvino/inventory.h"
#include "runtime/openvino/make_core.h"
#include "runtime/openvino/properties.h"

namespace switchyard {
namespace {

std::string ReadAll(int from) {
  std::string text;
  std::array<char, 65536> buffer;
  ssize_t count = 0;
  while ((count = read(from, buffer.data(), buffer.size())) > 0) text.append(buffer.data(), static_cast<size_t>(count));
  return text;
}

void WriteAll(int to, std::string_view text) {
  while (!text.empty()) {
    const ssize_t count = write(to, text.data(), text.size());
    if (count <= 0) return;
    text.remove_prefix(static_cast<size_t>(count));
  }
}

// InvalidArgument when the properties are at fault, Unavailable when the device takes no model at all.
Status Probe(const std::string& json) {
  SY_ASSIGN_OR_RETURN(const ProbeRequest request, ProbeRequestFrom(json));
  SY_ASSIGN_OR_RETURN(const std::shared_ptr<ov::Core> core, MakeCore(request.options));
  const auto compile = [&](StatusCode code, const PropertyMap& properties) {
    return Guarded(code, request.device, [&]() -> Status {
      core->compile_model(OneOperation(), request.device, MakeProperties(*core, request.device, properties));
      return absl::OkStatus();
    });
  };
  const Status status = compile(StatusCode::kInvalidArgument, request.properties);
  if (status.ok()) return status;
  SY_RETURN_IF_ERROR(compile(StatusCode::kUnavailable, {}));
  return status;
}

Status CompileOnce(const std::string& json) {
  SY_ASSIGN_OR_RETURN(CompileRequest request, CompileRequestFrom(json));
  SY_ASSIGN_OR_RETURN(const std::unique_ptr<Runtime> runtime, MakeOpenVinoRuntime(request.options));
  SY_ASSIGN_OR_RETURN(auto first, runtime->Load(request.load));
  std::string reasons;
  for (const std::string& reason : first->facts().reasons) reasons += "; " + reason;
  first.reset();
  // What is in the cache must be readable too.
  SY_ASSIGN_OR_RETURN(const auto second, runtime->Load(request.load));
  if (second->facts().cache == LoadFacts::Cache::kHit) return absl::OkStatus();
  return Error(StatusCode::kInternal, "the compiled model did not come into the cache folder {}{}", request.load.cache_dir,
               reasons);
}

StatusOr<Inventory> List(const std::string& json) {
  SY_ASSIGN_OR_RETURN(const ListRequest request, ListRequestFrom(json));
  SY_ASSIGN_OR_RETURN(const std::shared_ptr<ov::Core> core, MakeCore(request.options));
  return request.kind.empty() ? ReadInventory(*core) : ReadInventory(*core, request.kind);
}

std::string Answer(std::string_view name, const std::string& json) {
  if (name == "compile-once") return AnswerJson(CompileOnce(json));
  if (name == "probe-properties") return AnswerJson(Probe(json));
  const StatusOr<Inventory> inventory = List(json);
  return inventory.ok() ? AnswerJson(*inventory) : AnswerJson(inventory.status());
}

}  // namespace

std::optional<int> RunAsChild(std::string_view name) {
  if (name != "probe-properties" && name != "compile-once" && name != "list-devices") return std::nullopt;
  // Not longer than the parent: nobody would hear the answer.
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  // A crash is expected here, and told by its signal; a dump of the memory would cost minutes.
  const rlimit no_core{0, 0};
  setrlimit(RLIMIT_CORE, &no_core);
  const int answer_to = dup(STDOUT_FILENO);
  dup2(STDERR_FILENO, STDOUT_FILENO);
  WriteAll(answer_to, Answer(name, ReadAll(STDIN_FILENO)));
  // Past the answer nothing counts, and the ends of drivers are known to hang.
  _exit(0);
}

}  // namespace switchyard
