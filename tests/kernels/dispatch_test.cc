// Choosing an instruction set: RAISON_ISA must be obeyed, and refused in one line where it can't be.
#include <gtest/gtest.h>

#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

#include "kernels/tables.h"

namespace raison {
namespace {

class Environment {
 public:
  explicit Environment(const char* value) {
    if (const char* old = std::getenv("RAISON_ISA")) old_ = old, had_ = true;
    if (value) {
      setenv("RAISON_ISA", value, 1);
    } else {
      unsetenv("RAISON_ISA");
    }
  }
  ~Environment() {
    if (had_) {
      setenv("RAISON_ISA", old_.c_str(), 1);
    } else {
      unsetenv("RAISON_ISA");
    }
  }
  Environment(const Environment&) = delete;
  Environment& operator=(const Environment&) = delete;

 private:
  std::string old_;
  bool had_ = false;
};

void expect_forced(const char* name, const KernelTable* available) {
  const Environment env(name);
  const auto table = select_kernels_from_environment();
  if (available) {
    ASSERT_TRUE(table.ok()) << table.message();
    EXPECT_EQ(*table, available);
    EXPECT_STREQ((*table)->name, name);
  } else {
    ASSERT_FALSE(table.ok());
    EXPECT_NE(table.message().find(name), std::string::npos) << table.message();
    EXPECT_EQ(table.message().find('\n'), std::string::npos);
  }
}

TEST(DispatchTest, ForcesEachInstructionSet) {
  expect_forced("ref", &ref_kernels());
  expect_forced("avx2", avx2_kernels());
  expect_forced("avx512", avx512_kernels());
}

TEST(DispatchTest, UnsetOrEmptyTakesTheBest) {
  const KernelTable* best = avx512_kernels() ? avx512_kernels() : avx2_kernels() ? avx2_kernels() : &ref_kernels();
  for (const char* value : {static_cast<const char*>(nullptr), ""}) {
    const Environment env(value);
    const auto table = select_kernels_from_environment();
    ASSERT_TRUE(table.ok());
    EXPECT_EQ(*table, best);
  }
}

TEST(DispatchTest, UnknownNameIsAnErrorThatNamesTheChoices) {
  const Environment env("avx1024");
  const auto table = select_kernels_from_environment();
  ASSERT_FALSE(table.ok());
  for (const char* word : {"RAISON_ISA", "avx1024", "ref", "avx2", "avx512"})
    EXPECT_NE(table.message().find(word), std::string::npos) << word;
  EXPECT_EQ(table.message().find('\n'), std::string::npos);
}

TEST(DispatchTest, EveryTableIsComplete) {
  auto tables = testing::vector_tables();
  tables.push_back(&ref_kernels());
  for (const KernelTable* t : tables) {
    // The table is a name and then function pointers only.
    void* entries[sizeof(KernelTable) / sizeof(void*)];
    static_assert(sizeof(entries) == sizeof(KernelTable));
    std::memcpy(entries, t, sizeof entries);
    for (void* entry : entries) EXPECT_NE(entry, nullptr) << t->name;
  }
}

// A table by the right name could still be another's. scripts/check_isa shows that the code behind the entries is in that
// instruction set's registers.
TEST(DispatchTest, NoEntryIsAnotherTables) {
  auto tables = testing::vector_tables();
  tables.push_back(&ref_kernels());
  constexpr size_t kEntries = sizeof(KernelTable) / sizeof(void*);
  std::vector<std::vector<void*>> all;
  for (const KernelTable* t : tables) {
    all.emplace_back(kEntries);
    std::memcpy(all.back().data(), t, sizeof(KernelTable));
  }
  for (size_t a = 0; a < all.size(); ++a)
    for (size_t b = 0; b < a; ++b)
      for (size_t i = 1; i < kEntries; ++i)  // the first is the name
        EXPECT_NE(all[a][i], all[b][i]) << "entry " << i << " of " << tables[a]->name << " and " << tables[b]->name;
}

}  // namespace
}  // namespace raison
