/* Preloaded into a process: keeps of every file of a store what has been synced, as a disk would after a power cut.
   After each fsync or fdatasync the file is copied, as it is then, into the folder that KEEP_SYNCED names. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

static void keep(int fd) {
    const char *folder = getenv("KEEP_SYNCED");
    char link[64], path[4096], part[8192], kept[8192], block[65536];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, sizeof path - 1);
    struct stat about;
    if (folder == NULL || length < 0 || fstat(fd, &about) != 0 || !S_ISREG(about.st_mode)) return;
    path[length] = 0;
    const char *name = strrchr(path, '/');
    if (name == NULL || strncmp(name, "/store.db", 9) != 0) return;
    snprintf(part, sizeof part, "%s/part", folder);
    snprintf(kept, sizeof kept, "%s%s", folder, name);
    int to = open(part, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    if (to < 0) abort();
    for (off_t at = 0; (length = pread(fd, block, sizeof block, at)) > 0; at += length)
        if (write(to, block, length) != length) abort();
    close(to);
    if (length < 0 || rename(part, kept) != 0) abort();
}

int fdatasync(int fd) {
    int failed = syscall(SYS_fdatasync, fd);
    if (!failed) keep(fd);
    return failed;
}

int fsync(int fd) {
    int failed = syscall(SYS_fsync, fd);
    if (!failed) keep(fd);
    return failed;
}
