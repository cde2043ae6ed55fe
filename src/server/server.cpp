#include "server/server.h"

#include <pthread.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <mutex>
#include <thread>

#include "base/environment.h"
#include "base/heap.h"
#include "base/log.h"
#include "base/timer.h"
#include "config/command_line.h"
#include "config/config_file.h"
#include "control/model_control.h"
#include "protocol/kserve/grpc_codec.h"
#include "protocol/rest/rest_api.h"
#include "protocol/tfs/grpc_codec.h"
#include "runtime/openvino/openvino_runtime.h"
#include "server/limits.h"
#include "server/ready_file.h"
#include "server/recorded_requests.h"
#include "server/report.h"
#include "server/server_metrics.h"
#include "serving/manager.h"
#include "serving/shared_regions.h"
#include "telemetry/call_journal.h"
#include "transport/grpc/grpc_server.h"
#include "transport/http/http_server.h"

namespace switchyard {
namespace {

// What the start-up thread sends to the main thread when the one model of the command line failed; nothing when another process
// sends it.
constexpr int kStartFailed = SIGUSR1;

// A version's files are taken when nothing of them has changed for so long.
constexpr auto kSettle = std::chrono::seconds(1);

sigset_t WaitedSignals() {
  sigset_t signals;
  sigemptyset(&signals);
  for (const int signal : {SIGTERM, SIGINT, SIGHUP, kStartFailed}) sigaddset(&signals, signal);
  return signals;
}

ModelControl::Options ControlOptions(const ServerSettings& settings) {
  ModelControl::Options options{.mode = settings.model_control,
                                .config_path = settings.config_path,
                                .config_text = settings.config_text,
                                .poll = std::chrono::seconds(settings.file_system_poll_wait_seconds),
                                .strict = settings.strict,
                                .device_plugins = {},
                                .models = settings.models,
                                .faulty = settings.faulty_models,
                                .server = settings.of_file};
  for (const auto& [name, library] : settings.device_plugins) options.device_plugins.push_back(name);
  return options;
}

class Server {
 public:
  Server(const ServerSettings& settings, std::string program, ReadyFile& ready_file, std::unique_ptr<CallJournal> journal)
      : settings_(settings),
        program_(std::move(program)),
        ready_file_(ready_file),
        metrics_({settings.metrics_enable, settings.metrics_list}),
        journal_(std::move(journal)) {}

  Status Start();
  // Blocks until a signal ends the server. Returns the exit code.
  int Wait();

 private:
  void AwaitModels();
  void Announce();
  // Writes the ready file, the first time. Any thread.
  void TellReady();
  // The first failure of the one model of the command line, if it failed.
  Status SingleModelFault() const;
  // Drains and destroys, within the grace period; past it the process ends here, with `exit_code`.
  void Stop(int exit_code);
  [[noreturn]] void LeaveAtOnce(int exit_code);
  // SIGHUP: log files by their names again, and the level as it is configured.
  void ReadLogsAgain();

