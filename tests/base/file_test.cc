// Reading and atomic writing of files.
#include "base/file.h"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <vector>

#include "testing/temp_dir.h"

namespace raison {
namespace {
namespace fs = std::filesystem;

class FileTest : public ::testing::Test {
 protected:
  void SetUp() override {
    std::string name = (fs::temp_directory_path() / "raison_file_XXXXXX").string();
    ASSERT_NE(mkdtemp(name.data()), nullptr);
    folder_ = name;
  }
  void TearDown() override {
    std::error_code ignored;
    fs::permissions(folder_, fs::perms::owner_all, ignored);
    fs::remove_all(folder_, ignored);
  }
  std::string path(const std::string& name) const { return folder_ + "/" + name; }
  std::vector<std::string> names() const {
    std::vector<std::string> out;
    for (const auto& e : fs::directory_iterator(folder_)) out.push_back(e.path().filename().string());
    std::sort(out.begin(), out.end());
    return out;
  }
  std::string folder_;
};

// One line that names the path.
void expect_error(const std::string& message, const std::string& path) {
  EXPECT_NE(message.find(path), std::string::npos) << message;
  EXPECT_EQ(message.find('\n'), std::string::npos) << message;
}

TEST_F(FileTest, WritesAndReadsBack) {
  const std::string bytes("a\0b\nc", 5);
  ASSERT_TRUE(write_file_atomic(path("x"), bytes).ok());
  const auto read = read_file(path("x"));
  ASSERT_TRUE(read.ok());
  EXPECT_EQ(*read, bytes);
  ASSERT_TRUE(write_file_atomic(path("x"), "shorter").ok());
  EXPECT_EQ(*read_file(path("x")), "shorter");
  ASSERT_TRUE(write_file_atomic(path("empty"), "").ok());
  EXPECT_EQ(*read_file(path("empty")), "");
  EXPECT_EQ(names(), (std::vector<std::string>{"empty", "x"}));  // no temporary files
}

TEST_F(FileTest, RelativePathsWork) {
  const fs::path before = fs::current_path();
  fs::current_path(folder_);
  const Status s = write_file_atomic("plain", "1");
  fs::current_path(before);
  ASSERT_TRUE(s.ok()) << s.message();
  EXPECT_EQ(*read_file(path("plain")), "1");
}

TEST_F(FileTest, UncommittedWritingLeavesTheOldFileAndNoOther) {
  ASSERT_TRUE(write_file_atomic(path("x"), "old").ok());
  {
    auto file = AtomicFile::create(path("x"));
    ASSERT_TRUE(file.ok());
    ASSERT_TRUE((*file)->append("new", 3).ok());
    EXPECT_EQ(*read_file(path("x")), "old");
  }
  EXPECT_EQ(*read_file(path("x")), "old");
  EXPECT_EQ(names(), std::vector<std::string>{"x"});
}

TEST_F(FileTest, FailedCommitLeavesTheOldAndNoTemporaryFile) {
  ASSERT_EQ(mkdir(path("taken").c_str(), 0755), 0);
  ASSERT_TRUE(write_file_atomic(path("taken/inside"), "old").ok());
  const Status s = write_file_atomic(path("taken"), "new");  // a folder that is not empty cannot be replaced
  ASSERT_FALSE(s.ok());
  expect_error(s.message(), path("taken"));
  EXPECT_EQ(*read_file(path("taken/inside")), "old");
  EXPECT_EQ(names(), std::vector<std::string>{"taken"});
}

TEST_F(FileTest, AppendsInPiecesAndTwoWritersDoNotMeet) {
  auto a = AtomicFile::create(path("x")), b = AtomicFile::create(path("x"));
  ASSERT_TRUE(a.ok() && b.ok());
  const std::string big(300000, 'a');
  for (int i = 0; i < 3; ++i) ASSERT_TRUE((*a)->append(big.data(), big.size()).ok());
  ASSERT_TRUE((*b)->append("b", 1).ok());
  ASSERT_TRUE((*a)->commit().ok());
  EXPECT_EQ(read_file(path("x"))->size(), 900000u);
  ASSERT_TRUE((*b)->commit().ok());
  EXPECT_EQ(*read_file(path("x")), "b");
  EXPECT_EQ(names(), std::vector<std::string>{"x"});
}

TEST_F(FileTest, MissingFoldersAndFilesAreErrors) {
  const Status written = write_file_atomic(path("no/such"), "x");
  ASSERT_FALSE(written.ok());
  expect_error(written.message(), path("no/such"));
  const auto read = read_file(path("missing"));
  ASSERT_FALSE(read.ok());
  expect_error(read.message(), path("missing"));
  const auto mapped = MappedFile::open(path("missing"));
  ASSERT_FALSE(mapped.ok());
  expect_error(mapped.message(), path("missing"));
  ASSERT_FALSE(sync_directory(path("missing")).ok());
  EXPECT_TRUE(sync_directory(folder_).ok());
}

TEST_F(FileTest, AFolderIsNoFile) {
  const auto read = read_file(folder_);
  ASSERT_FALSE(read.ok());
  expect_error(read.message(), folder_);
  const auto mapped = MappedFile::open(folder_);
  ASSERT_FALSE(mapped.ok());
  expect_error(mapped.message(), folder_);
}

TEST_F(FileTest, ReadingHasALimit) {
  ASSERT_TRUE(write_file_atomic(path("x"), std::string(1000, 'x')).ok());
  EXPECT_TRUE(read_file(path("x"), 1000).ok());
  const auto read = read_file(path("x"), 999);
  ASSERT_FALSE(read.ok());
  expect_error(read.message(), path("x"));
  EXPECT_FALSE(read_file("/dev/zero", 1 << 20).ok());  // endless
}

TEST_F(FileTest, MapsWholeFiles) {
  std::string bytes(3 * 4096 + 17, 'm');
  bytes[5000] = 'n';
  ASSERT_TRUE(write_file_atomic(path("x"), bytes).ok());
  const auto file = MappedFile::open(path("x"));
  ASSERT_TRUE(file.ok());
  EXPECT_EQ((*file)->size(), bytes.size());
  EXPECT_EQ((*file)->path(), path("x"));
  EXPECT_EQ(std::memcmp((*file)->data(), bytes.data(), bytes.size()), 0);
  (*file)->release(0, bytes.size());
  (*file)->release(100, 50);
  (*file)->release(bytes.size(), 1000);
  EXPECT_EQ(std::memcmp((*file)->data(), bytes.data(), bytes.size()), 0);  // read again from the file
  ASSERT_TRUE(write_file_atomic(path("empty"), "").ok());
  const auto empty = MappedFile::open(path("empty"));
  ASSERT_TRUE(empty.ok());
  EXPECT_EQ((*empty)->size(), 0u);
}

// A rename into place must not turn a device, a pipe or a link into a file.
TEST_F(FileTest, AtomicWritesReplaceRegularFilesOnly) {
  const testing::TempDir dir;
  dir.write("target", "old");
  ASSERT_EQ(symlink((dir / "target").c_str(), (dir / "link").c_str()), 0);
  ASSERT_TRUE(write_file_atomic(dir / "link", "new").ok());
  EXPECT_EQ(*read_file(dir / "target"), "new");
  char where[8] = {};
  EXPECT_GT(readlink((dir / "link").c_str(), where, sizeof where), 0) << "the link is gone";
  ASSERT_EQ(mkfifo((dir / "pipe").c_str(), 0600), 0);
  for (const std::string& path : {dir / "pipe", dir.path()}) {
    const Status refused = write_file_atomic(path, "x");
    ASSERT_FALSE(refused.ok());
    EXPECT_NE(refused.message().find(path), std::string::npos);
  }
}

}  // namespace
}  // namespace raison
