// A name for a version, as a client gave it.
#pragma once

#include <string>

namespace switchyard {

struct VersionLabel {
  std::string name;  // empty: the client gave none
  // The text of a version, which is a number as a rule: where the model has no such label, that is what is missing.
  bool or_number = false;
};

}  // namespace switchyard
