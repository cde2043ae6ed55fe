// ModelControl's part about config.json: reading it anew, because a call asks for it or because it changed.
#include <fmt/ranges.h>

#include <algorithm>
#include <filesystem>
#include <string_view>
#include <system_error>
#include <utility>

#include "base/log.h"
#include "config/config_file.h"
#include "config/config_reading.h"
#include "control/control_internal.h"

namespace switchyard {

void ModelControl::Reload(Done done) {
  if (Refused(done)) return;
  Status refused;
  {
    MutexLock lock(&mutex_);
    if (stopping_) {
      refused = Stopped().status;
    } else if (call_reloads_) {
      refused = Error(StatusCode::kAborted, "Another reload is running; ask again when it has ended");
    } else {
      call_reloads_ = true;
      const bool joins = watch_reloads_ > 0;
      jobs_.push_back(Job{[this, joins](Done answer) { StartCalledReload(joins, std::move(answer)); }, std::move(done)});
      return;
    }
  }
  done(Fault(std::move(refused)));
}

void ModelControl::StartCalledReload(bool joins, Done done) {
  Done ended = [this, done = std::move(done)](const ControlOutcome& outcome) mutable {
    EndReload(true, outcome);
    done(outcome);
  };
  if (!joins) return RunReload(true, std::move(ended));
  // The watching was faster than the client that changed the file. Its answer is this call's, if it was about the same text.
  Done answer = [this, ended = std::move(ended)](const ControlOutcome& outcome) mutable {
    const auto text = ReadConfigText(options_.config_path);
    if (outcome.status.code() == StatusCode::kUnavailable || (text.ok() && *text == last_text_)) return ended(outcome);
    RunReload(true, std::move(ended));
  };
  bool running = false;
  {
    MutexLock lock(&mutex_);
    running = watch_reloads_ > 0;
  }
  if (running) {
    joined_.push_back(std::move(answer));
  } else {
    answer(last_outcome_);
  }
}

// The file, what it leads to, and the link by which a mounted config map is exchanged.
void ModelControl::WatchFile() {
  namespace fs = std::filesystem;
  const fs::path file = options_.config_path;
  std::vector<std::string> paths = {file.string(), (file.parent_path() / "..data").string()};
  std::error_code error;
  const fs::path target = fs::canonical(file, error);
  if (!error && target != file) paths.push_back(target.string());
  watcher_->Watch(std::move(paths));
}

void ModelControl::LookAtFile() {
  if (!watch_.Look(ConfigStamp::Of(options_.config_path), std::chrono::steady_clock::now())) return;
  {
    MutexLock lock(&mutex_);
    ++watch_reloads_;
  }
  WatchFile();  // it may be another one's link by now
  RunReload(false, [this](const ControlOutcome& outcome) {
    EndReload(false, outcome);
    std::vector<Done> joined = std::move(joined_);
    joined_.clear();
    for (Done& done : joined) done(outcome);
  });
}

void ModelControl::RunReload(bool by_call, Done done) {
  if (options_.config_path.empty()) return LookAtFolders(std::move(done));
  // Before the text: a change that comes in between is seen at the next look.
  const ConfigStamp stamp = ConfigStamp::Of(options_.config_path);
  const auto text = ReadConfigText(options_.config_path);
  ControlOutcome outcome;
  WantedSet wanted = wanted_;
  std::set<std::string> changed;
  if (text.ok()) {
    outcome = JudgeFile(*text, &wanted, &changed);
  } else {
    outcome = Refuse("The configuration", {{"", "a config file that can be read", std::string(Message(text.status()))}});
  }
  const bool refused = !outcome.status.ok();
  watch_.Read(stamp, refused, std::chrono::steady_clock::now());
  last_text_ = text.ok() ? *text : std::string();
  Done ended = [this, done = std::move(done)](const ControlOutcome& end) mutable {
    last_outcome_ = end;
    done(end);
  };
  if (refused) return ended(outcome);
  // A reload that the watching tries again for the sake of what was missing does not touch the folders.
  if (changed.empty() && by_call) return LookAtFolders(std::move(ended));
  if (changed.empty()) return ended(outcome);
  Apply(std::move(wanted),
        Waiting{.models = changed, .changed = changed, .looks_at_all = true, .before = {}, .done = std::move(ended)});
}

// Judges all of it, and makes `wanted` what it asks for.
ControlOutcome ModelControl::JudgeFile(const std::string& text, WantedSet* wanted, std::set<std::string>* changed) {
  ConfigReading reading = ReadWholeConfig(text, BaseDir(), options_.strict);
  for (ConfigFault& fault : Check(reading.models, &wanted_)) reading.faults.push_back(std::move(fault));
  if (stop_check_.load()) return Stopped();
  if (reading.faults.empty()) {
    *changed = wanted->SetFile(std::move(reading.file.models), {});
    // With the models that the API loaded.
    if (auto conflict = wanted->Conflict(reading.models, "/model_config_list")) reading.faults.push_back(*std::move(conflict));
  }
  if (!reading.faults.empty()) return Refuse("The configuration", std::move(reading.faults));
  TellOfServer(std::move(reading.file.server));
  return {};
}

// What the file says of the server itself is for a start. One that would be other than this one is told of, once.
void ModelControl::TellOfServer(ServerConfig server) {
  const ServerConfig& begun = options_.server;
  const bool news = server != last_server_;
  last_server_ = std::move(server);
  if (!news) return;
  std::vector<std::string_view> other;
  if (last_server_.log_level != begun.log_level) other.push_back("logging (SIGHUP reads it as well)");
  if (last_server_.device_plugins != begun.device_plugins) other.push_back("device_plugins");
  if (last_server_.has_monitoring != begun.has_monitoring || last_server_.metrics_enable != begun.metrics_enable ||
      last_server_.metrics_list != begun.metrics_list) {
    other.push_back("monitoring");
  }
  if (other.empty()) return;
  LogWarning("{}: {} not as when this server started, and read at a start alone: restart the server, or restore the file",
             options_.config_path, fmt::format("{} {}", fmt::join(other, ", "), other.size() == 1 ? "is" : "are"));
}

// Has the Manager look at every model's folder, and says whether that changed anything.
void ModelControl::LookAtFolders(Done done) {
  Waiting waiting{.models = {}, .changed = {}, .looks_at_all = true, .before = {}, .done = std::move(done)};
  for (const ModelSettings& model : wanted_.Models()) {
    // Not for a load that hangs already.
    if (!manager_.LoadPending(model.name)) waiting.models.insert(model.name);
  }
  Apply(wanted_, std::move(waiting));
}

void ModelControl::EndReload(bool by_call, const ControlOutcome& outcome) {
  ReloadReport report{.code = outcome.status.ok() ? (outcome.changed ? 201 : 200) : HttpCode(outcome.status.code()),
                      .by_call = by_call,
                      .at = std::chrono::system_clock::now(),
                      .error = std::string(Message(outcome.status)),
                      .faults = outcome.faults};
  MutexLock lock(&mutex_);
  if (by_call) {
    call_reloads_ = false;
  } else {
    --watch_reloads_;
  }
  if (outcome.status.code() == StatusCode::kUnavailable) return;
  const bool is_news = !last_reload_ || last_reload_->error != report.error;
  if (!outcome.status.ok() && (by_call || is_news)) LogError("{}", report.error);
  if (outcome.status.ok() && outcome.changed) LogInfo("The configuration was reloaded");
  last_reload_ = std::move(report);
}

std::optional<ReloadReport> ModelControl::LastReload() const {
  MutexLock lock(&mutex_);
  return last_reload_;
}

}  // namespace switchyard
