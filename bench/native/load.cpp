// The client of bench/run: one thread that keeps a server busy with one request over and over, and writes down what it saw.
//
//   bench_load --address HOST:PORT --kind grpc|rest --path PATH --body FILE [--header "name: value"]...
//              --connections C [--streams M] --seconds S [--rate R [--seed N]] [--latencies FILE] [--answer FILE]
//
// Without --rate the loop is closed: C connections, M calls on each, the next one when the answer has come. With it the loop is
// open: R calls a second at times that were drawn before (exponential gaps), and a call's latency counts from its time, also
// when it had to wait in this client. (HTTP/1.1 has one call for each connection, so that calls wait here when all C are busy.)
// It polls, and never sleeps: its own waking up is not in the latencies. An answer that is not OK is a failure; so is one that
// differs in size from the first. Prints one JSON object. Exit code 1 when anything failed.
#include <sys/resource.h>

#include <CLI/CLI.hpp>
#include <deque>
#include <fstream>
#include <iostream>
#include <random>
#include <sstream>
#include <stdexcept>

#include "load_channel.h"

namespace switchyard::bench {
namespace {

using Seconds = std::chrono::duration<double>;

struct Options {
  std::string address, kind, path, body, latencies, answer;
  std::vector<std::string> headers;
  int connections = 1;
  int streams = 1;
  double seconds = 1;
  double rate = 0;
  uint64_t seed = 1;
};

double CpuSeconds() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return static_cast<double>(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
         1e-6 * static_cast<double>(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec);
}

std::string ReadFile(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) throw std::runtime_error("cannot read " + path);
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

Request RequestOf(const Options& options) {
  Request request;
  const size_t colon = options.address.rfind(':');
  if (colon == std::string::npos) throw std::runtime_error("--address: expected HOST:PORT, got " + options.address);
  request.host = options.address.substr(0, colon);
  request.port = static_cast<uint16_t>(std::stoi(options.address.substr(colon + 1)));
  request.grpc = options.kind == "grpc";
  request.path = options.path;
  request.body = ReadFile(options.body);
  for (const std::string& header : options.headers) {
    const size_t at = header.find(": ");
    if (at == std::string::npos) throw std::runtime_error("--header: expected \"name: value\", got " + header);
    request.headers.emplace_back(header.substr(0, at), header.substr(at + 2));
  }
  return request;
}

class Load {
 public:
  explicit Load(const Options& options) : options_(options), request_(RequestOf(options)), random_(options.seed) {
    const auto done = [this](Channel& channel, TimePoint due, const std::string& error, const std::string& answer) {
      Ended(channel, due, error, answer);
    };
    for (int i = 0; i < options.connections; ++i) {
      channels_.push_back(request_.grpc ? OpenHttp2(request_, options.rate > 0 ? 1 << 20 : options.streams, done)
                                        : OpenHttp1(request_, done));
    }
  }

  void Run() {
    const double cpu = CpuSeconds();
    begin_ = Clock::now();
    end_ = begin_ + std::chrono::duration_cast<Clock::duration>(Seconds(options_.seconds));
    next_ = begin_;
    if (options_.rate > 0) {
      Draw();
    } else {
      for (const auto& channel : channels_) {
        for (int i = 0; i < channel->most_calls(); ++i) channel->Submit(Clock::now());
      }
    }
    const TimePoint give_up = end_ + std::chrono::seconds(60);
    while (true) {
      if (options_.rate > 0) SendWhatIsDue();
      bool busy = !backlog_.empty() || (options_.rate > 0 && next_ < end_);
      for (const auto& channel : channels_) {
        channel->Work();
        busy = busy || channel->in_flight() > 0;
      }
      if (!busy) break;
      if (Clock::now() > give_up) throw std::runtime_error("answers are missing a minute after the end");
    }
    wall_s_ = Seconds(Clock::now() - begin_).count();
    cpu_s_ = CpuSeconds() - cpu;
  }