  const ServerSettings& settings_;
  const std::string program_;
  ReadyFile& ready_file_;
  ThreadTimer timer_;
  MetricsRegistry metrics_;
  const std::unique_ptr<CallJournal> journal_;
  std::unique_ptr<Runtime> runtime_;
  std::unique_ptr<SharedRegions> shared_memory_;
  std::unique_ptr<Manager> manager_;
  std::unique_ptr<ModelControl> control_;
  std::unique_ptr<RestApi> rest_api_;
  std::unique_ptr<GrpcServer> grpc_;
  std::unique_ptr<HttpServer> http_;
  Endpoints endpoints_;
  std::atomic<bool> announced_{false};
  std::once_flag told_ready_;
  std::atomic<bool> stopping_{false};
  std::atomic<bool> start_failed_{false};
  pthread_t main_thread_ = pthread_self();
  std::thread start_up_;
};

Status Server::Start() {
  SY_ASSIGN_OR_RETURN(runtime_, MakeOpenVinoRuntime(OpenVinoOptions::From(settings_)));
  Manager::Options options = Manager::FromSettings(settings_);
  options.metrics = &metrics_;
  // Else what is served changes by calls alone, or not at all.
  const bool watches = settings_.model_control == ModelControlMode::kPoll;
  if (watches) options.watch_poll = std::chrono::seconds(settings_.file_system_poll_wait_seconds);
  if (!watches) options.cloud.poll = std::chrono::milliseconds(0);
  options.settle = kSettle;
  options.read_recorded = ReadRecordedRequests;
  options.journal = journal_.get();
  if (settings_.allow_shared_memory) shared_memory_ = std::make_unique<SharedRegions>();
  options.shared_memory = shared_memory_.get();
  options.on_failover = [this](const std::string& model, const std::string& from, const std::string& to,
                               const std::string& reason) { metrics_.CountFailover(model, from, to, reason); };
  options.on_retry = [this](const std::string& model, const std::string& device) { metrics_.CountRetry(model, device); };
  manager_ = std::make_unique<Manager>(*runtime_, timer_, std::move(options));
  AddServerCollectors(metrics_, *manager_, timer_);
  control_ = std::make_unique<ModelControl>(*manager_, *runtime_, ControlOptions(settings_));
  metrics_.AddCollector([this](MetricsPage& page) { journal_->Collect(page); });
  if (settings_.grpc.enabled) {
    SY_ASSIGN_OR_RETURN(
        grpc_,
        GrpcServer::Start(GrpcServer::FromSettings(settings_), *manager_, timer_,
                          {kserve::GrpcInferenceService(), tfs::PredictionService(), tfs::ModelService()}, control_.get()));
    endpoints_.grpc = grpc_->address();
  }
  if (settings_.rest.enabled) {
    rest_api_ = std::make_unique<RestApi>(*manager_, timer_, RestApi::Options{settings_.max_body_bytes, control_.get()});
    SY_ASSIGN_OR_RETURN(http_, HttpServer::Start(HttpServerOptions::From(settings_), *rest_api_));
    endpoints_.rest = http_->address();
  }
  LogInfo("Listening: gRPC {}, REST {}", endpoints_.grpc.empty() ? "off" : endpoints_.grpc,
          endpoints_.rest.empty() ? "off" : endpoints_.rest);
  manager_->OnReadinessChange([this](bool ready) {
    if (grpc_ != nullptr) grpc_->SetServing(ready);
    if (ready && announced_.load()) TellReady();
  });
  control_->Start();
  start_up_ = std::thread([this] { AwaitModels(); });
  return absl::OkStatus();
}

void Server::AwaitModels() {
  manager_->WaitForLoads();
  if (stopping_.load()) return;
  if (settings_.single_model && !SingleModelFault().ok()) {
    start_failed_.store(true);
    pthread_kill(main_thread_, kStartFailed);
    return;
  }
  Announce();
}

void Server::Announce() {
  const std::string report = StartReport(endpoints_, *manager_, program_);
  if (CurrentLogSettings().format == LogFormat::kJson) {
    LogInfo("{}", report);
  } else {
    std::fwrite(report.data(), 1, report.size(), stdout);
    std::fflush(stdout);
  }
  announced_.store(true);  // what becomes ready from here on is told by the Manager's thread
  if (manager_->Ready()) return TellReady();
  LogWarning("The server is not ready: {}", settings_.ready_needs_all ? "not every model serves" : "no model serves");
}

void Server::TellReady() {
  std::call_once(told_ready_, [this] {
    const Status written = ready_file_.Write(ReadyFileText(endpoints_, getpid()) + "\n");
    if (!written.ok()) LogError("{}", Message(written));
  });
}

Status Server::SingleModelFault() const {
  for (const ModelStatus& model : manager_->Statuses()) {
    // Where another serves, a version whose files are not there yet is no fault, nor is one that has an older one in its place.
    const bool serves = manager_->ModelReady(model.name, std::nullopt);
    const bool stands_in = model.version_policy.kind == VersionPolicy::Kind::kLatest;
    for (const VersionStatus& version : model.versions) {
      if (serves && (version.untaken || stands_in)) continue;
      if (version.state == VersionState::kFailed) return Annotate(version.error, "model " + model.name);
    }
  }
  return absl::OkStatus();
}

void Server::ReadLogsAgain() {
  const Status opened = ReopenLogFile();
  journal_->ReopenFiles();
  LogLevel level = settings_.log_level;
  Status read;
  if (!settings_.config_path.empty()) {
    const StatusOr<ConfigFile> file = LoadConfigFile(settings_.config_path);
    read = file.status();
    if (file.ok() && !settings_.log_level_given) level = file->server.log_level.value_or(LogLevel::kInfo);
  }
  if (read.ok()) ChangeLogLevel(level);
  if (opened.ok()) {
    LogInfo("SIGHUP: log files were opened again");
  } else {
    LogWarning("SIGHUP: {}; the old file goes on", Message(opened));
  }
  if (!read.ok()) LogWarning("SIGHUP: the log level stays, since the config file cannot be read: {}", Message(read));
}

int Server::Wait() {
  const sigset_t signals = WaitedSignals();
  int signal = 0;
  while (sigwait(&signals, &signal) != 0 || signal == SIGHUP || (signal == kStartFailed && !start_failed_.load())) {
    if (signal == SIGHUP) ReadLogsAgain();
  }
  int exit_code = kExitOk;
  if (signal == kStartFailed) {
    const Status fault = SingleModelFault();
    std::fprintf(stderr, "switchyard: %.*s\n", static_cast<int>(Message(fault).size()), Message(fault).data());
    exit_code = kExitFailure;
  } else {
    LogInfo("{}: finishing what is in flight, {} s at most", signal == SIGINT ? "SIGINT" : "SIGTERM", settings_.grace_seconds);
  }
  // A person's second Ctrl-C ends the process at once; a supervisor's second SIGTERM must not cost the calls in flight.
  // Started in the background of a shell, the server has inherited that SIGINT is ignored.
  ::signal(SIGINT, SIG_DFL);
  sigset_t interrupt;
  sigemptyset(&interrupt);
  sigaddset(&interrupt, SIGINT);
  pthread_sigmask(SIG_UNBLOCK, &interrupt, nullptr);
  Stop(exit_code);
  return exit_code;
}

// A device still holds a call or a thread, or a model is still being compiled: what belongs to them can't be destroyed.
void Server::LeaveAtOnce(int exit_code) {
  LogInfo("Leaving without waiting for a device that does not answer");
  FlushLog();
  journal_->Close(std::chrono::milliseconds(500));
  std::fflush(nullptr);
  _exit(exit_code);
}

void Server::Stop(int exit_code) {
  const TimePoint deadline = timer_.Now() + std::chrono::seconds(settings_.grace_seconds);
  // Whatever hangs below, a listener's thread inside an inference for one.
  timer_.Schedule(deadline + std::chrono::milliseconds(500), [this, exit_code] { LeaveAtOnce(exit_code); });
  stopping_.store(true);
  ready_file_.Remove();
  manager_->Shutdown();
  control_->Stop();
  std::thread grpc_drain([&] {
    if (grpc_ != nullptr) grpc_->Drain(deadline);
  });
  if (http_ != nullptr) http_->Drain(deadline);
  grpc_drain.join();
  // Its last answers go out through the listeners.
  control_->Finish();
  http_.reset();
  if (!manager_->Drain(std::max(deadline, timer_.Now() + std::chrono::milliseconds(100)))) LeaveAtOnce(exit_code);
  start_up_.join();
  // Threads that are inside a lost device must not find their libraries gone.
  if (manager_->LeftThreads()) LeaveAtOnce(exit_code);
  control_.reset();
  manager_.reset();
  journal_->Close(std::chrono::seconds(2));
  LogInfo("Stopped");
}

StatusOr<std::unique_ptr<CallJournal>> MakeJournal(const ServerSettings& settings) {
  std::unique_ptr<AccessLog> access_log;
  std::unique_ptr<SpanExporter> spans;
  if (!settings.access_log.empty()) {
    SY_ASSIGN_OR_RETURN(access_log, AccessLog::Open(settings.access_log));
  }
  if (!settings.otlp_endpoint.empty()) {
    SpanExporter::Options options{.endpoint = settings.otlp_endpoint, .service_version = SWITCHYARD_VERSION};
    if (std::string name = EnvironmentValue("OTEL_SERVICE_NAME"); !name.empty()) options.service_name = std::move(name);
    SY_ASSIGN_OR_RETURN(spans, SpanExporter::Start(std::move(options)));
  }
  return std::make_unique<CallJournal>(std::move(access_log), std::move(spans), settings.trace_sample_rate);
}

}  // namespace

int RunServer(const ServerSettings& settings, const std::string& program) {
  // First of all: whoever waits for the file must not take an earlier run for this one.
  ReadyFile ready_file(settings.ready_file);
  if (const Status status = ready_file.Prepare(); !status.ok()) {
    std::fprintf(stderr, "switchyard: %s\n", std::string(Message(status)).c_str());
    return kExitFailure;
  }
  // Before any thread exists, so that every thread inherits it: signals are taken by Wait alone.
  const sigset_t signals = WaitedSignals();
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  signal(SIGPIPE, SIG_IGN);
  KeepFreedMemory();
  TuneLocks();
  if (const Status status = ConfigureLog(settings.log_level, settings.log_path, settings.log_format); !status.ok()) {
    std::fprintf(stderr, "switchyard: %s\n", std::string(Message(status)).c_str());
    return kExitFailure;
  }
  const uint64_t descriptors = RaiseDescriptorLimit();
  LogDebug("Open descriptors: at most {}", descriptors);
  StatusOr<std::unique_ptr<CallJournal>> journal = MakeJournal(settings);
  if (!journal.ok()) {
    std::fprintf(stderr, "switchyard: %s\n", std::string(Message(journal.status())).c_str());
    return kExitFailure;
  }
  Server server(settings, program, ready_file, *std::move(journal));
  if (const Status status = server.Start(); !status.ok()) {
    std::fprintf(stderr, "switchyard: %s\n", std::string(Message(status)).c_str());
    return kExitFailure;
  }
  return server.Wait();
}

}  // namespace switchyard
