// The table of the command line's flags: what --help shows, what is parsed, and what OVMS knows and this version does not.
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"

namespace switchyard {

struct FlagSpec {
  enum class Form {
    kOnce,      // of two values the last counts
    kRepeated,  // all values count
    kYesNo,     // true or false; true when no value comes
  };
  std::string_view name;      // without dashes
  std::string_view value;     // what --help calls its value; empty: a switch
  std::string_view fallback;  // the default that --help shows; may be empty
  std::string_view help;
  Form form = Form::kOnce;
};

struct FlagGroup {
  std::string_view title;
  std::vector<FlagSpec> flags;
};

// A subcommand: `switchyard NAME ...`.
struct CommandSpec {
  std::string_view name;
  std::string_view arguments;  // as --help shows them
  std::string_view help;
};

// In the order of --help.
const std::vector<CommandSpec>& Commands();
// Every flag that is served, in the order of --help.
const std::vector<FlagGroup>& FlagGroups();
// Flags of OVMS that this version does not serve.
const std::vector<std::string_view>& UnservedFlags();

std::string HelpText();

// The flags that were given, by name without dashes. A flag given twice has its last value, as with OVMS, unless all its values
// count.
class GivenFlags {
 public:
  // kInvalidArgument: unknown flags, missing values, stray arguments.
  static StatusOr<GivenFlags> Parse(int argc, const char* const* argv);

  bool Has(const std::string& name) const { return values_.count(name) != 0; }
  // "true" or "false" for switches. Only for flags that Has().
  const std::string& Get(const std::string& name) const { return values_.at(name).back(); }
  // Every value of a flag that may be repeated, in the order given.
  std::vector<std::string> All(const std::string& name) const {
    return Has(name) ? values_.at(name) : std::vector<std::string>();
  }
  bool IsOn(const std::string& name) const { return Has(name) && Get(name) == "true"; }
  // The first flag given that OVMS has and this version does not serve; empty if there is none.
  const std::string& unserved() const { return unserved_; }

 private:
  std::map<std::string, std::vector<std::string>> values_;  // never an empty vector
  std::string unserved_;
};

}  // namespace switchyard
