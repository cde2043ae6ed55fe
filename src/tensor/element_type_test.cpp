#include "tensor/element_type.h"

#include <gtest/gtest.h>

namespace switchyard {
namespace {

TEST(ElementType, NamesGoBothWays) {
  for (int i = 1; i <= static_cast<int>(ElementType::kBytes); ++i) {
    const auto type = static_cast<ElementType>(i);
    EXPECT_EQ(FromKserveName(KserveName(type)), type);
  }
  EXPECT_EQ(FromKserveName("INVALID"), std::nullopt);
  EXPECT_EQ(FromKserveName("fp32"), std::nullopt);
}

TEST(ElementType, SizesAndOvmsNames) {
  EXPECT_EQ(ElementSize(ElementType::kBf16), 2u);
  EXPECT_EQ(ElementSize(ElementType::kUint64), 8u);
  EXPECT_EQ(ElementSize(ElementType::kBytes), 0u);
  EXPECT_EQ(PrecisionName(ElementType::kInt32), "I32");
  EXPECT_EQ(PrecisionName(ElementType::kBytes), "STRING");
}

}  // namespace
}  // namespace switchyard
