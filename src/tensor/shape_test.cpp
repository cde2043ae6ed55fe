#include "tensor/shape.h"

#include <gtest/gtest.h>

namespace switchyard {
namespace {

TEST(Shape, CountsAreCheckedForOverflowAndSign) {
  EXPECT_EQ(ElementCount(Shape{}), 1u);
  EXPECT_EQ(ElementCount(Shape{2, 3, 4}), 24u);
  EXPECT_EQ(ElementCount(Shape{int64_t{1} << 62, 0}), 0u);
  EXPECT_EQ(ElementCount(Shape{0, -1}), std::nullopt);
  EXPECT_EQ(ElementCount(Shape{0, std::numeric_limits<int64_t>::max()}), std::nullopt);
  EXPECT_EQ(ElementCount(Shape{int64_t{1} << 40, int64_t{1} << 40}), std::nullopt);
  EXPECT_EQ(ByteCount(Shape{int64_t{1} << 62}, 8), std::nullopt);
  EXPECT_EQ(ByteCount(Shape{10}, 4), 40u);
}

TEST(Shape, Text) {
  EXPECT_EQ(ToString(Shape{1, 10}), "(1,10)");
  EXPECT_EQ(ToString(Shape{}), "()");
}

TEST(PartialShape, WireAndText) {
  const PartialShape shape{{Dimension::Fixed(1), Dimension::Dynamic(), Dimension{3, 8}}};
  EXPECT_FALSE(shape.is_static());
  EXPECT_EQ(shape.Wire(), (Shape{1, -1, -1}));
  EXPECT_EQ(shape.ToString(), "(1,-1,3:8)");
  EXPECT_TRUE(shape.dims[2].Accepts(8));
  EXPECT_FALSE(shape.dims[2].Accepts(9));
  PartialShape any;
  any.dynamic_rank = true;
  EXPECT_EQ(any.Wire(), (Shape{-1}));
}

}  // namespace
}  // namespace switchyard
