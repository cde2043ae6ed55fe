#include "device/cpu_facts.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sched.h>

#include "device/test_root.h"

namespace switchyard {
namespace {

using ::testing::ElementsAre;

class CpuFactsTest : public ::testing::Test {
 protected:
  CpuFactsTest() {
    std::string text;
    for (int i = 0; i < 8; ++i) {
      text += "processor\t: " + std::to_string(i) + "\nmodel name\t: Some CPU\nflags\t\t: fpu avx2 avx512f amx_bf16 avx2x\n\n";
    }
    root_.File("/proc/cpuinfo", text);
    root_.File("/proc/self/status", "Cpus_allowed_list:\t0-2,6\nVmRSS:\t  2048 kB\n");
    root_.File("/proc/meminfo", "MemTotal:       1048576 kB\nMemFree: 1 kB\n");
  }
  CpuFacts Read() { return ReadCpuFacts(root_.View()); }
  TestRoot root_;
};

TEST_F(CpuFactsTest, WithoutControlGroups) {
  const CpuFacts facts = Read();
  EXPECT_EQ(facts.model, "Some CPU");
  EXPECT_EQ(facts.processors, 8);
  EXPECT_THAT(facts.affinity, ElementsAre(0, 1, 2, 6));
  EXPECT_THAT(facts.instruction_sets, ElementsAre("avx2", "avx512f", "amx_bf16"));
  EXPECT_EQ(facts.quota, std::nullopt);
  EXPECT_EQ(facts.usable(), 4);
  EXPECT_EQ(facts.memory_total_bytes, uint64_t{1} << 30);
  EXPECT_EQ(facts.memory_used_bytes, uint64_t{2} << 20);
}

TEST_F(CpuFactsTest, QuotaOfVersion2IsTheLeastOnTheWayUp) {
  root_.File("/proc/self/cgroup", "0::/outer/inner\n");
  root_.File("/sys/fs/cgroup/outer/inner/cpu.max", "max 100000\n").File("/sys/fs/cgroup/outer/cpu.max", "150000 100000\n");
  root_.File("/sys/fs/cgroup/cpu.max", "300000 100000\n").File("/sys/fs/cgroup/outer/memory.max", "1000\n");
  const CpuFacts facts = Read();
  EXPECT_EQ(facts.quota, 1.5);
  EXPECT_EQ(facts.quota_from, "/sys/fs/cgroup/outer/cpu.max");
  EXPECT_EQ(facts.usable(), 2);
  EXPECT_EQ(facts.memory_total_bytes, 1000u);
}

TEST_F(CpuFactsTest, QuotaOfVersion1WhereTheGroupIsMountedAsTheWholeTree) {
  root_.File("/proc/self/cgroup", "4:memory:/docker/abc\n3:cpu,cpuacct:/docker/abc\n0::/\n");
  root_.File("/sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us", "50000\n");
  root_.File("/sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us", "100000\n");
  root_.File("/sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n");
  EXPECT_EQ(Read().quota, 0.5);
  EXPECT_EQ(Read().usable(), 1);
  EXPECT_EQ(Read().memory_total_bytes, uint64_t{1} << 30);
  root_.File("/sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us", "-1\n");
  EXPECT_EQ(Read().quota, std::nullopt);
}

TEST_F(CpuFactsTest, NumaNodesByNumber) {
  const std::string folder = "/sys/devices/system/node/";
  root_.File(folder + "node10/cpulist", "4-7\n").File(folder + "node2/cpulist", "0-3\n").File(folder + "node3/cpulist", "\n");
  root_.File(folder + "node2/meminfo", "Node 2 MemTotal:  1024 kB\n").Folder(folder + "power");
  const CpuFacts facts = Read();
  ASSERT_EQ(facts.numa_nodes.size(), 2u);
  EXPECT_EQ(facts.numa_nodes[0].id, 2);
  EXPECT_EQ(facts.numa_nodes[0].cpus, "0-3");
  EXPECT_EQ(facts.numa_nodes[0].memory_total_bytes, uint64_t{1} << 20);
  EXPECT_EQ(facts.numa_nodes[1].id, 10);
}

TEST_F(CpuFactsTest, ThreadsFollowTheQuotaWhereItIsTheTighterOne) {
  const auto threads = [&](const char* quota) {
    root_.File("/proc/self/cgroup", "0::/\n").File("/sys/fs/cgroup/cpu.max", quota);
    return ThreadsForQuota(Read());
  };
  EXPECT_EQ(threads("max 100000\n"), std::nullopt);
  EXPECT_EQ(threads("400000 100000\n"), std::nullopt) << "the affinity has four";
  EXPECT_EQ(threads("350000 100000\n"), std::nullopt) << "half of the fourth is there";
  EXPECT_EQ(threads("250000 100000\n"), 3);
  EXPECT_EQ(threads("10000 100000\n"), 1);
}

TEST_F(CpuFactsTest, FilesThatMakeNoSense) {
  for (const char* text : {"0::/../../../etc\n", "::\n", "0:\n", "1:cpu:relative\n"}) {
    root_.File("/proc/self/cgroup", text);
    EXPECT_EQ(Read().quota, std::nullopt) << text;
  }
  root_.File("/proc/self/cgroup", "0::/\n");
  for (const char* text : {"", "0 0\n", "1\n", "-5 100000\n", "99999999999999999999999 1\n"}) {
    root_.File("/sys/fs/cgroup/cpu.max", text);
    EXPECT_EQ(Read().quota, std::nullopt) << text;
  }
}

TEST(CpuList, ThereAndBack) {
  for (const char* text : {"0", "0-3", "0-1,4,6-7", "3,5"}) EXPECT_EQ(FormatCpuList(ParseCpuList(text)), text);
  for (const char* text : {"", "x", "3-1", "0-4294967295", "1,", "-1", "70000"}) {
    const std::vector<int> processors = ParseCpuList(text);
    EXPECT_LE(processors.size(), 1u) << text;
  }
  EXPECT_TRUE(ParseCpuList("3-1").empty());
}

TEST(CpuFactsOfThisMachine, AffinityIsTheSchedulers) {
  cpu_set_t set;
  ASSERT_EQ(sched_getaffinity(0, sizeof(set), &set), 0);
  EXPECT_EQ(static_cast<int>(ReadCpuFacts(SystemView::Own()).affinity.size()), CPU_COUNT(&set));
}

}  // namespace
}  // namespace switchyard