  int Report() const {
    uint64_t sent = 0, received = 0;
    for (const auto& channel : channels_) {
      sent += channel->bytes_sent();
      received += channel->bytes_received();
    }
    if (!options_.latencies.empty()) {
      std::ofstream file(options_.latencies, std::ios::binary);
      const size_t size = latencies_.size() * sizeof(float);
      file.write(reinterpret_cast<const char*>(latencies_.data()), static_cast<std::streamsize>(size));
    }
    if (!options_.answer.empty()) std::ofstream(options_.answer, std::ios::binary) << answer_;
    const double calls = std::max<double>(1, static_cast<double>(latencies_.size()));
    std::ostringstream error;
    for (const char c : first_error_) {
      const bool plain = c >= ' ' && c < 127 && c != '"' && c != '\\';
      error << (plain ? c : ' ');
    }
    std::cout << "{\"calls\": " << latencies_.size() << ", \"failed\": " << failed_ << ", \"seconds\": " << wall_s_
              << ", \"late_s\": " << worst_lag_s_ << ", \"client_cpu_us\": " << 1e6 * cpu_s_ / calls
              << ", \"bytes_sent\": " << static_cast<double>(sent) / calls
              << ", \"bytes_received\": " << static_cast<double>(received) / calls << ", \"error\": \"" << error.str()
              << "\"}\n";
    return failed_ > 0 || latencies_.empty() ? 1 : 0;
  }

 private:
  void Draw() {
    const double gap = std::exponential_distribution<double>(options_.rate)(random_);
    next_ += std::chrono::duration_cast<Clock::duration>(Seconds(gap));
  }

  void SendWhatIsDue() {
    for (TimePoint now = Clock::now(); next_ <= now && next_ < end_; Draw()) {
      worst_lag_s_ = std::max(worst_lag_s_, Seconds(now - next_).count());
      backlog_.push_back(next_);
    }
    for (size_t tried = 0; !backlog_.empty() && tried < channels_.size(); ++turn_) {
      Channel& channel = *channels_[turn_ % channels_.size()];
      if (channel.in_flight() >= channel.most_calls()) {
        ++tried;
        continue;
      }
      channel.Submit(backlog_.front());
      backlog_.pop_front();
      tried = 0;
    }
  }

  void Ended(Channel& channel, TimePoint due, const std::string& error, const std::string& answer) {
    const TimePoint now = Clock::now();
    latencies_.push_back(static_cast<float>(Seconds(now - due).count() * 1e6));
    if (latencies_.size() == 1) answer_ = answer;
    // JSON of the same numbers may differ a little in size, with a number or a time in it; not by a half.
    const bool odd = answer.size() > 2 * answer_.size() || answer_.size() > 2 * answer.size();
    if (!error.empty() || odd) {
      if (failed_++ == 0) first_error_ = odd ? "an answer of another size" : error;
    }
    if (options_.rate <= 0 && now < end_) channel.Submit(now);
  }

  const Options& options_;
  const Request request_;
  std::mt19937_64 random_;
  std::vector<std::unique_ptr<Channel>> channels_;
  std::deque<TimePoint> backlog_;
  TimePoint begin_, end_, next_;
  size_t turn_ = 0;
  std::vector<float> latencies_;  // microseconds
  uint64_t failed_ = 0;
  std::string first_error_, answer_;
  double worst_lag_s_ = 0, wall_s_ = 0, cpu_s_ = 0;
};

}  // namespace
}  // namespace switchyard::bench

int main(int argc, char** argv) {
  using namespace switchyard::bench;
  Options options;
  CLI::App app("Keeps a server busy; see the head of load.cpp");
  app.add_option("--address", options.address)->required();
  app.add_option("--kind", options.kind)->required()->check(CLI::IsMember({"grpc", "rest"}));
  app.add_option("--path", options.path)->required();
  app.add_option("--body", options.body)->required();
  app.add_option("--header", options.headers);
  app.add_option("--connections", options.connections)->check(CLI::Range(1, 1000));
  app.add_option("--streams", options.streams)->check(CLI::Range(1, 1000));
  app.add_option("--seconds", options.seconds)->check(CLI::PositiveNumber);
  app.add_option("--rate", options.rate)->check(CLI::PositiveNumber);
  app.add_option("--seed", options.seed);
  app.add_option("--latencies", options.latencies, "a file for them: microseconds, float32");
  app.add_option("--answer", options.answer, "a file for the first answer");
  CLI11_PARSE(app, argc, argv);
  try {
    Load load(options);
    load.Run();
    return load.Report();
  } catch (const std::exception& error) {
    std::cerr << "bench_load: " << error.what() << "\n";
    return 1;
  }
}
